//! Tests of the timers against a sorted map, by random programs.

use super::*;
use crate::scheduler::rng;
use std::cell::Cell;
use std::ptr::without_provenance;

const YEAR: u64 = 365 * 24 * 3600 * 1_000_000_000;

/// The timers, and a sorted map that does the same.
struct Pair {
    timers: Timers,
    model: BTreeMap<(Instant, u64), u32>,
    /// The handles of armed timers, and some of fired and disarmed ones.
    keys: Vec<(Key, Instant, u64)>,
    armed: u64,
    now: Instant,
    random: Cell<u64>,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let now = Instant::now();
        let random = Cell::new(rng::splitmix64(seed));
        Pair { timers: Timers::new(now), model: BTreeMap::new(), keys: Vec::new(), armed: 0, now, random }
    }

    fn random(&self, limit: u64) -> u64 {
        (rng::xorshift64_star(&self.random) >> 16) % limit
    }

    /// A random duration: nanoseconds to centuries, each order of magnitude with the same probability.
    fn duration(&self) -> Duration {
        let nanos = Duration::from_nanos(self.random(1 << self.random(48)));
        match self.random(64) {
            0 => nanos * (1 << 20),
            1 => Duration::from_nanos(YEAR) * (250 + self.random(500) as u32) + nanos,
            _ => nanos,
        }
    }

    fn arm(&mut self) {
        let deadline = match self.random(8) {
            // Past, and before the run's start.
            0 => self.now.checked_sub(self.duration() / 1000).unwrap_or(self.now),
            // Equal to another deadline.
            1 | 2 if !self.keys.is_empty() => self.keys[self.random(self.keys.len() as u64) as usize].1,
            _ => self.now.checked_add(self.duration()).unwrap_or(self.now),
        };
        self.armed += 1;
        let wait_seq = self.armed as u32;
        let key = self.timers.arm(deadline, without_provenance(self.armed as usize), wait_seq);
        self.model.insert((deadline, self.armed), wait_seq);
        self.keys.push((key, deadline, self.armed));
    }

    fn disarm(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let at = self.random(self.keys.len() as u64) as usize;
        // Some keys are used again later, when their timer is gone.
        let (key, deadline, number) = if self.random(4) == 0 { self.keys[at] } else { self.keys.swap_remove(at) };
        self.timers.disarm(deadline, key);
        self.model.remove(&(deadline, number));
    }

    /// Fires what is due, and compares the order.
    fn fire(&mut self) {
        let most = if self.random(4) == 0 { self.random(5) } else { u64::MAX };
        for _ in 0..most {
            let expected = self.model.first_entry().filter(|first| first.key().0 <= self.now);
            let expected = expected.map(|first| (first.key().1 as usize, first.remove()));
            let fired = self.timers.due(self.now).map(|(tcb, wait_seq)| (tcb.addr(), wait_seq));
            assert_eq!(fired, expected);
            if fired.is_none() {
                break;
            }
        }
    }

    /// Checks what the timers say about their first deadline, and returns when the worker would wake.
    fn first(&self) -> Option<Instant> {
        let first = self.model.first_key_value().map(|(key, _)| key.0);
        assert_eq!(self.timers.next(), first);
        assert_eq!((self.timers.armed(), self.timers.is_empty()), (self.model.len(), self.model.is_empty()));
        let limit = self.timers.sleep_limit();
        assert_eq!(limit.is_some(), first.is_some());
        assert!(limit <= first, "the worker would sleep past a deadline");
        limit
    }

    fn step(&mut self) {
        match self.random(16) {
            0..7 => self.arm(),
            7..11 => self.disarm(),
            11 | 12 => {
                self.now = self.now.checked_add(self.duration()).unwrap_or(self.now);
                self.fire();
            }
            13 => {
                // Like a paused clock: jumps to the first deadline.
                if let Some(first) = self.first() {
                    self.now = self.now.max(first);
                }
                self.fire();
            }
            14 => self.fire(),
            _ => drop(self.first()),
        }
    }

    /// Sleeps like a worker without ready tasks until all timers have fired. Returns the number of sleeps.
    fn drain(&mut self) -> u64 {
        let mut sleeps = 0;
        while let Some(limit) = self.first() {
            self.now = self.now.max(limit);
            self.fire();
            sleeps += 1;
            assert!(sleeps < 1_000_000, "the worker wakes without progress");
        }
        sleeps
    }
}

#[test]
fn timers_agree_with_a_sorted_map() {
    let (programs, steps) = if cfg!(miri) { (4, 100) } else { (400, 2_000) };
    for seed in 0..programs {
        let mut pair = Pair::new(seed);
        (0..steps).for_each(|_| pair.step());
        pair.drain();
        assert!(pair.timers.is_empty());
    }
}

/// Many programs of few timers, in which places of the wheel are seldom shared.
#[test]
fn few_timers_agree_with_a_sorted_map() {
    let programs = if cfg!(miri) { 20 } else { 20_000 };
    for seed in 0..programs {
        let mut pair = Pair::new(!seed);
        (0..20).for_each(|_| pair.step());
        pair.drain();
    }
}

/// A worker that sleeps until one deadline wakes once.
#[test]
fn sleep_until_one_deadline_is_exact() {
    for shift in 0..62 {
        let mut pair = Pair::new(0);
        let deadline = pair.now + Duration::from_nanos((1 << shift) + 12_345);
        pair.timers.arm(deadline, without_provenance(1), 1);
        pair.model.insert((deadline, 1), 1);
        assert_eq!(pair.timers.sleep_limit(), Some(deadline));
    }
}

/// A worker that waits for many deadlines in one slot wakes at most once for each level, and once for each deadline.
#[test]
fn many_deadlines_cost_few_extra_sleeps() {
    let mut pair = Pair::new(0);
    let base = pair.now + Duration::from_secs(3600);
    for i in 1..=1000 {
        let deadline = base + Duration::from_millis(i);
        pair.timers.arm(deadline, without_provenance(i as usize), i as u32);
        pair.model.insert((deadline, i), i as u32);
    }
    let mut sleeps = 0;
    while let Some(limit) = pair.first() {
        pair.now = pair.now.max(limit);
        while let Some((tcb, wait_seq)) = pair.timers.due(pair.now) {
            assert_eq!(
                pair.model.remove(&(base + Duration::from_millis(tcb.addr() as u64), tcb.addr() as u64)),
                Some(wait_seq)
            );
        }
        sleeps += 1;
    }
    assert!((1000..1100).contains(&sleeps), "{sleeps} sleeps");
}

/// Timers that are armed and disarmed again and again, with a stopped clock, need no more memory.
#[test]
fn disarmed_timers_leave_nothing() {
    let pair = Pair::new(0);
    let durations = [0, 1, 20_000, 1 << 30, 1 << 50, 1 << 62].map(Duration::from_nanos);
    for i in 0..100_000 {
        let deadlines = durations.map(|duration| pair.now + 2 * duration);
        let keys = deadlines.map(|deadline| pair.timers.arm(deadline, without_provenance(1), i));
        (0..keys.len()).for_each(|k| pair.timers.disarm(deadlines[k], keys[k]));
    }
    let inner = pair.timers.inner.borrow();
    assert_eq!((inner.wheel.len(), inner.far.len()), (0, 0));
    assert!(inner.wheel.capacity() <= 16, "{} nodes and entries", inner.wheel.capacity());
}

/// A clock set back, as `Clock::go_on` does at the last representable moment, fires nothing early.
#[test]
fn timers_bear_a_clock_set_back() {
    let mut pair = Pair::new(0);
    let start = pair.now;
    pair.timers.arm(start + Duration::from_secs(7200), without_provenance(1), 1);
    assert_eq!(pair.timers.due(start + Duration::from_secs(3600)), None);
    pair.now = start + Duration::from_secs(60);
    pair.timers.arm(start + Duration::from_secs(90), without_provenance(2), 2);
    assert_eq!(pair.timers.due(pair.now), None);
    assert_eq!(pair.timers.next(), Some(start + Duration::from_secs(90)));
    assert_eq!(pair.timers.due(start + Duration::from_secs(91)).map(|(_, wait_seq)| wait_seq), Some(2));
    assert_eq!(pair.timers.due(start + Duration::from_secs(91)), None);
}
