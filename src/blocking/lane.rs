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
    /// The length that the queue had after the calls were removed whose handles were dropped.
    swept_len: usize,
}

/// The length below which no call is removed from the middle of a queue.
const MIN_SWEEP: usize = 64;

impl State {
    /// Adds a call to the queue. Removes the calls whose handles were dropped, whenever the queue has doubled: a constant time per call.
    fn enqueue(&mut self, call: OwnedCall, is_dropped: IsDropped) {
        self.swept_len = self.swept_len.min(self.queue.len());
        if self.queue.len() >= MIN_SWEEP.max(2 * self.swept_len) {
            self.queue.retain(|(_, is_dropped)| !is_dropped());
            self.swept_len = self.queue.len();
        }
        self.queue.push_back((call, is_dropped));
    }
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
            state.enqueue(call, Box::new(handle.watch_drop()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn dropped_calls_leave_the_queue() {
        static LANE: Lane = Lane::new(1);
        let (open, gate) = channel::<()>();
        let mut first = LANE.submit(move || gate.recv().is_err()).unwrap();
        let mut kept = Vec::new();
        for number in 0..10_000 {
            let handle = LANE.submit(move || number).unwrap();
            if number % 1000 == 0 {
                kept.push((number, handle));
            }
        }
        assert!(LANE.state().queue.len() <= MIN_SWEEP, "{} calls are in the queue", LANE.state().queue.len());
        drop(open);
        assert!(first.join().unwrap());
        for (number, mut handle) in kept {
            assert_eq!(handle.join().unwrap(), number);
        }
    }
}
