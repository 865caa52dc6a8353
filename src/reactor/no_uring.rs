//! The replacement of `uring.rs` for a build without io_uring(7): there is never a ring.
#![forbid(unsafe_code)]

use super::slots::Waiter;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

pub(crate) struct Ring(Infallible);

pub(super) struct Seen {
    pub(super) any: bool,
    pub(super) descriptors: bool,
}

impl Ring {
    pub(super) fn new(_bell: RawFd, _poller: RawFd) -> io::Result<Ring> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "this build has no io_uring: it needs Linux and the feature `uring`",
        ))
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self.0 {}
    }

    pub(super) fn clear_descriptor(&self) {
        match self.0 {}
    }

    pub(super) fn in_flight(&self) -> usize {
        match self.0 {}
    }

    pub(super) fn watch_descriptors(&self) {
        match self.0 {}
    }

    pub(super) fn has_work(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn enter(&self, _timeout: Option<Duration>, _wake: impl FnMut(Waiter)) -> Seen {
        match self.0 {}
    }

    pub(super) fn forget_all(&self) {
        match self.0 {}
    }
}
