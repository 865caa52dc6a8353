//! The output, in the form of `grep -H -n`.

use crate::job::{Found, Job};
use cede::{Inbox, Sink};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

/// The size of the output buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// Receives the jobs in their order, with their answers, and writes the lines. Returns the number of lines. The lines of each job are
/// flushed. The body ends early with the error of a write.
pub fn printer(out: impl Write + 'static) -> Sink<(Job, Vec<Found>), io::Result<u64>> {
    Sink::new(move |inbox: &Inbox<(Job, Vec<Found>)>| {
        let mut out = BufWriter::with_capacity(BUFFER, out);
        let result = print(inbox, &mut out);
        // Without a flush, which would repeat a write that has failed.
        let _ = out.into_parts();
        result
    })
}

fn print(inbox: &Inbox<(Job, Vec<Found>)>, out: &mut impl Write) -> io::Result<u64> {
    let mut printed = 0;
    // The number of line feeds in the file before the part.
    let mut before = 0;
    for (job, found) in inbox {
        let already = printed;
        for (part, found) in job.parts.iter().zip(found) {
            if part.offset == 0 {
                before = 0;
            }
            for line in found.lines() {
                let (number, line) = line?;
                out.write_all(part.path.as_bytes())?;
                write!(out, ":{}:", before + u64::from(number) + 1)?;
                out.write_all(line)?;
                out.write_all(b"\n")?;
                printed += 1;
            }
            before += found.newlines;
        }
        if printed > already {
            out.flush()?;
        }
    }
    Ok(printed)
}
