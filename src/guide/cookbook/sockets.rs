//! Sockets: a TCP echo server and client, a server for a line protocol with a shutdown, an HTTP GET.
//!
//! # A TCP echo server and client
//!
//! *When:* bytes go back and forth, and each connection has straight code of its own. [`serve`](crate::net::serve) accepts, gives each
//! connection a task, and limits their number.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream, serve};
//! use cede::{join_all, spawn};
//! use std::io::{self, Read, Write};
//! use std::net::{Shutdown, SocketAddr};
//!
//! /// Sends a message, and returns the answer.
//! fn exchange(server: SocketAddr, message: &str) -> io::Result<String> {
//!     let mut stream = TcpStream::connect(server)?;
//!     stream.write_all(message.as_bytes())?;
//!     stream.shutdown(Shutdown::Write)?; // the server reads the end, and closes
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     Ok(answer)
//! }
//!
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let _server = spawn(move || {
//!         serve(listener, 1000, |stream, _peer| {
//!             let _ = cede::io::copy(&mut &stream, &mut &stream); // an error ends this connection only
//!         })
//!     })
//!     .cancel_on_drop();
//!     let clients = (0..20).map(|n| spawn(move || exchange(address, &format!("hello {n}"))));
//!     for (n, answer) in join_all(clients).into_iter().enumerate() {
//!         assert_eq!(answer.unwrap()?, format!("hello {n}"));
//!     }
//!     Ok::<(), io::Error>(())
//! })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* a client that sends much before it reads. The echo fills the buffers of both directions, and both sides wait to write:
//! let one task write and another one read, as a reference to a stream is a reader and a writer.
//!
//! # A server for a line protocol, with a shutdown
//!
//! *When:* clients send commands, and the server must end in order: it stops accepting, answers what has come, and cancels connections
//! that are still open after a grace period.
//!
//! ```
//! use cede::net::{Server, TcpListener, TcpStream};
//! use cede::sync::Event;
//! use std::cell::RefCell;
//! use std::collections::HashMap;
//! use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
//! use std::time::Duration;
//!
//! type Store = RefCell<HashMap<String, String>>;
//!
//! fn answer(line: &str, store: &Store, stop: &Event) -> String {
//!     match line.split(' ').collect::<Vec<_>>()[..] {
//!         ["set", key, value] => {
//!             store.borrow_mut().insert(key.to_string(), value.to_string());
//!             "ok".to_string()
//!         }
//!         ["get", key] => store.borrow().get(key).cloned().unwrap_or_else(|| "nothing".to_string()),
//!         ["stop"] => {
//!             stop.set();
//!             "stopping".to_string()
//!         }
//!         _ => "what?".to_string(),
//!     }
//! }
//!
//! fn connection(stream: &TcpStream, store: &Store, stop: &Event) -> io::Result<()> {
//!     stream.set_read_timeout(Some(Duration::from_secs(60)))?; // ends idle connections
//!     let mut reader = BufReader::new(stream);
//!     loop {
//!         let mut line = String::new();
//!         // A line without an end must not fill the memory.
//!         if reader.by_ref().take(1024).read_line(&mut line)? == 0 {
//!             return Ok(());
//!         }
//!         if !line.ends_with('\n') {
//!             return Err(ErrorKind::InvalidData.into());
//!         }
//!         let answer = answer(line.trim_end(), store, stop); // no borrow of the store is alive over the write
//!         writeln!(&*stream, "{answer}")?;
//!     }
//! }
//!
//! let (store, stop) = (Store::default(), Event::new());
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     cede::scope(|s| {
//!         let mut server = s.spawn(|| {
//!             let server = Server::new(1000).shutdown(&stop, Duration::from_millis(50));
//!             server.serve(listener, |stream, _peer| {
//!                 let _ = connection(&stream, &store, &stop);
//!             })
//!         });
//!         let client = BufReader::new(TcpStream::connect(address)?);
//!         let mut idle = BufReader::new(TcpStream::connect(address)?);
//!         writeln!(idle.get_ref(), "get z")?;
//!         idle.read_line(&mut String::new())?;
//!         client.get_ref().write_all(b"set x 1\nget x\nget y\nhello\nstop\n")?;
//!         let answers = client.lines().take(5).collect::<io::Result<Vec<_>>>()?;
//!         assert_eq!(answers, ["ok", "1", "nothing", "what?", "stopping"]);
//!         // The client has closed its connection. The idle one is cancelled after the grace period.
//!         let served = server.join().unwrap()?;
//!         assert!(served.accepted == 2 && served.cancelled >= 1);
//!         drop(idle);
//!         Ok::<(), io::Error>(())
//!     })
//!     .unwrap()
//! })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* a `RefCell` guard over a read or a write: another task would run meanwhile and find the cell borrowed. Several
//! [workers](super::super::workers) need a [`sync::Mutex`](crate::sync::Mutex) in an `Arc` instead.
//!
//! # An HTTP GET over a socket
//!
//! *When:* one request to a known server needs no HTTP library. In general use one that takes any `Read + Write`, such as ureq or
//! tungstenite; the page on [sockets](super::super::sockets) lists the crates that were tested.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! use std::io::{self, BufRead, BufReader, Read, Write};
//! use std::time::Duration;
//!
//! /// Returns the status and the body.
//! fn get(server: &str, path: &str) -> io::Result<(u16, String)> {
//!     let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not an answer of HTTP/1");
//!     let stream = TcpStream::connect(server)?;
//!     // HTTP/1.0: the server closes the connection after the body, and does not split the body into chunks.
//!     write!(&stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
//!     let mut reader = BufReader::new(&stream);
//!     let mut line = String::new();
//!     reader.read_line(&mut line)?;
//!     let status = line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)?.parse().ok()).ok_or_else(invalid)?;
//!     while line.trim_end() != "" {
//!         line.clear();
//!         reader.read_line(&mut line)?; // the headers
//!     }
//!     let mut body = String::new();
//!     reader.take(1 << 20).read_to_string(&mut body)?; // a limit: the server is not trusted
//!     Ok((status, body))
//! }
//!
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let server = listener.local_addr()?.to_string();
//!     cede::spawn(move || {
//!         let (stream, _peer) = listener.accept()?; // a web server
//!         let request = BufReader::new(&stream).lines().take_while(|line| !matches!(line, Ok(line) if line.is_empty()));
//!         let request = request.collect::<io::Result<Vec<_>>>()?;
//!         let path = request[0].split(' ').nth(1).unwrap();
//!         write!(&stream, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nthis is {path}")
//!     });
//!     // One deadline covers the connect, the request and all of the answer.
//!     let answer = cede::timeout(Duration::from_secs(60), || get(&server, "/index.html"));
//!     assert_eq!(answer.unwrap_or_else(|late| late.into_value())?, (200, "this is /index.html".to_string()));
//!     Ok::<(), io::Error>(())
//! })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* limits. A server that sends slowly, or sends without an end, is stopped by the deadline and by `take`.
