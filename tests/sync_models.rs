//! Locks and queues against plain models, with random waits, cancels and deadlines: every outcome is that of the model, in the
//! model's order, and in the end nothing is lost. More than a million operations, the same in every run.
//!
//! A model holds the wait queue, from before each call until it returns, and knows which waiters are cancelled or past their
//! deadline. So it knows that a cancel or a deadline after a hand-off has no effect, and that a waiter which was interrupted
//! before it is skipped.

mod common;

use cede::sync::{Mutex, Queue, RwLock, Semaphore, WaitTimeoutError};
use cede::sync::{PopTimeoutError, PushTimeoutError, TryPopError, TryPushError};
use common::storm::{Waiter, check, deadline, first, pause, remove, storm, take_first};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

const OPERATIONS: u64 = if cfg!(feature = "asan") || cfg!(target_arch = "aarch64") { 20_000 } else { 260_000 };

#[test]
fn a_mutex_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        holder: Option<u64>,
        line: VecDeque<Waiter<()>>,
    }
    let (mutex, model) = (Arc::new(Mutex::new(0u64)), Rc::new(RefCell::new(Model::default())));
    let (outer, end) = (Arc::clone(&mutex), Rc::clone(&model));
    let count = Rc::new(Cell::new(0));
    let inside = Rc::clone(&count);
    storm(OPERATIONS, 1, move |call, random, told| {
        let free = model.borrow().holder.is_none();
        let guard = if random.below(4) == 0 {
            let guard = mutex.try_lock();
            assert_eq!(guard.is_some(), free);
            if free {
                model.borrow_mut().holder = Some(call);
            }
            guard
        } else {
            let until = deadline(random);
            if free {
                model.borrow_mut().holder = Some(call);
            } else {
                model.borrow_mut().line.push_back(Waiter::new(call, until, told, ()));
            }
            let locked = match until {
                Some(until) => mutex.lock_deadline(until),
                None => mutex.lock().map_err(WaitTimeoutError::from),
            };
            assert!(!free || locked.is_ok(), "the lock was free");
            locked.map_err(|error| (check(error, until), remove(&mut model.borrow_mut().line, call))).ok()
        };
        let Some(mut guard) = guard else { return };
        assert_eq!(model.borrow().holder, Some(call));
        let before = *guard;
        pause(random);
        assert_eq!(*guard, before, "another holder was inside");
        *guard += 1;
        inside.set(inside.get() + 1);
        let mut model = model.borrow_mut();
        model.holder = take_first(&mut model.line).map(|next| next.call);
        drop(guard);
    });
    assert_eq!((*outer.try_lock().unwrap(), end.borrow().holder, end.borrow().line.len()), (count.get(), None, 0));
    assert!(count.get() > OPERATIONS / 10);
}

#[test]
fn a_read_write_lock_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        readers: Vec<u64>,
        writer: Option<u64>,
        line: VecDeque<Waiter<bool>>,
    }
    impl Model {
        fn admits(&self, writes: bool) -> bool {
            self.writer.is_none() && (!writes || self.readers.is_empty())
        }

        fn enter(&mut self, call: u64, writes: bool) {
            if writes {
                self.writer = Some(call);
            } else {
                self.readers.push(call);
            }
        }

        fn admit(&mut self) {
            while let Some(place) = first(&self.line).filter(|place| self.admits(self.line[*place].what)) {
                let Waiter { call, what: writes, .. } = self.line.remove(place).unwrap();
                self.enter(call, writes);
            }
        }
    }
    enum Guard<'a> {
        Read(cede::sync::RwLockReadGuard<'a, u64>),
        Write(cede::sync::RwLockWriteGuard<'a, u64>),
    }
    let (lock, model) = (Arc::new(RwLock::new(0u64)), Rc::new(RefCell::new(Model::default())));
    let (outer, end) = (Arc::clone(&lock), Rc::clone(&model));
    let writes_done = Rc::new(Cell::new(0));
    let counted = Rc::clone(&writes_done);
    storm(OPERATIONS, 2, move |call, random, told| {
        let writes = random.below(3) == 0;
        let free = first(&model.borrow().line).is_none() && model.borrow().admits(writes);
        let until = deadline(random);
        let trying = random.below(4) == 0;
        if free {
            model.borrow_mut().enter(call, writes);
        } else if !trying {
            model.borrow_mut().line.push_back(Waiter::new(call, until, told, writes));
        }
        let guard = match (trying, writes, until) {
            (true, false, _) => lock.try_read().map(Guard::Read).ok_or(None),
            (true, true, _) => lock.try_write().map(Guard::Write).ok_or(None),
            (_, false, Some(until)) => lock.read_deadline(until).map(Guard::Read).map_err(Some),
            (_, true, Some(until)) => lock.write_deadline(until).map(Guard::Write).map_err(Some),
            (_, false, None) => lock.read().map(Guard::Read).map_err(|error| Some(error.into())),
            (_, true, None) => lock.write().map(Guard::Write).map_err(|error| Some(error.into())),
        };
        assert!(!free || guard.is_ok(), "the lock was free");
        let guard = match guard {
            Ok(guard) => guard,
            Err(None) => return,
            Err(Some(error)) => {
                check(error, until);
                let mut model = model.borrow_mut();
                remove(&mut model.line, call);
                return model.admit();
            }
        };
        let is_in = if writes { model.borrow().writer == Some(call) } else { model.borrow().readers.contains(&call) };
        assert!(is_in, "the wait ended out of order");
        match guard {
            Guard::Read(value) => {
                let before = *value;
                pause(random);
                assert_eq!(*value, before, "a writer was inside");
                model.borrow_mut().readers.retain(|reader| *reader != call);
            }
            Guard::Write(mut value) => {
                let before = *value;
                pause(random);
                assert_eq!(*value, before, "another holder was inside");
                *value += 1;
                counted.set(counted.get() + 1);
                model.borrow_mut().writer = None;
            }
        }
        model.borrow_mut().admit();
    });
    assert_eq!(*outer.try_write().unwrap(), writes_done.get());
    assert!(end.borrow().line.is_empty() && end.borrow().readers.is_empty() && writes_done.get() > OPERATIONS / 20);
}

#[test]
fn a_semaphore_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        available: usize,
        had: Vec<u64>,
        line: VecDeque<Waiter<usize>>,
    }
    impl Model {
        fn admit(&mut self) {
            while let Some(place) = first(&self.line).filter(|place| self.line[*place].what <= self.available) {
                let Waiter { call, what: count, .. } = self.line.remove(place).unwrap();
                self.enter(call, count);
            }
        }

        fn enter(&mut self, call: u64, count: usize) {
            self.available -= count;
            self.had.push(call);
        }
    }
    let model = Model { available: 4, ..Model::default() };
    let (semaphore, model) = (Arc::new(Semaphore::bounded(4)), Rc::new(RefCell::new(model)));
    let (outer, end) = (Arc::clone(&semaphore), Rc::clone(&model));
    let taken = Rc::new(Cell::new(0));
    let counted = Rc::clone(&taken);
    storm(OPERATIONS, 3, move |call, random, told| {
        let count = 1 + random.below(4).min(random.below(4));
        let trying = random.below(4) == 0;
        let free = first(&model.borrow().line).is_none() && model.borrow().available >= count;
        let until = deadline(random);
        if free {
            model.borrow_mut().enter(call, count);
        } else if !trying {
            model.borrow_mut().line.push_back(Waiter::new(call, until, told, count));
        }
        let permit = match (trying, until) {
            (true, _) => semaphore.try_acquire_many(count).ok_or(None),
            (_, Some(until)) => semaphore.acquire_deadline(count, until).map_err(Some),
            (_, None) => semaphore.acquire_many(count).map_err(|error| Some(error.into())),
        };
        assert!(!free || permit.is_ok(), "there were enough permits");
        let permit = match permit {
            Ok(permit) => permit,
            Err(None) => return,
            Err(Some(error)) => {
                check(error, until);
                let mut model = model.borrow_mut();
                remove(&mut model.line, call);
                return model.admit();
            }
        };
        assert!(model.borrow().had.contains(&call), "the wait ended out of order");
        counted.set(counted.get() + 1);
        pause(random);
        assert!(semaphore.add_permits(1).is_err(), "the semaphore never exceeds its bound");
        let mut model = model.borrow_mut();
        model.had.retain(|other| *other != call);
        model.available += count;
        model.admit();
        drop(permit);
        assert_eq!(semaphore.available_permits(), model.available);
    });
    assert_eq!((outer.available_permits(), end.borrow().line.len(), end.borrow().had.len()), (4, 0, 0));
    assert!(taken.get() > OPERATIONS / 10);
}

#[test]
fn a_queue_does_what_the_model_does() {
    #[derive(Default)]
    struct Model {
        items: VecDeque<u64>,
        pushers: VecDeque<Waiter<()>>,
        poppers: VecDeque<Waiter<()>>,
        /// Items that were handed off: the popper, and the item.
        promised: Vec<(u64, u64)>,
    }
    const CAPACITY: usize = 3;
    let (queue, model) = (Arc::new(Queue::bounded(CAPACITY)), Rc::new(RefCell::new(Model::default())));
    let (outer, end) = (Arc::clone(&queue), Rc::clone(&model));
    let (pushed, returned, popped) = (Rc::new(Cell::new(0u64)), Rc::new(Cell::new(0u64)), Rc::new(Cell::new(0u64)));
    let (sent, back, received) = (Rc::clone(&pushed), Rc::clone(&returned), Rc::clone(&popped));
    storm(OPERATIONS, 4, move |call, random, told| {
        let until = deadline(random);
        let trying = random.below(4) == 0;
        if random.below(2) == 0 {
            sent.set(sent.get() + 1);
            let mut model_now = model.borrow_mut();
            let popper = take_first(&mut model_now.poppers);
            let free = popper.is_some() || model_now.items.len() < CAPACITY;
            match popper {
                Some(popper) => model_now.promised.push((popper.call, call)),
                None if free => model_now.items.push_back(call),
                None if trying => {}
                None => model_now.pushers.push_back(Waiter::new(call, until, told, ())),
            }
            drop(model_now);
            let outcome = match (trying, until) {
                (true, _) => queue.try_push(call).map_err(|error| match error {
                    TryPushError::Full(item) => (item, None),
                    TryPushError::Closed(_) => unreachable!(),
                }),
                (_, Some(until)) => queue.push_deadline(call, until).map_err(|error| match error {
                    PushTimeoutError::Timeout(item) => (item, Some(WaitTimeoutError::Timeout)),
                    error => (error.into_inner(), Some(cede::task::Cancelled.into())),
                }),
                (_, None) => queue.push(call).map_err(|error| (error.into_inner(), Some(cede::task::Cancelled.into()))),
            };
            assert!(!free || outcome.is_ok(), "there was room");
            if let Err((item, error)) = outcome {
                assert_eq!(item, call, "the item of the pusher is returned");
                back.set(back.get() + 1);
                if let Some(error) = error {
                    check(error, until);
                    remove(&mut model.borrow_mut().pushers, call);
                }
            }
        } else {
            let mut model_now = model.borrow_mut();
            let expected = model_now.items.pop_front();
            if expected.is_none() && !trying {
                model_now.poppers.push_back(Waiter::new(call, until, told, ()));
            }
            if let Some(pusher) = expected.and_then(|_| take_first(&mut model_now.pushers)) {
                model_now.items.push_back(pusher.call);
            }
            drop(model_now);
            let outcome = match (trying, until) {
                (true, _) => queue.try_pop().map_err(|error| (assert_eq!(error, TryPopError::Empty), None).1),
                (_, Some(until)) => queue.pop_deadline(until).map_err(|error| match error {
                    PopTimeoutError::Timeout => Some(WaitTimeoutError::Timeout),
                    _ => Some(cede::task::Cancelled.into()),
                }),
                (_, None) => queue.pop().map_err(|_| Some(cede::task::Cancelled.into())),
            };
            assert!(expected.is_none() || outcome.is_ok(), "there was an item");
            match outcome {
                Ok(job) => {
                    let promised = || remove_promise(&mut model.borrow_mut().promised, call);
                    assert_eq!(*job, expected.unwrap_or_else(promised), "another one's item");
                    received.set(received.get() + 1);
                    pause(random);
                }
                Err(None) => {}
                Err(Some(error)) => {
                    check(error, until);
                    remove(&mut model.borrow_mut().poppers, call);
                }
            }
        }
    });
    let left = outer.len() as u64;
    assert_eq!(outer.unfinished() as u64, left, "every job is done");
    assert_eq!(outer.close_now(), Vec::from(std::mem::take(&mut end.borrow_mut().items)));
    assert_eq!(pushed.get(), popped.get() + returned.get() + left, "every item is popped, returned or left");
    assert!(popped.get() > OPERATIONS / 10);
}

fn remove_promise(promised: &mut Vec<(u64, u64)>, call: u64) -> u64 {
    let place = promised.iter().position(|(popper, _)| *popper == call).expect("an item was handed off to the popper");
    promised.swap_remove(place).1
}
