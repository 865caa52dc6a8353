//! Scoped coroutines: the body may borrow, because a call owns the coroutine and ends it.
//!
//! The body may borrow whatever outlives the call. The call ends the coroutine before it returns or unwinds, so the
//! borrow cannot outlive the borrowed value. The closure `with` gets a handle by value, whose lifetime cannot be named
//! outside of the call. The handle owns nothing: forgetting it, or exchanging it for another one (`mem::swap`), only
//! changes which coroutine a name refers to. No code gets `&mut` to the coroutine itself, because that would allow
//! exchanging the coroutines.

use super::raw::{RawCoroutine, StackOptions, State, throw_from_drop};
use super::{CoroutineState, Suspender, no_stack, resume, suspending};
use std::fmt;

/// A coroutine whose body may borrow, usable inside a call to [`scoped`].
pub struct Scoped<'scope, I, Y, R> {
    raw: &'scope mut RawCoroutine<Suspender<I, Y>, R>,
}

/// Creates a coroutine whose body may borrow from the caller, passes it to `with`, ends it, and returns the result of
/// `with`.
///
/// If the body is suspended when `with` returns or panics, the body is unwound. A body that borrows cannot be leaked:
/// if it catches the unwinding and suspends again, or if it is still suspended where panics abort, the process aborts.
///
/// # Panics
///
/// Panics if no stack can be allocated. Propagates a panic of `with`, of the body and of its destructors.
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
    // SAFETY: whatever `body` borrows outlives this call. `owner` never leaves this call and is dropped here on return
    // and on unwinding; its drop ends the body or aborts the process.
    let mut owner = match unsafe { suspending(StackOptions::default_shape(), body) } {
        Ok(raw) => Owner(raw),
        Err(error) => no_stack(&error),
    };
    with(Scoped { raw: &mut owner.0 })
}

/// Ends its coroutine when dropped, or aborts the process.
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
    /// Runs the body until it suspends or returns. Returns [`CoroutineState::Yielded`] with the value of the
    /// suspension, or [`CoroutineState::Complete`] with the return value.
    ///
    /// # Panics
    ///
    /// Panics if the body has finished. Propagates a panic of the body; the coroutine is then finished.
    #[inline(always)]
    #[track_caller]
    pub fn resume(&mut self, input: I) -> CoroutineState<Y, R> {
        resume(self.raw, input)
    }

    /// Returns the state of the body.
    pub fn state(&self) -> State {
        self.raw.state()
    }

    /// Returns true if the body has returned or panicked.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }
}

impl<I, Y, R> fmt::Debug for Scoped<'_, I, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}
