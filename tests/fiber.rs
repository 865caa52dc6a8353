//! Fibers: what a body does inside of `poll`. Polled by executors written by hand.

mod common;

use cede::bridge::{Context, context, try_block_on};
use cede::coroutine::State;
use cede::sync::channel::{bounded, unbounded};
use cede::sync::{Barrier, Condvar, Event, Mutex, RwLock, Semaphore};
use cede::task::Cancelled;
use cede::time::{interval, sleep};
use cede::{Builder, Config, block_on, fiber, no_suspend, select, yield_now};
use common::executor::{Boxed, Wakes, all, block, poll, poll_with};
use common::futures::{Flag, self_waking};
use common::{caught, panic_text};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

fn depth_first(depth: u32) -> u32 {
    if depth == 0 {
        block_on(self_waking(1)).unwrap();
        return block_on(ready(1)).unwrap();
    }
    std::hint::black_box(depth_first(depth - 1)) + 1
}

fn boxed<T: 'static>(body: impl FnOnce() -> T + 'static) -> Boxed<'static, T> {
    Box::pin(fiber(body))
}

#[test]
fn wait_deep_in_calls() {
    let mut deep = fiber(|| depth_first(50));
    assert_eq!(deep.state(), State::Created);
    assert!(poll(&mut deep).is_pending());
    assert_eq!(deep.state(), State::Suspended);
    assert_eq!(poll(&mut deep), Poll::Ready(51));
    assert_eq!(deep.state(), State::Finished);
}

#[test]
fn body_runs_only_when_polled() {
    let runs = Rc::new(Cell::new(0));
    let count = Rc::clone(&runs);
    let mut body = fiber(move || {
        count.set(count.get() + 1);
        block_on(self_waking(1)).unwrap();
        count.set(count.get() + 1);
    });
    assert_eq!(runs.get(), 0);
    assert!(poll(&mut body).is_pending());
    assert_eq!(runs.get(), 1);
    assert!(poll(&mut body).is_ready());
    assert_eq!((runs.get(), Rc::strong_count(&runs)), (2, 1));
}

#[test]
fn fibers_share_a_channel() {
    let (sender, receiver) = bounded(1);
    let sends = boxed(move || (0..100).map(|n| sender.send(n).unwrap()).count());
    let receives = boxed(move || receiver.iter().sum::<usize>());
    assert_eq!(all([sends, receives]), [100, 4950]);
}

#[test]
fn thread_sends_to_fiber() {
    for capacity in [0, 1, 7] {
        let (sender, receiver) = bounded(capacity);
        let thread = thread::spawn(move || (0..200).for_each(|n| sender.send(n).unwrap()));
        assert_eq!(block(fiber(move || receiver.iter().sum::<u32>())), 19_900);
        thread.join().unwrap();
    }
}

#[test]
fn fiber_sends_to_thread() {
    let (sender, receiver) = bounded(1);
    let thread = thread::spawn(move || receiver.iter().sum::<u32>());
    block(fiber(move || (0..200).for_each(|n| sender.send(n).unwrap())));
    assert_eq!(thread.join().unwrap(), 19_900);
}

/// Runs `waits` in a fiber, which must be pending until `ends` was called on the same thread.
fn suspends<T: 'static>(waits: impl FnOnce() -> T + 'static, ends: impl FnOnce()) -> T {
    let (wakes, waker) = Wakes::new();
    let mut waits = fiber(waits);
    assert!(poll_with(&mut waits, &waker).is_pending());
    assert_eq!(wakes.count(), 0);
    ends();
    assert!(wakes.count() > 0, "the event woke no executor");
    match poll_with(&mut waits, &waker) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the fiber waits on"),
    }
}

#[test]
fn locks_suspend_the_fiber() {
    let mutex = Arc::new(Mutex::new(5));
    let (other, guard) = (Arc::clone(&mutex), mutex.lock().unwrap());
    assert_eq!(suspends(move || *other.lock().unwrap(), || drop(guard)), 5);
    let lock = Arc::new(RwLock::new(6));
    let (other, guard) = (Arc::clone(&lock), lock.write().unwrap());
    assert_eq!(suspends(move || *other.read().unwrap(), || drop(guard)), 6);
    let permits = Arc::new(Semaphore::new(1));
    let (other, permit) = (Arc::clone(&permits), permits.acquire().unwrap());
    assert!(suspends(move || other.acquire().is_ok(), || drop(permit)));
}

#[test]
fn signals_suspend_the_fiber() {
    let event = Arc::new(Event::new());
    let other = Arc::clone(&event);
    assert_eq!(suspends(move || other.wait(), || event.set()), Ok(()));
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = Arc::clone(&pair);
    let waits = move || *other.1.wait_while(other.0.lock().unwrap(), |ready| !*ready).unwrap();
    let notifies = || {
        *pair.0.lock().unwrap() = true;
        pair.1.notify_one();
    };
    assert!(suspends(waits, notifies));
    let barrier = Arc::new(Barrier::new(2));
    let other = Arc::clone(&barrier);
    assert!(suspends(move || other.wait().is_ok(), || assert!(barrier.wait().is_ok())));
}

#[test]
fn select_suspends_the_fiber() {
    let ((first, a), (_second, b)) = (bounded(1), unbounded::<u32>());
    let selects = move || {
        select! {
            recv(a) -> item => item.unwrap(),
            recv(b) -> item => item.unwrap() + 100,
        }
    };
    assert_eq!(suspends(selects, || first.send(3).unwrap()), Ok(3));
}

#[test]
fn locks_of_fibers_are_fair() {
    let (mutex, log) = (Rc::new(Mutex::new(())), Rc::new(RefCell::new(Vec::new())));
    let fibers = (0..4).map(|n| {
        let (mutex, log) = (Rc::clone(&mutex), Rc::clone(&log));
        boxed(move || {
            for _ in 0..3 {
                let guard = mutex.lock().unwrap();
                yield_now();
                log.borrow_mut().push(n);
                drop(guard);
                yield_now();
            }
        })
    });
    all(fibers);
    assert_eq!(*log.borrow(), [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn sleeps_end_in_order() {
    let (log, began) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
    let fibers = [60, 20, 40].map(|ms| {
        let log = Rc::clone(&log);
        boxed(move || {
            sleep(Duration::from_millis(ms)).unwrap();
            log.borrow_mut().push(ms);
        })
    });
    all(fibers);
    assert_eq!(*log.borrow(), [20, 40, 60]);
    assert!(began.elapsed() >= Duration::from_millis(60));
}

#[test]
fn timeouts_of_waits_end() {
    let began = Instant::now();
    let (_sender, receiver) = bounded::<()>(1);
    let late = block(fiber(move || {
        // A short wait after a long one, and a long one after a short one.
        let first = receiver.recv_timeout(Duration::from_millis(10)).is_err();
        sleep(Duration::from_millis(30)).unwrap();
        first && receiver.recv_timeout(Duration::from_millis(10)).is_err()
    }));
    assert!(late && began.elapsed() >= Duration::from_millis(50));
}

#[test]
fn interval_ticks_in_fiber() {
    let began = Instant::now();
    let ticks = fiber(|| {
        let mut ticks = interval(Duration::from_millis(5));
        (0..3).filter(|_| ticks.tick().is_ok()).count()
    });
    assert_eq!(block(ticks), 3);
    assert!(began.elapsed() >= Duration::from_millis(10));
}

#[test]
fn yield_gives_way() {
    let (wakes, waker) = Wakes::new();
    let mut yields = fiber(|| (0..3).for_each(|_| yield_now()));
    for round in 1..=3 {
        assert!(poll_with(&mut yields, &waker).is_pending());
        assert_eq!(wakes.count(), round);
    }
    assert!(poll_with(&mut yields, &waker).is_ready());
}

#[test]
fn context_is_a_fiber() {
    let mut body = fiber(|| {
        let before = (context(), try_block_on(ready(1)).unwrap());
        block_on(self_waking(1)).unwrap();
        let in_run = cede::run(|| (context(), cede::spawn(context).join().unwrap()));
        (before, context(), in_run)
    });
    assert!(poll(&mut body).is_pending());
    assert_eq!(context(), Context::Thread);
    assert!(try_block_on(ready(1)).is_err());
    let Poll::Ready(seen) = poll(&mut body) else { panic!("the fiber waits on") };
    assert_eq!(seen, ((Context::Fiber, Ok(1)), Context::Fiber, (Context::Task, Context::Task)));
    assert_eq!(context(), Context::Thread);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn fiber_hides_the_run() {
    cede::run(|| {
        let mut body = fiber(|| {
            block_on(self_waking(1)).unwrap();
            (context(), caught(|| cede::spawn(|| ())).is_err())
        });
        assert!(poll(&mut body).is_pending());
        assert_eq!(context(), Context::Task);
        assert_eq!(block_on(body), Ok((Context::Fiber, true)));
    });
}

#[test]
fn task_awaits_fibers() {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        let sends = cede::spawn(move || {
            for n in 0..10 {
                block_on(fiber({
                    let sender = sender.clone();
                    move || sender.send(n).unwrap()
                }))
                .unwrap();
            }
        });
        let sum = block_on(fiber(move || receiver.iter().sum::<i32>()));
        drop(sends);
        assert_eq!(sum, Ok(45));
    });
}

#[test]
fn callback_polls_a_fiber() {
    let seen = Rc::new(Cell::new(None));
    let place = Rc::clone(&seen);
    cede::run(move || {
        let mut task = cede::spawn(|| ());
        task.on_done(move |_| {
            let mut body = fiber(|| {
                block_on(self_waking(1)).unwrap();
                context()
            });
            assert!(poll(&mut body).is_pending());
            assert_eq!(context(), Context::Callback);
            if let Poll::Ready(context) = poll(&mut body) {
                place.set(Some(context));
            }
        });
        task.join().unwrap();
        yield_now();
    });
    assert_eq!(seen.get(), Some(Context::Fiber));
}

#[test]
fn fiber_waits_inside_no_suspend() {
    let outside = || {
        let mut body = fiber(|| block_on(self_waking(2)));
        no_suspend(|| assert!(poll(&mut body).is_pending()));
        assert!(no_suspend(|| poll(&mut body)).is_pending());
        assert!(poll(&mut body).is_ready());
    };
    outside();
    cede::run(outside);
}

#[test]
fn try_block_on_inside_no_suspend() {
    let body = fiber(|| no_suspend(|| try_block_on(ready(3)).unwrap_err().into_inner().into_inner()));
    assert_eq!(block(body), 3);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn no_suspend_inside_fiber_refuses() {
    let mut body = fiber(|| {
        let text = panic_text(caught(|| no_suspend(|| block_on(pending::<()>()))));
        block_on(self_waking(1)).unwrap();
        text
    });
    assert!(poll(&mut body).is_pending());
    no_suspend(|| {
        let Poll::Ready(text) = poll(&mut body) else { panic!("the fiber waits on") };
        assert!(text.contains("inside a no_suspend section"), "{text}");
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_goes_to_the_poller() {
    let mut body = fiber(|| {
        block_on(self_waking(1)).unwrap();
        std::panic::panic_any(7_u8);
    });
    assert!(poll(&mut body).is_pending());
    let payload = caught(|| poll(&mut body)).unwrap_err();
    assert_eq!(*payload.downcast::<u8>().unwrap(), 7);
    assert_eq!(body.state(), State::Finished);
    let text = panic_text(caught(|| poll(&mut body)));
    assert_eq!(text, "cannot poll an unnamed fiber: it has finished");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_poll_reaches_body() {
    let mut body = fiber(|| {
        let mut first = true;
        let panics = poll_fn(|cx| -> Poll<()> {
            assert!(std::mem::take(&mut first), "in poll");
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let text = panic_text(caught(|| block_on(panics)));
        block_on(self_waking(1)).unwrap();
        text
    });
    assert!(poll(&mut body).is_pending());
    assert!(poll(&mut body).is_pending());
    assert_eq!(poll(&mut body), Poll::Ready("in poll".to_string()));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn poll_after_end_names_fiber() {
    let mut body = Builder::new().name("parser").fiber(|| 1).unwrap();
    assert_eq!(poll(&mut body), Poll::Ready(1));
    let text = panic_text(caught(|| poll(&mut body)));
    assert_eq!(text, "cannot poll fiber 'parser': it has finished");
    let text = panic_text(caught(|| block_on(&mut body)));
    assert_eq!(text, "cannot poll fiber 'parser': it has finished");
}

#[test]
fn newest_waker_is_used() {
    let flag = Flag::default();
    let (set, waits) = (flag.clone(), flag.wait());
    let mut body = fiber(move || block_on(waits));
    let (first, waker) = Wakes::new();
    assert!(poll_with(&mut body, &waker).is_pending());
    drop(waker);
    let (second, waker) = Wakes::new();
    assert!(poll_with(&mut body, &waker).is_pending());
    set.set();
    assert_eq!((first.count(), second.count()), (1, 1));
    assert!(poll_with(&mut body, &waker).is_ready());
}

#[test]
fn newest_waker_ends_receive() {
    let (sender, receiver) = bounded(1);
    let mut body = fiber(move || receiver.recv());
    let (first, waker) = Wakes::new();
    assert!(poll_with(&mut body, &waker).is_pending());
    drop(waker);
    let (second, waker) = Wakes::new();
    assert!(poll_with(&mut body, &waker).is_pending());
    sender.send(5).unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));
    // The fiber keeps no waker of an earlier poll.
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(poll_with(&mut body, &waker), Poll::Ready(Ok(5)));
    drop(body);
    drop(waker);
    assert_eq!(Arc::strong_count(&second), 1);
}

#[test]
fn other_thread_wakes() {
    let flag = Flag::default();
    let waits = flag.wait();
    let thread = thread::spawn(move || {
        while flag.polls() == 0 {
            thread::yield_now();
        }
        flag.set();
    });
    assert_eq!(block(fiber(move || block_on(waits))), Ok(()));
    thread.join().unwrap();
}

#[test]
fn builder_names_and_sizes() {
    let mut body = Builder::new().name("deep").stack_size(1 << 20).fiber(|| depth_first(200)).unwrap();
    assert_eq!(format!("{body:?}"), "fiber { name: Some(\"deep\"), state: Created, .. }");
    assert!(poll(&mut body).is_pending());
    assert!((4096..1 << 20).contains(&body.stack_high_water().unwrap()));
    assert_eq!(block_on(&mut body), Ok(201));
    assert_eq!((body.name(), body.state()), (Some("deep"), State::Finished));
    assert!(Builder::new().stack_size(1).fiber(|| ()).is_err());
    // The default of fibers is larger than that of tasks.
    let mut large = fiber(|| std::hint::black_box([0_u8; 80 << 10])[5]);
    assert_eq!(poll(&mut large), Poll::Ready(0));
    fn is_unpin(_: &impl Unpin) {}
    is_unpin(&large);
}

#[test]
fn borrowing_fiber_borrows() {
    let (mut log, first) = (Vec::new(), [1]);
    // SAFETY: `block` owns the future and drops it before it returns.
    let body = unsafe {
        Builder::new().name("borrower").fiber_borrowing(|| {
            log.extend(first);
            block_on(self_waking(3)).unwrap();
            log.push(2);
            log.len()
        })
    };
    assert_eq!(block(body.unwrap()), 2);
    assert_eq!(log, [1, 2]);
}

#[test]
fn wake_while_the_body_runs() {
    // The wake comes after the poll of the future and before the fiber is suspended, from another thread.
    for _ in 0..200 {
        let (flag, (sender, receiver)) = (Flag::default(), unbounded());
        let (waits, set) = (flag.wait(), flag.clone());
        let thread = thread::spawn(move || {
            set.set();
            sender.send(1).unwrap();
        });
        let body = fiber(move || (block_on(waits), receiver.recv()));
        assert_eq!(block(body), (Ok(()), Ok(1)));
        thread.join().unwrap();
    }
}

#[test]
fn cancelled_is_not_seen_early() {
    let outcome = block(fiber(|| {
        let mut outcomes = [block_on(self_waking(1)); 3];
        outcomes[1] = sleep(Duration::ZERO);
        outcomes[2] = sleep(Duration::from_millis(1));
        outcomes
    }));
    assert_eq!(outcome, [Ok(()), Ok::<(), Cancelled>(()), Ok(())]);
}

#[test]
fn paused_run_in_fiber_sleeps() {
    // The clock of the run jumps: no real time passes.
    let body = fiber(|| Config::new().paused_clock(true).run(|| sleep(Duration::from_secs(3600))).unwrap());
    assert_eq!(block(body), Ok(()));
}
