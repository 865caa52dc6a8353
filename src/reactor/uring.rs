//! The driver io_uring(7): operations that the kernel makes itself.
//!
//! A task puts an operation into the submission queue and parks. The event loop submits the operations of all tasks with one
//! io_uring_enter(2), which also returns the completions. An [`Operation`] is in the frame of the task that waits for it, and so
//! are the buffers that it names: they are borrowed by the frame.
//!
//! # Conditions
//!
//! The kernel reads and writes memory of a task's frame, so these hold. Code that keeps one names it by its number.
//!
//! 1. After an operation is in the queue, nothing panics before it has completed. What can fail comes first. A guard aborts the process
//!    if the frame is unwound nevertheless.
//! 2. The frame is left only after the completion of the operation itself. A cancel, a deadline, a scope, a deadlock or a forced unwind
//!    requests the kernel to cancel it, and then waits for its completion (`wait::wait_for_kernel`). The request is repeated only if
//!    the kernel has missed the operation. Data that came first counts.
//! 3. The body of a generator or coroutine that waits is running, so it can be neither dropped nor forgotten.
//! 4. The stack of an abandoned task is never reused, trimmed or unmapped (`Tcb::abandon` leaks it), so the kernel may still write to it.
//! 5. The ring outlives its operations: its drop cancels those of abandoned tasks, and waits until all have completed. If
//!    io_uring_enter(2) fails in an unexpected way, the process aborts: an operation could neither be awaited nor cancelled.
//! 6. After fork(2) the kernel writes into the memory of the parent only. The child has no mapping of the queues (`MADV_DONTFORK`), makes
//!    no system call on the ring, and its waits fail.
//! 7. No future borrows a frame in this way, since a future can be forgotten: only tasks use the ring.
//! 8. All operations are one-shot. The only ones that complete more than once are the polls of the ring itself, which name no memory.
//!    A disk's operation cannot be cancelled once the disk has begun it, so a cancel waits for it.
//! 9. A frame that is left by longjmp(3) or pthread_exit(3) breaks these rules, as it breaks those of every frame with a destructor.
//! 10. The address of a buffer is taken once, and the buffer is not used before the completion.

use super::provided::{Bytes, Provided};
use super::slots::Waiter;
use crate::sys::eventfd::EventFd;
use crate::sys::fork::Generation;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};
use std::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// The sizes of the queues. A full submission queue is submitted at once, and the kernel keeps completions that do not fit.
const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 2048;

/// The meaning of the low bits of `user_data`. The address of an `Operation` has these bits clear.
const KIND: u64 = 7;
const BELL: u64 = 1;
const DESCRIPTORS: u64 = 2;
const IGNORED: u64 = 3;
/// A request to cancel. The other bits are the address of the operation, which may be gone by then.
const CANCEL: u64 = 4;

/// The number of completions by which an operation is prefetched, and by which the TCB of its waiter is.
const FETCH_OPERATION: usize = 8;
const FETCH_WAITER: usize = 4;

/// The events of the bell and of the descriptors' poller.
const READABLE: u32 = libc::POLLIN as u32;

/// An operation of the kernel, in the frame of the task that waits for it.
#[derive(Debug)]
#[repr(align(8))]
pub(crate) struct Operation {
    waiter: Waiter,
    result: Cell<i32>,
    flags: Cell<u32>,
    done: Cell<bool>,
}

impl Operation {
    #[inline]
    pub(crate) fn new(waiter: Waiter) -> Operation {
        Operation { waiter, result: Cell::new(0), flags: Cell::new(0), done: Cell::new(false) }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Returns the value of the operation. Meaningful once it is done.
    ///
    /// # Errors
    ///
    /// The error that the system call of the same name has.
    #[inline]
    pub(crate) fn result(&self) -> io::Result<usize> {
        usize::try_from(self.result.get()).map_err(|_| io::Error::from_raw_os_error(-self.result.get()))
    }

    /// Returns the flags of the completion.
    #[inline]
    pub(crate) fn flags(&self) -> u32 {
        self.flags.get()
    }

    fn user_data(&self) -> u64 {
        std::ptr::from_ref(self).expose_provenance() as u64
    }
}

/// The outcome of a call of [`Ring::enter`].
#[derive(Default)]
pub(super) struct Seen {
    /// Something completed.
    pub(super) any: bool,
    /// The poller of descriptors has events.
    pub(super) descriptors: bool,
}

/// A ring, with the polls that it keeps armed: of the bell, and of the poller of descriptors.
pub(crate) struct Ring {
    ring: ManuallyDrop<UnsafeCell<IoUring>>,
    made_in: Generation,
    /// The number of operations that have not completed.
    in_flight: Cell<usize>,
    /// The operations to cancel that have not completed.
    cancels: RefCell<HashSet<u64>>,
    /// The requests to cancel that the kernel does not have. May still name operations that have completed.
    unsent: RefCell<Vec<u64>>,
    /// The completions of one call. Borrowed only inside `reap`.
    completions: RefCell<Vec<(u64, i32, u32)>>,
    bell: RawFd,
    /// The descriptor of the poller of descriptors.
    poller: RawFd,
    bell_armed: Cell<bool>,
    /// The poll of the poller of descriptors: armed with its first descriptor.
    poller_armed: Cell<Option<bool>>,
    /// The buffers for receives that bring none, made by the first one. `None` inside if the kernel refuses them. Dropped after `ring`.
    provided: OnceCell<Option<Provided>>,
    /// The eventfd that the kernel signals, for runs in fibers. `None` inside if the system refuses it.
    event: OnceCell<Option<EventFd>>,
}

impl Ring {
    /// Makes a ring, and checks that it works.
    ///
    /// # Errors
    ///
    /// The error of io_uring_setup(2) or of the first operation: where io_uring is missing, older than Linux 6.1, or forbidden.
    pub(super) fn new(bell: RawFd, poller: RawFd) -> io::Result<Ring> {
        let mut builder = IoUring::<Entry, cqueue::Entry>::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
        builder.setup_clamp().setup_cqsize(COMPLETIONS).dontfork();
        let mut ring = builder.build(SUBMISSIONS)?;
        if !(ring.params().is_feature_nodrop() && ring.params().is_feature_ext_arg()) {
            return Err(ErrorKind::Unsupported.into());
        }
        let nop = opcode::Nop::new().build().user_data(IGNORED);
        // SAFETY: the operation names no memory.
        unsafe { ring.submission().push(&nop) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        match ring.completion().next() {
            Some(completion) if completion.result() == 0 => {}
            _ => return Err(ErrorKind::Unsupported.into()),
        }
        Ok(Ring {
            ring: ManuallyDrop::new(UnsafeCell::new(ring)),
            made_in: Generation::current(),
            in_flight: Cell::new(0),
            cancels: RefCell::default(),
            unsent: RefCell::default(),
            completions: RefCell::new(Vec::with_capacity(COMPLETIONS as usize)),
            bell,
            poller,
            bell_armed: Cell::new(false),
            poller_armed: Cell::new(None),
            provided: OnceCell::new(),
            event: OnceCell::new(),
        })
    }

    /// The number of operations that have not completed.
    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Returns an eventfd that becomes readable when there are completions. `None` if the system refuses it.
    ///
    /// The descriptor of the ring itself is of no use: with IORING_SETUP_DEFER_TASKRUN the kernel completes an operation only when the
    /// ring is entered, and poll(2) on the ring does not end before that. The eventfd is signalled when there is such work.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let event = self.event.get_or_init(|| {
            let event = EventFd::new().ok()?;
            self.io_uring().submitter().register_eventfd(event.as_raw_fd()).ok()?;
            Some(event)
        });
        event.as_ref().map(EventFd::reader)
    }

    /// Makes the descriptor unreadable. The caller enters the ring next, which takes the completions that the descriptor has told of.
    pub(super) fn clear_descriptor(&self) {
        self.event.get().into_iter().flatten().for_each(EventFd::clear);
    }

    #[inline]
    fn io_uring(&self) -> &IoUring {
        // SAFETY: all methods that change the queues take `&IoUring`. Only `Drop` takes it by value.
        unsafe { &*self.ring.get() }
    }

    /// Calls `f` with the submission queue.
    #[inline]
    fn with_queue<T>(&self, f: impl FnOnce(&mut io_uring::SubmissionQueue<'_>) -> T) -> T {
        // SAFETY: the worker's thread alone uses the ring, and no `f` of this file uses the queue a second time.
        f(&mut unsafe { self.io_uring().submission_shared() })
    }

    /// Returns whether a receive may take a buffer of the ring. The first call makes the buffers, by calls of `new`.
    #[inline]
    pub(crate) fn provides(&self, new: impl FnMut() -> Bytes) -> bool {
        self.provided.get_or_init(|| Provided::register(self.io_uring(), new).ok()).is_some()
    }

    /// Takes the buffer that a completion with these flags names, and gives `other` to the ring in its place.
    #[inline]
    pub(crate) fn exchange(&self, flags: u32, other: Bytes) -> Bytes {
        match (self.provided.get(), cqueue::buffer_select(flags)) {
            (Some(Some(provided)), Some(number)) => provided.exchange(number, other),
            // The end of a stream takes no buffer.
            _ => other,
        }
    }

    /// Makes room for an operation, which the next call of [`start`](Self::start) then takes. Returns false if the kernel takes no
    /// operation now.
    #[inline]
    pub(crate) fn make_room(&self) -> bool {
        if !self.with_queue(|queue| queue.is_full()) {
            return true;
        }
        let _ = self.io_uring().submit();
        !self.with_queue(|queue| queue.is_full())
    }

    /// Starts an operation: puts it into the submission queue. There must be room. From here on, condition 1 holds.
    ///
    /// # Safety
    ///
    /// Until `operation` is done, it stays in place, and the memory that `entry` names stays valid; no other code accesses the part that
    /// the kernel writes, and no other code writes the part that the kernel reads. In a child process of fork(2) the kernel does
    /// not use the memory of the child.
    #[inline]
    pub(crate) unsafe fn start(&self, entry: Entry, operation: &Operation) {
        let entry = entry.user_data(operation.user_data());
        // SAFETY: the caller keeps the memory valid until the operation is done.
        let pushed = self.with_queue(|queue| unsafe { queue.push(&entry) });
        // Before the push nothing has begun, so a panic is possible here.
        pushed.expect("the caller made room");
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// Requests the kernel to end an operation early, which must not have completed. It completes in any case, possibly with data.
    #[cold]
    pub(crate) fn cancel(&self, operation: &Operation) {
        self.cancels.borrow_mut().insert(operation.user_data());
        self.unsent.borrow_mut().push(operation.user_data());
        self.push_cancels();
    }

    /// Sends the requests to cancel that the kernel does not have.
    fn push_cancels(&self) {
        let mut unsent = self.unsent.borrow_mut();
        while let Some(&user_data) = unsent.last() {
            if self.cancels.borrow().contains(&user_data) {
                let cancel = opcode::AsyncCancel::new(user_data).build().user_data(user_data | CANCEL);
                if !self.make_room() || !self.push_own(&cancel) {
                    return; // the next call of `enter` tries again
                }
            }
            unsent.pop();
        }
    }

    /// A request to cancel has ended. If the kernel found no such operation, and the operation has not completed, the request is sent
    /// again: a receive that is about to be repeated is in none of the kernel's lists for a moment. If another task then takes the
    /// data, it would wait without an end.
    #[cold]
    fn cancel_has_ended(&self, user_data: u64, result: i32) {
        if result == -libc::ENOENT && self.cancels.borrow().contains(&user_data) {
            self.unsent.borrow_mut().push(user_data);
        }
    }

    /// Puts an operation of the ring itself into the queue. Returns false if it is full.
    fn push_own(&self, entry: &Entry) -> bool {
        // SAFETY: the operations of the ring itself (polls, cancels) name no memory.
        self.with_queue(|queue| unsafe { queue.push(entry) }).is_ok()
    }

    /// Polls the poller of descriptors, too: it has a descriptor now.
    #[inline]
    pub(super) fn watch_descriptors(&self) {
        if self.poller_armed.get().is_none() {
            self.poller_armed.set(Some(false));
        }
    }

    /// Returns whether a call of [`enter`](Self::enter) has something to do: an operation to submit, or a completion.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        let waits = self.with_queue(|queue| !queue.is_empty() || queue.taskrun() || queue.cq_overflow())
            || self.poller_armed.get() == Some(false);
        // SAFETY: no other completion queue exists: `reap` drops its own.
        waits || !unsafe { self.io_uring().completion_shared() }.is_empty() || !self.unsent.borrow().is_empty()
    }

    /// Submits all operations, waits for at most `timeout` for a completion (`None`: without a limit), and calls `wake` for the waiter of
    /// each operation that has completed.
    pub(super) fn enter(&self, timeout: Option<Duration>, wake: impl FnMut(Waiter)) -> Seen {
        if timeout == Some(Duration::ZERO) && !self.has_work() {
            return Seen::default();
        }
        self.arm_own();
        // What has completed already is taken before any wait.
        // SAFETY: no other completion queue exists: `reap` drops its own.
        let is_ready = !unsafe { self.io_uring().completion_shared() }.is_empty();
        self.submit(if is_ready { Some(Duration::ZERO) } else { timeout });
        self.reap(wake)
    }

    /// Arms the polls of the ring itself that are not armed, and sends the requests to cancel that had no room.
    fn arm_own(&self) {
        let poll = |fd, kind| opcode::PollAdd::new(Fd(fd), READABLE).multi(true).build().user_data(kind);
        if !self.bell_armed.get() && self.make_room() {
            self.bell_armed.set(self.push_own(&poll(self.bell, BELL)));
        }
        if self.poller_armed.get() == Some(false) && self.make_room() {
            self.poller_armed.set(Some(self.push_own(&poll(self.poller, DESCRIPTORS))));
        }
        self.push_cancels();
    }

    /// Submits all operations, and waits for a completion for at most `timeout`.
    fn submit(&self, timeout: Option<Duration>) {
        let submitter = self.io_uring().submitter();
        let outcome = match timeout {
            None => submitter.submit_and_wait(1),
            Some(Duration::ZERO) => {
                let count = self.with_queue(|queue| queue.len()) as u32;
                // `GETEVENTS` makes the kernel post the completions that it has deferred.
                // SAFETY: there is no argument.
                unsafe { submitter.enter::<libc::sigset_t>(count, 0, EnterFlags::GETEVENTS.bits(), None) }
            }
            Some(timeout) => {
                let time = Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        if let Err(error) = outcome {
            match error.raw_os_error() {
                // A signal, the end of the timeout, a lack of memory, and completions that wait to be taken.
                Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => {}
                _ => give_up(&error), // condition 5
            }
        }
    }

    /// Takes the completions.
    fn reap(&self, mut wake: impl FnMut(Waiter)) -> Seen {
        let mut completions = self.completions.borrow_mut();
        completions.clear();
        // SAFETY: no other completion queue exists while this one does.
        let queue = unsafe { self.io_uring().completion_shared() };
        completions.extend(queue.map(|completion| (completion.user_data(), completion.result(), completion.flags())));
        let mut seen = Seen { any: !completions.is_empty(), descriptors: false };
        let operation = |number: usize| completions.get(number).filter(|(user_data, ..)| user_data & KIND == 0);
        for (number, &(user_data, result, flags)) in completions.iter().enumerate() {
            // With many connections neither operations nor TCBs are in the cache.
            if let Some((later, ..)) = operation(number + FETCH_OPERATION) {
                crate::arch::prefetch(*later as usize);
            }
            if let Some((later, ..)) = operation(number + FETCH_WAITER) {
                // SAFETY: as below.
                crate::arch::prefetch(unsafe { &*operation_of(*later) }.waiter.tcb);
            }
            match user_data & KIND {
                0 => {
                    // SAFETY: the caller of `start` keeps the operation in place until it is done, and only this line makes it so. Each
                    // operation completes once (condition 8).
                    let operation = unsafe { &*operation_of(user_data) };
                    operation.result.set(result);
                    operation.flags.set(flags);
                    operation.done.set(true);
                    self.in_flight.set(self.in_flight.get() - 1);
                    if !self.cancels.borrow().is_empty() {
                        self.cancels.borrow_mut().remove(&user_data);
                    }
                    wake(operation.waiter);
                }
                CANCEL => self.cancel_has_ended(user_data & !KIND, result),
                BELL => self.bell_armed.set(cqueue::more(flags)),
                DESCRIPTORS => {
                    self.poller_armed.set(Some(cqueue::more(flags)));
                    seen.descriptors = true;
                }
                _ => {}
            }
        }
        seen
    }

    /// Forgets all operations: in a child process, for which none completes.
    pub(super) fn forget_all(&self) {
        self.in_flight.set(0);
    }
}

#[inline]
fn operation_of(user_data: u64) -> *const Operation {
    std::ptr::with_exposed_provenance(user_data as usize)
}

/// Aborts the process, because the kernel would keep using memory of tasks that cannot be awaited.
#[cold]
fn give_up(error: &io::Error) -> ! {
    crate::report::report!("io_uring_enter(2) failed ({error}): operations are in progress that cannot be ended");
    std::process::abort()
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.made_in.is_over() {
            // Condition 6: the addresses of the queues may belong to other mappings in the child.
            return;
        }
        // Condition 5. All tasks have ended or were abandoned, and nothing wakes an abandoned task.
        while self.in_flight.get() > 0 {
            let all = opcode::AsyncCancel2::new(io_uring::types::CancelBuilder::any()).build().user_data(IGNORED);
            if self.make_room() {
                self.push_own(&all);
            }
            self.submit(Some(Duration::from_millis(100)));
            self.reap(|_| ());
        }
        // SAFETY: the value is not used again.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
    }
}
