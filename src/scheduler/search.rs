//! The order of turns in a run that searches for a schedule that fails: a random walk, or PCT.
//!
//! PCT is the algorithm of Burckhardt, Kothari, Musuvathi and Nagarakatte, "A randomized scheduler with probabilistic guarantees of
//! finding bugs" (2010): each task has a random priority, the ready task with the highest one runs, and at `depth` - 1 random steps the
//! running task falls below all that run. A bug that needs `depth` constraints of order among `n` tasks and `k` steps is found with a chance
//! of at least 1 in `n * k^(depth - 1)`. A random walk finds bugs that are frequent in any order faster.
//!
//! The sequence of a seed must not change between versions, as in `rng`.
#![forbid(unsafe_code)]

use super::rng;
use std::cell::Cell;
use std::collections::HashMap;

/// The bits of a seed that hold its number. The bits above hold the number of steps among which PCT chooses.
const NUMBER_BITS: u32 = 40;
/// The number of steps of a seed that has none.
const STEPS: u64 = 64;
/// The plans that follow each other: a walk, and PCT of these depths. A depth of 1 is the order of the priorities alone.
const DEPTHS: [u64; 6] = [0, 1, 2, 3, 4, 5];
/// The number of turns in a row after which a task falls below all that run: it may wait in a loop for what another one does.
const PATIENCE: u32 = 10_000;
/// The bit that is set in each priority at first, and in none of those of tasks that have fallen.
const HIGH: u64 = 1 << 63;

/// Returns the seed for the search of this number, in a program that takes about `steps` steps.
pub(crate) fn seed(number: u64, steps: u64) -> u64 {
    let steps = steps.min((1 << (64 - NUMBER_BITS)) - 1);
    steps << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1)
}

/// The task that has the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The running task goes on.
    Stay,
    /// The ready task at this index.
    Switch(usize),
}

/// The state of a search.
pub(crate) struct Search {
    random: Cell<u64>,
    /// The steps at which the running task falls, in descending order. `None` for a random walk.
    changes: Option<Vec<u64>>,
    salt: u64,
    /// The priorities of the tasks that have fallen: the later, the lower.
    fallen: HashMap<u64, u64>,
    step: u64,
    /// The task that has run last, and the number of its turns in a row.
    last: (u64, u32),
}

impl Search {
    pub(crate) fn new(seed: u64) -> Search {
        let number = seed & ((1 << NUMBER_BITS) - 1);
        let steps = match seed >> NUMBER_BITS {
            0 => STEPS,
            steps => steps,
        };
        let random = Cell::new(rng::splitmix64(seed));
        let depth = DEPTHS[(number % DEPTHS.len() as u64) as usize];
        let changes = (depth > 0).then(|| {
            let mut changes: Vec<u64> = (1..depth).map(|_| draw(&random) % steps).collect();
            changes.sort_unstable_by(|a, b| b.cmp(a));
            changes
        });
        let salt = draw(&random);
        Search { random, changes, salt, fallen: HashMap::new(), step: 0, last: (0, 0) }
    }

    /// Returns the number of picks.
    pub(crate) fn steps(&self) -> u64 {
        self.step
    }

    /// Picks among the running task, unless it waits, and the ready ones, of which there is at least one.
    pub(crate) fn pick(&mut self, running: Option<u64>, ready: &[u64]) -> Pick {
        let step = self.step;
        self.step += 1;
        let Some(changes) = &mut self.changes else {
            let count = ready.len() + usize::from(running.is_some());
            let at = (draw(&self.random) % count as u64) as usize;
            return if at < ready.len() { Pick::Switch(at) } else { Pick::Stay };
        };
        let mut falls = false;
        while changes.last() == Some(&step) {
            changes.pop();
            falls = true;
        }
        if let Some(running) = running {
            let turns = if self.last.0 == running { self.last.1 + 1 } else { 1 };
            self.last = (running, turns);
            if falls || turns >= PATIENCE {
                self.last.1 = 0;
                self.fallen.insert(running, u64::MAX / 4 - step);
            }
        }
        let highest = (0..ready.len()).max_by_key(|at| self.priority(ready[*at])).unwrap_or(0);
        match running {
            Some(running) if self.priority(running) > self.priority(ready[highest]) => Pick::Stay,
            _ => Pick::Switch(highest),
        }
    }

    fn priority(&self, task: u64) -> u64 {
        self.fallen
            .get(&task)
            .copied()
            .unwrap_or_else(|| rng::splitmix64(self.salt ^ task.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | HIGH)
    }
}

/// Returns the next random number, whose high bits are the best.
fn draw(state: &Cell<u64>) -> u64 {
    rng::xorshift64_star(state) >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(number: u64, steps: u64) -> Vec<Pick> {
        let mut search = Search::new(seed(number, steps));
        (0..200).map(|step| search.pick((step % 3 > 0).then_some(1), &[2, 3, 4])).collect()
    }

    #[test]
    fn seed_repeats_its_picks() {
        (0..60).for_each(|number| assert_eq!(sequence(number, 50), sequence(number, 50)));
        assert!((0..6).any(|number| sequence(number, 50) != sequence(number + 6, 50)));
    }

    #[test]
    fn walk_picks_each_task() {
        let picks = sequence(0, 50);
        for pick in [Pick::Stay, Pick::Switch(0), Pick::Switch(1), Pick::Switch(2)] {
            assert!(picks.contains(&pick), "{pick:?}");
        }
    }

    #[test]
    fn priorities_hold_until_a_change() {
        // Depth 1: no change, so one task is first all the time.
        for number in (1..600).step_by(6) {
            let mut search = Search::new(seed(number, 50));
            let first = search.pick(Some(1), &[2, 3, 4]);
            assert!((0..100).all(|_| search.pick(Some(1), &[2, 3, 4]) == first));
        }
        // Depth 3: the running task falls twice, at most.
        let falls = |number: u64| {
            let mut search = Search::new(seed(number, 50));
            for _ in 0..100 {
                search.pick(Some(1), &[2]);
            }
            search.fallen.len()
        };
        assert!((3..600).step_by(6).all(|number| falls(number) <= 1));
        assert!((3..600).step_by(6).any(|number| falls(number) == 1));
    }

    #[test]
    fn task_that_loops_falls() {
        let mut search = (1..)
            .step_by(6)
            .map(|number| Search::new(seed(number, 50)))
            .find(|search| search.priority(1) > search.priority(2))
            .unwrap();
        let stays = (0..u64::from(PATIENCE) * 2).take_while(|_| search.pick(Some(1), &[2]) == Pick::Stay).count();
        assert_eq!(stays as u32, PATIENCE - 1);
    }
}
