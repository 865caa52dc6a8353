//! Read-write locks.

mod common;

use cede::sync::{RwLock, RwLockWriteGuard};
use cede::task::TaskState;
use cede::{Config, spawn, yield_now};
use common::witness::Log;
use common::worlds::in_all_worlds;
use common::{deadlock, emulated, named, rounds};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[test]
fn readers_share_and_a_writer_in_line_is_not_overtaken() {
    let (lock, log) = (Arc::new(RwLock::new(0)), Log::default());
    cede::run(|| {
        let (first, second) = (lock.read().unwrap(), lock.read().unwrap());
        let task = |name: &'static str, writes: bool| {
            let (lock, log) = (Arc::clone(&lock), log.clone());
            spawn(move || {
                if writes {
                    *lock.write().unwrap() += 1;
                    log.add(name);
                } else {
                    let value = lock.read().unwrap();
                    log.add(format!("{name} saw {}", *value));
                    yield_now();
                    log.add(name);
                }
            })
        };
        let mut tasks = [task("w1", true), task("r1", false), task("r2", false), task("w2", true), task("r3", false)];
        yield_now();
        assert!(lock.try_read().is_none(), "a writer waits in front");
        drop(first);
        rounds(3);
        assert!(log.take().is_empty());
        drop(second);
        tasks.iter_mut().for_each(|task| task.join().unwrap());
    });
    assert_eq!(log.take(), ["w1", "r1 saw 1", "r2 saw 1", "r1", "r2", "w2", "r3 saw 2", "r3"]);
}

#[test]
fn writer_that_gives_up_lets_blocked_readers_in() {
    Config::new()
        .paused_clock(true)
        .run(|| {
            let lock = Arc::new(RwLock::new(0));
            let reading = lock.read().unwrap();
            for deadline in [false, true] {
                let inner = Arc::clone(&lock);
                let timeout = if deadline { Duration::from_secs(1) } else { Duration::MAX };
                let mut writer = spawn(move || inner.write_timeout(timeout).map(drop));
                let inner = Arc::clone(&lock);
                let mut reader = spawn(move || inner.read().map(|value| *value));
                rounds(2);
                assert_eq!(reader.state(), TaskState::Waiting("an RwLock, to read".into()));
                if !deadline {
                    writer.cancel();
                }
                assert!(writer.join().unwrap().is_err());
                assert_eq!(reader.join().unwrap(), Ok(0));
            }
            drop(reading);
            assert!(lock.try_write().is_some());
        })
        .unwrap();
}

#[test]
fn a_downgrade_lets_readers_in_and_no_writer_in_between() {
    cede::run(|| {
        let lock = Arc::new(RwLock::new(0));
        let mut writer = lock.write().unwrap();
        let inner = Arc::clone(&lock);
        let mut reader = spawn(move || inner.read().map(|value| *value));
        let inner = Arc::clone(&lock);
        let mut other = spawn(move || inner.write().map(|mut value| *value = 2));
        yield_now();
        *writer = 1;
        let reading = RwLockWriteGuard::downgrade(writer);
        assert_eq!(reader.join().unwrap(), Ok(1));
        assert_eq!((other.state(), *reading), (TaskState::Waiting("an RwLock, to write".into()), 1));
        drop(reading);
        assert_eq!(other.join().unwrap(), Ok(()));
        assert_eq!(*lock.read().unwrap(), 2);
    });
}

/// A deadlock over a read-write lock names the holder of the lock. A reader that has left is not named.
#[test]
fn deadlock_over_a_read_write_lock_names_its_holder() {
    let report = deadlock(|| {
        let lock = Arc::new(RwLock::new(()));
        let (reader, writer) = (Arc::clone(&lock), Arc::clone(&lock));
        let mut reader = named("reader", move || {
            let _first = reader.read()?;
            yield_now();
            reader.read().map(drop) // behind the writer, which waits for the first read lock
        });
        let mut writer = named("writer", move || writer.write().map(drop));
        reader.join().is_ok() && writer.join().is_ok()
    });
    let text = report.to_string();
    assert!(text.contains("task 'reader' waits for an RwLock, to read, held by 'reader'"), "{text}");
    assert!(text.contains("task 'writer' waits for an RwLock, to write, held by 'reader'"), "{text}");
    // A reader that has left is not named, though another one holds the lock.
    let report = deadlock(|| {
        let lock = Arc::new(RwLock::new(()));
        let first = lock.read().unwrap();
        let second = lock.read().unwrap();
        drop(second);
        let waited = lock.write().map(drop);
        drop(first);
        waited
    });
    assert!(report.to_string().ends_with("'main' waits for an RwLock, to write"), "{report}");
}

#[test]
fn readers_and_writers_exclude_tasks_and_threads() {
    let each = if emulated() { 50 } else { 1_000 };
    in_all_worlds(|world| {
        let lock = Arc::new(RwLock::new((0u64, 0u64)));
        let spawned: Vec<_> = (0..4u64)
            .map(|number| {
                let lock = Arc::clone(&lock);
                world.spawn(move || {
                    for turn in 0..each {
                        if (turn + number) % 3 == 0 {
                            let mut both = lock.write().unwrap();
                            both.0 += 1;
                            pause();
                            both.1 += 1;
                        } else {
                            let both = lock.read().unwrap();
                            pause();
                            assert_eq!(both.0, both.1, "a writer was inside");
                        }
                    }
                })
            })
            .collect();
        spawned.into_iter().for_each(|one| one.join());
        let both = lock.read().unwrap();
        assert_eq!(both.0, both.1);
    });
}

/// Lets other tasks or threads run.
fn pause() {
    if cede::task::current().is_some() { yield_now() } else { thread::yield_now() }
}
