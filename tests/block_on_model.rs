//! Random programs of tasks that wait for futures, against a model that knows which tasks end.
//!
//! Each task has a mailbox of permits, which only its own futures take. So the order of turns does not decide which tasks end, and
//! the model is a simulation of one order.

mod common;

use cede::task::Cancelled;
use cede::{Config, Generator, RunError, Yielder, block_on, spawn, yield_now};
use common::emulated;
use common::futures::self_waking;
use common::random::{Random, each_seed};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

#[derive(Default)]
struct Mailbox {
    permits: u32,
    waker: Option<Waker>,
}

type Mailboxes = Arc<Vec<Mutex<Mailbox>>>;

/// Adds `permits` to a mailbox, and uses its waker, also if there is none to add.
fn send(mailboxes: &Mailboxes, to: usize, permits: u32) {
    let mut mailbox = mailboxes[to].lock().unwrap();
    mailbox.permits += permits;
    let waker = mailbox.waker.take();
    drop(mailbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Returns a future that takes a permit. With `spurious` a task wakes it after each of the first three polls.
fn take(mailboxes: &Mailboxes, own: usize, spurious: bool) -> impl Future<Output = ()> + use<> {
    let mailboxes = Arc::clone(mailboxes);
    let mut spurious_wakes = if spurious { 3 } else { 0 };
    poll_fn(move |cx| {
        let mut mailbox = mailboxes[own].lock().unwrap();
        if mailbox.permits > 0 {
            mailbox.permits -= 1;
            return Poll::Ready(());
        }
        mailbox.waker = Some(cx.waker().clone());
        drop(mailbox);
        if spurious_wakes > 0 {
            spurious_wakes -= 1;
            let waker = cx.waker().clone();
            spawn(move || waker.wake());
        }
        Poll::Pending
    })
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(usize),
    /// Uses the waker of a mailbox without a permit.
    Wake(usize),
    Yield,
    SelfWake(u32),
    Take(Way),
}

/// The place of the `block_on` that takes a permit.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    /// With wakes by tasks that the polls spawn.
    Spurious,
    /// In the poll of another future.
    Nested,
    /// In the body of a generator.
    Generator,
    /// With a channel's wait in an earlier poll.
    AfterWait,
}

fn program(random: &mut Random, tasks: usize) -> Vec<Step> {
    (0..random.below(8))
        .map(|_| match random.below(9) {
            0..3 => Step::Send(random.below(tasks)),
            3 => Step::Wake(random.below(tasks)),
            4 => Step::Yield,
            5 => Step::SelfWake(random.below(4) as u32),
            _ => Step::Take(match random.below(6) {
                0..2 => Way::Plain,
                2 => Way::Spurious,
                3 => Way::Nested,
                4 => Way::Generator,
                _ => Way::AfterWait,
            }),
        })
        .collect()
}

/// Returns the number of steps that each task completes.
fn simulate(programs: &[Vec<Step>]) -> Vec<usize> {
    let (mut at, mut permits) = (vec![0; programs.len()], vec![0; programs.len()]);
    loop {
        let before = at.clone();
        for (task, program) in programs.iter().enumerate() {
            while let Some(step) = program.get(at[task]) {
                match *step {
                    Step::Send(to) => permits[to] += 1,
                    Step::Take(_) if permits[task] == 0 => break,
                    Step::Take(_) => permits[task] -= 1,
                    _ => {}
                }
                at[task] += 1;
            }
        }
        if at == before {
            return at;
        }
    }
}

fn take_in(way: Way, mailboxes: &Mailboxes, own: usize) -> Result<(), Cancelled> {
    let future = take(mailboxes, own, matches!(way, Way::Spurious));
    match way {
        Way::Plain | Way::Spurious => block_on(future),
        Way::Nested => {
            let mut future = Some(future);
            block_on(async move {
                self_waking(1).await;
                block_on(future.take().unwrap())
            })?
        }
        Way::Generator => {
            let mut generator = Generator::new(move |y: &Yielder<Result<(), Cancelled>>| y.yield_(block_on(future)));
            generator.next().unwrap()
        }
        Way::AfterWait => {
            let mut future = Box::pin(future);
            let mut has_waited = false;
            block_on(poll_fn(move |cx| {
                let polled = future.as_mut().poll(cx);
                if polled.is_pending() && !std::mem::replace(&mut has_waited, true) {
                    // May take the wake that the mailbox sends now.
                    let mut child = spawn(yield_now);
                    let _ = child.join();
                }
                polled
            }))
        }
    }
}

/// Sends permits: in place, or from a thread.
type Sender = Rc<dyn Fn(usize, u32)>;

/// Runs the programs. Returns the steps that each task completed, and whether the run was deadlocked. Checks that no permit is lost.
/// With `cancels`, main cancels tasks at random times. With `shuffled`, the order of turns is random in half of the runs; a deadlock of
/// such a run would be reported on stderr.
fn execute(
    random: &mut Random,
    programs: &[Vec<Step>],
    threads: bool,
    cancels: bool,
    shuffled: bool,
) -> (Vec<usize>, bool) {
    let mailboxes: Mailboxes = Arc::new(programs.iter().map(|_| Mutex::default()).collect());
    let done = Rc::new(RefCell::new(vec![0; programs.len()]));
    let (orders, requests) = mpsc::channel::<(usize, u32)>();
    let inner = Arc::clone(&mailboxes);
    let sending = threads.then(|| thread::spawn(move || requests.iter().for_each(|(to, n)| send(&inner, to, n))));
    let inner = Arc::clone(&mailboxes);
    let sender: Sender = if threads {
        Rc::new(move |to, n| orders.send((to, n)).unwrap())
    } else {
        Rc::new(move |to, n| send(&inner, to, n))
    };
    let config = Config::new().closed_world(!threads);
    let config = if shuffled && random.below(2) == 0 { config.seed(random.next()) } else { config };
    let outcome = config.run(|| {
        let mut tasks: Vec<_> = programs
            .iter()
            .enumerate()
            .map(|(own, program)| {
                let (program, mailboxes) = (program.clone(), Arc::clone(&mailboxes));
                let (done, sender) = (Rc::clone(&done), Rc::clone(&sender));
                spawn(move || {
                    for step in program {
                        match step {
                            Step::Send(to) => sender(to, 1),
                            Step::Wake(to) => sender(to, 0),
                            Step::Yield => yield_now(),
                            Step::SelfWake(count) => block_on(self_waking(count))?,
                            Step::Take(way) => take_in(way, &mailboxes, own)?,
                        }
                        done.borrow_mut()[own] += 1;
                    }
                    Ok::<_, Cancelled>(())
                })
            })
            .collect();
        if cancels {
            for _ in 0..random.below(3) {
                (0..random.below(4)).for_each(|_| yield_now());
                tasks[random.below(programs.len())].cancel();
            }
        }
        tasks.iter_mut().for_each(|task| drop(task.join()));
    });
    drop(sender);
    if let Some(sending) = sending {
        sending.join().unwrap();
    }
    let done = done.take();
    for (own, mailbox) in mailboxes.iter().enumerate() {
        let steps = || programs.iter().zip(&done).flat_map(|(program, &done)| &program[..done]);
        let sent = steps().filter(|step| matches!(step, Step::Send(to) if *to == own)).count();
        let taken = programs[own][..done[own]].iter().filter(|step| matches!(step, Step::Take(_))).count();
        assert_eq!(mailbox.lock().unwrap().permits as usize, sent - taken, "mailbox {own} after {programs:?}");
    }
    let deadlocked = match outcome {
        Ok(()) => false,
        Err(RunError::Deadlock { .. }) => true,
        Err(error) => panic!("{error}"),
    };
    (done, deadlocked)
}

fn check(seed: u64, threads: bool) {
    let mut random = Random::new(seed);
    let tasks = 1 + random.below(4);
    let programs: Vec<_> = (0..tasks).map(|_| program(&mut random, tasks)).collect();
    let expected = simulate(&programs);
    let ends = programs.iter().zip(&expected).all(|(program, &done)| program.len() == done);
    if threads && !ends {
        return;
    }
    let cancels = !threads && random.below(4) == 0;
    let (done, deadlocked) = execute(&mut random, &programs, threads, cancels, ends && !cancels);
    if !cancels {
        assert_eq!((done, deadlocked), (expected, !ends), "seed {seed}: {programs:?}");
    }
}

#[test]
fn random_programs_match_the_model() {
    let count = if emulated() {
        300
    } else if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    each_seed(|seed| {
        check(seed, false);
        seed + 1 < count
    });
}

#[test]
fn random_programs_with_a_thread() {
    let count = if emulated() { 50 } else { 3_000 };
    each_seed(|seed| {
        check(seed, true);
        seed + 1 < count
    });
}
