//! What is looked at now and then, between turns: timers, remote wakes from other threads, and whether the run is to end.

use super::progress::Progress;
use super::tcb::Tcb;
use super::{Mode, TaskUnwound, Worker, flags, handshake, rng};
use crate::suspend_check;
use std::panic::resume_unwind;
use std::thread::panicking;
use std::time::{Duration, Instant};

/// How many turns pass between two looks at timers and remote wakes, at least and at most. Within that, a round.
const EVENT_INTERVAL: (usize, usize) = (64, 1024);

impl Worker {
    /// A task gives up its turn: counts it, and polls for events when it is time.
    #[inline(always)]
    #[track_caller]
    pub(super) fn poll_if_due(&self) {
        if !self.ticks.count() {
            self.poll_now();
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn poll_now(&self) {
        self.ticks.count_late();
        self.poll_events();
    }

    /// What time it was at most one poll ago: nanoseconds by the run's clock, plus one, for `waits_since`. A look at
    /// the clock itself would cost more than the rest of a wait.
    #[inline]
    pub(super) fn coarse_now(&self) -> u64 {
        match self.coarse_now.get() {
            0 => self.refresh_coarse_now(),
            then => then,
        }
    }

    #[cold]
    fn refresh_coarse_now(&self) -> u64 {
        let nanos = self.clock.now().saturating_duration_since(self.began).as_nanos();
        // Of 584 years. A paused clock may be further on.
        let coarse_now = u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1);
        self.coarse_now.set(coarse_now);
        coarse_now
    }

    /// Since when a parked task waits, by the run's clock: at most one poll too early.
    pub(crate) fn waits_since(&self, tcb: &Tcb) -> Instant {
        self.began + Duration::from_nanos(tcb.parked_at().saturating_sub(1))
    }

    /// What has to be done now and then: at least once a round, or every 64 turns where rounds are shorter.
    #[cold]
    #[inline(never)]
    #[track_caller]
    pub(super) fn poll_events(&self) {
        if self.in_job.get() {
            panic!("cannot wait or yield in a callback: spawn a task from it instead");
        }
        if self.current().has_flags(flags::NO_SUSPEND) {
            suspend_check::refuse_to_wait();
        }
        self.ticks.set(self.run_queue.len().clamp(EVENT_INTERVAL.0, EVENT_INTERVAL.1) as u32);
        self.coarse_now.set(0);
        self.run_queue.consider_fetching();
        self.read_remote_wakes();
        self.fire_timers();
        if self.force_unwind_at.get().is_some_and(|force_unwind_at| force_unwind_at <= self.clock.now()) {
            self.force_unwind_at.set(None);
            (self.on_shutdown_overdue)(self);
        }
        if self.mode.get() == Mode::Unwinding {
            // Every turn comes by here then: those that only yield are to be unwound too.
            self.ticks.set(0);
            self.unwind_if_requested();
        }
        if self.rng.get() != 0 {
            // Every turn comes by here then, so that every turn is permuted.
            self.ticks.set(0);
            self.shuffle_next();
        }
    }

    /// Permutes whose turn it is, from now on, and what a select chooses, in an order that depends on nothing but the seed.
    pub(crate) fn seed_rng(&self, seed: u64) {
        let state = rng::splitmix64(seed);
        self.rng.set(state);
        // The same bits in another place, so that the turns and the selects do not draw in step.
        self.random.set(state.rotate_left(32));
        self.poll_soon();
    }

    /// Moves a random ready task to the front of the run queue.
    #[cold]
    pub(super) fn shuffle_next(&self) {
        let x = rng::xorshift64(&self.rng);
        self.run_queue.swap_to_front(x >> 16);
    }

    /// What was counted: tasks spawned and live, turns, waits, wakes from other threads, deadlines, and who is ready.
    pub(crate) fn counts(&self) -> [u64; 7] {
        let ready = self.run_queue.len() - usize::from(self.event_loop_queued.get());
        let (live, timers) = (self.live.get() as u64, self.timers.armed() as u64);
        [self.spawned.get(), live, self.ticks.total(), self.parks.get(), self.remote_wakes.get(), timers, ready as u64]
    }

    /// Its progress, for other threads.
    pub(crate) fn progress(&self) -> Progress<'_> {
        Progress { current: &self.current, ticks: &self.ticks, sleep: &self.sleep }
    }

    /// Unwinds the running task if that is what is left to do with it.
    #[inline]
    pub(crate) fn unwind_if_requested(&self) {
        let tcb = self.current();
        if tcb.has_flags(flags::UNWIND_REQUESTED) && !panicking() {
            tcb.remove_flags(flags::UNWIND_REQUESTED);
            tcb.add_flags(flags::UNWOUND);
            resume_unwind(Box::new(TaskUnwound));
        }
    }

    /// Makes the next turn poll for events.
    pub(crate) fn poll_soon(&self) {
        self.ticks.set(0);
    }

    /// Makes every wait and yield panic while the event loop runs a callback.
    pub(super) fn set_in_job(&self, on: bool) {
        self.in_job.set(on);
        self.poll_soon();
    }

    /// Whether the code that asks is a callback.
    pub(crate) fn is_in_job(&self) -> bool {
        self.in_job.get()
    }

    fn read_remote_wakes(&self) {
        if !self.remote.has_pending() {
            return;
        }
        let (wakes, jobs) = self.remote.take();
        handshake::answer();
        self.remote_wakes.set(self.remote_wakes.get() + wakes.len() as u64);
        for wake in wakes {
            let (unparks, address) = wake.target();
            // SAFETY: the address came from a TCB of this table, and TCBs stay in place as long as the worker.
            let tcb = unsafe { &*(address as *const Tcb) };
            if tcb.id() == wake.task_id {
                if unparks { self.unpark(tcb) } else { self.wake(tcb) }
            }
        }
        jobs.into_iter().for_each(|order| self.release_job(order));
    }

    /// Wakes everybody whose deadline has come, in the order of the deadlines.
    fn fire_timers(&self) {
        if self.timers.is_empty() {
            return;
        }
        let now = self.clock.now();
        while let Some((tcb, wait_seq)) = self.timers.due(now) {
            // SAFETY: entries of the heap name TCBs of this table.
            let tcb = unsafe { &*tcb };
            if tcb.is_waiting(wait_seq) && tcb.is_parked() {
                tcb.end_wait(wait_seq);
                self.wake(tcb);
            } else {
                self.timers.was_stale();
            }
        }
    }
}
