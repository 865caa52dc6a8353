//! Callbacks of tasks that have ended, and the room for what few tasks have.

use super::handle::{JoinError, JoinHandle, peek};
use super::limits::Limit;
use super::wait::Target;
use super::{Task, release};
use crate::scheduler::Worker;
use crate::scheduler::table::Block;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// What few tasks have. Made when first asked for.
#[derive(Default)]
pub(super) struct Extra {
    callbacks: Vec<(CallbackId, Callback)>,
    next_callback: u64,
    pub(super) locals: super::local::Locals,
    pub(super) target: Option<Arc<Target>>,
    pub(super) cancel_reason: Option<Cow<'static, str>>,
    /// What limits its waits, the innermost last.
    pub(super) limits: Vec<Limit>,
    /// How many it ever had: their numbers.
    pub(super) limits_made: u64,
}

type Callback = Box<dyn FnOnce(&Block)>;

/// Lends out what a block has beside itself.
pub(super) fn extra<R>(block: &Block, f: impl FnOnce(&mut Extra) -> R) -> R {
    let mut extra = block.extra.borrow_mut();
    let extra: &mut Box<dyn Any> = extra.get_or_insert_with(|| Box::<Extra>::default());
    f(extra.downcast_mut().expect("only this module fills it"))
}

/// Names a callback, so that it can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId(u64);

/// A task that has ended, as its callbacks see it.
pub struct Done<'a, T> {
    block: &'a Block,
    _result: std::marker::PhantomData<T>,
}

impl<T: 'static> Done<'_, T> {
    /// Who it was.
    pub fn task(&self) -> Task {
        Task::of(self.block)
    }

    /// What it came to; `None` if `join` has taken it by now.
    pub fn result(&self) -> Option<&Result<T, JoinError>> {
        // SAFETY: this is made by `JoinHandle<T>::on_done` for the handle's own task.
        unsafe { peek(self.block) }
    }
}

impl<T> fmt::Debug for Done<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("task", &Task::of(self.block)).finish_non_exhaustive()
    }
}

impl<T: 'static> JoinHandle<T> {
    /// Calls `f` once the task has ended: never at once, but in a turn of the scheduler's own, in the order in which
    /// callbacks were added, also if the task has ended already. A callback that panics keeps no other from running.
    ///
    /// `f` may spawn tasks and wake them; it may not wait.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut handle = cede::spawn(|| 6 * 7);
    ///     handle.on_done(|done| println!("{} returned {:?}", done.task(), done.result()));
    ///     handle.join().unwrap();
    /// });
    /// ```
    pub fn on_done(&self, f: impl FnOnce(&Done<'_, T>) + 'static) -> CallbackId {
        let block = self.block();
        let call: Callback = Box::new(move |block| f(&Done { block, _result: std::marker::PhantomData }));
        let id = extra(block, |extra| {
            extra.next_callback += 1;
            let id = CallbackId(extra.next_callback);
            extra.callbacks.push((id, call));
            id
        });
        if self.is_finished()
            && let Some(worker) = self.own_worker()
        {
            schedule(worker, block);
        }
        id
    }

    /// Removes a callback that has not been called. True if it was there.
    ///
    /// ```
    /// cede::run(|| {
    ///     let mut handle = cede::spawn(|| ());
    ///     let id = handle.on_done(|_| unreachable!("removed"));
    ///     assert!(handle.remove_done(id));
    ///     assert!(!handle.remove_done(id));
    ///     handle.join().unwrap();
    /// });
    /// ```
    pub fn remove_done(&self, id: CallbackId) -> bool {
        // Dropped outside of any borrow: what it owns may be code of anybody's.
        let removed = extra(self.block(), |extra| {
            let place = extra.callbacks.iter().position(|(callback, _)| *callback == id);
            place.map(|place| extra.callbacks.remove(place))
        });
        removed.is_some()
    }
}

/// The task has ended: has the hub run its callbacks, one by one.
pub(super) fn schedule(worker: &Worker, block: &Block) {
    if block.extra.borrow().is_none() {
        return;
    }
    let count = extra(block, |extra| extra.callbacks.len());
    for _ in 0..count {
        block.refs.set(block.refs.get() + 1);
        let (pointer, table) = (std::ptr::from_ref(block), Rc::clone(&worker.table));
        worker.queue(Box::new(move || {
            // SAFETY: the callback counts among those who have to do with the block, until the guard's drop.
            let counted = Counted { block: unsafe { &*pointer }, table };
            // Taken only now, so that it can be removed until now. The first is the one that was added first.
            let next = extra(counted.block, |extra| (!extra.callbacks.is_empty()).then(|| extra.callbacks.remove(0)));
            if let Some((_, callback)) = next {
                counted.block.lent.set(true);
                callback(counted.block);
            }
        }));
    }
}

struct Counted<'a> {
    block: &'a Block,
    table: Rc<crate::scheduler::table::Table>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.block.lent.set(false);
        release(&self.table, self.block);
    }
}
