//! The cooperative budget, for calls that use no `Source`.
#![forbid(unsafe_code)]

use super::source::consume_io_budget;

/// Counts a system call that completed without waiting.
pub(crate) fn consume_call_budget() {
    consume_io_budget();
}
