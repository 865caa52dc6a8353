//! A chat room: the task that reads from a client sends each line into the channels of the other clients.
//!
//! cargo run --example chat

fn main() {
    use cede::net::{TcpListener, TcpStream};
    use cede::sync::channel::{Sender, unbounded};
    use cede::{run, scope};
    use std::cell::RefCell;
    use std::io::{BufRead, BufReader, Write};

    /// Serves one client, whose first line is its name.
    fn serve(stream: TcpStream, room: &RefCell<Vec<(String, Sender<String>)>>) {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let name = lines.next().unwrap_or_default();
        let (sender, outgoing) = unbounded();
        sender.send(format!("welcome, {name}\n")).expect("`outgoing` is alive");
        room.borrow_mut().push((name.clone(), sender));
        scope(|s| {
            s.spawn(|| outgoing.iter().try_for_each(|line| (&stream).write_all(line.as_bytes())));
            for line in lines {
                // The channels are unbounded, so no send waits while the room is borrowed.
                for (_, sender) in room.borrow().iter().filter(|(other, _)| *other != name) {
                    let _ = sender.send(format!("{name}: {line}\n"));
                }
            }
            room.borrow_mut().retain(|(other, _)| *other != name); // drops the sender, so `outgoing` ends
        })
        .expect("no task panics");
    }

    let (listener, room) = (TcpListener::bind("127.0.0.1:0").unwrap(), &RefCell::default());
    let session = || {
        scope(|s| {
            let server = s.spawn(|| {
                for stream in listener.incoming().map_while(Result::ok) {
                    s.spawn(move || serve(stream, room));
                }
            });
            let mut clients = Vec::new();
            for name in ["Anna", "Ben", "Cleo"] {
                let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                stream.write_all(format!("{name}\nhello\n").as_bytes()).unwrap();
                clients.push((name, BufReader::new(stream).lines()));
                // The new client reads its welcome, and the clients before it read its hello.
                for (reader, lines) in &mut clients {
                    println!("{reader} reads: {}", lines.next().unwrap().unwrap());
                }
            }
            server.cancel(); // ends `accept`; the other tasks end when the clients have closed their streams
        })
    };
    run(session).expect("no task panics");
    println!("{} clients are left", room.borrow().len());
}
