//! Coming from tokio, with the names of tokio-util. How the two work together is on the page [tokio](mod@super::super::tokio).
//!
//! | tokio | cede |
//! |---|---|
//! | `#[tokio::main]`, `runtime.block_on(f)` | `cede::run(\|\| ..)` |
//! | `Builder::new_multi_thread().worker_threads(2)` | `Config::new().workers(2)` |
//! | `async fn f()`, `f().await` | a function, and a call: `f()` |
//! | `tokio::spawn(f)`, for `Send` | `spawn_anywhere(f)` |
//! | `LocalSet`, `spawn_local(f)` | `spawn(f)` |
//! | `task.await` | `task.join()`, or `block_on(task)` of a remote handle |
//! | `task.abort()`, `task.abort_handle()` | `task.cancel()`, `other.cancel_handle()` |
//! | `error.is_panic()`, `error.into_panic()` | `Err(JoinError::Panicked(_))` |
//! | `JoinSet`, `spawn`, `join_next`, `abort_all`, `shutdown` | `JoinSet::new()`, `set.spawn(f)`, `set.join_next()`, `set.cancel_all()`, `set.shutdown()` |
//! | `join!(a(), b())` | `join!(spawn(a), spawn(b))` |
//! | `try_join!(..)` | `try_join_all(tasks)` |
//! | `select! { x = a() => .., y = b() => .. }` | `race(tasks)`, which cancels and awaits the rest |
//! | `select! { Some(n) = r.recv() => .. }` | `select! { recv(r) -> n => .. }?` |
//! | `select! { () = token.cancelled() => .. }` | `cancelled(token) -> why => ..` |
//! | `select! { () = sleep(d) => .. }` | `after(d) => ..` |
//! | `yield_now().await`, `coop::consume_budget()` | `yield_now()` |
//! | `task_local!`, `USER.scope(7, f)` | `task_local! { .. }`, `USER.set(7)` |
//! | `mpsc::channel(2)`, `mpsc::unbounded_channel()` | `channel::bounded(2)`, `channel::unbounded()`, with any number of receivers |
//! | `oneshot::channel()`, `watch::channel(1)` | `oneshot::channel()`, `watch::channel(1)` |
//! | `r.changed().await`, `*r.borrow_and_update()` | `state.changed()`, `*state.borrow_and_update()`, a snapshot and no lock |
//! | `Notify`, `notify_one`, `notified` | `Notify::new()`, `notify.notify_one()`, `notify.notified()` |
//! | `Mutex`, `RwLock`, `Barrier` | `Mutex::new(0)`, `RwLock::new(0)`, `Barrier::new(1)` |
//! | `Semaphore`, `acquire`, `acquire_many`, `acquire_owned` | `Semaphore::new(4)`, `limit.acquire()`, `limit.acquire_many(2)`, `limit.acquire_owned(1)` |
//! | `OnceCell`, `get_or_init`, `get_or_try_init` | `OnceCell::new()`, `cell.get_or_init(..)`, `other.get_or_try_init(..)` |
//! | `CancellationToken`, `child_token`, `drop_guard` | `CancellationToken::new()`, `token.child_token()`, `token.drop_guard()` |
//! | `TaskTracker`, `close`, `wait` | `WaitGroup::new()`, `tracker.wait()`, or a scope |
//! | `time::sleep(d)`, `sleep_until(when)`, `Instant::now()` | `sleep(d)`, `sleep_until(when)`, `now()` |
//! | `time::timeout(d, f)`, `timeout_at(when, f)` | `timeout(d, f)`, `task::deadline(when, \|_\| f())` |
//! | `time::interval(d)`, `MissedTickBehavior::Skip` | `interval(d)`, `missed_ticks(MissedTicks::Skip)` |
//! | `time::pause()`, `time::advance(d)` | `Config::new().paused_clock(true)`, `advance(d)` |
//! | `spawn_blocking(f)`, `block_in_place(f)` | `unblock_detached(f)`, `unblock(f)` |
//! | `Handle::current()`, `handle.spawn(f)` | `Handle::current()`, `handle.spawn(f)` |
//! | `handle.block_on(f)` in a plain thread | `handle.spawn(f)`, and `join` of its handle |
//! | `Stream`, `StreamExt::next` | an iterator: `receiver.iter()`, `Generator::new(..)` |
//! | `TcpListener::bind(..)`, `accept()`, `TcpStream::connect(..)` | `TcpListener::bind("127.0.0.1:0")`, `listener.accept()`, `TcpStream::connect(address)` |
//! | `stream.into_split()` | `stream.split()`, or two references |
//! | `AsyncReadExt`, `AsyncBufReadExt`, `AsyncWriteExt` | `std::io::{BufRead, Read, Write}` |
//! | `io::copy_bidirectional(a, b)` | `io::copy_both(&a, &b)` |
//! | `fs::read(name)` | `fs::read(name)` |
//! | `process::Command::new("echo")` | `process::Command::new("echo")` |
//! | `signal::ctrl_c()` | `signal::on(SignalKind::interrupt())`, `signal::ctrl_c()` |
//!
//! # Tasks
//!
//! ```
//! use cede::sync::channel;
//! use cede::task::{Cancelled, Handle, JoinSet, spawn_anywhere};
//! use cede::{Config, Generator, JoinError, block_on, join, race, spawn, task_local, try_join_all, yield_now};
//!
//! task_local! { static USER: u32 = 0; }
//! Config::new().workers(2).run(|| {
//!     let f = || 6 * 7;
//!     let task = spawn_anywhere(f);
//!     assert_eq!(block_on(task)?.unwrap(), 42);
//!     let mut task = spawn(f);
//!     assert_eq!(task.join().unwrap(), 42);
//!     let park = || cede::task::park("an end").is_err();
//!     let (mut task, mut other) = (spawn(park), spawn(park));
//!     yield_now();
//!     let abort = other.cancel_handle();
//!     std::thread::spawn(move || abort.cancel());
//!     task.cancel();
//!     assert!(task.join().unwrap() && other.join().unwrap());
//!     assert!(matches!(spawn(|| panic!("no")).join(), Err(JoinError::Panicked(_))));
//!
//!     let mut set = JoinSet::new();
//!     set.spawn(f);
//!     assert_eq!(set.join_next().unwrap().unwrap(), 42);
//!     set.cancel_all();
//!     set.shutdown();
//!     let (a, b) = (|| 1, || "two");
//!     let (one, two) = join!(spawn(a), spawn(b));
//!     assert_eq!((one.unwrap(), two.unwrap()), (1, "two"));
//!     let tasks = ["1", "2"].map(|text| spawn(move || text.parse::<u32>()));
//!     assert_eq!(try_join_all(tasks).unwrap(), [1, 2]);
//!     let tasks = [spawn(park), spawn(|| true)];
//!     assert_eq!(race(tasks).winner, 1);
//!
//!     USER.set(7);
//!     assert_eq!((USER.get(), spawn(|| USER.get()).join().unwrap()), (7, 0));
//!     let handle = Handle::current();
//!     let outside = move || handle.spawn(f).map_err(drop).unwrap().join().unwrap();
//!     assert_eq!(cede::blocking::unblock(outside), 42);
//!
//!     let (sender, receiver) = channel::bounded(1);
//!     spawn(move || Generator::new(|y| (1..=3).for_each(|n| y.yield_(n))).try_for_each(|n: u32| sender.send(n)));
//!     assert_eq!(receiver.iter().map(|n| n * 2).collect::<Vec<_>>(), [2, 4, 6]);
//!     Ok::<(), Cancelled>(())
//! }).unwrap().unwrap();
//! ```
//!
//! # sync
//!
//! ```
//! use cede::sync::{Barrier, CancellationToken, Mutex, Notify, OnceCell, RwLock, Semaphore, WaitGroup};
//! use cede::sync::{channel, oneshot, watch};
//! use cede::{select, spawn};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! cede::run(|| {
//!     let ((s, r), (all, received)) = (channel::bounded(2), channel::unbounded());
//!     s.send(1).unwrap();
//!     all.send(2).unwrap();
//!     let (answer, asked) = oneshot::channel();
//!     answer.send(3).unwrap();
//!     assert_eq!((r.recv(), received.recv(), asked.recv()), (Ok(1), Ok(2), Ok(3)));
//!     let (config, mut state) = watch::channel(1);
//!     config.send(2).unwrap();
//!     assert_eq!(state.changed(), Ok(()));
//!     assert_eq!(*state.borrow_and_update(), 2);
//!
//!     let notify = Notify::new();
//!     notify.notify_one();
//!     notify.notified()?;
//!     let (lock, table, barrier) = (Mutex::new(0), RwLock::new(0), Barrier::new(1));
//!     *lock.lock()? += *table.read()?;
//!     assert!(barrier.wait().unwrap().is_leader());
//!     let limit = Arc::new(Semaphore::new(4));
//!     let (_one, _two, _owned) = (limit.acquire()?, limit.acquire_many(2)?, limit.acquire_owned(1)?);
//!     assert_eq!(limit.available_permits(), 0);
//!     let (cell, other) = (OnceCell::new(), OnceCell::new());
//!     assert_eq!(cell.get_or_init(|| 5)?, &5);
//!     assert!(other.get_or_try_init(|| "x".parse::<u32>()).is_err());
//!
//!     let token = CancellationToken::new();
//!     let child = token.child_token();
//!     drop(token.drop_guard());
//!     let token = child;
//!     let d = Duration::from_secs(60);
//!     let end = select! {
//!         recv(r) -> n => format!("{n:?}"),
//!         cancelled(token) -> why => why.to_string(),
//!         after(d) => "late".to_string(),
//!     }?;
//!     assert_eq!(end, "cancelled");
//!     let tracker = WaitGroup::new();
//!     let member = tracker.clone();
//!     spawn(move || drop(member));
//!     tracker.wait()
//! })?;
//! # Ok::<(), cede::task::Cancelled>(())
//! ```
//!
//! # Times and blocking calls
//!
//! ```
//! use cede::blocking::{unblock, unblock_detached};
//! use cede::task::{self, Cancelled};
//! use cede::time::{MissedTicks, advance, interval, now, sleep, sleep_until};
//! use cede::{Config, timeout};
//! use std::time::Duration;
//!
//! let d = Duration::from_secs(60);
//! Config::new().paused_clock(true).run(|| {
//!     let start = now();
//!     sleep(d)?;
//!     let when = start + 2 * d;
//!     sleep_until(when)?;
//!     advance(d)?;
//!     assert_eq!(now() - start, 3 * d);
//!     let mut ticks = interval(d).missed_ticks(MissedTicks::Skip);
//!     ticks.tick()?;
//!     let f = || sleep(2 * d);
//!     assert_eq!(timeout(d, f).unwrap_err().into_value(), Err(Cancelled));
//!     let when = now() + d;
//!     assert!(task::deadline(when, |_| f()).is_err());
//!
//!     let text = String::from("borrowed");
//!     let f = || text.len();
//!     assert_eq!(unblock(f), 8);
//!     let f = || 42; // owns what it uses
//!     assert_eq!(unblock_detached(f).join().unwrap(), 42);
//!     Ok::<(), Cancelled>(())
//! }).unwrap().unwrap();
//! ```
//!
//! # Sockets, files, processes and signals
//!
//! ```
//! # #[cfg(feature = "io")] {
//! use cede::net::{TcpListener, TcpStream};
//! use cede::signal::{self, SignalKind};
//! use cede::{fs, io, process, spawn};
//! use std::io::{BufRead, Read, Write};
//!
//! let name = "Cargo.toml";
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let mut proxy = spawn(move || {
//!         let (a, _peer) = listener.accept()?;
//!         let (b, _peer) = listener.accept()?;
//!         Ok::<_, std::io::Error>(io::copy_both(&a, &b))
//!     });
//!     let (mut stream, mut peer) = (TcpStream::connect(address)?, TcpStream::connect(address)?);
//!     let (mut reader, mut writer) = stream.split();
//!     writer.write_all(b"there\n")?;
//!     let mut line = String::new();
//!     std::io::BufReader::new(&peer).read_line(&mut line)?;
//!     peer.write_all(b"back")?;
//!     let mut answer = [0; 4];
//!     reader.read_exact(&mut answer)?;
//!     assert_eq!((&*line, &answer), ("there\n", b"back"));
//!     stream.flush()?;
//!     drop((stream, peer));
//!     assert_eq!(proxy.join().unwrap()?.forth, 6);
//!
//!     assert!(!fs::read(name)?.is_empty());
//!     assert!(process::Command::new("echo").arg("hi").status()?.success());
//!     let interrupts = signal::on(SignalKind::interrupt())?;
//!     assert!(!interrupts.try_recv()?); // `recv` waits
//!     let mut once = spawn(|| signal::ctrl_c());
//!     cede::yield_now();
//!     once.cancel();
//!     assert!(io::is_cancelled(&once.join().unwrap().unwrap_err()));
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Differences
//!
//! * An abort drops a future at its `await`. A cancelled task goes on: its waits return errors. So no state is lost half-way, and a loop
//!   that ignores the errors never ends.
//! * `select!` over functions becomes [`race`](crate::race()) over tasks. `select!` over operations performs exactly one, and a cancelled
//!   one performs none, so "cancel safety" needs no thought.
//! * A task never changes threads, so it may hold an `Rc` or a guard over a wait. Only what is given to `spawn_anywhere` must be `Send`.
//! * A lock is never poisoned and never waits in a busy loop. A `std::sync::Mutex` that a task holds over a wait can block the whole run.
//! * `broadcast` has no counterpart yet: one [`channel`](mod@crate::sync::channel) for each receiver, or [`watch`](crate::sync::watch) if only
//!   the latest value counts.
