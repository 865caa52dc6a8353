//! Waits for the kernel in bodies of generators, in nested sections, and in many runs of one thread, on each driver.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;
mod kernel;

use cede::blocking::unblock;
use cede::io::Driver;
use cede::net::UnixStream;
use cede::{Config, Generator, Yielder, metrics, scope, shield, spawn, timeout};
use common::rounds;
use kernel::drivers::{LONG, has_uring, on_each_driver, run_on_each_driver, until_waiting, warm_up};
use kernel::pending::{bytes, read_between_marks, with_marked_stack};
use socket2::SockRef;
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Sends bytes of the pattern, and returns the position behind them.
fn send(peer: &UnixStream, at: usize, count: usize) -> usize {
    at + SockRef::from(peer).send(&bytes(at..at + count)).unwrap()
}

/// A generator of what a stream receives. Its waits end early with an error, which it yields, too.
fn received(stream: UnixStream) -> Generator<io::Result<Vec<u8>>> {
    Generator::new(move |y: &Yielder<io::Result<Vec<u8>>>| {
        loop {
            let item = read_between_marks(|buffer| (&stream).read(buffer));
            if item.as_ref().is_ok_and(Vec::is_empty) {
                return;
            }
            y.yield_(item);
        }
    })
}

/// Each second wait of the generator's body is ended by a deadline of its caller. A task resumes it on its own stack.
#[test]
fn generator_body_waits_and_is_interrupted() {
    run_on_each_driver(|_| {
        let (stream, peer) = UnixStream::pair().unwrap();
        let mut task = spawn(move || {
            let mut items = received(stream);
            let (mut got, mut late) = (0, 0);
            while got < 500 {
                let item = timeout(MS / 4, || items.next()).unwrap_or_else(|elapsed| elapsed.value);
                with_marked_stack(|| rounds(1));
                match item.expect("the stream goes on") {
                    Ok(data) => {
                        assert_eq!(data, bytes(got..got + data.len()));
                        got += data.len();
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        late += 1;
                    }
                }
            }
            // It has not ended, and is dropped.
            drop(items);
            late
        });
        let mut sent = 0;
        while sent < 500 {
            cede::time::sleep(MS / 2).unwrap();
            sent = send(&peer, sent, 10);
        }
        assert!(timeout(LONG, || task.join()).unwrap().unwrap() > 0);
        assert_eq!(metrics().io_waiting, 0);
    });
}

/// The task in whose generator the body waits is cancelled, and is unwound at the end of the run.
#[test]
fn generator_body_is_cancelled_and_unwound() {
    on_each_driver(|driver| {
        let (stream, peer) = UnixStream::pair().unwrap();
        let keep = stream.try_clone().unwrap();
        let outcome = Config::new().driver(driver).shutdown_grace(5 * MS).run(|| {
            warm_up().unwrap();
            let mut items = received(stream.try_clone().unwrap());
            let mut task = spawn(move || items.next().unwrap());
            until_waiting(1);
            task.cancel();
            assert!(cede::io::is_cancelled(&task.join().unwrap().unwrap_err()));
            let mut items = received(stream);
            spawn(move || shield(|| items.next().map(|_| unreachable!("not unwound"))));
            until_waiting(1);
        });
        if cfg!(panic = "unwind") {
            outcome.unwrap();
        }
        send(&peer, 0, 10);
        let main = || {
            warm_up().unwrap();
            let data = timeout(LONG, || read_between_marks(|buffer| (&keep).read(buffer)));
            assert_eq!(data.unwrap().unwrap(), bytes(0..10));
        };
        Config::new().driver(driver).run(main).unwrap();
    });
}

/// A blocking call starts a run of its own on a thread of the pool, and a scope waits in the task that waits for it.
#[test]
fn nested_runs_wait_on_their_own_drivers() {
    run_on_each_driver(|outer| {
        let inner = if outer == Driver::Uring { Driver::Epoll } else { Driver::Uring };
        let inner = if has_uring() { inner } else { Driver::Epoll };
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut task = spawn(move || {
            unblock(move || {
                let main = || {
                    warm_up().unwrap();
                    let late = timeout(2 * MS, || read_between_marks(|buffer| (&there).read(buffer)));
                    assert_eq!(late.unwrap_err().value.unwrap_err().kind(), ErrorKind::TimedOut);
                    (&there).write_all(b"ready").unwrap();
                    let data = read_between_marks(|buffer| (&there).read(buffer)).unwrap();
                    assert_eq!(metrics().io_driver, Some(inner));
                    (data, there)
                };
                Config::new().driver(inner).run(main).unwrap()
            })
        });
        let mut ready = [0; 5];
        here.read_exact(&mut ready).unwrap();
        send(&here, 0, 20);
        let (data, there) = timeout(LONG, || task.join()).unwrap().unwrap();
        assert_eq!(data, bytes(0..20));
        // The stream has changed runs.
        send(&here, 0, 30);
        assert_eq!(read_between_marks(|buffer| (&there).read(buffer)).unwrap(), bytes(0..30));
        assert_eq!(metrics().io_driver, Some(outer));
    });
}

/// Deadlines inside of deadlines, a shield between them, and a scope whose task outlasts none of them.
#[test]
fn nested_limits_end_the_wait_that_they_concern() {
    run_on_each_driver(|_| {
        let (stream, peer) = UnixStream::pair().unwrap();
        let read = || read_between_marks(|buffer| (&stream).read(buffer));
        let outcome = timeout(3 * MS, || {
            let inner = timeout(LONG, read);
            assert_eq!(inner.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
            // The outer deadline is over, and a shield hides it.
            let shielded = shield(|| timeout(2 * MS, read).unwrap_err().value);
            assert_eq!(shielded.unwrap_err().kind(), ErrorKind::TimedOut);
            send(&peer, 0, 10);
            shield(read).unwrap()
        });
        assert_eq!(outcome.unwrap_err().value, bytes(0..10));
        // A deadline that is moved during the wait, to the past.
        let began = cede::time::now();
        let outcome = cede::task::deadline(began + LONG, |deadline| {
            scope(|scope| {
                scope.spawn(|| {
                    until_waiting(1);
                    deadline.reschedule(Some(began));
                });
                read()
            })
        });
        let error = outcome.unwrap_err().value.unwrap_or_else(|error| panic!("{error}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(metrics().io_waiting, 0);
    });
}

/// Runs begin and end with their main in the middle of other tasks' operations. No descriptor is left.
#[test]
fn many_runs_end_with_operations_in_flight() {
    let rounds = if cfg!(debug_assertions) || common::emulated() { 100 } else { 500 };
    on_each_driver(|driver| {
        let threads = [0, 1].map(|number| {
            thread::spawn(move || {
                let (stream, peer) = UnixStream::pair().unwrap();
                let stream = Rc::new(stream);
                for round in 0..rounds {
                    let main = || {
                        warm_up().unwrap();
                        let got = Rc::new(Cell::new(0));
                        for _ in 0..1 + (round + number) % 4 {
                            let (stream, got) = (Rc::clone(&stream), Rc::clone(&got));
                            spawn(move || {
                                let data = read_between_marks(|buffer| (&*stream).read(buffer)).unwrap_or_default();
                                got.set(got.get() + data.len());
                            });
                        }
                        until_waiting((1 + (round + number) % 4) as u64);
                        if round % 2 == 0 {
                            send(&peer, 0, 1);
                        }
                        got
                    };
                    let got = Config::new().driver(driver).run(main).unwrap();
                    let left = SockRef::from(&*stream)
                        .recv_with_flags(&mut [std::mem::MaybeUninit::uninit(); 8], libc::MSG_DONTWAIT);
                    // A read that was cancelled took the byte, or left it.
                    let left = if round % 2 == 0 && got.get() == 0 { left.unwrap() } else { 0 };
                    assert_eq!(got.get() + left, (round + 1) % 2, "round {round}");
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
