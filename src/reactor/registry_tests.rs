//! Tests of `registry`.
#![forbid(unsafe_code)]

use super::driver::Driver;
use super::interest::Interest;
use super::registry::Reactor;
use super::slots::{Token, Waiter};
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
use crate::sys::poll_fd;
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const WAITER: Waiter = Waiter { tcb: 8, task_id: 3 };
const NO_TOKEN: Token = Token::from_bits(0);

fn woken(reactor: &Reactor) -> Vec<Waiter> {
    let mut woken = Vec::new();
    reactor.poll(Some(Duration::ZERO), |waiter| woken.push(waiter));
    woken
}

fn register(reactor: &Reactor, source: u64, fd: RawFd, cached: Token) -> Token {
    reactor.register(source, fd, cached, |waiter| panic!("{waiter:?} lost its descriptor")).unwrap().token
}

/// An edge-triggered poller.
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
#[test]
fn event_wakes_waiters_of_its_direction_in_order() {
    let reactor = Reactor::new(Driver::Epoll).unwrap();
    let (mut here, there) = UnixStream::pair().unwrap();
    let token = register(&reactor, 7, there.as_raw_fd(), NO_TOKEN);
    assert_eq!(register(&reactor, 7, there.as_raw_fd(), token), token);
    let second = Waiter { task_id: 4, ..WAITER };
    assert!(reactor.begin_wait(7, token, Interest::Readable, WAITER));
    assert!(reactor.begin_wait(7, token, Interest::Readable, second));
    assert_eq!((woken(&reactor), reactor.waiting()), (vec![], 2), "it is writable, and nothing waits for that");
    assert!(!reactor.may_be_ready(7, token, Interest::Readable) && reactor.may_be_ready(7, token, Interest::Writable));
    here.write_all(b"x").unwrap();
    assert_eq!((woken(&reactor), reactor.waiting()), (vec![WAITER, second], 0));
    assert!(reactor.may_be_ready(7, token, Interest::Readable));
    // An edge comes once.
    reactor.was_not_ready(7, token, Interest::Readable);
    assert_eq!(woken(&reactor), []);
    assert!(!reactor.may_be_ready(7, token, Interest::Readable));
    drop(here);
    let _ = woken(&reactor);
    reactor.took_all(7, token, Interest::Readable);
    assert!(reactor.may_be_ready(7, token, Interest::Readable), "the peer has closed: a read never waits");
}

/// Before a run in a fiber sleeps, it asks for the descriptor more than once.
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
#[test]
fn descriptor_stays_readable_until_it_is_cleared() {
    for driver in [Driver::Epoll, Driver::Auto] {
        let reactor = Reactor::new(driver).unwrap();
        let is_readable = || poll_fd(reactor.descriptor().unwrap(), true, Some(Duration::ZERO)).unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let token = register(&reactor, 7, there.as_raw_fd(), NO_TOKEN);
        assert!(reactor.begin_wait(7, token, Interest::Readable, WAITER));
        // The event that tells that it is writable, and that of the ring's own poll.
        assert!((0..2).all(|_| woken(&reactor).is_empty()));
        reactor.clear_descriptor();
        assert!(!is_readable(), "{driver:?}");
        here.write_all(b"x").unwrap();
        assert!(is_readable() && is_readable(), "{driver:?}");
        assert_eq!(woken(&reactor), [WAITER], "{driver:?}");
    }
}

/// epoll(7) watches files, and poll(2) numbers of descriptors.
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
#[test]
fn event_of_an_earlier_source_is_ignored() {
    let reactor = Reactor::new(Driver::Epoll).unwrap();
    let (mut here, there) = UnixStream::pair().unwrap();
    // A duplicate keeps the registration alive when the descriptor is closed.
    let duplicate = there.try_clone().unwrap();
    let fd = there.as_raw_fd();
    let old = register(&reactor, 1, fd, NO_TOKEN);
    let _ = woken(&reactor);
    drop(there);
    let (_other, again) = UnixStream::pair().unwrap();
    let again = if again.as_raw_fd() == fd { again } else { _other };
    let new = register(&reactor, 2, again.as_raw_fd(), old);
    assert_ne!(new, old);
    assert!(reactor.begin_wait(2, new, Interest::Readable, WAITER));
    here.write_all(b"for the old one").unwrap();
    assert_eq!(woken(&reactor), []);
    (&duplicate).read_exact(&mut [0; 15]).unwrap();
    assert!(!reactor.end_wait(2, new, Interest::Readable, WAITER));
    assert_eq!(reactor.waiting(), 0);
    reactor.deregister(2, fd, new, |_| {});
    assert_eq!(reactor.counts()[1], 0);
}

#[test]
fn sources_of_one_descriptor_keep_all_their_waiters() {
    let reactor = Reactor::new(Driver::Epoll).unwrap();
    let (mut here, there) = UnixStream::pair().unwrap();
    let fd = there.as_raw_fd();
    let first = register(&reactor, 1, fd, NO_TOKEN);
    let _ = woken(&reactor);
    reactor.was_not_ready(1, first, Interest::Readable);
    assert!(reactor.begin_wait(1, first, Interest::Readable, WAITER));
    let second = register(&reactor, 2, fd, NO_TOKEN);
    here.write_all(b"x").unwrap();
    assert_eq!(woken(&reactor), [WAITER]);
    // The end of one source wakes the waiters of the other one.
    reactor.was_not_ready(2, second, Interest::Readable);
    assert!(reactor.begin_wait(2, second, Interest::Readable, WAITER));
    let third = register(&reactor, 3, fd, NO_TOKEN);
    let mut orphans = Vec::new();
    reactor.deregister(3, fd, third, |waiter| orphans.push(waiter));
    assert_eq!((orphans, reactor.waiting(), reactor.counts()[1]), (vec![WAITER], 0, 0));
    assert!(reactor.end_wait(2, second, Interest::Readable, WAITER));
    assert_eq!(reactor.waiting(), 0);
}

#[test]
fn token_of_another_reactor_changes_no_foreign_slot() {
    let reactor = Reactor::new(Driver::Epoll).unwrap();
    let (_here, there) = UnixStream::pair().unwrap();
    let token = register(&reactor, 1, there.as_raw_fd(), NO_TOKEN);
    let _ = woken(&reactor);
    reactor.took_all(2, token, Interest::Writable);
    reactor.was_not_ready(2, token, Interest::Writable);
    assert!(reactor.may_be_ready(1, token, Interest::Writable));
    assert!(reactor.may_be_ready(2, token, Interest::Readable));
}
