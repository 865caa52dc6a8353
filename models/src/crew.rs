//! Models of the crew: no closure is forgotten while workers sleep, none is accepted after the close, and a stall of all is certain.

use super::explore;
use loom::thread;

/// Defines the models for one of the generated modules.
macro_rules! crew_models {
    ($module:ident) => {
        #[allow(dead_code, reason = "each fault is checked by one model")]
        pub(super) mod $module {
            use super::{explore, thread};
            use crate::modules::$module::scheduler::crew::{Crew, Deques, Member, Stalled};
            use crate::modules::$module::scheduler::job::{Fate, Job, Start};
            use crate::modules::$module::scheduler::remote::RemoteReceiver;
            use loom::sync::atomic::{AtomicUsize, Ordering};
            use std::sync::Arc;

            /// Counts its start, or that it was given up.
            struct Count(loom::sync::Arc<[AtomicUsize; 2]>);

            impl Start for Count {
                fn start(self: Arc<Self>, fate: Fate) {
                    self.0[usize::from(fate == Fate::GiveUp)].fetch_add(1, Ordering::AcqRel);
                }
            }

            fn counts() -> loom::sync::Arc<[AtomicUsize; 2]> {
                loom::sync::Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)])
            }

            fn job(counts: &loom::sync::Arc<[AtomicUsize; 2]>) -> Job {
                // SAFETY: it borrows nothing.
                unsafe { Job::borrowing(Arc::new(Count(loom::sync::Arc::clone(counts)))) }
            }

            fn seated(crew: &Arc<Crew>, number: usize, deques: Deques) -> (Member, RemoteReceiver) {
                let (member, receiver) = (Member::new(Arc::clone(crew), number, deques), RemoteReceiver::new());
                member.take_seat(&receiver);
                (member, receiver)
            }

            /// Finds a closure and starts it, as the event loop does. Sleeps meanwhile.
            fn start_one(member: &Member, receiver: &RemoteReceiver) {
                loop {
                    if receiver.has_pending() {
                        receiver.give_back(receiver.take());
                    }
                    if let Some(job) = member.find() {
                        return job.start();
                    }
                    if !receiver.has_pending() && member.announce_sleep() {
                        receiver.sleep(None);
                        member.end_sleep();
                    } else {
                        thread::yield_now();
                    }
                }
            }

            /// One worker is about to sleep while two threads send closures.
            pub(crate) fn closures_meet_sleep() {
                explore(3, || {
                    let (crew, mut deques) = Crew::new(1);
                    let (member, receiver) = seated(&crew, 0, deques.remove(0));
                    let counts = counts();
                    let pushers: Vec<_> = (0..2)
                        .map(|_| {
                            let (crew, counts) = (Arc::clone(&crew), loom::sync::Arc::clone(&counts));
                            thread::spawn(move || assert!(crew.inject(|| job(&counts))))
                        })
                        .collect();
                    (0..2).for_each(|_| start_one(&member, &receiver));
                    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
                });
            }

            /// Ends its start when both of two closures have been started.
            struct Meeting(loom::sync::Arc<(loom::sync::Mutex<u32>, loom::sync::Condvar)>);

            impl Start for Meeting {
                fn start(self: Arc<Self>, _: Fate) {
                    let mut started = self.0.0.lock().unwrap();
                    *started += 1;
                    self.0.1.notify_one();
                    while *started < 2 {
                        started = self.0.1.wait(started).unwrap();
                    }
                }
            }

            /// Two workers sleep while this thread sends two closures that run at the same time.
            pub(crate) fn closures_meet_searches(preemptions: usize) {
                explore(preemptions, || {
                    let (crew, deques) = Crew::new(2);
                    let meeting = loom::sync::Arc::new((loom::sync::Mutex::new(0), loom::sync::Condvar::new()));
                    let workers: Vec<_> = deques
                        .into_iter()
                        .enumerate()
                        .map(|(number, deques)| {
                            // Seated before the threads start, as `runtime::crew` does.
                            let seat = Seated(seated(&crew, number, deques));
                            thread::spawn(move || {
                                let Seated((member, receiver)) = { seat };
                                start_one(&member, &receiver);
                            })
                        })
                        .collect();
                    for _ in 0..2 {
                        let meeting = Arc::new(Meeting(loom::sync::Arc::clone(&meeting)));
                        // SAFETY: it borrows nothing.
                        let job = || unsafe { Job::borrowing(meeting) };
                        assert!(crew.inject(job));
                    }
                    workers.into_iter().for_each(|worker| worker.join().unwrap());
                });
            }

            /// The model makes the worker's side of a seat on one thread and uses it on another.
            struct Seated((Member, RemoteReceiver));

            // SAFETY: the other thread starts after the value was moved into its closure, and this thread has nothing of it any more.
            unsafe impl Send for Seated {}

            /// A thread sends a closure while the run ends: it is accepted and given up, or refused.
            pub(crate) fn closure_meets_the_end() {
                explore(3, || {
                    let (crew, mut deques) = Crew::new(1);
                    let (member, _receiver) = seated(&crew, 0, deques.remove(0));
                    let counts = counts();
                    let pusher = {
                        let (crew, counts) = (Arc::clone(&crew), loom::sync::Arc::clone(&counts));
                        thread::spawn(move || crew.inject(|| job(&counts)))
                    };
                    crew.close();
                    while let Some(job) = member.find_own() {
                        drop(job);
                    }
                    let given_up = counts[1].load(Ordering::Acquire);
                    let accepted = pusher.join().unwrap();
                    assert_eq!(given_up, usize::from(accepted), "an accepted closure was forgotten");
                });
            }

            /// Worker 1 wakes worker 0, which has stalled, and then stalls itself. The worker that sees all stalled must come after the wake.
            pub(crate) fn stall_meets_a_wake() {
                explore(3, || {
                    let (crew, mut deques) = Crew::new(2);
                    let (first, receiver) = seated(&crew, 0, deques.remove(0));
                    let (second, _other) = seated(&crew, 1, deques.remove(0));
                    let handled = loom::sync::Arc::new(AtomicUsize::new(0));
                    let other = {
                        let (crew, handled) = (Arc::clone(&crew), loom::sync::Arc::clone(&handled));
                        let (queue, run) = (receiver.queue(), receiver.run());
                        let second = Seated((second, _other));
                        thread::spawn(move || {
                            let Seated((second, _receiver)) = { second };
                            assert!(queue.notify(run));
                            second.publish(Some(Stalled::Closed));
                            if crew.all_stalled().is_some() {
                                assert_eq!(handled.load(Ordering::Acquire), 1, "stalled with a wake on its way");
                            }
                        })
                    };
                    first.publish(Some(Stalled::Closed));
                    if crew.all_stalled().is_some() {
                        panic!("stalled with a wake on its way");
                    }
                    receiver.sleep(None);
                    first.publish(None);
                    receiver.give_back(receiver.take());
                    handled.store(1, Ordering::Release);
                    first.publish(Some(Stalled::Closed));
                    let _ = crew.all_stalled();
                    other.join().unwrap();
                });
            }
        }
    };
}

crew_models!(as_it_is);
crew_models!(pushes_without_a_fence);
crew_models!(sleeps_without_a_fence);
crew_models!(sleeps_without_a_second_look);
crew_models!(gives_a_search_back_without_a_look);
crew_models!(stops_searching_without_a_look);
crew_models!(closes_without_waiting);
crew_models!(reads_stalls_once);
crew_models!(ignores_wakes_on_their_way);

#[test]
fn no_closure_is_forgotten() {
    as_it_is::closures_meet_sleep();
}

#[test]
fn no_closure_is_forgotten_by_two_workers() {
    as_it_is::closures_meet_searches(2);
}

#[test]
fn end_forgets_no_closure() {
    as_it_is::closure_meets_the_end();
}

#[test]
fn stall_of_all_is_certain() {
    as_it_is::stall_meets_a_wake();
}
