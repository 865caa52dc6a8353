//! Sources: the code that drives a pipeline.

use super::Push;
use std::io::{self, BufRead};

/// Sends lines while the target accepts them. Reads no line that the target would refuse.
pub(super) fn feed_lines<T: From<String>>(
    target: &mut (impl Push<T> + ?Sized),
    mut reader: impl BufRead,
) -> io::Result<bool> {
    while target.ready() {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(true);
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        super::deliver(target, T::from(line));
    }
    Ok(false)
}
