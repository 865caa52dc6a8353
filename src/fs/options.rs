//! `OpenOptions`, and the functions of `File` that open.
#![forbid(unsafe_code)]

use super::file::File;
use crate::blocking::unblock;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Options of an [`open`](Self::open): the builder of [`std::fs::OpenOptions`], with the methods of its Unix extension.
///
/// ```
/// use std::io::Write;
/// # let path = std::env::temp_dir().join(format!("cede-options-{}", std::process::id()));
/// cede::run(|| {
///     let mut log = cede::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
///     writeln!(log, "started")
/// })?;
/// assert_eq!(std::fs::read_to_string(&path)?, "started\n");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    inner: fs::OpenOptions,
}

impl OpenOptions {
    /// Returns options without any set. At least one of `read`, `write` and `append` is necessary.
    #[expect(clippy::new_without_default, reason = "std's has no default either")]
    pub fn new() -> OpenOptions {
        OpenOptions { inner: fs::OpenOptions::new() }
    }

    /// Sets whether the file can be read.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.inner.read(read);
        self
    }

    /// Sets whether the file can be written.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.inner.write(write);
        self
    }

    /// Sets whether each write appends to the file.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.inner.append(append);
        self
    }

    /// Sets whether the contents of an existing file are removed.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.inner.truncate(truncate);
        self
    }

    /// Sets whether a file is created if the path does not exist.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.inner.create(create);
        self
    }

    /// Sets whether a file is created, and the open fails if the path exists.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.inner.create_new(create_new);
        self
    }

    /// Sets the mode of a file that the open creates, less the process's umask. The default is `0o666`.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.inner.mode(mode);
        self
    }

    /// Sets further flags of open(2), for example `libc::O_DIRECT`. The flags of the access mode are ignored.
    ///
    /// Reads and writes with `O_DIRECT` bypass the page cache. Their buffers, offsets and lengths must be aligned, in most cases to 512
    /// or 4,096 bytes: else they fail with `EINVAL`.
    #[doc(alias = "O_DIRECT")]
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.inner.custom_flags(flags);
        self
    }

    /// Opens a file with these options. Waits for a call on the pool.
    ///
    /// The open of a FIFO waits until its other end is opened, and nothing ends the wait before. With
    /// `custom_flags(libc::O_NONBLOCK)` it does not wait.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::OpenOptions::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        unblock(|| self.inner.open(path).map(File::from))
    }
}

impl File {
    /// Opens a file for reading. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::open`].
    ///
    /// ```
    /// use std::io::Read;
    /// cede::run(|| {
    ///     let mut text = String::new();
    ///     cede::fs::File::open("Cargo.toml")?.read_to_string(&mut text)?;
    ///     assert!(text.contains("[package]"));
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "openat")]
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing. Creates it if it does not exist, and removes its contents if it does. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::File::create`].
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file, and opens it for reading and writing. Waits for a call on the pool.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the path exists, and the errors of [`std::fs::File::create_new`].
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Returns options without any set, as [`OpenOptions::new`] does.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }
}

impl From<fs::OpenOptions> for OpenOptions {
    fn from(inner: fs::OpenOptions) -> OpenOptions {
        OpenOptions { inner }
    }
}
