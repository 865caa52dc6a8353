//! Job queues. The ids are those of the table in ARCHITECTURE.md.

mod common;

use cede::sync::{LifoQueue, PopError, PopTimeoutError, PriorityQueue, PushError, PushTimeoutError, Queue};
use cede::sync::{TryPopError, TryPushError, WaitTimeoutError};
use cede::task::{Cancelled, TaskState};
use cede::{Config, JoinError, JoinHandle, spawn, yield_now};
use common::child::in_child;
use common::witness::{AtEnd, Log};
use common::worlds::in_all_worlds;
use common::{caught, emulated, panic_text, rounds};
use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

fn popper<T: Send + 'static>(queue: &Arc<Queue<T>>) -> JoinHandle<Result<T, PopError>> {
    let queue = Arc::clone(queue);
    spawn(move || queue.pop().map(|job| job.into_inner()))
}

fn pusher<T: Send + 'static>(queue: &Arc<Queue<T>>, item: T) -> JoinHandle<Result<(), PushError<T>>> {
    let queue = Arc::clone(queue);
    spawn(move || queue.push(item))
}

// ---- A56: Queue

#[test]
fn a56_items_and_waiters_are_served_in_fifo_order() {
    cede::run(|| {
        let queue = Arc::new(Queue::unbounded());
        let mut tasks = [popper(&queue), popper(&queue), popper(&queue)];
        yield_now();
        "abc".chars().for_each(|item| queue.push(item).unwrap());
        queue.push('d').unwrap();
        assert_eq!(*queue.try_pop().unwrap(), 'd', "the other items are handed off");
        assert_eq!(tasks.each_mut().map(|task| task.join().unwrap()), [Ok('a'), Ok('b'), Ok('c')]);
    });
}

/// In a full queue `push` waits in FIFO order, and `try_push` fails at once.
#[test]
fn a56_full_queue_makes_push_wait_in_order_and_try_push_fail() {
    cede::run(|| {
        let queue = Arc::new(Queue::bounded(1));
        queue.push(1).unwrap();
        let mut tasks = [pusher(&queue, 2), pusher(&queue, 3)];
        rounds(2);
        assert!(tasks.iter().all(|task| matches!(task.state(), TaskState::Waiting(_))));
        assert_eq!((queue.try_push(9), queue.is_full(), queue.len()), (Err(TryPushError::Full(9)), true, 1));
        assert_eq!(queue.pop().unwrap().into_inner(), 1);
        assert_eq!(queue.try_push(9), Err(TryPushError::Full(9)), "the freed slot belongs to the first waiter");
        let rest: Vec<_> = (0..2).map(|_| queue.pop().unwrap().into_inner()).collect();
        assert_eq!(rest, [2, 3]);
        assert!(tasks.iter_mut().all(|task| task.join().unwrap() == Ok(())));
        assert_eq!(queue.try_pop().unwrap_err(), TryPopError::Empty);
        assert_eq!((queue.is_empty(), queue.capacity()), (true, Some(1)));
        assert_eq!(Queue::<()>::unbounded().capacity(), None);
    });
}

#[test]
fn a56_deadlines_and_cancels_give_the_item_back() {
    let second = Duration::from_secs(1);
    let outcome = Config::new().paused_clock(true).run(|| {
        let queue = Arc::new(Queue::bounded(1));
        queue.push("in").unwrap();
        assert_eq!(queue.push_timeout("late", second), Err(PushTimeoutError::Timeout("late")));
        let mut task = pusher(&queue, "cancelled");
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(PushError::Cancelled("cancelled")));
        assert_eq!(queue.close_now(), ["in"]);
        assert_eq!(queue.push_timeout("closed", second), Err(PushTimeoutError::Closed("closed")));
        let queue = Queue::<u32>::bounded(1);
        assert_eq!(queue.pop_timeout(second).unwrap_err(), PopTimeoutError::Timeout);
    });
    outcome.unwrap();
    let text = PushError::Cancelled(()).to_string() + ", " + &PopError::Closed.to_string();
    assert_eq!(
        text,
        "the wait for room in the queue was cancelled, nothing to pop: the queue was closed, and is empty"
    );
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a56_a_queue_without_room_is_refused() {
    let text = panic_text(caught(|| Queue::<u32>::bounded(0)));
    assert_eq!(text, "cannot create a queue of capacity 0: for a hand-off use channel::rendezvous");
}

// ---- A57: join and task_done

#[test]
fn a57_join_waits_until_every_job_is_done() {
    cede::run(|| {
        let queue = Arc::new(Queue::unbounded());
        assert_eq!(queue.join(), Ok(()), "there is nothing to do");
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        let inner = Arc::clone(&queue);
        let mut join = spawn(move || inner.join());
        yield_now();
        let first = queue.pop().unwrap();
        let second = queue.pop().unwrap();
        rounds(3);
        assert_eq!(
            (join.state(), queue.len(), queue.unfinished()),
            (TaskState::Waiting("the jobs of a queue to be done".into()), 0, 2)
        );
        assert_eq!(queue.join_deadline(cede::time::now()), Err(WaitTimeoutError::Timeout));
        drop(first);
        rounds(3);
        assert_eq!(
            (join.state(), queue.unfinished()),
            (TaskState::Waiting("the jobs of a queue to be done".into()), 1)
        );
        assert_eq!(second.into_inner(), 2);
        assert_eq!(join.join().unwrap(), Ok(()));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a57_a_job_that_panics_is_done_and_a_forgotten_one_never() {
    let config = Config::new().paused_clock(true);
    let outcome = config.run(|| {
        let queue = Arc::new(Queue::unbounded());
        queue.push(1).unwrap();
        let inner = Arc::clone(&queue);
        let mut worker: JoinHandle<()> = spawn(move || {
            let _job = inner.pop().unwrap();
            panic!("on purpose");
        });
        assert!(matches!(worker.join(), Err(JoinError::Panicked(_))));
        assert_eq!(queue.join(), Ok(()));
        queue.push(2).unwrap();
        std::mem::forget(queue.pop());
        assert_eq!(queue.join_timeout(Duration::from_secs(9)), Err(WaitTimeoutError::Timeout));
    });
    outcome.unwrap();
}

#[test]
fn a57_the_item_is_dropped_before_its_job_is_done() {
    let queue: Rc<Queue<Box<dyn std::any::Any>>> = Rc::new(Queue::unbounded());
    let log = Log::default();
    let (inner, seen) = (Rc::clone(&queue), log.clone());
    let dropped = AtEnd(move || seen.add(format!("{} unfinished", inner.unfinished())));
    assert!(queue.push(Box::new(dropped)).is_ok());
    drop(queue.pop());
    assert_eq!((log.take(), queue.unfinished()), (vec!["1 unfinished".to_string()], 0));
}

// ---- A58: PriorityQueue, LifoQueue

#[test]
fn a58_the_smallest_comes_first_and_among_equals_the_first_in() {
    /// A pair that is compared by its first half.
    #[derive(PartialEq, Eq, Debug)]
    struct Half(u32, u32);
    impl Ord for Half {
        fn cmp(&self, other: &Half) -> Ordering {
            self.0.cmp(&other.0)
        }
    }
    impl PartialOrd for Half {
        fn partial_cmp(&self, other: &Half) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    let queue = PriorityQueue::unbounded();
    let items: Vec<_> = (0..1000).map(|n| (n * 7919 % 10, n)).collect();
    items.iter().for_each(|&(first, second)| queue.push(Half(first, second)).unwrap());
    let mut sorted = items.clone();
    sorted.sort(); // stable, and the second halves ascend
    let popped: Vec<_> = std::iter::from_fn(|| queue.try_pop().ok()).map(|job| (job.0, job.1)).collect();
    assert_eq!(popped, sorted);
    (0..3).for_each(|n| queue.push(Half(1, n)).unwrap());
    queue.push(Half(0, 9)).unwrap();
    let rest: Vec<_> = queue.close_now().into_iter().map(|half| (half.0, half.1)).collect();
    assert_eq!(rest, [(0, 9), (1, 0), (1, 1), (1, 2)]);
}

#[test]
fn a58_the_last_in_comes_first_out_of_a_lifo_queue() {
    let queue = LifoQueue::bounded(3);
    (1..=3).for_each(|n| queue.push(n).unwrap());
    assert_eq!(queue.try_push(4), Err(TryPushError::Full(4)));
    assert_eq!(queue.pop().unwrap().into_inner(), 3);
    queue.push(5).unwrap();
    assert_eq!(queue.close_now(), [5, 2, 1]);
}

thread_local! {
    /// Counts down with each comparison. The comparison that reaches 1 panics. 0: none panics.
    static PANIC_AT: Cell<u32> = const { Cell::new(0) };
}

/// An item whose comparison panics when `PANIC_AT` says so. Comparing 100 waits.
#[derive(PartialEq, Eq, Debug)]
struct Moody(u32);

impl Ord for Moody {
    fn cmp(&self, other: &Moody) -> Ordering {
        if self.0 == 100 || other.0 == 100 {
            yield_now();
        }
        PANIC_AT.set(PANIC_AT.get().saturating_sub(1));
        if PANIC_AT.get() == 1 {
            resume_unwind(Box::new("no comparison"));
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Moody {
    fn partial_cmp(&self, other: &Moody) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Calls `f`, in which the `n`th comparison panics, counted from 0. Returns whether there were that many.
fn with_panic_at(n: u32, f: impl FnOnce()) -> bool {
    PANIC_AT.set(n + 2);
    let panicked = caught(f).is_err();
    PANIC_AT.set(0);
    panicked
}

fn drain(queue: &PriorityQueue<Moody>) -> Vec<u32> {
    std::iter::from_fn(|| Some(queue.try_pop().ok()?.into_inner().0)).collect()
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a58_comparing_items_may_panic_but_not_wait() {
    let queue = Arc::new(PriorityQueue::bounded(2));
    cede::run(|| {
        queue.push(Moody(101)).unwrap();
        let text = panic_text(caught(|| queue.push(Moody(100))));
        assert!(text.contains("cannot wait or yield inside a no_suspend section"), "{text}");
        assert_eq!((queue.len(), queue.unfinished()), (2, 2), "the item is in the queue nevertheless");
        let text = panic_text(caught(|| queue.pop().map(drop)));
        assert!(text.contains("cannot wait or yield inside a no_suspend section"), "{text}");
        assert_eq!((queue.len(), queue.unfinished()), (2, 2), "no item was taken out");
        yield_now(); // no section was left open
    });
    // Outside of a run the comparison yields the thread, which is no wait.
    assert_eq!(drain(&queue), [100, 101]);
}

/// No matter which comparison of a push or a pop panics, all items are in the queue afterwards, in their order.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a58_any_comparison_panics_no_item_is_lost() {
    cede::run(|| {
        let items = [7, 3, 9, 1, 4, 4, 8, 2, 6, 5, 0, 3];
        let mut panics = 0;
        for (count, at) in (1..=items.len()).flat_map(|count| (0..8).map(move |at| (count, at))) {
            let queue = PriorityQueue::unbounded();
            let (last, before) = items[..count].split_last().unwrap();
            before.iter().for_each(|&item| queue.push(Moody(item)).unwrap());
            panics += u32::from(with_panic_at(at, || queue.push(Moody(*last)).unwrap()));
            assert_eq!((queue.len(), queue.unfinished()), (count, count));
            let mut popped = None;
            let failed = with_panic_at(at, || popped = queue.pop().ok().map(|job| job.into_inner().0));
            panics += u32::from(failed);
            let mut all: Vec<_> = popped.into_iter().chain(drain(&queue)).collect();
            assert_eq!(queue.unfinished(), 0);
            assert_eq!(queue.join_timeout(Duration::ZERO), Ok(()));
            let mut sorted = items[..count].to_vec();
            sorted.sort();
            assert_eq!(all, sorted, "{count} items, comparison {at}");
            // The same with `close_now`, which takes all items out.
            all.iter().for_each(|&item| queue.push(Moody(item)).unwrap());
            let failed = with_panic_at(at, || all = queue.close_now().into_iter().map(|item| item.0).collect());
            assert!(!failed, "close_now returns the items");
            all.sort();
            assert_eq!((all, queue.unfinished()), (sorted, 0));
        }
        assert!(panics > 40, "{panics}");
    });
}

/// Neither the popped item nor the item of the pusher that waited for the freed slot is lost.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a58_ord_panics_while_a_pusher_waits_loses_neither_item() {
    for at in 0..6 {
        cede::run(|| {
            let queue = Arc::new(PriorityQueue::bounded(3));
            [5, 1, 3].into_iter().for_each(|item| queue.push(Moody(item)).unwrap());
            let inner = Arc::clone(&queue);
            let mut pusher = spawn(move || inner.push(Moody(2)));
            yield_now();
            let mut popped = None;
            with_panic_at(at, || popped = queue.pop().ok().map(|job| job.into_inner().0));
            let rest: Vec<_> = popped.into_iter().chain(drain(&queue)).collect();
            assert_eq!(pusher.join().unwrap(), Ok(()));
            let late = drain(&queue);
            assert_eq!([rest, late].concat(), [1, 2, 3, 5]);
            assert_eq!((queue.unfinished(), queue.join()), (0, Ok(())));
        });
    }
}

/// A popper is unwound after an item was handed off to it: the item returns to the queue without a comparison, since a panic
/// in a comparison would abort the process.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a58_item_put_back_by_an_unwound_popper_is_not_compared() {
    let told = in_child("a58_item_put_back_by_an_unwound_popper_is_not_compared", || {
        let queue = Arc::new(PriorityQueue::unbounded());
        let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
            let inner = Arc::clone(&queue);
            // Pushes while it is unwound. The first item goes to the popper, which is unwound next.
            let _detached = spawn(move || {
                let _end = AtEnd(move || {
                    (1..6).for_each(|item| inner.push(Moody(item)).unwrap());
                    PANIC_AT.set(2);
                });
                cede::task::park_shielded("nothing");
            });
            let inner = Arc::clone(&queue);
            let _detached = spawn(move || cede::shield(|| inner.pop().map(drop)));
            yield_now();
        });
        outcome.unwrap();
        assert_eq!(PANIC_AT.get(), 2, "compared");
        PANIC_AT.set(0);
        eprintln!("{:?}", drain(&queue));
    });
    assert!(told.ends_with("[1, 2, 3, 4, 5]\nexit code Some(0)"), "{told}");
}

// ---- A59: a cancelled getter

#[test]
fn a59_a_cancelled_getter_loses_no_item() {
    cede::run(|| {
        let queue = Arc::new(Queue::unbounded());
        // Handed off first.
        let (mut first, mut second) = (popper(&queue), popper(&queue));
        yield_now();
        queue.push("x").unwrap();
        first.cancel();
        assert_eq!(first.join().unwrap(), Ok("x"));
        queue.push("y").unwrap();
        assert_eq!(second.join().unwrap(), Ok("y"));
        // Cancelled first.
        let (mut first, mut second) = (popper(&queue), popper(&queue));
        yield_now();
        first.cancel();
        yield_now();
        queue.push("z").unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Err(PopError::Cancelled), Ok("z")));
        assert_eq!(queue.join(), Ok(()));
    });
}

/// A popper is unwound after an item was handed off to it: the item returns to its place in the order.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a59_item_granted_to_an_unwound_popper_returns_to_its_place() {
    let queue = Arc::new(PriorityQueue::unbounded());
    let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
        let inner = Arc::clone(&queue);
        // Pushes while it is unwound, to a popper that is unwound next.
        let _detached = spawn(move || {
            // From another thread, which cannot see that the popper is to be unwound too.
            let push = move || (0..3).for_each(|n| inner.push((0, n)).unwrap());
            let _end = AtEnd(|| std::thread::scope(|scope| scope.spawn(&push).join().unwrap()));
            cede::task::park_shielded("nothing");
        });
        let inner = Arc::clone(&queue);
        let _detached = spawn(move || cede::shield(|| inner.pop().map(drop)));
        yield_now();
    });
    outcome.unwrap();
    assert_eq!((queue.len(), queue.unfinished()), (3, 3));
    let popped: Vec<_> = std::iter::from_fn(|| queue.try_pop().ok()).map(|job| job.1).collect();
    assert_eq!(popped, [0, 1, 2]);
}

/// Like the test before, for a FIFO queue: the item that was handed off is the first item again.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn item_of_an_unwound_popper_goes_back_to_the_front() {
    let queue = Arc::new(Queue::unbounded());
    let outcome = Config::new().shutdown_grace(Duration::from_millis(5)).run(|| {
        let inner = Arc::clone(&queue);
        let _detached = spawn(move || {
            // From another thread, which cannot see that the popper is to be unwound too.
            let push = move || (1..4).for_each(|n| inner.push(n).unwrap());
            let _end = AtEnd(|| std::thread::scope(|scope| scope.spawn(&push).join().unwrap()));
            cede::task::park_shielded("nothing");
        });
        let inner = Arc::clone(&queue);
        let _detached = spawn(move || cede::shield(|| inner.pop().map(drop)));
        yield_now();
    });
    outcome.unwrap();
    assert_eq!(queue.close_now(), [1, 2, 3]);
}

// ---- A60: shutdown

#[test]
fn a60_a_closed_queue_is_drained_first() {
    cede::run(|| {
        let queue = Arc::new(Queue::bounded(1));
        queue.push(1).unwrap();
        let mut waiting = pusher(&queue, 2);
        yield_now();
        assert!(queue.close() && !queue.close() && queue.is_closed());
        assert_eq!(waiting.join().unwrap(), Err(PushError::Closed(2)));
        assert_eq!((queue.push(3), queue.try_push(4)), (Err(PushError::Closed(3)), Err(TryPushError::Closed(4))));
        assert_eq!(queue.pop().unwrap().into_inner(), 1);
        assert_eq!(queue.pop().unwrap_err(), PopError::Closed);
        assert_eq!(queue.try_pop().unwrap_err(), TryPopError::Closed);
        assert_eq!(queue.join(), Ok(()));
        // Waiting poppers get `Closed`.
        let queue = Arc::new(Queue::<u32>::unbounded());
        let mut tasks = [popper(&queue), popper(&queue)];
        yield_now();
        queue.close();
        assert!(tasks.iter_mut().all(|task| task.join().unwrap() == Err(PopError::Closed)));
    });
}

/// `close_now` returns the items in the queue. `join` no longer waits for them, but still for jobs that were popped.
#[test]
fn a60_close_now_returns_the_items_and_join_ignores_them() {
    cede::run(|| {
        let queue = Arc::new(Queue::bounded(3));
        (1..=3).for_each(|n| queue.push(n).unwrap());
        let mut pushing = pusher(&queue, 4);
        let inner = Arc::clone(&queue);
        let mut joining = spawn(move || inner.join());
        yield_now();
        let job = queue.pop().unwrap();
        assert_eq!(queue.close_now(), [2, 3, 4], "the fourth was let in when the first was popped");
        assert_eq!(pushing.join().unwrap(), Ok(()));
        rounds(2);
        assert_eq!(
            joining.state(),
            TaskState::Waiting("the jobs of a queue to be done".into()),
            "one job is being done"
        );
        drop(job);
        assert_eq!(joining.join().unwrap(), Ok(()));
        assert_eq!(queue.pop().unwrap_err(), PopError::Closed);
    });
}

// ---- destructors, threads and reports

/// A destructor that pops while the thread panics gets an item that is there, and `Cancelled` if it would have to wait.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructor_popping_in_a_panic_never_waits() {
    cede::run(|| {
        let (queue, log) = (Queue::unbounded(), Log::default());
        queue.push(1).unwrap();
        let seen = log.clone();
        let panic = caught(|| {
            let _end = AtEnd(|| log.add(format!("{:?} {:?}", queue.pop(), queue.pop())));
            panic!("on purpose");
        });
        assert_eq!((panic_text(panic), seen.take()), ("on purpose".into(), vec!["Ok(Job(1)) Err(Cancelled)".into()]));
    });
}

#[test]
fn every_item_is_popped_once_between_tasks_and_threads() {
    let each = if emulated() { 50 } else { 1_000u64 };
    in_all_worlds(|world| {
        for capacity in [1, 16, usize::MAX] {
            let queue = Arc::new(if capacity == usize::MAX { Queue::unbounded() } else { Queue::bounded(capacity) });
            let workers: Vec<_> = (0..2)
                .map(|_| {
                    let queue = Arc::clone(&queue);
                    world.spawn(move || {
                        let mut sum = 0;
                        while let Ok(job) = queue.pop() {
                            sum += *job;
                        }
                        sum
                    })
                })
                .collect();
            for n in 0..each {
                queue.push(n).unwrap();
            }
            queue.join().unwrap();
            queue.close();
            let sum: u64 = workers.into_iter().map(|worker| worker.join()).sum();
            assert_eq!(sum, each * (each - 1) / 2, "{world:?}, capacity {capacity}");
        }
    });
}

#[test]
fn deadlock_over_a_queue_is_reported() {
    let outcome = Config::new().closed_world(true).run(|| {
        let queue = Arc::new(Queue::<u32>::unbounded());
        let mut task = popper(&queue);
        task.join()
            .map_err(|error| error.to_string())
            .map(|popped| popped.map_err(|error| error == PopError::Cancelled))
    });
    let Err(cede::RunError::Deadlock { report, .. }) = outcome else { panic!("no deadlock") };
    assert!(report.to_string().contains("waits for an item in a queue"), "{report}");
    assert_eq!(Cancelled.to_string(), "the wait was cancelled");
}
