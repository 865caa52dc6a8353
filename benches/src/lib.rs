//! How this project measures: the things compared take turns in one run, and medians and ratios are quoted.
//!
//! On a shared machine the same code takes 20 to 50 % more from one minute to the next, so figures of two runs say little
//! about each other. Here every round measures every case once, in turn, and a ratio is that of two medians of one run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// One thing that is measured: a name and a function that does it `n` times.
pub struct Case<'a> {
    name: &'a str,
    run: Box<dyn FnMut(u64) + 'a>,
    iterations: u64,
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Case({})", self.name)
    }
}

impl<'a> Case<'a> {
    /// `run(n)` does the thing `n` times; what is set up once lies outside of it.
    pub fn new(name: &'a str, run: impl FnMut(u64) + 'a) -> Self {
        Case { name, run: Box::new(run), iterations: 0 }
    }

    fn measure(&mut self) -> f64 {
        let start = Instant::now();
        (self.run)(self.iterations);
        start.elapsed().as_nanos() as f64 / self.iterations as f64
    }

    /// Finds how many iterations take about a millisecond, and warms up on the way.
    fn calibrate(&mut self) {
        self.iterations = 1;
        while self.iterations < 1 << 30 {
            let nanos = self.measure() * self.iterations as f64;
            if nanos > 1e6 {
                break;
            }
            self.iterations *= 2;
        }
    }
}

/// The figures of one case, in nanoseconds for one iteration.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The name of the case.
    pub name: String,
    /// The fastest round.
    pub min: f64,
    /// The middle of all rounds.
    pub median: f64,
}

/// Measures all cases in turn, `rounds` times, and returns their figures in the same order.
pub fn interleave(mut cases: Vec<Case<'_>>, rounds: usize) -> Vec<Figures> {
    cases.iter_mut().for_each(Case::calibrate);
    let mut samples = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for (case, samples) in cases.iter_mut().zip(&mut samples) {
            samples.push(case.measure());
        }
    }
    let figures = cases.iter().zip(&mut samples).map(|(case, samples)| {
        samples.sort_by(f64::total_cmp);
        Figures { name: case.name.to_string(), min: samples[0], median: samples[samples.len() / 2] }
    });
    figures.collect()
}

/// Prints a table, with each median as a multiple of the first case's.
pub fn print(title: &str, figures: &[Figures]) {
    println!("{title}\n{:44} {:>9} {:>9} {:>7}", "", "min ns", "median ns", "ratio");
    for figure in figures {
        let ratio = figure.median / figures[0].median;
        println!("  {:42} {:9.2} {:9.2} {:6.2}x", figure.name, figure.min, figure.median, ratio);
    }
    println!();
}

/// A turn that two threads pass to and fro by futex.
struct Turn(AtomicU32);

impl Turn {
    /// Waits until it is `mine`; false when it is over.
    fn wait(&self, mine: u32) -> bool {
        loop {
            match self.0.load(Ordering::Acquire) {
                now if now == mine => return true,
                2 => return false,
                now => {
                    let (operation, timeout) = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, std::ptr::null::<u8>());
                    // SAFETY: the word outlives the call; no timeout.
                    unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), operation, now, timeout) };
                }
            }
        }
    }

    fn pass(&self, to: u32) {
        self.0.store(to, Ordering::Release);
        // SAFETY: the word outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }
}

/// Nanoseconds for a round trip between two OS threads that hand a futex over to each other: two switches of threads.
pub fn futex_hand_over(round_trips: u32) -> f64 {
    let turn = Turn(AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while turn.wait(1) {
                turn.pass(0);
            }
        });
        let start = Instant::now();
        for _ in 0..round_trips {
            turn.pass(1);
            turn.wait(0);
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(round_trips);
        turn.pass(2);
        each
    })
}
