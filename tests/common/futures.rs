//! Futures for the tests of `block_on`.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A flag that futures wait for. Keeps the waker of the last poll of each waiter that has another one.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<Inner>);

#[derive(Default)]
struct Inner {
    // Relaxed, so that only the wake orders it before the poll.
    is_set: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    polls: AtomicU32,
}

impl Flag {
    pub(crate) fn set(&self) {
        self.0.is_set.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Uses all wakers, without setting the flag.
    pub(crate) fn wake(&self) {
        self.wakers().into_iter().for_each(Waker::wake);
    }

    /// Takes the wakers.
    pub(crate) fn wakers(&self) -> Vec<Waker> {
        std::mem::take(&mut self.0.wakers.lock().unwrap())
    }

    pub(crate) fn polls(&self) -> u32 {
        self.0.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.polls.fetch_add(1, Ordering::Relaxed);
        let mut wakers = self.0.wakers.lock().unwrap();
        if self.0.is_set.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns a future that is ready once the flag is set.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + use<> {
        let flag = self.clone();
        poll_fn(move |cx| flag.poll(cx))
    }
}

/// Returns a future that is ready after `count` polls, and wakes itself in each.
pub(crate) fn self_waking(count: u32) -> impl Future<Output = ()> {
    let mut left = count;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
