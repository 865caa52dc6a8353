//! N tasks that take turns: what they do, the same for every rival that has tasks.
//!
//! Between two requests all tasks but one are parked. That one, the keeper, is a task like the others: it sets what their
//! turns consist of, wakes them in the order of their making (or a random one), gives them one turn that is not timed, and
//! then takes `count` timed turns itself. Every task counts its own turns, so an executor that is not strictly round robin
//! is charged for the turns that were taken and not for those that were meant.

use crate::area::Body;
use crate::serve::{Request, Requests};
use std::future::{Future, poll_fn};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const PARKED: u8 = 0;
const REGISTERS: u8 = 1;
const STACK: u8 = 2;
const ENDED: u8 = 3;

/// What the tasks are to do. Statics, because a body that keeps its state in registers has nowhere to keep a pointer.
static MODE: AtomicU8 = AtomicU8::new(PARKED);
/// How many tasks are parked.
static IDLE: AtomicU64 = AtomicU64::new(0);
/// The turns of all tasks that have been parked since the request.
static TURNS: AtomicU64 = AtomicU64::new(0);

/// What tasks on stacks do, in a rival's own words. A trait, because what it says is inlined where a function value is not, and
/// a turn that ends with a return costs more than one that does not.
pub(crate) trait Tasks {
    /// What wakes one.
    type Waker;
    /// That of the one that runs.
    fn waker() -> Self::Waker;
    fn yield_now();
    fn park();
    fn wake(waker: &Self::Waker);
}

/// What wakes the tasks, in the order in which they were made.
pub(crate) type Wakers<W> = Arc<Mutex<Vec<W>>>;

fn park_with(turns: u64) {
    TURNS.fetch_add(turns, Relaxed);
    IDLE.fetch_add(1, Relaxed);
}

/// A turn that touches a line of the stack.
#[inline(always)]
fn touch(turns: &mut u64) {
    let turns = &raw mut *turns;
    // SAFETY: a reference, a moment ago.
    unsafe { turns.write_volatile(turns.read_volatile() + 1) };
}

/// Functions of their own, so that nothing but the count is alive over a turn: the compiler would read again from the stack
/// what the rest of the task needs.
#[inline(never)]
fn registers<T: Tasks>() -> u64 {
    let mut turns = 0;
    while MODE.load(Relaxed) == REGISTERS {
        turns += 1;
        T::yield_now();
    }
    turns
}

#[inline(never)]
fn stack<T: Tasks>() -> u64 {
    let mut turns = 0;
    while MODE.load(Relaxed) == STACK {
        touch(&mut turns);
        T::yield_now();
    }
    turns
}

/// The body of a task on a stack.
#[inline(always)]
pub(crate) fn task<T: Tasks>(wakers: &Wakers<T::Waker>) {
    wakers.lock().expect("nobody panics").push(T::waker());
    park_with(0);
    loop {
        T::park();
        match MODE.load(Relaxed) {
            REGISTERS => park_with(registers::<T>()),
            STACK => park_with(stack::<T>()),
            ENDED => return,
            // Woken for nothing.
            _ => {}
        }
    }
}

/// The same without a stack: what is kept over an `await` lies in the future.
pub(crate) async fn future<F: Future<Output = ()>>(wakers: Wakers<Waker>, yield_now: impl Fn() -> F) {
    poll_fn(|context| {
        wakers.lock().expect("nobody panics").push(context.waker().clone());
        Poll::Ready(())
    })
    .await;
    park_with(0);
    loop {
        let mut parked = false;
        poll_fn(|_| if std::mem::replace(&mut parked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        match MODE.load(Relaxed) {
            REGISTERS => {
                let mut turns = 0;
                while MODE.load(Relaxed) == REGISTERS {
                    turns += 1;
                    yield_now().await;
                }
                park_with(turns);
            }
            STACK => {
                let mut turns = 0;
                while MODE.load(Relaxed) == STACK {
                    touch(&mut turns);
                    yield_now().await;
                }
                park_with(turns);
            }
            ENDED => return,
            _ => {}
        }
    }
}

/// What the keeper does before and after its turns.
pub(crate) struct Keeper<W> {
    wakers: Wakers<W>,
    requests: Requests,
    order: Vec<usize>,
}

impl<W> Keeper<W> {
    /// For `others` tasks that are all parked.
    fn new(wakers: &Wakers<W>, others: u64) -> Self {
        let order = (0..usize::try_from(others).expect("64 bits")).collect();
        Keeper { wakers: Arc::clone(wakers), requests: Requests::ready(), order }
    }

    /// Wakes everybody for the next request.
    fn begin(&mut self, wake: &impl Fn(&W)) -> Option<Request> {
        let request = self.requests.next()?;
        self.order.sort_unstable();
        if request.body == Body::Shuffled {
            cede_benches::shuffle(&mut self.order);
        }
        TURNS.store(0, Relaxed);
        IDLE.store(0, Relaxed);
        MODE.store(if request.body == Body::Registers { REGISTERS } else { STACK }, Relaxed);
        self.wake_all(wake);
        Some(request)
    }

    fn wake_all(&self, wake: &impl Fn(&W)) {
        let wakers = self.wakers.lock().expect("nobody panics");
        self.order.iter().for_each(|&i| wake(&wakers[i]));
    }

    /// Once all are parked again: of `count + 1` turns each, `count` were timed.
    fn answer(&self, elapsed: Duration, count: u64) {
        let all = TURNS.load(Relaxed) + count + 1;
        let timed = u128::from(all) * u128::from(count) / u128::from(count + 1);
        self.requests.answer(elapsed, timed as u64);
    }
}

fn all_parked(others: u64) -> bool {
    IDLE.load(Relaxed) >= others
}

/// The keeper of `others` tasks on stacks; itself a task. Returns when they have been told to end.
#[inline(always)]
pub(crate) fn keep<T: Tasks>(wakers: &Wakers<T::Waker>, others: u64) {
    while !all_parked(others) {
        T::yield_now();
    }
    let mut keeper = Keeper::new(wakers, others);
    while let Some(request) = keeper.begin(&T::wake) {
        T::yield_now();
        let start = Instant::now();
        if request.body == Body::Registers {
            for _ in 0..request.count {
                T::yield_now();
            }
        } else {
            let mut turns = 0;
            for _ in 0..request.count {
                touch(&mut turns);
                T::yield_now();
            }
        }
        let elapsed = start.elapsed();
        MODE.store(PARKED, Relaxed);
        while !all_parked(others) {
            T::yield_now();
        }
        keeper.answer(elapsed, request.count);
    }
    MODE.store(ENDED, Relaxed);
    keeper.wake_all(&T::wake);
}

/// The same without a stack.
pub(crate) async fn keep_futures<F: Future<Output = ()>>(
    wakers: Wakers<Waker>,
    others: u64,
    yield_now: impl Fn() -> F,
) {
    while !all_parked(others) {
        yield_now().await;
    }
    let mut keeper = Keeper::new(&wakers, others);
    while let Some(request) = keeper.begin(&Waker::wake_by_ref) {
        yield_now().await;
        let start = Instant::now();
        if request.body == Body::Registers {
            for _ in 0..request.count {
                yield_now().await;
            }
        } else {
            let mut turns = 0;
            for _ in 0..request.count {
                touch(&mut turns);
                yield_now().await;
            }
        }
        let elapsed = start.elapsed();
        MODE.store(PARKED, Relaxed);
        while !all_parked(others) {
            yield_now().await;
        }
        keeper.answer(elapsed, request.count);
    }
    MODE.store(ENDED, Relaxed);
    keeper.wake_all(&Waker::wake_by_ref);
}

/// Gives way once, as an executor that has no word for it is told to: the task wakes itself.
pub(crate) fn wake_oneself() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Answers all requests inside of an async block: `serve_async!(n, |count| { ... })`, or with what is made before the clock
/// starts, `serve_async!(n, |count| prepared = { ... } => { ... })`.
macro_rules! serve_async {
    ($n:expr, |$count:ident| $run:block) => {
        crate::rivals::ring::serve_async!($n, |$count| _nothing = () => $run)
    };
    ($n:expr, |$count:ident| $prepared:pat = $prepare:expr => $run:block) => {{
        let mut requests = crate::serve::Requests::ready();
        while let Some(crate::serve::Request { count: $count, .. }) = requests.next() {
            let $prepared = $prepare;
            let start = std::time::Instant::now();
            $run
            requests.answer(start.elapsed(), $count * $n);
        }
    }};
}
pub(crate) use serve_async;

/// Holds n tasks that `spawn` makes, each suspended, inside of an async block.
macro_rules! hold_async {
    ($n:expr, $yield_now:expr, $spawn:expr) => {{
        crate::serve::before_holding();
        let mut all = Vec::new();
        for k in 0..$n {
            crate::serve::holding(k);
            all.push($spawn);
        }
        while crate::rivals::ring::waiting() < $n {
            $yield_now.await;
        }
        crate::serve::held($n, None);
        std::process::exit(0);
    }};
}
pub(crate) use hold_async;

/// A task on a stack that does nothing but wait.
pub(crate) fn park_for_ever<T: Tasks>() {
    IDLE.fetch_add(1, Relaxed);
    loop {
        T::park();
    }
}

/// How many are parked.
pub(crate) fn waiting() -> u64 {
    IDLE.load(Relaxed)
}

/// A task that does nothing but wait.
pub(crate) fn wait_for_ever() -> impl Future<Output = ()> {
    let mut counted = false;
    poll_fn(move |_| {
        if !std::mem::replace(&mut counted, true) {
            IDLE.fetch_add(1, Relaxed);
        }
        Poll::Pending
    })
}
