//! The reactor: the readiness of descriptors, and the waiters for it. One per worker, made by the worker's first wait for I/O.
//!
//! With the driver io_uring the reactor also has a ring (`uring`), to which tasks give operations. The ring polls the poller of
//! descriptors, so all that follows holds for both drivers.
//!
//! A descriptor is registered once, edge-triggered, for both directions. A *slot* holds what is believed of it: whether a read or a
//! write may succeed now. The caller tries its system call first, and waits only after `EAGAIN`; an event restores the belief and wakes
//! the waiters of its direction, in arrival order.
//!
//! The reactor knows tokens and waiters, not tasks: it calls back with each [`Waiter`] to wake.
//!
//! # Invariants
//!
//! 1. Only the worker's thread uses the reactor. Events are read by [`Reactor::poll`] alone, to the end of a batch, before any task runs:
//!    no event is read between a system call that failed with `EAGAIN` and the [`Reactor::was_not_ready`] after it. Around a closure that
//!    may suspend, [`Reactor::forget`] comes before the call.
//! 2. A slot belongs to one source, named by a number that no other source of the process has: of several sources of one descriptor to
//!    that which registered last. A token carries the generation of its
//!    slot, so an event for an earlier source of the slot, or for a descriptor that was closed elsewhere, is ignored.
//! 3. A descriptor of a source that was closed on another thread leaves a slot without events. The slot is reused when the number of the
//!    descriptor is registered again. If the file stays open (the source was only converted), its events go on. After 64 events in a row
//!    that no task waited for and that told nothing new, the slot is released; the next wait registers the descriptor again. The kernel
//!    cannot end a registration whose number is closed while a duplicate keeps the file open: its events are ignored.
//! 4. A child process that fork(2) made makes no system call on the reactor, and only closes its descriptors. The child shares the epoll
//!    instance: it would take events of the parent, and would end registrations of the parent. The worker ensures that: its accessors
//!    return no reactor for which [`Reactor::is_foreign`] returns true.

mod driver;
#[cfg(all(target_os = "linux", not(cede_poll_driver)))]
mod epoll;
mod interest;
#[cfg(any(cede_poll_driver, not(target_os = "linux")))]
mod poll;
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
mod provided;
mod registry;
#[cfg(test)]
mod registry_tests;
mod slots;
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
mod uring;
#[cfg(not(all(feature = "uring", target_os = "linux", not(cede_poll_driver))))]
#[path = "no_uring.rs"]
mod uring;

pub use self::driver::Driver;
pub use self::interest::Interest;
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use self::provided::GROUP;
pub(crate) use self::registry::{Reactor, Registration};
pub(crate) use self::slots::{Token, Waiter};
#[cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]
pub(crate) use self::uring::{Operation, Ring};

/// The size of a read buffer of the library, in bytes.
pub(crate) const BUFFER_LEN: usize = 16 * 1024;
