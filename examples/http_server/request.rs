//! The head of a request: limits, and the checks that keep this server and a proxy in front of it in agreement about where a
//! request ends (request smuggling).

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The largest head of a request, in bytes.
pub(crate) const HEAD_MAX: usize = 8 * 1024;
/// The longest request line, in bytes.
const LINE_MAX: usize = 4 * 1024;
/// The largest number of header fields.
pub(crate) const FIELDS_MAX: usize = 64;

/// The refusal of a request: the response that ends the connection.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) reason: Cow<'static, str>,
}

pub(crate) fn refuse<T>(status: u16, reason: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal { status, reason: reason.into() })
}

/// The way in which the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Framing {
    /// By `Content-Length`, in bytes. A request without a body has the length 0.
    Length(u64),
    Chunked,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// The client keeps the connection open for another request.
    pub(crate) keep_alive: bool,
    /// HTTP/1.0, whose clients must be told that a connection is kept open.
    pub(crate) is_old: bool,
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

/// Finds the end of a head in bytes that arrive in pieces. Each byte is looked at once, so a client that sends single bytes costs
/// no more than any other.
#[derive(Default)]
pub(crate) struct Finder {
    scanned: usize,
    /// The length at which a head without an end is parsed next, so that a client that speaks no HTTP is refused early.
    next_attempt: usize,
}

impl Finder {
    /// Returns the head and its length, or `None` if `bytes` is only the begin of a head.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
        let end = self.end(bytes);
        let len = end.unwrap_or(bytes.len());
        if len > HEAD_MAX {
            return if memchr::memchr(b'\n', &bytes[..LINE_MAX]).is_none() { long_line() } else { long_head() };
        }
        match end {
            Some(end) => head(&bytes[..end]).map(|head| Some((head, end))),
            None if bytes.len() >= self.next_attempt => {
                self.next_attempt = bytes.len() * 2;
                parse(bytes, |_, _| Ok(())).map(|_| None)
            }
            None => Ok(None),
        }
    }

    /// Returns the end of the first empty line.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let line = self.scanned + at;
            match &bytes[line + 1..] {
                [b'\n', ..] => return Some(line + 2),
                [b'\r', b'\n', ..] => return Some(line + 3),
                [] | [b'\r'] => {
                    self.scanned = line; // the next bytes decide
                    return None;
                }
                _ => self.scanned = line + 1,
            }
        }
        self.scanned = bytes.len();
        None
    }
}

fn long_line<T>() -> Result<T, Refusal> {
    refuse(414, format!("the request line has more than {LINE_MAX} bytes"))
}

fn long_head<T>() -> Result<T, Refusal> {
    refuse(431, format!("the head of the request has more than {HEAD_MAX} bytes"))
}

/// Parses a head, and passes it to `f` if it is complete.
fn parse<T>(
    bytes: &[u8],
    f: impl FnOnce(&httparse::Request<'_, '_>, usize) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    use httparse::Error;
    // On the heap: a task's stack is small.
    let mut fields = Box::new_uninit_slice(FIELDS_MAX);
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) => f(&request, len).map(Some),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(Error::TooManyHeaders) => refuse(431, format!("the request has more than {FIELDS_MAX} header fields")),
        Err(Error::Version) => refuse(505, "the version is neither HTTP/1.1 nor HTTP/1.0"),
        Err(Error::Token) => refuse(400, "the method or the request line is malformed"),
        Err(Error::NewLine) => refuse(400, "a line does not end with CR LF"),
        Err(Error::HeaderName) => refuse(400, "the name of a header field is malformed"),
        Err(Error::HeaderValue) => refuse(400, "the value of a header field is malformed"),
        Err(Error::Status) => refuse(400, "the request is a response"),
    }
}

/// Parses a complete head.
fn head(bytes: &[u8]) -> Result<Head, Refusal> {
    // httparse accepts a LF alone. A proxy may not, and would see other lines.
    if memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r') {
        return refuse(400, "a line does not end with CR LF");
    }
    if memchr::memchr(b'\n', bytes).is_some_and(|at| at > LINE_MAX) {
        return long_line();
    }
    let head = parse(bytes, |request, len| {
        // A head of another length would leave bytes that are read as the next request.
        if len == bytes.len() { from_request(request) } else { refuse(400, "the head of the request is malformed") }
    })?;
    head.map_or_else(|| refuse(400, "the head of the request is malformed"), Ok)
}

fn from_request(request: &httparse::Request<'_, '_>) -> Result<Head, Refusal> {
    let is_old = request.version == Some(0);
    let fields = &*request.headers;
    let (path, query) = target(request.path.unwrap_or_default())?;
    let hosts = values(fields, "host").count();
    if hosts > 1 || hosts == 0 && !is_old {
        return refuse(400, format!("the request has {hosts} Host fields and not one"));
    }
    // An empty value is that of a client whose address has no host.
    if values(fields, "host").any(|host| !host.is_empty() && !is_host(host)) {
        return refuse(400, "the value of the Host field is no host");
    }
    let connection = |token: &str| values(fields, "connection").any(|value| has_token(value, token));
    let expectations = values(fields, "expect").flat_map(items).filter(|item| !item.is_empty());
    let (known, unknown): (Vec<_>, Vec<_>) = expectations.partition(|item| item.eq_ignore_ascii_case(b"100-continue"));
    if !unknown.is_empty() {
        return refuse(417, "the only expectation that this server knows is 100-continue");
    }
    Ok(Head {
        method: request.method.unwrap_or_default().to_string(),
        path,
        query,
        keep_alive: if is_old { connection("keep-alive") } else { !connection("close") },
        is_old,
        framing: framing(fields, is_old)?,
        expects_continue: !known.is_empty() && !is_old,
    })
}

/// Splits a target into its path and query. A client of a proxy sends an address with a host.
fn target(target: &str) -> Result<(String, String), Refusal> {
    let is_address = target.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let (host, rest) = if is_address {
        let address = &target[7..];
        // A slash in the query does not end the host.
        let (host, rest) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
        (Some(host), rest)
    } else {
        (None, target)
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() && is_address { "/" } else { path };
    let is_path = path.starts_with('/') || path == "*" && !is_address;
    if !is_path || host.is_some_and(|host| !is_host(host.as_bytes())) {
        return refuse(400, "the target of the request is neither a path nor an http address");
    }
    Ok((path.to_string(), query.to_string()))
}

/// Returns whether a value is a name or an address, with or without a port (RFC 3986, 3.2.2).
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(at) if value[at] == b':' => (&value[..at], &value[at + 1..]),
        _ => (value, &value[..0]),
    };
    let is_valid = match host {
        [b'[', address @ .., b']'] => std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        name => !name.is_empty() && is_name(name),
    };
    is_valid && port.iter().all(u8::is_ascii_digit)
}

/// Returns whether a value has only the characters of a name. A `%` comes before two hexadecimal digits.
fn is_name(name: &[u8]) -> bool {
    let mut parts = name.split(|&byte| byte == b'%');
    let is_plain =
        |part: &[u8]| part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte));
    let is_escape =
        |part: &[u8]| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit) && is_plain(&part[2..]);
    parts.next().is_some_and(is_plain) && parts.all(is_escape)
}

/// Determines how the body ends, and refuses each request of which two readers could think differently.
fn framing(fields: &[httparse::Header<'_>], is_old: bool) -> Result<Framing, Refusal> {
    let (mut encodings, mut lengths) = (values(fields, "transfer-encoding"), values(fields, "content-length"));
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => refuse(400, "the request has both Transfer-Encoding and Content-Length"),
        (Some(_), None) if is_old => refuse(400, "an HTTP/1.0 request has no Transfer-Encoding"),
        (Some(_), None) if encodings.next().is_some() => {
            refuse(400, "the request has several Transfer-Encoding fields")
        }
        (Some(encoding), None) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(_), None) => refuse(501, "the only transfer encoding that this server knows is chunked"),
        (None, Some(_)) if lengths.next().is_some() => refuse(400, "the request has several Content-Length fields"),
        (None, Some(length)) if length.is_empty() || !length.iter().all(u8::is_ascii_digit) => {
            refuse(400, "the Content-Length is not a number")
        }
        // A number too large for 64 bits is larger than each limit.
        (None, Some(length)) => {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            Ok(Framing::Length(length.unwrap_or(u64::MAX)))
        }
    }
}

fn values<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// Returns whether a list with commas has an item.
fn has_token(list: &[u8], token: &str) -> bool {
    items(list).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns the items of a list with commas.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}
