//! The errors of waits for I/O.
#![forbid(unsafe_code)]

use crate::wait::{Cancelled, Cause, Worker, cause, worker};
use std::fmt;
use std::io::{Error, ErrorKind};

/// The source of an error that a deadline caused.
#[derive(Debug)]
struct DeadlinePassed(Cancelled);

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wait timed out: its deadline passed")
    }
}

impl std::error::Error for DeadlinePassed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Returns the error of a wait of the running task that has just returned `Cancelled`.
#[cold]
pub(super) fn cancelled(worker: &Worker) -> Error {
    match cause(worker) {
        Cause::Cancel => Error::other(Cancelled),
        Cause::Deadline => timed_out(),
    }
}

/// Returns the error of a wait of the calling task, which has just returned `Cancelled`.
#[cold]
pub(crate) fn interrupted(reason: Cancelled) -> Error {
    worker().map_or_else(|| Error::other(reason), cancelled)
}

/// Returns the error of a wait whose time is up.
#[cold]
pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, DeadlinePassed(Cancelled))
}

/// Returns whether an I/O error came from a wait that was cancelled, or that a deadline ended.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use cede::net::UdpSocket;
/// cede::run(|| {
///     let mut receiver = cede::spawn(|| {
///         let socket = UdpSocket::bind("127.0.0.1:0")?;
///         socket.recv(&mut [0; 8]) // nothing arrives
///     });
///     cede::yield_now();
///     receiver.cancel();
///     let error = receiver.join().unwrap().unwrap_err();
///     assert!(cede::io::is_cancelled(&error));
/// });
/// # }
/// ```
pub fn is_cancelled(error: &Error) -> bool {
    error.get_ref().is_some_and(|source| {
        let partial = source.downcast_ref::<super::Partial>();
        source.is::<Cancelled>() || source.is::<DeadlinePassed>() || partial.is_some_and(|cut| is_cancelled(&cut.error))
    })
}
