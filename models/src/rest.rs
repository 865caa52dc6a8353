// Stubs for the rest of the library.

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
        unreachable!("the models use no deadlines")
    }
}

/// A replacement for `std::sync::OnceLock` made from loom's types: loom has none.
pub mod once {
    use loom::sync::Mutex;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use std::cell::UnsafeCell;

    pub struct OnceLock<T> {
        is_set: AtomicBool,
        setting: Mutex<()>,
        value: UnsafeCell<Option<T>>,
    }

    // SAFETY: `set` writes the value once, with `setting` locked and before the release store to `is_set`. `get` reads it only
    // after an acquire load of `is_set`.
    unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

    impl<T> OnceLock<T> {
        pub fn new() -> OnceLock<T> {
            OnceLock { is_set: AtomicBool::new(false), setting: Mutex::new(()), value: UnsafeCell::new(None) }
        }

        pub fn get(&self) -> Option<&T> {
            // SAFETY: the value was written before `is_set` and is never written again.
            if self.is_set.load(Ordering::Acquire) { unsafe { (*self.value.get()).as_ref() } } else { None }
        }

        pub fn set(&self, value: T) -> Result<(), T> {
            let _setting = self.setting.lock().unwrap();
            if self.is_set.load(Ordering::Acquire) {
                return Err(value);
            }
            // SAFETY: readers wait for `is_set`, and `setting` excludes other writers.
            unsafe { *self.value.get() = Some(value) };
            self.is_set.store(true, Ordering::Release);
            Ok(())
        }
    }
}
