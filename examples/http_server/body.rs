//! The body of a request, with a length or in chunks.

use crate::connection::{Connection, Failure};
use crate::request::{Framing, Head, Refusal, refuse};
use std::io::Write;

/// The largest body, in bytes.
pub(crate) const BODY_MAX: u64 = 1024 * 1024;
/// The longest line with the size of a chunk, in bytes, and the largest trailer section.
const CHUNK_LINE_MAX: usize = 256;
const TRAILERS_MAX: usize = 4 * 1024;

/// The body of a request, which a route may read.
pub(crate) struct Body<'a, 'c> {
    connection: &'a mut Connection<'c>,
    framing: Framing,
    expects_continue: bool,
    was_read: bool,
}

impl<'a, 'c> Body<'a, 'c> {
    pub(crate) fn new(connection: &'a mut Connection<'c>, head: &Head) -> Body<'a, 'c> {
        let was_read = head.framing == Framing::Length(0);
        Body { connection, framing: head.framing, expects_continue: head.expects_continue, was_read }
    }

    /// Returns whether the next byte of the connection belongs to the next request.
    pub(crate) fn is_at_end(&self) -> bool {
        self.was_read
    }

    /// Reads the body to its end, before the deadline for bodies.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>, Failure> {
        if let Framing::Length(length) = self.framing
            && length > BODY_MAX
        {
            return Ok(too_large(length)?);
        }
        let limit = self.connection.service.limits.body;
        self.connection.within(limit, "the body did not arrive in time", |connection| {
            // The client may have sent its body without waiting.
            if self.expects_continue && connection.unread().is_empty() && !self.was_read {
                (&*connection.stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let mut body = Vec::new();
            match self.framing {
                Framing::Length(length) => connection.take(length as usize, &mut body)?,
                Framing::Chunked => read_chunks(connection, &mut body)?,
            }
            self.was_read = true;
            Ok(body)
        })
    }
}

fn too_large<T>(length: u64) -> Result<T, Refusal> {
    refuse(413, format!("the body has {length} bytes or more, and at most {BODY_MAX} are accepted"))
}

fn read_chunks(connection: &mut Connection<'_>, body: &mut Vec<u8>) -> Result<(), Failure> {
    loop {
        let size = {
            let line = connection.line(CHUNK_LINE_MAX, "the line with the size of a chunk is too long")?;
            chunk_size(&line)?
        };
        if size == 0 {
            return read_trailers(connection);
        }
        let total = size.saturating_add(body.len() as u64);
        if total > BODY_MAX {
            too_large(total)?;
        }
        connection.take(size as usize, body)?;
        let mut end = Vec::with_capacity(2);
        connection.take(2, &mut end)?;
        if end != b"\r\n" {
            return Ok(refuse(400, "a chunk is longer than its size")?);
        }
    }
}

/// Parses the size of a chunk. `httparse::parse_chunk_size` accepts a line without a number.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let (size, extension) = match memchr::memchr(b';', line) {
        Some(at) => (line[..at].trim_ascii_end(), &line[at..]),
        None => (line, &line[..0]),
    };
    let is_number = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    match size.filter(|_| is_text(extension) && is_number) {
        Some(size) => Ok(size),
        None => refuse(400, "the size of a chunk is malformed"),
    }
}

/// Returns whether a value has no control characters except tabs.
fn is_text(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f)
}

/// Reads the trailer fields, which this server does not use.
fn read_trailers(connection: &mut Connection<'_>) -> Result<(), Failure> {
    let mut left = TRAILERS_MAX;
    loop {
        let line = connection.line(left, "the trailers are too long")?;
        if line.is_empty() {
            return Ok(());
        }
        left -= line.len();
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let is_field = memchr::memchr(b':', &line).is_some_and(|colon| {
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            !name.is_empty() && name.iter().all(is_token) && is_text(value)
        });
        if !is_field {
            return Ok(refuse(400, "a trailer field is malformed")?);
        }
    }
}
