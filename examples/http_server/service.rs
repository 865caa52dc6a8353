//! The state that all connections share: limits, counts, and the stop of the server.

use crate::connection::Limits;
use cede::net::TcpStream;
use cede::sync::Event;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

/// The state of the server.
pub(crate) struct Service {
    pub(crate) limits: Limits,
    /// Set to stop the server: by the timer, or after the last response of `--requests`.
    pub(crate) stop: Event,
    left: Cell<Option<u64>>,
    responses: RefCell<BTreeMap<u16, u64>>,
    /// The connections that wait for a request, by their descriptors.
    idle: RefCell<HashMap<RawFd, Rc<TcpStream>>>,
}

impl Service {
    /// Creates the state of a server that stops after a number of responses, if one is given.
    pub(crate) fn new(limits: Limits, requests: Option<u64>) -> Service {
        Service {
            limits,
            stop: Event::new(),
            left: Cell::new(requests),
            responses: RefCell::default(),
            idle: RefCell::default(),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_set()
    }

    /// Counts a response.
    pub(crate) fn count(&self, status: u16) {
        *self.responses.borrow_mut().entry(status).or_insert(0) += 1;
        if let Some(left) = self.left.get() {
            self.left.set(Some(left.saturating_sub(1)));
            if left <= 1 {
                self.stop.set();
            }
        }
    }

    /// Returns the counts as text.
    pub(crate) fn stats(&self) -> String {
        let mut text = String::new();
        for (status, count) in &*self.responses.borrow() {
            let _ = writeln!(text, "{status}: {count}");
        }
        text
    }

    /// Marks a connection as idle until the guard is dropped.
    pub(crate) fn idle<'a>(&'a self, stream: &Rc<TcpStream>) -> Idle<'a> {
        let number = stream.as_raw_fd();
        self.idle.borrow_mut().insert(number, Rc::clone(stream));
        Idle { service: self, number }
    }

    /// Waits for the stop, and ends the idle connections: they need no grace period.
    pub(crate) fn end_idle_connections(&self) {
        if self.stop.wait().is_ok() {
            for stream in self.idle.borrow().values() {
                let _ = stream.shutdown(Shutdown::Read); // the connection's read returns the end of the stream
            }
        }
    }
}

/// An idle connection.
pub(crate) struct Idle<'a> {
    service: &'a Service,
    number: RawFd,
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.service.idle.borrow_mut().remove(&self.number);
    }
}
