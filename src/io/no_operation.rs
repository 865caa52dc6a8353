//! The replacement of `operation.rs` for a build without io_uring(7): there is never an operator.
#![forbid(unsafe_code)]

use super::buffer::Chunk;
use crate::sys::file::At;
use socket2::SockAddr;
use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub(crate) struct Operator<'w>(Infallible, PhantomData<&'w ()>);

pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) left_more: bool,
}

impl<'w> Operator<'w> {
    #[inline]
    pub(crate) fn of_task() -> Option<Operator<'w>> {
        None
    }

    pub(crate) fn deadline(self, _: Option<Duration>) -> Option<Instant> {
        match self.0 {}
    }

    #[inline]
    pub(crate) fn of_task_or_new() -> Option<Operator<'w>> {
        None
    }

    #[inline]
    pub(crate) fn is_first() -> bool {
        false
    }

    pub(crate) fn read(self, _: BorrowedFd<'_>, _: &mut [u8], _: At) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn write(self, _: BorrowedFd<'_>, _: &[u8], _: At) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn sync(self, _: BorrowedFd<'_>, _data_only: bool) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn is_alone(self) -> bool {
        match self.0 {}
    }

    pub(crate) fn receive(self, _: BorrowedFd<'_>, _: &mut [u8], _: bool, _: Option<Instant>) -> io::Result<Received> {
        match self.0 {}
    }

    pub(crate) fn receive_lent(
        self,
        _: BorrowedFd<'_>,
        _: bool,
        _: Option<Instant>,
    ) -> io::Result<Option<(Chunk, bool)>> {
        match self.0 {}
    }

    pub(crate) fn send(self, _: BorrowedFd<'_>, _: &[u8], _: Option<Instant>) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn receive_from(
        self,
        _: BorrowedFd<'_>,
        _: &mut [u8],
        _: Option<Instant>,
    ) -> io::Result<(usize, SockAddr)> {
        match self.0 {}
    }

    pub(crate) fn wait_readable(self, _: BorrowedFd<'_>, _: Option<Instant>) -> io::Result<()> {
        match self.0 {}
    }
}
