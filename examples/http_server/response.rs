//! Responses.

use std::time::SystemTime;

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
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = format!("HTTP/1.1 {status} {}\r\nDate: {date}\r\n", phrase(*status));
        head += &format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        if let Some(methods) = allow {
            head += &format!("Allow: {methods}\r\n");
        }
        head += match (keeps_alive, is_old) {
            (false, _) => "Connection: close\r\n\r\n",
            (true, true) => "Connection: keep-alive\r\n\r\n",
            (true, false) => "\r\n",
        };
        let mut bytes = head.into_bytes();
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
