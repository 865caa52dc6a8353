//! A lane: detached calls of one kind, of which a bounded number runs at once, so that calls that never return do not take all threads of
//! the pool.
#![forbid(unsafe_code)]

use super::detached::{Detached, OwnedCall, detach};
use super::pool::{self, Job};
use crate::sys::fork::PerProcess;
use crate::wait::WakeHandle;
use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A limit of calls that run at once, and a FIFO queue of the calls that wait for their turn.
pub(crate) struct Lane {
    max: usize,
    state: PerProcess<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// The calls, each with the question whether its handle was dropped.
    queue: VecDeque<(OwnedCall, IsDropped)>,
}

type IsDropped = Box<dyn Fn() -> bool + Send>;

impl Lane {
    /// Makes a lane in which `max` calls run at once.
    pub(crate) const fn new(max: usize) -> Lane {
        Lane { max, state: PerProcess::new(Mutex::default) }
    }

    fn state(&'static self) -> MutexGuard<'static, State> {
        self.state.get().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on a thread of the pool as soon as the lane has room, and returns a handle at once. A call whose handle is dropped before
    /// it begins does not run.
    ///
    /// # Errors
    ///
    /// The error of a thread that the operating system refused to create.
    pub(crate) fn submit<T: Send + 'static>(
        &'static self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Detached<T>> {
        let (handle, call) = detach(f);
        let mut state = self.state();
        if state.running == self.max {
            state.queue.push_back((call, Box::new(handle.watch_drop())));
            return Ok(handle);
        }
        state.running += 1;
        drop(state);
        self.start(call)?;
        Ok(handle)
    }

    fn start(&'static self, call: OwnedCall) -> io::Result<()> {
        pool::submit(Job::Owned(Box::new(move || self.serve(call)))).map_err(|refused| {
            self.state().running -= 1;
            refused.error
        })
    }

    /// Runs a call and starts the next one. Returns the waiter of the call.
    fn serve(&'static self, call: OwnedCall) -> Option<WakeHandle> {
        let waiter = call();
        let mut state = self.state();
        let next = loop {
            match state.queue.pop_front() {
                Some((call, is_dropped)) if is_dropped() => drop(call),
                next => break next,
            }
        };
        match next {
            // The place of this call goes to the next one. The pool accepts it, because it has this thread.
            Some((next, _)) => {
                drop(state);
                drop(self.start(next));
            }
            None => state.running -= 1,
        }
        waiter
    }
}
