//! Coroutines: a body on a stack of its own, resumed and suspended by hand.
//!
//! This is the plain form, with a value going in at every resume and one coming out at every suspension. Most programs
//! want [`Generator`](crate::Generator) (pulled from) or [`Sink`](crate::Sink) (pushed to), which are made of it.

pub(crate) mod chain;
pub(crate) mod raw;
pub(crate) mod raw_yielder;
mod scoped;
mod unwind_tables;

use self::raw::{Event, RawCoroutine, StackOptions};
use self::raw_yielder::{Handle, RawYielder};
use crate::stack::arena::Kind;
use crate::stack::{Shape, StackError};
use std::borrow::Cow;
use std::fmt;
use std::panic::resume_unwind;

pub use self::raw::State;
pub use self::scoped::{Scoped, scoped};

/// What a resume led to: the body suspended with a value, or returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "Step")]
#[doc(alias = "GeneratorState")]
#[doc(alias = "StopIteration")]
pub enum CoroutineState<Y, R> {
    /// The body suspended with this value; it can be resumed.
    Yielded(Y),
    /// The body returned this value; it cannot be resumed.
    Complete(R),
}

impl<Y, R> CoroutineState<Y, R> {
    /// The yielded value, if it is one.
    ///
    /// ```
    /// assert_eq!(cede::CoroutineState::<_, ()>::Yielded(1).yielded(), Some(1));
    /// ```
    pub fn yielded(self) -> Option<Y> {
        match self {
            CoroutineState::Yielded(value) => Some(value),
            CoroutineState::Complete(_) => None,
        }
    }

    /// The returned value, if it is one.
    ///
    /// ```
    /// assert_eq!(cede::CoroutineState::<(), _>::Complete("end").complete(), Some("end"));
    /// ```
    pub fn complete(self) -> Option<R> {
        match self {
            CoroutineState::Yielded(_) => None,
            CoroutineState::Complete(value) => Some(value),
        }
    }
}

/// What the body of a [`Coroutine`] suspends with.
///
/// It can be lent to any function that the body calls, however deep, but not to another thread.
#[repr(C)]
pub struct Suspender<I, Y> {
    raw_yielder: RawYielder<I, Y>,
}

impl<I, Y> Suspender<I, Y> {
    /// Hands `value` to whoever resumed the coroutine, waits for the next resume, and returns its input.
    ///
    /// If the coroutine is dropped meanwhile this does not return: it unwinds the body, once, so that its destructors run.
    ///
    /// # Panics
    ///
    /// While a section that was opened in the body is open (a run, [`scope`](crate::scope), [`timeout`](crate::timeout), deadline,
    /// [`shield`](crate::shield) or [`no_suspend`](crate::no_suspend)), naming both; so also in a task of a scope that borrowed
    /// this: only the body's own code suspends it. Called from a destructor while the body unwinds, it
    /// aborts the process, naming the coroutine: half a panic cannot be put aside.
    ///
    /// ```
    /// use cede::{Coroutine, CoroutineState};
    /// let mut double = Coroutine::new(|s: &cede::Suspender<u32, u32>, mut n| loop {
    ///     n = s.suspend(2 * n);
    /// #   if n == 0 { break }
    /// });
    /// assert_eq!(double.resume(4), CoroutineState::Yielded(8));
    /// assert_eq!(double.resume(5), CoroutineState::Yielded(10));
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn suspend(&self, value: Y) -> I {
        match self.raw_yielder.suspend(value) {
            Ok(input) => input,
            Err(_) => self.raw_yielder.unwind(),
        }
    }
}

impl<I, Y> fmt::Debug for Suspender<I, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suspender of {}", self.raw_yielder.label())
    }
}

impl<I, Y> Handle for Suspender<I, Y> {
    type In = I;
    type Out = Y;

    fn new(raw_yielder: RawYielder<I, Y>) -> Self {
        Suspender { raw_yielder }
    }

    #[inline(always)]
    fn raw_yielder(&self) -> &RawYielder<I, Y> {
        &self.raw_yielder
    }
}

/// A body on a stack of its own: [`resume`](Self::resume) runs it until it suspends or returns.
///
/// `I` goes in with every resume, `Y` comes out with every suspension, `R` at the end. Each costs the space of a stack
/// ([`stack::DEFAULT_SIZE`](crate::stack::DEFAULT_SIZE) bytes of addresses, one or two pages of memory) and lives on the
/// thread that made it.
///
/// Dropping a suspended coroutine unwinds its body once, so that what it owns is dropped. A body that catches that and
/// suspends again is left where it is, its stack is never used again, and stderr says so; the same happens where panics
/// abort, and when the coroutine is dropped at the end of its thread, after thread-locals have gone.
///
/// ```
/// use cede::{Coroutine, CoroutineState};
///
/// let mut greeter = Coroutine::new(|s, name: &str| {
///     let next: &str = s.suspend(format!("hello, {name}"));
///     format!("and goodbye, {next}")
/// });
/// assert_eq!(greeter.resume("Ada"), CoroutineState::Yielded("hello, Ada".to_string()));
/// assert_eq!(greeter.resume("Bob"), CoroutineState::Complete("and goodbye, Bob".to_string()));
/// ```
pub struct Coroutine<I, Y, R> {
    raw: RawCoroutine<Suspender<I, Y>, R>,
}

impl<I: 'static, Y: 'static, R: 'static> Coroutine<I, Y, R> {
    /// Makes a coroutine with a stack of the default size. The body does not run before the first resume, whose input is
    /// its second argument.
    ///
    /// # Panics
    ///
    /// If there is no stack to be had; see [`try_new`](Self::try_new).
    #[inline]
    #[track_caller]
    pub fn new(body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static) -> Self {
        match Self::try_new(body) {
            Ok(coroutine) => coroutine,
            Err(error) => no_stack(&error),
        }
    }

    /// Makes a coroutine with a stack of the default size.
    ///
    /// # Errors
    ///
    /// [`StackError`] when there is no stack to be had; the body is dropped.
    #[inline]
    pub fn try_new(body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static) -> Result<Self, StackError> {
        Self::with_options(StackOptions::default_shape(), body)
    }

    #[inline]
    fn with_options(
        options: StackOptions,
        body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static,
    ) -> Result<Self, StackError> {
        // SAFETY: all is 'static.
        Ok(Coroutine { raw: unsafe { suspending(options, body) }? })
    }

    /// Runs the body until it suspends or returns.
    ///
    /// # Panics
    ///
    /// If the body has finished ("cannot resume finished coroutine 'name'"). A panic of the body comes out here, and the
    /// coroutine is finished.
    #[inline(always)]
    #[track_caller]
    pub fn resume(&mut self, input: I) -> CoroutineState<Y, R> {
        resume(&mut self.raw, input)
    }

    /// Where the body stands.
    pub fn state(&self) -> State {
        self.raw.state()
    }

    /// Whether the body has returned, panicked or been leaked.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// The name that the builder gave.
    pub fn name(&self) -> Option<&str> {
        name(&self.raw)
    }

    /// How deep the stack has been, in bytes, in whole pages.
    ///
    /// Read off the pages that the system has in memory, so it costs nothing while the coroutine runs. A stack that was
    /// used before counts the depth of its earlier users too, unless they were built with
    /// [`clear_stack`](Builder::clear_stack).
    ///
    /// # Errors
    ///
    /// What `mincore(2)` said.
    pub fn stack_high_water(&self) -> std::io::Result<usize> {
        stack_high_water(&self.raw)
    }
}

/// A raw coroutine whose body takes its first input.
///
/// # Safety
///
/// As [`RawCoroutine::new`].
#[inline]
unsafe fn suspending<I, Y, R>(
    options: StackOptions,
    body: impl FnOnce(&Suspender<I, Y>, I) -> R,
) -> Result<RawCoroutine<Suspender<I, Y>, R>, StackError> {
    // SAFETY: as the caller's for `body`. The input is there: these cores are private to this module, and are run first by
    // `RawCoroutine::resume`, which sets it.
    unsafe { RawCoroutine::new(options, Kind::Coroutine, |s: &Suspender<I, Y>| body(s, s.raw_yielder.take_input())) }
}

#[inline(always)]
fn resume<I, Y, R>(raw: &mut RawCoroutine<Suspender<I, Y>, R>, input: I) -> CoroutineState<Y, R> {
    match raw.resume(input) {
        Event::Yielded(value) => CoroutineState::Yielded(value),
        Event::Complete(value) => CoroutineState::Complete(value),
        Event::Panicked(payload) => resume_unwind(payload),
        Event::Message | Event::Unwound => {
            unreachable!("a plain coroutine sends no message and was not told to unwind")
        }
    }
}

/// The name of a raw coroutine's stack.
pub(crate) fn name<H: Handle, R>(raw: &RawCoroutine<H, R>) -> Option<&str> {
    raw.handle().raw_yielder().name()
}

/// How deep a raw coroutine's stack has been.
pub(crate) fn stack_high_water<H: Handle, R>(raw: &RawCoroutine<H, R>) -> std::io::Result<usize> {
    raw.handle().raw_yielder().slot().high_water()
}

#[cold]
#[track_caller]
pub(crate) fn no_stack(error: &StackError) -> ! {
    panic!("{error}")
}

impl<I, Y, R> fmt::Debug for Coroutine<I, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// Names a coroutine and shapes its stack before it is made.
///
/// ```
/// let mut parser = cede::Builder::new()
///     .name("parser-42")
///     .stack_size(256 * 1024)
///     .generator(|y| {
///         y.yield_("token");
///     })?;
/// assert_eq!(parser.next(), Some("token"));
/// assert_eq!(parser.name(), Some("parser-42"));
/// # Ok::<(), cede::StackError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until it is given a body"]
pub struct Builder {
    name: Option<Cow<'static, str>>,
    stack_size: Option<usize>,
    guard_size: usize,
    clear_stack: bool,
    inherit_locals: bool,
    eager: bool,
}

impl Builder {
    /// A builder with nothing set: no name, a stack of the default size, a guard of one page.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Names the coroutine, for messages, errors and the report of an overflow.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the size of the stack in bytes, at least [`stack::min_size`](crate::stack::min_size), rounded up to whole
    /// pages. Up to 2 KiB of it is given to staggering.
    ///
    /// It is address space; memory is used as the stack is touched. Under 32 KiB a panic that prints a backtrace
    /// (`RUST_BACKTRACE=1`: 21 KiB) may overflow; the report will say whose stack it was.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets the size of the guard below the stack in bytes, rounded up to whole pages, at least one.
    ///
    /// Rust code touches every page of a frame in order, so one page always catches it. Frames of C code compiled without
    /// stack probes can jump over it: give those 64 KiB or more.
    pub fn guard_size(mut self, bytes: usize) -> Self {
        self.guard_size = bytes;
        self
    }

    /// Whether the stack's memory is given back when the coroutine has ended, so that its next user finds zeros. Costs a
    /// system call at the end and page faults at the next use.
    pub fn clear_stack(mut self, clear: bool) -> Self {
        self.clear_stack = clear;
        self
    }

    /// Whether a task starts with its spawner's task-locals instead of their initial values. Says nothing to a coroutine,
    /// generator or sink: these run as part of whoever resumes them.
    pub fn inherit_locals(mut self, inherit: bool) -> Self {
        self.inherit_locals = inherit;
        self
    }

    /// Whether a task has its first turn at once, before `spawn` returns: whoever spawns it goes on when it first waits, yields
    /// or ends. Without effect where nothing may wait: in a callback, and while the thread panics. Says nothing to a
    /// coroutine, generator or sink.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// cede::run(|| {
    ///     let ran = Rc::new(Cell::new(false));
    ///     let seen = Rc::clone(&ran);
    ///     cede::Builder::new().eager(true).spawn(move || seen.set(true)).unwrap();
    ///     assert!(ran.get());
    /// });
    /// ```
    pub fn eager(mut self, eager: bool) -> Self {
        self.eager = eager;
        self
    }

    /// Makes a [`Coroutine`].
    ///
    /// # Errors
    ///
    /// [`StackError`] when a size is out of bounds or there is no stack to be had; the body is dropped.
    pub fn coroutine<I: 'static, Y: 'static, R: 'static>(
        self,
        body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static,
    ) -> Result<Coroutine<I, Y, R>, StackError> {
        Coroutine::with_options(self.options()?, body)
    }

    pub(crate) fn inherits_locals(&self) -> bool {
        self.inherit_locals
    }

    pub(crate) fn is_eager(&self) -> bool {
        self.eager
    }

    /// Whether a size was asked for.
    pub(crate) fn is_shaped(&self) -> bool {
        self.stack_size.is_some() || self.guard_size != 0
    }

    /// Checks what was asked for.
    pub(crate) fn options(self) -> Result<StackOptions, StackError> {
        let shape = match (self.stack_size, self.guard_size) {
            (None, 0) => Shape::default_shape(),
            (size, guard) => Shape::new(size.unwrap_or(crate::stack::DEFAULT_SIZE), guard)?,
        };
        Ok(StackOptions { shape, name: self.name, clear: self.clear_stack })
    }
}
