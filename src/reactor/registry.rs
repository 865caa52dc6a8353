//! The registered descriptors of a worker, their readiness, and their waiters.
#![forbid(unsafe_code)]

// The system's poller. Both have the same methods.
use super::driver::Driver;
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
use super::epoll::{BATCH, Epoll as Poller};
use super::interest::Interest;
#[cfg(any(cede_poll_driver, not(target_os = "linux")))]
use super::poll::{BATCH, Poll as Poller};
use super::slots::{Slots, Token, Waiter};
use super::uring::Ring;
use crate::sys::fork::{self, Generation};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// The number of events by which a slot is prefetched, and by which the TCB of its waiter is.
const FETCH_SLOT: usize = 8;
const FETCH_WAITER: usize = 4;

/// The slot of a source, as [`Reactor::register`] found or made it.
pub(crate) struct Registration {
    pub(crate) token: Token,
    /// The slot is new, and the next poll reports the present readiness. There is none to forget.
    pub(crate) is_new: bool,
}

/// The reactor of a worker: see the head of the module.
pub(crate) struct Reactor {
    made_in: Generation,
    /// The ring, if io_uring is the driver: the poller is then one of the descriptors that it polls. Dropped before the poller.
    ring: Option<Ring>,
    /// The reason why there is no ring, although the choice was the reactor's.
    fallback: Option<io::Error>,
    poller: Poller,
    slots: RefCell<Slots>,
    waiting: Cell<usize>,
    polls: Cell<u64>,
}

impl Reactor {
    /// Makes the reactor for the chosen driver, on the heap: the caller may have a small stack.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[inline(never)]
    pub(crate) fn new_boxed(choice: Driver) -> io::Result<Box<Reactor>> {
        Reactor::new(choice).map(Box::new)
    }

    /// Makes the reactor for the chosen driver.
    ///
    /// # Errors
    ///
    /// The error of epoll_create1(2), eventfd(2) or pipe(2). If the choice is `Uring`, also that of io_uring_setup(2).
    pub(super) fn new(choice: Driver) -> io::Result<Reactor> {
        fork::watch()?;
        let poller = Poller::new()?;
        let (ring, fallback) = match choice.or_environment() {
            Driver::Epoll => (None, None),
            choice => match Ring::new(poller.bell(), poller.descriptor()) {
                Ok(ring) => (Some(ring), None),
                Err(error) if choice == Driver::Uring => return Err(unavailable(&error)),
                Err(error) => (None, Some(error)),
            },
        };
        if ring.is_none() {
            poller.watch_bell()?;
        }
        Ok(Reactor {
            made_in: Generation::current(),
            ring,
            fallback,
            poller,
            slots: RefCell::default(),
            waiting: Cell::new(0),
            polls: Cell::new(0),
        })
    }

    /// Returns whether this process is a child of the reactor's process: see invariant 4 of the module.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.made_in.is_over()
    }

    /// Removes all waiters, and wakes them: in a child process, in which no event comes.
    #[cold]
    pub(crate) fn dismiss_all(&self, mut wake: impl FnMut(Waiter)) {
        self.waiting.set(0);
        if let Some(ring) = &self.ring {
            ring.forget_all();
        }
        for slot in &mut self.slots.borrow_mut().slots {
            slot.drain(Interest::Readable, &mut wake);
            slot.drain(Interest::Writable, &mut wake);
        }
    }

    /// The ring, if io_uring is the driver.
    #[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
    #[inline]
    pub(crate) fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }

    /// The driver in use.
    pub(crate) fn driver(&self) -> Driver {
        if self.ring.is_some() { Driver::Uring } else { Driver::Epoll }
    }

    /// The reason why io_uring is not the driver, if it would have been chosen.
    pub(crate) fn fallback(&self) -> Option<&io::Error> {
        self.fallback.as_ref()
    }

    /// Returns a descriptor that becomes readable at the next event. `None` for poll(2), which has none.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.ring {
            Some(ring) => ring.descriptor(),
            None => self.poller.as_fd(),
        }
    }

    /// Makes the descriptor unreadable, unless events keep it readable. The caller polls next, because the descriptor does not become
    /// readable again for earlier events.
    pub(crate) fn clear_descriptor(&self) {
        if let Some(ring) = &self.ring {
            ring.clear_descriptor();
        }
    }

    /// The eventfd that ends a sleep in [`poll`](Self::poll).
    pub(crate) fn bell(&self) -> RawFd {
        self.poller.bell()
    }

    /// Returns the slot of `source`, and registers its descriptor if it has none. `cached` is a token that an earlier call returned.
    /// `wake` only makes a task ready. It is called for the waiters of a descriptor that was closed while they waited.
    #[inline]
    pub(crate) fn register(
        &self,
        source: u64,
        fd: RawFd,
        cached: Token,
        wake: impl FnMut(Waiter),
    ) -> io::Result<Registration> {
        let mut slots = self.slots.borrow_mut();
        if slots.get_own(source, cached).is_some_and(|slot| slot.fd == fd) {
            return Ok(Registration { token: cached, is_new: false });
        }
        self.register_slow(&mut slots, source, fd, wake)
    }

    #[cold]
    fn register_slow(
        &self,
        slots: &mut Slots,
        source: u64,
        fd: RawFd,
        wake: impl FnMut(Waiter),
    ) -> io::Result<Registration> {
        if let Some(&index) = slots.by_fd.get(&fd) {
            let token = Token::new(index, slots.slots[index].generation);
            // Two sources may share a descriptor, as two `Async<&T>` do. The slot goes to the source that registers last, and
            // keeps its waiters: an event wakes the waiters of both.
            if slots.slots[index].source == source || self.poller.take_over(fd, token.to_bits()) {
                slots.slots[index].source = source;
                return Ok(Registration { token, is_new: false });
            }
            // The descriptor's earlier source was closed on another thread, or in a run that has ended.
            self.release(slots, index, wake);
        }
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push(Default::default());
            slots.slots.len() - 1
        });
        let token = Token::new(index, slots.slots[index].generation);
        if let Some(ring) = &self.ring {
            ring.watch_descriptors();
        }
        if let Err(error) = self.poller.add(fd, token.to_bits()) {
            slots.free.push(index);
            return Err(error);
        }
        let slot = &mut slots.slots[index];
        // Without a report of the present readiness, calls are tried until they fail.
        let readiness = if Poller::REPORTS_NEW { 0 } else { Interest::Readable.bit() | Interest::Writable.bit() };
        (slot.source, slot.fd, slot.readiness) = (source, fd, readiness);
        slots.by_fd.insert(fd, index);
        Ok(Registration { token, is_new: Poller::REPORTS_NEW })
    }

    /// Frees a slot, and wakes its waiters, which then try their calls again.
    fn release(&self, slots: &mut Slots, index: usize, wake: impl FnMut(Waiter)) {
        let count = slots.release(index, wake);
        self.waiting.set(self.waiting.get() - count);
    }

    /// Forgets a source whose descriptor is closed next. Waiters of another source that shares the descriptor wake, and register it
    /// again.
    pub(crate) fn deregister(&self, source: u64, fd: RawFd, cached: Token, wake: impl FnMut(Waiter)) {
        let mut slots = self.slots.borrow_mut();
        let index = match slots.get_own(source, cached) {
            Some(_) => Some(cached.index()),
            // Another run has used the source since, and has replaced the cached token.
            None => slots.by_fd.get(&fd).copied().filter(|index| slots.slots[*index].source == source),
        };
        if let Some(index) = index {
            // A duplicate of the descriptor would keep the registration alive.
            self.poller.remove(slots.slots[index].fd);
            self.release(&mut slots, index, wake);
        }
    }

    /// Whether a call in this direction may succeed now. True if the token is not that of the source: then the call itself tells.
    #[inline]
    pub(crate) fn may_be_ready(&self, source: u64, token: Token, interest: Interest) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots.get_own(source, token).is_none_or(|slot| slot.readiness & interest.bits() != 0)
    }

    /// A call in this direction took all there was: the next one waits for an event, unless the end has been seen.
    #[inline]
    pub(crate) fn took_all(&self, source: u64, token: Token, interest: Interest) {
        if let Some(slot) = self.slots.borrow_mut().get_own(source, token) {
            slot.readiness &= !interest.bit();
        }
    }

    /// A call in this direction failed with `EAGAIN`: the next one waits for an event, whatever was seen. (An error of a datagram socket
    /// is reported once, so even an end may be over.)
    #[inline]
    pub(crate) fn was_not_ready(&self, source: u64, token: Token, interest: Interest) {
        if let Some(slot) = self.slots.borrow_mut().get_own(source, token) {
            slot.readiness &= !interest.bits();
        }
    }

    /// Forgets the readiness of this direction, and returns it for [`restore`](Self::restore).
    pub(crate) fn forget(&self, source: u64, token: Token, interest: Interest) -> u8 {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_own(source, token) else { return 0 };
        let readiness = slot.readiness & interest.bits();
        slot.readiness &= !readiness;
        readiness
    }

    /// Restores what [`forget`](Self::forget) returned. Calls `wake` for each task that has begun to wait in between: without the
    /// [`forget`](Self::forget) it would not have waited.
    pub(crate) fn restore(
        &self,
        source: u64,
        token: Token,
        interest: Interest,
        readiness: u8,
        mut wake: impl FnMut(Waiter),
    ) {
        if let Some(slot) = self.slots.borrow_mut().get_own(source, token) {
            slot.readiness |= readiness;
            if readiness != 0 {
                self.waiting.set(self.waiting.get() - slot.drain(interest, &mut wake));
            }
        }
    }

    /// Adds a waiter, which the next event in this direction wakes, unless a call may succeed now. Returns whether it did.
    #[inline]
    pub(crate) fn begin_wait(&self, source: u64, token: Token, interest: Interest, waiter: Waiter) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_own(source, token) else { return false };
        let waits = slot.readiness & interest.bits() == 0;
        if waits {
            slot.push(interest, waiter);
            self.waiting.set(self.waiting.get() + 1);
        }
        waits
    }

    /// Removes a waiter that is still there, because its wait ended without an event. Another source may own the slot by then.
    /// Returns whether a call in this direction may succeed now.
    #[inline]
    pub(crate) fn end_wait(&self, source: u64, token: Token, interest: Interest, waiter: Waiter) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get(token) else { return true };
        if *slot.first(interest) != Waiter::NONE && slot.remove(interest, waiter) {
            self.waiting.set(self.waiting.get() - 1);
        }
        slot.source != source || slot.readiness & interest.bits() != 0
    }

    /// The number of tasks that wait for I/O.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get() + self.ring.as_ref().map_or(0, Ring::in_flight)
    }

    /// Returns whether a poll has something to do now, if that can be told without a system call.
    #[inline]
    pub(crate) fn has_work(&self) -> Option<bool> {
        self.ring.as_ref().map(Ring::has_work)
    }

    /// The cost of a poll now, in that of a poll with few waiters.
    #[inline]
    pub(crate) fn cost_of_poll(&self) -> u64 {
        Poller::cost(self.waiting.get())
    }

    /// Returns the number of tasks that wait for I/O, of registered descriptors, and of polls.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [self.waiting() as u64, self.slots.borrow().by_fd.len() as u64, self.polls.get()]
    }

    /// Waits for events for at most `timeout` (`None`: without a limit), and calls `wake` for each waiter that an event concerns. `wake`
    /// only makes the task ready. Returns whether there was an event.
    pub(crate) fn poll(&self, timeout: Option<Duration>, mut wake: impl FnMut(Waiter)) -> bool {
        self.polls.set(self.polls.get() + 1);
        let Some(ring) = &self.ring else { return self.poll_descriptors(timeout, wake) > 0 };
        let seen = ring.enter(timeout, &mut wake);
        // The ring tells that there are events, and not how many.
        while seen.descriptors && self.poll_descriptors(Some(Duration::ZERO), &mut wake) >= BATCH {}
        seen.any
    }

    /// Waits for events of the registered descriptors. Returns their number.
    fn poll_descriptors(&self, timeout: Option<Duration>, mut wake: impl FnMut(Waiter)) -> usize {
        // The kernel knows what epoll watches; poll(2) is given the directions that have waiters.
        let wanted = |ask: &mut dyn FnMut(RawFd, u64, &[Interest])| {
            for (index, slot) in self.slots.borrow().slots.iter().enumerate() {
                let token = || Token::new(index, slot.generation).to_bits();
                match (slot.has_waiters(Interest::Readable), slot.has_waiters(Interest::Writable)) {
                    (false, false) => {}
                    (true, false) => ask(slot.fd, token(), &[Interest::Readable]),
                    (false, true) => ask(slot.fd, token(), &[Interest::Writable]),
                    (true, true) => ask(slot.fd, token(), &[Interest::Readable, Interest::Writable]),
                }
            }
        };
        let events = self.poller.wait(timeout, wanted);
        let mut slots = self.slots.borrow_mut();
        let mut woken = 0;
        for (number, event) in events.iter().enumerate() {
            // With many connections neither slots nor TCBs are in the cache, and the CPU cannot guess which come next.
            if let Some(later) = events.get(number + FETCH_SLOT) {
                slots.fetch(Token::from_bits(later.token()));
            }
            if let Some(later) = events.get(number + FETCH_WAITER) {
                slots.fetch_waiter(Token::from_bits(later.token()));
            }
            let Some(slot) = slots.get(Token::from_bits(event.token())) else { continue };
            let readiness = event.readiness();
            if slot.is_superfluous(readiness) {
                // Another thread or process uses the file: see invariant 3 of the module.
                let fd = slot.fd;
                self.poller.remove(fd);
                slots.release(Token::from_bits(event.token()).index(), &mut wake);
                continue;
            }
            if readiness & Interest::Readable.bits() != 0 {
                woken += slot.drain(Interest::Readable, &mut wake);
            }
            if readiness & Interest::Writable.bits() != 0 {
                woken += slot.drain(Interest::Writable, &mut wake);
            }
        }
        self.waiting.set(self.waiting.get() - woken);
        events.len()
    }
}

/// Returns the error of a run whose driver must be io_uring.
#[cold]
fn unavailable(error: &io::Error) -> io::Error {
    let text = format!("io_uring is not available ({error}): choose Driver::Auto, which then takes epoll");
    io::Error::new(error.kind(), text)
}
