//! The remote queue: remote wakes, sent to a worker from other threads, and the sleep of a worker until one arrives.
//!
//! The remote queue is the only part of a run that other threads access; only the worker's own thread accesses tasks. A plain
//! thread that waits has a remote queue too. A lost wakeup is impossible: `sleep` checks for entries under the lock that `push`
//! takes.
//!
//! Remote queues are never freed but reused. So a wake handle may keep the address of a queue permanently, without a reference
//! count. Each use of a queue has a run number of its own, and a push for an earlier use is refused.
//!
//! A [`WakerCell`] is a remote wake that is in the queue at most once: the target of a [`Waker`](std::task::Waker).
#![forbid(unsafe_code)]

use super::job::Job;
pub(crate) use super::remote_wake::{Order, RemoteWake, TaskId, WakeKind};
use super::spin::Spin;
use crate::sys::ring;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::yield_now;
use std::time::Instant;

/// The entries of a remote queue.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) wakes: Vec<RemoteWake>,
    /// Orders for jobs that the worker holds.
    pub(crate) jobs: Vec<Order>,
    /// Waker cells that were posted.
    pub(crate) cells: Vec<&'static WakerCell>,
    /// Closures to start as tasks.
    pub(crate) starts: Vec<Job>,
    /// Closures for the event loop to call.
    pub(crate) calls: Vec<Call>,
}

/// A closure that the event loop of another thread calls. It must not wait.
pub(crate) type Call = Box<dyn FnOnce() + Send>;

/// The number of entries of a kind for which a queue keeps memory.
const KEPT: usize = 1024;

impl Entries {
    fn is_empty(&self) -> bool {
        self.wakes.is_empty()
            && self.jobs.is_empty()
            && self.cells.is_empty()
            && self.starts.is_empty()
            && self.calls.is_empty()
    }

    fn clear(&mut self) {
        self.wakes.clear();
        self.jobs.clear();
        self.cells.clear();
        self.wakes.shrink_to(KEPT);
        self.jobs.shrink_to(KEPT);
        self.cells.shrink_to(KEPT);
        self.starts.clear();
        self.starts.shrink_to(KEPT);
        self.calls.clear();
        self.calls.shrink_to(KEPT);
    }
}

/// The contents of a remote queue.
#[derive(Default)]
struct Pending {
    entries: Entries,
    /// Set by `notify`: ends the sleep of the worker, without a task to wake.
    notified: bool,
    /// The number of the run that uses this queue; 0 while the queue is unused.
    run: u64,
    /// The eventfd to ring at the next entry: set while the worker sleeps in its poller. `RemoteQueue::ringing` keeps it open.
    bell: Option<RawFd>,
    /// The waker of the executor that polls the sleeping fiber: used at the next entry.
    waker: Option<Waker>,
    /// The owner waits for `RemoteQueue::arrived`. Std's condition variable makes a system call even if no thread waits.
    sleeping: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.notified
    }
}

/// A queue of remote wakes, of a run or of a plain thread that waits.
#[derive(Default)]
pub(crate) struct RemoteQueue {
    pending: Mutex<Pending>,
    arrived: Condvar,
    /// Whether `pending` may have entries. Read without the lock, since polls are far more frequent than remote wakes.
    flag: AtomicBool,
    /// A copy of `Pending::run`, written only while `pending` is locked.
    run: AtomicU64,
    /// The number of threads that have taken a bell and may still ring it. Increased only while `pending` is locked. `wait_for_ringers`
    /// waits until it is 0, so the owner of a bell closes no descriptor that another thread writes to.
    ringing: AtomicUsize,
    /// The waker cells of this queue that no user of it has now.
    unused_cells: Mutex<Vec<&'static WakerCell>>,
}

/// The free list of remote queues.
static UNUSED: Mutex<Vec<&'static RemoteQueue>> = Mutex::new(Vec::new());
/// The next run number. Numbers are unique in a process. 0 means no run, and the largest number is never reached.
static NEXT_RUN: AtomicU64 = AtomicU64::new(1);

/// The target of the [`Waker`](std::task::Waker)s of a task or plain thread. Never freed, and permanently a cell of one remote queue,
/// so a `Waker` is copied without a reference count, and may be used at any time.
///
/// Other threads use only `queue` and `posted`. The other fields belong to the thread that has the queue. After the end of
/// a run, the queue and its cells go to a later run or thread, so a late wake is a spurious wakeup there.
pub(crate) struct WakerCell {
    queue: &'static RemoteQueue,
    /// The address of the TCB of the bound task; 0 for a plain thread, and while the cell is unused.
    tcb: AtomicUsize,
    task_id: AtomicU64,
    /// The number of wakes that have arrived.
    wakes: AtomicU64,
    /// The cell is in the queue, or a thread is about to put it there.
    posted: AtomicBool,
}

impl WakerCell {
    /// Returns the remote queue of the cell.
    #[inline]
    pub(crate) fn queue(&self) -> &'static RemoteQueue {
        self.queue
    }

    /// Binds the cell to a task, or to none. Late wakes for its previous task may still arrive.
    pub(crate) fn bind(&self, task: RemoteWake) {
        self.tcb.store(task.tcb, Ordering::Relaxed);
        self.task_id.store(task.task_id, Ordering::Relaxed);
        self.posted.store(false, Ordering::Release);
    }

    /// Returns the number of the bound task.
    #[inline]
    pub(crate) fn task_id(&self) -> TaskId {
        self.task_id.load(Ordering::Relaxed)
    }

    /// Returns the address of the bound task's TCB, or 0.
    #[inline]
    pub(crate) fn tcb(&self) -> usize {
        self.tcb.load(Ordering::Relaxed)
    }

    /// Returns the number of wakes that have arrived.
    #[inline]
    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }

    /// Counts a wake.
    #[inline]
    pub(crate) fn count_wake(&self) {
        self.wakes.store(self.wakes().wrapping_add(1), Ordering::Relaxed);
    }

    /// Puts the cell into its queue unless it is there already, from any thread. No effect if no run or thread has the
    /// queue now.
    pub(crate) fn post(&'static self) {
        // If the cell was posted already, the swap in `take` reads this one or a later one, so the woken task sees what
        // this thread has written.
        if !self.posted.swap(true, Ordering::AcqRel) && !self.queue.push_cell(self) {
            self.posted.store(false, Ordering::Release);
        }
    }
}

/// The receiving end of a remote queue in use. Dropping it closes the queue and puts it on the free list.
pub(crate) struct RemoteReceiver {
    queue: &'static RemoteQueue,
    run: u64,
    /// The waker cells that this user of the queue has taken.
    cells: RefCell<Vec<&'static WakerCell>>,
    /// The memory of the entries that were taken last, for the next ones.
    spare: Cell<Entries>,
    spin: Spin,
}

impl RemoteReceiver {
    pub(crate) fn new() -> RemoteReceiver {
        let run = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        let unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let queue = unused.unwrap_or_else(|| Box::leak(Box::default()));
        queue.pending().run = run;
        queue.run.store(run, Ordering::Relaxed);
        RemoteReceiver { queue, run, cells: RefCell::default(), spare: Cell::default(), spin: Spin::new() }
    }

    /// Takes an unused waker cell of the queue, or allocates one, and binds it to `task`. The cell remains bound until the
    /// receiver is dropped.
    pub(crate) fn take_cell(&self, task: RemoteWake) -> &'static WakerCell {
        let unused = self.queue.unused_cells().pop();
        let cell = unused.unwrap_or_else(|| {
            Box::leak(Box::new(WakerCell {
                queue: self.queue,
                tcb: AtomicUsize::new(0),
                task_id: AtomicU64::new(0),
                wakes: AtomicU64::new(0),
                posted: AtomicBool::new(false),
            }))
        });
        cell.bind(task);
        self.cells.borrow_mut().push(cell);
        cell
    }

    /// Returns the waker cell of a plain thread, which has one.
    pub(crate) fn thread_cell(&self) -> &'static WakerCell {
        let cell = self.cells.borrow().first().copied();
        cell.unwrap_or_else(|| self.take_cell(RemoteWake { tcb: 0, task_id: 0 }))
    }

    /// Takes all entries, and counts the wakes of the waker cells. [`give_back`](Self::give_back) takes the memory.
    pub(crate) fn take(&self) -> Entries {
        let mut entries = self.spare.take();
        let mut pending = self.queue.pending();
        self.queue.flag.store(false, Ordering::Release);
        pending.notified = false;
        std::mem::swap(&mut pending.entries, &mut entries);
        drop(pending);
        for cell in &entries.cells {
            // Before the task runs: a later wake posts the cell again. The swap, unlike a store, synchronizes with the
            // threads that found the cell posted.
            cell.posted.swap(false, Ordering::AcqRel);
            cell.count_wake();
        }
        entries
    }

    /// Keeps the memory of entries that were read.
    pub(crate) fn give_back(&self, mut entries: Entries) {
        entries.clear();
        self.spare.set(entries);
    }

    /// Sleeps until an entry or a notification arrives, or until `deadline`. Returns at once if there is one already.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        if !self.spin() {
            self.queue.block(deadline);
        }
    }

    /// Waits for a moment, without blocking the thread. Returns whether there may be an entry.
    pub(crate) fn spin(&self) -> bool {
        self.spin.wait(|| self.queue.has_pending())
    }

    /// Blocks the thread until an entry or a notification arrives, or until `deadline`.
    pub(crate) fn block(&self, deadline: Option<Instant>) {
        self.queue.block(deadline);
    }

    /// Returns the run number of this use.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Returns the queue for senders, which may keep the reference permanently.
    pub(crate) fn queue(&self) -> &'static RemoteQueue {
        self.queue
    }
}

impl Deref for RemoteReceiver {
    type Target = RemoteQueue;

    #[inline]
    fn deref(&self) -> &RemoteQueue {
        self.queue
    }
}

impl Drop for RemoteReceiver {
    fn drop(&mut self) {
        drop(self.queue.close());
        let cells = std::mem::take(self.cells.get_mut());
        cells.iter().for_each(|cell| cell.bind(RemoteWake { tcb: 0, task_id: 0 }));
        self.queue.unused_cells().extend(cells);
        UNUSED.lock().unwrap_or_else(PoisonError::into_inner).push(self.queue);
    }
}

impl RemoteQueue {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unused_cells(&self) -> MutexGuard<'_, Vec<&'static WakerCell>> {
        self.unused_cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a remote wake, from any thread. Returns false if the run has ended.
    pub(crate) fn push(&self, run: u64, wake: RemoteWake) -> bool {
        self.push_with(run, |pending| pending.entries.wakes.push(wake))
    }

    /// Makes the event loop run or drop a job that the worker holds, from any thread. Returns false if the run has ended.
    pub(crate) fn push_job(&self, run: u64, order: Order) -> bool {
        self.push_with(run, |pending| pending.entries.jobs.push(order))
    }

    /// Sends a closure to start as a task, from any thread. Calls `job` if the run has not ended; otherwise returns false.
    pub(crate) fn push_start(&self, run: u64, job: impl FnOnce() -> Job) -> bool {
        self.push_with(run, |pending| pending.entries.starts.push(job()))
    }

    /// Makes the event loop call `call`, from any thread. Drops it and returns false if the run has ended.
    pub(crate) fn push_call(&self, run: u64, call: Call) -> bool {
        let mut call = Some(call);
        let accepted = self.push_with(run, |pending| pending.entries.calls.extend(call.take()));
        // Dropped here and not under the lock: it is foreign code.
        drop(call);
        accepted
    }

    /// Ends the sleep of the worker, from any thread, so that it polls. Returns false if the run has ended.
    pub(crate) fn notify(&self, run: u64) -> bool {
        self.push_with(run, |pending| pending.notified = true)
    }

    /// Sends the wakes of a waker cell to the present user of the queue. Returns false if there is none.
    fn push_cell(&self, cell: &'static WakerCell) -> bool {
        let pending = self.pending();
        let is_used = pending.run != 0;
        if is_used {
            self.push_into(pending, |pending| pending.entries.cells.push(cell));
        }
        is_used
    }

    fn push_with(&self, run: u64, what: impl FnOnce(&mut Pending)) -> bool {
        let pending = self.pending();
        let is_open = pending.run == run;
        if is_open {
            self.push_into(pending, what);
        }
        is_open
    }

    fn push_into(&self, mut pending: MutexGuard<'_, Pending>, what: impl FnOnce(&mut Pending)) {
        what(&mut pending);
        self.flag.store(true, Ordering::Release);
        let (bell, waker, sleeping) =
            (pending.bell.take(), pending.waker.take(), std::mem::take(&mut pending.sleeping));
        if bell.is_some() {
            self.ringing.fetch_add(1, Ordering::Relaxed);
        }
        // The woken thread locks `pending` at once, so it is unlocked first.
        drop(pending);
        match (bell, waker) {
            // At most once per sleep.
            (Some(bell), _) => {
                ring(bell);
                self.ringing.fetch_sub(1, Ordering::Release);
            }
            (None, Some(waker)) => waker.wake(),
            (None, None) if sleeping => self.arrived.notify_one(),
            (None, None) => {}
        }
    }

    /// Returns whether the run has not ended. Another thread may see a run that has just ended as open.
    #[inline]
    pub(crate) fn is_open(&self, run: u64) -> bool {
        self.run.load(Ordering::Relaxed) == run
    }

    /// Returns whether there may be remote wakes.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Blocks the thread until an entry or a notification arrives, or until `deadline`. Absorbs spurious wakeups of the standard
    /// `Condvar`.
    fn block(&self, deadline: Option<Instant>) {
        let mut pending = self.pending();
        while pending.is_empty() {
            pending.sleeping = true;
            pending = match deadline {
                None => self.arrived.wait(pending).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        break;
                    }
                    self.arrived.wait_timeout(pending, deadline - now).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        pending.sleeping = false;
    }

    #[cfg(feature = "io")]
    /// Announces a sleep in a poller: until [`end_sleep`](Self::end_sleep) the next entry rings the eventfd `bell`. Returns false, and
    /// announces nothing, if there is an entry already.
    pub(crate) fn begin_sleep(&self, bell: RawFd) -> bool {
        let mut pending = self.pending();
        let may_sleep = pending.is_empty();
        pending.bell = may_sleep.then_some(bell);
        may_sleep
    }

    #[cfg(feature = "io")]
    /// Ends the sleep that `begin_sleep` announced.
    pub(crate) fn end_sleep(&self) {
        self.pending().bell = None;
    }

    /// Announces a sleep of a fiber that was polled with `waker`: the next entry uses the waker. Returns the waker of an earlier sleep, whose
    /// drop is foreign code. Returns `None`, and announces nothing, if there is an entry already.
    pub(crate) fn begin_sleep_with(&self, waker: &Waker) -> Option<Option<Waker>> {
        let pending = self.pending();
        if !pending.is_empty() {
            return None;
        }
        if pending.waker.as_ref().is_some_and(|stored| stored.will_wake(waker)) {
            return Some(None);
        }
        drop(pending);
        // Cloning and dropping a waker are foreign code, and so outside of the lock.
        let new = waker.clone();
        let mut pending = self.pending();
        if pending.is_empty() {
            return Some(pending.waker.replace(new));
        }
        drop(pending);
        None
    }

    /// Returns whether no entry has come since [`begin_sleep_with`](Self::begin_sleep_with).
    pub(crate) fn is_announced(&self) -> bool {
        self.pending().waker.is_some()
    }

    /// Closes the queue: refuses all later pushes for the run that used it. No thread rings the bell after the call. Returns the contents, whose
    /// drop is user code: it drops closures of tasks, and a waker.
    pub(crate) fn close(&self) -> impl Sized + use<> {
        let mut pending = self.pending();
        let contents = std::mem::take(&mut *pending);
        self.run.store(0, Ordering::Relaxed);
        self.flag.store(false, Ordering::Release);
        drop(pending);
        self.wait_for_ringers();
        contents
    }

    /// Waits until no thread rings a bell that it took before [`end_sleep`](Self::end_sleep) or `close`. It is in a system call that does not
    /// block.
    pub(crate) fn wait_for_ringers(&self) {
        while self.ringing.load(Ordering::Acquire) > 0 {
            yield_now();
        }
    }
}
