//! Waits inside a callback of C code: the claims of the guide's page `c_callbacks`, with the `qsort` of libc.

mod common;

use cede::sync::channel;
use cede::{Generator, Yielder};
use common::child::in_child;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::time::Duration;

type Compare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

/// Compares two elements of the array of [`sort`].
///
/// # Safety
///
/// The pointers are those that `qsort` passes.
unsafe fn order(a: *const c_void, b: *const c_void) -> c_int {
    // SAFETY: the caller ensures that both point to elements of the array, which are `u32`s and alive during the sort.
    let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
    a.cmp(&b) as c_int
}

/// Sorts a hundred numbers by `qsort`, and returns whether they are in order.
fn sort(compare: Compare) -> bool {
    let mut numbers: Vec<u32> = (0..100).map(|n| n * 37 % 100).collect();
    // SAFETY: the pointer and the sizes are those of the vector, which is alive during the call; `compare` only reads its elements.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<u32>(), Some(compare)) };
    numbers.is_sorted()
}

unsafe extern "C" fn compare_and_yield(a: *const c_void, b: *const c_void) -> c_int {
    cede::yield_now();
    // SAFETY: qsort passes pointers to two elements.
    unsafe { order(a, b) }
}

#[test]
fn sorts_that_yield_in_callbacks_interleave() {
    cede::run(|| {
        let mut tasks: Vec<_> = (0..3).map(|_| cede::spawn(|| sort(compare_and_yield))).collect();
        // Each has begun, and none has ended.
        common::rounds(10);
        assert!(tasks.iter().all(|task| !task.is_finished()));
        assert!(tasks.iter_mut().all(|task| task.join().unwrap()));
    });
}

thread_local! {
    static FAILED_WAITS: Cell<u32> = const { Cell::new(0) };
}

unsafe extern "C" fn compare_and_sleep(a: *const c_void, b: *const c_void) -> c_int {
    if cede::time::sleep(Duration::from_secs(3600)).is_err() {
        FAILED_WAITS.set(FAILED_WAITS.get() + 1);
    }
    // SAFETY: qsort passes pointers to two elements.
    unsafe { order(a, b) }
}

/// Each comparison after the cancel returns at once, so the C code ends as usual.
#[test]
fn cancel_in_a_callback_lets_the_sort_end() {
    cede::run(|| {
        let mut task = cede::spawn(|| sort(compare_and_sleep));
        cede::yield_now();
        task.cancel();
        assert!(task.join().unwrap());
        assert!(FAILED_WAITS.get() >= 99, "{} waits ended by the cancel", FAILED_WAITS.get());
    });
}

unsafe extern "C" fn compare_in_shield(a: *const c_void, b: *const c_void) -> c_int {
    let _ = cede::shield(|| cede::time::sleep(Duration::from_secs(3600)));
    // SAFETY: qsort passes pointers to two elements.
    unsafe { order(a, b) }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn forced_unwind_in_a_callback_aborts() {
    let text = in_child("forced_unwind_in_a_callback_aborts", || {
        let _ = cede::Config::new().shutdown_grace(Duration::from_millis(10)).run(|| {
            drop(cede::spawn(|| sort(compare_in_shield)));
            cede::yield_now();
        });
    });
    assert!(text.contains("panic in a function that cannot unwind"), "{text}");
    assert!(text.ends_with("exit code None"), "{text}");
}

#[test]
fn forbidden_wait_in_a_callback_aborts() {
    let text = in_child("forbidden_wait_in_a_callback_aborts", || {
        cede::run(|| cede::no_suspend(|| sort(compare_and_yield)));
    });
    let places = text.matches("tests/c_callbacks.rs:").count();
    assert!(text.contains("cannot wait or yield inside a no_suspend section") && places >= 2, "{text}");
    assert!(text.ends_with("exit code None"), "{text}");
}

thread_local! {
    /// The yielder of the generator whose body sorts. Null after the first error.
    static YIELDER: Cell<*const Yielder<u32>> = const { Cell::new(std::ptr::null()) };
}

unsafe extern "C" fn compare_and_try(a: *const c_void, b: *const c_void) -> c_int {
    // SAFETY: `generator` stores a pointer to its yielder, which is alive while its body runs, and only its body calls this.
    if let Some(yielder) = unsafe { YIELDER.get().as_ref() }
        && yielder.try_yield(1).is_err()
    {
        YIELDER.set(std::ptr::null());
    }
    // SAFETY: qsort passes pointers to two elements.
    unsafe { order(a, b) }
}

unsafe extern "C" fn compare_and_give(a: *const c_void, b: *const c_void) -> c_int {
    // SAFETY: as in `compare_and_try`.
    if let Some(yielder) = unsafe { YIELDER.get().as_ref() } {
        yielder.yield_(1);
    }
    // SAFETY: qsort passes pointers to two elements.
    unsafe { order(a, b) }
}

/// A generator that yields at each comparison of its sort.
fn generator(compare: Compare) -> Generator<u32, (), bool> {
    Generator::new(move |y: &Yielder<u32>| {
        YIELDER.set(y);
        sort(compare)
    })
}

#[test]
fn generator_closed_in_a_callback_ends_its_sort() {
    let mut sorting = generator(compare_and_try);
    assert_eq!((sorting.next(), sorting.next()), (Some(1), Some(1)));
    assert_eq!(sorting.close().unwrap(), Some(true));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_dropped_in_a_callback_aborts() {
    let text = in_child("generator_dropped_in_a_callback_aborts", || {
        let mut sorting = generator(compare_and_give);
        assert_eq!(sorting.next(), Some(1));
        drop(sorting);
    });
    assert!(text.contains("panic in a function that cannot unwind"), "{text}");
    assert!(text.ends_with("exit code None"), "{text}");
}

/// The library's thread is in no run: there a `spawn` and a `sleep` panic, and a receive blocks the thread.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn callback_on_another_thread_is_in_no_run() {
    let (requests, receiver) = channel::unbounded();
    let (replies, answers) = channel::unbounded();
    let thread = std::thread::spawn(move || {
        let no_spawn = common::panic_text(common::caught(|| cede::spawn(|| ())));
        let no_sleep = common::panic_text(common::caught(|| cede::time::sleep(Duration::from_millis(1))));
        replies.send([no_spawn, no_sleep]).unwrap();
        receiver.recv().unwrap()
    });
    cede::run(|| {
        let refused = answers.recv().unwrap();
        assert!(refused.iter().all(|text| text.contains("outside of a run")), "{refused:?}");
        cede::time::sleep(Duration::from_millis(20)).unwrap();
        requests.send("a request").unwrap();
    });
    assert_eq!(thread.join().unwrap(), "a request");
}
