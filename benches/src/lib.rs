//! The measuring method of this project: the compared cases are interleaved in one process, and medians and ratios are quoted.
//!
//! On a shared machine the same code takes 20 to 50 % longer from one minute to the next, so figures of two processes are hardly
//! comparable. Here every round measures every case once, in turn, and a ratio is that of two medians of one process.

mod threads;

pub use threads::{condvar_hand_over, futex_hand_over, pipe_hand_over};

use std::hint::black_box;
use std::time::Instant;

/// A benchmark case: a name and a function that performs the operation `n` times.
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
    /// Creates a case. `run(n)` performs the operation `n` times; setup belongs outside of it.
    pub fn new(name: &'a str, run: impl FnMut(u64) + 'a) -> Self {
        Case { name, run: Box::new(run), iterations: 0 }
    }

    fn measure(&mut self) -> f64 {
        let start = Instant::now();
        (self.run)(self.iterations);
        start.elapsed().as_nanos() as f64 / self.iterations as f64
    }

    /// Finds the number of iterations that take about a millisecond. Also warms up.
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

/// The figures of one case, in nanoseconds per iteration.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The name of the case.
    pub name: String,
    /// The fastest round.
    pub min: f64,
    /// The median of all rounds.
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

/// A case that measures itself: a name, and a function that returns nanoseconds per operation.
pub type Timed = (String, Box<dyn FnMut() -> f64>);

/// Creates a case that measures itself, because its setup must be repeated in each round.
pub fn timed(name: &str, once: impl FnMut() -> f64 + 'static) -> Timed {
    (name.to_string(), Box::new(once))
}

/// Runs all cases in turn, `rounds` times, and returns their figures in the same order.
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

/// Creates the reference case: one resume and one suspension of a corosensei coroutine, with a u64 out.
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
        // Leaked, since dropping would unwind the body.
        std::mem::forget(c);
        each
    })
}

/// Prints a table, with each median also as a multiple of the median of the first case.
pub fn print(title: &str, figures: &[Figures]) {
    println!("{title}\n{:44} {:>9} {:>9} {:>7}", "", "min ns", "median ns", "ratio");
    for figure in figures {
        let ratio = figure.median / figures[0].median;
        println!("  {:42} {:9.2} {:9.2} {:6.2}x", figure.name, figure.min, figure.median, ratio);
    }
    println!();
}

/// Puts the items into a pseudo-random order, the same in every process.
pub fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for i in (1..items.len()).rev() {
        // xorshift64: Marsaglia, "Xorshift RNGs" (2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(i, (state % (i as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shuffle_keeps_all_items_and_moves_most() {
        let mut items: Vec<usize> = (0..1000).collect();
        super::shuffle(&mut items);
        assert!(items.iter().enumerate().filter(|(index, item)| index == *item).count() < 20);
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
