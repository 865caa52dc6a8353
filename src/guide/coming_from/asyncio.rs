//! Coming from asyncio.
//!
//! | asyncio | cede |
//! |---|---|
//! | `asyncio.run(main())` | `cede::run(program)` |
//! | `async def fetch(n): ..`, `await fetch(1)` | `fn fetch(n: u64) ..`, `fetch(1)` |
//! | `asyncio.create_task(fetch(2))` | `spawn(\|\| fetch(2))` |
//! | `await task` | `task.join()` |
//! | `asyncio.sleep(1)`; `asyncio.sleep(0)` | `sleep(second)`; `yield_now()` |
//! | `task.cancel("enough")` | `task.cancel_with("enough")` |
//! | `except CancelledError:` | `Err(Cancelled) => ..` |
//! | `task.cancelling()` | `task::is_cancelled()` |
//! | `asyncio.current_task()`, `asyncio.all_tasks()` | `task::current()`, `task::all()` |
//! | `task.add_done_callback(f)` | `task.on_done(\|done\| ..)` |
//! | `asyncio.gather(*tasks, return_exceptions=True)` | `gather(tasks)`, a second name of `join_all(tasks)` |
//! | `asyncio.gather(*tasks)` | `try_join_all(tasks)`, which cancels and awaits the rest |
//! | `asyncio.wait(tasks, return_when=FIRST_COMPLETED)` | `task::wait(&mut tasks, When::First, None)` |
//! | `asyncio.as_completed(tasks)` | `as_completed(tasks)` |
//! | `async with TaskGroup() as group:`, `group.create_task(f())` | `scope(\|s\| ..)`, `s.spawn(\|\| ..)` |
//! | `asyncio.wait_for(fetch(9), 2)` | `timeout(2 * second, \|\| fetch(9))` |
//! | `async with asyncio.timeout_at(when) as t:`, `t.reschedule(None)` | `task::deadline(when, \|t\| ..)`, `t.reschedule(None)` |
//! | `asyncio.shield(save())` | `shield(save)` |
//! | `asyncio.Queue(2)`, `put`, `get` | `Queue::bounded(2)`, `queue.push(n)`, `queue.pop()` |
//! | `queue.task_done()`, `await queue.join()` | `drop(job)`, `queue.join()` |
//! | `asyncio.Lock()`, `async with lock:` | `Mutex::new(0)`, `let mut n = lock.lock()?` |
//! | `asyncio.Event()`, `set`, `wait` | `Event::new()`, `event.set()`, `event.wait()` |
//! | `asyncio.Condition()`, `wait_for(p)` | `Condvar::new()`, `changed.wait_while(lock.lock()?, ..)` |
//! | `asyncio.BoundedSemaphore(2)`, `async with limit:` | `Semaphore::bounded(2)`, `let _permit = limit.acquire()?` |
//! | `asyncio.Barrier(2)` | `Barrier::new(2)`, `barrier.wait()` |
//! | `loop.create_future()`, `future.set_result(5)`, `await future` | `Promise::new()`, `promise.set(5)`, `completion.wait()` |
//! | `loop.time()`, `loop.call_later(1, f)` | `now()`, `after(second, f)` |
//! | `contextvars.ContextVar` | `task_local! { .. }` |
//! | `asyncio.to_thread(f)` | `unblock(f)` |
//! | `asyncio.run_coroutine_threadsafe(f(), loop)` | `Handle::current()`, `handle.spawn(f)` |
//! | `loop.slow_callback_duration = 0.1` | `Config::new().report_slow_turns(second / 10)` |
//! | `asyncio.start_server(echo, ..)` | `serve(listener, 100, echo)` |
//! | `asyncio.open_connection(..)`, `readline()` | `TcpStream::connect(address)`, `reader.read_line(&mut line)` |
//! | `asyncio.create_subprocess_exec("echo", "hi")` | `Command::new("echo").arg("hi")` |
//! | `loop.add_signal_handler(SIGTERM, f)` | `signal::on(SignalKind::terminate())` |
//!
//! # Tasks and cancels
//!
//! ```
//! use cede::task::{self, Cancelled};
//! use cede::time::sleep;
//! use cede::{shield, spawn, yield_now};
//! use std::time::Duration;
//!
//! fn fetch(n: u64) -> Result<u64, Cancelled> {
//!     sleep(Duration::from_millis(n))?;
//!     Ok(n * 10)
//! }
//!
//! fn program() {
//!     let second = Duration::from_secs(1);
//!     assert_eq!(fetch(1), Ok(10));
//!     let mut task = spawn(|| fetch(2));
//!     task.on_done(|done| assert!(matches!(done.result(), Some(Ok(Ok(20))) | None)));
//!     assert_eq!(task.join().unwrap(), Ok(20));
//!
//!     let save = || sleep(Duration::from_millis(1)).is_ok();
//!     let mut task = spawn(move || match sleep(1000 * second) {
//!         Err(Cancelled) => (task::is_cancelled(), shield(save), task::cancelled().unwrap().to_string()),
//!         Ok(()) => unreachable!(),
//!     });
//!     yield_now();
//!     task.cancel_with("enough");
//!     assert_eq!(task.join().unwrap(), (true, true, "cancelled: enough".to_string()));
//!     assert_eq!(task::current().unwrap(), task::all()[0].0);
//! }
//! cede::run(program);
//! ```
//!
//! # Several tasks, and time limits
//!
//! ```
//! use cede::task::{self, Cancelled, When};
//! use cede::time::{after, now, sleep};
//! use cede::{Config, as_completed, gather, join_all, scope, spawn, timeout, try_join_all};
//! use std::time::Duration;
//!
//! let second = Duration::from_secs(1);
//! let fetch = move |n: u32| sleep(n * second).map(|()| n);
//! let fetches = move || [3, 1, 2].map(|n| spawn(move || fetch(n)));
//! Config::new().paused_clock(true).run(|| {
//!     let tasks = fetches();
//!     assert_eq!(gather(tasks).into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Ok(3), Ok(1), Ok(2)]);
//!     let tasks = fetches();
//!     assert_eq!(join_all(tasks).len(), 3);
//!     let tasks = fetches();
//!     assert_eq!(try_join_all(tasks).unwrap(), [3, 1, 2]);
//!     let tasks = fetches();
//!     assert_eq!(as_completed(tasks).map(|end| end.place).collect::<Vec<_>>(), [1, 2, 0]);
//!     let mut tasks = fetches();
//!     assert_eq!(task::wait(&mut tasks, When::First, None).unwrap().done, [1]);
//!
//!     sleep(second).unwrap();
//!     let mut total = 0;
//!     scope(|s| {
//!         s.spawn(|| total += fetch(4).unwrap()); // borrows `total`
//!     })
//!     .unwrap();
//!     assert_eq!(total, 4);
//!
//!     assert_eq!(timeout(2 * second, || fetch(9)).unwrap_err().into_value(), Err(Cancelled));
//!     let when = now() + second;
//!     let done = task::deadline(when, |t| {
//!         t.reschedule(None);
//!         fetch(9)
//!     });
//!     assert_eq!(done.unwrap(), Ok(9));
//!     let f = || "called";
//!     assert_eq!(after(second, f).join().unwrap(), Some("called"));
//! }).unwrap();
//! ```
//!
//! # Queues, locks and threads
//!
//! ```
//! use cede::blocking::unblock;
//! use cede::sync::{Barrier, Condvar, Event, Mutex, Promise, Queue, Semaphore};
//! use cede::task::{Cancelled, Handle};
//! use cede::{Config, scope, spawn, task_local};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! task_local! { static USER: u32 = 0; }
//! let second = Duration::from_secs(1);
//! let config = Config::new().report_slow_turns(second / 10); // reported on stderr
//! config.run(|| {
//!     let queue = Arc::new(Queue::bounded(2));
//!     let jobs = Arc::clone(&queue);
//!     spawn(move || {
//!         while let Ok(job) = jobs.pop() {
//!             assert!(*job > 0);
//!             drop(job);
//!         }
//!     });
//!     for n in 1..=5 {
//!         queue.push(n).unwrap();
//!     }
//!     queue.join()?;
//!     assert!(queue.pop_timeout(Duration::from_millis(1)).is_err()); // `queue.pop()` would wait
//!
//!     let (lock, changed, event) = (Mutex::new(0), Condvar::new(), Event::new());
//!     let (limit, barrier) = (Semaphore::bounded(2), Barrier::new(2));
//!     scope(|s| {
//!         s.spawn(|| {
//!             event.wait()?;
//!             let _permit = limit.acquire()?;
//!             let mut n = lock.lock()?;
//!             *n += 1;
//!             drop(n);
//!             changed.notify_all();
//!             barrier.wait().map_err(|_| Cancelled).map(drop)
//!         });
//!         event.set();
//!         assert_eq!(*changed.wait_while(lock.lock()?, |n| *n == 0)?, 1);
//!         barrier.wait().map_err(|_| Cancelled).map(drop)
//!     })
//!     .unwrap()?;
//!
//!     let promise = Promise::new();
//!     let completion = promise.completion();
//!     promise.set(5).unwrap();
//!     assert_eq!(completion.wait().unwrap(), &5);
//!
//!     USER.set(7);
//!     let f = || USER.get();
//!     assert_eq!((spawn(f).join().unwrap(), USER.get()), (0, 7)); // a task begins with the initial value
//!
//!     let f = || std::thread::current().id();
//!     assert_ne!(unblock(f), f());
//!     let handle = Handle::current();
//!     let other_thread = std::thread::spawn(move || handle.spawn(f).map_err(drop).unwrap());
//!     let mut task = unblock(|| other_thread.join().unwrap());
//!     assert_eq!(task.join().unwrap(), f()); // on the thread of the run
//!     Ok::<(), Cancelled>(())
//! }).unwrap().unwrap();
//! ```
//!
//! # Sockets, processes and signals
//!
//! ```
//! # #[cfg(feature = "io")] {
//! use cede::net::{SocketAddr, TcpListener, TcpStream, serve};
//! use cede::process::Command;
//! use cede::signal::{self, SignalKind};
//! use std::io::{self, BufRead, BufReader, Write};
//!
//! fn echo(stream: TcpStream, _peer: SocketAddr) {
//!     let _ = io::copy(&mut &stream, &mut &stream);
//! }
//!
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let _server = cede::spawn(move || serve(listener, 100, echo)).cancel_on_drop();
//!     let mut reader = BufReader::new(TcpStream::connect(address)?);
//!     reader.get_mut().write_all(b"hello\n")?;
//!     let mut line = String::new();
//!     reader.read_line(&mut line)?;
//!     assert_eq!(line, "hello\n");
//!
//!     assert_eq!(Command::new("echo").arg("hi").output()?.stdout, b"hi\n");
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
//! * `asyncio.CancelledError` is thrown once. Here each wait of a cancelled task returns `Cancelled`, so clean-up that waits needs a
//!   [`shield`](crate::shield).
//! * An exception of a task is an `Err` of its value, or a panic, which [`join`](crate::JoinHandle::join) returns.
//! * A task that is dropped in Python may be collected before it ends. A dropped handle detaches the task here.
//! * `loop.call_soon` has no counterpart: spawn a task.
