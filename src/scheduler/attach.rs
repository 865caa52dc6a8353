//! How a thread gets its worker, and loses it again.

use super::current::{set_worker, worker};
use super::{Worker, debugger, event_loop, handshake};
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError, overflow};
use crate::suspend_check::Section;
use std::panic::Location;
use std::ptr::null;

/// Ends the process when it is dropped, naming the task that runs.
struct AbortOnDrop(&'static str);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        let name = worker().and_then(|worker| worker.current().name());
        overflow::abort_naming(Kind::Task, name.as_deref(), self.0);
    }
}

impl Worker {
    /// Makes this the thread's worker, with main running.
    ///
    /// # Errors
    ///
    /// Without a stack for the event loop.
    ///
    /// # Safety
    ///
    /// The thread has no worker, and this one stays where it is until `leave`.
    unsafe fn enter(&self) -> Result<(), StackError> {
        let main = self.new_tcb();
        main.adopt(Some("main"));
        let event_loop = self.new_tcb();
        let stack = Stack::acquire(Shape::new(256 * 1024, 0)?, Kind::EventLoop, None, false)?;
        // SAFETY: the stack is the event loop's until it has returned, in `leave`; its entry does not unwind.
        unsafe {
            (*event_loop.context()).init(stack.limit(), stack.top(), event_loop::run, std::ptr::from_ref(self) as usize)
        };
        event_loop.adopt(None);
        event_loop.stack.set(Some(stack));
        self.main.set(main);
        self.event_loop.set(event_loop);
        self.current.set(main.context());
        set_worker(self);
        debugger::enter(self);
        Ok(())
    }

    /// Ends the event loop and lets go of the thread. Main runs, and nobody else is left but those that were leaked.
    fn leave(&self) {
        self.stop.set(true);
        // SAFETY: the event loop is suspended, since main runs.
        unsafe { self.switch_to((*self.event_loop.get()).context()) };
        debugger::leave(self);
        self.remote.close();
        self.free_retired_stack();
        set_worker(null());
        // From here on nothing on this thread is inside of a lock as this run.
        handshake::unregister(self);
        // SAFETY: the event loop has returned, so its stack is nobody's, and so are the two TCBs.
        unsafe {
            for tcb in [self.event_loop.get(), self.main.get()] {
                (*tcb).disown();
                self.table.give_back(tcb);
            }
        }
    }

    /// Makes this the thread's worker and calls `f`, with the caller as main. `None`, without calling it, if the thread has
    /// a worker already. `f` does not unwind. `place` is where the run was started.
    ///
    /// # Errors
    ///
    /// Without a stack for the event loop.
    pub(crate) fn with_thread<R>(
        &self,
        place: &'static Location<'static>,
        f: impl FnOnce(&Worker) -> R,
    ) -> Result<Option<R>, StackError> {
        if worker().is_some() {
            return Ok(None);
        }
        let _section = Section::run(place);
        // SAFETY: there is no other, and the borrow of `self` outlives this call.
        unsafe { self.enter() }?;
        let unwinding = AbortOnDrop("unwound where a run must end");
        let result = f(self);
        std::mem::forget(unwinding);
        self.leave();
        Ok(Some(result))
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
