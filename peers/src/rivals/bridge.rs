//! Futures in synchronous code, and synchronous code as a future.
//!
//! The bodies `woken`, `answer` and `between` run in a local task of tokio's `LocalSet`; `ready`, `pending`, `made` and `item` in a loop
//! that polls with a waker that does nothing. The clock of a body runs inside of the task or fiber.

use super::slot::{self, Slot};
use super::{Rival, Role};
use crate::area::{Area, Body};
use crate::serve::{self, Requests};
use ::futures::{Stream, StreamExt};
use ::tokio::runtime::{Builder, Handle, Runtime};
use ::tokio::task::{LocalSet, block_in_place, spawn_blocking, spawn_local, yield_now};
use cede::bridge::stream;
use cede::{Config, Generator, Yielder, block_on, fiber};
use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const ALL: &[Area] = &[Area::Bridge];
const EVERYTHING: &[Body] =
    &[Body::Ready, Body::Pending, Body::Woken, Body::Made, Body::Answer, Body::Between, Body::Item, Body::Held];
const BUT_ITEMS: &[Body] =
    &[Body::Ready, Body::Pending, Body::Woken, Body::Made, Body::Answer, Body::Between, Body::Held];

pub(super) static RIVALS: [Rival; 10] = [
    Rival::own("cede", Role::Cede, ALL, cede_fiber).with_bodies(EVERYTHING),
    Rival::own("cede, in a task", Role::Variant, ALL, cede_task).with_bodies(&[
        Body::Ready,
        Body::Pending,
        Body::Woken,
    ]),
    Rival::own("cede, on smol", Role::Variant, ALL, cede_on_smol).with_bodies(&[Body::Woken, Body::Answer]),
    Rival::own("cede Generator", Role::Variant, ALL, cede_generator).with_bodies(&[Body::Item]),
    Rival::own("async", Role::Floor, ALL, stackless).with_bodies(&Body::OF_BRIDGE),
    Rival::own("a slot of one stack", Role::Rival, ALL, one_slot).with_bodies(BUT_ITEMS),
    Rival::own("stackful", Role::Rival, ALL, stackful_crate).with_bodies(BUT_ITEMS),
    Rival::own("pollster", Role::Threads, ALL, pollster_crate).with_bodies(&[Body::Ready, Body::Pending]),
    Rival::own("block_in_place, all cores", Role::Threads, ALL, in_place)
        .with_bodies(&[Body::Answer, Body::Between])
        .on_all_cores(),
    Rival::own("spawn_blocking, all cores", Role::Threads, ALL, blocking)
        .with_bodies(&[Body::Answer, Body::Between])
        .on_all_cores(),
];

/// A future that is pending once. With `WAKES` it wakes its executor at once.
struct Once<const WAKES: bool>(bool);

impl<const WAKES: bool> Future for Once<WAKES> {
    type Output = u64;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(1);
        }
        if WAKES {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn woken() -> Once<true> {
    Once(false)
}

fn pending() -> Once<false> {
    Once(false)
}

/// Calls `f` ten calls deep.
#[inline(never)]
fn deep<T>(calls: u32, f: &mut dyn FnMut() -> T) -> T {
    if calls == 0 {
        return f();
    }
    let value = deep(calls - 1, f);
    black_box(calls);
    value
}

/// Polls a future until it is ready.
fn spin<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

/// Runs a future as a local task.
fn in_local_task<F: Future<Output: 'static> + 'static>(runtime: &Runtime, future: F) -> F::Output {
    LocalSet::new().block_on(runtime, async { spawn_local(future).await.expect("it returns") })
}

/// Answers all requests with the time that `run` measures for `count` operations.
fn answer(mut run: impl FnMut(Body, u64) -> Duration) {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        requests.answer(run(request.body, request.count), request.count);
    }
}

/// Measures a loop of synchronous code.
macro_rules! timed {
    ($count:expr, $one:expr) => {{
        let start = Instant::now();
        for _ in 0..$count {
            let _ = black_box($one);
        }
        start.elapsed()
    }};
}

async fn items(count: u64, mut stream: impl Stream<Item = u64> + Unpin) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        black_box(stream.next().await);
    }
    start.elapsed()
}

fn cede_fiber(_: Area, n: u64) {
    if n > 1 {
        return serve::hold(n, |_| {
            let builder = cede::Builder::new();
            let mut fiber = builder.fiber(|| block_on(pending())).map_err(|error| error.to_string())?;
            let _ = Pin::new(&mut fiber).poll(&mut Context::from_waker(Waker::noop()));
            Ok(fiber)
        });
    }
    let runtime = runtime();
    answer(|body, count| match body {
        Body::Ready => spin(fiber(move || timed!(count, block_on(ready(black_box(1u64)))))),
        Body::Pending => spin(fiber(move || timed!(count, block_on(pending())))),
        Body::Woken => in_local_task(&runtime, fiber(move || timed!(count, block_on(woken())))),
        Body::Made => timed!(count, spin(fiber(move || black_box(count)))),
        Body::Answer => {
            in_local_task(&runtime, async move { timed!(count, fiber(|| deep(10, &mut || block_on(woken()))).await) })
        }
        Body::Between => in_local_task(&runtime, async move {
            timed!(count, {
                yield_now().await;
                fiber(|| deep(10, &mut || block_on(woken()))).await
            })
        }),
        _ => {
            let numbers = stream(|emitter| (0..).try_for_each(|i| emitter.emit(i)).unwrap_or(()));
            spin(items(count, numbers))
        }
    });
}

/// The same calls in a task of a run, which is itself a future for `woken`.
fn cede_task(_: Area, _: u64) {
    let runtime = runtime();
    answer(|body, count| match body {
        Body::Ready => cede::run(move || timed!(count, block_on(ready(black_box(1u64))))),
        // In a task nothing polls without a wake.
        Body::Pending => cede::run(move || timed!(count, block_on(woken()))),
        _ => {
            let run = Config::new().run_async(move || timed!(count, block_on(woken())));
            in_local_task(&runtime, run).expect("no deadlock")
        }
    });
}

fn cede_on_smol(_: Area, _: u64) {
    let executor = ::smol::LocalExecutor::new();
    let run = |future: Pin<Box<dyn Future<Output = Duration>>>| {
        let task = executor.spawn(future);
        ::smol::block_on(executor.run(task))
    };
    answer(|body, count| match body {
        Body::Woken => run(Box::pin(fiber(move || timed!(count, block_on(woken()))))),
        _ => run(Box::pin(async move { timed!(count, fiber(|| deep(10, &mut || block_on(woken()))).await) })),
    });
}

/// In the loop: `poll_next` of a generator.
fn cede_generator(_: Area, _: u64) {
    fn numbers(y: &Yielder<u64>) {
        let mut i = 0;
        while i < u64::MAX {
            y.yield_(i);
            i += 1;
        }
    }
    answer(|_, count| spin(items(count, Generator::new(numbers))));
}

/// The floor: what synchronous code between would do is an async function, whose future is boxed where the others have a stack.
fn stackless(_: Area, _: u64) {
    let runtime = runtime();
    let boxed = || black_box(Box::pin(async { woken().await }));
    answer(move |body, count| match body {
        Body::Ready => spin(async move { timed!(count, ready(black_box(1u64)).await) }),
        Body::Pending => spin(async move { timed!(count, pending().await) }),
        Body::Woken => in_local_task(&runtime, async move { timed!(count, woken().await) }),
        Body::Made => timed!(count, spin(black_box(Box::pin(async move { black_box(count) })))),
        Body::Answer => in_local_task(&runtime, async move { timed!(count, boxed().await) }),
        Body::Between => in_local_task(&runtime, async move {
            timed!(count, {
                yield_now().await;
                boxed().await
            })
        }),
        _ => {
            let numbers = async_stream::stream! {
                for i in 0.. {
                    yield i;
                }
            };
            spin(async move { items(count, pin!(numbers)).await })
        }
    });
}

fn one_slot(_: Area, n: u64) {
    if n > 1 {
        return serve::hold(n, |_| {
            // Each in a slot of its own, which is never freed.
            let empty: &'static Slot = Box::leak(Box::default());
            let mut fiber = slot::fiber(empty, || slot::wait(pending())).map_err(|error| error.to_string())?;
            let _ = Pin::new(&mut fiber).poll(&mut Context::from_waker(Waker::noop()));
            Ok(fiber)
        });
    }
    let (runtime, kept) = (runtime(), Slot::default());
    answer(|body, count| {
        let slot = Slot::clone(&kept);
        let elapsed = match body {
            Body::Ready => {
                spin(slot::fiber(&slot, move || timed!(count, slot::wait(ready(black_box(1u64))))).expect("a stack"))
            }
            Body::Pending => spin(slot::fiber(&slot, move || timed!(count, slot::wait(pending()))).expect("a stack")),
            Body::Woken => in_local_task(&runtime, async move {
                slot::fiber(&slot, move || timed!(count, slot::wait(woken()))).expect("a stack").await
            }),
            Body::Made => Ok(timed!(count, spin(slot::fiber(&slot, move || black_box(count)).expect("a stack")))),
            Body::Answer => in_local_task(&runtime, async move {
                Ok(timed!(count, slot::fiber(&slot, || deep(10, &mut || slot::wait(woken()))).expect("a stack").await))
            }),
            _ => in_local_task(&runtime, async move {
                Ok(timed!(count, {
                    yield_now().await;
                    slot::fiber(&slot, || deep(10, &mut || slot::wait(woken()))).expect("a stack").await
                }))
            }),
        };
        elapsed.expect("it is not cancelled")
    });
}

/// The crate stackful. It has no slot: it maps a stack for each future.
fn stackful_crate(_: Area, n: u64) {
    use ::stackful::{stackful, wait};
    if n > 1 {
        return serve::hold(n, |_| {
            let mut future = Box::pin(stackful(|| wait(pending())));
            let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            Ok(future)
        });
    }
    let runtime = runtime();
    answer(|body, count| match body {
        Body::Ready => spin(stackful(move || timed!(count, wait(ready(black_box(1u64)))))),
        Body::Pending => spin(stackful(move || timed!(count, wait(pending())))),
        Body::Woken => in_local_task(&runtime, stackful(move || timed!(count, wait(woken())))),
        Body::Made => timed!(count, spin(stackful(move || black_box(count)))),
        Body::Answer => {
            in_local_task(&runtime, async move { timed!(count, stackful(|| deep(10, &mut || wait(woken()))).await) })
        }
        _ => in_local_task(&runtime, async move {
            timed!(count, {
                yield_now().await;
                stackful(|| deep(10, &mut || wait(woken()))).await
            })
        }),
    });
}

/// Blocks the thread.
fn pollster_crate(_: Area, _: u64) {
    answer(|body, count| match body {
        Body::Ready => timed!(count, pollster::block_on(ready(black_box(1u64)))),
        // A thread that is not woken sleeps.
        _ => timed!(count, pollster::block_on(woken())),
    });
}

/// In the loop: `block_in_place` and `Handle::block_on`, in a spawned task of tokio's multi-threaded runtime.
fn in_place(_: Area, _: u64) {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let run = |yields: bool, count: u64| async move {
        let handle = Handle::current();
        timed!(count, {
            if yields {
                yield_now().await;
            }
            block_in_place(|| deep(10, &mut || handle.block_on(woken())))
        })
    };
    answer(|body, count| {
        runtime.block_on(async { ::tokio::spawn(run(body == Body::Between, count)).await.expect("it returns") })
    });
}

/// In the loop: `spawn_blocking` and `Handle::block_on` on that thread.
fn blocking(_: Area, _: u64) {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let run = |yields: bool, count: u64| async move {
        timed!(count, {
            if yields {
                yield_now().await;
            }
            let handle = Handle::current();
            spawn_blocking(move || deep(10, &mut || handle.block_on(woken()))).await.expect("it returns")
        })
    };
    answer(|body, count| {
        runtime.block_on(async { ::tokio::spawn(run(body == Body::Between, count)).await.expect("it returns") })
    });
}
