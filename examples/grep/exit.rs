//! The ends of a process: the exit codes, and the texts that go with them.

use crate::args::Refusal;
use crate::output::reason;
use crate::print::Summary;
use crate::streams::{Stream, Writer, complain};
use std::io::Write;
use std::process::ExitCode;

/// Returns the exit code of a search.
pub(crate) fn code(summary: &Summary, quiet: bool) -> ExitCode {
    match *summary {
        Summary { unheard: true, .. } => unheard(quiet),
        Summary { selected: true, trouble, .. } if quiet || !trouble => ExitCode::SUCCESS,
        Summary { trouble: true, .. } => ExitCode::from(2),
        _ => ExitCode::from(1),
    }
}

/// Prints the help text.
pub(crate) fn help(text: &str, quiet: bool) -> ExitCode {
    match Writer::new(Stream::Output).write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The exit code is that of a lost message, even if the message could be written.
            let _ = complain(format!("grep: write error: {}\n", reason(&error)).as_bytes());
            unheard(quiet)
        }
    }
}

/// Prints why the command line is refused, and returns the exit code.
pub(crate) fn refuse(Refusal { text, quiet }: Refusal) -> ExitCode {
    if complain(text.as_bytes()) { ExitCode::from(2) } else { unheard(quiet) }
}

/// Returns the exit code of a run that could not write a message. With `-q` GNU grep reports success even then.
fn unheard(quiet: bool) -> ExitCode {
    ExitCode::from(if quiet { 0 } else { 2 })
}
