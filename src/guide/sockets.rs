//! Sockets: servers and clients, names, buffers, deadlines, cancels, half-closes, select, the types of std, plain threads, drivers, limits.
//!
//! # A server and a client
//!
//! One task accepts, and spawns a task for each connection. A call that must wait suspends its task; the other tasks run.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! use cede::{run, spawn};
//! use std::io::{self, BufRead, BufReader, Write};
//!
//! fn answer(stream: TcpStream) -> io::Result<()> {
//!     for line in BufReader::new(&stream).lines() {
//!         writeln!(&stream, "you said: {}", line?)?;
//!     }
//!     Ok(())
//! }
//!
//! run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     spawn(move || {
//!         loop {
//!             let (stream, _peer) = listener.accept()?; // main's end cancels this task: then `accept` fails
//!             spawn(move || answer(stream));
//!         }
//!         # #[allow(unreachable_code)]
//!         Ok::<(), io::Error>(())
//!     });
//!
//!     let stream = TcpStream::connect(address)?;
//!     writeln!(&stream, "hello")?;
//!     let mut line = String::new();
//!     BufReader::new(&stream).read_line(&mut line)?;
//!     assert_eq!(line, "you said: hello\n");
//!     Ok::<(), io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A reference to a stream reads and writes, too, so two tasks can share one stream: one reads, one writes.
//!
//! `accept` also fails for reasons that pass, such as `EMFILE` when no descriptor is left. [`serve`] handles them.
//!
//! # A server with an ordered shutdown
//!
//! [`serve`] accepts connections and calls a handler for each in a task of its own, up to a maximum of connections.
//! Without a free descriptor it tries again later, and reports panics of handlers. [`Server`] adds an ordered shutdown:
//! once its stop event is set, it stops accepting, waits for the running handlers, and cancels them after a grace
//! period.
//!
//! ```
//! use cede::net::{Server, TcpListener, TcpStream};
//! use cede::sync::Event;
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! let stop = Event::new(); // another thread may set it, too
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     cede::scope(|s| {
//!         let mut server = s.spawn(|| {
//!             let server = Server::new(1000).shutdown(&stop, Duration::from_secs(10));
//!             server.serve(listener, |stream, _peer| {
//!                 let _ = cede::io::copy(&mut &stream, &mut &stream); // an error ends only this connection
//!             })
//!         });
//!         let mut stream = TcpStream::connect(address)?;
//!         stream.write_all(b"first")?;
//!         stream.read_exact(&mut [0; 5])?;
//!         stop.set();
//!         stream.write_all(b"last")?; // the handler still runs
//!         stream.read_exact(&mut [0; 4])?;
//!         drop(stream);
//!         let served = server.join().unwrap()?;
//!         assert_eq!((served.accepted, served.cancelled), (1, 0));
//!         Ok::<(), std::io::Error>(())
//!     })
//!     .unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Names
//!
//! [`connect`] takes a name, too. The lookup runs on a thread of [`blocking`](crate::blocking), and the other tasks continue. The
//! addresses of a name are tried as in RFC 8305 ("happy eyeballs"): IPv4 and IPv6 in turn, a new attempt each 250 ms until one
//! succeeds. [`lookup_host`] only looks up.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let port = listener.local_addr()?.port();
//!     let stream = TcpStream::connect(("localhost", port))?;
//!     assert!(stream.peer_addr()?.ip().is_loopback());
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Buffers
//!
//! A connection that waits needs no buffer of its own. [`lend`] waits for data, reads it into a buffer of the thread, and calls a
//! closure with the bytes. [`buffered`] is a `BufRead` and `Write` over such buffers. It sends its output before a read waits, so a
//! protocol of questions and answers needs no `flush` between them.
//!
//! ```
//! use cede::net::UnixStream;
//! use std::io::{BufRead, Write};
//! cede::run(|| {
//!     let (client, server) = UnixStream::pair()?;
//!     let mut task = cede::spawn(move || {
//!         let mut lines = 0;
//!         // At the end of the stream there are no bytes.
//!         while server.lend(|bytes| {
//!             lines += bytes.iter().filter(|&&byte| byte == b'\n').count();
//!             !bytes.is_empty()
//!         })? {
//!             writeln!(&server, "{lines} lines")?;
//!         }
//!         Ok::<(), std::io::Error>(())
//!     });
//!     let mut buffered = client.buffered();
//!     writeln!(buffered, "hello")?;
//!     let mut answer = String::new();
//!     buffered.read_line(&mut answer)?; // sends the line
//!     assert_eq!(answer, "1 lines\n");
//!     drop(buffered);
//!     client.shutdown(std::net::Shutdown::Write)?;
//!     task.join().unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Data or a message
//!
//! [`select!`](crate::select) waits for descriptors beside channels and times. A `readable` case takes no data: read after the case
//! is chosen.
//!
//! ```
//! use cede::{net::UnixStream, select, sync::channel};
//! use std::io::Read;
//! use std::time::Duration;
//! cede::run(|| {
//!     let (mut here, _there) = UnixStream::pair()?;
//!     let (orders, stop) = channel::unbounded();
//!     cede::spawn(move || orders.send("stop"));
//!     let outcome = select! {
//!         readable(here) => here.read(&mut [0; 8]).map(|_| "data"),
//!         recv(stop) -> order => Ok(order.unwrap()),
//!         after(Duration::from_secs(10)) => Ok("nothing"),
//!     };
//!     assert_eq!(outcome.unwrap()?, "stop");
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Deadlines
//!
//! [`timeout`] limits any number of calls together. Every wait after the deadline fails with the kind `TimedOut`. The error of `timeout`
//! holds what the closure returned, which is a success if the data arrived together with the deadline.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! use std::io::{ErrorKind, Read, Write};
//! use std::time::Duration;
//! cede::run(|| {
//!     let silent = TcpListener::bind("127.0.0.1:0")?; // connections wait in its backlog
//!     let address = silent.local_addr()?;
//!     let late = cede::timeout(Duration::from_millis(20), || {
//!         let mut stream = TcpStream::connect(address)?;
//!         stream.write_all(b"hello?")?;
//!         stream.read(&mut [0; 8])
//!     });
//!     assert_eq!(late.unwrap_err().value.unwrap_err().kind(), ErrorKind::TimedOut);
//!
//!     // The timeouts of a socket limit each call, as in std. They also work in a plain thread.
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.set_read_timeout(Some(Duration::from_millis(20)))?;
//!     assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Cancels
//!
//! [`JoinHandle::cancel`] ends the wait of a task: the call returns an error for which [`is_cancelled`] is true. Each later wait of the
//! task fails at once. [`shield`] lets a task say good-bye nevertheless:
//!
//! ```
//! use cede::net::UnixStream;
//! use cede::{io::is_cancelled, shield, spawn};
//! use std::io::{Read, Write};
//! cede::run(|| {
//!     let (mut client, mut server) = UnixStream::pair()?;
//!     let mut task = spawn(move || {
//!         let error = server.read(&mut [0; 8]).unwrap_err(); // waits until the cancel
//!         assert!(is_cancelled(&error));
//!         shield(|| server.write_all(b"bye")) // may wait
//!     });
//!     cede::yield_now();
//!     task.cancel();
//!     let mut last = String::new();
//!     client.read_to_string(&mut last)?;
//!     assert_eq!(last, "bye");
//!     task.join().unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A `read`, `write`, `accept` or `recv` that was cancelled has transferred nothing. `read_exact`, `write_all` and
//! `copy` make several calls: after a cancel, part of the bytes may have been transferred. `read_exact`, and a `copy`
//! through a buffer, may lose bytes that they have read. A `BufReader` keeps the bytes that it has read, so
//! `read_until` continues where a deadline ended it.
//!
//! # The end of one direction
//!
//! [`shutdown`](crate::net::TcpStream::shutdown) ends one direction: the peer reads the end of the stream, and can still answer. A
//! proxy needs this in both directions, and [`copy_both`](crate::io::copy_both) does it.
//!
//! ```
//! use cede::net::{Shutdown, UnixStream};
//! use std::io::{Read, Write};
//! cede::run(|| {
//!     let (mut client, mut server) = UnixStream::pair()?;
//!     let mut sum = cede::spawn(move || {
//!         let mut bytes = Vec::new();
//!         server.read_to_end(&mut bytes)?; // until the client's shutdown
//!         server.write_all(&[bytes.iter().sum()])
//!     });
//!     client.write_all(&[1, 2, 3])?;
//!     client.shutdown(Shutdown::Write)?;
//!     let mut answer = Vec::new();
//!     client.read_to_end(&mut answer)?;
//!     assert_eq!(answer, [6]);
//!     sum.join().unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Sockets of std
//!
//! `From` converts in both directions, so every option that std, socket2 or libc can set is available. A socket of std that comes from
//! a conversion is in blocking mode.
//!
//! ```
//! use cede::net::TcpListener;
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! listener.set_ttl(5)?;
//! let listener = TcpListener::from(listener);
//! assert_eq!(std::net::TcpListener::from(listener).ttl()?, 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`Async`](crate::io::Async) makes any other descriptor wait: a pipe, a timerfd, an inotify descriptor.
//!
//! # Plain threads
//!
//! In a plain thread the same calls block the thread. A stream can move between runs and threads:
//!
//! ```
//! use cede::net::UnixStream;
//! use std::io::{Read, Write};
//! let (mut near, mut far) = UnixStream::pair()?;
//! let thread = std::thread::spawn(move || far.write_all(b"from a thread"));
//! let mut text = String::new();
//! cede::run(|| near.read_to_string(&mut text))?;
//! assert_eq!(text, "from a thread");
//! thread.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Drivers
//!
//! A run waits for I/O by one of two interfaces of the kernel. io_uring(7) is the default on Linux 6.1 and later: the kernel transfers the
//! data itself, and takes the sends and receives of many tasks in one system call. Where io_uring is missing or forbidden, the run uses
//! epoll(7). Many containers forbid it (by seccomp(2)), and some systems do (by `kernel.io_uring_disabled`).
//!
//! [`Config::driver`] chooses for a run. The environment variable `CEDE_IO` chooses for all runs that leave the choice to the library:
//! `CEDE_IO=epoll` or `CEDE_IO=uring`. [`metrics`] names the driver in use. The first line of a [`dump`] does, too, with the reason if
//! io_uring is not available. The example `io_driver` prints that text.
//!
//! ```
//! use cede::io::Driver;
//! use cede::net::UnixStream;
//! use std::io::{Read, Write};
//! let drivers = [Driver::Epoll, Driver::Auto].map(|driver| {
//!     cede::Config::new().driver(driver).run(|| {
//!         let (mut here, mut there) = UnixStream::pair()?;
//!         let mut reader = cede::spawn(move || there.read(&mut [0; 8])); // the first wait makes the driver
//!         cede::yield_now();
//!         here.write_all(b"data")?;
//!         assert_eq!(reader.join().unwrap()?, 4);
//!         Ok::<_, std::io::Error>(cede::metrics().io_driver)
//!     })
//! });
//! let [epoll, best] = drivers;
//! assert_eq!(epoll??, Some(Driver::Epoll));
//! println!("{:?}", best??); // Some(Uring), or Some(Epoll) where io_uring is not available
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Calls return the same values and errors with both. With io_uring the kernel writes into the buffer of a call that waits. So a cancel or
//! a deadline first ends the operation in the kernel, and then the call. A socket's operation ends at once. A read or write of a
//! file that the disk has begun ends when the disk has finished: see [`fs`](crate::fs).
//!
//! # Other crates
//!
//! Crates that take any `Read + Write` need no adapter. The member crate `crates/` of the repository tests rustls, tungstenite and
//! httparse, and has adapters for redis and ureq, which open their own sockets. All of them fit into the default stack of 64 KiB in an
//! optimized build. Without optimization, give the tasks that call ureq 256 KiB ([`Config::stack_size`]).
//!
//! [`is_cancelled`] takes an `io::Error`, which such a crate wraps into an error of its own:
//!
//! | crate | where the `io::Error` is |
//! |---|---|
//! | rustls, through `Stream` and `StreamOwned` | the error itself |
//! | tungstenite | `Error::Io`; in a handshake inside `HandshakeError::Failure`, which has no [source](std::error::Error::source) |
//! | ureq | `Error::Io`, which has no source |
//! | redis | the source, an `Arc<dyn Error + Send + Sync>` |
//!
//! Search a chain of sources for an `io::Error`, and not for [`Cancelled`](crate::task::Cancelled): `io::Error::source` skips the error
//! that it holds.
//!
//! # Limits
//!
//! * 64-bit Unix systems other than Linux wait by poll(2), whose cost grows with the number of waiting tasks. They are not tested.
//! * Cancels and deadlines end waits. A call that needs no wait completes, also in a cancelled task.
//! * A connection that waits takes a task: 4.4 KiB of memory with the smallest stack ([`stack::min_size`]), of which 4 KiB are the first
//!   page of the stack. Buffers come on top, so do not declare a large one on the stack of each task: see [`lend`].
//! * Reads and writes of files by `std` block the run, and so do lookups of names by `std`: see
//!   [`blocking_calls`](super::blocking_calls).
//! * After fork(2), the run continues in the child, too, but its waits for I/O return an error there if the run has waited for I/O
//!   before. The parent is not affected, and a new run on another thread of the child works: see [`net`](crate::net).
//!
//! [`serve`]: crate::net::serve
//! [`Server`]: crate::net::Server
//! [`connect`]: crate::net::TcpStream::connect
//! [`lookup_host`]: crate::net::lookup_host
//! [`lend`]: crate::net::TcpStream::lend
//! [`buffered`]: crate::net::TcpStream::buffered
//! [`timeout`]: crate::timeout
//! [`shield`]: crate::shield
//! [`is_cancelled`]: crate::io::is_cancelled
//! [`JoinHandle::cancel`]: crate::JoinHandle::cancel
//! [`Config::driver`]: crate::Config::driver
//! [`metrics`]: crate::metrics()
//! [`dump`]: crate::dump()
//! [`Config::stack_size`]: crate::Config::stack_size
//! [`stack::min_size`]: crate::stack::min_size
