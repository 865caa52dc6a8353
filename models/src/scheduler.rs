// Stubs for the rest of the scheduler: each thread has a remote queue, and may have a run.

pub use self::wake::{Holder, WaitSpec};

/// A worker, reduced to the run number that the biased lock needs.
pub struct Worker(u64);

impl Worker {
    pub fn run(&self) -> u64 {
        self.0
    }

    pub fn wake(&self, waiter: wake::WakeHandle) {
        waiter.wake();
    }
}

/// Returns the number of this thread's run; 0 without one.
pub fn current_run() -> u64 {
    worker().map_or(0, Worker::run)
}

/// Returns the worker of this thread, if the model gave it a run.
pub fn worker() -> Option<&'static Worker> {
    wake::ME.with(|me| me.has_run.get().then(|| &*Box::leak(Box::new(Worker(me.open.run())))))
}

pub mod event_loop {
    /// A callback that a worker holds. The models use none.
    #[derive(Clone, Copy, PartialEq)]
    pub struct Held;

    impl Held {
        pub fn release(self) {}

        pub fn discard(self) -> bool {
            false
        }
    }
}

pub mod spin {
    /// A spin only delays the sleep.
    pub struct Spin;

    impl Spin {
        pub fn new() -> Spin {
            Spin
        }

        pub fn wait(&self, _: impl Fn() -> bool) -> bool {
            false
        }
    }
}

pub mod handshake {
    // The fallback without membarrier(2) is not modelled.
    pub fn register(_: &super::Worker) {}

    pub fn ask(_owner: u64) {}
}

pub mod wake {
    use super::remote::{RemoteQueue, RemoteReceiver};
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use std::cell::{Cell, RefCell};

    pub struct Me {
        pub open: RemoteReceiver,
        pub has_run: Cell<bool>,
        pub cancelled: RefCell<Option<Arc<AtomicBool>>>,
    }

    loom::thread_local! {
        pub static ME: Me = Me { open: RemoteReceiver::new(), has_run: Cell::new(false), cancelled: RefCell::new(None) };
    }

    #[derive(Clone, Copy)]
    pub struct WakeHandle {
        queue: &'static RemoteQueue,
        run: u64,
    }

    impl WakeHandle {
        pub fn current() -> WakeHandle {
            ME.with(|me| WakeHandle { queue: me.open.queue(), run: me.open.run() })
        }

        pub fn put_current(place: &mut Option<WakeHandle>) {
            *place = Some(WakeHandle::current());
        }

        pub fn put_current_of(_: Option<&super::Worker>, place: &mut Option<WakeHandle>) {
            *place = Some(WakeHandle::current());
        }

        pub fn wake(&self) -> bool {
            self.queue.notify(self.run)
        }

        pub fn is_gone(&self) -> bool {
            false
        }

        pub fn is_here(&self) -> bool {
            ME.with(|me| me.has_run.get() && me.open.run() == self.run)
        }
    }

    pub enum Place<'a> {
        Out,
        Here(&'a super::Worker, WakeHandle),
        Elsewhere,
    }

    #[derive(Clone, Copy)]
    pub struct WaitSpec {
        pub reason: &'static str,
        pub external: bool,
        pub uncancellable: bool,
        pub holder: *const Holder,
    }

    impl WaitSpec {
        pub const DEFAULT: WaitSpec = WaitSpec { reason: "", external: false, uncancellable: false, holder: std::ptr::null() };
    }

    /// The holder of a lock, used only in reports.
    pub struct Holder;

    impl Holder {
        pub fn none() -> Holder {
            Holder
        }

        pub fn set(&self, _: WakeHandle) {}

        pub fn clear(&self) {}

        pub fn is_in(&self, _: u64) -> bool {
            false
        }

        pub fn set_current(&self) {}

        pub fn set_task_of(&self, _: Option<&super::Worker>) {}

        pub fn set_task(&self, _: &super::Worker, _: u64) {}
    }

    /// Sleeps until a remote wake arrives.
    pub fn block() {
        ME.with(|me| {
            me.open.sleep(None);
            me.open.take();
        });
    }

    pub fn is_cancelled() -> bool {
        ME.with(|me| me.cancelled.borrow().as_ref().is_some_and(|flag| flag.load(Ordering::Acquire)))
    }

    /// Cancels the current or the next wait of a thread.
    pub struct Canceller {
        flag: Arc<AtomicBool>,
        waker: WakeHandle,
    }

    impl Canceller {
        pub fn of_this_thread() -> Canceller {
            let flag = Arc::new(AtomicBool::new(false));
            ME.with(|me| *me.cancelled.borrow_mut() = Some(Arc::clone(&flag)));
            Canceller { flag, waker: WakeHandle::current() }
        }

        pub fn cancel(&self) {
            self.flag.store(true, Ordering::Release);
            let _ = self.waker.wake();
        }
    }
}
