//! A fork inside of a run: the child's waits for I/O fail, and the parent goes on.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::Driver;
use cede::net::{TcpListener, TcpStream, UnixStream};
use cede::{JoinHandle, metrics, run, spawn, timeout, yield_now};
use common::child::in_child;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// Forks. Runs `child` in the child process, whose exit code says whether it panicked, and returns the code in the parent.
fn forked(child: impl FnOnce()) -> i32 {
    // SAFETY: the child has only this thread. It allocates and starts threads, which glibc allows after a fork.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: alarm takes a number. A child that hangs is killed by SIGALRM.
            unsafe { libc::alarm(20) };
            let code = catch_unwind(AssertUnwindSafe(child)).map_or(3, |()| 42);
            // SAFETY: the child runs nothing more, so it skips all exit handlers.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` is writable for the call.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
        }
    }
}

fn is_forked(result: io::Result<impl Sized>) {
    let Err(error) = result else { panic!("the wait succeeded") };
    assert!(error.to_string().starts_with("forked: "), "{error}");
    assert!(!cede::io::is_cancelled(&error));
}

/// A task that returns each byte it reads, until the end of the stream.
fn echo(mut stream: UnixStream) -> JoinHandle<io::Result<()>> {
    spawn(move || {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    })
}

/// A byte and its echo, twice, in the calling context.
fn round_trips(mut stream: &UnixStream) -> io::Result<()> {
    for sent in [b"a", b"b"] {
        stream.write_all(sent)?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        assert_eq!(&byte, sent);
    }
    Ok(())
}

fn fresh_run() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let mut task = echo(there);
        yield_now();
        round_trips(&here).unwrap();
        assert!(metrics().io_descriptors > 0 || metrics().io_driver == Some(Driver::Uring));
        drop(here);
        task.join().unwrap().unwrap();
    });
}

#[track_caller]
fn ran(text: &str) {
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn fork_leaves_the_registrations_alone() {
    let body = || {
        run(|| {
            let (mut streams, mut tasks) = (Vec::new(), Vec::new());
            for _ in 0..10 {
                let (here, there) = UnixStream::pair().unwrap();
                streams.push(here);
                tasks.push(echo(there));
            }
            yield_now();
            for stream in &streams {
                round_trips(stream).unwrap();
            }
            // Both ends of each stream, with epoll: io_uring needs no registration.
            let watched = metrics().io_descriptors;
            assert!(watched == 20 || metrics().io_driver == Some(Driver::Uring), "{watched}");
            assert_eq!(metrics().io_waiting, 10);
            let mut forker = spawn(move || {
                let code = forked(|| {
                    // The first wait in the child, in the task that forked.
                    is_forked(streams[0].try_clone().unwrap().read(&mut [0]));
                    is_forked((&streams[1]).read(&mut [0]));
                    // Tasks that waited during the fork.
                    for task in &mut tasks {
                        is_forked(task.join().unwrap());
                    }
                    assert_eq!((metrics().io_descriptors, metrics().io_waiting), (0, 0));
                    drop(streams.drain(..5));
                    thread::spawn(fresh_run).join().unwrap();
                });
                (code, streams, tasks)
            });
            let (code, streams, mut tasks) = forker.join().unwrap();
            assert_eq!(code, 42);
            assert_eq!((metrics().io_descriptors, metrics().io_waiting), (watched, 10));
            for stream in &streams {
                timeout(LONG, || round_trips(stream)).unwrap().unwrap();
            }
            drop(streams);
            for task in &mut tasks {
                task.join().unwrap().unwrap();
            }
        });
    };
    ran(&in_child("fork_leaves_the_registrations_alone", body));
}

/// Data that is there for the parent's tasks: a poll of the child would take the events.
#[test]
fn child_takes_no_events() {
    let body = || {
        run(|| {
            let (here, there) = UnixStream::pair().unwrap();
            let mut task = echo(there);
            yield_now();
            (&here).write_all(b"x").unwrap();
            let code = forked(|| {
                cede::time::sleep(Duration::from_millis(20)).unwrap();
                is_forked(task.join().unwrap());
            });
            assert_eq!(code, 42);
            timeout(LONG, || (&here).read_exact(&mut [0])).unwrap().unwrap();
            drop(here);
            task.join().unwrap().unwrap();
        });
    };
    ran(&in_child("child_takes_no_events", body));
}

#[test]
fn run_without_a_poller_waits_in_both() {
    let body = || {
        run(|| {
            let code = forked(|| {
                let (here, there) = UnixStream::pair().unwrap();
                let mut task = echo(there);
                yield_now();
                round_trips(&here).unwrap();
                drop(here);
                task.join().unwrap().unwrap();
            });
            assert_eq!(code, 42);
            let (here, there) = UnixStream::pair().unwrap();
            let _task = echo(there);
            round_trips(&here).unwrap();
        });
    };
    ran(&in_child("run_without_a_poller_waits_in_both", body));
}

#[test]
fn plain_thread_of_a_child_waits() {
    let body = || {
        // The pool of the child has its own thread, although that of the parent has reached the limit.
        cede::blocking::set_max_threads(1);
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        fresh_run();
        let code = forked(|| {
            // The pool's thread of the lookup above is gone.
            let mut stream = TcpStream::connect(("localhost", port)).unwrap();
            let mut peer = listener.accept().unwrap().0;
            let writer = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                peer.write_all(b"x").unwrap();
            });
            stream.read_exact(&mut [0]).unwrap();
            writer.join().unwrap();
            fresh_run();
            run(|| assert_eq!(cede::blocking::unblock(|| 7), 7));
        });
        assert_eq!(code, 42);
    };
    ran(&in_child("plain_thread_of_a_child_waits", body));
}
