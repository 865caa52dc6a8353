//! Sockets: tasks that wait for the kernel.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use common::child::in_child;

use cede::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use cede::task::{TaskState, Unparker, park};
use cede::time::{now, sleep};
use cede::{Config, RunError, join_all, run, shield, spawn, timeout, yield_now};
use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn listener() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of a connection over loopback.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = TcpStream::connect(address).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn echo_over_tcp_serves_many_clients_in_turn() {
    run(|| {
        let (listener, address) = listener();
        let mut server = spawn(move || {
            let tasks = listener.incoming().take(50).map(|stream| {
                let mut stream = stream.unwrap();
                spawn(move || {
                    let mut buffer = [0; 64];
                    loop {
                        match stream.read(&mut buffer).unwrap() {
                            0 => break,
                            count => stream.write_all(&buffer[..count]).unwrap(),
                        }
                    }
                })
            });
            join_all(tasks.collect::<Vec<_>>()).len()
        });
        let clients = (0..50_u32).map(|number| {
            spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for round in 0..20 {
                    let message = format!("{number} {round}");
                    stream.write_all(message.as_bytes()).unwrap();
                    let mut echo = vec![0; message.len()];
                    stream.read_exact(&mut echo).unwrap();
                    assert_eq!(echo, message.as_bytes());
                }
                number
            })
        });
        let sum: u32 = join_all(clients.collect::<Vec<_>>()).into_iter().map(Result::unwrap).sum();
        assert_eq!(sum, (0..50).sum());
        assert_eq!(server.join().unwrap(), 50);
    });
}

#[test]
fn wait_for_data_is_no_deadlock_even_in_a_closed_world() {
    let result = Config::new().closed_world(true).report_stall(MS).run(|| {
        let (mut here, mut there) = pair();
        let feeder = thread::spawn(move || {
            thread::sleep(20 * MS);
            there.write_all(b"late").unwrap();
        });
        let mut buffer = [0; 4];
        here.read_exact(&mut buffer).unwrap();
        feeder.join().unwrap();
        buffer
    });
    assert_eq!(&result.unwrap(), b"late");
    // With the socket gone the world is closed again.
    let result = Config::new().closed_world(true).run(|| {
        drop(pair());
        park("nothing").is_err()
    });
    assert!(matches!(result, Err(RunError::Deadlock { .. })));
}

#[test]
fn cancel_and_deadline_end_a_wait_with_errors_of_their_own() {
    run(|| {
        let (here, _there) = pair();
        let mut reader = spawn(move || {
            let first = (&here).read(&mut [0; 8]).unwrap_err();
            let second = (&here).read(&mut [0; 8]).unwrap_err();
            [first, second].map(|error| (error.kind(), cede::io::is_cancelled(&error)))
        });
        yield_now();
        assert!(matches!(reader.state(), TaskState::Waiting(reason) if reason.to_string() == "data to read"));
        reader.cancel();
        assert_eq!(reader.join().unwrap(), [(ErrorKind::Other, true); 2]);

        let (here, mut there) = pair();
        let late = timeout(5 * MS, || (&here).read(&mut [0; 8])).unwrap_err().value.unwrap_err();
        assert_eq!((late.kind(), cede::io::is_cancelled(&late)), (ErrorKind::TimedOut, true));
        // Nothing was lost, and the stream goes on.
        there.write_all(b"data").unwrap();
        assert_eq!((&here).read(&mut [0; 8]).unwrap(), 4);

        here.set_read_timeout(Some(5 * MS)).unwrap();
        assert_eq!((&here).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(here.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(here.read_timeout().unwrap(), Some(5 * MS));
        there.write_all(b"more").unwrap();
        assert_eq!((&here).read(&mut [0; 8]).unwrap(), 4);
        let plain = io::Error::from(ErrorKind::TimedOut);
        assert!(!cede::io::is_cancelled(&plain));
    });
}

#[test]
fn shielded_read_is_not_cancelled() {
    run(|| {
        let (here, mut there) = pair();
        let mut reader = spawn(move || shield(|| (&here).read(&mut [0; 8])));
        yield_now();
        reader.cancel();
        yield_now();
        there.write_all(b"data").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 4);
    });
}

#[test]
fn paused_clock_does_not_jump_past_data_that_is_there() {
    Config::new()
        .paused_clock(true)
        .run(|| {
            let (mut here, mut there) = pair();
            let before = now();
            let mut reader = spawn(move || {
                let count = here.read(&mut [0; 8]).unwrap();
                (count, now())
            });
            yield_now();
            there.write_all(b"data").unwrap();
            sleep(Duration::from_secs(3600)).unwrap();
            let (count, at) = reader.join().unwrap();
            assert_eq!((count, at), (4, before), "the data came before the hour");
            assert_eq!(now() - before, Duration::from_secs(3600));
        })
        .unwrap();
}

/// The grace period of the shutdown is such a timer.
#[test]
fn paused_shutdown_polls_before_it_jumps() {
    let got = Rc::new(Cell::new(None));
    let result = Rc::clone(&got);
    Config::new()
        .paused_clock(true)
        .run(move || {
            let (mut here, mut there) = pair();
            spawn(move || {
                let read = shield(|| timeout(3600 * 1000 * MS, || here.read(&mut [0; 8])));
                result.set(Some(read.unwrap().unwrap()));
            });
            yield_now();
            there.write_all(b"data").unwrap();
        })
        .unwrap();
    assert_eq!(got.get(), Some(4));
}

fn directory(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("cede-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A datagram socket at `path` whose queue is full of datagrams of the returned senders.
fn full_queue(path: &std::path::Path) -> (UnixDatagram, Vec<std::os::unix::net::UnixDatagram>) {
    let peer = UnixDatagram::bind(path).unwrap();
    let mut senders = Vec::new();
    loop {
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sender.send_to(b"filler", path).is_ok() {
            sent += 1;
        }
        senders.push(sender);
        // A sender may be full before the queue is.
        if sent == 0 {
            return (peer, senders);
        }
    }
}

/// No event of the own socket tells that the peer's queue has room.
#[test]
fn datagram_waits_for_a_full_peer() {
    let directory = directory("full-peer");
    let path = directory.join("socket");
    let (peer, _senders) = full_queue(&path);
    run(|| {
        let sender = UnixDatagram::unbound().unwrap();
        let late = timeout(20 * MS, || sender.send_to(b"x", &path)).unwrap_err();
        assert_eq!(late.value.unwrap_err().kind(), ErrorKind::TimedOut);
        sender.set_write_timeout(Some(20 * MS)).unwrap();
        assert_eq!(sender.send_to(b"x", &path).unwrap_err().kind(), ErrorKind::TimedOut);
        sender.set_write_timeout(None).unwrap();
        let path = path.clone();
        let mut task = spawn(move || sender.send_to(b"x", &path));
        sleep(20 * MS).unwrap();
        assert!(!task.is_finished());
        peer.recv(&mut [0; 8]).unwrap();
        assert_eq!(timeout(20_000 * MS, || task.join()).unwrap().unwrap().unwrap(), 1);
        let mut cancelled = spawn({
            let (path, sender) = (directory.join("socket"), UnixDatagram::unbound().unwrap());
            move || sender.send_to(b"x", &path)
        });
        yield_now();
        cancelled.cancel();
        assert!(cede::io::is_cancelled(&cancelled.join().unwrap().unwrap_err()));
    });
    // A plain thread pauses, too, and does not spin.
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_write_timeout(Some(300 * MS)).unwrap();
    let before = cpu_time();
    assert_eq!(sender.send_to(b"x", &path).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(cpu_time() - before < 150 * MS, "{:?}", cpu_time() - before);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The CPU time of the calling thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the call.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn remote_wake_ends_a_sleep_in_the_poller() {
    run(|| {
        let (here, _there) = pair();
        let mut reader = spawn(move || (&here).read(&mut [0; 8]).is_err());
        yield_now();
        for _ in 0..200 {
            let main = Unparker::current();
            let thread = thread::spawn(move || main.unpark());
            park("a thread").unwrap();
            thread.join().unwrap();
        }
        reader.cancel();
        assert!(reader.join().unwrap());
    });
}

#[test]
fn tasks_that_never_wait_do_not_starve_a_reader() {
    run(|| {
        let (here, mut there) = pair();
        let mut reader = spawn(move || (&here).read(&mut [0; 8]).unwrap());
        yield_now();
        there.write_all(b"data").unwrap();
        // Main is always ready, so the event loop never sleeps.
        while !reader.is_finished() {
            yield_now();
        }
        assert_eq!(reader.join().unwrap(), 4);
    });
}

#[test]
fn stream_works_in_plain_threads_and_moves_between_runs() {
    let (mut here, mut there) = pair();
    let feeder = thread::spawn(move || {
        thread::sleep(5 * MS);
        there.write_all(b"one").unwrap();
        there
    });
    let mut buffer = [0; 3];
    here.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"one");
    let mut there = feeder.join().unwrap();
    for _ in 0..3 {
        (here, there) = run(move || {
            let mut reader = spawn(move || {
                let mut buffer = [0; 4];
                here.read_exact(&mut buffer).unwrap();
                here
            });
            yield_now();
            there.write_all(b"data").unwrap();
            (reader.join().unwrap(), there)
        });
    }
    // Two runs at once, on one stream each way.
    let other = here.try_clone().unwrap();
    let thread = thread::spawn(move || run(|| (&other).read(&mut [0; 8]).unwrap()));
    thread::sleep(5 * MS);
    there.write_all(b"x").unwrap();
    assert_eq!(thread.join().unwrap(), 1);
    assert_eq!(here.peer_addr().unwrap(), there.local_addr().unwrap());
}

#[test]
fn both_directions_of_a_stream_wait_at_once() {
    run(|| {
        let (here, there) = pair();
        const LEN: usize = 4 << 20;
        cede::scope(|scope| {
            // Each side writes more than the buffers of the kernel hold, and reads as much.
            for stream in [&here, &there] {
                scope.spawn(move || {
                    (&*stream).write_all(&vec![7; LEN]).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                });
                scope.spawn(move || {
                    let mut all = Vec::new();
                    assert_eq!((&*stream).read_to_end(&mut all).unwrap(), LEN);
                });
            }
        })
        .unwrap();
    });
}

#[test]
fn end_of_stream_and_reset_are_seen() {
    run(|| {
        let (mut here, mut there) = pair();
        there.write_all(b"last").unwrap();
        drop(there);
        let mut all = Vec::new();
        here.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"last");
        assert_eq!(here.read(&mut all).unwrap(), 0, "the end is read again and again");

        let (mut here, there) = pair();
        let mut reader = spawn(move || here.read(&mut [0; 8]).unwrap_err().kind());
        yield_now();
        there.set_linger(Some(Duration::ZERO)).unwrap();
        drop(there);
        assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);

        let (mut here, there) = pair();
        drop(there);
        let error = loop {
            if let Err(error) = here.write(&[0; 1024]) {
                break error;
            }
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "and no SIGPIPE: {error}");
    });
}

#[test]
fn refused_connection_is_an_error() {
    let (listener, address) = listener();
    drop(listener);
    run(|| {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let none: [std::net::SocketAddr; 0] = [];
        assert_eq!(TcpStream::connect(&none[..]).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn udp_and_unix_sockets_wait() {
    let dir = std::env::temp_dir().join(format!("cede-net-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket");
    run(|| {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = a.local_addr().unwrap();
        let mut receiver = spawn(move || {
            let mut buffer = [0; 16];
            let (count, from) = a.recv_from(&mut buffer).unwrap();
            (buffer[..count].to_vec(), from)
        });
        yield_now();
        assert_eq!(b.send_to(b"datagram", to).unwrap(), 8);
        assert_eq!(receiver.join().unwrap(), (b"datagram".to_vec(), b.local_addr().unwrap()));

        let listener = UnixListener::bind(&path).unwrap();
        let mut server = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            all
        });
        yield_now();
        let mut client = UnixStream::connect(&path).unwrap();
        let parts = [IoSlice::new(b"in "), IoSlice::new(b"parts")];
        assert_eq!(client.write_vectored(&parts).unwrap(), 8);
        drop(client);
        assert_eq!(server.join().unwrap(), "in parts");

        let (a, b) = UnixDatagram::pair().unwrap();
        let mut receiver = spawn(move || a.recv(&mut [0; 8]).unwrap());
        yield_now();
        b.send(b"four").unwrap();
        assert_eq!(receiver.join().unwrap(), 4);
    });
    std::fs::remove_dir_all(&dir).unwrap();
}

/// No event tells when a full backlog has room, so the connect tries again and again.
#[test]
fn connect_to_a_full_unix_backlog_times_out() {
    let dir = std::env::temp_dir().join(format!("cede-backlog-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket");
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    run(|| {
        let mut connected = Vec::new();
        let error = loop {
            match timeout(20 * MS, || UnixStream::connect(&path)) {
                Ok(stream) => connected.push(stream.unwrap()),
                Err(late) => break late.value.unwrap_err(),
            }
            assert!(connected.len() < 100, "the backlog has a limit");
        };
        assert_eq!((error.kind(), cede::io::is_cancelled(&error)), (ErrorKind::TimedOut, true));
    });
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn conversions_keep_the_connection_and_restore_the_mode() {
    let (here, there) = pair();
    let (mut here, mut there): (std::net::TcpStream, std::net::TcpStream) = (here.into(), there.into());
    here.write_all(b"std").unwrap();
    let mut buffer = [0; 3];
    there.read_exact(&mut buffer).unwrap();
    run(|| {
        let (mut here, mut there) = (TcpStream::from(here), TcpStream::from(there));
        there.write_all(b"and back").unwrap();
        let mut buffer = [0; 8];
        here.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"and back");
    });
}

#[test]
fn copy_both_passes_each_end_on() {
    run(|| {
        let ((mut client, near), (far, mut server)) = (pair(), pair());
        let mut proxy = spawn(move || cede::io::copy_both(&near, &far));
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        server.read_to_string(&mut all).unwrap();
        assert_eq!(all, "question");
        server.write_all(b"the answer").unwrap();
        drop(server);
        all.clear();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "the answer");
        let copied = proxy.join().unwrap();
        assert_eq!((copied.forth, copied.back), (8, 10));
        assert!(copied.forth_error.is_none() && copied.back_error.is_none());
    });
}

/// In a process of its own: other tests open descriptors meanwhile.
#[test]
fn short_connections_leave_no_descriptor() {
    let text = in_child("short_connections_leave_no_descriptor", || {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let rounds = if cfg!(feature = "asan") || cfg!(target_arch = "aarch64") { 500 } else { 5_000 };
        let before = descriptors();
        run(|| {
            let (listener, address) = listener();
            let mut server = spawn(move || {
                for _ in 0..rounds {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    stream.write_all(&byte).unwrap();
                }
            });
            for round in 0..rounds {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_linger(Some(Duration::ZERO)).unwrap();
                stream.write_all(&[round as u8]).unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                assert_eq!(byte, [round as u8]);
            }
            server.join().unwrap();
            assert_eq!(cede::metrics().io_waiting, 0);
            assert_eq!(cede::metrics().io_descriptors, 0, "each closed socket was forgotten");
        });
        assert_eq!(descriptors(), before, "the reactor is closed with its run");
        run(yield_now);
        assert_eq!(descriptors(), before, "a run without I/O opens nothing");
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn dump_and_metrics_show_waits_for_io() {
    run(|| {
        let (here, there) = pair();
        let addresses = format!("{} <- {}", here.local_addr().unwrap(), here.peer_addr().unwrap());
        let reader = spawn(move || (&here).read(&mut [0; 8]));
        yield_now();
        let dump = cede::dump();
        let text = dump.tasks[1].to_string();
        assert!(text.contains("waiting: data to read (fd ") && text.contains(&addresses), "{text}");
        let metrics = cede::metrics();
        assert_eq!((metrics.io_waiting, metrics.io_descriptors), (1, 1));
        drop(there);
        while !reader.is_finished() {
            yield_now();
        }
    });
}
