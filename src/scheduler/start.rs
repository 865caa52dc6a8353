//! The start and the end of a task, and its stack in between.
//!
//! Most tasks end without having waited. So a spawn takes a stack only if one is at hand: that of the task that ended last, or
//! one of the thread's cache. Otherwise the task takes a stack in its first turn. Then 100,000 outstanding tasks that end
//! without waiting run one after the other on one warm stack.
//!
//! A turn does not check for that. The context of a task without a stack is prepared on the *first stack*, a stack that all such
//! tasks of a worker share. There its first turn takes a stack, prepares the context a second time, on that stack, and enters
//! it. No context is suspended on the first stack after it was entered, so at most one uses it at a time.

use super::Worker;
use super::tcb::Tcb;
use crate::arch::{Context, Entry};
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::stack::{Shape, StackError};

/// Ends a task that gets no stack. Called once, as a job of the event loop.
pub(crate) type GiveUp = unsafe fn(&Worker, &Tcb, StackError);

impl Worker {
    /// Allocates a TCB, numbers its task, and reserves a slot in the run queue.
    #[inline]
    pub(crate) fn new_tcb(&self) -> &Tcb {
        let tcb = match self.table.take() {
            Some(tcb) => tcb,
            None => self.grow_table(),
        };
        tcb.allocate(self.next_id.replace(self.next_id.get() + 1));
        tcb
    }

    #[cold]
    #[inline(never)]
    fn grow_table(&self) -> &Tcb {
        self.table.grow();
        self.run_queue.reserve(self.table.capacity());
        self.table.take().expect("a chunk has slots")
    }

    /// Starts a task, which calls `entry` on `stack` in its first turn, with the address of its TCB.
    ///
    /// # Safety
    ///
    /// `tcb` is from `new_tcb` and has not been started. `entry` obeys the contract of `arch` and returns the
    /// result of `Worker::end`.
    #[inline]
    pub(crate) unsafe fn start(&self, tcb: &Tcb, stack: Stack, entry: Entry) {
        // SAFETY: the stack is unused, and the TCB owns it until the task has ended (invariant 4). The caller ensures that
        // `entry` obeys its contract.
        unsafe { (*tcb.context()).init(stack.limit(), stack.top(), entry, std::ptr::from_ref(tcb) as usize) };
        tcb.set_stack(stack);
        self.enqueue_new(tcb);
    }

    /// Puts a new task, whose context is prepared, at the end of the run queue.
    #[inline(always)]
    fn enqueue_new(&self, tcb: &Tcb) {
        tcb.start();
        self.live.set(self.live.get() + 1);
        self.spawned.set(self.spawned.get() + 1);
        // SAFETY: the run queue has room for every TCB, and a new TCB is not in it (invariant 2).
        unsafe { self.run_queue.push_back(tcb.context()) };
    }

    /// Takes a stack for a task with the options of the run, if one is at hand.
    #[inline(always)]
    pub(crate) fn stack_at_hand(&self) -> Option<Stack> {
        self.reuse_retired_stack().or_else(|| Stack::acquire_cached(self.shape, Kind::Task))
    }

    /// Takes the stack of the task that ended last, if it suits a task with the options of the run: without the steps of the pool.
    ///
    /// A caller runs on another stack: a task retires its stack in its last step, after all code of users.
    #[inline(always)]
    fn reuse_retired_stack(&self) -> Option<Stack> {
        let stack = self.retired_stack.take()?;
        let slot = stack.slot();
        // A stack of another shape, or with a name to remove or memory to clear, returns to the pool.
        (slot.shape() == self.shape && !slot.has_duties()).then_some(stack)
    }

    /// Allocates the first stack, unless it exists.
    ///
    /// # Errors
    ///
    /// Fails if its stack cannot be allocated.
    #[inline(always)]
    pub(crate) fn prepare_first_stack(&self) -> Result<(), StackError> {
        if self.first_stack.get().is_some() { Ok(()) } else { self.make_first_stack() }
    }

    #[cold]
    #[inline(never)]
    fn make_first_stack(&self) -> Result<(), StackError> {
        let stack = Stack::acquire(Shape::default_shape(), Kind::EventLoop, None, false)?;
        assert!(self.first_stack.set(stack).is_ok(), "the first stack is made once");
        Ok(())
    }

    /// Starts a task without a stack. Its first turn calls `first_turn` with the address of the TCB, on the first stack, which
    /// [`prepare_first_stack`](Self::prepare_first_stack) has allocated.
    ///
    /// # Safety
    ///
    /// `tcb` is from `new_tcb` and has not been started. `first_turn` obeys the contract of `arch`, and calls and returns
    /// [`take_stack`](Self::take_stack).
    #[inline]
    pub(crate) unsafe fn start_without_stack(&self, tcb: &Tcb, first_turn: Entry) {
        // SAFETY: the first stack lives as long as the worker. Contexts on it are entered one at a time, and none is suspended
        // there after it was entered: `take_stack` does not suspend. The caller ensures the rest.
        unsafe { self.prepare_on_first_stack(tcb, first_turn) };
        self.enqueue_new(tcb);
    }

    /// Prepares the context of a task on the first stack.
    ///
    /// # Safety
    ///
    /// The conditions of [`Context::init`], if the context is entered.
    #[inline(always)]
    unsafe fn prepare_on_first_stack(&self, tcb: &Tcb, entry: Entry) {
        let stack = self.first_stack.get().expect("the first stack was prepared");
        // SAFETY: the caller ensures it.
        unsafe { (*tcb.context()).init(stack.limit(), stack.top(), entry, std::ptr::from_ref(tcb) as usize) };
    }

    /// Takes a stack for the running task, which runs on the first stack, and prepares its context there to call `entry` with the address of the
    /// TCB. Returns the context to enter next: this one, or that of the next task if there is no stack.
    ///
    /// Without a stack, the event loop calls `give_up` after all tasks that are ready: the destructor of the closure is user code, which
    /// must not run on the first stack.
    ///
    /// # Safety
    ///
    /// The caller is the first turn of the task of `tcb`, which `start_without_stack` has started. `entry` obeys the contract of
    /// [`start`](Self::start). `give_up` may be called once with the worker, the TCB and any error, in the run of the task.
    pub(crate) unsafe fn take_stack(&self, tcb: &Tcb, entry: Entry, give_up: GiveUp) -> *const Context {
        let stack = match self.reuse_retired_stack() {
            Some(stack) => Ok(stack),
            None => Stack::acquire(self.shape, Kind::Task, None, false),
        };
        match stack {
            Ok(stack) => {
                let (limit, top) = (stack.limit(), stack.top());
                tcb.set_stack(stack);
                // SAFETY: the TCB owns the stack until the task has ended (invariant 4), and the caller ensures that `entry` obeys its
                // contract. The context is the running one, so no other code uses it, and `arch` permits to prepare it again.
                unsafe { (*tcb.context()).init(limit, top, entry, std::ptr::from_ref(tcb) as usize) };
                tcb.context()
            }
            Err(error) => {
                // The context is not entered again. It is prepared because a dump may take the backtrace of the task before the event
                // loop has ended it.
                // SAFETY: `init` does not access the stack, and the context is the running one, so no other code uses it.
                unsafe { self.prepare_on_first_stack(tcb, entry) };
                let (worker, tcb) = (std::ptr::from_ref(self), std::ptr::from_ref(tcb));
                // SAFETY: the event loop runs the job while the worker and its table exist. The task does not run again, so this is the
                // only call of `give_up`.
                self.queue_job(Box::new(move || unsafe { give_up(&*worker, &*tcb, error) }));
                self.enter_next()
            }
        }
    }

    /// Counts the end of the running task. Returns its place in the order of ends, from 1.
    #[inline]
    pub(crate) fn count_end(&self) -> u64 {
        let count = self.ended.get() + 1;
        self.ended.set(count);
        count
    }

    /// Retires the stack of the running task, which has ended but uses the stack until the switch. Frees the stack
    /// retired before.
    #[inline]
    pub(crate) fn retire_stack(&self, stack: Option<Stack>) {
        drop(self.retired_stack.replace(stack));
    }

    /// Ends the running task, whose stack has been retired. Returns the context to enter next, which the task's entry
    /// must return.
    #[inline]
    pub(crate) fn end(&self) -> *const Context {
        self.count_out();
        self.enter_next()
    }

    /// Counts a task out that has ended.
    #[inline(always)]
    pub(crate) fn count_out(&self) {
        self.live.set(self.live.get() - 1);
        if self.live.get() == 0 && self.shutting_down.get() {
            self.wake(self.main());
        }
    }

    /// Makes the next context the current one, and returns it, for a context that is neither suspended nor entered again.
    #[inline(always)]
    fn enter_next(&self) -> *const Context {
        let next = if self.ticks.count() { self.next() } else { self.next_late() };
        self.current.set(next);
        next
    }

    /// Frees the stack of the task that ended last. Must not be called on that stack.
    #[inline]
    pub(crate) fn free_retired_stack(&self) {
        drop(self.retired_stack.take());
    }
}
