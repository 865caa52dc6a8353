//! Fibers and runs as futures on the executors of other crates: the same suite on each.

use cede::sync::channel::bounded;
use cede::task::{Cancelled, park};
use cede::time::sleep;
use cede::{Config, block_on, fiber, yield_now};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, join, poll};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A future that is pending once, and wakes itself.
fn once() -> impl Future<Output = ()> {
    let mut is_ready = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut is_ready, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn depth_first(depth: u32) -> u32 {
    if depth == 0 {
        block_on(once()).unwrap();
        return block_on(ready(1)).unwrap();
    }
    depth_first(depth - 1) + 1
}

async fn waits() {
    assert_eq!(fiber(|| depth_first(20)).await, 21);
    let nested = fiber(|| {
        let inner = block_on(fiber(|| block_on(once()).map(|()| 5))).unwrap();
        block_on(once()).unwrap();
        inner
    });
    assert_eq!(nested.await, Ok(5));
    let slept = fiber(|| sleep(Duration::from_millis(2)));
    assert_eq!(slept.await, Ok(()));
    fiber(|| (0..10).for_each(|_| yield_now())).await;
}

async fn channels() {
    let (sender, receiver) = bounded(1);
    let sends = fiber(move || (0..100).for_each(|n| sender.send(n).unwrap()));
    let receives = fiber(move || receiver.iter().sum::<u32>());
    assert_eq!(join!(sends, receives).1, 4950);
    let (sender, receiver) = bounded(1);
    let thread = thread::spawn(move || (0..100).for_each(|n| sender.send(n).unwrap()));
    assert_eq!(fiber(move || receiver.iter().sum::<u32>()).await, 4950);
    thread.join().unwrap();
}

async fn ends() {
    let seen = Rc::new(Cell::new(None));
    let place = Rc::clone(&seen);
    let mut dropped = fiber(move || place.set(Some(block_on(pending::<()>()))));
    assert!(poll!(&mut dropped).is_pending());
    drop(dropped);
    assert_eq!(seen.get(), Some(Err(Cancelled)));
    let panics = fiber(|| {
        block_on(once()).unwrap();
        std::panic::resume_unwind(Box::new(7_u8));
    });
    let payload = AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
    assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
    let poll_panics = || block_on(poll_fn(|_| -> Poll<()> { std::panic::resume_unwind(Box::new(8_u8)) }));
    assert!(fiber(move || std::panic::catch_unwind(poll_panics).is_err()).await);
}

async fn runs() {
    let began = Instant::now();
    let run = Config::new().run_async(|| {
        let (sender, receiver) = bounded(2);
        let mut tasks: Vec<_> = (0..10_u64)
            .map(|n| {
                let sender = sender.clone();
                cede::spawn(move || {
                    sleep(Duration::from_millis(5)).unwrap();
                    block_on(once()).unwrap();
                    sender.send(n).unwrap();
                })
            })
            .collect();
        drop(sender);
        let sum: u64 = receiver.iter().sum();
        tasks.iter_mut().for_each(|task| task.join().unwrap());
        sum
    });
    assert_eq!(run.await.unwrap(), 45);
    assert!(began.elapsed() >= Duration::from_millis(5));
    let turns = |count| {
        Config::new().run_async(move || {
            for _ in 0..count {
                block_on(once()).unwrap();
                yield_now();
            }
            count
        })
    };
    let (first, second) = join!(turns(1000), turns(500));
    assert_eq!((first.unwrap(), second.unwrap()), (1000, 500));
    // Dropped: main and the task are cancelled by value.
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let mut run = Config::new().run_async(move || {
        let other = Rc::clone(&log);
        let _task = cede::spawn(move || {
            let outcome = park("a letter");
            other.borrow_mut().push(outcome);
        });
        let outcome = block_on(pending::<()>());
        log.borrow_mut().push(outcome);
    });
    assert!(poll!(&mut run).is_pending());
    drop(run);
    assert_eq!(*seen.borrow(), [Err(Cancelled); 2]);
    let run = Config::new().run_async(|| sleep(Duration::from_secs(3600)));
    let canceller = run.canceller();
    let thread = thread::spawn(move || canceller.cancel());
    assert_eq!(run.await.unwrap(), Err(Cancelled));
    assert!(thread.join().unwrap());
}

async fn ten_thousand() {
    let ended = Rc::new(Cell::new(0));
    let mut all: FuturesUnordered<_> = (0..10_000_u64)
        .map(|n| {
            let ended = Rc::clone(&ended);
            fiber(move || {
                (0..3).for_each(|_| block_on(once()).unwrap());
                ended.set(ended.get() + 1);
                n
            })
        })
        .collect();
    let mut sum = 0;
    while let Some(n) = all.next().await {
        sum += n;
    }
    assert_eq!((sum, ended.get()), (49_995_000, 10_000));
    // Dropped half-way.
    let cancelled = Rc::new(Cell::new(0));
    let mut all: FuturesUnordered<_> = (0..10_000)
        .map(|_| {
            let cancelled = Rc::clone(&cancelled);
            fiber(move || {
                assert!(block_on(pending::<()>()).is_err());
                cancelled.set(cancelled.get() + 1);
            })
        })
        .collect();
    assert!(poll!(all.next()).is_pending());
    drop(all);
    assert_eq!((cancelled.get(), Rc::strong_count(&cancelled)), (10_000, 1));
}

async fn suite() {
    waits().await;
    channels().await;
    ends().await;
    runs().await;
    ten_thousand().await;
}

#[test]
fn loop_by_hand() {
    struct Woken(AtomicBool, Thread);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true), thread::current()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut suite = pin!(suite());
    loop {
        while !woken.0.swap(false, Ordering::SeqCst) {
            thread::park();
        }
        if suite.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
    }
}

#[test]
fn pollster_block_on() {
    pollster::block_on(suite());
}

#[test]
fn futures_block_on() {
    futures::executor::block_on(suite());
}

#[test]
fn futures_local_pool() {
    let mut pool = futures::executor::LocalPool::new();
    pool.run_until(suite());
}

#[test]
fn smol_block_on() {
    smol::block_on(suite());
}

#[test]
fn smol_local_executor() {
    let executor = smol::LocalExecutor::new();
    let task = executor.spawn(suite());
    smol::block_on(executor.run(task));
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn tokio_current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn tokio_current_thread_block_on() {
    tokio_current_thread().block_on(suite());
}

#[test]
fn tokio_multi_thread_block_on() {
    tokio_runtime().block_on(suite());
}

#[test]
fn tokio_local_set() {
    let local = tokio::task::LocalSet::new();
    local.block_on(&tokio_current_thread(), async { tokio::task::spawn_local(suite()).await.unwrap() });
}

#[test]
fn tokio_spawn_pinned() {
    let pool = tokio_util::task::LocalPoolHandle::new(1);
    tokio_runtime().block_on(async { pool.spawn_pinned(suite).await.unwrap() });
}

#[test]
fn task_of_a_run() {
    cede::run(|| block_on(suite())).unwrap();
    cede::run(|| cede::spawn(|| block_on(suite())).join().unwrap()).unwrap();
}

#[test]
fn fiber_is_an_executor() {
    pollster::block_on(fiber(|| block_on(suite()))).unwrap();
}

/// tokio beside fibers: its timers, `select!`, task-locals and sockets work inside, and other tasks go on.
#[test]
fn tokio_inside_of_fibers() {
    tokio::task_local! { static NUMBER: u32; }
    let local = tokio::task::LocalSet::new();
    local.block_on(&tokio_current_thread(), async {
        let short = Duration::from_millis(5);
        let late = fiber(|| assert_eq!(block_on(tokio::time::sleep(Duration::from_secs(3600))), Err(Cancelled)));
        assert!(tokio::time::timeout(short, late).await.is_err());
        tokio::select! {
            () = fiber(|| assert!(block_on(pending::<()>()).is_err())) => unreachable!("the future is never ready"),
            () = tokio::time::sleep(short) => {}
        }
        let twice = fiber(move || {
            let before = NUMBER.get();
            block_on(tokio::time::sleep(short)).unwrap();
            before + NUMBER.get()
        });
        assert_eq!(NUMBER.scope(7, twice).await, 14);
        // Bodies that never wait for long: tokio's own budget, and the run's turns, let the other task run.
        for ways in 0..3 {
            let stop = Rc::new(Cell::new(false));
            let (seen, permits) = (Rc::clone(&stop), tokio::sync::Semaphore::new(1));
            let busy = move || {
                while !seen.get() {
                    match ways {
                        1 => yield_now(),
                        _ => drop(block_on(permits.acquire()).unwrap().unwrap()),
                    }
                }
            };
            let busy = match ways {
                0 => tokio::task::spawn_local(fiber(busy)),
                _ => tokio::task::spawn_local(async { Config::new().run_async(busy).await.unwrap() }),
            };
            tokio::time::sleep(short).await;
            stop.set(true);
            busy.await.unwrap();
        }
    });
}
