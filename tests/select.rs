//! Waiting for whichever of several things comes first. Which behaviours there are to check was learnt from crossbeam-channel's
//! tests of its select, and from Go's.

mod common;

use cede::sync::channel::{RecvError, SendError, TryRecvError, TrySendError, bounded, rendezvous, unbounded};
use cede::sync::promise::PromiseError;
use cede::sync::{Promise, Select};
use cede::task::{Cancelled, shield};
use cede::{Config, JoinError, RunError, select, spawn, yield_now};
use common::worlds::{World, in_all_worlds};
use std::cell::{Cell, RefCell};
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
    assert_eq!(waits, Ok("at once"), "also without any case");
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

#[test]
fn a_wait_ends_with_the_first_that_comes_and_leaves_the_others_alone() {
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
        assert_eq!((receives_first.recv(), receives_second.recv()), (Ok("first"), Ok("again")), "nobody is in line");
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
fn of_several_that_are_ready_each_is_chosen_now_and_then() {
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
        assert!(chosen.iter().all(|times| (150..250).contains(times)), "{chosen:?}");
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
fn one_channel_may_stand_in_several_cases() {
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
fn nobody_sends_to_itself() {
    paused(|| {
        let (sender, receiver) = rendezvous();
        let alone = select! {
            send(sender, 1) -> _ => "sent",
            recv(receiver) -> _ => "received",
            default(SECOND) => "alone",
        };
        assert_eq!(alone, Ok("alone"));
        // But two that both would do either meet.
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
        assert_eq!(sum, 0, "what one sent the other received");
    });
}

#[test]
fn those_who_would_send_or_receive_meet_in_pairs() {
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
        let mut sleeper = spawn(|| cede::time::sleep(2 * SECOND).map(|()| "slept"));
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
        assert_eq!((next(), cede::time::now() - start), ("slept", 2 * SECOND));
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
    let mut outlives = cede::run(|| spawn(|| cede::task::park("for ever")));
    let ended = select! { join(&mut outlives) -> result => result.is_err() };
    assert_eq!(ended, Ok(true), "it never ran, and its run is over");
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
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)), "nobody is in line any more");
        assert_eq!(task.join().unwrap(), (Err(Cancelled), Some(5)));
        // The other way round it was handed something first, and keeps it.
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
fn a_select_that_is_unwound_passes_on_what_it_was_handed() {
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
    let config = Config::new().grace(20 * MS);
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
fn stray_wakes_do_not_end_a_select_nor_cost_it_its_place() {
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
    // Of tasks alone it is certain without being told.
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
#[should_panic(expected = "a select without cases would wait for ever")]
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
    // Go's doubleselect and chain tests: everybody both sends and receives, through one select.
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
