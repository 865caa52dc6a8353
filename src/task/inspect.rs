//! Reaching every task of a run: to look at it, to tell it something, to give it up.

pub(crate) use super::deadlock::{break_waits, is_closed, report};
use super::{Task, wait};
use crate::arch::unwind_from;
use crate::scheduler::table::Block;
use crate::scheduler::{Phase, Worker, attention};
use crate::stack::arena::Kind;
use crate::stack::overflow::abort_naming;
use std::backtrace::Backtrace;
use std::io::Write as _;

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
