// Stubs for the rest of the library.

pub mod sys {
    use loom::sync::{Condvar, Mutex};

    loom::lazy_static! {
        /// The only bell: whether it was rung, and whether it is open.
        static ref BELL: (Mutex<(bool, bool)>, Condvar) = (Mutex::new((false, true)), Condvar::new());
    }

    pub fn ring(_: std::os::fd::RawFd) {
        let mut bell = BELL.0.lock().unwrap();
        assert!(bell.1, "a closed bell was rung");
        bell.0 = true;
        drop(bell);
        BELL.1.notify_one();
    }

    /// Sleeps until the bell is rung, as an edge-triggered poller does.
    pub fn poll_bell() {
        let mut bell = BELL.0.lock().unwrap();
        while !std::mem::take(&mut bell.0) {
            bell = BELL.1.wait(bell).unwrap();
        }
    }

    pub fn close_bell() {
        BELL.0.lock().unwrap().1 = false;
    }

    pub fn likely(condition: bool) -> bool {
        condition
    }

    pub mod membarrier {
        // membarrier(2) makes every running thread pass a full fence, somewhere. In the model both sides have their own, at the
        // places that matter, since loom knows of no such thing.
        pub fn asymmetric_light() {
            loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
        }

        pub fn asymmetric_heavy() -> bool {
            loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
            true
        }

        pub fn is_available() -> bool {
            true
        }
    }
}

pub mod time {
    pub fn now() -> std::time::Instant {
        unreachable!("the models use no deadlines")
    }

    loom::lazy_static! {
        /// The clock of the mutex, in microseconds, and the time that passes at each look.
        static ref CLOCK: loom::sync::Mutex<(u32, u32)> = loom::sync::Mutex::new((1, 0));
    }

    /// Sets the time that passes at each look at the clock.
    pub fn set_pace(pace: u32) {
        CLOCK.lock().unwrap().1 = pace;
    }

    pub fn micros() -> u32 {
        let mut clock = CLOCK.lock().unwrap();
        clock.0 += clock.1;
        clock.0
    }
}

/// A replacement for `std::sync::OnceLock` made from loom's types: loom has none.
pub mod once {
    use loom::sync::Mutex;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use std::cell::UnsafeCell;

    /// A replacement for `UnsafeCell`, which fails if two threads access it without an order between them.
    pub struct Tracked<T> {
        value: UnsafeCell<T>,
        accesses: loom::cell::Cell<()>,
    }

    impl<T> Tracked<T> {
        pub fn new(value: T) -> Tracked<T> {
            Tracked { value: UnsafeCell::new(value), accesses: loom::cell::Cell::new(()) }
        }

        pub fn get(&self) -> *mut T {
            self.accesses.set(());
            self.value.get()
        }
    }

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
