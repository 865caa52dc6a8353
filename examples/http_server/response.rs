//! Responses.

use httpdate::HttpDate;
use std::io::Write;
use std::time::SystemTime;

/// The room for a head. A longer one makes the vector grow.
const HEAD: usize = 192;

/// A response with its body.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// The methods of the route, for a request with another one.
    pub(crate) allow: Option<&'static str>,
}

impl Response {
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Response {
        Response { status, content_type: "text/plain; charset=utf-8", body: text.into().into_bytes(), allow: None }
    }

    /// Returns the bytes to send. A response to `HEAD` has the fields of the body, but no body.
    pub(crate) fn to_bytes(&self, without_body: bool, keeps_alive: bool, is_old: bool) -> Vec<u8> {
        let Response { status, content_type, body, allow } = self;
        let (date, len) = (HttpDate::from(SystemTime::now()), body.len());
        let mut bytes = Vec::with_capacity(HEAD + len);
        // A vector takes all bytes.
        let _ = write!(bytes, "HTTP/1.1 {status} {}\r\nDate: {date}\r\n", phrase(*status));
        let _ = write!(bytes, "Content-Type: {content_type}\r\nContent-Length: {len}\r\n");
        if let Some(methods) = allow {
            let _ = write!(bytes, "Allow: {methods}\r\n");
        }
        bytes.extend_from_slice(match (keeps_alive, is_old) {
            (false, _) => b"Connection: close\r\n\r\n",
            (true, true) => b"Connection: keep-alive\r\n\r\n",
            (true, false) => b"\r\n",
        });
        if !without_body {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
