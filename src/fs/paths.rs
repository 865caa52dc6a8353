//! The functions of `std::fs` on paths. Each makes one call on the pool.
#![forbid(unsafe_code)]

use crate::blocking::unblock;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

/// Returns the contents of a file. Waits for a call on the pool, which opens, reads and closes the file.
///
/// # Errors
///
/// Those of [`std::fs::read`].
///
/// ```
/// cede::run(|| {
///     let bytes = cede::fs::read("Cargo.toml")?;
///     assert_eq!(bytes, std::fs::read("Cargo.toml")?);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    unblock(|| fs::read(path))
}

/// Returns the contents of a file as text. Waits for a call on the pool, which opens, reads and closes the file.
///
/// # Errors
///
/// Those of [`std::fs::read_to_string`]: `InvalidData` if the contents are not UTF-8.
///
/// ```
/// cede::run(|| {
///     let text = cede::fs::read_to_string("Cargo.toml")?;
///     assert!(text.contains("[package]"));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    unblock(|| fs::read_to_string(path))
}

/// Writes a file: creates it, or replaces its contents. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::write`]. A part of the contents may have been written.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("cede-write-{}", std::process::id()));
/// cede::run(|| cede::fs::write(&path, "contents"))?;
/// assert_eq!(std::fs::read(&path)?, b"contents");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref(), contents.as_ref());
    unblock(|| fs::write(path, contents))
}

/// Copies the contents and the permissions of a file, and returns the number of bytes. Waits for one call on the pool, however large the
/// file is: [`io::copy`](crate::io::copy) between two [`File`](super::File)s can be cancelled.
///
/// # Errors
///
/// Those of [`std::fs::copy`].
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (from.as_ref(), to.as_ref());
    unblock(|| fs::copy(from, to))
}

/// Renames a file or directory, and replaces `to` if it exists. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::rename`].
#[doc(alias = "move")]
#[doc(alias = "mv")]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    unblock(|| fs::rename(from, to))
}

/// Removes a file or a symbolic link. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::remove_file`].
#[doc(alias = "unlink")]
#[doc(alias = "delete")]
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    unblock(|| fs::remove_file(path))
}

/// Removes an empty directory. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::remove_dir`].
#[doc(alias = "rmdir")]
pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    unblock(|| fs::remove_dir(path))
}

/// Removes a directory with all that it contains. Does not follow symbolic links. Waits for one call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::remove_dir_all`]. A part of the contents may have been removed.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    unblock(|| fs::remove_dir_all(path))
}

/// Creates a directory. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::create_dir`].
#[doc(alias = "mkdir")]
pub fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    unblock(|| fs::create_dir(path))
}

/// Creates a directory, and those of its parents that do not exist. Waits for one call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::create_dir_all`].
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    unblock(|| fs::create_dir_all(path))
}

/// Returns the metadata of a path. Follows symbolic links. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::metadata`].
#[doc(alias = "stat")]
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    unblock(|| fs::metadata(path))
}

/// Returns the metadata of a path, or of the symbolic link that it names. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::symlink_metadata`].
#[doc(alias = "lstat")]
pub fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref();
    unblock(|| fs::symlink_metadata(path))
}

/// Returns the absolute path, without symbolic links. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::canonicalize`].
#[doc(alias = "realpath")]
pub fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    unblock(|| fs::canonicalize(path))
}

/// Creates a hard link: `link` names the same file as `original`. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::hard_link`].
#[doc(alias = "link")]
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    unblock(|| fs::hard_link(original, link))
}

/// Returns the path that a symbolic link holds. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::read_link`].
pub fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    unblock(|| fs::read_link(path))
}

/// Sets the permissions of a path. Follows symbolic links. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::set_permissions`].
#[doc(alias = "chmod")]
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    unblock(|| fs::set_permissions(path, permissions))
}

/// Returns whether the path exists. Follows symbolic links. Waits for a call on the pool.
///
/// # Errors
///
/// Those of [`std::fs::exists`]: a path that cannot be examined is neither.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref();
    unblock(|| fs::exists(path))
}
