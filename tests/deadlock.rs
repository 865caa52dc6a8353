//! Deadlock detection: every deadlock is reported with the names of exactly the waiting tasks, and a program that ends raises no
//! alarm.
//!
//! Programs are generated: tasks that signal each other, wait for signals, join each other and yield. A signal is counted and
//! only its owner takes it, and a handle has one owner. So the set of tasks that stay waiting does not depend on the order of
//! turns, and a model without turns computes it. The seed of a failure is printed; `CEDE_SEED=n` runs seed n alone.

mod common;

use cede::task::{self, Cancelled, Unparker, park, park_shielded, park_until};
use cede::time::sleep;
use cede::{Builder, Config, JoinError, JoinHandle, RunError, shield, yield_now};
use common::{rounds, s};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// xorshift64*, seeded.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// What a task does next. Task 0 is main.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Yield,
    /// A wait that a timer ends, which must not raise an alarm.
    Pause,
    Signal(usize),
    Wait,
    WaitShielded,
    Join(usize),
}

type Program = Vec<Vec<Step>>;

fn generate(random: &mut Random) -> Program {
    let count = 2 + random.below(5);
    let mut program: Program = (0..count)
        .map(|_| {
            (0..random.below(5))
                .map(|_| match random.below(40) {
                    0..10 => Step::Yield,
                    10..25 => Step::Signal(random.below(count)),
                    25..33 => Step::Wait,
                    33..39 => Step::WaitShielded,
                    _ => Step::Pause,
                })
                .collect()
        })
        .collect();
    // Every task but main is joined by at most one task, of a lower rank: cycles need signals.
    let mut ranks: Vec<usize> = (1..count).collect();
    for i in (1..ranks.len()).rev() {
        ranks.swap(i, random.below(i + 1));
    }
    ranks.insert(0, 0);
    for i in 1..count {
        if random.below(4) > 0 {
            let owner = ranks[random.below(i)];
            let place = random.below(program[owner].len() + 1);
            program[owner].insert(place, Step::Join(ranks[i]));
        }
    }
    program
}

/// The tasks that stay waiting, with the step of each: every task goes on as far as possible, in any order.
fn model(program: &Program) -> BTreeSet<(usize, Step)> {
    let mut at = vec![0; program.len()];
    let mut signals = vec![0; program.len()];
    loop {
        let mut moved = false;
        for task in 0..program.len() {
            while let Some(step) = program[task].get(at[task]) {
                match *step {
                    Step::Yield | Step::Pause => {}
                    Step::Signal(to) => signals[to] += 1,
                    Step::Wait | Step::WaitShielded if signals[task] > 0 => signals[task] -= 1,
                    Step::Join(other) if at[other] == program[other].len() => {}
                    _ => break,
                }
                at[task] += 1;
                moved = true;
            }
        }
        if !moved {
            let stuck = |task: usize| program[task].get(at[task]).map(|step| (task, *step));
            return (0..program.len()).filter_map(stuck).collect();
        }
    }
}

/// The state that the tasks share.
struct Shared {
    signals: Vec<u32>,
    unparkers: Vec<Option<Unparker>>,
    handles: Vec<Option<JoinHandle<Result<(), Cancelled>>>>,
}

fn perform(me: usize, steps: &[Step], shared: &RefCell<Shared>) -> Result<(), Cancelled> {
    shared.borrow_mut().unparkers[me] = Some(Unparker::current());
    let take_signal = || {
        let own = &mut shared.borrow_mut().signals[me];
        let there = *own > 0;
        *own -= u32::from(there);
        there
    };
    for step in steps {
        match *step {
            Step::Yield => yield_now(),
            Step::Pause => park_until("a moment", Instant::now() + Duration::from_micros(50))?,
            Step::Signal(to) => {
                shared.borrow_mut().signals[to] += 1;
                let unparker = shared.borrow().unparkers[to].clone();
                unparker.inspect(Unparker::unpark);
            }
            Step::Wait => {
                while !take_signal() {
                    park("a signal")?;
                }
            }
            Step::WaitShielded => {
                while !take_signal() {
                    park_shielded("a signal, shielded");
                    cede::task::check()?;
                }
            }
            Step::Join(other) => {
                let mut handle = shared.borrow_mut().handles[other].take().expect("a handle has one owner");
                match handle.join() {
                    Err(JoinError::Interrupted) => return Err(Cancelled),
                    other => other.expect("tasks end by returning")?,
                }
            }
        }
    }
    Ok(())
}

fn name(task: usize) -> String {
    if task == 0 { "main".into() } else { format!("t{task}") }
}

fn execute(program: &Program, config: Config) -> Result<Result<(), Cancelled>, RunError<Result<(), Cancelled>>> {
    config.run(|| {
        let count = program.len();
        let shared = Rc::new(RefCell::new(Shared {
            signals: vec![0; count],
            unparkers: vec![None; count],
            handles: (0..count).map(|_| None).collect(),
        }));
        for (task, steps) in program.iter().enumerate().skip(1) {
            let (steps, inner) = (steps.clone(), Rc::clone(&shared));
            let body = move || perform(task, &steps, &inner);
            let handle = Builder::new().name(name(task)).spawn(body).unwrap();
            shared.borrow_mut().handles[task] = Some(handle);
        }
        // Main performs its steps, and then joins every task that no other task joins.
        let mut steps = program[0].clone();
        steps.extend(unjoined(program).map(Step::Join));
        perform(0, &steps, &shared)
    })
}

fn unjoined(program: &Program) -> impl Iterator<Item = usize> {
    (1..program.len()).filter(|task| !program.iter().flatten().any(|step| *step == Step::Join(*task)))
}

/// Returns whether the program of this seed is of the wanted kind, and checks that a deadlock is reported exactly if there is one.
fn check(seed: u64, alarm_wanted: bool) -> bool {
    let program = generate(&mut Random::new(seed));
    let mut whole = program.clone();
    whole[0].extend(unjoined(&program).map(Step::Join));
    let stuck = model(&whole);
    if stuck.is_empty() == alarm_wanted {
        return false;
    }
    let context = || format!("seed {seed}\nprogram {whole:#?}\nstuck by the model: {stuck:?}");
    // No other thread wakes a live program either, but there `closed_world` must make no difference.
    let config = Config::new().closed_world(alarm_wanted || seed.is_multiple_of(2));
    match execute(&program, config) {
        Ok(outcome) => {
            assert!(stuck.is_empty(), "not reported\n{}", context());
            assert!(outcome.is_ok(), "a wait failed\n{}", context());
        }
        Err(RunError::Deadlock { report, outcome }) => {
            assert!(!stuck.is_empty(), "a false alarm: {report}\n{}", context());
            let told: BTreeSet<_> = report
                .tasks
                .iter()
                .map(|one| {
                    let on = one.on.as_ref().map(|on| on.name().unwrap().to_string());
                    (one.task.name().unwrap().to_string(), one.reason.to_string(), on)
                })
                .collect();
            let expected: BTreeSet<_> = stuck
                .iter()
                .map(|&(task, step)| match step {
                    Step::Wait => (name(task), "a signal".to_string(), None),
                    Step::WaitShielded => (name(task), "a signal, shielded".to_string(), None),
                    Step::Join(other) => (name(task), "a task to end".to_string(), Some(name(other))),
                    step => unreachable!("no task waits in {step:?}"),
                })
                .collect();
            assert_eq!(told, expected, "{}", context());
            assert_eq!(report.tasks.len(), expected.len(), "a task is named twice\n{}", context());
            assert!(outcome.is_ok_and(|outcome| outcome.is_err()), "main returned no error\n{}", context());
        }
        Err(error) => panic!("{error}\n{}", context()),
    }
    true
}

fn search(count: u32, alarm_wanted: bool) {
    if let Ok(seed) = std::env::var("CEDE_SEED") {
        check(seed.parse().expect("a number"), alarm_wanted);
        return;
    }
    let mut found = 0;
    for seed in 1.. {
        let checked = std::panic::catch_unwind(|| check(seed, alarm_wanted));
        match checked {
            Ok(fits) => found += u32::from(fits),
            Err(payload) => {
                eprintln!("seed {seed}: CEDE_SEED={seed} runs it alone");
                std::panic::resume_unwind(payload);
            }
        }
        if found == count {
            return;
        }
    }
}

/// A thousand generated deadlocks are reported, each with exactly the tasks that the model leaves waiting.
#[test]
fn a_thousand_deadlocks_name_exactly_the_waiting_tasks() {
    search(if common::emulated() { 100 } else { 1000 }, true);
}

#[test]
fn ten_thousand_live_programs_raise_no_alarm() {
    search(if common::emulated() { 500 } else { 10_000 }, false);
}

#[test]
fn a_shielded_wait_in_a_certain_deadlock_ends() {
    let result = Config::new().run(|| {
        let mut task = Builder::new().name("shielded").spawn(|| shield(|| park("nothing"))).unwrap();
        let mut other = Builder::new().name("stubborn").spawn(|| park_shielded("nothing either")).unwrap();
        let told = shield(|| task.join());
        assert_eq!(task::cancelled().unwrap().to_string(), "cancelled: the run is deadlocked");
        rounds(2);
        (matches!(told, Err(JoinError::Interrupted)), task.join().unwrap(), other.join().is_ok())
    });
    let Err(RunError::Deadlock { report, outcome }) = result else { panic!("no deadlock") };
    let names: Vec<_> = report.tasks.iter().map(|stuck| stuck.task.to_string()).collect();
    assert_eq!(names, ["'main'", "'shielded'", "'stubborn'"]);
    assert_eq!(outcome.unwrap(), (true, Err(Cancelled), true));
}

/// A deadlock of all tasks is an error of `run`. The waits of main return `Cancelled`, and the error holds what main
/// returned.
#[test]
fn a80_deadlock_is_an_error_and_cancels_the_waits_of_main() {
    let result = Config::new().run(|| (park("nothing"), sleep(s(3600)), 7));
    let Err(RunError::Deadlock { report, outcome }) = result else { panic!("no deadlock") };
    assert_eq!(report.to_string(), "1 task waits, and no other task can wake it:\n  task 'main' waits for nothing");
    assert_eq!(
        outcome.unwrap(),
        (Err(Cancelled), Err(Cancelled), 7),
        "every wait is cancelled, and the value of main is kept"
    );
}
