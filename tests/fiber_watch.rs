//! Watched runs in fibers: several of them are open on one thread, and close in any order.
#![cfg(target_os = "linux")]

mod common;

use cede::Config;
use cede::bridge::Fiber;
use cede::observe::SlowTurn;
use cede::time::sleep;
use common::child::in_child;
use common::executor::{block, poll};
use common::futures::Flag;
use common::named;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// Whether a running task can be sampled.
const SAMPLES: bool = cfg!(not(cede_portable_switch));

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The reported tasks.
type Reports = Arc<Mutex<Vec<String>>>;

/// A watched run that waits for the flag, and whose task then has a slow turn if it is `slow`.
fn watched(reports: &Reports, flag: &Flag, slow: Option<&'static str>) -> Fiber<()> {
    let (reports, waits) = (Arc::clone(reports), flag.wait());
    let note = move |turn: &SlowTurn| {
        let name = turn.task.as_ref().map_or_else(|| turn.to_string(), |task| task.to_string());
        if !turn.over {
            reports.lock().unwrap().push(format!("{name} {}", turn.functions().iter().any(|f| f.contains("spin_for"))));
        }
    };
    let main = move || {
        cede::block_on(waits).unwrap();
        if let Some(name) = slow {
            named(name, || spin_for(ms(400))).join().unwrap();
        }
    };
    cede::fiber(move || Config::new().report_slow_turns(ms(100)).on_slow_turn(note).run(main).unwrap())
}

#[inline(never)]
fn spin_for(duration: Duration) {
    let began = Instant::now();
    while began.elapsed() < duration {
        std::hint::black_box(());
    }
}

fn end(fiber: &mut Fiber<()>, flag: &Flag) {
    flag.set();
    block(fiber);
}

#[test]
fn watched_runs_close_in_any_order() {
    let reports = Reports::default();
    let (first, second, third) = (Flag::default(), Flag::default(), Flag::default());
    let mut fibers =
        [(&first, None), (&second, Some("slow")), (&third, None)].map(|(flag, slow)| watched(&reports, flag, slow));
    fibers.iter_mut().for_each(|fiber| assert_eq!(poll(fiber), Poll::Pending));
    end(&mut fibers[2], &third);
    end(&mut fibers[0], &first);
    // The handler finds the sampler of the run that is left.
    end(&mut fibers[1], &second);
    assert_eq!(*reports.lock().unwrap(), [format!("'slow' {SAMPLES}")]);
    // The thread has no sampler any more. Another thread keeps the handler installed.
    let flag = Flag::default();
    let mut open = watched(&reports, &flag, None);
    assert_eq!(poll(&mut open), Poll::Pending);
    drop(fibers);
    thread::spawn(|| {
        let flag = Flag::default();
        let mut own = watched(&Reports::default(), &flag, None);
        assert_eq!(poll(&mut own), Poll::Pending);
        end(&mut own, &flag);
        // SAFETY: the signal has a handler, or is ignored.
        unsafe { libc::raise(libc::SIGURG) };
    })
    .join()
    .unwrap();
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGURG) };
    end(&mut open, &flag);
}

#[test]
fn executor_is_no_turn() {
    // While the run sleeps, its executor does something else for long.
    let (reports, flag) = (Reports::default(), Flag::default());
    let mut open = watched(&reports, &flag, None);
    assert_eq!(poll(&mut open), Poll::Pending);
    spin_for(ms(300));
    end(&mut open, &flag);
    assert_eq!(*reports.lock().unwrap(), [""; 0]);
}

#[test]
fn turn_polls_a_fiber() {
    // The slow turn is that of a task of a run in a fiber, which a task of another run polls: a slow turn of both runs.
    let (inner, outer, flag) = (Reports::default(), Reports::default(), Flag::default());
    flag.set();
    let (mut body, note) = (watched(&inner, &flag, Some("inner")), Arc::clone(&outer));
    let note = move |turn: &SlowTurn| {
        if !turn.over {
            note.lock().unwrap().extend(turn.task.as_ref().map(ToString::to_string));
        }
    };
    let config = Config::new().report_slow_turns(ms(100)).on_slow_turn(note);
    config.run(|| named("outer", move || block(&mut body)).join().unwrap()).unwrap();
    assert_eq!((inner.lock().unwrap().len(), outer.lock().unwrap().len()), (1, 1));
}

#[test]
fn signal_dumps_the_run() {
    let output = in_child("signal_dumps_the_run", || {
        let run = || {
            Config::new().dump_on_signal(libc::SIGUSR1).run_async(|| {
                let _waits = named("waits", || sleep(ms(3_600_000)));
                sleep(ms(200)).unwrap();
            })
        };
        let runs = [run(), run()].map(|run| Box::pin(async { run.await.unwrap() }) as common::executor::Boxed<'_, ()>);
        let signals = thread::spawn(|| {
            thread::sleep(ms(50));
            // SAFETY: the signal has a handler.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        });
        common::executor::all(runs);
        signals.join().unwrap();
    });
    assert_eq!(output.matches("dump of the run on thread").count(), 2, "{output}");
    assert_eq!(output.matches("task 'waits'").count(), 2, "{output}");
    assert!(output.ends_with("exit code Some(0)"), "{output}");
}

#[test]
fn forgotten_watched_run() {
    let output = in_child("forgotten_watched_run", || {
        let forgets = || {
            let mut run = Config::new()
                .dump_on_signal(libc::SIGUSR1)
                .report_slow_turns(ms(300))
                .run_async(|| sleep(ms(3_600_000)));
            assert!(poll(&mut run).is_pending());
            std::mem::forget(run);
        };
        thread::spawn(forgets).join().unwrap();
        // SAFETY: the signal has a handler.
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        // The watchdog explains a late dump after a second.
        thread::sleep(ms(1300));
        cede::run(|| sleep(ms(1))).unwrap();
    });
    assert_eq!(output, "exit code Some(0)");
}
