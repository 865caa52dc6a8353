//! Executors by hand: they poll futures on the calling thread, and only after a wake. A missing wake fails the test.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The longest time without a wake.
const PATIENCE: Duration = Duration::from_secs(30);

/// Polls once, with a waker that does nothing.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

pub(crate) fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A waker that counts, and wakes the thread that made it.
pub(crate) struct Wakes {
    count: AtomicUsize,
    thread: Thread,
}

impl Wakes {
    pub(crate) fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes { count: AtomicUsize::new(0), thread: thread::current() });
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there were more than `seen` wakes.
    pub(crate) fn wait_for_more(&self, seen: usize) {
        let began = Instant::now();
        while self.count() <= seen {
            assert!(began.elapsed() < PATIENCE, "no wake came");
            thread::park_timeout(Duration::from_millis(100));
        }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Polls a future to its end.
pub(crate) fn block<F: Future>(future: F) -> F::Output {
    let (wakes, waker) = Wakes::new();
    let mut future = pin!(future);
    loop {
        let seen = wakes.count();
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        wakes.wait_for_more(seen);
    }
}

/// A future in [`all`].
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

struct Woken {
    is_woken: AtomicBool,
    parent: Arc<Wakes>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.parent.wake_by_ref();
    }
}

/// Polls all futures to their end, each only after its own wake. Returns their outputs in order.
pub(crate) fn all<'a, T>(futures: impl IntoIterator<Item = Boxed<'a, T>>) -> Vec<T> {
    let (wakes, _) = Wakes::new();
    let mut open: Vec<_> = futures
        .into_iter()
        .enumerate()
        .map(|(at, future)| {
            let woken = Arc::new(Woken { is_woken: AtomicBool::new(true), parent: Arc::clone(&wakes) });
            (at, future, Arc::clone(&woken), Waker::from(woken))
        })
        .collect();
    let mut outputs: Vec<_> = open.iter().map(|_| None).collect();
    while !open.is_empty() {
        let seen = wakes.count();
        open.retain_mut(|(at, future, woken, waker)| {
            if woken.is_woken.swap(false, Ordering::SeqCst)
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker))
            {
                outputs[*at] = Some(output);
            }
            outputs[*at].is_none()
        });
        if !open.is_empty() {
            wakes.wait_for_more(seen);
        }
    }
    outputs.into_iter().map(|output| output.expect("every future ends")).collect()
}
