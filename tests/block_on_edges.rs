//! `block_on` at the edges: nested polls, generators that are resumed elsewhere, wakers that outlive their task, and memory.

mod common;

use cede::sync::channel::{bounded, rendezvous};
use cede::task::Cancelled;
use cede::{Config, Generator, Yielder, block_on, spawn, yield_now};
use common::futures::{Flag, self_waking};
use common::{emulated, rounds};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: `System` allocates, and the count is a plain thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller obeys the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller obeys the contract of `dealloc`, and `System` allocated the block.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A poll that waits takes the wake that was meant for the outer future. The outer future is polled again.
#[test]
fn wait_in_a_poll_keeps_the_wake() {
    fn check(wake: impl FnOnce(Waker)) {
        let (sender, receiver) = bounded(1);
        let (mut polls, mut wake) = (0, Some(wake));
        let outcome = block_on(poll_fn(|cx| {
            polls += 1;
            if let Some(wake) = wake.take() {
                wake(cx.waker().clone());
                // This wait ends twice: by the waker, spuriously, and by the message of a thread.
                let sender = sender.clone();
                let late = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(5));
                    sender.send(1).unwrap();
                });
                assert_eq!(receiver.recv(), Ok(1));
                late.join().unwrap();
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        assert_eq!((outcome, polls), (Ok(()), 2));
    }
    let from_thread = |waker: Waker| thread::spawn(move || waker.wake()).join().unwrap();
    check(from_thread);
    check(Waker::wake);
    cede::run(|| {
        check(from_thread);
        check(Waker::wake);
        check(|waker| drop(spawn(move || waker.wake())));
    });
}

#[test]
fn polls_nest() {
    fn check() {
        let flag = Flag::default();
        let outer = block_on(async {
            self_waking(2).await;
            let middle = block_on(async {
                let inner = block_on(self_waking(3)).map(|()| 1);
                self_waking(1).await;
                inner.map(|n| n + 1)
            });
            let other = flag.clone();
            thread::spawn(move || other.set());
            flag.wait().await;
            middle.unwrap().map(|n| n + 1)
        });
        assert_eq!(outer.unwrap(), Ok(3));
    }
    check();
    cede::run(|| {
        let mut tasks: Vec<_> = (0..10).map(|_| spawn(check)).collect();
        check();
        tasks.iter_mut().for_each(|task| task.join().unwrap());
    });
}

/// A generator that is suspended during a poll is resumed by other tasks, in other runs and outside of a run. There the future is
/// polled anew, with the waker of the present task or thread.
#[test]
fn resumed_poll_has_the_waker_of_its_task() {
    let flag = Flag::default();
    let inner = flag.clone();
    let mut generator = Generator::new(move |y: &Yielder<u32>| {
        let mut n = 0;
        let outcome = block_on(poll_fn(|cx| {
            if inner.poll(cx).is_ready() {
                return Poll::Ready(n);
            }
            n += 1;
            // The first three polls suspend the generator, each in another place.
            if n <= 3 {
                y.yield_(n);
            }
            Poll::Pending
        }));
        y.yield_(outcome.unwrap() + 100);
    });
    let (first, mut generator) = cede::run(|| {
        let mut task = spawn(move || (generator.next(), generator));
        let (first, mut generator) = task.join().unwrap();
        let mut task = spawn(move || (generator.next(), generator));
        let (second, generator) = task.join().unwrap();
        ((first, second), generator)
    });
    assert_eq!(first, (Some(1), Some(2)));
    assert_eq!(generator.next(), Some(3), "in a plain thread");
    // The old wakers are used up. Only a poll by the task of the next run stores one that wakes that task.
    drop(flag.wakers());
    let last = Config::new().closed_world(true).run(|| {
        let setting = flag.clone();
        let mut task = spawn(move || generator.next());
        spawn(move || {
            rounds(3);
            setting.set();
        });
        task.join().unwrap()
    });
    assert_eq!(last.unwrap(), Some(104), "three polls that yield, one that waits");
}

/// Wakers may be cloned, used and dropped on any thread after the end of their task, run and thread.
#[test]
fn waker_outlives_its_run() {
    let flag = Flag::default();
    let of_run = cede::run(|| {
        let inner = flag.clone();
        let mut task = spawn(move || block_on(inner.wait()));
        yield_now();
        let wakers = flag.wakers();
        // The task has another wake: it ends without using the taken waker.
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Cancelled));
        wakers[0].wake_by_ref(); // the task has ended
        wakers
    });
    let inner = flag.clone();
    let waiting = thread::spawn(move || block_on(inner.wait()));
    let of_thread = loop {
        let wakers = flag.wakers();
        if !wakers.is_empty() {
            break wakers;
        }
        thread::yield_now();
    };
    flag.set();
    of_thread.iter().for_each(Waker::wake_by_ref);
    assert_eq!(waiting.join().unwrap(), Ok(()));
    for waker in of_run.into_iter().chain(of_thread) {
        let other = waker.clone();
        assert!(other.will_wake(&waker));
        thread::spawn(move || other.wake()).join().unwrap();
        cede::run(|| waker.wake());
    }
}

/// Late wakes of earlier futures end no other wait of the task: only spuriously, so the wait goes on.
#[test]
fn late_wakes_end_no_other_wait() {
    let stop = Arc::new(AtomicBool::new(false));
    let (wakers, hammer) = mpsc::channel::<Waker>();
    let stopped = Arc::clone(&stop);
    let hammering = thread::spawn(move || {
        let mut all: Vec<Waker> = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            all.extend(hammer.try_iter());
            all.iter().for_each(Waker::wake_by_ref);
            thread::yield_now();
        }
    });
    for _ in 0..if emulated() { 3 } else { 20 } {
        cede::run(|| {
            let wakers = wakers.clone();
            let (to_task, from_main) = bounded(1);
            let (to_main, from_task) = rendezvous();
            let mutex = Rc::new(cede::sync::Mutex::new(0));
            let inner = Rc::clone(&mutex);
            let mut task = spawn(move || {
                let mut first = true;
                block_on(poll_fn(|cx| {
                    wakers.send(cx.waker().clone()).unwrap();
                    if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
                }))
                .unwrap();
                let start = Instant::now();
                cede::time::sleep(Duration::from_millis(3)).unwrap();
                assert!(start.elapsed() >= Duration::from_millis(3));
                for n in 0..50 {
                    assert_eq!(from_main.recv(), Ok(n));
                    *inner.lock().unwrap() += 1;
                    to_main.send(n).unwrap();
                }
                let mut child = spawn(|| {
                    rounds(5);
                    7
                });
                child.join().unwrap()
            });
            for n in 0..50 {
                let guard = mutex.lock().unwrap();
                to_task.send(n).unwrap();
                rounds(2);
                drop(guard);
                assert_eq!(from_task.recv(), Ok(n));
            }
            assert_eq!((task.join().unwrap(), *mutex.lock().unwrap()), (7, 50));
        });
    }
    stop.store(true, Ordering::Relaxed);
    hammering.join().unwrap();
}

/// Several threads use clones of one waker at once, while the task polls. Each flag is seen.
#[test]
fn threads_race_to_wake() {
    const THREADS: usize = 3;
    let count = if emulated() { 50 } else { 2_000 };
    let check = |flags: &[[Flag; THREADS]]| {
        for flags in flags {
            let all = poll_fn(|cx| {
                if flags.iter().fold(true, |all, flag| flag.poll(cx).is_ready() & all) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            assert_eq!(block_on(all), Ok(()));
        }
    };
    for in_run in [true, false] {
        let flags: Vec<[Flag; THREADS]> = (0..count).map(|_| Default::default()).collect();
        thread::scope(|scope| {
            for n in 0..THREADS {
                let flags = &flags;
                scope.spawn(move || flags.iter().for_each(|flags| flags[n].set()));
            }
            if in_run { cede::run(|| check(&flags)) } else { check(&flags) }
        });
    }
}

#[test]
fn waits_allocate_nothing() {
    cede::run(|| {
        let (flag, rounds) = (Rc::new(Cell::new(None::<Waker>)), 1_000);
        let inner = Rc::clone(&flag);
        let mut task = spawn(move || {
            let wait = || {
                let mut polled = false;
                let outcome = block_on(poll_fn(|cx| {
                    if std::mem::replace(&mut polled, true) {
                        return Poll::Ready(());
                    }
                    inner.set(Some(cx.waker().clone()));
                    Poll::Pending
                }));
                assert_eq!(outcome, Ok(()));
            };
            wait(); // the task gets its waker
            let before = ALLOCATIONS.get();
            (0..rounds).for_each(|_| wait());
            ALLOCATIONS.get() - before
        });
        while !task.is_finished() {
            yield_now();
            if let Some(waker) = flag.take() {
                waker.wake();
            }
        }
        assert_eq!(task.join().unwrap(), 0);
    });
}

/// A run uses the cells of earlier runs: their number does not grow with the number of runs.
#[test]
fn cells_are_used_again() {
    const TASKS: usize = 200;
    let allocations = |wait: fn()| {
        let before = ALLOCATIONS.get();
        cede::run(|| {
            let mut tasks: Vec<_> = (0..TASKS).map(|_| spawn(wait)).collect();
            tasks.iter_mut().for_each(|task| task.join().unwrap());
        });
        ALLOCATIONS.get() - before
    };
    let with_futures = || allocations(|| assert_eq!(block_on(self_waking(1)), Ok(())));
    with_futures();
    // A run of another test may have taken the queue with the cells.
    let fewest = (0..20).map(|_| with_futures()).min().unwrap();
    assert!(fewest < allocations(yield_now) + TASKS as u64 / 2, "{fewest} allocations");
}
