//! Sockets with the names and most methods of [`std::net`] and [`std::os::unix::net`], whose calls suspend the task
//! instead of the thread.
//!
//! In a plain thread the same calls block the thread. A socket may move between runs and threads; a shared reference
//! reads and writes, so two tasks can use both directions of one stream. Of several tasks that wait for one direction,
//! all wake, in arrival order, and the first that runs takes the data.
//!
//! Copies of a descriptor share its mode: see the conversions from and to the types of `std`. After fork(2) a child
//! must not use or drop sockets that the parent's run has waited for: both would share the registrations.
//!
//! [`serve`] is the accept loop of a server, with a task per connection. [`Server`] adds an ordered shutdown.
//!
//! The [module docs of `io`](crate::io) describe the errors of a wait that was cancelled or timed out, and cancel safety.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let mut server = cede::spawn(move || {
//!         let (mut stream, _peer) = listener.accept()?;
//!         let mut line = [0; 5];
//!         stream.read_exact(&mut line)?;
//!         stream.write_all(&line)
//!     });
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.write_all(b"hello")?;
//!     let mut echo = String::new();
//!     stream.read_to_string(&mut echo)?;
//!     assert_eq!(echo, "hello");
//!     server.join().unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod serve;
mod socket;
mod sys;
mod tcp;
mod udp;
mod unix;

pub use self::serve::{Listener, Served, Server, serve};
pub use self::tcp::{Incoming, TcpListener, TcpStream};
pub use self::udp::UdpSocket;
pub use self::unix::{UnixDatagram, UnixListener, UnixStream};
pub use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
