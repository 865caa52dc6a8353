//! Bridges: callbacks of C, futures in synchronous code and the reverse, several cores.
//!
//! # nftw as an iterator
//!
//! *When:* a C function calls back once for each item, and an iterator is wanted. The body of a generator makes the C call, and the callback
//! yields. This callback has no argument of its own, so a thread-local has the yielder. Several walks can be alive at the same time:
//! each callback sets the thread-local again when it continues, because another walk may have run meanwhile.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use cede::{Builder, Generator, Yielder};
//! use std::cell::Cell;
//! use std::ffi::{CStr, CString, c_char, c_int, c_void};
//! use std::ptr::null;
//!
//! thread_local! { static YIELDER: Cell<*const Yielder<String>> = const { Cell::new(null()) }; }
//!
//! extern "C" fn visit(path: *const c_char, _stat: *const c_void, _flag: c_int, _ftw: *mut c_void) -> c_int {
//!     let yielder = YIELDER.get();
//!     // SAFETY: `walk` or the previous callback of this walk stored the yielder of this body, which lives until the body ends, and
//!     // nftw passes a C string that is valid during the call.
//!     let (y, path) = unsafe { (&*yielder, CStr::from_ptr(path)) };
//!     let is_closed = y.try_yield(path.to_string_lossy().into_owned()).is_err();
//!     YIELDER.set(yielder);
//!     c_int::from(is_closed) // another number than 0 ends the walk
//! }
//!
//! # type Visit = extern "C" fn(*const c_char, *const c_void, c_int, *mut c_void) -> c_int;
//! # unsafe extern "C" { fn nftw(path: *const c_char, visit: Visit, descriptors: c_int, flags: c_int) -> c_int; }
//! /// The paths below `root`. The generator returns the result of nftw(3).
//! fn walk(root: &str) -> Generator<String, (), c_int> {
//!     let root = CString::new(root).expect("the path has no zero byte");
//!     let body = move |y: &Yielder<String>| {
//!         YIELDER.set(y);
//!         // SAFETY: the path is a C string, and `visit` has the signature that nftw expects.
//!         unsafe { nftw(root.as_ptr(), visit, 16, 0) }
//!     };
//!     Builder::new().name("nftw").stack_size(256 * 1024).generator(body).expect("there is memory for a stack")
//! }
//!
//! let mut other = walk("src");
//! let mut paths: Vec<String> = walk("src/guide/cookbook").inspect(|_| drop(other.next())).collect(); // two walks in turn
//! paths.sort();
//! assert_eq!(paths[..2], ["src/guide/cookbook", "src/guide/cookbook/bridges.rs"]);
//! assert!(other.all(|path| path.starts_with("src"))); // the first walk goes on
//! assert_eq!(other.into_return(), Some(0));
//! # }
//! ```
//!
//! *Watch for:* [`try_yield`](crate::Yielder::try_yield), not `yield_`, in a callback: a generator that is dropped would otherwise be
//! unwound through frames of C, and the process would abort. C code needs larger stacks.
//!
//! # qsort with comparisons that wait
//!
//! *When:* a C function calls back, and the answer comes from another task, a user or a server. The callback waits as any other code: all
//! frames of C stay on the stack of the task.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use cede::sync::{channel, oneshot};
//! use std::ffi::{c_int, c_void};
//!
//! type Question = (String, String, oneshot::Sender<std::cmp::Ordering>);
//!
//! extern "C" fn ask(a: *const c_void, b: *const c_void, questions: *mut c_void) -> c_int {
//!     // SAFETY: `sort` passes an array of strings, and a sender that it borrows over the call.
//!     let (a, b, questions) = unsafe {
//!         (&*a.cast::<String>(), &*b.cast::<String>(), &*questions.cast::<channel::Sender<Question>>())
//!     };
//!     let (sender, answer) = oneshot::channel();
//!     let _ = questions.send((a.clone(), b.clone(), sender));
//!     // A callback must not panic. Without an answer, all are equal, and qsort ends soon.
//!     answer.recv().map_or(0, |order| order as c_int)
//! }
//!
//! # type Compare = extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int;
//! # unsafe extern "C" { fn qsort_r(base: *mut c_void, count: usize, size: usize, compare: Compare, argument: *mut c_void); }
//! fn sort(items: &mut [String], questions: &channel::Sender<Question>) {
//!     let argument = std::ptr::from_ref(questions).cast_mut().cast();
//!     // SAFETY: the pointer and the sizes are those of the slice. qsort_r only swaps elements, and a `String` may be moved.
//!     unsafe { qsort_r(items.as_mut_ptr().cast(), items.len(), size_of::<String>(), ask, argument) }
//! }
//!
//! let sorted = cede::run(|| {
//!     let (questions, asked) = channel::bounded(1);
//!     let mut judge = cede::spawn(move || {
//!         asked.iter().map(|(a, b, answer): Question| answer.send(a.len().cmp(&b.len()))).filter(Result::is_ok).count()
//!     });
//!     let mut words = ["four", "a", "seventeen", "to", "the"].map(String::from);
//!     sort(&mut words, &questions);
//!     drop(questions);
//!     assert!(judge.join().unwrap() >= 4); // questions
//!     words
//! });
//! assert_eq!(sorted, ["a", "to", "the", "four", "seventeen"]);
//! # }
//! ```
//!
//! *Watch for:* C functions that hold a lock or a thread-local over the callback, and panics in the callback: see
//! [C callbacks](super::super::c_callbacks).
//!
//! # A future in synchronous code
//!
//! *When:* a synchronous function deep inside of other calls needs a value that an async function returns.
//! [`block_on`](crate::block_on) suspends the task, and no caller becomes `async`.
//!
//! ```
//! use cede::{block_on, join_all, spawn, task::Cancelled, timeout};
//! use std::time::Duration;
//!
//! # mod database {
//! #     pub async fn price(item: u32) -> u32 {
//! #         let thread = std::thread::spawn(move || item * 10);
//! #         std::future::poll_fn(|cx| {
//! #             cx.waker().wake_by_ref();
//! #             if thread.is_finished() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
//! #         }).await;
//! #         thread.join().unwrap()
//! #     }
//! #     pub async fn lock() { std::future::pending().await }
//! # }
//! fn total(items: &[u32]) -> Result<u32, Cancelled> {
//!     items.iter().map(|item| block_on(database::price(*item))).sum() // in an iterator, without a stream
//! }
//!
//! cede::run(|| {
//!     let tasks = [vec![1, 2], vec![3]].map(|items| spawn(move || total(&items)));
//!     let totals: Vec<_> = join_all(tasks).into_iter().map(|total| total.unwrap()).collect();
//!     assert_eq!(totals, [Ok(30), Ok(30)]);
//!     // A deadline drops the future, as async code does.
//!     let locked = timeout(Duration::from_millis(10), || block_on(database::lock()));
//!     assert_eq!(locked.unwrap_err().into_value(), Err(Cancelled));
//! });
//! ```
//!
//! *Watch for:* futures of tokio need the context of a runtime: see the page on [tokio](mod@super::super::tokio). Futures that are joined or selected
//! stay async: `block_on(async { .. })` around the whole.
//!
//! # Stackful code as a future
//!
//! *When:* an async function calls synchronous code that waits deep inside, and the thread of the executor must not be blocked.
//! [`fiber`](crate::fiber()) runs it on a stack of its own, inside of the poll of a future, in every executor.
//!
//! ```
//! use cede::{block_on, fiber};
//! use std::io::{self, BufRead, BufReader, Read};
//!
//! # async fn next_packet(n: usize) -> Option<&'static [u8]> {
//! #     let mut polled = false;
//! #     std::future::poll_fn(move |cx| {
//! #         cx.waker().wake_by_ref();
//! #         if std::mem::replace(&mut polled, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
//! #     }).await;
//! #     [&b"one\ntw"[..], b"o\n", b"three"].get(n).copied()
//! # }
//! /// Makes a `Read` of an async source.
//! #[derive(Default)]
//! struct Packets {
//!     count: usize,
//!     rest: &'static [u8],
//! }
//!
//! impl Read for Packets {
//!     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
//!         if self.rest.is_empty() {
//!             let packet = block_on(next_packet(self.count)).map_err(io::Error::other)?; // suspends the fiber
//!             self.rest = packet.unwrap_or_default();
//!             self.count += 1;
//!         }
//!         self.rest.read(buffer)
//!     }
//! }
//!
//! /// A synchronous library.
//! fn parse(input: impl BufRead) -> io::Result<Vec<String>> {
//!     input.lines().collect()
//! }
//!
//! async fn handler() -> io::Result<Vec<String>> {
//!     fiber(|| parse(BufReader::new(Packets::default()))).await
//! }
//!
//! assert_eq!(block_on(handler()).unwrap()?, ["one", "two", "three"]); // any executor
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* a fiber that is dropped while it waits is cancelled: its waits return errors, and it runs to its end inside of the drop. It
//! is not `Send`. With the feature `tokio` or `futures-io`, `bridge::SyncIo` is such a reader for each async stream.
//!
//! # Work of the processor on several cores
//!
//! *When:* a computation is large enough to be divided. The tasks of [`scope_anywhere`](crate::task::scope_anywhere) borrow, and run on all
//! workers; [`map_anywhere`](crate::task::map_anywhere) splits a slice by itself.
//!
//! ```
//! use cede::task::{map_anywhere, scope_anywhere};
//! use std::collections::HashMap;
//!
//! fn count<'a>(lines: &[&'a str]) -> HashMap<&'a str, u32> {
//!     let mut counts = HashMap::new();
//!     lines.iter().flat_map(|line| line.split(' ')).for_each(|word| *counts.entry(word).or_default() += 1);
//!     counts
//! }
//!
//! let text = "the cat and the dog and the bird\n".repeat(1000);
//! let lines: Vec<&str> = text.lines().collect();
//! let (counts, longest) = cede::Config::new().workers(2).run(|| {
//!     scope_anywhere(|s| {
//!         let quarters = lines.chunks(lines.len() / 4);
//!         let mut parts: Vec<_> = quarters.map(|quarter| s.spawn(move || count(quarter))).collect();
//!         let longest = map_anywhere(&lines, |line| line.len()).into_iter().max();
//!         let mut counts = HashMap::new();
//!         for part in &mut parts {
//!             for (word, n) in part.join().expect("no task panics") {
//!                 *counts.entry(word).or_insert(0) += n;
//!             }
//!         }
//!         (counts, longest)
//!     })
//! }).unwrap().unwrap();
//! assert_eq!((counts["the"], counts["bird"], longest), (3000, 1000, Some(32)));
//! ```
//!
//! *Watch for:* parts that are too small: a task on another worker costs about a microsecond. A part that computes for long keeps the other
//! tasks of its worker waiting. See [several cores](super::super::workers).
