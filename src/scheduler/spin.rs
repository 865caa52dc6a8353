//! The spin before a sleep: a wake from a running thread often comes soon, and blocking the thread takes two system calls.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread::{available_parallelism, yield_now};

/// The lowest and the highest number of pauses of the processor, of 10 to 60 ns each. The number is doubled when that was enough, and halved
/// when not.
const PAUSES: (u32, u32) = (16, 512);
/// The number of times that the core is then given to another thread: if no core is free, the thread that will end the sleep needs this one.
const YIELDS: u32 = 4;

/// The spins of one sleeper.
pub(super) struct Spin {
    pauses: Cell<u32>,
}

impl Spin {
    pub(super) fn new() -> Spin {
        Spin { pauses: Cell::new(PAUSES.0) }
    }

    /// Waits for a moment, without blocking. Returns whether `has_come`.
    pub(super) fn wait(&self, has_come: impl Fn() -> bool) -> bool {
        let pauses = if cores() > 1 { self.pauses.get() } else { 0 };
        for _ in 0..pauses {
            if has_come() {
                self.pauses.set((pauses * 2).min(PAUSES.1));
                return true;
            }
            std::hint::spin_loop();
        }
        self.pauses.set((pauses / 2).max(PAUSES.0));
        (0..YIELDS).any(|_| {
            yield_now();
            has_come()
        })
    }
}

/// Returns the number of cores that the process may use. With one, a pause only delays the thread that would end the sleep.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_shrink() {
        let spin = Spin::new();
        if cores() == 1 {
            return; // no pauses
        }
        (0..10).for_each(|_| assert!(spin.wait(|| true)));
        assert_eq!(spin.pauses.get(), PAUSES.1);
        (0..10).for_each(|_| assert!(!spin.wait(|| false)));
        assert_eq!(spin.pauses.get(), PAUSES.0);
    }
}
