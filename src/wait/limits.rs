//! The limits of waits: shields, deadlines (of `timeout` and `deadline`) and scopes.
//!
//! Each task has a list of its open limits, the innermost last. A wait checks the list from the inside out, up to the
//! first shield. A body cannot suspend with a limit open (`suspend_check`), so the task that opens a limit also closes
//! it.
#![forbid(unsafe_code)]

use crate::coroutine::chain::Kind;
use crate::scheduler::task_ref::TaskRef;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_ext::{DeadlineMark, Limit, LimitKind};
use crate::scheduler::{Worker, flags};
use crate::suspend_check::Section;
use std::rc::Rc;
use std::time::Instant;

/// The combined effect of a task's open limits on its waits.
#[derive(Default)]
pub(crate) struct View {
    /// A cancel of the task does not end the wait.
    pub(crate) shielded: bool,
    /// A scope around the wait was cancelled.
    pub(crate) scope_cancelled: bool,
    /// The earliest deadline; of several at the same time the outermost, which outlives the inner ones.
    nearest: Option<Rc<DeadlineMark>>,
}

impl View {
    /// Returns the time of the nearest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.nearest.as_ref().and_then(|mark| mark.at.get())
    }

    /// Records that the nearest deadline ended a wait, so that `timeout` returns `Elapsed`.
    pub(crate) fn saw_deadline(&self) {
        if let Some(mark) = &self.nearest {
            mark.seen.set(true);
        }
    }

    /// Returns whether the limits end a wait that begins now. Ignores the task's own flags.
    pub(crate) fn is_over(&self, worker: &Worker) -> bool {
        self.scope_cancelled || self.is_late(worker)
    }

    fn is_late(&self, worker: &Worker) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= worker.clock.now())
    }
}

/// Returns the current effect of the task's open limits.
pub(crate) fn view(tcb: &Tcb) -> View {
    let mut view = View::default();
    if !tcb.has_flags(flags::HAS_LIMITS) {
        return view;
    }
    tcb.ext(|ext| {
        for Limit { kind, .. } in ext.limits.iter().rev() {
            match kind {
                LimitKind::Shield => {
                    view.shielded = true;
                    break;
                }
                LimitKind::Scope(cancelled) => view.scope_cancelled |= cancelled.get(),
                LimitKind::Deadline(mark) => {
                    let nearest = view.deadline();
                    if mark.at.get().is_some_and(|at| nearest.is_none_or(|nearest| at <= nearest)) {
                        view.nearest = Some(Rc::clone(mark));
                    }
                }
            }
        }
    });
    view
}

/// Returns whether the waits of this task have a deadline.
pub(crate) fn has_deadline(tcb: &Tcb) -> bool {
    view(tcb).deadline().is_some()
}

/// Returns whether a wait that begins now would be interrupted. If a deadline is the reason, records that it ended a
/// wait.
pub(crate) fn is_interrupted(worker: &Worker, tcb: &Tcb) -> bool {
    let view = view(tcb);
    let is_cancelled = tcb.has_flags(flags::DEADLOCKED) || !view.shielded && tcb.has_flags(flags::CANCELLED);
    if is_cancelled || view.scope_cancelled {
        return true;
    }
    let late = view.is_late(worker);
    if late {
        view.saw_deadline();
    }
    late
}

/// An open limit. Dropping it closes the limit of the task that opened it, unless that task's TCB has been freed.
pub(crate) struct OpenLimit {
    owner: TaskRef,
    number: u64,
    _section: Section,
}

impl OpenLimit {
    /// Opens a limit around the waits of the running task.
    #[track_caller]
    pub(crate) fn new(worker: &Worker, section: Kind, limit: LimitKind) -> OpenLimit {
        let tcb = worker.current();
        let number = tcb.ext(|ext| {
            ext.last_limit += 1;
            ext.limits.push(Limit { number: ext.last_limit, kind: limit });
            ext.last_limit
        });
        tcb.add_flags(flags::HAS_LIMITS);
        OpenLimit { owner: TaskRef::current(worker), number, _section: Section::open(section) }
    }

    /// Wakes the task that the limit belongs to, after the limit was changed, so that its current wait checks the limit
    /// again. Does not wake a task of another run, which `worker` cannot enter.
    pub(crate) fn recheck_wait(&self, worker: &Worker) {
        if let Some(owner) = self.owner.get().filter(|owner| self.owner.is_of(worker) && owner.is_parked()) {
            worker.wake(owner);
        }
    }
}

impl Drop for OpenLimit {
    fn drop(&mut self) {
        let Some(tcb) = self.owner.get() else { return };
        let none_left = tcb.ext(|ext| {
            ext.limits.retain(|limit| limit.number != self.number);
            ext.limits.is_empty()
        });
        if none_left {
            tcb.remove_flags(flags::HAS_LIMITS);
        }
    }
}
