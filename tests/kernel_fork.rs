//! A fork while other tasks have operations in flight, on each driver. The waits of the child fail, the kernel changes no memory of the
//! child, and the parent gets all its data.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;
mod kernel;

use cede::io::Driver;
use cede::net::UnixStream;
use cede::{Config, JoinHandle, metrics, scope, spawn, timeout};
use common::child::in_child;
use common::emulated;
use common::seccomp::refuse_if;
use kernel::drivers::{LONG, has_uring, on_each_driver, passed, raise_limit, until, until_waiting, warm_up};
use kernel::pending::{byte, bytes, read_between_marks};
use memmap2::MmapMut;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const TASKS: usize = 8;

/// The exit code of a child in which no check failed.
const GOOD: i32 = 42;

/// Forks. Returns the child's number in the parent, and `None` in the child, which is killed after 20 seconds.
fn fork() -> Option<libc::pid_t> {
    // SAFETY: the child has only this thread. It allocates and starts threads, which glibc allows after a fork.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: alarm takes a number.
            unsafe { libc::alarm(20) };
            None
        }
        pid => Some(pid),
    }
}

/// Ends a child process. The exit code tells whether `check` panicked.
fn exit_after(check: impl FnOnce()) -> ! {
    let code = catch_unwind(AssertUnwindSafe(check)).map_or(3, |()| GOOD);
    // SAFETY: the process runs nothing more.
    unsafe { libc::_exit(code) }
}

/// Waits for a child process without the run, and returns its exit code.
fn code_of(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is writable for the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

fn is_forked(error: &io::Error) {
    assert!(error.to_string().starts_with("forked: "), "{error}");
    assert!(!cede::io::is_cancelled(error));
}

/// A stream with a task that waits for its data.
struct Reader {
    peer: UnixStream,
    task: JoinHandle<io::Result<Vec<u8>>>,
    /// The number of parts that the task has read.
    parts: Rc<Cell<usize>>,
}

impl Reader {
    fn new() -> Reader {
        let (stream, peer) = UnixStream::pair().unwrap();
        let parts = Rc::new(Cell::new(0));
        let read = Rc::clone(&parts);
        let task = spawn(move || {
            let first = read_between_marks(|buffer| (&stream).read(buffer))?;
            read.set(1);
            let second = stream.lend(<[u8]>::to_vec)?;
            read.set(2);
            let third = read_between_marks(|buffer| (&stream).read(buffer))?;
            Ok([first, second, third].concat())
        });
        Reader { peer, task, parts }
    }

    /// Sends the parts that were not sent, each after the task has read the one before.
    fn finish(mut self, sent: usize) {
        for part in sent..3 {
            until(|| self.parts.get() == part);
            send(&self.peer, part);
        }
        assert_eq!(timeout(LONG, || self.task.join()).unwrap().unwrap().unwrap(), bytes(0..30));
    }
}

fn send(peer: &UnixStream, part: usize) {
    assert_eq!(SockRef::from(peer).send(&bytes(part * 10..part * 10 + 10)).unwrap(), 10);
}

/// Maps and fills memory where the kernel finds room, as in the place of queues that the child does not have.
fn fill_gaps() -> Vec<MmapMut> {
    let pages = [1, 1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 64];
    pages
        .map(|count| MmapMut::map_anon(count * 4096).unwrap())
        .map(|mut map| {
            map.fill(0x5A);
            map
        })
        .into()
}

/// The data for the parent's tasks comes before the fork, or after it, while the child runs.
#[test]
fn child_fails_and_parent_reads_all() {
    let text = in_child("child_fails_and_parent_reads_all", || {
        on_each_driver(|driver| {
            for comes_first in [false, true] {
                let main = || {
                    warm_up().unwrap();
                    let mut readers: Vec<_> = (0..TASKS).map(|_| Reader::new()).collect();
                    until_waiting(TASKS as u64);
                    if comes_first {
                        readers.iter().for_each(|reader| send(&reader.peer, 0));
                    }
                    let Some(pid) = fork() else {
                        exit_after(|| {
                            // Time for the kernel to write into the frames that wait, if it did.
                            thread::sleep(Duration::from_millis(30));
                            for reader in &mut readers {
                                is_forked(&reader.task.join().unwrap().unwrap_err());
                            }
                            assert_eq!(metrics().io_waiting, 0);
                            // The data was for the parent. A call that needs no wait could take it.
                            thread::spawn(move || fresh_run(driver)).join().unwrap();
                        });
                    };
                    if !comes_first {
                        readers.iter().for_each(|reader| send(&reader.peer, 0));
                    }
                    assert_eq!(code_of(pid), GOOD, "{driver}");
                    readers.into_iter().for_each(|reader| reader.finish(1));
                    assert_eq!(metrics().io_waiting, 0);
                };
                Config::new().driver(driver).run(main).unwrap();
            }
        });
    });
    passed(&text);
}

fn fresh_run(driver: Driver) {
    let main = || {
        warm_up().unwrap();
        let reader = Reader::new();
        reader.finish(0);
        assert_eq!(metrics().io_driver, Some(driver));
    };
    Config::new().driver(driver).run(main).unwrap();
}

/// The child returns from its run, whose ring it does not have. The memory that it has mapped since is its own.
#[test]
fn child_returns_from_the_run() {
    let text = in_child("child_returns_from_the_run", || {
        on_each_driver(|driver| {
            for _ in 0..3 {
                let pages = RefCell::new(Vec::new());
                let pid = Cell::new(Some(0));
                let main = || {
                    warm_up().unwrap();
                    let mut readers: Vec<_> = (0..TASKS).map(|_| Reader::new()).collect();
                    until_waiting(TASKS as u64);
                    pid.set(fork());
                    if let Some(pid) = pid.get() {
                        readers.iter().for_each(|reader| send(&reader.peer, 0));
                        assert_eq!(code_of(pid), GOOD, "{driver}");
                        readers.into_iter().for_each(|reader| reader.finish(1));
                        return;
                    }
                    *pages.borrow_mut() = fill_gaps();
                    is_forked(&readers[0].task.join().unwrap().unwrap_err());
                };
                let outcome = catch_unwind(AssertUnwindSafe(|| Config::new().driver(driver).run(main).unwrap()));
                if pid.get().is_none() {
                    exit_after(|| {
                        outcome.unwrap();
                        assert!(pages.borrow().iter().all(|map| map.iter().all(|byte| *byte == 0x5A)));
                        fresh_run(driver);
                    });
                }
                outcome.unwrap();
            }
        });
    });
    passed(&text);
}

/// A task forks while others write to full streams, and while one is being cancelled.
#[test]
fn fork_between_writes_and_cancels() {
    let text = in_child("fork_between_writes_and_cancels", || {
        on_each_driver(|driver| {
            let main = || {
                warm_up().unwrap();
                let total = 60_000;
                let pairs: Vec<_> = (0..TASKS).map(|_| UnixStream::pair().unwrap()).collect();
                pairs.iter().for_each(|(stream, _)| SockRef::from(stream).set_send_buffer_size(4608).unwrap());
                let outcome = scope(|scope| {
                    let mut writers: Vec<_> = pairs
                        .iter()
                        .map(|(stream, _)| scope.spawn(move || (&*stream).write_all(&bytes(0..total))))
                        .collect();
                    let cancelled = Reader::new();
                    until_waiting(TASKS as u64 + 1);
                    cancelled.task.cancel();
                    let Some(pid) = fork() else {
                        exit_after(|| {
                            writers.iter_mut().for_each(|task| is_forked(&task.join().unwrap().unwrap_err()));
                            let mut task = cancelled.task;
                            assert!(task.join().unwrap().is_err());
                        });
                    };
                    assert_eq!(code_of(pid), GOOD, "{driver}");
                    let mut task = cancelled.task;
                    assert!(cede::io::is_cancelled(&task.join().unwrap().unwrap_err()));
                    for (_, peer) in &pairs {
                        let (mut at, mut buffer) = (0, [0; 4000]);
                        while at < total {
                            let count = timeout(LONG, || (&*peer).read(&mut buffer)).unwrap().unwrap();
                            let right = (at..at + count).map(byte);
                            assert!(right.eq(buffer[..count].iter().copied()), "wrong data behind {at}");
                            at += count;
                        }
                    }
                    writers.iter_mut().for_each(|task| task.join().unwrap().unwrap());
                });
                outcome.unwrap();
            };
            Config::new().driver(driver).run(main).unwrap();
        });
    });
    passed(&text);
}

/// Tasks wait for room in the queue when another one forks. The child has no queue.
#[test]
fn fork_while_the_queue_is_full() {
    if emulated() || !has_uring() {
        return; // qemu installs no filters
    }
    let text = in_child("fork_while_the_queue_is_full", || {
        raise_limit();
        // The kernel takes a full queue only where it also takes completions.
        refuse_if(libc::SYS_io_uring_enter, &[(1, 256), (2, 0), (3, 0)], libc::EBUSY);
        let main = || {
            warm_up().unwrap();
            let mut readers: Vec<_> = (0..600).map(|_| Reader::new()).collect();
            let mut forker = spawn(fork);
            let pid = forker.join().unwrap();
            let Some(pid) = pid else {
                exit_after(|| {
                    for reader in &mut readers {
                        is_forked(&reader.task.join().unwrap().unwrap_err());
                    }
                });
            };
            assert_eq!(code_of(pid), GOOD);
            readers.truncate(100);
            readers.into_iter().for_each(|reader| reader.finish(0));
        };
        Config::new().driver(Driver::Uring).run(main).unwrap();
    });
    passed(&text);
}
