//! Files and directories: the names of `std::fs`, whose calls suspend the task instead of the thread.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("cede-fs-{}", std::process::id()));
//! cede::run(|| {
//!     cede::fs::create_dir_all(dir.join("notes"))?;
//!     cede::fs::write(dir.join("notes/one"), "first")?;
//!     let tasks = ["one", "two"].map(|name| {
//!         let path = dir.join("notes").join(name);
//!         cede::spawn(move || cede::fs::read_to_string(path)) // the files are read at the same time
//!     });
//!     let texts = cede::join_all(tasks);
//!     assert_eq!(texts[0].as_ref().unwrap().as_ref().unwrap(), "first");
//!     let error = texts[1].as_ref().unwrap().as_ref().unwrap_err();
//!     assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
//!     cede::fs::remove_dir_all(&dir)
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Where the calls run
//!
//! A disk or a network file system can delay each call, and the kernel has no readiness of files. So each call runs on a thread of the pool
//! of [`blocking`](crate::blocking), except:
//!
//! * A read of a [`File`] first asks the page cache, and returns at once if the data is there. (On Linux; not for a file that bypasses the
//!   page cache, and not on file systems without `RWF_NOWAIT`, such as tmpfs and procfs.)
//! * In a run with io_uring (see [`Driver`](crate::io::Driver)), all other reads, the writes and the syncs of a regular [`File`] are
//!   operations of the kernel, and need no thread. Calls with several buffers (`read_vectored`, `write_vectored`) are not.
//! * The calls that need no file system (`try_clone`, a seek that is relative to the start or the cursor) run in place.
//! * All calls run in place outside of a run, in a callback, inside [`no_suspend`](crate::no_suspend), and in a destructor while the thread
//!   panics.
//!
//! The errors are those of `std`, and those of a wait that was cancelled or timed out.
//!
//! # Cancels and deadlines
//!
//! A call on the pool borrows its path or buffer, so nothing ends the wait before the call has ended: no cancel, deadline, scope or forced
//! unwind. The task's next wait reports them, and the end of a run waits for the call
//! ([`unblock`](crate::blocking::unblock) says the same). Calls that may never return are those on FIFOs, terminals, and servers that do not
//! answer: make them in [`unblock_detached`](crate::blocking::unblock_detached).
//!
//! With io_uring, a cancel, deadline, scope or forced unwind ends a read, write or sync of a regular file if the device has not begun it. The
//! call has then transferred nothing, and returns the error of a cancelled wait ([`io`](crate::io)). Otherwise the call ends as one on the
//! pool does: after the device. In a task that was cancelled before the call, the call runs on the pool, and completes.
#![forbid(unsafe_code)]

mod dir;
mod file;
mod options;
mod paths;
mod transfer;

pub use self::dir::{DirEntry, ReadDir, read_dir};
pub use self::file::File;
pub use self::options::OpenOptions;
pub use self::paths::{
    canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_link, read_to_string,
    remove_dir, remove_dir_all, remove_file, rename, set_permissions, symlink_metadata, write,
};
pub use std::fs::{FileTimes, FileType, Metadata, Permissions};
