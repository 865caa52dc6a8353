//! A proxy: `copy_both` passes bytes between a client and a server, in both directions at once.
//!
//! cargo run --example proxy

fn main() -> std::io::Result<()> {
    use cede::net::{TcpListener, TcpStream};
    use cede::{io, run, spawn};
    use std::io::{Read, Write};
    use std::net::Shutdown;

    run(|| {
        let (server, proxy) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (server_address, proxy_address) = (server.local_addr()?, proxy.local_addr()?);

        // The server reads the whole request, and answers with each line twice.
        spawn(move || {
            let (mut stream, _) = server.accept()?;
            let mut request = String::new();
            stream.read_to_string(&mut request)?;
            request.lines().try_for_each(|line| stream.write_all(format!("{line}\n{line}\n").as_bytes()))
        });

        // The end of the client's input passes through the proxy, and the answer still comes back.
        let mut proxy = spawn(move || {
            let (client, _) = proxy.accept()?;
            let server = TcpStream::connect(server_address)?;
            Ok::<_, std::io::Error>(io::copy_both(&client, &server))
        });

        let mut client = TcpStream::connect(proxy_address)?;
        client.write_all(b"a line\nanother line\n")?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        print!("{answer}");

        let copied = proxy.join().unwrap()?;
        println!("{} bytes to the server, {} bytes to the client", copied.forth, copied.back);
        assert!(copied.forth_error.is_none() && copied.back_error.is_none());
        Ok(())
    })
}
