//! Cancelling by value: which waits return `Cancelled`, what a shield protects, and how tasks end that ignore their cancel. The
//! ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{self, Cancelled, TaskState, Unparker, park, park_shielded};
use cede::time::{now, sleep};
use cede::{Builder, Config, JoinError, gather, run, scope, shield, spawn, timeout, yield_now};
use common::child::in_child;
use common::witness::{AtEnd, Drops, Log};
use common::{caught, panic_text, paused, rounds, s, since, sleeper};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

// ---- which waits are cancelled

#[test]
fn a15_a_task_that_is_cancelled_may_wait_while_it_cleans_up() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let inner = log.clone();
        let mut task = spawn(move || {
            let told = sleep(s(10));
            yield_now();
            let cleaned = shield(|| sleep(s(2)));
            inner.add(format!("{told:?} {cleaned:?}"));
            sleep(s(3))
        });
        sleep(s(1)).unwrap();
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Cancelled), "after the shield the cancel ends waits again");
        assert_eq!((log.take(), since(start)), (vec!["Err(Cancelled) Ok(())".to_string()], 3));
    });
}

/// A task cancelled before its first turn is `Cancelled`, for `join` and for `state`. A task that returns after a
/// cancelled wait is `Done`, and `join` returns its value.
#[test]
fn a16_cancelled_task_join_and_state_tell_how_it_ended() {
    paused(|| {
        let mut unrun = sleeper(9, 1);
        unrun.cancel();
        assert!(matches!(unrun.join(), Err(JoinError::Cancelled)));
        assert_eq!(unrun.state(), TaskState::Cancelled);
        let mut told = sleeper(9, 1);
        yield_now();
        told.cancel();
        assert_eq!(told.join().unwrap(), Err(Cancelled));
        assert_eq!(told.state(), TaskState::Done, "it returned a value");
    });
}

#[test]
fn a17_cancelled_joiner_does_not_cancel_the_joined_task() {
    paused(|| {
        let awaited = Rc::new(RefCell::new(sleeper(5, "v")));
        let inner = Rc::clone(&awaited);
        let mut waiter = spawn(move || matches!(inner.borrow_mut().join(), Err(JoinError::Interrupted)));
        sleep(s(1)).unwrap();
        waiter.cancel();
        assert!(waiter.join().unwrap());
        assert_eq!(awaited.borrow_mut().join().unwrap(), Ok("v"));
    });
}

#[test]
fn a18_the_reason_of_a_cancel_arrives_and_the_first_one_counts() {
    paused(|| {
        let why = || task::cancelled().map(|why| (why.to_string(), why.reason().map(str::to_string)));
        let with = |reasons: &'static [Option<&'static str>]| {
            let mut task = spawn(move || {
                assert_eq!(why(), None);
                let _ = park("a cancel");
                why().unwrap()
            });
            yield_now();
            for reason in reasons {
                assert!(match reason {
                    Some(reason) => task.cancel_with(*reason),
                    None => task.cancel(),
                });
            }
            let told = task.join().unwrap();
            assert!(!task.cancel_with("too late"));
            told
        };
        assert_eq!(with(&[Some("why"), Some("and why")]), ("cancelled: why".into(), Some("why".into())));
        assert_eq!(with(&[None]), ("cancelled".into(), None));
        assert_eq!(with(&[None, Some("later")]), ("cancelled: later".into(), Some("later".into())));
        assert_eq!(why(), None, "main was not cancelled");
        // A deadline is no cancel.
        assert_eq!(timeout(s(1), || (sleep(s(2)).is_err(), why())).unwrap_err().value, (true, None));
    });
    // The end of main is a reason, and `cancelled` returns it.
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        spawn(move || {
            let _ = park("the end");
            inner.add(task::cancelled().unwrap().to_string());
        });
        yield_now();
    });
    assert_eq!(log.take(), ["cancelled: main has ended"]);
    assert!(task::cancelled().is_none(), "no task is cancelled outside of a run");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a19_a_cancel_is_no_panic_and_an_error_of_its_own_type() {
    fn work() -> Result<(), Box<dyn std::error::Error>> {
        Ok(sleep(s(9))?)
    }
    paused(|| {
        let mut task = spawn(|| {
            let told = caught(work).expect("nothing unwinds").unwrap_err();
            assert!(told.is::<Cancelled>());
            told.to_string()
        });
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), "the wait was cancelled");
    });
}

/// Dropping a `cancel_on_drop` handle cancels its task. Joining it, forgetting it or taking the handle out with
/// `into_inner` does not.
#[test]
fn cancel_on_drop_cancels_when_dropped_not_when_unwrapped() {
    paused(|| {
        let log = Log::default();
        let helper = |name: &'static str| {
            let log = log.clone();
            spawn(move || {
                let told = sleep(s(2));
                log.add(format!("{name}: {told:?}"));
            })
            .cancel_on_drop()
        };
        let (dropped, mut kept) = (helper("dropped"), helper("kept"));
        let detached = helper("detached").into_inner();
        let forgotten = helper("forgotten");
        sleep(s(1)).unwrap();
        assert_eq!(kept.state(), TaskState::Waiting("the end of its sleep".into()));
        drop(dropped);
        drop(detached);
        std::mem::forget(forgotten);
        kept.join().unwrap();
        rounds(2);
        let told = ["dropped: Err(Cancelled)", "kept: Ok(())", "detached: Ok(())", "forgotten: Ok(())"];
        let mut log = log.take();
        assert_eq!(log.remove(0), told[0]);
        log.sort();
        let mut rest = told[1..].to_vec();
        rest.sort();
        assert_eq!(log, rest);
        // The combinators accept this handle too.
        assert!(gather([sleeper(1, 7).cancel_on_drop()])[0].is_ok());
    });
}

// ---- shields

#[test]
fn a43_shielded_wait_goes_on_and_the_next_is_cancelled() {
    paused(|| {
        let start = now();
        let mut task = spawn(move || {
            let inside = shield(|| {
                let first = sleep(s(3));
                assert!(task::is_cancelled() && task::check().is_ok(), "cancelled, but the shield keeps it from waits");
                (first, sleeper(1, "joined").join().is_ok(), park_for(s(1)))
            });
            assert_eq!(task::check(), Err(Cancelled));
            (inside, since(start), sleep(s(9)))
        });
        sleep(s(1)).unwrap();
        task.cancel();
        assert_eq!(task.join().unwrap(), ((Ok(()), true, Ok(())), 5, Err(Cancelled)));
    });
}

fn park_for(duration: Duration) -> Result<(), Cancelled> {
    task::park_until("a while", now() + duration)
}

/// Shields nest. A shield keeps the deadlines and scopes around it from the waits inside, but not a deadline that is
/// opened inside of it.
#[test]
fn shield_nested_blocks_outer_limits_but_not_inner_ones() {
    paused(|| {
        let start = now();
        let late = timeout(s(1), || {
            shield(|| {
                shield(|| sleep(s(2))).unwrap();
                let inner = timeout(s(1), || sleep(s(5)));
                assert_eq!(inner.unwrap_err().value, Err(Cancelled));
                sleep(s(2)).unwrap();
            });
            since(start)
        });
        assert_eq!(late.unwrap(), 5, "no wait saw the deadline");
        let body = scope(|scope| {
            scope.cancel();
            (shield(|| sleep(s(1))), sleep(s(1)))
        });
        assert_eq!(body.unwrap(), (Ok(()), Err(Cancelled)));
        assert_eq!(shield(|| 7), 7);
    });
    assert_eq!(shield(|| 7), 7, "outside of a run it only calls");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_shield_that_a_panic_leaves_is_closed() {
    paused(|| {
        let mut task = spawn(|| {
            assert_eq!(panic_text(caught(|| shield(|| panic!("out")))), "out");
            assert!(caught(|| timeout(s(1), || panic!("out"))).is_err());
            park("a cancel")
        });
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Cancelled));
    });
}

// ---- tasks that will not end

/// A task that catches its cancel, its unwinding and every panic delays the return of `run` by less than a second after
/// the grace period. It is abandoned and named on stderr.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d1_task_swallowing_everything_delays_run_under_a_second() {
    let text = in_child("d1_task_swallowing_everything_delays_run_under_a_second", || {
        let grace = Duration::from_millis(50);
        let bodies: [(&str, fn()); 5] = [
            ("yields", yield_now),
            ("sleeps", || assert!(sleep(Duration::from_millis(1)).is_ok())),
            ("shields", || assert!(shield(|| park("nothing")).is_ok())),
            ("times out", || drop(timeout(Duration::from_millis(1), || park("nothing")))),
            ("panics", || panic!("again")),
        ];
        std::panic::set_hook(Box::new(|_| {}));
        let mut began = Instant::now();
        Config::new()
            .shutdown_grace(grace)
            .run(|| {
                for (name, body) in bodies {
                    let endless = move || loop {
                        let _ = caught(body);
                        let _ = caught(yield_now);
                    };
                    drop(Builder::new().name(name).spawn(endless).unwrap());
                }
                rounds(5);
                began = Instant::now();
            })
            .unwrap();
        let took = began.elapsed();
        assert!(took < grace + Duration::from_secs(1), "took {took:?}");
    });
    for name in ["yields", "sleeps", "shields", "times out", "panics"] {
        assert!(text.contains(&format!("cede: task '{name}' did not end: ")), "{text}");
    }
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

// ---- destructors that wait

/// Calls every function that waits, and logs what each returned.
fn wait_in_every_way(log: &Log) {
    let mut told = Vec::new();
    yield_now();
    told.push(format!("{:?}", park("a wake")));
    park_shielded("a wake");
    told.push(format!("{:?}", sleep(s(1))));
    told.push(format!("{:?}", shield(|| sleep(s(1)))));
    told.push(format!("{:?}", timeout(s(1), || sleep(s(2))).map(|told| told.is_ok()).map_err(|late| late.value)));
    told.push(format!("{:?}", spawn(|| 1).join()));
    told.push(format!("{:?}", scope(|scope| scope.spawn(|| 1).join().is_ok())));
    told.push(format!("{:?}", gather([spawn(|| 1), spawn(|| 2)]).iter().map(Result::is_ok).collect::<Vec<_>>()));
    told.push(format!("{:?}", cede::race([spawn(|| 1), spawn(|| 2)]).result.is_ok()));
    told.push(format!("{:?}", cede::try_join_all([spawn(|| Ok::<_, ()>(1))]).is_ok()));
    told.push(format!("{:?}", task::wait(&mut [spawn(|| 1)], task::When::All, Some(s(1))).is_ok()));
    told.push(format!("{:?}", cede::as_completed([spawn(|| 1)]).next().unwrap().result.is_ok()));
    log.add(told.join(" "));
}

/// A destructor that calls every wait while its task panics neither hangs nor aborts the process: each wait returns at
/// once.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d2_destructor_waiting_in_a_panic_does_not_hang() {
    let name = "d2_destructor_waiting_in_a_panic_does_not_hang";
    let text = in_child(name, || {
        let log = Log::default();
        let inner = log.clone();
        // No wake for park_shielded is needed: while the thread panics nothing waits.
        paused(move || {
            let mut task = spawn(move || {
                let _end = AtEnd(move || wait_in_every_way(&inner));
                panic!("on purpose");
            });
            assert_eq!(task.join().unwrap_err().to_string(), "the task panicked: on purpose");
            rounds(3);
        });
        eprintln!("told: {}", log.take().join("\n"));
    });
    let expected = "told: Err(Cancelled) Err(Cancelled) Err(Cancelled) Ok(false) Err(Interrupted) \
                    Err(Panicking) [false, false] false false false false\nexit code Some(0)";
    assert!(text.ends_with(expected), "{text}");
}

/// A destructor that calls every wait in a cancelled task neither hangs nor aborts the process.
#[test]
fn d2_destructor_waiting_in_a_cancel_does_not_hang() {
    let log = Log::default();
    let inner = log.clone();
    paused(move || {
        let mut task = spawn(move || {
            let me = Unparker::current();
            let _end = AtEnd(move || {
                me.unpark(); // for park_shielded
                wait_in_every_way(&inner);
            });
            park("a cancel")
        });
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Cancelled));
    });
    // A cancelled wait gives up its turn, and here the awaited tasks end in that turn.
    let told = "Err(Cancelled) Err(Cancelled) Ok(()) Ok(false) Ok(1) Ok(true) [true, true] true true true true";
    assert_eq!(log.take(), [told]);
}

/// A destructor that calls every wait while its task is unwound at the end of the grace period neither hangs nor aborts
/// the process.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d2_destructor_waiting_in_a_forced_unwind_does_not_hang() {
    let name = "d2_destructor_waiting_in_a_forced_unwind_does_not_hang";
    let text = in_child(name, || {
        let log = Log::default();
        let inner = log.clone();
        let config = Config::new().shutdown_grace(Duration::from_millis(20));
        config
            .run(move || {
                spawn(move || {
                    let _end = AtEnd(move || wait_in_every_way(&inner));
                    loop {
                        yield_now();
                    }
                });
                yield_now();
            })
            .unwrap();
        eprintln!("told {}", log.take().len());
    });
    assert!(text.ends_with("told 1\nexit code Some(0)"), "{text}");
}

// ---- mutexes

#[test]
fn d3_a_cancel_poisons_no_mutex_and_bystanders_see_no_panic() {
    let drops = Drops::default();
    // Each task holds its own lock over the wait, and no other task asks for that lock.
    let locks: Rc<Vec<Mutex<u32>>> = Rc::new((0..100).map(Mutex::new).collect());
    let panicking = Rc::new(Cell::new(0));
    run(|| {
        let tasks: Vec<_> = (0..100)
            .map(|place| {
                let (locks, counted) = (Rc::clone(&locks), drops.value());
                spawn(move || {
                    let _counted = counted;
                    let mut number = locks[place].lock().unwrap();
                    let told = if place % 2 == 0 { park("a cancel") } else { shield(yield_now_ok) };
                    *number += 1;
                    told
                })
            })
            .collect();
        let seen = Rc::clone(&panicking);
        let bystander = spawn(move || {
            while !task::is_cancelled() {
                seen.set(seen.get() + u32::from(std::thread::panicking()));
                yield_now();
            }
        });
        yield_now();
        tasks.iter().for_each(|task| assert!(task.cancel()));
        let ended = gather(tasks).into_iter().map(Result::unwrap).filter(Result::is_err).count();
        assert_eq!(ended, 50);
        bystander.cancel();
    });
    assert!(locks.iter().zip(1..).all(|(lock, number)| *lock.lock().unwrap() == number));
    assert_eq!((drops.count(), panicking.get()), (100, 0));
}

fn yield_now_ok() -> Result<(), Cancelled> {
    yield_now();
    Ok(())
}
