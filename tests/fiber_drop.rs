//! The drop of fibers: cancelled by value, then unwound once, then leaked.

mod common;

use cede::bridge::Fiber;
use cede::coroutine::State;
use cede::sync::channel::{bounded, unbounded};
use cede::sync::{Condvar, Mutex};
use cede::task::Cancelled;
use cede::time::sleep;
use cede::{Builder, Generator, Yielder, block_on, fiber, yield_now};
use common::child::in_child;
use common::executor::{block, poll};
use common::futures::self_waking;
use common::{caught, text_of};
use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// A log of what a body saw.
struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(Rc::clone(&self.0))
    }
}

impl<T> Log<T> {
    /// The argument is evaluated before the log is borrowed, so it may wait.
    fn push(&self, item: T) {
        self.0.borrow_mut().push(item);
    }
}

/// A place for what a body saw, and the log that writes to it.
fn place<T>() -> (Rc<RefCell<Vec<T>>>, Log<T>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    (Rc::clone(&seen), Log(seen))
}

/// Polls the fiber once, which must be pending then.
fn suspended<R>(mut fiber: Fiber<R>) -> Fiber<R> {
    assert!(poll(&mut fiber).is_pending());
    assert_eq!(fiber.state(), State::Suspended);
    fiber
}

#[test]
fn body_sees_the_cancel() {
    let (seen, log) = place();
    let body = suspended(fiber(move || {
        log.push(block_on(pending::<()>()));
        log.push(block_on(self_waking(1)));
        // A future that is ready at once still gives its output.
        log.push(block_on(ready(())));
        log.push(sleep(Duration::from_secs(1000)));
        log.push(sleep(Duration::ZERO));
    }));
    drop(body);
    assert_eq!(*seen.borrow(), [Err(Cancelled), Err(Cancelled), Ok(()), Err(Cancelled), Err(Cancelled)]);
    assert_eq!(Rc::strong_count(&seen), 1);
}

#[test]
fn waits_of_sync_see_cancel() {
    let (seen, log) = place();
    let (_sender, receiver) = bounded::<u32>(1);
    let full = bounded(1);
    full.0.send(String::from("first")).unwrap();
    let sender = full.0.clone();
    let body = suspended(fiber(move || {
        log.push(receiver.recv().is_err());
        log.push(receiver.recv_timeout(Duration::from_secs(1000)).is_err());
        let lost = sender.send(String::from("second")).unwrap_err();
        log.push(lost.into_inner() == "second");
    }));
    drop(body);
    assert_eq!(*seen.borrow(), [true; 3]);
}

#[test]
fn condition_and_taken_lock() {
    // The cancelled fiber cannot lock the mutex again, because another fiber holds it.
    let pair = Rc::new((Mutex::new(1), Condvar::new()));
    let (seen, log) = place();
    let other = Rc::clone(&pair);
    let waits = suspended(fiber(move || {
        let error = other.1.wait(other.0.lock().unwrap()).unwrap_err();
        log.push(error.into_guard().map(|guard| *guard));
    }));
    let other = Rc::clone(&pair);
    let holds = suspended(fiber(move || {
        let _guard = other.0.lock().unwrap();
        block_on(pending::<()>()).is_err()
    }));
    drop(waits);
    drop(holds);
    assert_eq!(*seen.borrow(), [None]);
    assert_eq!(*pair.0.try_lock().unwrap(), 1);
}

#[test]
fn dropped_waiter_takes_nothing() {
    let (sender, receiver) = bounded(1);
    let other = receiver.clone();
    let (first, second) = (suspended(fiber(move || other.recv())), suspended(fiber(move || receiver.recv())));
    drop(first);
    sender.send(5).unwrap();
    assert_eq!(block(second), Ok(5));
}

#[test]
fn unpolled_fiber_drops_closure() {
    let owned = Rc::new(());
    let (in_closure, ran) = (Rc::clone(&owned), Rc::new(Cell::new(false)));
    let place = Rc::clone(&ran);
    let body = fiber(move || {
        let _owned = in_closure;
        place.set(true);
    });
    assert_eq!(body.state(), State::Created);
    drop(body);
    assert_eq!((Rc::strong_count(&owned), ran.get()), (1, false));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn deaf_body_is_unwound_once() {
    struct Waits(Rc<Cell<u32>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            // Waits of a body that unwinds end at once.
            assert_eq!(block_on(pending::<()>()), Err(Cancelled));
            assert_eq!(sleep(Duration::from_secs(1000)), Err(Cancelled));
            self.0.set(self.0.get() + 1_000_000);
        }
    }
    type Ignores = fn() -> bool;
    let ways: [Ignores; 4] = [
        || block_on(pending::<()>()).is_err(),
        || sleep(Duration::from_secs(1000)).is_err(),
        || {
            yield_now();
            true
        },
        || sleep(Duration::ZERO).is_err(),
    ];
    for ignores in ways {
        let count = Rc::new(Cell::new(0));
        let waits = Waits(Rc::clone(&count));
        let body = suspended(fiber(move || {
            block_on(self_waking(1)).ok();
            loop {
                ignores();
                waits.0.set(waits.0.get() + 1);
            }
        }));
        drop(body);
        assert_eq!((count.get(), Rc::strong_count(&count)), (1_000_999, 1));
    }
}

#[test]
fn body_that_catches_is_leaked() {
    let output = in_child("body_that_catches_is_leaked", || {
        let body = Builder::new().name("stubborn").fiber(|| {
            loop {
                drop(caught(|| while block_on(pending::<()>()).is_err() {}));
            }
        });
        drop(suspended(body.unwrap()));
        eprintln!("goes on");
    });
    let line = "cede: fiber 'stubborn' ignored its cancel, and did not end when it was unwound; its stack is leaked\ngoes on\n";
    assert!(output.ends_with(&format!("{line}exit code Some(0)")), "{output}");
}

#[test]
fn deaf_borrower_aborts() {
    let output = in_child("deaf_borrower_aborts", || {
        // SAFETY: the fiber is dropped below.
        let body = unsafe {
            Builder::new().name("borrower").fiber_borrowing(|| {
                loop {
                    drop(caught(|| while block_on(pending::<()>()).is_err() {}));
                }
            })
        };
        let mut body = body.unwrap();
        assert!(poll(&mut body).is_pending());
        drop(body);
        eprintln!("goes on");
    });
    let line = "cede: fiber 'borrower' ignored its cancel, and did not end when it was unwound";
    assert!(output.contains(line) && !output.contains("goes on") && output.ends_with("exit code None"), "{output}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_dropped_body() {
    let body = suspended(fiber(|| {
        assert!(block_on(pending::<()>()).is_ok(), "cancelled");
    }));
    let payload = caught(|| drop(body)).unwrap_err();
    assert_eq!(text_of(&*payload), "cancelled");
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the output");
        }
    }
    let body = suspended(fiber(|| {
        block_on(pending::<()>()).ok();
        Panics
    }));
    assert_eq!(text_of(&*caught(|| drop(body)).unwrap_err()), "in the output");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn drop_while_the_thread_panics() {
    let (seen, log) = place();
    let mutex = Rc::new(Mutex::new(()));
    let other = Rc::clone(&mutex);
    let body = suspended(fiber(move || {
        log.push(block_on(pending::<()>()).is_err());
        log.push(sleep(Duration::from_secs(1000)).is_err());
        // Another piece of code on this thread holds the lock.
        log.push(other.lock().is_err());
        log.push(cede::run(|| sleep(Duration::from_millis(1))).is_err());
    }));
    let guard = mutex.lock().unwrap();
    let text = common::panic_text(caught(|| {
        let _body = body;
        panic!("outside");
    }));
    drop(guard);
    assert_eq!(text, "outside");
    assert_eq!(*seen.borrow(), [true; 4]);
}

thread_local! {
    static KEPT: RefCell<Vec<Fiber<()>>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn drop_at_thread_end() {
    let output = in_child("drop_at_thread_end", || {
        let (sender, receiver) = unbounded::<u32>();
        let owned = Arc::new(());
        let (waits, in_closure) = (receiver.clone(), Arc::clone(&owned));
        let thread = thread::spawn(move || {
            KEPT.with_borrow(Vec::len);
            let body = Builder::new().name("kept").fiber(move || waits.recv().map_or((), drop));
            let unpolled = fiber(move || drop(in_closure));
            KEPT.with_borrow_mut(|kept| kept.extend([suspended(body.unwrap()), unpolled]));
        });
        thread.join().unwrap();
        // A fiber that was not polled drops its closure. One that is leaked waits no more: the message goes to another receiver.
        assert_eq!(Arc::strong_count(&owned), 1);
        sender.send(1).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
    });
    let line = "cede: fiber 'kept' was dropped at the end of its thread, when thread-locals that it may use are destroyed; its stack is leaked";
    assert!(output.contains(line) && output.ends_with("exit code Some(0)"), "{output}");
}

#[test]
fn run_leaked_at_thread_end() {
    // As `drop_at_thread_end`, with a run open in the fiber: its tasks wait no more.
    let output = in_child("run_leaked_at_thread_end", || {
        let (sender, receiver) = unbounded::<u32>();
        let waits = receiver.clone();
        let body = move || {
            KEPT.with_borrow(Vec::len);
            let body = fiber(move || {
                cede::run(|| {
                    cede::spawn(move || waits.recv().is_ok()).join().unwrap();
                });
            });
            KEPT.with_borrow_mut(|kept| kept.push(suspended(body)));
        };
        thread::spawn(body).join().unwrap();
        sender.send(1).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        // Another thread has a run of its own.
        assert_eq!(thread::spawn(|| cede::run(|| cede::spawn(|| 3).join().unwrap())).join().unwrap(), 3);
    });
    assert!(output.contains("its stack is leaked") && output.ends_with("exit code Some(0)"), "{output}");
}

#[test]
fn forgotten_fiber_harms_nothing() {
    let dropped = Arc::new(AtomicUsize::new(0));
    for with_run in [false, true] {
        let (flag, (sender, receiver)) = (common::futures::Flag::default(), bounded::<u32>(1));
        let (waits, kept) = (flag.wait(), receiver.clone());
        let count = Arc::clone(&dropped);
        let body = move || {
            let waits = move || {
                let _task = with_run.then(|| cede::spawn(move || kept.recv_timeout(Duration::from_millis(5))));
                block_on(waits).ok();
                count.fetch_add(1, Ordering::SeqCst);
            };
            let body = if with_run { fiber(move || cede::run(waits)) } else { fiber(waits) };
            std::mem::forget(suspended(body));
            // The thread goes on, with other runs and fibers.
            assert_eq!(cede::run(|| block_on(fiber(|| 4))), Ok(4));
        };
        thread::spawn(body).join().unwrap();
        // The thread has ended. Its wakers, its queue and its alarm may still be used.
        flag.set();
        drop(sender);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
}

#[test]
fn drop_with_scope_open() {
    let (seen, log) = place();
    let body = suspended(fiber(move || {
        cede::run(|| {
            let tasks = cede::scope(|s| {
                for n in 0..3 {
                    let log = &log;
                    s.spawn(move || {
                        let cancelled = sleep(Duration::from_secs(1000)).is_err();
                        log.push((n, cancelled));
                    });
                }
                sleep(Duration::from_secs(1000))
            });
            log.push((3, tasks.is_err() || tasks.unwrap().is_err()));
        });
    }));
    drop(body);
    seen.borrow_mut().sort_unstable();
    assert_eq!(*seen.borrow(), [(0, true), (1, true), (2, true), (3, true)]);
}

#[test]
fn drop_holding_a_suspended_generator() {
    let (seen, log) = place();
    let body = suspended(fiber(move || {
        let mut generator = Generator::new(move |y: &Yielder<u32>| {
            let outcome = y.try_yield(1);
            log.push(outcome.is_err());
        });
        assert_eq!(generator.next(), Some(1));
        block_on(pending::<()>()).ok();
    }));
    drop(body);
    assert_eq!(*seen.borrow(), [true]);
}

#[test]
fn drop_in_callback_and_section() {
    let (seen, log) = place();
    let make = || {
        let log = log.clone();
        suspended(fiber(move || log.push(block_on(pending::<()>()).is_err())))
    };
    let (first, second) = (make(), make());
    cede::run(|| {
        let mut task = cede::spawn(|| ());
        task.on_done(move |_| drop(first));
        task.join().unwrap();
        cede::no_suspend(|| drop(second));
        yield_now();
    });
    assert_eq!(*seen.borrow(), [true, true]);
}

#[test]
fn fiber_dropped_by_a_fiber() {
    let (seen, log) = place();
    let outer = log.clone();
    let inner = suspended(fiber(move || log.push(block_on(pending::<()>()).is_err())));
    let body = suspended(fiber(move || {
        let _inner = inner;
        outer.push(block_on(pending::<()>()).is_err());
    }));
    drop(body);
    assert_eq!(*seen.borrow(), [true, true]);
}

#[test]
fn overflow_names_the_fiber() {
    fn endless(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if frame[3] == u64::MAX { 0 } else { frame[5] + endless(depth + 1) }
    }
    if common::emulated() {
        return;
    }
    let output = in_child("overflow_names_the_fiber", || {
        let body = Builder::new().name("deep").fiber(|| endless(1)).unwrap();
        block_on(body).unwrap();
    });
    assert!(output.contains("fiber 'deep' overflowed its 256 KiB stack"), "{output}");
}

#[test]
fn dropped_fibers_keep_the_pool() {
    // 10,000 fibers that are dropped half-way use the same few stacks.
    let cancelled = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let fibers: Vec<_> = (0..100)
            .map(|_| {
                let cancelled = Rc::clone(&cancelled);
                suspended(fiber(move || {
                    assert!(block_on(pending::<()>()).is_err());
                    cancelled.set(cancelled.get() + 1);
                }))
            })
            .collect();
        drop(fibers);
    }
    assert_eq!((cancelled.get(), Rc::strong_count(&cancelled)), (10_000, 1));
    assert_eq!(poll(&mut fiber(|| 1)), Poll::Ready(1));
}
