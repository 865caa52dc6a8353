//! The portable context switch: the contract implemented with corosensei, for targets without a hand-written switch.
//! `--cfg cede_portable_switch` forces it.
//!
//! A context that was never passed to `init` is a hub. A `switch` away from a hub runs a loop on the caller's stack,
//! which resumes one context after another until a context switches to the hub itself. A `switch` away from any other
//! context suspends to that loop and returns the next context to it. So a turn costs two corosensei switches and one
//! pass through the loop: 4.7 to 6.5 ns, where the hand-written switch takes 1.1 to 1.4 ns.
//!
//! The implementation depends on a property that corosensei does not promise: the `Yielder` of an outer coroutine may
//! suspend while the thread runs on the stack of an inner coroutine (a task that switches away from inside a
//! generator). The outer coroutine then remembers the inner stack. `tests.rs` tests this property.

use super::{Entry, Registers};
use corosensei::stack::{Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::Cell;
use std::ptr::{null, null_mut};

type Next = *const Context;
type Fiber = Coroutine<(), Next, Next, Span>;

/// A borrowed stack: the caller of `init` owns the memory.
struct Span {
    limit: StackPointer,
    top: StackPointer,
}

// SAFETY: `limit..top` is writable as long as the fiber runs (condition of `Context::init`). Every caller passes a
// stack of the stack pool, which has a guard page below it.
unsafe impl Stack for Span {
    fn base(&self) -> StackPointer {
        self.top
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// The fiber of a context. corosensei writes to a new fiber's stack, so a fiber is made when its context is entered first: until
/// then other contexts may use the stack.
enum Body {
    Fresh { limit: usize, top: usize, entry: Entry, arg: usize },
    Entered(Fiber),
}

impl Body {
    /// Returns the fiber of the context `me`, which is made at the first call.
    ///
    /// # Safety
    ///
    /// The conditions of [`Context::init`], which made this body, hold. `me` is about to be entered.
    unsafe fn fiber(&mut self, me: *const Context) -> &mut Fiber {
        if let &mut Body::Fresh { limit, top, entry, arg } = self {
            // SAFETY: the addresses of a stack are not 0. `me` does not move until `entry` has returned, and `entry(arg)`
            // may be called on this stack (conditions of `init`).
            *self = Body::Entered(unsafe {
                let span =
                    Span { limit: StackPointer::new_unchecked(limit), top: StackPointer::new_unchecked(top & !15) };
                Fiber::with_stack(span, move |yielder, ()| {
                    (*me).yielder.set(yielder);
                    entry(arg)
                })
            });
        }
        match self {
            Body::Entered(fiber) => fiber,
            Body::Fresh { .. } => unreachable!("the fiber was made above"),
        }
    }
}

/// A suspended execution context.
#[repr(C, align(32))]
pub(crate) struct Context {
    /// The fiber, owned from `init` until `entry` has returned. Null for a hub.
    body: Cell<*mut Body>,
    /// The body was entered.
    entered: Cell<bool>,
    /// The yielder that suspends the running fiber. Null for a hub.
    yielder: Cell<*const Yielder<(), Next>>,
}

impl Context {
    /// Returns a context that is not suspended: a hub.
    pub(crate) const fn new() -> Context {
        Context { body: Cell::new(null_mut()), entered: Cell::new(false), yielder: Cell::new(null()) }
    }

    /// Prepares the context to call `entry(arg)` on the stack between `limit` and `top`.
    ///
    /// # Safety
    ///
    /// The conditions of the hand-written `init`. In addition, the context does not move until `entry` has returned.
    pub(crate) unsafe fn init(&self, limit: usize, top: usize, entry: Entry, arg: usize) {
        self.yielder.set(null());
        let former = self.body.replace(Box::into_raw(Box::new(Body::Fresh { limit, top, entry, arg })));
        // The loop in `hub` frees the body of a context that was entered.
        if !self.entered.replace(false) && !former.is_null() {
            // SAFETY: the body of an earlier `init`, which only this context owns.
            drop(unsafe { Box::from_raw(former) });
        }
    }

    /// Returns 0: corosensei does not expose the stack pointer.
    pub(crate) fn stack_pointer(&self) -> usize {
        0
    }
}

/// Suspends the running context into `save` and enters `to`. Returns when a later switch enters `save`.
///
/// # Safety
///
/// The conditions of the hand-written `switch`.
#[inline]
pub(crate) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: `save` is the running context (condition of this function). If it has a yielder, its fiber runs now,
    // perhaps on the stack of a nested coroutine; otherwise it is a hub.
    unsafe {
        match (*save).yielder.get().as_ref() {
            Some(yielder) => yielder.suspend(to),
            None => hub(save, to),
        }
    }
}

/// Resumes one context after another until a context switches to `me`.
///
/// # Safety
///
/// The conditions of [`switch`].
unsafe fn hub(me: *const Context, mut next: *const Context) {
    while next != me {
        // SAFETY: `next` was prepared by `init` or suspended, and has not been entered since (condition of `switch`). A
        // fiber that returned never runs again, so this loop may free its box.
        unsafe {
            let context = &*next;
            let body = context.body.get();
            debug_assert!(!body.is_null(), "switch to a context that was never made");
            context.entered.set(true);
            next = match (*body).fiber(context).resume(()) {
                CoroutineResult::Yield(next) => next,
                CoroutineResult::Return(next) => {
                    // `entry` may have prepared its own context again, which then has another body and no yielder.
                    if context.body.get() == body {
                        context.yielder.set(null());
                        context.body.set(null_mut());
                    }
                    drop(Box::from_raw(body));
                    next
                }
            };
        }
    }
}

/// Returns false, without calling the function: corosensei does not expose the registers of a suspended context.
///
/// # Safety
///
/// No conditions.
pub(crate) unsafe fn unwind_from(_: *const Context, _: unsafe extern "C" fn(*mut u8), _: *mut u8) -> bool {
    false
}

/// Returns `None`: the layout of the signal context is not known.
///
/// # Safety
///
/// No conditions.
pub(crate) unsafe fn interrupted(_: *mut libc::c_void) -> Option<Registers> {
    None
}

/// Returns false, without calling the function: unwinding from registers is not possible.
///
/// # Safety
///
/// No conditions.
pub(crate) unsafe fn unwind_from_registers(_: &Registers, _: unsafe extern "C" fn(*mut u8), _: *mut u8) -> bool {
    false
}

impl Registers {
    /// Returns false: no `Registers` exist.
    pub(crate) fn is_switching(&self) -> bool {
        false
    }
}

/// Returns 0: the thread pointer is not known.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    0
}

/// Evaluates to the address of a static.
macro_rules! fresh_address {
    ($name:path) => {
        &raw const $name as usize
    };
}
pub(crate) use fresh_address;

/// Does nothing.
#[inline(always)]
pub(crate) fn prefetch(_: usize) {}

/// Returns 0: no clock is known.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    0
}
