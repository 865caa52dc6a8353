//! Sockets under stress: random schedules against models, signals, descriptors that run out or change owners, and tasks that end while
//! they wait.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use common::child::in_child;
use common::random::Random;

use cede::io::{Async, Driver, Interest};
use cede::net::{TcpListener, TcpStream, UnixStream};
use cede::task::Unparker;
use cede::time::{now, sleep};
use cede::{Config, join_all, run, scope, spawn, timeout, yield_now};
use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Whether the tests run slowly: under a sanitizer, an emulator, or without optimization.
const SLOW: bool = cfg!(feature = "asan") || cfg!(target_arch = "aarch64") || cfg!(debug_assertions);

/// Returns `count`, or a tenth of it where tests run slowly.
fn times(count: usize) -> usize {
    if SLOW { count / 10 } else { count }
}

fn set_buffers(stream: &impl AsFd, bytes: usize) {
    let socket = socket2::SockRef::from(stream);
    socket.set_send_buffer_size(bytes).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
}

fn small_pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    set_buffers(&a, 4608);
    set_buffers(&b, 4608);
    (a, b)
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The byte at a position of the stream of a sender.
fn byte(sender: usize, at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8) ^ sender.wrapping_mul(97)) as u8
}

fn no_io_is_left() {
    let metrics = cede::metrics();
    assert_eq!((metrics.io_waiting, metrics.io_descriptors), (0, 0), "waiters and descriptors that are left");
}

/// One direction of a connection in the model test: a task writes `total` bytes in pieces, with deadlines, shutdowns and clones, and
/// another task reads and checks them. Each random choice is a step.
fn write_randomly(stream: UnixStream, sender: usize, total: usize, seed: u64) {
    let mut random = Random::new(seed);
    let (mut stream, mut at) = (stream, 0);
    while at < total {
        let most = if random.below(8) == 0 { 6000 } else { 300 };
        let len = 1 + random.below(most);
        let bytes: Vec<u8> = (at..total.min(at + len)).map(|at| byte(sender, at)).collect();
        let written = match random.below(8) {
            0 => timeout(Duration::from_micros(random.below(200) as u64), || (&stream).write(&bytes))
                .unwrap_or_else(|elapsed| elapsed.value),
            1 => {
                stream = stream.try_clone().unwrap();
                (&stream).write(&bytes)
            }
            2 => (&stream)
                .write_vectored(&[IoSlice::new(&bytes[..bytes.len() / 2]), IoSlice::new(&bytes[bytes.len() / 2..])]),
            3 => {
                yield_now();
                (&stream).write(&bytes)
            }
            _ => (&stream).write(&bytes),
        };
        match written {
            Ok(count) => at += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

fn read_randomly(stream: UnixStream, sender: usize, total: usize, seed: u64) {
    let mut random = Random::new(seed);
    let (mut stream, mut at) = (stream, 0);
    let mut buffer = vec![0; 6000];
    loop {
        let most = if random.below(8) == 0 { 6000 } else { 300 };
        let len = 1 + random.below(most);
        let result = match random.below(8) {
            0 => timeout(Duration::from_micros(random.below(200) as u64), || (&stream).read(&mut buffer[..len]))
                .unwrap_or_else(|elapsed| elapsed.value),
            1 => {
                stream = stream.try_clone().unwrap();
                (&stream).read(&mut buffer[..len])
            }
            2 => {
                // A cancelled read takes nothing.
                let (stream, mut reader) = (&stream, None);
                let outcome = scope(|scope| {
                    let mut task = scope.spawn(move || {
                        let mut buffer = vec![0; len];
                        (&*stream).read(&mut buffer).map(|count| buffer[..count].to_vec())
                    });
                    yield_now();
                    task.cancel();
                    reader = Some(task.join());
                });
                outcome.unwrap();
                match reader.unwrap() {
                    // It was cancelled before its first turn.
                    Err(_) => continue,
                    Ok(Ok(bytes)) => {
                        buffer[..bytes.len()].copy_from_slice(&bytes);
                        Ok(bytes.len())
                    }
                    Ok(Err(error)) if cede::io::is_cancelled(&error) => continue,
                    Ok(Err(error)) => Err(error),
                }
            }
            _ => (&stream).read(&mut buffer[..len]),
        };
        match result {
            Ok(0) => break,
            Ok(count) => {
                let right = (at..at + count).map(|at| byte(sender, at));
                assert!(right.eq(buffer[..count].iter().copied()), "wrong data behind byte {at}");
                at += count;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
        }
    }
    assert_eq!(at, total, "the stream ended early");
}

/// 10^5 steps: four connections, both directions of each, of 12,500 steps of some 500 bytes.
#[test]
fn random_reads_and_writes_deliver_each_byte_in_order() {
    let text = in_child("random_reads_and_writes_deliver_each_byte_in_order", || {
        for seed in 0..2 {
            let total = times(12_500 * 250);
            let config = if seed == 0 { Config::new() } else { Config::new().seed(7) };
            let result = config.run(|| {
                let mut tasks = Vec::new();
                for pair in 0..4 {
                    let (a, b) = small_pair();
                    let (a2, b2) = (a.try_clone().unwrap(), b.try_clone().unwrap());
                    let number = pair as u64 * 4 + seed * 100;
                    tasks.push(spawn(move || write_randomly(a, pair, total, number)));
                    tasks.push(spawn(move || read_randomly(b, pair, total, number + 1)));
                    tasks.push(spawn(move || write_randomly(b2, pair + 50, total, number + 2)));
                    tasks.push(spawn(move || read_randomly(a2, pair + 50, total, number + 3)));
                }
                join_all(tasks).into_iter().for_each(|result| result.unwrap());
                no_io_is_left();
            });
            result.unwrap();
        }
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn peer_that_sends_single_bytes_is_read_in_full() {
    let total = times(20_000);
    run(|| {
        let (mut here, mut there) = tcp_pair();
        there.set_nodelay(true).unwrap();
        let feeder = thread::spawn(move || {
            (0..total).for_each(|at| there.write_all(&[byte(0, at)]).unwrap());
        });
        let (mut at, mut buffer) = (0, [0; 64]);
        loop {
            let count = here.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            buffer[..count].iter().enumerate().for_each(|(i, got)| assert_eq!(*got, byte(0, at + i)));
            at += count;
        }
        assert_eq!(at, total);
        feeder.join().unwrap();
    });
}

/// A short read spends the budget, and the task yields. An event that is polled during the yield is newer than the read: if the read
/// took it for its own, the next read would wait for a byte that is there. Under a seed each turn polls.
#[test]
fn event_that_is_polled_during_a_forced_yield_is_kept() {
    let text = in_child("event_that_is_polled_during_a_forced_yield_is_kept", || {
        // With io_uring a read is an operation, after which the task has a turn of its own.
        let result = Config::new().seed(1).driver(Driver::Epoll).run(|| {
            let (mut here, mut there) = small_pair();
            // A task that waits keeps the poller in use.
            let (idle, _kept) = small_pair();
            let waiting = spawn(move || (&idle).read(&mut [0; 8]).is_err());
            let consumed = std::rc::Rc::new(Cell::new(0));
            let seen = consumed.clone();
            let mut reader = spawn(move || {
                let lock = cede::sync::Mutex::new(());
                // The first read fills its buffer, so the second one needs no wait.
                while let Ok(count @ 1..) = here.read(&mut [0]) {
                    seen.set(seen.get() + count);
                    // Of a budget of 4,096 a read costs 64, and a lock 1: the second read spends the rest.
                    (0..4000).for_each(|_| drop(lock.lock().unwrap()));
                    seen.set(seen.get() + here.read(&mut [0; 8]).unwrap());
                }
            });
            for round in 0..times(1000) {
                there.write_all(b"xx").unwrap();
                while consumed.get() == 4 * round {
                    yield_now();
                }
                assert_eq!(consumed.get(), 4 * round + 1, "the reader yields before it counts the second byte");
                there.write_all(b"xx").unwrap();
                // Longer than the time between two polls.
                let began = std::time::Instant::now();
                while began.elapsed() < Duration::from_micros(200) {}
                while consumed.get() < 4 * round + 4 {
                    yield_now();
                }
            }
            drop(there);
            reader.join().unwrap();
            waiting.cancel();
        });
        result.unwrap();
    });
    assert_eq!(text, "exit code Some(0)");
}

#[test]
fn vectored_calls_of_many_buffers_do_not_wait_for_nothing() {
    let text = in_child("vectored_calls_of_many_buffers_do_not_wait_for_nothing", || {
        run(|| {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            let pieces = vec![[1_u8]; 3000];
            // The second call finds a registered stream.
            let mut reader = spawn(move || {
                let mut first = [0];
                here.read_exact(&mut first).unwrap();
                yield_now();
                let (mut total, mut bytes) = (0, vec![[0_u8]; 3000]);
                while total < 9000 {
                    let mut slices: Vec<_> = bytes.iter_mut().map(|byte| io::IoSliceMut::new(byte)).collect();
                    total += here.read_vectored(&mut slices).unwrap();
                }
                here
            });
            yield_now();
            there.write_all(b"x").unwrap();
            // A write that fills the buffer registers the writer.
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut total = 0;
            while total < 9000 {
                total += there.write_vectored(&slices).unwrap().min(9000 - total);
                // Everything is there before the reader continues.
            }
            let _here = reader.join().unwrap();
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Sends `bytes` with a descriptor attached.
fn send_with_descriptor(fd: BorrowedFd<'_>, bytes: &[u8], passed: BorrowedFd<'_>) {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the message names `iov` and `control`, which live until the call has returned; the header fits into `control`.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = (&raw const iov).cast_mut();
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(passed.as_raw_fd());
        let sent = libc::sendmsg(fd.as_raw_fd(), &raw const message, 0);
        assert_eq!(sent, bytes.len() as isize, "{}", io::Error::last_os_error());
    }
}

/// A read stops behind a descriptor that a peer has sent, although more data follows.
#[test]
fn data_behind_a_passed_descriptor_is_not_waited_for() {
    let text = in_child("data_behind_a_passed_descriptor_is_not_waited_for", || {
        run(|| {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            let mut reader = spawn(move || {
                let mut all = [0; 9];
                here.read_exact(&mut all[..1]).unwrap();
                let (mut at, mut buffer) = (1, [0; 64]);
                while at < 9 {
                    let count = here.read(&mut buffer).unwrap();
                    all[at..at + count].copy_from_slice(&buffer[..count]);
                    at += count;
                }
                all
            });
            yield_now();
            there.write_all(b"0").unwrap();
            yield_now();
            send_with_descriptor(there.as_fd(), b"1234", there.as_fd());
            there.write_all(b"5678").unwrap();
            assert_eq!(&reader.join().unwrap(), b"012345678");
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

/// A read stops at the mark of urgent data, although more data follows.
#[test]
fn data_behind_urgent_data_is_not_waited_for() {
    let text = in_child("data_behind_urgent_data_is_not_waited_for", || {
        run(|| {
            let (mut here, mut there) = tcp_pair();
            let mut reader = spawn(move || {
                let (mut all, mut buffer) = (Vec::new(), [0; 64]);
                while all.len() < 9 {
                    let count = here.read(&mut buffer).unwrap();
                    all.extend_from_slice(&buffer[..count]);
                }
                all
            });
            yield_now();
            there.write_all(b"0").unwrap();
            yield_now();
            there.write_all(b"1234").unwrap();
            assert_eq!(socket2::SockRef::from(&there).send_out_of_band(b"!").unwrap(), 1);
            there.write_all(b"5678").unwrap();
            assert_eq!(reader.join().unwrap(), b"012345678");
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

extern "C" fn on_alarm(_: libc::c_int) {}

/// SIGALRM each millisecond, without SA_RESTART, in each system call that can be interrupted.
#[test]
fn signals_interrupt_no_call() {
    let text = in_child("signals_interrupt_no_call", || {
        // SAFETY: the handler does nothing, and both structs are valid for their calls.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_alarm as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
            let each = libc::timeval { tv_sec: 0, tv_usec: if SLOW { 5000 } else { 1000 } };
            let timer = libc::itimerval { it_interval: each, it_value: each };
            assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()), 0);
        }
        run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut server = spawn(move || {
                for _ in 0..20 {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut byte = [0];
                    while stream.read(&mut byte).unwrap() == 1 {
                        stream.write_all(&byte).unwrap();
                    }
                }
            });
            for _ in 0..20 {
                let mut stream = TcpStream::connect(address).unwrap();
                for round in 0..20_u8 {
                    stream.write_all(&[round]).unwrap();
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    assert_eq!(byte, [round]);
                    if round % 8 == 0 {
                        sleep(MS).unwrap();
                    }
                }
            }
            server.join().unwrap();
        });
        // A plain thread in poll(2).
        let (mut here, mut there) = tcp_pair();
        let feeder = thread::spawn(move || {
            thread::sleep(20 * MS);
            there.write_all(b"x").unwrap();
            there
        });
        here.read_exact(&mut [0]).unwrap();
        here.set_read_timeout(Some(20 * MS)).unwrap();
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(feeder.join().unwrap());
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Descriptor numbers are used again and again, while clones keep the old files, and so their registrations, alive. Each connection
/// carries bytes of its own.
#[test]
fn reused_descriptor_numbers_carry_no_foreign_data() {
    let text = in_child("reused_descriptor_numbers_carry_no_foreign_data", || {
        let count = times(10_000);
        run(|| {
            let mut random = Random::new(3);
            // Ends whose own numbers are free again, and their clones in other numbers, with the peers.
            let mut clones: Vec<(UnixStream, UnixStream)> = Vec::new();
            for number in 0..count {
                let (mut a, b) = UnixStream::pair().unwrap();
                let clone = b.try_clone().unwrap();
                let mut reader = spawn(move || {
                    let mut bytes = [0; 8];
                    (&b).read_exact(&mut bytes).unwrap();
                    (b, bytes)
                });
                yield_now();
                // Traffic for clones of closed descriptors, at the time when the new reader waits.
                if let Some((peer, _)) = clones.get_mut(random.below(64)) {
                    peer.write_all(b"foreign!").unwrap();
                }
                yield_now();
                a.write_all(&(number as u64).to_ne_bytes()).unwrap();
                let (b, bytes) = reader.join().unwrap();
                assert_eq!(u64::from_ne_bytes(bytes), number as u64);
                match random.below(4) {
                    // On another thread, where no run forgets it.
                    0 => thread::spawn(move || drop(b)).join().unwrap(),
                    1 => drop(std::os::unix::net::UnixStream::from(b)),
                    _ => drop(b),
                }
                if clones.len() < 64 {
                    clones.push((a, clone));
                } else {
                    clones[random.below(64)] = (a, clone);
                }
                if number % 16 == 0 {
                    let (_, clone) = &clones[random.below(clones.len())];
                    let _ = timeout(Duration::from_micros(50), || (&*clone).read(&mut [0; 64]));
                }
            }
            drop(clones);
            assert_eq!(cede::metrics().io_waiting, 0);
        });
        run(|| {
            let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
            assert!(descriptors < 16, "{descriptors} descriptors are left");
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Two sources for one descriptor in one run: each keeps its waits when the other one registers or ends.
#[test]
fn two_owners_of_one_descriptor_wait_at_once() {
    let text = in_child("two_owners_of_one_descriptor_wait_at_once", || {
        run(|| {
            let (mut here, there) = UnixStream::pair().unwrap();
            set_buffers(&there, 4608);
            for round in 0..20_u8 {
                let there = &there;
                scope(|scope| {
                    let mut first = scope.spawn(move || {
                        let reader = Async::new(there);
                        let mut byte = [0];
                        reader.read_with(|stream| nonblocking_read(stream, &mut byte)).map(|_| byte[0])
                    });
                    let mut second = scope.spawn(move || {
                        // Ends by its deadline, and its registration with it.
                        let other = Async::new(there);
                        let wait = || other.read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into()));
                        timeout(MS, wait).is_err()
                    });
                    assert!(second.join().unwrap());
                    here.write_all(&[round]).unwrap();
                    assert_eq!(first.join().unwrap().unwrap(), round);
                })
                .unwrap();
            }
            cede::io::wait(&there, Interest::Writable).unwrap();
            drop(there);
            drop(here);
            no_io_is_left();
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

fn nonblocking_read(stream: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = stream.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// A connection that a thread keeps full does not keep a sleeper or another connection from their turns: within the reads that the
/// flooded task makes there is a turn of each, at least once in the budget and a poll.
#[test]
fn flooded_connection_delays_no_other_task() {
    let text = in_child("flooded_connection_delays_no_other_task", || {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut flooded, mut source) = UnixStream::pair().unwrap();
        let flag = stop.clone();
        let feeder = thread::spawn(move || while !flag.load(Relaxed) && source.write_all(&[7; 64 << 10]).is_ok() {});
        run(|| {
            let reads = Cell::new(0_usize);
            let done = Cell::new(false);
            let (mut ping, mut pong) = UnixStream::pair().unwrap();
            scope(|scope| {
                scope.spawn(|| {
                    let mut buffer = [0; 64];
                    while !done.get() {
                        assert!(flooded.read(&mut buffer).unwrap() > 0);
                        reads.set(reads.get() + 1);
                    }
                });
                let mut echo = scope.spawn(move || {
                    let mut byte = [0];
                    while pong.read(&mut byte).unwrap() == 1 {
                        pong.write_all(&byte).unwrap();
                    }
                });
                for _ in 0..50 {
                    let before = reads.get();
                    ping.write_all(b"p").unwrap();
                    ping.read_exact(&mut [0]).unwrap();
                    let between = reads.get() - before;
                    // Two waits, each of at most a few budgets of 64 reads and the poll's interval.
                    assert!(between < 20_000, "{between} reads during one ping");
                }
                sleep(5 * MS).unwrap();
                done.set(true);
                drop(ping);
                echo.join().unwrap();
            })
            .unwrap();
        });
        stop.store(true, Relaxed);
        drop(flooded);
        feeder.join().unwrap();
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Tasks end by a cancel while they wait, and tasks that follow in their TCBs park. An event for the old waits wakes none of them.
#[test]
fn event_wakes_no_later_task_of_a_reused_tcb() {
    run(|| {
        for _ in 0..times(500) {
            let (mut here, there) = small_pair();
            let there = std::rc::Rc::new(there);
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let there = there.clone();
                    spawn(move || (&*there).read(&mut [0; 8]).is_err())
                })
                .collect();
            yield_now();
            assert_eq!(cede::metrics().io_waiting, 4);
            for reader in &readers {
                reader.cancel();
            }
            assert!(join_all(readers).into_iter().all(|result| result.unwrap()));
            assert_eq!(cede::metrics().io_waiting, 0);
            let unparkers = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
            let passed = std::rc::Rc::new(Cell::new(0));
            let later: Vec<_> = (0..4)
                .map(|_| {
                    let (unparkers, passed) = (unparkers.clone(), passed.clone());
                    spawn(move || {
                        unparkers.borrow_mut().push(Unparker::current());
                        cede::task::park("nothing").unwrap();
                        passed.set(passed.get() + 1);
                    })
                })
                .collect();
            yield_now();
            here.write_all(b"late").unwrap();
            // A read that waits polls the event.
            let (mut ping, pong) = small_pair();
            let mut reader = spawn(move || (&pong).read(&mut [0; 8]).unwrap());
            yield_now();
            ping.write_all(b"x").unwrap();
            assert_eq!(reader.join().unwrap(), 1);
            assert_eq!(passed.get(), 0, "a park ended by an event of another task");
            unparkers.borrow().iter().for_each(Unparker::unpark);
            join_all(later).into_iter().for_each(|result| result.unwrap());
        }
        no_io_is_left();
    });
}

/// At the end of a run tasks that wait in a shield are unwound; the sockets, which are shared with the next run, still work.
#[test]
fn forced_unwind_and_abandon_leave_the_sockets_usable() {
    let text = in_child("forced_unwind_and_abandon_leave_the_sockets_usable", || {
        let (mut here, there) = UnixStream::pair().unwrap();
        let there = Arc::new(there);
        let dropped = Arc::new(AtomicUsize::new(0));
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        for round in 0..3_u8 {
            let result = Config::new().shutdown_grace(5 * MS).run(|| {
                for number in 0..4 {
                    let (there, count) = (there.clone(), Count(dropped.clone()));
                    spawn(move || {
                        let _count = count;
                        let wait = || cede::shield(|| (&*there).read(&mut [0; 8]));
                        if number == 0 {
                            // Ignores even the unwind, and is abandoned.
                            loop {
                                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
                            }
                        }
                        let _ = wait();
                    });
                }
                yield_now();
            });
            result.unwrap();
            here.write_all(&[round]).unwrap();
            let mut byte = [0];
            run(|| (&*there).read_exact(&mut byte)).unwrap();
            assert_eq!(byte, [round]);
        }
        if cfg!(panic = "unwind") {
            assert_eq!(dropped.load(Relaxed), 9);
        }
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// Two runs on two threads share a stream in one direction each, then both in the same direction. In addition each run has streams of
/// its own, whose slots a token of the other run could name.
#[test]
fn two_runs_share_one_stream() {
    let text = in_child("two_runs_share_one_stream", || {
        let total = times(400_000);
        let ((a, b), got) = (small_pair(), AtomicUsize::new(0));
        let (a, b, got) = (&a, &b, &got);
        thread::scope(|threads| {
            for side in 0..2 {
                threads.spawn(move || {
                    run(move || {
                        // Other streams: a different number in each run, so that slots and generations differ.
                        let mut own = Vec::new();
                        for _ in 0..=side {
                            let (mut ping, mut pong) = small_pair();
                            own.push(spawn(move || {
                                let mut buffer = [0; 16];
                                while let Ok(count @ 1..) = pong.read(&mut buffer) {
                                    if pong.write_all(&buffer[..count]).is_err() {
                                        break;
                                    }
                                }
                            }));
                            own.push(spawn(move || {
                                for round in 0..times(20_000) {
                                    ping.write_all(&[round as u8]).unwrap();
                                    let mut byte = [0];
                                    ping.read_exact(&mut byte).unwrap();
                                    assert_eq!(byte[0], round as u8);
                                }
                            }));
                        }
                        scope(|scope| {
                            // Both runs read `b`, and both write `a`.
                            scope.spawn(|| {
                                let mut sent = 0;
                                while sent < total / 2 {
                                    sent += (&*a).write(&[7; 100][..100.min(total / 2 - sent)]).unwrap();
                                }
                            });
                            scope.spawn(|| {
                                let mut buffer = [0; 300];
                                loop {
                                    let count = (&*b).read(&mut buffer).unwrap();
                                    if count == 0 {
                                        break;
                                    }
                                    assert!(buffer[..count].iter().all(|byte| *byte == 7));
                                    if got.fetch_add(count, Relaxed) + count == total {
                                        a.shutdown(Shutdown::Write).unwrap();
                                    }
                                }
                            });
                        })
                        .unwrap();
                        join_all(own).into_iter().for_each(|result| result.unwrap());
                        assert_eq!(cede::metrics().io_waiting, 0);
                    });
                });
            }
        });
        assert_eq!(got.load(Relaxed), total);
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Without a descriptor to spare an accept fails at once, and works again after a close.
#[test]
fn accept_without_descriptors_fails_and_recovers() {
    let text = in_child("accept_without_descriptors_fails_and_recovers", || {
        run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // Makes the reactor.
            let (client, _served) = (TcpStream::connect(address).unwrap(), listener.accept().unwrap());
            assert!(timeout(MS, || (&client).read(&mut [0; 8])).is_err());
            let waiting = TcpStream::connect(address).unwrap();
            let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: `limit` is valid for the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            let mut files = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                files.push(file);
            }
            for _ in 0..10 {
                assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EMFILE));
            }
            assert_eq!(TcpStream::connect(address).unwrap_err().raw_os_error(), Some(libc::EMFILE));
            assert_eq!(cede::io::wait(&client, Interest::Writable).unwrap_err().raw_os_error(), Some(libc::EMFILE));
            let polls = cede::metrics().io_waiting;
            files.pop();
            let (mut served, _) = listener.accept().unwrap();
            served.write_all(b"served").unwrap();
            let mut bytes = [0; 6];
            (&waiting).read_exact(&mut bytes).unwrap();
            assert_eq!((&bytes, polls), (b"served", 0));
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

/// Under a seed and under a paused clock each byte arrives before any deadline that is later on the paused clock.
#[test]
fn seeded_runs_and_paused_clocks_wait_for_data() {
    for seed in 0..5 {
        let result = Config::new().seed(seed).paused_clock(true).run(|| {
            let began = now();
            let (mut here, mut there) = small_pair();
            let mut echo = spawn(move || {
                let mut byte = [0];
                while there.read(&mut byte).unwrap() == 1 {
                    there.write_all(&byte).unwrap();
                }
            });
            for round in 0..100 {
                let reply = timeout(Duration::from_secs(60), || {
                    here.write_all(&[round])?;
                    let mut byte = [0];
                    here.read_exact(&mut byte).map(|()| byte[0])
                });
                assert_eq!(reply.unwrap().unwrap(), round);
            }
            assert_eq!(now(), began, "no clock has jumped");
            // With nothing to come the clock jumps to the deadline.
            let late = timeout(Duration::from_secs(3600), || (&here).read(&mut [0]));
            assert_eq!(late.unwrap_err().value.unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(now() - began, Duration::from_secs(3600));
            drop(here);
            echo.join().unwrap();
        });
        result.unwrap();
    }
}

#[test]
fn thousand_connections_are_served_at_once() {
    let text = in_child("thousand_connections_are_served_at_once", || {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for both calls.
        unsafe {
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        let count = if cfg!(feature = "asan") || cfg!(target_arch = "aarch64") { 100 } else { 1000 };
        let count = count.min((limit.rlim_cur as usize).saturating_sub(50) / 2);
        run(|| {
            let mut clients = Vec::new();
            let mut servers = Vec::new();
            for number in 0..count {
                let (mut a, mut b) = UnixStream::pair().unwrap();
                servers.push(spawn(move || {
                    let mut bytes = [0; 8];
                    while b.read_exact(&mut bytes).is_ok() {
                        b.write_all(&bytes).unwrap();
                    }
                }));
                clients.push(spawn(move || {
                    for round in 0..3 {
                        let message = (number as u64 * 10 + round).to_ne_bytes();
                        a.write_all(&message).unwrap();
                        let mut bytes = [0; 8];
                        a.read_exact(&mut bytes).unwrap();
                        assert_eq!(bytes, message);
                    }
                }));
            }
            join_all(clients).into_iter().for_each(|result| result.unwrap());
            join_all(servers).into_iter().for_each(|result| result.unwrap());
            no_io_is_left();
        });
    });
    assert_eq!(text, "exit code Some(0)");
}

/// A call that needs no wait completes where a task must not wait, and in a task that was cancelled.
#[test]
fn data_that_is_there_is_read_where_no_wait_is_allowed() {
    run(|| {
        let (mut here, mut there) = small_pair();
        let reads = std::rc::Rc::new(Cell::new(0));
        let counted = std::rc::Rc::clone(&reads);
        let mut reader = spawn(move || {
            // A short read: from here on the stream is believed to be empty.
            for _ in 0..2 {
                assert_eq!(here.read(&mut [0; 8]).unwrap(), 1);
                counted.set(counted.get() + 1);
            }
            here
        });
        for round in 1..=2 {
            yield_now();
            there.write_all(b"x").unwrap();
            while reads.get() < round {
                yield_now();
            }
        }
        let mut here = reader.join().unwrap();
        there.write_all(b"abc").unwrap();
        let count = cede::task::no_suspend(|| here.read(&mut [0; 8]).unwrap());
        assert_eq!(count, 3);
        let mut reader = spawn(move || {
            let _ = cede::task::park("a cancel");
            here.read(&mut [0; 8]).unwrap()
        });
        yield_now();
        there.write_all(b"abcd").unwrap();
        reader.cancel();
        assert_eq!(reader.join().unwrap(), 4);
    });
}
