//! Waits for the kernel that something ends early: a deadline, a timeout of the socket, a cancel, a scope, a forced unwind, and
//! the end of the run. The kernel writes to no frame that has ended, and no data is lost.
//!
//! A deadlock ends no such wait: a run in which a task waits for I/O is not deadlocked.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;
mod kernel;

use cede::io::Driver;
use cede::net::{TcpListener, UnixStream};
use cede::time::sleep;
use cede::{Config, JoinHandle, metrics, scope, shield, spawn, timeout, yield_now};
use common::caught;
use common::child::in_child;
use common::witness::AtEnd;
use kernel::drivers::{LONG, on_each_driver, run_on_each_driver, until, until_waiting, warm_up};
use kernel::pending::{Pending, accepts, all, reads, with_marked_stack, writes};
use socket2::SockRef;
use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A call, and how far its test is.
struct Stage {
    case: Rc<dyn Pending>,
    returned: Cell<bool>,
    released: Cell<bool>,
}

impl Stage {
    fn new(case: Rc<dyn Pending>) -> Rc<Stage> {
        Rc::new(Stage { case, returned: Cell::new(false), released: Cell::new(false) })
    }

    /// Makes a call, which must fail, and then keeps marks in the part of the stack that it used until `released`.
    fn fail(&self, call: impl FnOnce(&dyn Pending) -> io::Result<()>) -> io::Error {
        let outcome = call(&*self.case);
        self.returned.set(true);
        with_marked_stack(|| {
            while !self.released.get() {
                yield_now()
            }
        });
        outcome.expect_err(self.case.name())
    }

    /// After the call has failed, gives it what it waited for, and checks that a later call gets that.
    fn go_on(&self, mut task: JoinHandle<io::Error>) -> io::Error {
        until(|| self.returned.get());
        let name = self.case.name();
        assert_eq!(metrics().io_waiting, 0, "{name}");
        self.case.complete();
        sleep(2 * MS).unwrap();
        self.released.set(true);
        let error = task.join().unwrap();
        timeout(LONG, || self.check_data()).unwrap_or_else(|_| panic!("{name}: data was lost"));
        let metrics = metrics();
        assert_eq!((metrics.io_waiting, metrics.live), (0, 0), "{name}");
        error
    }

    fn check_data(&self) {
        self.case.set_timeout(None);
        loop {
            self.case.call().unwrap();
            if self.case.is_drained() {
                break;
            }
        }
    }
}

/// Calls `begin` with each call of the library that waits, on each driver. The task that it returns makes the call, which something ends
/// early. Checks the errors by `check`.
fn each_ends_early(begin: fn(Rc<Stage>) -> JoinHandle<io::Error>, check: fn(io::Error)) {
    run_on_each_driver(|driver| {
        for case in all() {
            let stage = Stage::new(case);
            let task = begin(Rc::clone(&stage));
            check(stage.go_on(task));
        }
        assert_eq!(metrics().io_driver, Some(driver));
    });
}

fn is_late(error: io::Error) {
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

fn is_cancelled(error: io::Error) {
    assert!(cede::io::is_cancelled(&error) && error.kind() == ErrorKind::Other, "{error}");
}

/// Waits until the task of a call waits for I/O. With io_uring it does so by an operation, unless it connects.
fn until_in_kernel(stage: &Stage) {
    until_waiting(1);
    if metrics().io_driver == Some(Driver::Uring) && stage.case.is_operation() {
        assert_eq!(metrics().io_descriptors, 0, "{} is no operation", stage.case.name());
    }
}

#[test]
fn deadline_ends_each_call() {
    each_ends_early(
        |stage| spawn(move || stage.fail(|case| timeout(5 * MS, || case.call()).unwrap_err().value)),
        is_late,
    );
}

#[test]
fn timeout_of_the_socket_ends_each_call() {
    each_ends_early(
        |stage| {
            stage.case.set_timeout(Some(5 * MS));
            spawn(move || stage.fail(|case| case.call()))
        },
        is_late,
    );
}

#[test]
fn cancel_ends_each_call() {
    each_ends_early(
        |stage| {
            let task = spawn({
                let stage = Rc::clone(&stage);
                move || stage.fail(|case| case.call())
            });
            until_in_kernel(&stage);
            task.cancel();
            task
        },
        is_cancelled,
    );
}

#[test]
fn cancelled_scope_ends_each_call() {
    each_ends_early(
        |stage| {
            spawn(move || {
                let error = Cell::new(None);
                let outcome = scope(|scope| {
                    scope.spawn(|| error.set(Some(stage.fail(|case| case.call()))));
                    until_in_kernel(&stage);
                    scope.cancel();
                });
                outcome.unwrap();
                error.take().expect("the task of the scope has ended")
            })
        },
        is_cancelled,
    );
}

/// The tasks are in a shield, so only the forced unwind ends their calls. The code behind a call does not run.
#[test]
fn forced_unwind_ends_each_call() {
    on_each_driver(|driver| {
        let (cases, unwound) = (all(), Rc::new(Cell::new(0)));
        let outcome = Config::new().driver(driver).shutdown_grace(5 * MS).run(|| {
            warm_up().unwrap();
            for case in cases.clone() {
                let guard = AtEnd({
                    let unwound = Rc::clone(&unwound);
                    move || unwound.set(unwound.get() + usize::from(std::thread::panicking()))
                });
                spawn(move || {
                    let _guard = guard;
                    let outcome = shield(|| case.call());
                    eprintln!("{} returned {outcome:?} instead of unwinding", case.name());
                });
            }
            until_waiting(cases.len() as u64);
        });
        outcome.unwrap();
        if cfg!(panic = "unwind") {
            assert_eq!(unwound.get(), cases.len(), "{driver}: tasks that unwound");
        }
        all_go_on(driver, &cases);
    });
}

/// Starts a run, whose tasks may use the stacks of earlier tasks, and checks that the calls get their data.
fn all_go_on(driver: Driver, cases: &[Rc<dyn Pending>]) {
    let outcome = Config::new().driver(driver).run(|| {
        warm_up().unwrap();
        let released = Rc::new(Cell::new(false));
        for _ in cases {
            let released = Rc::clone(&released);
            spawn(move || {
                with_marked_stack(|| {
                    while !released.get() {
                        yield_now()
                    }
                })
            });
        }
        yield_now();
        for case in cases {
            case.complete();
            sleep(MS).unwrap();
            timeout(LONG, || Stage::new(Rc::clone(case)).check_data())
                .unwrap_or_else(|_| panic!("{}: data was lost", case.name()));
        }
        released.set(true);
        assert_eq!(metrics().io_waiting, 0);
    });
    outcome.unwrap();
}

/// The tasks catch the unwind, wait again in a shield, and are abandoned with their operations in flight. The next run on the thread
/// begins at once.
#[test]
fn abandoned_calls_take_no_data() {
    if cfg!(panic = "abort") {
        return; // nothing unwinds
    }
    let text = in_child("abandoned_calls_take_no_data", || {
        on_each_driver(|driver| {
            let cases = all();
            for _ in 0..3 {
                let outcome = Config::new().driver(driver).shutdown_grace(Duration::ZERO).run(|| {
                    warm_up().unwrap();
                    for case in cases.clone() {
                        spawn(move || {
                            loop {
                                let _ = caught(|| shield(|| case.call()));
                            }
                        });
                    }
                    until_waiting(cases.len() as u64);
                });
                outcome.unwrap();
            }
            all_go_on(driver, &cases);
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
    assert_eq!(text.matches("it is abandoned").count() % (3 * all().len()), 0, "{text}");
    assert!(text.contains("it is abandoned"), "{text}");
}

/// The completion comes first, and then the cancel: the task gets the data, or leaves it in the socket.
#[test]
fn data_that_comes_first_is_kept() {
    run_on_each_driver(|_| {
        for case in [reads(), accepts(), writes()].concat() {
            let (mut first, first_peer) = UnixStream::pair().unwrap();
            let mut task = spawn({
                let case = Rc::clone(&case);
                move || case.call()
            });
            let mut other = spawn({
                let case = Rc::clone(&case);
                move || {
                    until_waiting(2);
                    SockRef::from(&first_peer).send(b"x").unwrap();
                    case.complete();
                }
            });
            // One poll sees both events, and wakes this task first.
            first.read_exact(&mut [0]).unwrap();
            task.cancel();
            let outcome = task.join().unwrap();
            other.join().unwrap();
            let name = case.name();
            if let Err(error) = &outcome {
                assert!(cede::io::is_cancelled(error), "{name}: {error}");
            }
            if !case.is_drained() {
                timeout(LONG, || Stage::new(Rc::clone(&case)).check_data()).expect(name);
            }
        }
        assert_eq!((metrics().io_waiting, metrics().io_descriptors), (0, 0));
    });
}

/// A connection that an accept has got when its task unwinds is closed.
#[test]
fn unwound_accept_leaks_no_descriptor() {
    if cfg!(panic = "abort") {
        return; // nothing unwinds
    }
    let text = in_child("unwound_accept_leaks_no_descriptor", || {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        on_each_driver(|driver| {
            let listener = Rc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            let address = listener.local_addr().unwrap();
            let before = descriptors();
            for _ in 0..20 {
                let client = Rc::new(Cell::new(None));
                let outcome = Config::new().driver(driver).shutdown_grace(Duration::ZERO).run(|| {
                    warm_up().unwrap();
                    let (mut first, first_peer) = UnixStream::pair().unwrap();
                    let (accepting, client) = (Rc::clone(&listener), Rc::clone(&client));
                    spawn(move || shield(|| accepting.accept().map(|_| ())));
                    spawn(move || {
                        until_waiting(2);
                        SockRef::from(&first_peer).send(b"x").unwrap();
                        client.set(Some(std::net::TcpStream::connect(address).unwrap()));
                    });
                    // One poll sees both events, and wakes main first, which returns.
                    first.read_exact(&mut [0]).unwrap();
                });
                outcome.unwrap();
                // The connection has been closed, or it waits to be accepted.
                while SockRef::from(&*listener).accept().is_ok() {}
                let mut client = client.take().expect("connected");
                client.set_read_timeout(Some(LONG)).unwrap();
                let end = client.read(&mut [0]);
                assert!(end.is_err() || end.unwrap() == 0);
            }
            assert_eq!(descriptors(), before, "{driver}");
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// A read that completed before the forced unwind of its task returns the data. The next wait unwinds.
#[test]
fn unwound_read_loses_no_data() {
    if cfg!(panic = "abort") {
        return; // nothing unwinds
    }
    on_each_driver(|driver| {
        for _ in 0..20 {
            let (stream, peer) = std::os::unix::net::UnixStream::pair().unwrap();
            let (stream, received) = (Rc::new(UnixStream::from(stream)), Rc::new(Cell::new(0)));
            let outcome = Config::new().driver(driver).shutdown_grace(Duration::ZERO).run(|| {
                warm_up().unwrap();
                let (mut first, first_peer) = UnixStream::pair().unwrap();
                let (reading, received, peer) = (Rc::clone(&stream), Rc::clone(&received), peer.try_clone().unwrap());
                spawn(move || shield(|| received.set((&*reading).read(&mut [0; 2]).unwrap_or(0))));
                spawn(move || {
                    until_waiting(2);
                    SockRef::from(&first_peer).send(b"x").unwrap();
                    SockRef::from(&peer).send(b"x").unwrap();
                });
                // One poll sees both events, and wakes main first, which returns.
                first.read_exact(&mut [0]).unwrap();
            });
            outcome.unwrap();
            let left = SockRef::from(&*stream)
                .recv_with_flags(&mut [MaybeUninit::uninit(); 2], libc::MSG_DONTWAIT)
                .unwrap_or(0);
            assert_eq!(received.get() + left, 1, "{driver}");
        }
    });
}

/// When a run has ended, the kernel has no operation of its abandoned tasks: an operation would keep its socket open.
#[test]
fn ended_run_keeps_no_socket_open() {
    if cfg!(panic = "abort") {
        return; // nothing unwinds
    }
    let text = in_child("ended_run_keeps_no_socket_open", || {
        on_each_driver(|driver| {
            let mut ends = Vec::new();
            let outcome = Config::new().driver(driver).shutdown_grace(Duration::ZERO).run(|| {
                warm_up().unwrap();
                for _ in 0..50 {
                    let (stream, peer) = UnixStream::pair().unwrap();
                    ends.push((stream.as_raw_fd(), peer));
                    spawn(move || {
                        loop {
                            let _ = caught(|| shield(|| (&stream).read(&mut [0; 8])));
                        }
                    });
                }
                until_waiting(50);
            });
            outcome.unwrap();
            for (fd, peer) in &ends {
                // SAFETY: the stream that owns the descriptor was abandoned with its task, and never closes it.
                assert_eq!(unsafe { libc::close(*fd) }, 0);
                let end = SockRef::from(peer).recv_with_flags(&mut [MaybeUninit::uninit()], libc::MSG_DONTWAIT);
                assert_eq!(end.unwrap(), 0, "{driver}");
            }
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}
