//! Notifications and the other small types of `sync` against plain models, in the manner of `sync_models`: by tasks of one run with
//! random cancels and deadlines, and by plain threads and the tasks of two runs at once.

mod common;

use cede::sync::once_cell::{InitError, OnceCell};
use cede::sync::{CancellationToken, Event, Notify, WaitGroup, WaitTimeoutError, watch};
use cede::task::is_cancelled;
use common::random::Random;
use common::storm::{Waiter, check, crowd, deadline, pause, storm, take_first};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const SLOW: bool = cfg!(any(feature = "asan", target_arch = "aarch64"));
const OPERATIONS: u64 = if SLOW { 20_000 } else { 100_000 };
/// Fewer for callers on several threads, whose waits take real time.
const CROWD: u64 = OPERATIONS / 10;

/// A wait of a caller of `crowd`: it has passed already, or soon passes.
fn short(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(200) as u64)
}

/// Takes all waiters that are not skipped out of the queue of a model.
fn take_all<T>(line: &mut VecDeque<Waiter<T>>) -> Vec<u64> {
    std::iter::from_fn(|| take_first(line)).map(|waiter| waiter.call).collect()
}

/// Removes the call from the list, and returns whether it was there.
fn take_call(calls: &mut Vec<u64>, call: u64) -> bool {
    let place = calls.iter().position(|other| *other == call);
    place.map(|place| calls.swap_remove(place)).is_some()
}

/// Asserts that the outcome of a wait is that of the model: `Ok` if and only if the call was woken.
fn compare<T>(
    outcome: Result<(), WaitTimeoutError>,
    call: u64,
    woken: &mut Vec<u64>,
    line: &mut VecDeque<Waiter<T>>,
    until: Option<std::time::Instant>,
) {
    assert_eq!(outcome.is_ok(), take_call(woken, call), "{outcome:?}");
    if let Err(error) = outcome {
        check(error, until);
        line.retain(|waiter| waiter.call != call);
    }
}

#[test]
fn a_notification_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        permit: bool,
        line: VecDeque<Waiter<()>>,
        woken: Vec<u64>,
    }
    let (notify, model) = (Arc::new(Notify::new()), Rc::new(RefCell::new(Model::default())));
    let end = Rc::clone(&model);
    let waits = Rc::new(Cell::new(0));
    let counted = Rc::clone(&waits);
    storm(OPERATIONS, 11, move |call, random, told| match random.below(8) {
        0..2 => {
            let mut model = model.borrow_mut();
            match take_first(&mut model.line) {
                Some(waiter) => model.woken.push(waiter.call),
                None => model.permit = true,
            }
            notify.notify_one();
        }
        2 => {
            let mut model = model.borrow_mut();
            let all = take_all(&mut model.line);
            model.woken.extend(all);
            notify.notify_waiters();
        }
        3 => pause(random),
        _ => {
            let until = deadline(random);
            let has_permit = std::mem::take(&mut model.borrow_mut().permit);
            if has_permit {
                model.borrow_mut().woken.push(call);
            } else {
                model.borrow_mut().line.push_back(Waiter::new(call, until, told, ()));
            }
            let outcome = match until {
                Some(until) => notify.notified_deadline(until),
                None => notify.notified().map_err(WaitTimeoutError::from),
            };
            counted.set(counted.get() + u64::from(outcome.is_ok()));
            let Model { line, woken, .. } = &mut *model.borrow_mut();
            compare(outcome, call, woken, line, until);
        }
    });
    assert!(end.borrow().line.is_empty() && end.borrow().woken.is_empty());
    assert!(waits.get() > OPERATIONS / 10);
}

#[test]
fn a_crowd_consumes_each_notification_at_most_once() {
    let (notify, sent, consumed) = (Notify::new(), AtomicU64::new(0), AtomicU64::new(0));
    crowd(CROWD, 12, |random| {
        if random.below(2) == 0 {
            sent.fetch_add(1, SeqCst);
            notify.notify_one();
        } else if notify.notified_timeout(short(random)).is_ok() {
            consumed.fetch_add(1, SeqCst);
        }
    });
    let left = u64::from(notify.notified_timeout(Duration::ZERO).is_ok());
    assert!(consumed.load(SeqCst) + left <= sent.load(SeqCst));
    assert!(consumed.load(SeqCst) > CROWD / 20, "{consumed:?} of {sent:?}");
}

/// One cell after the other: some initializers fail, some are cancelled in their wait, and one value is stored.
#[test]
fn a_cell_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        cell: Rc<OnceCell<u64>>,
        value: Option<u64>,
        loader: Option<u64>,
        line: VecDeque<Waiter<()>>,
    }
    let (model, finished) = (Rc::new(RefCell::new(Model::default())), Rc::new(Cell::new(0)));
    let (end, counted) = (Rc::clone(&model), Rc::clone(&finished));
    storm(OPERATIONS, 13, move |call, random, told| {
        let cell = {
            let mut model = model.borrow_mut();
            if model.value.is_some() && random.below(4) == 0 {
                // The model begins again. Callers of the former cell have its value already, or get it without a wait.
                *model = Model::default();
                counted.set(counted.get() + 1);
            }
            Rc::clone(&model.cell)
        };
        if random.below(8) == 0 {
            let mut model = model.borrow_mut();
            let can = model.value.is_none() && model.loader.is_none();
            assert_eq!(cell.set(call).is_ok(), can);
            if can {
                model.value = Some(call);
            }
            return;
        }
        let waits = {
            let mut model = model.borrow_mut();
            let waits = model.value.is_none() && model.loader.is_some();
            match (model.value, model.loader) {
                (None, None) => model.loader = Some(call),
                (None, Some(_)) => model.line.push_back(Waiter::new(call, None, told, ())),
                _ => {}
            }
            waits
        };
        let mut has_loaded = false;
        let load = || {
            has_loaded = true;
            assert_eq!(model.borrow().loader, Some(call), "the model names another loader");
            pause(random);
            let is_stored = random.below(3) == 0;
            let mut model = model.borrow_mut();
            if is_stored {
                (model.value, model.loader) = (Some(call), None);
                model.line.clear();
                Ok(call)
            } else {
                model.loader = take_first(&mut model.line).map(|next| next.call);
                Err(call)
            }
        };
        let outcome = cell.get_or_try_init(load);
        match outcome {
            Ok(value) => assert!(*value == call || !has_loaded, "the value of another caller"),
            Err(InitError::Failed(error)) => assert!(has_loaded && error == call, "the error of another caller"),
            Err(InitError::Cancelled) => {
                assert!(waits && !has_loaded && is_cancelled());
                model.borrow_mut().line.retain(|waiter| waiter.call != call);
            }
        }
    });
    assert!(end.borrow().loader.is_none() && end.borrow().line.is_empty());
    assert!(finished.get() > OPERATIONS / 100, "{finished:?}");
}

#[test]
fn a_crowd_initializes_each_cell_once() {
    const CELLS: usize = 500;
    let cells: Vec<OnceCell<u64>> = (0..CELLS).map(|_| OnceCell::new()).collect();
    let stored: Vec<_> = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
    let (calls, waits, never) = (AtomicU64::new(0), AtomicU64::new(0), Event::new());
    crowd(CROWD, 14, |random| {
        // Most calls are for the cells of the present.
        let one = (calls.fetch_add(1, SeqCst) as usize * CELLS / CROWD as usize + random.below(3)).min(CELLS - 1);
        let number = random.next();
        let mut is_cancelled_or_unlucky = false;
        let outcome = cells[one].get_or_try_init(|| {
            // A wait that is cancelled is an error of the initializer.
            let pause = never.wait_timeout(short(random));
            is_cancelled_or_unlucky = pause == Err(WaitTimeoutError::Cancelled) || random.below(2) == 0;
            if is_cancelled_or_unlucky { Err(()) } else { Ok(number) }
        });
        match outcome {
            Ok(value) if *value == number => _ = stored[one].fetch_add(1, SeqCst),
            Ok(_) => _ = waits.fetch_add(1, SeqCst),
            Err(InitError::Failed(())) => assert!(is_cancelled_or_unlucky, "the error of another caller"),
            Err(InitError::Cancelled) => assert!(is_cancelled()),
        }
    });
    assert!(stored.iter().all(|stored| stored.load(SeqCst) <= 1), "a value was stored twice");
    assert!(cells.iter().zip(&stored).all(|(cell, stored)| cell.is_set() == (stored.load(SeqCst) == 1)));
    assert!(waits.load(SeqCst) > 0);
}

/// A forest of tokens. The model has the parent of each token, and finds the cancelled ancestors anew each time.
#[test]
fn a_token_does_what_the_model_does() {
    struct Tree {
        tokens: Vec<CancellationToken>,
        parents: Vec<Option<usize>>,
        cancelled: Vec<bool>,
        lines: Vec<VecDeque<Waiter<()>>>,
        woken: Vec<u64>,
    }
    impl Tree {
        fn new() -> Tree {
            let tokens = vec![CancellationToken::new()];
            Tree {
                tokens,
                parents: vec![None],
                cancelled: vec![false],
                lines: vec![VecDeque::new()],
                woken: Vec::new(),
            }
        }

        fn is_cancelled(&self, one: usize) -> bool {
            std::iter::successors(Some(one), |one| self.parents[*one]).any(|one| self.cancelled[one])
        }
    }
    let (tree, waits) = (Rc::new(RefCell::new(Tree::new())), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&waits);
    storm(OPERATIONS, 15, move |call, random, told| {
        let mut model = tree.borrow_mut();
        let one = random.below(model.tokens.len());
        assert_eq!(model.tokens[one].is_cancelled(), model.is_cancelled(one));
        match random.below(12) {
            0..3 if model.tokens.len() < 40 => {
                let child = model.tokens[one].child_token();
                model.tokens.push(child);
                model.parents.push(Some(one));
                model.cancelled.push(false);
                model.lines.push(VecDeque::new());
            }
            0..3 if model.lines.iter().all(VecDeque::is_empty) && model.woken.is_empty() => *model = Tree::new(),
            3 => {
                let one = one.max(random.below(model.tokens.len()));
                model.cancelled[one] = true;
                for other in 0..model.tokens.len() {
                    if model.is_cancelled(other) {
                        let woken = take_all(&mut model.lines[other]);
                        model.woken.extend(woken);
                    }
                }
                model.tokens[one].cancel();
            }
            4..10 => {
                let (until, token) = (deadline(random), model.tokens[one].clone());
                if model.is_cancelled(one) {
                    model.woken.push(call);
                } else {
                    model.lines[one].push_back(Waiter::new(call, until, told, ()));
                }
                drop(model);
                let outcome = match until {
                    Some(until) => token.cancelled_deadline(until),
                    None => token.cancelled().map_err(WaitTimeoutError::from),
                };
                let Tree { lines, woken, .. } = &mut *tree.borrow_mut();
                compare(outcome.map(drop), call, woken, &mut lines[one], until);
                counted.set(counted.get() + 1);
            }
            _ => {
                drop(model);
                pause(random);
            }
        }
    });
    assert!(waits.get() > OPERATIONS / 4);
}

/// Threads and tasks create, cancel and drop tokens of one tree: a cancelled token has only cancelled children.
#[test]
fn a_crowd_shares_a_tree_of_tokens() {
    let places: Vec<_> = (0..16).map(|_| std::sync::Mutex::new(CancellationToken::new())).collect();
    let woken = AtomicU64::new(0);
    crowd(CROWD, 16, |random| {
        let token = places[random.below(places.len())].lock().unwrap().clone();
        match random.below(8) {
            0..3 => {
                let child = token.child_token();
                let is_cancelled = token.is_cancelled();
                token.cancel();
                assert!(child.is_cancelled(), "cancelled before: {is_cancelled}");
            }
            3..5 => *places[random.below(places.len())].lock().unwrap() = token.child_token(),
            5 => *places[random.below(places.len())].lock().unwrap() = CancellationToken::new(),
            _ => match token.cancelled_timeout(short(random)) {
                Ok(_) => _ = (woken.fetch_add(1, SeqCst), assert!(token.is_cancelled())),
                Err(error) => assert!(error == WaitTimeoutError::Timeout || is_cancelled()),
            },
        }
    });
    assert!(woken.load(SeqCst) > 0);
}

/// Handles that are kept for some time, and waits through some of them.
#[test]
fn a_wait_group_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        members: usize,
        line: VecDeque<Waiter<()>>,
        woken: Vec<u64>,
        /// The waiting handles of this round.
        waiting: usize,
        round: u64,
    }
    impl Model {
        fn remove_member(&mut self) -> bool {
            self.members -= 1;
            let ends = self.members == 0;
            if ends {
                self.members = std::mem::take(&mut self.waiting);
                self.round += 1;
                let woken = take_all(&mut self.line);
                self.woken.extend(woken);
            }
            ends
        }
    }
    let handles: Rc<RefCell<Vec<WaitGroup>>> = Rc::new(RefCell::new(vec![WaitGroup::new()]));
    let model = Rc::new(RefCell::new(Model { members: 1, ..Model::default() }));
    let (waits, ends) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let counted = (Rc::clone(&waits), Rc::clone(&ends));
    storm(OPERATIONS, 17, move |call, random, told| {
        let all = model.borrow().members + model.borrow().waiting;
        let free = handles.borrow().len();
        if free == 0 {
            return pause(random);
        }
        let one = random.below(free);
        match random.below(8) {
            0 if all < 5 => {
                let new = handles.borrow()[one].clone();
                handles.borrow_mut().push(new);
                model.borrow_mut().members += 1;
            }
            0..3 if all > 1 => {
                model.borrow_mut().remove_member();
                let member = handles.borrow_mut().swap_remove(one);
                drop(member);
            }
            3..7 => {
                let (until, handle) = (deadline(random), handles.borrow_mut().swap_remove(one));
                let round = {
                    let mut model = model.borrow_mut();
                    model.waiting += 1;
                    let round = model.round;
                    if model.remove_member() {
                        counted.1.set(counted.1.get() + 1);
                        model.woken.push(call);
                    } else {
                        model.line.push_back(Waiter::new(call, until, told, ()));
                    }
                    round
                };
                let outcome = match until {
                    Some(until) => handle.wait_deadline(until),
                    None => handle.wait().map_err(WaitTimeoutError::from),
                };
                handles.borrow_mut().push(handle);
                let mut model = model.borrow_mut();
                let Model { line, woken, .. } = &mut *model;
                compare(outcome, call, woken, line, until);
                if model.round == round {
                    model.waiting -= 1;
                    model.members += 1;
                }
                counted.0.set(counted.0.get() + u64::from(outcome.is_ok()));
            }
            _ => pause(random),
        }
        let model = model.borrow();
        let expected = format!("WaitGroup {{ members: {}, waiting: {} }}", model.members, model.waiting);
        assert!(handles.borrow().first().is_none_or(|handle| format!("{handle:?}") == expected), "{expected}");
    });
    assert!(waits.get() > ends.get() && ends.get() > OPERATIONS / 50, "{waits:?} {ends:?}");
}

/// Each round adds members that count up when they are done: a wait returns only when all of them have.
#[test]
fn a_crowd_waits_for_the_members_of_its_groups() {
    let waits = AtomicU64::new(0);
    let pool = std::sync::Mutex::new(Vec::new());
    crowd(CROWD, 18, |random| {
        if random.below(2) == 0 {
            let (group, done) = (WaitGroup::new(), Arc::new(AtomicU64::new(0)));
            let count = 1 + random.below(3) as u64;
            let members = (0..count).map(|_| (group.clone(), Arc::clone(&done)));
            pool.lock().unwrap().extend(members);
            match group.wait_timeout(short(random)) {
                Ok(()) => assert_eq!((done.load(SeqCst), waits.fetch_add(1, SeqCst)).0, count),
                Err(error) => assert!(error == WaitTimeoutError::Timeout || is_cancelled()),
            }
        } else {
            let member = pool.lock().unwrap().pop();
            if let Some((member, done)) = member {
                done.fetch_add(1, SeqCst);
                drop(member);
            }
        }
    });
    assert!(waits.load(SeqCst) > 0);
}

/// Each task has its own receiver. The model knows which values each of them has seen.
#[test]
fn a_watch_channel_does_what_the_model_does() {
    const SENDERS: usize = 3;
    /// A receiver, and the number of the value that it has seen.
    type Seen = (watch::Receiver<u64>, u64);
    #[derive(Default)]
    struct Model {
        value: u64,
        sent: u64,
        line: VecDeque<Waiter<()>>,
        woken: Vec<u64>,
    }
    impl Model {
        fn send(&mut self, value: u64) {
            self.value = value;
            self.sent += 1;
            let woken = take_all(&mut self.line);
            self.woken.extend(woken);
        }
    }
    let sender = watch::Sender::new(0u64);
    let senders: Vec<_> = (0..SENDERS).map(|_| sender.clone()).collect();
    let receivers: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let (model, waits) = (Rc::new(RefCell::new(Model::default())), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&waits);
    storm(OPERATIONS, 19, move |call, random, told| {
        let sender = &senders[random.below(SENDERS)];
        match random.below(10) {
            0 => {
                model.borrow_mut().send(call);
                sender.send_replace(call);
            }
            1 => {
                let value = model.borrow().value + 1;
                model.borrow_mut().send(value);
                sender.send_modify(|value| *value += 1);
            }
            2 => {
                let outcome = sender.send(call);
                assert_eq!(outcome.is_err(), sender.receiver_count() == 0);
                if outcome.is_ok() {
                    model.borrow_mut().send(call);
                }
            }
            3 => receivers.borrow_mut().push((sender.subscribe(), model.borrow().sent)),
            4 => drop(receivers.borrow_mut().pop()),
            5 => pause(random),
            _ => {
                let taken = receivers.borrow_mut().pop();
                let (mut receiver, seen) = taken.unwrap_or_else(|| (sender.subscribe(), model.borrow().sent));
                assert_eq!(receiver.has_changed(), seen != model.borrow().sent);
                let (until, before) = (deadline(random), model.borrow().sent);
                if seen == before {
                    model.borrow_mut().line.push_back(Waiter::new(call, until, told, ()));
                } else {
                    model.borrow_mut().woken.push(call);
                }
                let outcome = match until {
                    Some(until) => receiver.changed_deadline(until).map_err(|error| match error {
                        watch::RecvTimeoutError::Timeout => WaitTimeoutError::Timeout,
                        _ => WaitTimeoutError::Cancelled,
                    }),
                    None => receiver.changed().map_err(|_| WaitTimeoutError::Cancelled),
                };
                let Model { value, sent, line, woken } = &mut *model.borrow_mut();
                compare(outcome, call, woken, line, until);
                assert_eq!(*receiver.borrow(), *value);
                counted.set(counted.get() + u64::from(outcome.is_ok()));
                // A call that need not wait may yield after it has seen the value.
                let seen = match outcome {
                    Ok(()) if seen == before => *sent,
                    Ok(()) => before,
                    Err(_) => seen,
                };
                receivers.borrow_mut().push((receiver, seen));
            }
        }
    });
    assert!(waits.get() > OPERATIONS / 10, "{waits:?}");
}

#[test]
fn a_crowd_counts_up_a_watched_value() {
    let (sender, receiver) = watch::channel(0u64);
    let added = AtomicU64::new(0);
    crowd(CROWD, 20, |random| match random.below(3) {
        0 => {
            added.fetch_add(1, SeqCst);
            sender.send_modify(|value| *value += 1);
        }
        1 => {
            let (mut receiver, before) = (receiver.clone(), *receiver.borrow());
            if receiver.wait_for_timeout(short(random), |value| *value > before).is_ok() {
                assert!(*receiver.borrow() > before);
            }
        }
        _ => {
            let mut receiver = sender.subscribe();
            let before = *receiver.borrow_and_update();
            if receiver.changed_timeout(short(random)).is_ok() {
                assert!(*receiver.borrow() > before, "a change without a new value");
            }
        }
    });
    assert_eq!(*receiver.borrow(), added.load(SeqCst));
}
