//! The choice between an operation of the kernel and a wait for readiness.
#![forbid(unsafe_code)]

use super::operation::Operator;

/// The way in which a call that receives continues.
pub(crate) enum Way<'w, T> {
    /// The call has its value.
    Done(T),
    /// By an operation.
    Operate(Operator<'w>),
    /// By waits for readiness: the run does not use io_uring, or the task cannot suspend.
    Wait,
}
