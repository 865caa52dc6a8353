//! `select!` with descriptors, in tasks and in plain threads.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::net::UnixStream;
use cede::sync::{Select, channel};
use cede::time::sleep;
use cede::{io as cede_io, run, select, spawn, yield_now};
use std::io::{PipeReader, Read, Write, pipe};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(20);

/// Runs `test` in a task, and in a plain thread.
fn everywhere(test: fn()) {
    test();
    run(test);
    run(|| spawn(test).join().unwrap());
}

#[test]
fn ready_descriptor_is_chosen() {
    everywhere(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let (_sender, receiver) = channel::unbounded::<()>();
        let chosen = select! {
            readable(there) => "readable",
            recv(receiver) -> _ => "received",
            default => "nothing",
        };
        assert_eq!(chosen, Ok("nothing"));
        assert_eq!(select! { writable(there) -> result => result.is_ok(), recv(receiver) -> _ => false }, Ok(true));
        (&here).write_all(b"x").unwrap();
        assert_eq!(select! { readable(&there) -> result => result.is_ok(), recv(receiver) -> _ => false }, Ok(true));
        // The arm takes nothing.
        assert_eq!(there.lend(<[u8]>::to_vec).unwrap(), b"x");
        drop(here);
        assert_eq!(select! { readable(there) => "the end", after(LONG) => "late" }, Ok("the end"));
    });
}

#[test]
fn descriptor_that_becomes_ready_wakes() {
    everywhere(|| {
        let (reader, mut writer) = pipe().unwrap();
        let (_sender, receiver) = channel::unbounded::<()>();
        let writing = thread::spawn(move || {
            thread::sleep(20 * MS);
            writer.write_all(b"x").unwrap();
            writer
        });
        let chosen = select! {
            recv(receiver) -> _ => 0,
            readable(reader) => (&reader).read(&mut [0; 8]).unwrap(),
            after(LONG) => 99,
        };
        assert_eq!(chosen, Ok(1));
        drop(writing.join().unwrap());
    });
}

#[test]
fn message_and_time_win_over_a_silent_descriptor() {
    everywhere(|| {
        let (reader, _writer) = pipe().unwrap();
        let (sender, receiver) = channel::unbounded();
        let sending = thread::spawn(move || {
            thread::sleep(20 * MS);
            sender.send(7).unwrap();
            sender
        });
        let began = Instant::now();
        let chosen = select! {
            readable(reader) => 0,
            recv(receiver) -> message => message.unwrap(),
            after(LONG) => 99,
        };
        assert_eq!(chosen, Ok(7));
        assert!(began.elapsed() < LONG / 2, "the message itself woke the select");
        drop(sending.join().unwrap());
        let began = Instant::now();
        assert_eq!(select! { readable(reader) => "readable", after(20 * MS) => "late" }, Ok("late"));
        assert_eq!(select! { readable(reader) => "readable", default(20 * MS) => "late" }, Ok("late"));
        assert!(began.elapsed() >= 40 * MS);
    });
}

/// A task of the same run writes: only the reactor can wake the select.
#[test]
fn event_of_the_same_run_wakes() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let (_sender, receiver) = channel::unbounded::<()>();
        let mut selecting = spawn(move || {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                select! {
                    readable(there) => bytes.extend(there.lend(<[u8]>::to_vec).unwrap()),
                    recv(receiver) -> _ => unreachable!(),
                }
                .unwrap();
            }
            bytes
        });
        for number in 0..100 {
            (&here).write_all(&[number]).unwrap();
            sleep(Duration::from_micros(100)).unwrap();
            yield_now();
        }
        // Several bytes may have arrived at once: then the end of the stream completes the rest.
        drop(here);
        assert_eq!(selecting.join().unwrap(), (0..100).collect::<Vec<u8>>());
    });
}

#[test]
fn losing_arm_leaves_nothing_behind() {
    run(|| {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (reader, _writer) = pipe().unwrap();
        let (sender, receiver) = channel::unbounded();
        let round = || {
            let mut waiting = {
                let (reader, receiver) = (reader.try_clone().unwrap(), receiver.clone());
                spawn(move || select! { readable(reader) => false, recv(receiver) -> _ => true })
            };
            yield_now();
            assert_eq!(cede::metrics().io_waiting, 1);
            sender.send(()).unwrap();
            assert_eq!(waiting.join().unwrap(), Ok(true));
        };
        round();
        let before = (descriptors(), cede::metrics().io_descriptors);
        (0..100).for_each(|_| round());
        let metrics = cede::metrics();
        assert_eq!((metrics.io_waiting, metrics.io_descriptors), (0, before.1));
        // Other tests of this process open descriptors, too, but not a hundred.
        assert!(descriptors() < before.0 + 90);
    });
}

#[test]
fn cancelled_select_leaves_the_descriptor() {
    run(|| {
        let (reader, mut writer) = pipe().unwrap();
        let mut waiting = spawn(move || {
            let outcome = select! { readable(reader) => (), after(LONG) => () };
            (outcome.is_err(), reader)
        });
        yield_now();
        assert_eq!(cede::metrics().io_waiting, 1);
        waiting.cancel();
        let (cancelled, mut reader) = waiting.join().unwrap();
        assert!(cancelled);
        assert_eq!(cede::metrics().io_waiting, 0);
        writer.write_all(b"x").unwrap();
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 1);
    });
}

/// A case that outlives its select waits for nothing: otherwise the run could not tell that it is deadlocked.
#[test]
fn case_after_its_select_waits_for_nothing() {
    run(|| {
        let (reader, mut writer) = pipe().unwrap();
        let mut case = cede_io::readable(&reader);
        for _ in 0..3 {
            let mut set = Select::new();
            set.add(&mut case);
            assert_eq!(set.wait_timeout(MS), Ok(None));
            assert_eq!(cede::metrics().io_waiting, 0);
        }
        writer.write_all(b"x").unwrap();
        let mut set = Select::new();
        set.add(&mut case);
        assert_eq!(set.wait_timeout(LONG), Ok(Some(0)));
    });
}

#[test]
fn several_selects_share_one_descriptor() {
    run(|| {
        let (reader, mut writer) = pipe().unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let reader: PipeReader = reader.try_clone().unwrap();
                spawn(move || select! { readable(reader) => true, after(LONG) => false })
            })
            .collect();
        yield_now();
        writer.write_all(b"x").unwrap();
        cede::join_all(waiting).into_iter().for_each(|woken| assert_eq!(woken.unwrap(), Ok(true)));
    });
}

#[test]
fn files_are_always_ready_and_sets_take_cases() {
    everywhere(|| {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (reader, _writer) = pipe().unwrap();
        let (mut silent, mut ready) = (cede_io::readable(&reader), cede_io::readable(&file));
        let mut set = Select::new();
        set.add(&mut silent);
        set.add(&mut ready);
        assert_eq!(set.wait(), Ok(1));
        ready.take().unwrap();
    });
}
