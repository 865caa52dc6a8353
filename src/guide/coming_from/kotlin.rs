//! Coming from the coroutines of Kotlin.
//!
//! | Kotlin | cede |
//! |---|---|
//! | `runBlocking { .. }` | `cede::run(\|\| ..)` |
//! | `suspend fun load(n: Int)` | `fn load(n: u64)` |
//! | `scope.launch { .. }` | `s.spawn(\|\| ..)` of a scope, or `spawn(f)` |
//! | `async { load(1) }`, `.await()` | `spawn(\|\| load(1))`, `task.join()` |
//! | `coroutineScope { .. }` | `scope(\|s\| ..)`, which may borrow |
//! | `supervisorScope { .. }` | `JoinSet::new()`, whose drop cancels its tasks; a task that fails ends no other one |
//! | `delay(100)`, `yield()` | `sleep(ms(100))`, `yield_now()` |
//! | `job.cancel()`, `job.join()`, `job.isCompleted` | `job.cancel()`, `job.join()`, `job.is_finished()` |
//! | `cancel(CancellationException("enough"))` | `job.cancel_with("enough")` |
//! | `isActive`, `ensureActive()` | `!task::is_cancelled()`, `task::check()` |
//! | `withContext(NonCancellable) { .. }` | `shield(\|\| ..)` |
//! | `withTimeout(100) { .. }` | `timeout(ms(100), \|\| ..)` |
//! | `withTimeoutOrNull(100) { .. }` | `timeout(ms(100), \|\| ..).ok()` |
//! | `awaitAll(a, b)` | `try_join_all([a, b])` |
//! | `job.invokeOnCompletion { .. }` | `job.on_done(\|done\| ..)` |
//! | `CoroutineExceptionHandler { .. }` | `Config::new().on_unhandled_panic(..)` |
//! | `CoroutineName("loader")` | `Builder::new().name("loader")` |
//! | `threadLocal.asContextElement(7)` | `task_local! { .. }`, with `inherit_locals(true)` |
//! | `Dispatchers.IO` | `unblock(f)` |
//! | `Dispatchers.Default` | `spawn_anywhere(f)` of `Config::new().workers(2)` |
//! | `suspendCancellableCoroutine { .. }` | `oneshot::channel()`, or `park("a token")` with an `Unparker::current()` |
//! | `CompletableDeferred<Int>()`, `complete(5)` | `Promise::new()`, `promise.set(5)` |
//! | `Channel<Int>(4)`, `Channel.RENDEZVOUS`, `Channel.UNLIMITED` | `channel::bounded(4)`, `channel::rendezvous()`, `channel::unbounded()` |
//! | `channel.send(1)`, `channel.trySend(1)`, `channel.close()` | `sender.send(1)`, `sender.try_send(2)`, `sender.close()` |
//! | `for (n in channel)` | `for n in receiver` |
//! | `produce { send(n) }` | a task that sends: `spawn(move \|\| (1..=3).try_for_each(\|n\| numbers.send(n)))` |
//! | `actor { .. }` | a task that receives: `for request in requests` |
//! | `select { a.onReceive { .. } }` | `select! { recv(a) -> n => .. }?` |
//! | `onTimeout(60_000) { .. }` | `after(ms(60_000)) => ..` |
//! | `job.onJoin { .. }` | `join(job) -> end => ..` |
//! | `sequence { yield(n); yieldAll(other) }` | `Generator::new(\|y\| ..)`, `y.yield_(1)`, `y.yield_from(other)` |
//! | `flow { emit(n) }`, `.map { }`, `.take(2)`, `.collect { }` | a generator: `flow.map(..).take(2)`, `for n in ..` |
//! | `flow.flowOn(..)`, `buffer(2)` | a task with a `channel::bounded(2)` |
//! | `MutableStateFlow(1)`, `state.first { it > 2 }` | `watch::channel(1)`, `state.wait_for(\|n\| *n > 2)` |
//! | `Mutex().withLock { .. }`, `Semaphore(2).withPermit { .. }` | `*lock.lock()? += 1`, `let _permit = limit.acquire()?` |
//! | `runTest { advanceTimeBy(100) }` | `Config::new().paused_clock(true)`, `advance(ms(100))` |
//!
//! # Scopes, jobs and cancels
//!
//! ```
//! use cede::task::{self, Cancelled, JoinSet};
//! use cede::time::{advance, now, sleep};
//! use cede::{Builder, Config, scope, shield, spawn, task_local, timeout, try_join_all, yield_now};
//! use std::{cell::Cell, rc::Rc, time::Duration};
//!
//! task_local! { static USER: u32 = 0; }
//! let ms = Duration::from_millis;
//! fn load(n: u64) -> Result<u64, Cancelled> {
//!     sleep(Duration::from_millis(n))?;
//!     Ok(n * 10)
//! }
//!
//! Config::new().paused_clock(true).run(|| {
//!     let mut task = spawn(|| load(1));
//!     assert_eq!(task.join().unwrap(), Ok(10));
//!     let mut sum = 0;
//!     scope(|s| {
//!         s.spawn(|| sum += load(2).unwrap());
//!     })
//!     .unwrap();
//!     assert_eq!(sum, 20);
//!     let failed = scope(|s| {
//!         s.spawn(|| panic!("a fault")); // cancels the other tasks
//!         s.spawn(|| load(1_000_000));
//!     });
//!     assert!(failed.is_err());
//!     let mut set = JoinSet::new();
//!     set.spawn(|| panic!("a fault"));
//!     set.spawn(|| load(1));
//!     assert!(set.join_next().unwrap().is_err());
//!     assert_eq!(set.join_next().unwrap().unwrap(), Ok(10)); // went on
//!
//!     let mut job = spawn(move || {
//!         assert!(!task::is_cancelled());
//!         let work = sleep(ms(100_000));
//!         let saved = shield(|| sleep(ms(100)).is_ok());
//!         (work, task::check(), saved, task::cancelled().unwrap().to_string())
//!     });
//!     job.on_done(|done| assert!(done.task().id() > 1));
//!     yield_now();
//!     job.cancel_with("enough");
//!     assert!(!job.is_finished());
//!     assert_eq!(job.join().unwrap(), (Err(Cancelled), Err(Cancelled), true, "cancelled: enough".to_string()));
//!     let mut job = spawn(|| ());
//!     job.cancel();
//!     assert!(job.join().is_err()); // it never ran
//!
//!     assert_eq!(timeout(ms(100), || load(200)).unwrap_err().into_value(), Err(Cancelled));
//!     assert_eq!(timeout(ms(100), || load(50)).ok(), Some(Ok(500)));
//!     let (a, b) = (spawn(|| load(1)), spawn(|| load(2)));
//!     assert_eq!(try_join_all([a, b]).unwrap(), [10, 20]);
//!
//!     USER.set(7);
//!     let loader = Builder::new().name("loader").inherit_locals(true);
//!     let mut loader = loader.spawn(|| (USER.get(), task::current().unwrap().name() == Some("loader"))).unwrap();
//!     assert_eq!(loader.join().unwrap(), (7, true));
//!     let start = now();
//!     advance(ms(100)).unwrap();
//!     assert_eq!(now() - start, ms(100));
//! }).unwrap();
//!
//! let panics = Rc::new(Cell::new(0));
//! let seen = Rc::clone(&panics);
//! let config = Config::new().on_unhandled_panic(move |_task, _payload| seen.set(seen.get() + 1));
//! config.run(|| {
//!     drop(spawn(|| panic!("a fault")));
//!     yield_now();
//! }).unwrap();
//! assert_eq!(panics.get(), 1);
//! ```
//!
//! # Dispatchers and callbacks
//!
//! ```
//! use cede::blocking::unblock;
//! use cede::sync::{Promise, oneshot};
//! use cede::task::{Unparker, park, spawn_anywhere};
//! use cede::{Config, spawn};
//!
//! Config::new().workers(2).run(|| {
//!     let f = || 6 * 7;
//!     assert_eq!((unblock(f), spawn_anywhere(f).join().unwrap(), spawn(f).join().unwrap()), (42, 42, 42));
//!     let (sender, receiver) = oneshot::channel();
//!     std::thread::spawn(move || sender.send("called back"));
//!     assert_eq!(receiver.recv(), Ok("called back"));
//!     let resume = Unparker::current();
//!     std::thread::spawn(move || resume.unpark());
//!     park("a token").unwrap();
//!     let promise = Promise::new();
//!     let completion = promise.completion();
//!     promise.set(5).unwrap();
//!     assert_eq!(completion.wait().unwrap(), &5);
//! }).unwrap();
//! ```
//!
//! # Channels, sequences and flows
//!
//! ```
//! use cede::sync::{Mutex, Semaphore, channel, watch};
//! use cede::task::Cancelled;
//! use cede::{Generator, select, spawn};
//! use std::time::Duration;
//!
//! let ms = Duration::from_millis;
//! cede::run(|| {
//!     let (sender, receiver) = channel::bounded(4);
//!     sender.send(1).unwrap();
//!     assert!(sender.try_send(2).is_ok() && sender.close());
//!     let mut sum = 0;
//!     for n in receiver {
//!         sum += n;
//!     }
//!     assert_eq!(sum, 3);
//!
//!     let ((numbers, a), (meet, requests)) = (channel::unbounded(), channel::rendezvous());
//!     spawn(move || (1..=3).try_for_each(|n| numbers.send(n)));
//!     let mut actor = spawn(move || {
//!         let mut log = Vec::new();
//!         for request in requests {
//!             log.push(request);
//!         }
//!         log
//!     });
//!     meet.send("first").unwrap();
//!     drop(meet);
//!     assert_eq!(actor.join().unwrap(), ["first"]);
//!     assert_eq!(select! { recv(a) -> n => n.unwrap(), after(ms(60_000)) => 0 }?, 1);
//!     let job = &mut spawn(|| "done");
//!     assert_eq!(select! { join(job) -> end => end.unwrap() }?, "done");
//!
//!     let other = Generator::new(|y| (2..=4).for_each(|n| y.yield_(n)));
//!     let flow = Generator::new(|y| {
//!         y.yield_(1);
//!         y.yield_from(other);
//!     });
//!     let mut squares = Vec::new();
//!     for n in flow.map(|n: u32| n * n).take(2) {
//!         squares.push(n);
//!     }
//!     assert_eq!(squares, [1, 4]);
//!     let (buffer, buffered) = channel::bounded(2);
//!     spawn(move || (1..=9).try_for_each(|n| buffer.send(n)));
//!     assert_eq!(buffered.iter().sum::<u32>(), 45);
//!     let (level, mut state) = watch::channel(1);
//!     spawn(move || level.send(3));
//!     assert_eq!(*state.wait_for(|n| *n > 2).unwrap(), 3);
//!
//!     let (lock, limit) = (Mutex::new(0), Semaphore::new(2));
//!     let _permit = limit.acquire()?;
//!     *lock.lock()? += 1;
//!     assert_eq!((lock.into_inner(), limit.available_permits()), (1, 1));
//!     Ok::<(), Cancelled>(())
//! })?;
//! # Ok::<(), Cancelled>(())
//! ```
//!
//! # Differences
//!
//! * A function that waits is an ordinary function. There is no second kind, so iterators, closures and traits wait, too.
//! * `CancellationException` is thrown. Here the waits return `Cancelled`, and `?` ends the task.
//! * A scope returns all failures of its tasks, and not the first one alone.
//! * A task has no dispatcher: it starts on one worker and stays there.
//! * A cold flow with waits is a generator in a task. `SharedFlow` has no counterpart yet: one channel for each receiver.
