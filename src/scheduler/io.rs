//! The worker's side of the reactor: when it is polled, and the wake of the tasks that its events concern.

use super::Worker;
use super::poll_thread::{self, Watch};
use super::tcb::Tcb;
use crate::coroutine::{Builder, Suspender};
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
use crate::reactor::Ring;
use crate::reactor::{Driver, Reactor, Waiter};
use std::io;
use std::time::{Duration, Instant};

/// The stack for the setup of a driver, in bytes: mapping the queues of io_uring takes some 12 KiB without optimization.
const SETUP_STACK: usize = 64 * 1024;

/// The interval of polls while a fiber sleeps whose poller has no descriptor: poll(2).
const UNWATCHED: Duration = Duration::from_millis(1);

/// Returns the error of a wait in a child process whose run began in its parent.
#[cold]
pub(crate) fn forked() -> io::Error {
    io::Error::other(
        "forked: the run began in the parent process, which shares its poller with this one; \
         start a run of its own on a new thread of the child, or wait in a plain thread",
    )
}

impl Worker {
    /// Returns the reactor, and makes it if this is the first wait for I/O.
    ///
    /// # Errors
    ///
    /// The error of epoll_create1(2), eventfd(2) or pipe(2), as if no descriptor is left. That of io_uring_setup(2) if the run must use
    /// io_uring. An error whose text begins with "forked" in a child
    /// process that shares the reactor with its parent.
    #[inline]
    pub(crate) fn reactor(&self) -> io::Result<&Reactor> {
        match self.reactor.get() {
            Some(reactor) if reactor.is_foreign() => Err(forked()),
            Some(reactor) => Ok(reactor),
            None => self.make_reactor(),
        }
    }

    #[cold]
    fn make_reactor(&self) -> io::Result<&Reactor> {
        let driver = self.driver.get();
        // The setup of a driver takes more stack than a task may have.
        let make = move |_: &Suspender<(), ()>, ()| Reactor::new_boxed(driver);
        let made = match Builder::new().stack_size(SETUP_STACK).coroutine(make) {
            Ok(mut setup) => setup.resume(()).complete().expect("the setup does not suspend"),
            Err(_) => Reactor::new_boxed(driver),
        };
        let reactor = made?;
        Ok(self.reactor.get_or_init(|| reactor))
    }

    /// Returns the reactor if there is one, and if it is not that of the parent process.
    #[inline]
    pub(crate) fn reactor_if_any(&self) -> Option<&Reactor> {
        self.reactor.get().map(|reactor| &**reactor).filter(|reactor| !reactor.is_foreign())
    }

    /// Returns the driver in use, and why it is not io_uring if that would have been chosen. `None` before the first wait for I/O.
    pub(crate) fn io_driver(&self) -> Option<(Driver, Option<String>)> {
        let reactor = self.reactor.get()?;
        Some((reactor.driver(), reactor.fallback().map(ToString::to_string)))
    }

    /// Returns whether the first wait for I/O has made the reactor.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    #[inline]
    pub(crate) fn has_reactor(&self) -> bool {
        self.reactor.get().is_some()
    }

    /// Returns whether a reactor that is made now would try to have a ring.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    pub(crate) fn may_have_ring(&self) -> bool {
        self.driver.get().may_be_uring()
    }

    /// Returns the ring if there is one.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    #[inline]
    pub(crate) fn ring_if_any(&self) -> Option<&Ring> {
        self.reactor_if_any()?.ring()
    }

    /// Returns whether no task but the running one is ready.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.run_queue.len() == 0
    }

    /// Returns whether this process is a child of the one in which the run began, and shares its reactor.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.reactor.get().is_some_and(|reactor| reactor.is_foreign())
    }

    /// Returns the number of tasks that wait for I/O, of watched descriptors, and of polls.
    pub(crate) fn io_counts(&self) -> [u64; 3] {
        self.reactor_if_any().map_or([0; 3], Reactor::counts)
    }

    /// Returns whether a task waits for I/O.
    pub(super) fn waits_for_io(&self) -> bool {
        self.reactor_if_any().is_some_and(|reactor| reactor.waiting() > 0)
    }

    /// The running task, as the reactor names waiters.
    #[inline]
    pub(crate) fn io_waiter(&self) -> Waiter {
        let tcb = self.current();
        Waiter { tcb: std::ptr::from_ref(tcb) as usize, task_id: tcb.id() }
    }

    /// Polls the reactor between turns, without waiting and not too often.
    #[inline]
    pub(super) fn glance_at_io(&self) {
        if let Some(reactor) = self.reactor.get()
            && reactor.is_foreign()
            && reactor.waiting() > 0
        {
            // This process is a child of the one in which the tasks began to wait. Their waits fail.
            reactor.dismiss_all(|waiter| self.wake_io_waiter(waiter));
            for tcb in self.table.all().into_iter().filter(|tcb| tcb.is_parked() && tcb.wait().in_kernel) {
                self.wake(tcb);
            }
        }
        // The event loop sleeps in the reactor next, unless a task is ready or a closure can be started.
        let sleeps_next = self.is_event_loop(self.current()) && self.run_queue.len() == 0 && !self.has_closures();
        if sleeps_next {
            return;
        }
        if let Some(reactor) = self.reactor_if_any()
            && reactor.waiting() > 0
            && reactor.has_work().unwrap_or_else(|| self.io_timer.is_due(reactor.cost_of_poll()))
        {
            self.poll_io(Some(Duration::ZERO));
        }
    }

    /// Waits for events for at most `timeout`, and makes the tasks ready that they concern. Returns whether there was an event.
    pub(super) fn poll_io(&self, timeout: Option<Duration>) -> bool {
        let Some(reactor) = self.reactor_if_any() else { return false };
        reactor.poll(timeout, |waiter| self.wake_io_waiter(waiter))
    }

    /// Makes a task of this worker ready. Without effect if it has ended and its TCB belongs to another task.
    pub(crate) fn wake_io_waiter(&self, waiter: Waiter) {
        // SAFETY: `io_waiter` took the address from a TCB of this worker's table, and TCBs stay in place as long as the worker.
        let tcb = unsafe { &*(waiter.tcb as *const Tcb) };
        if tcb.id() == waiter.task_id {
            self.wake(tcb);
        }
    }

    /// Makes the poll thread watch the poller while the fiber of this run sleeps. Returns `None` if there is an event now.
    pub(super) fn watch_poller(&self) -> Option<Option<Watch>> {
        let Some(reactor) = self.reactor_if_any() else { return Some(None) };
        let descriptor = reactor.descriptor();
        reactor.clear_descriptor();
        if self.poll_io(Some(Duration::ZERO)) {
            return None;
        }
        self.io_timer.polled();
        // Without the thread, `poller_deadline` bounds the sleep.
        let watch = |fd| poll_thread::watch(&[(fd, true)], &self.remote).ok();
        Some(descriptor.filter(|_| reactor.waiting() > 0).and_then(watch))
    }

    /// Returns the end of a sleep that would last until `deadline`, for a poller that no other thread can watch.
    pub(super) fn poller_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        match self.reactor_if_any() {
            Some(reactor) if reactor.waiting() > 0 && reactor.descriptor().is_none() => {
                let soon = Instant::now() + UNWATCHED;
                Some(deadline.map_or(soon, |deadline| deadline.min(soon)))
            }
            _ => deadline,
        }
    }

    /// Sleeps in the reactor until an event or a remote wake arrives, or until `deadline`. Returns false, at once, if there is no
    /// reactor.
    pub(super) fn sleep_in_poller(&self, deadline: Option<Instant>) -> bool {
        let Some(reactor) = self.reactor_if_any() else { return false };
        if self.remote.begin_sleep(reactor.bell()) {
            self.poll_io(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())));
            self.remote.end_sleep();
            self.io_timer.polled();
        }
        true
    }
}
