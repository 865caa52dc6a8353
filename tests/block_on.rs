//! `block_on`, `try_block_on` and `context`: waits for futures in tasks, main, generators and plain threads, cancels, limits and panics.

mod common;

use cede::bridge::{Context, context, try_block_on};
use cede::task::{Cancelled, park};
use cede::{Config, Generator, Yielder, block_on, no_suspend, scope, shield, spawn, timeout, yield_now};
use common::futures::{Flag, self_waking};
use common::witness::Log;
use common::{caught, deadlock, named, panic_text, paused, rounds, s};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(5);

#[test]
fn ready_future_needs_no_wait() {
    assert_eq!(block_on(ready(1)), Ok(1));
    cede::run(|| {
        let turns = Rc::new(Cell::new(0));
        let inner = Rc::clone(&turns);
        spawn(move || inner.set(1));
        assert_eq!(block_on(async { 2 }), Ok(2));
        assert_eq!(turns.get(), 0, "no other task had a turn");
        // The cooperative budget counts the call.
        (0..5_000).for_each(|n| assert_eq!(block_on(ready(n)), Ok(n)));
        assert_eq!(turns.get(), 1);
    });
}

#[test]
fn task_wakes_task() {
    cede::run(|| {
        let (flag, log) = (Flag::default(), Rc::new(RefCell::new(Vec::new())));
        let waiting: Vec<_> = (0..3)
            .map(|n| {
                let (flag, log) = (flag.clone(), Rc::clone(&log));
                spawn(move || {
                    block_on(flag.wait())?;
                    log.borrow_mut().push(n);
                    Ok::<_, Cancelled>(n)
                })
            })
            .collect();
        rounds(3);
        assert!(log.borrow().is_empty());
        flag.set();
        let values: Vec<_> = waiting.into_iter().map(|mut task| task.join().unwrap().unwrap()).collect();
        assert_eq!((values, flag.polls()), (vec![0, 1, 2], 6), "each task polled twice");
        assert_eq!(*log.borrow(), [0, 1, 2]);
    });
}

/// Tasks that use the same TCB one after the other are each woken by their own waker.
#[test]
fn later_tasks_are_woken() {
    let woken = Config::new().closed_world(true).run(|| {
        for _ in 0..5 {
            let flag = Flag::default();
            let inner = flag.clone();
            let mut task = spawn(move || block_on(inner.wait()));
            yield_now();
            flag.set();
            task.join().unwrap()?;
        }
        Ok::<_, Cancelled>(())
    });
    assert_eq!(woken.unwrap(), Ok(()));
}

/// Main, a task and the body of a generator wait for a thread. The other tasks of the run go on.
#[test]
fn thread_wakes_tasks() {
    cede::run(|| {
        let set_soon = |flag: &Flag| {
            let flag = flag.clone();
            thread::spawn(move || {
                thread::sleep(SOON);
                flag.set();
            })
        };
        let flags: [Flag; 3] = Default::default();
        let turns = Rc::new(Cell::new(0));
        let (inner, other) = (Rc::clone(&turns), flags[0].clone());
        let mut task = spawn(move || block_on(other.wait()));
        spawn(move || {
            while cede::time::sleep(Duration::from_millis(1)).is_ok() {
                inner.set(inner.get() + 1)
            }
        });
        let threads = flags.each_ref().map(set_soon);
        block_on(flags[1].wait()).unwrap();
        task.join().unwrap().unwrap();
        let inner = flags[2].clone();
        let mut generator = Generator::new(move |y: &Yielder<u32>| {
            block_on(inner.wait()).unwrap();
            y.yield_(7);
        });
        assert_eq!(generator.next(), Some(7));
        while turns.get() == 0 {
            yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn plain_thread_is_woken() {
    let flag = Flag::default();
    let inner = flag.clone();
    let waiting = thread::spawn(move || block_on(inner.wait()));
    cede::run(|| {
        let other = flag.clone();
        spawn(move || {
            cede::time::sleep(SOON).unwrap();
            other.wake(); // a spurious one
            other.set();
        });
        block_on(flag.wait()).unwrap();
    });
    assert_eq!(waiting.join().unwrap(), Ok(()));
    // A future that wakes itself, in a plain thread.
    assert_eq!(block_on(self_waking(100)), Ok(()));
}

/// A task whose futures wake themselves gives the other tasks their turns.
#[test]
fn self_waking_future_yields() {
    cede::run(|| {
        let turns = Rc::new(Cell::new(0));
        let inner = Rc::clone(&turns);
        let counting = spawn(move || {
            while !cede::task::is_cancelled() {
                inner.set(inner.get() + 1);
                yield_now();
            }
        });
        block_on(self_waking(100)).unwrap();
        assert!((99..=101).contains(&turns.get()), "{} turns", turns.get());
        counting.cancel();
    });
}

#[test]
fn cancel_drops_the_future() {
    cede::run(|| {
        let log = Log::default();
        let inner = log.clone();
        let mut task = spawn(move || {
            let end = inner.at_end("dropped");
            let outcome = block_on(async move {
                let _end = end;
                pending::<()>().await
            });
            inner.add("after");
            outcome
        });
        yield_now();
        assert!(task.cancel());
        assert_eq!(task.join().unwrap(), Err(Cancelled));
        assert_eq!(log.take(), ["dropped", "after"]);
        // A cancelled task still gets what needs no wait, and polls once.
        let mut task = spawn(|| {
            assert!(park("the cancel").is_err());
            let flag = Flag::default();
            (block_on(ready(1)), block_on(flag.wait()), flag.polls(), block_on(self_waking(1_000_000)))
        });
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), (Ok(1), Err(Cancelled), 1, Err(Cancelled)));
    });
}

#[test]
fn wake_wins_over_cancel() {
    cede::run(|| {
        for wake_first in [true, false] {
            let flag = Flag::default();
            let inner = flag.clone();
            let mut task = spawn(move || block_on(inner.wait()));
            yield_now();
            if wake_first {
                flag.set();
                task.cancel();
            } else {
                task.cancel();
                flag.set();
            }
            assert_eq!(task.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn pinned_future_survives_a_deadline() {
    paused(|| {
        let flag = Flag::default();
        let mut future = pin!(flag.wait());
        let elapsed = timeout(s(1), || block_on(future.as_mut())).unwrap_err();
        assert_eq!((elapsed.value, cede::task::is_cancelled()), (Err(Cancelled), false));
        flag.set();
        assert_eq!(block_on(future), Ok(()));
        assert_eq!(timeout(s(1), || block_on(ready(1))).unwrap(), Ok(1));
    });
    // A deadline ends futures that wake themselves, too.
    let endless = cede::run(|| timeout(SOON, || block_on(self_waking(u32::MAX))));
    assert_eq!(endless.unwrap_err().value, Err(Cancelled));
}

#[test]
fn shield_and_scope_around() {
    cede::run(|| {
        let flag = Flag::default();
        let inner = flag.clone();
        let mut task = spawn(move || (shield(|| block_on(inner.wait())), block_on(pending::<()>())));
        yield_now();
        task.cancel();
        rounds(3);
        assert!(!task.is_finished(), "the shield holds");
        flag.set();
        assert_eq!(task.join().unwrap(), (Ok(()), Err(Cancelled)));
        let ended = Cell::new(None);
        let outcome = scope(|scope| {
            scope.spawn(|| ended.set(Some(block_on(pending::<()>()))));
            yield_now();
            scope.cancel();
        });
        assert!(outcome.is_ok());
        assert_eq!(ended.get(), Some(Err(Cancelled)));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_in_a_poll_propagates() {
    assert_eq!(panic_text(caught(|| block_on(async { panic!("in a thread") }))), "in a thread");
    cede::run(|| {
        let flag = Flag::default();
        let inner = flag.clone();
        let panicking = async move {
            inner.wait().await;
            panic!("second poll")
        };
        let mut task = spawn(move || {
            let text = panic_text(caught(|| block_on(panicking)));
            (text, block_on(self_waking(3)))
        });
        yield_now();
        flag.set();
        assert_eq!(task.join().unwrap(), ("second poll".to_string(), Ok(())));
    });
}

/// In a destructor of a panicking thread a pending future is not awaited, and a ready one returns.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panicking_thread_does_not_wait() {
    struct Waits<'a>(&'a Log);
    impl Drop for Waits<'_> {
        fn drop(&mut self) {
            self.0.add(format!("{:?}", (block_on(ready(1)), block_on(pending::<()>()), block_on(self_waking(5)))));
            self.0.add(format!("{:?}", try_block_on(ready(1)).is_err()));
        }
    }
    cede::run(|| {
        let log = Log::default();
        let inner = log.clone();
        let mut task = spawn(move || {
            let _waits = Waits(&inner);
            panic!("on purpose");
        });
        assert!(task.join().is_err());
        assert_eq!(log.take(), ["(Ok(1), Err(Cancelled), Err(Cancelled))", "true"]);
    });
}

/// A task that ignores its cancel is unwound in its wait, and its future is dropped.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn forced_unwind_drops_the_future() {
    let log = Log::default();
    let inner = log.clone();
    Config::new()
        .shutdown_grace(SOON)
        .run(|| {
            spawn(move || {
                loop {
                    let end = inner.at_end("dropped");
                    let _ = block_on(async {
                        let _end = end;
                        pending::<()>().await
                    });
                }
            });
            yield_now();
        })
        .unwrap();
    let entries = log.take();
    assert!(entries.len() > 1 && entries.iter().all(|entry| entry == "dropped"), "{} entries", entries.len());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn no_suspend_and_callbacks_refuse() {
    paused(|| {
        let flag = Flag::default();
        let text = panic_text(caught(|| no_suspend(|| block_on(flag.wait()))));
        assert!(text.starts_with("cannot wait or yield inside a no_suspend section"), "{text}");
        let text = panic_text(caught(|| no_suspend(|| block_on(self_waking(5)))));
        assert!(text.starts_with("cannot wait or yield inside a no_suspend section"), "{text}");
        assert_eq!(no_suspend(|| block_on(ready(1))), Ok(1));
        assert!(no_suspend(|| try_block_on(ready(1)).is_err()));
        let log = Log::default();
        let inner = log.clone();
        let mut task = spawn(|| ());
        task.on_done(move |_| {
            inner.add(format!("{:?}", (context(), block_on(ready(1)), try_block_on(ready(1)).is_err())));
            inner.add(panic_text(caught(|| block_on(pending::<()>()))));
            inner.add(panic_text(caught(|| block_on(self_waking(5)))));
        });
        task.join().unwrap();
        rounds(2);
        let refusal = "cannot wait in a callback: spawn a task from it instead";
        assert_eq!(log.take(), ["(Callback, Ok(1), true)", refusal, refusal]);
        // The run goes on, with the waker of the refused wait used.
        flag.set();
        block_on(self_waking(3)).unwrap();
    });
}

#[test]
fn try_block_on_gives_the_future_back() {
    let flag = Flag::default();
    let refused = try_block_on(flag.wait()).unwrap_err();
    assert_eq!(flag.polls(), 0);
    assert!(refused.to_string().starts_with("cannot wait for the future here without blocking"), "{refused}");
    cede::run(|| {
        let inner = flag.clone();
        spawn(move || inner.set());
        assert_eq!(try_block_on(refused.into_inner()).unwrap(), Ok(()));
        let mut task = spawn(|| try_block_on(pending::<()>()));
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap().unwrap(), Err(Cancelled));
    });
}

#[test]
fn context_of_each_caller() {
    assert_eq!(context(), Context::Thread);
    cede::run(|| {
        assert_eq!(context(), Context::Task);
        let mut task = spawn(|| (context(), thread::spawn(context).join().unwrap()));
        assert_eq!(task.join().unwrap(), (Context::Task, Context::Thread));
        let mut generator = Generator::new(|y: &Yielder<Context>| y.yield_(context()));
        assert_eq!(generator.next(), Some(Context::Task));
    });
}

/// In a closed world a future that no task wakes is a deadlock. Otherwise another thread may have the waker.
#[test]
fn deadlock_report_names_the_wait() {
    let report = deadlock(|| {
        let mut task = named("asker", || block_on(pending::<()>()));
        drop(task.join()); // the deadlock interrupts it
    });
    assert_eq!(report.tasks[1].reason.to_string(), "a future");
    let flag = Flag::default();
    let inner = flag.clone();
    let waking = thread::spawn(move || {
        thread::sleep(SOON * 4);
        inner.set();
    });
    assert!(Config::new().run(|| block_on(flag.wait())).unwrap().is_ok(), "the run waited for the thread");
    waking.join().unwrap();
}

/// A future may be neither `Send` nor `'static`, and `IntoFuture` suffices.
#[test]
fn future_may_borrow() {
    struct Ask<'a>(&'a Cell<u32>);
    impl<'a> IntoFuture for Ask<'a> {
        type Output = u32;
        type IntoFuture = std::pin::Pin<Box<dyn Future<Output = u32> + 'a>>;
        fn into_future(self) -> Self::IntoFuture {
            Box::pin(async move {
                self_waking(2).await;
                self.0.replace(5)
            })
        }
    }
    cede::run(|| {
        let cell = Cell::new(4);
        assert_eq!((block_on(Ask(&cell)), cell.get()), (Ok(4), 5));
        let mut polls = 0;
        let counted = poll_fn(|_| {
            polls += 1;
            Poll::Ready(())
        });
        assert_eq!((block_on(counted), polls), (Ok(()), 1));
    });
}
