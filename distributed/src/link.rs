//! The link to a broker, which makes a new connection when one has failed.

use crate::broker::Broker;
use crate::progress::Progress;
use cede::time::now;
use std::fmt;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The time in which the broker must reply to a call, beyond the time for which the call waits.
const REPLY: Duration = Duration::from_secs(10);
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A function that connects to the broker.
pub type Connect = dyn Fn() -> io::Result<Box<dyn Broker>>;
/// A function that is called with each new connection.
pub type Prepare = dyn Fn(&mut dyn Broker) -> io::Result<()>;

/// A link to a broker.
pub struct Link {
    connect: Rc<Connect>,
    prepare: Box<Prepare>,
    patience: Duration,
    progress: Rc<Progress>,
    is_quiet: bool,
    connection: Option<Box<dyn Broker>>,
    connections: u64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connections", &self.connections).finish_non_exhaustive()
    }
}

impl Link {
    /// Creates a link, which connects at its first use. It gives up a call after `patience`.
    pub fn new(connect: Rc<Connect>, patience: Duration, progress: Rc<Progress>) -> Link {
        Link {
            connect,
            prepare: Box::new(|_| Ok(())),
            patience,
            progress,
            is_quiet: false,
            connection: None,
            connections: 0,
        }
    }

    /// Sets what is done with each new connection.
    pub fn prepare(mut self, prepare: impl Fn(&mut dyn Broker) -> io::Result<()> + 'static) -> Link {
        self.prepare = Box::new(prepare);
        self
    }

    /// Sets that failures are not written to standard error.
    pub fn quiet(mut self) -> Link {
        self.is_quiet = true;
        self
    }

    /// Calls `call`, which waits for up to `wait`, with a connection. If it fails, calls it again with a new connection, until it
    /// succeeds or the patience ends.
    ///
    /// # Errors
    ///
    /// The last error after the patience has ended; at once that of a cancel, and those that a new connection cannot change:
    /// `InvalidData`, `AlreadyExists`.
    pub fn with<T>(&mut self, wait: Duration, mut call: impl FnMut(&mut dyn Broker) -> io::Result<T>) -> io::Result<T> {
        let mut failed: Option<Instant> = None;
        loop {
            let error = match self.once(wait, &mut call) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let is_final = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::AlreadyExists);
            let since = *failed.get_or_insert_with(|| {
                if !is_final && !self.is_quiet && cede::task::check().is_ok() {
                    let patience = self.patience.as_secs();
                    self.progress.say(&format!("the broker: {error}; trying again for {patience} s"));
                }
                now()
            });
            if is_final || now().duration_since(since) >= self.patience || cede::time::sleep(PAUSE).is_err() {
                return Err(error);
            }
        }
    }

    /// Calls `call` once, which waits for up to `wait`, with a connection.
    ///
    /// # Errors
    ///
    /// The error of the call or of the connect. `TimedOut` if the broker does not reply in time.
    pub fn once<T>(&mut self, wait: Duration, call: &mut dyn FnMut(&mut dyn Broker) -> io::Result<T>) -> io::Result<T> {
        // A deadline makes the wait inside fail. A call that had its result by then has it nevertheless.
        let result =
            cede::timeout(wait + REPLY, || self.connected(call)).unwrap_or_else(cede::task::Elapsed::into_value);
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    fn connected<T>(&mut self, call: &mut dyn FnMut(&mut dyn Broker) -> io::Result<T>) -> io::Result<T> {
        if self.connection.is_none() {
            let mut connection = (self.connect)()?;
            (self.prepare)(&mut *connection)?;
            self.connection = Some(connection);
            self.connections += 1;
        }
        match &mut self.connection {
            Some(connection) => call(&mut **connection),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Shortens or extends the patience.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Returns how often the connection was made anew.
    pub fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }
}
