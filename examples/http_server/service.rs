//! The state that all connections share: limits, counts, and the stop of the server.

use crate::connection::Limits;
use cede::net::TcpStream;
use cede::sync::Event;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of the server. The connections of all workers share it. No task waits while it holds one of the locks, so they are those of
/// `std`.
pub(crate) struct Service {
    pub(crate) limits: Limits,
    /// Set to stop the server: by the timer, or after the last response of `--requests`.
    pub(crate) stop: Event,
    responses: Mutex<Responses>,
    /// The connections that wait for a request, by their descriptors.
    idle: Mutex<HashMap<RawFd, Arc<TcpStream>>>,
}

/// The number of responses.
struct Responses {
    by_status: BTreeMap<u16, u64>,
    /// The number after which the server stops.
    left: Option<u64>,
}

impl Service {
    /// Creates the state of a server that stops after a number of responses, if one is given.
    pub(crate) fn new(limits: Limits, requests: Option<u64>) -> Service {
        Service {
            limits,
            stop: Event::new(),
            responses: Mutex::new(Responses { by_status: BTreeMap::new(), left: requests }),
            idle: Mutex::default(),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_set()
    }

    /// Counts a response.
    pub(crate) fn count(&self, status: u16) {
        let mut responses = lock(&self.responses);
        *responses.by_status.entry(status).or_insert(0) += 1;
        if let Some(left) = &mut responses.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.stop.set();
            }
        }
    }

    /// Returns the counts as text.
    pub(crate) fn stats(&self) -> String {
        let mut text = String::new();
        for (status, count) in &lock(&self.responses).by_status {
            let _ = writeln!(text, "{status}: {count}");
        }
        text
    }

    /// Marks a connection as idle until the guard is dropped.
    pub(crate) fn idle<'a>(&'a self, stream: &Arc<TcpStream>) -> Idle<'a> {
        let number = stream.as_raw_fd();
        lock(&self.idle).insert(number, Arc::clone(stream));
        Idle { service: self, number }
    }

    /// Waits for the stop, and ends the idle connections: they need no grace period.
    pub(crate) fn end_idle_connections(&self) {
        if self.stop.wait().is_ok() {
            for stream in lock(&self.idle).values() {
                let _ = stream.shutdown(Shutdown::Read); // the connection's read returns the end of the stream
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An idle connection.
pub(crate) struct Idle<'a> {
    service: &'a Service,
    number: RawFd,
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let stream = lock(&self.service.idle).remove(&self.number);
        drop(stream);
    }
}
