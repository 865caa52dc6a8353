//! The contract over corosensei, for every target without a file of its own; `--cfg cede_portable_switch` forces it.
//!
//! Contexts that were never `init`ed are hubs: a `switch` away from one runs a loop on the caller's stack, which resumes
//! whoever is next until somebody switches to the hub itself. A `switch` away from any other suspends to that loop and names
//! who is next. So a turn costs two switches of corosensei's and the loop: 4.7 to 6.5 ns where the hand-written one takes
//! 1.1 to 1.4.
//!
//! It rests on one thing that corosensei does not promise and that a test of ours pins: an outer coroutine's `Yielder` may
//! suspend while on an inner coroutine's stack (a task that switches away from inside a generator). The outer then remembers
//! the inner stack.

use super::{Entry, Registers};
use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::Cell;
use std::ptr::{null, null_mut};

type Next = *const Context;
type Fiber = Coroutine<(), Next, Next, Span>;

/// Somebody else's stack.
struct Span {
    limit: StackPointer,
    top: StackPointer,
}

// SAFETY: `init`'s caller vouches for the memory and its guard.
unsafe impl Stack for Span {
    fn base(&self) -> StackPointer {
        self.top
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// A suspended point of execution.
#[repr(C, align(32))]
pub(crate) struct Context {
    /// Owned from `init` until its `entry` has returned. Null for a hub.
    fiber: Cell<*mut Fiber>,
    /// How the running fiber suspends. Null for a hub.
    yielder: Cell<*const Yielder<(), Next>>,
}

impl Context {
    /// A context that is not suspended.
    pub(crate) const fn new() -> Context {
        Context { fiber: Cell::new(null_mut()), yielder: Cell::new(null()) }
    }

    /// Prepares the context to call `entry(arg)` on the stack between `limit` and `top`.
    ///
    /// # Safety
    ///
    /// As in the hand-written files. The context stays where it is until `entry` has returned.
    pub(crate) unsafe fn init(&self, limit: usize, top: usize, entry: Entry, arg: usize) {
        let me: *const Context = self;
        // SAFETY: a stack's addresses are not 0; `me` stays in place, by the contract; `entry` is the caller's.
        let fiber = unsafe {
            let span = Span { limit: StackPointer::new_unchecked(limit), top: StackPointer::new_unchecked(top & !15) };
            Fiber::with_stack(span, move |yielder, ()| {
                (*me).yielder.set(yielder);
                entry(arg)
            })
        };
        self.fiber.set(Box::into_raw(Box::new(fiber)));
    }

    /// Not known here.
    pub(crate) fn stack_pointer(&self) -> usize {
        0
    }
}

/// Suspends the running context into `save` and enters `to`. Returns when somebody enters `save`.
///
/// # Safety
///
/// As in the hand-written files.
#[inline]
pub(crate) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: a context with a yielder is a fiber that runs now, perhaps on a nested coroutine's stack.
    unsafe {
        match (*save).yielder.get().as_ref() {
            Some(yielder) => yielder.suspend(to),
            None => hub(save, to),
        }
    }
}

/// Resumes one after the other until somebody enters `me`.
///
/// # Safety
///
/// As `switch`.
unsafe fn hub(me: *const Context, mut next: *const Context) {
    while next != me {
        // SAFETY: `next` was `init`ed or suspended and was not entered since, by the caller's promise; a fiber that returned
        // is done, and its box is ours again.
        unsafe {
            let context = &*next;
            debug_assert!(!context.fiber.get().is_null(), "switch to a context that was never made");
            next = match (*context.fiber.get()).resume(()) {
                CoroutineResult::Yield(next) => next,
                CoroutineResult::Return(next) => {
                    context.yielder.set(null());
                    drop(Box::from_raw(context.fiber.replace(null_mut())));
                    next
                }
            };
        }
    }
}

/// Cannot be done here: the registers of a suspended context are corosensei's. Returns false.
///
/// # Safety
///
/// None.
pub(crate) unsafe fn unwind_from(_: *const Context, _: unsafe extern "C" fn(*mut u8), _: *mut u8) -> bool {
    false
}

/// Not known here.
///
/// # Safety
///
/// None.
pub(crate) unsafe fn interrupted(_: *mut libc::c_void) -> Option<Registers> {
    None
}

/// Cannot be done here. Returns false.
///
/// # Safety
///
/// None.
pub(crate) unsafe fn unwind_from_registers(_: &Registers, _: unsafe extern "C" fn(*mut u8), _: *mut u8) -> bool {
    false
}

impl Registers {
    /// Never: there are none.
    pub(crate) fn is_switching(&self) -> bool {
        false
    }
}

/// Not known here.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    0
}

/// The address of a static.
macro_rules! fresh_address {
    ($name:path) => {
        &raw const $name as usize
    };
}
pub(crate) use fresh_address;

/// Not known here.
#[inline(always)]
pub(crate) fn prefetch(_: usize) {}

/// Not known here.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    0
}
