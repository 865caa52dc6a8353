//! `unblock`: a call on the pool that borrows from its caller.
#![forbid(unsafe_code)]

use super::call::submit_and_wait;
use super::pool::{self, Job, Refused};
#[cfg(doc)]
use super::unblock_detached;
use crate::wait::{can_suspend, worker};

/// Runs `f` on a thread of the pool, waits until it has ended, and returns its value. The other tasks of the run go on.
///
/// `f` may borrow from the caller. `f` and its value cross threads, so both must be `Send`: `f` cannot capture an `Rc`, a
/// `&Cell` or a [`JoinHandle`](crate::JoinHandle). `f` sees the thread-locals of the pool's thread. It runs outside of
/// the run: a [`spawn`](crate::spawn) in it panics, a wait of [`sync`](crate::sync) blocks the pool's thread, and it may
/// start a [`run`](crate::run) of its own.
///
/// Nothing ends the wait before `f` has ended. A cancel, a deadline or a forced unwind that comes in between is reported
/// by the task's next wait. At the end of the run, the shutdown waits until `f` has ended, however long that takes:
/// [`Config::shutdown_grace`](crate::Config::shutdown_grace) does not limit it. Use [`unblock_detached`] for a call that
/// may never return, such as a read from a terminal.
///
/// `f` runs in place, on the calling thread, where the caller cannot wait for another thread:
///
/// * outside of a run; so also in the `f` of another `unblock` or `unblock_detached`, unless that `f` has started a
///   run;
/// * in a callback, and inside [`no_suspend`](crate::no_suspend);
/// * in a destructor while the thread panics;
/// * if the pool has no thread and the operating system refuses to create one.
///
/// # Panics
///
/// If `f` panics, with the same payload. The panic hook runs on the thread that ran `f`.
///
/// ```
/// use cede::blocking::unblock;
/// use std::time::Duration;
/// cede::run(|| {
///     let mut turns = 0;
///     cede::scope(|scope| {
///         scope.spawn(|| unblock(|| std::thread::sleep(Duration::from_millis(20))));
///         for _ in 0..10 {
///             cede::yield_now(); // not delayed by the call
///             turns += 1;
///         }
///     })
///     .unwrap();
///     assert_eq!(turns, 10);
/// });
/// ```
///
/// `f` may write to what it borrows:
///
/// ```
/// cede::run(|| {
///     let mut line = String::new();
///     let read = cede::blocking::unblock(|| std::io::BufRead::read_line(&mut &b"one\ntwo"[..], &mut line));
///     assert_eq!((read.unwrap(), &*line), (4, "one\n"));
/// });
/// ```
#[doc(alias = "spawn_blocking")]
#[doc(alias = "block_in_place")]
#[doc(alias = "asyncify")]
pub fn unblock<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    match worker().filter(|worker| can_suspend(worker)) {
        Some(worker) => submit_and_wait(worker, f, |call| match pool::submit(Job::Borrowed(call)) {
            Err(Refused { job: Job::Borrowed(call), .. }) => Err(call),
            _ => Ok(()),
        }),
        None => f(),
    }
}
