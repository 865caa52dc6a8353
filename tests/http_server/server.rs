//! The server of the example in a child process, and clients.

use super::common::{command, example};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

/// No wait of a test is longer.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The server in a process of its own, which is killed at the end of the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    /// Starts the server with options, and reads its address.
    pub(crate) fn start(options: &str) -> Server {
        let mut command = command(example("http_server"));
        command.arg("127.0.0.1:0").args(options.split_whitespace()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        Server { child, output, address }
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends bytes and then the end of the stream. Returns all that the server sends until it closes the connection.
    pub(crate) fn answer(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close before it has read all.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        rest(&mut stream)
    }

    /// A client that does nothing wrong gets its response.
    #[track_caller]
    pub(crate) fn serves(&self) {
        let answer =
            self.answer(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ngood"), "{answer}");
    }

    /// Returns the resident memory of the server, in KiB.
    pub(crate) fn memory(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Returns the CPU time of the server, in ticks of 10 ms.
    pub(crate) fn cpu_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Waits for the end of the server. Returns what it printed.
    pub(crate) fn end(mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end of the stream, or to a reset. Panics if the server neither sends nor closes.
#[track_caller]
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!is_late, "the server neither answers nor closes");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one response, with a body if there is a length. Returns all of it.
pub(crate) fn response(stream: &mut BufReader<TcpStream>) -> String {
    let (mut text, mut length) = (String::new(), 0);
    while !text.ends_with("\r\n\r\n") {
        let start = text.len();
        if stream.read_line(&mut text).unwrap() == 0 {
            return text;
        }
        if let Some(value) = text[start..].strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}
