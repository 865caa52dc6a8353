// What stands in for the rest of the library.

pub mod wait {
    pub use crate::scheduler::lock;
}

pub mod task {
    pub mod wait {
        use crate::scheduler::wake::{WaitSpec, block, is_cancelled};

        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        #[error("cancelled")]
        pub struct Cancelled;

        pub fn wait_anywhere(_: WaitSpec, _: Option<std::time::Instant>) -> Result<(), ()> {
            if is_cancelled() {
                return Err(());
            }
            block();
            if is_cancelled() { Err(()) } else { Ok(()) }
        }

        pub fn consume_budget() {}

        pub fn consume_budget_of(_: Option<&crate::scheduler::Worker>) {}

        pub fn is_out(waker: &crate::scheduler::wake::WakeHandle) -> bool {
            waker.is_gone()
        }
    }
}

pub mod time {
    pub fn now() -> std::time::Instant {
        unreachable!("nobody has a deadline in a model")
    }
}

/// The standard library's cell for one value, of loom's parts: loom has none.
pub mod once {
    use loom::sync::Mutex;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use std::cell::UnsafeCell;

    pub struct OnceLock<T> {
        is_set: AtomicBool,
        setting: Mutex<()>,
        value: UnsafeCell<Option<T>>,
    }

    // SAFETY: the value is written once, under the lock and before `is_set`, and only read after that.
    unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

    impl<T> OnceLock<T> {
        pub fn new() -> OnceLock<T> {
            OnceLock { is_set: AtomicBool::new(false), setting: Mutex::new(()), value: UnsafeCell::new(None) }
        }

        pub fn get(&self) -> Option<&T> {
            // SAFETY: written before `is_set`, and never again.
            if self.is_set.load(Ordering::Acquire) { unsafe { (*self.value.get()).as_ref() } } else { None }
        }

        pub fn set(&self, value: T) -> Result<(), T> {
            let _setting = self.setting.lock().unwrap();
            if self.is_set.load(Ordering::Acquire) {
                return Err(value);
            }
            // SAFETY: nobody reads it before `is_set`, and the lock is held.
            unsafe { *self.value.get() = Some(value) };
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }
    }
}
