//! Waits that only a cancel can end, reported while the run goes on, and marked in dumps.

mod common;

use cede::observe::EndlessWait;
use cede::sync::{Mutex, RwLock, Semaphore};
use cede::task::{Handle, Unparker, park, park_until};
use cede::time::{now, sleep};
use cede::{Builder, Config, dump, spawn, yield_now};
use common::child::in_child;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time after which a test fails that waits for a report.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(10);

/// The reports of a run.
#[derive(Clone, Default)]
struct Reports(Arc<std::sync::Mutex<Vec<EndlessWait>>>);

impl Reports {
    fn config(&self) -> Config {
        let all = self.clone();
        Config::new().report_endless_waits(SHORT).on_endless_wait(move |wait| all.0.lock().unwrap().push(wait.clone()))
    }

    /// Waits until there are `count` reports, while the run goes on. Returns their texts in alphabetical order.
    fn wait_for(&self, count: usize) -> Vec<String> {
        let start = Instant::now();
        while self.0.lock().unwrap().len() < count {
            assert!(start.elapsed() < LONG, "{:?}", self.0.lock().unwrap());
            sleep(Duration::from_millis(1)).unwrap();
        }
        self.texts()
    }

    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.0.lock().unwrap().iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    }
}

fn named<T: 'static>(name: &'static str, f: impl FnOnce() -> T + 'static) -> cede::JoinHandle<T> {
    Builder::new().name(name).spawn(f).unwrap()
}

/// Returns a body that locks `first`, and a turn later `second`. It returns whether it got both.
fn locks(first: &Rc<Mutex<()>>, second: &Rc<Mutex<()>>) -> impl FnOnce() -> bool + use<> {
    let (first, second) = (Rc::clone(first), Rc::clone(second));
    move || {
        let _first = first.lock().unwrap();
        yield_now();
        second.lock().is_ok()
    }
}

/// Two tasks that have each locked what the other wants. Cancels end their waits.
#[test]
fn two_tasks_that_lock_each_other_out_are_named() {
    let reports = Reports::default();
    let outcome = reports.config().run(|| {
        let (left, right) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
        let mut one = named("one", locks(&left, &right));
        let mut two = named("two", locks(&right, &left));
        let texts = reports.wait_for(1);
        assert_eq!(
            texts,
            ["2 tasks wait for each other, so only a cancel can end the wait:\
              \n  task 'one' waits for a mutex, held by 'two'\
              \n  task 'two' waits for a mutex, held by 'one'\
              \n  in a cycle: 'one' -> 'two' -> 'one'"]
        );
        // Told once: later looks see the same waits.
        sleep(SHORT * 4).unwrap();
        assert_eq!(reports.texts().len(), 1);
        one.cancel();
        assert_eq!((one.join().unwrap(), two.join().unwrap()), (false, true));
    });
    outcome.unwrap();
}

/// A lock, the write side of a read-write lock, and a join.
#[test]
fn cycle_goes_through_locks_of_all_kinds_and_joins() {
    let reports = Reports::default();
    let outcome = reports.config().run(|| {
        let (lock, table) = (Rc::new(Mutex::new(())), Rc::new(RwLock::new(())));
        let mut writer = {
            let (lock, table) = (Rc::clone(&lock), Rc::clone(&table));
            named("writer", move || {
                let _table = table.write().unwrap();
                yield_now();
                lock.lock().is_ok()
            })
        };
        let mut reader = named("reader", move || {
            yield_now();
            table.read().is_ok()
        });
        let cancel = reader.cancel_handle();
        let mut joiner = named("joiner", move || {
            let _lock = lock.lock().unwrap();
            yield_now();
            reader.join().is_ok()
        });
        let texts = reports.wait_for(1);
        let lines = [
            "3 tasks wait for each other, so only a cancel can end the wait:",
            "task 'writer' waits for a mutex, held by 'joiner'",
            "task 'joiner' waits for a task to end: 'reader'",
            "task 'reader' waits for an RwLock, to read, held by 'writer'",
        ];
        assert!(lines.iter().all(|line| texts[0].contains(line)), "{}", texts[0]);
        cancel.cancel();
        assert!(joiner.join().is_ok() && writer.join().unwrap());
    });
    outcome.unwrap();
}

/// The report comes when the last unparker is dropped, and not before.
#[test]
fn park_without_an_unparker_is_reported() {
    let reports = Reports::default();
    let outcome = reports.config().run(|| {
        let mut first = named("first", || park("a friend").is_err());
        let mut second = {
            let main = Unparker::current();
            let place: Rc<std::cell::RefCell<Option<Unparker>>> = Rc::default();
            let own = Rc::clone(&place);
            let task = named("second", move || {
                *own.borrow_mut() = Some(Unparker::current());
                main.unpark();
                park("a partner").is_err()
            });
            park("the unparker").unwrap();
            let texts = reports.wait_for(1);
            assert_eq!(
                texts,
                ["task 'first' waits for a friend, but no Unparker of it exists, so only a cancel can end the wait"]
            );
            drop(place.take());
            task
        };
        let texts = reports.wait_for(2);
        assert!(texts[1].starts_with("task 'second' waits for a partner, but no Unparker"), "{texts:?}");
        first.cancel();
        second.cancel();
        assert!(first.join().unwrap() && second.join().unwrap());
    });
    outcome.unwrap();
}

/// Waits that something else than a cancel can end: none of them is told, although two looks saw the one that begins last.
#[test]
fn waits_that_can_end_are_not_told() {
    let reports = Reports::default();
    let outcome = reports.config().run(|| {
        let far = now() + LONG;
        let timed = named("timed", move || park_until("the deadline", far).is_err());
        let permits = Rc::new(Semaphore::new(0));
        let own = Rc::clone(&permits);
        let mut starved = named("starved", move || own.acquire().is_ok());
        let limited = named("limited", move || cede::task::deadline(far, |_| park("an event").is_err()));
        let sleeper = named("sleeper", || sleep(LONG).is_err());
        // A cycle in which one wait has a deadline.
        let (left, right) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
        let mut one = {
            let (left, right) = (Rc::clone(&left), Rc::clone(&right));
            named("one", move || {
                let _left = left.lock().unwrap();
                yield_now();
                right.lock_deadline(far).is_ok()
            })
        };
        let mut two = named("two", move || {
            let _right = right.lock().unwrap();
            yield_now();
            left.lock().is_ok()
        });
        yield_now();
        yield_now();
        let forgotten = named("forgotten", || park("a friend").is_err());
        let texts = reports.wait_for(1);
        assert!(texts[0].starts_with("task 'forgotten'"), "{texts:?}");
        sleep(SHORT * 3).unwrap();
        assert_eq!(reports.texts().len(), 1, "{:?}", reports.texts());
        permits.add_permits(1).unwrap();
        for task in [&timed, &sleeper, &forgotten] {
            task.cancel();
        }
        limited.cancel();
        one.cancel();
        assert!(!one.join().unwrap() && two.join().unwrap() && starved.join().unwrap());
    });
    outcome.unwrap();
}

/// The parts of two workers are put together.
#[test]
fn cycle_across_workers_is_named() {
    let reports = Reports::default();
    let outcome = reports.config().workers(2).run(|| {
        let (left, right) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let both = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let locks = |first: &Arc<Mutex<()>>, second: &Arc<Mutex<()>>| {
            let (first, second, both) = (Arc::clone(first), Arc::clone(second), Arc::clone(&both));
            move || {
                let _first = first.lock().unwrap();
                both.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                while both.load(std::sync::atomic::Ordering::SeqCst) < 2 {
                    yield_now();
                }
                second.lock().is_ok()
            }
        };
        let mut one = Builder::new().name("one").on(0).spawn_anywhere(locks(&left, &right)).unwrap();
        let mut two = Builder::new().name("two").on(1).spawn_anywhere(locks(&right, &left)).unwrap();
        let texts = reports.wait_for(1);
        assert!(texts[0].contains("task 'one' waits for a mutex, held by 'two'"), "{texts:?}");
        assert!(texts[0].contains("task 'two' waits for a mutex, held by 'one'"), "{texts:?}");
        one.cancel();
        assert_eq!((one.join().unwrap(), two.join().unwrap()), (false, true));
    });
    outcome.unwrap();
}

/// Locks that are passed on all the time, by tasks that also wait for each other, are no cycles.
#[test]
fn busy_locks_are_not_told() {
    let reports = Reports::default();
    let outcome = reports.config().run(|| {
        let locks: Rc<Vec<_>> = Rc::new((0..4).map(|_| Mutex::new(0)).collect());
        let end = Instant::now() + SHORT * 30;
        let works = |n: usize| {
            let locks = Rc::clone(&locks);
            move || {
                let mut at = n;
                while Instant::now() < end {
                    at = at.wrapping_mul(7).wrapping_add(1);
                    let (low, high) = (at % 4, at / 4 % 4);
                    let _low = locks[low.min(high)].lock().unwrap();
                    yield_now();
                    let _high = (low != high).then(|| locks[low.max(high)].lock().unwrap());
                    let inner = spawn(yield_now);
                    { inner }.join().unwrap();
                }
            }
        };
        let mut tasks: Vec<_> = (0..50).map(|n| spawn(works(n))).collect();
        tasks.iter_mut().for_each(|task| task.join().unwrap());
    });
    outcome.unwrap();
    assert!(reports.texts().is_empty(), "{:?}", reports.texts());
}

/// Without a hook the report is on stderr.
#[test]
fn report_is_on_stderr_without_a_hook() {
    let text = in_child("report_is_on_stderr_without_a_hook", || {
        let outcome = Config::new().report_endless_waits(SHORT).run(|| {
            let forgotten = named("forgotten", || park("a friend").is_err());
            sleep(Duration::from_millis(500)).unwrap();
            forgotten.cancel();
        });
        outcome.unwrap();
    });
    assert!(text.contains("task 'forgotten' waits for a friend, but no Unparker of it exists"), "{text}");
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// A dump marks the tasks of a cycle and the forgotten ones, and lists the cycle.
#[test]
fn dump_marks_endless_waits() {
    cede::run(|| {
        let (left, right) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
        let mut one = named("one", locks(&left, &right));
        let mut two = named("two", locks(&right, &left));
        let forgotten = named("forgotten", || park("a friend").is_err());
        let timed = named("timed", || park_until("a while", now() + LONG).is_err());
        (0..3).for_each(|_| yield_now());
        for dump in [dump(), Handle::current().dump()] {
            let marked: Vec<_> =
                dump.tasks.iter().filter(|one| one.endless).map(|one| one.task.name().unwrap()).collect();
            assert_eq!(marked, ["one", "two", "forgotten"]);
            let names: Vec<_> = dump.cycles[0].iter().map(|task| task.name().unwrap()).collect();
            assert_eq!((dump.cycles.len(), names), (1, vec!["one", "two"]));
            let text = dump.to_string();
            assert!(text.ends_with("\n  in a cycle: 'one' -> 'two' -> 'one'"), "{text}");
            let line = text.lines().find(|line| line.contains("forgotten")).unwrap();
            assert!(line.ends_with("; only a cancel can end this wait"), "{line}");
        }
        one.cancel();
        assert!(!one.join().unwrap() && two.join().unwrap());
        assert!(dump().cycles.is_empty());
        forgotten.cancel();
        timed.cancel();
    });
}
