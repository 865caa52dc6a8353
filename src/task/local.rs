//! Task-local storage: static variables that have a separate value in each task.

use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_ext::Locals;
use crate::scheduler::worker;
use crate::wait::not_running;
use std::any::Any;
use std::fmt;
use std::rc::Rc;

/// A task-local variable: a static that has a separate value in each task. Declared by
/// [`task_local!`](crate::task_local).
///
/// A task starts with the initial value. A task built with
/// [`Builder::inherit_locals`](crate::Builder::inherit_locals) starts with the values that its spawner had at that moment;
/// an inherited value is shared until one of the two tasks replaces it. [`set`](Self::set) changes the value of the
/// current task only.
#[doc(alias = "contextvar")]
#[doc(alias = "ContextVar")]
pub struct LocalKey<T: 'static> {
    initial: fn() -> T,
}

#[doc(hidden)]
pub const fn new_key<T>(initial: fn() -> T) -> LocalKey<T> {
    LocalKey { initial }
}

/// Declares task-local variables, each with its initial value.
///
/// ```
/// cede::task_local! {
///     static REQUEST: u64 = 0;
/// }
/// cede::run(|| {
///     REQUEST.set(7);
///     let mut inherits = cede::Builder::new().inherit_locals(true).spawn(|| REQUEST.get()).unwrap();
///     let mut fresh = cede::spawn(|| REQUEST.get());
///     assert_eq!((inherits.join().unwrap(), fresh.join().unwrap()), (7, 0));
/// });
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $T:ty = $initial:expr;)+) => { $(
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$T> = {
            fn initial() -> $T {
                $initial
            }
            $crate::task::new_key(initial)
        };
    )+ };
}

impl<T: 'static> LocalKey<T> {
    /// Calls `f` with the current task's value. The first use in a task creates the value. `f` may wait.
    ///
    /// # Panics
    ///
    /// Panics if called outside a run.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let value = self.value();
        f(&value)
    }

    /// Replaces the current task's value. A call of [`with`](Self::with) that is in progress keeps the old value.
    ///
    /// # Panics
    ///
    /// Panics if called outside a run.
    pub fn set(&'static self, value: T) {
        self.put(Rc::new(value));
    }

    /// Returns a clone of the current task's value.
    ///
    /// # Panics
    ///
    /// Panics if called outside a run.
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn tcb(&self) -> &Tcb {
        match worker() {
            Some(worker) => worker.current(),
            None => not_running("use a task-local"),
        }
    }

    fn value(&'static self) -> Rc<T> {
        let key = self.key();
        let found =
            self.tcb().ext(|ext| ext.locals.iter().find(|(own, _)| *own == key).map(|(_, value)| Rc::clone(value)));
        match found.map(Rc::downcast) {
            Some(Ok(value)) => value,
            _ => {
                // Created outside of the borrow, because the initializer is user code.
                let value = Rc::new((self.initial)());
                self.put(Rc::clone(&value) as Rc<dyn Any>);
                value
            }
        }
    }

    fn put(&'static self, value: Rc<dyn Any>) {
        let key = self.key();
        let old = self.tcb().ext(|ext| match ext.locals.iter_mut().find(|(own, _)| *own == key) {
            Some((_, place)) => Some(std::mem::replace(place, value)),
            None => {
                ext.locals.push((key, value));
                None
            }
        });
        // Dropped outside of the borrow, because the destructor is user code.
        drop(old);
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// Returns a copy of the spawner's locals for a new task; `None` if the spawner has none.
pub(super) fn inherited(spawner: &Tcb) -> Option<Locals> {
    Some(spawner.ext(|ext| ext.locals.clone())).filter(|locals| !locals.is_empty())
}

/// Gives inherited locals to a new task.
pub(super) fn give(tcb: &Tcb, locals: Option<Locals>) {
    if let Some(locals) = locals {
        tcb.ext(|ext| ext.locals = locals);
    }
}
