//! Oneshot channels: a value moves once, both ends dropped, cancels, and threads beside tasks. Most behaviours are those of
//! tokio's own tests.

mod common;

use cede::sync::channel::{RecvError, RecvTimeoutError, TryRecvError};
use cede::sync::oneshot::channel;
use cede::time::now;
use cede::{spawn, yield_now};
use common::paused;
use common::witness::Drops;
use common::worlds::in_all_worlds;
use std::time::Duration;

#[test]
fn value_moves_from_the_sender_to_the_receiver() {
    in_all_worlds(|world| {
        let (sender, receiver) = channel();
        let caller = world.spawn(move || sender.send(Box::new(5)).unwrap());
        assert_eq!(receiver.recv(), Ok(Box::new(5)));
        caller.join();
        assert_eq!((receiver.recv(), receiver.is_closed()), (Err(RecvError::Disconnected), true));
    });
}

#[test]
fn value_is_sent_before_it_is_received() {
    let (sender, receiver) = channel();
    assert_eq!((receiver.try_recv(), receiver.is_closed()), (Err(TryRecvError::Empty), false));
    assert_eq!(format!("{sender:?}"), "Sender { is_closed: false, .. }");
    sender.send(1).unwrap();
    assert_eq!(format!("{receiver:?}"), "Receiver { is_closed: true, .. }");
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn dropped_sender_ends_the_wait() {
    cede::run(|| {
        let (sender, receiver) = channel::<u32>();
        let mut task = spawn(move || receiver.recv());
        yield_now();
        drop(sender);
        assert_eq!(task.join().unwrap(), Err(RecvError::Disconnected));
    });
}

#[test]
fn closed_receiver_returns_the_value_to_the_sender() {
    let (sender, receiver) = channel();
    assert!(!sender.is_closed());
    receiver.close();
    assert!(sender.is_closed());
    assert_eq!(sender.send("a".to_string()), Err("a".to_string()));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    // Sent before the close: it can still be received.
    let (sender, receiver) = channel();
    sender.send(1).unwrap();
    receiver.close();
    assert_eq!(receiver.recv(), Ok(1));
}

#[test]
fn cancel_and_deadline_take_no_value() {
    paused(|| {
        let (sender, receiver) = channel();
        assert_eq!(receiver.recv_deadline(now()), Err(RecvTimeoutError::Timeout));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(1)), Err(RecvTimeoutError::Timeout));
        let mut task = spawn(move || (receiver.recv(), receiver));
        yield_now();
        task.cancel();
        sender.send(1).unwrap();
        let (outcome, receiver) = task.join().unwrap();
        assert_eq!((outcome, receiver.try_recv()), (Err(RecvError::Cancelled), Ok(1)));
    });
}

#[test]
fn value_that_is_not_received_is_dropped_once() {
    let drops = Drops::default();
    let (sender, receiver) = channel();
    sender.send(drops.value()).ok().unwrap();
    assert_eq!(drops.count(), 0);
    drop(receiver);
    assert_eq!(drops.count(), 1);
}
