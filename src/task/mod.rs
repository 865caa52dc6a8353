//! Tasks: functions that take turns on one thread, each on a stack of its own.
//!
//! A task runs until it waits, yields or ends; nothing interrupts it. It starts on the worker of the run that spawned it and
//! never leaves that thread, so what it owns need not be `Send`.

mod callbacks;
mod combine;
mod group;
mod handle;
pub(crate) mod info;
mod join_error;
mod join_macro;
mod local;
mod no_suspend;
mod park;
mod result;
mod scope;
mod spawn;
mod start;
mod timeout;

pub use self::callbacks::{CallbackId, Done};
/// The name of [`join_all`] in asyncio.
#[doc(no_inline)]
pub use self::combine::join_all as gather;
pub use self::combine::{
    AsCompleted, Completed, Race, TaskError, TryJoinError, WaitError, Waited, When, as_completed, join_all, race,
    try_join_all, wait,
};
pub use self::group::Joinable;
pub use self::handle::{CancelOnDrop, JoinHandle};
pub use self::info::{TaskState, all, current};
pub use self::join_error::JoinError;
pub use self::join_macro::JoinTuple;
pub use self::local::LocalKey;
#[doc(hidden)]
pub use self::local::new_key;
pub use self::no_suspend::no_suspend;
pub use self::park::{Reason, Unparker, park, park_shielded, park_until};
pub(crate) use self::result::report_unhandled;
pub use self::scope::{Failure, Scope, ScopeError, ScopedJoinHandle, scope};
pub use self::spawn::{SpawnError, spawn, spawn_each, yield_now};
pub use self::timeout::{Deadline, Elapsed, check, deadline, shield, timeout};
pub use crate::scheduler::Task;
pub use crate::wait::cancel::{Cancellation, Cancelled, cancelled, is_cancelled};
