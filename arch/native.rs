//! What the hand-written files share: the context, and the announcements to AddressSanitizer.

/// A directive for the unwind tables, where the functions that a switch is inlined into have any: an assembler refuses it
/// elsewhere. They have none with `-Cpanic=abort -Cforce-unwind-tables=no`, which must come with
/// `--cfg cede_no_unwind_tables`.
#[cfg(all(not(cede_no_unwind_tables), any(panic = "unwind", target_os = "linux", target_vendor = "apple")))]
macro_rules! cfi {
    ($directive:literal) => {
        $directive
    };
}
#[cfg(not(all(not(cede_no_unwind_tables), any(panic = "unwind", target_os = "linux", target_vendor = "apple"))))]
macro_rules! cfi {
    ($directive:literal) => {
        ""
    };
}

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod imp;

pub(crate) use imp::{clock, fresh_address, prefetch, thread_pointer, unwind_from_registers};

use super::{Entry, Registers};
use std::cell::Cell;
use std::mem::offset_of;

/// A suspended point of execution. The assembly knows the places of the four words.
#[repr(C, align(32))]
pub(crate) struct Context {
    sp: Cell<usize>,
    pc: Cell<usize>,
    fp: Cell<usize>,
    /// rbx or x19: the register that the compiler keeps for itself beside the frame pointer.
    bx: Cell<usize>,
    #[cfg(feature = "asan")]
    asan: asan::Fiber,
}

const _: () = assert!(size_of::<Context>() == 32 || cfg!(feature = "asan"));
const _: () = assert!(
    offset_of!(Context, sp) == 0
        && offset_of!(Context, pc) == 8
        && offset_of!(Context, fp) == 16
        && offset_of!(Context, bx) == 24
);

impl Context {
    /// A context that is not suspended.
    pub(crate) const fn new() -> Context {
        Context {
            sp: Cell::new(0),
            pc: Cell::new(0),
            fp: Cell::new(0),
            bx: Cell::new(0),
            #[cfg(feature = "asan")]
            asan: asan::Fiber::new(),
        }
    }

    /// Prepares the context to call `entry(arg)` on the stack between `limit` and `top`.
    ///
    /// # Safety
    ///
    /// * `limit..top` is writable, unused, and stays so until what `entry` returned was entered.
    /// * `entry` does not unwind.
    #[inline]
    pub(crate) unsafe fn init(&self, limit: usize, top: usize, entry: Entry, arg: usize) {
        let _ = limit;
        let top = top & !15;
        #[cfg(feature = "asan")]
        // SAFETY: the caller's.
        let (top, entry, arg) = unsafe { asan::init(self, limit, top, entry, arg) };
        // The entry and its argument travel in the two saved registers, so the root depends on no other.
        self.sp.set(top);
        self.pc.set(imp::root_address());
        self.fp.set(entry as *const () as usize);
        self.bx.set(arg);
    }

    /// Where the stack pointer stood when it was suspended.
    pub(crate) fn stack_pointer(&self) -> usize {
        self.sp.get()
    }

    /// The saved frame pointer: the end of a chain that a frame-pointer walk can follow.
    #[cfg(test)]
    pub(super) fn frame_pointer(&self) -> usize {
        self.fp.get()
    }
}

/// Suspends the running context into `save` and enters `to`. Returns when somebody enters `save`.
///
/// # Safety
///
/// * `to` was made by `init` or saved by `switch`, on this thread, and was not entered since.
/// * `save` is nobody else's until it is entered.
#[cfg_attr(feature = "asan", inline(never))] // ASan gives no fake frame to a function that holds inline assembly
#[cfg_attr(not(feature = "asan"), inline(always))]
pub(crate) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: the caller's. In debug builds the context is marked as entered and left through a copy, so that entering it
    // twice is found at once.
    unsafe {
        #[cfg(debug_assertions)]
        let copy = {
            let pc = (*to).pc.replace(0);
            assert!(pc != 0, "switch to a context that runs already, or that was never made");
            [(*to).sp.get(), pc, (*to).fp.get(), (*to).bx.get()]
        };
        #[cfg(feature = "asan")]
        asan::leave(save, to);
        #[cfg(debug_assertions)]
        let to = copy.as_ptr().cast::<Context>();
        imp::switch(save, to);
        #[cfg(feature = "asan")]
        asan::arrive((*save).asan.fake());
    }
}

/// Calls `f(arg)` on this stack, with a caller that, to an unwinder, is the suspended `context`: a backtrace taken in `f`
/// goes on there (2.6 us for 26 frames). Returns whether it could: always, natively.
///
/// # Safety
///
/// `context` is suspended during the whole call, and `f` does not switch. A panic in `f` aborts: it may not unwind into the
/// suspended frames, whose landing pads would run.
pub(crate) unsafe fn unwind_from(context: *const Context, f: unsafe extern "C" fn(*mut u8), arg: *mut u8) -> bool {
    // SAFETY: the caller's.
    unsafe {
        debug_assert!((*context).pc.get() != 0, "the context is not suspended");
        imp::unwind_from(context, f, arg);
    }
    true
}

/// The registers of the code that a signal interrupted; `None` where the place of them is not known.
///
/// # Safety
///
/// `context` is what the kernel passed to a SA_SIGINFO handler.
pub(crate) unsafe fn interrupted(context: *mut libc::c_void) -> Option<Registers> {
    #[cfg(target_os = "linux")]
    // SAFETY: the caller's.
    return Some(unsafe { imp::interrupted(&*context.cast::<libc::ucontext_t>()) });
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// Announcing switches to AddressSanitizer, which keeps a fake stack for each real one.
///
/// Wrong announcements pass every functional test. Two things show them: "ASan is ignoring" on stderr, and memory that grows
/// with every ended task. `.ci/sanitize` looks for the first, `tests/asan.rs` for the second.
#[cfg(feature = "asan")]
mod asan {
    use super::{Context, Entry};
    use std::cell::Cell;
    use std::ptr::{null, null_mut};

    unsafe extern "C" {
        fn __sanitizer_start_switch_fiber(save: *mut *mut u8, bottom: *const u8, size: usize);
        fn __sanitizer_finish_switch_fiber(fake: *mut u8, bottom_old: *mut *const u8, size_old: *mut usize);
        fn __asan_unpoison_memory_region(start: *const u8, size: usize);
    }

    /// What ASan has to know of a suspended context. The bounds are those of the stack that it was last on: not its task's
    /// when it is suspended inside a nested coroutine.
    pub(super) struct Fiber {
        fake: Cell<*mut u8>,
        bottom: Cell<*const u8>,
        size: Cell<usize>,
    }

    impl Fiber {
        pub(super) const fn new() -> Fiber {
            Fiber { fake: Cell::new(null_mut()), bottom: Cell::new(null()), size: Cell::new(0) }
        }

        pub(super) fn fake(&self) -> *mut u8 {
            self.fake.get()
        }
    }

    thread_local! {
        /// The context that is being left.
        static FROM: Cell<*const Context> = const { Cell::new(null()) };
    }

    /// Before a switch. `save` is null for a stack that is done: its fake frames are freed.
    pub(super) unsafe fn leave(save: *const Context, to: *const Context) {
        FROM.set(save);
        // SAFETY: both contexts are valid, by the switch's contract; a null slot is what the runtime wants at the end.
        unsafe {
            let slot = if save.is_null() { null_mut() } else { (*save).asan.fake.as_ptr() };
            __sanitizer_start_switch_fiber(slot, (*to).asan.bottom.get(), (*to).asan.size.get());
        }
    }

    /// After a switch, on the new stack. The runtime tells the bounds of the stack that was left.
    pub(super) unsafe fn arrive(fake: *mut u8) {
        let (mut bottom, mut size) = (null(), 0);
        // SAFETY: called once after each `leave`; the context that was left is still there.
        unsafe {
            __sanitizer_finish_switch_fiber(fake, &mut bottom, &mut size);
            if let Some(from) = FROM.get().as_ref() {
                from.asan.bottom.set(bottom);
                from.asan.size.set(size);
            }
        }
    }

    /// Puts `first` before `entry`, and forgets the red zones of frames that never returned.
    pub(super) unsafe fn init(
        c: &Context,
        limit: usize,
        top: usize,
        entry: Entry,
        arg: usize,
    ) -> (usize, Entry, usize) {
        // SAFETY: the stack is the caller's to give, and unused.
        unsafe {
            __asan_unpoison_memory_region(limit as *const u8, top - limit);
            c.asan.fake.set(null_mut());
            c.asan.bottom.set(limit as *const u8);
            c.asan.size.set(top - limit);
            let cell = top - 16;
            (cell as *mut (Entry, usize)).write((entry, arg));
            (cell, first, cell)
        }
    }

    unsafe extern "C" fn first(cell: usize) -> *const Context {
        // SAFETY: `init` wrote the cell; this is the first frame on the stack, and what it returns is entered next.
        unsafe {
            arrive(null_mut());
            let (entry, arg) = *(cell as *const (Entry, usize));
            let next = entry(arg);
            leave(null(), next);
            next
        }
    }
}
