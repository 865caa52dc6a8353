//! Observability: dumps, metrics, and the watchdog. Output that needs the names of functions is in the examples.

mod common;

use cede::sync::Event;
use cede::task::{Task, Unparker, park, park_until};
use cede::{Builder, Config, Generator, JoinHandle, RunError, Yielder, dump, metrics, run, spawn, yield_now};
use common::child::in_child;
use common::{command, emulated};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Whether the stack of a suspended task can be read.
const BACKTRACES: bool = cfg!(not(cede_portable_switch));
/// Whether the stack of a running task can be read.
const SAMPLES: bool = BACKTRACES && cfg!(target_os = "linux");

/// Whether a backtrace continues from a generator to its resumer: not with corosensei's announcements to the sanitizer.
const SEAMS: bool = cfg!(not(feature = "asan"));

/// Whether `function` is named `name`. Its type arguments do not count, and neither does its path where only lines are known.
fn is_called(function: &str, name: &str) -> bool {
    let generic = function.char_indices().find(|(at, c)| *at > 0 && *c == '<').map_or(function.len(), |(at, _)| at);
    function[..generic].trim_end_matches("::").ends_with(name)
}

/// The index of a function in a backtrace.
fn place(functions: &[String], name: &str) -> usize {
    let place = functions.iter().position(|function| is_called(function, name));
    place.unwrap_or_else(|| panic!("no {name} in {functions:#?}"))
}

fn named<T: 'static>(name: impl Into<String>, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().name(name.into()).spawn(f).unwrap()
}

// ---- dump

/// A dump lists each task once, with its state, the reason and duration of its wait, and the task that it waits for.
#[test]
fn dump_lists_each_task_once_with_state_reason_and_time() {
    Config::new()
        .paused_clock(true)
        .run(|| {
            let mut sleeper = named("sleeper", || cede::time::sleep(Duration::from_secs(100)));
            let mut first = named("first", move || sleeper.join().is_ok());
            // A task that waits and is waited for is listed once.
            let second = named("second", move || first.join().is_ok());
            let third = spawn(|| park("nothing in particular").is_err());
            cede::time::sleep(Duration::from_secs(7)).unwrap();
            let pending = named("pending", || ());
            let ended = named("ended", || ());
            yield_now();
            let fresh = named("fresh", || ());
            let dump = dump();
            let seen: Vec<_> = dump
                .tasks
                .iter()
                .map(|one| {
                    let on = one.on.as_ref().and_then(Task::name);
                    (one.task.to_string(), one.state.to_string(), one.waited.map(|time| time.as_secs()), on)
                })
                .collect();
            let expected = [
                ("'main'", "running", None, None),
                ("'sleeper'", "waiting: the end of its sleep", Some(7), None),
                ("'first'", "waiting: a task to end", Some(7), Some("sleeper")),
                ("'second'", "waiting: a task to end", Some(7), Some("first")),
                ("#6", "waiting: nothing in particular", Some(7), None),
                ("'fresh'", "pending", None, None),
            ];
            let expected = expected.map(|(task, state, waited, on)| (task.to_string(), state.to_string(), waited, on));
            assert_eq!(seen, expected);
            let text = dump.to_string();
            assert!(
                text.starts_with(
                    "6 tasks\ntask 'main' (#1), running\ntask 'sleeper' (#3), waiting: the end of its sleep, for 7.0s"
                ),
                "{text}"
            );
            assert!(text.contains("\ntask 'second' (#5), waiting: a task to end: 'first' (#4), for 7.0s"), "{text}");
            third.cancel();
            drop((second, third, pending, ended, fresh));
        })
        .unwrap();
    assert!(dump().tasks.is_empty(), "outside of a run");
}

/// The duration of a wait counts from the last time that the worker read the clock before it.
#[test]
fn dump_counts_a_wait_from_the_last_clock_reading_before_it() {
    Config::new()
        .paused_clock(true)
        .run(|| {
            let early = spawn(|| park("since the beginning").is_err());
            cede::time::sleep(Duration::from_secs(1)).unwrap();
            let late = spawn(|| park("since a second later").is_err());
            cede::time::sleep(Duration::from_secs(1)).unwrap();
            let waited: Vec<_> = dump().tasks.iter().filter_map(|one| one.waited).collect();
            assert_eq!(waited, [Duration::from_secs(2), Duration::from_secs(1)]);
            early.cancel();
            late.cancel();
        })
        .unwrap();
}

/// A dump of 10,000 tasks holds their exact names and takes less than a second.
#[test]
fn ten_thousand_tasks_are_dumped_within_a_second() {
    let count = if emulated() { 500 } else { 10_000 };
    run(|| {
        let tasks: Vec<_> = (0..count).map(|n| named(format!("task-{n}"), || park("the end").is_err())).collect();
        yield_now();
        let start = Instant::now();
        let dump = dump();
        let took = start.elapsed();
        let names: Vec<_> = dump.tasks[1..].iter().map(|one| one.task.name().unwrap().to_string()).collect();
        assert!(names.iter().enumerate().all(|(n, name)| *name == format!("task-{n}")), "{names:?}");
        assert_eq!(dump.tasks.len(), count + 1);
        assert_eq!(
            dump.tasks[1..].iter().filter(|one| one.backtrace.is_some()).count(),
            if BACKTRACES { count } else { 0 }
        );
        eprintln!("{count} tasks dumped in {took:?}");
        // Only the documented time is asserted, and not where everything is slow.
        assert!(emulated() || cfg!(feature = "asan") || took < Duration::from_secs(1), "{took:?}");
        tasks.iter().for_each(|task| assert!(task.cancel()));
    });
}

#[inline(never)]
fn innermost() -> bool {
    black_box(park("a look").is_err())
}

#[inline(never)]
fn inside_the_generator(y: &Yielder<bool>) {
    y.yield_(black_box(innermost()));
}

#[inline(never)]
fn around_the_generator() -> bool {
    let inner = || Generator::new(|y: &Yielder<bool>| inside_the_generator(y)).next();
    let outer = Generator::new(move |y: &Yielder<bool>| y.yield_(black_box(inner().unwrap())));
    black_box(outer.last().unwrap())
}

/// The backtrace of a task that waits inside of a generator continues through its own stack to the task's root.
#[test]
fn backtrace_from_inside_a_generator_reaches_the_tasks_root() {
    run(|| {
        let task = spawn(|| black_box(around_the_generator()));
        let fresh = spawn(|| ());
        assert!(
            !BACKTRACES || dump().tasks[1].functions().last().unwrap().ends_with("::root"),
            "before the first turn"
        );
        yield_now();
        let functions = dump().tasks[1].functions();
        if BACKTRACES {
            assert!(place(&functions, "innermost") < place(&functions, "inside_the_generator"), "{functions:#?}");
        }
        if BACKTRACES && SEAMS {
            let around = place(&functions, "around_the_generator");
            assert!(place(&functions, "inside_the_generator") < around, "{functions:#?}");
            assert!(functions.last().unwrap().ends_with("::root"), "{functions:#?}");
        }
        if !BACKTRACES {
            assert!(functions.is_empty());
        }
        task.cancel();
        drop(fresh);
    });
}

// ---- metrics

#[test]
fn the_counts_of_a_known_program_are_exact() {
    let before = metrics();
    assert_eq!((before.spawned, before.switches, before.parks, before.timers), (0, 0, 0, 0), "outside of a run");
    Config::new()
        .paused_clock(true)
        .run(|| {
            let start = metrics();
            assert_eq!((start.spawned, start.live, start.ended, start.switches, start.ready), (0, 0, 0, 0, 0));
            // 100 yields each, and one end each: 1,010 turns.
            let stacks = Rc::new(Cell::new(0));
            let task = |_| {
                let stacks = Rc::clone(&stacks);
                spawn(move || {
                    (0..100).for_each(|_| yield_now());
                    stacks.set(metrics().stacks.live.max(stacks.get())); // the first task to end sees all
                })
            };
            let tasks: Vec<_> = (0..10).map(task).collect();
            assert_eq!(metrics().ready, 10);
            tasks.into_iter().for_each(|mut task| task.join().unwrap());
            let after = metrics();
            // Main waited once: turns are round robin, so all tasks had ended when it was woken.
            assert_eq!((after.spawned, after.live, after.ended), (10, 0, 10));
            assert_eq!((after.parks, after.switches), (1, 1 + 1010));
            assert!(stacks.get() >= 10 && after.stacks.slabs > 0);
            let sleepers: Vec<_> = (1..=5).map(|n| spawn(move || cede::time::sleep(Duration::from_secs(n)))).collect();
            yield_now();
            assert_eq!((metrics().timers, metrics().parks, metrics().live), (5, 6, 5));
            cede::time::sleep(Duration::from_millis(2500)).unwrap();
            assert_eq!((metrics().timers, metrics().live), (3, 3));
            sleepers[4].cancel();
            yield_now();
            assert_eq!((metrics().timers, metrics().live), (2, 2));
        })
        .unwrap();
}

/// The timer of a task that was woken in time comes due before the task has run.
#[test]
fn late_timer_is_counted_once() {
    // Each turn of a run with a seed begins with a check of the timers.
    let main = || {
        let _sleeper = spawn(|| cede::time::sleep(Duration::from_secs(3600)));
        let event = Rc::new(Event::new());
        let waited = Rc::clone(&event);
        let mut late = spawn(move || waited.wait_timeout(Duration::from_millis(50)));
        while metrics().timers < 2 && !late.is_finished() {
            yield_now();
        }
        event.set();
        std::thread::sleep(Duration::from_millis(100));
        let _ = late.join().unwrap();
        assert_eq!(metrics().timers, 1);
    };
    Config::new().seed(1).run(main).unwrap();
}

#[test]
fn wakes_from_other_threads_are_counted() {
    run(|| {
        for _ in 0..3 {
            let me = Unparker::current();
            let thread = std::thread::spawn(move || me.unpark());
            park("the thread").unwrap();
            thread.join().unwrap();
        }
        let (seen, me) = (Rc::new(Cell::new(false)), Unparker::current());
        let inner = Rc::clone(&seen);
        spawn(move || {
            inner.set(true);
            me.unpark();
        });
        while !seen.get() {
            park("a task").unwrap();
        }
        let metrics = metrics();
        assert_eq!(metrics.wakes_from_threads, 3);
        assert!(metrics.parks >= 4);
    });
}

// ---- polling

#[test]
fn waits_and_ends_alone_do_not_keep_timers_from_firing() {
    // Two tasks that only wake each other.
    run(|| {
        let stop = Rc::new(Cell::new(false));
        let peer: Rc<RefCell<Vec<Unparker>>> = Rc::default();
        for k in 0..2 {
            let (stop, peers) = (Rc::clone(&stop), Rc::clone(&peer));
            spawn(move || {
                peers.borrow_mut().push(Unparker::current());
                yield_now();
                while !stop.get() {
                    peers.borrow()[1 - k].unpark();
                    let _ = park("the other one");
                }
                peers.borrow()[1 - k].unpark();
            });
        }
        cede::time::sleep(Duration::from_millis(5)).unwrap();
        stop.set(true);
    });
    // A chain of tasks, each of which starts the next and ends.
    fn chain(stop: Rc<Cell<bool>>) {
        if !stop.get() {
            drop(spawn(move || chain(stop)));
        }
    }
    run(|| {
        let stop = Rc::new(Cell::new(false));
        chain(Rc::clone(&stop));
        cede::time::sleep(Duration::from_millis(5)).unwrap();
        stop.set(true);
    });
}

// ---- children

/// A child process that runs the body of one test and prints to stderr, which this process reads.
struct Subject {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: String,
}

impl Subject {
    /// Starts the test `name` in its own process. Returns `None` in that process.
    fn start(name: &str) -> Option<Subject> {
        if std::env::var("CEDE_CHILD").as_deref() == Ok(name) {
            return None;
        }
        let mut child = command(std::env::current_exe().unwrap());
        if cfg!(panic = "abort") {
            // The harness would start a third process.
            child.env("__RUST_TEST_INVOKE", name);
        }
        child.args(["--exact", name, "--nocapture"]).env("CEDE_CHILD", name);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Some(Subject { child, lines, seen: String::new() })
    }

    /// Waits until all of `texts` have been printed, each in one line, in any order, since the last call.
    fn prints(&mut self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) else {
                let _ = self.child.kill();
                panic!("never printed: {missing:#?}\n{}", self.seen);
            };
            missing.retain(|text| !line.contains(text));
            self.seen += &format!("{line}\n");
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: `self.child` is a child of this process and has not been waited for, so its id is not reused.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Asks the child to end, and returns all of its output.
    fn finish(mut self) -> String {
        drop(self.child.stdin.take());
        for line in self.lines.iter() {
            self.seen += &format!("{line}\n");
        }
        let status = self.child.wait().unwrap();
        // 50 is a harness's word for success where each test is a process.
        let ended_well = status.success() || cfg!(panic = "abort") && status.code() == Some(50);
        assert!(ended_well, "{status}\n{}", self.seen);
        self.seen
    }
}

/// In the child: waits until the parent asks it to end.
fn wait_for_the_end() {
    let _ = std::io::stdin().read(&mut [0]);
}

// ---- dumps on a signal

#[test]
fn a_signal_has_every_run_dump_itself_asleep_and_at_work() {
    let subject = Subject::start("a_signal_has_every_run_dump_itself_asleep_and_at_work");
    if let Some(mut subject) = subject {
        subject.prints(&["busy is ready", "asleep is ready"]);
        // The first signal may arrive before main waits.
        subject.signal(libc::SIGUSR1);
        subject.prints(&["dump of the run on thread 'asleep'", "dump of the run on thread 'busy'"]);
        for _ in 0..3 {
            subject.signal(libc::SIGUSR1);
            subject.prints(&[
                "cede: dump of the run on thread 'asleep': 2 tasks",
                "task 'main' (#1), waiting: a task to end: 'patient' (#3), for ",
                "task 'patient' (#3), waiting: the end, for ",
                "cede: dump of the run on thread 'busy': 4 tasks",
                "task 'turning' (#4), pending",
            ]);
        }
        subject.finish();
        return;
    }
    let config = || Config::new().dump_on_signal(libc::SIGUSR1);
    let (stop, (send, receive)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
    let stopped = Arc::clone(&stop);
    let asleep = move || {
        config().run(|| {
            let mut patient = named("patient", move || {
                send.send(Unparker::current()).unwrap();
                park("the end").unwrap();
            });
            yield_now();
            eprintln!("asleep is ready");
            patient.join().unwrap();
        })
    };
    let turn = |stop: Arc<AtomicBool>| {
        while !stop.load(Relaxed) {
            yield_now();
        }
    };
    let busy = move || {
        config().run(|| {
            for _ in 0..3 {
                let stop = Arc::clone(&stopped);
                drop(named("turning", move || turn(stop)));
            }
            eprintln!("busy is ready");
            turn(stopped);
        })
    };
    let asleep = std::thread::Builder::new().name("asleep".into()).spawn(move || asleep().unwrap()).unwrap();
    let busy = std::thread::Builder::new().name("busy".into()).spawn(move || busy().unwrap()).unwrap();
    wait_for_the_end();
    stop.store(true, Relaxed);
    receive.recv().unwrap().unpark();
    asleep.join().and(busy.join()).unwrap();
}

#[test]
fn delayed_dump_names_the_task_that_keeps_the_turn() {
    if let Some(mut subject) = Subject::start("delayed_dump_names_the_task_that_keeps_the_turn") {
        subject.prints(&["ready"]);
        subject.signal(libc::SIGUSR1);
        subject
            .prints(&["comes when this turn is over: task 'stubborn' (#3) has kept all other tasks waiting for 1.0s"]);
        if SAMPLES {
            subject.prints(&["read"]);
        }
        let seen = subject.finish();
        assert!(seen.contains("dump of the run on thread") && seen.contains("task 'stubborn' (#3), pending"), "{seen}");
        return;
    }
    Config::new()
        .dump_on_signal(libc::SIGUSR1)
        .run(|| {
            let mut stubborn = named("stubborn", || {
                eprintln!("ready");
                wait_for_the_end();
                // The worker polls only every EVENT_INTERVAL turns.
                (0..100).for_each(|_| yield_now());
            });
            stubborn.join().unwrap();
        })
        .unwrap();
}

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_call(_: i32) {
    CALLS.fetch_add(1, Relaxed);
}

fn handler_of(signal: i32) -> usize {
    // SAFETY: the struct is plain data for which zero is valid, and the call only writes to it.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now);
        now.sa_sigaction
    }
}

#[test]
fn handlers_are_called_too_and_put_back_at_the_end_of_the_run() {
    let own = count_call as extern "C" fn(i32) as usize;
    // SAFETY: the handler is async-signal-safe.
    unsafe { libc::signal(libc::SIGUSR2, own) };
    let before = handler_of(libc::SIGURG);
    for round in 1..=2 {
        // The second run begins and ends while the first one runs.
        Config::new()
            .dump_on_signal(libc::SIGUSR2)
            .run(|| {
                assert_ne!(handler_of(libc::SIGUSR2), own);
                std::thread::spawn(|| Config::new().dump_on_signal(libc::SIGUSR2).run(|| ()).unwrap()).join().unwrap();
                assert_ne!(handler_of(libc::SIGUSR2), own, "the inner run removed the handler of the outer run");
                // SAFETY: raising a signal that has a handler does not end the process.
                unsafe { libc::raise(libc::SIGUSR2) };
                assert_eq!(CALLS.load(Relaxed), round);
            })
            .unwrap();
        assert_eq!(handler_of(libc::SIGUSR2), own);
    }
    assert!(SHARED_URG || handler_of(libc::SIGURG) == before);
}

/// A careless handler, which changes `errno`.
#[cfg(target_os = "linux")]
extern "C" fn change_errno(_signal: i32) {
    CHANGES.fetch_add(1, Relaxed);
    // SAFETY: `errno` belongs to this thread and lives as long as the thread.
    unsafe { *libc::__errno_location() = libc::EDOM };
}

#[cfg(target_os = "linux")]
static CHANGES: AtomicU32 = AtomicU32::new(0);

/// The interrupted code may be about to read its `errno`: the library's handler preserves it, also across the handler that it
/// calls.
#[test]
#[cfg(target_os = "linux")]
fn signal_leaves_errno_as_it_was() {
    let handler = change_errno as extern "C" fn(i32) as usize;
    // SAFETY: the handler is async-signal-safe.
    let before = unsafe { libc::signal(libc::SIGIO, handler) };
    Config::new()
        .dump_on_signal(libc::SIGIO)
        .run(|| {
            // SAFETY: `errno` belongs to this thread, and the signal has a handler.
            let after = unsafe {
                *libc::__errno_location() = libc::EXDEV;
                libc::raise(libc::SIGIO);
                *libc::__errno_location()
            };
            assert_eq!((after, CHANGES.load(Relaxed)), (libc::EXDEV, 1));
        })
        .unwrap();
    // SAFETY: `before` is the handler that was installed before the test.
    unsafe { libc::signal(libc::SIGIO, before) };
}

/// Other tests of this process start watchdogs at the same time.
const SHARED_URG: bool = true;

/// A signal that cannot be handled is an error of `run`, before main is called. No handler stays installed, so that a
/// later run can use another signal.
#[test]
fn unhandleable_signals_are_errors_and_leave_no_handler() {
    for signal in [-1, 0, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT, 65, 1000, i32::MAX]
    {
        let mut ran = false;
        let error = Config::new().dump_on_signal(signal).run(|| ran = true).unwrap_err();
        assert!(matches!(error, RunError::Io(_)) && !ran, "{signal}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot watch the run: cannot handle signal {signal}: ")), "{text}");
    }
    assert_eq!(Config::new().dump_on_signal(libc::SIGUSR1).run(|| 7).unwrap(), 7);
    let nested = run(|| Config::new().dump_on_signal(libc::SIGUSR1).run(|| ()));
    assert!(matches!(nested, Err(RunError::AlreadyRunning)));
}

// ---- the watchdog

/// The reports of a watchdog.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Turn>>>);

/// The task, whether its turn was over, and its functions.
type Turn = (String, bool, Vec<String>);

impl Told {
    fn config(&self, allowed: Duration) -> Config {
        let told = Arc::clone(&self.0);
        Config::new().report_slow_turns(allowed).on_slow_turn(move |slow| {
            let task = slow.task.as_ref().map_or("no task".into(), Task::to_string);
            // A worker that gets no time from the machine cannot be sampled, so only other tests require a stack.
            assert!(!slow.over || slow.backtrace.is_none(), "{slow}");
            assert!(slow.lasted >= Duration::from_millis(20), "{slow}");
            told.lock().unwrap().push((task, slow.over, slow.functions()));
        })
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The functions of the first report that shows this function.
    fn shows(&self, name: &str) -> Option<Vec<String>> {
        let told = self.0.lock().unwrap();
        let mut all = told.iter().map(|(_, _, functions)| functions);
        all.find(|functions| functions.iter().any(|function| is_called(function, name))).cloned()
    }

    /// The reported tasks, and whether the turn was over.
    fn turns(&self) -> Vec<(String, bool)> {
        self.0.lock().unwrap().iter().map(|(task, over, _)| (task.clone(), *over)).collect()
    }
}

const ALLOWED: Duration = Duration::from_millis(20);

#[inline(never)]
fn spin(until: impl Fn() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < Duration::from_secs(30), "the awaited condition never came");
    }
}

/// A task that keeps its turn too long is reported once while it does and once when the turn is over. Main is reported
/// too.
#[test]
fn spinning_task_is_reported_during_and_after_its_turn() {
    let told = Told::default();
    let inner = told.clone();
    told.config(ALLOWED)
        .run(|| {
            // Each spins until it has been reported, and then a few times as long again.
            for name in ["one", "two"] {
                let told = inner.clone();
                let before = told.len();
                let mut task = named(name, move || {
                    spin(|| told.len() > before);
                    let later = Instant::now() + 5 * ALLOWED;
                    spin(|| Instant::now() > later);
                });
                task.join().unwrap();
                while inner.len() < before + 2 {
                    cede::time::sleep(Duration::from_millis(1)).unwrap();
                }
            }
            // Main too.
            spin(|| inner.len() > 4);
        })
        .unwrap();
    let turns = told.turns();
    let expected = [("'one'", false), ("'one'", true), ("'two'", false), ("'two'", true), ("'main'", false)];
    assert_eq!(turns, expected.map(|(task, over)| (task.to_string(), over)));
    // An emulator delivers signals between blocks of instructions: every tenth trace has only the innermost frame there.
    let is_whole = |over: bool| SAMPLES && !over && !emulated();
    for (task, over, functions) in told.0.lock().unwrap().iter().filter(|(_, over, _)| is_whole(*over)) {
        let root = if task == "'main'" { "::run" } else { "::root" };
        let spins = functions.iter().any(|name| name.contains("spin"));
        assert!(spins && (functions.iter().any(|name| name.contains(root))), "{task} {over} {functions:#?}");
    }
}

/// A task that spins inside of a generator is reported with the stack of the generator and with its own.
#[test]
fn spin_in_a_generator_shows_its_stack_and_the_tasks() {
    let told = Told::default();
    let inner = told.clone();
    told.config(ALLOWED)
        .run(|| {
            let task = || {
                #[inline(never)]
                fn outer(told: Told) {
                    let told = Rc::new(told);
                    let numbers = move |y: &Yielder<u32>| {
                        let deep = Rc::clone(&told);
                        y.yield_(1);
                        y.yield_from(Generator::new(move |y: &Yielder<u32>| {
                            // A new turn, whatever was reported before.
                            yield_now();
                            spin(|| deep.len() > 0 && (!SAMPLES || deep.shows("spin").is_some()));
                            y.yield_(2);
                        }));
                    };
                    assert_eq!(Generator::new(numbers).sum::<u32>(), 3);
                    black_box(());
                }
                outer(inner.clone());
            };
            task();
        })
        .unwrap();
    let functions = &told.shows("spin").unwrap_or_default();
    if SAMPLES {
        let spins = place(functions, "spin");
        assert!(!SEAMS || spins < place(functions, "outer"), "{functions:#?}");
        assert!(!SEAMS || functions.iter().any(|function| function.contains("with_thread")), "{functions:#?}");
    }
}

/// A prologue that touches a large frame page by page keeps the place of its caller in another register.
#[test]
fn watch_of_a_prologue_with_a_large_frame_does_no_harm() {
    #[inline(never)]
    fn large(left: usize) -> u8 {
        let frame = black_box([1_u8; 300_000]);
        let below = if left == 0 { 0 } else { large(left - 1) };
        below.wrapping_add(black_box(&frame)[left])
    }
    let text = in_child("watch_of_a_prologue_with_a_large_frame_does_no_harm", || {
        let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
            let seen = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&seen);
            let config = Config::new().report_slow_turns(Duration::from_micros(100)).on_slow_turn(move |slow| {
                count.fetch_add(u32::from(!slow.over), Relaxed);
            });
            let end = Instant::now() + Duration::from_secs(2);
            let turns = || {
                while Instant::now() < end {
                    assert_eq!(large(60), 61);
                    yield_now();
                }
            };
            config.run(turns).unwrap();
            assert!(seen.load(Relaxed) > 0);
        });
        thread.unwrap().join().unwrap();
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn watch_of_a_deep_stack_shows_what_is_innermost() {
    /// Recurses deeper than the part of the stack that is copied.
    #[inline(never)]
    fn deep(left: usize, told: &Told) -> u32 {
        let frame = black_box([left; 8192]);
        let inner = told.clone();
        let sum = match left {
            0 => {
                let spinning = move |y: &Yielder<u32>| {
                    // A new turn, as above.
                    yield_now();
                    spin(|| inner.len() > 0 && (!SAMPLES || inner.shows("spin").is_some()));
                    y.yield_(1);
                };
                Generator::new(spinning).sum()
            }
            left => deep(left - 1, told),
        };
        sum + u32::from(black_box(frame)[left] != left)
    }
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let told = Told::default();
        assert_eq!(told.config(ALLOWED).run(|| deep(60, &told)).unwrap(), 1);
        let functions = &told.shows("spin").unwrap_or_default();
        if SAMPLES && SEAMS {
            assert!(place(functions, "spin") < place(functions, "deep"), "{functions:#?}");
        }
    });
    thread.unwrap().join().unwrap();
}

/// A std mutex that a task holds over a wait hangs the worker, and the task that blocks on it is reported (FAILURES.md, B5).
#[test]
fn std_mutex_held_over_a_wait_names_the_hanging_task() {
    if let Some(mut subject) = Subject::start("std_mutex_held_over_a_wait_names_the_hanging_task") {
        subject.prints(&["cede: task 'second' (#4) has kept all other tasks waiting for "]);
        if SAMPLES {
            subject.prints(&["lock"]);
        }
        // The child hangs.
        subject.child.kill().unwrap();
        subject.child.wait().unwrap();
        return;
    }
    let mutex = Arc::new(Mutex::new(()));
    let _ = Config::new().report_slow_turns(Duration::from_millis(100)).run(|| {
        let tasks = ["first", "second"].map(|name| {
            let mutex = Arc::clone(&mutex);
            named(name, move || {
                let guard = mutex.lock().unwrap();
                yield_now();
                drop(guard);
            })
        });
        tasks.into_iter().for_each(|mut task| task.join().unwrap());
    });
}

#[test]
fn a_run_that_sleeps_or_takes_turns_is_not_slow() {
    let told = Told::default();
    let allowed = Duration::from_millis(150);
    told.config(allowed)
        .run(|| {
            let end = Instant::now() + 3 * allowed;
            let turning = spawn(move || {
                while Instant::now() < end {
                    yield_now();
                }
            });
            let waking: Vec<_> = (0..2)
                .map(|_| {
                    spawn(move || {
                        while Instant::now() < end {
                            park_until("a moment", Instant::now() + Duration::from_micros(10)).unwrap();
                        }
                    })
                })
                .collect();
            fn chain(end: Instant) {
                if Instant::now() < end {
                    drop(spawn(move || chain(end)));
                }
            }
            chain(end);
            drop((turning, waking));
            cede::time::sleep(3 * allowed).unwrap();
            // No task is left: the event loop sleeps.
            cede::time::sleep(3 * allowed).unwrap();
            let me = Unparker::current();
            let thread = std::thread::spawn(move || {
                std::thread::sleep(3 * allowed);
                me.unpark();
            });
            park("the thread").unwrap();
            thread.join().unwrap();
        })
        .unwrap();
    // On a machine that runs something else for that long, any turn is slow.
    assert!(told.len() <= 2, "{:?}", told.turns());
}

#[test]
fn slow_callback_is_reported_without_a_task() {
    let told = Told::default();
    let inner = told.clone();
    told.config(ALLOWED)
        .run(|| {
            let seen = inner.clone();
            let mut task = spawn(|| ());
            task.on_done(move |_| spin(|| seen.len() > 0));
            task.join().unwrap();
            yield_now();
        })
        .unwrap();
    assert_eq!(told.turns()[0], ("no task".to_string(), false));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn slow_turn_hook_that_panics_does_no_harm() {
    let calls = Arc::new(AtomicU32::new(0));
    let inner = Arc::clone(&calls);
    let config = Config::new().report_slow_turns(Duration::from_millis(5)).on_slow_turn(move |_| {
        inner.fetch_add(1, Relaxed);
        std::panic::resume_unwind(Box::new("no"));
    });
    config.run(|| spin(|| calls.load(Relaxed) > 0)).unwrap();
}

#[test]
fn watchdog_thread_does_not_hide_a_deadlock() {
    if emulated() {
        return; // the emulator has its own threads
    }
    if let Some(subject) = Subject::start("watchdog_thread_does_not_hide_a_deadlock") {
        let seen = subject.finish();
        assert!(seen.contains("deadlock: 1 task waits"), "{seen}");
        return;
    }
    // The harness has its own thread. A forked process has only the thread that forked.
    // SAFETY: the child runs only the code below, and ends by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let kept: RefCell<Option<Unparker>> = RefCell::default();
        let result =
            Config::new().report_slow_turns(Duration::from_secs(1)).report_stall(Duration::from_secs(3600)).run(|| {
                *kept.borrow_mut() = Some(Unparker::current());
                park("nothing").is_err()
            });
        eprintln!("{}", result.err().map_or("no deadlock".into(), |error| error.to_string()));
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `child` is a child of this process, and `status` lives through the call.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0);
}
