//! Semaphores, events and barriers. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::sync::{Barrier, BarrierError, Event, Semaphore, WaitTimeoutError};
use cede::task::{Cancelled, TaskState, shield};
use cede::{Config, spawn, yield_now};
use common::witness::Log;
use common::worlds::in_all_worlds;
use common::{caught, emulated, panic_text, paused, rounds};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

// ---- A62, A63: Event

/// Setting an event wakes all waiters. The event stays set until `clear`.
#[test]
fn a62_event_set_wakes_all_waiters_and_stays_set() {
    cede::run(|| {
        let event = Arc::new(Event::new());
        let waiter = |event: &Arc<Event>| {
            let event = Arc::clone(event);
            spawn(move || event.wait())
        };
        let mut tasks: Vec<_> = (0..3).map(|_| waiter(&event)).collect();
        rounds(2);
        assert!(tasks.iter().all(|task| matches!(task.state(), TaskState::Waiting(_))));
        event.set();
        assert!(tasks.iter_mut().all(|task| task.join().unwrap().is_ok()));
        assert_eq!(event.wait(), Ok(()));
        assert!(event.is_set());
        event.clear();
        let mut late = waiter(&event);
        yield_now();
        assert_eq!((late.state(), event.is_set()), (TaskState::Waiting("an event".into()), false));
        late.cancel();
        assert_eq!(late.join().unwrap(), Err(Cancelled));
    });
}

#[test]
fn a63_event_cleared_at_once_still_wakes_its_waiters() {
    paused(|| {
        let event = Arc::new(Event::new());
        let inner = Arc::clone(&event);
        let mut task = spawn(move || inner.wait_timeout(Duration::from_secs(1)));
        yield_now();
        event.set();
        event.clear();
        assert_eq!(event.wait_timeout(Duration::from_secs(9)), Err(WaitTimeoutError::Timeout));
        assert_eq!(task.join().unwrap(), Ok(()));
    });
}

// ---- A65: Semaphore

#[test]
fn a65_semaphore_limits_its_holders_and_is_fifo() {
    paused(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let (log, inside) = (Log::default(), Rc::new(Cell::new((0, 0))));
        let mut tasks: Vec<_> = (0..10)
            .map(|number| {
                let (semaphore, log, inside) = (Arc::clone(&semaphore), log.clone(), Rc::clone(&inside));
                spawn(move || {
                    let _permit = semaphore.acquire().unwrap();
                    log.add(number.to_string());
                    let (now, most) = inside.get();
                    inside.set((now + 1, most.max(now + 1)));
                    cede::time::sleep(Duration::from_millis(1)).unwrap();
                    inside.set((inside.get().0 - 1, inside.get().1));
                })
            })
            .collect();
        tasks.iter_mut().for_each(|task| task.join().unwrap());
        assert_eq!((inside.get(), semaphore.available_permits()), ((0, 2), 2));
        assert_eq!(log.take(), (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

/// `add_permits` returns an error and adds no permit if the semaphore would exceed its bound. A forgotten permit may be
/// added again.
#[test]
fn a65_adding_permits_above_the_bound_adds_none() {
    let semaphore = Semaphore::bounded(2);
    let permit = semaphore.acquire().unwrap();
    let error = semaphore.add_permits(1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot add permits: adding 1 to the existing 2 (held ones included) exceeds the bound of 2"
    );
    drop(permit);
    assert_eq!(semaphore.available_permits(), 2);
    // A forgotten permit may be added again.
    semaphore.acquire_many(2).unwrap().forget();
    assert_eq!(semaphore.available_permits(), 0);
    semaphore.add_permits(1).unwrap();
    assert_eq!((semaphore.forget_permits(9), semaphore.available_permits()), (1, 0));
    assert!(semaphore.add_permits(3).is_err() && semaphore.add_permits(2).is_ok());
    assert!(Semaphore::new(1).add_permits(usize::MAX).is_err(), "more than can be counted");
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a65_acquiring_more_than_the_bound_panics_at_once() {
    let text = panic_text(caught(|| drop(Semaphore::bounded(2).acquire_many(3))));
    assert_eq!(text, "cannot acquire 3 permits: the bound of the semaphore is 2");
}

/// A request for many permits is not overtaken by smaller ones. When it is cancelled, the smaller ones are granted.
#[test]
fn a65_large_request_is_not_overtaken_until_it_gives_up() {
    cede::run(|| {
        let semaphore = Arc::new(Semaphore::new(3));
        let held = semaphore.acquire_many(2).unwrap();
        let take = |count| {
            let semaphore = Arc::clone(&semaphore);
            spawn(move || semaphore.acquire_many(count).map(|permit| permit.count()))
        };
        let (mut large, mut small) = (take(3), take(1));
        rounds(2);
        assert_eq!((small.state(), semaphore.available_permits()), (TaskState::Waiting("a semaphore".into()), 1));
        assert!(semaphore.try_acquire().is_none(), "not before the waiting tasks");
        large.cancel();
        assert_eq!((large.join().unwrap(), small.join().unwrap()), (Err(Cancelled), Ok(1)));
        // When it is first in the queue, the large request gets all permits.
        let (mut large, mut small) = (take(3), take(1));
        yield_now();
        drop(held);
        assert_eq!((large.join().unwrap(), small.join().unwrap()), (Ok(3), Ok(1)));
        assert_eq!(semaphore.available_permits(), 3);
    });
}

/// Permits that were granted to a task which is unwound go back to the semaphore.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a65_permits_granted_to_an_unwound_task_are_passed_on() {
    let semaphore = Arc::new(Semaphore::new(2));
    let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
        for count in [2, 1, 2] {
            let semaphore = Arc::clone(&semaphore);
            let _detached = spawn(move || {
                let _permits = cede::shield(|| semaphore.acquire_many(count).unwrap());
                cede::task::park_shielded("nothing");
            });
        }
        yield_now();
    });
    outcome.unwrap();
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn permits_can_be_split_sent_and_owned() {
    let semaphore = Arc::new(Semaphore::new(5));
    let mut permits = semaphore.acquire_owned(4).unwrap();
    let two = permits.split(2).unwrap();
    assert!(permits.split(3).is_none());
    std::thread::spawn(move || drop(two)).join().unwrap();
    assert_eq!((permits.count(), semaphore.available_permits()), (2, 3));
    drop(permits);
    assert_eq!(semaphore.available_permits(), 5);
}

#[test]
fn semaphore_works_between_tasks_and_threads() {
    let each = if emulated() { 50 } else { 1_000 };
    in_all_worlds(|world| {
        let (semaphore, inside) = (Arc::new(Semaphore::bounded(2)), Arc::new(AtomicUsize::new(0)));
        let spawned: Vec<_> = (0..4)
            .map(|_| {
                let (semaphore, inside) = (Arc::clone(&semaphore), Arc::clone(&inside));
                world.spawn(move || {
                    for turn in 0..each {
                        let permits = semaphore.acquire_many(1 + turn % 2).unwrap();
                        assert!(inside.fetch_add(permits.count(), Relaxed) + permits.count() <= 2);
                        if cede::task::current().is_some() {
                            yield_now();
                        }
                        inside.fetch_sub(permits.count(), Relaxed);
                    }
                })
            })
            .collect();
        spawned.into_iter().for_each(|one| one.join());
        assert_eq!(semaphore.available_permits(), 2, "{world:?}");
    });
}

// ---- A66: Barrier

#[test]
fn a66_all_go_on_together_with_ranks_and_again() {
    in_all_worlds(|world| {
        let barrier = Arc::new(Barrier::new(3));
        let turns = |barrier: Arc<Barrier>| move || [(); 3].map(|()| barrier.wait().unwrap());
        let others: Vec<_> = (0..2).map(|_| world.spawn(turns(Arc::clone(&barrier)))).collect();
        let mut all = vec![turns(Arc::clone(&barrier))()];
        all.extend(others.into_iter().map(|other| other.join()));
        for turn in 0..3 {
            let mut ranks: Vec<_> = all.iter().map(|results| results[turn].rank()).collect();
            ranks.sort_unstable();
            assert_eq!(ranks, [0, 1, 2], "{world:?}");
            assert_eq!(all.iter().filter(|results| results[turn].is_leader()).count(), 1);
        }
        assert_eq!((barrier.waiting(), barrier.parties()), (0, 3));
    });
}

#[test]
fn a66_an_aborted_barrier_is_broken_for_all_until_it_is_reset() {
    cede::run(|| {
        let barrier = Arc::new(Barrier::new(3));
        let wait = || {
            let barrier = Arc::clone(&barrier);
            spawn(move || barrier.wait().map(|result| result.rank()))
        };
        let mut tasks = [wait(), wait()];
        yield_now();
        assert_eq!(barrier.waiting(), 2);
        barrier.abort();
        assert!(tasks.iter_mut().all(|task| task.join().unwrap() == Err(BarrierError::Broken)));
        assert_eq!((barrier.wait(), barrier.is_broken()), (Err(BarrierError::Broken), true));
        barrier.reset();
        let mut tasks = [wait(), wait()];
        yield_now();
        // The waiters get the error. A task that arrives after the abort belongs to the next round.
        barrier.reset();
        let mut next = [wait(), wait(), wait()];
        assert!(tasks.iter_mut().all(|task| task.join().unwrap() == Err(BarrierError::Broken)));
        assert_eq!(next.each_mut().map(|task| task.join().unwrap()), [Ok(0), Ok(1), Ok(2)]);
        assert!(!barrier.is_broken());
    });
}

#[test]
fn a66_cancelled_or_late_waiter_does_not_count() {
    paused(|| {
        let barrier = Arc::new(Barrier::new(2));
        let inner = Arc::clone(&barrier);
        let mut cancelled = spawn(move || inner.wait());
        yield_now();
        cancelled.cancel();
        assert_eq!(cancelled.join().unwrap(), Err(Cancelled.into()));
        assert_eq!(barrier.wait_timeout(Duration::from_secs(1)), Err(BarrierError::Timeout));
        assert_eq!(barrier.waiting(), 0);
        let inner = Arc::clone(&barrier);
        let mut first = spawn(move || inner.wait().map(|result| result.rank()));
        yield_now();
        assert_eq!(barrier.wait().map(|result| result.rank()), Ok(1), "there is no gap");
        assert_eq!(first.join().unwrap(), Ok(0));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a66_barrier_of_zero_is_refused() {
    let text = panic_text(caught(|| Barrier::new(0)));
    assert_eq!(text, "cannot create a barrier for 0 parties: at least 1 is required");
}

#[test]
fn a66_abandoned_waiter_does_not_count() {
    let barrier = Arc::new(Barrier::new(2));
    let inner = Arc::clone(&barrier);
    let end = Config::new().shutdown_grace(Duration::ZERO).run(move || {
        let stubborn = move || {
            loop {
                let _ = caught(|| shield(|| inner.wait()));
            }
        };
        drop(spawn(stubborn));
        rounds(2);
    });
    assert!(end.is_ok() && barrier.waiting() == 0);
    assert_eq!(barrier.wait_timeout(Duration::from_millis(1)), Err(BarrierError::Timeout));
    assert_eq!(barrier.waiting(), 0);
}
