//! The threads of a run with several workers: their start, their work, and their end.
//!
//! The run of the calling thread is worker 0, with main. Each other worker has a thread and a main of its own, which only waits until main
//! has returned, and then shuts the worker down. All threads are joined before `run` returns.
#![forbid(unsafe_code)]

use super::shutdown::{self, shut_down, wake_mains};
use super::stall::on_stall;
use super::{RunError, WorkersError};
use crate::observe::DeadlockReport;
use crate::observe::watchdog::{WatchError, WatchdogConfig, watched};
use crate::scheduler::clock::Clock;
use crate::scheduler::crew::{Crew, Deques, Member};
use crate::scheduler::{WaitSpec, Worker};
use crate::stack::Shape;
use crate::sys::membarrier;
use crate::sys::threads::InternalThread;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Calls its argument once, with something set up around the call.
pub(super) type AroundWorker = dyn Fn(&mut dyn FnMut()) + Send + Sync;

/// The largest number of workers.
pub(super) const MAX_WORKERS: usize = 1024;

/// The options that the workers of a run share.
pub(super) struct Options {
    pub(super) shape: Shape,
    pub(super) grace: Duration,
    pub(super) stall: Duration,
    pub(super) closed_world: bool,
    pub(super) deadlock: Arc<Mutex<Option<DeadlockReport>>>,
    /// Without the cancel by Ctrl-C, which concerns main.
    pub(super) watchdog: WatchdogConfig,
    pub(super) around: Option<Arc<AroundWorker>>,
    pub(super) place: &'static Location<'static>,
    #[cfg(feature = "io")]
    pub(super) driver: crate::reactor::Driver,
}

/// Why a worker did not start.
enum NotStarted {
    Watch(WatchError),
    /// The closure of `around_worker` did not call its argument.
    NotCalled,
}

/// The wait of the main of a worker without the main of the run.
const WAIT_FOR_MAIN: WaitSpec =
    WaitSpec { reason: "the end of the run", only_this_run: true, uncancellable: true, ..WaitSpec::DEFAULT };

/// Calls `main`, which runs worker 0, while a thread for each of `deques` runs a worker of the crew. Returns when all threads have ended.
///
/// # Errors
///
/// If a thread or its worker cannot be started. Then `main` is not called.
pub(super) fn with_workers<R, T>(
    crew: &Arc<Crew>,
    deques: Vec<Deques>,
    options: &Options,
    main: impl FnOnce() -> R,
) -> Result<R, RunError<T>> {
    // The first lock between workers needs it. Asked before there are several threads, the kernel answers at once.
    membarrier::is_available();
    thread::scope(|scope| {
        let (started, starts) = mpsc::channel();
        let (mut threads, mut error) = (Vec::new(), None);
        for (number, deques) in (1..).zip(deques) {
            let (crew, started) = (Arc::clone(crew), started.clone());
            let body = move || work(Member::new(crew, number, deques), options, started);
            match thread::Builder::new().name(format!("cede-worker-{number}")).spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(refused) => {
                    error = Some(RunError::Workers(WorkersError::Thread(refused)));
                    break;
                }
            }
        }
        drop(started);
        for _ in 0..threads.len() {
            let failure = match starts.recv() {
                Ok(Ok(())) => continue,
                Ok(Err(NotStarted::Watch(failure))) => failure.into(),
                // Without a message: the closure of `around_worker` has panicked, which `join` tells.
                Ok(Err(NotStarted::NotCalled)) | Err(_) => RunError::NotStarted,
            };
            error.get_or_insert(failure);
        }
        let outcome = {
            let _end = GiveUpOnDrop(crew);
            match error {
                None => Ok(main()),
                Some(error) => Err(error),
            }
        };
        let panics: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().err()).collect();
        if let Some(payload) = panics.into_iter().next() {
            resume_unwind(payload);
        }
        outcome
    })
}

/// Ends the other workers. Needed if main did not come as far as the shutdown, also if the closure of `around_worker` panicked.
struct GiveUpOnDrop<'a>(&'a Crew);

impl Drop for GiveUpOnDrop<'_> {
    fn drop(&mut self) {
        self.0.give_up();
        wake_mains(self.0);
    }
}

/// Runs a worker on the calling thread, until the run ends.
fn work(member: Member, options: &Options, started: Sender<Result<(), NotStarted>>) {
    // Its tasks wake tasks of other workers, but not while all workers sleep: then only threads outside of the run can.
    let _internal = InternalThread::register();
    let crew = Arc::clone(member.crew());
    let on_stall = on_stall(options.closed_world, options.stall, options.grace, Arc::clone(&options.deadlock));
    let worker = Worker::new(
        options.shape,
        on_stall,
        Rc::new(|_, _| ()), // `task::result` passes the panics to worker 0
        Clock::real(),
        Box::new(shutdown::on_shutdown_overdue),
        None,
    );
    #[cfg(feature = "io")]
    worker.driver.set(options.driver);
    worker.join_crew(member);
    let go = |worker: &Worker| {
        // Fails only if `with_workers` has panicked.
        let _ = started.send(Ok(()));
        while !crew.is_ending() {
            worker.park(worker.main(), WAIT_FOR_MAIN, None);
        }
        shut_down(worker, options.grace);
    };
    let (mut start, mut outcome) = (Some(go), None);
    let mut run = || {
        if let Some(go) = start.take() {
            outcome = Some(match options.watchdog.is_empty() {
                true => worker.with_thread(options.place, go).map_err(WatchError::from),
                false => watched(&worker, options.watchdog.clone(), options.place, go),
            });
        }
    };
    match &options.around {
        None => run(),
        Some(around) => around(&mut run),
    }
    let failure = match outcome {
        Some(Ok(Some(()))) => return,
        Some(Err(error)) => NotStarted::Watch(error),
        // The second: the closure has opened a run of its own around the call.
        None | Some(Ok(None)) => NotStarted::NotCalled,
    };
    // Fails only if `with_workers` has panicked.
    let _ = started.send(Err(failure));
}
