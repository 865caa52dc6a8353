//! Whether all workers of a crew have stalled: the question that decides on a deadlock of several workers.
//!
//! Each worker publishes that it has stalled before it sleeps, and takes that back when its event loop goes on, with a count. The worker
//! that stalls last reads all of them twice. If both reads return the same counts, and no remote queue has an entry at the second, then all
//! workers were asleep at one moment between the reads, without a wake on its way: a worker sends wakes only while it is awake, and it has
//! published its stall after its last one. After that moment, only a thread outside of the run can wake a task.
#![forbid(unsafe_code)]

use super::member::Member;
use super::shared::{Crew, Seat};
use std::sync::atomic::Ordering::SeqCst;

/// The stall of a worker, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stalled {
    /// Only a task of the run can end the waits of all its tasks.
    Closed,
    /// A thread outside of the run may end one of them.
    Open,
}

/// The states in the lowest bits of `Seat::stall`; 0 is awake. The rest counts changes.
const CLOSED: u64 = 1;
const OPEN: u64 = 2;
const STEP: u64 = 4;

impl Crew {
    /// Returns how all workers have stalled, if all have, and there is no closure to start.
    pub(crate) fn all_stalled(&self) -> Option<Stalled> {
        let before: Vec<u64> = self.seats.iter().map(|seat| seat.stall.load(SeqCst)).collect();
        if before.iter().any(|state| state % STEP == 0) {
            return None;
        }
        let unchanged = |(seat, before): (&Seat, &u64)| {
            let has_entries = seat.address.get().is_none_or(|(queue, _)| queue.has_pending());
            !has_entries && seat.stall.load(SeqCst) == *before
        };
        if !self.seats.iter().zip(&before).all(unchanged) || self.has_work() {
            return None;
        }
        let closed = before.iter().all(|state| state % STEP == CLOSED);
        Some(if closed { Stalled::Closed } else { Stalled::Open })
    }

    /// Begins to gather the report of a stall. Returns false if another worker gathers one.
    pub(crate) fn begin_report(&self) -> bool {
        !self.reporting.swap(true, SeqCst)
    }

    /// Ends what [`begin_report`](Self::begin_report) began.
    pub(crate) fn end_report(&self) {
        self.reporting.store(false, SeqCst);
    }
}

impl Member {
    /// Publishes how the worker has stalled, or that it has not.
    #[inline]
    pub(crate) fn publish(&self, stalled: Option<Stalled>) {
        self.set_stall(match stalled {
            None => 0,
            Some(Stalled::Closed) => CLOSED,
            Some(Stalled::Open) => OPEN,
        });
    }

    fn set_stall(&self, state: u64) {
        let stall = &self.crew.seats[self.number].stall;
        let before = stall.load(SeqCst);
        if before % STEP != state {
            stall.store(before - before % STEP + STEP + state, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn seated(workers: usize) -> (Arc<Crew>, Vec<Member>, Vec<crate::scheduler::remote::RemoteReceiver>) {
        let (crew, deques) = Crew::new(workers);
        let members: Vec<_> =
            deques.into_iter().enumerate().map(|(n, deques)| Member::new(Arc::clone(&crew), n, deques)).collect();
        let receivers: Vec<_> = (0..workers).map(|_| crate::scheduler::remote::RemoteReceiver::new()).collect();
        members.iter().zip(&receivers).for_each(|(member, receiver)| member.take_seat(receiver));
        (crew, members, receivers)
    }

    #[test]
    fn all_must_have_stalled() {
        let (crew, members, receivers) = seated(3);
        members[0].set_stall(CLOSED);
        members[1].set_stall(CLOSED);
        assert_eq!(crew.all_stalled(), None);
        members[2].set_stall(OPEN);
        assert_eq!(crew.all_stalled(), Some(Stalled::Open));
        members[2].set_stall(0);
        assert_eq!(crew.all_stalled(), None);
        members[2].set_stall(CLOSED);
        assert_eq!(crew.all_stalled(), Some(Stalled::Closed));
        assert!(receivers[1].queue().notify(receivers[1].run()));
        assert_eq!(crew.all_stalled(), None, "a wake is on its way");
        receivers[1].give_back(receivers[1].take());
        assert_eq!(crew.all_stalled(), Some(Stalled::Closed));
        assert!(crew.begin_report() && !crew.begin_report());
    }

    #[test]
    fn each_change_has_another_count() {
        let (crew, members, _receivers) = seated(1);
        members[0].set_stall(CLOSED);
        let first = crew.seats[0].stall.load(SeqCst);
        members[0].set_stall(0);
        members[0].set_stall(CLOSED);
        assert_ne!(first, crew.seats[0].stall.load(SeqCst));
    }
}
