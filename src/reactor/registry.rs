//! The registered descriptors of a worker, their readiness, and their waiters.
#![forbid(unsafe_code)]

use super::epoll::Epoll;
use super::interest::Interest;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// A task that waits, as the scheduler names it. The reactor only stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) tcb: usize,
    pub(crate) task_id: u64,
}

/// The name of a slot: its index and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    fn new(index: usize, generation: u32) -> Token {
        Token((index as u64) << 32 | u64::from(generation))
    }

    fn index(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Token {
        Token(bits)
    }
}

#[derive(Default)]
struct Slot {
    /// Advances when the slot gets another source. Never that of the bell's token.
    generation: u32,
    /// The source that owns the slot; 0 for none.
    source: u64,
    fd: RawFd,
    readiness: u8,
    readers: VecDeque<Waiter>,
    writers: VecDeque<Waiter>,
}

impl Slot {
    fn waiters(&mut self, interest: Interest) -> &mut VecDeque<Waiter> {
        match interest {
            Interest::Readable => &mut self.readers,
            Interest::Writable => &mut self.writers,
        }
    }
}

/// A slab of slots.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    /// The free list.
    free: Vec<usize>,
    /// The slot of each registered descriptor.
    by_fd: HashMap<RawFd, usize>,
}

impl Slots {
    fn get(&mut self, token: Token) -> Option<&mut Slot> {
        self.slots.get_mut(token.index()).filter(|slot| slot.source != 0 && slot.generation == token.generation())
    }

    fn release(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.by_fd.remove(&slot.fd);
        slot.source = 0;
        slot.generation = slot.generation.wrapping_add(1);
        slot.readers.clear();
        slot.writers.clear();
        self.free.push(index);
    }
}

/// The reactor of a worker: see the head of the module.
pub(crate) struct Reactor {
    epoll: Epoll,
    slots: RefCell<Slots>,
    waiting: Cell<usize>,
    polls: Cell<u64>,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Reactor> {
        Ok(Reactor { epoll: Epoll::new()?, slots: RefCell::default(), waiting: Cell::new(0), polls: Cell::new(0) })
    }

    /// The eventfd that ends a sleep in [`poll`](Self::poll).
    pub(crate) fn bell(&self) -> RawFd {
        self.epoll.bell()
    }

    /// Returns the slot of `source`, and registers its descriptor if it has none. `cached` is a token that an earlier call returned.
    #[inline]
    pub(crate) fn register(&self, source: u64, fd: RawFd, cached: Token) -> io::Result<Token> {
        let mut slots = self.slots.borrow_mut();
        if slots.get(cached).is_some_and(|slot| slot.source == source) {
            return Ok(cached);
        }
        self.register_slow(&mut slots, source, fd)
    }

    #[cold]
    fn register_slow(&self, slots: &mut Slots, source: u64, fd: RawFd) -> io::Result<Token> {
        if let Some(&index) = slots.by_fd.get(&fd) {
            if slots.slots[index].source == source {
                return Ok(Token::new(index, slots.slots[index].generation));
            }
            // The descriptor's earlier source was closed on another thread, or in a run that has ended.
            slots.release(index);
        }
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(Slot::default());
            slots.slots.len() - 1
        });
        let token = Token::new(index, slots.slots[index].generation);
        if let Err(error) = self.epoll.add(fd, token.to_bits()) {
            slots.free.push(index);
            return Err(error);
        }
        let slot = &mut slots.slots[index];
        (slot.source, slot.fd, slot.readiness) = (source, fd, 0);
        slots.by_fd.insert(fd, index);
        Ok(token)
    }

    /// Forgets a source whose descriptor is closed next.
    pub(crate) fn deregister(&self, source: u64, cached: Token) {
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.get(cached).filter(|slot| slot.source == source) {
            // A duplicate of the descriptor would keep the registration alive.
            self.epoll.remove(slot.fd);
            slots.release(cached.index());
        }
    }

    /// Whether a call in this direction may succeed now. True for an unknown token: then the call itself tells.
    #[inline]
    pub(crate) fn may_be_ready(&self, token: Token, interest: Interest) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots.get(token).is_none_or(|slot| slot.readiness & interest.bits() != 0)
    }

    /// A call in this direction took all there was: the next one waits for an event, unless the end has been seen.
    #[inline]
    pub(crate) fn took_all(&self, token: Token, interest: Interest) {
        if let Some(slot) = self.slots.borrow_mut().get(token) {
            slot.readiness &= !interest.bit();
        }
    }

    /// A call in this direction failed with `EAGAIN`: the next one waits for an event, whatever was seen. (An error of a datagram socket
    /// is reported once, so even an end may be over.)
    #[inline]
    pub(crate) fn was_not_ready(&self, token: Token, interest: Interest) {
        if let Some(slot) = self.slots.borrow_mut().get(token) {
            slot.readiness &= !interest.bits();
        }
    }

    /// Adds a waiter, which the next event in this direction wakes.
    #[inline]
    pub(crate) fn add_waiter(&self, token: Token, interest: Interest, waiter: Waiter) {
        if let Some(slot) = self.slots.borrow_mut().get(token) {
            slot.waiters(interest).push_back(waiter);
            self.waiting.set(self.waiting.get() + 1);
        }
    }

    /// Removes a waiter that is still there, because its wait ended without an event.
    #[inline]
    pub(crate) fn remove_waiter(&self, token: Token, interest: Interest, waiter: Waiter) {
        if let Some(slot) = self.slots.borrow_mut().get(token) {
            let waiters = slot.waiters(interest);
            if let Some(at) = waiters.iter().position(|other| *other == waiter) {
                waiters.remove(at);
                self.waiting.set(self.waiting.get() - 1);
            }
        }
    }

    /// The number of tasks that wait for I/O.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Returns the number of tasks that wait for I/O, of registered descriptors, and of calls of epoll_wait(2).
    pub(crate) fn counts(&self) -> [u64; 3] {
        [self.waiting.get() as u64, self.slots.borrow().by_fd.len() as u64, self.polls.get()]
    }

    /// Waits for events for at most `timeout` (`None`: without a limit), and calls `wake` for each waiter that an event concerns. `wake`
    /// only makes the task ready. Returns whether there was an event.
    pub(crate) fn poll(&self, timeout: Option<Duration>, mut wake: impl FnMut(Waiter)) -> bool {
        self.polls.set(self.polls.get() + 1);
        let mut any = false;
        self.epoll.wait(timeout, |token, event| {
            any = true;
            let mut slots = self.slots.borrow_mut();
            let Some(slot) = slots.get(Token::from_bits(token)) else { return };
            slot.readiness |= event;
            if event & Interest::Readable.bits() != 0 {
                self.waiting.set(self.waiting.get() - slot.readers.len());
                slot.readers.drain(..).for_each(&mut wake);
            }
            if event & Interest::Writable.bits() != 0 {
                self.waiting.set(self.waiting.get() - slot.writers.len());
                slot.writers.drain(..).for_each(&mut wake);
            }
        });
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    const WAITER: Waiter = Waiter { tcb: 8, task_id: 3 };
    const NO_TOKEN: Token = Token(0);

    fn woken(reactor: &Reactor) -> Vec<Waiter> {
        let mut woken = Vec::new();
        reactor.poll(Some(Duration::ZERO), |waiter| woken.push(waiter));
        woken
    }

    #[test]
    fn event_wakes_waiters_of_its_direction_in_order() {
        let reactor = Reactor::new().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let token = reactor.register(7, there.as_raw_fd(), NO_TOKEN).unwrap();
        assert_eq!(reactor.register(7, there.as_raw_fd(), token).unwrap(), token);
        let second = Waiter { task_id: 4, ..WAITER };
        reactor.add_waiter(token, Interest::Readable, WAITER);
        reactor.add_waiter(token, Interest::Readable, second);
        assert_eq!((woken(&reactor), reactor.waiting()), (vec![], 2), "it is writable, and nothing waits for that");
        assert!(!reactor.may_be_ready(token, Interest::Readable) && reactor.may_be_ready(token, Interest::Writable));
        here.write_all(b"x").unwrap();
        assert_eq!((woken(&reactor), reactor.waiting()), (vec![WAITER, second], 0));
        assert!(reactor.may_be_ready(token, Interest::Readable));
        // An edge comes once.
        reactor.was_not_ready(token, Interest::Readable);
        assert_eq!(woken(&reactor), []);
        assert!(!reactor.may_be_ready(token, Interest::Readable));
        drop(here);
        let _ = woken(&reactor);
        reactor.took_all(token, Interest::Readable);
        assert!(reactor.may_be_ready(token, Interest::Readable), "the peer has closed: a read never waits");
    }

    #[test]
    fn event_of_an_earlier_source_is_ignored() {
        let reactor = Reactor::new().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        // A duplicate keeps the registration alive when the descriptor is closed.
        let duplicate = there.try_clone().unwrap();
        let fd = there.as_raw_fd();
        let old = reactor.register(1, fd, NO_TOKEN).unwrap();
        let _ = woken(&reactor);
        drop(there);
        let (_other, again) = UnixStream::pair().unwrap();
        let again = if again.as_raw_fd() == fd { again } else { _other };
        let new = reactor.register(2, again.as_raw_fd(), old).unwrap();
        assert_ne!(new, old);
        reactor.add_waiter(new, Interest::Readable, WAITER);
        here.write_all(b"for the old one").unwrap();
        assert_eq!(woken(&reactor), []);
        (&duplicate).read_exact(&mut [0; 15]).unwrap();
        reactor.remove_waiter(new, Interest::Readable, WAITER);
        assert_eq!(reactor.waiting(), 0);
        reactor.deregister(2, new);
        assert_eq!(reactor.counts()[1], 0);
    }
}
