//! Tasks: functions that run concurrently on one thread, each on a stack of its own.
//!
//! A task runs until it waits, yields or ends; no other task preempts it. A task stays on
//! the thread of its run, so its values need not be `Send`.
//!
//! | Purpose | Items |
//! |---|---|
//! | Spawning | [`spawn`]; [`Builder::spawn`](crate::Builder::spawn) with a name and a stack size; [`spawn_each`] for a generator; [`yield_now`] |
//! | Other threads | [`Handle`]: spawns tasks in the run from any thread; [`spawn_anywhere`] and [`RemoteHandle`], which any thread joins |
//! | Joining one task | [`JoinHandle`]: join, detach (drop), cancel; a callback at the end with [`on_done`](JoinHandle::on_done) |
//! | Joining several tasks | [`join_all`], [`try_join_all`], [`join!`](crate::join), [`race`], [`wait`], [`as_completed`]; [`JoinSet`] for tasks that are added at any time |
//! | Waiting | [`park`] until an [`Unparker`] is used; [`sync`](crate::sync) has locks and channels, [`time`](crate::time) has sleeps |
//! | Cancelling | [`JoinHandle::cancel`], from any thread [`CancelHandle`]; in the task, [`check`], [`is_cancelled`] and [`cancelled`] |
//! | Sections | [`timeout`], [`deadline`] and [`shield`] change what ends a wait; [`no_suspend`] forbids waits |
//! | Structured concurrency | [`scope`] (a nursery): tasks that may borrow, and that end before the scope returns |
//! | Several cores | [`scope_anywhere`], [`join_anywhere`], [`for_each_anywhere`], [`map_anywhere`]: closures that borrow, on all workers of the run |
//! | Task-locals | [`task_local!`](crate::task_local) and [`LocalKey`] |
//! | Observing | [`current`], [`all`], [`TaskState`], [`JoinHandle::backtrace`] |
//!
//! # Cancel safety
//!
//! A cancel interrupts no running code. It sets a flag, and each wait of the task returns [`Cancelled`], or an error made
//! from it, until the task ends. A wait is ended in the same way by the deadline of a [`timeout`] around it, by a cancelled
//! [`scope`] around it, and by a deadlock of the run. In a thread that is panicking, every wait fails at once.
//!
//! A cancelled wait loses no result of a task: [`JoinHandle::join`], [`wait`] and [`as_completed`] leave the result with
//! the handle, and the task continues. [`join_all`], [`try_join_all`], [`join!`](crate::join), [`race`] and [`scope`]
//! do not return early when the caller is cancelled: they cancel their tasks and wait until the tasks have ended.

mod anywhere;
mod callbacks;
mod cancel_handle;
mod combine;
mod group;
mod handle;
pub(crate) mod info;
mod join_error;
mod join_macro;
mod join_set;
mod local;
mod no_suspend;
mod park;
mod result;
mod scope;
mod spawn;
mod start;
mod timeout;
mod trace;

pub(crate) use self::anywhere::REMOTE_JOIN;
pub use self::anywhere::{
    Handle, RemoteHandle, RunEnded, ScopeAnywhere, ScopedRemoteHandle, for_each_anywhere, join_anywhere, map_anywhere,
    scope_anywhere, spawn_anywhere,
};
pub use self::callbacks::{CallbackId, Done};
pub use self::cancel_handle::CancelHandle;
/// The name of [`join_all`] in asyncio.
#[doc(no_inline)]
pub use self::combine::join_all as gather;
pub use self::combine::{
    AsCompleted, Completed, Race, TaskError, TryJoinError, WaitError, Waited, When, as_completed, join_all, race,
    try_join_all, wait,
};
pub use self::group::Joinable;
pub use self::handle::{CancelOnDrop, JoinHandle};
pub use self::info::{Id, TaskState, all, current, current_id};
pub use self::join_error::JoinError;
pub(crate) use self::join_error::text_in;
pub use self::join_macro::JoinTuple;
pub use self::join_set::JoinSet;
pub use self::local::LocalKey;
#[doc(hidden)]
pub use self::local::new_key;
pub use self::no_suspend::no_suspend;
pub use self::park::{Reason, Unparker, park, park_shielded, park_until};
#[cfg(feature = "io")]
pub(crate) use self::result::report_panic_of;
pub(crate) use self::result::report_unhandled;
pub use self::scope::{Failure, Scope, ScopeError, ScopedJoinHandle, scope};
pub use self::spawn::{SpawnError, spawn, spawn_each, yield_now};
pub use self::timeout::{Deadline, Elapsed, check, deadline, shield, timeout};
pub use crate::scheduler::Task;
pub use crate::wait::cancel::{Cancellation, Cancelled, cancelled, is_cancelled};
