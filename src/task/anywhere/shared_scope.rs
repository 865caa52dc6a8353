//! The state of a scope whose tasks run on several workers: one part that all of them share, and one part on each worker.

use super::count::Count;
use crate::coroutine::chain::Kind as SectionKind;
use crate::coroutine::raw::Payload;
use crate::scheduler::crew::Crew;
use crate::scheduler::tcb::{EndListener, ScopeLink, Tcb};
use crate::scheduler::tcb_ext::LimitKind;
use crate::scheduler::{Task, Worker, flags, worker};
use crate::task::JoinError;
use crate::task::scope::Failure;
use crate::wait::WakeHandle;
use crate::wait::limits::OpenLimit;
use std::cell::{Cell, RefCell};
use std::ptr::null;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

/// The part of a scope that its tasks share. It outlives the scope if a cancel is still on its way to a worker.
pub(super) struct SharedScope {
    pub(super) crew: Arc<Crew>,
    pub(super) count: Count,
    cancelled: AtomicBool,
    /// The panics of tasks that were not joined.
    failures: Mutex<Vec<Failure>>,
}

impl SharedScope {
    /// Creates the state of a scope that the running task of `worker` opens.
    pub(super) fn new(worker: &Worker) -> Arc<SharedScope> {
        Arc::new(SharedScope {
            crew: Arc::clone(worker.member().crew()),
            count: Count::new(WakeHandle::of(worker, worker.current())),
            cancelled: AtomicBool::new(false),
            failures: Mutex::default(),
        })
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(SeqCst)
    }

    /// Cancels the tasks on all workers, and ends the waits of the scope's closure. Has an effect once.
    pub(super) fn cancel(self: &Arc<Self>) {
        if self.cancelled.swap(true, SeqCst) {
            return;
        }
        // A task that starts from now on sees the flag, or is in the list of its worker before the call comes there.
        let own = worker().filter(|worker| worker.is_member_of(&self.crew));
        let number = own.map(|worker| worker.member().number());
        if let Some(worker) = own {
            LocalScope::cancel_on(worker, self);
        }
        let shared = Arc::clone(self);
        self.crew.call_others(number.unwrap_or(usize::MAX), move || {
            if let Some(worker) = worker() {
                LocalScope::cancel_on(worker, &shared);
            }
        });
    }

    /// Records the panic of a task that was not joined.
    pub(super) fn add_failure(&self, task: Task, payload: Payload) {
        let failure = Failure { task, error: JoinError::Panicked(payload) };
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    pub(super) fn take_failures(&self) -> Vec<Failure> {
        std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the key of the scope among the scopes of a worker.
    fn key(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }
}

/// The part of a scope on one worker: exists while the worker has tasks of the scope, or is that of the scope's closure.
pub(super) struct LocalScope {
    shared: Arc<SharedScope>,
    /// The started tasks of this worker that have not ended. Each TCB stores the index of its task.
    children: RefCell<Vec<*const Tcb>>,
    /// On the worker of the scope's closure: the limit that ends the closure's waits when the scope is cancelled, and its flag.
    body: RefCell<Option<(OpenLimit, Rc<Cell<bool>>)>>,
}

impl LocalScope {
    /// Opens the limit around the closure of the scope, which the running task calls. `close` ends it.
    #[track_caller]
    pub(super) fn open(worker: &Worker, shared: &Arc<SharedScope>) -> Rc<LocalScope> {
        let cancelled: Rc<Cell<bool>> = Rc::default();
        let limit = OpenLimit::new(worker, SectionKind::Scope, LimitKind::Scope(Rc::clone(&cancelled)));
        let local = LocalScope::of(worker, shared);
        local.body.replace(Some((limit, cancelled)));
        local
    }

    /// Closes the limit, after the last task has ended.
    pub(super) fn close(&self, worker: &Worker) {
        let body = self.body.take();
        drop(body);
        self.remove_unused(worker);
    }

    /// Returns the part of the scope on this worker.
    fn of(worker: &Worker, shared: &Arc<SharedScope>) -> Rc<LocalScope> {
        let mut scopes = worker.member().scopes().borrow_mut();
        let known = scopes.get(&shared.key()).and_then(|known| Rc::downcast(Rc::clone(known)).ok());
        known.unwrap_or_else(|| {
            let local = Rc::new(LocalScope {
                shared: Arc::clone(shared),
                children: RefCell::default(),
                body: RefCell::default(),
            });
            scopes.insert(shared.key(), Rc::clone(&local) as _);
            local
        })
    }

    fn remove_unused(&self, worker: &Worker) {
        if self.children.borrow().is_empty() && self.body.borrow().is_none() {
            // Dropped outside of the borrow. `finish` or `scope_anywhere` still holds this part.
            let removed = worker.member().scopes().borrow_mut().remove(&self.shared.key());
            drop(removed);
        }
    }

    /// Makes a task that is about to start on this worker a task of the scope.
    pub(super) fn adopt(worker: &Worker, shared: &Arc<SharedScope>, tcb: &Tcb) {
        let local = LocalScope::of(worker, shared);
        let mut children = local.children.borrow_mut();
        let index = u32::try_from(children.len()).expect("a scope has fewer than 2^32 tasks");
        children.push(tcb);
        tcb.join_scope(Rc::clone(&local) as Rc<dyn ScopeLink>, index);
        if shared.is_cancelled() {
            tcb.add_flags(flags::CANCELLED);
        }
    }

    /// Cancels the tasks of this worker, and ends the waits of the scope's closure if that runs here.
    fn cancel_on(worker: &Worker, shared: &Arc<SharedScope>) {
        let known = worker.member().scopes().borrow().get(&shared.key()).cloned();
        let Some(local) = known.and_then(|known| known.downcast::<LocalScope>().ok()) else { return };
        for &child in local.children.borrow().iter() {
            // SAFETY: `child` has not ended. `start::finish` frees a TCB and removes the task from `children` without running other
            // code in between, so the TCB is allocated. It belongs to this worker, whose thread calls.
            let child = unsafe { &*child };
            worker.cancel(child);
        }
        if let Some((limit, cancelled)) = &*local.body.borrow() {
            cancelled.set(true);
            limit.recheck_wait(worker);
        }
    }
}

impl EndListener for LocalScope {
    fn ended(&self, index: u32, panicked: bool) -> *const Tcb {
        let mut children = self.children.borrow_mut();
        children.swap_remove(index as usize);
        if let Some(&moved) = children.get(index as usize) {
            // SAFETY: as in `cancel_on`: `moved` has not ended, so its TCB is allocated.
            let moved = unsafe { &*moved };
            moved.move_in_scope(index);
        }
        drop(children);
        if let Some(worker) = worker() {
            self.remove_unused(worker);
        }
        if panicked {
            self.shared.cancel();
        }
        // The last step: when no task is left, what this task borrowed may be freed.
        self.shared.count.leave_after(|| ());
        null()
    }
}

impl ScopeLink for LocalScope {
    fn failed(&self, tcb: &Tcb, payload: Payload) {
        self.shared.add_failure(Task::of(tcb), payload);
    }
}
