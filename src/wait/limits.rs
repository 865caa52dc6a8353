//! Limits of waits as data: shields, deadlines and scopes, each from where it was opened to where it is closed.
//!
//! Each task has a list of its open limits, the innermost last. A wait checks them from the inside out, up to the first shield. A body
//! cannot suspend with a limit open (`suspend_check`), so the task that opens a limit closes it.
#![forbid(unsafe_code)]

use crate::coroutine::chain::Kind;
use crate::scheduler::task_ref::TaskRef;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_ext::{DeadlineMark, Limit, LimitKind};
use crate::scheduler::{Worker, flags};
use crate::suspend_check::Section;
use std::rc::Rc;
use std::time::Instant;

/// What a wait has to heed.
#[derive(Default)]
pub(crate) struct View {
    /// A cancel of the task is not heard.
    pub(crate) shielded: bool,
    /// A scope around it was cancelled.
    pub(crate) scope_cancelled: bool,
    /// The deadline that comes first, and of several at the same moment the outermost.
    nearest: Option<Rc<DeadlineMark>>,
}

impl View {
    /// When the nearest deadline comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.nearest.as_ref().and_then(|mark| mark.at.get())
    }

    /// The wait ended because of the nearest deadline.
    pub(crate) fn saw_deadline(&self) {
        if let Some(mark) = &self.nearest {
            mark.seen.set(true);
        }
    }

    /// Whether a wait that begins now is to end at once, apart from what the task itself was told.
    pub(crate) fn is_over(&self, worker: &Worker) -> bool {
        self.scope_cancelled || self.is_late(worker)
    }

    fn is_late(&self, worker: &Worker) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= worker.clock.now())
    }
}

/// What the waits of this task have to heed at this moment.
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

/// Whether a deadline will end the waits of this task.
pub(crate) fn has_deadline(tcb: &Tcb) -> bool {
    view(tcb).deadline().is_some()
}

/// Whether a wait that begins now is to end at once; if it is because of a deadline, that one was seen.
pub(crate) fn is_interrupted(worker: &Worker, tcb: &Tcb) -> bool {
    let view = view(tcb);
    let told = tcb.has_flags(flags::DEADLOCKED) || !view.shielded && tcb.has_flags(flags::CANCELLED);
    if told || view.scope_cancelled {
        return true;
    }
    let late = view.is_late(worker);
    if late {
        view.saw_deadline();
    }
    late
}

/// Closes a limit when dropped, on the task that opened it, if that is still there.
pub(crate) struct OpenLimit {
    owner: TaskRef,
    number: u64,
    _section: Section,
}

impl OpenLimit {
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

    /// It has changed: has the wait that its task is in look at it. A task of another run stays asleep: a worker enters its own
    /// tasks only.
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
