//! Waiting for several tasks: gather, join_all, try_join_all, join!, race, wait, as_completed. The ids are those of the table in
//! ARCHITECTURE.md.

mod common;

use cede::task::{self, Cancelled, TaskError, WaitError, When, park, wait};
use cede::time::{now, sleep};
use cede::{
    JoinError, JoinHandle, as_completed, gather, join, join_all, race, shield, spawn, timeout, try_join_all, yield_now,
};
use common::witness::{Drops, Log};
use common::{paused, rounds, s, since, sleeper};
use std::cell::RefCell;
use std::rc::Rc;

/// A task that sleeps and then panics.
fn bomb<T: 'static>(seconds: u64) -> JoinHandle<Result<T, Cancelled>> {
    spawn(move || {
        sleep(s(seconds))?;
        panic!("bang")
    })
}

/// A task that sleeps, and takes a second to clean up when it is cancelled.
fn careful(log: &Log, seconds: u64) -> JoinHandle<&'static str> {
    let log = log.clone();
    spawn(move || {
        if sleep(s(seconds)).is_ok() {
            return "done";
        }
        shield(|| sleep(s(1))).unwrap();
        log.add("cleaned");
        "cancelled"
    })
}

// ---- join_all, gather, try_join_all, join!

/// `join_all`, `gather`, `try_join_all` and `join!` wait for their tasks at the same time, and return the results in
/// the order of the handles.
#[test]
fn a26_join_all_gather_join_return_results_in_handle_order() {
    paused(|| {
        let start = now();
        let handles = || [sleeper(2, 'a'), sleeper(1, 'b'), sleeper(0, 'c')];
        let text = |results: Vec<Result<char, Cancelled>>| results.into_iter().map(Result::unwrap).collect::<String>();
        assert_eq!(text(join_all(handles()).into_iter().map(Result::unwrap).collect()), "abc");
        assert_eq!(since(start), 2, "they slept at the same time");
        assert_eq!(text(gather(handles()).into_iter().map(Result::unwrap).collect()), "abc");
        assert_eq!(try_join_all(handles()).unwrap().iter().collect::<String>(), "abc");
        let (a, b) = join!(sleeper(2, 'a'), spawn(|| "b"));
        assert_eq!((a.unwrap().unwrap(), b.unwrap()), ('a', "b"));
        assert_eq!(since(start), 8);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a27_try_join_all_ends_at_the_first_error() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let (inner, outer) = (log.clone(), log);
        let slow = spawn(move || {
            sleep(s(3))?;
            inner.add("slow");
            Ok(())
        });
        // The error that comes first in time counts, not the first in the list.
        let error = try_join_all([slow, bomb(2), bomb(1)]).unwrap_err();
        let (place, first) = &error.failures[0];
        assert_eq!((*place, first.to_string().as_str(), since(start)), (2, "the task panicked: bang", 1));
        // asyncio's gather lets the rest go on. Here the rest is cancelled and awaited.
        sleep(s(4)).unwrap();
        assert_eq!(outer.take(), [""; 0]);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a28_errors_and_cancels_are_at_the_place_of_their_task() {
    paused(|| {
        let never = sleeper(5, 0);
        never.cancel();
        let told = sleeper(5, 0);
        yield_now();
        told.cancel();
        let results = gather([sleeper(1, 2), bomb(0), never, told]);
        let shown: Vec<_> = results.iter().map(|result| format!("{result:?}")).collect();
        assert_eq!(shown, ["Ok(Ok(2))", "Err(Panicked(\"bang\"))", "Err(Cancelled)", "Ok(Err(Cancelled))"]);
    });
}

/// Cancelling a task that waits in `join_all`, `join!`, `race` or `try_join_all` cancels all children and waits for
/// them. The next wait of the task is still cancelled.
#[test]
fn a29_cancelled_join_all_cancels_and_awaits_children() {
    type Combinator = fn(Vec<JoinHandle<&'static str>>) -> String;
    let combinators: [(&str, Combinator); 4] = [
        ("join_all", |handles| format!("{:?}", join_all(handles).into_iter().map(Result::unwrap).collect::<Vec<_>>())),
        ("join!", |handles| {
            let Ok([a, b, c]) = <[_; 3]>::try_from(handles) else { panic!("three") };
            let (a, b, c) = join!(a, b, c);
            format!("{:?}", [a.unwrap(), b.unwrap(), c.unwrap()])
        }),
        ("race", |handles| {
            let race = race(handles);
            format!("{} {:?} {}", race.winner, race.result, race.losers.len())
        }),
        ("try_join_all", |handles| {
            let tasks = handles.into_iter().map(|mut task| spawn(move || task.join())).collect::<Vec<_>>();
            yield_now();
            format!("{:?}", try_join_all(tasks).unwrap_err().interrupted)
        }),
    ];
    let all = "[\"cancelled\", \"cancelled\", \"cancelled\"]";
    let expected = [all, all, "0 Ok(\"cancelled\") 2", "Some(Cancelled)"];
    for ((name, combinator), expected) in combinators.into_iter().zip(expected) {
        paused(|| {
            let (log, start) = (Log::default(), now());
            let inner = log.clone();
            let mut waiter = spawn(move || {
                let told = combinator((0..3).map(|_| careful(&inner, 9)).collect());
                assert_eq!(park("more"), Err(Cancelled), "{name}: the next wait is cancelled too");
                told
            });
            sleep(s(2)).unwrap();
            waiter.cancel();
            assert_eq!(waiter.join().unwrap(), expected, "{name}");
            // try_join_all waits for tasks around the children here, and these do not pass a cancel on.
            let cleaned = if name == "try_join_all" { (0, 2) } else { (3, 3) };
            assert_eq!((log.take().len(), since(start)), cleaned, "{name}");
        });
    }
}

/// A deadline around `gather` cancels all children and waits for them, like a cancel.
#[test]
fn a29_deadline_around_join_all_cancels_and_awaits_children() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let late = timeout(s(2), || gather((0..3).map(|_| careful(&log, 9))));
        let results = late.unwrap_err().into_value();
        assert!(results.into_iter().all(|result| result.unwrap() == "cancelled"));
        assert_eq!((log.take().len(), since(start)), (3, 3));
        assert!(park_until_now(), "the deadline is over with its section");
    });
}

fn park_until_now() -> bool {
    task::park_until("nothing", now()).is_ok()
}

/// A child that had ended before the waiter of `gather` was cancelled keeps its result.
#[test]
fn a29_cancelled_join_all_keeps_results_that_were_ready() {
    paused(|| {
        let mut waiter = spawn(|| gather([sleeper(9, 1), sleeper(1, 2), sleeper(9, 3)]));
        sleep(s(2)).unwrap();
        waiter.cancel();
        let results: Vec<_> = waiter.join().unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(results, [Err(Cancelled), Ok(2), Err(Cancelled)]);
    });
}

#[test]
fn a30_a_child_cancelled_alone_leaves_its_siblings_alone() {
    paused(|| {
        let unrun = sleeper(9, "a");
        unrun.cancel();
        let slow = Log::default();
        let inner = slow.clone();
        let sibling = spawn(move || {
            sleep(s(1))?;
            inner.add("b");
            Ok("b")
        });
        assert!(matches!(join_all([unrun, sibling])[..], [Err(JoinError::Cancelled), Ok(Ok("b"))]));
        assert_eq!(slow.take(), ["b"]);
        let (a, b) = (sleeper(9, "a"), sleeper(1, "b"));
        yield_now();
        a.cancel();
        let results: Vec<_> = gather([a, b]).into_iter().map(Result::unwrap).collect();
        assert_eq!(results, [Err(Cancelled), Ok("b")]);
    });
}

#[test]
fn a31_nothing_gathers_to_nothing() {
    cede::run(|| {
        let none = || Vec::<JoinHandle<Result<u8, u8>>>::new();
        assert!(gather(none()).is_empty());
        assert!(join_all(none()).is_empty());
        assert!(try_join_all(none()).unwrap().is_empty());
        assert_eq!(as_completed(none()).count(), 0);
    });
    // Python runs a coroutine once that is passed twice. A handle cannot be passed twice.
}

/// At the first error `try_join_all` cancels the rest and waits for it. The error holds every value and every failure.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn try_join_all_error_awaits_the_rest_and_keeps_every_result() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let inner = log.clone();
        let task = |seconds: u64, result: Result<u32, &'static str>| {
            let log = inner.clone();
            spawn(move || match sleep(s(seconds)) {
                Ok(()) => result,
                Err(Cancelled) if seconds == 7 => {
                    shield(|| sleep(s(1))).unwrap();
                    log.add("cleaned");
                    Ok(7)
                }
                Err(Cancelled) if seconds == 8 => panic!("while cleaning up"),
                Err(Cancelled) => Err("cancelled"),
            })
        };
        let tasks = [task(2, Err("two")), task(1, Ok(1)), task(7, Ok(0)), task(8, Ok(0)), task(9, Ok(0))];
        let error = try_join_all(tasks).unwrap_err();
        assert_eq!((since(start), log.take()), (3, vec!["cleaned".to_string()]));
        assert_eq!(error.values, [(1, 1), (2, 7)]);
        assert!(error.interrupted.is_none());
        let failures: Vec<_> = error.failures.iter().map(|(place, error)| format!("{place}: {error}")).collect();
        assert_eq!(failures, ["0: two", "3: the task panicked: while cleaning up", "4: cancelled"]);
        assert!(matches!(error.failures[1].1, TaskError::Task(JoinError::Panicked(_))));
        assert!(error.to_string().starts_with("3 tasks failed:\n  task 0: two\n  task 3: the task panicked"));
    });
}

/// A task that never ran because `try_join_all` cancelled it is not listed as a failure. A task that was cancelled by
/// other code is.
#[test]
fn try_join_all_does_not_list_tasks_that_it_cancelled_unrun() {
    cede::run(|| {
        let failed = spawn(|| Err::<u8, _>("at once"));
        yield_now();
        let error = try_join_all([failed, spawn(|| unreachable!("it never runs"))]).unwrap_err();
        assert_eq!(error.to_string(), "task 0 failed: at once");
        // A task that other code cancelled is a failure.
        let gone = spawn(|| Ok::<u8, &str>(1));
        gone.cancel();
        let error = try_join_all([gone, spawn(|| Ok(2))]).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.values.len()), ("task 0 failed: the task was cancelled", 1));
    });
}

// ---- race

/// The first task to end wins. The losers are cancelled and awaited, and their results are returned.
#[test]
fn race_first_to_end_wins_and_losers_are_awaited() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let race = race([careful(&log, 9), careful(&log, 2), careful(&log, 5)]);
        assert_eq!((race.winner, race.result.unwrap()), (1, "done"));
        assert_eq!(race.losers.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 2]);
        assert!(race.losers.into_iter().all(|(_, result)| result.unwrap() == "cancelled"));
        assert_eq!((log.take().len(), since(start)), (2, 3));
    });
}

/// A panic counts as an end. A race without tasks panics, since it would never end.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn race_may_be_won_by_a_panic_and_refuses_an_empty_list() {
    paused(|| {
        let race = race([sleeper(9, 1), bomb(1)]);
        assert_eq!((race.winner, race.result.unwrap_err().to_string().as_str()), (1, "the task panicked: bang"));
        let text = common::panic_text(common::caught(|| cede::race(Vec::<JoinHandle<()>>::new())));
        assert_eq!(text, "there is no task to race: give at least one handle");
    });
}

// ---- wait

/// `wait` with `When::All` lists the tasks in the order of their ends, raises no panic of a task, and leaves the
/// results to `join`.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a32_wait_all_lists_tasks_in_the_order_of_their_ends() {
    paused(|| {
        let mut handles = [sleeper(3, 0), bomb(1), sleeper(2, 0)];
        let waited = wait(&mut handles, When::All, None).unwrap();
        assert_eq!((waited.done, waited.pending), (vec![1, 2, 0], vec![]));
        assert_eq!(handles.map(|mut handle| handle.join().is_ok()), [true, false, true], "results are still there");
    });
}

#[test]
fn a33_wait_for_the_first() {
    paused(|| {
        let start = now();
        let mut handles = [sleeper(9, 0), sleeper(1, 0), sleeper(9, 0)];
        let waited = wait(&mut handles, When::First, None).unwrap();
        assert_eq!((waited.done, waited.pending, since(start)), (vec![1], vec![0, 2], 1));
        assert!(!handles[0].is_finished(), "the other tasks go on");
        let waited = wait(&mut handles, When::First, None).unwrap();
        assert_eq!((waited.done, since(start)), (vec![1], 1), "it has ended already");
        // Both tasks that end at the same moment are listed.
        let mut both = [sleeper(1, 0), sleeper(1, 0)];
        assert_eq!(wait(&mut both, When::First, None).unwrap().done, [0, 1]);
    });
}

/// `wait` with `When::FirstError` returns at the first panic. A returned value or a cancelled task does not end it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a34_wait_first_error_ignores_values_and_cancels() {
    paused(|| {
        let start = now();
        let unrun = sleeper(9, 0);
        unrun.cancel();
        let mut handles = [sleeper(1, 0), bomb(2), sleeper(9, 0), unrun];
        let waited = wait(&mut handles, When::FirstError, None).unwrap();
        assert_eq!((waited.done, waited.pending, since(start)), (vec![3, 0, 1], vec![2], 2));
        let mut fine = [sleeper(1, 0), sleeper(2, 0)];
        assert_eq!(wait(&mut fine, When::FirstError, None).unwrap().pending, [0; 0], "no error: all");
    });
}

#[test]
fn a35_wait_timeout_is_no_error_and_cancels_no_task() {
    paused(|| {
        let start = now();
        let mut handles = [sleeper(5, "a"), sleeper(1, "b")];
        let waited = wait(&mut handles, When::All, Some(s(2))).unwrap();
        assert_eq!((waited.done, waited.pending, since(start)), (vec![1], vec![0], 2));
        assert!(wait(&mut handles[..1], When::All, Some(s(0))).unwrap().done.is_empty());
        assert_eq!(handles[0].join().unwrap(), Ok("a"));
        assert_eq!(wait(&mut handles, When::All, Some(s(0))).unwrap().done, [1, 0], "tasks that have ended are listed");
    });
}

#[test]
fn a35_a_wait_of_no_time_still_gives_up_its_turn() {
    paused(|| {
        let mut handles = [sleeper(0, "a")];
        let polls = (0..10).find(|_| !wait(&mut handles, When::All, Some(s(0))).unwrap().done.is_empty());
        assert!(polls.is_some_and(|polls| polls < 4), "{polls:?}");
        let mut poller = spawn(|| {
            let mut handles = [sleeper(9, "a")];
            while wait(&mut handles, When::All, Some(s(0))).is_ok() {}
            handles[0].cancel();
        });
        rounds(3);
        poller.cancel();
        assert!(poller.join().is_ok(), "its cancel ends it");
    });
}

#[test]
fn a36_wait_for_no_task_is_refused() {
    cede::run(|| {
        let error = wait(&mut Vec::<JoinHandle<()>>::new(), When::All, None).unwrap_err();
        assert_eq!(error, WaitError::NoTasks);
        assert_eq!(error.to_string(), "there is no task to wait for: give at least one handle");
    });
}

#[test]
fn a37_cancelled_wait_leaves_the_tasks_running() {
    paused(|| {
        let handles = Rc::new(RefCell::new([sleeper(5, "v")]));
        let inner = Rc::clone(&handles);
        let mut waiter = spawn(move || wait(&mut *inner.borrow_mut(), When::All, None));
        sleep(s(1)).unwrap();
        waiter.cancel();
        assert_eq!(waiter.join().unwrap(), Err(WaitError::Cancelled));
        assert_eq!(handles.borrow_mut()[0].join().unwrap(), Ok("v"));
    });
}

// ---- as_completed

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a44_as_completed_yields_tasks_in_the_order_of_their_ends() {
    paused(|| {
        let start = now();
        let log: Vec<_> = as_completed([sleeper(3, 'c'), sleeper(1, 'a'), bomb(4), sleeper(2, 'b')])
            .map(|task| (since(start), task.place, task.result.map_or('!', Result::unwrap)))
            .collect();
        assert_eq!(log, [(1, 1, 'a'), (2, 3, 'b'), (3, 0, 'c'), (4, 2, '!')]);
        // Tasks that had ended before come first, in the order of their ends.
        let ended = [sleeper(2, ()), sleeper(3, ()), sleeper(9, ()), sleeper(1, ())];
        sleep(s(5)).unwrap();
        assert_eq!(as_completed(ended).map(|task| task.place).collect::<Vec<_>>(), [3, 0, 1, 2]);
    });
}

/// A deadline around `as_completed` ends the iteration with one error. `into_pending` returns the handles of the tasks
/// that have not ended.
#[test]
fn a45_as_completed_deadline_ends_it_and_returns_the_rest() {
    paused(|| {
        let mut tasks = as_completed([sleeper(9, 'a'), sleeper(1, 'b'), sleeper(8, 'c')]);
        let late = timeout(s(2), || tasks.by_ref().map(|task| (task.place, task.result.is_ok())).collect::<Vec<_>>());
        assert_eq!(late.unwrap_err().into_value(), [(1, true), (0, false)]);
        assert!(tasks.next().is_none(), "the iteration is over");
        let rest: Vec<_> = tasks.into_pending().into_iter().map(|(place, mut task)| (place, task.join())).collect();
        assert_eq!(format!("{rest:?}"), "[(0, Ok(Ok('a'))), (2, Ok(Ok('c')))]");
    });
}

/// Dropping `as_completed` detaches its tasks, and their ends wake no task.
#[test]
fn as_completed_dropped_detaches_its_tasks() {
    let drops = Drops::default();
    paused(|| {
        let task = || {
            let value = drops.value();
            spawn(move || (sleep(s(3)).is_ok(), value))
        };
        let mut some = as_completed([spawn(|| (true, Drops::default().value())), task(), task()]);
        assert_eq!(some.next().unwrap().place, 0);
        drop(some);
        sleep(s(1)).unwrap();
        assert_eq!(drops.count(), 0, "the tasks go on");
        sleep(s(4)).unwrap();
        assert_eq!(drops.count(), 2);
    });
}
