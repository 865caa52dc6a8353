//! Tasks: an operating system, a queue simulation, actors, dining philosophers, and a cache with single flight.
//!
//! # A small operating system
//!
//! *When:* the scheduling itself is the subject: the tutorial of David Beazley, a game loop, an emulator. Each program is a coroutine that
//! traps into the kernel with a system call and gets a number back. Programs call subroutines as usual: the trampoline that Python's
//! generators need for this does not exist here.
//!
//! ```
//! use cede::{Coroutine, CoroutineState, Suspender};
//! use std::collections::{HashMap, VecDeque};
//! use std::{cell::RefCell, rc::Rc};
//!
//! type Program = Box<dyn FnOnce(&Kernel)>;
//! /// The program's side of the kernel: `suspend` is a trap.
//! type Kernel = Suspender<u32, Call>;
//!
//! enum Call {
//!     Pass,
//!     GetId,
//!     Spawn(Program),
//!     Wait(u32),
//!     Kill(u32),
//! }
//!
//! #[derive(Default)]
//! struct Scheduler {
//!     last_id: u32,
//!     programs: HashMap<u32, Coroutine<u32, Call, ()>>,
//!     /// The programs that run next, each with the result of its call.
//!     ready: VecDeque<(u32, u32)>,
//!     waiting: HashMap<u32, Vec<u32>>,
//! }
//!
//! impl Scheduler {
//!     fn spawn(&mut self, program: Program) -> u32 {
//!         self.last_id += 1;
//!         self.programs.insert(self.last_id, Coroutine::new(move |kernel: &Kernel, _| program(kernel)));
//!         self.ready.push_back((self.last_id, 0));
//!         self.last_id
//!     }
//!
//!     fn end(&mut self, id: u32) {
//!         self.programs.remove(&id); // unwinds a program that has not returned
//!         let waiters = self.waiting.remove(&id).unwrap_or_default();
//!         self.ready.extend(waiters.into_iter().map(|waiter| (waiter, id)));
//!     }
//!
//!     fn run(&mut self) {
//!         while let Some((id, result)) = self.ready.pop_front() {
//!             let Some(program) = self.programs.get_mut(&id) else { continue };
//!             let result = match program.resume(result) {
//!                 CoroutineState::Complete(()) => { self.end(id); continue }
//!                 CoroutineState::Yielded(Call::Pass) => 0,
//!                 CoroutineState::Yielded(Call::GetId) => id,
//!                 CoroutineState::Yielded(Call::Spawn(program)) => self.spawn(program),
//!                 CoroutineState::Yielded(Call::Kill(other)) => { self.end(other); 0 }
//!                 CoroutineState::Yielded(Call::Wait(other)) if self.programs.contains_key(&other) => {
//!                     self.waiting.entry(other).or_default().push(id);
//!                     continue; // `end` makes it ready again
//!                 }
//!                 CoroutineState::Yielded(Call::Wait(_)) => 0,
//!             };
//!             self.ready.push_back((id, result));
//!         }
//!     }
//! }
//!
//! /// A subroutine that traps.
//! fn doze(kernel: &Kernel, turns: u32) {
//!     for _ in 0..turns {
//!         kernel.suspend(Call::Pass);
//!     }
//! }
//!
//! let log = Rc::new(RefCell::new(Vec::new()));
//! let (main_log, child_log) = (Rc::clone(&log), Rc::clone(&log));
//! let mut system = Scheduler::default();
//! system.spawn(Box::new(move |kernel| {
//!     let child = kernel.suspend(Call::Spawn(Box::new(move |kernel| {
//!         let id = kernel.suspend(Call::GetId);
//!         child_log.borrow_mut().push(format!("{id} begins"));
//!         doze(kernel, 3);
//!         child_log.borrow_mut().push(format!("{id} ends"));
//!     })));
//!     let endless = kernel.suspend(Call::Spawn(Box::new(|kernel| doze(kernel, u32::MAX))));
//!     kernel.suspend(Call::Wait(child));
//!     main_log.borrow_mut().push(format!("{child} was waited for"));
//!     kernel.suspend(Call::Kill(endless));
//! }));
//! system.run();
//! assert_eq!(*log.borrow(), ["2 begins", "2 ends", "2 was waited for"]);
//! ```
//!
//! *Watch for:* programs that only need turns, waits and joins. [`run`](crate::run()) and [`spawn`](crate::spawn()) are such a system,
//! with sockets, timers and reports of deadlocks.
//!
//! # A queue simulation against theory
//!
//! *When:* a model of events in time is checked: queues, networks, schedules. Each customer is a task, the server is a lock, and a paused
//! clock jumps from event to event. Here it is the queue M/M/1, whose mean time in the system is 1 / (μ - λ).
//!
//! ```
//! use cede::sync::Mutex;
//! use cede::task::{Cancelled, JoinSet};
//! use cede::time::{now, sleep};
//! use std::{cell::Cell, rc::Rc, time::Duration};
//!
//! /// Exponentially distributed times: xorshift64, and the inverse of the distribution.
//! fn exponential(state: &Cell<u64>, rate: f64) -> Duration {
//!     let mut x = state.get();
//!     x ^= x << 13;
//!     x ^= x >> 7;
//!     x ^= x << 17;
//!     state.set(x);
//!     let uniform = (x >> 11) as f64 / (1_u64 << 53) as f64;
//!     Duration::from_secs_f64(-(1.0 - uniform).ln() / rate)
//! }
//!
//! let (arrivals, services, customers) = (0.5, 1.0, 20_000); // per second
//! let mean = cede::Config::new().paused_clock(true).run(|| {
//!     let random = Cell::new(0x9e37_79b9_7f4a_7c15);
//!     let server = Rc::new(Mutex::new(()));
//!     let mut inside = JoinSet::new();
//!     let mut total = Duration::ZERO;
//!     for _ in 0..customers {
//!         sleep(exponential(&random, arrivals))?;
//!         let (server, service) = (Rc::clone(&server), exponential(&random, services));
//!         inside.spawn(move || {
//!             let arrival = now();
//!             let _turn = server.lock()?; // FIFO: in the order of the arrivals
//!             sleep(service)?;
//!             Ok::<_, Cancelled>(now() - arrival)
//!         });
//!         while let Some(time) = inside.try_join_next() {
//!             total += time.expect("no task panics")?;
//!         }
//!     }
//!     while let Some(time) = inside.join_next() {
//!         total += time.expect("no task panics")?;
//!     }
//!     Ok::<_, Cancelled>(total.as_secs_f64() / f64::from(customers))
//! }).unwrap()?;
//! let theory = 1.0 / (services - arrivals);
//! assert!((mean / theory - 1.0).abs() < 0.1, "{mean} s, and {theory} s in theory");
//! # Ok::<(), Cancelled>(())
//! ```
//!
//! *Watch for:* where random numbers are drawn. Drawn at the arrival, they do not depend on the order of the tasks, so two variants of a
//! model see the same customers.
//!
//! # Actors
//!
//! *When:* a state has one owner, and other tasks ask it for changes. The mailbox is a channel; a request carries the sender of its answer.
//!
//! ```
//! use cede::sync::{channel, oneshot};
//!
//! enum Request {
//!     Deposit(u64),
//!     Withdraw(u64, oneshot::Sender<Result<u64, u64>>),
//! }
//!
//! /// A handle to the actor. The actor ends when the last handle is dropped.
//! #[derive(Clone)]
//! struct Account(channel::Sender<Request>);
//!
//! impl Account {
//!     fn open() -> (Account, cede::JoinHandle<u64>) {
//!         let (mailbox, requests) = channel::bounded(16);
//!         let actor = cede::spawn(move || {
//!             let mut balance = 0_u64;
//!             for request in requests {
//!                 match request {
//!                     Request::Deposit(amount) => balance += amount,
//!                     Request::Withdraw(amount, answer) => {
//!                         let result = balance.checked_sub(amount).ok_or(balance);
//!                         balance = result.unwrap_or(balance);
//!                         let _ = answer.send(result); // an error: the caller does not wait any more
//!                     }
//!                 }
//!             }
//!             balance
//!         });
//!         (Account(mailbox), actor)
//!     }
//!
//!     fn deposit(&self, amount: u64) {
//!         self.0.send(Request::Deposit(amount)).expect("the actor lives as long as its handles");
//!     }
//!
//!     /// Returns the new balance, or the balance that was too low in the error.
//!     fn withdraw(&self, amount: u64) -> Result<u64, u64> {
//!         let (sender, answer) = oneshot::channel();
//!         self.0.send(Request::Withdraw(amount, sender)).expect("the actor lives as long as its handles");
//!         answer.recv().expect("the actor answers each request")
//!     }
//! }
//!
//! cede::run(|| {
//!     let (account, mut actor) = Account::open();
//!     let other = account.clone();
//!     let mut payer = cede::spawn(move || other.deposit(100));
//!     payer.join().unwrap();
//!     assert_eq!(account.withdraw(30), Ok(70));
//!     assert_eq!(account.withdraw(80), Err(70));
//!     drop(account);
//!     assert_eq!(actor.join().unwrap(), 70);
//! });
//! ```
//!
//! *Watch for:* two actors that ask each other and wait: with full mailboxes that is a deadlock, which the run reports. The `expect`s hold
//! in tasks that are not cancelled; where a cancel can come, return the errors of `send` and `recv`.
//!
//! # Dining philosophers
//!
//! *When:* a task needs several locks. All tasks lock in the same order, and no deadlock is possible. If they do not, the run ends with a
//! report of the cycle.
//!
//! ```
//! use cede::sync::Mutex;
//! use cede::task::Cancelled;
//! use cede::{RunError, scope, yield_now};
//!
//! /// Five philosophers eat three times each. Returns the number of meals.
//! fn dinner(forks_of: impl Fn(usize) -> (usize, usize)) -> Result<u32, RunError<u32>> {
//!     let forks = [(); 5].map(|()| Mutex::new(()));
//!     // No other thread has a fork, so a run whose tasks all wait is deadlocked.
//!     cede::Config::new().closed_world(true).run(|| {
//!         let meals = Mutex::new(0);
//!         let eat = |(first, second): (usize, usize)| {
//!             for _ in 0..3 {
//!                 let _first = forks[first].lock()?;
//!                 yield_now(); // the other philosophers take a fork, too
//!                 let _second = forks[second].lock()?;
//!                 *meals.lock()? += 1;
//!             }
//!             Ok::<(), Cancelled>(())
//!         };
//!         scope(|s| {
//!             for philosopher in 0..5 {
//!                 let (eat, forks) = (&eat, forks_of(philosopher));
//!                 s.spawn(move || eat(forks));
//!             }
//!         })
//!         .expect("no philosopher panics");
//!         meals.into_inner()
//!     })
//! }
//!
//! let in_order = |n: usize| if n == 4 { (0, 4) } else { (n, n + 1) };
//! assert_eq!(dinner(in_order).unwrap(), 15);
//!
//! let left_then_right = |n: usize| (n, (n + 1) % 5);
//! let Err(RunError::Deadlock { report, .. }) = dinner(left_then_right) else { panic!("no deadlock") };
//! assert!(report.to_string().contains("a mutex"), "{report}");
//! ```
//!
//! *Watch for:* a lock of `std` in place of [`Mutex`](crate::sync::Mutex). It blocks the thread of the run, and then no report can come: see
//! [blocking calls](super::super::blocking_calls#locks-of-std).
//!
//! # A cache with single flight
//!
//! *When:* values are slow to load, many tasks ask for the same one at the same time, and only the most recently used values are kept. A
//! [`OnceCell`](crate::sync::OnceCell) per key makes one caller load while the rest waits for its result.
//!
//! ```
//! use cede::sync::once_cell::{InitError, OnceCell};
//! use std::cell::{Cell, RefCell};
//! use std::{collections::HashMap, hash::Hash, rc::Rc};
//!
//! struct Entry<V> {
//!     value: Rc<OnceCell<V>>,
//!     last_use: u64,
//! }
//!
//! struct Cache<K, V> {
//!     capacity: usize,
//!     uses: Cell<u64>,
//!     entries: RefCell<HashMap<K, Entry<V>>>,
//! }
//!
//! impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
//!     fn new(capacity: usize) -> Self {
//!         Cache { capacity, uses: Cell::new(0), entries: RefCell::default() }
//!     }
//!
//!     fn get<E>(&self, key: &K, load: impl FnOnce() -> Result<V, E>) -> Result<V, InitError<E>> {
//!         let cell = self.cell(key); // the borrow of `entries` ends here, before the wait
//!         cell.get_or_try_init(load).cloned()
//!     }
//!
//!     /// Returns the cell of a key. Removes the least recently used entry if a new one has no room.
//!     fn cell(&self, key: &K) -> Rc<OnceCell<V>> {
//!         self.uses.set(self.uses.get() + 1);
//!         let mut entries = self.entries.borrow_mut();
//!         if entries.len() == self.capacity && !entries.contains_key(key) {
//!             let oldest = entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone());
//!             oldest.and_then(|key| entries.remove(&key));
//!         }
//!         let entry = entries.entry(key.clone()).or_insert_with(|| Entry { value: Rc::default(), last_use: 0 });
//!         entry.last_use = self.uses.get();
//!         Rc::clone(&entry.value)
//!     }
//! }
//!
//! let loads = Cell::new(0);
//! let slow_square = |n: u32| {
//!     cede::time::sleep(std::time::Duration::from_millis(1)).map_err(|_| "cancelled")?;
//!     loads.set(loads.get() + 1);
//!     n.checked_mul(n).ok_or("too large")
//! };
//! cede::run(|| {
//!     let cache = Cache::new(2);
//!     let get = |n| cache.get(&n, || slow_square(n));
//!     cede::scope(|s| {
//!         for _ in 0..100 {
//!             s.spawn(|| assert_eq!(get(3), Ok(9)));
//!         }
//!     })
//!     .unwrap();
//!     assert_eq!(loads.get(), 1); // 100 tasks, one load
//!     assert_eq!((get(4), get(3), get(5)), (Ok(16), Ok(9), Ok(25))); // 4 is the oldest, and goes
//!     assert_eq!((get(3), loads.get()), (Ok(9), 3));
//!     assert_eq!((get(4), loads.get()), (Ok(16), 4));
//!     assert_eq!(get(u32::MAX), Err(InitError::Failed("too large"))); // is not kept
//! });
//! ```
//!
//! *Watch for:* a loader that fails or is cancelled affects its own caller only: the next waiter loads itself. For several
//! [workers](super::super::workers), use `Arc` and [`sync::Mutex`](crate::sync::Mutex) in place of `Rc` and `RefCell`. The search for the
//! oldest entry reads all of them: keep an ordered index if the capacity is large.
