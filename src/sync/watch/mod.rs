//! A channel that holds only its latest value. Receivers see that it has changed, and may miss values in between.
//!
//! The names are those of tokio's `watch`.
//!
//! # No lock around a value
//!
//! In tokio, `borrow` returns a guard that holds a lock. A task that waits with such a guard blocks the sender's thread,
//! here also the thread of the task itself: a stackful task may wait anywhere, in any function that it calls, so no lint
//! and no type can forbid it. Therefore each value is stored in an `Arc`, and `borrow` returns a [`Ref`], an owned
//! snapshot. It blocks no sender, may be kept for any time and over any wait, and still shows the same value after the
//! next send. A send costs an allocation, and a borrow costs two atomic operations.
//!
//! [`Sender::send_modify`] therefore changes a clone of the value. Its closure runs with a lock against other senders of
//! the channel, and cannot suspend: see [`no_suspend`].
//!
//! ```
//! use cede::sync::watch;
//! let (sender, mut receiver) = watch::channel("starting");
//! cede::run(|| {
//!     let mut task = cede::spawn(move || receiver.wait_for(|state| *state == "ready").map(drop));
//!     cede::yield_now();
//!     sender.send("ready").unwrap();
//!     assert_eq!(task.join().unwrap(), Ok(()));
//! });
//! ```
#![forbid(unsafe_code)]

mod error;
mod snapshot;

pub use self::error::{RecvError, RecvTimeoutError, SendError};
pub use self::snapshot::Ref;
use super::error::{WaitTimeoutError, outcome};
use crate::task::no_suspend;
use crate::time::now;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget, consume_budget_of, worker};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Creates a channel with its first value. The receiver has seen that value already.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending half of a watch channel. Clones send to the same receivers.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving half of a watch channel. A clone has seen the same value as the original.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the value that was seen last.
    seen: u64,
}

struct Shared<T> {
    state: BiasedLock<State<T>>,
    /// Locked by a sender while it changes the value.
    writing: Mutex<()>,
    /// The thread inside `send_modify`, by the address of its `HERE`; 0 if there is none.
    writer: AtomicUsize,
}

struct State<T> {
    value: Arc<T>,
    /// The number of the value: counts the sends.
    version: u64,
    senders: usize,
    receivers: usize,
    /// The receivers that wait for a new value.
    watching: WaitQueue<()>,
    /// The senders that wait until there are no receivers.
    sending: WaitQueue<()>,
}

thread_local! {
    /// A place whose address identifies the thread.
    static HERE: u8 = const { 0 };
}

/// The wait queue of receivers.
struct Watching<T>(PhantomData<T>);
/// The wait queue of senders.
struct Sending<T>(PhantomData<T>);

impl<T> Line for Watching<T> {
    type State = State<T>;
    type Value = ();

    fn waiters(state: &mut State<T>) -> &mut WaitQueue<()> {
        &mut state.watching
    }

    /// Does nothing: the queue is closed, and grants nothing.
    fn regrant(_: &mut State<T>, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl<T> Line for Sending<T> {
    type State = State<T>;
    type Value = ();

    fn waiters(state: &mut State<T>) -> &mut WaitQueue<()> {
        &mut state.sending
    }

    /// Does nothing: the queue is closed, and grants nothing.
    fn regrant(_: &mut State<T>, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

/// The lock of a sender against other senders.
struct Writing<'a, T> {
    shared: &'a Shared<T>,
    _lock: MutexGuard<'a, ()>,
}

impl<T> Drop for Writing<'_, T> {
    fn drop(&mut self) {
        self.shared.writer.store(0, Relaxed);
    }
}

impl<T> Shared<T> {
    /// Keeps other senders from changing the value. The caller must not suspend meanwhile.
    #[track_caller]
    fn write(&self) -> Writing<'_, T> {
        let here = HERE.with(|here| &raw const *here as usize);
        // Only this thread stores its own address, so it reads it here if and only if it holds the lock.
        let is_own = self.writer.load(Relaxed) == here;
        assert!(!is_own, "cannot send to a watch channel inside of its own send_modify or send_if_modified");
        let lock = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.writer.store(here, Relaxed);
        Writing { shared: self, _lock: lock }
    }

    fn snapshot(&self) -> Arc<T> {
        Arc::clone(&self.state.lock().value)
    }

    /// Stores a value, and wakes the receivers. Returns the former value. Without receivers, and if `needs_receiver`, returns
    /// the new value instead.
    fn publish(&self, value: Arc<T>, needs_receiver: bool) -> Result<Arc<T>, Arc<T>> {
        let mut wake_list = WakeList::default();
        let mut state = self.state.lock();
        if needs_receiver && state.receivers == 0 {
            return Err(value);
        }
        state.version += 1;
        wake_list.extend(state.watching.close());
        Ok(std::mem::replace(&mut state.value, value))
    }
}

impl<T> Sender<T> {
    /// Creates a channel without receivers.
    ///
    /// ```
    /// let sender = cede::sync::watch::Sender::new(1);
    /// assert_eq!(*sender.subscribe().borrow(), 1);
    /// ```
    pub fn new(value: T) -> Sender<T> {
        let state = State {
            value: Arc::new(value),
            version: 0,
            senders: 1,
            receivers: 0,
            watching: WaitQueue::new(),
            sending: WaitQueue::new(),
        };
        let shared = Shared { state: BiasedLock::new(state), writing: Mutex::new(()), writer: AtomicUsize::new(0) };
        Sender { shared: Arc::new(shared) }
    }

    /// Sends a value, which replaces the former one, and wakes all waiting receivers. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`] with the value, if there are no receivers. [`send_replace`](Self::send_replace) sends then, too.
    ///
    /// # Panics
    ///
    /// Inside of [`send_modify`](Self::send_modify) of the same channel.
    ///
    /// ```
    /// use cede::sync::watch::{SendError, channel};
    /// let (sender, receiver) = channel(1);
    /// assert_eq!(sender.send(2), Ok(()));
    /// assert_eq!(*receiver.borrow(), 2);
    /// drop(receiver);
    /// assert_eq!(sender.send(3), Err(SendError(3)));
    /// ```
    #[track_caller]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let writing = self.shared.write();
        let outcome = self.shared.publish(Arc::new(value), true);
        drop(writing);
        // The former value is dropped without a lock: its destructor is the user's code.
        match outcome {
            Ok(_former) => Ok(()),
            Err(value) => Err(SendError(Arc::into_inner(value).expect("the value was not shared"))),
        }
    }

    /// Like [`send`](Self::send), but also without receivers. Returns the former value.
    ///
    /// # Panics
    ///
    /// The panics of [`send`](Self::send).
    ///
    /// ```
    /// let sender = cede::sync::watch::Sender::new(1);
    /// assert_eq!(*sender.send_replace(2), 1);
    /// ```
    #[track_caller]
    pub fn send_replace(&self, value: T) -> Ref<T> {
        let _writing = self.shared.write();
        match self.shared.publish(Arc::new(value), false) {
            Ok(value) | Err(value) => Ref(value),
        }
    }

    /// Changes a clone of the value, and sends it, also without receivers. No other sender changes the value meanwhile. If
    /// `modify` panics, nothing is sent.
    ///
    /// # Panics
    ///
    /// If `modify` or the clone would suspend, as in [`no_suspend`], or sends to the same channel.
    /// Propagates their panics.
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::watch::channel(vec![1]);
    /// sender.send_modify(|list| list.push(2));
    /// assert_eq!(*receiver.borrow(), [1, 2]);
    /// ```
    #[track_caller]
    pub fn send_modify(&self, modify: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Like [`send_modify`](Self::send_modify), but sends only if `modify` returns true. Otherwise its changes are
    /// discarded. Returns what `modify` returned.
    ///
    /// # Panics
    ///
    /// The panics of [`send_modify`](Self::send_modify).
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::watch::channel(1);
    /// assert!(!sender.send_if_modified(|n| std::mem::replace(n, 5) > 3));
    /// assert_eq!((receiver.has_changed(), *receiver.borrow()), (false, 1));
    /// ```
    #[track_caller]
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        let writing = self.shared.write();
        let (is_changed, value) = no_suspend(|| {
            let mut value = T::clone(&self.shared.snapshot());
            (modify(&mut value), value)
        });
        let discarded = if is_changed { self.shared.publish(Arc::new(value), false) } else { Err(Arc::new(value)) };
        drop(writing);
        drop(discarded); // only here, without the lock: the destructor is the user's code
        is_changed
    }

    /// Returns the present value.
    pub fn borrow(&self) -> Ref<T> {
        Ref(self.shared.snapshot())
    }

    /// Creates a receiver, which has seen the present value already.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = self.shared.state.lock();
        state.receivers += 1;
        Receiver { shared: Arc::clone(&self.shared), seen: state.version }
    }

    /// Returns the number of receivers.
    pub fn receiver_count(&self) -> usize {
        self.shared.state.lock().receivers
    }

    /// Returns whether there are no receivers.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there are no receivers.
    ///
    /// Cancel safety: a cancelled call has no effect on the channel.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is cancelled before its wait ends, if a deadline or scope around this call ends the
    /// wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`].
    ///
    /// ```
    /// let (sender, receiver) = cede::sync::watch::channel(1);
    /// drop(receiver);
    /// assert_eq!(sender.closed(), Ok(()));
    /// ```
    #[track_caller]
    pub fn closed(&self) -> Result<(), Cancelled> {
        let worker = worker();
        let mut state = self.shared.state.lock_for(worker);
        if state.receivers == 0 {
            drop(state);
            consume_budget_of(worker);
            return Ok(());
        }
        let waiter = state.sending.enqueue(());
        drop(state);
        let wait = WaitSpec { reason: "the end of all receivers", external: true, ..WaitSpec::DEFAULT };
        outcome(wait_in::<Sending<T>>(&self.shared.state, waiter, wait, None))
            .map_err(WaitTimeoutError::without_deadline)
    }

    /// Returns whether `self` and `other` belong to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Receiver<T> {
    /// Returns the present value, and does not mark it as seen.
    pub fn borrow(&self) -> Ref<T> {
        Ref(self.shared.snapshot())
    }

    /// Returns the present value, and marks it as seen.
    ///
    /// ```
    /// let (sender, mut receiver) = cede::sync::watch::channel(1);
    /// sender.send(2).unwrap();
    /// assert!(receiver.has_changed());
    /// assert_eq!(*receiver.borrow_and_update(), 2);
    /// assert!(!receiver.has_changed());
    /// ```
    pub fn borrow_and_update(&mut self) -> Ref<T> {
        let state = self.shared.state.lock();
        self.seen = state.version;
        Ref(Arc::clone(&state.value))
    }

    /// Returns whether there is a value that this receiver has not seen.
    pub fn has_changed(&self) -> bool {
        self.shared.state.lock().version != self.seen
    }

    /// Returns whether the last sender was dropped.
    pub fn is_closed(&self) -> bool {
        self.shared.state.lock().senders == 0
    }

    /// Marks the present value as not seen.
    ///
    /// ```
    /// let (_sender, mut receiver) = cede::sync::watch::channel(1);
    /// receiver.mark_changed();
    /// assert_eq!(receiver.changed(), Ok(()));
    /// ```
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.state.lock().version.wrapping_sub(1);
    }

    /// Marks the present value as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.state.lock().version;
    }

    /// Waits until there is a value that this receiver has not seen, and marks it as seen.
    #[track_caller]
    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<(), RecvTimeoutError> {
        let mut has_waited = false;
        loop {
            let mut state = self.shared.state.lock();
            let (version, is_closed) = (state.version, state.senders == 0);
            if version != self.seen || is_closed {
                drop(state);
                if !has_waited {
                    consume_budget();
                }
                let is_new = std::mem::replace(&mut self.seen, version) != version;
                return if is_new { Ok(()) } else { Err(RecvTimeoutError::Disconnected) };
            }
            let waiter = state.watching.enqueue(());
            drop(state);
            let wait = WaitSpec { reason: "a new value", external: true, ..WaitSpec::DEFAULT };
            match wait_in::<Watching<T>>(&self.shared.state, waiter, wait, deadline) {
                Ended::Granted(()) | Ended::Closed(()) => has_waited = true,
                Ended::TimedOut(()) => return Err(RecvTimeoutError::Timeout),
                Ended::Cancelled(()) => return Err(RecvTimeoutError::Cancelled),
            }
        }
    }

    /// Waits until there is a value that this receiver has not seen, and marks it as seen. Returns at once if there is one.
    ///
    /// Cancel safety: a cancelled call marks nothing as seen.
    ///
    /// # Errors
    ///
    /// [`RecvError::Disconnected`] if there is no such value and the last sender was dropped. [`RecvError::Cancelled`] if the
    /// task is cancelled before its wait ends, if a deadline or scope around this call ends the wait, or if the task would
    /// have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`].
    ///
    /// ```
    /// use cede::sync::watch::{RecvError, channel};
    /// let (sender, mut receiver) = channel(1);
    /// sender.send(2).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.changed(), Ok(()));
    /// assert_eq!(receiver.changed(), Err(RecvError::Disconnected));
    /// ```
    #[track_caller]
    pub fn changed(&mut self) -> Result<(), RecvError> {
        self.wait_until(None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Like [`changed`](Self::changed), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if the deadline passes first, and otherwise the errors of [`changed`](Self::changed).
    ///
    /// # Panics
    ///
    /// The panics of [`changed`](Self::changed).
    #[track_caller]
    pub fn changed_deadline(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        self.wait_until(Some(deadline))
    }

    /// Like [`changed_deadline`](Self::changed_deadline), with a deadline `timeout` from now. A `timeout` that is too long
    /// for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`changed_deadline`](Self::changed_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`changed`](Self::changed).
    #[track_caller]
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        self.wait_until(now().checked_add(timeout))
    }

    #[track_caller]
    fn wait_for_until(
        &mut self,
        deadline: Option<Instant>,
        mut condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvTimeoutError> {
        let mut has_waited = false;
        loop {
            let value = self.borrow_and_update();
            if condition(&value) {
                if !has_waited {
                    consume_budget();
                }
                return Ok(value);
            }
            drop(value);
            self.wait_until(deadline)?;
            has_waited = true;
        }
    }

    /// Waits for a value for which `condition` returns true, marks it as seen and returns it. Checks the present value
    /// first, even if it was seen before, and then each new value. `condition` may wait.
    ///
    /// Cancel safety: a cancelled call marks at most those values as seen for which `condition` returned false.
    ///
    /// # Errors
    ///
    /// [`RecvError::Disconnected`] if `condition` returns false for the last value, and the last sender was dropped.
    /// [`RecvError::Cancelled`] as in [`changed`](Self::changed).
    ///
    /// # Panics
    ///
    /// The panics of [`changed`](Self::changed). Propagates a panic of `condition`.
    #[track_caller]
    pub fn wait_for(&mut self, condition: impl FnMut(&T) -> bool) -> Result<Ref<T>, RecvError> {
        self.wait_for_until(None, condition).map_err(RecvTimeoutError::without_deadline)
    }

    /// Like [`wait_for`](Self::wait_for), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if the deadline passes first, and otherwise the errors of [`wait_for`](Self::wait_for).
    ///
    /// # Panics
    ///
    /// The panics of [`wait_for`](Self::wait_for).
    ///
    /// ```
    /// use cede::sync::watch::{RecvTimeoutError, channel};
    /// let (_sender, mut receiver) = channel(1);
    /// let late = receiver.wait_for_deadline(cede::time::now(), |n| *n > 1);
    /// assert_eq!(late.unwrap_err(), RecvTimeoutError::Timeout);
    /// ```
    #[track_caller]
    pub fn wait_for_deadline(
        &mut self,
        deadline: Instant,
        condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvTimeoutError> {
        self.wait_for_until(Some(deadline), condition)
    }

    /// Like [`wait_for_deadline`](Self::wait_for_deadline), with a deadline `timeout` from now. A `timeout` that is too long
    /// for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_for_deadline`](Self::wait_for_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`wait_for`](Self::wait_for).
    #[track_caller]
    pub fn wait_for_timeout(
        &mut self,
        timeout: Duration,
        condition: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvTimeoutError> {
        self.wait_for_until(now().checked_add(timeout), condition)
    }

    /// Returns whether `self` and `other` belong to the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.state.lock().senders += 1;
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.state.lock().receivers += 1;
        Receiver { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut wake_list = WakeList::default();
        let mut state = self.shared.state.lock();
        state.senders -= 1;
        if state.senders == 0 {
            wake_list.extend(state.watching.close());
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut wake_list = WakeList::default();
        let mut state = self.shared.state.lock();
        state.receivers -= 1;
        if state.receivers == 0 {
            wake_list.extend(state.sending.close());
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("value", &self.borrow()).finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("value", &self.borrow()).finish_non_exhaustive()
    }
}
