//! A worker with a fault, for the tests and the figures.
//!
//! ```text
//! faulty_worker HOST:PORT RUN PATTERN CLAIM_AFTER_MS FAULT..
//! ```
//!
//! | fault | effect |
//! |---|---|
//! | `tasks=N` | N jobs in hand at the same time; 1 without it |
//! | `sleep=MS`, `compute=MS` | each part takes longer, without and with the processor |
//! | `stall=FILE` | makes the file at the first part, and then computes without an end |
//! | `die-of=TEXT`, `panic-of=TEXT` | aborts or panics when a part contains the text |
//! | `abort=before`, `within`, `after` | aborts at the first answer: before it is sent, when a half of it is, when all of it is |
#![forbid(unsafe_code)]

use cede::net::TcpStream;
use cede_distributed::broker::Broker;
use cede_distributed::job::Found;
use cede_distributed::link::{Connect, Link};
use cede_distributed::progress::Progress;
use cede_distributed::search::search;
use cede_distributed::streams::Streams;
use cede_distributed::worker::{self, Options};
use memchr::memmem;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::abort;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The command that ends a transaction of Redis, as bytes on the wire.
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

#[derive(Clone, Debug, Default)]
struct Faults {
    tasks: usize,
    sleep: Duration,
    compute: Duration,
    /// The steps of 0.1 ms.
    block: u64,
    stall: Option<String>,
    die_of: Option<String>,
    panic_of: Option<String>,
    abort: Option<String>,
}

impl Faults {
    fn parse(arguments: &[String]) -> Faults {
        let mut faults = Faults { tasks: 1, block: calibrate(), ..Faults::default() };
        for argument in arguments {
            let (name, value) = argument.split_once('=').expect("a fault is NAME=VALUE");
            let time = || Duration::from_millis(value.parse().expect("a number of milliseconds"));
            match name {
                "tasks" => faults.tasks = value.parse().expect("a number of tasks"),
                "sleep" => faults.sleep = time(),
                "compute" => faults.compute = time(),
                "stall" => faults.stall = Some(value.to_owned()),
                "die-of" => faults.die_of = Some(value.to_owned()),
                "panic-of" => faults.panic_of = Some(value.to_owned()),
                "abort" => faults.abort = Some(value.to_owned()),
                _ => panic!("no fault is called {name}"),
            }
        }
        faults
    }

    fn filter(&self, pattern: &Rc<[u8]>, text: &Rc<Vec<u8>>) -> Found {
        let contains =
            |part: &Option<String>| part.as_ref().is_some_and(|part| memmem::find(text, part.as_bytes()).is_some());
        if contains(&self.die_of) {
            abort();
        }
        assert!(!contains(&self.panic_of), "the text is poison");
        if let Some(file) = &self.stall {
            File::create(file).expect("the file can be made");
            compute(Duration::MAX, self.block);
        }
        if !self.sleep.is_zero() {
            // The run is not cancelled.
            let _ = cede::time::sleep(self.sleep);
        }
        compute(self.compute, self.block);
        search(pattern, text)
    }
}

/// The processor's work of 0.1 ms, as a number of steps.
fn calibrate() -> u64 {
    let sample = |_| {
        let begun = Instant::now();
        steps(100_000);
        begun.elapsed()
    };
    let least = (0..20).map(sample).min().unwrap_or(Duration::MAX);
    (100_000.0 * 1e-4 / least.as_secs_f64().max(1e-9)) as u64
}

fn steps(count: u64) {
    std::hint::black_box((0..count).fold(1, |x: u64, y| x.wrapping_mul(31).wrapping_add(std::hint::black_box(y))));
}

/// Does the work of so much time of the processor, in blocks of 0.1 ms of `block` steps each.
fn compute(duration: Duration, block: u64) {
    for _ in 0..duration.as_micros() / 100 {
        steps(block);
        cede::yield_now();
    }
}

/// A stream that aborts the process at the end of the first transaction.
struct Cut {
    stream: TcpStream,
    abort: Option<String>,
    is_sent: bool,
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_sent {
            abort();
        }
        self.stream.read(buffer)
    }
}

impl Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.abort, memmem::find(bytes, EXEC)) {
            (Some(place), Some(at)) => {
                let sent = match &place[..] {
                    "before" => 0,
                    "within" => at,
                    _ => bytes.len(),
                };
                self.stream.write_all(&bytes[..sent])?;
                self.is_sent = sent == bytes.len();
                if self.is_sent { Ok(sent) } else { abort() }
            }
            _ => self.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, run, pattern, claim_after, faults @ ..] = &arguments[..] else {
        return Err(io::Error::other("usage: faulty_worker HOST:PORT RUN PATTERN CLAIM_AFTER_MS FAULT.."));
    };
    let faults = Faults::parse(faults);
    let claim_after = Duration::from_millis(claim_after.parse().expect("a number of milliseconds"));
    let pattern: Rc<[u8]> = pattern.as_bytes().into();
    let idle = Duration::from_secs(60);
    let options = Options { pattern: Rc::clone(&pattern), tasks: faults.tasks, idle, claim_after };
    let (address, run, abort) = (address.clone(), run.clone(), faults.abort.clone());
    let connect: Rc<Connect> = Rc::new(move || {
        let stream = TcpStream::connect(&address[..])?;
        stream.set_nodelay(true)?;
        let stream = Cut { stream, abort: abort.clone(), is_sent: false };
        Ok(Box::new(Streams::new(stream, &run, claim_after)) as Box<dyn Broker>)
    });
    let progress = Rc::new(Progress::hidden());
    let link = || Link::new(Rc::clone(&connect), idle, Rc::clone(&progress));
    let filter = |text: &Rc<Vec<u8>>| faults.filter(&pattern, text);
    let work = || worker::work(&options, &link, &|_, text| filter(text)).map(drop);
    cede::Config::new().stack_size(256 << 10).run(work).expect("the run ends")
}
