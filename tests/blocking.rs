//! `blocking`: calls on the thread pool that borrow from their caller, and detached calls.

mod common;

use cede::blocking::{Detached, max_threads, set_keep_alive, set_max_threads, threads, unblock, unblock_detached};
use cede::sync::Event;
use cede::task::{Cancelled, ScopeError, is_cancelled, park};
use cede::time::{now, sleep};
use cede::{
    Builder, Config, JoinError, JoinHandle, RunError, no_suspend, run, scope, shield, spawn, timeout, yield_now,
};
use common::child::in_child;
use common::witness::{AtEnd, Log};
use common::{caught, panic_text, paused, rounds, s, text_of};
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A call that ends when the test ends it: the test holds the sender.
fn held_call() -> (mpsc::Sender<u32>, impl FnOnce() -> u32 + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    (sender, move || receiver.recv().unwrap_or(0))
}

// ---- values, borrows, panics

#[test]
fn call_borrows_and_returns_a_borrow() {
    let text = String::from("one two");
    let mut words = Vec::new();
    let last = run(|| {
        unblock(|| {
            words.extend(text.split(' '));
            words[words.len() - 1]
        })
    });
    assert_eq!((last, &*words), ("two", &["one", "two"][..]));
}

#[test]
fn call_runs_on_a_named_thread_of_the_pool() {
    let own = thread::current().id();
    let (id, name) = run(|| unblock(|| (thread::current().id(), thread::current().name().map(String::from))));
    assert_ne!(id, own);
    assert_eq!(name.as_deref(), Some("cede-blocking"));
}

#[test]
fn other_tasks_have_turns_during_a_call() {
    let turns = Cell::new(0);
    let (sender, call) = held_call();
    let value = run(|| {
        scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1000 {
                    turns.set(turns.get() + 1);
                    yield_now();
                }
                sender.send(7).unwrap(); // only now can the call end
            });
            unblock(call)
        })
        .unwrap()
    });
    assert_eq!((value, turns.get()), (7, 1000));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_a_call_is_resumed_with_its_payload() {
    #[derive(Debug, PartialEq)]
    struct Payload(u32);
    let payload = run(|| caught(|| unblock(|| std::panic::panic_any(Payload(3)))).unwrap_err());
    assert_eq!(payload.downcast_ref(), Some(&Payload(3)));
    // The thread that panicked still serves calls.
    assert_eq!(run(|| (0..10).map(|n| unblock(|| n)).sum::<i32>()), 45);
}

#[test]
fn ten_thousand_calls_from_a_hundred_tasks_end() {
    let total = run(|| {
        scope(|scope| {
            let task = |n: u64| {
                move || {
                    let mut sum = 0;
                    (0..100).for_each(|i| unblock(|| sum += n * i));
                    sum
                }
            };
            let tasks: Vec<_> = (0..100).map(|n| scope.spawn(task(n))).collect();
            tasks.into_iter().map(|mut task| task.join().unwrap()).sum::<u64>()
        })
        .unwrap()
    });
    assert_eq!(total, 4950 * 4950);
}

#[test]
fn call_in_a_generator_borrows_from_its_body() {
    let sum = run(|| {
        let mut generator = cede::Generator::new(|y: &cede::Yielder<usize>| {
            let text = String::from("in a body");
            y.yield_(unblock(|| text.len()));
            y.yield_(unblock(|| text.capacity()));
        });
        generator.by_ref().sum::<usize>()
    });
    assert!(sum >= 18);
}

// ---- nothing ends the wait early

/// Starts a call in a task, interrupts the task by `interrupt`, lets the call end, and returns the call's value and the next
/// wait of the task.
fn interrupted(interrupt: impl FnOnce(&JoinHandle<(u32, Result<(), Cancelled>)>)) -> (u32, Result<(), Cancelled>) {
    run(|| {
        let (sender, call) = held_call();
        let mut task = spawn(move || {
            let mut borrowed = 0;
            unblock(|| borrowed = call());
            (borrowed, sleep(ms(1)))
        });
        rounds(2);
        interrupt(&task);
        rounds(200);
        assert!(!task.is_finished(), "the task left its call");
        sender.send(5).unwrap();
        task.join().unwrap()
    })
}

#[test]
fn cancel_during_a_call_is_seen_by_the_next_wait() {
    assert_eq!(interrupted(|task| assert!(task.cancel())), (5, Err(Cancelled)));
}

#[test]
fn call_without_a_cancel_leaves_the_next_wait_alone() {
    assert_eq!(interrupted(|_| ()), (5, Ok(())));
}

#[test]
fn call_in_a_cancelled_task_runs() {
    run(|| {
        let mut task = spawn(|| {
            let cancelled = park("a cancel").is_err() && is_cancelled();
            (cancelled, unblock(|| 3))
        });
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), (true, 3));
    });
}

#[test]
fn deadline_during_a_call_is_seen_by_the_next_wait() {
    run(|| {
        let late = timeout(ms(1), || {
            let value = unblock(|| {
                thread::sleep(ms(20));
                4
            });
            (value, sleep(ms(1)))
        });
        assert_eq!(late.unwrap_err().into_value(), (4, Err(Cancelled)));
        // Without a later wait, nothing was interrupted.
        assert_eq!(timeout(ms(1), || unblock(|| thread::sleep(ms(20)))).ok(), Some(()));
    });
}

#[test]
fn cancelled_scope_waits_for_the_call_of_its_task() {
    run(|| {
        let (sender, call) = held_call();
        let seen = Cell::new(0);
        let ended: Result<_, ScopeError<_>> = scope(|scope| {
            scope.spawn(|| {
                let mut value = 0;
                unblock(|| value = call());
                seen.set(value);
                assert_eq!(sleep(s(3600)), Err(Cancelled));
            });
            yield_now();
            scope.cancel();
            rounds(100);
            assert_eq!(seen.get(), 0);
            sender.send(9).unwrap();
        });
        ended.unwrap();
        assert_eq!(seen.get(), 9);
    });
}

/// The wake of an earlier wait arrives during the call: the join of a detached call, which a deadline ended.
#[test]
fn stale_wake_does_not_end_a_call() {
    run(|| {
        let (sender, call) = held_call();
        let (end_earlier, earlier) = held_call();
        let mut task = spawn(|| {
            let mut earlier = unblock_detached(earlier);
            assert!(timeout(ms(1), || earlier.join()).is_err());
            let mut value = 0;
            unblock(|| value = call());
            (value, earlier.join().unwrap())
        });
        while !cede::dump().to_string().contains("waiting: a blocking call") {
            yield_now();
        }
        end_earlier.send(3).unwrap();
        thread::sleep(ms(20));
        rounds(200);
        assert!(!task.is_finished());
        sender.send(1).unwrap();
        assert_eq!(task.join().unwrap(), (1, 3));
    });
}

/// An unpark is for the next public park, which comes after the call.
#[test]
fn unpark_does_not_end_a_call() {
    run(|| {
        let (sender, call) = held_call();
        let unparker = Rc::new(Cell::new(None));
        let given = Rc::clone(&unparker);
        let mut task = spawn(move || {
            given.set(Some(cede::task::Unparker::current()));
            (shield(|| unblock(call)), park("the unpark").is_ok())
        });
        yield_now();
        unparker.take().unwrap().unpark();
        rounds(10);
        assert!(!task.is_finished());
        sender.send(1).unwrap();
        assert_eq!(task.join().unwrap(), (1, true));
    });
}

/// The task is unwound when its call has ended, not before.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn forced_unwind_waits_for_the_call() {
    let log = Log::default();
    let ended = Arc::new(AtomicBool::new(false));
    let (at_call_end, at_unwind) = (Arc::clone(&ended), Arc::clone(&ended));
    let task_log = log.clone();
    let (started, start) = mpsc::channel();
    let outcome = Config::new().shutdown_grace(Duration::ZERO).run(move || {
        drop(spawn(move || {
            let log = task_log.clone();
            let _guard = AtEnd(move || log.add(format!("unwound, call ended: {}", at_unwind.load(SeqCst))));
            let local = AtomicU32::new(0);
            unblock(|| {
                started.send(()).unwrap();
                thread::sleep(ms(100));
                local.store(1, SeqCst);
                at_call_end.store(true, SeqCst);
            });
            task_log.add("went on");
        }));
        yield_now();
        start.recv().unwrap();
    });
    outcome.unwrap();
    assert_eq!(log.take(), ["unwound, call ended: true"]);
    assert!(ended.load(SeqCst));
}

/// A task is abandoned 500 ms after the forced unwind, but not during a call: the call may borrow from a thread-local, which
/// ends with the thread.
#[test]
fn run_waits_for_a_call_longer_than_for_a_task() {
    let text = in_child("run_waits_for_a_call_longer_than_for_a_task", || {
        thread_local!(static WORDS: Vec<String> = vec!["kept".into()]);
        let (started, start) = mpsc::channel();
        let sum = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&sum);
        let thread = thread::spawn(move || {
            let outcome = Config::new().shutdown_grace(ms(1)).run(|| {
                let call = move || {
                    WORDS.with(|words| {
                        unblock(|| {
                            started.send(()).unwrap();
                            thread::sleep(ms(800));
                            sum.store(words[0].len() as u32, SeqCst);
                        })
                    })
                };
                drop(Builder::new().name("reader").spawn(call).unwrap());
                yield_now();
                start.recv().unwrap();
            });
            outcome.unwrap();
        });
        thread.join().unwrap();
        assert_eq!(seen.load(SeqCst), 4, "the run ended before the call");
    });
    let expected = "cede: main has returned, but task 'reader' waits for a blocking call, which cannot be cancelled: the run \
                    ends after it\n";
    assert_eq!(text, format!("{expected}exit code Some(0)"));
}

// ---- deadlocks, stalls, paused clocks

#[test]
fn call_is_no_deadlock_in_a_closed_world() {
    let outcome = Config::new().closed_world(true).run(|| {
        unblock(|| thread::sleep(ms(20)));
        let event = Event::new();
        scope(|scope| {
            scope.spawn(|| {
                unblock(|| thread::sleep(ms(20)));
                event.set();
            });
            event.wait().map_err(|_| "woken by a deadlock")
        })
        .unwrap()
    });
    assert_eq!(outcome.unwrap(), Ok(()));
    let mut call = None;
    let outcome = Config::new().closed_world(true).run(|| {
        let mut detached = unblock_detached(|| thread::sleep(ms(20)));
        let joined = detached.join().is_ok();
        call = Some(detached);
        joined
    });
    assert!(outcome.unwrap() && call.unwrap().is_finished());
}

/// A wait that no call will end is a deadlock as soon as the call has ended.
#[test]
fn deadlock_beside_a_call_is_found_after_it() {
    let outcome = Config::new().closed_world(true).run(|| {
        let waiting = spawn(|| Event::new().wait());
        unblock(|| thread::sleep(ms(10)));
        assert!(!waiting.is_finished());
        Event::new().wait()
    });
    let Err(RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock") };
    assert_eq!(report.tasks.len(), 2, "{report}");
}

#[test]
fn call_is_no_stall() {
    let text = in_child("call_is_no_stall", || {
        Config::new().report_stall(ms(1)).run(|| unblock(|| thread::sleep(ms(50)))).unwrap();
        Config::new().report_stall(ms(1)).run(|| unblock_detached(|| thread::sleep(ms(50))).join().unwrap()).unwrap();
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Calls `f` in a process that has one thread. Returns whether `f` returned true.
fn in_a_process_with_one_thread(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the other threads of this process, those of the test harness, wait and hold no lock. The child only calls `f`
    // and exits without running destructors.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        let code = i32::from(!matches!(caught(f), Ok(true)));
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `child` is a child process of this one, and `status` is writable.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// Idle threads of the pool wake no task, so they do not hide a deadlock.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the threads of the process are unknown")]
fn idle_pool_thread_does_not_hide_a_deadlock() {
    if common::emulated() {
        // The emulator has threads of its own, so no thread is ever the only one.
        return;
    }
    let text = in_child("idle_pool_thread_does_not_hide_a_deadlock", || {
        let found = in_a_process_with_one_thread(|| {
            let outcome = Config::new().report_stall(Duration::MAX).run(|| {
                unblock(|| ());
                Event::new().wait()
            });
            matches!(outcome, Err(RunError::Deadlock { .. })) && threads() == 1
        });
        assert!(found, "no deadlock was found");
    });
    assert_eq!(text, "exit code Some(0)");
}

/// A detached call may wake a task that does not join it, so nothing is a deadlock while it runs or is queued.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "the threads of the process are unknown")]
fn detached_call_may_wake_a_task() {
    let text = in_child("detached_call_may_wake_a_task", || {
        let woken = in_a_process_with_one_thread(|| {
            let outcome = Config::new().run(|| {
                let event = Arc::new(Event::new());
                let set = Arc::clone(&event);
                unblock_detached(move || {
                    thread::sleep(ms(50));
                    set.set();
                });
                event.wait()
            });
            matches!(outcome, Ok(Ok(())))
        });
        assert!(woken, "the wait was taken for a deadlock");
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn paused_clock_does_not_advance_during_a_call() {
    paused(|| {
        let start = now();
        let mut sleeper = spawn(|| sleep(s(60)));
        yield_now();
        let late = timeout(s(1), || {
            unblock(|| thread::sleep(ms(30)));
            sleep(Duration::ZERO)
        });
        assert!(matches!(late, Ok(Ok(()))), "the clock jumped to the deadline");
        let mut call = unblock_detached(|| thread::sleep(ms(30)));
        assert!(timeout(s(1), || call.join()).is_ok(), "the clock jumped to the deadline of the join");
        assert_eq!(now(), start);
        assert!(!sleeper.is_finished());
        sleeper.join().unwrap().unwrap();
        assert_eq!(now() - start, s(60));
    });
}

/// At the end of a run a paused clock goes on, from a time that may be hours ahead. The grace period passes by that clock also
/// while a call is in progress.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn grace_period_of_a_paused_clock_passes_during_a_call() {
    let (sender, call) = held_call();
    let outcome = Config::new().paused_clock(true).shutdown_grace(ms(1)).run(|| {
        sleep(s(3600)).unwrap();
        drop(spawn(|| unblock(call)));
        drop(spawn(move || {
            let _guard = AtEnd(move || sender.send(0).unwrap());
            let _ = shield(|| park("the forced unwind"));
        }));
        rounds(2);
    });
    outcome.unwrap();
}

#[test]
fn dump_shows_the_call() {
    run(|| {
        let (sender, call) = held_call();
        let mut task = spawn(|| unblock(call));
        let mut detached = unblock_detached(|| ());
        let mut joiner = spawn(move || detached.join().is_ok());
        yield_now();
        let dump = cede::dump();
        assert_eq!(dump.tasks[1].state.to_string(), "waiting: a blocking call");
        sender.send(0).unwrap();
        task.join().unwrap();
        assert!(joiner.join().unwrap());
    });
}

// ---- where the call runs in place

fn runs_in_place() -> bool {
    let own = thread::current().id();
    unblock(|| thread::current().id()) == own
}

#[test]
fn call_outside_of_a_run_runs_in_place() {
    assert!(runs_in_place());
    assert!(run(|| unblock(runs_in_place)), "a call inside another needs no second thread");
    assert!(!run(runs_in_place));
}

#[test]
fn call_in_a_callback_runs_in_place() {
    let in_place = Rc::new(Cell::new(false));
    let seen = Rc::clone(&in_place);
    run(move || {
        let mut task = spawn(|| ());
        task.on_done(move |_| seen.set(runs_in_place()));
        task.join().unwrap();
        rounds(2);
    });
    assert!(in_place.get());
}

#[test]
fn call_inside_no_suspend_runs_in_place() {
    run(|| {
        assert!(no_suspend(runs_in_place));
        assert!(!runs_in_place());
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn call_in_a_destructor_of_a_panicking_thread_runs_in_place() {
    let in_place = Cell::new(false);
    run(|| {
        let outcome: thread::Result<()> = caught(|| {
            let _guard = AtEnd(|| in_place.set(runs_in_place()));
            panic!("on purpose");
        });
        assert_eq!(panic_text(outcome), "on purpose");
    });
    assert!(in_place.get());
}

#[test]
fn run_inside_a_call_makes_calls_of_its_own() {
    let (outer, inner) = run(|| {
        unblock(|| {
            let outer = thread::current().id();
            run(|| (outer, unblock(|| thread::current().id())))
        })
    });
    assert_ne!(outer, inner);
}

// ---- the pool: each test in a process of its own, since the pool is the process's

#[test]
fn calls_beyond_the_limit_wait_in_fifo_order() {
    let text = in_child("calls_beyond_the_limit_wait_in_fifo_order", || {
        set_max_threads(1);
        assert_eq!(max_threads(), 1);
        let log = Mutex::new(Vec::new());
        run(|| {
            let (sender, call) = held_call();
            scope(|scope| {
                let log = &log;
                scope.spawn(move || unblock(call));
                yield_now();
                (0..20).for_each(|n| drop(scope.spawn(move || unblock(|| log.lock().unwrap().push(n)))));
                rounds(50);
                assert!(log.lock().unwrap().is_empty());
                sender.send(0).unwrap();
            })
            .unwrap();
        });
        assert_eq!(log.into_inner().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(threads(), 1);
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn higher_limit_starts_the_calls_that_wait() {
    let text = in_child("higher_limit_starts_the_calls_that_wait", || {
        set_max_threads(1);
        let (sender, first) = held_call();
        let mut first = unblock_detached(first);
        // The two calls meet, and the first call keeps its thread: three threads are needed.
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let meet = |barrier: &Arc<std::sync::Barrier>| {
            let barrier = Arc::clone(barrier);
            unblock_detached(move || barrier.wait().is_leader())
        };
        let (mut second, mut third) = (meet(&barrier), meet(&barrier));
        thread::sleep(ms(10));
        assert!(!second.is_finished() && threads() == 1);
        set_max_threads(3);
        assert!(second.join().unwrap() != third.join().unwrap());
        assert!(!first.is_finished());
        sender.send(1).unwrap();
        assert_eq!(first.join().unwrap(), 1);
        // A lower limit ends the idle threads beyond it.
        set_max_threads(1);
        while threads() > 1 {
            thread::sleep(ms(1));
        }
        assert_eq!(unblock_detached(|| 2).join().unwrap(), 2);
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn limit_of_no_threads_is_refused() {
    assert!(panic_text(caught(|| set_max_threads(0))).contains("at least one thread"));
}

#[test]
fn idle_threads_end() {
    let text = in_child("idle_threads_end", || {
        set_keep_alive(ms(1));
        run(|| {
            scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| unblock(|| thread::sleep(ms(5))))))).unwrap();
        });
        while threads() > 0 {
            thread::sleep(ms(1));
        }
        // And calls start new ones.
        assert_eq!(run(|| unblock(|| 5)), 5);
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Threads that end and calls that arrive at the same moment.
#[test]
fn calls_are_not_lost_while_threads_end() {
    let text = in_child("calls_are_not_lost_while_threads_end", || {
        set_keep_alive(Duration::from_micros(20));
        set_max_threads(3);
        let total = AtomicU32::new(0);
        run(|| {
            scope(|scope| {
                for n in 0..8 {
                    scope.spawn({
                        let total = &total;
                        move || {
                            for i in 0..200 {
                                unblock(|| total.fetch_add(1, SeqCst));
                                if (n + i) % 7 == 0 {
                                    sleep(Duration::from_micros(30)).unwrap();
                                }
                            }
                        }
                    });
                }
            })
            .unwrap();
        });
        assert_eq!(total.into_inner(), 1600);
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn idle_thread_is_reused() {
    let text = in_child("idle_thread_is_reused", || {
        let ids: HashSet<_> = run(|| {
            let call = |_| {
                let id = unblock(|| thread::current().id());
                // The thread becomes idle a little later than its call ends.
                sleep(ms(5)).unwrap();
                id
            };
            (0..5).map(call).collect()
        });
        assert!(ids.len() < 5, "{ids:?}");
    });
    assert_eq!(text, "exit code Some(0)");
}

// ---- detached calls

#[test]
fn detached_call_returns_its_value() {
    assert_eq!(unblock_detached(|| 6).join().unwrap(), 6, "joined by a plain thread");
    run(|| {
        let mut call = unblock_detached(|| "value");
        assert_eq!(call.join().unwrap(), "value");
        assert!(call.is_finished());
        assert!(format!("{call:?}").contains("finished: true"));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn detached_call_that_panics_fails_its_join() {
    let mut call: Detached<()> = unblock_detached(|| panic!("in the call"));
    let payload = call.join().unwrap_err().into_panic().unwrap();
    assert_eq!(text_of(&*payload), "in the call");
    assert!(panic_text(caught(|| call.join())).contains("already taken"));
    assert!(panic_text(caught(|| call.try_join())).contains("already taken"));
}

#[test]
fn cancelled_join_leaves_the_detached_call_alone() {
    run(|| {
        let (sender, call) = held_call();
        let mut task = spawn(|| {
            let mut call = unblock_detached(call);
            let first = call.join().map_err(|error| matches!(error, JoinError::Interrupted));
            (first, call)
        });
        yield_now();
        task.cancel();
        let (first, mut call) = task.join().unwrap();
        assert_eq!(first, Err(true));
        assert!(call.try_join().is_none());
        sender.send(8).unwrap();
        assert_eq!(call.join().unwrap(), 8);
    });
}

#[test]
fn value_that_comes_with_the_cancel_is_returned() {
    run(|| {
        let mut task = spawn(|| {
            let mut call = unblock_detached(|| 8);
            while !call.is_finished() {
                yield_now();
            }
            assert!(park("a cancel").is_err());
            call.join().unwrap()
        });
        rounds(2);
        task.cancel();
        assert_eq!(task.join().unwrap(), 8);
    });
}

/// The value of a call without a handle is dropped on the pool's thread, which also survives a panic of the destructor.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn value_without_a_handle_is_dropped() {
    struct Value(mpsc::Sender<thread::ThreadId>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
            std::panic::resume_unwind(Box::new("in the destructor"));
        }
    }
    let text = in_child("value_without_a_handle_is_dropped", || {
        set_max_threads(1);
        let (dropped, drops) = mpsc::channel();
        let (sender, call) = held_call();
        drop(unblock_detached(move || {
            call();
            Value(dropped)
        }));
        sender.send(0).unwrap();
        let thread = drops.recv().unwrap();
        assert_eq!(unblock_detached(|| thread::current().id()).join().unwrap(), thread);
    });
    assert_eq!(text, "exit code Some(0)");
}

/// The end of a run does not wait for a detached call, not even for a joined one.
#[test]
fn run_ends_during_a_detached_call() {
    let (sender, call) = held_call();
    let call = run(|| {
        let call = Rc::new(std::cell::RefCell::new(unblock_detached(call)));
        let joined = Rc::clone(&call);
        let mut task = spawn(move || joined.borrow_mut().join().is_err());
        yield_now();
        task.cancel();
        assert!(task.join().unwrap());
        Rc::into_inner(call).unwrap().into_inner()
    });
    assert!(!call.is_finished());
    let mut call = call;
    sender.send(2).unwrap();
    assert_eq!(call.join().unwrap(), 2);
}
