//! Seeing inside: who waits for what, and whether that can ever end.

use super::wait::{self, can_be_unparked};
use super::{Reason, Task};
use crate::arch::unwind_from;
use crate::scheduler::table::Block;
use crate::scheduler::{Phase, Worker, attention};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;

/// A task that waits, in the report of a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Who waits.
    pub task: Task,
    /// What for, in words.
    pub reason: Reason,
    /// For whom, if it is a task.
    pub on: Option<Task>,
    /// Who holds what it waits for, if it is a lock or the like and a task of this run holds it.
    pub held_by: Option<Task>,
}

/// Who waits for what when nobody can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlockReport {
    /// Everybody who waits, in the order of their numbers.
    pub tasks: Vec<Stuck>,
    /// Tasks that wait for each other in a circle, each for the next and the last for the first; empty if there is none.
    pub cycle: Vec<Task>,
}

impl fmt::Display for DeadlockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        write!(f, "{count} {} and nobody is left to wake them:", if count == 1 { "task waits" } else { "tasks wait" })?;
        for Stuck { task, reason, on, held_by } in &self.tasks {
            write!(f, "\n  task {task} waits for {reason}")?;
            if let Some(on) = on {
                write!(f, ": {on}")?;
            }
            if let Some(holder) = held_by {
                write!(f, ", held by {holder}")?;
            }
        }
        if let Some(first) = self.cycle.first() {
            write!(f, "\n  in a circle: ")?;
            for task in &self.cycle {
                write!(f, "{task} -> ")?;
            }
            write!(f, "{first}")?;
        }
        Ok(())
    }
}

fn for_each_parked(worker: &Worker, mut f: impl FnMut(&Block)) {
    worker.table.for_each(|block| {
        if block.phase.get() == Phase::Parked {
            f(block);
        }
    });
}

/// Everybody who waits.
pub(crate) fn report(worker: &Worker) -> DeadlockReport {
    let mut parked: Vec<*const Block> = Vec::new();
    let mut everybody: HashMap<u64, *const Block> = HashMap::new();
    for_each_parked(worker, |block| parked.push(block));
    worker.table.for_each(|block| {
        everybody.insert(block.id.get(), block);
    });
    let holds = |block: &Block| holder(worker, &everybody, block);
    // SAFETY: blocks of the table, which stands.
    let mut parked: Vec<&Block> = parked.into_iter().map(|block| unsafe { &*block }).collect();
    parked.sort_by_key(|block| block.id.get());
    let stuck = |block: &&Block| {
        let wait = block.wait.get();
        // SAFETY: whoever waits for a task holds a handle to it.
        let on = unsafe { wait.on.as_ref() }.map(Task::of);
        Stuck { task: Task::of(block), reason: Reason::new(wait.why), on, held_by: holds(block).map(Task::of) }
    };
    let cycle = parked.iter().find_map(|block| cycle_from(block, holds)).unwrap_or_default();
    DeadlockReport { tasks: parked.iter().map(stuck).collect(), cycle }
}

/// Who holds what a parked task waits for, if that is a task of this run that has not ended.
fn holder<'a>(worker: &'a Worker, everybody: &HashMap<u64, *const Block>, block: &Block) -> Option<&'a Block> {
    // SAFETY: whoever waits borrows what it waits for.
    let holder = unsafe { block.wait.get().holder.as_ref() }?.task_of(worker.run())?;
    // SAFETY: a block of the table, which stands.
    everybody.get(&holder).map(|block| unsafe { &**block })
}

/// The circle that leads back to `start`, if there is one.
fn cycle_from<'a>(start: &'a Block, holder: impl Fn(&Block) -> Option<&'a Block>) -> Option<Vec<Task>> {
    let mut cycle = vec![Task::of(start)];
    let mut at = start;
    loop {
        // SAFETY: whoever waits for a task holds a handle to it.
        let next = unsafe { at.wait.get().on.as_ref() }.or_else(|| holder(at));
        let next = next.filter(|next| next.phase.get() == Phase::Parked)?;
        if std::ptr::eq(next, start) {
            return Some(cycle);
        }
        let task = Task::of(next);
        if cycle.contains(&task) {
            return None; // a circle, but without `start`
        }
        cycle.push(task);
        at = next;
    }
}

/// Where a suspended task stands: a backtrace of its own stack, which ends at its first function. `None` for one that runs
/// or has ended, and where the switch is not hand-written.
pub(super) fn backtrace(worker: &Worker, block: &Block) -> Option<Backtrace> {
    unsafe extern "C" fn capture(place: *mut u8) {
        // SAFETY: `place` is the option below.
        unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
    }
    let suspended = matches!(block.phase.get(), Phase::Fresh | Phase::Ready | Phase::Parked);
    if !suspended || std::ptr::eq(worker.current(), block) {
        return None;
    }
    let mut trace = None;
    // SAFETY: the task is suspended, on this thread, and nothing here switches.
    unsafe { unwind_from(block.context(), capture, (&raw mut trace).cast()) };
    trace
}

/// Whether every wait is of a kind that only a task of this run can end.
pub(crate) fn is_closed(worker: &Worker) -> bool {
    let mut closed = true;
    for_each_parked(worker, |block| {
        let wait = block.wait.get();
        closed &= wait.closed || !wait.open && !can_be_unparked(block);
    });
    closed
}

/// Ends every wait, so that whoever is left can end: nobody else will.
pub(crate) fn break_waits(worker: &Worker) {
    let mut parked: Vec<*const Block> = Vec::new();
    for_each_parked(worker, |block| parked.push(block));
    for block in parked {
        // SAFETY: a block of the table, which stands.
        let block = unsafe { &*block };
        block.add_attention(attention::CANCEL | attention::BROKEN);
        wait::cut_short(worker, block);
    }
}

/// Sets bits of every task that is neither main nor the hub, and ends the waits that this ends. Returns how many there are.
pub(crate) fn tell_all(worker: &Worker, bits: u8) {
    let mut all: Vec<*const Block> = Vec::new();
    worker.table.for_each(|block| {
        let ended = matches!(block.phase.get(), Phase::Ended | Phase::Cancelled);
        if !ended && !worker.is_main(block) && !worker.is_hub(block) {
            all.push(block);
        }
    });
    for block in all {
        // SAFETY: a block of the table, which stands.
        let block = unsafe { &*block };
        // A task is unwound once.
        let again = block.has_attention(attention::UNWOUND);
        block.add_attention(if again { bits & !attention::UNWIND } else { bits });
        wait::cut_short(worker, block);
    }
}

/// Stops the process if a task of a scope is there that was told to unwind and has not ended: it borrows. `all`: also if it has
/// not come to that, since it waits for others.
pub(crate) fn stop_for_scopes(worker: &Worker, all: bool) {
    worker.table.for_each(|block| {
        let parent = block.parent.take();
        let borrows = parent.is_some();
        block.parent.set(parent);
        let ended = matches!(block.phase.get(), Phase::Ended | Phase::Cancelled);
        if borrows && !ended && (all || block.has_attention(attention::UNWOUND) || cfg!(panic = "abort")) {
            let why =
                "would not end when it was cancelled and unwound; it borrows from its scope and cannot be left behind";
            abort_naming(Kind::Task, block.name.borrow().as_deref(), why);
        }
    });
}

/// Gives up everybody who is left: their stacks are never used again. Names them on stderr.
pub(crate) fn abandon(worker: &Worker) {
    // First those who are to blame, and not those who wait for them.
    stop_for_scopes(worker, false);
    stop_for_scopes(worker, true);
    worker.table.for_each(|block| {
        let ended = matches!(block.phase.get(), Phase::Ended | Phase::Cancelled);
        if ended || worker.is_main(block) || worker.is_hub(block) {
            return;
        }
        if let Some(parent) = block.parent.take() {
            block.parent.set(Some(parent));
            let why =
                "would not end when it was cancelled and unwound; it borrows from its scope and cannot be left behind";
            abort_naming(Kind::Task, block.name.borrow().as_deref(), why);
        }
        let _ = writeln!(
            std::io::stderr(),
            "cede: task {} would not end: it was cancelled and {}, and is still there; it is left behind",
            Task::of(block),
            if cfg!(panic = "unwind") { "unwound" } else { "cannot be unwound where panics abort" }
        );
        block.add_attention(attention::LEFT);
        // Its frames may be borrowed from for ever, so the stack is not the pool's any more.
        std::mem::forget(block.stack.take());
    });
}
