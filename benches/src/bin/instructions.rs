//! The operations whose instructions `.ci/instructions` counts: `instructions OPERATION COUNT` does an operation COUNT times.
//!
//! The difference of two runs is the work of the operations alone, without that of the start and the end of the process.

use cede::sync::Mutex;
use cede::sync::channel::{bounded, unbounded};
use cede::{Coroutine, CoroutineState, Generator, Suspender, Yielder, spawn, yield_now};
use std::hint::black_box;
use std::process::ExitCode;

/// An operation: a name, and a function that does the operation so many times.
type Operation = (&'static str, fn(u64));

const OPERATIONS: [Operation; 13] = [
    ("corosensei resume", corosensei),
    ("Coroutine::resume", resume),
    ("Generator::next", |n| consume(counting(), n)),
    ("Generator::next, 32 bytes", |n| consume(Generator::new(|y| forever(|i| y.yield_([i; 4]))), n)),
    ("Generator::send", send),
    ("read_ahead(32), an item", |n| consume(counting().read_ahead(32), n)),
    ("yield_from, 10 deep, an item", |n| consume(nested(10), n)),
    ("yield_now, a turn of two tasks", yields),
    ("spawn + join", |n| cede::run(|| (0..n).for_each(|i| drop(black_box(spawn(move || i).join()))))),
    ("Mutex lock + unlock", lock),
    ("bounded send + recv", |n| cede::run(|| pass(bounded(16), n))),
    ("unbounded send + recv", |n| cede::run(|| pass(unbounded(), n))),
    ("bounded(1), a message between tasks", hand_over),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match names[..] {
        ["--list"] => OPERATIONS.iter().for_each(|(name, _)| println!("{name}")),
        [name, count] => match (OPERATIONS.iter().find(|(other, _)| *other == name), count.parse()) {
            (Some((_, run)), Ok(count)) => run(count),
            _ => return usage(),
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions --list | OPERATION COUNT");
    ExitCode::from(2)
}

/// Ends at the largest number, so that the compiler cannot treat a body as endless.
fn forever(f: impl FnMut(u64)) {
    (0..u64::MAX).for_each(f);
}

fn counting() -> Generator<u64> {
    Generator::new(|y| forever(|i| y.yield_(i)))
}

fn nested(depth: u32) -> Generator<u64> {
    Generator::new(move |y: &Yielder<u64>| match depth {
        1 => forever(|i| y.yield_(i)),
        _ => y.yield_from(nested(depth - 1)),
    })
}

fn consume<T>(mut items: impl Iterator<Item = T>, n: u64) {
    for _ in 0..n {
        black_box(items.next());
    }
}

fn corosensei(n: u64) {
    let mut coroutine = corosensei::Coroutine::<(), u64, ()>::new(|y, ()| forever(|i| y.suspend(i)));
    for _ in 0..n {
        if let corosensei::CoroutineResult::Yield(value) = coroutine.resume(()) {
            black_box(value);
        }
    }
    // Leaked, since dropping would unwind the body.
    std::mem::forget(coroutine);
}

fn resume(n: u64) {
    let mut coroutine = Coroutine::new(|s: &Suspender<(), u64>, ()| forever(|i| s.suspend(i)));
    for _ in 0..n {
        if let CoroutineState::Yielded(value) = coroutine.resume(()) {
            black_box(value);
        }
    }
}

fn send(n: u64) {
    let mut generator = Generator::new(|y: &Yielder<u64, u64>| {
        let mut i = 0;
        while i < u64::MAX {
            i = y.yield_(i);
        }
    });
    generator.start();
    for i in 0..n {
        if let Ok(CoroutineState::Yielded(value)) = generator.send(i) {
            black_box(value);
        }
    }
}

fn yields(n: u64) {
    cede::run(|| {
        let mut other = spawn(move || (0..n / 2).for_each(|_| yield_now()));
        (0..n / 2).for_each(|_| yield_now());
        other.join().expect("it does not panic");
    });
}

fn lock(n: u64) {
    let mutex = Mutex::new(0);
    cede::run(|| {
        for _ in 0..n {
            *mutex.lock().expect("the task is not cancelled") += 1;
        }
    });
    assert_eq!(mutex.into_inner(), n);
}

type Channel = (cede::sync::channel::Sender<u64>, cede::sync::channel::Receiver<u64>);

fn pass((sender, receiver): Channel, n: u64) {
    for i in 0..n {
        sender.send(i).expect("the receiver exists");
        black_box(receiver.recv().expect("the sender exists"));
    }
}

fn hand_over(n: u64) {
    cede::run(|| {
        let (sender, receiver) = bounded(1);
        let mut other = spawn(move || (0..n).for_each(|i| sender.send(i).expect("the receiver exists")));
        (0..n).for_each(|i| assert_eq!(receiver.recv(), Ok(i)));
        other.join().expect("it does not panic");
    });
}
