//! The poll thread: ends the sleeps of fibers at the readiness of descriptors, since an executor has no poller that every fiber could
//! use.
//!
//! It waits by poll(2) for the pollers of the runs that sleep in fibers, and for the descriptors of fibers that wait outside of a run.
//! The first of them starts the thread, one in a process. Each report costs a wake of the thread and two system calls.
#![forbid(unsafe_code)]

use super::remote::{RemoteQueue, RemoteReceiver};
use crate::sys::fork::{self, PerProcess};
use crate::sys::self_pipe::SelfPipe;
use crate::sys::threads::InternalThread;
use crate::sys::{poll_fds, pollfd};
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A watched descriptor, and the queue to notify. If the descriptor is closed and its number reused, the notification is spurious.
struct Entry {
    poll: libc::pollfd,
    queue: &'static RemoteQueue,
    run: u64,
    /// The number of the call of `watch`.
    watch: u64,
}

#[derive(Default)]
struct Watched {
    entries: Vec<Entry>,
    next_watch: u64,
    /// Rung at a change of `entries`. `None` before the thread starts.
    bell: Option<&'static SelfPipe>,
    /// The thread notifies a queue.
    is_busy: bool,
}

static WATCHED: PerProcess<Mutex<Watched>> = PerProcess::new(Mutex::default);

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the watch of descriptors when dropped.
pub(super) struct Watch(u64);

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread may still poll the descriptors, until its next entry: the queue refuses or ignores the notification.
        watched().entries.retain(|entry| entry.watch != self.0);
    }
}

/// Notifies the queue of `receiver`, once, when one of the descriptors is readable (`true`) or writable.
///
/// # Errors
///
/// Fails if the system refuses the thread or its pipe.
pub(super) fn watch(fds: &[(BorrowedFd<'_>, bool)], receiver: &RemoteReceiver) -> io::Result<Watch> {
    fork::watch()?;
    let mut watched = watched();
    let bell = match watched.bell {
        Some(bell) => bell,
        None => {
            let bell: &'static SelfPipe = Box::leak(Box::new(SelfPipe::new()?));
            thread::Builder::new().name("cede-poll".into()).spawn(move || serve(bell))?;
            *watched.bell.insert(bell)
        }
    };
    let watch = watched.next_watch;
    watched.next_watch += 1;
    let (queue, run) = (receiver.queue(), receiver.run());
    watched.entries.extend(fds.iter().map(|(fd, readable)| Entry { poll: pollfd(*fd, *readable), queue, run, watch }));
    drop(watched);
    bell.wake();
    Ok(Watch(watch))
}

/// Returns whether the thread may end a sleep, and so wake a task that waits for a fiber.
pub(crate) fn has_work() -> bool {
    let watched = watched();
    watched.is_busy || !watched.entries.is_empty()
}

fn serve(bell: &'static SelfPipe) {
    let _internal = InternalThread::register();
    let (mut polls, mut watches) = (Vec::new(), Vec::new());
    loop {
        polls.clear();
        watches.clear();
        polls.push(pollfd(bell.reader(), true));
        for entry in &watched().entries {
            polls.push(entry.poll);
            watches.push(entry.watch);
        }
        if poll_fds(&mut polls, None).is_err() {
            // The kernel has no memory: no event is lost.
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        if polls[0].revents != 0 {
            bell.clear();
        }
        let ready = polls[1..].iter().zip(&watches).filter(|(poll, _)| poll.revents != 0);
        for (_, &watch) in ready {
            let mut watched = watched();
            let entry = watched.entries.iter().find(|entry| entry.watch == watch).map(|entry| (entry.queue, entry.run));
            watched.entries.retain(|entry| entry.watch != watch);
            watched.is_busy = true;
            drop(watched);
            if let Some((queue, run)) = entry {
                // False if the run has ended. The queue uses a waker, which is foreign code: its panic ends no other sleep.
                std::mem::forget(catch_unwind(AssertUnwindSafe(|| queue.notify(run))));
            }
            self::watched().is_busy = false;
        }
    }
}
