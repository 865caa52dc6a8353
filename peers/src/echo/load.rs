//! The load generator, in a process of its own: keeps one request in flight on each connection (closed loop, depth 1).
//!
//! ```text
//! parent  plain <milliseconds>           requests load for a time
//! load    ready                          sent once, after a warm-up
//!         <nanoseconds> <requests>       sent after the last reply, when nothing is in flight any more
//!         error <why>
//! ```

use crate::serve::{self, Requests};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The time of the load before `ready`.
const WARM_UP: Duration = Duration::from_millis(60);
/// The longest time without a reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// The number of connections that wait for `accept` at most: fewer than the shortest backlog of a server.
const AT_ONCE: usize = 64;
/// The events of one poll.
const BATCH: usize = 1024;

/// The kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends `size` bytes on each connection, and the next ones when all have come back.
    Echo,
    /// Opens the connections at once, exchanges a byte on each, and resets them.
    Burst,
    /// Opens the connections, exchanges `size` bytes on each once, and keeps them open.
    Hold,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Echo, Kind::Burst, Kind::Hold];

    fn word(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Burst => "burst",
            Kind::Hold => "hold",
        }
    }
}

/// The load on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) connections: usize,
    pub(crate) size: usize,
}

impl Load {
    /// Returns the arguments that start this load in a process of this program.
    pub(crate) fn arguments(&self) -> [String; 5] {
        let Load { kind, port, connections, size } = self;
        ["load".into(), kind.word().into(), port.to_string(), connections.to_string(), size.to_string()]
    }

    /// Parses the arguments after `load`.
    pub(crate) fn parse([kind, port, connections, size]: [&str; 4]) -> Result<Self, String> {
        let kind = Kind::ALL.into_iter().find(|known| known.word() == kind).ok_or(format!("no load {kind:?}"))?;
        let number = |word: &str| word.parse::<usize>().map_err(|_| format!("{word:?} is no number"));
        let port = u16::try_from(number(port)?).map_err(|_| format!("{port:?} is no port"))?;
        Ok(Load { kind, port, connections: number(connections)?.max(1), size: number(size)?.max(1) })
    }

    /// Answers the requests of the parent.
    pub(crate) fn run(&self) -> io::Result<()> {
        match self.kind {
            Kind::Echo => {
                let mut crowd = Crowd::connect(self.port, self.connections, self.size)?;
                crowd.exchange(WARM_UP)?;
                answer(|time| crowd.exchange(time))
            }
            Kind::Burst => {
                self.bursts(WARM_UP)?;
                answer(|time| self.bursts(time))
            }
            Kind::Hold => {
                // What a server allocates once is allocated before the parent looks for the first time.
                let _first = Crowd::connect(self.port, 1, self.size)?;
                let mut held = Vec::new();
                answer(|_| {
                    held.push(Crowd::connect(self.port, self.connections, self.size)?);
                    Ok(self.connections as u64)
                })
            }
        }
    }

    fn bursts(&self, time: Duration) -> io::Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            let streams: io::Result<Vec<_>> = (0..self.connections).map(|_| connect(self.port)).collect();
            let mut streams = streams?;
            for stream in &mut streams {
                stream.write_all(&[1])?;
            }
            for mut stream in streams {
                stream.read_exact(&mut [0])?;
                reset(&stream);
                count += 1;
            }
        }
        Ok(count)
    }
}

fn answer(mut load: impl FnMut(Duration) -> io::Result<u64>) -> io::Result<()> {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        let start = Instant::now();
        let count = load(Duration::from_millis(request.count))?;
        requests.answer(start.elapsed(), count);
    }
    Ok(())
}

/// Runs a load, and tells the parent its error.
pub(crate) fn run(load: &Load) {
    if let Err(error) = load.run() {
        serve::say(&format!("error the load failed: {error}"));
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Makes the close of a stream send a reset, so that no connection stays behind in the state `TIME_WAIT`.
fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (at, length) = ((&raw const linger).cast(), size_of_val(&linger) as libc::socklen_t);
    // SAFETY: `at` points to `linger`, a local variable of `length` bytes, which outlives the call.
    unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, length) };
}

/// A connection, and its bytes that are missing until the next request.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    to_send: usize,
    to_receive: usize,
}

/// Connections with a request in flight on each.
#[derive(Debug)]
struct Crowd {
    poller: OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Crowd {
    /// Connects, and exchanges one request on each connection.
    fn connect(port: u16, count: usize, size: usize) -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let poller = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if poller < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: epoll_create1 has just returned the descriptor, so no other value owns it.
        let poller = unsafe { OwnedFd::from_raw_fd(poller) };
        let request = (0..size).map(|k| k as u8).collect();
        let mut crowd = Crowd { poller, connections: Vec::new(), request, reply: vec![0; size] };
        while crowd.connections.len() < count {
            let first = crowd.connections.len();
            for _ in first..count.min(first + AT_ONCE) {
                crowd.add(connect(port)?)?;
            }
            // The replies prove that the server has accepted the connections.
            crowd.exchange_once(first)?;
        }
        Ok(crowd)
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32,
            u64: self.connections.len() as u64,
        };
        let (poller, fd) = (self.poller.as_raw_fd(), stream.as_raw_fd());
        // SAFETY: `event` is a local variable, which outlives the call. Both descriptors are open.
        if unsafe { libc::epoll_ctl(poller, libc::EPOLL_CTL_ADD, fd, &raw mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
        self.connections.push(Connection { stream, to_send: 0, to_receive: 0 });
        Ok(())
    }

    /// Exchanges one request on each connection from `first` on, with blocking calls. Compares the reply to the request.
    fn exchange_once(&mut self, first: usize) -> io::Result<()> {
        for connection in &mut self.connections[first..] {
            connection.stream.write_all(&self.request)?;
            connection.stream.read_exact(&mut self.reply)?;
            if self.reply != self.request {
                return Err(io::Error::new(ErrorKind::InvalidData, "the reply differs from the request"));
            }
            connection.stream.set_nonblocking(true)?;
        }
        Ok(())
    }

    /// Exchanges requests on all connections for a time, and then waits for the replies in flight. Returns their number.
    fn exchange(&mut self, time: Duration) -> io::Result<u64> {
        let (start, mut count, mut in_flight) = (Instant::now(), 0, self.connections.len());
        for connection in &mut self.connections {
            connection.begin(&self.request)?;
        }
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let mut more = true;
        while in_flight > 0 {
            let ready = self.wait(&mut events)?;
            for event in &events[..ready] {
                let connection = &mut self.connections[event.u64 as usize];
                connection.send(&self.request)?;
                if !connection.receive(&mut self.reply)? {
                    continue;
                }
                count += 1;
                if more {
                    // The reply makes a new edge, so the stream need not be read until it is empty.
                    connection.begin(&self.request)?;
                } else {
                    in_flight -= 1;
                }
            }
            more = start.elapsed() < time;
        }
        Ok(count)
    }

    fn wait(&self, events: &mut [libc::epoll_event]) -> io::Result<usize> {
        let milliseconds = PATIENCE.as_millis() as libc::c_int;
        // SAFETY: the kernel writes at most `BATCH` events, the length of the slice, which outlives the call.
        let count =
            unsafe { libc::epoll_wait(self.poller.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, milliseconds) };
        match count {
            0 => Err(io::Error::new(ErrorKind::TimedOut, format!("no reply for {} s", PATIENCE.as_secs()))),
            1.. => Ok(count as usize),
            _ => match io::Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
        }
    }
}

impl Connection {
    /// Begins a request.
    fn begin(&mut self, request: &[u8]) -> io::Result<()> {
        (self.to_send, self.to_receive) = (request.len(), request.len());
        self.send(request)
    }

    /// Sends the rest of the request, as far as the socket takes it.
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        while self.to_send > 0 {
            match self.stream.write(&request[request.len() - self.to_send..]) {
                Ok(sent) => self.to_send -= sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives what has arrived. Returns whether the reply is complete.
    fn receive(&mut self, reply: &mut [u8]) -> io::Result<bool> {
        while self.to_receive > 0 {
            match self.stream.read(&mut reply[..self.to_receive]) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection")),
                Ok(received) => self.to_receive -= received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.to_receive == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Starts a server that changes the replies by `change`, and returns its port.
    fn server(change: fn(&mut [u8])) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                thread::spawn(move || {
                    let mut buffer = [0; 1000];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        change(&mut buffer[..length]);
                        stream.write_all(&buffer[..length]).unwrap();
                    }
                });
            }
        });
        port
    }

    #[test]
    fn replies_in_pieces_are_counted_once() {
        let mut crowd = Crowd::connect(server(|_| ()), 3, 100_000).unwrap();
        let count = crowd.exchange(Duration::from_millis(50)).unwrap();
        assert!(count >= 3, "{count}");
        // Nothing is in flight, so a request of no time is one for each connection.
        assert_eq!(crowd.exchange(Duration::ZERO).unwrap(), 3);
    }

    #[test]
    fn changed_reply_is_an_error() {
        let error = Crowd::connect(server(|bytes| bytes[0] ^= 1), 1, 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn bursts_reach_the_server() {
        let port = server(|_| ());
        let load = Load { kind: Kind::Burst, port, connections: 5, size: 1 };
        let count = load.bursts(Duration::from_millis(1)).unwrap();
        assert!(count >= 5 && count.is_multiple_of(5), "{count}");
    }

    #[test]
    fn arguments_are_parsed_back() {
        let load = Load { kind: Kind::Hold, port: 8080, connections: 1000, size: 64 };
        let words = load.arguments();
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        assert_eq!(Load::parse([words[0], words[1], words[2], words[3]]), Ok(load));
        assert!(Load::parse(["flood", "1", "1", "1"]).unwrap_err().contains("\"flood\""));
        assert!(Load::parse(["echo", "70000", "1", "1"]).is_err());
    }
}
