//! Stackful code as a future by hand: a coroutine of corosensei on the stack of a slot, and the fiber that runs in a thread-local. revm
//! and evm2 have such fibers of their own, which no crate publishes; this is a new one of the same construction. As in theirs, the slot
//! keeps one stack of 1 MiB, an error comes in through the switch, and a future is polled with the executor's own context. Unlike
//! in theirs, the thread-local is empty while the fiber is suspended, so two fibers may take turns.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The size of the stacks.
const STACK: usize = 1024 * 1024;

/// The errors of a wait.
#[derive(Debug)]
pub(super) enum WaitError {
    Cancelled,
    NotInFiber,
}

type Input = Result<NonNull<Context<'static>>, WaitError>;
type Body<R> = Coroutine<Input, (), Result<R, WaitError>, DefaultStack>;

/// A stack that is kept for the next fiber.
pub(super) type Slot = Rc<Cell<Option<DefaultStack>>>;

struct Running {
    yielder: NonNull<Yielder<Input, ()>>,
    context: NonNull<Context<'static>>,
    cancelled: bool,
}

thread_local! {
    static RUNNING: Cell<Option<NonNull<Running>>> = const { Cell::new(None) };
}

/// Restores the thread-local at the end of a body.
struct Restore(Option<NonNull<Running>>);

impl Drop for Restore {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

/// A future that runs synchronous code.
pub(super) struct Fiber<'a, R> {
    body: Option<Body<R>>,
    slot: &'a Cell<Option<DefaultStack>>,
    _not_send: PhantomData<*const ()>,
}

/// Makes a fiber on the stack of the slot, or on a new one.
pub(super) fn fiber<R: 'static>(
    slot: &Cell<Option<DefaultStack>>,
    code: impl FnOnce() -> R + 'static,
) -> io::Result<Fiber<'_, R>> {
    let stack = match slot.take() {
        Some(stack) => stack,
        None => DefaultStack::new(STACK)?,
    };
    let body = Coroutine::with_stack(stack, move |yielder: &Yielder<Input, ()>, first: Input| {
        let mut running = Running { yielder: NonNull::from(yielder), context: first?, cancelled: false };
        let _restore = Restore(RUNNING.replace(Some(NonNull::from(&mut running))));
        Ok(code())
    });
    Ok(Fiber { body: Some(body), slot, _not_send: PhantomData })
}

impl<R> Fiber<'_, R> {
    fn keep_stack(&mut self) {
        if let Some(body) = self.body.take() {
            self.slot.set(Some(body.into_stack()));
        }
    }
}

impl<R> Unpin for Fiber<'_, R> {}

impl<R> Future for Fiber<'_, R> {
    type Output = Result<R, WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let body = self.body.as_mut().expect("it has not ended");
        match body.resume(Ok(NonNull::from(context).cast())) {
            CoroutineResult::Yield(()) => Poll::Pending,
            CoroutineResult::Return(output) => {
                self.keep_stack();
                Poll::Ready(output)
            }
        }
    }
}

impl<R> Drop for Fiber<'_, R> {
    fn drop(&mut self) {
        let Some(body) = &mut self.body else { return };
        if !body.done() && matches!(body.resume(Err(WaitError::Cancelled)), CoroutineResult::Yield(())) {
            // SAFETY: the bodies of this program end when their waits are cancelled. One that does not is leaked here, with its stack: its
            // code is `'static`, so nothing that it borrows ends.
            unsafe { body.force_reset() };
            std::mem::forget(self.body.take());
            return;
        }
        self.keep_stack();
    }
}

/// Waits for a future, in a fiber.
pub(super) fn wait<F: Future>(future: F) -> Result<F::Output, WaitError> {
    let mut future = pin!(future);
    loop {
        let mut running = RUNNING.get().ok_or(WaitError::NotInFiber)?;
        // SAFETY: the thread-local points to a local variable of the body that runs, while it runs. No other reference to it is alive.
        let running = unsafe { running.as_mut() };
        if running.cancelled {
            return Err(WaitError::Cancelled);
        }
        // SAFETY: the context is that of the poll that resumed the body, which has not returned. The futures of this program poll no
        // other fiber.
        let context = unsafe { running.context.as_mut() };
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Ok(output);
        }
        let own = RUNNING.take();
        // SAFETY: the yielder is alive until the body ends.
        let input = unsafe { running.yielder.as_ref() }.suspend(());
        RUNNING.set(own);
        match input {
            Ok(context) => running.context = context,
            Err(error) => {
                running.cancelled = true;
                return Err(error);
            }
        }
    }
}
