//! Coroutines: resuming, suspending, the end of bodies, and refused calls.

mod common;

use cede::{Builder, Coroutine, CoroutineState, State, Suspender, scoped};
use common::panic_text;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Counts its drops.
struct Counts(Rc<Cell<u32>>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn values_go_in_and_out() {
    let mut c = Coroutine::new(|s: &Suspender<u32, String>, first| {
        let second = s.suspend(format!("got {first}"));
        let third = s.suspend(format!("got {second}"));
        first + second + third
    });
    assert_eq!(c.state(), State::Created);
    assert_eq!(c.resume(1), CoroutineState::Yielded("got 1".into()));
    assert_eq!(c.state(), State::Suspended);
    assert_eq!(c.resume(2), CoroutineState::Yielded("got 2".into()));
    assert_eq!(c.resume(3), CoroutineState::Complete(6));
    assert!(c.is_finished());
}

#[test]
fn values_of_any_size_and_alignment_cross() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(128))]
    struct Wide([u8; 300]);
    let mut c = Coroutine::new(|s: &Suspender<Wide, Wide>, mut wide: Wide| {
        for _ in 0..3 {
            assert_eq!(&raw const wide as usize % 128, 0);
            wide.0[0] += 1;
            wide = s.suspend(wide);
        }
        wide
    });
    let mut wide = Wide([9; 300]);
    for _ in 0..3 {
        let CoroutineState::Yielded(next) = c.resume(wide) else { panic!("ended early") };
        assert_eq!(next.0[0], wide.0[0] + 1);
        wide = next;
    }
    assert_eq!(c.resume(wide), CoroutineState::Complete(wide));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn inputs_are_dropped_exactly_once() {
    let drops = Rc::new(Cell::new(0));
    let mut c = Coroutine::new(|s: &Suspender<Counts, ()>, first| {
        drop(first);
        let _kept = s.suspend(());
        s.suspend(());
    });
    c.resume(Counts(Rc::clone(&drops)));
    assert_eq!(drops.get(), 1);
    c.resume(Counts(Rc::clone(&drops)));
    assert_eq!(drops.get(), 1);
    drop(c);
    assert_eq!(drops.get(), 2);
}

#[test]
fn the_stack_is_aligned_and_holds_what_asks_for_more() {
    #[inline(never)]
    fn aligned<const N: usize>() -> usize
    where
        Aligned<N>: Align,
    {
        let value = <Aligned<N> as Align>::default();
        std::hint::black_box(&value) as *const _ as usize % N
    }
    struct Aligned<const N: usize>;
    trait Align {
        type T;
        fn default() -> Self::T;
    }
    macro_rules! align {
        ($($n:literal $T:ident)*) => { $(
            #[repr(align($n))]
            struct $T(#[expect(dead_code, reason = "only its place matters")] u8);
            impl Align for Aligned<$n> { type T = $T; fn default() -> $T { $T(0) } }
        )* };
    }
    align!(16 A16 64 A64 4096 A4096);
    for _ in 0..40 {
        // Every offset at which tops of stacks are staggered.
        let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| (aligned::<16>(), aligned::<64>(), aligned::<4096>()));
        assert_eq!(c.resume(()), CoroutineState::Complete((0, 0, 0)));
        std::mem::forget(c);
    }
}

#[test]
fn closures_of_any_size_and_alignment_run_once() {
    #[repr(align(256))]
    struct Aligned(u8);
    let drops = Rc::new(Cell::new(0));
    let (large, aligned, counts) = ([7u8; 30_000], Aligned(3), Counts(Rc::clone(&drops)));
    let mut c = Builder::new()
        .stack_size(256 * 1024)
        .coroutine(move |_: &Suspender<(), ()>, ()| {
            let (large, aligned, _counts) = (large, aligned, counts);
            assert_eq!(&raw const aligned as usize % 256, 0);
            large.iter().map(|&n| u32::from(n)).sum::<u32>() + u32::from(aligned.0)
        })
        .unwrap();
    assert_eq!(c.resume(()), CoroutineState::Complete(210_003));
    assert_eq!(drops.get(), 1);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn resuming_a_finished_coroutine_panics_with_its_name() {
    let mut c = Builder::new().name("grep").coroutine(|_: &Suspender<(), ()>, ()| ()).unwrap();
    c.resume(());
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| c.resume(()))));
    assert_eq!(text, "cannot resume coroutine 'grep': it has finished");
    let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| ());
    c.resume(());
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| c.resume(()))));
    assert_eq!(text, "cannot resume an unnamed coroutine: it has finished");
}

#[test]
fn names_and_states_show_in_debug() {
    let c = Builder::new().name("x").coroutine(|_: &Suspender<(), ()>, ()| ()).unwrap();
    assert_eq!(c.name(), Some("x"));
    assert_eq!(format!("{c:?}"), r#"coroutine { name: Some("x"), state: Created, .. }"#);
    let owned = Builder::new().name("y".repeat(3)).coroutine(|_: &Suspender<(), ()>, ()| ()).unwrap();
    assert_eq!(owned.name(), Some("yyy"));
    drop(c);
    assert_eq!(Coroutine::new(|_: &Suspender<(), ()>, ()| ()).name(), None, "names do not stay with the stack");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn dropping_a_suspended_coroutine_runs_destructors_once() {
    let drops = Rc::new(Cell::new(0));
    let inner = Rc::clone(&drops);
    let mut c = Coroutine::new(move |s: &Suspender<(), ()>, ()| {
        let _a = Counts(Rc::clone(&inner));
        let _b = Counts(inner);
        s.suspend(());
        unreachable!("dropped");
    });
    c.resume(());
    drop(c);
    assert_eq!(drops.get(), 2);
}

#[test]
fn forgotten_coroutine_keeps_its_stack() {
    // Borrows of a forgotten stack must find it unchanged, no matter how many coroutines are made afterwards.
    let place: Rc<Cell<*const [u64; 64]>> = Rc::new(Cell::new(std::ptr::null()));
    let inner = Rc::clone(&place);
    let mut c = Coroutine::new(move |s: &Suspender<(), ()>, ()| {
        let pattern = [0x5eed_5eed_5eed_5eedu64; 64];
        inner.set(std::hint::black_box(&pattern));
        s.suspend(());
        std::hint::black_box(&pattern);
    });
    c.resume(());
    std::mem::forget(c);
    for _ in 0..10_000 {
        let mut c = Coroutine::new(|s: &Suspender<(), ()>, ()| {
            std::hint::black_box([0u8; 2000]);
            s.suspend(());
        });
        c.resume(());
    }
    cede::stack::trim();
    // SAFETY: the stack was forgotten while its body was suspended in the frame that holds the array.
    assert_eq!(unsafe { *place.get() }, [0x5eed_5eed_5eed_5eed; 64]);
}

/// A body that catches its unwinding and suspends again is abandoned after one try: its stack is leaked.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d1_body_swallowing_its_unwinding_is_abandoned_after_one_try() {
    let leaves_its_stack = || {
        let tries = Rc::new(Cell::new(0));
        let inner = Rc::clone(&tries);
        let live = cede::stack::stats().live;
        let mut c = Coroutine::new(move |s: &Suspender<(), ()>, ()| {
            loop {
                let _ = catch_unwind(AssertUnwindSafe(|| s.suspend(())));
                inner.set(inner.get() + 1);
            }
        });
        c.resume(());
        drop(c);
        assert_eq!(tries.get(), 1);
        cede::stack::stats().live > live
    };
    // Other tests of this process also give stacks back, but stop at some time.
    assert!((0..100).any(|_| leaves_its_stack()), "its stack is never used again");
}

#[test]
fn d1_a_body_that_swallows_the_unwinding_and_returns_is_done() {
    let mut c = Coroutine::new(|s: &Suspender<(), ()>, ()| {
        let _ = catch_unwind(AssertUnwindSafe(|| s.suspend(())));
        Counts(Rc::default())
    });
    c.resume(());
    drop(c);
}

/// Unwinding a body poisons the std mutexes whose guards it drops and no other mutex. A body that ends by value poisons
/// none.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d2_d3_unwinding_poisons_only_the_mutexes_that_it_passes() {
    let paused_with = |by_value: bool| {
        let mutex = Rc::new(std::sync::Mutex::new(()));
        let inner = Rc::clone(&mutex);
        let mut g = cede::Generator::new(move |y: &cede::Yielder<u32>| {
            let _guard = inner.lock();
            if by_value {
                let _ = y.try_yield(1);
            } else {
                y.yield_(1);
            }
        });
        g.next();
        let bystander = std::sync::Mutex::new(());
        let guard = bystander.lock();
        drop(g);
        drop(guard);
        assert!(!bystander.is_poisoned());
        mutex.is_poisoned()
    };
    assert!(paused_with(false));
    assert!(!paused_with(true));
    assert!(!std::thread::panicking());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d3_dropping_one_while_panicking_runs_its_destructors_too() {
    let drops = Rc::new(Cell::new(0));
    let inner = Rc::clone(&drops);
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| {
        let mut c = Coroutine::new(move |s: &Suspender<(), ()>, ()| {
            let _counts = Counts(inner);
            s.suspend(());
        });
        c.resume(());
        panic!("consumer");
    })));
    assert_eq!((text.as_str(), drops.get()), ("consumer", 1));
    assert!(!std::thread::panicking());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d5_a_payload_whose_drop_panics_reaches_the_resumer() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("payload dropped");
            }
        }
    }
    let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| resume_unwind(Box::new(Bad)));
    let payload = catch_unwind(AssertUnwindSafe(|| {
        let _: CoroutineState<(), ()> = c.resume(());
    }))
    .unwrap_err();
    assert!(payload.is::<Bad>());
    assert_eq!(panic_text(catch_unwind(AssertUnwindSafe(|| drop(payload)))), "payload dropped");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d5_a_panic_of_a_captures_destructor_comes_out_of_the_drop() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("capture dropped");
        }
    }
    // Other tests of this process also make stacks, but stop at some time.
    let gives_its_stack_back = || {
        let bad = Bad;
        let c = Coroutine::new(move |_: &Suspender<(), ()>, ()| drop(bad));
        let live = cede::stack::stats().live;
        assert_eq!(panic_text(catch_unwind(AssertUnwindSafe(|| drop(c)))), "capture dropped");
        cede::stack::stats().live < live
    };
    assert!((0..1000).any(|_| gives_its_stack_back()));
}

#[test]
fn bodies_may_suspend_from_any_depth_and_nest() {
    fn deep(s: &Suspender<u32, u32>, n: u32) -> u32 {
        if n == 0 { s.suspend(0) } else { deep(s, n - 1) + 1 }
    }
    let mut outer = Coroutine::new(|s: &Suspender<u32, u32>, _| {
        let mut inner = Coroutine::new(|s: &Suspender<u32, u32>, _| deep(s, 10));
        let CoroutineState::Yielded(n) = inner.resume(0) else { panic!() };
        let sent = s.suspend(n + 100);
        inner.resume(sent).complete().unwrap()
    });
    assert_eq!(outer.resume(0), CoroutineState::Yielded(100));
    assert_eq!(outer.resume(5), CoroutineState::Complete(15));
}

#[test]
fn scoped_bodies_borrow_read_and_write() {
    let words = ["a", "b"].map(String::from);
    let mut seen = Vec::new();
    let mut sum = 0;
    let result = scoped(
        |s: &Suspender<u32, &str>, first| {
            sum += first;
            for word in &words {
                sum += s.suspend(word);
            }
            "end"
        },
        |mut c| {
            while let CoroutineState::Yielded(word) = c.resume(10) {
                seen.push(word);
            }
            c.is_finished()
        },
    );
    assert!(result);
    assert_eq!((seen, sum), (vec!["a", "b"], 30));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn scoped_ends_its_body_when_the_caller_returns_or_panics() {
    let log = RefCell::new(Vec::new());
    struct Logs<'a>(&'a RefCell<Vec<&'static str>>, &'static str);
    impl Drop for Logs<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    let body = |text| {
        let log = &log;
        move |s: &Suspender<(), ()>, ()| {
            let _logs = Logs(log, text);
            s.suspend(());
        }
    };
    scoped(body("returned"), |mut c| c.resume(()));
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| {
        scoped(body("panicked"), |mut c| {
            c.resume(());
            panic!("with");
        })
    })));
    scoped(body("never"), |c| assert_eq!(c.state(), State::Created));
    // Forgetting the handle leaks nothing: `scoped` ends the body.
    scoped(body("forgotten"), |mut c| {
        c.resume(());
        Box::leak(Box::new(c));
    });
    assert_eq!(text, "with");
    assert_eq!(*log.borrow(), ["returned", "panicked", "forgotten"]);
}

/// An outer body may suspend from the stack of a coroutine that it resumed. Dropping it there drops the values on both
/// stacks.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn outer_body_suspends_from_an_inner_stack_and_is_dropped() {
    let drops = Rc::new(Cell::new(0));
    for stop in 0..4 {
        let inner = Rc::clone(&drops);
        let mut outer = Coroutine::new(move |outer: &Suspender<(), u32>, ()| {
            let _a = Counts(Rc::clone(&inner));
            scoped(
                |s: &Suspender<(), ()>, ()| {
                    let _b = Counts(Rc::clone(&inner));
                    outer.suspend(1); // from the inner stack
                    s.suspend(());
                    outer.suspend(3);
                },
                |mut c| {
                    c.resume(());
                    outer.suspend(2);
                    c.resume(());
                },
            );
        });
        let mut seen = Vec::new();
        for _ in 0..stop {
            seen.extend(outer.resume(()).yielded());
        }
        assert_eq!(seen, (1..=stop).collect::<Vec<_>>());
        drop(outer);
        // At each stop every live value was dropped, on both stacks.
        assert_eq!(drops.replace(0), if stop == 0 { 0 } else { 2 });
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn suspending_in_an_open_section_is_refused_naming_both() {
    let mut c =
        Builder::new().name("rude").coroutine(|s: &Suspender<(), ()>, ()| cede::no_suspend(|| s.suspend(()))).unwrap();
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| c.resume(()))));
    assert!(text.starts_with("cannot suspend coroutine 'rude' inside a no_suspend section (opened at "), "{text}");
    // A coroutine that lives inside the section is free to suspend to it.
    cede::no_suspend(|| {
        let mut c = Coroutine::new(|s: &Suspender<(), ()>, ()| s.suspend(()));
        c.resume(());
        c.resume(());
    });
}

#[test]
fn backtraces_continue_into_the_resumer() {
    #[inline(never)]
    fn resumes_it(c: &mut Coroutine<(), (), String>) -> String {
        std::hint::black_box(c.resume(()).complete().unwrap())
    }
    let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| std::backtrace::Backtrace::force_capture().to_string());
    let trace = resumes_it(&mut c);
    // With its ASan annotations corosensei's first frame no longer finds its parent.
    assert!(trace.contains("resumes_it") || cfg!(feature = "asan"), "{trace}");
}

#[test]
fn handles_and_closures_with_large_alignments_are_placed_right() {
    #[repr(align(4096))]
    struct Wide(u8);
    let mut c = Builder::new()
        .stack_size(128 * 1024)
        .coroutine(|_: &Suspender<Wide, usize>, wide: Wide| (&raw const wide as usize % 4096) + usize::from(wide.0))
        .unwrap();
    assert_eq!(c.resume(Wide(5)), CoroutineState::Complete(5));
    #[repr(align(256))]
    struct Small(u8);
    let small = Small(3);
    let mut c = Coroutine::new(move |_: &Suspender<(), ()>, ()| {
        let small = small;
        (&raw const small as usize % 256) + usize::from(small.0)
    });
    assert_eq!(c.resume(()), CoroutineState::Complete(3));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn an_unwinding_that_is_thrown_elsewhere_is_a_panic_there() {
    let kept: Rc<Cell<Option<Box<dyn std::any::Any + Send>>>> = Rc::default();
    let inner = Rc::clone(&kept);
    let mut c = Coroutine::new(move |s: &Suspender<(), ()>, ()| {
        inner.set(catch_unwind(AssertUnwindSafe(|| s.suspend(()))).err());
    });
    c.resume(());
    drop(c);
    let payload = kept.take().expect("the body caught its unwinding");
    let mut other = Coroutine::new(move |_: &Suspender<(), ()>, ()| resume_unwind(payload));
    assert!(
        catch_unwind(AssertUnwindSafe(|| {
            let _: CoroutineState<(), ()> = other.resume(());
        }))
        .is_err()
    );
    assert!(other.is_finished());
}
