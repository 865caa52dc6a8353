//! The links of a TCB to other tasks (joiner, group, scope), its reference count, its closure and its result.

use super::phase::flags;
use super::tcb::{EndListener, ScopeLink, Tcb, WaitSpec, parts};
use super::tcb_place::RESULT_WORDS;
use std::ptr::null;
use std::rc::Rc;

impl Tcb {
    /// Returns the task that this task joins, while it is parked for that.
    pub(crate) fn awaited_task(&self) -> Option<&Tcb> {
        // SAFETY: a parked task borrows the handle of the task that it joins until its wait ends. The handle keeps that
        // TCB allocated.
        if self.is_parked() { unsafe { self.wait().on_task.as_ref() } } else { None }
    }

    /// Returns whether the task's flags end a wait of this kind, or keep it from beginning.
    pub(crate) fn flags_interrupt(&self, wait: WaitSpec) -> bool {
        let bits = flags::UNWIND_REQUESTED | flags::DEADLOCKED | if wait.uncancellable { 0 } else { flags::CANCELLED };
        self.has_flags(bits)
    }

    /// Returns the run and the number of the task that holds the lock that this task is parked for.
    pub(crate) fn awaited_holder(&self) -> Option<(u64, u64)> {
        // SAFETY: a parked task borrows the lock that it waits for until its wait ends. The holder record is a part of the lock.
        let holder = if self.is_parked() { unsafe { self.wait().holder.as_ref() } } else { None };
        holder?.task()
    }

    /// Sets the task to wake when this task ends.
    pub(crate) fn set_joiner(&self, joiner: *const Tcb) {
        self.joiner.set(joiner);
    }

    #[inline(always)]
    pub(crate) fn take_joiner(&self) -> *const Tcb {
        self.joiner.replace(null())
    }

    /// Removes the joiner, if it is still `joiner`.
    pub(crate) fn remove_joiner(&self, joiner: &Tcb) {
        if std::ptr::eq(self.joiner.get(), joiner) {
            self.joiner.set(null());
        }
    }

    /// Adds the task to a group, at this index: the group is notified when the task ends.
    pub(crate) fn join_group(&self, group: Rc<dyn EndListener>, index: u32) {
        self.add_part(parts::GROUP);
        self.group_index.set(index);
        self.end_listener.set(Some(group));
    }

    /// Takes the group and the task's index in it.
    #[inline(always)]
    pub(crate) fn take_group(&self) -> Option<(Rc<dyn EndListener>, u32)> {
        self.end_listener.take().map(|listener| (listener, self.group_index.get()))
    }

    /// Makes the task a child of a scope, at this index.
    pub(crate) fn join_scope(&self, scope: Rc<dyn ScopeLink>, index: u32) {
        self.add_part(parts::SCOPE);
        self.scope_index.set(index);
        self.scope_link.set(Some(scope));
    }

    /// Changes the task's index among the children of its scope.
    pub(crate) fn move_in_scope(&self, index: u32) {
        self.scope_index.set(index);
    }

    /// Returns the scope of which the task is a child.
    pub(crate) fn scope(&self) -> Option<Rc<dyn ScopeLink>> {
        let scope = self.scope_link.take();
        self.scope_link.set(scope.clone());
        scope
    }

    /// Takes the scope, and the task's index among its children.
    #[inline(always)]
    pub(crate) fn take_scope(&self) -> Option<(Rc<dyn ScopeLink>, u32)> {
        self.scope_link.take().map(|scope| (scope, self.scope_index.get()))
    }

    /// Adds a reference, which keeps the TCB allocated until `remove_reference`.
    pub(crate) fn add_reference(&self) {
        self.ref_count.set(self.ref_count.get() + 1);
    }

    /// Removes a reference. Returns whether it was the last: then the caller drops the result and frees the TCB.
    #[inline(always)]
    pub(crate) fn remove_reference(&self) -> bool {
        let ref_count = self.ref_count.get() - 1;
        self.ref_count.set(ref_count);
        ref_count == 0
    }

    /// Returns whether only one reference is left.
    #[inline(always)]
    pub(crate) fn has_one_reference(&self) -> bool {
        self.ref_count.get() == 1
    }

    /// Stores the closure of a new task, which is forgotten if the task never starts.
    ///
    /// # Safety
    ///
    /// The closure [`fits`](super::tcb_place::fits), and the TCB is new.
    #[inline(always)]
    pub(crate) unsafe fn put_closure<F>(&self, f: F) {
        // SAFETY: the caller ensures that an `F` fits. No field of a started task is in use in a new TCB.
        unsafe { self.place.closure::<F>().write(f) };
    }

    /// Takes the closure of a task that starts.
    ///
    /// # Safety
    ///
    /// `put_closure::<F>` stored it, and it was not taken.
    #[inline(always)]
    pub(crate) unsafe fn take_closure<F>(&self) -> F {
        // SAFETY: the caller ensures that an `F` is there, which is read once.
        unsafe { self.place.closure::<F>().read() }
    }

    /// Returns the address of the result, or of the box that holds it.
    #[inline(always)]
    pub(crate) fn result_place(&self) -> *mut [usize; RESULT_WORDS] {
        self.place.result()
    }

    /// Returns the time at which the current wait began: see `Worker::waits_since`. 0 if the task is not parked.
    pub(super) fn parked_at(&self) -> u64 {
        // SAFETY: `Tcb::park` has stored the time before it set the phase.
        if self.is_parked() { unsafe { self.place.parked_at() } } else { 0 }
    }

    /// Returns the task's place in the order of ends: the number of tasks of the run that had ended when it did. 0 if it has not ended.
    pub(crate) fn end_order(&self) -> u64 {
        // SAFETY: `Tcb::finish` has stored the place when it set the phase.
        if self.is_finished() { unsafe { self.place.end_order() } } else { 0 }
    }

    /// Records that a result is stored, and the function that drops it.
    #[inline(always)]
    pub(crate) fn set_result(&self, drop: unsafe fn(&Tcb)) {
        self.drop_result.set(Some(drop));
    }

    #[inline(always)]
    pub(crate) fn has_result(&self) -> bool {
        self.drop_result.get().is_some()
    }

    /// Records that no result is stored any more. Returns the function that drops the result, if there was one.
    #[inline(always)]
    pub(crate) fn take_result(&self) -> Option<unsafe fn(&Tcb)> {
        self.drop_result.take()
    }

    /// Returns whether a callback may hold a reference to the result.
    pub(crate) fn is_result_borrowed(&self) -> bool {
        self.result_borrowed.get()
    }

    pub(crate) fn set_result_borrowed(&self, borrowed: bool) {
        self.result_borrowed.set(borrowed);
    }
}
