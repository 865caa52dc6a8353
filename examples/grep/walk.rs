//! The walk through directories, and inputs that cannot be searched.

use crate::output::reason;
use ignore::WalkBuilder;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// An input that cannot be searched, with the reason.
pub(crate) struct Problem {
    /// The name of the input.
    pub name: Arc<[u8]>,
    /// The reason.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(name: &[u8], error: &io::Error) -> Self {
        Problem { name: name.into(), text: reason(error) }
    }
}

/// Calls `found` for the regular files below a directory, hidden ones too, each directory's entries in the order of their names. Ends
/// early if `found` returns `false`.
pub(crate) fn descend(directory: &Path, mut found: impl FnMut(Result<&Path, Problem>) -> bool) {
    let mut builder = WalkBuilder::new(directory);
    builder.standard_filters(false).sort_by_file_name(OsStr::cmp);
    for entry in builder.build() {
        let goes_on = match entry {
            Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => found(Ok(entry.path())),
            // Directories are descended into by the walk; links and devices are skipped.
            Ok(_) => true,
            Err(error) => found(Err(walk_problem(directory, &error))),
        };
        if !goes_on {
            return;
        }
    }
}

/// Makes the problem of an error of the walk. If the error names no path, the problem names the directory of the walk.
fn walk_problem(directory: &Path, error: &ignore::Error) -> Problem {
    fn path(error: &ignore::Error) -> Option<&Path> {
        match error {
            ignore::Error::WithPath { path, .. } => Some(path),
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path(err),
            _ => None,
        }
    }
    let name = path(error).unwrap_or(directory).as_os_str().as_bytes();
    match error.io_error() {
        Some(error) => Problem::new(name, error),
        None => Problem { name: name.into(), text: error.to_string() },
    }
}
