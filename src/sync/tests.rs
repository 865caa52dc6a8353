//! The waiting core, through the smallest type that can be made of it: a box that holds one thing at a time.
#![forbid(unsafe_code)]

// The run stands below this module; a test may use it all the same.
extern crate self as cede;

use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in, wake_all};
use crate::wait::{Holder, WaitSpec, WakeHandle};
use cede::{Config, RunError, spawn, yield_now};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hands single things to those who wait, in their order.
#[derive(Default)]
struct Post {
    inner: BiasedLock<Inner>,
    holder: Holder,
}

#[derive(Default)]
struct Inner {
    things: Vec<u32>,
    takers: WaitQueue<Option<u32>>,
}

struct Takers;

impl Line for Takers {
    type State = Inner;
    type Value = Option<u32>;

    fn waiters(state: &mut Inner) -> &mut WaitQueue<Option<u32>> {
        &mut state.takers
    }

    fn regrant(state: &mut Inner, value: Option<u32>) -> Vec<WakeHandle> {
        value.and_then(|thing| state.put(thing)).into_iter().collect()
    }
}

impl Inner {
    fn put(&mut self, thing: u32) -> Option<WakeHandle> {
        let Some(waiter) = self.takers.grant() else {
            self.things.push(thing);
            return None;
        };
        *self.takers.value(waiter) = Some(thing);
        Some(self.takers.waker(waiter))
    }
}

impl Post {
    fn put(&self, thing: u32) {
        let waker = self.inner.lock().put(thing);
        wake_all(waker.into_iter().collect());
    }

    fn take(&self, deadline: Option<Instant>) -> Result<u32, &'static str> {
        let mut inner = self.inner.lock();
        if let Some(thing) = inner.things.pop() {
            return Ok(thing);
        }
        let waiter = inner.takers.enqueue(None);
        drop(inner);
        let wait = WaitSpec { reason: "a thing", external: true, holder: &raw const self.holder, ..WaitSpec::DEFAULT };
        match wait_in::<Takers>(&self.inner, waiter, wait, deadline) {
            Ended::Granted(thing) => Ok(thing.expect("it was handed one")),
            Ended::Closed(_) => Err("dismissed"),
            Ended::TimedOut(_) => Err("timed out"),
            Ended::Cancelled(_) => Err("cancelled"),
        }
    }
}

#[test]
fn what_is_put_goes_to_those_who_wait_in_their_order() {
    let post = Arc::new(Post::default());
    let taken = cede::run(|| {
        let takers: Vec<_> = (0..3).map(|_| Arc::clone(&post)).map(|post| spawn(move || post.take(None))).collect();
        yield_now();
        (1..=4).for_each(|thing| post.put(thing));
        takers.into_iter().map(|mut taker| taker.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(taken, [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(post.take(None), Ok(4), "and outside of a run");
}

#[test]
fn a_cancel_in_the_moment_of_the_hand_over_loses_nothing() {
    let post = Arc::new(Post::default());
    cede::run(|| {
        let inner = Arc::clone(&post);
        let mut taker = spawn(move || (inner.take(None), inner.take(None)));
        yield_now();
        post.put(1);
        taker.cancel();
        post.put(2);
        assert_eq!(taker.join().unwrap(), (Ok(1), Ok(2)), "what is there needs no wait");
        let inner = Arc::clone(&post);
        let mut taker = spawn(move || inner.take(None));
        yield_now();
        taker.cancel();
        post.put(3);
        assert_eq!(taker.join().unwrap(), Err("cancelled"), "the cancel came first");
        assert_eq!(post.take(None), Ok(3));
        let inner = Arc::clone(&post);
        let mut taker = spawn(move || inner.take(None));
        yield_now();
        taker.cancel();
        yield_now();
        post.put(4);
        assert_eq!(taker.join().unwrap(), Err("cancelled"));
        assert_eq!(post.take(None), Ok(4));
    });
}

#[test]
fn deadlines_end_waits_of_tasks_and_of_threads() {
    let post = Post::default();
    let soon = || Some(cede::time::now() + Duration::from_millis(3));
    assert_eq!(post.take(soon()), Err("timed out"));
    Config::new().paused_clock(true).run(|| assert_eq!(post.take(soon()), Err("timed out"))).unwrap();
    assert!(post.inner.lock().takers.is_empty());
}

#[test]
fn threads_and_tasks_hand_to_each_other() {
    let (there, back) = (Arc::new(Post::default()), Arc::new(Post::default()));
    let echo = {
        let (there, back) = (Arc::clone(&there), Arc::clone(&back));
        std::thread::spawn(move || (0..1000).for_each(|_| back.put(there.take(None).unwrap() + 1)))
    };
    let sum: u32 = cede::run(|| {
        let mut task = spawn(move || {
            let each = |n| {
                there.put(n);
                back.take(None).unwrap() - n
            };
            (0..1000).map(each).sum()
        });
        task.join().unwrap()
    });
    assert_eq!(sum, 1000);
    echo.join().unwrap();
}

#[test]
fn a_deadlock_is_reported_with_who_holds_what_and_in_which_circle() {
    let posts = [Arc::new(Post::default()), Arc::new(Post::default())];
    let outcome = Config::new().closed_world(true).run(|| {
        let mut tasks = Vec::new();
        for (own, other) in [(0, 1), (1, 0)] {
            let (own, other) = (Arc::clone(&posts[own]), Arc::clone(&posts[other]));
            let body = move || {
                own.holder.set(WakeHandle::current());
                yield_now();
                other.take(None)
            };
            let name = if tasks.is_empty() { "a" } else { "b" };
            tasks.push(cede::Builder::new().name(name).spawn(body).unwrap());
        }
        tasks.iter_mut().all(|task| task.join().is_ok())
    });
    let Err(RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock") };
    let text = report.to_string();
    assert!(text.contains("task 'a' waits for a thing, held by 'b'"), "{text}");
    assert!(text.ends_with("in a cycle: 'a' -> 'b' -> 'a'"), "{text}");
}

#[test]
fn a_wait_on_what_can_be_shared_is_no_certain_deadlock() {
    // Somebody else runs, so that this is not the process's only thread.
    let post = Arc::new(Post::default());
    let later = Arc::clone(&post);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        later.put(1);
    });
    assert_eq!(cede::run(|| post.take(None)), Ok(1));
    thread.join().unwrap();
}

#[test]
fn whoever_is_gone_after_it_was_looked_at_is_claimed_all_the_same() {
    let line: BiasedLock<WaitQueue<u32>> = BiasedLock::default();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let waiting = &line;
    std::thread::scope(|scope| {
        // One that never leaves the line, as a task that its run has left behind.
        let gone = scope.spawn(move || {
            let waiter = waiting.lock().enqueue(1);
            ends.recv().unwrap();
            waiter
        });
        while line.lock().is_empty() {
            std::thread::yield_now();
        }
        let mut waiters = line.lock();
        waiters.enqueue(5);
        assert_eq!(waiters.first(), Some(&mut 1));
        // Its run ends here.
        end.send(()).unwrap();
        let waiter = gone.join().unwrap();
        assert_eq!(waiters.grant_first(), waiter, "the wish that was looked at is the one that is met");
        assert_eq!(waiters.first(), Some(&mut 5));
    });
}
