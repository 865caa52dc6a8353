//! A request to a server, and the links of the page that it returns.

use crate::robots::AGENT;
use cede::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

/// The largest response that is read, in bytes.
const RESPONSE_MAX: u64 = 1024 * 1024;

/// A page that was fetched.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) bytes: usize,
    /// The addresses that the page links to, without `http://`.
    pub(crate) links: Vec<String>,
}

/// Fetches a page over a connection of its own. Returns it with its text.
pub(crate) fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<(Page, String)> {
    let mut stream = TcpStream::connect(address)?;
    let fields = format!("Host: {host}\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n");
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{fields}\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(RESPONSE_MAX).read_to_end(&mut bytes)?;

    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let invalid = |why: &str| io::Error::new(ErrorKind::InvalidData, why.to_string());
    let httparse::Status::Complete(head) = response.parse(&bytes).map_err(|error| invalid(&error.to_string()))? else {
        return Err(ErrorKind::UnexpectedEof.into());
    };
    let status = response.code.ok_or_else(|| invalid("no status"))?;
    let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
    let is_link = |word: &&str| word.starts_with("http://");
    let links = body.split(['"', ' ', '\n']).filter(is_link).map(|link| link["http://".len()..].to_string()).collect();
    Ok((Page { status, bytes: body.len(), links }, body))
}
