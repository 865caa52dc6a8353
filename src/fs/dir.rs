//! The entries of a directory.
#![forbid(unsafe_code)]

use crate::blocking::unblock;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// The number of entries that one call on the pool reads.
const BATCH: usize = 128;

/// Returns an iterator over the entries of a directory, without `.` and `..`, in the order of the file system. Waits for a call on the
/// pool, which also reads the first entries.
///
/// # Errors
///
/// Those of [`std::fs::read_dir`]. The iterator returns an error of a later read as an item.
///
/// ```
/// cede::run(|| {
///     let mut names = Vec::new();
///     for entry in cede::fs::read_dir("src")? {
///         names.push(entry?.file_name());
///     }
///     assert!(names.contains(&"lib.rs".into()));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "opendir")]
#[doc(alias = "readdir")]
pub fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    unblock(|| {
        let mut entries = ReadDir { inner: fs::read_dir(path)?, batch: VecDeque::new(), has_more: true };
        entries.read_batch();
        Ok(entries)
    })
}

/// The entries of a directory: the iterator of [`read_dir`].
///
/// The entries are read in batches of up to 128, each by one call on the pool, so most calls of `next` return at once. A directory of which
/// entries are removed or added during the iteration may or may not yield them, as with [`std::fs::ReadDir`].
pub struct ReadDir {
    inner: fs::ReadDir,
    batch: VecDeque<io::Result<DirEntry>>,
    /// The directory may have entries that were not read.
    has_more: bool,
}

impl ReadDir {
    /// Reads the next entries into the batch. Blocks the thread.
    fn read_batch(&mut self) {
        let entries = self.inner.by_ref().take(BATCH);
        self.batch.extend(entries.map(|entry| entry.map(DirEntry::new)));
        self.has_more = self.batch.len() == BATCH;
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<io::Result<DirEntry>> {
        if self.batch.is_empty() && self.has_more {
            unblock(|| self.read_batch());
        }
        self.batch.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadDir").field(&self.inner).finish()
    }
}

/// An entry of a directory.
pub struct DirEntry {
    inner: fs::DirEntry,
    /// The type, read with the entry. `None` after an error, which a further read returns.
    file_type: Option<FileType>,
}

impl DirEntry {
    fn new(inner: fs::DirEntry) -> DirEntry {
        // On most file systems the directory has the type. On the other ones the pool's thread asks for it.
        let file_type = inner.file_type().ok();
        DirEntry { inner, file_type }
    }

    /// Returns the path of the entry: the path of the directory, as it was given to [`read_dir`], and the name.
    pub fn path(&self) -> PathBuf {
        self.inner.path()
    }

    /// Returns the name of the entry.
    pub fn file_name(&self) -> OsString {
        self.inner.file_name()
    }

    /// Returns the type of the entry, without following a symbolic link. Does not wait, except after an error.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirEntry::file_type`].
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => unblock(|| self.inner.file_type()),
        }
    }

    /// Returns the metadata of the entry, without following a symbolic link. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::DirEntry::metadata`].
    pub fn metadata(&self) -> io::Result<Metadata> {
        unblock(|| self.inner.metadata())
    }

    /// Returns the inode number of the entry.
    pub fn ino(&self) -> u64 {
        self.inner.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}
