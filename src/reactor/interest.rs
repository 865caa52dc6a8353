//! The directions of I/O, and the readiness of a descriptor as bits.
#![forbid(unsafe_code)]

/// A direction of I/O. Further kinds of events may follow, such as urgent data (`EPOLLPRI`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interest {
    /// A read, a receive or an accept.
    Readable,
    /// A write, a send or the end of a connect.
    Writable,
}

/// The readiness of a descriptor, as bits.
pub(super) mod readiness {
    pub(in crate::reactor) const READ: u8 = 1;
    pub(in crate::reactor) const WRITE: u8 = 2;
    /// A short read may leave data. The peer has closed its side, and a read finds the end after the data that is left; or there is
    /// urgent data. Until a read fails with `EAGAIN`, reads are tried.
    pub(in crate::reactor) const READ_END: u8 = 4;
    /// The descriptor hung up or has an error: a write reports it.
    pub(in crate::reactor) const WRITE_END: u8 = 8;
}

impl Interest {
    /// The bit of plain readiness.
    pub(super) fn bit(self) -> u8 {
        match self {
            Interest::Readable => readiness::READ,
            Interest::Writable => readiness::WRITE,
        }
    }

    /// The bits of which one is enough for a call to succeed or fail without waiting.
    pub(super) fn bits(self) -> u8 {
        match self {
            Interest::Readable => readiness::READ | readiness::READ_END,
            Interest::Writable => readiness::WRITE | readiness::WRITE_END,
        }
    }
}
