//! Coming from the generators of Python.
//!
//! | Python | cede |
//! |---|---|
//! | `def f(): ..`, with a `yield` inside; `f()` | `Generator::new(\|y\| ..)` |
//! | `yield n` | `y.yield_(n)` |
//! | `for n in f():` | `for n in count_to(3)` |
//! | `next(g)`, which raises `StopIteration` at the end | `g.next()`, which returns `None` at the end |
//! | `next(g, 0)` | `g.next().unwrap_or(0)` |
//! | `itertools.islice(g, 2)` | `g.by_ref().take(2)` |
//! | `(n * n for n in f())` | `count_to(3).map(\|n\| n * n)` |
//! | `yield from g` | `y.yield_from(count_to(2))` |
//! | recursion by `yield from f(..)` | a call with the yielder, `walk(n - 1, y)`, at the same cost at each depth |
//! | `return value`, `StopIteration.value` | the value of the body, `g.into_return()` |
//! | `g.send(None)`, the first one | `total.start()` |
//! | `x = yield sum` | `let x = y.yield_(sum)` |
//! | `g.send(4)` | `total.send(4)` |
//! | `g.close()` | `careful.close()` |
//! | `g.throw(ValueError("odd"))` | `careful.throw("odd")` |
//! | `try: yield n` | `match y.try_yield(n)` |
//! | `except GeneratorExit:` | `Err(Interrupt::Closed) => ..` |
//! | `except ValueError as error:` | `Err(Interrupt::Thrown(error)) => ..` |
//! | `raise`, of the same error | `y.rethrow(Interrupt::Thrown(error))` |
//! | `try: .. finally: ..` | a value with a destructor: `let _last = Last(..)` |
//! | an exception in the body, which `next` raises | a body that returns a result: `lines.into_results()` |
//! | `inspect.getgeneratorstate(g)` | `g.state()` |
//! | a consumer: `while True: item = (yield)` | `Sink::new(\|inbox: &Inbox<&str>\| ..)`, and `for item in inbox` |
//! | `target.send(item)`; the decorator `@coroutine` that primes | `target.send("a python")`, which starts the body |
//! | `target.close()` | `target.finish()`, which returns the value of the body |
//!
//! # Producers
//!
//! ```
//! use cede::{Generator, State, Yielder};
//!
//! fn count_to(last: u32) -> Generator<u32> {
//!     Generator::new(move |y| {
//!         for n in 1..=last {
//!             y.yield_(n);
//!         }
//!     })
//! }
//!
//! let mut sum = 0;
//! for n in count_to(3) {
//!     sum += n;
//! }
//! assert_eq!(sum, 6);
//!
//! let mut g = count_to(3);
//! assert_eq!(g.state(), State::Created);
//! assert_eq!(g.next(), Some(1));
//! assert_eq!(g.by_ref().take(2).collect::<Vec<_>>(), [2, 3]);
//! assert_eq!(g.next(), None);
//! assert_eq!(g.next().unwrap_or(0), 0);
//! assert_eq!(g.state(), State::Finished);
//! assert_eq!(count_to(3).map(|n| n * n).sum::<u32>(), 14);
//!
//! fn walk(n: u32, y: &Yielder<u32>) {
//!     if n > 0 {
//!         walk(n - 1, y);
//!         y.yield_(n);
//!     }
//! }
//! let mut g = Generator::new(|y| {
//!     y.yield_from(count_to(2));
//!     walk(3, y);
//!     "done"
//! });
//! assert_eq!(g.by_ref().collect::<Vec<_>>(), [1, 2, 1, 2, 3]);
//! assert_eq!(g.into_return(), Some("done"));
//! ```
//!
//! # Send, throw and close
//!
//! ```
//! use cede::{CoroutineState, Generator, Interrupt, Yielder};
//! use std::{cell::Cell, rc::Rc};
//!
//! let mut total = Generator::new(|y: &Yielder<u32, u32>| {
//!     let mut sum = 0;
//!     while sum < 10 {
//!         let x = y.yield_(sum);
//!         sum += x;
//!     }
//!     "enough"
//! });
//! assert_eq!(total.start(), CoroutineState::Yielded(0));
//! assert_eq!(total.send(4).unwrap(), CoroutineState::Yielded(4));
//! assert_eq!(total.send(6).unwrap(), CoroutineState::Complete("enough"));
//!
//! struct Last(Rc<Cell<bool>>);
//! impl Drop for Last {
//!     fn drop(&mut self) {
//!         self.0.set(true);
//!     }
//! }
//! let cleaned = Rc::new(Cell::new(false));
//! let seen = Rc::clone(&cleaned);
//! let mut careful = Generator::new(move |y: &Yielder<u32>| {
//!     let _last = Last(seen);
//!     let mut n = 0;
//!     loop {
//!         match y.try_yield(n) {
//!             Ok(()) => n += 1,
//!             Err(Interrupt::Closed) => return n,
//!             Err(Interrupt::Thrown(error)) if error.to_string() == "odd" => n += 100,
//!             Err(Interrupt::Thrown(error)) => y.rethrow(Interrupt::Thrown(error)),
//!         }
//!     }
//! });
//! assert_eq!(careful.next(), Some(0));
//! assert_eq!(careful.throw("odd").unwrap(), CoroutineState::Yielded(100)); // handled
//! assert_eq!(careful.close().unwrap(), Some(100));
//! assert!(cleaned.get());
//!
//! let mut careful = Generator::new(|y: &Yielder<u32>| match y.try_yield(1) {
//!     Err(Interrupt::Thrown(error)) => y.rethrow(Interrupt::Thrown(error)),
//!     _ => (),
//! });
//! careful.next();
//! assert_eq!(careful.throw("even").unwrap_err().to_string(), "even"); // not handled
//! ```
//!
//! # Errors and consumers
//!
//! ```
//! use cede::{Generator, Inbox, Sink, Yielder};
//!
//! let lines = Generator::new(|y: &Yielder<i32>| {
//!     for text in ["1", "2", "x", "4"] {
//!         y.yield_(text.parse()?);
//!     }
//!     Ok::<(), std::num::ParseIntError>(())
//! });
//! let mut numbers = lines.into_results();
//! assert_eq!((numbers.next(), numbers.next()), (Some(Ok(1)), Some(Ok(2))));
//! assert!(numbers.next().unwrap().is_err()); // the last item
//! assert_eq!(numbers.next(), None);
//!
//! let mut target = Sink::new(|inbox: &Inbox<&str>| {
//!     let mut hits = 0;
//!     for item in inbox {
//!         hits += u32::from(item.contains("python"));
//!     }
//!     hits
//! });
//! target.send("a python").unwrap();
//! target.send("a snake").unwrap();
//! assert_eq!(target.finish(), 1);
//! ```
//!
//! # Differences
//!
//! * `yield_` in a generator that is closed or dropped does not return: the body is unwound. `try_yield` returns the interrupt as a value,
//!   as Python's `except GeneratorExit` receives it.
//! * A generator is dropped at the end of its scope, so its clean-up runs at a known time.
//! * A body is `'static`: it owns what it uses. [`scoped`](crate::scoped) coroutines may borrow.
//! * A generator cannot be pickled or cloned, and belongs to its thread.
