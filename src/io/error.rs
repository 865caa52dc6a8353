//! The errors of waits for I/O.
#![forbid(unsafe_code)]

use crate::wait::io_error::is_wait_ended;
pub(crate) use crate::wait::io_error::{cancelled, interrupted, timed_out};
use std::io::Error;

/// Returns whether an I/O error came from a wait that a cancel, a deadline or a timeout ended.
///
/// ```
/// use cede::net::UdpSocket;
/// use std::error::Error;
/// cede::run(|| {
///     let mut receiver = cede::spawn(|| {
///         let socket = UdpSocket::bind("127.0.0.1:0")?;
///         socket.recv(&mut [0; 8]) // nothing arrives
///     });
///     cede::yield_now();
///     receiver.cancel();
///     let error = receiver.join().unwrap().unwrap_err();
///     assert!(cede::io::is_cancelled(&error));
///     assert!(error.source().unwrap().is::<cede::task::Cancelled>());
/// });
/// ```
pub fn is_cancelled(error: &Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        let partial = inner.downcast_ref::<super::Partial>();
        is_wait_ended(inner) || partial.is_some_and(|cut| is_cancelled(&cut.error))
    })
}
