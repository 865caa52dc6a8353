//! `File`: an open file with a cursor.
#![forbid(unsafe_code)]

use super::transfer::{self, At, Kind};
use crate::blocking::unblock;
use crate::io::error::interrupted;
use crate::sync::{Mutex, MutexGuard};
use std::fs::{self, FileTimes, Metadata, Permissions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::SystemTime;

/// An open file with the methods of [`std::fs::File`], whose calls suspend the task instead of the thread.
///
/// A read returns data that the page cache has at once. In a run with io_uring, all other reads, writes and syncs of a regular file are
/// operations of the kernel. Every other call runs on the pool of [`blocking`](crate::blocking). The other tasks go on until the
/// call has ended. Outside of a run the calls block the thread, as those of std do. The [module docs](super) have the details.
///
/// [`Read`], [`Write`] and [`Seek`] use the cursor, also through a shared reference. Calls that use the cursor of one file, or of its
/// clones, take turns in the order of a [`Mutex`]. [`read_at`](Self::read_at) and [`write_at`](Self::write_at) neither use nor move it, and several
/// tasks may call them at once. There is no buffer: wrap the file in a [`BufReader`](io::BufReader) or a [`BufWriter`](io::BufWriter) for
/// small reads and writes.
///
/// Cancel safety: a call on the pool borrows the caller's buffer, so nothing ends it before the system call has ended: no cancel, deadline,
/// scope or forced unwind. The task's next wait reports them. With io_uring, they end a read, write or sync that the device has not begun.
/// They also end a call that waits for its turn at the cursor. A call that was ended returns the error of a cancelled wait
/// ([`io`](crate::io)), and has transferred nothing.
///
/// A read of a terminal, a pipe or a FIFO may never return. Use [`io::stdin`](crate::io::stdin), or [`Async`](crate::io::Async) with a
/// descriptor in non-blocking mode.
///
/// ```
/// use std::io::{Read, Seek, Write};
/// # let dir = std::env::temp_dir().join(format!("cede-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("notes.txt");
/// cede::run(|| {
///     let mut file = cede::fs::File::options().read(true).write(true).create(true).open(&path)?;
///     file.write_all(b"one two")?;
///     file.rewind()?;
///     let mut text = String::new();
///     file.read_to_string(&mut text)?;
///     assert_eq!(text, "one two");
///     let mut word = [0; 3];
///     file.read_exact_at(&mut word, 4)?;
///     assert_eq!(&word, b"two");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct File {
    inner: fs::File,
    /// Held during each call that uses the cursor. Clones share the cursor, and so the lock.
    cursor: Arc<Mutex<()>>,
    kind: Kind,
}

impl File {
    /// Reads up to `buffer.len()` bytes from `offset` on, and returns their number: 0 at the end of the file. Does not use the cursor.
    /// Waits for the device if the page cache does not have the data. Several tasks may read at once.
    ///
    /// # Errors
    ///
    /// Those of pread(2), and with io_uring those of a wait ([`io`](crate::io)).
    ///
    /// ```
    /// cede::run(|| {
    ///     let file = cede::fs::File::open("Cargo.toml")?;
    ///     let mut bytes = [0; 4];
    ///     assert_eq!(file.read_at(&mut bytes, 0)?, 4);
    ///     assert_eq!(file.read_at(&mut bytes, 1 << 40)?, 0);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "pread")]
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_bytes(buffer, At::Offset(offset))
    }

    /// Fills `buffer` with the bytes from `offset` on. Waits as [`read_at`](Self::read_at) does.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before, and the errors of [`read_at`](Self::read_at). The contents of `buffer` are then
    /// unspecified.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset)? {
                0 => return Err(io::Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer")),
                count => (buffer, offset) = (&mut buffer[count..], offset.saturating_add(count as u64)),
            }
        }
        Ok(())
    }

    /// Writes up to `bytes.len()` bytes at `offset`, and returns their number. Does not use the cursor. Waits for an operation of io_uring
    /// or a call on the pool.
    ///
    /// On Linux a file that was opened with [`append`](super::OpenOptions::append) takes the bytes at its end, whatever `offset` is.
    ///
    /// # Errors
    ///
    /// Those of pwrite(2), and with io_uring those of a wait ([`io`](crate::io)).
    #[doc(alias = "pwrite")]
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        transfer::write(self.as_fd(), self.kind, bytes, At::Offset(offset))
    }

    /// Writes all of `bytes` at `offset`. Waits as [`write_at`](Self::write_at) does.
    ///
    /// # Errors
    ///
    /// `WriteZero` if the file takes no more bytes, and the errors of [`write_at`](Self::write_at). A part of the bytes may have been
    /// written.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset)? {
                0 => return Err(io::Error::new(ErrorKind::WriteZero, "failed to write whole buffer")),
                count => (bytes, offset) = (&bytes[count..], offset.saturating_add(count as u64)),
            }
        }
        Ok(())
    }

    /// Waits until the contents and the metadata of the file are on the device.
    ///
    /// # Errors
    ///
    /// Those of fsync(2), and with io_uring those of a wait ([`io`](crate::io)).
    #[doc(alias = "fsync")]
    pub fn sync_all(&self) -> io::Result<()> {
        transfer::sync_all(self.as_fd(), self.kind)
    }

    /// Like [`sync_all`](Self::sync_all), without the metadata that a reader of the contents does not need.
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2), and with io_uring those of a wait ([`io`](crate::io)).
    #[doc(alias = "fdatasync")]
    pub fn sync_data(&self) -> io::Result<()> {
        transfer::sync_data(self.as_fd(), self.kind)
    }

    /// Truncates the file to `len` bytes, or extends it to `len` bytes with zeros. Does not move the cursor. Waits for a call on the
    /// pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_len`].
    #[doc(alias = "ftruncate")]
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        unblock(|| self.inner.set_len(len))
    }

    /// Returns the metadata of the file. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::metadata`].
    #[doc(alias = "fstat")]
    pub fn metadata(&self) -> io::Result<Metadata> {
        unblock(|| self.inner.metadata())
    }

    /// Sets the permissions of the file. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_permissions`].
    #[doc(alias = "fchmod")]
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        unblock(|| self.inner.set_permissions(permissions))
    }

    /// Sets the times of the file. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_times`].
    #[doc(alias = "futimens")]
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        unblock(|| self.inner.set_times(times))
    }

    /// Sets the time of the last change of the file's contents. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::set_modified`].
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Returns another handle of the same open file. The two share the cursor. Does not wait.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the process has no free descriptor.
    #[doc(alias = "dup")]
    pub fn try_clone(&self) -> io::Result<File> {
        let inner = self.inner.try_clone()?;
        Ok(File { inner, cursor: Arc::clone(&self.cursor), kind: self.kind })
    }

    fn read_bytes(&self, buffer: &mut [u8], at: At) -> io::Result<usize> {
        transfer::read(self.as_fd(), self.kind, buffer, at)
    }

    /// Waits until no other call uses the cursor. Without that, the kernel's lock of the cursor could block the thread of the run.
    #[track_caller]
    fn lock_cursor(&self) -> io::Result<MutexGuard<'_, ()>> {
        self.cursor.lock().map_err(interrupted)
    }
}

impl Read for &File {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _cursor = self.lock_cursor()?;
        self.read_bytes(buffer, At::Cursor)
    }

    #[track_caller]
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let _cursor = self.lock_cursor()?;
        transfer::read_vectored(self.as_fd(), self.kind, buffers)
    }
}

impl Write for &File {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _cursor = self.lock_cursor()?;
        transfer::write(self.as_fd(), self.kind, bytes, At::Cursor)
    }

    #[track_caller]
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let _cursor = self.lock_cursor()?;
        transfer::write_vectored(self.as_fd(), buffers)
    }

    /// Does nothing: there is no buffer. [`sync_all`](File::sync_all) waits for the device.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    /// Moves the cursor. Waits for a call on the pool if the place depends on the file's length.
    #[track_caller]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let _cursor = self.lock_cursor()?;
        let mut file = &self.inner;
        match to {
            // The server of a network file system has the length.
            SeekFrom::End(_) => unblock(|| file.seek(to)),
            SeekFrom::Start(_) | SeekFrom::Current(_) => file.seek(to),
        }
    }
}

impl Read for File {
    #[track_caller]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    #[track_caller]
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for File {
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    #[track_caller]
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    /// Does nothing: there is no buffer. [`sync_all`](File::sync_all) waits for the device.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    /// Moves the cursor. Waits for a call on the pool if the place depends on the file's length.
    #[track_caller]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl From<fs::File> for File {
    /// Makes one call of fcntl(2) and one of fstat(2), to learn how the file is read.
    fn from(inner: fs::File) -> File {
        let kind = Kind::of(inner.as_fd());
        File { inner, cursor: Arc::new(Mutex::new(())), kind }
    }
}

impl From<File> for fs::File {
    fn from(file: File) -> fs::File {
        file.inner
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File::from(fs::File::from(fd))
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> OwnedFd {
        file.inner.into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        self.inner.into_raw_fd()
    }
}
