//! Sockets with the names and methods of [`std::net`] and [`std::os::unix::net`], whose calls suspend the task
//! instead of the thread.
//!
//! In a plain thread the same calls block the thread. A socket may move between runs and threads. `Read` and `Write`
//! are implemented for `&TcpStream` and `&UnixStream`, so one task can read from a stream while another task writes to
//! it. Of several tasks that wait for one direction, all wake, in arrival order, and the first that runs takes the
//! data.
//!
//! Duplicates of a descriptor share its blocking or non-blocking mode. A conversion from or to a type of `std` may
//! change the mode for all of them: see the `From` implementations.
//!
//! After fork(2) the tasks of the parent exist in the child, too. If the run has waited for I/O before, the child shares
//! its driver: its epoll instance and its ring of io_uring. Therefore waits for I/O in the child's copy of the run return an
//! error whose text begins with "forked", also waits that had begun, and the parent is not affected. A plain thread of the child
//! waits as usual, and a new run on such a thread has a driver of its own. A child that clone(2) made without a call of
//! fork(2) is not detected.
//!
//! [`serve`] is the accept loop of a server, with a task per connection. [`serve_anywhere`] gives the connections to all workers of the run.
//! [`Server`] adds an ordered shutdown.
//!
//! [`UdpSocket::send_batch`] and [`UdpSocket::recv_batch`] transfer many datagrams with one system call.
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
//!
//! # Socket options
//!
//! The methods are the stable ones of `std`, and [`TcpStream::set_linger`] and [`TcpStream::linger`]. Only `set_nonblocking` is left
//! out, because the library needs no mode: a call that cannot complete at once suspends the task, and never returns `WouldBlock`. To
//! limit the time of a wait, use [`timeout`](crate::timeout) or a timeout of the socket.
//!
//! The crate [socket2](https://docs.rs/socket2) has all other options: keep-alive, linger, buffer sizes,
//! and more. Its `SockRef` takes any of these sockets. For an option that must be set before `bind` or `listen`, such as the reuse of a
//! port, make the socket with socket2 and convert it to the type of `std` and then to that of this module.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
//! use std::net::SocketAddr;
//! use std::time::Duration;
//! let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
//! socket.set_reuse_address(true)?;
//! socket.set_reuse_port(true)?; // several runs, each on a thread, may listen on one port
//! socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
//! socket.listen(1024)?;
//! let listener = TcpListener::from(std::net::TcpListener::from(socket));
//!
//! let stream = TcpStream::connect(listener.local_addr()?)?;
//! let options = SockRef::from(&stream);
//! options.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
//! options.set_linger(Some(Duration::ZERO))?; // the drop resets the connection
//! options.set_recv_buffer_size(64 * 1024)?;
//! assert!(options.keepalive()? && options.recv_buffer_size()? >= 64 * 1024);
//! assert_eq!(options.linger()?, Some(Duration::ZERO));
//! # Ok::<(), std::io::Error>(())
//! ```

mod addresses;
mod batch;
mod batch_calls;
mod connect;
mod operations;
mod raw_fd;
mod resolve;
mod serve;
mod serve_anywhere;
mod socket;
mod sys;
mod sys_batch;
mod tcp;
mod timeouts;
mod udp;
mod unix;
mod unix_datagram;

pub use self::addresses::{Addresses, ToSocketAddrs};
pub use self::batch::{Batch, BatchError, Datagram, Datagrams};
pub use self::resolve::lookup_host;
#[doc(hidden)]
pub use self::resolve::{set_resolver, system_resolver};
pub use self::serve::{Listener, Served, Server, serve};
pub use self::serve_anywhere::serve_anywhere;
pub use self::tcp::{Incoming, TcpListener, TcpStream};
pub use self::udp::UdpSocket;
pub use self::unix::{UnixIncoming, UnixListener, UnixStream};
pub use self::unix_datagram::UnixDatagram;
pub use std::net::{Shutdown, SocketAddr};
