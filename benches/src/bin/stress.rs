//! A stress test of channels, for a given number of seconds: `cargo run --release -p cede-benches --bin stress -- 300`.
//!
//! Eight threads, four of them workers with 2,500 tasks each, send and receive through sixteen channels of all kinds, by plain
//! operations, with deadlines and through selects. Every tenth task is cancelled. Each sent message must be received once, and
//! memory must not grow. Prints a line every tenth of the time, and fails if the counts differ.

use cede::select;
use cede::sync::channel::{self, Receiver, Sender};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The number and the sum of messages. The sum detects that one message was taken for another.
struct Count(AtomicU64, AtomicU64);

impl Count {
    const fn new() -> Count {
        Count(AtomicU64::new(0), AtomicU64::new(0))
    }

    fn add(&self, message: u64) {
        self.0.fetch_add(1, Relaxed);
        self.1.fetch_add(message, Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        (self.0.load(Relaxed), self.1.load(Relaxed))
    }
}

static SENT: Count = Count::new();
static RECEIVED: Count = Count::new();
static RETURNED: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicU64 = AtomicU64::new(1);

type Channels = Vec<(Sender<u64>, Receiver<u64>)>;

/// Marsaglia's xorshift, "Xorshift RNGs" (2003).
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

fn sent<E>(message: u64, result: Result<(), E>) {
    match result {
        Ok(()) => SENT.add(message),
        Err(_) => {
            RETURNED.fetch_add(1, Relaxed);
        }
    }
}

fn received<E>(result: Result<u64, E>) {
    if let Ok(message) = result {
        RECEIVED.add(message);
    }
}

/// Performs random operations, none of which waits without a limit.
fn perform(channels: &Channels, seed: u64, steps: u32) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for _ in 0..steps {
        let (sender, _) = &channels[random(&mut state) % channels.len()];
        let (_, receiver) = &channels[random(&mut state) % channels.len()];
        let message = NEXT.fetch_add(1, Relaxed);
        let time = Duration::from_micros(random(&mut state) as u64 % 2000);
        match random(&mut state) % 7 {
            0 => sent(message, sender.try_send(message)),
            1 | 2 => sent(message, sender.send_timeout(message, time)),
            3 => received(receiver.try_recv()),
            4 | 5 => received(receiver.recv_timeout(time)),
            _ => {
                let mut from = Some(message);
                let _ = select! {
                    send_from(sender, &mut from) -> result => sent(message, result),
                    recv(receiver) -> result => received(result),
                    after(time) => {}
                };
            }
        }
    }
}

/// Runs a worker with 2,500 tasks, and cancels every tenth task.
fn worker(channels: &Channels, seed: u64) {
    cede::run(|| {
        let spawn = |n: u64| {
            let channels = channels.clone();
            cede::spawn(move || perform(&channels, seed ^ (n << 20), 20))
        };
        let mut tasks: Vec<_> = (0..2_500).map(spawn).collect();
        cede::yield_now();
        for task in tasks.iter().step_by(10) {
            task.cancel();
        }
        tasks.iter_mut().for_each(|task| drop(task.join()));
    });
}

/// Returns the resident memory in MiB.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    // SAFETY: sysconf(3) takes an integer and has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    (pages.unwrap_or(0) * size as u64) >> 20
}

fn main() {
    let seconds = std::env::args().nth(1).map_or(10, |seconds| seconds.parse().expect("a number of seconds"));
    let (start, time) = (Instant::now(), Duration::from_secs(seconds));
    let channels: Channels = [0, 0, 1, 1, 2, 8, 64, 1024]
        .into_iter()
        .cycle()
        .take(15)
        .map(channel::bounded)
        .chain([channel::unbounded()])
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let channels = &channels;
            scope.spawn(move || {
                let mut seed = thread + 1;
                while start.elapsed() < time {
                    seed += 8;
                    if thread < 4 { worker(channels, seed) } else { perform(channels, seed, 1_000) }
                }
            });
        }
        for tenth in 1..=10 {
            std::thread::sleep((time * tenth / 10).saturating_sub(start.elapsed()));
            let ((sent, _), (received, _)) = (SENT.get(), RECEIVED.get());
            println!(
                "{:>4} s: {sent} sent, {received} received, {} came back, {} MiB resident",
                start.elapsed().as_secs(),
                RETURNED.load(Relaxed),
                resident()
            );
        }
    });
    channels.iter().for_each(|(_, receiver)| receiver.try_iter().for_each(|message| RECEIVED.add(message)));
    assert_eq!(SENT.get(), RECEIVED.get(), "each sent message is received once");
    println!("{} sent and received, once each", SENT.get().0);
}
