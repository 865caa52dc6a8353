//! The side of a worker that belongs to its crew: the starts of closures, and what precedes a sleep.
#![forbid(unsafe_code)]

use super::crew::{Crew, Member, Stalled};
use super::job::Job;
use super::task_id::WORKER_SHIFT;
use super::{Mode, Worker};
use std::sync::Arc;

impl Worker {
    /// Takes a seat in a crew. Called before the first task.
    pub(crate) fn join_crew(&self, member: Member) {
        member.take_seat(&self.remote);
        self.next_id.set(((member.number() as u64) << WORKER_SHIFT) + 1);
        assert!(self.member.set(Box::new(member)).is_ok(), "a worker joins one crew");
    }

    /// Returns the membership in the crew. The crew of a run of one worker is made by the first use.
    #[inline]
    pub(crate) fn member(&self) -> &Member {
        match self.existing_member() {
            Some(member) => member,
            None => self.make_crew(),
        }
    }

    #[cold]
    fn make_crew(&self) -> &Member {
        self.member.get_or_init(|| {
            let (crew, mut deques) = Crew::new(1);
            let member = Member::new(crew, 0, deques.remove(0));
            member.take_seat(&self.remote);
            if self.mode.get() != Mode::Running {
                member.crew().close();
            }
            Box::new(member)
        })
    }

    /// Returns the membership in the crew, if there is a crew.
    #[inline]
    pub(crate) fn existing_member(&self) -> Option<&Member> {
        self.member.get().map(|member| &**member)
    }

    /// Returns whether this is a worker of the crew.
    pub(crate) fn is_member_of(&self, crew: &Arc<Crew>) -> bool {
        self.existing_member().is_some_and(|member| Arc::ptr_eq(member.crew(), crew))
    }

    /// Returns whether this is a worker beside the one of main: its own main only waits for the end of the run.
    pub(crate) fn is_helper(&self) -> bool {
        self.existing_member().is_some_and(|member| member.number() > 0)
    }

    /// Starts a closure, of whatever worker. Returns false if there is none. Called when no task is ready.
    pub(super) fn start_any(&self) -> bool {
        let job = self.existing_member().and_then(Member::find);
        job.map(|job| self.start_job(job)).is_some()
    }

    /// Starts a closure of this worker or from the injector if no task is ready, and neither a poll nor a remote wake is due: so that short
    /// tasks need no poll each. While a task waits for I/O, each closure comes after a poll: closures must not delay it. Returns whether a
    /// task is ready then.
    #[inline]
    pub(super) fn start_between_polls(&self) -> bool {
        if self.run_queue.len() > 0 || self.ticks.is_due() || self.remote.has_pending() || self.waits_for_io() {
            return false;
        }
        let job = self.existing_member().and_then(Member::find_own);
        job.map(|job| self.start_job(job)).is_some()
    }

    /// Returns whether there is a closure that this worker could start.
    #[cfg(feature = "io")]
    pub(super) fn has_closures(&self) -> bool {
        self.existing_member().is_some_and(|member| member.crew().has_work())
    }

    /// Starts a closure of this worker or from the injector, so that busy workers start theirs, too.
    #[inline]
    pub(super) fn start_own(&self) {
        if let Some(job) = self.existing_member().and_then(Member::find_own) {
            self.start_job(job);
        }
    }

    /// Starts a closure. While the run shuts down, gives it up.
    pub(crate) fn start_job(&self, job: Job) {
        if self.mode.get() == Mode::Running { job.start() } else { self.drop_as_job(job) }
    }

    /// Gives up all closures of this worker and of the injector, while the run shuts down.
    pub(crate) fn give_up_starts(&self) {
        while let Some(job) = self.existing_member().and_then(Member::find_own) {
            self.drop_as_job(job);
        }
    }

    /// Notes that a task was found without a closure: ends the search that a wake began.
    #[inline]
    pub(super) fn stop_searching(&self) {
        if let Some(member) = self.existing_member() {
            member.stop_searching();
        }
    }

    /// Announces a sleep to the crew. Returns false if there is a closure to start.
    pub(super) fn announce_sleep(&self) -> bool {
        self.existing_member().is_none_or(Member::announce_sleep)
    }

    /// Ends the sleep that `announce_sleep` announced.
    pub(super) fn end_sleep(&self) {
        if let Some(member) = self.existing_member() {
            member.end_sleep();
        }
    }

    /// Publishes that this worker has stalled: until its event loop goes on.
    pub(crate) fn publish_stall(&self, stalled: Stalled) {
        if let Some(member) = self.existing_member() {
            member.publish(Some(stalled));
        }
    }

    /// Takes back what [`publish_stall`](Self::publish_stall) has published.
    #[inline]
    pub(super) fn end_stall(&self) {
        if let Some(member) = self.existing_member() {
            member.publish(None);
        }
    }

    /// Spins before a sleep, if the other workers leave room for that. Returns whether there may be an entry in the remote queue.
    pub(super) fn spin(&self) -> bool {
        match self.existing_member() {
            None => self.remote.spin(),
            Some(member) => member.begin_spin().is_some_and(|_spinning| self.remote.spin()),
        }
    }

    /// Returns whether another thread may have a handle, through which it can spawn a task.
    pub(crate) fn has_handles(&self) -> bool {
        self.existing_member().is_some_and(|member| member.crew().has_handles())
    }
}
