//! The common part of the hand-written switches: the context, and the announcements of switches to AddressSanitizer.

/// Expands to an unwind-table directive in builds whose functions have unwind tables, and to an empty line otherwise:
/// an assembler refuses the directive in a function without a table. Builds without tables
/// (`-Cpanic=abort -Cforce-unwind-tables=no`) must also set `--cfg cede_no_unwind_tables`.
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

/// A suspended execution context. The assembly depends on the offsets of the first four words.
#[repr(C, align(32))]
pub(crate) struct Context {
    sp: Cell<usize>,
    pc: Cell<usize>,
    fp: Cell<usize>,
    /// rbx or x19: the register that the compiler reserves besides the frame pointer.
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
    /// Returns a context that is not suspended.
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
    /// * `limit..top` is writable and only `entry` uses it, until the context that `entry` returned has been entered.
    /// * `entry` does not unwind.
    #[inline]
    pub(crate) unsafe fn init(&self, limit: usize, top: usize, entry: Entry, arg: usize) {
        let _ = limit;
        let top = top & !15;
        #[cfg(feature = "asan")]
        // SAFETY: the caller ensures the conditions of this function, which are those of `asan::init`.
        let (entry, arg) = unsafe { asan::init(self, limit, top, entry, arg) };
        // The two saved registers carry the entry and its argument, so `root` depends on no other register.
        self.sp.set(top);
        self.pc.set(imp::root_address());
        self.fp.set(entry as *const () as usize);
        self.bx.set(arg);
    }

    /// Returns the stack pointer of the suspended context.
    pub(crate) fn stack_pointer(&self) -> usize {
        self.sp.get()
    }

    /// Returns the saved frame pointer, at which a walk of the chain of frame pointers starts.
    #[cfg(test)]
    pub(super) fn frame_pointer(&self) -> usize {
        self.fp.get()
    }
}

/// Suspends the running context into `save` and enters `to`. Returns when a later switch enters `save`.
///
/// # Safety
///
/// * `init` or `switch` prepared `to` on this thread, and `to` has not been entered since.
/// * `save` stays allocated and holds this context only, until it is entered.
#[cfg_attr(feature = "asan", inline(never))] // ASan gives no fake frame to a function that holds inline assembly
#[cfg_attr(not(feature = "asan"), inline(always))]
pub(crate) unsafe fn switch(save: *const Context, to: *const Context) {
    // SAFETY: the caller ensures the conditions of this function, which are those of `imp::switch`. Debug builds mark
    // `to` as entered and switch to a copy, so that a second entry panics at once. The copy lives until its words are
    // loaded.
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

/// Calls `f(arg)` on this stack. To an unwinder the caller of `f` is the suspended `context`: a backtrace taken in `f`
/// continues there (2.6 us for 26 frames). Returns true: a hand-written switch can always do it.
///
/// # Safety
///
/// `context` is suspended during the whole call, and `f` does not switch. A panic in `f` aborts the process: unwinding
/// into the suspended frames would run their landing pads.
pub(crate) unsafe fn unwind_from(context: *const Context, f: unsafe extern "C" fn(*mut u8), arg: *mut u8) -> bool {
    // SAFETY: the caller ensures the conditions of this function, which are those of `imp::unwind_from`.
    unsafe {
        debug_assert!((*context).pc.get() != 0, "the context is not suspended");
        imp::unwind_from(context, f, arg);
    }
    true
}

/// Returns the registers of the code that a signal interrupted, or `None` on systems other than Linux.
///
/// # Safety
///
/// `context` is the context that the kernel passed to a SA_SIGINFO handler that has not returned.
pub(crate) unsafe fn interrupted(context: *mut libc::c_void) -> Option<Registers> {
    #[cfg(target_os = "linux")]
    // SAFETY: `context` points to a valid `ucontext_t` (condition of this function).
    return Some(unsafe { imp::interrupted(&*context.cast::<libc::ucontext_t>()) });
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// Announcements of switches to AddressSanitizer, which keeps a fake stack for each real stack.
///
/// Wrong announcements pass every functional test. Only two symptoms reveal them: "ASan is ignoring" on stderr, and
/// memory that grows with every ended task. `.ci/sanitize` looks for the first, `tests/asan.rs` for the second.
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

    /// ASan's state of a suspended context. The bounds are those of the stack that the context was suspended on. Inside
    /// a nested coroutine that is the coroutine's stack, not the task's.
    ///
    /// Aligned so that the size of a context remains a power of two.
    #[repr(align(64))]
    pub(super) struct Fiber {
        fake: Cell<*mut u8>,
        bottom: Cell<*const u8>,
        size: Cell<usize>,
        /// The function of a fresh context, and its argument.
        start: Cell<Option<(Entry, usize)>>,
    }

    impl Fiber {
        pub(super) const fn new() -> Fiber {
            Fiber { fake: Cell::new(null_mut()), bottom: Cell::new(null()), size: Cell::new(0), start: Cell::new(None) }
        }

        pub(super) fn fake(&self) -> *mut u8 {
            self.fake.get()
        }
    }

    thread_local! {
        /// The context that the running switch suspends. Null if its stack has ended.
        static FROM: Cell<*const Context> = const { Cell::new(null()) };
    }

    /// Announces the start of a switch. `save` is null if the stack has ended; ASan then frees the fake frames of the
    /// stack.
    pub(super) unsafe fn leave(save: *const Context, to: *const Context) {
        FROM.set(save);
        // SAFETY: `save` is null or valid, and `to` is valid (conditions of `switch`). The runtime expects a null slot
        // for a stack that has ended.
        unsafe {
            let slot = if save.is_null() { null_mut() } else { (*save).asan.fake.as_ptr() };
            __sanitizer_start_switch_fiber(slot, (*to).asan.bottom.get(), (*to).asan.size.get());
        }
    }

    /// Announces the end of a switch, on the new stack. The runtime returns the bounds of the previous stack.
    pub(super) unsafe fn arrive(fake: *mut u8) {
        let (mut bottom, mut size) = (null(), 0);
        // SAFETY: runs once after each `leave`. `FROM` is null or points to a suspended context, which stays allocated
        // until it is entered (condition of `switch`).
        unsafe {
            __sanitizer_finish_switch_fiber(fake, &mut bottom, &mut size);
            if let Some(from) = FROM.get().as_ref() {
                from.asan.bottom.set(bottom);
                from.asan.size.set(size);
            }
        }
    }

    /// Makes the context call `first` before `entry`, and removes the red zones of frames that never returned.
    ///
    /// # Safety
    ///
    /// The conditions of `Context::init`.
    pub(super) unsafe fn init(c: &Context, limit: usize, top: usize, entry: Entry, arg: usize) -> (Entry, usize) {
        // SAFETY: `limit..top` is a stack (condition of `Context::init`). Contexts that are prepared on it have no frames there yet.
        unsafe { __asan_unpoison_memory_region(limit as *const u8, top - limit) };
        c.asan.fake.set(null_mut());
        c.asan.bottom.set(limit as *const u8);
        c.asan.size.set(top - limit);
        c.asan.start.set(Some((entry, arg)));
        (first, std::ptr::from_ref(c) as usize)
    }

    unsafe extern "C" fn first(context: usize) -> *const Context {
        // SAFETY: `init` passes the address of the context, which is entered now for the first time. This is the first frame on the
        // stack, and `root` enters the returned context next.
        unsafe {
            arrive(null_mut());
            let (entry, arg) = (*(context as *const Context)).asan.start.take().expect("`init` has set it");
            let next = entry(arg);
            leave(null(), next);
            next
        }
    }
}
