//! Attaching a worker to its thread for a run, and detaching it.

use super::crew::Member;
use super::current::{set_worker, worker};
use super::{Worker, debugger, event_loop, handshake};
use crate::coroutine::raw::drop_catching;
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError, depot, overflow};
use crate::suspend_check::Section;
use std::panic::Location;
use std::ptr::null;

/// Aborts the process when dropped, naming the running task: a run that is unwound cannot be shut down.
struct AbortOnDrop(&'static str);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        let name = worker().and_then(|worker| worker.current().name());
        overflow::abort_naming(Kind::Task, name.as_deref(), self.0);
    }
}

impl Worker {
    /// Attaches the worker to this thread, with main as the running task.
    ///
    /// # Errors
    ///
    /// Fails if the event loop's stack cannot be allocated.
    ///
    /// # Safety
    ///
    /// The thread has no worker, and the caller does not move `self` until `leave` has returned.
    unsafe fn enter(&self) -> Result<(), StackError> {
        let main = self.new_tcb();
        match self.existing_member().map(Member::number) {
            None | Some(0) => main.adopt(Some("main")),
            Some(number) => main.adopt(Some(&format!("worker {number}"))),
        }
        let event_loop = self.new_tcb();
        let stack = Stack::acquire(Shape::new(256 * 1024, 0)?, Kind::EventLoop, None, false)?;
        // SAFETY: the event loop's TCB owns the stack until `leave`, where the event loop returns. `event_loop::run`
        // does not unwind, and `self` outlives it: the caller does not move the worker until `leave` has returned.
        unsafe {
            (*event_loop.context()).init(stack.limit(), stack.top(), event_loop::run, std::ptr::from_ref(self) as usize)
        };
        event_loop.adopt(None);
        event_loop.stack.set(Some(stack));
        self.main.set(main);
        self.event_loop.set(event_loop);
        self.current.set(main.context());
        self.table.set_worker(std::ptr::from_ref(self).cast());
        set_worker(self);
        debugger::enter(self);
        depot::enter_run();
        Ok(())
    }

    /// Ends the event loop and detaches the worker from the thread. Main runs, and every other task has ended or was
    /// abandoned.
    fn leave(&self) {
        self.stop.set(true);
        // SAFETY: main runs, so the event loop is suspended (invariant 3). `stop` is set, so it returns to main.
        unsafe { self.switch_to((*self.event_loop.get()).context()) };
        debugger::leave(self);
        self.table.set_worker(null());
        let contents = self.remote.close();
        self.free_retired_stack();
        set_worker(null());
        // From here on no code of this thread is inside a biased lock as this run, so no thread needs to ask it for a
        // fence.
        handshake::unregister(self);
        // SAFETY: the event loop has returned, so its stack is unused. Both TCBs were taken from `self.table` in
        // `enter`, and no reference to them is left.
        unsafe {
            for tcb in [self.event_loop.get(), self.main.get()] {
                (*tcb).disown();
                self.table.give_back(tcb);
            }
        }
        depot::leave_run();
        // User code, which is outside of the run now: the closures of tasks that were not started.
        std::mem::forget(drop_catching(contents));
    }

    /// Attaches the worker to this thread, calls `f` with the caller as main, and detaches the worker. Returns `None`
    /// without calling `f` if the thread already has a worker. `f` must not unwind: that aborts the process. `place` is
    /// the location of the call that started the run.
    ///
    /// # Errors
    ///
    /// Fails if the event loop's stack cannot be allocated.
    pub(crate) fn with_thread<R>(
        &self,
        place: &'static Location<'static>,
        f: impl FnOnce(&Worker) -> R,
    ) -> Result<Option<R>, StackError> {
        if worker().is_some() {
            return Ok(None);
        }
        let _section = Section::run(place);
        // SAFETY: the thread has no worker (checked above), and `self` is borrowed until this function returns, after
        // `leave`.
        unsafe { self.enter() }?;
        let unwinding = AbortOnDrop("was unwound out of its run before the run had shut down");
        let result = f(self);
        std::mem::forget(unwinding);
        self.leave();
        Ok(Some(result))
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
