//! Parts of a service: many workers, progress, fan-out and fan-in, deadlines, periodic jobs, retries.
//!
//! # A thousand workers with a limit, a timeout, retries and a stop
//!
//! *When:* many jobs call something that is slow and sometimes fails. A [`Semaphore`](crate::sync::Semaphore) limits the calls at a time,
//! [`timeout`](crate::timeout) each call, and [`retry`](crate::time::retry()) repeats it. A
//! [`CancellationToken`](crate::sync::CancellationToken) asks for the end: jobs that have begun are completed, and no new one begins.
//!
//! ```
//! use cede::sync::{CancellationToken, Semaphore};
//! use cede::time::{Backoff, retry, sleep};
//! use cede::{scope, timeout};
//! use std::cell::Cell;
//! use std::time::Duration;
//!
//! /// The first attempt fails for each seventh job, and hangs for each tenth.
//! fn fetch(job: u32, attempt: u32) -> Result<u32, String> {
//!     let time = if attempt == 1 && job % 10 == 0 { Duration::MAX } else { Duration::from_millis(100) };
//!     sleep(time).map_err(|error| error.to_string())?;
//!     if attempt == 1 && job % 7 == 0 { Err("refused".into()) } else { Ok(job * 2) }
//! }
//!
//! let (limit, stop) = (Semaphore::new(50), CancellationToken::new());
//! let (active, peak) = (Cell::new(0), Cell::new(0));
//! let (done, skipped, attempts) = (Cell::new(0), Cell::new(0), Cell::new(0));
//! let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
//!
//! let work = |job: u32| {
//!     let Ok(_permit) = limit.acquire() else { return };
//!     if stop.is_cancelled() {
//!         return count(&skipped);
//!     }
//!     count(&active);
//!     peak.set(peak.get().max(active.get()));
//!     let mut attempt = 0;
//!     let result = retry(Backoff::new(Duration::from_millis(50)).attempts(3), || {
//!         attempt += 1;
//!         count(&attempts);
//!         // After the deadline, the value is the error of the call that the deadline ended.
//!         timeout(Duration::from_secs(1), || fetch(job, attempt)).unwrap_or_else(|late| late.into_value())
//!     });
//!     assert_eq!(result.unwrap(), job * 2);
//!     active.set(active.get() - 1);
//!     count(&done);
//! };
//!
//! cede::Config::new().paused_clock(true).run(|| {
//!     scope(|s| {
//!         for job in 1..=1000 {
//!             let work = &work;
//!             s.spawn(move || work(job));
//!         }
//!         sleep(Duration::from_secs(3)).unwrap();
//!         stop.cancel(); // the scope waits for the jobs that have begun
//!     })
//! }).unwrap().unwrap();
//! assert_eq!(peak.get(), 50);
//! assert_eq!(done.get() + skipped.get(), 1000);
//! assert!(done.get() >= 50 && skipped.get() > 0);
//! assert!(attempts.get() > done.get());
//! ```
//!
//! *Watch for:* the order of permit and timeout. The time that a job waits for its permit is not a part of its own timeout here; put the
//! `acquire` inside of the timeout if it is. `retry` also ends when the task is cancelled, with the last error.
//!
//! # Progress of many tasks
//!
//! *When:* many tasks report to one display that is slower than they are. A [`watch`](crate::sync::watch) channel holds only the latest
//! state: no task waits for the display, and the display never falls behind.
//!
//! ```
//! use cede::sync::watch;
//! use cede::time::sleep;
//! use cede::{Config, join_all, spawn};
//! use std::time::Duration;
//!
//! let lines = Config::new().paused_clock(true).run(|| {
//!     let (progress, mut state) = watch::channel(0);
//!     let tasks = (1..=1000).map(|n| {
//!         let progress = progress.clone();
//!         spawn(move || {
//!             let _ = sleep(Duration::from_millis(n));
//!             progress.send_modify(|done| *done += 1);
//!         })
//!     });
//!     let tasks: Vec<_> = tasks.collect();
//!     drop(progress); // so that `changed` fails after the last task
//!     let mut display = spawn(move || {
//!         let mut lines = Vec::new();
//!         while state.changed().is_ok() {
//!             lines.push(format!("{} of 1000", *state.borrow_and_update()));
//!             let _ = sleep(Duration::from_millis(200)); // at most five lines per second
//!         }
//!         lines
//!     });
//!     join_all(tasks);
//!     display.join().unwrap()
//! }).unwrap();
//! assert_eq!(lines.first().unwrap(), "1 of 1000");
//! assert_eq!(lines.last().unwrap(), "1000 of 1000");
//! assert!(lines.len() < 10);
//! ```
//!
//! *Watch for:* a display that must see each event. A `watch` channel drops what was replaced; use a
//! [`channel`](mod@crate::sync::channel) for events.
//!
//! # Fan-out and fan-in
//!
//! *When:* a stream of jobs goes to a fixed number of workers, and their results come together. Both channels are bounded, so a slow stage
//! slows the source down.
//!
//! ```
//! use cede::spawn;
//! use cede::sync::channel;
//!
//! let mut squares = cede::run(|| {
//!     let (jobs, job_receiver) = channel::bounded(4);
//!     let (results, result_receiver) = channel::bounded(4);
//!     spawn(move || (1..=100_u64).try_for_each(|n| jobs.send(n)));
//!     for _ in 0..8 {
//!         let (jobs, results) = (job_receiver.clone(), results.clone());
//!         spawn(move || {
//!             for job in jobs {
//!                 cede::yield_now(); // work
//!                 if results.send(job * job).is_err() {
//!                     break;
//!                 }
//!             }
//!         });
//!     }
//!     drop(results); // the workers have the other senders: the iteration ends with the last of them
//!     result_receiver.iter().collect::<Vec<_>>()
//! });
//! squares.sort_unstable();
//! assert_eq!(squares.len(), 100);
//! assert_eq!(squares.iter().sum::<u64>(), 338_350);
//! ```
//!
//! *Watch for:* a sender that is still alive keeps the loop of its receiver open. Results come in the order of their ends; to keep the order
//! of the jobs, send each with its number, or use [`join_all`](crate::join_all()).
//!
//! # Select with a deadline
//!
//! *When:* several sources are served until a fixed time: the answers that come within 300 ms, a batch that is full or old.
//! `at` is a point in time, so the deadline does not start again with each message.
//!
//! ```
//! use cede::sync::channel;
//! use cede::task::Cancelled;
//! use cede::time::{now, sleep};
//! use cede::{select, spawn};
//! use std::time::Duration;
//!
//! /// A source that sends 1, 2, 3 and so on, one number each `period`.
//! fn source(period: Duration) -> channel::Receiver<u32> {
//!     let (sender, receiver) = channel::unbounded();
//!     spawn(move || (1..).try_for_each(|n| {
//!         sleep(period).ok()?;
//!         sender.send(n).ok()
//!     }));
//!     receiver
//! }
//!
//! let ms = Duration::from_millis;
//! let answers = cede::Config::new().paused_clock(true).run(|| {
//!     let (fast, slow) = (source(ms(70)), source(ms(130)));
//!     let deadline = now() + ms(300);
//!     let mut answers = Vec::new();
//!     loop {
//!         select! {
//!             recv(fast) -> answer => answers.push(("fast", answer.unwrap())),
//!             recv(slow) -> answer => answers.push(("slow", answer.unwrap())),
//!             at(deadline) => break Ok::<_, Cancelled>(answers),
//!         }?;
//!     }
//! }).unwrap().unwrap();
//! assert_eq!(answers, [("fast", 1), ("slow", 1), ("fast", 2), ("fast", 3), ("slow", 2), ("fast", 4)]);
//! ```
//!
//! *Watch for:* `after(duration)` in a loop starts again with each round. If messages never stop, it never fires.
//!
//! # Periodic jobs
//!
//! *When:* a job runs at a fixed rate. [`interval`](crate::time::interval) does not drift, and says what happens to the ticks that a slow
//! job has missed. Dropping the handle ends the job.
//!
//! ```
//! use cede::time::{MissedTicks, interval, now, sleep};
//! use std::{cell::RefCell, rc::Rc, time::Duration};
//!
//! let log = Rc::new(RefCell::new(Vec::new()));
//! cede::Config::new().paused_clock(true).run(|| {
//!     let (start, seen) = (now(), Rc::clone(&log));
//!     let job = cede::spawn(move || {
//!         let mut ticks = interval(Duration::from_secs(10)).missed_ticks(MissedTicks::Skip);
//!         while ticks.tick().is_ok() {
//!             seen.borrow_mut().push((now() - start).as_secs());
//!             if seen.borrow().len() == 2 {
//!                 let _ = sleep(Duration::from_secs(25)); // a slow job misses two ticks
//!             }
//!         }
//!     });
//!     let _job = job.cancel_on_drop(); // ends with this scope
//!     sleep(Duration::from_secs(65)).unwrap();
//! }).unwrap();
//! assert_eq!(*log.borrow(), [0, 10, 35, 40, 50, 60]);
//! ```
//!
//! *Watch for:* the first tick is due at once. A job that must not start with the program uses [`interval_at`](crate::time::interval_at).
//!
//! # Retries with back-off
//!
//! *When:* a call fails for reasons that pass. The delays double, with a random part, so that many clients do not come back at the same
//! time. Errors that will not pass end the attempts at once, and a deadline limits all of them.
//!
//! ```
//! use cede::time::{Backoff, RetryError, now, retry_if};
//! use cede::timeout;
//! use std::time::Duration;
//!
//! #[derive(Debug, PartialEq)]
//! enum Error { Busy, NotFound }
//!
//! fn call(server: &mut impl FnMut() -> Result<u32, Error>) -> Result<u32, RetryError<Error>> {
//!     let backoff = Backoff::new(Duration::from_millis(100)).max_delay(Duration::from_secs(5));
//!     let attempts = || retry_if(backoff, |error| *error == Error::Busy, server);
//!     timeout(Duration::from_secs(60), attempts).unwrap_or_else(|late| late.into_value())
//! }
//!
//! cede::Config::new().paused_clock(true).seed(1).run(|| {
//!     let mut calls = 0;
//!     let mut busy_at_first = || { calls += 1; if calls < 4 { Err(Error::Busy) } else { Ok(calls) } };
//!     let start = now();
//!     assert_eq!(call(&mut busy_at_first).unwrap(), 4);
//!     let time = (now() - start).as_millis(); // 100, 200 and 400 ms, each between its half and its whole
//!     assert!((350..=701).contains(&time), "{time} ms");
//!
//!     let error = call(&mut || Err(Error::NotFound)).unwrap_err();
//!     assert!(matches!(error, RetryError::Failed { attempts: 1, error: Error::NotFound }));
//!
//!     let error = call(&mut || Err(Error::Busy)).unwrap_err(); // until the deadline
//!     assert!(matches!(error, RetryError::Cancelled { error: Error::Busy, .. }));
//! }).unwrap();
//! ```
//!
//! *Watch for:* retries of a call that may have had its effect. Only a call that can be made twice without harm may be retried after an
//! error whose cause is unknown.
