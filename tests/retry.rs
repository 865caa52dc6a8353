//! Repeated attempts, ticks that were missed, and a clock that a test advances.

mod common;

use cede::task::timeout;
use cede::time::{Backoff, MissedTicks, RetryError, advance, interval, interval_at, now, retry, retry_if, sleep};
use cede::{Config, spawn, yield_now};
use common::{paused, s};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// The delays of a backoff in milliseconds.
fn delays(backoff: Backoff) -> Vec<u128> {
    backoff.map(|delay| delay.as_millis()).collect()
}

#[test]
fn delays_double_up_to_the_limit() {
    let backoff = Backoff::new(100 * MS).max_delay(s(1)).jitter(false);
    assert_eq!(delays(backoff.clone().attempts(6)), [100, 200, 400, 800, 1000]);
    assert_eq!(delays(backoff.clone().attempts(1)), []);
    assert_eq!(backoff.take(3).count(), 3);
    // Neither the doubling nor the default limit overflows.
    assert_eq!(Backoff::new(Duration::MAX).jitter(false).take(70).last(), Some(s(30)));
}

#[test]
fn jitter_stays_in_the_upper_half() {
    let lengths: Vec<Duration> = (0..1000).map(|_| Backoff::new(s(1)).next().unwrap()).collect();
    assert!(lengths.iter().all(|delay| (s(1) / 2..=s(1)).contains(delay)));
    let low = lengths.iter().filter(|delay| **delay < s(3) / 4).count();
    assert!((300..700).contains(&low), "{low} of 1,000 delays are in the lower half of the range");
}

#[test]
fn a_seed_fixes_the_jitter() {
    let drawn = |seed| Config::new().seed(seed).run(|| Backoff::new(s(1)).attempts(9).collect::<Vec<_>>()).unwrap();
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    // Without a seed, two runs differ.
    let free = || cede::run(|| Backoff::new(s(1)).attempts(9).collect::<Vec<_>>());
    assert_ne!(free(), free());
}

#[test]
fn attempts_end_with_a_success_or_the_last_error() {
    paused(|| {
        let start = now();
        let calls = Cell::new(0);
        let backoff = Backoff::new(s(1)).jitter(false).attempts(4);
        let attempt = |success: i32| {
            calls.set(0);
            retry(backoff.clone(), || {
                calls.set(calls.get() + 1);
                if calls.get() == success { Ok(success) } else { Err(calls.get()) }
            })
        };
        assert_eq!(attempt(3).unwrap(), 3);
        assert_eq!((now() - start).as_secs(), 1 + 2);
        let error = attempt(5).unwrap_err();
        assert_eq!(error.to_string(), "failed after 4 attempts; the last one: 4");
        assert!(matches!(error, RetryError::Failed { attempts: 4, error: 4 }));
        assert_eq!((now() - start).as_secs(), 3 + 1 + 2 + 4);
        assert_eq!(error.into_inner(), 4);
        assert_eq!(attempt(1).unwrap(), 1); // without a delay
        assert_eq!((now() - start).as_secs(), 10);
    });
}

#[test]
fn a_permanent_error_ends_the_attempts() {
    paused(|| {
        let statuses = RefCell::new(vec![404, 503, 500]);
        let result: Result<(), _> =
            retry_if(Backoff::new(s(1)), |status| *status >= 500, || Err(statuses.borrow_mut().pop().unwrap()));
        assert!(matches!(result, Err(RetryError::Failed { attempts: 3, error: 404 })));
    });
}

#[test]
fn a_cancel_during_a_delay_returns_the_last_error() {
    paused(|| {
        let result = timeout(s(2), || retry(Backoff::new(s(9)), || Err::<(), _>("refused")));
        let error = result.unwrap_err().into_value().unwrap_err();
        assert_eq!(error.to_string(), "cancelled after 1 attempt; the last one: refused");
        assert!(matches!(error, RetryError::Cancelled { attempts: 1, error: "refused" }));
    });
}

#[test]
fn an_interval_that_is_late() {
    // One tick at 0; then the task is late and misses those at 2 and 4.
    let times = |missed| {
        paused(|| {
            let start = now();
            let mut ticks = interval(s(2)).missed_ticks(missed);
            ticks.tick().unwrap();
            sleep(s(5)).unwrap();
            [(); 4].map(|()| {
                let due = ticks.tick().unwrap();
                ((due - start).as_secs(), (now() - start).as_secs())
            })
        })
    };
    assert_eq!(times(MissedTicks::Burst), [(2, 5), (4, 5), (6, 6), (8, 8)]);
    assert_eq!(times(MissedTicks::Delay), [(2, 5), (7, 7), (9, 9), (11, 11)]);
    assert_eq!(times(MissedTicks::Skip), [(2, 5), (6, 6), (8, 8), (10, 10)]);
}

#[test]
fn an_interval_that_is_set_back() {
    paused(|| {
        let start = now();
        let mut ticks = interval_at(start + s(3), s(10));
        assert_eq!(ticks.period(), s(10));
        let mut next = || (ticks.tick().unwrap() - start).as_secs();
        assert_eq!([next(), next()], [3, 13]);
        sleep(s(4)).unwrap(); // 17
        ticks.reset();
        assert_eq!((ticks.tick().unwrap() - start).as_secs(), 27);
        ticks.reset_at(start + s(28));
        assert_eq!((ticks.tick().unwrap() - start).as_secs(), 28);
        assert_eq!((ticks.tick().unwrap() - start).as_secs(), 38);
    });
}

#[test]
fn an_advance_fires_what_is_due_in_order() {
    paused(|| {
        let start = now();
        let log = Rc::new(RefCell::new(Vec::new()));
        for seconds in [3_u64, 1, 2, 9] {
            let log = Rc::clone(&log);
            spawn(move || {
                sleep(s(seconds)).unwrap();
                log.borrow_mut().push((seconds, (now() - start).as_secs()));
            });
        }
        yield_now(); // they sleep
        advance(s(5)).unwrap();
        assert_eq!(*log.borrow(), [(1, 5), (2, 5), (3, 5)]);
        advance(s(4)).unwrap();
        assert_eq!(log.borrow().last(), Some(&(9, 9)));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
#[should_panic = "cannot advance the clock: it is not paused; see Config::paused_clock"]
fn a_real_clock_cannot_be_advanced() {
    cede::run(|| advance(s(1))).unwrap();
}
