//! Sockets at their ends: resets, half-closed and half-open peers, and events at the edge of a read.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use common::child::in_child;

#[cfg(not(cede_poll_driver))]
use cede::Config;
use cede::io::Async;
#[cfg(not(cede_poll_driver))]
use cede::io::Driver;
use cede::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use cede::time::sleep;
use cede::{join_all, run, spawn, timeout, yield_now};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Returns `count`, or a tenth of it where tests run slowly.
fn times(count: usize) -> usize {
    let slow = cfg!(feature = "asan") || cfg!(target_arch = "aarch64") || cfg!(debug_assertions);
    if slow { count / 10 } else { count }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Closes the connection with a reset.
fn reset(stream: TcpStream) {
    stream.set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Fills the buffers of a stream whose peer does not read. Returns the number of bytes that were sent.
fn fill(mut stream: &TcpStream) -> usize {
    let mut sent = 0;
    stream.set_write_timeout(Some(20 * MS)).unwrap();
    let error = loop {
        match stream.write(&[7; 65_536]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    stream.set_write_timeout(None).unwrap();
    sent
}

/// A write to a closed peer raises SIGPIPE without MSG_NOSIGNAL. The signal has its default action here, which ends the process.
#[test]
fn broken_pipe_raises_no_signal() {
    let text = in_child("broken_pipe_raises_no_signal", || {
        // SAFETY: SIG_DFL installs no handler.
        assert_ne!(unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) }, libc::SIG_ERR);
        let write = || {
            let (mut here, there) = UnixStream::pair().unwrap();
            drop(there);
            assert_eq!(here.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(here.write_vectored(&[std::io::IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
            let (mut here, there) = tcp_pair();
            here.shutdown(Shutdown::Write).unwrap();
            assert_eq!(here.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            drop(there);
        };
        write();
        run(write);
    });
    assert_eq!(text, "exit code Some(0)");
}

/// The peer ends its writes while data is unread. All of it is read, by reads of any size, before the end of the stream.
#[test]
fn data_before_the_end_is_read() {
    run(|| {
        for size in [1, 7, 4096, 100_000] {
            let (mut here, mut there) = tcp_pair();
            let mut reader = spawn(move || {
                let (mut all, mut buffer) = (0, vec![0; size]);
                loop {
                    match here.read(&mut buffer).unwrap() {
                        0 => break (here, all),
                        count => all += count,
                    }
                }
            });
            // The reader waits, and is registered.
            yield_now();
            there.write_all(&[1; 20_000]).unwrap();
            there.shutdown(Shutdown::Write).unwrap();
            let (mut here, all) = reader.join().unwrap();
            assert_eq!(all, 20_000, "in reads of {size}");
            // The other direction is open.
            here.write_all(b"answer").unwrap();
            let mut answer = [0; 6];
            there.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"answer");
        }
    });
}

/// A read that takes exactly what is there leaves no data, and may leave an end that arrived in the same event.
#[test]
fn exact_read_loses_no_event() {
    run(|| {
        let (mut here, mut there) = tcp_pair();
        there.set_nodelay(true).unwrap();
        let rounds = times(10_000);
        let mut reader = spawn(move || {
            let mut buffer = [0; 5];
            (0..rounds).for_each(|_| here.read_exact(&mut buffer).unwrap());
            here.read(&mut buffer).unwrap()
        });
        for round in 0..rounds {
            there.write_all(b"exact").unwrap();
            if round % 3 == 0 {
                yield_now();
            }
        }
        drop(there);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

/// A Unix peer that is closed ends the waits of both directions. Data that it has not read makes the end a reset.
#[test]
fn hangup_ends_both_waits() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let other = here.try_clone().unwrap();
        let mut reader = spawn(move || (&here).read(&mut [0; 8]).unwrap_err().kind());
        let mut writer = spawn(move || {
            loop {
                if let Err(error) = (&other).write(&[0; 65_536]) {
                    break error.kind();
                }
            }
        });
        sleep(MS).unwrap();
        drop(there);
        assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);

        let (here, there) = UnixStream::pair().unwrap();
        let mut reader = spawn(move || (&here).read(&mut [0; 8]).unwrap());
        sleep(MS).unwrap();
        drop(there);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn reset_ends_a_write_that_waits() {
    run(|| {
        let (here, there) = tcp_pair();
        assert!(fill(&here) > 0);
        let mut writer = spawn(move || {
            // The kernel may take more, because it moves bytes to the peer's buffer.
            loop {
                if let Err(error) = (&here).write(&[0; 65_536]) {
                    break error.kind();
                }
            }
        });
        sleep(MS).unwrap();
        reset(there);
        let kind = writer.join().unwrap();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    });
}

/// A connection that is reset in the backlog does not end the listener.
#[test]
fn reset_in_the_backlog_leaves_accept_usable() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..100 {
            reset(TcpStream::connect(address).unwrap());
        }
        let mut good = TcpStream::connect(address).unwrap();
        let mut server = spawn(move || {
            let mut resets = 0;
            loop {
                match listener.accept() {
                    Ok((mut stream, _)) => match stream.write(b"hello") {
                        Ok(_) if stream.read(&mut [0]).is_ok() => break resets,
                        Ok(_) => resets += 1,
                        Err(error) => {
                            assert!(
                                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                                "{error}"
                            );
                            resets += 1;
                        }
                    },
                    // Other systems report the reset here.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
                        resets += 1;
                    }
                }
            }
        });
        let mut hello = [0; 5];
        good.read_exact(&mut hello).unwrap();
        good.write_all(b"!").unwrap();
        assert_eq!((&hello, server.join().unwrap()), (b"hello", 100));
    });
}

/// A peer that neither reads nor closes holds up its own writer only, and the writer only until its deadline.
#[test]
fn stopped_peer_ends_no_other_write() {
    run(|| {
        let (stopped, silent) = tcp_pair();
        let writers: Vec<_> = (0..2)
            .map(|number| {
                let stream = stopped.try_clone().unwrap();
                spawn(move || {
                    if number == 0 {
                        fill(&stream);
                    }
                    timeout(50 * MS, || (&stream).write_all(&vec![0; 8 << 20])).err().map(|_| number)
                })
            })
            .collect();
        let (mut here, mut there) = tcp_pair();
        let mut other = spawn(move || {
            for _ in 0..100 {
                there.read_exact(&mut [0]).unwrap();
                there.write_all(&[1]).unwrap();
            }
        });
        for _ in 0..100 {
            here.write_all(&[1]).unwrap();
            here.read_exact(&mut [0]).unwrap();
        }
        other.join().unwrap();
        let ended: Vec<_> = join_all(writers).into_iter().map(|ended| ended.unwrap()).collect();
        assert_eq!(ended, [Some(0), Some(1)], "writes that ended by their deadline");
        drop(silent);
    });
}

/// A child process that sleeps keeps duplicates of closed sockets, and so their registrations, alive. No event of theirs reaches
/// another connection, and no descriptor is left here.
#[test]
fn sockets_kept_by_a_child_disturb_no_other() {
    let text = in_child("sockets_kept_by_a_child_disturb_no_other", || {
        let mut children = Vec::new();
        run(|| {
            let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            // Makes the reactor.
            let (mut a, mut b) = UnixStream::pair().unwrap();
            assert!(cede::timeout(MS, || a.read(&mut [0])).is_err());
            let before = open();
            for round in 0..times(1000) {
                let pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
                let mut readers = Vec::new();
                let mut peers = Vec::new();
                for (mut reader, peer) in pairs {
                    peers.push(peer);
                    readers.push(spawn(move || {
                        let mut byte = [0];
                        reader.read_exact(&mut byte).unwrap();
                        byte[0]
                    }));
                }
                yield_now();
                if round % 100 == 50 {
                    // The child inherits all sockets that are open, with the registrations of those that wait.
                    // SAFETY: the child calls only pause and _exit, which are async-signal-safe.
                    match unsafe { libc::fork() } {
                        // SAFETY: these calls are async-signal-safe.
                        0 => unsafe {
                            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                            libc::pause();
                            libc::_exit(0)
                        },
                        child => children.push(child),
                    }
                }
                for (number, peer) in peers.iter_mut().enumerate() {
                    peer.write_all(&[number as u8]).unwrap();
                }
                let bytes: Vec<_> = join_all(readers).into_iter().map(|byte| byte.unwrap()).collect();
                assert_eq!(bytes, (0..10).collect::<Vec<u8>>());
                // Events for the sockets that only the children have open.
                drop(peers);
            }
            b.write_all(&[9]).unwrap();
            let mut byte = [0];
            a.read_exact(&mut byte).unwrap();
            assert_eq!((byte, open()), ([9], before));
            assert_eq!(cede::metrics().io_waiting, 0);
        });
        for child in children {
            // SAFETY: the child is this process's, and was not waited for.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
        }
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Fails unless `reader`, which waited before, gets three packets that are in its queue.
fn assert_reads_packets(mut writer: &UnixStream, mut reader: &UnixStream) {
    let mut buffer = [0; 100];
    timeout(MS, || reader.read(&mut buffer)).unwrap_err();
    for _ in 0..3 {
        writer.write_all(b"packet").unwrap();
    }
    sleep(5 * MS).unwrap();
    for packet in 0..3 {
        let outcome = timeout(10_000 * MS, || reader.read(&mut buffer));
        assert_eq!(outcome.map_err(|_| packet).unwrap().unwrap(), 6);
    }
}

#[test]
fn short_packet_leaves_further_ones() {
    run(|| {
        let (a, b) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let (a, b) = (UnixStream::from(StdUnixStream::from(a)), UnixStream::from(StdUnixStream::from(b)));
        assert_reads_packets(&a, &b);
        assert_reads_packets(&b.try_clone().unwrap(), &a.try_clone().unwrap());
        let path = std::env::temp_dir().join(format!("cede-packets-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let (listener, client) =
            (Socket::new(Domain::UNIX, Type::SEQPACKET, None), Socket::new(Domain::UNIX, Type::SEQPACKET, None));
        let (listener, client) = (listener.unwrap(), client.unwrap());
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(1).unwrap();
        client.connect(&SockAddr::unix(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let accepted = UnixListener::from(std::os::unix::net::UnixListener::from(listener)).accept().unwrap().0;
        assert_reads_packets(&StdUnixStream::from(client).into(), &accepted);
    });
}

/// Returns a stream that the reactor of this run watches, and its peer.
fn watched_pair() -> (Async<StdUnixStream>, StdUnixStream) {
    let (here, there) = StdUnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let here = Async::new(here);
    timeout(MS, || here.read_with(|mut stream| stream.read(&mut [0]))).unwrap_err();
    (here, there)
}

#[test]
fn event_during_a_call_counts() {
    run(|| {
        let (here, mut there) = watched_pair();
        let mut reader = spawn(move || {
            here.read_with(|mut stream| {
                let outcome = stream.read(&mut [0; 8]);
                // The data arrives between the call that fails and the return.
                if outcome.is_err() {
                    sleep(20 * MS).unwrap();
                }
                outcome
            })
        });
        yield_now();
        there.write_all(b"data").unwrap();
        let outcome = timeout(10_000 * MS, || reader.join());
        assert_eq!(outcome.expect("the data is in the socket").unwrap().unwrap(), 4);
    });
}

#[test]
fn suspended_calls_share_an_event() {
    run(|| {
        let (here, mut there) = watched_pair();
        let here = Rc::new(here);
        let other = Rc::clone(&here);
        // Fails before the data arrives, and begins to wait after the other call has seen the event.
        let mut slow = spawn(move || {
            here.read_with(|mut stream| {
                let outcome = stream.read(&mut [0]);
                if outcome.is_err() {
                    sleep(20 * MS).unwrap();
                }
                outcome
            })
        });
        yield_now();
        there.write_all(b"ab").unwrap();
        sleep(5 * MS).unwrap();
        let read = other.read_with(|mut stream| {
            let outcome = stream.read(&mut [0]);
            sleep(100 * MS).unwrap();
            outcome
        });
        assert_eq!(read.unwrap(), 1);
        let outcome = timeout(10_000 * MS, || slow.join());
        assert_eq!(outcome.expect("a byte is in the socket").unwrap().unwrap(), 1);
    });
}

#[cfg(not(cede_poll_driver))]
#[test]
fn converted_socket_stops_its_events() {
    // With io_uring a read needs no registration.
    let outcome = Config::new().driver(Driver::Epoll).run(|| {
        let (a, b) = UnixStream::pair().unwrap();
        timeout(MS, || (&b).read(&mut [0])).unwrap_err();
        let watched = cede::metrics().io_descriptors;
        // On another thread, so that the reactor does not learn of it.
        let mut b = std::thread::spawn(move || StdUnixStream::from(b)).join().unwrap();
        for _ in 0..200 {
            (&a).write_all(b"x").unwrap();
            sleep(Duration::from_micros(10)).unwrap();
            b.read_exact(&mut [0]).unwrap();
        }
        assert_eq!(cede::metrics().io_descriptors, watched - 1);
        // Its events wake the poller no more, while a task waits for another descriptor.
        let writer = std::thread::spawn(move || {
            for _ in 0..500 {
                (&a).write_all(b"x").unwrap();
                std::thread::sleep(Duration::from_micros(50));
                b.read_exact(&mut [0]).unwrap();
            }
        });
        let (c, _d) = UnixStream::pair().unwrap();
        let polls = cede::metrics().io_polls;
        timeout(20 * MS, || (&c).read(&mut [0])).unwrap_err();
        let polls = cede::metrics().io_polls - polls;
        writer.join().unwrap();
        assert!(polls < 50, "{polls} polls");
    });
    outcome.unwrap();
}

#[cfg(not(cede_poll_driver))]
#[test]
fn late_reader_is_registered_again() {
    // With io_uring a read needs no registration.
    let outcome = Config::new().driver(Driver::Epoll).run(|| {
        let (a, b) = UnixStream::pair().unwrap();
        timeout(MS, || (&b).read(&mut [0])).unwrap_err();
        let watched = cede::metrics().io_descriptors;
        for _ in 0..100 {
            (&a).write_all(b"x").unwrap();
            sleep(Duration::from_micros(10)).unwrap();
        }
        assert_eq!(cede::metrics().io_descriptors, watched - 1);
        let mut reader = spawn(move || (&b).read_exact(&mut [0; 101]));
        sleep(5 * MS).unwrap();
        assert_eq!(cede::metrics().io_descriptors, watched);
        (&a).write_all(b"x").unwrap();
        timeout(10_000 * MS, || reader.join()).expect("a byte is in the socket").unwrap().unwrap();
    });
    outcome.unwrap();
}
