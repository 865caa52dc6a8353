//! Coroutines whose bodies borrow: only inside a call that owns them.
//!
//! The body may borrow what lives longer than the call. The call ends the coroutine before it returns, however it returns,
//! so the borrow cannot outlive its owner. What the caller gets is a handle by value with a lifetime that nothing outside
//! can name. It owns nothing: forgetting it, or exchanging it for another (`mem::swap`), changes only which coroutine a
//! name refers to. `&mut` to the coroutine itself is not given out, because then the coroutines could be exchanged.

use super::raw::{RawCoroutine, StackOptions, State, throw_from_drop};
use super::{CoroutineState, Suspender, no_stack, resume, suspending};
use std::fmt;

/// A coroutine that borrows, for as long as the call to [`scoped`] lasts.
pub struct Scoped<'scope, I, Y, R> {
    raw: &'scope mut RawCoroutine<Suspender<I, Y>, R>,
}

/// Makes a coroutine whose body may borrow from the caller, hands it to `with`, ends it, and returns what `with` returned.
///
/// If the body is suspended when `with` returns or panics, it is unwound. It cannot be left behind, since it borrows: a body
/// that catches that and suspends again aborts the process, and so does one that is still suspended where panics abort.
///
/// # Panics
///
/// If there is no stack to be had. A panic of `with`, of the body or of its destructors goes on.
///
/// ```
/// let words = vec!["one", "two"];
/// let mut lengths = Vec::new();
/// cede::scoped(
///     |s: &cede::Suspender<(), usize>, ()| {
///         for word in &words {
///             s.suspend(word.len());
///         }
///     },
///     |mut coroutine| {
///         while let cede::CoroutineState::Yielded(n) = coroutine.resume(()) {
///             lengths.push(n);
///         }
///     },
/// );
/// assert_eq!(lengths, [3, 3]);
/// ```
#[track_caller]
pub fn scoped<I, Y, R, T>(
    body: impl FnOnce(&Suspender<I, Y>, I) -> R,
    with: impl FnOnce(Scoped<'_, I, Y, R>) -> T,
) -> T {
    // SAFETY: what `body` borrows outlives this call, and `owner` never leaves it: it is dropped here on every way out, and
    // its drop ends the body or the process.
    let mut owner = match unsafe { suspending(StackOptions::default_shape(), body) } {
        Ok(raw) => Owner(raw),
        Err(error) => no_stack(&error),
    };
    with(Scoped { raw: &mut owner.0 })
}

/// Ends its coroutine for certain.
struct Owner<I, Y, R>(RawCoroutine<Suspender<I, Y>, R>);

impl<I, Y, R> Drop for Owner<I, Y, R> {
    fn drop(&mut self) {
        if !self.0.is_finished()
            && let Err(payload) = self.0.end(true)
        {
            throw_from_drop(payload, &self.0.handle().raw_yielder.label());
        }
    }
}

impl<I, Y, R> Scoped<'_, I, Y, R> {
    /// Runs the body until it suspends or returns.
    ///
    /// # Panics
    ///
    /// If the body has finished. A panic of the body comes out here, and the coroutine is finished.
    #[inline(always)]
    #[track_caller]
    pub fn resume(&mut self, input: I) -> CoroutineState<Y, R> {
        resume(self.raw, input)
    }

    /// Where the body stands.
    pub fn state(&self) -> State {
        self.raw.state()
    }

    /// Whether the body has returned or panicked.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }
}

impl<I, Y, R> fmt::Debug for Scoped<'_, I, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
