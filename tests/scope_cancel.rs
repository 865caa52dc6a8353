//! Cancelled scopes: from outside, by a deadline, from inside, by a deadlock. Places where no scope can be opened.

mod common;

use cede::sync::Event;
use cede::task::{self, Cancelled, Scope, park};
use cede::time::{now, sleep};
use cede::{Config, RunError, metrics, run, scope, shield, spawn, timeout, yield_now};
use common::witness::{AtEnd, Log};
use common::{caught, panic_text, paused, rounds, s, since};
use std::cell::Cell;
use std::rc::Rc;

/// Runs a scope in its own task, which is cancelled after a second. Returns the time at which everything had ended, and the log.
fn cancelled_after_a_second(body: impl Fn(&Scope<'_, '_>) -> Result<(), Cancelled> + 'static) -> (u64, Vec<String>) {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let inner = log.clone();
        let mut parent = spawn(move || {
            let _end = inner.at_end("the parent's end");
            let local = String::from("borrowed");
            let outcome = scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let told = sleep(s(9));
                        shield(|| sleep(s(2))).unwrap();
                        inner.add(format!("{local}: {told:?}"));
                    });
                }
                body(scope)
            });
            inner.add(format!("{:?} {:?}", outcome.unwrap(), sleep(s(1))));
        });
        sleep(s(1)).unwrap();
        parent.cancel();
        parent.join().unwrap();
        (since(start), log.take())
    })
}

/// A cancelled parent still waits for its children, at the end of the scope, in its body, and after a body that ignores
/// the cancel.
#[test]
fn cancelled_parent_still_waits_for_its_children() {
    let told = |body: &str| {
        let child = "borrowed: Err(Cancelled)".to_string();
        vec![child.clone(), child, format!("{body} Err(Cancelled)"), "the parent's end".to_string()]
    };
    // In the wait at the end of the scope, in the body, and in a body that ignores the cancel.
    assert_eq!(cancelled_after_a_second(|_| Ok(())), (3, told("Ok(())")));
    assert_eq!(cancelled_after_a_second(|_| sleep(s(5))), (3, told("Err(Cancelled)")));
    let deaf = |_: &Scope<'_, '_>| {
        let _ = sleep(s(5));
        shield(|| sleep(s(4)))
    };
    // The body goes on for four seconds. Only then does the scope see the cancel, and the children take two seconds.
    assert_eq!(cancelled_after_a_second(deaf), (7, told("Ok(())")));
    // A second cancel changes nothing: the children were cancelled at once, and clean up for two seconds.
    let (ended, told) = cancelled_after_a_second(|scope| {
        yield_now();
        scope.cancel();
        Ok(())
    });
    assert_eq!((ended, told.len()), (2, 4));
}

#[test]
fn deadline_around_a_scope_cancels_its_children() {
    paused(|| {
        let (log, start) = (Log::default(), now());
        let outcome = timeout(s(1), || {
            scope(|scope| {
                scope.spawn(|| {
                    log.add(format!("{:?} {}", sleep(s(9)), task::is_cancelled()));
                    shield(|| sleep(s(1))).unwrap();
                });
            })
        });
        assert!(outcome.unwrap_err().value.is_ok());
        assert_eq!((log.take(), since(start)), (vec!["Err(Cancelled) true".to_string()], 2));
        // A shield keeps the deadline from the scope inside.
        let outcome = timeout(s(1), || shield(|| scope(|scope| scope.spawn(|| sleep(s(3))).join().unwrap())));
        assert_eq!((outcome.unwrap().unwrap(), since(start)), (Ok(()), 5));
    });
}

/// A shield keeps a cancel from the wait at the end of a scope, and from the tasks of the scope. The cancel does not even wake
/// the waiting task, which would only wait again.
#[test]
fn scope_wait_inside_a_shield_is_not_woken_by_a_cancel() {
    run(|| {
        let (release, cancelled) = (Rc::new(Event::new()), Rc::new(Cell::new(false)));
        let (released, seen) = (Rc::clone(&release), Rc::clone(&cancelled));
        let mut task = spawn(move || {
            shield(|| {
                scope(|scope| {
                    scope.spawn(|| seen.set(released.wait().is_err()));
                })
            })
        });
        rounds(3);
        let before = metrics().parks;
        for _ in 0..3 {
            task.cancel();
            rounds(2);
        }
        assert_eq!(metrics().parks, before, "the wait was ended and entered again");
        release.set();
        task.join().unwrap().unwrap();
        assert!(!cancelled.get());
    });
}

/// Cancelling a scope cancels its children and its body, and no task of the scope around it.
#[test]
fn scope_cancel_reaches_only_its_children_and_its_body() {
    paused(|| {
        let outcome = scope(|outer| {
            let mut bystander = outer.spawn(|| sleep(s(2)));
            let inner = scope(|inner| {
                let mut child = inner.spawn(|| (sleep(s(9)), task::cancelled().map(|why| why.to_string())));
                inner.spawn(|| {
                    sleep(s(1)).unwrap();
                    inner.cancel();
                });
                (
                    sleep(s(9)),
                    loop {
                        if let Some(told) = child.try_join() {
                            break told.unwrap();
                        }
                        yield_now();
                    },
                )
            });
            let (body, child) = inner.unwrap();
            assert_eq!((body, child), (Err(Cancelled), (Err(Cancelled), Some("cancelled".into()))));
            bystander.join().unwrap()
        });
        assert_eq!(outcome.unwrap(), Ok(()));
    });
}

// ---- places where no scope can be opened

/// A scope is refused while the thread panics, in a callback and inside of `no_suspend`, before a child is spawned.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn scope_is_refused_in_panics_callbacks_and_no_suspend() {
    let log = Log::default();
    let inner = log.clone();
    run(move || {
        let log = inner.clone();
        let mut task = spawn(move || {
            let _end = AtEnd(|| {
                let refused = scope(|_| log.add("called"));
                log.add(refused.unwrap_err().to_string());
            });
            panic!("on purpose");
        });
        assert!(task.join().is_err());
        let log = inner.clone();
        task = spawn(|| ());
        task.on_done(move |_| log.add(panic_text(caught(|| scope(|_| ())))));
        task.join().unwrap();
        rounds(2);
        inner.add(panic_text(caught(|| cede::no_suspend(|| scope(|_| ())))).split(" (").next().unwrap());
    });
    let expected = [
        "cannot open a scope while the thread panics: nothing may wait there",
        "cannot wait in a callback: spawn a task from it instead",
        "cannot wait or yield inside a no_suspend section",
    ];
    assert_eq!(log.take(), expected);
}

/// A scope whose children wait for each other is a deadlock. It ends the waits, and the scope returns.
#[test]
fn deadlock_of_a_scopes_children_ends() {
    let result = Config::new().run(|| {
        let waited = Cell::new(0);
        let outcome = scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let _ = shield(|| park("the other"));
                    waited.set(waited.get() + 1);
                });
            }
        });
        (outcome.is_ok(), waited.get())
    });
    let Err(RunError::Deadlock { report, outcome }) = result else { panic!("no deadlock") };
    assert_eq!(report.tasks[0].reason.to_string(), "the tasks of its scope");
    assert_eq!(outcome.unwrap(), (true, 2));
}
