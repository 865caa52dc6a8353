//! `BlockingIter` over async streams, and generators as streams.
#![cfg(feature = "stream")]

mod common;

use cede::bridge::BlockingIter;
use cede::task::Cancelled;
use cede::{Generator, Yielder, block_on, spawn, timeout, yield_now};
use common::futures::Flag;
use common::witness::Log;
use common::{caught, panic_text};
use futures_core::{FusedStream, Stream};
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomPinned;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(5);

/// A step of a [`Scripted`] stream.
enum Step {
    Item(u32),
    /// A pending poll that has woken itself.
    Pending,
    /// Pending polls until the flag is set.
    Until(Flag),
    /// A `None`, after which the script goes on.
    End,
}

use Step::{End, Item, Pending, Until};

/// A stream that follows a script, at whose end it has ended.
struct Scripted(VecDeque<Step>);

impl Scripted {
    fn new(steps: impl IntoIterator<Item = Step>) -> Scripted {
        Scripted(steps.into_iter().collect())
    }
}

impl Stream for Scripted {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        if let Some(Until(flag)) = self.0.front()
            && flag.poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        match self.0.pop_front() {
            Some(Item(n)) => Poll::Ready(Some(n)),
            None | Some(End) => Poll::Ready(None),
            Some(Until(_)) => self.poll_next(cx),
            Some(Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let items = self.0.iter().filter(|step| matches!(step, Item(_))).count();
        (items, Some(items))
    }
}

fn items(steps: impl IntoIterator<Item = Step>) -> BlockingIter<Scripted> {
    BlockingIter::new(Scripted::new(steps))
}

#[test]
fn items_in_order_everywhere() {
    fn case() {
        let all: Result<Vec<_>, _> = items([Item(1), Pending, Pending, Item(2), Item(3), Pending]).collect();
        assert_eq!(all, Ok(vec![1, 2, 3]));
        assert_eq!(items([]).count(), 0);
        assert_eq!(items([Pending]).next(), None);
    }
    case();
    cede::run(|| {
        case();
        spawn(case).join().unwrap();
        let mut generator = spawn(|| {
            Generator::new(|y: &Yielder<u32>| {
                case();
                items([Item(4), Pending, Item(5)]).for_each(|n| y.yield_(n.unwrap()));
            })
        });
        assert_eq!(generator.join().unwrap().collect::<Vec<_>>(), [4, 5]);
    });
}

#[test]
fn thread_wakes_iterator() {
    let flag = Flag::default();
    let inner = flag.clone();
    let waking = thread::spawn(move || {
        thread::sleep(SOON);
        inner.wake(); // a spurious wakeup
        thread::sleep(SOON);
        inner.set();
    });
    let turns = Rc::new(Cell::new(0));
    cede::run(|| {
        let inner = Rc::clone(&turns);
        let counting = spawn(move || {
            while cede::time::sleep(Duration::from_millis(1)).is_ok() {
                inner.set(inner.get() + 1);
            }
        });
        assert_eq!(items([Item(1), Until(flag), Item(2)]).collect::<Vec<_>>(), [Ok(1), Ok(2)]);
        counting.cancel();
    });
    assert!(turns.get() > 0);
    waking.join().unwrap();
}

#[test]
fn cancel_loses_no_item() {
    cede::run(|| {
        let flag = Flag::default();
        let mut iter = items([Item(1), Until(flag.clone()), Item(2), Pending, Item(3)]);
        let mut task = spawn(move || {
            let all: Vec<_> = iter.by_ref().take(3).collect();
            (all, iter)
        });
        yield_now();
        task.cancel();
        let (all, mut iter) = task.join().unwrap();
        // Each later wait of the cancelled task is cancelled, too.
        assert_eq!(all, [Ok(1), Err(Cancelled), Err(Cancelled)]);
        flag.set();
        assert_eq!(iter.next(), Some(Ok(2)));
        // The rest in async code.
        let mut stream = iter.into_inner();
        let rest = block_on(async { (next(&mut stream).await, next(&mut stream).await) });
        assert_eq!(rest, Ok((Some(3), None)));
    });
}

#[test]
fn deadline_loses_no_item() {
    cede::run(|| {
        let flag = Flag::default();
        let mut iter = items([Until(flag.clone()), Item(1), Item(2)]);
        let late = timeout(SOON, || iter.by_ref().collect::<Result<Vec<_>, _>>()).unwrap_err();
        assert_eq!(late.value, Err(Cancelled));
        spawn(move || flag.set());
        assert_eq!(iter.collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2]));
    });
}

#[test]
fn bounds_and_accessors() {
    let mut iter = items([Item(1), Item(2), End, Item(3)]);
    // A cancelled wait gives an item more than the stream has.
    assert_eq!(iter.size_hint(), (3, None));
    assert_eq!(iter.by_ref().collect::<Vec<_>>(), [Ok(1), Ok(2)]);
    assert_eq!((iter.get_ref().0.len(), iter.next()), (1, Some(Ok(3))));
    iter.get_mut().0.push_back(Item(4));
    assert_eq!(iter.next(), Some(Ok(4)));
    // A reference, and a stream that is not `Unpin`.
    let mut stream = Scripted::new([Item(5), Pending, Item(6)]);
    assert_eq!(BlockingIter::new(&mut stream).next(), Some(Ok(5)));
    struct Pinned(Scripted, PhantomPinned);
    impl Stream for Pinned {
        type Item = u32;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
            Poll::Ready(Some(self.0.0.len() as u32))
        }
    }
    assert_eq!(BlockingIter::new(pin!(Pinned(stream, PhantomPinned))).next(), Some(Ok(2)));
}

/// A future of the next item.
fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))
}

#[test]
fn generator_is_a_stream() {
    let mut generator = Generator::new(|y| {
        (1..=2).for_each(|n| y.yield_(n));
        "end"
    })
    .into_stream();
    // Any executor polls it: also with a waker that does nothing, because no poll is pending.
    let mut cx = Context::from_waker(Waker::noop());
    assert!(!generator.is_terminated());
    assert_eq!(Pin::new(&mut generator).poll_next(&mut cx), Poll::Ready(Some(1)));
    assert_eq!(block_on(next(&mut generator)), Ok(Some(2)));
    assert_eq!((Stream::size_hint(&generator), generator.is_terminated()), ((0, None), false));
    assert_eq!(block_on(next(&mut generator)), Ok(None));
    assert!(generator.is_terminated());
    assert_eq!(block_on(next(&mut generator)), Ok(None), "it is fused");
    assert_eq!(generator.into_inner().into_return(), Some("end"));
    // In a chain of both adapters.
    let squares = BlockingIter::new(Generator::new(|y| (1..=3).for_each(|n: u32| y.yield_(n * n))).into_stream());
    assert_eq!(squares.collect::<Result<Vec<_>, _>>(), Ok(vec![1, 4, 9]));
}

/// The result need not be `Unpin`.
#[test]
fn generator_is_unpin() {
    fn assert_unpin<T: Unpin>(value: T) -> T {
        value
    }
    let mut generator = assert_unpin(Generator::<u32, (), PhantomPinned>::new(|_| PhantomPinned).into_stream());
    assert_eq!(block_on(next(&mut generator)), Ok(None));
}

/// A wait in the body of a stream suspends the task that polls; the other tasks go on.
#[test]
fn body_waits_in_a_poll() {
    cede::run(|| {
        let flag = Flag::default();
        let (inner, turns) = (flag.clone(), Rc::new(Cell::new(0)));
        let mut generator = Generator::new(move |y: &Yielder<Result<u32, Cancelled>>| {
            y.yield_(block_on(inner.wait()).map(|()| 1));
            y.yield_(block_on(async { 2 }));
        })
        .into_stream();
        let count = Rc::clone(&turns);
        spawn(move || {
            for _ in 0..10 {
                count.set(count.get() + 1);
                yield_now();
            }
            flag.set();
        });
        assert_eq!(block_on(next(&mut generator)), Ok(Some(Ok(1))));
        assert_eq!(turns.get(), 10);
        assert_eq!(block_on(next(&mut generator)), Ok(Some(Ok(2))));
        assert_eq!(block_on(next(&mut generator)), Ok(None));
        // A deadline ends the wait of the body, which yields what it makes of it.
        let body = |y: &Yielder<_>| y.yield_(block_on(std::future::pending::<()>()));
        let mut generator = Generator::new(body).into_stream();
        let late = timeout(SOON, || block_on(next(&mut generator))).unwrap_err();
        assert_eq!(late.value, Ok(Some(Err(Cancelled))));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_the_body_ends_the_stream() {
    let mut generator = Generator::new(|y: &Yielder<u32>| {
        y.yield_(1);
        panic!("from the body");
    })
    .into_stream();
    assert_eq!(block_on(next(&mut generator)), Ok(Some(1)));
    assert_eq!(panic_text(caught(|| block_on(next(&mut generator)))), "from the body");
    assert!(generator.is_terminated());
    assert_eq!(block_on(next(&mut generator)), Ok(None));
}

#[test]
fn dropped_stream_closes_its_body() {
    let log = Log::default();
    let inner = log.clone();
    let mut stream: Pin<Box<dyn Stream<Item = u32>>> = Box::pin(
        Generator::new(move |y: &Yielder<u32>| {
            let mut n = 0;
            while y.try_yield(n).is_ok() {
                n += 1;
            }
            inner.add("closed");
        })
        .into_stream(),
    );
    assert_eq!(block_on(next(&mut stream)), Ok(Some(0)));
    assert_eq!(block_on(next(&mut stream)), Ok(Some(1)));
    drop(stream);
    assert_eq!(log.take(), ["closed"]);
}
