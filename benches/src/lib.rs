//! How this project measures: the things compared take turns in one run, and medians and ratios are quoted.
//!
//! On a shared machine the same code takes 20 to 50 % more from one minute to the next, so figures of two runs say little
//! about each other. Here every round measures every case once, in turn, and a ratio is that of two medians of one run.

mod threads;

pub use threads::{condvar_hand_over, futex_hand_over, pipe_hand_over};

use std::hint::black_box;
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

/// A name, and what measures it once: in nanoseconds for one of whatever it does.
pub type Timed = (String, Box<dyn FnMut() -> f64>);

/// One that measures itself, because what is set up for it has to be set up anew each time.
pub fn timed(name: &str, once: impl FnMut() -> f64 + 'static) -> Timed {
    (name.to_string(), Box::new(once))
}

/// Runs all of them in turn, `rounds` times.
pub fn take_turns(rounds: usize, mut cases: Vec<Timed>) -> Vec<Figures> {
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, case), samples) in cases.iter_mut().zip(&mut samples) {
            samples.push(case());
        }
    }
    let figures = cases.into_iter().zip(samples).map(|((name, _), mut samples)| {
        samples.sort_by(f64::total_cmp);
        Figures { name, min: samples[0], median: samples[samples.len() / 2] }
    });
    figures.collect()
}

/// One resume and one suspension of corosensei's, a u64 out: what the others are multiples of.
pub fn round_trip() -> Timed {
    timed("corosensei resume + suspend", || {
        const N: u32 = 300_000;
        let mut c = corosensei::Coroutine::<(), u64, ()>::new(|y, ()| (0..u64::MAX).for_each(|i| y.suspend(i)));
        let start = Instant::now();
        for _ in 0..N {
            if let corosensei::CoroutineResult::Yield(value) = c.resume(()) {
                black_box(value);
            }
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(N);
        // Never ended: its body would have to be unwound.
        std::mem::forget(c);
        each
    })
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

/// Puts the items into a random order, the same in every run.
pub fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for i in (1..items.len()).rev() {
        // xorshift64, Marsaglia 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(i, (state % (i as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shuffling_keeps_everybody_and_moves_most() {
        let mut items: Vec<usize> = (0..1000).collect();
        super::shuffle(&mut items);
        assert!(items.iter().enumerate().filter(|(place, item)| place == *item).count() < 20);
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
