//! The task control block (TCB): the state of one task, and every change of that state.
//!
//! `tcb_table` allocates TCBs, `tcb_ext` is their cold part, and `tcb_links` holds their reference count and their
//! links to other tasks. To add a field, declare it in [`Tcb`], reset it in [`Tcb::free`], and change it by a method.

use super::holder::Holder;
use super::phase::{Phase, flags};
use super::remote::WakerCell;
use super::task_id::Task;
use super::tcb_ext::TcbExt;
use super::tcb_place::Place;
use crate::arch::Context;
use crate::stack::pool::Stack;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ptr::null;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The specification of a wait: the wait reason, and the events that end it. A new wait reason needs only a new `reason`
/// text. A new kind of event needs a field here and a check in `wait`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitSpec {
    /// The reason in words, for reports.
    pub(crate) reason: &'static str,
    /// The task that the waiter joins, or null. The waiter's `JoinHandle` keeps that TCB allocated.
    pub(crate) on_task: *const Tcb,
    /// The holder of the lock that the waiter wants, or null. The waiter borrows the lock.
    pub(crate) holder: *const Holder,
    /// Another task than the holder may end the wait, too.
    pub(crate) one_of_several: bool,
    /// Only tasks of this run can end the wait.
    pub(crate) only_this_run: bool,
    /// Another thread may end the wait without an `Unparker`: the awaited object can be shared between threads.
    pub(crate) external: bool,
    /// The descriptor that the wait is about, for reports; -1 for none. The kernel ends such a wait.
    pub(crate) fd: i32,
    /// The awaited operation is in progress outside of the run and ends without the run's help: a call on a thread of
    /// the pool. Such a wait is neither a deadlock nor a stall, and a paused clock does not advance during it.
    pub(crate) in_progress: bool,
    /// The kernel has an operation that borrows from the task: only its completion ends the wait.
    pub(crate) in_kernel: bool,
    /// A cancel does not end the wait.
    pub(crate) uncancellable: bool,
    /// A deadline ends the wait. Set when the task parks.
    pub(crate) has_deadline: bool,
    /// A public park: an `Unparker` ends it.
    pub(crate) public: bool,
    /// The deadlines and scopes around the wait end it. Set when the task parks.
    pub(crate) limited: bool,
    /// The deadline that the task parks with comes from a limit and not from the wait. Set when the task parks.
    pub(crate) limit_first: bool,
}

impl WaitSpec {
    pub(crate) const DEFAULT: WaitSpec = WaitSpec {
        reason: "",
        on_task: null(),
        holder: null(),
        one_of_several: false,
        only_this_run: false,
        external: false,
        fd: -1,
        in_progress: false,
        in_kernel: false,
        uncancellable: false,
        has_deadline: false,
        public: false,
        limited: false,
        limit_first: false,
    };
}

/// The effect of a wake on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The task was parked and is ready now: the caller puts it into the run queue.
    Ready,
    /// The task was not parked. If it has not ended, its next wait returns at once.
    Noted,
}

/// A task control block: the state of one task beside its context. Only the worker's thread accesses it.
///
/// Each change of state is a method, here, in `tcb_links` or in `tcb_place`, so that its rule is written once. The fields
/// fill four cache lines: the state that spawns, waits and ends use; the wait; the closure, later the result; and the parts
/// that few tasks have.
#[repr(C, align(64))]
pub(crate) struct Tcb {
    /// The saved registers of the task while it is suspended.
    context: Cell<*const Context>,
    /// The task's number, counted over the whole run; 0 while the TCB is free.
    pub(super) id: Cell<u64>,
    pub(super) phase: Cell<Phase>,
    /// The bits of `flags`.
    flags: Cell<u8>,
    /// A wake arrived while the task was not parked: its next wait returns at once, so the wakeup is not lost.
    wake_token: Cell<bool>,
    /// An `Unparker` was used outside of a public park: the next public park returns at once. Other waits do not
    /// consume it.
    permit: Cell<bool>,
    /// The parts in use that few tasks have: the bits of `parts`.
    parts: Cell<u8>,
    /// A callback runs and may hold a reference to the result, so `join` must not take the result.
    pub(super) result_borrowed: Cell<bool>,
    /// Reference count: one for the task until it ends, one for its handle, one for each pending callback.
    pub(super) ref_count: Cell<u32>,
    /// The sequence number of the task's waits. A timer compares it to tell whether its wait is over.
    wait_seq: Cell<u32>,
    /// The task that waits in `join` for this one, or null. In a free TCB, the next free one.
    pub(super) joiner: Cell<*const Tcb>,
    /// Drops the result. Set while there is a result.
    pub(super) drop_result: Cell<Option<unsafe fn(&Tcb)>>,
    /// The task's stack, until the task has ended.
    pub(super) stack: Cell<Option<Stack>>,
    /// The current wait. Valid while the task is parked, has been woken and has not run since, or is in a wait queue.
    pub(super) wait: Cell<WaitSpec>,
    /// The cell of the task's `Waker`s, which may still be bound to an earlier task of the TCB.
    waker_cell: Cell<Option<&'static WakerCell>>,
    /// The task's index in the group of `end_listener`.
    pub(super) group_index: Cell<u32>,
    /// The task's index among the children of its scope.
    pub(super) scope_index: Cell<u32>,
    /// The closure until the first turn, then the result and other fields of a started task.
    pub(super) place: Place,
    /// The group that waits for several tasks, this one among them.
    pub(super) end_listener: Cell<Option<Rc<dyn EndListener>>>,
    /// The scope that this task must not outlive.
    pub(super) scope_link: Cell<Option<Rc<dyn ScopeLink>>>,
    pub(super) name: Cell<Option<Arc<str>>>,
    /// The cold part: callbacks, locals, limits, unparker, cancel reason. Allocated on first use.
    ext: RefCell<Option<Box<TcbExt>>>,
}

/// Bits of `Tcb::parts`: the parts in use that few tasks have. The end of a task looks at these bits instead of the parts.
pub(super) mod parts {
    pub(crate) const NAME: u8 = 1;
    pub(crate) const GROUP: u8 = 2;
    pub(crate) const SCOPE: u8 = 4;
    pub(crate) const EXT: u8 = 8;
}

impl Tcb {
    /// Creates a free TCB.
    pub(super) fn new(context: *const Context) -> Tcb {
        Tcb {
            context: Cell::new(context),
            id: Cell::new(0),
            phase: Cell::new(Phase::Free),
            flags: Cell::new(0),
            wake_token: Cell::new(false),
            permit: Cell::new(false),
            parts: Cell::new(0),
            result_borrowed: Cell::new(false),
            ref_count: Cell::new(0),
            wait_seq: Cell::new(0),
            joiner: Cell::new(null()),
            drop_result: Cell::new(None),
            stack: Cell::new(None),
            wait: Cell::new(WaitSpec::DEFAULT),
            waker_cell: Cell::new(None),
            group_index: Cell::new(0),
            scope_index: Cell::new(0),
            place: Place::new(),
            end_listener: Cell::new(None),
            scope_link: Cell::new(None),
            name: Cell::new(None),
            ext: RefCell::new(None),
        }
    }

    #[inline]
    pub(crate) fn context(&self) -> *const Context {
        self.context.get()
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }

    #[inline(always)]
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Returns whether the task has ended: it returned, panicked, was unwound, or was cancelled before its first turn.
    #[inline(always)]
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase.get(), Phase::Ended | Phase::Cancelled)
    }

    #[inline(always)]
    pub(crate) fn is_parked(&self) -> bool {
        self.phase.get() == Phase::Parked
    }

    pub(crate) fn name(&self) -> Option<Arc<str>> {
        // SAFETY: only this thread accesses the name, and the clone of an `Arc` runs no code that could change it during the clone.
        unsafe { &*self.name.as_ptr() }.clone()
    }

    /// Returns the name without a clone, for a signal handler, which may have interrupted the allocator.
    ///
    /// # Safety
    ///
    /// The caller runs on the worker's thread, has not interrupted a change of the name, and drops the reference before
    /// the name changes.
    pub(crate) unsafe fn name_unchecked(&self) -> Option<&str> {
        // SAFETY: the name changes only on this thread. The caller ensures that it does not change while the reference
        // is used.
        unsafe { &*self.name.as_ptr() }.as_deref()
    }

    pub(crate) fn set_name(&self, name: Arc<str>) {
        self.add_part(parts::NAME);
        self.name.set(Some(name));
    }

    /// Notes that a part which few tasks have is in use, until the TCB is freed.
    #[inline(always)]
    pub(super) fn add_part(&self, part: u8) {
        self.parts.set(self.parts.get() | part);
    }

    /// Returns whether a part may be in use that few tasks have: a name, a group, a scope or the cold part.
    #[inline(always)]
    pub(crate) fn has_parts(&self) -> bool {
        self.parts.get() != 0
    }

    /// Returns the bits of [`flags`].
    #[inline(always)]
    pub(crate) fn flags(&self) -> u8 {
        self.flags.get()
    }

    #[inline(always)]
    pub(crate) fn has_flags(&self, bits: u8) -> bool {
        self.flags.get() & bits != 0
    }

    #[inline(always)]
    pub(crate) fn add_flags(&self, bits: u8) {
        self.flags.set(self.flags.get() | bits);
    }

    #[inline(always)]
    pub(crate) fn remove_flags(&self, bits: u8) {
        self.flags.set(self.flags.get() & !bits);
    }

    /// Allocates the TCB to the task `id`.
    #[inline(always)]
    pub(super) fn allocate(&self, id: u64) {
        self.id.set(id);
    }

    /// Resets the TCB for its next task.
    #[inline]
    pub(super) fn free(&self) {
        if self.parts.get() & parts::NAME != 0 {
            drop(self.name.take());
        }
        self.id.set(0);
        self.phase.set(Phase::Free);
        self.flags.set(0);
        self.wake_token.set(false);
        self.permit.set(false);
        self.parts.set(0);
        // No wait of the old task is current.
        self.end_wait(self.wait_seq.get());
    }

    /// Links a free TCB to the next free one, or to null.
    #[inline(always)]
    pub(super) fn set_next_free(&self, next: *const Tcb) {
        self.joiner.set(next);
    }

    /// Takes the link of a free TCB.
    #[inline(always)]
    pub(super) fn take_next_free(&self) -> *const Tcb {
        self.joiner.replace(null())
    }

    /// Makes the TCB that of main, which runs already, or of the event loop, which has no closure to drop.
    pub(super) fn adopt(&self, name: Option<&str>) {
        self.phase.set(Phase::Ready);
        if let Some(name) = name {
            self.set_name(Arc::from(name));
        }
    }

    /// Drops what [`adopt`](Self::adopt) and the run have stored in the TCB, before the TCB is returned to its table.
    pub(super) fn disown(&self) {
        drop((self.stack.take(), self.name.take(), self.ext.take()));
    }

    /// Marks the task as spawned: it has two references (its own and its handle's), and has not had a turn.
    #[inline(always)]
    pub(super) fn start(&self) {
        self.ref_count.set(2);
        self.phase.set(Phase::Fresh);
    }

    /// Gives the task its stack.
    #[inline(always)]
    pub(super) fn set_stack(&self, stack: Stack) {
        self.stack.set(Some(stack));
    }

    /// Marks the start of the task's own code.
    #[inline(always)]
    pub(crate) fn begin(&self) {
        self.phase.set(Phase::Ready);
    }

    /// Marks the task as ended, with its result stored. `end_order` is its place in the order of ends of the run.
    #[inline(always)]
    pub(crate) fn finish(&self, phase: Phase, end_order: u64) {
        self.phase.set(phase);
        self.place.set_end_order(end_order);
    }

    /// Makes the ended task ready again while the destructors of its result run on its stack. Until they have returned,
    /// the task can wait, be woken, be unwound and be abandoned, as before its end.
    #[inline(always)]
    pub(crate) fn resume_for_destructors(&self) {
        self.phase.set(Phase::Ready);
    }

    /// Takes the stack of an ended task, which must not be freed before the switch away from it (invariant 4).
    #[inline(always)]
    pub(crate) fn take_stack(&self) -> Option<Stack> {
        self.stack.take()
    }

    /// Abandons the task: the worker never enters it again. Its stack is leaked, because other code may borrow from its
    /// frames, and the kernel may write to them (condition 4 of `reactor::uring`).
    pub(crate) fn abandon(&self) {
        self.add_flags(flags::ABANDONED);
        std::mem::forget(self.stack.take());
    }

    /// Returns the current wait. Valid while the task is parked, has been woken and has not run since, or is in a wait
    /// queue.
    #[inline(always)]
    pub(crate) fn wait(&self) -> WaitSpec {
        self.wait.get()
    }

    /// Records a wait that was over before the task parked. A task that grants something before this task runs again
    /// sees which limits the wait obeys.
    pub(crate) fn set_wait(&self, wait: WaitSpec) {
        self.wait.set(wait);
    }

    /// Takes a wake that came before the wait `wait`, if there is one: then the task must not park. So no wakeup is lost.
    #[inline(always)]
    pub(super) fn take_early_wake(&self, wait: WaitSpec) -> bool {
        self.wake_token.replace(false) || wait.public && self.permit.replace(false)
    }

    /// Returns whether the next public park returns at once.
    pub(crate) fn has_permit(&self) -> bool {
        self.permit.get()
    }

    /// Parks the task and returns the sequence number of the wait.
    #[inline(always)]
    pub(super) fn park(&self, wait: WaitSpec, deadline: Option<Instant>, now: u64) -> u32 {
        self.place.set_parked_at(now);
        self.wait.set(WaitSpec { has_deadline: deadline.is_some(), ..wait });
        self.phase.set(Phase::Parked);
        let wait_seq = self.wait_seq.get().wrapping_add(1);
        self.wait_seq.set(wait_seq);
        if let Some(deadline) = deadline {
            self.place.set_deadline(deadline);
            self.add_flags(flags::HAS_DEADLINE);
        }
        wait_seq
    }

    /// Returns whether the wait with this sequence number is still the current one. A timer that fires advances the
    /// number.
    #[inline(always)]
    pub(super) fn is_waiting(&self, wait_seq: u32) -> bool {
        self.wait_seq.get() == wait_seq
    }

    /// Ends the wait with this sequence number, so that its timer becomes stale.
    #[inline(always)]
    pub(super) fn end_wait(&self, wait_seq: u32) {
        self.wait_seq.set(wait_seq.wrapping_add(1));
    }

    /// Returns the sequence number of the current wait, or of the last one.
    pub(crate) fn wait_seq(&self) -> u32 {
        self.wait_seq.get()
    }

    /// Returns the deadline that the task is parked with.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // SAFETY: `park` has stored the deadline before it set the flag.
        self.has_flags(flags::HAS_DEADLINE).then(|| unsafe { self.place.deadline() })
    }

    /// Wakes the task for the library: makes a parked task ready. For a task that is not parked, the next wait returns
    /// at once, and that may be a spurious wakeup.
    #[inline(always)]
    pub(super) fn wake(&self) -> Woken {
        match self.phase.get() {
            Phase::Parked => {
                self.phase.set(Phase::Ready);
                return Woken::Ready;
            }
            Phase::Fresh | Phase::Ready => self.wake_token.set(true),
            Phase::Free | Phase::Ended | Phase::Cancelled => {}
        }
        Woken::Noted
    }

    /// Wakes the task for an `Unparker`: ends its current public park or its next one, and no other wait.
    #[inline(always)]
    pub(super) fn unpark(&self) -> Woken {
        match self.phase.get() {
            Phase::Parked if self.wait.get().public => return self.wake(),
            Phase::Parked | Phase::Fresh | Phase::Ready => self.permit.set(true),
            Phase::Free | Phase::Ended | Phase::Cancelled => {}
        }
        Woken::Noted
    }

    /// Calls `f` with the cold part, which is allocated on first use. `f` must not run user code, because the part is
    /// borrowed.
    pub(crate) fn ext<R>(&self, f: impl FnOnce(&mut TcbExt) -> R) -> R {
        self.add_part(parts::EXT);
        f(self.ext.borrow_mut().get_or_insert_default())
    }

    /// Calls `f` with the cold part if it has been allocated.
    #[inline(always)]
    pub(crate) fn ext_if_any<R>(&self, f: impl FnOnce(&mut TcbExt) -> R) -> Option<R> {
        self.ext.borrow_mut().as_deref_mut().map(f)
    }

    /// Returns the cell of the task's `Waker`s, which may still be bound to an earlier task of the TCB.
    #[inline(always)]
    pub(super) fn waker_cell(&self) -> Option<&'static WakerCell> {
        self.waker_cell.get()
    }

    pub(super) fn set_waker_cell(&self, cell: &'static WakerCell) {
        self.waker_cell.set(Some(cell));
    }

    /// Returns whether an `Unparker` of the task exists.
    pub(crate) fn can_be_unparked(&self) -> bool {
        let count = |ext: &mut TcbExt| ext.unparker.as_ref().map_or(0, Arc::strong_count);
        self.ext_if_any(count).is_some_and(|count| count > 1)
    }

    /// Takes the cold part, so that the caller drops it outside of any borrow.
    #[inline(always)]
    pub(crate) fn take_ext(&self) -> Option<Box<TcbExt>> {
        self.ext.take()
    }
}

impl Task {
    /// Returns the identity of the task that owns the TCB.
    pub(crate) fn of(tcb: &Tcb) -> Task {
        Task { id: tcb.id(), name: tcb.name() }
    }
}

/// The waiter for the ends of several tasks.
pub(crate) trait EndListener {
    /// Records the end of a task, given its index in the group or scope. Called on the stack of that task. Returns the
    /// task to wake, or null. Must not wait or panic.
    fn ended(&self, index: u32, panicked: bool) -> *const Tcb;
}

/// A scope, as its child tasks see it.
pub(crate) trait ScopeLink: EndListener {
    /// Takes over the panic of a child task that has no handle left.
    fn failed(&self, tcb: &Tcb, payload: Box<dyn Any + Send>);
}
