//! N tasks that take turns: the bodies of the tasks, which are the same for every rival with tasks.
//!
//! Between two requests all tasks except the keeper are parked. The keeper sets the work of a turn, wakes the tasks in the order
//! of their creation (or in a random order), gives them one turn without the clock, and then takes `count` timed turns itself.
//! Every task counts its own turns while the clock runs, and the figure is the time divided by the sum. So an executor that is
//! not strictly round robin, or that runs woken tasks before all are woken, is measured by the turns that the clock has seen.

use crate::area::Body;
use crate::serve::{Request, Requests};
use std::future::{Future, poll_fn};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const PARKED: u8 = 0;
const REGISTERS: u8 = 1;
const STACK: u8 = 2;
const ENDED: u8 = 3;
/// The clock has not started: turns do not count.
const WARM: u8 = 4;

/// The current work of the tasks. A static, because a body that keeps its state in registers has no place for a pointer.
static MODE: AtomicU8 = AtomicU8::new(PARKED);
/// The number of the request. A task that is woken without a new one was woken spuriously.
static ROUND: AtomicU64 = AtomicU64::new(0);
/// The number of parked tasks.
static IDLE: AtomicU64 = AtomicU64::new(0);
/// The timed turns of all tasks that have parked since the request.
static TURNS: AtomicU64 = AtomicU64::new(0);

/// The operations of a rival with stackful tasks. A trait, because its functions are inlined and function values are not, and a
/// turn that ends with a return costs more than one that does not.
pub(crate) trait Tasks {
    /// The handle that wakes a task.
    type Waker;
    /// Returns the waker of the running task.
    fn waker() -> Self::Waker;
    fn yield_now();
    fn park();
    fn wake(waker: &Self::Waker);
}

/// The wakers of the tasks, in the order of their creation.
pub(crate) type Wakers<W> = Arc<Mutex<Vec<W>>>;

fn park_with(turns: u64) {
    TURNS.fetch_add(turns, Relaxed);
    IDLE.fetch_add(1, Relaxed);
}

/// Counts a turn and touches a cache line of the stack.
#[inline(always)]
fn touch(turns: &mut u64) {
    let turns = &raw mut *turns;
    // SAFETY: `turns` comes from a mutable reference that outlives this call.
    unsafe { turns.write_volatile(turns.read_volatile() + 1) };
}

/// Takes turns until the clock starts.
#[inline(never)]
fn warm<T: Tasks>() {
    while MODE.load(Relaxed) == WARM {
        T::yield_now();
    }
}

/// Takes turns that count in a register. Like `stack`, a separate function, so that only the count is alive across a turn:
/// otherwise the compiler would also reload the state of the rest of the task from the stack.
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

/// The body of a stackful task.
#[inline(always)]
pub(crate) fn task<T: Tasks>(wakers: &Wakers<T::Waker>) {
    wakers.lock().expect("nobody panics").push(T::waker());
    let mut last = ROUND.load(Acquire);
    park_with(0);
    loop {
        T::park();
        if MODE.load(Relaxed) == ENDED {
            return;
        }
        let round = ROUND.load(Acquire);
        if round == last {
            continue;
        }
        last = round;
        warm::<T>();
        match MODE.load(Relaxed) {
            REGISTERS => park_with(registers::<T>()),
            STACK => park_with(stack::<T>()),
            // The keeper took all its turns before this thread ran. It waits for the thread to park again.
            _ => park_with(0),
        }
    }
}

/// The body of a stackless task: its state across an `await` is stored in the future.
pub(crate) async fn future<F: Future<Output = ()>>(wakers: Wakers<Waker>, yield_now: impl Fn() -> F) {
    poll_fn(|context| {
        wakers.lock().expect("nobody panics").push(context.waker().clone());
        Poll::Ready(())
    })
    .await;
    let mut last = ROUND.load(Acquire);
    park_with(0);
    loop {
        let mut parked = false;
        poll_fn(|_| if std::mem::replace(&mut parked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        if MODE.load(Relaxed) == ENDED {
            return;
        }
        let round = ROUND.load(Acquire);
        if round == last {
            continue;
        }
        last = round;
        while MODE.load(Relaxed) == WARM {
            yield_now().await;
        }
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
            // The keeper took all its turns before this task was polled. It waits for the task to park again.
            _ => park_with(0),
        }
    }
}

/// The work of the keeper before and after its turns.
pub(crate) struct Keeper<W> {
    wakers: Wakers<W>,
    requests: Requests,
    order: Vec<usize>,
}

impl<W> Keeper<W> {
    /// Creates the keeper of `others` tasks, which are all parked.
    fn new(wakers: &Wakers<W>, others: u64) -> Self {
        let order = (0..usize::try_from(others).expect("64 bits")).collect();
        Keeper { wakers: Arc::clone(wakers), requests: Requests::ready(), order }
    }

    /// Waits for the next request, and wakes all tasks for it.
    fn begin(&mut self, wake: &impl Fn(&W)) -> Option<Request> {
        let request = self.requests.next()?;
        self.order.sort_unstable();
        if request.body == Body::Shuffled {
            cede_benches::shuffle(&mut self.order);
        }
        TURNS.store(0, Relaxed);
        IDLE.store(0, Relaxed);
        MODE.store(WARM, Relaxed);
        ROUND.fetch_add(1, Release);
        self.wake_all(wake);
        Some(request)
    }

    fn wake_all(&self, wake: &impl Fn(&W)) {
        let wakers = self.wakers.lock().expect("nobody panics");
        self.order.iter().for_each(|&i| wake(&wakers[i]));
    }

    /// Answers the request after all tasks have parked again. The keeper itself has taken `count` turns.
    fn answer(&self, elapsed: Duration, count: u64) {
        self.requests.answer(elapsed, TURNS.load(Relaxed) + count);
    }
}

/// Starts the clock: turns count.
fn start_clock(request: &Request) -> Instant {
    MODE.store(if request.body == Body::Registers { REGISTERS } else { STACK }, Relaxed);
    Instant::now()
}

fn all_parked(others: u64) -> bool {
    IDLE.load(Relaxed) >= others
}

/// Runs the keeper of `others` stackful tasks, itself in a task. Returns after it has told the tasks to end.
#[inline(always)]
pub(crate) fn keep<T: Tasks>(wakers: &Wakers<T::Waker>, others: u64) {
    while !all_parked(others) {
        T::yield_now();
    }
    let mut keeper = Keeper::new(wakers, others);
    while let Some(request) = keeper.begin(&T::wake) {
        T::yield_now();
        let start = start_clock(&request);
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

/// Runs the keeper of `others` stackless tasks.
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
        let start = start_clock(&request);
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

/// Yields once, for executors without a yield function: the task wakes itself.
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

/// Answers all requests inside an async block: `serve_async!(n, |count| { ... })`. With a value that is prepared before the clock
/// starts: `serve_async!(n, |count| prepared = { ... } => { ... })`.
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

/// Holds n suspended tasks made by `$spawn`, inside an async block.
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

/// The body of a stackful task that only waits.
pub(crate) fn park_for_ever<T: Tasks>() {
    IDLE.fetch_add(1, Relaxed);
    loop {
        T::park();
    }
}

/// Returns the number of parked tasks.
pub(crate) fn waiting() -> u64 {
    IDLE.load(Relaxed)
}

/// The body of a stackless task that only waits.
pub(crate) fn wait_for_ever() -> impl Future<Output = ()> {
    let mut counted = false;
    poll_fn(move |_| {
        if !std::mem::replace(&mut counted, true) {
            IDLE.fetch_add(1, Relaxed);
        }
        Poll::Pending
    })
}
