//! Polling between turns: every EVENT_INTERVAL turns the worker checks timers, the remote wakes of other threads, and
//! whether the grace period is over.

use super::progress::Progress;
use super::remote::WakeKind;
use super::search::{Pick, Search};
use super::tcb::Tcb;
use super::tcb_table::tcb_of;
use super::{Mode, TaskUnwound, Worker, flags, handshake, rng};
use crate::stack::depot::shrink_idle;
use crate::suspend_check;
use std::panic::resume_unwind;
use std::thread::panicking;
use std::time::{Duration, Instant};

/// The lowest and the highest number of turns between two polls of timers and remote wakes. In between, a poll comes once a
/// round: after as many turns as there are entries in the run queue.
const EVENT_INTERVAL: (usize, usize) = (64, 1024);

impl Worker {
    /// Counts a turn, and polls for events if a poll is due. Returns whether the running task keeps its turn, which only a search decides.
    #[inline(always)]
    #[track_caller]
    pub(super) fn poll_if_due(&self) -> bool {
        !self.ticks.count() && self.poll_now()
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn poll_now(&self) -> bool {
        self.ticks.count_late();
        self.poll_events(Some(self.current().id()))
    }

    /// Returns the time of the first wait since the last poll, as the approximate current time for `waits_since`:
    /// nanoseconds of the run's clock since `began`, plus one. Reading the clock in each wait would cost more than the
    /// rest of the wait.
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
        // A `u64` of nanoseconds holds 584 years. A paused clock may be further ahead.
        let coarse_now = u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1);
        self.coarse_now.set(coarse_now);
        coarse_now
    }

    /// Returns the time at which a parked task's wait began, by the run's clock: too early by at most the time between
    /// two polls.
    pub(crate) fn waits_since(&self, tcb: &Tcb) -> Instant {
        self.began + Duration::from_nanos(tcb.parked_at().saturating_sub(1))
    }

    /// Polls for events: reads remote wakes, fires timers, and checks whether the grace period is over. Returns unused memory of the stack pool.
    ///
    /// `running` is the number of a task that gives up its turn. Returns whether it keeps the turn, in a search.
    #[cold]
    #[inline(never)]
    #[track_caller]
    pub(super) fn poll_events(&self, running: Option<u64>) -> bool {
        // A callback and a `no_suspend` section make the next turn poll, so only this path has to refuse their waits.
        if self.in_job.get() {
            panic!("cannot wait or yield in a callback: spawn a task from it instead");
        }
        if self.current().has_flags(flags::NO_SUSPEND) {
            suspend_check::refuse_to_wait();
        }
        self.ticks.set(self.run_queue.len().clamp(EVENT_INTERVAL.0, EVENT_INTERVAL.1) as u32);
        self.coarse_now.set(0);
        self.run_queue.consider_fetching();
        let _ = shrink_idle();
        if self.in_fiber {
            self.give_way_soon();
        }
        self.read_remote_wakes();
        self.glance_at_io();
        self.fire_timers();
        self.start_own();
        if self.force_unwind_at.get().is_some_and(|force_unwind_at| force_unwind_at <= self.clock.now()) {
            self.force_unwind_at.set(None);
            (self.on_shutdown_overdue)(self);
        }
        if self.mode.get() == Mode::Unwinding {
            // Every turn polls in this mode, so that tasks that only yield are unwound, too.
            self.ticks.set(0);
            self.unwind_if_requested();
        }
        if self.rng.get() != 0 {
            // Every turn polls in a run with a seed, so that every turn is shuffled.
            self.ticks.set(0);
            return self.shuffle_next(running);
        }
        false
    }

    /// Seeds the run: the order of turns and the choices of select become pseudo-random and depend on `seed` alone.
    pub(crate) fn seed_rng(&self, seed: u64) {
        let state = rng::splitmix64(seed);
        self.rng.set(state);
        // Rotated, so that turns and selects do not draw the same sequence.
        self.random.set(state.rotate_left(32));
        self.poll_soon();
    }

    /// Returns whether the run has a seed.
    pub(crate) fn has_seed(&self) -> bool {
        self.rng.get() != 0
    }

    /// Makes the run a search: `search` picks the next task, and each call that completes without waiting gives up the turn.
    pub(crate) fn begin_search(&self, seed: u64) {
        self.seed_rng(seed);
        self.search.replace(Some(Search::new(seed)));
        self.coop_budget.set(1);
        self.budget.set(1);
    }

    /// Returns the number of steps of the search; 0 if there is none.
    pub(crate) fn steps(&self) -> u64 {
        self.search.borrow().as_ref().map_or(0, Search::steps)
    }

    /// Moves a random ready task to the front of the run queue, or the task that the search picks. Returns whether the search picks the
    /// running task instead.
    #[cold]
    pub(super) fn shuffle_next(&self, running: Option<u64>) -> bool {
        let mut search = self.search.borrow_mut();
        let Some(search) = &mut *search else {
            let x = rng::xorshift64(&self.rng);
            self.run_queue.swap_to_front(x >> 16);
            return false;
        };
        // SAFETY: contexts in the run queue are in the worker's table (invariant 3), which lives as long as the worker.
        let id = |context| unsafe { (*tcb_of(context)).id() };
        let ready: Vec<u64> = self.run_queue.all().map(id).collect();
        if ready.is_empty() {
            return false;
        }
        match search.pick(running, &ready) {
            Pick::Stay => true,
            Pick::Switch(at) => {
                self.run_queue.swap_to_front(at as u64);
                false
            }
        }
    }

    /// Returns the counters for metrics: tasks spawned, tasks alive, turns, waits, remote wakes, armed timers, ready
    /// tasks.
    pub(crate) fn counts(&self) -> [u64; 7] {
        let ready = self.run_queue.len() - usize::from(self.event_loop_queued.get());
        let (live, timers) = (self.live.get() as u64, self.timers.armed() as u64);
        [self.spawned.get(), live, self.ticks.total(), self.parks.get(), self.remote_wakes.get(), timers, ready as u64]
    }

    /// Returns the worker's progress, to be read by other threads.
    pub(crate) fn progress(&self) -> Progress<'_> {
        Progress { current: &self.current, ticks: &self.ticks, sleep: &self.sleep }
    }

    /// Unwinds the running task if `flags::UNWIND_REQUESTED` is set: the forced unwind.
    #[inline]
    pub(crate) fn unwind_if_requested(&self) {
        let tcb = self.current();
        if tcb.has_flags(flags::UNWIND_REQUESTED) && !panicking() {
            tcb.remove_flags(flags::UNWIND_REQUESTED);
            tcb.add_flags(flags::UNWOUND);
            resume_unwind(Box::new(TaskUnwound));
        }
    }

    /// Cancels a task of this run.
    pub(crate) fn cancel(&self, tcb: &Tcb) {
        tcb.add_flags(flags::CANCELLED);
        self.wake_if_interrupted(tcb);
    }

    /// Wakes a task whose flags have changed, if they end its current wait.
    pub(crate) fn wake_if_interrupted(&self, tcb: &Tcb) {
        if tcb.is_parked() && tcb.flags_interrupt(tcb.wait()) {
            self.wake(tcb);
        }
    }

    /// Makes the next turn poll for events.
    pub(crate) fn poll_soon(&self) {
        self.ticks.set(0);
    }

    /// Makes every wait and yield panic while the event loop runs a job.
    pub(super) fn set_in_job(&self, on: bool) {
        self.in_job.set(on);
        self.poll_soon();
    }

    /// Returns whether the calling code is part of a job, such as a callback.
    pub(crate) fn is_in_job(&self) -> bool {
        self.in_job.get()
    }

    /// Wakes the tasks that other threads have woken, and releases the jobs that they have released.
    fn read_remote_wakes(&self) {
        if !self.remote.has_pending() {
            return;
        }
        let mut entries = self.remote.take();
        handshake::answer();
        self.remote_wakes.set(self.remote_wakes.get() + (entries.wakes.len() + entries.cells.len()) as u64);
        for wake in &entries.wakes {
            let (kind, address) = wake.target();
            // SAFETY: the queue takes only wakes for this run, whose wake handles hold addresses of TCBs of
            // `self.table`. The table lives as long as the worker and never moves a TCB.
            let tcb = unsafe { &*(address as *const Tcb) };
            // The TCB may belong to a later task: then the wake is stale.
            if tcb.id() == wake.task_id {
                match kind {
                    WakeKind::Wake => self.wake(tcb),
                    WakeKind::Unpark => self.unpark(tcb),
                    WakeKind::Cancel => self.cancel(tcb),
                }
            }
        }
        entries.cells.iter().for_each(|cell| self.wake_bound(cell));
        entries.jobs.iter().for_each(|order| self.release_job(*order));
        entries.starts.drain(..).for_each(|job| self.start_job(job));
        for call in entries.calls.drain(..) {
            self.jobs.borrow_mut().push_back(call);
            self.queue_event_loop();
        }
        self.remote.give_back(entries);
    }

    /// Wakes the tasks whose deadlines have passed, in the order of the deadlines.
    fn fire_timers(&self) {
        if self.timers.is_empty() {
            return;
        }
        let now = self.clock.now();
        while let Some((tcb, wait_seq)) = self.timers.due(now) {
            // SAFETY: `arm` is called with TCBs of `self.table` only, which lives as long as the worker.
            let tcb = unsafe { &*tcb };
            // A task that was woken before its deadline, but has not run yet, is no longer parked.
            if tcb.is_waiting(wait_seq) && tcb.is_parked() {
                tcb.end_wait(wait_seq);
                self.wake(tcb);
            }
        }
    }
}
