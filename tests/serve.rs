//! Servers: the maximum of connections, a process without descriptors, panics, cancels, and the ordered shutdown.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::Driver;
use cede::net::{Server, TcpListener, TcpStream, UnixListener, UnixStream, serve};
use cede::sync::Event;
use cede::task::park;
use cede::time::{now, sleep};
use cede::{Config, run, scope, spawn, timeout, yield_now};
use common::child::in_child;
use common::seccomp::refuse;
use common::{emulated, rounds};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends a byte, and returns whether it comes back.
fn echoes(mut stream: &TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(&[7]).is_ok() && stream.read_exact(&mut byte).is_ok() && byte == [7]
}

/// Echoes until the peer closes. Returns whether a cancel ended it.
fn echo(stream: &TcpStream) -> bool {
    cede::io::copy(&mut &*stream, &mut &*stream).is_err_and(|error| cede::io::is_cancelled(&error))
}

/// Calls `f`, which must end in time: a server that does not end fails its test.
#[track_caller]
fn in_time<T>(f: impl FnOnce() -> T) -> T {
    timeout(LONG, f).expect("the server ends")
}

/// Yields until the condition holds, for a minute at most.
#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "the condition does not come true");
        yield_now();
    }
}

#[test]
fn handlers_borrow_and_cancel_ends_them() {
    let (cancelled, peers) = (Cell::new(0), RefCell::new(Vec::new()));
    run(|| {
        let (listener, address) = listener();
        scope(|s| {
            let mut server = s.spawn(|| {
                serve(listener, 10, |stream, peer| {
                    peers.borrow_mut().push(peer);
                    if echo(&stream) {
                        cancelled.set(cancelled.get() + 1);
                    }
                })
            });
            let streams: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert!(streams.iter().all(echoes));
            server.cancel();
            let error = in_time(|| server.join()).unwrap().unwrap_err();
            assert_eq!((error.kind(), cede::io::is_cancelled(&error)), (ErrorKind::Other, true));
            assert_eq!(cancelled.get(), 5, "the handlers ended before `serve` returned");
            let addresses: Vec<_> = streams.iter().map(|stream| stream.local_addr().unwrap()).collect();
            assert_eq!(*peers.borrow(), addresses);
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        })
        .unwrap();
    });
}

#[test]
fn deadline_ends_a_server() {
    run(|| {
        let ended = Cell::new(false);
        let (listener, address) = listener();
        let _stream = TcpStream::connect(address).unwrap();
        let outcome = timeout(20 * MS, || serve(&listener, 10, |stream, _| ended.set(echo(&stream))));
        let error = outcome.unwrap_err().value.unwrap_err();
        assert_eq!((error.kind(), cede::io::is_cancelled(&error)), (ErrorKind::TimedOut, true));
        assert!(ended.get());
        // A listener that was lent still accepts.
        let _next = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
    });
}

/// The read timeout of a listener also ends its server.
#[test]
fn read_timeout_ends_a_server() {
    run(|| {
        let (listener, address) = listener();
        listener.set_read_timeout(Some(20 * MS)).unwrap();
        let ended = Cell::new(false);
        let _stream = TcpStream::connect(address).unwrap();
        let error = in_time(|| serve(&listener, 10, |stream, _| ended.set(echo(&stream)))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(ended.get(), "the connection was cancelled");
    });
}

#[test]
fn maximum_leaves_clients_in_the_backlog() {
    let (running, most) = (Cell::new(0), Cell::new(0));
    run(|| {
        let (listener, address) = listener();
        scope(|s| {
            let server = s.spawn(|| {
                serve(listener, 3, |stream, _| {
                    running.set(running.get() + 1);
                    most.set(running.get().max(most.get()));
                    echo(&stream);
                    running.set(running.get() - 1);
                })
            });
            let mut streams: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert!(streams[..3].iter().all(echoes));
            // The fourth connection is open, but no handler reads from it.
            streams[3].set_read_timeout(Some(30 * MS)).unwrap();
            assert!(!echoes(&streams[3]));
            streams[3].set_read_timeout(None).unwrap();
            streams.remove(0);
            streams[2].read_exact(&mut [0]).unwrap();
            while streams.pop().is_some() {}
            let last = TcpStream::connect(address).unwrap();
            assert!(echoes(&last));
            server.cancel();
        })
        .unwrap();
    });
    assert_eq!((running.get(), most.get()), (0, 3));
}

#[test]
#[should_panic = "cannot serve with a maximum of 0 connections"]
fn maximum_of_zero_panics() {
    let _ = run(|| serve(listener().0, 0, |_, _| ()));
}

#[test]
fn shutdown_waits_for_handlers_and_cancels_the_rest() {
    let stop = Event::new();
    let (finished, cut) = (Cell::new(0), Cell::new(0));
    run(|| {
        let (listener, address) = listener();
        scope(|s| {
            let mut server = s.spawn(|| {
                Server::new(10).shutdown(&stop, 300 * MS).serve(listener, |stream, _| {
                    if echo(&stream) {
                        cut.set(cut.get() + 1);
                    } else {
                        finished.set(finished.get() + 1);
                    }
                })
            });
            let (short, long) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
            assert!(echoes(&short) && echoes(&long));
            stop.set();
            // The listener is closed before the grace period.
            until(|| TcpStream::connect(address).is_err());
            assert!(echoes(&short) && echoes(&long), "the connections continue");
            drop(short);
            let served = in_time(|| server.join()).unwrap().unwrap();
            assert_eq!((served.accepted, served.cancelled), (2, 1));
            assert_eq!((finished.get(), cut.get()), (1, 1));
        })
        .unwrap();
    });
}

#[test]
fn cleared_event_still_stops() {
    run(|| {
        let stop = Event::new();
        let (listener, address) = listener();
        scope(|s| {
            let server = Server::new(10).shutdown(&stop, LONG);
            let mut server = s.spawn(|| server.serve(listener, |stream, _| assert!(!echo(&stream))));
            let stream = TcpStream::connect(address).unwrap();
            assert!(echoes(&stream));
            rounds(20);
            stop.set();
            stop.clear();
            until(|| TcpStream::connect(address).is_err());
            assert!(echoes(&stream), "the connection continues");
            drop(stream);
            let served = in_time(|| server.join()).unwrap().unwrap();
            assert_eq!(served.cancelled, 0);
        })
        .unwrap();
    });
}

#[test]
fn shutdown_ends_when_the_last_handler_returns() {
    run(|| {
        let stop = Event::new();
        let (listener, address) = listener();
        scope(|s| {
            // At the maximum, where the server waits for a handler and not for a connection.
            let server = Server::new(1).shutdown(&stop, LONG);
            let mut server = s.spawn(|| server.serve(listener, |stream, _| assert!(!echo(&stream))));
            let stream = TcpStream::connect(address).unwrap();
            assert!(echoes(&stream));
            stop.set();
            rounds(20);
            assert!(!server.is_finished() && echoes(&stream));
            drop(stream);
            let served = in_time(|| server.join()).unwrap().unwrap();
            assert_eq!((served.accepted, served.cancelled), (1, 0));
        })
        .unwrap();
    });
}

#[test]
fn cancel_ends_the_grace_period() {
    run(|| {
        let stop = Event::new();
        let (listener, address) = listener();
        let was_cut = Cell::new(false);
        scope(|s| {
            let server = Server::new(10).shutdown(&stop, Duration::MAX);
            let mut server = s.spawn(|| server.serve(listener, |stream, _| was_cut.set(echo(&stream))));
            let stream = TcpStream::connect(address).unwrap();
            assert!(echoes(&stream));
            stop.set();
            rounds(20);
            server.cancel();
            assert!(cede::io::is_cancelled(&in_time(|| server.join()).unwrap().unwrap_err()));
            assert!(was_cut.get());
        })
        .unwrap();
    });
}

#[test]
fn another_thread_stops_a_server() {
    static STOP: Event = Event::new();
    let thread = std::thread::spawn(|| {
        std::thread::sleep(20 * MS);
        STOP.set();
    });
    let served = run(|| in_time(|| Server::new(10).shutdown(&STOP, LONG).serve(listener().0, |_, _| ()))).unwrap();
    assert_eq!((served.accepted, served.cancelled), (0, 0));
    // A server that is stopped before it starts accepts nothing.
    let (listener, address) = listener();
    let _stream = std::net::TcpStream::connect(address).unwrap();
    let served = run(|| Server::new(10).shutdown(&STOP, LONG).serve(listener, |_, _| ())).unwrap();
    assert_eq!(served.accepted, 0);
    thread.join().unwrap();
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_ends_one_connection() {
    let panics: Rc<RefCell<Vec<String>>> = Rc::default();
    let seen = Rc::clone(&panics);
    let hook = move |_: &str, payload: &(dyn std::any::Any + Send)| seen.borrow_mut().push(common::text_of(payload));
    let main = || {
        let (listener, address) = listener();
        let server = spawn(move || {
            serve(listener, 2, |stream, _| {
                let mut byte = [0];
                while (&stream).read(&mut byte).is_ok_and(|count| count > 0) {
                    assert_ne!(byte, [0], "a request of 0");
                    (&stream).write_all(&byte).unwrap();
                }
            })
        });
        let good = TcpStream::connect(address).unwrap();
        assert!(echoes(&good));
        for _ in 0..3 {
            let mut bad = TcpStream::connect(address).unwrap();
            bad.write_all(&[0]).unwrap();
            assert!(!bad.read(&mut [0]).is_ok_and(|count| count > 0), "the panic closed the connection");
            assert!(echoes(&good));
        }
        server.cancel();
    };
    Config::new().on_unhandled_panic(hook).run(main).unwrap();
    let panics = panics.borrow();
    assert!(panics.len() == 3 && panics.iter().all(|text| text.contains("a request of 0")), "{panics:?}");
}

#[test]
fn shut_down_listener_ends_the_server() {
    run(|| {
        let (stop, was_cut) = (Event::new(), Cell::new(false));
        let (listener, address) = listener();
        scope(|s| {
            // The stop event is never set.
            let server = Server::new(10).shutdown(&stop, LONG);
            let mut server = s.spawn(|| server.serve(&listener, |stream, _| was_cut.set(echo(&stream))));
            let stream = TcpStream::connect(address).unwrap();
            assert!(echoes(&stream));
            socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both).unwrap();
            assert_eq!(in_time(|| server.join()).unwrap().unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(was_cut.get());
        })
        .unwrap();
    });
}

#[test]
fn unix_listeners_are_served() {
    let path = std::env::temp_dir().join(format!("cede-serve-{}", std::process::id()));
    run(|| {
        let listener = UnixListener::bind(&path).unwrap();
        let serve = |stream: UnixStream, _| {
            let _ = cede::io::copy(&mut &stream, &mut &stream);
        };
        let server = spawn(move || cede::net::serve(listener, 10, serve));
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"unix").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        server.cancel();
    });
    std::fs::remove_file(&path).unwrap();
}

#[test]
#[should_panic = "outside of a run"]
fn serve_outside_of_a_run_panics() {
    let _ = serve(listener().0, 1, |_, _| ());
}

/// With `CEDE_CONNECTIONS=n`, n instead of 500 connections.
#[test]
fn many_connections_are_served_at_once() {
    let count = std::env::var("CEDE_CONNECTIONS").map_or(500, |count| count.parse().expect("a number"));
    set_descriptor_limit(2 * count + 100);
    run(|| {
        let running = Cell::new(0);
        let (listener, address) = listener();
        scope(|s| {
            let mut server = s.spawn(|| {
                serve(listener, count as usize, |stream, _| {
                    running.set(running.get() + 1);
                    echo(&stream);
                    running.set(running.get() - 1);
                })
            });
            let streams: Vec<_> = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert!(streams.iter().all(echoes));
            assert_eq!(running.get(), count);
            drop(streams);
            until(|| running.get() == 0);
            server.cancel();
            assert!(in_time(|| server.join()).unwrap().is_err());
        })
        .unwrap();
    });
}

fn set_descriptor_limit(count: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = count.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Opens connections whose descriptors have high numbers, and then limits the process to 64 descriptors: the clients do not count.
fn listener_at_the_limit(clients: usize) -> (TcpListener, Vec<std::net::TcpStream>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(clients as i32).unwrap();
    let listener = TcpListener::from(std::net::TcpListener::from(listener));
    let address = listener.local_addr().unwrap();
    set_descriptor_limit(1024);
    let connect = |_| {
        let stream = std::net::TcpStream::connect(address).unwrap();
        // SAFETY: the descriptor is open, and the duplicate, which is new, is owned by the new stream alone.
        unsafe {
            let high = libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 500);
            assert!(high >= 500);
            std::net::TcpStream::from_raw_fd(high)
        }
    };
    let clients = (0..clients).map(connect).collect();
    set_descriptor_limit(64);
    (listener, clients)
}

/// Returns the CPU time of this process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn server_without_descriptors_waits_idle() {
    let text = in_child("server_without_descriptors_waits_idle", || {
        let (listener, clients) = listener_at_the_limit(200);
        run(|| {
            let accepted = Cell::new(0);
            scope(|s| {
                let server = s.spawn(|| {
                    serve(listener, 1000, |stream, _| {
                        accepted.set(accepted.get() + 1);
                        echo(&stream);
                    })
                });
                rounds(20);
                let before = cpu_time();
                sleep(Duration::from_secs(2)).unwrap();
                let busy = cpu_time() - before;
                let held = accepted.get();
                assert!((20..64).contains(&held), "{held} connections");
                assert!(emulated() || busy < 100 * MS, "{busy:?} of CPU time in 2 s");
                // Each client is served after some of the earlier ones have closed.
                for client in clients {
                    assert!(echoes(&TcpStream::from(client)));
                }
                assert_eq!(accepted.get(), 200);
                server.cancel();
            })
            .unwrap();
        });
    });
    assert_eq!(text.matches("cannot accept a connection now").count(), 1, "{text}");
    assert!(text.contains("Too many open files") && text.ends_with("exit code Some(0)"), "{text}");
}

/// By the paused clock: the delay of 1 s ends early, so that no time passes.
#[test]
fn freed_descriptor_ends_the_delay() {
    let text = in_child("freed_descriptor_ends_the_delay", || {
        let (listener, clients) = listener_at_the_limit(200);
        let (accepted, errors) = (Cell::new(0), RefCell::new(Vec::new()));
        let main = || {
            scope(|s| {
                let server = Server::new(1000).on_error(|error| errors.borrow_mut().push(error.raw_os_error()));
                let server = s.spawn(|| {
                    server.serve(listener, |stream, _| {
                        accepted.set(accepted.get() + 1);
                        echo(&stream);
                    })
                });
                let began = now();
                sleep(Duration::from_millis(1300)).unwrap();
                let held = accepted.get();
                let mut clients = clients.into_iter();
                drop(clients.next());
                until(|| accepted.get() > held);
                assert_eq!(now() - began, Duration::from_millis(1300));
                // The hook receives the next episode, too.
                sleep(Duration::from_secs(30)).unwrap();
                drop(clients);
                until(|| accepted.get() == 200);
                server.cancel();
            })
            .unwrap();
        };
        Config::new().paused_clock(true).run(main).unwrap();
        assert_eq!(*errors.borrow(), [Some(libc::EMFILE)], "reported once");
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Each error of a missing resource delays the server, which neither spins nor ends. An error of a connection is skipped.
#[test]
fn errors_of_accept_do_not_end_the_server() {
    if emulated() {
        return; // qemu installs no filters
    }
    let text = in_child("errors_of_accept_do_not_end_the_server", || {
        let check = |error: i32| {
            let (listener, address) = listener();
            refuse(libc::SYS_accept4, error);
            let errors = RefCell::new(Vec::new());
            let main = || {
                let _client = TcpStream::connect(address).unwrap();
                let server = Server::new(10).on_error(|error| errors.borrow_mut().push(error.raw_os_error()));
                // In an hour by the paused clock, one attempt per second.
                let parks = || cede::metrics().parks;
                let before = parks();
                let outcome = timeout(Duration::from_secs(3600), || server.serve(listener, |_, _| unreachable!()));
                assert_eq!(outcome.unwrap_err().value.unwrap_err().kind(), ErrorKind::TimedOut);
                parks() - before
            };
            // The filter does not concern io_uring.
            let parks = Config::new().paused_clock(true).driver(Driver::Epoll).run(main).unwrap();
            assert!((3600..3700).contains(&parks), "{parks} waits");
            assert_eq!(*errors.borrow(), [Some(error)]);
        };
        let skips = |error: i32| {
            let (listener, address) = listener();
            refuse(libc::SYS_accept4, error);
            let outcome = Config::new().driver(Driver::Epoll).run(|| {
                let _client = TcpStream::connect(address).unwrap();
                let mut server = spawn(move || serve(listener, 10, |_, _| unreachable!()));
                rounds(100);
                assert!(!server.is_finished(), "the next connection may be good");
                server.cancel();
                assert!(cede::io::is_cancelled(&in_time(|| server.join()).unwrap().unwrap_err()));
            });
            outcome.unwrap();
        };
        for error in [libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EPERM] {
            // A thread has its own filter.
            std::thread::scope(|s| s.spawn(|| check(error)).join().unwrap());
        }
        for error in [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN, libc::ENONET, libc::ETIMEDOUT] {
            std::thread::scope(|s| s.spawn(|| skips(error)).join().unwrap());
        }
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Without address space for the stack of a task, the accepted connection is closed, and the server continues.
#[test]
fn missing_stack_closes_the_connection() {
    if emulated() || cfg!(feature = "asan") {
        return; // the limit would be that of the emulator, or too small for the sanitizer
    }
    let text = in_child("missing_stack_closes_the_connection", || {
        const STACK: usize = 1 << 30;
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
        let size = size.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024;
        let limit = libc::rlimit { rlim_cur: size + 10 * STACK as u64, rlim_max: size + 10 * STACK as u64 };
        // SAFETY: `limit` is valid for the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        let errors = RefCell::new(Vec::new());
        let main = || {
            let (listener, address) = listener();
            scope(|s| {
                let server = Server::new(100).on_error(|error| errors.borrow_mut().push(error.kind()));
                let options = cede::Builder::new().stack_size(STACK);
                let task = || server.serve(listener, |stream, _| assert!(!echo(&stream)));
                let server = options.spawn_scoped(s, task).unwrap();
                let begun = now();
                let mut good: Vec<_> = (0..15).map(|_| TcpStream::connect(address).unwrap()).collect();
                good.retain(echoes);
                assert!((1..10).contains(&good.len()), "{} stacks", good.len());
                assert!(now() - begun >= 5 * MS + 10 * MS + 20 * MS, "each failure is followed by a longer delay");
                // The end of a connection frees its stack. The server may accept before it sees the end.
                good.pop();
                until(|| echoes(&TcpStream::connect(address).unwrap()));
                assert!(good.iter().all(echoes));
                drop(good);
                server.cancel();
            })
            .unwrap();
        };
        Config::new().stack_size(STACK).paused_clock(true).run(main).unwrap();
        assert_eq!(*errors.borrow(), [ErrorKind::OutOfMemory]);
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn run_that_ends_ends_its_server() {
    let ended = Rc::new(Cell::new(false));
    let seen = Rc::clone(&ended);
    run(move || {
        let (listener, address) = listener();
        spawn(move || {
            let outcome = serve(listener, 10, |stream, _| {
                echo(&stream);
                let _ = park("a cancelled task waits no longer");
            });
            seen.set(outcome.is_err_and(|error| cede::io::is_cancelled(&error)));
        });
        assert!(echoes(&TcpStream::connect(address).unwrap()));
    });
    assert!(ended.get());
}

/// A handler that ignores its cancel is unwound after the grace period of the run. The forced unwind is no panic.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn forced_unwind_of_a_handler_is_no_panic() {
    let panics = Rc::new(Cell::new(0));
    let seen = Rc::clone(&panics);
    let ended = Rc::new(Cell::new(false));
    let at_end = common::witness::AtEnd({
        let ended = Rc::clone(&ended);
        move || ended.set(true)
    });
    let main = move || {
        let (listener, address) = listener();
        spawn(move || {
            let _ = serve(listener, 10, |_, _| {
                let _at_end = &at_end;
                loop {
                    let _ = park("a handler that ignores cancels");
                }
            });
        });
        let _stream = TcpStream::connect(address).unwrap();
        rounds(20);
    };
    let config = Config::new().shutdown_grace(10 * MS).on_unhandled_panic(move |_, _| seen.set(seen.get() + 1));
    config.run(main).unwrap();
    assert_eq!((panics.get(), ended.get()), (0, true));
}
