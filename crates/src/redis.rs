//! A connection for the `redis` crate, whose own connection opens a socket of `std`.

use redis::{Cmd, ConnectionLike, ErrorKind, Parser, RedisResult, Value};
use std::io::{Read, Write};

/// A connection to a Redis server (RESP2, database 0) over a stream, such as a [`TcpStream`](cede::net::TcpStream). All of `redis::Commands`, `Cmd::query` and
/// `Pipeline::query` work with it.
///
/// After an I/O error the connection is closed: a reply that comes late would answer the next command.
#[allow(missing_debug_implementations, reason = "the parser has no Debug")]
pub struct Connection<S> {
    stream: S,
    parser: Parser,
    is_open: bool,
}

impl<S: Read + Write> Connection<S> {
    /// Makes a connection of a stream that is connected to a server.
    pub fn new(stream: S) -> Connection<S> {
        Connection { stream, parser: Parser::new(), is_open: true }
    }

    /// Sends `packed`, waits for `skipped + wanted` replies, and returns the last `wanted`.
    fn exchange(&mut self, packed: &[u8], skipped: usize, wanted: usize) -> RedisResult<Vec<Value>> {
        if !self.is_open {
            return Err((ErrorKind::Io, "the connection was closed after an error").into());
        }
        let replies = self.try_exchange(packed, skipped + wanted);
        self.is_open = replies.is_ok();
        replies.map(|mut replies| replies.split_off(skipped))
    }

    fn try_exchange(&mut self, packed: &[u8], count: usize) -> RedisResult<Vec<Value>> {
        self.stream.write_all(packed)?;
        (0..count).map(|_| self.parser.parse_value(&mut self.stream)).collect()
    }
}

impl<S: Read + Write> ConnectionLike for Connection<S> {
    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        let mut replies = self.exchange(packed, 0, 1)?;
        replies.pop().expect("one reply was asked for").extract_error()
    }

    fn req_packed_commands(&mut self, packed: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.exchange(packed, offset, count)
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        Cmd::new().arg("PING").exec(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}
