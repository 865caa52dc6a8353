//! A stress test of all types in `sync`: tasks of six workers and two plain threads use them at once, with cancels and
//! timeouts. Then the counts are checked.
//!
//! cargo run --release --example sync_stress -- [--seconds 300] [--tasks 10000]

use cede::sync::{Condvar, Event, Mutex, Queue, RwLock, Semaphore, WaitTimeoutError, channel};
use cede::{Config, JoinHandle, spawn, yield_now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const WORKERS: u64 = 6;
const THREADS: u64 = 2;
const PERMITS: usize = 8;

/// A value of each type of `sync`, with counters of the operations on it.
struct Things {
    mutex: Mutex<u64>,
    locked: AtomicU64,
    rwlock: RwLock<(u64, u64)>,
    written: AtomicU64,
    semaphore: Semaphore,
    inside: AtomicU64,
    tokens: (Mutex<u64>, Condvar),
    made: AtomicU64,
    taken: AtomicU64,
    event: Event,
    queue: Queue<u64>,
    pushed: AtomicU64,
    popped: AtomicU64,
    sender: channel::Sender<u64>,
    receiver: channel::Receiver<u64>,
    sent: AtomicU64,
    received: AtomicU64,
    calls: AtomicU64,
}

impl Things {
    fn new() -> Arc<Things> {
        let (sender, receiver) = channel::bounded(16);
        let count = || AtomicU64::new(0);
        Arc::new(Things {
            mutex: Mutex::new(0),
            locked: count(),
            rwlock: RwLock::new((0, 0)),
            written: count(),
            semaphore: Semaphore::bounded(PERMITS),
            inside: count(),
            tokens: (Mutex::new(0), Condvar::new()),
            made: count(),
            taken: count(),
            event: Event::new(),
            queue: Queue::bounded(16),
            pushed: count(),
            popped: count(),
            sender,
            receiver,
            sent: count(),
            received: count(),
            calls: count(),
        })
    }

    /// Does a random operation. No wait is longer than `patience`.
    fn act(&self, random: &mut Random, patience: Duration) {
        self.calls.fetch_add(1, Relaxed);
        match random.below(9) {
            0 | 1 => self.lock(random, patience),
            2 => self.read_or_write(random, patience),
            3 => self.acquire(random, patience),
            4 => drop(self.wait_for_token(random, patience)),
            5 if random.below(2) == 0 => self.event.set(),
            5 if random.below(2) == 0 => self.event.clear(),
            5 => drop(self.event.wait_timeout(patience)),
            6 if self.queue.push_timeout(1, patience).is_ok() => drop(self.pushed.fetch_add(1, Relaxed)),
            7 => {
                if let Ok(job) = self.queue.pop_timeout(patience) {
                    pause(random);
                    self.popped.fetch_add(*job, Relaxed);
                }
            }
            _ if random.below(2) == 0 => {
                if self.sender.send_timeout(1, patience).is_ok() {
                    self.sent.fetch_add(1, Relaxed);
                }
            }
            _ => drop(self.receiver.recv_timeout(patience).map(|one| self.received.fetch_add(one, Relaxed))),
        }
    }

    fn lock(&self, random: &mut Random, patience: Duration) {
        if let Ok(mut number) = self.mutex.lock_timeout(patience) {
            let before = *number;
            pause(random);
            *number = before + 1;
            self.locked.fetch_add(1, Relaxed);
        }
    }

    fn read_or_write(&self, random: &mut Random, patience: Duration) {
        if random.below(4) > 0 {
            if let Ok(both) = self.rwlock.read_timeout(patience) {
                pause(random);
                assert_eq!(both.0, both.1, "a writer was inside");
            }
        } else if let Ok(mut both) = self.rwlock.write_timeout(patience) {
            both.0 += 1;
            pause(random);
            both.1 += 1;
            self.written.fetch_add(1, Relaxed);
        }
    }

    fn acquire(&self, random: &mut Random, patience: Duration) {
        let count = 1 + random.below(PERMITS as u64);
        if let Ok(_permits) = self.semaphore.acquire_timeout(count as usize, patience) {
            assert!(self.inside.fetch_add(count, Relaxed) + count <= PERMITS as u64, "too many are inside");
            pause(random);
            self.inside.fetch_sub(count, Relaxed);
        }
    }

    fn wait_for_token(&self, random: &mut Random, patience: Duration) -> Result<(), WaitTimeoutError> {
        let (lock, condvar) = &self.tokens;
        let mut tokens = lock.lock_timeout(patience)?;
        if random.below(2) == 0 {
            *tokens += 1;
            self.made.fetch_add(1, Relaxed);
            condvar.notify_one();
            return Ok(());
        }
        let waited = condvar.wait_timeout_while(tokens, patience, |tokens| *tokens == 0);
        // A cancelled waiter holds the mutex again, so it can still take a token.
        let tokens = waited.map_or_else(|cancelled| cancelled.into_guard(), |(tokens, _)| Some(tokens));
        if let Some(mut tokens) = tokens.filter(|tokens| **tokens > 0) {
            *tokens -= 1;
            self.taken.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Compares the counts, after all tasks and threads have ended.
    fn check(&self) {
        let count = |count: &AtomicU64| count.load(Relaxed);
        assert_eq!(*self.mutex.try_lock().expect("it is unlocked"), count(&self.locked));
        assert_eq!(self.rwlock.try_write().expect("it is unlocked").1, count(&self.written));
        assert_eq!((self.semaphore.available_permits(), count(&self.inside)), (PERMITS, 0));
        assert_eq!(count(&self.made), count(&self.taken) + *self.tokens.0.try_lock().expect("it is unlocked"));
        assert_eq!(self.queue.unfinished(), self.queue.len());
        assert_eq!(count(&self.pushed), count(&self.popped) + self.queue.close_now().len() as u64);
        assert_eq!(count(&self.sent), count(&self.received) + self.receiver.try_iter().count() as u64);
    }
}

/// A xorshift generator of pseudo-random numbers, with Marsaglia's shifts 13, 7 and 17.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// Sometimes yields, so that other tasks run while this one holds a lock or permits.
fn pause(random: &mut Random) {
    if random.below(4) == 0 && cede::task::current().is_some() {
        yield_now();
    }
}

/// Runs tasks that use the values of this worker (`near`) and those of all workers (`far`). Tasks are constantly cancelled and
/// replaced. Returns the number of operations on `near`.
fn worker(number: u64, tasks: u64, far: &Arc<Things>, stop: &AtomicBool) -> u64 {
    let near = Things::new();
    // Each wait of the tasks can end, so a report of an endless one would be wrong.
    let config = Config::new().report_endless_waits(Duration::from_millis(50)).on_endless_wait(|wait| {
        eprintln!("reported without a reason: {wait}");
        std::process::exit(1);
    });
    let outcome = config.run(|| {
        let mut random = Random(number + 1);
        let start = |seed: u64| {
            let (near, far) = (Arc::clone(&near), Arc::clone(far));
            spawn(move || {
                let mut random = Random(seed + 1);
                while !cede::task::is_cancelled() {
                    let things = if random.below(16) == 0 { &far } else { &near };
                    let patience =
                        if random.below(2) == 0 { Duration::MAX } else { Duration::from_millis(random.below(20)) };
                    things.act(&mut random, patience);
                    yield_now();
                }
            })
        };
        let mut tasks: Vec<JoinHandle<()>> = (0..tasks).map(|n| start(number << 32 | n)).collect();
        while !stop.load(Relaxed) {
            let one = random.below(tasks.len() as u64) as usize;
            tasks[one].cancel();
            let seed = random.below(u64::MAX);
            let mut ended = std::mem::replace(&mut tasks[one], start(seed));
            assert!(matches!(ended.join(), Ok(()) | Err(cede::JoinError::Cancelled)));
        }
        for task in &tasks {
            task.cancel();
        }
        tasks.iter_mut().for_each(|task| assert!(matches!(task.join(), Ok(()) | Err(cede::JoinError::Cancelled))));
    });
    outcome.expect("the run ends");
    near.check();
    near.calls.load(Relaxed)
}

/// Returns the resident memory of the process, in KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("there is /proc");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages are a number") * 4
}

fn argument(name: &str, default: u64) -> u64 {
    let value = std::env::args().skip_while(|arg| arg != name).nth(1);
    value.map_or(default, |value| value.parse().expect("a number"))
}

fn main() {
    let (seconds, tasks) = (argument("--seconds", 300), argument("--tasks", 10_000));
    let (far, stop) = (Things::new(), AtomicBool::new(false));
    let (began, warm) = (Instant::now(), Duration::from_secs(seconds) / 5);
    let (near, before) = std::thread::scope(|scope| {
        let (far, stop) = (&far, &stop);
        let workers: Vec<_> =
            (0..WORKERS).map(|n| scope.spawn(move || worker(n, tasks / WORKERS, far, stop))).collect();
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut random = Random(thread + 100);
                while !stop.load(Relaxed) {
                    far.act(&mut random, Duration::from_millis(2));
                }
            });
        }
        std::thread::sleep(warm);
        let before = resident();
        std::thread::sleep(Duration::from_secs(seconds) - warm);
        println!("resident: {} KiB after {} ms, {} KiB at the end", before, warm.as_millis(), resident());
        stop.store(true, Relaxed);
        (workers.into_iter().map(|worker| worker.join().expect("its counts are right")).sum::<u64>(), before)
    });
    far.check();
    let calls = far.calls.load(Relaxed);
    println!(
        "{near} calls within workers and {calls} between threads in {} s: every count is right",
        began.elapsed().as_secs()
    );
    assert!(resident() < before + before / 4 + 16 * 1024, "memory grows");
}
