//! The watchdog of a run: a thread that reports slow turns and prints dumps on a signal, while the worker is busy.
//!
//! A run has a watchdog only if its `Config` asks for reports of slow turns or endless waits, for a dump on a signal, or for the cancel
//! of main by Ctrl-C. The watchdog never reads the memory of a task. It asks the worker for a dump or for a look at its waits
//! (`endless_watch`), which the worker makes at its next poll, or it reads the copy of the running task's stack that a signal handler
//! makes (`sampler`).
//!
//! This module also knows which threads of the process belong to the library (`is_only_thread`): a watchdog wakes no task,
//! so it does not count when a stall is checked for a deadlock. It does count if it calls a hook of the user. The threads of the
//! pool of [`blocking`] count only while the pool has work.
#![forbid(unsafe_code)]

use crate::blocking;
use crate::observe::dump::dump;
use crate::observe::endless_watch::{Looks, OnEndlessWait};
use crate::observe::sampler::{self, SampleResult, Sampler};
use crate::observe::{Dump, EndlessWait, SlowTurn};
use crate::report::report;
use crate::scheduler::event_loop::Held;
use crate::scheduler::progress::{Moment, Progress};
use crate::scheduler::{self, Worker};
use crate::stack::StackError;
use crate::sys::self_pipe::SelfPipe;
use crate::sys::signals::{self, Handled, SAMPLE};
use crate::sys::threads::{InternalThread, internal_threads};
use std::cell::Cell;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// The user's hook for slow turns.
pub(crate) type OnSlowTurn = dyn Fn(&SlowTurn) + Send + Sync;

/// The time after which a delayed dump is explained by a report of the running turn.
const PATIENCE: Duration = Duration::from_secs(1);

/// The signal of Ctrl-C.
const CTRL_C: i32 = libc::SIGINT;

/// The options of the watchdog.
#[derive(Clone, Default)]
pub(crate) struct WatchdogConfig {
    /// The signal that requests a dump.
    pub(crate) dump_on: Option<i32>,
    /// The longest turn that is not slow.
    pub(crate) watch: Option<Duration>,
    pub(crate) on_slow_turn: Option<Arc<OnSlowTurn>>,
    /// The time within which an endless wait is reported.
    pub(crate) endless: Option<Duration>,
    pub(crate) on_endless_wait: Option<Arc<OnEndlessWait>>,
    /// The job that the first Ctrl-C releases. The second one ends the process.
    pub(crate) on_ctrl_c: Option<Held>,
}

impl WatchdogConfig {
    pub(crate) fn is_empty(&self) -> bool {
        self.dump_on.is_none() && self.watch.is_none() && self.endless.is_none() && self.on_ctrl_c.is_none()
    }
}

/// The error of a run that could not start with a watchdog.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Like `Worker::with_thread`, but runs a watchdog beside the worker until `f` has returned.
///
/// # Errors
///
/// Those of `with_thread`. `Io` if a signal handler cannot be installed, or if the pipe or the thread of the watchdog cannot be
/// created. On every error, `f` is not called.
pub(crate) fn watched<R>(
    worker: &Worker,
    config: WatchdogConfig,
    place: &'static Location<'static>,
    f: impl FnOnce(&Worker) -> R,
) -> Result<Option<R>, WatchError> {
    let watchdog = Watchdog::open(config)?;
    let (sampler, (sender, dumps)) = (Sampler::new(worker), mpsc::channel());
    let request = Cell::new(hold_dump(worker, sender, Arc::clone(&watchdog.pipe)));
    // Worker 0 asks all workers.
    let endless = watchdog.config.endless.filter(|_| !worker.is_helper());
    let looks = endless.map(|allowed| Looks::new(worker, allowed, &watchdog.pipe));
    let watched = Watched { progress: worker.progress(), sampler: &sampler, request, dumps, looks };
    std::thread::scope(|scope| {
        let (started, starts) = mpsc::channel();
        let serve = || watchdog.serve(watched, move || drop(started));
        std::thread::Builder::new().name("cede-watch".into()).spawn_scoped(scope, serve)?;
        // Waits until the watchdog has registered as an internal thread, if it is one. Before that, it counts as a thread that
        // may wake a task, and a deadlock in `f` would be taken for a stall.
        let _ = starts.recv() as Result<(), _>;
        let outcome = worker.with_thread(place, |worker| sampler.while_open(|| f(worker)));
        watchdog.close();
        Ok(outcome?)
    })
}

/// Stores a job in the worker that makes a dump and sends it to the watchdog, with the handle of a new job for the next dump.
/// Releasing the returned handle requests the dump.
fn hold_dump(worker: &Worker, sender: Sender<(Dump, Held)>, pipe: Arc<SelfPipe>) -> Held {
    worker.hold(Box::new(move || {
        let Some(worker) = scheduler::worker() else { return };
        let next = hold_dump(worker, sender.clone(), Arc::clone(&pipe));
        // Fails only if the watchdog is gone.
        let _ = sender.send((dump(), next));
        pipe.wake();
    }))
}

/// The state of a watchdog: its options, its signal handlers and its self-pipe. Lives as long as the run.
struct Watchdog {
    config: WatchdogConfig,
    pipe: Arc<SelfPipe>,
    stop: AtomicBool,
    /// The name of the run's thread, for messages.
    thread: String,
    _handled: Vec<Handled>,
}

impl Watchdog {
    /// Installs the signal handlers and opens the self-pipe.
    ///
    /// # Errors
    ///
    /// If a signal handler cannot be installed, or if no file descriptors for a pipe are left.
    fn open(config: WatchdogConfig) -> io::Result<Watchdog> {
        signals::on_sample(sampler::answer);
        let pipe = Arc::new(SelfPipe::new()?);
        let mut handled = vec![Handled::install(SAMPLE)?];
        if let Some(signal) = config.dump_on {
            pipe.listen(signal);
            handled
                .push(Handled::install(signal).map_err(|error| {
                    io::Error::new(error.kind(), format!("cannot handle signal {signal}: {error}"))
                })?);
        }
        // A shell lets its background jobs ignore Ctrl-C.
        if config.on_ctrl_c.is_some() && !signals::is_ignored(CTRL_C) {
            pipe.listen(CTRL_C);
            pipe.end_at_second(CTRL_C);
            handled.push(Handled::install(CTRL_C)?);
        }
        let thread = std::thread::current();
        let thread = thread.name().map_or_else(|| format!("{:?}", thread.id()), |name| format!("'{name}'"));
        Ok(Watchdog { config, pipe, stop: AtomicBool::new(false), thread, _handled: handled })
    }

    /// Tells the watchdog to end.
    fn close(&self) {
        self.stop.store(true, Ordering::Release);
        self.pipe.wake();
    }

    /// Runs the watchdog until `close` is called. Calls `started` when the thread has registered as an internal thread.
    fn serve(&self, mut worker: Watched<'_>, started: impl FnOnce()) {
        // The user's hook may wake a task, so a task that waits for it is not deadlocked: then this thread must count.
        let tells = self.config.watch.is_some() && self.config.on_slow_turn.is_some()
            || worker.looks.is_some() && self.config.on_endless_wait.is_some();
        let _own = (!tells).then(InternalThread::register);
        started();
        let mut asked: Option<(Instant, Moment)> = None;
        // A dump is requested and has not arrived. Another signal came before its arrival.
        let (mut under_way, mut again) = (false, false);
        let mut watch = self.config.watch.map(Watch::new);
        loop {
            let rest = asked.map(|(asked, _)| PATIENCE.saturating_sub(asked.elapsed()));
            let next_look = worker.looks.as_ref().and_then(Looks::rest);
            self.pipe
                .wait([rest, next_look, watch.as_ref().map(|watch| watch.allowed / 4)].into_iter().flatten().min());
            // Dumps that have arrived are printed even if the run has ended.
            let stop = self.stop.load(Ordering::Acquire);
            for (dump, next) in worker.dumps.try_iter() {
                worker.request.set(next);
                (asked, under_way) = (None, false);
                report!("dump of the run on thread {}: {dump}", self.thread);
            }
            if stop {
                return;
            }
            let signalled = self.config.dump_on.is_some_and(|signal| self.pipe.take_signal(signal));
            if let Some(job) = self.config.on_ctrl_c
                && (self.pipe.take_signal(CTRL_C) || signalled && self.config.dump_on == Some(CTRL_C))
            {
                job.release();
            }
            again |= signalled;
            if again && !under_way {
                (again, under_way) = (false, true);
                worker.request.get().release();
                asked = Some((Instant::now(), worker.progress.look()));
            }
            if let Some((when, moment)) = asked
                && when.elapsed() >= PATIENCE
            {
                asked = None;
                self.explain(&worker, moment);
            }
            if let Some(watch) = &mut watch
                && let Some(slow) = watch.look(&worker)
            {
                self.tell(&slow);
            }
            let endless = worker.looks.as_mut().map_or(Vec::new(), Looks::advance);
            endless.iter().for_each(|wait| self.tell_endless(wait));
        }
    }

    /// Explains why a requested dump is late: reports the turn that has lasted since the request, if it is still the same turn.
    fn explain(&self, worker: &Watched<'_>, moment: Moment) {
        // A run in a fiber sleeps while its executor runs other code, which is no turn of the run.
        if moment.is_asleep() {
            return;
        }
        if let SampleResult::Taken(seen) = worker.sampler.look(Some(moment)) {
            let slow = SlowTurn::new(Some(seen), PATIENCE);
            let thread = &self.thread;
            report!("the dump of the run on thread {thread} comes when this turn is over: {slow}");
        }
    }

    fn tell(&self, slow: &SlowTurn) {
        // Like the hook below, a subscriber may panic.
        #[cfg(feature = "tracing")]
        drop(catch_unwind(AssertUnwindSafe(|| {
            tracing::warn!(target: "cede::turn", lasted = ?slow.lasted, over = slow.over, "{slow}");
        })));
        match &self.config.on_slow_turn {
            // The panic hook has printed a panic of `f`. It must not end the watchdog.
            Some(f) => drop(catch_unwind(AssertUnwindSafe(|| f(slow)))),
            None => report!("{slow}"),
        }
    }

    fn tell_endless(&self, wait: &EndlessWait) {
        match &self.config.on_endless_wait {
            Some(f) => drop(catch_unwind(AssertUnwindSafe(|| f(wait)))),
            None => report!("{wait}"),
        }
    }
}

/// The parts of a worker that its watchdog reads.
struct Watched<'a> {
    progress: Progress<'a>,
    sampler: &'a Sampler,
    /// The job to release to request a dump.
    request: Cell<Held>,
    dumps: Receiver<(Dump, Held)>,
    looks: Option<Looks>,
}

/// Detects slow turns.
struct Watch {
    allowed: Duration,
    /// The moment seen by the last check, and the time of the first check that saw it.
    seen: Option<(Moment, Instant)>,
    /// The report of the current turn, if it was reported.
    reported: Option<SlowTurn>,
}

impl Watch {
    fn new(allowed: Duration) -> Watch {
        Watch { allowed, seen: None, reported: None }
    }

    /// Checks the progress of the worker. Returns a report if the turn has become slow, or if a reported turn has ended.
    fn look(&mut self, worker: &Watched<'_>) -> Option<SlowTurn> {
        let (moment, now) = (worker.progress.look(), Instant::now());
        let since = match self.seen {
            Some((seen, since)) if seen == moment => since,
            before => {
                self.seen = Some((moment, now));
                return self.reported.take().zip(before).map(|(slow, (_, since))| slow.ended(now - since));
            }
        };
        let lasted = now - since;
        if moment.is_asleep() || self.reported.is_some() || lasted < self.allowed {
            return None;
        }
        let slow = match worker.sampler.look(Some(moment)) {
            SampleResult::Over => return None,
            SampleResult::Deaf => SlowTurn::new(None, lasted),
            SampleResult::Taken(seen) => SlowTurn::new(Some(seen), lasted),
        };
        self.reported = Some(slow.ended(lasted));
        Some(slow)
    }
}

/// Returns whether the calling thread is the only thread of the process that may wake a task. The threads of the library do not
/// count, unless the pool of `blocking` runs a call or has one queued. False if unknown.
pub(crate) fn is_only_thread() -> bool {
    // The lock is held until the end: otherwise an internal thread could end, and a new thread could get its thread id.
    let internal = internal_threads();
    let tasks = "/proc/self/task";
    let (Ok(tasks), Ok(listed)) = (std::fs::metadata(tasks), std::fs::read_dir(tasks)) else { return false };
    is_alone(&internal, tasks.nlink(), listed.map(|thread| Some(thread.ok()?.file_name())))
        // Asked last: a thread that is not in the list may have queued a call just before it exited.
        && !blocking::has_work()
        && !scheduler::timer_thread::has_work()
        && !watches_descriptors()
}

/// Returns whether a fiber waits for a descriptor.
fn watches_descriptors() -> bool {
    #[cfg(feature = "io")]
    return scheduler::poll_thread::has_work();
    #[cfg(not(feature = "io"))]
    false
}

/// Compares the list of threads with the link count of its directory, which is the number of threads plus two. The list alone
/// is not reliable: if a thread ends while the system makes it, the list ends early. Then `links` is too large.
fn is_alone(internal: &[OsString], links: u64, listed: impl Iterator<Item = Option<OsString>>) -> bool {
    let others = listed.filter(|thread| thread.as_ref().is_none_or(|thread| !internal.contains(thread)));
    links == internal.len() as u64 + 3 && others.count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generator, Yielder, spawn, yield_now};
    use std::collections::BTreeMap;
    use std::hint::black_box;
    use std::rc::Rc;
    use std::sync::Mutex;

    /// Runs code of many kinds: allocation, formatting, system calls, recursion, unwinding, nested stacks, switches.
    fn some_of_everything(n: usize) {
        let mut map = BTreeMap::new();
        (0..n % 50).for_each(|i| drop(map.insert(format!("{i}-{n}"), vec![i as f64 / 3.0; i])));
        let mut text: Vec<_> = map.iter().map(|(key, value)| format!("{key}{value:?}")).collect();
        text.sort();
        black_box(text);
        if n.is_multiple_of(20) && cfg!(panic = "unwind") {
            drop(black_box(catch_unwind(|| std::panic::resume_unwind(Box::new(n)))));
        }
        fn walk(depth: usize, y: &Yielder<usize>) {
            if depth > 0 {
                y.yield_(depth);
                yield_now();
                walk(black_box(depth - 1), y);
            }
        }
        let outer = Generator::new(move |y: &Yielder<usize>| {
            Generator::new(move |z| walk(n % 10, z)).for_each(|i| y.yield_(i))
        });
        black_box(outer.sum::<usize>());
        black_box(std::fs::metadata("/").is_ok());
        yield_now();
    }

    #[test]
    fn sample_at_any_instruction_does_no_harm() {
        let stacks = Mutex::new((0, 0, 0));
        // The first text reads the debug information, which takes seconds where the processor is emulated.
        drop(std::backtrace::Backtrace::force_capture().to_string());
        let config = WatchdogConfig { watch: Some(Duration::from_secs(3600)), ..WatchdogConfig::default() };
        let watchdog = Watchdog::open(config).unwrap();
        let on_stall = |_: &Worker| crate::scheduler::StallAction::Sleep(None);
        let clock = crate::scheduler::clock::Clock::real();
        let shape = crate::stack::Shape::new(64 * 1024, 0).unwrap();
        let worker = Worker::new(shape, Box::new(on_stall), Rc::new(|_, _| ()), clock, Box::new(|_| ()), None);
        let sampler = Sampler::new(&worker);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !watchdog.stop.load(Ordering::Acquire) {
                    let SampleResult::Taken(seen) = sampler.look(None) else { continue };
                    let mut stacks = stacks.lock().unwrap();
                    stacks.0 += 1;
                    let Some(trace) = seen.trace else { continue };
                    stacks.1 += 1;
                    if usize::is_multiple_of(stacks.1, 16) {
                        let text = trace.to_string();
                        stacks.2 += usize::from(text.contains("some_of_everything") || text.contains("imp::root"));
                    }
                }
            });
            let done = worker.with_thread(Location::caller(), |worker| {
                sampler.while_open(|| {
                    let end = Instant::now() + Duration::from_secs(2);
                    let mut tasks: Vec<_> = (0..4)
                        .map(|k| spawn(move || (k..).take_while(|_| Instant::now() < end).for_each(some_of_everything)))
                        .collect();
                    tasks.iter_mut().for_each(|task| task.join().unwrap());
                    watchdog.close();
                    worker.live.get()
                })
            });
            assert_eq!(done.unwrap(), Some(0));
        });
        let (looks, traces, whole) = *stacks.lock().unwrap();
        eprintln!("{looks} looks, {traces} traces, of every 16th {whole} whole");
        // A sample at the last instruction of a switch has no trace. At the few instructions before it, the trace has only the
        // innermost frame. An emulator delivers signals between blocks of instructions, so every tenth trace is such there.
        let seen = cfg!(target_os = "linux") && crate::arch::NATIVE;
        assert!(looks > 0 && (!seen || traces * 10 >= looks * 9 && whole * 2 >= traces / 16));
    }

    #[test]
    fn is_alone_with_truncated_thread_list_is_false() {
        let names = |names: &[&str]| names.iter().map(OsString::from).collect::<Vec<_>>();
        let is_alone = |internal: &[&str], links, listed: &[&str]| {
            is_alone(&names(internal), links, names(listed).into_iter().map(Some))
        };
        assert!(is_alone(&[], 3, &["7"]) && is_alone(&["8"], 4, &["7", "8"]));
        assert!(!is_alone(&[], 5, &["7"]) && !is_alone(&["8"], 5, &["7", "8"]));
        assert!(!is_alone(&[], 4, &["7", "9"]) && !is_alone(&["8"], 4, &["7", "9"]));
    }
}
