//! `select!`: waiting for the first of several operations. The behaviours to check are taken from the tests of
//! crossbeam-channel's select, and from Go's.

mod common;

use cede::sync::channel::{RecvError, SendError, TryRecvError, TrySendError, bounded, rendezvous, unbounded};
use cede::sync::promise::PromiseError;
use cede::sync::{Promise, Select};
use cede::task::{Cancelled, shield};
use cede::{Config, JoinError, RunError, select, spawn, yield_now};
use common::worlds::{World, in_all_worlds};
use std::cell::{Cell, RefCell};
use std::iter::once;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn paused<T>(main: impl FnOnce() -> T) -> T {
    Config::new().paused_clock(true).run(main).unwrap()
}

#[test]
fn what_is_ready_is_done_and_nothing_else() {
    in_all_worlds(|_| {
        let (full, numbers) = bounded(1);
        let (free, other) = bounded(1);
        full.send(1).unwrap();
        let (_open, empty) = unbounded::<i32>();
        let received = select! {
            recv(empty) -> message => message,
            recv(numbers) -> message => message,
        };
        assert_eq!(received, Ok(Ok(1)));
        full.send(2).unwrap();
        let sent = select! {
            send(full, 3) -> sent => (1, sent),
            send(free, 4) -> sent => (2, sent),
        };
        assert_eq!(sent, Ok((2, Ok(()))));
        assert_eq!((numbers.try_recv(), numbers.try_recv()), (Ok(2), Err(TryRecvError::Empty)));
        assert_eq!(other.try_recv(), Ok(4));
    });
}

#[test]
fn default_is_for_when_nothing_can_be_done_at_once() {
    let (sender, receiver) = bounded(1);
    let try_recv = || {
        select! {
            recv(receiver) -> message => Some(message.unwrap()),
            default => None,
        }
        .unwrap()
    };
    assert_eq!(try_recv(), None);
    sender.send(1).unwrap();
    assert_eq!(try_recv(), Some(1));
    let waits = select! { default => "at once" };
    assert_eq!(waits, Ok("at once"), "a select with a default needs no case");
}

#[test]
fn default_with_a_duration_waits_so_long() {
    paused(|| {
        let start = cede::time::now();
        let (_sender, receiver) = unbounded::<()>();
        let waited = select! {
            default(SECOND) => true,
            recv(receiver) -> _ => false,
        };
        assert_eq!((waited, cede::time::now() - start), (Ok(true), SECOND));
        let (sender, receiver) = unbounded();
        let timer = cede::time::after(SECOND, move || sender.send(1));
        let received = select! {
            recv(receiver) -> message => message.unwrap(),
            default(3 * SECOND) => 0,
        };
        assert_eq!((received, cede::time::now() - start), (Ok(1), 2 * SECOND));
        drop(timer);
    });
    let (_sender, receiver) = unbounded::<()>();
    assert_eq!(select! { recv(receiver) -> _ => false, default(MS) => true }, Ok(true), "on a plain thread");
}

#[test]
fn a_closed_channel_is_ready() {
    in_all_worlds(|_| {
        let (sender, receiver) = bounded::<i32>(0);
        drop(sender);
        let (_open, empty) = bounded::<i32>(0);
        let ended = select! { recv(empty) -> message => message, recv(receiver) -> message => message };
        assert_eq!(ended, Ok(Err(RecvError::Disconnected)));
        let (sender, receiver) = bounded(0);
        drop(receiver);
        let ended = select! { recv(empty) -> _ => Ok(()), send(sender, 1) -> sent => sent };
        assert_eq!(ended, Ok(Err(SendError::Disconnected(1))));
    });
}

/// A select ends with the first case that is ready. The channel of the other case keeps its messages, and no waiter is
/// left in a wait queue.
#[test]
fn select_ends_with_the_first_case_and_leaves_the_rest() {
    in_all_worlds(|world| {
        let (first, receives_first) = bounded(1);
        let (second, receives_second) = bounded(1);
        let other = world.spawn(move || {
            second.send("second").unwrap();
            (first, second)
        });
        let received = select! {
            recv(receives_first) -> message => message.unwrap(),
            recv(receives_second) -> message => message.unwrap(),
        };
        assert_eq!(received, Ok("second"));
        let (first, second) = other.join();
        first.send("first").unwrap();
        second.send("again").unwrap();
        assert_eq!(
            (receives_first.recv(), receives_second.recv()),
            (Ok("first"), Ok("again")),
            "no waiter is left in a queue"
        );
    });
}

#[test]
fn closing_wakes_a_select() {
    in_all_worlds(|world| {
        let (sender, receiver) = bounded::<()>(1);
        let (_open, empty) = bounded::<()>(1);
        let other = world.spawn(move || drop(sender));
        let ended = select! { recv(empty) -> message => message, recv(receiver) -> message => message };
        assert_eq!(ended, Ok(Err(RecvError::Disconnected)));
        other.join();
    });
}

#[test]
fn each_of_several_ready_cases_is_chosen_sometimes() {
    in_all_worlds(|_| {
        let channels: Vec<_> = (0..5).map(|_| unbounded()).collect();
        channels.iter().for_each(|(sender, _)| (0..1000).for_each(|n| sender.send(n).unwrap()));
        let mut chosen = [0; 5];
        for _ in 0..1000 {
            let mut cases: Vec<_> = channels.iter().map(|(_, receiver)| receiver.case()).collect();
            let mut select = Select::new();
            cases.iter_mut().for_each(|case| select.add(case));
            chosen[select.wait().unwrap()] += 1;
        }
        // Each plain thread has its own random sequence. The bounds are 5.5 standard deviations away.
        assert!(chosen.iter().all(|times| (130..270).contains(times)), "{chosen:?}");
    });
}

#[test]
fn which_one_is_chosen_is_the_same_in_every_run() {
    let once = || {
        cede::run(|| {
            let channels: Vec<_> = (0..40).map(|_| unbounded()).collect();
            channels.iter().for_each(|(sender, _)| (0..9).for_each(|n| sender.send(n).unwrap()));
            let mut chosen = Vec::new();
            for _ in 0..100 {
                let mut cases: Vec<_> = channels.iter().map(|(_, receiver)| receiver.case()).collect();
                let mut select = Select::new();
                cases.iter_mut().for_each(|case| select.add(case));
                chosen.push(select.attempt().unwrap());
            }
            chosen
        })
    };
    assert_eq!(once(), once());
}

#[test]
fn one_channel_may_be_in_several_cases() {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        let mut other = spawn(move || sender.send(1));
        let received = select! {
            recv(receiver) -> message => message,
            recv(receiver) -> message => message,
        };
        assert_eq!((received, other.join().unwrap()), (Ok(Ok(1)), Ok(())));
    });
}

#[test]
fn select_does_not_send_to_itself() {
    paused(|| {
        let (sender, receiver) = rendezvous();
        let alone = select! {
            send(sender, 1) -> _ => "sent",
            recv(receiver) -> _ => "received",
            default(SECOND) => "alone",
        };
        assert_eq!(alone, Ok("alone"));
        // Two selects that offer both meet.
        let (inner, inner_receiver) = (sender.clone(), receiver.clone());
        let mut other = spawn(move || {
            select! {
                send(inner, 1) -> _ => 1,
                recv(inner_receiver) -> message => -message.unwrap(),
            }
        });
        let own = select! {
            send(sender, 2) -> _ => 2,
            recv(receiver) -> message => -message.unwrap(),
        };
        let sum = own.unwrap() + other.join().unwrap().unwrap();
        assert_eq!(sum, 0, "one select received the message of the other");
    });
}

#[test]
fn selects_that_send_or_receive_meet_in_pairs() {
    in_all_worlds(|world| {
        let (sender, receiver) = rendezvous();
        let people: Vec<_> = (0..44)
            .map(|me| {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                world.spawn(move || {
                    select! {
                        recv(receiver) -> other => Some((other.unwrap(), me)),
                        send(sender, me) -> _ => None,
                    }
                    .unwrap()
                })
            })
            .collect();
        let mut met: Vec<_> = people.into_iter().filter_map(|one| one.join()).flat_map(|(a, b)| [a, b]).collect();
        met.sort_unstable();
        assert!(met.into_iter().eq(0..44));
    });
}

#[test]
fn a_message_that_was_not_sent_stays() {
    let (sender, receiver) = bounded(1);
    sender.send(1).unwrap();
    let mut message = Some(2);
    let mut attempt = || {
        select! {
            send_from(sender, &mut message) -> sent => sent.is_ok(),
            default(MS) => false,
        }
    };
    assert_eq!(attempt(), Ok(false));
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(attempt(), Ok(true));
    assert_eq!(message, None);
    assert_eq!(receiver.try_recv(), Ok(2));
    let mut case = sender.case(3);
    sender.send(0).unwrap();
    let mut select = Select::new();
    select.add(&mut case);
    assert_eq!(select.wait_timeout(MS), Ok(None));
    assert_eq!(case.into_message(), Some(3));
}

#[test]
fn timers_tasks_and_promises_are_cases_too() {
    paused(|| {
        let start = cede::time::now();
        let mut sleeper = spawn(|| cede::time::sleep(2 * SECOND - MS).map(|()| "slept"));
        let promise = Promise::new();
        let completion = promise.completion();
        let timer = cede::time::after(3 * SECOND, move || promise.set("set"));
        let (_sender, receiver) = unbounded::<&str>();
        let mut next = || {
            select! {
                recv(receiver) -> message => message.unwrap(),
                join(&mut sleeper) -> slept => slept.unwrap().unwrap(),
                after(SECOND) => "rang",
            }
            .unwrap()
        };
        assert_eq!((next(), cede::time::now() - start), ("rang", SECOND));
        assert_eq!((next(), cede::time::now() - start), ("slept", 2 * SECOND - MS));
        let last = select! {
            wait(completion) -> value => value.unwrap(),
            at(start + 5 * SECOND) => &"rang",
        };
        assert_eq!((last, cede::time::now() - start), (Ok(&"set"), 3 * SECOND));
        assert!(timer.join().unwrap().unwrap().is_ok());
        let dropped = Promise::<i32>::new().completion();
        assert!(matches!(select! { wait(dropped) -> value => value }, Ok(Err(PromiseError::Dropped))));
    });
}

#[test]
fn a_task_that_was_not_chosen_can_be_joined_later() {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        let mut slow = spawn(|| {
            (0..5).for_each(|_| yield_now());
            7
        });
        spawn(move || sender.send(1));
        let chosen = select! { join(&mut slow) -> _ => 0, recv(receiver) -> message => message.unwrap() };
        assert_eq!(chosen, Ok(1));
        assert!(!slow.is_finished());
        assert_eq!(slow.join().unwrap(), 7);
    });
    let mut outlives = cede::run(|| spawn(|| cede::task::park("the end")));
    let ended = select! { join(&mut outlives) -> result => result.is_err() };
    assert_eq!(ended, Ok(true), "the task never ran, and its run is over");
}

#[test]
fn a_panic_of_the_task_is_the_result() {
    if cfg!(panic = "abort") {
        return;
    }
    cede::run(|| {
        let mut task = spawn(|| panic!("on purpose"));
        let result = select! { join(&mut task) -> result => result };
        assert!(matches!(result, Ok(Err(JoinError::Panicked(_)))));
    });
}

#[test]
fn a_cancel_ends_the_wait_and_nothing_is_lost() {
    cede::run(|| {
        let (sender, receiver) = rendezvous();
        let (filled, _keep) = bounded(0);
        let inner = receiver.clone();
        let mut task = spawn(move || {
            let mut message = Some(5);
            let chosen = select! {
                recv(inner) -> message => message,
                send_from(filled, &mut message) -> _ => Ok(0),
            };
            (chosen, message)
        });
        yield_now();
        task.cancel();
        yield_now();
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)), "no waiter is left in the queue");
        assert_eq!(task.join().unwrap(), (Err(Cancelled), Some(5)));
        // In the other order a message was handed off first, and the select keeps it.
        let mut task = spawn(move || select! { recv(receiver) -> message => message, after(SECOND) => Ok(0) });
        yield_now();
        sender.try_send(2).unwrap();
        task.cancel();
        assert_eq!(task.join().unwrap(), Ok(Ok(2)));
    });
}

#[test]
fn a_cancelled_task_still_does_what_needs_no_wait() {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        sender.send(1).unwrap();
        let mut task = spawn(move || {
            let _ = cede::task::park("a cancel");
            let there = select! { recv(receiver) -> message => message };
            (there, select! { recv(receiver) -> message => message })
        });
        yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), (Ok(Ok(1)), Err(Cancelled)));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn unwound_select_passes_its_granted_message_on() {
    let (sender, receiver) = rendezvous();
    let inner = receiver.clone();
    struct SendsAtTheEnd(cede::sync::channel::Sender<i32>);
    impl Drop for SendsAtTheEnd {
        fn drop(&mut self) {
            // From another thread, which cannot see that the receiver is to be unwound too.
            std::thread::scope(|scope| scope.spawn(|| self.0.try_send(1)).join().unwrap()).unwrap();
        }
    }
    let sends = SendsAtTheEnd(sender.clone());
    let config = Config::new().shutdown_grace(20 * MS);
    config
        .run(move || {
            // Both are unwound at the end of the grace period, in the order in which they were made.
            spawn(move || {
                let _sends = sends;
                shield(|| cede::task::park("the end"))
            });
            spawn(move || shield(|| select! { recv(inner) -> message => message, after(1000 * SECOND) => Ok(0) }));
            yield_now();
        })
        .unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_destructor_in_a_panic_does_what_needs_no_wait() {
    struct AtTheEnd(cede::sync::channel::Receiver<i32>, Rc<RefCell<Vec<Result<i32, Cancelled>>>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            for _ in 0..2 {
                self.1.borrow_mut().push(select! { recv(self.0) -> message => message.unwrap() });
            }
        }
    }
    let log = Rc::default();
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        sender.send(1).unwrap();
        let at_the_end = AtTheEnd(receiver, Rc::clone(&log));
        let mut task = spawn(move || {
            let _at_the_end = at_the_end;
            panic!("on purpose");
        });
        assert!(task.join().is_err());
        drop(sender);
    });
    assert_eq!(*log.borrow(), [Ok(1), Err(Cancelled)]);
}

#[test]
fn spurious_wakes_neither_end_a_select_nor_cost_its_place() {
    cede::run(|| {
        let (sender, receiver) = rendezvous();
        let unparker: Rc<RefCell<Option<cede::task::Unparker>>> = Rc::default();
        let (inner, first) = (Rc::clone(&unparker), receiver.clone());
        let mut first = spawn(move || {
            *inner.borrow_mut() = Some(cede::task::Unparker::current());
            select! { recv(first) -> message => message }
        });
        yield_now();
        let mut second = spawn(move || receiver.recv());
        yield_now();
        unparker.borrow().as_ref().unwrap().unpark();
        yield_now();
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(Ok(1)), Ok(2)));
    });
}

#[test]
fn a_deadlock_in_a_select_is_reported() {
    let (_sender, receiver) = rendezvous::<()>();
    let outcome =
        Config::new().closed_world(true).run(|| select! { recv(receiver) -> _ => (), after(Duration::MAX) => () });
    let Err(RunError::Deadlock { report, outcome }) = outcome else { panic!("no deadlock") };
    assert!(report.to_string().contains("waits for one of several things"), "{report}");
    assert_eq!(outcome.unwrap(), Err(Cancelled));
    // A select over tasks alone is a certain deadlock also without `closed_world`.
    let handle = Rc::new(RefCell::new(None));
    let outcome = Config::new().run(|| {
        let inner = Rc::clone(&handle);
        let mut task = spawn(move || {
            let mut main: Option<cede::JoinHandle<()>> = inner.borrow_mut().take();
            let _ = main.as_mut().map(cede::JoinHandle::join);
            cede::task::park_until("a second", cede::time::now() + MS)
        });
        select! { join(&mut task) -> result => result.is_ok() }
    });
    assert!(matches!(outcome, Ok(Ok(true))));
}

#[test]
fn arms_may_break_return_and_borrow_what_the_cases_borrow() {
    fn first(receiver: &cede::sync::channel::Receiver<i32>) -> Option<i32> {
        let mut seen = 0;
        loop {
            select! {
                recv(receiver) -> message => match message {
                    Ok(0) => continue,
                    Ok(1) => break,
                    Ok(n) => return Some(n),
                    Err(_) => return None,
                },
                default => {
                    seen += 1;
                    if seen > 3 { return None }
                }
            }
            .ok()?;
        }
        receiver.try_recv().ok()
    }
    let (sender, receiver) = unbounded();
    [0, 0, 1, 9, 7].into_iter().for_each(|n| sender.send(n).unwrap());
    assert_eq!((first(&receiver), first(&receiver), first(&receiver)), (Some(9), Some(7), None));
    cede::run(|| {
        let mut handle = spawn(|| 1);
        let joined = select! {
            join(&mut handle) -> result => { drop(handle); result.unwrap() }
            after(SECOND) => { handle.cancel(); 0 }
        };
        assert_eq!(joined, Ok(1));
    });
}

#[test]
fn a_forgotten_select_does_nothing() {
    let (sender, receiver) = bounded(1);
    let mut case = receiver.case();
    let mut select = Select::new();
    select.add(&mut case);
    std::mem::forget(select);
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
#[should_panic(expected = "cannot wait in a select without cases")]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_select_without_cases_is_refused() {
    let _ = Select::new().wait();
}

#[test]
fn selects_over_many_channels_lose_and_double_nothing() {
    const EACH: usize = 300;
    in_all_worlds(|world| {
        let kinds = || [rendezvous(), bounded(1), bounded(4), unbounded()];
        let channels = kinds();
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
                world.spawn(move || {
                    for n in 0..EACH {
                        let mut cases: Vec<_> = senders.iter().map(|sender| sender.case(n)).collect();
                        let mut select = Select::new();
                        cases.iter_mut().for_each(|case| select.add(case));
                        let chosen = select.wait().unwrap();
                        cases[chosen].take().unwrap();
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let mut receivers: Vec<_> = channels.iter().map(|(_, receiver)| receiver.clone()).collect();
                world.spawn(move || {
                    let mut sum = 0;
                    while !receivers.is_empty() {
                        let mut cases: Vec<_> = receivers.iter().map(|receiver| receiver.case()).collect();
                        let mut select = Select::new();
                        cases.iter_mut().for_each(|case| select.add(case));
                        let chosen = select.wait().unwrap();
                        match cases[chosen].take() {
                            Ok(n) => sum += n,
                            Err(_) => drop(receivers.swap_remove(chosen)),
                        }
                    }
                    sum
                })
            })
            .collect();
        drop(channels);
        senders.into_iter().for_each(|sender| sender.join());
        let sum: usize = receivers.into_iter().map(|receiver| receiver.join()).sum();
        assert_eq!(sum, 3 * EACH * (EACH - 1) / 2, "{world:?}");
    });
}

#[test]
fn a_select_in_a_circle_of_workers_goes_round() {
    // Go's doubleselect and chain tests: every worker both sends and receives, through one select.
    for world in [World::Tasks, World::Threads, World::Workers] {
        world.main(|| {
            let count = 4;
            let ends: Vec<_> = (0..count).map(|_| bounded::<u32>(1)).collect();
            let people: Vec<_> = (0..count)
                .map(|me| {
                    let (next, own) = (ends[(me + 1) % count].0.clone(), ends[me].1.clone());
                    world.spawn(move || {
                        let (sent, received) = (Cell::new(0), Cell::new(0));
                        while sent.get() < 200 || received.get() < 200 {
                            let mut message = (sent.get() < 200).then_some(sent.get());
                            if message.is_none() {
                                assert_eq!(own.recv(), Ok(received.get()));
                                received.set(received.get() + 1);
                                continue;
                            }
                            select! {
                                send_from(next, &mut message) -> result => { result.unwrap(); sent.set(sent.get() + 1) }
                                recv(own) -> message => {
                                    assert_eq!(message, Ok(received.get()));
                                    received.set(received.get() + 1);
                                }
                            }
                            .unwrap();
                        }
                    })
                })
                .collect();
            people.into_iter().for_each(|one| one.join());
        });
    }
}

// ---- the choice of a select that has to wait

/// Returns how many of 100 selects that wait on one channel twice choose the first case: for sends, and for receives.
fn first_cases(config: Config) -> [usize; 2] {
    let main = || {
        let (sender, receiver) = rendezvous();
        let mut other = spawn(move || {
            let first = |_: &u32| {
                yield_now(); // the select is enqueued by now
                receiver.recv() == Ok(0)
            };
            (0..100).filter(first).count()
        });
        for _ in 0..100 {
            select! { send(sender, 0) -> sent => sent.unwrap(), send(sender, 1) -> sent => sent.unwrap() }.unwrap();
        }
        let sent = other.join().unwrap();
        let (sender, receiver) = rendezvous();
        let mut other = spawn(move || {
            (0..100).filter(|_| select! { recv(receiver) -> _ => true, recv(receiver) -> _ => false }.unwrap()).count()
        });
        for n in 0..100 {
            yield_now();
            sender.send(n).unwrap();
        }
        [sent, other.join().unwrap()]
    };
    config.run(main).unwrap()
}

/// Go's TestPseudoRandomSend.
#[test]
fn select_on_one_channel_twice_chooses_either_case() {
    let configs = [Config::new(), Config::new().seed(1), Config::new().seed(2), Config::new().seed(3)];
    for counts in configs.map(first_cases) {
        assert!(counts.iter().all(|count| (20..80).contains(count)), "{counts:?}");
    }
}

/// Returns the chosen ones of `count` cases: first if all are ready, then if each has to wait.
fn choices(config: Config, count: usize) -> Vec<usize> {
    let main = || {
        let (sender, receiver) = unbounded();
        (0..40).for_each(|n| sender.send(n).unwrap());
        let one = move |_| {
            let mut cases: Vec<_> = (0..count).map(|_| receiver.case()).collect();
            let mut select = Select::new();
            cases.iter_mut().for_each(|case| select.add(case));
            select.wait().unwrap()
        };
        let mut other = spawn(move || (0..80).map(one).collect::<Vec<_>>());
        for n in 0..40 {
            (0..4).for_each(|_| yield_now());
            sender.send(n).unwrap();
        }
        other.join().unwrap()
    };
    config.run(main).unwrap()
}

#[test]
fn seed_decides_what_selects_choose() {
    for count in [4, 40] {
        let unseeded = choices(Config::new(), count);
        let mut seen = std::collections::BTreeSet::from([(unseeded[..40].to_vec(), unseeded[40..].to_vec())]);
        for seed in 0..20 {
            let chosen = choices(Config::new().seed(seed), count);
            assert_eq!(chosen, choices(Config::new().seed(seed), count), "seed {seed}");
            seen.insert((chosen[..40].to_vec(), chosen[40..].to_vec()));
        }
        let ready = seen.iter().map(|(ready, _)| ready).collect::<std::collections::BTreeSet<_>>();
        let waiting = seen.iter().map(|(_, waiting)| waiting).collect::<std::collections::BTreeSet<_>>();
        assert_eq!((ready.len(), waiting.len()), (21, 21), "each seed gives its own choices");
    }
}

/// The first select of a thread may choose either case. Otherwise a server with a thread for each request would serve one channel
/// only.
#[test]
fn first_selects_of_threads_choose_either_case() {
    let first = |_| {
        let thread = std::thread::spawn(|| {
            let (sender, receiver) = bounded(1);
            sender.send(1).unwrap();
            select! { recv(receiver) -> _ => true, recv(receiver) -> _ => false }.unwrap()
        });
        thread.join().unwrap()
    };
    let count = (0..100).filter(|n| first(*n)).count();
    assert!((20..80).contains(&count), "{count}");
}

// ---- what the macro accepts: all that crossbeam-channel's does

/// A channel that is reached by a method.
struct Node(cede::sync::channel::Sender<i32>, cede::sync::channel::Receiver<i32>);

impl Node {
    fn sender(&self) -> cede::sync::channel::Sender<i32> {
        self.0.clone()
    }

    fn receiver(&self) -> cede::sync::channel::Receiver<i32> {
        self.1.clone()
    }
}

fn node(messages: impl IntoIterator<Item = i32>) -> Node {
    let (sender, receiver) = unbounded();
    messages.into_iter().for_each(|n| sender.send(n).unwrap());
    Node(sender, receiver)
}

#[test]
fn select_with_temporary_operands_waits_and_ends() {
    in_all_worlds(|world| {
        let empty = node([]);
        let sender = empty.sender();
        let other = world.spawn(move || sender.send(1).unwrap());
        let received = select! {
            recv(empty.receiver()) -> message => message,
            recv(node([]).1) -> message => message,
            after(Duration::from_secs(600)) => Ok(0),
        };
        other.join();
        assert_eq!(received, Ok(Ok(1)));
        assert_eq!(select! { send(empty.sender(), 5) -> sent => sent.is_ok() }, Ok(true));
        let cell = RefCell::new(empty.receiver());
        assert_eq!(select! { recv(cell.borrow()) -> message => message }, Ok(Ok(5)));
        assert!(cell.try_borrow_mut().is_ok(), "the temporary has ended with the select");
    });
}

#[test]
fn select_temporaries_end_before_the_statement_does() {
    let cell = RefCell::new(node([1, 2]).1);
    let mut rest = |message: i32| (message, cell.borrow_mut().try_recv());
    assert_eq!(select! { recv(cell.borrow()) -> message => message.unwrap() }.map(&mut rest), Ok((1, Ok(2))));
}

#[test]
fn select_with_messages_from_a_cell_frees_it_while_it_waits() {
    paused(|| {
        let (cell, time) = (RefCell::new(1), RefCell::new(MS));
        let (full, _receiver) = rendezvous();
        let waited = select! {
            send(full, *cell.borrow()) -> _ => 0,
            after(*time.borrow() * 2) => 0,
            default(*time.borrow()) => {
                *time.borrow_mut() = SECOND;
                *cell.borrow_mut()
            }
        };
        assert_eq!((waited, *time.borrow()), (Ok(1), SECOND));
    });
}

#[test]
fn select_operands_that_move_out_or_are_moved_compile() {
    let Node(sender, receiver) = node([]);
    select! { recv({ receiver }) -> _ => {} send(std::convert::identity(sender), 0) -> _ => {} }.unwrap();
    let Node(sender, receiver) = node([]);
    let owned = Box::new(());
    let get = move || {
        drop(owned);
        sender
    };
    select! { send(get(), 5) -> sent => sent.unwrap() }.unwrap();
    let received =
        select! { recv(once(receiver).next().unwrap_or(unbounded().1)) -> message => message, default => panic!() };
    assert_eq!(received, Ok(Ok(5)));
    let Node(sender, receiver) = node([3]);
    let moved = select! {
        recv(receiver) -> message => (message, Some(receiver)),
        send(sender, 0) -> _ => (Ok(3), { drop(sender); None }),
    };
    assert_eq!(moved.unwrap().0, Ok(3), "an arm may move what the operations borrow");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn select_whose_operand_panics_panics_likewise() {
    fn receiver() -> cede::sync::channel::Receiver<i32> {
        panic!("no receiver")
    }
    fn sender() -> cede::sync::channel::Sender<i32> {
        panic!("no sender")
    }
    let text = |f: fn() -> Result<(), Cancelled>| *std::panic::catch_unwind(f).unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(text(|| select! { recv(receiver()) -> _ => {} }), "no receiver");
    assert_eq!(text(|| select! { send(sender(), 5) -> _ => {} }), "no sender");
}

#[test]
fn select_operands_may_be_conditions_and_blocks() {
    let (one, other) = (node([1]), node([2]));
    let mut log = Vec::new();
    for first in [true, false] {
        select! { recv(if first { &one.1 } else { &other.1 }) -> message => log.push(message.unwrap()) }.unwrap();
    }
    one.0.send(3).unwrap();
    select! { recv({ log.push(0); &one.1 }) -> message => log.push(message.unwrap()) }.unwrap();
    let sent = select! { send(match log.len() { 4 => &one.0, _ => &other.0 }, { log.push(4); 5 }) -> sent => sent };
    assert_eq!((sent, log), (Ok(Ok(())), vec![1, 2, 0, 3, 4]));
    assert_eq!(one.1.try_recv(), Ok(5));
    // Operands that dereference to a channel or a promise are accepted, also a closure's argument whose type is not known yet.
    let promise = Promise::new();
    let completion = Rc::new(promise.completion());
    promise.set(7).unwrap();
    assert_eq!(select! { wait(completion) -> value => *value.unwrap() }, Ok(7));
    assert_eq!(select! { wait(promise.completion()) -> value => *value.unwrap() }, Ok(7));
    let receive = |receiver| select! { recv(receiver) -> message => message.unwrap() };
    assert_eq!((other.0.send(8), receive(other.1)), (Ok(()), Ok(8)));
}

#[test]
fn select_accepts_a_default_with_and_without_parentheses() {
    let (_sender, empty) = rendezvous::<()>();
    let (full, _receiver) = rendezvous::<()>();
    assert_eq!(select! { recv(empty) -> _ => 0, default => 1 }, Ok(1));
    assert_eq!(select! { default() => {1} recv(empty) -> _ => 0 }, Ok(1));
    assert_eq!(select! { send(full, ()) -> _ => panic!(), default() => {} }, Ok(()));
    assert_eq!(select! { default() => 1 }, Ok(1));
    assert_eq!(select! { default() => 1, }, Ok(1));
    assert_eq!(select! { default(MS) => {} }, Ok(()));
    assert_eq!(select! { recv(empty) -> _ => 0, default(MS,) => 1, }, Ok(1));
}

#[test]
fn select_accepts_trailing_commas_in_all_operations() {
    paused(|| {
        let (sender, receiver) = unbounded();
        let mut task = spawn(|| 1);
        let (promise, mut message) = (Promise::<i32>::new(), Some(2));
        let completion = promise.completion();
        let (full, _keep) = bounded(1);
        full.send(0).unwrap();
        let mut arms = std::collections::BTreeSet::new();
        for n in 0..7 {
            match n {
                0 => sender.send(0).unwrap(),
                1 => drop(task.join()),
                2 => promise.set(3).unwrap(),
                _ => {}
            }
            let arm = select! {
                recv(receiver,) -> message => { message.unwrap() }
                send(full, 5,) -> _ => 1,
                send_from(full, &mut message,) -> _ => { 2 },
                wait(completion,) -> value => *value.unwrap(),
                after(SECOND,) => { 4 },
                at(cede::time::now() + 2 * SECOND,) => 5,
                default(3 * SECOND,) => 6,
            };
            arms.insert(arm.unwrap());
        }
        assert!(arms.is_subset(&(0..5).collect()), "{arms:?}");
        let mut task = spawn(|| 8);
        assert_eq!(select! { join(&mut task,) -> result => result.unwrap(), }, Ok(8));
    });
}

#[test]
fn select_accepts_all_forms_of_bodies_and_patterns() {
    let Node(sender, receiver) = node(0..9);
    // A block that continues is an expression, and needs its comma.
    assert_eq!(select! { recv(receiver) -> _ => { "text" }.len(), default => { 1 } + 1, }, Ok(4));
    assert_eq!(select! { recv(receiver) -> Ok(_) | Err(_) => 2, default => 7 }, Ok(2));
    assert_eq!(select! { recv(receiver) -> mut n => { n = n.map(|n| n + 10); n } }, Ok(Ok(12)));
    assert_eq!(select! { recv(receiver) => () }, Ok(()), "without a pattern");
    assert_eq!(select! { recv(receiver) -> n => if n == Ok(4) { 1 } else { 2 }, }, Ok(1));
    assert_eq!(select! { recv(receiver) -> n => match n { Ok(5) => "five", _ => "" } }, Ok("five"));
    // The type that is expected of the select is expected of its arms.
    let shown: Result<Box<dyn std::fmt::Display>, Cancelled> =
        select! { recv(receiver) -> n => Box::new(n.unwrap()), default => Box::new("none") };
    assert_eq!(shown.unwrap().to_string(), "6");
    // Names of the operations are no keywords.
    let (send, recv, default) = (sender, receiver, 30);
    assert_eq!(
        select! { recv(recv) -> recv => recv, send(send, default) -> send => send.map(|()| 7).map_err(|_| RecvError::Disconnected) },
        Ok(Ok(7))
    );
}

/// As many as crossbeam-channel's select! takes, and some more.
#[test]
fn select_of_forty_arms_compiles_and_chooses() {
    let nodes: Vec<_> = (0..40).map(|n| node((n == 39).then_some(n))).collect();
    macro_rules! all {
        ($($n:literal)+) => { select! { $(recv(nodes[$n].1) -> message => { message.unwrap() })+ default => -1 } };
    }
    let chosen = all!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
    );
    assert_eq!(chosen, Ok(39));
}
