//! What drives a pipeline.

use super::Push;
use crate::SendError;
use std::fmt;
use std::io::{self, BufRead};

/// Why a reader's lines did not all arrive.
#[derive(thiserror::Error)]
pub enum FeedError<T> {
    /// The pipeline takes no more; this is the line that it refused.
    #[error("the pipeline takes no more lines")]
    Refused(T),
    /// Reading failed. What was read before has been sent.
    #[error("cannot read the next line: {0}")]
    Read(#[from] io::Error),
}

impl<T> fmt::Debug for FeedError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedError::Refused(_) => f.write_str("Refused(..)"),
            FeedError::Read(error) => f.debug_tuple("Read").field(error).finish(),
        }
    }
}

/// Sends lines while they are wanted: a reader is not asked for a line that nobody would take.
pub(super) fn feed_lines<T: From<String>>(
    target: &mut (impl Push<T> + ?Sized),
    mut reader: impl BufRead,
) -> Result<(), FeedError<T>> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        target.send(T::from(line)).map_err(|refused: SendError<T>| FeedError::Refused(refused.into_inner()))?;
    }
}
