//! Batches of datagrams: order, lengths and senders, with the calls that the kernel has and without them.
#![cfg(feature = "io")]

mod common;

use cede::io::is_cancelled;
use cede::net::{Batch, BatchError, UdpSocket};
use cede::{run, spawn, yield_now};
use common::worlds::in_all_worlds;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls go to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees it.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Ways to make the calls.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mode {
    one_by_one: bool,
    no_gso: bool,
    gro: bool,
}

const MODES: [Mode; 8] = {
    let mut modes = [Mode { one_by_one: false, no_gso: false, gro: false }; 8];
    let mut index = 0;
    while index < 8 {
        modes[index] = Mode { one_by_one: index & 1 != 0, no_gso: index & 2 != 0, gro: index & 4 != 0 };
        index += 1;
    }
    modes
};

fn socket(mode: Mode) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    set(&socket, mode);
    socket
}

fn set(socket: &UdpSocket, mode: Mode) {
    socket.restrict_batches(mode.one_by_one, mode.no_gso);
    if mode.gro {
        // `false` means that the system cannot, and nothing else may change.
        socket.set_gro(true).unwrap();
    }
    // A datagram that does not come fails the test.
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
}

/// A datagram with a number in its bytes.
fn numbered(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at) as u8).collect()
}

type Owned = (Vec<u8>, SocketAddr, bool);

/// Receives until there are `count` datagrams.
fn receive(socket: &UdpSocket, batch: &mut Batch, count: usize) -> Vec<Owned> {
    let mut all = Vec::new();
    while all.len() < count {
        let received = socket.recv_batch(batch).unwrap();
        assert_eq!((received, batch.iter().count()), (batch.len(), received));
        assert!(received > 0);
        all.extend(batch.iter().map(|datagram| (datagram.bytes.to_vec(), datagram.peer, datagram.truncated)));
    }
    all
}

/// Sends the datagrams, and receives them at the other end.
fn transfer(mode: Mode, lens: &[usize], capacity: usize, max_len: usize) -> Vec<Owned> {
    let (here, there) = (socket(mode), socket(mode));
    let to = there.local_addr().unwrap();
    let mut batch = Batch::new(lens.len(), 2000);
    for (number, len) in lens.iter().enumerate() {
        batch.push(&numbered(number, *len), to).unwrap();
    }
    assert_eq!(here.send_batch(&mut batch).unwrap(), lens.len());
    assert!(batch.is_empty());
    let received = receive(&there, &mut Batch::new(capacity, max_len), lens.len());
    let from = here.local_addr().unwrap();
    assert!(received.iter().all(|(_, peer, _)| *peer == from), "{mode:?}: all are from {from}");
    received
}

fn expected(lens: &[usize], from_max: usize) -> Vec<(Vec<u8>, bool)> {
    let cut = |(number, len): (usize, &usize)| {
        let mut bytes = numbered(number, *len);
        bytes.truncate(from_max);
        (bytes, *len > from_max)
    };
    lens.iter().enumerate().map(cut).collect()
}

#[track_caller]
fn check(mode: Mode, lens: &[usize], capacity: usize, max_len: usize) {
    let received = transfer(mode, lens, capacity, max_len);
    let received: Vec<_> = received.into_iter().map(|(bytes, _, truncated)| (bytes, truncated)).collect();
    assert!(received == expected(lens, max_len), "{mode:?}, {lens:?} into {capacity} of {max_len}");
}

#[test]
fn batches_keep_order_and_lengths() {
    let equal = [100; 70];
    let mixed: Vec<usize> = (0..60).map(|number| [7, 7, 7, 3, 1200, 1200, 1, 1, 1, 900][number % 10]).collect();
    let descending = [500, 500, 499, 499, 10];
    for mode in MODES {
        for lens in [&equal[..], &mixed, &descending, &[1]] {
            for capacity in [1, 3, 64] {
                check(mode, lens, capacity, 1500);
            }
        }
    }
}

#[test]
fn long_datagrams_are_cut() {
    for mode in MODES {
        check(mode, &[10, 11, 9, 300, 300, 300, 10, 5], 64, 10);
        check(mode, &[40, 40, 40, 20], 2, 25);
    }
}

#[test]
fn empty_datagrams_are_kept() {
    for mode in MODES {
        check(mode, &[0], 8, 100);
        check(mode, &[0, 0, 5, 0, 5, 5, 0], 8, 100);
        check(mode, &[3, 3, 0], 1, 100);
    }
}

#[test]
fn peers_keep_their_datagrams() {
    for mode in MODES {
        let sockets = [socket(mode), socket(mode), socket(mode)];
        let addresses = [0, 1, 2].map(|index| sockets[index].local_addr().unwrap());
        let sender = socket(mode);
        let mut batch = Batch::new(64, 100);
        let plan: Vec<usize> = (0..48).map(|number| [0, 0, 1, 2, 2, 2, 1, 0][number % 8]).collect();
        for (number, peer) in plan.iter().enumerate() {
            batch.push(&numbered(number, 50), addresses[*peer]).unwrap();
        }
        assert_eq!(sender.send_batch(&mut batch).unwrap(), plan.len());
        for (index, socket) in sockets.iter().enumerate() {
            let its: Vec<_> = (0..plan.len()).filter(|number| plan[*number] == index).collect();
            let received = receive(socket, &mut batch, its.len());
            let bytes: Vec<_> = received.into_iter().map(|(bytes, _, _)| bytes).collect();
            assert_eq!(bytes, its.iter().map(|number| numbered(*number, 50)).collect::<Vec<_>>());
        }
    }
}

/// A batch that was received is sent as it is, to several senders.
#[test]
fn received_batches_go_back() {
    for mode in MODES {
        let server = socket(mode);
        let clients = [socket(mode), socket(mode)];
        let to = server.local_addr().unwrap();
        let mut batch = Batch::new(40, 60);
        for number in 0..40 {
            batch.push(&numbered(number, 60), to).unwrap();
            if number % 20 == 19 {
                clients[number / 20].send_batch(&mut batch).unwrap();
            }
        }
        let mut echoed = 0;
        while echoed < 40 {
            server.recv_batch(&mut batch).unwrap();
            echoed += server.send_batch(&mut batch).unwrap();
        }
        for (index, client) in clients.iter().enumerate() {
            let received = receive(client, &mut batch, 20);
            let expected: Vec<_> = (index * 20..(index + 1) * 20).map(|n| (numbered(n, 60), to, false)).collect();
            assert!(received == expected, "{mode:?}");
        }
    }
}

#[test]
fn ipv6_batches_arrive() {
    for mode in MODES {
        let Ok(there) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let here = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        set(&here, mode);
        set(&there, mode);
        let mut batch = Batch::new(50, 300);
        for number in 0..50 {
            batch.push(&numbered(number, 300), there.local_addr().unwrap()).unwrap();
        }
        here.send_batch(&mut batch).unwrap();
        let from = here.local_addr().unwrap();
        let expected: Vec<_> = (0..50).map(|number| (numbered(number, 300), from, false)).collect();
        assert!(receive(&there, &mut batch, 50) == expected, "{mode:?}");
    }
}

/// One receive into a batch with one slot returns several datagrams, so the kernel has divided and joined them.
#[test]
fn joined_datagrams_are_divided() {
    let mode = Mode { one_by_one: false, no_gso: false, gro: true };
    let (here, there) = (socket(mode), socket(mode));
    if !there.set_gro(true).unwrap() {
        return;
    }
    let mut batch = Batch::new(100, 400);
    for number in 0..100 {
        batch.push(&numbered(number, 400), there.local_addr().unwrap()).unwrap();
    }
    here.send_batch(&mut batch).unwrap();
    let mut one = Batch::new(1, 400);
    let first = there.recv_batch(&mut one).unwrap();
    assert!(common::emulated() || first == 64, "{first} datagrams in one message");
    let mut bytes: Vec<_> = one.iter().map(|datagram| datagram.bytes.to_vec()).collect();
    bytes.extend(receive(&there, &mut one, 100 - first).into_iter().map(|(bytes, _, _)| bytes));
    assert!(bytes == (0..100).map(|number| numbered(number, 400)).collect::<Vec<_>>());
    // A batch that holds more than it may must not take further ones.
    assert!(one.len() > 1 || common::emulated());
    assert_eq!(one.push(b"late", there.local_addr().unwrap()), Err(BatchError::Full));
}

#[test]
fn joining_refuses_other_receives() {
    let (here, there) = (socket(MODES[0]), socket(MODES[0]));
    let to = there.local_addr().unwrap();
    if there.set_gro(true).unwrap() {
        for kind in [
            there.recv_from(&mut [0; 9]).unwrap_err().kind(),
            there.recv(&mut [0; 9]).unwrap_err().kind(),
            there.peek_from(&mut [0; 9]).unwrap_err().kind(),
            there.peek(&mut [0; 9]).unwrap_err().kind(),
            there.try_clone().unwrap().recv(&mut [0; 9]).unwrap_err().kind(),
        ] {
            assert_eq!(kind, ErrorKind::InvalidInput);
        }
        // A socket that comes with the option joins, too.
        let there = UdpSocket::from(std::net::UdpSocket::from(there));
        let mut batch = Batch::new(8, 10);
        (0..8).for_each(|_| batch.push(b"ten bytes.", to).unwrap());
        here.send_batch(&mut batch).unwrap();
        assert!(receive(&there, &mut batch, 8).iter().all(|(bytes, _, cut)| bytes == b"ten bytes." && !cut));
        assert!(!there.set_gro(false).unwrap());
        here.send_to(b"plain", to).unwrap();
        assert_eq!(there.recv_from(&mut [0; 9]).unwrap().0, 5);
    }
}

/// The kernel divides no messages of a socket without checksums.
#[test]
fn refused_division_sends_single_datagrams() {
    let (here, there) = (socket(MODES[0]), socket(MODES[0]));
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads the four bytes of `on`.
    let failed =
        unsafe { libc::setsockopt(here.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const on).cast(), 4) };
    assert_eq!(failed, 0);
    let mut batch = Batch::new(30, 100);
    for round in 0..2 {
        batch.clear();
        for number in 0..30 {
            batch.push(&numbered(number, 100), there.local_addr().unwrap()).unwrap();
        }
        assert_eq!(here.send_batch(&mut batch).unwrap(), 30, "round {round}");
        let received = receive(&there, &mut batch, 30);
        assert!(received.iter().map(|(bytes, _, _)| bytes.clone()).eq((0..30).map(|number| numbered(number, 100))));
    }
    there.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(there.recv_batch(&mut batch).unwrap_err().kind(), ErrorKind::TimedOut, "none was sent twice");
    assert!(batch.is_empty());
}

#[test]
fn errors_leave_the_unsent() {
    for mode in MODES {
        let (here, there) = (socket(mode), socket(mode));
        let to = there.local_addr().unwrap();
        let too_long = vec![1; 66_000];
        let mut batch = Batch::new(8, 70_000);
        for bytes in [&b"a"[..], b"b", &too_long, &too_long, b"c", b"d"] {
            batch.push(bytes, to).unwrap();
        }
        for left in [4, 3] {
            let error = here.send_batch(&mut batch).unwrap_err();
            assert_eq!((error.raw_os_error(), batch.len()), (Some(libc::EMSGSIZE), left), "{mode:?}");
            assert_eq!(batch.pop_front().unwrap().bytes.len(), too_long.len());
        }
        assert_eq!(here.send_batch(&mut batch).unwrap(), 2);
        let received: Vec<_> = receive(&there, &mut batch, 4).into_iter().map(|(bytes, _, _)| bytes).collect();
        assert_eq!(received, [b"a", b"b", b"c", b"d"]);
    }
}

#[test]
fn refused_peers_are_reported() {
    for mode in MODES {
        let here = socket(mode);
        let gone = socket(mode).local_addr().unwrap();
        here.connect(gone).unwrap();
        let mut batch = Batch::new(4, 10);
        batch.push(b"refused", gone).unwrap();
        here.send_batch(&mut batch).unwrap();
        assert_eq!(here.recv_batch(&mut batch).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{mode:?}");
        assert!(batch.is_empty());
    }
}

#[test]
fn full_batches_refuse() {
    let peer = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut batch = Batch::new(2, 4);
    assert_eq!(batch.push(b"five!", peer), Err(BatchError::TooLong));
    batch.push(b"four", peer).unwrap();
    batch.push(b"more", peer).unwrap();
    assert_eq!(batch.push(b"", peer), Err(BatchError::Full));
    assert_eq!(batch.len(), 2);
    // The place of a datagram that was removed is used again.
    assert_eq!(batch.pop_front().unwrap().bytes, b"four");
    batch.push(b"last", peer).unwrap();
    assert!(batch.iter().map(|datagram| datagram.bytes).eq([b"more", b"last"]));
    batch.clear();
    assert_eq!((batch.len(), batch.pop_front()), (0, None));
    assert!(format!("{batch:?}").contains("capacity: 2, max_len: 4"));
}

#[test]
#[should_panic(expected = "a batch needs room")]
fn batches_without_room_panic() {
    Batch::new(0, 1);
}

#[test]
fn cancelled_receives_take_nothing() {
    for mode in MODES {
        run(|| {
            let (here, there) = (socket(mode), std::rc::Rc::new(socket(mode)));
            let mut receiver = spawn({
                let there = std::rc::Rc::clone(&there);
                move || {
                    let mut batch = Batch::new(8, 10);
                    let error = there.recv_batch(&mut batch).unwrap_err();
                    assert!(batch.is_empty());
                    is_cancelled(&error)
                }
            });
            yield_now();
            // The task is cancelled first, and the datagram is there when it runs.
            receiver.cancel();
            here.send_to(b"still here", there.local_addr().unwrap()).unwrap();
            assert!(receiver.join().unwrap());
            assert_eq!(receive(&there, &mut Batch::new(8, 10), 1)[0].0, b"still here");
        });
    }
}

#[test]
fn timeouts_end_receives() {
    in_all_worlds(|_| {
        let there = socket(MODES[0]);
        there.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        let error = there.recv_batch(&mut Batch::new(1, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

/// The receiver waits first, as a task or as a thread, and each batch is answered.
#[test]
fn batches_wake_their_receiver() {
    in_all_worlds(|world| {
        for mode in MODES {
            let (here, there) = (socket(mode), socket(mode));
            let to = there.local_addr().unwrap();
            let server = world.spawn(move || {
                let mut batch = Batch::new(16, 100);
                let mut count = 0;
                while count < 60 {
                    there.recv_batch(&mut batch).unwrap();
                    count += there.send_batch(&mut batch).unwrap();
                }
            });
            let mut batch = Batch::new(16, 100);
            for round in 0..6 {
                batch.clear();
                (0..10).for_each(|number| batch.push(&numbered(round * 10 + number, 80), to).unwrap());
                here.send_batch(&mut batch).unwrap();
                let received = receive(&here, &mut batch, 10);
                assert!(
                    received.iter().enumerate().all(|(number, datagram)| {
                        datagram.0 == numbered(round * 10 + number, 80) && datagram.1 == to
                    })
                );
            }
            server.join();
        }
    });
}

#[test]
fn reused_batches_allocate_nothing() {
    for mode in MODES {
        let (here, there) = (socket(mode), socket(mode));
        let to = there.local_addr().unwrap();
        let mut batch = Batch::new(32, 100);
        let mut round = || {
            (0..32).for_each(|_| batch.push(&[7; 100], to).unwrap());
            here.send_batch(&mut batch).unwrap();
            let mut count = 0;
            while count < 32 {
                count += there.recv_batch(&mut batch).unwrap();
            }
            batch.clear();
        };
        round();
        let before = ALLOCATIONS.get();
        (0..10).for_each(|_| round());
        assert_eq!(ALLOCATIONS.get() - before, 0, "{mode:?}");
    }
}
