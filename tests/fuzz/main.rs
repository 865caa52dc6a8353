//! A fuzzer: random programs of bodies, delegation, scopes, limits, tasks, callbacks, panics and forgetting, in safe code only,
//! each on its own thread, with an oracle. `program.rs` defines programs, `world.rs` computes whether a suspension must be refused,
//! and `ledger.rs` checks drops and panics.
//!
//! ```text
//! cargo test --release --test fuzz -- --seconds 60
//! cargo test --test fuzz -- --seed 42 --trace          one program, with a trace
//! ```
//!
//! `--programs N` or `--seconds N`: the number of programs, or the time; `--from S`: the first seed, instead of 1; `--threads N`:
//! processes at once. Programs run in child processes, a few hundred each, so that a program that crashes or hangs is named. It
//! is then made smaller by leaving out operations, and printed. `--seed S --without 3,7` runs the rest.
#![forbid(unsafe_code)]

mod bodies;
mod driver;
mod ledger;
mod perform;
mod program;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../common/random.rs"]
mod random;
mod suspend;
mod tasks;
mod waits;
mod world;

use crate::perform::{Ctx, perform};
use crate::program::Program;
use crate::world::{NodeKind, World};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// Runs one program on its own thread.
fn run_program(seed: u64, without: &BTreeSet<usize>, trace: bool) {
    let program = Arc::new(Program::of_seed(seed).without(without));
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().stack_size(4 << 20).spawn(move || {
        // Before the thread's first coroutine, so that it is dropped after the library's own thread-local.
        bodies::STASH.with(|_| ());
        let world = Rc::new(World::new(program, trace));
        sender.send(Arc::clone(&world.ledger)).expect("the main thread receives");
        let node = world.add(NodeKind::Root, None);
        let ctx = Ctx { world: &world, node, quiet: false, reach: None, depth: 0 };
        let outcome = catch_unwind(AssertUnwindSafe(|| perform(&ctx, 0)));
        if outcome.is_err_and(|payload| world.caught(payload).is_some()) {
            ledger::fail("an unwinding came out of the program");
        }
        world.dispose();
    });
    let ledger = receiver.recv().expect("the thread sends it first");
    if thread.expect("there are threads").join().is_err() {
        ledger::fail("a panic came out of the program");
    }
    ledger.settle();
}

fn numbers(text: &str) -> BTreeSet<usize> {
    text.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().expect("a number")).collect()
}

/// The options of the command line.
struct Options {
    programs: u64,
    seconds: u64,
    from: u64,
    threads: usize,
    seed: Option<u64>,
    without: BTreeSet<usize>,
    trace: bool,
    /// Whether this process is a child, which runs `programs` programs.
    batch: bool,
}

fn options() -> Options {
    let (programs, seconds) = (0, 0);
    let mut options = Options {
        programs,
        seconds,
        from: 1,
        threads: 1,
        seed: None,
        without: BTreeSet::new(),
        trace: false,
        batch: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match &word[..] {
            "--programs" => options.programs = value().parse().expect("a number"),
            "--seconds" => options.seconds = value().parse().expect("a number"),
            "--from" => options.from = value().parse().expect("a number"),
            "--threads" => options.threads = value().parse().expect("a number"),
            "--seed" => options.seed = Some(value().parse().expect("a number")),
            "--without" => options.without = numbers(&value()),
            "--trace" => options.trace = true,
            "--batch" => options.batch = true,
            // Arguments that `cargo test` passes on: filters and flags of the usual harness.
            _ => {}
        }
    }
    if options.programs == 0 && options.seconds == 0 {
        options.programs = 300;
    }
    options
}

fn main() {
    if cfg!(panic = "abort") {
        println!("fuzz: programs panic, so there are none where panics abort");
        return;
    }
    let options = options();
    if options.batch {
        std::panic::set_hook(Box::new(|_| ()));
        for seed in options.from..options.from + options.programs {
            // Written at once, so that the driver reads it even if this program crashes.
            let mut out = std::io::stdout();
            out.write_all(&seed.to_le_bytes()).and_then(|()| out.flush()).expect("the driver reads");
            run_program(seed, &BTreeSet::new(), false);
        }
        return;
    }
    if let Some(seed) = options.seed {
        if options.trace {
            eprintln!("{}", Program::of_seed(seed).without(&options.without).text());
        } else {
            std::panic::set_hook(Box::new(|_| ()));
        }
        run_program(seed, &options.without, options.trace);
        return;
    }
    driver::drive(&options);
}
