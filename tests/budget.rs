//! The cooperative budget: a task whose calls complete without waiting yields from time to time, whichever calls it makes, so
//! that it does not starve timers and other tasks.

mod common;

use cede::sync::{Barrier, Condvar, Event, Mutex, Notify, Promise, Queue, RwLock, Semaphore, channel, select};
use cede::task::{TaskState, Unparker, When, check, no_suspend, park, wait};
use cede::time::sleep;
use cede::{Config, select, shield, spawn, yield_now};
use common::caught;
use common::child::in_child;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// More calls than the budget allows.
const CALLS: usize = 5_000;
const MS: Duration = Duration::from_millis(1);

/// A call and its name.
type Call = (&'static str, Box<dyn Fn()>);

/// Every call that may wait, in a form that does not.
fn calls() -> Vec<Call> {
    let mutex = Arc::new(Mutex::new(0));
    let lock = Arc::new(RwLock::new(0));
    let semaphore = Arc::new(Semaphore::new(3));
    let (event, set) = (Event::new(), Promise::new());
    event.set();
    let completion = set.completion();
    set.set(1).unwrap();
    let dropped = Promise::<u32>::new().completion();
    let (notify, checked) = (Notify::new(), Notify::new());
    let (barrier, broken) = (Barrier::new(1), Barrier::new(2));
    broken.abort();
    let (condition, guarded) = (Condvar::new(), Mutex::new(0));
    let queue = Queue::bounded(2);
    let (idle, closed) = (Queue::<u32>::unbounded(), Queue::<u32>::bounded(1));
    closed.close();
    let closed = Arc::new(closed);
    let (sender, receiver) = channel::bounded(2);
    let (endless, messages) = channel::unbounded();
    let (cut, dead) = channel::bounded::<u32>(1);
    cut.close();
    let (chosen, choice) = channel::bounded(2);
    let (never_sent, never) = channel::bounded::<u32>(1);
    let ended = [spawn(|| 1), spawn(|| 2)];
    while ended.iter().any(|task| !task.is_finished()) {
        yield_now();
    }
    let ended = Rc::new(std::cell::RefCell::new(ended));
    let (m, l, s, c) = (Arc::clone(&mutex), Arc::clone(&lock), Arc::clone(&semaphore), Arc::clone(&closed));
    let calls: Vec<Call> = vec![
        ("mutex", Box::new(move || *mutex.lock().unwrap() += 1)),
        ("mutex, timeout", Box::new(move || *m.lock_timeout(MS).unwrap() += 1)),
        ("read", Box::new(move || assert!(*lock.read().unwrap() == 0))),
        ("write", Box::new(move || *l.write_timeout(MS).unwrap() = 0)),
        ("notification", Box::new(move || (notify.notify_one(), notify.notified().unwrap()).1)),
        ("notification, checked", Box::new(move || checked.notified_while(|| false).unwrap())),
        ("semaphore", Box::new(move || drop(semaphore.acquire().unwrap()))),
        ("owned permits", Box::new(move || drop(s.acquire_owned(2).unwrap()))),
        ("event", Box::new(move || event.wait().unwrap())),
        ("promise", Box::new(move || assert_eq!(completion.wait().unwrap(), &1))),
        ("dropped promise", Box::new(move || assert!(dropped.wait().is_err()))),
        ("barrier", Box::new(move || assert!(barrier.wait().unwrap().is_leader()))),
        ("broken barrier", Box::new(move || assert!(broken.wait().is_err()))),
        (
            "condvar",
            Box::new(move || drop(condition.wait_while(guarded.try_lock().unwrap(), |number| *number > 0).unwrap())),
        ),
        (
            "queue",
            Box::new(move || {
                queue.push(1).unwrap();
                assert_eq!(*queue.pop().unwrap(), 1);
            }),
        ),
        ("queue, join", Box::new(move || idle.join().unwrap())),
        ("closed queue, push", Box::new(move || assert!(c.push(1).is_err()))),
        ("closed queue, pop", Box::new(move || assert!(closed.pop().is_err()))),
        ("send", Box::new(move || assert!(sender.send(1).is_ok() && receiver.try_recv().is_ok()))),
        ("recv", Box::new(move || assert!(endless.send(1).is_ok() && messages.recv().is_ok()))),
        ("closed channel, send", Box::new(move || assert!(cut.send(1).is_err()))),
        ("closed channel, recv", Box::new(move || assert!(dead.recv().is_err()))),
        (
            "select",
            Box::new(move || {
                chosen.try_send(1).unwrap();
                assert_eq!(select! { recv(choice) -> message => message }, Ok(Ok(1)));
            }),
        ),
        (
            "select that is late",
            Box::new(move || {
                let _open = &never_sent;
                let mut case = never.case();
                let mut select = select::Select::new();
                select.add(&mut case);
                assert_eq!(select.wait_timeout(Duration::ZERO), Ok(None));
            }),
        ),
        ("wait", Box::new(move || drop(wait(&mut *ended.borrow_mut(), When::All, None).unwrap()))),
        ("scope", Box::new(|| assert!(cede::scope(|_| 1).is_ok()))),
        (
            "park",
            Box::new(|| {
                Unparker::current().unpark();
                assert!(park("nothing").is_ok() || check().is_err());
            }),
        ),
    ];
    calls
}

#[test]
fn each_call_that_may_wait_counts() {
    cede::run(|| {
        for (name, call) in calls() {
            let had_its_turn: Rc<Cell<bool>> = Rc::default();
            let inner = Rc::clone(&had_its_turn);
            drop(spawn(move || inner.set(true)));
            (0..CALLS).for_each(|_| call());
            assert!(had_its_turn.get(), "{name} never gave its turn up");
        }
    });
}

#[test]
fn joins_of_ended_tasks_count() {
    let ways: [fn(Vec<cede::JoinHandle<usize>>); 3] = [
        |tasks| tasks.into_iter().for_each(|mut task| assert!(task.join().is_ok())),
        |tasks| drop(cede::join_all(tasks)),
        |tasks| cede::as_completed(tasks).for_each(|task| assert!(task.result.is_ok())),
    ];
    for (number, join) in ways.into_iter().enumerate() {
        cede::run(|| {
            let tasks: Vec<_> = (0..CALLS).map(|n| spawn(move || n)).collect();
            while tasks.iter().any(|task| !task.is_finished()) {
                yield_now();
            }
            let had_its_turn: Rc<Cell<bool>> = Rc::default();
            let inner = Rc::clone(&had_its_turn);
            drop(spawn(move || inner.set(true)));
            join(tasks);
            assert!(had_its_turn.get(), "{number}");
        });
    }
}

/// Timers, deadlines, cancels and remote wakes arrive while a task loops, whichever call it loops on.
#[test]
fn task_that_never_waits_starves_no_timer_or_cancel() {
    cede::run(|| {
        for (name, call) in calls() {
            let began = Instant::now();
            let ends = move || check().is_err() || began.elapsed() > Duration::from_secs(20);
            let mut looping = spawn(move || {
                while !ends() {
                    (0..100).for_each(|_| call());
                }
                check().is_err()
            });
            let (_open, never) = channel::bounded::<u32>(1);
            let mut late = spawn(move || cede::timeout(MS, || never.recv()).is_err());
            let mut parked = spawn(move || {
                let me = Unparker::current();
                let thread = std::thread::spawn(move || me.unpark());
                park("the thread").unwrap();
                thread.join().unwrap();
            });
            sleep(MS).unwrap();
            assert!(late.join().unwrap());
            parked.join().unwrap();
            looping.cancel();
            assert!(looping.join().unwrap(), "{name} starved other tasks");
        }
    });
}

/// A semaphore, and room in a channel, that a thread supplies: the task never waits, or seldom.
#[test]
fn task_fed_by_a_thread_notices_its_cancel() {
    let (semaphore, stop) = (Arc::new(Semaphore::new(1_000_000)), Arc::new(AtomicBool::new(false)));
    let (supply, ends) = (Arc::clone(&semaphore), Arc::clone(&stop));
    let thread = std::thread::spawn(move || {
        let began = Instant::now();
        while !ends.load(SeqCst) && began.elapsed() < Duration::from_secs(20) {
            if supply.available_permits() < 1_000_000 {
                supply.add_permits(10_000).unwrap();
            }
        }
        ends.store(true, SeqCst);
    });
    cede::run(|| {
        let ends = Arc::clone(&stop);
        let mut looping = spawn(move || {
            while check().is_ok() && !ends.load(SeqCst) {
                semaphore.acquire().map(cede::sync::Permit::forget).unwrap_or_default();
            }
            check().is_err()
        });
        sleep(MS).unwrap();
        looping.cancel();
        assert!(looping.join().unwrap(), "the cancel arrived before the thread stopped");
    });
    stop.store(true, SeqCst);
    thread.join().unwrap();
}

#[test]
fn spent_budget_suspends_nothing_that_may_not() {
    cede::run(|| {
        let had_its_turn: Rc<Cell<bool>> = Rc::default();
        let mutex = Rc::new(Mutex::new(0));
        let lock = |mutex: &Mutex<usize>| (0..2 * CALLS).for_each(|_| *mutex.lock().unwrap() += 1);
        let inner = Rc::clone(&had_its_turn);
        let other = spawn(move || inner.set(true));
        no_suspend(|| lock(&mutex));
        assert!(!had_its_turn.get());
        if cfg!(panic = "unwind") {
            struct Locks<'a>(&'a Mutex<usize>);
            impl Drop for Locks<'_> {
                fn drop(&mut self) {
                    (0..2 * CALLS).for_each(|_| *self.0.lock().unwrap() += 1);
                }
            }
            let panics = caught(|| {
                let _locks = Locks(&mutex);
                panic!("on purpose");
            });
            assert!(panics.is_err() && !had_its_turn.get());
        }
        // The turn that could not be given up inside of the section is given up now.
        *mutex.lock().unwrap() += 1;
        assert!(had_its_turn.get());
        let (inner, done) = (Rc::clone(&mutex), Rc::new(Cell::new(false)));
        let told = Rc::clone(&done);
        other.on_done(move |_| {
            (0..2 * CALLS).for_each(|_| *inner.lock().unwrap() += 1);
            told.set(true);
        });
        while !done.get() {
            yield_now();
        }
    });
}

/// A call that needs no wait completes at once, also if it then gives up its turn: no other task runs before it completes.
#[test]
fn call_that_gives_up_its_turn_has_done_its_work() {
    cede::run(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let inner = Arc::clone(&semaphore);
        let thief = spawn(move || {
            loop {
                drop(inner.try_acquire());
                yield_now();
                if cede::task::is_cancelled() {
                    break;
                }
                let Some(permit) = inner.try_acquire() else { continue };
                yield_now();
                drop(permit);
            }
        });
        for _ in 0..CALLS {
            if semaphore.available_permits() == 1 {
                let waits = semaphore.acquire_timeout(1, Duration::ZERO);
                assert!(waits.is_ok(), "it was there");
            }
        }
        thief.cancel();
    });
}

/// A task that ignores its cancel and never waits is unwound where it gives up its turn, and releases what it holds.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn task_unwound_in_a_spent_budget_gives_back_its_lock() {
    let text = in_child("task_unwound_in_a_spent_budget_gives_back_its_lock", || {
        let shared = Arc::new((Mutex::new(0), RwLock::new(0), Semaphore::new(1)));
        let config = Config::new().shutdown_grace(MS);
        let outcome = config.run(|| {
            let (a, b, c) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
            let d = Arc::clone(&shared);
            drop(spawn(move || {
                shield(|| {
                    loop {
                        *a.0.lock().unwrap() += 1
                    }
                })
            }));
            drop(spawn(move || {
                shield(|| {
                    loop {
                        *b.1.write().unwrap() += 1
                    }
                })
            }));
            drop(spawn(move || {
                shield(|| {
                    loop {
                        assert!(*d.1.read().unwrap() >= 0)
                    }
                })
            }));
            drop(spawn(move || {
                shield(|| {
                    loop {
                        drop(c.2.acquire().unwrap())
                    }
                })
            }));
            yield_now();
        });
        outcome.unwrap();
        assert!(shared.0.try_lock().is_some());
        assert!(shared.1.try_write().is_some());
        assert_eq!(shared.2.available_permits(), 1);
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn unparks_are_kept_over_other_waits() {
    for seed in 0..4 {
        let config = Config::new().paused_clock(true).closed_world(true);
        let config = if seed == 0 { config } else { config.seed(seed) };
        let outcome = config.run(|| {
            let mutex = Rc::new(Mutex::new(()));
            let waits: [Call; 8] = [
                ("sleep", Box::new(|| sleep(MS).unwrap())),
                ("turn", Box::new(yield_now)),
                ("join", Box::new(|| spawn(|| sleep(MS)).join().unwrap().unwrap())),
                (
                    "recv",
                    Box::new(|| {
                        let (sender, receiver) = channel::rendezvous();
                        drop(spawn(move || sleep(MS).and_then(|()| sender.send(1).map_err(|_| cede::task::Cancelled))));
                        assert_eq!(receiver.recv(), Ok(1));
                    }),
                ),
                (
                    "contended lock",
                    Box::new(move || {
                        let (inner, held) = (Rc::clone(&mutex), Rc::new(Cell::new(false)));
                        let told = Rc::clone(&held);
                        let mut holder = spawn(move || {
                            let _guard = inner.lock().unwrap();
                            told.set(true);
                            sleep(MS).unwrap();
                        });
                        while !held.get() {
                            yield_now();
                        }
                        drop(mutex.lock().unwrap());
                        holder.join().unwrap();
                    }),
                ),
                (
                    "select",
                    Box::new(|| {
                        let (_open, never) = channel::rendezvous::<u32>();
                        select! { recv(never) -> _ => {}, after(MS) => {} }.unwrap();
                    }),
                ),
                ("gather", Box::new(|| drop(cede::gather((0..3).map(|_| spawn(|| sleep(MS))))))),
                ("scope", Box::new(|| cede::scope(|scope| drop(scope.spawn(|| sleep(MS)))).unwrap())),
            ];
            for (name, wait) in waits {
                for meanwhile in [false, true] {
                    let me = Unparker::current();
                    let mut waker = None;
                    if meanwhile {
                        let main = me.clone();
                        waker = Some(spawn(move || main.unpark()));
                    } else {
                        me.unpark();
                    }
                    wait();
                    if let Some(mut waker) = waker {
                        waker.join().unwrap();
                    }
                    let began = cede::time::now();
                    cede::task::park_until("the unpark", began + Duration::from_secs(60)).unwrap();
                    assert_eq!(cede::time::now(), began, "{name} took it, {meanwhile}");
                    cede::task::park_until("another", began + MS).unwrap();
                    assert_eq!(cede::time::now(), began + MS, "{name} left two");
                }
            }
        });
        outcome.unwrap();
    }
}

#[test]
fn unpark_from_a_thread_is_kept_over_a_sleep() {
    cede::run(|| {
        let me = Unparker::current();
        let mut sleeping = spawn(move || {
            let me = Unparker::current();
            let began = Instant::now();
            std::thread::spawn(move || me.unpark()).join().unwrap();
            sleep(5 * MS).unwrap();
            assert!(began.elapsed() >= 5 * MS, "it ends no sleep");
            park("the thread's unpark")
        });
        let end = cede::timeout(Duration::from_secs(20), || sleeping.join());
        assert!(matches!(end, Ok(Ok(Ok(())))));
        drop(me);
    });
}

/// An unpark ends a public park only: it does not make a task ready that waits in another call of the library.
#[test]
fn unpark_wakes_no_other_wait() {
    cede::run(|| {
        let (sender, receiver) = channel::rendezvous::<u32>();
        let slot: Rc<std::cell::RefCell<Option<Unparker>>> = Rc::default();
        let inner = Rc::clone(&slot);
        let mut waits = spawn(move || {
            *inner.borrow_mut() = Some(Unparker::current());
            receiver.recv()
        });
        yield_now();
        slot.borrow().as_ref().unwrap().unpark();
        assert!(matches!(waits.state(), TaskState::Waiting(_)), "it is not made ready");
        sender.send(1).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(1));
    });
}
