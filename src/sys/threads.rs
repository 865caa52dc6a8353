//! The registry of the threads that belong to the library: watchdogs, and the pool of `blocking`.
//!
//! They wake no task unless they run user code, so deadlock detection does not count them among the threads of the
//! process.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The threads of the library, by their system thread ids.
static INTERNAL_THREADS: Mutex<Vec<OsString>> = Mutex::new(Vec::new());

/// Locks the registry. While it is locked, no registered thread ends, so no new thread gets its thread id.
pub(crate) fn internal_threads() -> MutexGuard<'static, Vec<OsString>> {
    INTERNAL_THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers the calling thread as a thread of the library, until it is dropped.
pub(crate) struct InternalThread(Option<OsString>);

impl InternalThread {
    pub(crate) fn register() -> InternalThread {
        let link = std::fs::read_link("/proc/thread-self").ok();
        let number = link.and_then(|link| link.file_name().map(OsString::from));
        internal_threads().extend(number.clone());
        InternalThread(number)
    }
}

impl Drop for InternalThread {
    fn drop(&mut self) {
        internal_threads().retain(|number| Some(number) != self.0.as_ref());
    }
}
