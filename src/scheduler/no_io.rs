//! The replacement of `io.rs` for a build without a reactor.
#![forbid(unsafe_code)]

use super::Worker;
use std::convert::Infallible;
use std::time::{Duration, Instant};

impl Worker {
    pub(crate) fn io_counts(&self) -> [u64; 3] {
        [0; 3]
    }

    pub(crate) fn io_driver(&self) -> Option<(Infallible, Option<String>)> {
        None
    }

    pub(super) fn waits_for_io(&self) -> bool {
        false
    }

    pub(super) fn glance_at_io(&self) {}

    pub(super) fn poll_io(&self, _timeout: Option<Duration>) -> bool {
        false
    }

    pub(super) fn watch_poller(&self) -> Option<()> {
        Some(())
    }

    pub(super) fn poller_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline
    }

    pub(super) fn sleep_in_poller(&self, _deadline: Option<Instant>) -> bool {
        false
    }
}
