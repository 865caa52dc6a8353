//! A waiter that was interrupted before a grant is skipped: the next waiter gets the grant, and nothing is lost. Each primitive,
//! in the plain order and under three seeds.

mod common;

use Outcome::{Cancelled, Got, Late};
use cede::sync::channel::{self, RecvError, RecvTimeoutError, SendTimeoutError};
use cede::sync::{
    Barrier, Condvar, Event, Mutex, PopTimeoutError, Promise, PushTimeoutError, Queue, RwLock, Semaphore,
};
use cede::sync::{WaitTimeoutError, select};
use cede::task::{TaskState, shield};
use cede::time::{now, sleep_until};
use cede::{Config, JoinHandle, scope, select, spawn, timeout, yield_now};
use common::s;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Got,
    Cancelled,
    Late,
}

impl From<WaitTimeoutError> for Outcome {
    fn from(error: WaitTimeoutError) -> Outcome {
        if error == WaitTimeoutError::Timeout { Late } else { Cancelled }
    }
}

/// A primitive that tasks wait for: `wait`, with or without a deadline, and `give`, which makes one grant.
#[derive(Clone)]
struct Thing {
    name: &'static str,
    wait: Rc<dyn Fn(Option<Instant>) -> Outcome>,
    give: Rc<dyn Fn()>,
    /// Whether a grant without a waiter is kept for the next waiter.
    keeps: bool,
}

fn far() -> Instant {
    now() + s(1_000_000)
}

fn receive(name: &'static str, capacity: usize) -> Thing {
    let (sender, receiver) = channel::bounded(capacity);
    let wait = move |until: Option<Instant>| match receiver.recv_deadline(until.unwrap_or_else(far)) {
        Ok(()) => Got,
        Err(RecvTimeoutError::Timeout) => Late,
        Err(_) => Cancelled,
    };
    let give = move || {
        if sender.try_send(()).is_err() {
            let sender = sender.clone();
            drop(spawn(move || sender.send(())));
        }
    };
    Thing { name, wait: Rc::new(wait), give: Rc::new(give), keeps: true }
}

fn send(name: &'static str, capacity: usize) -> Thing {
    let (sender, receiver) = channel::bounded(capacity);
    (0..capacity).for_each(|_| sender.send(()).unwrap());
    let wait = move |until: Option<Instant>| match sender.send_deadline((), until.unwrap_or_else(far)) {
        Ok(()) => Got,
        Err(SendTimeoutError::Timeout(())) => Late,
        Err(_) => Cancelled,
    };
    Thing {
        name,
        wait: Rc::new(wait),
        give: Rc::new(move || receiver.try_recv().unwrap_or_default()),
        keeps: capacity > 0,
    }
}

fn choose(name: &'static str, sends: bool) -> Thing {
    let (sender, receiver) = channel::bounded::<()>(1);
    let (other, never) = channel::bounded::<()>(0);
    if sends {
        sender.send(()).unwrap();
    }
    let (inner, outer) = (sender.clone(), receiver.clone());
    let wait = move |until: Option<Instant>| {
        let _open = &other;
        let mut late = select::at(until.unwrap_or_else(far));
        let (mut never, mut receiving, mut sending) = (never.case(), receiver.case(), inner.case(()));
        let mut cases = select::Select::new();
        cases.add(&mut never);
        if sends {
            cases.add(&mut sending)
        } else {
            cases.add(&mut receiving)
        }
        cases.add(&mut late);
        match cases.wait() {
            Ok(1) => Got,
            Ok(2) => Late,
            _ => Cancelled,
        }
    };
    let give = move || if sends { outer.try_recv().unwrap_or_default() } else { sender.try_send(()).unwrap() };
    Thing { name, wait: Rc::new(wait), give: Rc::new(give), keeps: true }
}

fn queue(name: &'static str, pushes: bool) -> Thing {
    let queue = Arc::new(Queue::bounded(1));
    if pushes {
        queue.push(()).unwrap();
    }
    let inner = Arc::clone(&queue);
    let wait = move |until: Option<Instant>| {
        let until = until.unwrap_or_else(far);
        if pushes {
            match inner.push_deadline((), until) {
                Ok(()) => Got,
                Err(PushTimeoutError::Timeout(())) => Late,
                Err(_) => Cancelled,
            }
        } else {
            match inner.pop_deadline(until) {
                Ok(_) => Got,
                Err(PopTimeoutError::Timeout) => Late,
                Err(_) => Cancelled,
            }
        }
    };
    let give = move || if pushes { drop(queue.try_pop()) } else { queue.try_push(()).unwrap() };
    Thing { name, wait: Rc::new(wait), give: Rc::new(give), keeps: true }
}

fn semaphore(name: &'static str, count: usize) -> Thing {
    let semaphore = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&semaphore);
    let wait = move |until: Option<Instant>| match inner.acquire_deadline(count, until.unwrap_or_else(far)) {
        Ok(permit) => {
            permit.forget();
            Got
        }
        Err(error) => error.into(),
    };
    Thing { name, wait: Rc::new(wait), give: Rc::new(move || semaphore.add_permits(count).unwrap()), keeps: true }
}

fn mutex() -> Thing {
    let mutex: &'static Mutex<()> = Box::leak(Box::new(Mutex::new(())));
    let held = Cell::new(mutex.try_lock());
    let wait = move |until: Option<Instant>| match mutex.lock_deadline(until.unwrap_or_else(far)) {
        Ok(_guard) => Got,
        Err(error) => error.into(),
    };
    Thing { name: "mutex", wait: Rc::new(wait), give: Rc::new(move || drop(held.take())), keeps: true }
}

fn rwlock(name: &'static str, writes: bool) -> Thing {
    let lock: &'static RwLock<()> = Box::leak(Box::new(RwLock::new(())));
    let held = Cell::new(lock.try_write());
    let wait = move |until: Option<Instant>| {
        let until = until.unwrap_or_else(far);
        let taken = if writes { lock.write_deadline(until).map(drop) } else { lock.read_deadline(until).map(drop) };
        taken.map_or_else(Outcome::from, |()| Got)
    };
    Thing { name, wait: Rc::new(wait), give: Rc::new(move || drop(held.take())), keeps: true }
}

fn condvar() -> Thing {
    let shared = Arc::new((Mutex::new(()), Condvar::new()));
    let inner = Arc::clone(&shared);
    let wait = move |until: Option<Instant>| {
        let guard = inner.0.lock().unwrap();
        match inner.1.wait_deadline(guard, until.unwrap_or_else(far)) {
            Ok((_, result)) if result.timed_out() => Late,
            Ok(_) => Got,
            Err(_) => Cancelled,
        }
    };
    let give = move || {
        shared.1.notify_one();
    };
    Thing { name: "condvar", wait: Rc::new(wait), give: Rc::new(give), keeps: false }
}

/// Runs `test` with each primitive, in the plain order and under three seeds.
fn with_each(test: impl Fn(Thing)) {
    let things: [fn() -> Thing; 15] = [
        || receive("channel", usize::MAX),
        || receive("bounded", 1),
        || receive("rendezvous", 0),
        || send("room", 1),
        || send("receiver", 0),
        || choose("select to receive", false),
        || choose("select to send", true),
        || queue("queue", false),
        || queue("room in a queue", true),
        || semaphore("semaphore", 1),
        || semaphore("three permits", 3),
        mutex,
        || rwlock("read", false),
        || rwlock("write", true),
        condvar,
    ];
    for make in things {
        for seed in 0..4 {
            let config = Config::new().paused_clock(true).closed_world(true);
            let config = if seed == 0 { config } else { config.seed(seed) };
            let name = Cell::new("");
            let outcome = config.run(|| {
                let thing = make();
                name.set(thing.name);
                test(thing);
            });
            outcome.unwrap_or_else(|error| panic!("{}, seed {seed}: {error}", name.get()));
        }
    }
}

/// Yields until the task waits.
fn until_it_waits<T>(task: &JoinHandle<T>) {
    while !matches!(task.state(), TaskState::Waiting(_)) {
        yield_now();
    }
}

/// A task that waits in `around`.
fn waiting(thing: &Thing, around: impl FnOnce(&dyn Fn() -> Outcome) -> Outcome + 'static) -> JoinHandle<Outcome> {
    let wait = Rc::clone(&thing.wait);
    let task = spawn(move || around(&|| wait(None)));
    until_it_waits(&task);
    task
}

#[test]
fn waiter_cancelled_first_is_passed_over() {
    with_each(|thing| {
        let (mut a, mut b) = (waiting(&thing, |wait| wait()), waiting(&thing, |wait| wait()));
        a.cancel();
        (thing.give)();
        assert_eq!((a.join().unwrap(), b.join().unwrap()), (Cancelled, Got), "{}", thing.name);
    });
}

#[test]
fn waiter_given_first_keeps_it_though_cancelled() {
    with_each(|thing| {
        let (mut a, mut b) = (waiting(&thing, |wait| wait()), waiting(&thing, |wait| wait()));
        (thing.give)();
        a.cancel();
        assert_eq!(a.join().unwrap(), Got, "{}", thing.name);
        (thing.give)();
        assert_eq!(b.join().unwrap(), Got, "{}", thing.name);
    });
}

#[test]
fn what_only_cancelled_waiters_want_stays() {
    with_each(|thing| {
        let mut all = [waiting(&thing, |wait| wait()), waiting(&thing, |wait| wait())];
        assert!(all.iter().all(JoinHandle::cancel));
        (thing.give)();
        if thing.keeps {
            assert_eq!((thing.wait)(None), Got, "{}", thing.name);
        }
        assert_eq!(all.each_mut().map(|task| task.join().unwrap()), [Cancelled; 2], "{}", thing.name);
    });
}

#[test]
fn shielded_waiter_is_given_though_cancelled() {
    with_each(|thing| {
        let mut a = waiting(&thing, |wait| shield(wait));
        let mut b = waiting(&thing, |wait| wait());
        a.cancel();
        (thing.give)();
        assert_eq!(a.join().unwrap(), Got, "{}", thing.name);
        b.cancel();
        b.join().unwrap();
    });
}

#[test]
fn waiter_of_a_cancelled_scope_is_passed_over() {
    with_each(|thing| {
        let (give, wait) = (Rc::clone(&thing.give), Rc::clone(&thing.wait));
        let behind = waiting_after(&thing);
        let mut a = spawn(move || {
            scope(|scope| {
                scope.spawn(move || {
                    let mut b = behind();
                    scope.cancel();
                    give();
                    shield(|| b.join()).unwrap()
                });
                wait(None)
            })
            .unwrap()
        });
        assert_eq!(a.join().unwrap(), Cancelled, "{}", thing.name);
    });
}

/// Returns a function that spawns a task which waits last, and must get the grant.
fn waiting_after(thing: &Thing) -> impl FnOnce() -> JoinHandle<()> + 'static {
    let thing = thing.clone();
    move || {
        let name = thing.name;
        let mut b = waiting(&thing, |wait| wait());
        spawn(move || assert_eq!(b.join().unwrap(), Got, "{name}"))
    }
}

/// Makes a grant at the moment of a deadline, from a task that the same check of the timers has woken.
fn at_a_deadline(thing: &Thing, wait: impl FnOnce(&Thing, Instant) -> Outcome + 'static) -> Outcome {
    let (at, give) = (now() + s(5), Rc::clone(&thing.give));
    let giver = spawn(move || {
        sleep_until(at).unwrap();
        give();
    });
    until_it_waits(&giver);
    let inner = thing.clone();
    let mut a = spawn(move || wait(&inner, at));
    until_it_waits(&a);
    let mut b = waiting(thing, |wait| wait());
    assert_eq!(b.join().unwrap(), Got, "{}", thing.name);
    assert_eq!(now(), at);
    a.join().unwrap()
}

#[test]
fn waiter_past_its_deadline_is_passed_over() {
    with_each(|thing| {
        let outcome = at_a_deadline(&thing, |thing, at| (thing.wait)(Some(at)));
        assert_eq!(outcome, Late, "{}", thing.name);
    });
}

#[test]
fn waiter_past_a_timeout_around_it_is_passed_over() {
    with_each(|thing| {
        let outcome = at_a_deadline(&thing, |thing, at| {
            let outcome = timeout(at - now(), || (thing.wait)(None));
            outcome.expect_err("its deadline ended the wait").value
        });
        assert_eq!(outcome, Cancelled, "{}", thing.name);
    });
}

#[test]
fn deadline_moved_before_it_came_does_not_count() {
    with_each(|thing| {
        let moved: Rc<Cell<bool>> = Rc::default();
        let (told, wait, give) = (Rc::clone(&moved), Rc::clone(&thing.wait), Rc::clone(&thing.give));
        let mut a = spawn(move || {
            let outcome = cede::task::deadline(now() + s(5), |deadline| {
                scope(|scope| {
                    scope.spawn(|| {
                        // Woken at the same moment as the waiter, or before: its deadline has been moved away.
                        sleep_until(now() + s(4)).unwrap();
                        deadline.reschedule(None);
                        told.set(true);
                        sleep_until(now() + s(4)).unwrap();
                        give();
                    });
                    wait(None)
                })
                .unwrap()
            });
            outcome.expect("it never came")
        });
        assert_eq!((a.join().unwrap(), moved.get()), (Got, true), "{}", thing.name);
    });
}

/// A waiter that was skipped because of its deadline stays skipped, even if the deadline is moved before the waiter runs again.
#[test]
fn waiter_passed_over_stays_so_when_its_deadline_moves() {
    with_each(|thing| {
        if thing.name == "select to receive" || thing.name == "select to send" {
            return; // A select may find its case ready when it runs again, and take it.
        }
        let (give, wait) = (Rc::clone(&thing.give), Rc::clone(&thing.wait));
        let behind = waiting_after(&thing);
        let at = now() + s(5);
        let mut a = spawn(move || {
            let outcome = cede::task::deadline(at, |deadline| {
                scope(|scope| {
                    scope.spawn(|| {
                        shield(|| {
                            let mut b = behind();
                            sleep_until(at).unwrap();
                            give();
                            deadline.reschedule(None);
                            b.join().unwrap();
                        });
                    });
                    wait(None)
                })
                .unwrap()
            });
            outcome.unwrap_or_else(|elapsed| elapsed.value)
        });
        assert_eq!(a.join().unwrap(), Cancelled, "{}", thing.name);
    });
}

#[test]
fn closing_tells_a_cancelled_waiter_of_its_cancel() {
    for seed in 0..4 {
        let config = Config::new().paused_clock(true);
        let config = if seed == 0 { config } else { config.seed(seed) };
        let outcome = config.run(|| {
            let (sender, receiver) = channel::unbounded::<()>();
            let inner = receiver.clone();
            let mut cancelled = spawn(move || inner.recv());
            let mut healthy = spawn(move || receiver.recv());
            let (event, promise) = (Arc::new(Event::new()), Promise::new());
            let (inner, completion) = (Arc::clone(&event), promise.completion());
            let mut at_event = spawn(move || inner.wait());
            let mut at_promise = spawn(move || completion.wait().copied().map_err(|error| error.to_string()));
            until_it_waits(&cancelled);
            until_it_waits(&healthy);
            until_it_waits(&at_event);
            until_it_waits(&at_promise);
            let completion = promise.completion();
            cancelled.cancel();
            at_event.cancel();
            at_promise.cancel();
            sender.close();
            event.set();
            promise.set(1).unwrap();
            assert_eq!(cancelled.join().unwrap(), Err(RecvError::Cancelled));
            assert_eq!(healthy.join().unwrap(), Err(RecvError::Disconnected));
            assert!(at_event.join().unwrap().is_err() && at_promise.join().unwrap().is_err());
            assert_eq!(*completion.wait().unwrap(), 1, "the value is there");
        });
        outcome.unwrap();
    }
}

#[test]
fn barrier_does_not_count_the_interrupted() {
    for seed in 0..4 {
        let config = Config::new().paused_clock(true);
        let config = if seed == 0 { config } else { config.seed(seed) };
        let outcome = config.run(|| {
            let barrier = Arc::new(Barrier::new(3));
            let one = || {
                let barrier = Arc::clone(&barrier);
                let task = spawn(move || barrier.wait().map(|result| result.rank()).ok());
                until_it_waits(&task);
                task
            };
            let (mut a, mut b) = (one(), one());
            a.cancel();
            assert_eq!(barrier.waiting(), 1);
            let mut c = one();
            assert!(!b.is_finished(), "only two tasks wait at the barrier");
            assert_eq!(barrier.wait().map(|result| result.rank()), Ok(2));
            assert_eq!([a.join().unwrap(), b.join().unwrap(), c.join().unwrap()], [None, Some(0), Some(1)]);
            assert_eq!(barrier.waiting(), 0);
            // A waiter that the count skips leaves the count once.
            let mut a = one();
            a.cancel();
            assert_eq!(barrier.waiting(), 0);
            assert_eq!(a.join().unwrap(), None);
            let mut rest = [one(), one()];
            assert_eq!(barrier.waiting(), 2);
            assert!(barrier.wait().is_ok());
            assert_eq!(rest.each_mut().map(|task| task.join().unwrap()), [Some(0), Some(1)]);
        });
        outcome.unwrap();
    }
}

/// asyncio: test_acquire_hang. A large request that was cancelled does not block a smaller one.
#[test]
fn small_wish_behind_a_cancelled_large_one_is_met() {
    for seed in 0..4 {
        let config = Config::new().paused_clock(true);
        let config = if seed == 0 { config } else { config.seed(seed) };
        let outcome = config.run(|| {
            let semaphore = Arc::new(Semaphore::new(0));
            let one = |count| {
                let semaphore = Arc::clone(&semaphore);
                let task = spawn(move || semaphore.acquire_many(count).map(|permit| permit.forget()).is_ok());
                until_it_waits(&task);
                task
            };
            let (mut large, mut small) = (one(10), one(2));
            large.cancel();
            semaphore.add_permits(2).unwrap();
            assert_eq!(semaphore.available_permits(), 0, "the small request was granted at once");
            assert_eq!((large.join().unwrap(), small.join().unwrap()), (false, true));
        });
        outcome.unwrap();
    }
}

/// A select that is cancelled is skipped in all of its wait queues, and its message is returned.
#[test]
fn select_cancelled_first_sends_and_receives_nothing() {
    for seed in 0..4 {
        let config = Config::new().paused_clock(true);
        let config = if seed == 0 { config } else { config.seed(seed) };
        let outcome = config.run(|| {
            let (out, taken) = channel::rendezvous::<Rc<()>>();
            let (given, input) = channel::rendezvous::<i32>();
            let message = Rc::new(());
            let own = RefCell::new(Some(Rc::clone(&message)));
            let task = spawn(move || {
                let mut own = own.borrow_mut();
                let chosen = select! {
                    send_from(out, &mut *own) -> _ => false,
                    recv(input) -> _ => false,
                };
                (chosen.unwrap_or(true), own.is_some())
            });
            until_it_waits(&task);
            let mut task = task;
            task.cancel();
            assert!(taken.try_recv().is_err() && given.try_send(1).is_err());
            assert_eq!(task.join().unwrap(), (true, true));
            assert_eq!(Rc::strong_count(&message), 1);
        });
        outcome.unwrap();
    }
}

/// The control block of a task of another run belongs to that thread. A grant from another thread goes to the first waiter,
/// cancelled or not, and nothing is lost.
#[test]
fn what_another_thread_gives_is_not_lost() {
    let (sender, receiver) = channel::unbounded();
    let outcome = cede::run(|| {
        let inner = receiver.clone();
        let mut a = spawn(move || inner.recv());
        until_it_waits(&a);
        a.cancel();
        std::thread::scope(|scope| scope.spawn(|| sender.send(7)).join().unwrap()).unwrap();
        let taken = a.join().unwrap();
        taken.or_else(|_| receiver.recv_timeout(Duration::from_secs(20)))
    });
    assert_eq!(outcome, Ok(7));
}
