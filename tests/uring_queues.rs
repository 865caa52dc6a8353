//! More operations than the queues of a ring hold: submissions, completions and cancels of thousands of tasks at once, and a kernel that
//! takes nothing for a while.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;
mod kernel;

use cede::io::{Driver, Interest};
use cede::net::UnixStream;
use cede::{Config, JoinHandle, join_all, metrics, spawn, timeout, yield_now};
use common::child::in_child;
use common::seccomp::refuse_if;
use common::{emulated, rounds};
use kernel::SLOW;
use kernel::drivers::{
    LONG, has_uring, on_each_driver, passed, raise_limit, run_on_each_driver, until, until_waiting, warm_up,
};
use kernel::pending::read_between_marks;
use socket2::SockRef;
use std::cell::Cell;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A number of streams with more operations than the completion queue holds (2,048), as far as the limit of the process allows.
fn count() -> usize {
    let most = if SLOW { 3_000 } else { 10_000 };
    most.min(raise_limit().saturating_sub(100) / 2)
}

/// A task that reads from one end of a pair. Returns the task and the other end.
fn reader(peers: &mut Vec<UnixStream>) -> JoinHandle<io::Result<Vec<u8>>> {
    let (stream, peer) = UnixStream::pair().unwrap();
    peers.push(peer);
    spawn(move || read_between_marks(|buffer| (&stream).read(buffer)))
}

fn send(peer: &UnixStream, number: usize) {
    assert_eq!(SockRef::from(peer).send(&number.to_ne_bytes()).unwrap(), size_of::<usize>());
}

#[track_caller]
fn all_have_read(readers: Vec<JoinHandle<io::Result<Vec<u8>>>>) {
    for (number, data) in join_all(readers).into_iter().enumerate() {
        assert_eq!(data.unwrap().unwrap(), number.to_ne_bytes());
    }
    assert_eq!(metrics().io_waiting, 0);
}

/// All streams become readable at once.
fn completions_at_once(count: usize) {
    let mut peers = Vec::new();
    let readers: Vec<_> = (0..count).map(|_| reader(&mut peers)).collect();
    until_waiting(count as u64);
    peers.iter().enumerate().for_each(|(number, peer)| send(peer, number));
    timeout(LONG, || all_have_read(readers)).unwrap();
}

/// All reads begin at once, with the data there.
fn submissions_at_once(count: usize) {
    let mut peers = Vec::new();
    let readers: Vec<_> = (0..count).map(|_| reader(&mut peers)).collect();
    peers.iter().enumerate().for_each(|(number, peer)| send(peer, number));
    timeout(LONG, || all_have_read(readers)).unwrap();
}

fn cancels_at_once(count: usize) {
    let mut peers = Vec::new();
    let readers: Vec<_> = (0..count).map(|_| reader(&mut peers)).collect();
    until_waiting(count as u64);
    readers.iter().for_each(|reader| assert!(reader.cancel()));
    for outcome in timeout(LONG, || join_all(readers)).unwrap() {
        assert!(cede::io::is_cancelled(&outcome.unwrap().unwrap_err()));
    }
    assert_eq!(metrics().io_waiting, 0);
}

fn deadlines_at_once(count: usize) {
    let at = cede::time::now() + 300 * MS;
    let late = |_| {
        let (stream, peer) = UnixStream::pair().unwrap();
        spawn(move || {
            let _peer = peer;
            cede::task::deadline(at, |_| (&stream).read(&mut [0])).is_err()
        })
    };
    let late: Vec<_> = (0..count).map(late).collect();
    assert!(timeout(LONG, || join_all(late)).unwrap().into_iter().all(|late| late.unwrap()));
    assert_eq!(metrics().io_waiting, 0);
}

#[test]
fn thousands_of_operations_at_once() {
    let text = in_child("thousands_of_operations_at_once", || {
        let count = count();
        run_on_each_driver(|_| {
            completions_at_once(count);
            submissions_at_once(count);
            cancels_at_once(count);
            deadlines_at_once(count);
        });
    });
    passed(&text);
}

/// Tasks that are always ready do not keep completions from the tasks that wait for them.
#[test]
fn busy_tasks_delay_no_completion() {
    run_on_each_driver(|_| {
        let done = Rc::new(Cell::new(false));
        for _ in 0..3 {
            let done = Rc::clone(&done);
            spawn(move || {
                while !done.get() {
                    yield_now()
                }
            });
        }
        let mut peers = Vec::new();
        for round in 0..100 {
            let mut readers: Vec<_> = (0..3).map(|_| reader(&mut peers)).collect();
            until_waiting(3);
            let thread = thread::spawn({
                let peers = std::mem::take(&mut peers);
                move || peers.iter().for_each(|peer| send(peer, round))
            });
            until(|| readers.iter().all(JoinHandle::is_finished));
            readers.iter_mut().for_each(|reader| assert_eq!(reader.join().unwrap().unwrap(), round.to_ne_bytes()));
            thread.join().unwrap();
        }
        done.set(true);
    });
}

/// The same for an event of a descriptor, which io_uring polls together with all others: in the first wait of a run, and in later ones.
#[test]
fn busy_tasks_delay_no_event() {
    on_each_driver(|driver| {
        let main = || {
            let done = Rc::new(Cell::new(false));
            let busy = Rc::clone(&done);
            spawn(move || {
                while !busy.get() {
                    yield_now()
                }
            });
            for _ in 0..3 {
                let (stream, peer) = UnixStream::pair().unwrap();
                let wait = || cede::io::wait(&stream, Interest::Readable);
                assert!(timeout(2 * MS, wait).is_err());
                let mut waiter = spawn(move || cede::io::wait(&stream, Interest::Readable));
                until_waiting(1);
                send(&peer, 1);
                until(|| waiter.is_finished());
                waiter.join().unwrap().unwrap();
            }
            done.set(true);
        };
        Config::new().driver(driver).run(main).unwrap();
    });
}

/// The arguments of io_uring_enter(2) that submits a full queue to make room, and takes no completions.
const SUBMITS_FULL_QUEUE: &[(u32, u32)] = &[(1, 256), (2, 0), (3, 0)];

/// The kernel refuses to take a full queue, except where it also takes completions: operations and cancels wait for the event loop.
#[test]
fn operations_wait_for_room_in_the_queue() {
    if emulated() || !has_uring() {
        return; // qemu installs no filters
    }
    let text = in_child("operations_wait_for_room_in_the_queue", || {
        raise_limit();
        for error in [libc::EBUSY, libc::EAGAIN] {
            let check = || {
                refuse_if(libc::SYS_io_uring_enter, SUBMITS_FULL_QUEUE, error);
                let main = || {
                    warm_up().unwrap();
                    let mut peers = Vec::new();
                    let readers: Vec<_> = (0..1000).map(|_| reader(&mut peers)).collect();
                    until_waiting(1000);
                    peers.iter().enumerate().for_each(|(number, peer)| send(peer, number));
                    timeout(LONG, || all_have_read(readers)).unwrap();
                    // Tasks that wait for room are cancelled, and those that wait in the kernel.
                    let mut peers = Vec::new();
                    let readers: Vec<_> = (0..1000).map(|_| reader(&mut peers)).collect();
                    yield_now();
                    assert!(metrics().io_waiting < 1000, "the queue was never full");
                    readers.iter().for_each(|reader| assert!(reader.cancel()));
                    for outcome in timeout(LONG, || join_all(readers)).unwrap() {
                        assert!(cede::io::is_cancelled(&outcome.unwrap().unwrap_err()));
                    }
                    assert_eq!(metrics().io_waiting, 0);
                };
                Config::new().driver(Driver::Uring).run(main).unwrap();
            };
            thread::scope(|scope| scope.spawn(check).join().unwrap());
        }
    });
    passed(&text);
}

/// The end of a run with more abandoned operations than a queue holds, and refusals of the kernel.
#[test]
fn abandoned_operations_end_with_their_run() {
    if cfg!(panic = "abort") {
        return; // nothing unwinds
    }
    let text = in_child("abandoned_operations_end_with_their_run", || {
        // The reports of abandoned tasks would fill the pipe to the parent.
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        // SAFETY: the descriptors are numbers. The exit code tells whether a thread panicked.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), 2) }, 2);
        let count = (raise_limit() / 30).min(300);
        on_each_driver(|driver| {
            let threads = (0..4).map(|number| {
                thread::spawn(move || {
                    if number % 2 == 1 && driver == Driver::Uring && !emulated() {
                        refuse_if(libc::SYS_io_uring_enter, SUBMITS_FULL_QUEUE, libc::EBUSY);
                    }
                    for _ in 0..2 {
                        let mut peers = Vec::new();
                        let main = || {
                            warm_up().unwrap();
                            for _ in 0..count {
                                let (stream, peer) = UnixStream::pair().unwrap();
                                peers.push(peer);
                                spawn(move || {
                                    let read = || read_between_marks(|buffer| (&stream).read(buffer));
                                    loop {
                                        let _ = common::caught(|| cede::shield(read));
                                    }
                                });
                            }
                            until_waiting(count as u64);
                        };
                        let config = Config::new().driver(driver).shutdown_grace(Duration::ZERO);
                        config.run(main).unwrap();
                        // Data for sockets whose operations have ended stays there.
                        peers.iter().for_each(|peer| send(peer, 7));
                        let fresh = || {
                            warm_up().unwrap();
                            let mut peers = Vec::new();
                            let readers: Vec<_> = (0..count).map(|_| reader(&mut peers)).collect();
                            rounds(2);
                            peers.iter().enumerate().for_each(|(number, peer)| send(peer, number));
                            all_have_read(readers);
                        };
                        Config::new().driver(driver).run(fresh).unwrap();
                    }
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
    passed(&text);
}
