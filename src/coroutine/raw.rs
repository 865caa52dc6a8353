//! The engine of every coroutine, generator and sink: a body on a stack of its own, and what it shares with its owner.
//!
//! corosensei switches the registers; this and `raw_yielder.rs` are the only files that name it. On top of that it adds
//! what the library promises and corosensei leaves open: stacks from the pool, names, one unwinding and no more, no
//! unwinding into dead thread-locals, and no suspending out of an unwinding.
//!
//! # What lies where
//!
//! ```text
//!   top  +---------------------------+ <- Stack::top
//!        | handle                    |   Suspender, Yielder or Inbox: what the body holds a reference to. Its first
//!        |  - raw_yielder: yielder, |   field is the RawYielder, next to what corosensei writes: a switch touches
//!  base  +---------------------------+ <- StackView::base   one cache line here
//!        | corosensei: entry, parent |
//!        | the body's closure        |
//!        | first frame ...           |
//!        v                           v
//! limit  +---------------------------+ <- Stack::limit
//! ```
//!
//! # What crosses a switch
//!
//! Going in: nothing in registers; the input lies in the raw yielder. Coming out: the yielded value, in a register if
//! it fits. Whatever is not a plain value (an interrupt, a delegate, a wish to unwind) is announced by the raw
//! yielder's control byte, one byte that both sides look at and that the plain way never writes. One enum of all
//! messages was tried: 8.8 ns a round trip where this takes about 3.
//!
//! # Invariants
//!
//! 1. The handle lives in the stack from before the first switch until the body has ended, and is dropped once, by
//!    `RawCoroutine`.
//! 2. The body runs only inside `RawCoroutine::switch`, on the thread that made it: `RawCoroutine` is neither `Send`
//!    nor `Sync`.
//! 3. Only code that runs inside the body gets past the check in `RawYielder::suspend` and `RawYielder::call`: the
//!    handle is lent to the body alone, by reference, owners reach other fields of it, and `chain` refuses the tasks
//!    that a body's scope lends it to.
//! 4. The input is set whenever a started body is resumed with `Control::Plain`; the yielded value is initialised whenever a
//!    body suspends with `Control::Plain`.
//! 5. A stack is given back only after its body has ended. What is leaked stays as it is for ever.

use super::chain;
use super::raw_yielder::{Control, Handle, Label, RawYielder, Unwound};
use super::unwind_tables::{Anchor, In, Last, Out};
use crate::report::report;
use crate::stack::arena::Kind;
use crate::stack::{Shape, Stack, StackError, overflow, pool};
use corosensei::stack::StackPointer;
use std::any::Any;
use std::borrow::Cow;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, drop_in_place};
use std::thread::panicking;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Where a body stands, as its owner sees it. Between the owner's calls it never runs.
///
/// Python has a fourth, running; nobody could see it here: who resumes has borrowed the coroutine mutably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not run yet.
    Created,
    /// It waits at a `suspend`, `yield_` or `recv`.
    Suspended,
    /// It returned, panicked, was closed or leaked.
    Finished,
}

/// What a resume led to.
pub(crate) enum Event<Y, R> {
    /// The body suspended with a value.
    Yielded(Y),
    /// The body suspended with a message in its handle.
    Message,
    /// The body returned.
    Complete(R),
    /// The body unwound, because it was told to.
    Unwound,
    /// The body panicked.
    Panicked(Payload),
}

/// The stack as corosensei sees it: without what lies above the base.
struct StackView {
    base: StackPointer,
    stack: Stack,
}

// SAFETY: `base` and `limit` bound memory that belongs to `stack` alone, with a guard below the limit: at least `min_size`
// less a quarter for the handle and 2 KiB for the staggering.
unsafe impl corosensei::stack::Stack for StackView {
    #[inline(always)]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        StackPointer::new(self.stack.limit()).unwrap_or(StackPointer::MIN)
    }
}

type Inner<Y, R> = corosensei::Coroutine<In, Out<Y>, Last<Result<R, Payload>>, StackView>;

/// How a stack is to be made: what a `Builder` collects.
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

/// What corosensei copies to the stack. The handle comes first: at one instruction of the first switch unwinders take it for
/// a return address, and it leads to memory that can be read and is no code, so they stop.
#[repr(C)]
struct First<H, F> {
    handle: NonNull<H>,
    body: F,
}

/// A body on its stack, and the right to resume it.
pub(crate) struct RawCoroutine<H: Handle, R> {
    inner: ManuallyDrop<Inner<H::Out, R>>,
    handle: NonNull<H>,
    leaked: bool,
    _marker: PhantomData<(H, R)>,
}

impl<H: Handle, R> RawCoroutine<H, R> {
    /// Prepares a stack for `body`.
    ///
    /// # Errors
    /// Without a stack; `body` is dropped.
    ///
    /// # Safety
    /// What `body` borrows outlives this `RawCoroutine`, which is then not forgotten; or all is `'static`.
    #[inline]
    pub(crate) unsafe fn new<F>(options: StackOptions, kind: Kind, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&H) -> R,
    {
        // corosensei copies the closure to the stack and takes no more than 1 KiB.
        if const { size_of::<F>() > 512 || align_of::<F>() > 16 } {
            let body = Box::new(body);
            // SAFETY: as the caller's.
            unsafe { Self::with_stack(options, kind, move |handle: &H| body(handle)) }
        } else {
            // SAFETY: as the caller's.
            unsafe { Self::with_stack(options, kind, body) }
        }
    }

    /// # Safety
    /// As `new`.
    #[inline]
    unsafe fn with_stack<F>(options: StackOptions, kind: Kind, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&H) -> R,
    {
        let need = size_of::<H>() + align_of::<H>();
        if need > options.shape.size / 4 {
            return Err(StackError::TooSmall { requested: options.shape.size, minimum: need * 4 });
        }
        let stack = Stack::acquire(options.shape, kind, options.name, options.clear)?;
        chain::note_body();
        let slot = stack.slot();
        let base = (stack.top() - size_of::<H>()) & !(align_of::<H>().max(16) - 1);
        // SAFETY: `base..top` is inside the stack, as the size check says, and aligned for H; nobody else uses it. The
        // address is not zero, being above the limit. `body` may be run later, by the caller's promise.
        unsafe {
            let handle = NonNull::new_unchecked(base as *mut H);
            handle.write(H::new(RawYielder::new(slot)));
            handle.as_ref().raw_yielder().ask_for_last_word();
            let view = StackView { base: StackPointer::new_unchecked(base), stack };
            let first = First { handle, body };
            let inner = Inner::with_stack_unchecked(view, move |yielder, _| Last(run(first, yielder)));
            Ok(RawCoroutine { inner: ManuallyDrop::new(inner), handle, leaked: false, _marker: PhantomData })
        }
    }

    /// As `new`, for bodies that borrow nothing.
    #[inline]
    pub(crate) fn new_static<F>(options: StackOptions, kind: Kind, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&H) -> R + 'static,
        H: 'static,
        R: 'static,
    {
        // SAFETY: all is 'static.
        unsafe { Self::new(options, kind, body) }
    }

    /// What the body has a reference to. Owners use it for their own cells, never to suspend (invariant 3).
    #[inline(always)]
    pub(crate) fn handle(&self) -> &H {
        // SAFETY: invariant 1.
        unsafe { self.handle.as_ref() }
    }

    /// What this is, for messages: `generator 'numbers'`.
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
    /// If it has started.
    pub(crate) fn start(&mut self) -> Event<H::Out, R> {
        assert!(!self.is_started(), "cannot start {}: it has been started", self.label());
        self.switch()
    }

    /// Runs the body from where it suspended, or from its start, to its next suspension.
    ///
    /// # Panics
    /// If it has finished.
    #[inline(always)]
    pub(crate) fn resume(&mut self, input: H::In) -> Event<H::Out, R> {
        if self.is_finished() {
            self.refuse_to_resume();
        }
        self.handle().raw_yielder().input.set(MaybeUninit::new(input));
        self.switch()
    }

    #[cold]
    fn refuse_to_resume(&self) -> ! {
        panic!("cannot resume finished {}", self.label())
    }

    /// Runs the body with a control byte instead of an input. It must not have finished.
    #[cold]
    pub(crate) fn resume_with(&mut self, control: Control) -> Event<H::Out, R> {
        self.handle().raw_yielder().head.control.set(control);
        self.switch()
    }

    #[inline(always)]
    fn switch(&mut self) -> Event<H::Out, R> {
        if panicking() {
            self.handle().raw_yielder().resumed_by_a_panic();
        }
        let anchor = Anchor::new();
        anchor.before_resume();
        match self.inner.resume(In::new()) {
            corosensei::CoroutineResult::Yield(value) => {
                let raw_yielder = self.handle().raw_yielder();
                if panicking() {
                    raw_yielder.suspended_in_panic();
                }
                if raw_yielder.head.control.get() == Control::Plain {
                    // SAFETY: invariant 4.
                    return Event::Yielded(unsafe { value.0.assume_init() });
                }
                anchor.hold();
                raw_yielder.take_message();
                Event::Message
            }
            corosensei::CoroutineResult::Return(Last(Ok(result))) => Event::Complete(result),
            corosensei::CoroutineResult::Return(Last(Err(payload))) => match payload.downcast_ref::<Unwound>() {
                Some(unwound) if unwound.0 == self.handle().raw_yielder().slot() => Event::Unwound,
                // Also the unwinding of an outer body that had suspended from this one's stack.
                _ => Event::Panicked(payload),
            },
        }
    }

    /// Whether a suspended body can still be run at all: not when this thread's thread-locals are going down, since what
    /// lies on the stack may point into those that are gone.
    pub(crate) fn can_resume(&self) -> bool {
        pool::thread_is_alive()
    }

    /// Whether a suspended body can be unwound: not where panics abort.
    pub(crate) fn can_unwind(&self) -> bool {
        cfg!(panic = "unwind") && self.can_resume()
    }

    /// The reason, for the report of a leak.
    pub(crate) fn why_not_unwound(&self) -> &'static str {
        if !pool::thread_is_alive() {
            "was dropped at the end of its thread, when thread-locals that it may use are gone"
        } else {
            "was dropped while suspended, where panics abort and nothing can unwind it"
        }
    }

    /// Gives up a body that will not end: its stack stays as it is for ever. Says so on stderr.
    #[cold]
    pub(crate) fn leak(&mut self, why: &str) {
        self.leaked = true;
        // SAFETY: this only makes it count as finished, so that nothing resumes it. Its frames are not run, not dropped and
        // not reused: `Drop` leaves a leaked raw coroutine alone, stack and all.
        unsafe { self.inner.force_reset() };
        report!("{} {why}; its stack is leaked", self.label());
    }

    /// Ends a body that has not finished: drops it if it has not started, else unwinds it, once.
    ///
    /// `Err` is the panic of one of its destructors. If it will not end it is leaked, and the process stops if `borrows`.
    #[cold]
    pub(crate) fn end(&mut self, borrows: bool) -> Result<(), Payload> {
        let mut thrown = Ok(());
        // A scoped body was made inside the call that ends it, so its thread-locals are as alive as the caller's.
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
            "suspended again when it was told to end"
        };
        if borrows {
            let slot = self.handle().raw_yielder().slot();
            let (kind, name) = slot.label();
            overflow::abort_naming(kind, name, "borrows from its caller and will not end; it cannot be left behind");
        }
        self.leak(why);
        thrown
    }
}

/// The first frame on a stack: runs the body and catches what it throws.
///
/// # Safety
/// Invariants 1 and 2 hold for `handle`.
#[inline(always)]
unsafe fn run<H: Handle, R>(
    First { handle, body }: First<H, impl FnOnce(&H) -> R>,
    yielder: &corosensei::Yielder<In, Out<H::Out>>,
) -> Result<R, Payload> {
    // SAFETY: invariant 1.
    let handle = unsafe { handle.as_ref() };
    handle.raw_yielder().set_seam(yielder);
    // A body that has not started uses nothing yet, so its thread's end is no matter.
    if handle.raw_yielder().head.control.replace(Control::Plain) == Control::Unwind {
        return drop_catching(body).and(Err(Box::new(Unwound(handle.raw_yielder().slot()))));
    }
    catch_unwind(AssertUnwindSafe(|| body(handle)))
}

/// Drops a value; a panic of its destructor comes back instead of going on.
pub(crate) fn drop_catching<T>(value: T) -> Result<(), Payload> {
    if needs_drop::<T>() { catch_unwind(AssertUnwindSafe(|| drop(value))) } else { Ok(()) }
}

/// Lets a panic of a body go on in a destructor of ours; but where a panic is under way a second would abort the process, so
/// there it ends, and stderr says so (the panic hook has printed its text).
pub(crate) fn throw_from_drop(payload: Payload, label: &dyn std::fmt::Display) {
    if !panicking() {
        resume_unwind(payload);
    }
    report!("{label} panicked while a panic was dropping it; its own panic ends here");
    // A payload whose destructor panics would abort us here.
    if let Err(second) = drop_catching(payload) {
        std::mem::forget(second);
    }
}

impl<H: Handle, R> Drop for RawCoroutine<H, R> {
    #[inline]
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        let mut thrown = if self.inner.done() { Ok(()) } else { self.end(false) };
        let slot = self.handle().raw_yielder().slot();
        let mut label = thrown.is_err().then(|| Label(slot).to_string());
        if !self.leaked {
            if needs_drop::<H>() {
                // SAFETY: the body has ended, so nothing refers to the handle (invariants 1 and 5), and it is not used again.
                let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { drop_in_place(self.handle.as_ptr()) }));
                if dropped.is_err() {
                    label.get_or_insert_with(|| Label(slot).to_string());
                    thrown = thrown.and(dropped);
                }
            }
            // SAFETY: not used again. This gives the stack back.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
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
