//! A connection: requests in order, each with its deadlines, and responses.

use crate::body::Body;
use crate::request::{FIELDS_MAX, Finder, HEAD_MAX, Head, Refusal, refuse};
use crate::response::Response;
use crate::routes;
use crate::service::Service;
use cede::net::TcpStream;
use cede::timeout;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// The bytes that one read takes at most.
const READ: usize = 4 * 1024;
/// The bytes that are read and dropped after a refusal, so that the client receives the response before a reset.
const LINGER_MAX: usize = 512 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// The time that a client has for each step.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// From a response, or from the connect, to the first byte of a request.
    pub(crate) idle: Duration,
    /// From the first byte of a request to the end of its head.
    pub(crate) head: Duration,
    /// For the body.
    pub(crate) body: Duration,
    /// For reading a response.
    pub(crate) write: Duration,
}

/// The reason why a connection ends.
pub(crate) enum Failure {
    /// The request is refused with a response.
    Refused(Refusal),
    /// The connection failed, or the server stops.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

/// A connection with the bytes that have arrived and were not used.
pub(crate) struct Connection<'c> {
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) service: &'c Service,
    buffer: Vec<u8>,
    used: usize,
}

/// Serves the requests of a connection until it ends. The routes compute next to nothing, so the connection's own task handles the requests.
/// Longer work would go to `spawn_anywhere`.
pub(crate) fn serve(stream: TcpStream, service: &Service) {
    let _ = stream.set_nodelay(true); // each response is written at once
    let mut connection = Connection { stream: Arc::new(stream), service, buffer: Vec::new(), used: 0 };
    while let Ok(true) = connection.serve_request() {}
}

impl Connection<'_> {
    /// Serves one request. Returns whether the connection continues.
    fn serve_request(&mut self) -> io::Result<bool> {
        let service = self.service;
        let head = match self.head() {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(false),
            // The refused head is still unread.
            Err(failure) => return self.fail(failure, self.unread().starts_with(b"HEAD ")),
        };
        let mut body = Body::new(self, &head);
        let outcome = routes::respond(&head, &mut body, service);
        let continues = head.keep_alive && body.is_at_end();
        match outcome {
            Ok(response) => {
                service.count(response.status);
                let continues = continues && !service.is_stopping();
                self.write(&response.to_bytes(head.method == "HEAD", continues, head.is_old))?;
                if !continues {
                    self.linger();
                }
                Ok(continues)
            }
            Err(failure) => self.fail(failure, head.method == "HEAD"),
        }
    }

    /// Answers a refused request, and ends the connection. The response to `HEAD` has no body.
    fn fail(&mut self, failure: Failure, is_head: bool) -> io::Result<bool> {
        match failure {
            Failure::Refused(Refusal { status, reason }) => {
                self.service.count(status);
                let response = Response::text(status, format!("{reason}\n"));
                self.write(&response.to_bytes(is_head, false, false))?;
                self.linger();
                Ok(false)
            }
            Failure::Io(error) => Err(error),
        }
    }

    /// Waits for a request, and reads its head. Returns `None` if the client has closed the connection or sends nothing.
    fn head(&mut self) -> Result<Option<Head>, Failure> {
        if self.unread().is_empty() && !self.first_bytes()? {
            return Ok(None);
        }
        let limit = self.service.limits.head;
        self.within(limit, "the head of the request did not arrive in time", |connection| {
            // Empty lines before a request are allowed. They count for the limit of the head.
            let mut empty = 0;
            loop {
                while connection.unread().starts_with(b"\r\n") {
                    connection.used += 2;
                    empty += 2;
                }
                if !matches!(connection.unread(), [] | [b'\r']) {
                    break;
                }
                if empty > HEAD_MAX {
                    return Ok(refuse(431, "the request begins with too many empty lines")?);
                }
                if connection.fill()? == 0 {
                    return Ok(None);
                }
            }
            let mut finder = Finder::default();
            loop {
                if let Some((head, len)) = finder.find(connection.unread())? {
                    connection.used += len;
                    return Ok(Some(head));
                }
                connection.more("the connection ended within the head of the request")?;
            }
        })
    }

    /// Waits for the first bytes of a request. Returns false if there are none.
    ///
    /// The wait is longer than all else, and most connections are in it: it holds no buffer.
    fn first_bytes(&mut self) -> io::Result<bool> {
        (self.buffer, self.used) = (Vec::new(), 0);
        let _idle = self.service.idle(&self.stream);
        if self.service.is_stopping() {
            return Ok(false);
        }
        let lend = || self.stream.lend(|bytes| self.buffer.extend_from_slice(bytes));
        timeout(self.service.limits.idle, lend).unwrap_or_else(|late| late.into_value())?;
        Ok(!self.buffer.is_empty())
    }

    /// Returns the bytes that have arrived.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Reads more bytes. Returns 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..std::mem::take(&mut self.used));
        let len = self.buffer.len();
        self.buffer.resize(len + READ, 0);
        let outcome = (&*self.stream).read(&mut self.buffer[len..]);
        self.buffer.truncate(len + outcome.as_ref().map_or(0, |count| *count));
        outcome
    }

    /// Reads more bytes of a request. Refuses a request that ends early.
    fn more(&mut self, early: &'static str) -> Result<(), Failure> {
        match self.fill()? {
            // The stop of the server has ended the connection, because it was idle until these bytes arrived. No response tells
            // the client that it may send the request to another server.
            0 if self.service.is_stopping() => Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
            0 => Ok(refuse(400, early)?),
            _ => Ok(()),
        }
    }

    /// Appends `count` bytes to `body`.
    pub(crate) fn take(&mut self, count: usize, body: &mut Vec<u8>) -> Result<(), Failure> {
        let mut left = count;
        while left > 0 {
            if self.unread().is_empty() {
                self.more("the connection ended within the body")?;
            }
            let part = &self.unread()[..left.min(self.unread().len())];
            body.extend_from_slice(part);
            left -= part.len();
            self.used += part.len();
        }
        Ok(())
    }

    /// Returns a line without its CR LF. Refuses one of more than `max` bytes.
    pub(crate) fn line(&mut self, max: usize, reason: &'static str) -> Result<Vec<u8>, Failure> {
        let mut scanned = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.unread()[scanned..]) {
                let end = scanned + at;
                let Some(line) = self.unread()[..end].strip_suffix(b"\r") else {
                    return Ok(refuse(400, "a line does not end with CR LF")?);
                };
                if line.len() > max {
                    return Ok(refuse(400, reason)?);
                }
                let line = line.to_vec();
                self.used += end + 1;
                return Ok(line);
            }
            scanned = self.unread().len();
            // One more for the CR.
            if scanned > max + 1 {
                return Ok(refuse(400, reason)?);
            }
            self.more("the connection ended within the body")?;
        }
    }

    /// Calls `f` with a deadline: a client that is too slow is refused with 408.
    pub(crate) fn within<T>(
        &mut self,
        limit: Duration,
        late: &'static str,
        f: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match timeout(limit, || f(self)) {
            Ok(outcome) => outcome,
            Err(elapsed) => match elapsed.into_value() {
                Err(Failure::Io(_)) => Ok(refuse(408, late)?),
                outcome => outcome,
            },
        }
    }

    /// Writes a response. A client that does not read it in time loses the connection.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(self.service.limits.write, || (&*self.stream).write_all(bytes)).unwrap_or_else(|late| late.into_value())
    }

    /// Ends the responses, and drops what the client still sends. A close with unread bytes would reset the connection, and the
    /// client could lose the response.
    fn linger(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        (self.buffer, self.used) = (Vec::new(), 0);
        let _ = timeout(LINGER, || {
            let mut dropped = 0;
            while dropped < LINGER_MAX && self.fill().is_ok_and(|count| count > 0) {
                dropped += self.buffer.len();
                self.buffer.clear();
            }
        });
    }
}

/// The number of header fields is part of the memory that a head may take.
const _: () = assert!(FIELDS_MAX * size_of::<httparse::Header<'_>>() <= HEAD_MAX);
