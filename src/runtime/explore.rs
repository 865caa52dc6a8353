//! The search for a schedule in which a program fails: runs it again and again, each time in another order of turns.
#![forbid(unsafe_code)]

use super::{Config, RunError};
use crate::scheduler::search::seed;
use crate::task::text_in;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;

/// The number of steps that is assumed of a program before its first run.
const STEPS: u64 = 64;

/// A schedule in which the program fails, found by [`Config::explore`].
#[derive(Debug, thiserror::Error)]
#[error("run {runs} fails: {failure}; Config::replay({seed}) repeats it")]
#[non_exhaustive]
pub struct FailedSchedule {
    /// The seed that repeats the run: see [`Config::replay`].
    pub seed: u64,
    /// The number of runs up to this one, which was the last.
    pub runs: u64,
    /// The failure.
    pub failure: RunFailure,
}

/// The failure of a run of [`Config::explore`].
#[non_exhaustive]
pub enum RunFailure {
    /// Main panicked, with this payload.
    Panic(Box<dyn Any + Send>),
    /// A task panicked and was not joined.
    Unjoined {
        /// The name or the number of the task.
        task: String,
        /// The text of the panic, if it has one.
        text: String,
    },
    /// The run was deadlocked, or could not start.
    Run(RunError<()>),
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    text_in(payload).unwrap_or("a panic without a text").to_string()
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunFailure::Panic(payload) => write!(f, "main panicked: {}", text_of(&**payload)),
            RunFailure::Unjoined { task, text } => write!(f, "task {task} panicked and was not joined: {text}"),
            RunFailure::Run(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Config {
    /// Runs `main` once for each of `seeds`, each time in another order of turns, until a run fails: main panics, a task panics and is not
    /// joined, or the run is deadlocked. Returns the number of runs if none fails.
    ///
    /// The order is that of a random walk and of PCT with the depths 1 to 5, in turn: PCT finds bugs that need a few turns in a
    /// certain order, however late they come (Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs",
    /// 2010). Each operation of [`sync`](crate::sync), [`task`](crate::task) and [`time`](crate::time) that may wait gives up its turn
    /// once, also if it need not wait. So a failure may be one that [`run`](Self::run) shows only with several
    /// threads, or after a change that makes a task wait there. Code between two operations is not interrupted: share values in `Cell`s and add
    /// [`yield_now`](crate::yield_now) where another task may come.
    ///
    /// The clock is [paused](Self::paused_clock). A run repeats by its seed if `main` depends on nothing else: no other threads, no
    /// sockets, no order of a `HashMap`. Each turn looks at all ready tasks, so programs of few tasks are searched fastest.
    ///
    /// # Errors
    ///
    /// [`FailedSchedule`] for the first run that fails, with the seed by which [`replay`](Self::replay) repeats it. The run also prints it
    /// on stderr.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use cede::{Config, join_all, spawn, sync::Mutex};
    /// // Between the check and the act the lock is free.
    /// let withdraw_twice = || {
    ///     let balance = Rc::new(Mutex::new(100));
    ///     let withdraw = || {
    ///         let balance = Rc::clone(&balance);
    ///         spawn(move || {
    ///             let is_enough = *balance.lock().unwrap() >= 80;
    ///             if is_enough {
    ///                 *balance.lock().unwrap() -= 80;
    ///             }
    ///         })
    ///     };
    ///     join_all([withdraw(), withdraw()]);
    ///     assert!(*balance.lock().unwrap() >= 0, "overdrawn");
    /// };
    /// Config::new().run(withdraw_twice)?; // goes well
    /// let found = Config::new().explore(0..1_000, withdraw_twice).unwrap_err();
    /// assert!(found.to_string().contains("main panicked: overdrawn"));
    /// assert!(std::panic::catch_unwind(|| Config::new().replay(found.seed).run(withdraw_twice)).is_err());
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    #[doc(alias = "pct")]
    #[doc(alias = "shuttle")]
    #[doc(alias = "model_check")]
    #[track_caller]
    pub fn explore<T>(self, seeds: Range<u64>, main: impl Fn() -> T) -> Result<u64, FailedSchedule> {
        let place = Location::caller();
        let (mut steps, mut runs) = (STEPS, 0);
        for number in seeds {
            runs += 1;
            let seed = seed(number, steps);
            let unjoined: Rc<RefCell<Option<RunFailure>>> = Rc::default();
            let taken = Rc::new(Cell::new(0));
            let mut config = self.clone().replay(seed);
            config.steps = Some(Rc::clone(&taken));
            let (hook, noted) = (Rc::clone(&self.unhandled), Rc::clone(&unjoined));
            config.unhandled = Rc::new(move |label, payload| {
                hook(label, payload);
                let failure = RunFailure::Unjoined { task: label.to_string(), text: text_of(payload) };
                noted.borrow_mut().get_or_insert(failure);
            });
            let outcome = catch_unwind(AssertUnwindSafe(|| config.run_at(place, || drop(main()))));
            let failure = match outcome {
                Err(payload) => Some(RunFailure::Panic(payload)),
                Ok(Err(error)) => Some(RunFailure::Run(error)),
                Ok(Ok(())) => unjoined.take(),
            };
            if let Some(failure) = failure {
                return Err(FailedSchedule { seed, runs, failure });
            }
            steps = taken.get().max(1);
        }
        Ok(runs)
    }

    /// Repeats the run with this seed that [`explore`](Self::explore) has found: the order of its turns, if nothing else has changed. The
    /// clock is [paused](Self::paused_clock).
    pub fn replay(mut self, seed: u64) -> Self {
        self.search = Some(seed);
        self.paused_clock = true;
        self
    }
}
