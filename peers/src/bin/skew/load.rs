//! The load: requests of a skewed distribution, and the latencies of their answers.

use crate::servers::{Message, compute};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
/// The exponent of the rates of the connections.
const ZIPF: f64 = 0.8;
/// The mean and the longest time of a request, in ns, and the exponent of its distribution.
const MEAN: f64 = 20_000.0;
const LONGEST: f64 = 2_000_000.0;
const PARETO: f64 = 1.5;

/// The options of the load.
pub(crate) struct Load {
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
    /// The number of requests under way; 0 for the rate above.
    pub(crate) outstanding: usize,
    pub(crate) seed: u64,
    /// The steps that this machine computes in one ns.
    speed: f64,
}

/// The outcome of one round.
pub(crate) struct Outcome {
    /// The latencies p50, p90, p99 and p99.9 in us, without the first tenth of the round.
    pub(crate) quantiles: [f64; 4],
    /// Answers per second.
    pub(crate) rate: f64,
}

impl Default for Load {
    fn default() -> Load {
        let speed = (0..20).map(|_| {
            let start = Instant::now();
            black_box(compute(100_000));
            100_000.0 / start.elapsed().as_nanos() as f64
        });
        Load { rate: 20_000.0, seconds: 0.5, outstanding: 0, seed: 1, speed: speed.fold(0.0, f64::max) }
    }
}

/// A generator of random numbers.
struct Random(u64);

impl Random {
    /// Returns a number above 0 and up to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }
}

/// The requests of a round, and the connections that carry them.
struct Sender {
    random: Random,
    streams: Vec<TcpStream>,
    /// The part of the requests that the connections up to each one send.
    shares: Vec<f64>,
    speed: f64,
    /// The times at which the requests were due, in ns since the start of the round, by their numbers.
    due: Vec<f64>,
}

impl Sender {
    fn new(address: SocketAddr, load: &Load) -> Sender {
        let mut random = Random(load.seed | 1);
        let mut rates: Vec<f64> = (1..=CONNECTIONS).map(|k| (k as f64).powf(-ZIPF)).collect();
        for last in (1..rates.len()).rev() {
            rates.swap(last, (random.next() * last as f64) as usize);
        }
        let (total, mut sum) = (rates.iter().sum::<f64>(), 0.0);
        let shares = rates.iter().map(|rate| {
            sum += rate / total;
            sum
        });
        let shares = shares.collect();
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let streams = (0..CONNECTIONS).map(|_| connect().expect("the server listens")).collect();
        std::thread::sleep(Duration::from_millis(50)); // until the server has accepted all
        Sender { random, streams, shares, speed: load.speed, due: Vec::new() }
    }

    /// Sends a request that was due at a time.
    fn send(&mut self, due: f64) {
        let place = self.random.next();
        let connection = self.shares.partition_point(|share| *share < place).min(CONNECTIONS - 1);
        let time = self.random.next().powf(-1.0 / PARETO) * MEAN * (PARETO - 1.0) / PARETO;
        let count = (time.min(LONGEST) * self.speed) as u64;
        let mut message = Message::default();
        message[..8].copy_from_slice(&(self.due.len() as u64).to_le_bytes());
        message[8..].copy_from_slice(&count.to_le_bytes());
        (&self.streams[connection]).write_all(&message).expect("the socket has room");
        self.due.push(due);
    }

    /// Returns the time to the next request, in ns.
    fn pause(&mut self, rate: f64) -> f64 {
        -self.random.next().ln() * 1e9 / rate
    }
}

impl Load {
    /// Sends requests for a round, and waits for the answers.
    pub(crate) fn send(&self, address: SocketAddr) -> Outcome {
        let mut sender = Sender::new(address, self);
        let poller = Poller::new(&sender.streams);
        let (mut latencies, mut parts) = (Vec::new(), vec![Vec::new(); CONNECTIONS]);
        let (end, mut next, mut answers) = (self.seconds * 1e9, 0.0, 0);
        let start = Instant::now();
        let now = || start.elapsed().as_nanos() as f64;
        (0..self.outstanding).for_each(|_| sender.send(0.0));
        let keeps_count = self.outstanding > 0;
        loop {
            let time = now();
            while !keeps_count && next <= time && next < end {
                sender.send(next);
                next += sender.pause(self.rate);
            }
            // A server that is too slow has twice the time for the answers that are left.
            if time >= end && (keeps_count || answers == sender.due.len() || time >= 3.0 * end) {
                break;
            }
            let rest = if keeps_count || next >= end { 1e7 } else { (next - now()).max(0.0) };
            for connection in poller.wait(rest) {
                let mut buffer = [0; 4096];
                let count = (&sender.streams[connection]).read(&mut buffer).unwrap_or(0);
                let part: &mut Vec<u8> = &mut parts[connection];
                part.extend_from_slice(&buffer[..count]);
                let time = now();
                while let Some((message, rest)) = part.split_first_chunk::<16>() {
                    let (number, _) = message.split_at(8);
                    let due = sender.due[u64::from_le_bytes(number.try_into().expect("8 bytes")) as usize];
                    *part = rest.to_vec();
                    answers += 1;
                    if due > end / 10.0 {
                        latencies.push((time - due) / 1e3);
                    }
                    if keeps_count {
                        sender.send(time);
                    }
                }
            }
        }
        latencies.sort_by(f64::total_cmp);
        let at = |part: f64| latencies[((latencies.len() as f64 * part) as usize).min(latencies.len() - 1)];
        Outcome { quantiles: [0.5, 0.9, 0.99, 0.999].map(at), rate: answers as f64 / start.elapsed().as_secs_f64() }
    }
}

/// An epoll instance.
struct Poller(OwnedFd);

impl Poller {
    fn new(streams: &[TcpStream]) -> Poller {
        // SAFETY: the call takes no memory, and the descriptor that it returns is new.
        let poller = Poller(unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) });
        for (number, stream) in streams.iter().enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
            let (own, fd) = (poller.0.as_raw_fd(), stream.as_raw_fd());
            // SAFETY: `event` is valid for the call.
            assert_eq!(unsafe { libc::epoll_ctl(own, libc::EPOLL_CTL_ADD, fd, &raw mut event) }, 0);
        }
        poller
    }

    /// Waits up to `nanos`, and returns the connections that have answers.
    fn wait(&self, nanos: f64) -> impl Iterator<Item = usize> {
        const MAX: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX];
        let time = libc::timespec { tv_sec: 0, tv_nsec: nanos.min(9e8) as i64 };
        let (place, time) = (events.as_mut_ptr(), &raw const time);
        // SAFETY: `events` and `time` are valid for the call, which sets no signal mask.
        let count = unsafe {
            let mask = std::ptr::null::<libc::sigset_t>();
            libc::syscall(libc::SYS_epoll_pwait2, self.0.as_raw_fd(), place, MAX as i32, time, mask, 0_usize)
        };
        events.into_iter().take(count.max(0) as usize).map(|event| event.u64 as usize)
    }
}
