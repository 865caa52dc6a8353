//! Fibers inside of fibers, of generators and of wakers, and generators that wander between fibers.

mod common;

use cede::bridge::{Context, Fiber, context};
use cede::sync::channel::bounded;
use cede::{Generator, Yielder, block_on, fiber, yield_now};
use common::executor::{Wakes, all, block, poll, poll_with};
use common::futures::{Flag, self_waking};
use common::{caught, panic_text};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

#[test]
fn fiber_awaits_a_fiber() {
    let body = fiber(|| {
        let inner = fiber(|| {
            block_on(self_waking(1)).unwrap();
            block_on(fiber(|| block_on(self_waking(2)).map(|()| 5))).unwrap()
        });
        let inner = block_on(inner).unwrap();
        block_on(self_waking(1)).unwrap();
        inner.unwrap() + 1
    });
    assert_eq!(block(body), 6);
}

#[test]
fn poll_waits_with_old_waker() {
    // The executor passes a new waker to each poll and drops the old one. The inner waits keep the first `Context` for longer.
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let outer = poll_fn(move |cx| {
        block_on(self_waking(1)).unwrap();
        block_on(self_waking(1)).unwrap();
        cx.waker().wake_by_ref();
        count.set(count.get() + 1);
        if count.get() == 2 { Poll::Ready(7) } else { Poll::Pending }
    });
    let mut body = fiber(move || block_on(outer));
    let mut rounds = 0;
    let output = loop {
        let (wakes, waker) = Wakes::new();
        let polled = poll_with(&mut body, &waker);
        drop(waker);
        match polled {
            Poll::Ready(output) => break output,
            Poll::Pending => assert!(rounds == 2 || wakes.count() == 1, "round {rounds}: {} wakes", wakes.count()),
        }
        rounds += 1;
    };
    assert_eq!((output, polls.get(), rounds), (Ok(7), 2, 5));
}

/// A generator that waits for futures between its items, in and out of a poll.
fn waiting_generator() -> Generator<u32> {
    Generator::new(|y: &Yielder<u32>| {
        let items = async {
            self_waking(1).await;
            y.yield_(1);
            self_waking(1).await;
            y.yield_(2);
            self_waking(1).await;
        };
        block_on(items).unwrap();
        block_on(self_waking(1)).unwrap();
        y.yield_(3);
    })
}

#[test]
fn generator_yields_in_poll() {
    assert_eq!(block(fiber(|| waiting_generator().collect::<Vec<_>>())), [1, 2, 3]);
    assert_eq!(cede::run(|| waiting_generator().collect::<Vec<_>>()), [1, 2, 3]);
}

#[test]
fn generator_wanders_between_fibers() {
    let generator = Rc::new(RefCell::new(waiting_generator()));
    let next = || {
        let generator = Rc::clone(&generator);
        move || generator.borrow_mut().next()
    };
    let mut items = vec![block(fiber(next()))];
    items.push(cede::run(|| cede::spawn(next()).join().unwrap()));
    items.push(block(fiber(next())));
    items.push(block(fiber(next())));
    assert_eq!(items, [Some(1), Some(2), Some(3), None]);
}

#[test]
fn generator_wanders_to_thread() {
    // Suspended in the middle of a poll in a fiber that is gone; goes on where a wait blocks the thread.
    let mut generator = waiting_generator();
    let first = block(fiber(move || {
        let first = generator.next();
        (first, generator)
    }));
    let (first, generator) = first;
    assert_eq!((first, generator.collect::<Vec<_>>()), (Some(1), vec![2, 3]));
}

#[test]
fn generator_wanders_into_run() {
    let mut generator = waiting_generator();
    let body = fiber(move || {
        let mut items = vec![generator.next()];
        items.push(cede::run(|| generator.next()));
        items.push(block_on(fiber(move || generator.next())).unwrap());
        items
    });
    assert_eq!(block(body), [Some(1), Some(2), Some(3)]);
}

#[test]
fn generator_suspended_in_dropped_fiber() {
    let flag = Rc::new(RefCell::new(None));
    let place = Rc::clone(&flag);
    let mut body = fiber(move || {
        *place.borrow_mut() = Some(waiting_generator());
        assert_eq!(place.borrow_mut().as_mut().unwrap().next(), Some(1));
        block_on(pending::<()>()).is_err()
    });
    assert!(poll(&mut body).is_pending());
    assert!(poll(&mut body).is_pending());
    drop(body);
    let mut generator = flag.take().unwrap();
    assert_eq!(block(fiber(move || generator.next())), Some(2));
}

#[test]
fn drop_on_a_generators_stack() {
    // The fiber waits on the stack of a generator inside of it.
    let seen = Rc::new(Cell::new(None));
    let place = Rc::clone(&seen);
    let mut body = fiber(move || {
        let mut generator = Generator::new(move |y: &Yielder<u32>| {
            place.set(Some(block_on(pending::<()>())));
            y.yield_(1);
        });
        assert_eq!(generator.next(), Some(1));
    });
    assert!(poll(&mut body).is_pending());
    drop(body);
    assert_eq!(seen.get(), Some(Err(cede::task::Cancelled)));
}

#[test]
fn generator_polls_a_fiber() {
    let mut generator = Generator::new(|y: &Yielder<u32>| {
        let mut body = fiber(|| {
            block_on(self_waking(1)).unwrap();
            block_on(self_waking(1)).unwrap();
            9
        });
        loop {
            // Suspended between two polls.
            y.yield_(1);
            if let Poll::Ready(output) = poll(&mut body) {
                return y.yield_(output);
            }
        }
    });
    assert_eq!(generator.by_ref().take(2).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(cede::run(|| generator.collect::<Vec<_>>()), [1, 9]);
}

thread_local! {
    static LENT: Cell<Option<*const Yielder<u32>>> = const { Cell::new(None) };
}

/// Lends the yielder to all code that `f` calls, as a crate for scoped thread-locals does.
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

/// Suspends the generator whose yielder is lent.
fn yield_lent(item: u32) {
    let lent = LENT.get().expect("a yielder is lent");
    // SAFETY: `lend` has not returned, so the yielder is alive.
    unsafe { &*lent }.yield_(item);
}

/// Returns the text of the panic of `yield_lent`, called by `calls` in the body of a generator.
fn refusal(calls: impl FnOnce(&dyn Fn()) + 'static) -> String {
    let text = Rc::new(RefCell::new(String::new()));
    let place = Rc::clone(&text);
    let generator = Generator::new(move |y: &Yielder<u32>| {
        lend(y, || calls(&|| *place.borrow_mut() = panic_text(caught(|| yield_lent(1)))));
        y.yield_(2);
    });
    assert_eq!(generator.collect::<Vec<_>>(), [2]);
    text.take()
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn lent_yielder_is_refused() {
    fn polls(body: impl FnOnce() + 'static) {
        assert!(poll(&mut fiber(body)).is_ready());
    }
    let text = panic_text(caught(|| {
        let generator = Generator::new(|y: &Yielder<u32>| lend(y, || polls(|| yield_lent(1))));
        generator.count()
    }));
    assert!(text.starts_with("cannot suspend an unnamed generator inside a fiber poll section"), "{text}");
    // In a task of a run inside the fiber.
    let text = refusal(|yields| {
        // SAFETY: the reference is used until the run below ends, while `yields` is alive.
        let yields: &'static dyn Fn() = unsafe { std::mem::transmute(yields) };
        polls(move || cede::run(|| cede::scope(|s| drop(s.spawn(yields)))).unwrap());
    });
    assert!(text.starts_with("cannot suspend an unnamed generator from another task"), "{text}");
    // The generator can be suspended after such a poll.
    let mut generator = Generator::new(|y: &Yielder<u32>| {
        lend(y, || polls(|| ()));
        y.yield_(2);
    });
    assert_eq!(generator.next(), Some(2));
}

/// A value whose destructor calls a function.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn lent_yielder_in_unstarted_fiber() {
    // The closure of a fiber that was not polled is dropped on the fiber's stack. Its destructor opens a run; a task of the run is on
    // another stack than the generator.
    let text = refusal(|yields| {
        // SAFETY: the reference is used until the drop below, while `yields` is alive.
        let yields: &'static dyn Fn() = unsafe { std::mem::transmute(yields) };
        let guard = OnDrop(move || cede::run(|| cede::scope(|s| drop(s.spawn(yields)))).unwrap());
        drop(fiber(move || drop(guard)));
    });
    assert!(text.starts_with("cannot suspend an unnamed generator from another task"), "{text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn lent_yielder_in_waker() {
    // The executor's waker suspends a generator inside the fiber, which then goes on in no fiber.
    struct Yields;
    impl Wake for Yields {
        fn wake(self: Arc<Self>) {
            yield_lent(5);
        }
    }
    let generator = Rc::new(RefCell::new(Generator::new(|y: &Yielder<u32>| {
        lend(y, yield_now);
        y.yield_(6);
    })));
    let inner = Rc::clone(&generator);
    let mut body = fiber(move || panic_text(caught(|| inner.borrow_mut().next())));
    let Poll::Ready(text) = poll_with(&mut body, &Waker::from(Arc::new(Yields))) else {
        panic!("the fiber waits on");
    };
    assert!(text.starts_with("cannot suspend an unnamed generator inside a fiber poll section"), "{text}");
    drop(body);
    assert_eq!(generator.borrow_mut().next(), None);
}

#[test]
fn waker_suspends_the_fiber() {
    // The executor drops its waker while the code of the waker waits in the fiber.
    struct Waits {
        text: String,
        woken: Flag,
    }
    impl Wake for Waits {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            if context() == Context::Fiber && self.woken.polls() == 0 {
                block_on(self.woken.wait()).unwrap();
                assert_eq!(self.text, "still alive");
            }
        }
    }
    let mut body = fiber(yield_now);
    let woken = Flag::default();
    let waker = Waker::from(Arc::new(Waits { text: "still alive".to_string(), woken: woken.clone() }));
    assert!(poll_with(&mut body, &waker).is_pending());
    drop(waker);
    woken.set();
    // The wait in the waker ends, then the yield suspends the fiber.
    assert!(poll(&mut body).is_pending());
    assert!(poll(&mut body).is_ready());
}

#[test]
fn old_waker_waits_when_dropped() {
    // The drop of a waker waits for the same channel, in the fiber: the wait around it must not lose the next message.
    struct Drops(cede::sync::channel::Receiver<u32>, Arc<std::sync::Mutex<Vec<u32>>>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Drops {
        fn drop(&mut self) {
            self.1.lock().unwrap().extend(self.0.recv());
        }
    }
    let ((sender, receiver), seen) = (bounded(4), Arc::default());
    let waker = Waker::from(Arc::new(Drops(receiver.clone(), Arc::clone(&seen))));
    let mut body = fiber(move || receiver.recv());
    assert!(poll_with(&mut body, &waker).is_pending());
    drop(waker);
    let (wakes, waker) = Wakes::new();
    let (mut sent, mut polls, mut output) = (0, 0, Poll::Pending);
    while output.is_pending() {
        output = poll_with(&mut body, &waker);
        if output.is_pending() && wakes.count() == 0 || sent < 2 {
            sent += 1;
            sender.send(sent).unwrap();
        }
        polls += 1;
        assert!(sent < 4 && polls < 20, "a message was lost");
    }
    assert_eq!(output, Poll::Ready(Ok(1)));
    assert_eq!(*seen.lock().unwrap(), [2]);
}

#[test]
fn unwoken_fibers_are_left_alone() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let (flags, mut futures) = ([(); 3].map(|()| Flag::default()), Vec::new());
    for (n, flag) in flags.iter().enumerate() {
        let (log, waits) = (Rc::clone(&log), flag.wait());
        let next = flags.get(n.wrapping_sub(1)).cloned();
        futures.push(Box::pin(fiber(move || {
            block_on(waits).unwrap();
            log.borrow_mut().push(n);
            next.inspect(Flag::set);
        })) as common::executor::Boxed<'_, ()>);
    }
    let last = flags[2].clone();
    futures.push(Box::pin(async move { last.set() }));
    all(futures);
    assert_eq!(*log.borrow(), [2, 1, 0]);
    // One poll before the wake, one after it.
    assert_eq!(flags.each_ref().map(Flag::polls), [2, 2, 2]);
}

#[test]
fn deep_nest_of_fibers() {
    fn nest(depth: u32) -> Fiber<u32> {
        fiber(move || match depth {
            0 => block_on(self_waking(3)).map_or(0, |()| 1),
            _ => block_on(nest(depth - 1)).map_or(0, |depth| depth + 1),
        })
    }
    assert_eq!(block(nest(30)), 31);
    // Dropped half-way: each level is cancelled by the one around it.
    let mut half = nest(30);
    assert!(poll(&mut half).is_pending());
    drop(half);
    let mut pinned = pin!(nest(2));
    assert!(poll(&mut pinned).is_pending());
}
