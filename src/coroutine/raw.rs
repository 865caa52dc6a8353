//! The raw coroutine: the engine of every coroutine, generator and sink. Runs a body on a stack of its own and holds
//! what the body shares with its owner.
//!
//! corosensei switches the registers; only this file, `raw_yielder.rs` and `chain.rs` name it. They add what the
//! library promises and corosensei does not: stacks from the pool, names, at most one unwinding of a body, no unwinding
//! into destroyed thread-locals, and no suspension during an unwinding.
//!
//! # Stack layout
//!
//! ```text
//!   top  +---------------------------+ <- Stack::top
//!        | handle                    |   Suspender, Yielder or Inbox: the body holds a reference to it. Its first
//!        | - raw_yielder: head, input|   field is the RawYielder, next to corosensei's words: a switch
//!  base  +---------------------------+ <- StackView::base   touches one cache line here
//!        | corosensei: entry, parent |
//!        | the body's closure        |
//!        | first frame ...           |
//!        v                           v
//! limit  +---------------------------+ <- Stack::limit
//! ```
//!
//! # Data across a switch
//!
//! A resume passes nothing in registers: the raw yielder holds the input. A suspension returns the yielded value, in a
//! register if it fits. Anything rarer (an interrupt, a delegate, a request to unwind) is announced by the control byte
//! in the raw yielder, which both sides read and which the fast path never writes. One enum of all messages was tried:
//! it took 8.8 ns per round trip, and the control byte takes about 3.
//!
//! # Invariants
//!
//! 1. The handle is in the stack from before the first switch until the body has ended. `RawCoroutine` drops it, once.
//! 2. The body runs only inside `RawCoroutine::switch`, on the thread that created it: `RawCoroutine` is neither `Send`
//!    nor `Sync`.
//! 3. Only code that runs inside the body gets past the check in `RawYielder::suspend` and `RawYielder::call`: only the
//!    body gets a reference to the handle, owners use other fields of it, and `chain` refuses tasks that borrowed the
//!    handle in a scope of the body.
//! 4. The input is set whenever a started body is resumed with `Control::Plain`; the yielded value is initialised
//!    whenever a body suspends with `Control::Plain`.
//! 5. A stack returns to the pool only after its body has ended. A leaked stack is never used again.

use super::chain::{self, Control};
use super::raw_yielder::{Handle, Label, RawYielder, Unwound, off_the_path};
use super::unwind_tables::{Anchor, In, Last, Out};
use crate::report::report;
use crate::stack::arena::{Kind, Slot, slot_around};
use crate::stack::{Shape, Stack, StackError, overflow, pool};
use corosensei::stack::StackPointer;
use std::any::Any;
use std::borrow::Cow;
use std::hint::{assert_unchecked, unreachable_unchecked};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, forget, needs_drop};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, drop_in_place};
use std::thread::panicking;

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// The state of a body, as seen by the owner of its handle.
///
/// Python has a fourth state, running. It cannot be observed here, because `resume` borrows the coroutine mutably while
/// the body runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The body has not started.
    Created,
    /// The body is suspended in a `suspend`, `yield_` or `recv`.
    Suspended,
    /// The body returned, panicked, was closed or was leaked.
    Finished,
}

/// The outcome of a resume.
pub(crate) enum Event<Y, R> {
    /// The body suspended with a value.
    Yielded(Y),
    /// The body suspended with a message in its handle.
    Message,
    /// The body returned.
    Complete(R),
    /// The body unwound because it was asked to.
    Unwound,
    /// The body panicked.
    Panicked(Payload),
}

/// The part of the stack that corosensei sees: all below the handle. The handle names the stack, and `RawCoroutine` returns it to the pool: a
/// second copy here would make each coroutine larger.
struct StackView {
    base: StackPointer,
}

// SAFETY: `base` and `limit` bound memory of a stack that belongs to the `RawCoroutine` alone, which frees it after this view. Below the limit is
// the guard. The memory is at least `min_size` large, less a quarter for the handle and 2 KiB for the staggering.
unsafe impl corosensei::stack::Stack for StackView {
    #[inline(always)]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        // Only AddressSanitizer asks for it.
        let limit = slot_around(self.base.get()).and_then(|slot| StackPointer::new(slot.limit()));
        limit.unwrap_or(StackPointer::MIN)
    }
}

type Inner<Y, R> = corosensei::Coroutine<In, Out<Y>, Last<Result<R, Payload>>, StackView>;

/// The options of a stack, as a `Builder` collects them.
#[derive(Clone, Debug)]
pub(crate) struct StackOptions {
    pub(crate) shape: Shape,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) clear: bool,
}

impl StackOptions {
    #[inline]
    pub(crate) fn default_shape() -> StackOptions {
        StackOptions { shape: Shape::default_shape(), name: None, clear: false }
    }
}

/// The data that corosensei copies to the stack. The handle comes first: at one instruction of the first switch an
/// unwinder takes it for a return address. The handle points to readable memory that is not code, so the unwinder
/// stops.
#[repr(C)]
struct First<H, F> {
    handle: NonNull<H>,
    body: F,
}

/// A body on its stack, with the right to resume it.
pub(crate) struct RawCoroutine<H: Handle, R> {
    inner: ManuallyDrop<Inner<H::Out, R>>,
    handle: NonNull<H>,
    _marker: PhantomData<(H, R)>,
}

impl<H: Handle, R> RawCoroutine<H, R> {
    /// Prepares a stack for `body`.
    ///
    /// # Errors
    /// Returns an error if there is no stack; `body` is dropped.
    ///
    /// # Safety
    /// Either everything is `'static`, or whatever `body` borrows outlives this `RawCoroutine` and the `RawCoroutine`
    /// is never forgotten.
    #[inline]
    pub(crate) unsafe fn new<F>(options: StackOptions, kind: Kind, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&H) -> R,
    {
        // corosensei copies the closure to the stack and accepts at most 1 KiB.
        if const { size_of::<F>() > 512 || align_of::<F>() > 16 } {
            let body = Box::new(body);
            // SAFETY: the caller keeps the contract of `new`, for the borrows of `body`.
            unsafe { Self::with_stack(options, kind, move |handle: &H| body(handle)) }
        } else {
            // SAFETY: the caller keeps the contract of `new`, for the borrows of `body`.
            unsafe { Self::with_stack(options, kind, body) }
        }
    }

    /// # Safety
    /// The contract of [`new`](Self::new).
    #[inline]
    unsafe fn with_stack<F>(options: StackOptions, kind: Kind, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&H) -> R,
    {
        // The handle may use at most a quarter of the stack.
        let need = size_of::<H>() + align_of::<H>();
        if need > options.shape.size / 4 {
            return Err(StackError::TooSmall { requested: options.shape.size, minimum: need * 4 });
        }
        let stack = Stack::acquire(options.shape, kind, options.name, options.clear)?;
        chain::note_body();
        let slot = stack.slot();
        let base = (stack.top() - size_of::<H>()) & !(align_of::<H>().max(16) - 1);
        // SAFETY: `base..top` is inside the stack (size check above) and aligned for H, and only this function uses the
        // new stack. `base` is not zero, because it is above the limit. `body` may run later: its borrows outlive the
        // `RawCoroutine` (contract of `new`).
        unsafe {
            let handle = NonNull::new_unchecked(base as *mut H);
            handle.write(H::new(RawYielder::new(slot)));
            handle.as_ref().raw_yielder().register_exit_byte();
            let view = StackView { base: StackPointer::new_unchecked(base) };
            // From here on the `RawCoroutine` owns the stack.
            forget(stack);
            let first = First { handle, body };
            let inner = Inner::with_stack_unchecked(view, move |yielder, _| Last(run(first, yielder)));
            Ok(RawCoroutine { inner: ManuallyDrop::new(inner), handle, _marker: PhantomData })
        }
    }

    /// Like [`new`](Self::new), for bodies that borrow nothing.
    #[inline]
    pub(crate) fn new_static<F>(options: StackOptions, kind: Kind, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&H) -> R + 'static,
        H: 'static,
        R: 'static,
    {
        // SAFETY: all types are 'static.
        unsafe { Self::new(options, kind, body) }
    }

    /// Returns the handle, to which the body holds a reference. An owner uses its own cells in the handle and never
    /// suspends through it (invariant 3).
    #[inline(always)]
    pub(crate) fn handle(&self) -> &H {
        // SAFETY: the handle is alive until `drop` (invariant 1).
        unsafe { self.handle.as_ref() }
    }

    /// Returns the kind and name of the body for messages: `generator 'numbers'`.
    pub(crate) fn label(&self) -> Label {
        self.handle().raw_yielder().label()
    }

    #[inline(always)]
    pub(crate) fn is_finished(&self) -> bool {
        self.inner.done()
    }

    #[inline(always)]
    pub(crate) fn is_started(&self) -> bool {
        self.inner.started()
    }

    pub(crate) fn state(&self) -> State {
        match (self.is_finished(), self.is_started()) {
            (true, _) => State::Finished,
            (false, true) => State::Suspended,
            (false, false) => State::Created,
        }
    }

    /// Runs the body to its first suspension, for bodies that take no input at their start.
    ///
    /// # Panics
    /// Panics if the body has started.
    pub(crate) fn start(&mut self) -> Event<H::Out, R> {
        assert!(!self.is_started(), "cannot start {}: it has been started", self.label());
        self.switch()
    }

    /// Runs the body from its start or its last suspension to its next suspension.
    ///
    /// # Panics
    /// Panics if the body has finished.
    #[inline(always)]
    pub(crate) fn resume(&mut self, input: H::In) -> Event<H::Out, R> {
        match self.try_resume(input) {
            Ok(event) => event,
            Err(_) => self.refuse_to_resume(),
        }
    }

    /// Like [`resume`](Self::resume), but returns the input if the body has finished.
    #[inline(always)]
    pub(crate) fn try_resume(&mut self, input: H::In) -> Result<Event<H::Out, R>, H::In> {
        if self.is_finished() {
            off_the_path();
            return Err(input);
        }
        Ok(self.go_on(input))
    }

    /// Like [`resume`](Self::resume), for a caller that has checked that the body has not finished.
    #[inline(always)]
    pub(crate) fn go_on(&mut self, input: H::In) -> Event<H::Out, R> {
        self.handle().raw_yielder().input.set(MaybeUninit::new(input));
        // SAFETY: checked above, and only a resume ends a body.
        unsafe { self.switch_unfinished() }
    }

    #[cold]
    fn refuse_to_resume(&self) -> ! {
        panic!("cannot resume {}: it has finished", self.label())
    }

    /// Runs the body with a control byte instead of an input. The body must not have finished.
    #[cold]
    pub(crate) fn resume_with(&mut self, control: Control) -> Event<H::Out, R> {
        self.handle().raw_yielder().head.control.set(control);
        self.switch()
    }

    #[inline(always)]
    fn switch(&mut self) -> Event<H::Out, R> {
        assert!(!self.is_finished(), "cannot resume {}: it has finished", self.label());
        // SAFETY: checked above.
        unsafe { self.switch_unfinished() }
    }

    /// # Safety
    /// The body must not have finished.
    #[inline(always)]
    unsafe fn switch_unfinished(&mut self) -> Event<H::Out, R> {
        // The functions that are called rarely get the raw yielder and not `self`: they do not know the address of a raw coroutine in a
        // local, so its stack pointer can stay in a register in a loop of resumes.
        let handle = self.handle;
        // SAFETY: the handle is alive until `drop` (invariant 1).
        let raw_yielder = unsafe { handle.as_ref() }.raw_yielder();
        if panicking() {
            raw_yielder.resumed_by_a_panic();
        }
        // SAFETY: the contract of this function. corosensei's own check is then removed.
        unsafe { assert_unchecked(!self.inner.done()) };
        // Forces a frame pointer: see `unwind_tables`.
        let anchor = Anchor::new();
        anchor.before_resume();
        let result = self.inner.resume(In::new());
        // The same look as that of corosensei. With two results in one `match` the two paths joined, and took four instructions more.
        if self.inner.done() {
            off_the_path();
            return match result {
                corosensei::CoroutineResult::Return(Last(Ok(result))) => Event::Complete(result),
                corosensei::CoroutineResult::Return(Last(Err(payload))) => match own_panic(raw_yielder.slot(), payload)
                {
                    Some(payload) => Event::Panicked(payload),
                    None => Event::Unwound,
                },
                // SAFETY: corosensei keeps the stack pointer of a body that suspends, so that body is not done.
                corosensei::CoroutineResult::Yield(_) => unsafe { unreachable_unchecked() },
            };
        }
        let corosensei::CoroutineResult::Yield(value) = result else {
            // SAFETY: corosensei clears the stack pointer of a body that returns, which is done then.
            unsafe { unreachable_unchecked() }
        };
        if panicking() {
            raw_yielder.suspended_in_panic();
        }
        if raw_yielder.head.control.get() == Control::Plain {
            // SAFETY: the body suspended with `Control::Plain`, so the value is initialised (invariant 4).
            return Event::Yielded(unsafe { value.0.assume_init() });
        }
        anchor.hold();
        raw_yielder.take_message();
        Event::Message
    }

    /// Returns whether a suspended body can be resumed. Once this thread destroys its thread-locals the answer is no,
    /// because frames on the stack may point to destroyed ones.
    pub(crate) fn can_resume(&self) -> bool {
        pool::thread_is_alive()
    }

    /// Returns whether a suspended body can be unwound. The answer is always no where panics abort.
    pub(crate) fn can_unwind(&self) -> bool {
        cfg!(panic = "unwind") && self.can_resume()
    }

    /// Returns the reason why a body is not unwound, for the message about its leak.
    pub(crate) fn why_not_unwound(&self) -> &'static str {
        if !pool::thread_is_alive() {
            "was dropped at the end of its thread, when thread-locals that it may use are destroyed"
        } else {
            "was dropped while suspended, where panics abort and nothing can unwind it"
        }
    }

    /// Leaks a body that does not end, with its stack (invariant 5). Prints a line on stderr.
    #[cold]
    pub(crate) fn leak(&mut self, why: &str) {
        self.handle().raw_yielder().slot().mark_leaked();
        // SAFETY: `force_reset` only marks the coroutine as done, so nothing resumes it. Its frames are never run,
        // dropped or overwritten: `Drop` skips a leaked raw coroutine, and so never returns the stack to the pool.
        unsafe { self.inner.force_reset() };
        report!("{} {why}; its stack is leaked", self.label());
    }

    /// Aborts the process, naming a body that must end and does not.
    #[cold]
    pub(crate) fn abort(&self, why: &str) -> ! {
        let slot = self.handle().raw_yielder().slot();
        let (kind, name) = slot.label();
        overflow::abort_naming(kind, name, why)
    }

    /// Ends a body that has not finished: drops it if it has not started, else unwinds it, once.
    ///
    /// Returns the panic of one of its destructors as `Err`. A body that does not end is leaked; if `borrows`, the
    /// process aborts instead.
    #[cold]
    pub(crate) fn end(&mut self, borrows: bool) -> Result<(), Payload> {
        let mut thrown = Ok(());
        // The call that ends a scoped body also created it, so the thread-locals that the body uses are as alive as the
        // caller's.
        let possible = if borrows { cfg!(panic = "unwind") } else { self.can_unwind() };
        let why = if self.is_started() && !possible {
            self.why_not_unwound()
        } else {
            match self.resume_with(Control::Unwind) {
                Event::Complete(result) => return drop_catching(result),
                Event::Unwound => return Ok(()),
                Event::Panicked(payload) => return Err(payload),
                Event::Yielded(value) => thrown = drop_catching(value),
                Event::Message => {}
            }
            "suspended again when it was asked to end"
        };
        if borrows {
            self.abort("borrows from its caller and will not end; it cannot be leaked");
        }
        self.leak(why);
        thrown
    }
}

/// Returns the panic with which the body on a stack ended, or `None` if the body unwound because it was asked to.
#[cold]
#[inline(never)]
fn own_panic(slot: Slot, payload: Payload) -> Option<Payload> {
    match payload.downcast_ref::<Unwound>() {
        Some(unwound) if unwound.0 == slot => None,
        // Includes the unwinding of an outer body that was suspended on this body's stack.
        _ => Some(payload),
    }
}

/// The first frame on a stack: runs the body and catches its panic.
///
/// # Safety
/// Invariants 1 and 2 hold for `handle`.
#[inline(always)]
unsafe fn run<H: Handle, R>(
    First { handle, body }: First<H, impl FnOnce(&H) -> R>,
    yielder: &corosensei::Yielder<In, Out<H::Out>>,
) -> Result<R, Payload> {
    // SAFETY: the handle outlives the body, whose first frame this is (invariant 1).
    let handle = unsafe { handle.as_ref() };
    handle.raw_yielder().set_seam(yielder);
    // A body that has not started uses no thread-locals yet, so `ThreadEnded` does not stop it.
    if handle.raw_yielder().head.control.replace(Control::Plain) == Control::Unwind {
        return drop_catching(body).and(Err(Box::new(Unwound(handle.raw_yielder().slot()))));
    }
    catch_unwind(AssertUnwindSafe(|| body(handle)))
}

/// The payload of a forced unwind, which ends a task that ignored its cancel for longer than the grace period.
pub(crate) struct TaskUnwound;

/// Returns whether a payload unwinds a stack around the body that it came from, and must not be held up.
pub(crate) fn is_forced_unwind(payload: &Payload) -> bool {
    payload.is::<TaskUnwound>() || payload.is::<Unwound>()
}

/// Drops a value and returns the panic of its destructor.
pub(crate) fn drop_catching<T>(value: T) -> Result<(), Payload> {
    if needs_drop::<T>() { catch_unwind(AssertUnwindSafe(|| drop(value))) } else { Ok(()) }
}

/// Propagates a body's panic out of a destructor of this library. If the thread is panicking already, a second panic
/// would abort the process: then the panic ends here, with a line on stderr (the panic hook has already printed its
/// message).
pub(crate) fn throw_from_drop(payload: Payload, label: &dyn std::fmt::Display) {
    if !panicking() {
        resume_unwind(payload);
    }
    report!("{label} panicked while it was dropped during a panic; its own panic ends here");
    // A panic of the payload's destructor would abort the process here.
    if let Err(second) = drop_catching(payload) {
        std::mem::forget(second);
    }
}

impl<H: Handle, R> Drop for RawCoroutine<H, R> {
    #[inline]
    fn drop(&mut self) {
        let slot = self.handle().raw_yielder().slot();
        let mut thrown = if self.inner.done() { Ok(()) } else { self.end(false) };
        // Leaked above or earlier, which leaves nothing to do. The label needs the name, which the stack loses when it returns to the pool.
        let mut label = thrown.is_err().then(|| Label(slot).to_string());
        if !slot.is_leaked() {
            if !self.handle().is_trivial() {
                // SAFETY: the body has ended, so nothing refers to the handle (invariants 1 and 5). Nothing uses the
                // handle after this.
                let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { drop_in_place(self.handle.as_ptr()) }));
                if dropped.is_err() {
                    label.get_or_insert_with(|| Label(slot).to_string());
                    thrown = thrown.and(dropped);
                }
            }
            // SAFETY: `drop` runs once, and nothing uses `inner` after this. The body has ended (invariant 5), so nothing uses the stack, which
            // this `RawCoroutine` has owned since `with_stack` forgot the `Stack`.
            unsafe {
                ManuallyDrop::drop(&mut self.inner);
                Stack::free(slot);
            }
        }
        if let Err(payload) = thrown {
            throw_from_drop(payload, &label.unwrap_or_default());
        }
    }
}

impl<H: Handle, R> std::fmt::Debug for RawCoroutine<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slot = self.handle().raw_yielder().slot();
        let (kind, name) = slot.label();
        f.debug_struct(kind.text()).field("name", &name).field("state", &self.state()).finish_non_exhaustive()
    }
}
