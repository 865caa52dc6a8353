//! httparse: the head of a request, read in odd pieces.

use crate::{Outcome, silent_peer_ends, tcp_pair};
use cede::net::TcpStream;
use std::io::{self, Read, Write};

/// A request: method, path, the value of the header `x-n`, and body.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) number: Option<u32>,
    pub(crate) body: Vec<u8>,
}

/// Reads requests from a stream, and keeps what follows a request for the next one.
pub(crate) struct Requests<S> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

impl<S: Read> Requests<S> {
    pub(crate) fn new(stream: S) -> Requests<S> {
        Requests { stream, unread: Vec::new() }
    }

    /// Reads once more; at the end of the stream returns false.
    fn read_more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 1000];
        let count = self.stream.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// Returns the next request; `None` at the end of the stream.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut headers);
            if let httparse::Status::Complete(head) = request.parse(&self.unread).map_err(io::Error::other)? {
                let number = |name: &str| {
                    let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                    std::str::from_utf8(header.value).ok()?.parse::<u32>().ok()
                };
                let length = number("content-length").unwrap_or(0) as usize;
                if self.unread.len() >= head + length {
                    let (method, path) = (request.method.unwrap().to_string(), request.path.unwrap().to_string());
                    let number = number("x-n");
                    let body = self.unread[head..head + length].to_vec();
                    self.unread.drain(..head + length);
                    return Ok(Some(Request { method, path, number, body }));
                }
            }
            if !self.read_more()? {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}

/// Reads at most 1, 2, 3, 5, 7, 11, 13 bytes, and so on.
struct OddPieces<S> {
    stream: S,
    sizes: std::iter::Cycle<std::array::IntoIter<usize, 7>>,
}

impl<S: Read> Read for OddPieces<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().unwrap_or(1).min(buffer.len());
        self.stream.read(&mut buffer[..size])
    }
}

#[test]
fn requests_in_odd_pieces_are_parsed() {
    cede::run(|| {
        let (client, server) = tcp_pair();
        let mut server = cede::spawn(move || {
            let mut requests =
                Requests::new(OddPieces { stream: &server, sizes: [1, 2, 3, 5, 7, 11, 13].into_iter().cycle() });
            let mut parsed = Vec::new();
            while let Some(request) = requests.next_request()? {
                write!(&server, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
                parsed.push(request);
            }
            Ok::<_, io::Error>(parsed)
        });
        let request = |n: u8| Request {
            method: "POST".into(),
            path: format!("/item/{n}"),
            number: Some(n.into()),
            body: vec![b'a' + n; 100 * usize::from(n)],
        };
        // The requests follow each other without a gap, so a piece often holds the end of one and the head of the next.
        for Request { method, path, body, number } in (0..5).map(request) {
            let number = number.unwrap();
            write!(&client, "{method} {path} HTTP/1.1\r\nX-N: {number}\r\nContent-Length: {}\r\n\r\n", body.len())
                .unwrap();
            (&client).write_all(&body).unwrap();
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = String::new();
        (&client).read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("200 OK").count(), 5);
        assert_eq!(server.join().unwrap().unwrap(), (0..5).map(request).collect::<Vec<_>>());
    });
}

#[test]
fn response_of_a_silent_peer_ends() {
    silent_peer_ends(|address| -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut received = Vec::new();
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 8];
            if httparse::Response::new(&mut headers).parse(&received).map_err(io::Error::other)?.is_complete() {
                return Ok(());
            }
            let mut piece = [0; 100];
            let count = stream.read(&mut piece)?;
            received.extend_from_slice(&piece[..count]);
        }
    });
}

/// Answers each request on a connection with its method, path and body until the peer closes it.
pub(crate) fn serve<S: Read + Write>(stream: S) -> Outcome {
    let mut requests = Requests::new(stream);
    while let Some(request) = requests.next_request()? {
        let mut body = format!("{} {} ", request.method, request.path).into_bytes();
        body.extend(request.body);
        write!(requests.stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
        requests.stream.write_all(&body)?;
        requests.stream.flush()?;
    }
    Ok(())
}
