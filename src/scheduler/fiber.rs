//! Fibers: bodies that run inside the `poll` of a future. Where a plain thread would sleep, the body of a fiber is suspended, and
//! `poll` returns `Pending`.
//!
//! ```text
//! executor                         the fiber's stack
//!   poll(fiber, waker)
//!     resume ---------------------> body -> block_on(future) -> future.poll(a copy of the waker)
//!                                                                 Pending
//!     Pending <-------------------- suspend
//!   ... the waker is used ...
//!   poll(fiber, waker) -----------> the future is polled again
//! ```
//!
//! A run that is opened inside a fiber belongs to it: when no task of the run is ready, its event loop suspends the fiber.
//! [`Config::run_async`](crate::Config::run_async) is such a run and nothing else.
//!
//! # Context switch
//!
//! [`resume`] exchanges all that a thread knows of the code that it runs: the current fiber, the worker, and the open `no_suspend`
//! section. So inside a fiber the run around it is hidden: a wait suspends the fiber, and not the task that polls it. Outside a fiber
//! the run in it is hidden, too.
//!
//! # Invariants
//!
//! 1. `FIBER` points to the handle of the fiber whose body the thread runs, and only `resume` writes it. The handle lives on the
//!    fiber's stack, which is neither freed nor reused before the body has ended.
//! 2. [`FiberHandle::suspend`] is called only on [`current`], looked up immediately before: so by code inside the body, on its stack or on
//!    that of a generator, a task or an event loop that began in the body and ends before it.
//! 3. `polled_with` points to a waker of the frame that polls the fiber, which outlives the resume.
//! 4. A run that was opened inside a fiber ends before the fiber's body does: `Section::run` keeps generators around it from being
//!    suspended, and the frame of the run is on the body's stack, or on that of such a generator. `resume` checks it.
//! 5. A fiber that will not be resumed is leaked with the runs inside of it, which stay open. No other thread may use what they own but
//!    their remote queues, which are never freed.

use super::Worker;
use super::current::{replace_worker, stored_worker};
use super::remote::RemoteReceiver;
use super::timer_thread;
use crate::arch::stack_pointer;
use crate::coroutine::chain::Marked;
use crate::coroutine::raw::{Event, RawCoroutine};
use crate::coroutine::raw_yielder::{Handle, RawYielder};
use crate::stack::overflow::abort_naming;
use crate::suspend_check;
use std::cell::{Cell, OnceCell};
use std::mem::forget;
use std::panic::Location;
use std::ptr::null;
use std::task::Waker;
use std::thread::panicking;
use std::time::Instant;

/// The lowest number of turns of a run after which it gives way to the executor.
const TURNS: u64 = 64;

/// The number of waits that a cancelled body may begin before it is unwound, and again before it is leaked.
const PATIENCE: u32 = 1000;

/// The state of a fiber, at the top of its stack.
#[repr(C)]
pub(crate) struct FiberHandle {
    raw_yielder: RawYielder<(), ()>,
    /// The waker of the poll that runs the body (invariant 3).
    polled_with: Cell<*const Waker>,
    /// A clone of the waker, for the futures that the body polls. A poll takes it out, so that a poll that a generator suspends keeps it.
    clone: Cell<Option<Waker>>,
    /// The worker of the run that is open inside the body, while the body is suspended.
    worker: Cell<*const Worker>,
    /// Unlike an address, no other fiber of the thread has it.
    number: u64,
    /// The fiber was dropped: each wait returns `Cancelled`.
    cancelled: Cell<bool>,
    /// The number of waits since the cancel.
    refused: Cell<u32>,
    /// Counts suspensions.
    suspensions: Cell<u32>,
    /// The number of turns of the run inside when it gave way last.
    gave_way_at: Cell<u64>,
    rare: OnceCell<Box<Rare>>,
}

/// The state that only a fiber with waits of the library needs.
struct Rare {
    receiver: RemoteReceiver,
    /// The run for which the timer thread is set, and the time.
    alarm: Cell<Option<(u64, Instant)>>,
}

impl Drop for Rare {
    fn drop(&mut self) {
        if let Some((run, _)) = self.alarm.get() {
            timer_thread::clear(run);
        }
    }
}

thread_local! {
    static FIBER: Cell<*const FiberHandle> = const { Cell::new(null()) };
    static NEXT_NUMBER: Cell<u64> = const { Cell::new(1) };
}

impl Handle for FiberHandle {
    type In = ();
    type Out = ();

    #[inline(always)]
    fn new(raw_yielder: RawYielder<(), ()>) -> FiberHandle {
        FiberHandle {
            raw_yielder,
            polled_with: Cell::new(null()),
            clone: Cell::new(None),
            worker: Cell::new(null()),
            number: NEXT_NUMBER.replace(NEXT_NUMBER.get() + 1),
            cancelled: Cell::new(false),
            refused: Cell::new(0),
            suspensions: Cell::new(0),
            gave_way_at: Cell::new(0),
            rare: OnceCell::new(),
        }
    }

    #[inline(always)]
    fn raw_yielder(&self) -> &RawYielder<(), ()> {
        &self.raw_yielder
    }

    #[inline(always)]
    fn is_trivial(&self) -> bool {
        // SAFETY: the cell is not shared with other threads, and nothing changes it during the look.
        let has_clone = unsafe { (*self.clone.as_ptr()).is_some() };
        !has_clone && self.rare.get().is_none()
    }
}

/// Returns the fiber that the calling code belongs to. If the code belongs to a run, that is the fiber in which the run began.
#[inline]
pub(crate) fn current<'a>() -> Option<&'a FiberHandle> {
    // SAFETY: the pointer is null or that of a handle whose body runs (invariant 1). Callers keep the reference no longer than one
    // call by code inside the body, so it does not outlive the body.
    unsafe { FIBER.get().as_ref() }
}

/// Returns whether the calling code runs outside of runs, or in a fiber outside of the runs in it.
#[inline(always)]
pub(crate) fn is_outside_of_runs() -> bool {
    stored_worker().is_null()
}

/// The context of a poller, restored when dropped.
struct Poller<'a> {
    handle: &'a FiberHandle,
    fiber: *const FiberHandle,
    /// The rest of the context, if it differs inside. It does not where an executor outside of runs polls a fiber without a run.
    others: Option<Others>,
    section: Marked,
}

struct Others {
    worker: *const Worker,
    no_suspend: Option<&'static Location<'static>>,
}

impl Poller<'_> {
    #[inline(always)]
    fn restore(&mut self) {
        if self.others.is_some() || !stored_worker().is_null() {
            self.restore_others();
        }
        suspend_check::close_poll(&self.section);
        FIBER.set(self.fiber);
    }

    #[inline(never)]
    fn exchange_others(&mut self) {
        let worker = stored_worker();
        let inside = self.handle.worker.get();
        if inside != worker {
            replace_worker(inside);
        }
        self.others = Some(Others { worker, no_suspend: suspend_check::set_no_suspend(None) });
    }

    #[inline(never)]
    fn restore_others(&mut self) {
        let inside = stored_worker();
        self.handle.worker.set(inside);
        let Others { worker, no_suspend } = self.others.take().unwrap_or(Others { worker: null(), no_suspend: None });
        if inside != worker {
            replace_worker(worker);
        }
        suspend_check::set_no_suspend(no_suspend);
    }
}

impl Drop for Poller<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.restore();
    }
}

/// Runs the body of a fiber until it suspends or ends. The body must not have finished.
///
/// The poll is a section of the bodies around it. Even a `'static` body may reach the handle of such a body, through a scoped thread-local.
#[inline(always)]
pub(crate) fn resume<R>(raw: &mut RawCoroutine<FiberHandle, R>, waker: &Waker) -> Event<(), R> {
    let address: *const FiberHandle = raw.handle();
    // SAFETY: the handle is alive until `raw` is dropped, and the reference until the end of this function. It changes only through
    // cells.
    let handle = unsafe { &*address };
    handle.polled_with.set(waker);
    let mut poller =
        Poller { handle, fiber: FIBER.replace(address), others: None, section: suspend_check::open_poll_of_executor() };
    if !stored_worker().is_null() || !handle.worker.get().is_null() || suspend_check::is_no_suspend() {
        poller.exchange_others();
    }
    let event = raw.go_on(());
    // Restored in place and in each branch: a drop would move the context, and its common end for all events would be an indirect jump.
    if let Event::Yielded(()) = event {
        poller.restore();
        forget(poller);
        return Event::Yielded(());
    }
    if let Event::Complete(output) = event {
        poller.restore();
        forget(poller);
        if !handle.worker.get().is_null() {
            abort_in_run(handle);
        }
        return Event::Complete(output);
    }
    poller.restore();
    forget(poller);
    if !handle.worker.get().is_null() {
        abort_in_run(handle);
    }
    event
}

#[cold]
fn abort_in_run(handle: &FiberHandle) -> ! {
    let slot = handle.raw_yielder.slot();
    let (kind, name) = slot.label();
    abort_naming(kind, name, "ended while a run that it had opened was still open")
}

/// Calls code of a waker. No generator inside the body may suspend meanwhile: if it were resumed after the end of the fiber, the caller
/// would use a handle that is gone.
pub(crate) fn foreign<R>(f: impl FnOnce() -> R) -> R {
    let _open = ClosedPoll(suspend_check::open_poll());
    f()
}

struct ClosedPoll(Marked);

impl Drop for ClosedPoll {
    fn drop(&mut self) {
        suspend_check::close_poll(&self.0);
    }
}

/// Like [`Waker::will_wake`]. The compiler makes one load of 16 bytes of that function, for which the processor waits until the two
/// stores of an executor that has just created the waker are complete.
#[inline(always)]
fn is_same(one: &Waker, other: &Waker) -> bool {
    let differ = |a: *const (), b: *const ()| a.addr() ^ b.addr();
    let tables = |waker: &Waker| std::ptr::from_ref(waker.vtable()).cast();
    differ(one.data(), other.data()) | differ(tables(one), tables(other)) == 0
}

impl FiberHandle {
    /// Returns the number of the fiber, which no other fiber of the thread ever has. Never 0.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Makes each wait of the body return `Cancelled`. The owner resumes the body next.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
    }

    /// Returns whether the fiber was dropped.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Returns whether a wait may suspend the body now: not after the cancel, and not while the thread panics.
    #[inline]
    pub(crate) fn can_suspend(&self) -> bool {
        !self.cancelled.get() && !panicking()
    }

    /// Returns whether a wait is allowed here, which may return `Cancelled` at once: not inside `no_suspend`, and not while the thread
    /// panics.
    pub(crate) fn may_wait(&self) -> bool {
        !suspend_check::is_no_suspend() && !panicking()
    }

    /// Suspends the body. Returns when the fiber is polled again, or at its cancel. The caller has checked
    /// [`can_suspend`](Self::can_suspend).
    #[inline(always)]
    #[track_caller]
    pub(crate) fn suspend(&self) {
        suspend_check::refuse_to_wait();
        self.suspensions.set(self.suspensions.get().wrapping_add(1));
        if self.raw_yielder.suspend(()).is_err() {
            // The owner resumes a suspended body with the cancel, and never with a request to unwind.
            unreachable!("a suspended fiber is not asked to unwind");
        }
    }

    /// Counts a wait of a cancelled body. Unwinds a body that has ignored its cancel too often, once, and suspends it for the last
    /// time if that was of no effect.
    #[cold]
    pub(crate) fn refuse(&self) {
        let refused = self.refused.get() + 1;
        self.refused.set(refused);
        if panicking() {
            return;
        }
        if refused == PATIENCE && cfg!(panic = "unwind") {
            self.raw_yielder.unwind();
        }
        // The owner leaks the fiber, or aborts the process if the body borrows.
        if refused >= 2 * PATIENCE {
            let _ = self.raw_yielder.suspend(());
        }
    }

    /// Like [`foreign`](foreign()), for code inside the body.
    #[inline]
    fn foreign<R>(&self, f: impl FnOnce() -> R) -> R {
        // On the stack of the fiber itself no generator is between the body and this code.
        if self.raw_yielder.slot().contains(stack_pointer()) { f() } else { foreign(f) }
    }

    /// Returns a clone of the waker that the fiber is polled with. The caller hands it back with [`keep_waker`](Self::keep_waker), so that
    /// the fiber clones a waker once and not for each poll of a future.
    #[inline(always)]
    pub(crate) fn take_waker(&self) -> Waker {
        // SAFETY: the body runs, so the frame that polls it is below this one, and the waker is alive (invariant 3).
        let given = unsafe { &*self.polled_with.get() };
        match self.clone.take() {
            Some(clone) if is_same(&clone, given) => clone,
            Some(other) => self.renew_waker(other),
            None => self.clone_waker(),
        }
    }

    #[inline(never)]
    fn clone_waker(&self) -> Waker {
        // SAFETY: as in `take_waker`. Cloning and dropping a waker are foreign code: nothing is borrowed here.
        self.foreign(|| unsafe { &*self.polled_with.get() }.clone())
    }

    #[cold]
    #[inline(never)]
    fn renew_waker(&self, mut former: Waker) -> Waker {
        loop {
            let new = self.clone_waker();
            // If that code waits, the fiber may be polled with another waker.
            if !self.suspends_during(|| drop(former)) {
                return new;
            }
            former = new;
        }
    }

    /// Keeps a clone of a waker for the next poll of a future. Returns whether the fiber was suspended meanwhile, by the code of another
    /// waker.
    #[inline(always)]
    pub(crate) fn keep_waker(&self, waker: Waker) -> bool {
        let former = self.clone.replace(Some(waker));
        former.is_some() && self.suspends_during(|| drop(former))
    }

    /// Calls code of a waker. Returns whether it suspended the fiber.
    #[cold]
    #[inline(never)]
    fn suspends_during(&self, f: impl FnOnce()) -> bool {
        let before = self.suspensions.get();
        self.foreign(f);
        before != self.suspensions.get()
    }

    /// Returns the remote queue of the fiber, which wakes its waits outside of a run.
    #[inline]
    pub(crate) fn receiver(&self) -> &RemoteReceiver {
        &self.rare().receiver
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(|| Box::new(Rare { receiver: RemoteReceiver::new(), alarm: Cell::new(None) }))
    }

    /// Waits outside of a run, until an entry is in the fiber's own queue or `deadline` passes. Returns false if the caller must not wait
    /// again: the fiber is cancelled, or the thread panics.
    #[track_caller]
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.cancelled.get() {
            self.refuse();
            return false;
        }
        if panicking() {
            return false;
        }
        self.sleep(self.receiver(), deadline);
        let receiver = self.receiver();
        receiver.give_back(receiver.take());
        !self.cancelled.get()
    }

    /// Suspends the body until an entry is in `queue`, `deadline` passes, or the fiber is cancelled. Takes no entry.
    #[track_caller]
    pub(crate) fn sleep(&self, queue: &RemoteReceiver, deadline: Option<Instant>) {
        while self.can_suspend() && deadline.is_none_or(|deadline| deadline > Instant::now()) {
            // SAFETY: as in `take_waker`.
            let waker = unsafe { &*self.polled_with.get() };
            let Some(former) = self.foreign(|| queue.begin_sleep_with(waker)) else { return };
            // The code of the former waker may wait, and take an entry or the wake that was for this sleep: then the caller looks again.
            if former.is_some() && (self.suspends_during(|| drop(former)) || !queue.is_announced()) {
                return;
            }
            if let Some(deadline) = deadline {
                self.set_alarm(queue, deadline);
            }
            self.suspend();
        }
    }

    /// Refuses all wakes from now on, for a body that will never run again: what its waits would have received goes to other waiters.
    #[cold]
    pub(crate) fn abandon(&self) {
        if let Some(rare) = self.rare.get() {
            rare.receiver.close();
        }
        // SAFETY: a run that is open in the body stays so, with its worker (invariants 4 and 5).
        if let Some(worker) = unsafe { self.worker.get().as_ref() } {
            worker.remote.close();
        }
    }

    /// Makes the timer thread notify `queue` at `deadline`, or earlier.
    fn set_alarm(&self, queue: &RemoteReceiver, deadline: Instant) {
        let (rare, run) = (self.rare(), queue.run());
        let is_over = |(of, alarm)| of != run || alarm > deadline || alarm <= Instant::now();
        if rare.alarm.get().is_none_or(is_over) {
            if let Some((other, _)) = rare.alarm.replace(Some((run, deadline))).filter(|(of, _)| *of != run) {
                timer_thread::clear(other);
            }
            timer_thread::set(deadline, queue.queue(), run);
        }
    }

    /// Returns whether the run inside must give way, after this number of turns since it was opened. A run of which the fiber knows nothing yet
    /// may give way too early, if another one was open before it.
    pub(super) fn had_turns(&self, turns: u64) -> bool {
        let had = turns.wrapping_sub(self.gave_way_at.get()) >= TURNS;
        if had {
            self.gave_way_at.set(turns);
        }
        had
    }

    /// Suspends the body for one round of the executor.
    #[track_caller]
    pub(crate) fn give_way(&self) {
        if self.can_suspend() {
            // A clone: if the waker's code suspends the fiber itself, the executor may drop its own waker meanwhile.
            let waker = self.take_waker();
            self.foreign(|| waker.wake_by_ref());
            if !self.keep_waker(waker) {
                self.suspend();
            }
        }
    }

    /// Yields outside of a run. Counts as a wait once the fiber is cancelled: else a body that yields until something happens, which can
    /// no longer happen, would never end.
    #[track_caller]
    pub(crate) fn yield_now(&self) {
        match self.cancelled.get() {
            true => self.refuse(),
            false => self.give_way(),
        }
    }
}
