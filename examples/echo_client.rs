//! A client that works against any server that answers line by line. Without an ADDRESS it starts a server of its own.
//!
//! cargo run --example echo_client -- [ADDRESS]

fn main() -> std::io::Result<()> {
    use cede::net::{TcpListener, TcpStream};
    use cede::{run, timeout};
    use std::io::{BufRead, BufReader, Write};
    use std::thread;
    use std::time::Duration;

    let given = std::env::args().nth(1);
    let (address, server) = match given {
        Some(address) => (address, None),
        None => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?.to_string();
            // The same types in a plain thread: there the calls block.
            let serve = move || {
                let (stream, _) = listener.accept()?;
                cede::io::copy(&mut &stream, &mut &stream)
            };
            (address, Some(thread::spawn(serve)))
        }
    };
    run(|| {
        let exchange = || {
            let stream = TcpStream::connect(&*address)?;
            let mut answers = BufReader::new(&stream);
            for line in ["Is anything there?", "Thank you."] {
                (&stream).write_all(format!("{line}\n").as_bytes())?;
                let mut answer = String::new();
                answers.read_line(&mut answer)?;
                println!("sent {line:?}, received {:?}", answer.trim_end());
            }
            Ok(())
        };
        // One deadline for the connect and all reads and writes. The error of the wait says that it passed.
        timeout(Duration::from_secs(10), exchange).unwrap_or_else(|late| late.value)
    })
    .and_then(|()| match server {
        Some(server) => {
            server.join().expect("the server does not panic").map(|bytes| println!("echoed: {bytes} bytes"))
        }
        None => Ok(()),
    })
}
