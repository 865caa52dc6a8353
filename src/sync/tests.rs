//! Tests of the wait queue through a minimal blocking type: an unbounded store that grants things to takers in FIFO order.
#![forbid(unsafe_code)]

// Runs are a higher layer than `wait`; tests may use them nevertheless.
extern crate self as cede;

use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Ended, Line, WaitQueue, wait_in};
use crate::wait::wake_list::wake_all;
use crate::wait::{Holder, WaitSpec, WakeHandle};
use cede::{Config, RunError, spawn, yield_now};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A store of things. A stored thing is granted to the first waiting taker.
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
            Ended::Granted(thing) => Ok(thing.expect("a granted taker has a thing")),
            Ended::Closed(_) => Err("closed"),
            Ended::TimedOut(_) => Err("timed out"),
            Ended::Cancelled(_) => Err("cancelled"),
        }
    }
}

#[test]
fn put_with_waiting_takers_grants_in_fifo_order() {
    let post = Arc::new(Post::default());
    let taken = cede::run(|| {
        let takers: Vec<_> = (0..3).map(|_| Arc::clone(&post)).map(|post| spawn(move || post.take(None))).collect();
        yield_now();
        (1..=4).for_each(|thing| post.put(thing));
        takers.into_iter().map(|mut taker| taker.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(taken, [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(post.take(None), Ok(4), "a plain thread takes the rest");
}

#[test]
fn cancel_around_a_grant_loses_no_thing() {
    let post = Arc::new(Post::default());
    cede::run(|| {
        let inner = Arc::clone(&post);
        let mut taker = spawn(move || (inner.take(None), inner.take(None)));
        yield_now();
        post.put(1);
        taker.cancel();
        post.put(2);
        assert_eq!(taker.join().unwrap(), (Ok(1), Ok(2)), "a stored thing needs no wait");
        let inner = Arc::clone(&post);
        let mut taker = spawn(move || inner.take(None));
        yield_now();
        taker.cancel();
        post.put(3);
        assert_eq!(taker.join().unwrap(), Err("cancelled"), "the cancel came before the grant");
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
fn deadline_ends_waits_of_tasks_and_threads() {
    let post = Post::default();
    let soon = || Some(cede::time::now() + Duration::from_millis(3));
    assert_eq!(post.take(soon()), Err("timed out"));
    Config::new().paused_clock(true).run(|| assert_eq!(post.take(soon()), Err("timed out"))).unwrap();
    assert!(post.inner.lock().takers.is_empty());
}

#[test]
fn thread_and_task_grant_to_each_other() {
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
fn deadlock_report_names_holders_and_the_cycle() {
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
fn wait_that_another_thread_can_end_is_no_deadlock() {
    // With a second thread in the process, a stall is not a deadlock.
    let post = Arc::new(Post::default());
    let later = Arc::clone(&post);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        later.put(1);
    });
    assert_eq!(cede::run(|| post.take(None)), Ok(1));
    thread.join().unwrap();
}

/// `grant_first` grants to the waiter that `first` returned, even if that waiter's thread has ended in between.
#[test]
fn grant_first_after_the_waiter_ended_grants_to_it() {
    let line: BiasedLock<WaitQueue<u32>> = BiasedLock::default();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let waiting = &line;
    std::thread::scope(|scope| {
        // A waiter that never leaves the queue, like an abandoned task.
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
        // Ends the waiter's thread.
        end.send(()).unwrap();
        let waiter = gone.join().unwrap();
        assert_eq!(waiters.grant_first(), waiter, "the waiter that was checked is granted");
        assert_eq!(waiters.first(), Some(&mut 5));
    });
}
