//! Random operations of many callers, with cancels and deadlines, for tests against models: [`storm`] by tasks of one run, in the
//! same order each time, and [`crowd`] by plain threads and the tasks of two runs.

use super::random::Random;
use super::rounds;
use cede::sync::WaitTimeoutError;
use cede::task::is_cancelled;
use cede::time::{now, sleep};
use cede::{Config, JoinError, JoinHandle, spawn, yield_now};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Half of the waits have a deadline, and some deadlines have passed already.
pub(crate) fn deadline(random: &mut Random) -> Option<Instant> {
    (random.below(2) == 0).then(|| now() + Duration::from_millis(random.below(4) as u64))
}

/// Lets other tasks run, or time pass, or neither.
pub(crate) fn pause(random: &mut Random) {
    match random.below(4) {
        0 => {}
        1 => drop(sleep(Duration::from_millis(random.below(3) as u64))),
        _ => rounds(random.below(3) as u32),
    }
}

/// Whether a task was cancelled.
pub(crate) type Told = Rc<Cell<bool>>;

/// A waiter in the wait queue of a model.
pub(crate) struct Waiter<T> {
    pub(crate) call: u64,
    pub(crate) until: Option<Instant>,
    pub(crate) told: Told,
    pub(crate) what: T,
}

impl<T> Waiter<T> {
    pub(crate) fn new(call: u64, until: Option<Instant>, told: &Told, what: T) -> Waiter<T> {
        Waiter { call, until, told: Rc::clone(told), what }
    }

    /// Whether the wait is interrupted, even if its task has not run since: the waiter is skipped.
    pub(crate) fn is_over(&self) -> bool {
        self.told.get() || self.until.is_some_and(|until| until <= now())
    }
}

/// Returns the place of the first waiter that is not skipped.
pub(crate) fn first<T>(line: &VecDeque<Waiter<T>>) -> Option<usize> {
    line.iter().position(|waiter| !waiter.is_over())
}

/// Takes the first waiter that is not skipped out of the queue.
pub(crate) fn take_first<T>(line: &mut VecDeque<Waiter<T>>) -> Option<Waiter<T>> {
    first(line).and_then(|place| line.remove(place))
}

/// Runs up to ten tasks that call `act`, each call with a unique number, and cancels some of them, until there were `operations`
/// calls. Then cancels until all tasks have ended.
pub(crate) fn storm(operations: u64, seed: u64, act: impl Fn(u64, &mut Random, &Told) + 'static) {
    let (act, calls) = (Rc::new(act), Rc::new(Cell::new(0)));
    let outcome = Config::new().paused_clock(true).seed(seed).run(|| {
        let mut random = Random::new(seed);
        let mut tasks: Vec<(JoinHandle<()>, Told)> = Vec::new();
        while calls.get() < operations || !tasks.is_empty() {
            while calls.get() < operations && tasks.len() < 10 {
                let (act, calls, mut random) = (Rc::clone(&act), Rc::clone(&calls), Random::new(random.next()));
                let told = Told::default();
                let own = Rc::clone(&told);
                let task = spawn(move || {
                    for _ in 0..random.below(60) {
                        if is_cancelled() || calls.get() >= operations {
                            break;
                        }
                        calls.set(calls.get() + 1);
                        act(calls.get(), &mut random, &own);
                    }
                });
                tasks.push((task, told));
            }
            match random.below(12) {
                0 => {
                    let one = random.below(tasks.len());
                    tasks[one].1.set(true);
                    tasks[one].0.cancel();
                }
                1 => sleep(Duration::from_millis(1)).unwrap(),
                _ => yield_now(),
            }
            let ended = tasks.iter().position(|(task, _)| task.is_finished());
            if let Some((mut task, _)) = ended.map(|ended| tasks.swap_remove(ended)) {
                let result = task.join();
                assert!(matches!(result, Ok(()) | Err(JoinError::Cancelled)), "{result:?}");
            }
        }
    });
    outcome.unwrap();
    assert!(calls.get() >= operations);
}

/// Asserts that a wait was interrupted for a valid reason.
pub(crate) fn check(error: WaitTimeoutError, deadline: Option<Instant>) {
    match error {
        WaitTimeoutError::Timeout => assert!(deadline.unwrap() <= now(), "early"),
        WaitTimeoutError::Cancelled => assert!(is_cancelled(), "the task was not cancelled"),
    }
}

pub(crate) fn remove<T>(line: &mut VecDeque<Waiter<T>>, call: u64) {
    let place = line.iter().position(|other| other.call == call).expect("the waiter is still in the queue");
    line.remove(place);
}

/// Calls `act` from two plain threads and from the tasks of two runs, which are cancelled at random, until there were `operations`
/// calls. Each wait of `act` must have a deadline: no caller waits for another one in the end.
pub(crate) fn crowd(operations: u64, seed: u64, act: impl Fn(&mut Random) + Sync) {
    let calls = AtomicU64::new(0);
    let (act, calls) = (&act, &calls);
    let call = |random: &mut Random| {
        let goes_on = calls.fetch_add(1, Relaxed) < operations;
        if goes_on {
            act(random);
        }
        goes_on
    };
    thread::scope(|scope| {
        for number in 0..4 {
            let mut random = Random::new(seed * 4 + number);
            scope.spawn(move || match number {
                0 | 1 => while call(&mut random) {},
                _ => cede::run(|| {
                    while calls.load(Relaxed) < operations {
                        some_tasks(&mut random, call);
                    }
                }),
            });
        }
    });
}

/// Runs six tasks that each make up to 30 calls, and cancels some of them.
fn some_tasks(random: &mut Random, call: impl Fn(&mut Random) -> bool) {
    cede::scope(|scope| {
        let mut tasks: Vec<_> = (0..6)
            .map(|_| {
                let (call, mut random) = (&call, Random::new(random.next()));
                scope.spawn(move || (0..30).all(|_| !is_cancelled() && call(&mut random)))
            })
            .collect();
        for _ in 0..random.below(20) {
            yield_now();
            let one = random.below(tasks.len() * 3);
            if let Some(task) = tasks.get_mut(one) {
                task.cancel();
            }
        }
    })
    .unwrap();
}
