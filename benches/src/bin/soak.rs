//! A soak test of sockets, for a given number of seconds: `cargo run --release -p cede-benches --bin soak -- 600`. A second argument
//! replaces the seed.
//!
//! In one run, 64 clients connect over TCP and Unix sockets, exchange bytes with an echo, are cut by cancels and deadlines, and close
//! or reset, in a random order. The tasks that accept are cancelled and replaced all the time. Prints a line every tenth of the time.
//! Fails if a byte is wrong, if descriptors, registrations or tasks remain, if there were fewer than a million steps per ten minutes,
//! or if the memory of the second half grows.

use cede::io::{Interest, is_cancelled};
use cede::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 64;
/// Closed connections occupy their ports for a minute, for each address anew.
const TCP_LISTENERS: u8 = 4;

/// Marsaglia's xorshift, "Xorshift RNGs" (2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

/// The steps of all clients, by kind.
#[derive(Clone, Copy, Debug, Default)]
#[allow(dead_code, reason = "printed")]
struct Steps {
    connects: u64,
    cancelled_connects: u64,
    echoes: u64,
    cancels: u64,
    deadlines: u64,
    waits: u64,
    half_closes: u64,
    closes: u64,
    accepts_replaced: u64,
}

impl Steps {
    fn total(self) -> u64 {
        self.connects + self.cancelled_connects + self.echoes + self.cancels + self.deadlines + self.waits + self.closes
    }
}

struct World {
    tcp: Vec<SocketAddr>,
    unix: PathBuf,
    done: Cell<bool>,
    steps: Cell<Steps>,
}

impl World {
    fn count(&self, count: impl FnOnce(&mut Steps)) {
        let mut steps = self.steps.get();
        count(&mut steps);
        self.steps.set(steps);
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Stream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_all(bytes),
            Stream::Unix(stream) => (&*stream).write_all(bytes),
        }
    }

    fn wait(&self, interest: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => cede::io::wait(stream, interest),
            Stream::Unix(stream) => cede::io::wait(stream, interest),
        }
    }
}

/// Accepts until it is cancelled, and echoes on each connection in a task of its own.
fn accept_all(listener: Rc<Listener>) -> io::Error {
    loop {
        match listener.accept() {
            Ok(stream) => drop(cede::spawn(move || echo_all(&stream))),
            // The client reset its connection before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
        }
    }
}

/// Echoes until the client closes or resets the connection.
fn echo_all(stream: &Stream) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// Connects. In one of eight connects, the task is cancelled before, during or after the connect: then there may be no stream.
fn connect(world: &World, random: &mut Random) -> io::Result<Option<Stream>> {
    // Mostly by Unix sockets: TCP is several times slower.
    let tcp = (random.below(4) == 0).then(|| world.tcp[random.below(world.tcp.len())]);
    let path = world.unix.clone();
    let open = move || match tcp {
        Some(address) => TcpStream::connect(address).map(Stream::Tcp),
        None => UnixStream::connect(path).map(Stream::Unix),
    };
    if random.below(8) > 0 {
        world.count(|steps| steps.connects += 1);
        return open().map(Some);
    }
    world.count(|steps| steps.cancelled_connects += 1);
    let mut task = cede::Builder::new().eager(random.below(2) == 0).spawn(open).map_err(io::Error::other)?;
    (0..random.below(3)).for_each(|_| cede::yield_now());
    task.cancel();
    match task.join() {
        Ok(Ok(stream)) => Ok(Some(stream)),
        Ok(Err(error)) if is_cancelled(&error) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(cede::JoinError::Panicked(_)) => Err(io::Error::other("a connect panicked")),
        // The task had no turn.
        Err(_) => Ok(None),
    }
}

/// Sends random bytes and receives them back.
fn echo(stream: &Stream, random: &mut Random) -> io::Result<()> {
    let len = if random.below(16) == 0 { 16_384 } else { 1 + random.below(600) };
    let first = random.below(256);
    let bytes: Vec<u8> = (0..len).map(|at| (first + at) as u8).collect();
    stream.write_all(&bytes)?;
    let mut back = vec![0; len];
    let mut received = 0;
    while received < len {
        match stream.read(&mut back[received..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received += count,
        }
    }
    if back == bytes { Ok(()) } else { Err(io::Error::other("the echo differs")) }
}

/// Waits for data that does not come, until a cancel ends the wait.
fn cancelled_read(stream: &Stream, random: &mut Random) -> io::Result<()> {
    let yields = random.below(3);
    let outcome = cede::scope(|scope| {
        let mut reader = scope.spawn(|| stream.read(&mut [0; 8]));
        (0..yields).for_each(|_| cede::yield_now());
        reader.cancel();
        reader.join()
    });
    match outcome.map_err(|error| io::Error::other(error.to_string()))? {
        Ok(Err(error)) if is_cancelled(&error) => Ok(()),
        Err(error) if !matches!(error, cede::JoinError::Panicked(_)) && yields == 0 => Ok(()),
        other => Err(io::Error::other(format!("a cancelled read returned {other:?}"))),
    }
}

/// Waits for data that does not come, until a deadline ends the wait.
fn late_read(stream: &Stream, random: &mut Random) -> io::Result<()> {
    let limit = Duration::from_micros(random.below(300) as u64);
    match cede::timeout(limit, || stream.read(&mut [0; 8])) {
        Err(late) if late.value.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) => Ok(()),
        other => {
            Err(io::Error::other(format!("a read with a deadline returned {:?}", other.map_err(|late| late.value))))
        }
    }
}

fn close(world: &World, stream: Stream, random: &mut Random) -> io::Result<()> {
    world.count(|steps| steps.closes += 1);
    match stream {
        // A reset leaves no port occupied.
        Stream::Tcp(stream) if random.below(64) > 0 => stream.set_linger(Some(Duration::ZERO)),
        Stream::Tcp(_) => Ok(()),
        Stream::Unix(stream) if random.below(4) == 0 => {
            world.count(|steps| steps.half_closes += 1);
            stream.shutdown(Shutdown::Write)?;
            match (&stream).read(&mut [0; 8])? {
                0 => Ok(()),
                count => Err(io::Error::other(format!("{count} bytes after the last echo"))),
            }
        }
        Stream::Unix(_) => Ok(()),
    }
}

fn client(world: &World, seed: u64) -> io::Result<()> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    while !world.done.get() {
        let Some(stream) = connect(world, &mut random)? else { continue };
        for _ in 0..random.below(8) {
            match random.below(8) {
                0..4 => echo(&stream, &mut random).map(|()| world.count(|steps| steps.echoes += 1)),
                4 | 5 => cancelled_read(&stream, &mut random).map(|()| world.count(|steps| steps.cancels += 1)),
                6 => late_read(&stream, &mut random).map(|()| world.count(|steps| steps.deadlines += 1)),
                _ => stream.wait(Interest::Writable).map(|()| world.count(|steps| steps.waits += 1)),
            }?;
        }
        close(world, stream, &mut random)?;
    }
    Ok(())
}

/// Counts that must be the same at the end as at the start: descriptors, registrations, tasks that wait for I/O, and tasks.
fn counts() -> [u64; 4] {
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let metrics = cede::metrics();
    [descriptors, metrics.io_descriptors, metrics.io_waiting, metrics.live]
}

/// Returns the resident memory of the process, in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has a size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("VmRSS is a number of KiB") * 1024.0
}

/// Returns the slope of the least-squares line through points (x, y).
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mean_x, mean_y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let covariance: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    covariance / points.iter().map(|p| (p.0 - mean_x).powi(2)).sum::<f64>()
}

/// A point in time of the soak: steps so far, and the memory in bytes.
type Sample = (f64, f64);

/// Runs the clients until the time is over. Returns the samples.
fn soak(world: &Rc<World>, listeners: &[Rc<Listener>], seconds: u64, seed: u64) -> io::Result<Vec<Sample>> {
    let clients = (0..CLIENTS).map(|n| {
        let world = Rc::clone(world);
        cede::spawn(move || {
            let outcome = client(&world, seed + n);
            if let Err(error) = &outcome {
                eprintln!("client {n}: {error}");
                world.done.set(true);
            }
            outcome
        })
    });
    let mut clients: Vec<_> = clients.collect();
    let acceptors: RefCell<Vec<_>> = RefCell::new(Vec::new());
    let accept = |listener: &Rc<Listener>| {
        let listener = Rc::clone(listener);
        cede::spawn(move || accept_all(listener))
    };
    acceptors.borrow_mut().extend(listeners.iter().map(accept));
    let (start, mut samples, mut printed) = (Instant::now(), Vec::new(), 0);
    let mut turn = 0;
    while start.elapsed() < Duration::from_secs(seconds) && !world.done.get() {
        cede::time::sleep(Duration::from_millis(10)).map_err(io::Error::other)?;
        let at = turn % listeners.len();
        let old = std::mem::replace(&mut acceptors.borrow_mut()[at], accept(&listeners[at]));
        stop(old)?;
        world.count(|steps| steps.accepts_replaced += 1);
        turn += 1;
        if samples.len() as u128 <= start.elapsed().as_millis() * 500 / (u128::from(seconds) * 1000) {
            samples.push((world.steps.get().total() as f64, resident()));
        }
        let tenth = start.elapsed().as_secs() * 10 / seconds.max(1);
        if tenth > printed {
            printed = tenth;
            println!(
                "{:4} s: {} steps, {:.0} KiB",
                start.elapsed().as_secs(),
                world.steps.get().total(),
                resident() / 1024.0
            );
        }
    }
    world.done.set(true);
    for client in &mut clients {
        client.join().map_err(|error| io::Error::other(error.to_string()))??;
    }
    acceptors.into_inner().into_iter().try_for_each(stop)?;
    Ok(samples)
}

fn stop(mut acceptor: cede::JoinHandle<io::Error>) -> io::Result<()> {
    acceptor.cancel();
    match acceptor.join() {
        Ok(error) if !is_cancelled(&error) => Err(error),
        _ => Ok(()),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number: SECONDS, then SEED"));
    let (seconds, seed) = (arguments.next().unwrap_or(600).max(1), arguments.next().unwrap_or(1));
    let directory = std::env::temp_dir().join(format!("cede-soak-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory for the Unix socket");
    let outcome = cede::run(|| {
        // The first wait creates the reactor, with its descriptors.
        let (one, _other) = UnixStream::pair()?;
        let _late = cede::timeout(Duration::ZERO, || (&one).read(&mut [0; 1]));
        drop((one, _other));
        let before = counts();
        let unix = directory.join("socket");
        let mut listeners = vec![Rc::new(Listener::Unix(UnixListener::bind(&unix)?))];
        let mut tcp = Vec::new();
        for n in 1..=TCP_LISTENERS {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, n], 0)))?;
            tcp.push(listener.local_addr()?);
            listeners.push(Rc::new(Listener::Tcp(listener)));
        }
        let world = Rc::new(World { tcp, unix, done: Cell::new(false), steps: Cell::default() });
        let samples = soak(&world, &listeners, seconds, seed)?;
        drop(listeners);
        // The echo tasks read the ends of their connections.
        let end = Instant::now();
        while cede::metrics().live > 0 && end.elapsed() < Duration::from_secs(10) {
            cede::time::sleep(Duration::from_millis(1)).map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>((world.steps.get(), before, counts(), samples))
    });
    let _ = std::fs::remove_dir_all(&directory);
    let (steps, before, after, samples) = outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    println!("{steps:?}");
    println!("descriptors, registrations, waiting, tasks: {before:?} at the start, {after:?} at the end");
    assert_eq!(before, after);
    let total = steps.total();
    assert!(total >= seconds * 1_000_000 / 600, "only {total} steps");
    // The smallest block of malloc is 32 bytes. A slope of 0.05 bytes per step would be one lost block in 640 steps. The pools of stacks and
    // of malloc move by some pages, which is more than that in a short soak: 512 KiB are allowed.
    let half = &samples[samples.len() / 2..];
    let (per_step, first, last) = (slope(half), half[0], half[half.len() - 1]);
    let growth = per_step * (last.0 - first.0);
    println!(
        "{total} steps; memory of the second half: {per_step:.5} bytes per step, {:.0} KiB in total",
        growth / 1024.0
    );
    assert!(per_step <= 0.05 || growth <= 512.0 * 1024.0, "memory grows");
}
