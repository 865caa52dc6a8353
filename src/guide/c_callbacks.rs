//! Limits of C callbacks: waits inside a callback of C code, panics, `longjmp`, and callbacks on other threads.
//!
//! # A callback may wait
//!
//! A task has a stack of its own, so a wait suspends all of its frames, those of C functions included. This comparison function of
//! `qsort` gives the other tasks a turn at each call:
//!
//! ```
//! use std::ffi::{c_int, c_void};
//!
//! extern "C" fn compare(a: *const c_void, b: *const c_void) -> c_int {
//!     cede::yield_now();
//!     // SAFETY: qsort passes pointers to two elements of the array of `sort`.
//!     let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
//!     a.cmp(&b) as c_int
//! }
//!
//! fn sort(numbers: &mut [u32]) {
//!     # unsafe extern "C" { fn qsort(base: *mut c_void, n: usize, size: usize, compare: extern "C" fn(*const c_void, *const c_void) -> c_int); }
//!     // SAFETY: the pointer and the sizes are those of the slice, and `compare` reads `u32`s.
//!     unsafe { qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<u32>(), compare) }
//! }
//!
//! cede::run(|| {
//!     let mut tasks: Vec<_> = (0..3)
//!         .map(|seed| {
//!             cede::spawn(move || {
//!                 let mut numbers: Vec<u32> = (0..50).map(|n| n * 37 % 50 + seed).collect();
//!                 sort(&mut numbers);
//!                 numbers.is_sorted()
//!             })
//!         })
//!         .collect();
//!     assert!(tasks.iter_mut().all(|task| task.join().unwrap()));
//! });
//! ```
//!
//! The wait is allowed if the C code tolerates that other code runs on the same thread in between:
//!
//! * *The C function is reentrant.* Otherwise another task must not call the library during the wait: hold a
//!   [`sync::Mutex`](crate::sync::Mutex) around the outer call.
//! * *It holds no lock, and lends no thread-local.* A lock of C that is held during the wait can deadlock the run, as
//!   [a lock of std](super::blocking_calls#locks-of-std) does. `dl_iterate_phdr` calls its callback under a lock: during the wait no
//!   thread can load a library.
//! * *It keeps nothing in thread-locals across the callback.* All tasks of a run share the thread-locals of C. `errno` is one: read it
//!   before the next wait, because a system call of another task overwrites it.
//!
//! A started task never changes threads, so the C code runs on the same thread before and after a wait.
//!
//! # Panics and cancels
//!
//! A panic must not leave an `extern "C"` function: Rust aborts the process. This concerns cede in four ways:
//!
//! * A cancel is no panic. The wait in the callback returns an error, or a `yield_now` returns, and the C code runs to its end. Let a
//!   cancelled callback return quickly: after the grace period of a run (1 s), the task is unwound, and the process aborts in the
//!   callback.
//! * A generator that is dropped inside a callback is unwound, and the process aborts. Yield with
//!   [`try_yield`](crate::Yielder::try_yield) instead: it returns an error when the generator is dropped. After the error, do not yield
//!   again.
//! * A wait inside [`no_suspend`](crate::no_suspend) panics. Around a C call, `no_suspend` therefore turns a forbidden wait in the
//!   callback into an abort that names both places.
//! * Misuse of cede panics, such as a [`spawn`](crate::spawn) outside a run. Catch a panic of your own code in the callback, and resume
//!   it after the C call:
//!
//! ```
//! use std::any::Any;
//! use std::ffi::c_void;
//! use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
//!
//! /// A C function that calls `callback` with `data`, three times.
//! # extern "C" fn call_three_times(callback: extern "C" fn(*mut c_void), data: *mut c_void) { for _ in 0..3 { callback(data) } }
//!
//! struct Call<F> {
//!     body: F,
//!     panic: Option<Box<dyn Any + Send>>,
//! }
//!
//! extern "C" fn callback<F: FnMut()>(data: *mut c_void) {
//!     // SAFETY: `data` is the `Call` of `three_times`, which is alive and not used otherwise until the C call returns.
//!     let call = unsafe { &mut *data.cast::<Call<F>>() };
//!     if call.panic.is_none() {
//!         call.panic = catch_unwind(AssertUnwindSafe(&mut call.body)).err();
//!     }
//! }
//!
//! fn three_times<F: FnMut()>(body: F) {
//!     let mut call = Call { body, panic: None };
//!     call_three_times(callback::<F>, (&raw mut call).cast());
//!     if let Some(payload) = call.panic {
//!         resume_unwind(payload);
//!     }
//! }
//!
//! cede::run(|| {
//!     let mut calls = 0;
//!     three_times(|| {
//!         cede::yield_now();
//!         calls += 1;
//!     });
//!     assert_eq!(calls, 3);
//!     let mut task = cede::spawn(|| three_times(|| panic!("in a callback")));
//!     assert!(matches!(task.join(), Err(cede::JoinError::Panicked(_)))); // the process goes on
//! });
//! ```
//!
//! # longjmp
//!
//! A `longjmp` of C code over its own frames works, also after a wait in between: source and target are on the same stack. Two kinds are
//! undefined behaviour:
//!
//! * A jump over a Rust frame that has something to drop, as in every Rust program. `scope`, `timeout`, `deadline`, `shield` and
//!   `no_suspend` are such frames.
//! * A jump to another stack: from a task into another task, or from a generator's body into the code that resumed it.
//!
//! # Callbacks on other threads
//!
//! A library may call back on a thread of its own. That thread is in no run: [`spawn`](crate::spawn), [`timeout`](crate::timeout) and
//! [`time::sleep`](crate::time::sleep) panic there, and the waits of [`sync`](crate::sync) and of sockets block that thread. Send what
//! arrived to a task, by a channel, a [`Promise`](crate::sync::Promise) or an [`Unparker`](crate::task::Unparker):
//!
//! ```
//! use cede::sync::channel;
//! let (events, receiver) = channel::unbounded();
//! // The thread of the library, and its callback.
//! let library = std::thread::spawn(move || (1..=3).try_for_each(|event| events.send(event)).is_ok());
//! let sum = cede::run(move || receiver.iter().sum::<u32>()); // suspends the task until each event
//! assert_eq!((sum, library.join().unwrap()), (6, true));
//! ```
//!
//! # Stacks
//!
//! * C functions may need more than the 64 KiB of a task's stack: see [`Builder::stack_size`](crate::Builder::stack_size).
//! * A C frame of more than a page can skip the guard page, unless the C code was compiled with `-fstack-clash-protection`: set
//!   [`Builder::guard_size`](crate::Builder::guard_size) to 64 KiB or more.
//! * C code that assumes the bounds of the thread's stack does not work in a task: garbage collectors that scan the stack, and language
//!   runtimes that check its depth. Call it in [`unblock`](crate::blocking::unblock), or in a run's main, which runs on the stack of the
//!   thread.
