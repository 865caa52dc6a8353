//! Coming from crossbeam.
//!
//! | crossbeam | cede |
//! |---|---|
//! | `channel::bounded(2)`, `bounded(0)`, `unbounded()` | `channel::bounded(2)`, `channel::rendezvous()`, `channel::unbounded()` |
//! | `s.send(1)`, `s.try_send(1)`, `s.send_timeout(1, d)` | `s.send(1)`, `s.try_send(3)`, `s.send_timeout(3, d)` |
//! | `r.recv()`, `r.try_recv()`, `r.recv_timeout(d)`, `r.recv_deadline(at)` | `r.recv()`, `r.try_recv()`, `r.recv_timeout(d)`, `r.recv_deadline(at)` |
//! | `all.iter()`, `r.try_iter()` | `all.iter()`, `r.try_iter()` |
//! | `r.len()`, `r.is_empty()`, `r.is_full()`, `r.capacity()`, `r.same_channel(&r2)` | `r.len()`, `r.is_empty()`, `r.is_full()`, `r.capacity()`, `r.same_channel(&r2)` |
//! | `select! { recv(r) -> n => .. }` | `select! { recv(r) -> n => .. }?`: the value is a result |
//! | `default(d) => ..` | `default(d) => ..` |
//! | `recv(after(d)) -> _ => ..` | `after(d) => ..` |
//! | `recv(at(when)) -> _ => ..` | `at(when) => ..` |
//! | `tick(d)` | `interval(d)`, in a task that sends |
//! | `Select::new()`, `sel.recv(&r)`, `sel.select()` | `Select::new()`, `sel.add(&mut case)`, `sel.wait()`, `case.take()` |
//! | `sel.try_select()`, `sel.select_timeout(d)` | `sel.attempt()`, `sel.wait_timeout(d)` |
//! | `thread::scope(\|s\| ..)`, `s.spawn(\|_\| ..)` | `scope(\|s\| ..)`, `s.spawn(\|\| ..)`; on all workers `scope_anywhere(\|s\| ..)` |
//! | `WaitGroup::new()`, `drop(wg)`, `wg.wait()` | `WaitGroup::new()`, `drop(member)`, `wg.wait()` |
//! | `Parker`, `p.unparker()`, `p.park()`, `u.unpark()` | `Unparker::current()`, `task::park("a token")`, `u.unpark()` |
//! | `ShardedLock::new(5)` | `RwLock::new(5)` |
//! | `queue::ArrayQueue::new(2)`, `push`, `pop` | `Queue::bounded(2)`, `q.try_push(1)`, `q.try_pop()` |
//! | `queue::SegQueue::new()` | `Queue::unbounded()` |
//! | `deque::Injector`, `Stealer`, a pool that steals | `map_anywhere(&numbers, ..)`, `join_anywhere(..)` |
//!
//! # Channels
//!
//! ```
//! use cede::sync::channel::{self, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
//! use cede::sync::Select;
//! use cede::time::{interval, now};
//! use cede::{select, spawn};
//! use std::time::Duration;
//!
//! let d = Duration::from_millis(1);
//! // In a plain thread, all of them block the thread.
//! let (s, r) = channel::bounded(2);
//! s.send(1)?;
//! s.send(2)?;
//! assert_eq!(s.try_send(3), Err(TrySendError::Full(3)));
//! assert_eq!(s.send_timeout(3, d), Err(SendTimeoutError::Timeout(3)));
//! let r2 = r.clone();
//! assert!(r.len() == 2 && r.is_full() && r.capacity() == Some(2) && r.same_channel(&r2));
//! assert_eq!(r.recv(), Ok(1));
//! assert_eq!(r.try_iter().collect::<Vec<_>>(), [2]);
//! assert!(r.is_empty());
//! let at = std::time::Instant::now() + d;
//! assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
//! assert_eq!(r.recv_timeout(d), Err(RecvTimeoutError::Timeout));
//! assert_eq!(r.recv_deadline(at), Err(RecvTimeoutError::Timeout));
//!
//! let (unbounded, all) = channel::unbounded();
//! (0..100).for_each(|n| unbounded.send(n).unwrap());
//! drop(unbounded);
//! assert_eq!(all.iter().sum::<u32>(), 4950);
//!
//! // In a run, they suspend the task.
//! cede::run(|| {
//!     let (meet, met) = channel::rendezvous();
//!     let (ticker, ticks) = channel::bounded(1);
//!     spawn(move || meet.send("met"));
//!     spawn(move || {
//!         let mut times = interval(d);
//!         while let Ok(time) = times.tick() {
//!             if ticker.send(time).is_err() {
//!                 break;
//!             }
//!         }
//!     });
//!     assert_eq!(met.recv(), Ok("met"));
//!     assert!(ticks.recv().is_ok() && ticks.recv().is_ok());
//!
//!     let when = now() + d;
//!     assert_eq!(select! { recv(r) -> n => n.unwrap(), default(d) => 0 }?, 0);
//!     assert_eq!(select! { recv(r) -> n => n.unwrap(), after(d) => 1 }?, 1);
//!     assert_eq!(select! { recv(r) -> n => n.unwrap(), at(when) => 2 }?, 2);
//!     Ok::<(), cede::task::Cancelled>(())
//! })?;
//!
//! let mut case = r.case();
//! let mut sel = Select::new();
//! sel.add(&mut case);
//! assert_eq!(sel.attempt(), None);
//! let mut sel = Select::new();
//! sel.add(&mut case);
//! assert_eq!(sel.wait_timeout(d)?, None);
//! s.send(4)?;
//! let mut sel = Select::new();
//! sel.add(&mut case);
//! assert_eq!((sel.wait()?, case.take()), (0, Ok(4)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads and queues
//!
//! ```
//! use cede::sync::{Queue, RwLock, WaitGroup};
//! use cede::task::{self, Cancelled, Unparker, join_anywhere, map_anywhere, scope_anywhere};
//! use cede::{Config, scope, spawn};
//!
//! Config::new().workers(2).run(|| {
//!     let mut numbers = [1, 2, 3, 4];
//!     scope(|s| {
//!         s.spawn(|| numbers[0] = 10); // on this worker
//!     })
//!     .unwrap();
//!     let (left, right) = numbers.split_at_mut(2);
//!     scope_anywhere(|s| {
//!         s.spawn(|| left[1] = 20);
//!         s.spawn(|| right[0] = 30);
//!     })
//!     .unwrap();
//!     assert_eq!(map_anywhere(&numbers, |n| n + 1), [11, 21, 31, 5]);
//!     assert_eq!(join_anywhere(|| numbers[0], || numbers[1]), (10, 20));
//!
//!     let wg = WaitGroup::new();
//!     let member = wg.clone();
//!     spawn(move || drop(member));
//!     wg.wait()?;
//!     let u = Unparker::current();
//!     spawn(move || u.unpark());
//!     task::park("a token")?;
//!
//!     let lock = RwLock::new(5);
//!     assert_eq!(*lock.read()?, 5);
//!     let q = Queue::bounded(2);
//!     assert!(q.try_push(1).is_ok() && q.try_push(2).is_ok() && q.try_push(3).is_err());
//!     assert_eq!(q.try_pop().unwrap().into_inner(), 1);
//!     let q = Queue::unbounded();
//!     assert!((0..100).all(|n| q.try_push(n).is_ok()));
//!     Ok::<(), Cancelled>(())
//! }).unwrap().unwrap();
//! ```
//!
//! # Differences
//!
//! * The errors have one more case, `Cancelled`, for a task that was cancelled.
//! * A send and a receive are fair: waiters are served in arrival order, and no later caller overtakes.
//! * The messages of all `send` arms of a [`select!`](crate::select) are evaluated before the wait. `send_from` takes one from an
//!   `Option` only if it is chosen.
//! * `Select` has no `ready`: a case that is chosen has been performed. `never()` has no counterpart: keep the sender of a channel.
//! * `epoch`, `CachePadded`, `AtomicCell` and the spinning `Backoff` have no counterpart. They work in tasks as they do in threads.
