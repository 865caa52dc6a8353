//! Locks that one run uses alone: the run records that it holds them by a mark. Tasks of the run, other threads and the code after the
//! run find the same lock as without the mark.

use cede::sync::{Mutex, RwLock, Semaphore};
use std::sync::mpsc;
use std::thread;

/// Calls `look` in another thread, and returns its result.
fn elsewhere<R: Send>(look: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(look).join().unwrap())
}

/// The first lock gives the run the bias, so that the second one leaves a mark.
fn mutex_of_this_run() -> Mutex<u32> {
    let mutex = Mutex::new(0);
    *mutex.lock().unwrap() += 1;
    mutex
}

#[test]
fn marked_mutex_is_locked_for_its_task() {
    cede::run(|| {
        let mutex = mutex_of_this_run();
        let guard = mutex.lock().unwrap();
        assert!(mutex.is_locked() && mutex.try_lock().is_none());
        drop(guard);
        assert!(!mutex.is_locked() && mutex.try_lock().is_some());
    });
}

#[test]
fn marked_mutex_is_granted_to_the_next_task() {
    cede::run(|| {
        let mutex = mutex_of_this_run();
        let guard = mutex.lock().unwrap();
        cede::scope(|scope| {
            let mut next = scope.spawn(|| *mutex.lock().unwrap() += 1);
            cede::yield_now();
            assert!(!next.is_finished());
            drop(guard);
            next.join().unwrap();
        })
        .unwrap();
        assert_eq!(mutex.into_inner(), 2);
    });
}

#[test]
fn marked_mutex_is_locked_for_other_threads() {
    cede::run(|| {
        let mutex = mutex_of_this_run();
        let guard = mutex.lock().unwrap();
        assert!(elsewhere(|| mutex.try_lock().is_none()));
        drop(guard);
        assert!(elsewhere(|| mutex.try_lock().is_some()));
    });
}

#[test]
fn thread_waits_for_a_marked_mutex() {
    let mutex = Mutex::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let waiting = cede::run(|| {
            *mutex.lock().unwrap() += 1;
            let mut guard = mutex.lock().unwrap();
            let waiting = scope.spawn(|| {
                sender.send(()).unwrap();
                *mutex.lock().unwrap() *= 10;
            });
            receiver.recv().unwrap();
            *guard += 1;
            waiting
        });
        waiting.join().unwrap();
    });
    assert_eq!(mutex.into_inner(), 20);
}

/// The guard outlives the run whose mark it stands for.
#[test]
fn marked_guard_is_dropped_after_the_run() {
    let mutex = Mutex::new(0);
    let guard = cede::run(|| {
        drop(mutex.lock().unwrap());
        mutex.lock().unwrap()
    });
    assert!(elsewhere(|| mutex.try_lock().is_none()));
    drop(guard);
    assert!(elsewhere(|| mutex.try_lock().is_some()));
    let guard = cede::run(|| mutex.lock().unwrap());
    assert!(mutex.is_locked());
    drop(guard);
    assert!(!mutex.is_locked());
}

#[test]
fn marked_reader_excludes_writers_alone() {
    cede::run(|| {
        let lock = RwLock::new(());
        drop(lock.read().unwrap());
        let guard = lock.read().unwrap();
        let second = lock.try_read();
        assert!(second.is_some() && lock.try_write().is_none());
        drop(second);
        drop(guard);
        let guard = lock.read().unwrap();
        assert!(elsewhere(|| lock.try_write().is_none() && lock.try_read().is_some()));
        drop(guard);
        assert!(elsewhere(|| lock.try_write().is_some()));
    });
}

#[test]
fn marked_writer_excludes_readers() {
    cede::run(|| {
        let lock = RwLock::new(0);
        drop(lock.write().unwrap());
        let guard = lock.write().unwrap();
        assert!(lock.try_read().is_none() && lock.try_write().is_none());
        drop(guard);
        let guard = cede::sync::RwLockWriteGuard::downgrade(lock.write().unwrap());
        assert!(lock.try_read().is_some() && lock.try_write().is_none());
        drop(guard);
        let guard = lock.write().unwrap();
        assert!(elsewhere(|| lock.try_read().is_none()));
        drop(guard);
        assert!(elsewhere(|| lock.try_write().is_some()));
    });
}

#[test]
fn marked_permit_is_counted() {
    cede::run(|| {
        let semaphore = Semaphore::new(2);
        drop(semaphore.acquire().unwrap());
        let permit = semaphore.acquire().unwrap();
        assert_eq!(semaphore.available_permits(), 1);
        assert!(semaphore.try_acquire_many(2).is_none());
        let second = semaphore.acquire().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        drop(permit);
        drop(second);
        assert_eq!(semaphore.available_permits(), 2);
        let permit = semaphore.acquire().unwrap();
        assert_eq!(elsewhere(|| semaphore.available_permits()), 1);
        drop(permit);
        assert_eq!(elsewhere(|| semaphore.available_permits()), 2);
    });
}

#[test]
fn forgotten_marked_permit_is_gone() {
    cede::run(|| {
        let semaphore = Semaphore::new(2);
        drop(semaphore.acquire().unwrap());
        semaphore.acquire().unwrap().forget();
        assert_eq!(semaphore.available_permits(), 1);
        let mut permit = semaphore.acquire().unwrap();
        let split = permit.split(1).unwrap();
        drop(permit);
        assert_eq!(semaphore.available_permits(), 0);
        drop(split);
        assert_eq!(semaphore.available_permits(), 1);
    });
}
