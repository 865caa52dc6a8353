//! Servers on several workers: where connections run, the maximum, panics, cancels, a lack of resources, and the ordered shutdown.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::Driver;
use cede::net::{Server, TcpListener, TcpStream, UnixListener, UnixStream, serve_anywhere};
use cede::sync::Event;
use cede::task::{current, park};
use cede::time::{now, sleep};
use cede::{Config, JoinHandle, spawn, timeout, yield_now};
use common::child::in_child;
use common::witness::AtEnd;
use common::{emulated, text_of};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

fn with<T>(workers: usize, main: impl FnOnce() -> T) -> T {
    Config::new().workers(workers).run(main).unwrap()
}

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

#[track_caller]
fn in_time<T>(f: impl FnOnce() -> T) -> T {
    timeout(LONG, f).expect("the server ends")
}

#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LONG, "the condition does not come true");
        yield_now();
    }
}

/// Ends a server by a cancel.
#[track_caller]
fn stop<T: std::fmt::Debug>(mut server: JoinHandle<io::Result<T>>) {
    server.cancel();
    assert!(cede::io::is_cancelled(&in_time(|| server.join()).unwrap().unwrap_err()));
}

/// A counter that tasks of all workers change.
type Count = Arc<AtomicUsize>;

/// Spawns a server whose handlers echo and count: those that run, and those that a cancel ended.
fn counting(max: usize) -> (SocketAddr, JoinHandle<io::Result<cede::net::Served>>, Count, Count) {
    let (listener, address) = listener();
    let (running, cut) = (Count::default(), Count::default());
    let (inside, ended) = (Arc::clone(&running), Arc::clone(&cut));
    let server = spawn(move || {
        serve_anywhere(listener, max, move |stream, _| {
            inside.fetch_add(1, SeqCst);
            if echo(&stream) {
                ended.fetch_add(1, SeqCst);
            }
            inside.fetch_sub(1, SeqCst);
        })
    });
    (address, server, running, cut)
}

/// Open connections are spread evenly: the next one goes to the worker with the fewest.
#[test]
fn connections_are_spread_evenly() {
    for (driver, workers) in [(Driver::Epoll, 3), (Driver::Auto, 3), (Driver::Auto, 1)] {
        let main = || {
            let (listener, address) = listener();
            let server = spawn(move || {
                serve_anywhere(listener, 100, |mut stream, peer| {
                    let worker = current().unwrap().worker() as u8;
                    while stream.read(&mut [0]).is_ok_and(|count| count > 0) {
                        assert_eq!(peer, stream.peer_addr().unwrap());
                        stream.write_all(&[worker]).unwrap();
                    }
                })
            });
            let worker_of = |stream: &TcpStream| {
                let (mut stream, mut byte) = (stream, [9]);
                stream.write_all(&[0]).unwrap();
                stream.read_exact(&mut byte).unwrap();
                usize::from(byte[0])
            };
            let counts = |streams: &[TcpStream]| {
                let mut counts = vec![0; workers];
                streams.iter().for_each(|stream| counts[worker_of(stream)] += 1);
                counts
            };
            let mut streams: Vec<_> = (0..4 * workers).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert_eq!(counts(&streams), vec![4; workers]);
            // After the connections of worker 0 have ended, the new ones go there.
            streams.retain(|stream| worker_of(stream) != 0);
            sleep(50 * MS).unwrap();
            streams.extend((0..4).map(|_| TcpStream::connect(address).unwrap()));
            assert_eq!(counts(&streams), vec![4; workers]);
            stop(server);
        };
        Config::new().workers(workers).driver(driver).run(main).unwrap();
    }
}

#[test]
fn cancel_ends_the_handlers_everywhere() {
    with(3, || {
        let (address, server, running, cut) = counting(10);
        let streams: Vec<_> = (0..6).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(streams.iter().all(echoes));
        assert_eq!(running.load(SeqCst), 6);
        stop(server);
        assert_eq!((running.load(SeqCst), cut.load(SeqCst)), (0, 6), "they ended before the server returned");
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// What the handler owns is dropped before the server returns, by whichever thread.
#[test]
fn handler_is_dropped_before_the_return() {
    for round in 0..if emulated() { 3 } else { 30 } {
        let dropped = Count::default();
        let seen = Arc::clone(&dropped);
        with(3, move || {
            let at_end = AtEnd({
                let seen = Arc::clone(&seen);
                move || {
                    seen.fetch_add(1, SeqCst);
                }
            });
            let (listener, address) = listener();
            let server = spawn(move || {
                let outcome = serve_anywhere(listener, 10, move |stream, _| {
                    let _at_end = &at_end;
                    echo(&stream);
                });
                assert_eq!(seen.load(SeqCst), 1, "round {round}");
                outcome
            });
            let streams: Vec<_> = (0..6).map(|_| TcpStream::connect(address).unwrap()).collect();
            assert!(streams.iter().all(echoes));
            stop(server);
        });
        assert_eq!(dropped.load(SeqCst), 1);
    }
}

#[test]
fn deadline_ends_the_server() {
    with(2, || {
        let (listener, address) = listener();
        let (_one, _other) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        let cut = Count::default();
        let seen = Arc::clone(&cut);
        let handler = move |stream: TcpStream, _| {
            seen.fetch_add(usize::from(echo(&stream)), SeqCst);
        };
        let outcome = timeout(100 * MS, || serve_anywhere(&listener, 10, handler));
        let error = outcome.unwrap_err().value.unwrap_err();
        assert_eq!((error.kind(), cede::io::is_cancelled(&error)), (ErrorKind::TimedOut, true));
        assert_eq!(cut.load(SeqCst), 2);
        // A listener that was lent still accepts.
        let _next = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
    });
}

#[test]
fn maximum_counts_all_workers() {
    with(2, || {
        let (address, server, running, _) = counting(3);
        let mut streams: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(streams[..3].iter().all(echoes));
        // The fourth connection is open, but no handler reads from it.
        streams[3].set_read_timeout(Some(30 * MS)).unwrap();
        assert!(!echoes(&streams[3]));
        assert_eq!(running.load(SeqCst), 3);
        streams[3].set_read_timeout(None).unwrap();
        streams.remove(0);
        streams[2].read_exact(&mut [0]).unwrap();
        while streams.pop().is_some() {}
        assert!(echoes(&TcpStream::connect(address).unwrap()));
        stop(server);
    });
}

#[test]
#[should_panic = "cannot serve with a maximum of 0 connections"]
fn maximum_of_zero_panics() {
    let _ = cede::run(|| serve_anywhere(listener().0, 0, |_, _| ()));
}

#[test]
#[should_panic = "outside of a run"]
fn server_outside_of_a_run_panics() {
    let _ = serve_anywhere(listener().0, 1, |_, _| ());
}

#[test]
fn shutdown_waits_and_cancels_the_rest() {
    with(3, || {
        let stop = Arc::new(Event::new());
        let (listener, address) = listener();
        let (finished, cut) = (Count::default(), Count::default());
        let (good, bad, event) = (Arc::clone(&finished), Arc::clone(&cut), Arc::clone(&stop));
        let mut server = spawn(move || {
            Server::new(10).shutdown(&event, 300 * MS).serve_anywhere(listener, move |stream, _| {
                let count = if echo(&stream) { &bad } else { &good };
                count.fetch_add(1, SeqCst);
            })
        });
        let connect = || TcpStream::connect(address).unwrap();
        let (short, long) = ([connect(), connect()], [connect(), connect()]);
        assert!(short.iter().chain(&long).all(echoes));
        stop.set();
        // The listener is closed before the grace period.
        until(|| TcpStream::connect(address).is_err());
        assert!(short.iter().chain(&long).all(echoes), "the connections continue");
        drop(short);
        let served = in_time(|| server.join()).unwrap().unwrap();
        assert_eq!((served.accepted, served.cancelled), (4, 2));
        assert_eq!((finished.load(SeqCst), cut.load(SeqCst)), (2, 2));
    });
}

/// A handler on another worker stops the server, which does not wait for the grace period.
#[test]
fn handler_stops_the_server() {
    with(3, || {
        let stop = Arc::new(Event::new());
        let (listener, address) = listener();
        let event = Arc::clone(&stop);
        let mut server = spawn(move || {
            let set = Arc::clone(&event);
            Server::new(10).shutdown(&event, Duration::MAX).serve_anywhere(listener, move |stream, _| {
                echo(&stream);
                if current().unwrap().worker() == 2 {
                    set.set();
                }
            })
        });
        let streams: Vec<_> = (0..6).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(streams.iter().all(echoes));
        drop(streams);
        let served = in_time(|| server.join()).unwrap().unwrap();
        assert_eq!((served.accepted, served.cancelled), (6, 0));
    });
}

#[test]
fn cancel_ends_the_grace_period() {
    with(2, || {
        let stop_event = Arc::new(Event::new());
        let (listener, address) = listener();
        let cut = Count::default();
        let (seen, event) = (Arc::clone(&cut), Arc::clone(&stop_event));
        let server = spawn(move || {
            Server::new(10).shutdown(&event, Duration::MAX).serve_anywhere(listener, move |stream, _| {
                seen.fetch_add(usize::from(echo(&stream)), SeqCst);
            })
        });
        let streams = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        assert!(streams.iter().all(echoes));
        stop_event.set();
        until(|| TcpStream::connect(address).is_err());
        stop(server);
        assert_eq!(cut.load(SeqCst), 2);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_ends_one_connection() {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&panics);
    let main = || {
        let (listener, address) = listener();
        let server = spawn(move || {
            serve_anywhere(listener, 4, |stream, _| {
                let mut byte = [0];
                while (&stream).read(&mut byte).is_ok_and(|count| count > 0) {
                    assert_ne!(byte, [0], "a request of 0");
                    (&stream).write_all(&byte).unwrap();
                }
            })
        });
        let good = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        assert!(good.iter().all(echoes));
        for _ in 0..6 {
            let mut bad = TcpStream::connect(address).unwrap();
            bad.write_all(&[0]).unwrap();
            assert!(!bad.read(&mut [0]).is_ok_and(|count| count > 0), "the panic closed the connection");
            assert!(good.iter().all(echoes));
        }
        until(|| seen.lock().unwrap().len() == 6);
        stop(server);
    };
    let hook = {
        let panics = Arc::clone(&panics);
        move |_: &str, payload: &(dyn std::any::Any + Send)| panics.lock().unwrap().push(text_of(payload))
    };
    Config::new().workers(2).on_unhandled_panic(hook).run(main).unwrap();
    let panics = panics.lock().unwrap();
    assert!(panics.iter().all(|text| text.contains("a request of 0")), "{panics:?}");
}

#[test]
fn unix_listeners_are_served() {
    let path = std::env::temp_dir().join(format!("cede-serve-anywhere-{}", std::process::id()));
    with(2, || {
        let listener = UnixListener::bind(&path).unwrap();
        let server = spawn(move || {
            serve_anywhere(listener, 10, |stream: UnixStream, _| {
                let _ = cede::io::copy(&mut &stream, &mut &stream);
            })
        });
        for _ in 0..4 {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(b"unix").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        }
        stop(server);
    });
    std::fs::remove_file(&path).unwrap();
}

/// Many short connections at once from all workers: each is answered once, and none is left.
#[test]
fn many_short_connections_are_served() {
    let count = if emulated() { 60 } else { 1000 };
    with(4, || {
        let (listener, address) = listener();
        socket2::SockRef::from(&listener).listen(4096).unwrap();
        let stop = Arc::new(Event::new());
        let event = Arc::clone(&stop);
        let mut server = spawn(move || {
            Server::new(20).shutdown(&event, LONG).serve_anywhere(listener, |stream, _| assert!(!echo(&stream)))
        });
        let client = move || (0..count / 4).for_each(|_| assert!(echoes(&TcpStream::connect(address).unwrap())));
        let mut clients: Vec<_> =
            (0..4).map(|worker| cede::Builder::new().on(worker).spawn_anywhere(client).unwrap()).collect();
        clients.iter_mut().for_each(|client| client.join().unwrap());
        stop.set();
        let served = in_time(|| server.join()).unwrap().unwrap();
        assert_eq!((served.accepted, served.cancelled), (count, 0));
    });
}

/// The end of the run ends a server, and a handler that ignores its cancel is unwound on its worker.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn run_that_ends_ends_its_server() {
    let (ended, unwound) = (Count::default(), Count::default());
    let (seen, left) = (Arc::clone(&ended), Arc::clone(&unwound));
    let main = move || {
        let (listener, address) = listener();
        spawn(move || {
            let outcome = serve_anywhere(listener, 10, move |mut stream, _| {
                let _at_end = AtEnd({
                    let left = Arc::clone(&left);
                    move || {
                        left.fetch_add(1, SeqCst);
                    }
                });
                stream.write_all(&[1]).unwrap();
                loop {
                    let _ = park("a handler that ignores cancels");
                }
            });
            seen.fetch_add(usize::from(outcome.is_err_and(|error| cede::io::is_cancelled(&error))), SeqCst);
        });
        for _ in 0..4 {
            TcpStream::connect(address).unwrap().read_exact(&mut [0]).unwrap();
        }
    };
    Config::new().workers(2).shutdown_grace(10 * MS).run(main).unwrap();
    assert_eq!(unwound.load(SeqCst), 4);
    assert!(ended.load(SeqCst) <= 1);
}

/// Without address space for the stacks, accepted connections are closed, and the server continues when others have ended.
#[test]
fn missing_stack_closes_the_connection() {
    if emulated() || cfg!(feature = "asan") {
        return; // the limit would be that of the emulator, or too small for the sanitizer
    }
    let text = in_child("missing_stack_closes_the_connection", || {
        const STACK: usize = 1 << 30;
        let main = || {
            let (listener, address) = listener();
            let errors = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&errors);
            let options = cede::Builder::new().stack_size(STACK);
            let server = options.spawn(move || {
                let server = Server::new(100).on_error(move |error| seen.lock().unwrap().push(error.kind()));
                server.serve_anywhere(listener, |stream, _| assert!(!echo(&stream)))
            });
            let server = server.unwrap();
            assert!(echoes(&TcpStream::connect(address).unwrap()), "the workers have their threads and reactors");
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
            let size = size.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024;
            let limit = libc::rlimit { rlim_cur: size + 8 * STACK as u64, rlim_max: size + 8 * STACK as u64 };
            // SAFETY: `limit` is valid for the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
            let begun = now();
            // One after another: the server learns of a lack on another worker after the accept.
            let connect = |_| Some(TcpStream::connect(address).unwrap()).filter(echoes);
            let mut good: Vec<_> = (0..15).filter_map(connect).collect();
            assert!((1..12).contains(&good.len()), "{} stacks", good.len());
            assert!(now() - begun >= 5 * MS, "a failure is followed by a delay");
            good.pop();
            until(|| echoes(&TcpStream::connect(address).unwrap()));
            assert!(good.iter().all(echoes));
            drop(good);
            stop(server);
            assert_eq!(*errors.lock().unwrap(), [ErrorKind::OutOfMemory]);
        };
        Config::new().workers(2).stack_size(STACK).run(main).unwrap();
    });
    assert_eq!(text, "exit code Some(0)");
}
