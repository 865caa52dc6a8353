//! Channels, between tasks, between threads, and between tasks and threads. The behaviours to check are taken from the tests of
//! crossbeam-channel's array, list and zero flavours, and from Go's.

mod common;

use cede::sync::channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded,
    rendezvous, unbounded,
};
use cede::{Config, RunError, spawn, yield_now};
use common::worlds::{World, in_all_worlds};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Counts its drops.
#[derive(Debug)]
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn paused<T>(main: impl FnOnce() -> T) -> T {
    Config::new().paused_clock(true).run(main).unwrap()
}

/// One channel of each kind.
fn each_kind<T>(test: impl Fn(&'static str, (Sender<T>, Receiver<T>))) {
    test("rendezvous", rendezvous());
    test("bounded(1)", bounded(1));
    test("bounded(3)", bounded(3));
    test("unbounded", unbounded());
}

// Messages and counts.

#[test]
fn messages_are_received_once_each_in_the_order_they_were_sent() {
    in_all_worlds(|world| {
        each_kind(|kind, (sender, receiver)| {
            let sending = world.spawn(move || (0..500).for_each(|n| sender.send(n).unwrap()));
            let received: Vec<i32> = receiver.into_iter().collect();
            assert!(received.into_iter().eq(0..500), "{kind} {world:?}");
            sending.join();
        });
    });
}

#[test]
fn capacity_and_length_are_the_same_at_both_ends() {
    let (sender, receiver) = bounded(2);
    let told = |length, full| {
        assert_eq!((sender.len(), receiver.len()), (length, length));
        assert_eq!((sender.is_empty(), receiver.is_empty()), (length == 0, length == 0));
        assert_eq!((sender.is_full(), receiver.is_full()), (full, full));
        assert_eq!((sender.capacity(), receiver.capacity()), (Some(2), Some(2)));
    };
    told(0, false);
    sender.send(1).unwrap();
    told(1, false);
    sender.send(2).unwrap();
    told(2, true);
    receiver.recv().unwrap();
    told(1, false);
    let (sender, receiver) = unbounded();
    (0..100).for_each(|n| sender.send(n).unwrap());
    assert_eq!((receiver.len(), receiver.is_full(), receiver.capacity()), (100, false, None));
    let (sender, receiver) = rendezvous::<()>();
    assert_eq!((sender.len(), sender.is_empty(), receiver.is_full(), receiver.capacity()), (0, true, true, Some(0)));
}

#[test]
fn waiting_senders_do_not_count_as_messages() {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        spawn(move || (0..2).for_each(|n| sender.send(n).unwrap()));
        yield_now();
        assert_eq!(receiver.len(), 1);
        assert_eq!(receiver.recv(), Ok(0));
        assert_eq!(receiver.len(), 1, "a freed slot goes to the waiting sender at once");
    });
}

#[test]
fn try_send_and_try_recv_wait_for_nothing() {
    let (sender, receiver) = bounded(1);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    let (sender, receiver) = rendezvous();
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    drop(receiver);
    assert_eq!(sender.try_send(1), Err(TrySendError::Disconnected(1)));
}

/// In a rendezvous channel `try_send` succeeds only if a receiver waits, and `try_recv` only if a sender waits.
#[test]
fn rendezvous_try_send_and_try_recv_need_a_waiter() {
    cede::run(|| {
        let (sender, receiver) = rendezvous();
        let inner = receiver.clone();
        let mut receiving = spawn(move || inner.recv());
        yield_now();
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(receiving.join().unwrap(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let mut sending = spawn(move || sender.send(2));
        yield_now();
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(sending.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_rendezvous_does_not_return_before_the_message_was_taken() {
    cede::run(|| {
        let (sender, receiver) = rendezvous();
        let log: Rc<RefCell<Vec<&str>>> = Rc::default();
        let inner = Rc::clone(&log);
        let mut sending = spawn(move || {
            sender.send(()).unwrap();
            inner.borrow_mut().push("sent");
        });
        (0..3).for_each(|_| yield_now());
        log.borrow_mut().push("receiving");
        receiver.recv().unwrap();
        sending.join().unwrap();
        assert_eq!(*log.borrow(), ["receiving", "sent"]);
    });
}

#[test]
fn any_type_of_message_arrives_as_it_was() {
    in_all_worlds(|world| {
        #[derive(Debug, PartialEq)]
        #[repr(align(64))]
        struct Large([u8; 600]);
        let (sender, receiver) = bounded(2);
        let sending = world.spawn(move || {
            (0..5).for_each(|n| sender.send(Large([n; 600])).unwrap());
        });
        for (n, message) in receiver.iter().enumerate() {
            assert_eq!(message, Large([n as u8; 600]));
            assert_eq!(&raw const message as usize % 64, 0);
        }
        sending.join();
        let (sender, receiver) = unbounded();
        (0..1000).for_each(|_| sender.send(()).unwrap());
        drop(sender);
        assert_eq!(receiver.iter().count(), 1000, "messages of no size are counted");
    });
}

#[test]
fn a_channel_can_go_through_a_channel() {
    in_all_worlds(|world| {
        type Link = Option<Receiver<Box<dyn std::any::Any + Send>>>;
        let (sender, mut receiver) = bounded::<Box<dyn std::any::Any + Send>>(1);
        let sending = world.spawn(move || {
            let mut sender = sender;
            for _ in 0..50 {
                let (next, link) = bounded::<Box<dyn std::any::Any + Send>>(1);
                let link: Link = Some(link);
                sender.send(Box::new(link)).unwrap();
                sender = next;
            }
        });
        for _ in 0..50 {
            let link = receiver.recv().unwrap().downcast::<Link>().unwrap();
            receiver = link.unwrap();
        }
        assert!(receiver.recv().is_err());
        sending.join();
    });
}

/// Iterating by value and by reference ends when the last sender is dropped and all messages are received.
#[test]
fn iterators_end_when_senders_are_gone_and_channel_is_empty() {
    in_all_worlds(|world| {
        let (sender, receiver) = bounded(4);
        let senders: Vec<_> = (0..3)
            .map(|_| sender.clone())
            .map(|sender| world.spawn(move || (1..=10).for_each(|n| sender.send(n).unwrap())))
            .collect();
        drop(sender);
        let mut sum = receiver.iter().take(7).sum::<i32>();
        for n in &receiver {
            sum += n;
        }
        assert_eq!(sum, 3 * 55);
        assert_eq!(receiver.into_iter().next(), None);
        senders.into_iter().for_each(|sender| sender.join());
    });
}

#[test]
fn try_iter_takes_what_is_there() {
    let (sender, receiver) = unbounded();
    assert_eq!(receiver.try_iter().count(), 0);
    (0..3).for_each(|n| sender.send(n).unwrap());
    assert!(receiver.try_iter().eq(0..3));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn ends_of_one_channel_know_each_other() {
    let (sender, receiver) = unbounded::<()>();
    let (other, _other) = unbounded::<()>();
    assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&receiver.clone()));
    assert!(!sender.same_channel(&other));
}

// Ends: disconnected, closed.

/// Every form of `send` returns its message when the last receiver is dropped, and not before.
#[test]
fn send_without_receivers_gives_the_message_back() {
    each_kind(|kind, (sender, receiver)| {
        let second = receiver.clone();
        drop(receiver);
        assert!(!matches!(sender.try_send(0), Err(TrySendError::Disconnected(_))), "{kind}: one is left");
        drop(second);
        assert_eq!(sender.send(1), Err(SendError::Disconnected(1)), "{kind}");
        assert_eq!(sender.try_send(2), Err(TrySendError::Disconnected(2)), "{kind}");
        assert_eq!(sender.send_timeout(3, MS), Err(SendTimeoutError::Disconnected(3)), "{kind}");
        assert_eq!(sender.send(4).unwrap_err().into_inner(), 4, "{kind}");
    });
}

#[test]
fn sent_messages_are_received_after_the_last_sender_drops() {
    let (sender, receiver) = bounded(3);
    (0..3).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert_eq!(receiver.recv(), Ok(0));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.recv_timeout(MS), Ok(2));
    assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn disconnect_wakes_all_waiters() {
    in_all_worlds(|world| {
        let (sender, receiver) = bounded::<i32>(1);
        let receiving: Vec<_> =
            (0..3).map(|_| receiver.clone()).map(|receiver| world.spawn(move || receiver.recv())).collect();
        yield_now();
        drop(sender);
        receiving.into_iter().for_each(|one| assert_eq!(one.join(), Err(RecvError::Disconnected)));
        let (sender, receiver) = rendezvous();
        let sending: Vec<_> =
            (0..3).map(|n| (n, sender.clone())).map(|(n, sender)| world.spawn(move || sender.send(n))).collect();
        yield_now();
        drop(receiver);
        for (n, one) in sending.into_iter().enumerate() {
            assert_eq!(one.join(), Err(SendError::Disconnected(n)));
        }
    });
}

/// `close` from either end returns the messages of waiting senders, and leaves messages that were sent before to be
/// received.
#[test]
fn close_returns_waiting_messages_and_keeps_sent_ones() {
    cede::run(|| {
        for closed_by_sender in [true, false] {
            let (sender, receiver) = bounded(1);
            let (inner, inner_receiver) = (sender.clone(), receiver.clone());
            let mut sending = spawn(move || (inner.send(1), inner.send(2), inner.send(3)));
            yield_now();
            assert!(if closed_by_sender { sender.close() } else { receiver.close() });
            assert!(!sender.close() && !receiver.close(), "it is closed once");
            let gone = |n| Err(SendError::Disconnected(n));
            assert_eq!(sending.join().unwrap(), (Ok(()), gone(2), gone(3)));
            assert_eq!(sender.try_send(4), Err(TrySendError::Disconnected(4)));
            assert_eq!((inner_receiver.recv(), inner_receiver.recv()), (Ok(1), Err(RecvError::Disconnected)));
        }
        let (sender, receiver) = unbounded::<()>();
        let mut receiving = spawn(move || receiver.recv());
        yield_now();
        sender.close();
        assert_eq!(receiving.join().unwrap(), Err(RecvError::Disconnected));
    });
}

#[test]
fn unreceived_messages_are_dropped_once() {
    in_all_worlds(|world| {
        for (sent, received) in [(0, 0), (100, 0), (100, 37), (100, 100)] {
            let drops = Arc::new(AtomicUsize::new(0));
            let (sender, receiver) = unbounded();
            let counter = Arc::clone(&drops);
            world
                .spawn(move || {
                    (0..sent).for_each(|_| sender.send(Dropped(Arc::clone(&counter))).unwrap());
                    sender
                })
                .join();
            receiver.iter().take(received).for_each(drop);
            assert_eq!(drops.load(Relaxed), received);
            drop(receiver);
            assert_eq!(drops.load(Relaxed), sent);
        }
    });
}

/// Dropping the last receiver drops the messages in the channel, even if senders remain.
#[test]
fn last_receiver_dropped_drops_the_messages_despite_senders() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = unbounded();
    sender.send(Dropped(Arc::clone(&drops))).unwrap();
    drop(receiver);
    assert_eq!(drops.load(Relaxed), 1);
    drop(sender);
}

#[test]
fn a_message_may_own_the_end_that_it_was_sent_through() {
    struct Loop(#[expect(dead_code, reason = "it is only owned")] Sender<Loop>);
    let (sender, receiver) = unbounded();
    sender.send(Loop(sender.clone())).unwrap();
    drop((sender, receiver));
}

// Waiting: order, fairness, time.

#[test]
fn waiting_receivers_are_served_in_fifo_order() {
    cede::run(|| {
        each_kind(|kind, (sender, receiver)| {
            let mut receiving: Vec<_> =
                (0..4).map(|_| receiver.clone()).map(|receiver| spawn(move || receiver.recv())).collect();
            yield_now();
            (0..4).for_each(|n| sender.try_send(n).unwrap());
            for (n, one) in receiving.iter_mut().enumerate() {
                assert_eq!(one.join().unwrap(), Ok(n), "{kind}");
            }
        });
    });
}

/// Waiting senders are served in arrival order, and a later `try_send` does not overtake them.
#[test]
fn waiting_senders_are_served_in_fifo_order_without_barging() {
    cede::run(|| {
        for capacity in [0, 1, 2] {
            let (sender, receiver) = bounded(capacity);
            (0..capacity).for_each(|n| sender.send(n).unwrap());
            for n in capacity..capacity + 4 {
                let sender = sender.clone();
                spawn(move || sender.send(n).unwrap());
            }
            yield_now();
            for n in 0..capacity + 4 {
                assert!(
                    n > 3 || matches!(sender.try_send(99), Err(TrySendError::Full(99))),
                    "the waiting senders were first"
                );
                assert_eq!(receiver.recv(), Ok(n), "capacity {capacity}");
            }
        }
    });
}

/// A message sent while a receiver waits is handed off to it: a later `try_recv` finds the channel empty.
#[test]
fn late_receiver_does_not_take_a_handed_off_message() {
    cede::run(|| {
        let (sender, receiver) = unbounded();
        let inner = receiver.clone();
        let mut waiting = spawn(move || inner.recv());
        yield_now();
        sender.send(1).unwrap();
        assert_eq!(
            receiver.try_recv(),
            Err(TryRecvError::Empty),
            "the message was handed off, not left in the channel"
        );
        assert_eq!(waiting.join().unwrap(), Ok(1));
    });
}

#[test]
fn timeouts_end_waits_and_give_messages_back() {
    paused(|| {
        let start = cede::time::now();
        let (sender, receiver) = rendezvous();
        assert_eq!(receiver.recv_timeout(SECOND), Err(RecvTimeoutError::Timeout));
        assert_eq!(cede::time::now() - start, SECOND);
        assert_eq!(receiver.recv_deadline(start + 3 * SECOND), Err(RecvTimeoutError::Timeout));
        assert_eq!(cede::time::now() - start, 3 * SECOND);
        assert_eq!(sender.send_timeout(1, SECOND), Err(SendTimeoutError::Timeout(1)));
        assert_eq!(sender.send_deadline(2, start), Err(SendTimeoutError::Timeout(2)), "it is past");
        assert_eq!(cede::time::now() - start, 4 * SECOND);
        let mut sending = spawn(move || (sender.send_timeout(3, SECOND), sender.send_timeout(4, Duration::MAX)));
        cede::time::sleep(SECOND / 2).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(3), "a message that is there needs no time");
        assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(4));
        assert_eq!(sending.join().unwrap(), (Ok(()), Ok(())));
    });
}

#[test]
fn timeouts_end_waits_of_threads() {
    let (sender, receiver) = bounded(1);
    let start = Instant::now();
    assert_eq!(receiver.recv_timeout(2 * MS), Err(RecvTimeoutError::Timeout));
    sender.send(1).unwrap();
    assert_eq!(sender.send_timeout(2, 2 * MS), Err(SendTimeoutError::Timeout(2)));
    assert!(start.elapsed() >= 4 * MS, "never early");
    assert_eq!(receiver.recv_timeout(SECOND), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "a send that timed out sent nothing");
}

#[test]
fn waiter_that_gave_up_is_skipped() {
    paused(|| {
        let (sender, receiver) = bounded(1);
        let (first, second) = (receiver.clone(), receiver.clone());
        let mut first = spawn(move || first.recv_timeout(SECOND));
        let mut second = spawn(move || second.recv());
        cede::time::sleep(2 * SECOND).unwrap();
        sender.send(1).unwrap();
        assert_eq!(first.join().unwrap(), Err(RecvTimeoutError::Timeout));
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn many_senders_and_receivers_lose_and_double_nothing() {
    const EACH: usize = 500;
    in_all_worlds(|world| {
        each_kind(|kind, (sender, receiver)| {
            let senders: Vec<_> = (0..4)
                .map(|_| sender.clone())
                .map(|sender| world.spawn(move || (0..EACH).for_each(|n| sender.send(n).unwrap())))
                .collect();
            let receivers: Vec<_> = (0..4)
                .map(|_| receiver.clone())
                .map(|receiver| world.spawn(move || receiver.iter().collect::<Vec<usize>>()))
                .collect();
            drop((sender, receiver));
            senders.into_iter().for_each(|sender| sender.join());
            let mut count = BTreeMap::new();
            let received = receivers.into_iter().flat_map(|receiver| receiver.join());
            received.for_each(|n| *count.entry(n).or_insert(0) += 1);
            assert!(count.len() == EACH && count.values().all(|times| *times == 4), "{kind} {world:?}");
        });
    });
}

#[test]
fn each_receiver_sees_messages_of_one_sender_in_order() {
    in_all_worlds(|world| {
        let (sender, receiver) = bounded(2);
        let receivers: Vec<_> = (0..2)
            .map(|_| receiver.clone())
            .map(|receiver| world.spawn(move || receiver.iter().collect::<Vec<i32>>()))
            .collect();
        (0..300).for_each(|n| sender.send(n).unwrap());
        drop((sender, receiver));
        receivers.into_iter().for_each(|one| assert!(one.join().is_sorted()));
    });
}

#[test]
fn ping_pong_across() {
    in_all_worlds(|world| {
        each_kind(|_, (there, arriving)| {
            let (back, returning) = bounded(1);
            let echo = world.spawn(move || arriving.into_iter().try_for_each(|n: i32| back.send(n + 1)));
            (0..200).for_each(|n| {
                there.send(n).unwrap();
                assert_eq!(returning.recv(), Ok(n + 1));
            });
            drop(there);
            echo.join().unwrap();
        });
    });
}

#[test]
fn one_message_channels_come_and_go() {
    in_all_worlds(|world| {
        for n in 0..if world == World::Tasks { 1000 } else { 30 } {
            let (sender, receiver) = bounded(1);
            let receiving = world.spawn(move || receiver.recv());
            sender.send(n).unwrap();
            assert_eq!(receiving.join(), Ok(n));
        }
    });
}

#[test]
fn task_that_never_waits_does_not_starve_other_tasks() {
    cede::run(|| {
        let (sender, receiver) = unbounded();
        let turns = Rc::new(RefCell::new(0));
        let inner = Rc::clone(&turns);
        let other = spawn(move || {
            while !cede::task::is_cancelled() {
                *inner.borrow_mut() += 1;
                yield_now();
            }
        });
        yield_now();
        let before = *turns.borrow();
        for n in 0..20_000 {
            sender.send(n).unwrap();
            receiver.recv().unwrap();
        }
        assert!(*turns.borrow() > before + 2);
        other.cancel();
    });
}

#[test]
fn an_unbounded_send_never_gives_up_the_turn() {
    cede::run(|| {
        let (sender, receiver) = unbounded();
        let other = spawn(|| ());
        (0..20_000).for_each(|n| sender.send(n).unwrap());
        assert!(!other.is_finished(), "the other task must not run: it would meet what the sender has borrowed");
        drop(receiver);
    });
}

// Cancelling.

#[test]
fn a59_a_cancelled_receiver_loses_no_message() {
    cede::run(|| {
        each_kind(|kind, (sender, receiver)| {
            let inner = receiver.clone();
            let mut cancelled = spawn(move || inner.recv());
            let inner = receiver.clone();
            let mut next = spawn(move || inner.recv());
            yield_now();
            cancelled.cancel();
            yield_now();
            sender.try_send(1).unwrap();
            assert_eq!(cancelled.join().unwrap(), Err(RecvError::Cancelled), "{kind}");
            assert_eq!(next.join().unwrap(), Ok(1), "{kind}");
        });
    });
}

/// A receiver that is cancelled after a message was handed off to it still returns the message. Its next wait is
/// cancelled.
#[test]
fn receiver_cancelled_after_the_hand_off_keeps_the_message() {
    cede::run(|| {
        each_kind(|kind, (sender, receiver)| {
            let mut receiving = spawn(move || (receiver.recv(), receiver.recv()));
            yield_now();
            sender.try_send(1).unwrap();
            receiving.cancel();
            assert_eq!(receiving.join().unwrap(), (Ok(1), Err(RecvError::Cancelled)), "{kind}");
        });
    });
}

#[test]
fn a_cancelled_sender_has_its_message_back_or_it_was_received() {
    cede::run(|| {
        let (sender, receiver) = rendezvous();
        let inner = sender.clone();
        let mut cancelled = spawn(move || inner.send(1));
        let mut second = spawn(move || sender.send(2));
        yield_now();
        cancelled.cancel();
        yield_now();
        assert_eq!(receiver.recv(), Ok(2), "a cancelled sender is skipped");
        assert_eq!(cancelled.join().unwrap(), Err(SendError::Cancelled(1)));
        assert_eq!(second.join().unwrap(), Ok(()));
        let (sender, receiver) = rendezvous();
        let mut sending = spawn(move || sender.send(1));
        yield_now();
        assert_eq!(receiver.recv(), Ok(1));
        sending.cancel();
        assert_eq!(sending.join().unwrap(), Ok(()), "it was received first");
    });
}

#[test]
fn a_cancelled_task_still_does_what_needs_no_wait() {
    cede::run(|| {
        let (sender, receiver) = bounded(2);
        sender.send(1).unwrap();
        let mut task = spawn(move || {
            assert_eq!(cede::time::sleep(SECOND), Err(cede::task::Cancelled));
            let there = (receiver.recv(), sender.send(2), receiver.recv_timeout(SECOND));
            (there, receiver.recv(), receiver.recv_timeout(SECOND))
        });
        yield_now();
        task.cancel();
        let there = (Ok(1), Ok(()), Ok(2));
        let end = (there, Err(RecvError::Cancelled), Err(RecvTimeoutError::Cancelled));
        assert_eq!(task.join().unwrap(), end);
    });
}

#[test]
fn errors_of_cancel_and_disconnect_have_distinct_messages() {
    assert!(RecvError::Cancelled.to_string().contains("cancelled"));
    assert!(RecvError::Disconnected.to_string().contains("last sender"));
    assert!(SendError::Cancelled(()).to_string().contains("cancelled"));
    assert!(TrySendError::Full(()).to_string().contains("full"));
    assert_eq!(format!("{:?}", SendTimeoutError::Timeout(Rc::new(1))), "Timeout(..)");
}

#[test]
fn the_end_of_main_ends_waits_and_messages_are_dropped() {
    let drops = Arc::new(AtomicUsize::new(0));
    let ends: Rc<RefCell<Vec<&str>>> = Rc::default();
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        let (counter, log) = (Arc::clone(&drops), Rc::clone(&ends));
        spawn(move || {
            while sender.send(Dropped(Arc::clone(&counter))).is_ok() {}
            log.borrow_mut().push("sender");
        });
        let (other, _keeps_it_open) = bounded::<()>(1);
        let log = Rc::clone(&ends);
        spawn(move || {
            let _receiver = receiver;
            other.send(()).unwrap();
            assert_eq!(other.send(()), Err(SendError::Cancelled(())));
            log.borrow_mut().push("receiver");
        });
        yield_now();
        std::mem::forget(_keeps_it_open);
    });
    assert_eq!(ends.borrow().len(), 2);
    assert_eq!(drops.load(Relaxed), 2, "one was in the channel, one held by its waiting sender");
}

// Panics, destructors, sections, forgetting.

/// In a destructor that runs during a panic, channel operations that need no wait succeed, and operations that would
/// have to wait return `Cancelled`.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructor_in_a_panic_uses_channels_only_without_waiting() {
    struct AtTheEnd(Receiver<i32>, Sender<i32>, Rc<RefCell<Vec<String>>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let mut log = self.2.borrow_mut();
            log.push(format!("{:?}", self.0.recv()));
            log.push(format!("{:?}", self.0.recv()));
            log.push(format!("{:?}", self.1.send(2)));
            log.push(format!("{:?}", self.1.send(3)));
        }
    }
    let log: Rc<RefCell<Vec<String>>> = Rc::default();
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        sender.send(1).unwrap();
        let (inner, log) = (receiver.clone(), Rc::clone(&log));
        let mut task = spawn(move || {
            let _at_the_end = AtTheEnd(inner, sender, log);
            panic!("on purpose");
        });
        let bystander = spawn(|| assert!(!std::thread::panicking()));
        assert!(task.join().is_err());
        assert!(bystander.is_finished());
        assert_eq!(receiver.try_recv(), Ok(2), "what was sent in the destructor");
    });
    assert_eq!(*log.borrow(), ["Ok(1)", "Err(Cancelled)", "Ok(())", "Err(Cancelled(..))"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_message_whose_destructor_panics_harms_no_other() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
            assert!(self.0.load(Relaxed) != 1, "on purpose");
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = unbounded();
    (0..3).for_each(|_| sender.send(Bomb(Arc::clone(&drops))).unwrap());
    let dropping = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(receiver)));
    assert!(dropping.is_err());
    assert_eq!(drops.load(Relaxed), 3);
    assert!(matches!(sender.send(Bomb(Arc::new(AtomicUsize::new(5)))), Err(SendError::Disconnected(_))));
}

/// A receiver is unwound after a message was handed off to it: the message goes to the next receiver.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unwound_receiver_passes_its_granted_message_on() {
    struct SendsAtTheEnd(Sender<i32>);
    impl Drop for SendsAtTheEnd {
        fn drop(&mut self) {
            // From another thread, which cannot see that the receiver is to be unwound too.
            std::thread::scope(|scope| scope.spawn(|| self.0.try_send(1)).join().unwrap()).unwrap();
        }
    }
    let (sender, receiver) = rendezvous();
    let (inner, sends) = (receiver.clone(), SendsAtTheEnd(sender.clone()));
    let config = Config::new().shutdown_grace(Duration::from_millis(20));
    config
        .run(move || {
            // Both are unwound at the end of the grace period, in the order in which they were made.
            spawn(move || {
                let _sends = sends;
                cede::task::shield(|| cede::task::park("the end"))
            });
            spawn(move || cede::task::shield(|| inner.recv()));
            yield_now();
        })
        .unwrap();
    assert_eq!(receiver.try_recv(), Ok(1), "the message of the unwound receiver came back");
    assert_eq!(
        sender.try_send(2),
        Err(TrySendError::Full(2)),
        "and the unwound receiver is no longer in the wait queue"
    );
}

/// Two messages are sent while a receiver waits: the first is handed off to it. The receiver is unwound, and the message
/// returns to the front of the channel.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn message_of_an_unwound_receiver_goes_back_to_the_front() {
    struct SendsTwoAtTheEnd(Sender<i32>);
    impl Drop for SendsTwoAtTheEnd {
        fn drop(&mut self) {
            // From another thread, which cannot see that the receiver is to be unwound too.
            let sends = || [1, 2].map(|n| self.0.try_send(n).unwrap());
            std::thread::scope(|scope| scope.spawn(sends).join().unwrap());
        }
    }
    let (sender, receiver) = unbounded();
    let (inner, sends) = (receiver.clone(), SendsTwoAtTheEnd(sender.clone()));
    let config = Config::new().shutdown_grace(Duration::from_millis(5));
    config
        .run(move || {
            // Both are unwound at the end of the grace period, in the order in which they were made.
            spawn(move || {
                let _sends = sends;
                cede::task::shield(|| cede::task::park("the end"))
            });
            spawn(move || cede::task::shield(|| inner.recv()));
            yield_now();
        })
        .unwrap();
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Ok(2)));
}

#[test]
fn nothing_is_waited_for_in_a_callback() {
    let (sender, receiver) = bounded(1);
    let log: Rc<RefCell<Vec<String>>> = Rc::default();
    cede::run(|| {
        let mut task = spawn(|| ());
        let inner = Rc::clone(&log);
        task.on_done(move |_| {
            sender.send(1).unwrap();
            inner.borrow_mut().push(format!("{:?}", sender.try_send(2)));
        });
        task.join().unwrap();
        yield_now();
        assert_eq!(receiver.recv(), Ok(1));
    });
    assert_eq!(*log.borrow(), ["Full(..)".to_string()].map(|text| format!("Err({text})")));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_wait_inside_no_suspend_panics_before_anything_is_lost() {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        let inner = receiver.clone();
        let mut task = spawn(move || cede::no_suspend(|| inner.recv()));
        let error = task.join().unwrap_err().to_string();
        assert!(error.contains("cannot wait or yield inside a no_suspend section"), "{error}");
        sender.send(1).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1), "no waiter is left in the queue");
        assert_eq!(
            cede::no_suspend(|| (sender.send(2), receiver.recv())),
            (Ok(()), Ok(2)),
            "an operation that needs no wait is allowed"
        );
    });
}

#[test]
fn forgotten_ends_keep_the_channel_open() {
    let (sender, receiver) = unbounded();
    std::mem::forget(sender.clone());
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::Empty)));
    std::mem::forget(receiver);
    let (sender, receiver) = bounded(1);
    std::mem::forget(receiver);
    assert_eq!((sender.try_send(1), sender.try_send(2)), (Ok(()), Err(TrySendError::Full(2))));
}

/// A receiver that its run abandoned stays in the wait queue. Later messages skip it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn abandoned_receiver_never_gets_a_message() {
    let (sender, receiver) = bounded(1);
    let (behind, left) = (receiver.clone(), sender.clone());
    let config = Config::new().shutdown_grace(Duration::from_millis(10));
    config
        .run(move || {
            spawn(move || {
                loop {
                    // It swallows its cancel and its unwinding, and stays in the wait queue.
                    let swallow = || loop {
                        let _ = behind.recv();
                    };
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(swallow));
                    let _left = &left;
                }
            });
            yield_now();
        })
        .unwrap();
    for n in 0..3 {
        sender.send(n).unwrap();
        assert_eq!(receiver.try_recv(), Ok(n), "it was not handed off to a task that never runs");
    }
    cede::run(|| {
        sender.send(9).unwrap();
        assert_eq!(receiver.recv(), Ok(9));
    });
}

// Deadlocks.

#[test]
fn a80_deadlock_over_channels_names_tasks_and_reasons() {
    let (sender, receiver) = rendezvous::<i32>();
    let outcome = Config::new().closed_world(true).run(|| {
        let inner = sender.clone();
        let reader = cede::Builder::new().name("reader").spawn(move || receiver.recv()).unwrap();
        let full = bounded(1).0;
        let _ = full.send(0);
        let writer = cede::Builder::new().name("writer");
        let (stuck, _keep) = bounded(0);
        let mut writer = writer.spawn(move || (stuck.send(1), inner)).unwrap();
        let outcome = writer.join().map(|(sent, _)| sent);
        drop(reader);
        assert!(matches!(outcome, Err(_) | Ok(Err(SendError::Cancelled(1)))));
    });
    let Err(RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock") };
    let text = report.to_string();
    assert!(text.contains("task 'reader' waits for a message"), "{text}");
    assert!(text.contains("task 'writer' waits for a receiver"), "{text}");
}

/// A run whose only task waits for a message is not deadlocked while another thread holds a sender.
#[test]
fn recv_is_no_deadlock_while_another_thread_may_send() {
    let (sender, receiver) = bounded(1);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(20 * MS);
        sender.send(1).unwrap();
    });
    assert_eq!(cede::run(|| receiver.recv()), Ok(1));
    thread.join().unwrap();
}

// Go's: a sieve of tasks.

#[test]
fn the_prime_sieve() {
    cede::run(|| {
        let (sender, mut primes) = rendezvous();
        spawn(move || (2..).try_for_each(|n: u32| sender.send(n)).unwrap_err());
        let mut found = Vec::new();
        for _ in 0..50 {
            let prime = primes.recv().unwrap();
            found.push(prime);
            let (sender, filtered) = rendezvous();
            let numbers = std::mem::replace(&mut primes, filtered);
            spawn(move || {
                for n in numbers {
                    if n % prime != 0 && sender.send(n).is_err() {
                        break;
                    }
                }
            });
        }
        assert_eq!(found[..8], [2, 3, 5, 7, 11, 13, 17, 19]);
        assert_eq!(found[49], 229);
    });
}
