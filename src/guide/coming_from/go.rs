//! Coming from Go.
//!
//! | Go | cede |
//! |---|---|
//! | `func main()` | `cede::run(\|\| ..)` |
//! | `go f()` | `spawn(f)`, on this thread; `spawn_anywhere(f)`, on any worker |
//! | `GOMAXPROCS=2` | `Config::new().workers(2)` |
//! | `runtime.Gosched()`, `runtime.NumGoroutine()` | `yield_now()`, `task::all().len()` |
//! | `make(chan int)`, `make(chan int, 4)` | `channel::rendezvous()`, `channel::bounded(4)` |
//! | `c <- 1` | `sender.send(1)` |
//! | `n, ok := <-c` | `receiver.recv()`, an `Err` after the end |
//! | `close(c)` | `drop(sender)`, of the last sender |
//! | `for n := range c` | `for n in receiver` |
//! | `len(c)`, `cap(c)` | `receiver.len()`, `receiver.capacity()` |
//! | `select { case n := <-a: .. case b <- 2: .. }` | `select! { recv(a) -> n => .. send(b, 2) -> sent => .. }` |
//! | `default:` | `default => ..` |
//! | `case <-time.After(d):` | `after(d) => ..` |
//! | `select` over a slice of channels (`reflect.Select`) | `Select::new()`, `any.add(case)`, `any.wait()` |
//! | `sync.WaitGroup`, `Add`, `Done`, `Wait` | `WaitGroup::new()`, `group.clone()`, `drop(member)`, `group.wait()` |
//! | `sync.Mutex`, `sync.RWMutex` | `Mutex::new(0)`, `RwLock::new(0)` |
//! | `defer mutex.Unlock()` | the guard: `let mut n = lock.lock()?` |
//! | `sync.Cond` | `Condvar::new()`, `changed.wait_while(lock.lock()?, ..)` |
//! | `sync.OnceValue(f)` | `OnceCell::new()`, `once.get_or_init(f)` |
//! | `singleflight.Group.Do(key, f)` | a cell per key: `cell.get_or_try_init(f)` |
//! | `context.WithCancel(ctx)`, `cancel()` | `ctx.child_token()`, `ctx.cancel()` |
//! | `<-ctx.Done()`, `ctx.Err()` | `child.cancelled()`, `child.is_cancelled()` |
//! | `context.WithTimeout(ctx, d)` | `timeout(d, \|\| ..)` |
//! | `context.WithoutCancel(ctx)` | `shield(\|\| ..)` |
//! | `context.WithValue` | `task_local! { .. }` |
//! | `errgroup.Group` | `try_join_all(tasks)` |
//! | `semaphore.NewWeighted(4)`, `Acquire(ctx, 2)` | `Semaphore::new(4)`, `weighted.acquire_many(2)` |
//! | `time.Sleep(d)`, `time.AfterFunc(d, f)` | `sleep(d)`, `after(d, f)` |
//! | `time.NewTicker(d)`, `<-t.C` | `interval(d)`, `ticks.tick()` |
//! | `recover()` | `Err(JoinError::Panicked(_))` of a join |
//! | `fatal error: all goroutines are asleep - deadlock!` | `Err(RunError::Deadlock { report, .. })` |
//! | `iter.Seq`, `iter.Pull` | `Generator::new(..)` |
//! | `testing/synctest` | `Config::new().paused_clock(true)` |
//! | SIGQUIT, which prints the stacks | `Config::new().dump_on_signal(..)`, `cede::dump()` |
//! | `net.Listen`, `Accept` | `TcpListener::bind("127.0.0.1:0")`, `listener.accept()` |
//! | `net.Dial("tcp", address)` | `TcpStream::connect(address)` |
//! | `bufio.NewScanner(conn)` | `BufReader::new(stream).lines()` |
//! | `io.Copy(dst, src)` | `io::copy(&mut src, &mut dst)` |
//! | `os.ReadFile(name)` | `fs::read(name)` |
//! | `exec.Command("echo", "hi").Output()` | `Command::new("echo").arg("hi").output()` |
//! | `signal.Notify(c, os.Interrupt)` | `signal::on(SignalKind::interrupt())` |
//!
//! # Channels and select
//!
//! ```
//! use cede::sync::{Select, channel};
//! use cede::task::{self, Cancelled, spawn_anywhere};
//! use cede::{Config, select, spawn, yield_now};
//! use std::time::Duration;
//!
//! cede::run(|| {
//!     let (sender, receiver) = channel::rendezvous();
//!     let f = move || {
//!         sender.send(1).unwrap();
//!         sender.send(2).unwrap();
//!         drop(sender);
//!     };
//!     spawn(f);
//!     assert_eq!(task::all().len(), 2);
//!     assert_eq!(receiver.recv(), Ok(1));
//!     let mut rest = Vec::new();
//!     for n in receiver {
//!         rest.push(n);
//!     }
//!     assert_eq!(rest, [2]);
//!     yield_now();
//!
//!     let (_a, a) = channel::bounded::<u32>(4);
//!     let (b, receiver) = channel::bounded(4);
//!     let chosen = select! {
//!         recv(a) -> n => n.unwrap(),
//!         send(b, 2) -> sent => { sent.unwrap(); 0 },
//!     }?;
//!     assert_eq!((chosen, receiver.len(), receiver.capacity()), (0, 1, Some(4)));
//!     let d = Duration::from_millis(1);
//!     assert_eq!(select! { recv(a) -> _ => "a", default => "nothing" }?, "nothing");
//!     assert_eq!(select! { recv(a) -> _ => "a", after(d) => "late" }?, "late");
//!
//!     let mut cases = [a.case(), receiver.case()];
//!     let mut any = Select::new();
//!     for case in &mut cases {
//!         any.add(case);
//!     }
//!     let chosen = any.wait()?;
//!     assert_eq!((chosen, cases[1].take()), (1, Ok(2)));
//!     Ok::<(), Cancelled>(())
//! })?;
//! let f = || 6 * 7;
//! let answer = Config::new().workers(2).run(|| spawn_anywhere(f).join().unwrap());
//! assert_eq!(answer.unwrap(), 42);
//! # Ok::<(), Cancelled>(())
//! ```
//!
//! # sync, context, errgroup
//!
//! ```
//! use cede::sync::{CancellationToken, Condvar, Mutex, OnceCell, RwLock, Semaphore, WaitGroup};
//! use cede::task::Cancelled;
//! use cede::{scope, shield, spawn, task_local, timeout, try_join_all};
//! use std::time::Duration;
//!
//! task_local! { static TRACE: u32 = 0; }
//! cede::run(|| {
//!     let (group, lock, changed) = (WaitGroup::new(), Mutex::new(0), Condvar::new());
//!     scope(|s| {
//!         for _ in 0..3 {
//!             let member = group.clone();
//!             s.spawn(|| {
//!                 let mut n = lock.lock()?;
//!                 *n += 1;
//!                 changed.notify_all();
//!                 drop(member);
//!                 Ok::<(), Cancelled>(())
//!             });
//!         }
//!         assert_eq!(*changed.wait_while(lock.lock()?, |n| *n < 3)?, 3);
//!         group.wait()
//!     })
//!     .unwrap()?;
//!     let table = RwLock::new(0);
//!     assert_eq!(*table.read()? + *table.read()?, 0);
//!
//!     let (once, cell) = (OnceCell::new(), OnceCell::new());
//!     let f = || 5;
//!     assert_eq!((once.get_or_init(f)?, once.get_or_init(|| unreachable!())?), (&5, &5));
//!     let f = || "7".parse::<u32>();
//!     assert_eq!(cell.get_or_try_init(f), Ok(&7));
//!
//!     let ctx = CancellationToken::new();
//!     let child = ctx.child_token();
//!     ctx.cancel();
//!     child.cancelled()?;
//!     assert!(child.is_cancelled());
//!     let d = Duration::from_millis(1);
//!     let late = timeout(d, || {
//!         let slept = cede::time::sleep(100 * d);
//!         assert!(shield(|| cede::time::sleep(d)).is_ok());
//!         slept
//!     });
//!     assert_eq!(late.unwrap_err().into_value(), Err(Cancelled));
//!
//!     TRACE.set(9);
//!     let mut child = cede::Builder::new().inherit_locals(true).spawn(|| TRACE.get()).unwrap();
//!     assert_eq!(child.join().unwrap(), 9);
//!     let tasks = ["1", "x"].map(|text| spawn(move || text.parse::<u32>()));
//!     assert_eq!(try_join_all(tasks).unwrap_err().to_string(), "task 1 failed: invalid digit found in string");
//!     let weighted = Semaphore::new(4);
//!     let _permit = weighted.acquire_many(2)?;
//!     assert_eq!(weighted.available_permits(), 2);
//!     Ok::<(), Cancelled>(())
//! })?;
//! # Ok::<(), cede::task::Cancelled>(())
//! ```
//!
//! # Time, panics, deadlocks, iterators
//!
//! ```
//! use cede::sync::channel;
//! use cede::time::{after, interval, now, sleep};
//! use cede::{Config, Generator, JoinError, RunError, spawn};
//! use std::time::Duration;
//!
//! let d = Duration::from_secs(60);
//! Config::new().paused_clock(true).run(|| {
//!     let (start, mut ticks) = (now(), interval(d));
//!     assert!(ticks.tick().is_ok() && ticks.tick().is_ok());
//!     sleep(d).unwrap();
//!     let f = || "called";
//!     assert_eq!(after(d, f).join().unwrap(), Some("called"));
//!     assert_eq!(now() - start, 3 * d);
//!     let crashed = spawn(|| panic!("a fault")).join();
//!     assert!(matches!(crashed, Err(JoinError::Panicked(_))));
//! }).unwrap();
//!
//! let (_sender, receiver) = channel::rendezvous::<u32>();
//! let Err(RunError::Deadlock { report, .. }) = Config::new().closed_world(true).run(|| receiver.recv()) else { panic!() };
//! assert_eq!(report.tasks.len(), 1);
//!
//! let mut evens = Generator::new(|y| (0..).step_by(2).for_each(|n: u32| y.yield_(n)));
//! assert_eq!((evens.next(), evens.nth(1)), (Some(0), Some(4)));
//! Config::new().dump_on_signal(libc::SIGUSR2).run(|| assert_eq!(cede::dump().tasks.len(), 1)).unwrap();
//! ```
//!
//! # Sockets, files and processes
//!
//! ```
//! # #[cfg(feature = "io")] {
//! use cede::net::{TcpListener, TcpStream};
//! use cede::process::Command;
//! use cede::signal::{self, SignalKind};
//! use cede::{fs, io};
//! use std::io::{BufRead, BufReader};
//!
//! let name = "Cargo.toml";
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     cede::spawn(move || {
//!         let (mut dst, _peer) = listener.accept()?;
//!         let mut src = fs::File::open(name)?;
//!         io::copy(&mut src, &mut dst)
//!     });
//!     let stream = TcpStream::connect(address)?;
//!     let lines = BufReader::new(stream).lines().count();
//!     assert_eq!(fs::read(name)?.lines().count(), lines);
//!     assert_eq!(Command::new("echo").arg("hi").output()?.stdout, b"hi\n");
//!     let interrupts = signal::on(SignalKind::interrupt())?;
//!     assert!(!interrupts.try_recv()?); // `recv` waits
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Differences
//!
//! * Nothing preempts a task. A loop that computes for long calls [`yield_now`](crate::yield_now), or runs in
//!   [`unblock`](crate::blocking::unblock).
//! * A task starts on one worker and stays there. A stack does not grow: it has 64 KiB, and a
//!   [`Builder`](crate::Builder::stack_size) sets another size.
//! * A context is an argument in Go. A cancel, a deadline and a scope are around a call here, and all waits inside obey them.
//! * A channel ends when its last sender is dropped. A receive from a nil channel waits permanently; here a receiver whose sender is kept
//!   does, and [`select!`](crate::select) has no empty form.
