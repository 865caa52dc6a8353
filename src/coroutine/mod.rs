//! Stackful coroutines (fibers): a body runs on a stack of its own, and its owner resumes it by hand.
//!
//! A [`Coroutine`] is the basic form: every resume passes a value in, and every suspension passes a value out. Most
//! programs want [`Generator`](crate::Generator), whose values the owner pulls, or [`Sink`](crate::Sink), to which the
//! owner pushes items. Both are built on the same engine.

pub(crate) mod ahead;
pub(crate) mod chain;
pub(crate) mod moved_out;
pub(crate) mod raw;
pub(crate) mod raw_yielder;
pub(crate) mod returned;
mod scoped;
mod unwind_tables;

use self::raw::{Event, RawCoroutine, StackOptions};
use self::raw_yielder::{Handle, RawYielder};
use crate::stack::arena::Kind;
use crate::stack::{Shape, StackError};
use std::borrow::Cow;
use std::fmt;
use std::panic::resume_unwind;

#[cfg(feature = "tracing")]
pub(crate) use self::chain::body_numbers;
pub use self::raw::State;
pub use self::scoped::{Scoped, scoped};

/// The outcome of a resume: the body suspended with a value, or returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "Step")]
#[doc(alias = "GeneratorState")]
#[doc(alias = "StopIteration")]
pub enum CoroutineState<Y, R> {
    /// The body suspended with this value and can be resumed.
    Yielded(Y),
    /// The body returned this value and cannot be resumed.
    Complete(R),
}

impl<Y, R> CoroutineState<Y, R> {
    /// Returns the yielded value, or `None` if the body returned.
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

    /// Returns the returned value, or `None` if the body suspended.
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

/// The body's side of a [`Coroutine`]: suspends the body.
///
/// The body can pass its suspender to any function that it calls, at any depth, but not to another thread.
#[repr(C)]
pub struct Suspender<I, Y> {
    raw_yielder: RawYielder<I, Y>,
}

impl<I, Y> Suspender<I, Y> {
    /// Passes `value` to the resumer, waits for the next resume, and returns its input.
    ///
    /// If the coroutine is dropped during the wait, this call does not return: it unwinds the body, once, so that its
    /// destructors run.
    ///
    /// # Panics
    ///
    /// Panics while a section that was opened in the body is open: a run, [`scope`](crate::scope),
    /// [`timeout`](crate::timeout), deadline, [`shield`](crate::shield) or [`no_suspend`](crate::no_suspend). The
    /// message names the body and the section. Also panics in a task of a scope that borrowed the suspender, because
    /// only the body's own code may suspend the body.
    ///
    /// Aborts the process, with the name of the coroutine, when a destructor calls it while the body unwinds: an
    /// unfinished panic cannot be suspended.
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

/// A body on a stack of its own: [`resume`](Self::resume) runs the body until it suspends or returns.
///
/// Every resume passes an `I` in, every suspension passes a `Y` out, and the body returns an `R`. A coroutine needs a
/// stack ([`stack::DEFAULT_SIZE`](crate::stack::DEFAULT_SIZE) bytes of address space, one or two pages of memory) and
/// stays on the thread that created it.
///
/// Dropping a suspended coroutine unwinds its body once, so that its destructors run. In three
/// cases the body and its stack are leaked instead, and a line on stderr says so: the body catches the unwinding and
/// suspends again; panics abort in this program; or the coroutine is dropped at the end of its thread, after
/// thread-locals were destroyed.
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
#[must_use = "the body runs only when it is resumed"]
pub struct Coroutine<I, Y, R> {
    raw: RawCoroutine<Suspender<I, Y>, R>,
}

impl<I: 'static, Y: 'static, R: 'static> Coroutine<I, Y, R> {
    /// Creates a coroutine with a stack of the default size. The first resume starts the body, with its input as the
    /// second argument.
    ///
    /// # Panics
    ///
    /// Panics if no stack can be allocated; see [`try_new`](Self::try_new).
    #[inline]
    #[track_caller]
    pub fn new(body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static) -> Self {
        match Self::try_new(body) {
            Ok(coroutine) => coroutine,
            Err(error) => no_stack(&error),
        }
    }

    /// Creates a coroutine with a stack of the default size.
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if no stack can be allocated; the body is dropped.
    #[inline]
    pub fn try_new(body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static) -> Result<Self, StackError> {
        Self::with_options(StackOptions::default_shape(), body)
    }

    #[inline]
    fn with_options(
        options: StackOptions,
        body: impl FnOnce(&Suspender<I, Y>, I) -> R + 'static,
    ) -> Result<Self, StackError> {
        // SAFETY: all types are 'static.
        Ok(Coroutine { raw: unsafe { suspending(options, body) }? })
    }

    /// Runs the body until it suspends or returns. Returns [`CoroutineState::Yielded`] with the value of the
    /// suspension, or [`CoroutineState::Complete`] with the return value.
    ///
    /// # Panics
    ///
    /// Panics if the body has finished ("cannot resume coroutine 'name': it has finished"). Propagates a panic of the
    /// body; the coroutine is then finished.
    #[inline(always)]
    #[track_caller]
    pub fn resume(&mut self, input: I) -> CoroutineState<Y, R> {
        resume(&mut self.raw, input)
    }

    /// Returns the state of the body.
    pub fn state(&self) -> State {
        self.raw.state()
    }

    /// Returns true if the body has returned, panicked or been leaked.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Returns the name that the builder set.
    pub fn name(&self) -> Option<&str> {
        name(&self.raw)
    }

    /// Returns the high-water mark of the stack: its largest depth so far, in bytes, rounded up to whole pages.
    ///
    /// The value is computed from the pages that the system holds in memory, so it costs nothing while the coroutine
    /// runs. A reused stack also counts the depth of its earlier users, unless they were built with
    /// [`clear_stack`](Builder::clear_stack).
    ///
    /// # Errors
    ///
    /// Returns the error of `mincore(2)`.
    pub fn stack_high_water(&self) -> std::io::Result<usize> {
        stack_high_water(&self.raw)
    }
}

/// Creates a raw coroutine whose body takes its first input as an argument.
///
/// # Safety
///
/// The contract of [`RawCoroutine::new`].
#[inline]
unsafe fn suspending<I, Y, R>(
    options: StackOptions,
    body: impl FnOnce(&Suspender<I, Y>, I) -> R,
) -> Result<RawCoroutine<Suspender<I, Y>, R>, StackError> {
    // SAFETY: the caller keeps the contract of `RawCoroutine::new` for `body`. The input is set when the body starts:
    // only `RawCoroutine::resume` starts a raw coroutine of this module, and it sets the input first.
    unsafe { RawCoroutine::new(options, Kind::Coroutine, |s: &Suspender<I, Y>| body(s, s.raw_yielder.take_input())) }
}

#[inline(always)]
fn resume<I, Y, R>(raw: &mut RawCoroutine<Suspender<I, Y>, R>, input: I) -> CoroutineState<Y, R> {
    match raw.resume(input) {
        Event::Yielded(value) => CoroutineState::Yielded(value),
        Event::Complete(value) => CoroutineState::Complete(value),
        Event::Panicked(payload) => resume_unwind(payload),
        Event::Message | Event::Unwound => {
            unreachable!("a plain coroutine sends no message and was not asked to unwind")
        }
    }
}

/// Returns the name of a raw coroutine's stack.
pub(crate) fn name<H: Handle, R>(raw: &RawCoroutine<H, R>) -> Option<&str> {
    raw.handle().raw_yielder().name()
}

/// Returns the high-water mark of a raw coroutine's stack.
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

/// A builder of coroutines, generators, sinks and tasks: sets a name and the options of the stack.
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
#[must_use = "a builder creates nothing until it gets a body"]
pub struct Builder {
    name: Option<Cow<'static, str>>,
    stack_size: Option<usize>,
    guard_size: usize,
    clear_stack: bool,
    inherit_locals: bool,
    eager: bool,
    worker: Option<usize>,
}

impl Builder {
    /// Creates a builder with the defaults: no name, a stack of the default size, a guard of one page.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Sets the name, which messages, errors and the stack overflow report print.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the size of the stack in bytes: at least [`stack::min_size`](crate::stack::min_size), rounded up to whole
    /// pages. Up to 2 KiB of the stack is used for staggering.
    ///
    /// The size is address space; memory is used as the body touches the stack. With `RUST_BACKTRACE=1`, a
    /// panic needs 21 KiB to print its backtrace, so it may overflow a stack of less than 32 KiB. The overflow report
    /// names the body.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets the size of the guard below the stack in bytes: at least one page, rounded up to whole pages.
    ///
    /// Rust code touches every page of a frame in order, so one guard page catches every overflow of Rust code. A frame
    /// of C code compiled without stack probes can skip a guard page: set 64 KiB or more for such code.
    pub fn guard_size(mut self, bytes: usize) -> Self {
        self.guard_size = bytes;
        self
    }

    /// Sets whether the stack's memory returns to the system when the body has ended, so that the next user of the
    /// stack finds zeros. Costs a system call at the end and page faults at the next use.
    pub fn clear_stack(mut self, clear: bool) -> Self {
        self.clear_stack = clear;
        self
    }

    /// Sets whether a task starts with the task-locals of its spawner instead of their initial values. Has no effect on
    /// a coroutine, generator or sink: these run as part of the task that resumes them.
    pub fn inherit_locals(mut self, inherit: bool) -> Self {
        self.inherit_locals = inherit;
        self
    }

    /// Sets whether a task has its first turn immediately, before `spawn` returns. The spawner continues when the task
    /// first waits, yields or ends. Has no effect in a callback, while the thread panics, or on a
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

    /// Sets the worker on which [`spawn_anywhere`](Self::spawn_anywhere) starts the task, by its number: 0 is the worker of main. Has no
    /// effect on what stays with the calling thread: tasks of [`spawn`](Self::spawn), coroutines, generators and sinks.
    ///
    /// ```
    /// cede::Config::new().workers(2).run(|| {
    ///     let builder = cede::Builder::new().on(1).name("indexer");
    ///     let mut task = builder.spawn_anywhere(|| cede::task::current().unwrap().worker()).unwrap();
    ///     assert_eq!(task.join().unwrap(), 1);
    /// })?;
    /// # Ok::<(), cede::RunError<()>>(())
    /// ```
    pub fn on(mut self, worker: usize) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Creates a [`Coroutine`].
    ///
    /// # Errors
    ///
    /// Returns a [`StackError`] if a size is out of bounds or no stack can be allocated; the body is dropped.
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

    pub(crate) fn worker(&self) -> Option<usize> {
        self.worker
    }

    /// Returns whether a stack or guard size is set.
    pub(crate) fn is_shaped(&self) -> bool {
        self.stack_size.is_some() || self.guard_size != 0
    }

    /// Validates the sizes and returns the options of the stack.
    pub(crate) fn options(self) -> Result<StackOptions, StackError> {
        let shape = match (self.stack_size, self.guard_size) {
            (None, 0) => Shape::default_shape(),
            (size, guard) => Shape::new(size.unwrap_or(crate::stack::DEFAULT_SIZE), guard)?,
        };
        Ok(StackOptions { shape, name: self.name, clear: self.clear_stack })
    }
}
