//! Diagnostics on stderr: the macro `report!`, for events that no return value can carry.
#![forbid(unsafe_code)]

use std::fmt::{Arguments, Write as _};
use std::io::Write as _;

/// Writes one message to stderr: `cede: `, the formatted text, and a newline. Takes the arguments of [`format!`].
///
/// The message is formatted first and then written by one write, so that messages of several threads do not mix. An error
/// of the write is ignored, because no other channel is left to report it on.
///
/// `report!` allocates and takes the lock of stderr, so a signal handler must not call it. The handler of a stack overflow
/// and the abort of a body (`stack/overflow.rs`) format into a fixed buffer and call `write(2)` instead.
macro_rules! report {
    ($($argument:tt)*) => {
        $crate::report::write_message(format_args!($($argument)*))
    };
}

pub(crate) use report;

/// Writes the message of a `report!`.
#[cold]
pub(crate) fn write_message(text: Arguments<'_>) {
    let mut message = String::from("cede: ");
    // A `Display` that returns an error cuts the message short. The text before the error is still of use.
    let _ = message.write_fmt(text);
    message.push('\n');
    let _ = std::io::stderr().write_all(message.as_bytes());
}
