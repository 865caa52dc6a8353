//! An echo server with one task per connection: the scope ends when the last connection has ended.
//!
//! cargo run --example echo_server

fn main() -> std::io::Result<()> {
    use cede::net::{TcpListener, TcpStream};
    use cede::{io, join_all, run, scope};
    use std::cell::Cell;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Shutdown, SocketAddr};

    /// Sends each line to the server, and returns the echoes.
    fn client(server: SocketAddr, lines: &[&str]) -> std::io::Result<Vec<String>> {
        let stream = TcpStream::connect(server)?;
        let mut echoes = BufReader::new(&stream).lines();
        let echo = lines.iter().map(|line| {
            (&stream).write_all(format!("{line}\n").as_bytes())?;
            echoes.next().expect("the server echoes each line")
        });
        let echoes = echo.collect();
        stream.shutdown(Shutdown::Write)?; // the connection's task reads the end of the stream, and ends
        echoes
    }

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (connections, bytes) = (Cell::new(0), Cell::new(0));
    run(|| {
        scope(|s| {
            let server = s.spawn(|| {
                while let Ok((stream, _)) = listener.accept() {
                    connections.set(connections.get() + 1);
                    let bytes = &bytes;
                    s.spawn(move || {
                        let count = io::copy(&mut &stream, &mut &stream).expect("the client reads its echoes");
                        bytes.set(bytes.get() + count);
                    });
                }
            });
            let clients = [["one", "two"], ["red", "green"], ["left", "right"]];
            let clients = clients.map(|lines| s.spawn(move || client(address, &lines)));
            let echoes = join_all(clients);
            server.cancel(); // ends `accept`; the connections are other tasks of the scope
            for (number, echoes) in (1..).zip(echoes) {
                println!("client {number}: {:?}", echoes.unwrap()?);
            }
            Ok(())
        })
        .expect("no task panics")
    })
    .inspect(|()| println!("{} connections, {} bytes, all ended", connections.get(), bytes.get()))
}
