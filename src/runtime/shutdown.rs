//! Shutdown: ends all tasks of a run before `run` returns.
//!
//! The stages, each for the tasks that the stage before did not end:
//!
//! 1. All tasks are cancelled. The grace period ([`Config::shutdown_grace`](super::Config::shutdown_grace)) begins.
//! 2. When the grace period is over, the tasks are unwound (a forced unwind), and have 500 ms to end.
//! 3. The run waits, without a limit, for tasks whose stack another thread uses (`blocking::unblock`), or the kernel (a cancelled
//!    operation of io_uring that has not ended).
//! 4. With several workers, each waits for tasks of the other workers that borrow from its tasks.
//! 5. The tasks that remain are abandoned: their stacks are leaked, and their names are written to stderr.
//!
//! Main itself is never unwound or abandoned, because its stack belongs to the caller of `run`.
#![forbid(unsafe_code)]

use crate::report::report;
use crate::scheduler::crew::{Crew, Member};
use crate::scheduler::tcb::Tcb;
use crate::scheduler::{self, Mode, WaitSpec, Worker, flags};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use crate::task::Task;
use std::time::{Duration, Instant};

/// The time that tasks have to end after the forced unwind.
const AFTER_UNWIND: Duration = Duration::from_millis(500);

/// The number of generations of callbacks that run after the grace period. A callback that a callback of one generation adds
/// belongs to the next generation. Bounded, because a callback may always add another one.
const LAST_GENERATIONS: usize = 1000;

/// Shuts the run down after main returned: cancels all tasks, waits for the grace period, unwinds the remaining tasks, waits
/// 500 ms, waits for blocking calls and cancelled operations, and abandons the tasks that remain.
pub(super) fn shut_down(worker: &Worker, grace: Duration) {
    worker.force_unwind_at.set(None);
    if let Some(member) = worker.existing_member().filter(|member| member.number() == 0) {
        member.crew().close();
        member.crew().end();
        wake_mains(member.crew());
    }
    worker.mode.set(Mode::Ending);
    worker.clock.go_on();
    // Main may carry the flags of a deadlock. From here on its stack serves the shutdown, which nothing cancels.
    worker.main().remove_flags(u8::MAX);
    flag_all(worker, flags::CANCELLED);
    worker.give_up_starts();
    wait_for_tasks(worker, worker.clock.now().checked_add(grace));
    if worker.live.get() > 0 && cfg!(panic = "unwind") {
        unwind(worker);
        wait_for_tasks(worker, Some(after_unwind(worker)));
    }
    wait_for_lent(worker);
    wait_for_borrowers(worker);
    run_callbacks(worker);
    if worker.drop_jobs() {
        // The dropped jobs may own results of tasks. If such a result is an unjoined panic, a new job reports it.
        run_callbacks(worker);
    }
    if worker.live.get() > 0 {
        // The callbacks gave tasks turns, in which a task may have begun another call.
        wait_for_lent(worker);
        wait_for_borrowers(worker);
        abandon(worker);
    }
    wait_for_workers(worker);
}

/// Waits until the other workers have come as far. What their tasks borrow from a task or a thread-local of this worker is there until then:
/// a task that borrows and does not end aborts the process (`abandon`).
fn wait_for_workers(worker: &Worker) {
    worker.give_up_starts();
    let Some(crew) = worker.existing_member().map(Member::crew) else { return };
    if crew.count_finished() {
        wake_mains(crew);
    }
    while !crew.is_finished() {
        worker.park(worker.main(), WAIT_FOR_WORKERS, None);
    }
    // Other workers may have sent panics for the hook, and a worker of its own closures for this one.
    worker.run_last_jobs();
    worker.give_up_starts();
}

/// Wakes the mains of all workers that have not left their threads.
pub(super) fn wake_mains(crew: &Crew) {
    crew.call_others(usize::MAX, || {
        if let Some(worker) = scheduler::worker() {
            worker.wake(worker.main());
        }
    });
}

/// Runs the remaining callbacks, and the callbacks that those add.
fn run_callbacks(worker: &Worker) {
    for _ in 0..LAST_GENERATIONS {
        worker.run_last_jobs();
        // Tasks that the callbacks spawned are cancelled before their first turn. One turn of main lets them end.
        worker.turn();
        if !worker.has_jobs() {
            break;
        }
    }
}

/// Forces all tasks to unwind. Each task starts to unwind in its next turn.
fn unwind(worker: &Worker) {
    worker.mode.set(Mode::Unwinding);
    flag_all(worker, flags::CANCELLED | flags::UNWIND_REQUESTED);
    worker.poll_soon();
}

/// Makes progress possible for a main that was cancelled by a deadlock or by the drop of its future, and has not returned within the
/// grace period.
///
/// Main may be waiting for the tasks of a scope, so all tasks are unwound. The second call comes 500 ms later. A task of a
/// scope that has still not ended then would block main permanently, so the process is aborted.
pub(super) fn on_shutdown_overdue(worker: &Worker) {
    if worker.mode.get() == Mode::Unwinding {
        if let Some(member) = worker.existing_member() {
            // Main may wait for a task of another worker.
            member.crew().call_others(member.number(), || {
                if let Some(worker) = scheduler::worker() {
                    abort_for_borrowers(worker, Borrowers::Unwound);
                }
            });
        }
        return abort_for_borrowers(worker, Borrowers::Unwound);
    }
    let why =
        if worker.main().has_flags(flags::DEADLOCKED) { "the run is deadlocked" } else { "its future was dropped" };
    report!("main was cancelled, because {why}, and has not returned yet");
    if let Some(member) = worker.existing_member() {
        // Main may wait for tasks of other workers.
        member.crew().call_others(member.number(), || {
            if let Some(worker) = scheduler::worker().filter(|worker| worker.mode.get() == Mode::Running) {
                unwind_all(worker);
            }
        });
    }
    unwind_all(worker);
    worker.force_unwind_at.set(Some(after_unwind(worker)));
}

/// Forces all tasks to unwind, where panics unwind.
fn unwind_all(worker: &Worker) {
    if cfg!(panic = "unwind") {
        unwind(worker);
    } else {
        worker.mode.set(Mode::Unwinding);
    }
}

/// Returns the end of the 500 ms after a forced unwind, or the current time if `Instant` cannot represent it.
fn after_unwind(worker: &Worker) -> Instant {
    let now = worker.clock.now();
    now.checked_add(AFTER_UNWIND).unwrap_or(now)
}

/// The wait of main during the shutdown.
const WAIT_FOR_TASKS: WaitSpec =
    WaitSpec { reason: "the end of its tasks", only_this_run: true, uncancellable: true, ..WaitSpec::DEFAULT };

/// The wait of the mains of workers for each other, at the end of the shutdown.
const WAIT_FOR_WORKERS: WaitSpec = WaitSpec { reason: "the end of the other workers", ..WAIT_FOR_TASKS };

/// Waits until all tasks have ended and all callbacks have run, or until `deadline`. `None` waits without a limit.
fn wait_for_tasks(worker: &Worker, deadline: Option<Instant>) {
    worker.shutting_down.set(true);
    while (worker.live.get() > 0 || worker.has_jobs()) && deadline.is_none_or(|deadline| worker.clock.now() < deadline)
    {
        if worker.live.get() > 0 {
            worker.park(worker.main(), WAIT_FOR_TASKS, deadline);
        } else {
            // Lets the event loop run callbacks, which may spawn tasks.
            worker.turn();
        }
    }
    worker.shutting_down.set(false);
}

/// Waits, without a limit, until no other thread and no cancelled operation of the kernel uses what a task borrows, and then gives the
/// tasks 500 ms to end.
///
/// A task cannot be abandoned during a blocking call. Its stack would stay, but the call may also borrow what the stack
/// only refers to: a thread-local, which does not outlive the thread.
fn wait_for_lent(worker: &Worker) {
    let mut reported = false;
    while worker.lent.get() > 0 {
        if !std::mem::replace(&mut reported, true) {
            let in_call = |tcb: &&Tcb| tcb.is_parked() && tcb.wait().in_progress && tcb.wait().uncancellable;
            for tcb in worker.table.all().into_iter().filter(in_call) {
                report!(
                    "main has returned, but task {} waits for {}{}: the run ends after it",
                    Task::of(tcb),
                    tcb.wait().reason,
                    if tcb.wait().in_kernel { "" } else { ", which cannot be cancelled" }
                );
            }
        }
        worker.shutting_down.set(true);
        while worker.lent.get() > 0 && worker.live.get() > 0 {
            worker.park(worker.main(), WAIT_FOR_TASKS, None);
        }
        wait_for_tasks(worker, Some(after_unwind(worker)));
    }
}

/// The time between two looks at the tasks that wait for tasks of other workers.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits, without a limit, while a task of this worker waits for tasks of other workers that borrow from it, and the other workers have not come
/// as far. If one of these tasks does not end, its own worker aborts the process and names it.
fn wait_for_borrowers(worker: &Worker) {
    let Some(crew) = worker.existing_member().map(Member::crew).filter(|crew| crew.workers() > 1) else { return };
    if worker.lenders.get() == 0 {
        return;
    }
    abort_for_borrowers(worker, Borrowers::Unwound);
    crew.begin_waiting();
    let mut all_wait_since = None;
    while worker.lenders.get() > 0 {
        let now = worker.clock.now();
        // The last task of another worker may have ended just now, and its wake be on its way.
        let since = crew.all_wait().then(|| *all_wait_since.get_or_insert(now));
        if since.is_some_and(|since| now.saturating_duration_since(since) > AFTER_UNWIND) {
            break;
        }
        all_wait_since = since;
        wait_for_tasks(worker, now.checked_add(LOOK_INTERVAL));
    }
    crew.end_waiting();
    wait_for_tasks(worker, Some(after_unwind(worker)));
}

/// Sets bits of the flags of every task but main, and ends the waits that they interrupt.
fn flag_all(worker: &Worker, bits: u8) {
    let is_task = |tcb: &&Tcb| !tcb.is_finished() && !worker.is_main(tcb) && !worker.is_event_loop(tcb);
    for tcb in worker.table.all().into_iter().filter(is_task) {
        // A task is unwound once.
        let again = tcb.has_flags(flags::UNWOUND);
        tcb.add_flags(if again { bits & !flags::UNWIND_REQUESTED } else { bits });
        worker.wake_if_interrupted(tcb);
    }
}

/// The tasks of scopes that [`abort_for_borrowers`] looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Borrowers {
    /// The tasks that were unwound and have not ended.
    Unwound,
    /// All tasks that have not ended. Some may only wait for another task.
    All,
}

/// Aborts the process if there is a task of a scope that will not end: it borrows from its scope, so it cannot be abandoned.
fn abort_for_borrowers(worker: &Worker, which: Borrowers) {
    for tcb in worker.table.all() {
        let is_due = which == Borrowers::All || tcb.has_flags(flags::UNWOUND) || cfg!(panic = "abort");
        if !tcb.is_finished() && is_due && tcb.scope().is_some() {
            let why =
                "did not end when it was cancelled and unwound; it borrows from its scope, so it cannot be abandoned";
            abort_naming(Kind::Task, tcb.name().as_deref(), why);
        }
    }
}

/// Abandons every task that is left: the worker never enters it again, and its stack is leaked. Names each on stderr.
fn abandon(worker: &Worker) {
    // First the tasks that are the cause, so that the message names one of them and not a task that waits for it.
    abort_for_borrowers(worker, Borrowers::Unwound);
    abort_for_borrowers(worker, Borrowers::All);
    for tcb in worker.table.all() {
        if tcb.is_finished() || worker.is_main(tcb) || worker.is_event_loop(tcb) {
            continue;
        }
        report!(
            "task {} did not end: it was cancelled and {}, and is still alive; it is abandoned, and its stack is leaked",
            Task::of(tcb),
            if cfg!(panic = "unwind") { "unwound" } else { "cannot be unwound where panics abort" }
        );
        tcb.abandon();
    }
}
