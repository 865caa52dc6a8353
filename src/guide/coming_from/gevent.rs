//! Coming from gevent.
//!
//! | gevent | cede |
//! |---|---|
//! | `monkey.patch_all()` | nothing is patched: `use cede::{fs, net, process}` in place of `std` |
//! | `gevent.spawn(f)` | `spawn(f)` |
//! | `g.join()`, `g.get()` | `g.join()`, which returns the value or the panic |
//! | `g.ready()` | `g.is_finished()` |
//! | `g.kill()` | `g.cancel()`, after which the waits of the task return errors |
//! | `g.link(f)` | `g.on_done(f)` |
//! | `gevent.getcurrent()` | `task::current()` |
//! | `gevent.sleep(1)`, `gevent.sleep(0)` | `sleep(second)`, `yield_now()` |
//! | `gevent.spawn_later(1, f)` | `after(second, f)` |
//! | `gevent.joinall(all)` | `join_all(all)` |
//! | `gevent.joinall(all, raise_error=True)` | `try_join_all(all)` |
//! | `gevent.iwait(all)` | `as_completed(all)` |
//! | `gevent.wait(all, count=1)` | `task::wait(&mut all, When::First, None)` |
//! | `gevent.killall(all)` | `set.shutdown()` of a `JoinSet::new()` |
//! | `with gevent.Timeout(1):` | `timeout(second, \|\| ..)` |
//! | `pool.Group()`, `group.spawn(f)` | `JoinSet::new()`, `set.spawn(f)` |
//! | `pool.Pool(2).map(f, items)` | a task per item, each with `let _permit = pool.acquire()` of a `Semaphore::new(2)` |
//! | `event.Event()` | `Event::new()`, `event.set()`, `event.wait()` |
//! | `event.AsyncResult()`, `set(5)`, `get()` | `Promise::new()`, `promise.set(5)`, `completion.wait()` |
//! | `lock.BoundedSemaphore(1)` | `Semaphore::bounded(1)` |
//! | `lock.RLock()` | `Mutex::new(())`, which is not reentrant |
//! | `queue.JoinableQueue(2)`, `put`, `get`, `task_done`, `join` | `Queue::bounded(2)`, `queue.push(1)`, `queue.pop()`, `drop(job)`, `queue.join()` |
//! | `queue.PriorityQueue()` | `PriorityQueue::unbounded()` |
//! | `queue.Channel()` | `channel::rendezvous()` |
//! | `local.local()` | `task_local! { .. }` |
//! | `threadpool.apply(f)` | `unblock(f)` |
//! | `server.StreamServer(address, handle).serve_forever()` | `serve(listener, 100, handle)` |
//! | `socket.create_connection(address)` | `net::TcpStream::connect(address)` |
//! | `subprocess.check_output(["echo", "hi"])` | `process::Command::new("echo").arg("hi").output()` |
//! | `gevent.signal_handler(SIGTERM, f)` | `signal::on(SignalKind::terminate())` |
//! | `util.print_run_info()` | `cede::dump()` |
//! | `config.max_blocking_time = 0.1` | `Config::new().report_slow_turns(second / 10)` |
//! | `g.switch(1)` of a greenlet; `parent.switch("yes")` | `g.resume(1)` of a `Coroutine::new(..)`; `parent.suspend("yes")` |
//!
//! # Greenlets
//!
//! ```
//! use cede::task::{self, Done, JoinSet, When};
//! use cede::time::{after, sleep};
//! use cede::{Config, Coroutine, as_completed, join_all, spawn, timeout, try_join_all, yield_now};
//! use std::time::Duration;
//!
//! let second = Duration::from_secs(1);
//! Config::new().paused_clock(true).run(|| {
//!     let f = || 42;
//!     let mut g = spawn(f);
//!     assert!(!g.is_finished());
//!     yield_now();
//!     assert!(g.is_finished());
//!     assert_eq!(g.join().unwrap(), 42);
//!     assert_eq!(after(second, f).join().unwrap(), Some(42));
//!
//!     let mut g = spawn(move || sleep(1000 * second).is_err());
//!     let f = |done: &Done<'_, bool>| assert!(done.task().id() > 1);
//!     g.on_done(f);
//!     yield_now();
//!     g.cancel();
//!     assert_eq!(g.join().unwrap(), true);
//!     assert_eq!(task::current().unwrap().id(), 1);
//!
//!     let naps = || [2, 1].map(|n| spawn(move || sleep(n * second)));
//!     let all = naps();
//!     assert!(join_all(all).into_iter().all(|nap| nap.unwrap().is_ok()));
//!     let all = naps();
//!     assert!(try_join_all(all).is_ok());
//!     let all = naps();
//!     assert_eq!(as_completed(all).map(|end| end.place).collect::<Vec<_>>(), [1, 0]);
//!     let mut all = naps();
//!     assert_eq!(task::wait(&mut all, When::First, None).unwrap().done, [1]);
//!     assert!(timeout(second, || sleep(2 * second)).is_err());
//!     sleep(second).unwrap();
//!
//!     let f = move || sleep(1000 * second).is_ok();
//!     let mut set = JoinSet::new();
//!     set.spawn(f);
//!     set.spawn(f);
//!     yield_now();
//!     set.shutdown();
//!     assert!(set.is_empty());
//! }).unwrap();
//!
//! let mut g = Coroutine::new(|parent, first: i32| {
//!     let second = parent.suspend("yes");
//!     first + second
//! });
//! assert_eq!(g.resume(1).yielded(), Some("yes"));
//! assert_eq!(g.resume(2).complete(), Some(3));
//! ```
//!
//! # Pools, events and queues
//!
//! ```
//! use cede::blocking::unblock;
//! use cede::sync::{Event, Mutex, PriorityQueue, Promise, Queue, Semaphore, channel};
//! use cede::{Config, scope, spawn, task_local};
//! use std::cell::Cell;
//! use std::time::Duration;
//!
//! task_local! { static USER: u32 = 0; }
//! let second = Duration::from_secs(1);
//! Config::new().report_slow_turns(second / 10).run(|| {
//!     let (pool, peak, active) = (Semaphore::new(2), Cell::new(0), Cell::new(0));
//!     let f = |n: u32| {
//!         let _permit = pool.acquire().unwrap();
//!         active.set(active.get() + 1);
//!         peak.set(peak.get().max(active.get()));
//!         cede::yield_now();
//!         active.set(active.get() - 1);
//!         n * n
//!     };
//!     let squares = scope(|s| {
//!         let mut tasks: Vec<_> = (1..=4).map(|n| s.spawn(move || f(n))).collect();
//!         tasks.iter_mut().map(|task| task.join().unwrap()).collect::<Vec<_>>()
//!     });
//!     assert_eq!((squares.unwrap(), peak.get()), (vec![1, 4, 9, 16], 2));
//!
//!     let (event, promise) = (Event::new(), Promise::new());
//!     let completion = promise.completion();
//!     event.set();
//!     event.wait().unwrap();
//!     promise.set(5).unwrap();
//!     assert_eq!(completion.wait().unwrap(), &5);
//!
//!     let (lock, one) = (Mutex::new(()), Semaphore::bounded(1));
//!     let _guards = (lock.lock().unwrap(), one.acquire().unwrap());
//!     assert!(lock.try_lock().is_none() && one.try_acquire().is_none());
//!
//!     let queue = Queue::bounded(2);
//!     queue.push(1).unwrap();
//!     let job = queue.pop().unwrap();
//!     drop(job);
//!     queue.join().unwrap();
//!     let urgent = PriorityQueue::unbounded();
//!     urgent.push((2, "late")).unwrap();
//!     urgent.push((1, "first")).unwrap();
//!     assert_eq!(urgent.pop().unwrap().1, "first");
//!     let (sender, receiver) = channel::rendezvous();
//!     spawn(move || sender.send("met"));
//!     assert_eq!(receiver.recv(), Ok("met"));
//!
//!     USER.set(7);
//!     assert_eq!(spawn(|| USER.get()).join().unwrap(), 0);
//!     let f = || 6 * 7; // a call that blocks
//!     assert_eq!(unblock(f), 42);
//!     assert!(cede::dump().to_string().contains("main"));
//! }).unwrap();
//! ```
//!
//! # Sockets and processes
//!
//! ```
//! # #[cfg(feature = "io")] {
//! use cede::net::serve;
//! use cede::signal::{self, SignalKind};
//! use cede::{fs, net, process};
//! use std::io::{self, Read, Write};
//!
//! fn handle(mut stream: net::TcpStream, _peer: net::SocketAddr) {
//!     if let Ok(text) = fs::read_to_string("Cargo.toml") {
//!         let _ = stream.write_all(&text.as_bytes()[..9]);
//!     }
//! }
//!
//! cede::run(|| {
//!     let listener = net::TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let _server = cede::spawn(move || serve(listener, 100, handle)).cancel_on_drop();
//!     let mut text = String::new();
//!     net::TcpStream::connect(address)?.read_to_string(&mut text)?;
//!     assert_eq!(text.len(), 9);
//!     assert_eq!(process::Command::new("echo").arg("hi").output()?.stdout, b"hi\n");
//!     let terminate = signal::on(SignalKind::terminate())?;
//!     assert!(!terminate.try_recv()?); // `recv` waits
//!     Ok::<(), io::Error>(())
//! })?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Differences
//!
//! * `kill` throws `GreenletExit` into the greenlet. A cancel makes the waits return errors.
//! * A greenlet switches to any other one. A coroutine is resumed by its owner, and suspends to it.
//! * The standard library is not patched: a call of `std` that blocks stops the whole run. See [blocking calls](super::super::blocking_calls).
