//! Destructors of a task's result: they still run in the task, so they may wait.

mod common;

use cede::task::{Unparker, is_cancelled, park, park_shielded};
use cede::time::sleep;
use cede::{Config, run, scope, spawn, yield_now};
use common::child::in_child;
use common::rounds;
use common::witness::{AtEnd, Log};
use std::time::{Duration, Instant};

/// A wake that arrives while an unwanted result is dropped is kept for the next park.
#[test]
fn wake_during_the_drop_of_a_result_is_kept() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        spawn(move || {
            AtEnd(move || {
                let me = Unparker::current();
                spawn(move || me.unpark());
                yield_now(); // the wake arrives here
                inner.add(format!("{:?}", park("the wake that came before")));
            })
        });
        rounds(5);
        log.add("main ends");
        assert_eq!(log.take(), ["Ok(())", "main ends"]);
    });
}

/// Results that wait while they are dropped keep their tasks in the scope. A task that reuses the control block is not
/// cancelled with it.
#[test]
fn results_that_wait_in_drop_keep_their_places_in_the_scope() {
    let log = Log::default();
    let (inner, outer) = (log.clone(), log.clone());
    Config::new()
        .paused_clock(true)
        .run(move || {
            let innocent = inner.clone();
            scope(|s| {
                s.spawn(yield_now); // the first place; ends while the third result is being dropped
                s.spawn(|| park("the end").is_err());
                s.spawn(|| AtEnd(|| rounds(3)));
                rounds(2);
                let late = inner.clone();
                s.spawn(move || late.add(format!("late: {:?}", park("the end"))));
                rounds(5);
                // This task gets the control block of the task whose result was dropped.
                spawn(move || innocent.add(format!("innocent: {:?}", sleep(Duration::from_secs(1)))));
                rounds(2);
                s.cancel();
            })
            .unwrap();
            sleep(Duration::from_secs(2)).unwrap();
        })
        .unwrap();
    assert_eq!(outer.take(), ["late: Err(Cancelled)", "innocent: Ok(())"]);
}

/// A result that yields without end while it is dropped is cancelled at the end of the run, and unwound after the grace
/// period, like its task.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn result_yielding_in_its_drop_is_cancelled_and_unwound() {
    let log = Log::default();
    let inner = log.clone();
    Config::new()
        .shutdown_grace(Duration::from_millis(20))
        .run(move || {
            let told = inner.clone();
            spawn(move || {
                AtEnd(move || {
                    while !is_cancelled() {
                        yield_now();
                    }
                    told.add("cancelled");
                })
            });
            spawn(move || {
                AtEnd(move || {
                    let _end = inner.at_end("unwound");
                    loop {
                        yield_now();
                    }
                })
            });
            rounds(2);
        })
        .unwrap();
    assert_eq!(log.take(), ["cancelled", "unwound"]);
}

/// A result whose destructor never returns is abandoned and named on stderr. In a scope it stops the process.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn result_that_never_drops_is_abandoned_or_stops_its_scope() {
    let name = "result_that_never_drops_is_abandoned_or_stops_its_scope";
    let stays = || {
        AtEnd(|| {
            loop {
                let _ = common::caught(|| park_shielded("nothing"));
            }
        })
    };
    let text = in_child(name, || {
        let began = Instant::now();
        Config::new()
            .shutdown_grace(Duration::from_millis(20))
            .run(|| {
                spawn(stays);
                rounds(2);
            })
            .unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
        eprintln!("the first run is over");
        let _ = Config::new().shutdown_grace(Duration::from_millis(20)).run(|| scope(|s| drop(s.spawn(stays))).is_ok());
        eprintln!("the second run is over");
    });
    assert!(text.contains("#3 did not end"), "{text}");
    assert!(text.contains("the first run is over") && !text.contains("the second run is over"), "{text}");
    assert!(text.contains("it borrows from its scope, so it cannot be abandoned"), "{text}");
}
