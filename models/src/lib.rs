//! Loom models of the library's concurrency: loom executes the library's own source files in every thread interleaving.
//! Covered are the remote queue (park, poll and wake), the biased lock, the wait queue, the channel, the mutex, the promise, and of the tasks
//! on several workers the outcome of a task, the signal of a join and the count of a scope.
//! `.ci/models` runs the models.
//!
//! `build.rs` generates the modules. To model another type, add its file and the replacements that loom needs there. The models
//! must detect each planted fault.

#![cfg(test)]

#[allow(
    dead_code,
    unused,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]
mod modules {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}
mod crew;
use modules::*;

use loom::sync::Arc;
use loom::thread;

/// Explores every interleaving with up to `preemptions` preemptions. Loom's authors found that faults show with few.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// The way in which the thread of a promise ends the waits for it.
#[derive(Clone, Copy, PartialEq)]
enum PromiseEnd {
    Set,
    DroppedUnset,
}

/// Defines all models for one of the generated modules.
macro_rules! models {
    ($module:ident) => {
        #[allow(dead_code, reason = "each fault is checked by one model")]
        pub(super) mod $module {
            use super::{Arc, PromiseEnd, explore, thread};
            use crate::modules::$module::anywhere::count::Count;
            use crate::modules::$module::anywhere::signal::Signal;
            use crate::modules::$module::anywhere::slot::{Cancel, Slot, Waiter};
            use crate::modules::$module::scheduler::remote::{RemoteReceiver, RemoteWake};
            use crate::modules::$module::scheduler::wake::{Canceller, ME, WakeHandle, block};
            use crate::modules::$module::sync::channel::{Chan, receive_from_either};
            use crate::modules::$module::sync::mutex::Mutex;
            use crate::modules::$module::sync::promise::Promise;
            use crate::modules::$module::sys::{close_bell, poll_bell};
            use crate::modules::$module::time::set_pace;
            use crate::modules::$module::wait::lock::BiasedLock;
            use loom::cell::Cell;

            /// Gives this thread a run.
            fn run() {
                ME.with(|me| me.has_run.set(true));
            }

            /// E1: a worker finds no remote wake and goes to sleep while two threads wake its tasks.
            pub(crate) fn park_and_wake() {
                explore(3, || {
                    let open = Arc::new(RemoteReceiver::new());
                    let (queue, run) = (open.queue(), open.run());
                    let posting: Vec<_> = (1..3)
                        .map(|key| {
                            let wake = RemoteWake { tcb: key, task_id: key as u64 };
                            thread::spawn(move || assert!(queue.push(run, wake)))
                        })
                        .collect();
                    let mut woken = 0;
                    while woken < 2 {
                        if open.has_pending() {
                            woken += open.take().wakes.len();
                        } else {
                            open.sleep(None);
                        }
                    }
                    posting.into_iter().for_each(|one| one.join().unwrap());
                });
            }

            /// A worker finds no remote wake and sleeps in its poller while two threads wake its tasks. Then it ends, and closes
            /// its bell.
            pub(crate) fn poll_and_wake() {
                explore(3, || {
                    let open = RemoteReceiver::new();
                    let (queue, run) = (open.queue(), open.run());
                    let posting: Vec<_> = (1..3)
                        .map(|key| {
                            let wake = RemoteWake { tcb: key, task_id: key as u64 };
                            thread::spawn(move || assert!(queue.push(run, wake)))
                        })
                        .collect();
                    let (mut woken, mut sleeps) = (0, 0);
                    while woken < 2 {
                        if open.has_pending() {
                            woken += open.take().wakes.len();
                        } else if open.begin_sleep(3) {
                            sleeps += 1;
                            // An event of another descriptor ends the first sleep.
                            if sleeps > 1 {
                                poll_bell();
                            }
                            open.end_sleep();
                        }
                    }
                    drop(open);
                    close_bell();
                    posting.into_iter().for_each(|one| one.join().unwrap());
                });
            }

            /// A fiber finds no remote wake and sleeps, pending, while two threads wake it. Its executor sleeps until the waker is used.
            /// The second sleep has another waker.
            pub(crate) fn fiber_and_wake() {
                struct Executor(loom::sync::Notify);
                impl std::task::Wake for Executor {
                    fn wake(self: std::sync::Arc<Self>) {
                        self.0.notify();
                    }
                }
                explore(3, || {
                    let open = RemoteReceiver::new();
                    let (queue, run) = (open.queue(), open.run());
                    let posting: Vec<_> = (1..3)
                        .map(|key| {
                            let wake = RemoteWake { tcb: key, task_id: key as u64 };
                            thread::spawn(move || assert!(queue.push(run, wake)))
                        })
                        .collect();
                    let mut woken = 0;
                    while woken < 2 {
                        let executor = std::sync::Arc::new(Executor(loom::sync::Notify::new()));
                        if open.has_pending() {
                            woken += open.take().wakes.len();
                        } else if open.begin_sleep_with(&std::sync::Arc::clone(&executor).into()).is_some() {
                            executor.0.wait();
                        }
                    }
                    drop(open);
                    posting.into_iter().for_each(|one| one.join().unwrap());
                });
            }

            /// A run locks repeatedly while other threads revoke the bias: each holder sees the changes of the previous one.
            pub(crate) fn one_at_a_time(others: usize) {
                explore(3, move || {
                    run();
                    let lock = Arc::new(BiasedLock::new(Cell::new(0)));
                    // loom tracks accesses to its `Cell`, and fails if two threads hold the lock.
                    let add = |lock: &BiasedLock<Cell<usize>>| {
                        let count = lock.lock();
                        count.set(count.get() + 1);
                    };
                    add(&lock);
                    let coming: Vec<_> = (0..others)
                        .map(|other| {
                            let lock = Arc::clone(&lock);
                            thread::spawn(move || {
                                if other > 0 {
                                    run();
                                }
                                add(&lock);
                            })
                        })
                        .collect();
                    add(&lock);
                    add(&lock);
                    coming.into_iter().for_each(|one| one.join().unwrap());
                    assert_eq!(lock.lock().get(), 3 + others);
                });
            }

            /// A plain thread locks before a run does.
            pub(crate) fn a_run_comes_late() {
                explore(3, || {
                    let lock = Arc::new(BiasedLock::new(Cell::new(0)));
                    let add = |lock: &BiasedLock<Cell<usize>>| {
                        let count = lock.lock();
                        count.set(count.get() + 1);
                    };
                    let inner = Arc::clone(&lock);
                    let late = thread::spawn(move || {
                        run();
                        add(&inner);
                        add(&inner);
                    });
                    add(&lock);
                    add(&lock);
                    late.join().unwrap();
                    assert_eq!(lock.lock().get(), 4);
                });
            }

            /// A mutex goes from thread to thread; one of the threads has a run. At each look at the clock `pace` microseconds
            /// pass: with 0, each release offers the mutex; with 1,000, each release grants it.
            pub(crate) fn a_mutex_goes_around(others: usize, pace: u32) {
                explore(3, move || {
                    set_pace(pace);
                    let mutex = Arc::new(Mutex::new(Cell::new(0)));
                    let add = |mutex: &Mutex<Cell<usize>>| {
                        let count = mutex.lock().unwrap();
                        count.set(count.get() + 1);
                    };
                    let locking: Vec<_> = (0..others)
                        .map(|other| {
                            let mutex = Arc::clone(&mutex);
                            thread::spawn(move || {
                                if other == 0 {
                                    run();
                                }
                                add(&mutex);
                            })
                        })
                        .collect();
                    add(&mutex);
                    locking.into_iter().for_each(|one| one.join().unwrap());
                    assert_eq!(mutex.try_lock().unwrap().get(), 1 + others);
                });
            }

            /// The owner of a mutex locks it again and again, which leaves a mark, while other threads revoke its bias.
            pub(crate) fn a_mark_meets_a_revocation(others: usize) {
                // With two threads, three preemptions take minutes.
                explore(4 - others, move || {
                    run();
                    set_pace(1000);
                    let mutex = Arc::new(Mutex::new(Cell::new(0)));
                    let add = |mutex: &Mutex<Cell<usize>>| {
                        let count = mutex.lock().unwrap();
                        count.set(count.get() + 1);
                    };
                    add(&mutex);
                    let coming: Vec<_> = (0..others)
                        .map(|_| {
                            let mutex = Arc::clone(&mutex);
                            thread::spawn(move || add(&mutex))
                        })
                        .collect();
                    (others..3).for_each(|_| add(&mutex));
                    coming.into_iter().for_each(|one| one.join().unwrap());
                    assert_eq!(mutex.try_lock().unwrap().get(), 4);
                });
            }

            /// E3: a waiter is cancelled while the mutex is granted or offered to it. Another thread waits behind it.
            pub(crate) fn a_cancel_hits_a_mutex(others: usize, pace: u32) {
                explore(3, move || {
                    set_pace(pace);
                    let mutex = Arc::new(Mutex::new(()));
                    let held = mutex.lock().unwrap();
                    let inner = Arc::clone(&mutex);
                    let waiting = thread::spawn(move || {
                        let canceller = Canceller::of_this_thread();
                        let cancelling = thread::spawn(move || canceller.cancel());
                        drop(inner.lock());
                        cancelling.join().unwrap();
                    });
                    let behind: Vec<_> = (0..others)
                        .map(|_| {
                            let inner = Arc::clone(&mutex);
                            thread::spawn(move || drop(inner.lock().unwrap()))
                        })
                        .collect();
                    drop(held);
                    waiting.join().unwrap();
                    behind.into_iter().for_each(|one| one.join().unwrap());
                    assert!(!mutex.is_locked(), "the mutex is free");
                });
            }

            /// Two threads use the same waker, each after its own write. The task sees both writes: the second thread may find the
            /// waker posted, and post nothing.
            pub(crate) fn post_and_poll() {
                explore(3, || {
                    use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
                    let open = RemoteReceiver::new();
                    let cell = open.thread_cell();
                    let written = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
                    let posting = written.each_ref().map(|written| {
                        let written = Arc::clone(written);
                        thread::spawn(move || {
                            written.store(true, Relaxed);
                            cell.post();
                        })
                    });
                    while !written.iter().all(|written| written.load(Relaxed)) {
                        open.sleep(None);
                        open.take();
                    }
                    posting.into_iter().for_each(|one| one.join().unwrap());
                });
            }

            /// One thread with a run sends to a plain thread, at capacity 0 or 1.
            pub(crate) fn hand_over(capacity: usize) {
                explore(3, move || {
                    let channel = Arc::new(Chan::new(capacity));
                    let inner = Arc::clone(&channel);
                    let sending = thread::spawn(move || {
                        run();
                        (0..2).for_each(|n| inner.send(n).map_err(drop).unwrap());
                    });
                    let received = (channel.recv().unwrap(), channel.recv().unwrap());
                    assert_eq!(received, (0, 1));
                    sending.join().unwrap();
                });
            }

            /// E3: a receiver is cancelled while a message is granted to it.
            pub(crate) fn a_cancel_hits_a_hand_over() {
                explore(3, || {
                    let channel = Arc::new(Chan::new(1));
                    let canceller = Canceller::of_this_thread();
                    let inner = Arc::clone(&channel);
                    let sending = thread::spawn(move || inner.send(1).map_err(drop).unwrap());
                    let cancelling = thread::spawn(move || canceller.cancel());
                    let received = channel.recv();
                    sending.join().unwrap();
                    cancelling.join().unwrap();
                    let left = channel.try_recv();
                    assert!(received.is_ok() != left.is_ok(), "the message exists once");
                });
            }

            /// A select in two wait queues is granted at most one message, and the other message is not lost.
            pub(crate) fn one_of_two() {
                explore(3, || {
                    let channels = [Arc::new(Chan::new(1)), Arc::new(Chan::new(1))];
                    let sending: Vec<_> = (0..2)
                        .map(|i| {
                            let channel = Arc::clone(&channels[i]);
                            thread::spawn(move || channel.send(i as u32 + 1).map_err(drop).unwrap())
                        })
                        .collect();
                    let received = receive_from_either([&channels[0], &channels[1]]);
                    sending.into_iter().for_each(|one| one.join().unwrap());
                    let left = channels.iter().filter_map(|channel| channel.try_recv().ok());
                    assert_eq!(received.into_iter().chain(left).sum::<u32>(), 1 + 2, "a message is lost");
                    assert!(channels.iter().all(|channel| channel.try_recv().is_err()));
                });
            }

            /// Threads wait for a promise while the thread with a run sets it, or drops it unset.
            pub(crate) fn setting_meets_waiting(waiting: usize, end: PromiseEnd) {
                explore(3, move || {
                    let promise = Promise::new();
                    let waiting: Vec<_> = (0..waiting)
                        .map(|_| {
                            let completion = promise.completion();
                            thread::spawn(move || completion.wait().ok().copied())
                        })
                        .collect();
                    run();
                    if end == PromiseEnd::Set {
                        assert!(promise.set(7).is_ok());
                    }
                    drop(promise);
                    for one in waiting {
                        assert_eq!(one.join().unwrap(), (end == PromiseEnd::Set).then_some(7));
                    }
                });
            }

            /// A task completes the signal in the frame of its joiner, which uses the frame for something else afterwards.
            pub(crate) fn joining_meets_the_end() {
                explore(3, || {
                    let (signal, outcome) = (Arc::new(Signal::new()), Arc::new(Cell::new(0)));
                    let (signal_there, outcome_there) = (Arc::clone(&signal), Arc::clone(&outcome));
                    let task = thread::spawn(move || {
                        outcome_there.set(7);
                        // SAFETY: the signal is in an `Arc`, and completed once.
                        unsafe { Signal::complete(&raw const *signal_there) };
                    });
                    // The first wait ends by a spurious wakeup.
                    let mut is_first = true;
                    while signal.begin_wait() {
                        if !std::mem::replace(&mut is_first, false) {
                            block();
                        }
                    }
                    assert_eq!(outcome.get(), 7);
                    outcome.set(0);
                    signal.overwrite();
                    task.join().unwrap();
                });
            }

            /// Tasks of a scope end while its closure ends. One of them has spawned the other.
            pub(crate) fn scope_meets_its_tasks() {
                explore(3, || {
                    let count = Arc::new(Count::new(WakeHandle::current()));
                    let borrowed = [(); 2].map(|()| Arc::new(Cell::new(0)));
                    let [first, second] = borrowed.each_ref().map(Arc::clone);
                    count.enter();
                    let there = Arc::clone(&count);
                    let task = thread::spawn(move || {
                        there.enter();
                        let inner = Arc::clone(&there);
                        let sibling = thread::spawn(move || inner.leave_after(|| second.set(2)));
                        there.leave_after(|| first.set(1));
                        sibling.join().unwrap();
                    });
                    count.leave();
                    while !count.is_done() {
                        block();
                    }
                    borrowed.iter().zip(1..).for_each(|(borrowed, n)| assert_eq!(borrowed.replace(0), n));
                    task.join().unwrap();
                });
            }

            /// A joiner whose wait is cancelled joins again, while the task ends.
            pub(crate) fn outcome_meets_its_joiner() {
                explore(3, || {
                    let slot = Arc::new(Slot::<u32, u32>::new());
                    let there = Arc::clone(&slot);
                    let task = thread::spawn(move || {
                        // SAFETY: this is the runner, and each is called once.
                        let (left, waiter) = unsafe { there.complete(7) };
                        assert!(left.is_none());
                        if let Some(waiter) = waiter {
                            waiter.wake();
                        }
                    });
                    if slot.begin_wait(Waiter::Wait(WakeHandle::current())) {
                        slot.end_wait();
                    }
                    while slot.begin_wait(Waiter::Wait(WakeHandle::current())) {
                        block();
                    }
                    // SAFETY: this is the owner of the handle.
                    assert_eq!(unsafe { slot.take() }, Some(7));
                    task.join().unwrap();
                });
            }

            /// The handle is dropped while the task ends: one of them has the outcome.
            pub(crate) fn outcome_meets_the_drop() {
                explore(3, || {
                    let slot = Arc::new(Slot::<u32, u32>::new());
                    let there = Arc::clone(&slot);
                    // SAFETY: this is the runner, and completes once.
                    let task = thread::spawn(move || unsafe { there.complete(7) }.0);
                    // SAFETY: this is the owner of the handle, which is not used again.
                    let here = unsafe { slot.detach() };
                    let there = task.join().unwrap();
                    assert_eq!(
                        (here.is_some(), here.xor(there)),
                        (there.is_none(), Some(7)),
                        "the outcome exists once"
                    );
                });
            }

            /// A task starts and ends while it is cancelled: the runner or the canceller knows of it.
            pub(crate) fn cancel_meets_the_start() {
                explore(3, || {
                    let slot = Arc::new(Slot::<u32, u32>::new());
                    let there = Arc::clone(&slot);
                    let task = thread::spawn(move || {
                        // SAFETY: this is the runner, and each is called once.
                        unsafe {
                            let was_cancelled = there.start(3);
                            drop(there.complete(7));
                            was_cancelled
                        }
                    });
                    let here = match slot.cancel() {
                        Cancel::Started(started) => {
                            assert_eq!(*started, 3);
                            Some(false)
                        }
                        Cancel::BeforeStart => Some(true),
                        Cancel::NoEffect => None,
                    };
                    let there = task.join().unwrap();
                    assert_eq!(here.unwrap_or(there), there, "the cancel is lost");
                });
            }

            /// Closing a channel ends the wait of its receiver.
            pub(crate) fn closing_meets_waiting() {
                explore(3, || {
                    let channel = Arc::new(Chan::<u32>::new(0));
                    let inner = Arc::clone(&channel);
                    let receiving = thread::spawn(move || assert!(inner.recv().is_err()));
                    assert!(channel.close());
                    receiving.join().unwrap();
                });
            }
        }
    };
}

mod check {
    use super::*;

    models!(as_it_is);
    models!(sleeps_without_looking);
    models!(sleeps_without_saying_so);
    models!(sleeps_in_the_poller_without_looking);
    models!(sleeps_in_a_fiber_without_looking);
    models!(closes_a_bell_that_is_rung);
    models!(clears_a_cell_by_a_store);
    models!(never_clears_a_cell);
    models!(announces_a_wait_by_a_store);
    models!(reads_the_waiter_after_the_end);
    models!(ends_without_release);
    models!(counts_before_the_end);
    models!(counts_without_order);
    models!(done_before_the_value);
    models!(looks_for_the_waiter_first);
    models!(awaits_before_the_waiter);
    models!(cancels_what_has_started);
    models!(enlists_too_late);
    models!(a_cancel_drops_what_was_handed);
    models!(the_next_is_not_woken);
    models!(handed_over_and_free);
    models!(an_offer_is_not_passed_on);
    models!(woken_once_only);
    models!(taken_without_an_offer);
    models!(two_may_claim);
    models!(looks_before_the_lock);
    models!(no_light_fence);
    models!(no_heavy_fence);
    models!(the_owner_is_not_waited_for);
    models!(a_mark_stays);
    models!(a_mark_is_lost);
    models!(a_mark_is_removed_without_a_look);
}

mod models {
    use super::PromiseEnd;
    use super::check::as_it_is;

    #[test]
    fn e1_no_wake_is_lost_between_looking_and_sleeping() {
        as_it_is::park_and_wake();
    }

    #[test]
    fn polling_and_waking() {
        as_it_is::poll_and_wake();
    }

    #[test]
    fn fiber_and_waking() {
        as_it_is::fiber_and_wake();
    }

    #[test]
    fn posting_and_polling() {
        as_it_is::post_and_poll();
    }

    #[test]
    fn biased_lock_excludes_other_threads() {
        as_it_is::one_at_a_time(1);
        as_it_is::one_at_a_time(2);
        as_it_is::a_run_comes_late();
    }

    #[test]
    fn a_hand_over_through_a_rendezvous() {
        as_it_is::hand_over(0);
    }

    #[test]
    fn a_hand_over_through_a_bounded_channel() {
        as_it_is::hand_over(1);
    }

    #[test]
    fn e3_a_cancel_that_hits_a_hand_over_loses_nothing() {
        as_it_is::a_cancel_hits_a_hand_over();
    }

    #[test]
    fn mutex_hand_off_excludes_other_threads() {
        as_it_is::a_mutex_goes_around(1, 1000);
        as_it_is::a_mutex_goes_around(2, 1000);
    }

    #[test]
    fn marked_mutex_excludes_other_threads() {
        as_it_is::a_mark_meets_a_revocation(1);
        as_it_is::a_mark_meets_a_revocation(2);
    }

    #[test]
    fn offered_mutex_excludes_other_threads() {
        as_it_is::a_mutex_goes_around(1, 0);
        as_it_is::a_mutex_goes_around(2, 0);
    }

    #[test]
    fn e3_a_cancel_that_hits_a_mutex_loses_nothing() {
        for pace in [0, 1000] {
            as_it_is::a_cancel_hits_a_mutex(0, pace);
            as_it_is::a_cancel_hits_a_mutex(1, pace);
        }
    }

    #[test]
    fn select_in_two_queues_is_granted_one_message() {
        as_it_is::one_of_two();
    }

    #[test]
    fn promise_that_is_set_ends_the_waits() {
        as_it_is::setting_meets_waiting(1, PromiseEnd::Set);
        as_it_is::setting_meets_waiting(2, PromiseEnd::Set);
        as_it_is::setting_meets_waiting(1, PromiseEnd::DroppedUnset);
    }

    #[test]
    fn joins_and_ends() {
        as_it_is::joining_meets_the_end();
    }

    #[test]
    fn scopes_and_their_tasks() {
        as_it_is::scope_meets_its_tasks();
    }

    #[test]
    fn outcomes_reach_one_owner() {
        as_it_is::outcome_meets_its_joiner();
        as_it_is::outcome_meets_the_drop();
        as_it_is::cancel_meets_the_start();
    }

    #[test]
    fn closing_ends_the_waits() {
        as_it_is::closing_meets_waiting();
    }
}

/// Each planted fault is detected by its model. Each runs in a process of its own: after loom has stopped at the fault,
/// destructors still run and access objects of loom that no longer exist.
mod faults {
    use super::{PromiseEnd, check, crew};

    #[test]
    #[ignore = "run by the other tests as a child process"]
    fn planted() {
        match std::env::var("CEDE_FAULT").expect("the parent process sets CEDE_FAULT").as_str() {
            "sleeps_without_looking" => check::sleeps_without_looking::park_and_wake(),
            "sleeps_without_saying_so" => check::sleeps_without_saying_so::park_and_wake(),
            "sleeps_in_the_poller_without_looking" => check::sleeps_in_the_poller_without_looking::poll_and_wake(),
            "sleeps_in_a_fiber_without_looking" => check::sleeps_in_a_fiber_without_looking::fiber_and_wake(),
            "closes_a_bell_that_is_rung" => check::closes_a_bell_that_is_rung::poll_and_wake(),
            "clears_a_cell_by_a_store" => check::clears_a_cell_by_a_store::post_and_poll(),
            "never_clears_a_cell" => check::never_clears_a_cell::post_and_poll(),
            "announces_a_wait_by_a_store" => check::announces_a_wait_by_a_store::joining_meets_the_end(),
            "reads_the_waiter_after_the_end" => check::reads_the_waiter_after_the_end::joining_meets_the_end(),
            "ends_without_release" => check::ends_without_release::joining_meets_the_end(),
            "counts_before_the_end" => check::counts_before_the_end::scope_meets_its_tasks(),
            "counts_without_order" => check::counts_without_order::scope_meets_its_tasks(),
            "done_before_the_value" => check::done_before_the_value::outcome_meets_its_joiner(),
            "looks_for_the_waiter_first" => check::looks_for_the_waiter_first::outcome_meets_its_joiner(),
            "awaits_before_the_waiter" => check::awaits_before_the_waiter::outcome_meets_its_joiner(),
            "cancels_what_has_started" => check::cancels_what_has_started::cancel_meets_the_start(),
            "enlists_too_late" => check::enlists_too_late::hand_over(1),
            "a_cancel_drops_what_was_handed" => check::a_cancel_drops_what_was_handed::a_cancel_hits_a_hand_over(),
            "the_next_is_not_woken" => check::the_next_is_not_woken::a_mutex_goes_around(1, 1000),
            "handed_over_and_free" => check::handed_over_and_free::a_mutex_goes_around(2, 1000),
            "an_offer_is_not_passed_on" => check::an_offer_is_not_passed_on::a_cancel_hits_a_mutex(1, 0),
            "woken_once_only" => check::woken_once_only::a_mutex_goes_around(2, 0),
            "taken_without_an_offer" => check::taken_without_an_offer::a_mutex_goes_around(2, 0),
            "two_may_claim" => check::two_may_claim::one_of_two(),
            "looks_before_the_lock" => check::looks_before_the_lock::setting_meets_waiting(1, PromiseEnd::Set),
            "no_light_fence" => check::no_light_fence::one_at_a_time(1),
            "no_heavy_fence" => check::no_heavy_fence::one_at_a_time(1),
            "pushes_without_a_fence" => crew::pushes_without_a_fence::closures_meet_sleep(),
            "sleeps_without_a_fence" => crew::sleeps_without_a_fence::closures_meet_sleep(),
            "sleeps_without_a_second_look" => crew::sleeps_without_a_second_look::closures_meet_sleep(),
            "gives_a_search_back_without_a_look" => {
                crew::gives_a_search_back_without_a_look::closures_meet_sleep();
            }
            "stops_searching_without_a_look" => crew::stops_searching_without_a_look::closures_meet_searches(2),
            "closes_without_waiting" => crew::closes_without_waiting::closure_meets_the_end(),
            "reads_stalls_once" => crew::reads_stalls_once::stall_meets_a_wake(),
            "ignores_wakes_on_their_way" => crew::ignores_wakes_on_their_way::stall_meets_a_wake(),
            "the_owner_is_not_waited_for" => check::the_owner_is_not_waited_for::one_at_a_time(1),
            "a_mark_stays" => check::a_mark_stays::a_mark_meets_a_revocation(1),
            "a_mark_is_lost" => check::a_mark_is_lost::a_mark_meets_a_revocation(1),
            "a_mark_is_removed_without_a_look" => {
                check::a_mark_is_removed_without_a_look::a_mark_meets_a_revocation(1);
            }
            other => unreachable!("{other} is not planted"),
        }
    }

    #[track_caller]
    fn is_found(fault: &str, by: &str) {
        let mut child =
            std::process::Command::new(std::env::current_exe().expect("the path of the test binary is known"));
        let output = child
            .args(["--exact", "faults::planted", "--ignored", "--nocapture"])
            .env("CEDE_FAULT", fault)
            .output()
            .expect("the test binary can be started");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(by), "{fault} was not found: {text}");
    }

    #[test]
    fn a_worker_that_sleeps_without_looking() {
        is_found("sleeps_without_looking", "deadlock");
    }

    #[test]
    fn a_worker_that_does_not_say_that_it_sleeps() {
        is_found("sleeps_without_saying_so", "deadlock");
    }

    #[test]
    fn a_worker_that_polls_without_looking() {
        is_found("sleeps_in_the_poller_without_looking", "deadlock");
    }

    #[test]
    fn a_fiber_that_sleeps_without_looking() {
        is_found("sleeps_in_a_fiber_without_looking", "deadlock");
    }

    #[test]
    fn a_worker_that_closes_a_bell_in_use() {
        is_found("closes_a_bell_that_is_rung", "a closed bell was rung");
    }

    #[test]
    fn a_cell_that_is_cleared_by_a_store() {
        is_found("clears_a_cell_by_a_store", "deadlock");
    }

    #[test]
    fn a_cell_that_is_never_cleared() {
        is_found("never_clears_a_cell", "deadlock");
    }

    #[test]
    fn joiner_that_overwrites_the_end() {
        is_found("announces_a_wait_by_a_store", "deadlock");
    }

    #[test]
    fn end_that_reads_the_waiter_late() {
        is_found("reads_the_waiter_after_the_end", "Causality violation");
    }

    #[test]
    fn end_without_release() {
        is_found("ends_without_release", "Causality violation");
    }

    #[test]
    fn task_that_counts_too_early() {
        is_found("counts_before_the_end", "Causality violation");
    }

    #[test]
    fn count_without_order() {
        is_found("counts_without_order", "Causality violation");
    }

    #[test]
    fn outcome_that_is_set_late() {
        is_found("done_before_the_value", "Causality violation");
    }

    #[test]
    fn waiter_that_is_looked_for_early() {
        is_found("looks_for_the_waiter_first", "deadlock");
    }

    #[test]
    fn waiter_that_is_set_late() {
        is_found("awaits_before_the_waiter", "deadlock");
    }

    #[test]
    fn cancel_that_is_lost() {
        is_found("cancels_what_has_started", "the cancel is lost");
    }

    #[test]
    fn a_receiver_that_enlists_after_unlocking() {
        is_found("enlists_too_late", "deadlock");
    }

    #[test]
    fn a_cancel_that_drops_what_was_handed() {
        is_found("a_cancel_drops_what_was_handed", "the message exists once");
    }

    #[test]
    fn a_mutex_whose_next_is_not_woken() {
        is_found("the_next_is_not_woken", "deadlock");
    }

    #[test]
    fn a_mutex_that_is_handed_over_and_free() {
        is_found("handed_over_and_free", "Causality violation");
    }

    #[test]
    fn a_cancelled_waiter_that_keeps_an_offer() {
        is_found("an_offer_is_not_passed_on", "deadlock");
    }

    #[test]
    fn a_waiter_that_is_woken_only_once() {
        is_found("woken_once_only", "deadlock");
    }

    #[test]
    fn a_woken_waiter_that_takes_a_held_mutex() {
        is_found("taken_without_an_offer", "Causality violation");
    }

    #[test]
    fn two_that_claim_the_same_select() {
        is_found("two_may_claim", "a select was granted two messages");
    }

    #[test]
    fn waiter_that_looks_at_a_promise_before_its_lock() {
        is_found("looks_before_the_lock", "deadlock");
    }

    #[test]
    fn an_owner_without_a_fence() {
        is_found("no_light_fence", "Causality violation");
    }

    #[test]
    fn a_revocation_without_a_fence() {
        is_found("no_heavy_fence", "Causality violation");
    }

    #[test]
    fn push_without_a_fence() {
        is_found("pushes_without_a_fence", "deadlock");
    }

    #[test]
    fn sleep_without_a_fence() {
        is_found("sleeps_without_a_fence", "deadlock");
    }

    #[test]
    fn sleep_without_a_second_look() {
        is_found("sleeps_without_a_second_look", "deadlock");
    }

    #[test]
    fn search_that_is_given_back_without_a_look() {
        is_found("gives_a_search_back_without_a_look", "deadlock");
    }

    #[test]
    fn search_that_stops_without_a_look() {
        is_found("stops_searching_without_a_look", "deadlock");
    }

    #[test]
    fn close_that_does_not_wait() {
        is_found("closes_without_waiting", "an accepted closure was forgotten");
    }

    #[test]
    fn stall_that_is_read_once() {
        is_found("reads_stalls_once", "stalled with a wake on its way");
    }

    #[test]
    fn stall_despite_a_wake() {
        is_found("ignores_wakes_on_their_way", "stalled with a wake on its way");
    }

    #[test]
    fn a_revocation_that_does_not_wait() {
        is_found("the_owner_is_not_waited_for", "Causality violation");
    }

    #[test]
    fn a_revocation_that_leaves_the_mark() {
        is_found("a_mark_stays", "Causality violation");
    }

    #[test]
    fn an_owner_that_loses_its_mark() {
        is_found("a_mark_is_lost", "Causality violation");
    }

    #[test]
    fn an_owner_that_removes_its_mark_blindly() {
        is_found("a_mark_is_removed_without_a_look", "deadlock");
    }
}
