//! Names, states and backtraces of tasks. The ids are those of the table in ARCHITECTURE.md.

use cede::task::{self, TaskState, Unparker, park};
use cede::{Builder, Generator, JoinHandle, run, spawn, yield_now};
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

#[test]
fn a76_tasks_are_named_listed_and_shown() {
    run(|| {
        assert_eq!(task::current().unwrap().name(), Some("main"));
        let mut nap = Builder::new().name("nap").spawn(|| park("a bell").is_err()).unwrap();
        let plain = spawn(|| task::current().unwrap());
        let id = nap.task().id();
        assert_eq!(format!("{nap:?}"), format!("JoinHandle {{ id: {id}, name: Some(\"nap\"), state: Pending }}"));
        let mut all: Vec<_> = task::all().into_iter().map(|(task, state)| format!("{task} {state}")).collect();
        all.sort();
        assert_eq!(all, [format!("#{} pending", plain.task().id()), "'main' running".into(), "'nap' pending".into()]);
        yield_now();
        let shown = format!("{nap:?}");
        assert!(shown.contains("\"nap\"") && shown.contains("Waiting(Reason(\"a bell\"))"), "{shown}");
        let mut all: Vec<_> = task::all().into_iter().map(|(task, state)| format!("{task} {state}")).collect();
        all.sort();
        assert_eq!(all, ["'main' running", "'nap' waiting: a bell"], "an ended task is not listed");
        nap.cancel();
        nap.join().unwrap();
        assert!(format!("{nap:?}").contains("state: Done"));
        let mut plain = plain;
        assert_eq!(plain.join().unwrap(), plain.task());
        assert_eq!(plain.task().name(), None);
        assert!(format!("{:?}", Unparker::current()).contains("main"));
    });
}

#[test]
fn a76_a_tasks_state_over_its_life() {
    run(|| {
        let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let states = Rc::new(RefCell::new(Vec::new()));
        let (inner, seen) = (Rc::clone(&slot), Rc::clone(&states));
        *slot.borrow_mut() = Some(spawn(move || {
            seen.borrow_mut().push(inner.borrow().as_ref().unwrap().state());
            yield_now();
            let _ = park("a wake");
        }));
        let state = || slot.borrow().as_ref().unwrap().state();
        let mut after = vec![state()];
        yield_now();
        after.push(state());
        yield_now();
        after.push(state());
        slot.borrow().as_ref().unwrap().cancel();
        after.push(state());
        let _ = slot.borrow_mut().as_mut().unwrap().join();
        after.push(state());
        assert_eq!(*states.borrow(), [TaskState::Running]);
        use TaskState::*;
        assert_eq!(after, [Pending, Pending, Waiting("a wake".into()), Pending, Done]);
        let texts = [Pending, Running, Waiting("x".into()), Done, Cancelled].map(|state| state.to_string());
        assert_eq!(texts, ["pending", "running", "waiting: x", "done", "cancelled"]);
    });
}

/// A backtrace taken inside of a task shows its whole stack, through a generator too, and ends at its root.
#[test]
fn a77_backtrace_in_a_task_ends_at_its_root() {
    #[inline(never)]
    fn deepest() -> String {
        yield_now();
        black_box(std::backtrace::Backtrace::force_capture().to_string())
    }
    #[inline(never)]
    fn between() -> String {
        black_box(deepest() + "")
    }
    run(|| {
        let mut plain = spawn(|| black_box(between() + ""));
        let mut nested = spawn(|| Generator::new(|y| y.yield_(between())).next().unwrap());
        for text in [plain.join().unwrap(), nested.join().unwrap()] {
            let (inner, outer) = (text.find("deepest").unwrap(), text.find("between").unwrap());
            assert!(inner < outer, "{text}");
            assert!(text.lines().count() < 500, "the backtrace did not end");
        }
    });
}

#[test]
#[cfg(not(cede_portable_switch))]
fn a77_a_handle_shows_the_whole_stack_of_a_suspended_task() {
    #[inline(never)]
    fn deepest() -> bool {
        black_box(park("a look").is_err())
    }
    #[inline(never)]
    fn between() -> bool {
        black_box(!deepest())
    }
    run(|| {
        let plain = spawn(between);
        let nested = spawn(|| Generator::new(|y| y.yield_(between())).next());
        assert!(plain.backtrace().is_some(), "before its first turn");
        yield_now();
        for text in [plain.backtrace().unwrap().to_string(), nested.backtrace().unwrap().to_string()] {
            let (inner, outer) = (text.find("deepest").unwrap(), text.find("between").unwrap());
            assert!(inner < outer && text.lines().count() < 500, "{text}");
        }
        plain.cancel();
        yield_now();
        assert!(plain.is_finished() && plain.backtrace().is_none());
    });
}
