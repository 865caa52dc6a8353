//! Deadlines around waits: which waits they end, which of several deadlines is reported, and that no value is lost. The ids are
//! those of the table in ARCHITECTURE.md.

mod common;

use cede::task::{self, Cancelled, Deadline, Elapsed, Unparker, deadline, park};
use cede::time::{now, sleep, sleep_until};
use cede::{JoinError, scope, shield, spawn, timeout, yield_now};
use common::witness::Log;
use common::{paused, rounds, s, since, sleeper};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// The outcome of a timeout: whether it was late, and the value.
fn told<T>(outcome: Result<T, Elapsed<T>>) -> (bool, T) {
    match outcome {
        Ok(value) => (false, value),
        Err(late) => (true, late.into_value()),
    }
}

/// A timeout ends the waits inside, and returns when the closure has returned.
#[test]
fn a38_timeout_ends_the_waits_inside_and_awaits_the_cleanup() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let outcome = timeout(s(2), || {
            let first = sleep(s(9));
            assert!(task::check().is_err() && !task::is_cancelled(), "a deadline is no cancel");
            let again = sleep(s(9));
            shield(|| sleep(s(1))).unwrap();
            log.add("cleaned");
            (first, again)
        });
        assert_eq!(since(start), 3);
        assert_eq!(log.take(), ["cleaned"]);
        assert_eq!(told(outcome), (true, (Err(Cancelled), Err(Cancelled))));
        assert_eq!(sleep(s(1)), Ok(()), "no deadline is left outside of the timeout");
    });
}

/// A timeout borrows from its surroundings, ends joins and parks, and does not cancel the joined task.
#[test]
fn a38_timeout_ends_joins_and_parks_but_cancels_no_task() {
    paused(|| {
        let mut task = sleeper(5, "v");
        let mut count = 0;
        let outcome = timeout(s(1), || {
            count += 1;
            task.join()
        });
        assert!(matches!(outcome.unwrap_err().value, Err(JoinError::Interrupted)));
        assert_eq!(told(timeout(s(1), || park("nothing"))), (true, Err(Cancelled)));
        assert_eq!((task.join().unwrap(), count), (Ok("v"), 1), "the joined task is not cancelled");
    });
}

#[test]
fn a39_after_no_time_only_what_need_not_wait_succeeds() {
    paused(|| {
        let mut done = spawn(|| 2);
        yield_now();
        assert_eq!(timeout(s(0), || done.join().unwrap()).unwrap(), 2);
        let mut pending = sleeper(9, 2);
        assert!(timeout(s(0), || pending.join().is_err()).unwrap_err().value);
        assert!(told(timeout(s(0), || sleep(s(0)))).0, "a sleep of no time is a wait");
        assert_eq!(timeout(Duration::MAX, || sleep(s(9))).unwrap(), Ok(()));
        assert_eq!(timeout(Duration::from_nanos(1), || 7).unwrap(), 7);
        let outcome = deadline(now() - s(1), |deadline| (deadline.expired(), sleep(s(1))));
        assert_eq!(told(outcome), (true, (true, Err(Cancelled))), "a deadline in the past");
        pending.cancel();
    });
}

/// The error of a timeout holds what the closure returned. A closure that is late but had no wait cut short is no
/// error.
#[test]
fn a40_timeout_error_holds_the_value_of_the_closure() {
    // Python gives the value and forgets the timeout here; by value the two cannot be told apart, so both are given.
    paused(|| {
        let kept = timeout(s(1), || if sleep(s(9)).is_err() { "kept" } else { "slept" });
        let late = kept.unwrap_err();
        assert_eq!(late.to_string(), "the deadline passed before the work was done");
        assert_eq!(format!("{late:?}"), "Elapsed { .. }");
        assert_eq!(late.into_value(), "kept");
        // Late, but no wait was ended by the deadline.
        let busy = timeout(s(1), || {
            shield(|| sleep(s(5))).unwrap();
            "whole"
        });
        assert_eq!(busy.unwrap(), "whole");
    });
}

#[test]
fn a40_wait_that_ends_at_its_deadline_is_not_late() {
    paused(|| {
        assert_eq!(told(timeout(s(1), || sleep(s(1)))), (false, Ok(())));
        // Both at once: the deadline ended the wait, and the value is there nevertheless.
        let mut task = sleeper(1, "v");
        yield_now();
        assert_eq!(told(timeout(s(1), || task.join().unwrap())), (true, Ok("v")));
        // A wait that a wake ends before the deadline returns `Ok`. The deadline ends the next wait.
        let unparker: Rc<RefCell<Option<Unparker>>> = Rc::default();
        let inner = Rc::clone(&unparker);
        let mut woken = spawn(move || {
            *inner.borrow_mut() = Some(Unparker::current());
            told(timeout(s(1), || (park("a wake"), park("another"))))
        });
        yield_now();
        unparker.take().unwrap().unpark();
        assert_eq!(woken.join().unwrap(), (true, (Ok(()), Err(Cancelled))));
    });
}

#[test]
fn a41_nearest_of_nested_deadlines_is_reported() {
    // Of two nested deadlines only the nearer one is reported, never both.
    paused(|| {
        let nested = |outer: u64, inner: u64| {
            let start = now();
            let outcome = timeout(s(outer), || {
                let inner = timeout(s(inner), || sleep(s(9)).is_err());
                (told(inner), since(start))
            });
            let (outer_late, ((inner_late, cut), at)) = told(outcome);
            assert!(cut);
            (outer_late, inner_late, at)
        };
        assert_eq!(nested(5, 2), (false, true, 2));
        assert_eq!(nested(2, 5), (true, false, 2));
        assert_eq!(
            nested(2, 2),
            (true, false, 2),
            "at the same moment the outer deadline is reported, which ends more"
        );
        // After the inner deadline has passed, the outer one still ends waits.
        let start = now();
        let outcome = timeout(s(3), || {
            assert!(told(timeout(s(1), || sleep(s(9)))).0);
            assert_eq!(sleep(s(1)), Ok(()));
            sleep(s(9))
        });
        assert_eq!((told(outcome), since(start)), ((true, Err(Cancelled)), 3));
    });
}

#[test]
fn a41_a_wait_with_a_time_of_its_own_is_not_taken_for_late() {
    paused(|| {
        let start = now();
        let outcome = timeout(s(5), || {
            assert_eq!(task::park_until("a while", now() + s(2)), Ok(()));
            assert_eq!(since(start), 2);
            let waited = task::wait(&mut [sleeper(9, ())], task::When::All, Some(s(1)));
            assert_eq!(waited.unwrap().pending, [0]);
            task::park_until("too long", now() + s(9))
        });
        assert_eq!((told(outcome), since(start)), ((true, Err(Cancelled)), 5));
    });
}

#[test]
fn a_cancel_inside_of_a_timeout_is_not_taken_for_the_deadline() {
    paused(|| {
        let mut task = spawn(|| {
            let outcome = told(timeout(s(5), || sleep(s(9))));
            (outcome, task::is_cancelled())
        });
        sleep(s(1)).unwrap();
        task.cancel();
        assert_eq!(task.join().unwrap(), ((false, Err(Cancelled)), true));
        // The same if the deadline passes after the task was cancelled.
        let mut task = spawn(|| {
            told(timeout(s(5), || {
                let first = sleep(s(9));
                shield(|| sleep(s(9))).unwrap();
                assert_eq!(task::check(), Err(Cancelled));
                (first, sleep(s(1)))
            }))
        });
        sleep(s(1)).unwrap();
        task.cancel();
        assert_eq!(task.join().unwrap(), (false, (Err(Cancelled), Err(Cancelled))));
        // The same for a cancelled scope inside of the timeout, or around it.
        let inside = told(timeout(s(5), || {
            let body = scope(|scope| {
                scope.cancel();
                sleep(s(1))
            });
            body.unwrap()
        }));
        assert_eq!(inside, (false, Err(Cancelled)));
    });
}

#[test]
fn a42_a_deadline_can_be_moved_also_while_a_wait_is_under_way() {
    paused(|| {
        let start = now();
        let outcome = deadline(start + s(1), |deadline| {
            deadline.reschedule(Some(start + s(4)));
            assert_eq!((deadline.when(), deadline.expired()), (Some(start + s(4)), false));
            assert_eq!(sleep(s(2)), Ok(()));
            let told = sleep(s(9));
            assert!(deadline.expired());
            (told, since(start))
        });
        assert_eq!(told(outcome), (true, (Err(Cancelled), 4)));
        // Another task moves it later, sooner, and away.
        for (to, expected) in [(Some(7), (true, 7)), (Some(3), (true, 3)), (Some(1), (true, 2)), (None, (false, 9))] {
            let start = now();
            let outcome = deadline(start + s(5), |deadline| {
                let moved = scope(|scope| {
                    scope.spawn(move || {
                        shield(|| sleep(s(2))).unwrap();
                        deadline.reschedule(to.map(|to| start + s(to)));
                    });
                    (sleep(s(9)), since(start))
                });
                moved.unwrap()
            });
            let (late, (_, at)) = told(outcome);
            assert_eq!((late, at), expected, "moved to {to:?}");
        }
    });
}

/// A deadline that ended a wait is reported even if it is moved afterwards. A deadline that ended no wait is only
/// expired.
#[test]
fn a42_deadline_seen_by_a_wait_stays_reported_when_moved() {
    paused(|| {
        let start = now();
        let shown = |deadline: &Deadline| format!("{deadline:?}").ends_with("expired: true }");
        let outcome = deadline(start + s(1), |deadline| {
            assert!(sleep(s(2)).is_err() && shown(deadline));
            deadline.reschedule(None);
            assert!(!shown(deadline));
            sleep(s(2))
        });
        assert_eq!(told(outcome), (true, Ok(())), "a deadline that ended a wait is reported, though it was moved away");
        let outcome = deadline(now() + s(1), |deadline| {
            shield(|| sleep(s(2))).unwrap();
            deadline.expired()
        });
        assert!(outcome.unwrap());
    });
}

#[test]
fn a_deadline_cuts_intervals_calls_and_waits_until_a_time_short() {
    paused(|| {
        let start = now();
        let ticks = timeout(s(3), || {
            let mut interval = cede::time::interval(s(2));
            std::iter::from_fn(|| interval.tick().ok()).count()
        });
        assert_eq!((told(ticks), since(start)), ((true, 2), 3));
        let call = cede::time::after(s(4), || "rang");
        let outcome = timeout(s(1), || call.join());
        assert!(matches!(outcome.unwrap_err().value, Err(JoinError::Interrupted)));
        assert!(told(timeout(s(1), || sleep_until(now() + s(2)))).0);
        rounds(2);
    });
}

#[test]
fn of_a_hundred_nested_timeouts_exactly_one_is_reported() {
    fn nest(depth: u64, due: u64) -> (u64, bool) {
        if depth == 0 {
            return (0, sleep(s(5000)).is_err());
        }
        // In no particular order, and no two at the same time.
        let (late, (count, cut)) = told(timeout(s(due + depth * 7919 % 1000), || nest(depth - 1, due)));
        (count + u64::from(late), cut)
    }
    let result = cede::Config::new().paused_clock(true).stack_size(1 << 20).run(|| {
        let mut task = spawn(|| {
            let start = now();
            (nest(100, 10), since(start))
        });
        task.join().unwrap()
    });
    let nearest = (1..=100).map(|depth| 10 + depth * 7919 % 1000).min().unwrap();
    assert_eq!(result.unwrap(), ((1, true), nearest));
}
