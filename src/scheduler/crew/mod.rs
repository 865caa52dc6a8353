//! The crew of a run: its workers, each on a thread of its own, and the closures that have not started.
//!
//! A task that has started stays with its worker; nothing in its turns knows of other workers. Only closures that have not started travel.
//! Each worker has two queues of them: *starts*, first in first out, and *forks*, last in first out. Other threads push to the *injector*.
//! A worker starts a closure when none of its tasks is ready, and at most one per poll otherwise. If it has none, it takes some from the
//! injector, or steals from another worker: a fork, or half of the starts. A run of one worker has a crew from the first use.
//!
//! # Why no closure is forgotten
//!
//! 1. A push makes the closure visible, and then looks for sleepers; a worker that is about to sleep enters itself among the sleepers, and
//!    then looks at all queues. Sequentially consistent fences separate the two steps of each, so one of them sees the other.
//! 2. A push wakes one sleeper, unless a worker *searches*: one that was woken and has not found anything yet. A searcher that stops looks
//!    at all queues again after it has stopped, and wakes the next one. A push that finds no sleeper, and so gives its search back, looks
//!    for sleepers again: another push may have relied on that search, and a worker have gone to sleep meanwhile.
//! 3. A worker that has closures of its own starts them or leaves them to thieves; it does not sleep.
//! 4. A [`Job`] is started once, or given up when it is dropped.

#![forbid(unsafe_code)]

mod member;
mod shared;
mod sleepers;
mod stall;

pub(crate) use self::member::Member;
pub(crate) use self::shared::{Crew, Deques};
pub(crate) use self::stall::Stalled;
