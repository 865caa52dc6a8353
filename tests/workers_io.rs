//! I/O on every worker of a run, and descriptors that move between workers.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::Driver;
use cede::net::{TcpListener, TcpStream, UdpSocket};
use cede::sync::channel::{bounded, rendezvous};
use cede::task::{RemoteHandle, current, spawn_anywhere};
use cede::time::sleep;
use cede::{Builder, Config, io, spawn, timeout};
use common::emulated;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const WORKERS: usize = 3;
const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

/// Runs `main` with three workers, once with each driver.
fn with_drivers(main: impl Fn()) {
    for driver in [Driver::Epoll, Driver::Auto] {
        Config::new().workers(WORKERS).driver(driver).run(&main).unwrap();
    }
}

/// Spawns a task on a worker.
fn on<T: Send + 'static>(worker: usize, f: impl FnOnce() -> T + Send + 'static) -> RemoteHandle<T> {
    let task = move || {
        assert_eq!(current().unwrap().worker(), worker);
        timeout(LONG, f).expect("the task ends in time")
    };
    Builder::new().on(worker).spawn_anywhere(task).unwrap()
}

/// Calls `f` on each worker at the same time.
fn on_each<T: Send + 'static>(f: impl Fn(usize) -> T + Send + Sync + Copy + 'static) -> Vec<T> {
    let mut tasks: Vec<_> = (0..WORKERS).map(|worker| on(worker, move || f(worker))).collect();
    tasks.iter_mut().map(|task| task.join().unwrap()).collect()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = TcpStream::connect(address).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Reads `count` bytes, and returns them increased by one.
fn answer(mut stream: &TcpStream, count: usize) {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes.iter_mut().for_each(|byte| *byte += 1);
    stream.write_all(&bytes).unwrap();
}

#[track_caller]
fn ask(mut stream: &TcpStream, count: usize) {
    let mut bytes = vec![7; count];
    stream.write_all(&bytes).unwrap();
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, vec![8; count]);
}

#[test]
fn each_worker_serves_sockets() {
    with_drivers(|| {
        on_each(|_| {
            let (listener, address) = listener();
            let server = spawn(move || {
                (0..20).for_each(|_| answer(&listener.accept().unwrap().0, 3000));
            });
            let asks: Vec<_> =
                (0..20).map(|_| spawn(move || ask(&TcpStream::connect(address).unwrap(), 3000))).collect();
            asks.into_iter().for_each(|mut task| task.join().unwrap());
            drop(server);
        });
    });
}

#[test]
fn each_worker_reads_datagrams_and_pipes() {
    with_drivers(|| {
        on_each(|worker| {
            let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
            one.connect(other.local_addr().unwrap()).unwrap();
            let send = spawn(move || {
                sleep(MS).unwrap();
                one.send(&[worker as u8]).unwrap();
            });
            let mut byte = [9];
            other.recv(&mut byte).unwrap();
            assert_eq!(usize::from(byte[0]), worker);
            drop(send);

            let (mut reader, mut writer) = io::pipe().unwrap();
            let write = spawn(move || {
                sleep(MS).unwrap();
                writer.write_all(&vec![3; 200_000]).unwrap(); // more than the pipe holds
            });
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            assert_eq!(text, vec![3; 200_000]);
            drop(write);
        });
    });
}

#[test]
fn each_worker_uses_files_and_processes() {
    with_drivers(|| {
        on_each(|worker| {
            let path = std::env::temp_dir().join(format!("cede-workers-io-{}-{worker}", std::process::id()));
            let mut file = cede::fs::File::create(&path).unwrap();
            file.write_all(&vec![worker as u8; 100_000]).unwrap();
            file.sync_all().unwrap();
            drop(file);
            let mut file = cede::fs::File::open(&path).unwrap();
            file.seek(std::io::SeekFrom::Start(90_000)).unwrap();
            let mut text = Vec::new();
            file.read_to_end(&mut text).unwrap();
            assert_eq!(text, vec![worker as u8; 10_000]);
            cede::fs::remove_file(&path).unwrap();

            let output =
                cede::process::Command::new("sh").args(["-c", "sleep 0.01; echo done; exit 3"]).output().unwrap();
            assert_eq!((&*output.stdout, output.status.code()), (&b"done\n"[..], Some(3)));
        });
    });
}

/// A process that one worker has started is awaited on another one.
#[test]
fn child_is_awaited_on_another_worker() {
    with_drivers(|| {
        let mut child = on(1, || cede::process::Command::new("sleep").arg("0.02").spawn().unwrap()).join().unwrap();
        let status = on(2, move || child.wait().unwrap()).join().unwrap();
        assert!(status.success());
    });
}

#[test]
fn fresh_stream_moves_to_another_worker() {
    with_drivers(|| {
        let (listener, address) = listener();
        let mut server = spawn(move || {
            let serve = |n: usize| {
                let (stream, _) = listener.accept().unwrap();
                on(n % WORKERS, move || (0..3).for_each(|_| answer(&stream, 5000)))
            };
            (0..12).map(serve).collect::<Vec<_>>().iter_mut().for_each(|task| task.join().unwrap());
        });
        let mut clients: Vec<_> = (0..12)
            .map(|n| {
                on(n % WORKERS, move || {
                    let stream = TcpStream::connect(address).unwrap();
                    (0..3).for_each(|_| {
                        sleep(MS).unwrap();
                        ask(&stream, 5000);
                    });
                })
            })
            .collect();
        clients.iter_mut().for_each(|client| client.join().unwrap());
        server.join().unwrap();
    });
}

/// Each worker waits for the stream before it passes it on, and the first one gets it back: its registration is an old one.
#[test]
fn used_stream_moves_between_workers() {
    with_drivers(|| {
        let (client, mut stream) = pair();
        let mut client = on(2, move || {
            (0..9).for_each(|_| {
                sleep(MS).unwrap(); // so that the other side waits
                ask(&client, 10);
            });
        });
        for n in 0..9 {
            stream = on(n % WORKERS, move || {
                answer(&stream, 10);
                stream
            })
            .join()
            .unwrap();
        }
        client.join().unwrap();
    });
}

/// Data that has arrived before the move, and of which the first worker has had the event, is found by the second one.
#[test]
fn data_from_before_the_move_is_read() {
    with_drivers(|| {
        let (mut client, stream) = pair();
        client.write_all(&[1; 100]).unwrap();
        let mut part = [0; 10];
        (&stream).read_exact(&mut part).unwrap();
        sleep(5 * MS).unwrap();
        let rest = on(1, move || {
            let mut rest = [0; 90];
            (&stream).read_exact(&mut rest).unwrap();
            stream.set_read_timeout(Some(20 * MS)).unwrap();
            assert!(matches!(
                (&stream).read(&mut [0]).unwrap_err().kind(),
                ErrorKind::TimedOut | ErrorKind::WouldBlock
            ));
            rest
        });
        let mut rest = rest;
        assert_eq!(rest.join().unwrap(), [1; 90]);
    });
}

/// One worker reads from a stream while another one writes to it, and both wait many times.
#[test]
fn two_workers_share_one_stream() {
    const BYTES: usize = 1_000_000;
    with_drivers(|| {
        let (ours, theirs) = pair();
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        let write = |worker, stream: &Arc<TcpStream>| {
            let stream = Arc::clone(stream);
            on(worker, move || (&*stream).write_all(&vec![5; BYTES]).unwrap())
        };
        let read = |worker, stream: &Arc<TcpStream>| {
            let stream = Arc::clone(stream);
            on(worker, move || {
                let mut bytes = vec![0; BYTES];
                (&*stream).read_exact(&mut bytes).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 5));
            })
        };
        let mut tasks = [write(0, &ours), read(1, &ours), write(2, &theirs), read(0, &theirs)];
        tasks.iter_mut().for_each(|task| task.join().unwrap());
    });
}

#[test]
fn several_workers_accept_from_one_listener() {
    with_drivers(|| {
        let (listener, address) = listener();
        let listener = Arc::new(listener);
        let (sender, served) = bounded(100);
        let servers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (listener, sender) = (Arc::clone(&listener), sender.clone());
                on(worker, move || {
                    while let Ok((stream, _)) = listener.accept() {
                        answer(&stream, 1);
                        let _ = sender.send(worker);
                    }
                })
            })
            .collect();
        drop(sender);
        for _ in 0..30 {
            ask(&TcpStream::connect(address).unwrap(), 1);
            served.recv().unwrap();
        }
        for server in &servers {
            server.cancel();
        }
    });
}

/// A read that waits on one worker is ended from another one: by a cancel, and by a shutdown of the stream.
#[test]
fn waits_end_from_another_worker() {
    with_drivers(|| {
        let (_client, stream) = pair();
        let stream = Arc::new(stream);
        let (sender, begun) = rendezvous();
        let read = |stream: Arc<TcpStream>| {
            let sender = sender.clone();
            on(1, move || {
                sender.send(()).unwrap();
                (&*stream).read(&mut [0])
            })
        };
        let mut cancelled = read(Arc::clone(&stream));
        begun.recv().unwrap();
        sleep(5 * MS).unwrap();
        cancelled.cancel();
        assert!(io::is_cancelled(&cancelled.join().unwrap().unwrap_err()));
        let mut ended = read(Arc::clone(&stream));
        begun.recv().unwrap();
        sleep(5 * MS).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(ended.join().unwrap().unwrap(), 0);
    });
}

/// A descriptor that was closed on another worker leaves an old registration behind, and its number returns as that of a new stream.
#[test]
fn closed_elsewhere_number_is_used_again() {
    with_drivers(|| {
        for round in 0..20 {
            let (client, stream) = pair();
            let mut client = on(2, move || {
                sleep(MS).unwrap();
                ask(&client, 10);
            });
            answer(&stream, 10); // waits on worker 0
            client.join().unwrap();
            on(1 + round % 2, move || drop(stream)).join().unwrap();
        }
    });
}

/// Tasks that wait for I/O go on while many closures wait for their start: the worker polls between closures.
#[test]
fn queued_closures_do_not_starve_io() {
    for (workers, driver) in [(1, Driver::Epoll), (1, Driver::Auto), (2, Driver::Auto)] {
        let main = || {
            let (client, server) = pair();
            let answers = spawn(move || (0..10).for_each(|_| answer(&server, 1)));
            let asks = spawn(move || (0..10).for_each(|_| ask(&client, 1)));
            sleep(MS).unwrap(); // both have begun
            let left = Arc::new(AtomicUsize::new(20_000));
            let closure = || {
                let left = Arc::clone(&left);
                move || {
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_micros(20) {}
                    left.fetch_sub(1, SeqCst);
                }
            };
            let (client, server) = pair();
            let late_answers = spawn(move || (0..10).for_each(|_| answer(&server, 1)));
            let late_asks = spawn(move || (0..10).for_each(|_| ask(&client, 1)));
            let mut closures: Vec<_> = (0..20_000).map(|_| spawn_anywhere(closure())).collect();
            [answers, asks, late_answers, late_asks].iter_mut().for_each(|task| task.join().unwrap());
            let left = left.load(SeqCst);
            assert!(left > 10_000, "{workers} {driver:?}: {left} closures are left");
            for closure in &mut closures {
                closure.cancel();
                let _ = closure.join();
            }
        };
        Config::new().workers(workers).driver(driver).run(main).unwrap();
    }
}

/// The registration of a worker that a stream has left wakes it a limited number of times.
#[test]
fn moved_stream_leaves_its_first_worker() {
    let rounds = if emulated() { 300 } else { 2000 };
    with_drivers(|| {
        let (client, stream) = pair();
        let mut asks = on(2, move || {
            for _ in 0..=rounds {
                cede::yield_now();
                ask(&client, 1);
            }
        });
        answer(&stream, 1); // waits here, or finds the data
        let mut answers = on(1, move || (0..rounds).for_each(|_| answer(&stream, 1)));
        let before = cede::metrics().io_polls;
        answers.join().unwrap();
        let polls = cede::metrics().io_polls - before;
        assert!(polls < 200, "{polls} polls during {rounds} requests to another worker");
        asks.join().unwrap();
    });
}
