//! Deadlines around waits: who is told, which of several it was, and that no value is lost. The ids are those of the table in
//! ARCHITECTURE.md.

mod common;

use cede::task::{self, Cancelled, Deadline, Elapsed, Unparker, deadline, park};
use cede::time::{now, sleep, sleep_until};
use cede::{JoinError, scope, shield, spawn, timeout, yield_now};
use common::witness::Log;
use common::{paused, rounds, s, since, sleeper};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What a timeout came to: whether it was late, and the value.
fn told<T>(outcome: Result<T, Elapsed<T>>) -> (bool, T) {
    match outcome {
        Ok(value) => (false, value),
        Err(late) => (true, late.into_value()),
    }
}

#[test]
fn a38_a_timeout_ends_the_waits_inside_and_returns_when_they_have_cleaned_up() {
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
        assert_eq!(sleep(s(1)), Ok(()), "outside of it nothing is left");
    });
}

#[test]
fn a38_a_timeout_may_borrow_and_ends_joins_and_parks_and_leaves_the_others_alone() {
    paused(|| {
        let mut task = sleeper(5, "v");
        let mut count = 0;
        let outcome = timeout(s(1), || {
            count += 1;
            task.join()
        });
        assert!(matches!(outcome.unwrap_err().value, Err(JoinError::Interrupted)));
        assert_eq!(told(timeout(s(1), || park("nobody"))), (true, Err(Cancelled)));
        assert_eq!((task.join().unwrap(), count), (Ok("v"), 1), "who was waited for is not cancelled");
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
        assert!(told(timeout(s(0), || sleep(s(0)))).0, "even no sleep is a wait");
        assert_eq!(timeout(Duration::MAX, || sleep(s(9))).unwrap(), Ok(()));
        assert_eq!(timeout(Duration::from_nanos(1), || 7).unwrap(), 7);
        let outcome = deadline(now() - s(1), |deadline| (deadline.expired(), sleep(s(1))));
        assert_eq!(told(outcome), (true, (true, Err(Cancelled))), "in the past");
        pending.cancel();
    });
}

#[test]
fn a40_what_the_body_returned_all_the_same_is_in_the_error_and_is_never_lost() {
    // Python gives the value and forgets the timeout here; by value the two cannot be told apart, so both are given.
    paused(|| {
        let kept = timeout(s(1), || if sleep(s(9)).is_err() { "kept" } else { "slept" });
        let late = kept.unwrap_err();
        assert_eq!(late.to_string(), "the deadline passed before the work was done");
        assert_eq!(format!("{late:?}"), "Elapsed { .. }");
        assert_eq!(late.into_value(), "kept");
        // Late, but no wait saw it: nothing was cut short.
        let busy = timeout(s(1), || {
            shield(|| sleep(s(5))).unwrap();
            "whole"
        });
        assert_eq!(busy.unwrap(), "whole");
    });
}

#[test]
fn a40_who_is_done_at_the_very_moment_is_not_late() {
    paused(|| {
        assert_eq!(told(timeout(s(1), || sleep(s(1)))), (false, Ok(())));
        // Both at once: the wait did see its deadline, and the value is there all the same.
        let mut task = sleeper(1, "v");
        yield_now();
        assert_eq!(told(timeout(s(1), || task.join().unwrap())), (true, Ok("v")));
        // A wake that comes before the deadline is no deadline; the next wait sees it.
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
fn a41_the_deadline_that_came_is_the_one_that_is_told() {
    // Of two nested deadlines the nearer one, whichever that is; and never both.
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
        assert_eq!(nested(2, 2), (true, false, 2), "at the same moment the outer one, which ends more");
        // The inner one over, the outer one still counts.
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
        // Also when the deadline goes by while the task is told already.
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
        // And a scope that was cancelled inside, or around.
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
        // By somebody else, to later, to sooner, and to never.
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

#[test]
fn a42_what_was_seen_stays_seen_and_what_nobody_saw_is_only_expired() {
    paused(|| {
        let start = now();
        let shown = |deadline: &Deadline| format!("{deadline:?}").ends_with("expired: true }");
        let outcome = deadline(start + s(1), |deadline| {
            assert!(sleep(s(2)).is_err() && shown(deadline));
            deadline.reschedule(None);
            assert!(!shown(deadline));
            sleep(s(2))
        });
        assert_eq!(told(outcome), (true, Ok(())), "moved away, it no longer ends waits, but it did end one");
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
fn of_a_hundred_nested_timeouts_exactly_one_is_told() {
    fn nest(depth: u64, due: u64) -> (u64, bool) {
        if depth == 0 {
            return (0, sleep(s(5000)).is_err());
        }
        // In no order, and no two at the same time.
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
