//! Several cores: where tasks run, what may move, servers, locks, blocking calls, the end, tests, and figures.
//!
//! # Read here, handle anywhere
//!
//! [`Config::workers`] gives a run several threads, its *workers*. A task stays on the worker where it has started. So let the task of a
//! connection read, and let [`spawn_anywhere`] handle each request: a worker that has nothing to do takes it.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream, serve_anywhere};
//! use cede::task::{JoinError, spawn_anywhere};
//! use std::io::{self, BufRead, BufReader, Write};
//!
//! /// Work of some microseconds or more.
//! fn handle(request: String) -> String {
//!     request.split(' ').rev().collect::<Vec<_>>().join(" ")
//! }
//!
//! fn connection(stream: TcpStream) -> io::Result<()> {
//!     for line in BufReader::new(&stream).lines() {
//!         let request = line?;
//!         let answer = match spawn_anywhere(move || handle(request)).join() {
//!             Ok(answer) => answer,
//!             Err(JoinError::Panicked(_)) => "error".to_owned(),
//!             Err(error) => return Err(io::Error::other(error.to_string())),
//!         };
//!         writeln!(&stream, "{answer}")?;
//!     }
//!     Ok(())
//! }
//!
//! cede::Config::new().workers(3).run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let server = cede::spawn(move || {
//!         serve_anywhere(listener, 1000, |stream, _peer| {
//!             let _ = connection(stream); // an error ends only this connection
//!         })
//!     });
//!     let stream = TcpStream::connect(address)?;
//!     writeln!(&stream, "anywhere handle here read")?;
//!     let mut answer = String::new();
//!     BufReader::new(&stream).read_line(&mut answer)?;
//!     assert_eq!(answer, "read here handle anywhere\n");
//!     server.cancel();
//!     Ok::<(), io::Error>(())
//! }).unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Without the spawn, the worker of a busy connection also delays its other connections, while other workers may have nothing to do. The
//! spawn and the join cost less than a microsecond.
//!
//! While a worker handles a request, it does not read. So give the run one more worker than there are cores if requests take long: another
//! worker then reads, and the kernel divides the cores between them. The figures below show the difference.
//!
//! # What moves
//!
//! | | |
//! |---|---|
//! | a closure of [`spawn_anywhere`], before its first turn | moves to any worker that has no ready task |
//! | a task that has started | never moves, so its stack may hold an `Rc`, a `RefCell` borrow or a lock guard |
//! | a task of [`spawn`], a child of [`scope`] | stays with the worker of the caller; its closure need not be `Send` |
//! | a closure with [`Builder::on`] or [`Handle::spawn_on`] | goes to one worker, and starts there |
//! | a result, through [`RemoteHandle::join`] or a channel | moves, so it is `Send` |
//! | a socket, file, pipe or child process | moves with its owner, also after its first wait; each worker has its own driver |
//!
//! A socket that two workers use at the same time, one to read and one to write, works too. It costs each of them a look-up per wait.
//!
//! ```
//! use cede::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//! cede::Config::new().workers(2).run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let mut client = TcpStream::connect(listener.local_addr()?)?;
//!     let (mut stream, _peer) = listener.accept()?;
//!     client.write_all(b"head body")?;
//!     stream.read_exact(&mut [0; 5])?; // on worker 0
//!     let rest = move || {
//!         let mut body = [0; 4];
//!         stream.read_exact(&mut body).map(|()| body) // on worker 1
//!     };
//!     let body = cede::Builder::new().on(1).spawn_anywhere(rest).unwrap().join().unwrap()?;
//!     assert_eq!(&body, b"body");
//!     Ok::<(), std::io::Error>(())
//! }).unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # `Send`
//!
//! Only a closure that moves, and its result, must be [`Send`]. What the closure makes after its start need not be. An `Rc` that it would
//! bring along does not compile:
//!
//! ```compile_fail,E0277
//! use std::rc::Rc;
//! cede::run(|| {
//!     let shared = Rc::new(1);
//!     cede::task::spawn_anywhere(move || *shared); // error: `Rc<i32>` cannot be sent between threads safely
//! });
//! ```
//!
//! To use such values on each worker, start one task there, and let it spawn local ones:
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//! let sums = cede::Config::new().workers(2).run(|| {
//!     let local_sum = || {
//!         let sum = Rc::new(Cell::new(0));
//!         let add = |n| {
//!             let sum = Rc::clone(&sum);
//!             cede::spawn(move || sum.set(sum.get() + n)) // on this worker
//!         };
//!         [1, 2, 3].map(add).iter_mut().for_each(|task| task.join().unwrap());
//!         sum.get()
//!     };
//!     let mut tasks = [0, 1].map(|worker| cede::Builder::new().on(worker).spawn_anywhere(local_sum).unwrap());
//!     tasks.each_mut().map(|task| task.join().unwrap())
//! })?;
//! assert_eq!(sums, [6, 6]);
//! # Ok::<(), cede::RunError<[i32; 2]>>(())
//! ```
//!
//! A [task-local](crate::task_local!) is not inherited by `spawn_anywhere`. A `thread_local!` is that of the worker.
//!
//! # Order
//!
//! A worker runs its ready tasks first. It starts a closure when no task is ready, but at the latest after 1,024 turns. So tasks that have
//! begun also end, and few stacks are in use. Closures of one worker start in the order of their spawns, as long
//! as no other worker takes some. Do not rely on an order between workers.
//!
//! # Servers
//!
//! [`serve_anywhere`] accepts in one task, and gives each connection to the worker that serves the fewest. The maximum of connections, the
//! panics, the cancels and the ordered shutdown are those of [`serve`]. Its handler is `Send` and `Sync`, since all workers call it.
//!
//! A listener per worker with `SO_REUSEPORT` is possible, too: spawn [`serve`] with [`Builder::on`] on each. Its latency and throughput were
//! about the same in the measurements below. But the kernel then divides the connections by a hash, so that some workers have more of them,
//! and a listener that is closed resets the connections in its own backlog.
//!
//! # Locks between workers
//!
//! The locks and channels of [`sync`] work between workers. A wait suspends the task, and the wake crosses threads, which takes longer than
//! a wake on the same worker, above all if the other worker sleeps. So hold a lock that workers share for a short time, keep data on one
//! worker where that is possible, and send it messages.
//!
//! A lock of std blocks the whole worker for as long as another one holds it. That is fine for a few instructions. Never hold it during a
//! wait: see [blocking calls](super::blocking_calls).
//!
//! # Blocking calls and long computations
//!
//! A call that blocks its thread stops the tasks of one worker, and the other workers continue. They take its closures that have not
//! started, but not its tasks. So the rules of [blocking calls](super::blocking_calls) also apply here: [`unblock`] for calls that block.
//! A computation of more than a millisecond delays the tasks of its worker: let it yield, or run it in `unblock`, where other libraries for
//! parallel computations also work.
//!
//! # The end
//!
//! When main returns, closures that have not started are dropped: their [`join`](crate::task::RemoteHandle::join) returns
//! [`JoinError::Cancelled`]. The tasks of all workers are cancelled, and have the [grace period](crate::Config::shutdown_grace) to end. Then the threads are joined. A
//! [`Handle`] that another thread keeps returns each closure that it gets later.
//!
//! A panic of a task on any worker goes to its `join`, or without a handle to the hook of
//! [`Config::on_unhandled_panic`](crate::Config::on_unhandled_panic), which runs on the thread of main. [`Handle::metrics`] sums the
//! counters of all workers, and [`Handle::dump`] lists their tasks. A deadlock of all workers is found and reported like that of one.
//!
//! # When not to use workers
//!
//! * If one core is enough: [`run`](crate::run()) needs neither `Send` nor atomic operations.
//! * If a program consists of independent parts: start a run on a thread for each. They share nothing unless you make them.
//! * If tasks are shorter than about a microsecond: moving them costs more than they do.
//! * If it is all computation on slices: rayon has parallel iterators. Call it in [`unblock`].
//!
//! # Tests
//!
//! A program for several workers also runs with one. Then its turns can have a [seed](crate::Config::seed) or a
//! [paused clock](crate::Config::paused_clock), which with several workers are errors. So test it in many orders with one worker, and a few
//! times with several:
//!
//! ```
//! use cede::Config;
//! use cede::sync::Mutex;
//! use cede::task::spawn_anywhere;
//! use std::sync::Arc;
//!
//! fn program() -> u32 {
//!     let total = Arc::new(Mutex::new(0));
//!     let add = |n| {
//!         let total = Arc::clone(&total);
//!         spawn_anywhere(move || *total.lock().unwrap() += n)
//!     };
//!     let mut tasks: Vec<_> = (1..=10).map(add).collect();
//!     tasks.iter_mut().for_each(|task| task.join().unwrap());
//!     *total.lock().unwrap()
//! }
//!
//! for seed in 0..20 {
//!     assert_eq!(Config::new().seed(seed).run(program).unwrap(), 55);
//! }
//! assert_eq!(Config::new().workers(4).run(program).unwrap(), 55);
//! ```
//!
//! # Figures
//!
//! Echo over loopback on two cores (AMD Zen 4, virtual machine, shared with the load and other programs). 64 connections send requests of
//! 20 us on average: the rates of the connections differ (Zipf, 0.8), and so do the requests (Pareto, up to 2 ms). The latency p99 in us
//! is the median of nine interleaved rounds; behind it, the median of its ratio to that of tokio in the same round:
//!
//! | requests per second | 10,000 | 20,000 | 30,000 |
//! |---|---|---|---|
//! | tokio, 2 threads, handled in the connection's task | 732 | 864 | 882 |
//! | the same, a task for each request | 525 (0.92) | 672 (0.75) | 796 (0.91) |
//! | `serve_anywhere`, 2 workers, handled in the connection's task | 610 (0.81) | 913 (1.62) | 1,670 (1.96) |
//! | the same, `spawn_anywhere` for each request | 508 (0.90) | 828 (1.19) | 1,038 (1.08) |
//! | **the same, 3 workers** | 518 (0.68) | 602 (0.73) | 879 (0.93) |
//! | `SO_REUSEPORT`, 2 workers, handled in the connection's task | 520 (0.92) | 920 (1.26) | 1,332 (1.29) |
//! | `SO_REUSEPORT`, 3 workers, `spawn_anywhere` for each request | 429 (0.69) | 682 (0.94) | 891 (0.92) |
//!
//! With 64 requests under way at all times, tokio answered 59,600 requests per second, and `serve_anywhere` with `spawn_anywhere` 61,600. At
//! that load p99 was 1.7 times that of tokio: no worker is free to take what another one leaves.
//!
//! `cargo build --release -p peers --bin skew`, then `chrt -f 5 target/release/skew --rounds 9 --rate 20000 tokio 'tokio*'
//! serve_anywhere 'serve_anywhere*' 'serve_anywhere*@3' reuse_port 'reuse_port*@3'`, and the same with `--outstanding 64`. chrt(1) keeps
//! other programs off the cores.
//!
//! [`spawn_anywhere`]: crate::task::spawn_anywhere
//! [`Config::workers`]: crate::Config::workers
//! [`spawn`]: crate::spawn()
//! [`scope`]: crate::scope()
//! [`Builder::on`]: crate::Builder::on
//! [`Handle`]: crate::task::Handle
//! [`Handle::spawn_on`]: crate::task::Handle::spawn_on
//! [`Handle::metrics`]: crate::task::Handle::metrics
//! [`Handle::dump`]: crate::task::Handle::dump
//! [`RemoteHandle::join`]: crate::task::RemoteHandle::join
//! [`JoinError::Cancelled`]: crate::task::JoinError::Cancelled
//! [`serve_anywhere`]: crate::net::serve_anywhere()
//! [`serve`]: crate::net::serve()
//! [`sync`]: crate::sync
//! [`unblock`]: crate::blocking::unblock
#![forbid(unsafe_code)]
