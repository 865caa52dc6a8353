//! The poll of a fiber keeps the generators around it from being suspended, wherever the fiber was polled before: the library remembers from
//! which stack a thread polled last.

mod common;

use cede::bridge::Fiber;
use cede::{Builder, Generator, Yielder, block_on, fiber};
use common::caught;
use common::executor::{block, poll};
use common::futures::self_waking;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;

thread_local! {
    static LENT: Cell<Option<*const Yielder<u32>>> = const { Cell::new(None) };
}

/// Calls `f` while the yielder is lent to all code of the thread, as a crate for scoped thread-locals does.
fn lend<R>(y: &Yielder<u32>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<*const Yielder<u32>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LENT.set(self.0);
        }
    }
    let _restore = Restore(LENT.replace(Some(y)));
    f()
}

/// A fiber that tries to suspend the generator that polls it, in each poll but the first.
struct Trier {
    fiber: RefCell<Fiber<()>>,
    /// Whether each attempt was refused.
    refused: Rc<RefCell<Vec<bool>>>,
}

impl Trier {
    fn new() -> Rc<Trier> {
        let refused = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&refused);
        let body = move || {
            while block_on(self_waking(1)).is_ok() {
                if let Some(lent) = LENT.get() {
                    // SAFETY: `lend` has not returned, so the yielder is alive.
                    let tried = caught(|| unsafe { &*lent }.yield_(1));
                    log.borrow_mut().push(tried.is_err());
                }
            }
        };
        Rc::new(Trier { fiber: RefCell::new(fiber(body)), refused })
    }

    fn poll(&self) {
        assert!(poll(&mut *self.fiber.borrow_mut()).is_pending());
    }
}

/// Returns a generator that polls the fiber for each item, with its yielder lent.
fn poller(builder: Builder, trier: &Rc<Trier>) -> Generator<u32> {
    let trier = Rc::clone(trier);
    let body = move |y: &Yielder<u32>| {
        loop {
            lend(y, || trier.poll());
            y.yield_(address());
        }
    };
    builder.generator(body).unwrap()
}

/// Returns the number of the 256 KiB in which the stack pointer is.
fn address() -> u32 {
    let local = 0u8;
    (std::hint::black_box(&raw const local).addr() >> 18) as u32
}

/// Polls one fiber from the caller's stack and from those of generators, by turns. Returns whether each generator refused to be suspended.
fn by_turns(builder: impl Fn(usize) -> Builder) -> Vec<bool> {
    let trier = Trier::new();
    trier.poll();
    for round in 0..4 {
        let mut generator = poller(builder(round), &trier);
        for _ in 0..2 {
            trier.poll();
            generator.next();
            trier.poll();
        }
    }
    trier.refused.take()
}

fn plain(_: usize) -> Builder {
    Builder::new()
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn poll_outside_then_in_generator() {
    assert_eq!(by_turns(plain), [true; 8]);
    assert_eq!(cede::run(|| by_turns(plain)), [true; 8]);
    assert_eq!(cede::run(|| cede::spawn(|| by_turns(plain)).join().unwrap()), [true; 8]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn poll_in_fiber_then_in_generator() {
    assert_eq!(block(fiber(|| by_turns(plain))), [true; 8]);
    let nested = fiber(|| {
        let outer = by_turns(plain);
        (block_on(fiber(|| by_turns(plain))).unwrap(), outer)
    });
    assert_eq!(block(nested), (vec![true; 8], vec![true; 8]));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generators_on_new_mappings() {
    // Each size is new, so its stacks are in a mapping that was not there when the fiber was polled before. The stack of the thread is newer than
    // that of the fiber, and the system places mappings downwards: so the next ones are beside the thread's stack, with no stack of the
    // library between.
    by_turns(plain);
    let builder = |round| Builder::new().stack_size((33 + round) * 16 * 1024);
    let thread = thread::Builder::new().stack_size(24 << 20).spawn(move || by_turns(builder));
    assert_eq!(thread.unwrap().join().unwrap(), [true; 8]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
#[cfg_attr(feature = "asan", ignore = "the sanitizer moves variables to the heap")]
fn generator_on_the_pollers_stack() {
    let reuses = thread::spawn(|| {
        let trier = Trier::new();
        let again = Rc::clone(&trier);
        // A fiber polls and ends. The generator has its stack.
        let place = block(fiber(move || {
            again.poll();
            again.poll();
            address()
        }));
        let mut generator = poller(Builder::new().stack_size(256 * 1024), &trier);
        let found = generator.next().unwrap();
        assert_eq!(trier.refused.take(), [true]);
        found.abs_diff(place) <= 1
    });
    assert!(reuses.join().unwrap(), "the generator has another stack");
    // A task polls and ends.
    let refused = thread::spawn(|| {
        let trier = Trier::new();
        cede::run(|| {
            let again = Rc::clone(&trier);
            cede::spawn(move || again.poll()).join().unwrap();
            let mut generators: Vec<_> = (0..4).map(|_| poller(Builder::new(), &trier)).collect();
            generators.iter_mut().for_each(|generator| assert!(generator.next().is_some()));
        });
        trier.refused.take()
    });
    assert_eq!(refused.join().unwrap(), [true; 4]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn threads_poll_by_turns() {
    // What one thread has seen says nothing about another.
    let trier = Trier::new();
    trier.poll();
    for _ in 0..4 {
        trier.poll();
        assert_eq!(thread::spawn(|| by_turns(plain)).join().unwrap(), [true; 8]);
        let mut generator = poller(Builder::new(), &trier);
        generator.next();
        trier.poll();
    }
    assert_eq!(trier.refused.take(), [true; 4]);
}
