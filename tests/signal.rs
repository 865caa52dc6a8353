//! Signals: listeners of tasks, runs and threads, actions before and after, forks, and the cancel of main by Ctrl-C. The tests run in
//! processes of their own, because signals concern a whole process.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::{is_cancelled, pipe};
use cede::signal::{SignalKind, Signals, ctrl_c, on};
use cede::sync::channel;
use cede::{Config, run, scope, select, spawn, timeout, yield_now};
use common::child::in_child;
use common::random::Random;
use common::{command, emulated};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);
const USR1: SignalKind = SignalKind::user_defined1();

/// Sends a signal to this process, and waits until it was delivered: to this thread, because no thread blocks it.
fn raise(signal: i32) {
    // SAFETY: raise takes a number, and the process handles the signal.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn handler_of(signal: i32) -> usize {
    // SAFETY: the struct is plain data that may be zero, and the call only writes it.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now);
        now.sa_sigaction
    }
}

#[track_caller]
fn passed(name: &str, test: impl FnOnce()) {
    let text = in_child(name, test);
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[track_caller]
fn has_none(signals: &Signals) {
    let late = timeout(10 * MS, || signals.recv()).unwrap_err().into_value().unwrap_err();
    assert!(is_cancelled(&late) && late.kind() == ErrorKind::TimedOut, "{late}");
}

/// Several listeners in tasks of two runs and in a plain thread each receive each signal.
#[test]
fn each_listener_receives_each_signal() {
    passed("each_listener_receives_each_signal", || {
        let (ready, rounds) = (AtomicUsize::new(0), 20);
        let listen = || {
            let signals = on(USR1).unwrap();
            for round in 0..rounds {
                ready.fetch_add(1, SeqCst);
                signals.recv().unwrap();
                assert_eq!(ready.load(SeqCst) / 7, round + 1, "one signal ends one wait");
            }
        };
        let two_tasks = || {
            run(|| {
                scope(|s| {
                    s.spawn(listen);
                    s.spawn(listen);
                    s.spawn(listen);
                })
                .unwrap();
            });
        };
        thread::scope(|s| {
            s.spawn(two_tasks);
            s.spawn(two_tasks);
            s.spawn(listen);
            for round in 1..=rounds {
                while ready.load(SeqCst) < 7 * round {
                    thread::sleep(MS);
                }
                raise(libc::SIGUSR1);
            }
        });
    });
}

/// A signal that came after the creation and before the call is received; several are one; one before the creation is none.
#[test]
fn signals_are_kept_and_coalesced() {
    passed("signals_are_kept_and_coalesced", || {
        let _keeper = on(USR1).unwrap();
        run(|| {
            raise(libc::SIGUSR1);
            let signals = on(USR1).unwrap();
            has_none(&signals);
            (0..10).for_each(|_| raise(libc::SIGUSR1));
            signals.recv().unwrap();
            assert!(!signals.try_recv().unwrap());
            has_none(&signals);
            raise(libc::SIGUSR1);
            assert!(signals.try_recv().unwrap());
            raise(libc::SIGUSR1);
            drop(signals);
            // The next listener gets the pipe of the last one, without what it held.
            let signals = on(USR1).unwrap();
            has_none(&signals);
            raise(libc::SIGUSR1);
            signals.recv().unwrap();
            assert_eq!(signals.kind(), USR1);
        });
    });
}

/// A cancelled wait takes no signal, and a shared listener gives a signal to one task.
#[test]
fn waits_are_cancel_safe() {
    passed("waits_are_cancel_safe", || {
        run(|| {
            let signals = &on(USR1).unwrap();
            scope(|s| {
                let mut waiting = s.spawn(|| signals.recv());
                yield_now();
                waiting.cancel();
                assert!(is_cancelled(&waiting.join().unwrap().unwrap_err()));
                raise(libc::SIGUSR1);
                signals.recv().unwrap();
                let mut both = [s.spawn(|| signals.recv().is_ok()), s.spawn(|| signals.recv().is_ok())];
                yield_now();
                raise(libc::SIGUSR1);
                cede::time::sleep(30 * MS).unwrap();
                assert_eq!(both.iter().filter(|task| task.is_finished()).count(), 1);
                raise(libc::SIGUSR1);
                assert!(both.iter_mut().all(|task| task.join().unwrap()));
            })
            .unwrap();
        });
    });
}

/// A listener moves between runs and threads.
#[test]
fn listeners_move() {
    passed("listeners_move", || {
        let signals = on(USR1).unwrap();
        run(|| has_none(&signals));
        raise(libc::SIGUSR1);
        run(|| signals.recv().unwrap());
        run(|| has_none(&signals));
        let (quiet, was_quiet) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            signals.recv().unwrap();
            run(|| {
                has_none(&signals);
                quiet.send(()).unwrap();
                signals.recv().unwrap();
            });
        });
        raise(libc::SIGUSR1);
        was_quiet.recv().unwrap();
        raise(libc::SIGUSR1);
        thread.join().unwrap();
    });
}

/// A wait for a signal is no deadlock, also in the only thread of a closed world.
#[test]
fn waits_are_no_deadlock() {
    passed("waits_are_no_deadlock", || {
        let pid = std::process::id().to_string();
        let outcome = Config::new().closed_world(true).run(|| {
            let hangup = on(SignalKind::hangup()).unwrap();
            let mut kill = std::process::Command::new("sh");
            let mut kill = kill.args(["-c", "sleep 0.2; kill -HUP $0", &pid]).spawn().unwrap();
            hangup.recv().unwrap();
            kill.wait().unwrap();
        });
        outcome.unwrap();
    });
}

#[test]
fn select_waits_for_signals() {
    passed("select_waits_for_signals", || {
        run(|| {
            let signals = on(USR1).unwrap();
            let (_sender, orders) = channel::unbounded::<()>();
            spawn(|| raise(libc::SIGUSR1));
            let got = select! {
                readable(signals) => signals.try_recv().unwrap(),
                recv(orders) -> _ => false,
            };
            assert!(got.unwrap());
        });
    });
}

static CHAINED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    CHAINED.fetch_add(1, SeqCst);
}

/// The handler of the program is called and restored; so are the default action and the ignored one.
#[test]
fn previous_actions_are_restored() {
    passed("previous_actions_are_restored", || {
        let own = count as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::signal(libc::SIGUSR1, own) };
        run(|| {
            let (first, second) = (on(USR1).unwrap(), on(USR1).unwrap());
            raise(libc::SIGUSR1);
            first.recv().unwrap();
            drop(first);
            raise(libc::SIGUSR1);
            second.recv().unwrap();
        });
        assert_eq!(CHAINED.load(SeqCst), 2);
        assert_eq!(handler_of(libc::SIGUSR1), own);
        // SAFETY: the action is none of a handler.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        for (kind, action) in [(SignalKind::hangup(), libc::SIG_IGN), (SignalKind::terminate(), libc::SIG_DFL)] {
            let signals = on(kind).unwrap();
            raise(kind.as_raw_value());
            signals.recv().unwrap();
            drop(signals);
            assert_eq!(handler_of(kind.as_raw_value()), action, "{kind:?}");
        }
    });
}

#[test]
fn refused_kinds_are_named() {
    for (number, text) in
        [(libc::SIGKILL, "signal 9"), (libc::SIGSEGV, "signal 11"), (0, "signal 0"), (65, "signal 65")]
    {
        let error = on(SignalKind::from_raw(number)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("cannot handle {text}: ")), "{error}");
    }
    assert_eq!(format!("{:?} {:?}", SignalKind::terminate(), SignalKind::from_raw(40)), "SIGTERM signal 40");
}

/// The parent's listener returns an error in the child of a fork, takes nothing from the parent, and the child makes its own.
#[test]
fn forked_child_listens_on_its_own() {
    passed("forked_child_listens_on_its_own", || {
        let signals = on(USR1).unwrap();
        drop(on(USR1).unwrap()); // leaves an unused pipe
        raise(libc::SIGUSR1);
        // SAFETY: the child has only this thread. It allocates, which glibc allows after a fork.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let test = || {
                let error = signals.recv().unwrap_err();
                assert!(error.to_string().starts_with("forked: "), "{error}");
                let own = on(USR1).unwrap();
                assert!(!own.try_recv().unwrap());
                raise(libc::SIGUSR1);
                own.recv().unwrap();
            };
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).map_or(3, |()| 42);
            // SAFETY: the child runs nothing more.
            unsafe { libc::_exit(code) }
        }
        let mut status = 0;
        // SAFETY: `status` is writable for the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 42);
        assert!(signals.try_recv().unwrap());
        assert!(!signals.try_recv().unwrap(), "the signal of the child is not the parent's");
    });
}

/// Many signals against many listeners that come and go on other threads: none hangs.
#[test]
fn storm_of_signals_and_listeners() {
    passed("storm_of_signals_and_listeners", || {
        let _keeper = on(USR1).unwrap();
        let end = Instant::now() + 500 * MS;
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(move || {
                    while Instant::now() < end {
                        run(|| timeout(LONG, || on(USR1).unwrap().recv()).unwrap().unwrap());
                    }
                });
            }
            // Until the last listener has its signal.
            while Instant::now() < end + 200 * MS {
                raise(libc::SIGUSR1);
            }
        });
    });
}

/// A signal that arrives at any moment of a call of `recv` is not lost, also if no later one follows.
#[test]
fn no_signal_is_lost() {
    passed("no_signal_is_lost", || {
        let rounds = if emulated() { 200 } else { 5_000 };
        let listen = |received: &AtomicUsize| {
            let (signals, mut random) = (on(USR1).unwrap(), Random::new(1));
            received.store(1, SeqCst);
            for _ in 0..rounds {
                // About as long as the signal takes, so that it arrives before, during and after the look at it.
                (0..random.below(200)).for_each(|_| std::hint::spin_loop());
                timeout_or_block(|| signals.recv()).unwrap();
                received.fetch_add(1, SeqCst);
            }
        };
        let in_run = |received: &AtomicUsize| run(|| listen(received));
        let ways: [&(dyn Fn(&AtomicUsize) + Sync); 2] = [&listen, &in_run];
        for way in ways {
            let received = AtomicUsize::new(0);
            thread::scope(|s| {
                let listener = s.spawn(|| way(&received));
                for round in 1..=rounds {
                    while received.load(SeqCst) < round && !listener.is_finished() {
                        std::hint::spin_loop();
                    }
                    raise(libc::SIGUSR1);
                }
            });
        }
    });
}

/// Calls `f` with a deadline in a run. A plain thread has none; the limit of the child process ends its wait.
fn timeout_or_block<T>(f: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    if cede::task::current().is_none() {
        return f();
    }
    timeout(LONG, f).unwrap_or_else(|late| late.into_value())
}

/// Runs the test `name` again as a subject that prints "ready" on stdout, sends it the signals, each after its next line, and returns
/// its exit status and the rest of its stdout.
fn subject(name: &str, signals: &[i32]) -> (std::process::ExitStatus, String) {
    let mut child = command(std::env::current_exe().unwrap());
    if cfg!(panic = "abort") {
        child.env("__RUST_TEST_INVOKE", name);
    }
    let child = child.args(["--exact", name, "--nocapture"]).env("CEDE_SIGNAL_SUBJECT", name);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id().try_into().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for signal in signals {
        assert!(lines.by_ref().any(|line| line.ends_with("ready")), "the subject ended early");
        // SAFETY: kill takes two numbers, and the child was not waited for.
        assert_eq!(unsafe { libc::kill(pid, *signal) }, 0);
    }
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > LONG {
            child.kill().unwrap();
        }
        thread::sleep(5 * MS);
    }
    (child.wait().unwrap(), lines.collect::<Vec<_>>().join("\n"))
}

fn is_subject(name: &str) -> bool {
    std::env::var("CEDE_SIGNAL_SUBJECT").as_deref() == Ok(name)
}

/// Ends the subject successfully.
fn done() -> ! {
    std::process::exit(77)
}

/// The first Ctrl-C ends the read of main and what its scope waits for; main cleans up and returns.
#[test]
fn ctrl_c_cancels_a_read() {
    let name = "ctrl_c_cancels_a_read";
    if is_subject(name) {
        let main = || {
            let (mut reader, _writer) = pipe().unwrap();
            println!("ready");
            let error = reader.read(&mut [0]).unwrap_err();
            assert!(is_cancelled(&error), "{error}");
            assert_eq!(cede::task::cancelled().unwrap().to_string(), "cancelled: Ctrl-C");
            cede::shield(|| cede::time::sleep(MS)).unwrap(); // main may still wait under a shield
            5
        };
        assert_eq!(Config::new().cancel_on_ctrl_c(true).run(main).unwrap(), 5);
        assert_eq!(handler_of(libc::SIGINT), libc::SIG_DFL);
        done()
    }
    let (status, text) = subject(name, &[libc::SIGINT]);
    assert_eq!(status.code(), Some(77), "{text}");
}

#[test]
fn ctrl_c_cancels_scopes_and_ignored_runs_go_on() {
    let name = "ctrl_c_cancels_scopes_and_ignored_runs_go_on";
    if is_subject(name) {
        Config::new()
            .cancel_on_ctrl_c(true)
            .run(|| {
                scope(|s| {
                    let mut sleeper = s.spawn(|| cede::time::sleep(LONG));
                    println!("ready");
                    assert!(sleeper.join().is_err(), "main is interrupted first");
                })
                .unwrap();
            })
            .unwrap();
        // A background job of a shell ignores SIGINT: the option changes nothing.
        // SAFETY: the action is none of a handler.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
        Config::new()
            .cancel_on_ctrl_c(true)
            .run(|| {
                raise(libc::SIGINT);
                raise(libc::SIGINT);
                cede::time::sleep(30 * MS).unwrap();
            })
            .unwrap();
        assert_eq!(handler_of(libc::SIGINT), libc::SIG_IGN);
        done()
    }
    let (status, text) = subject(name, &[libc::SIGINT]);
    assert_eq!(status.code(), Some(77), "{text}");
}

/// One Ctrl-C cancels the mains of all runs, and the watchdog of such a run hides no deadlock.
#[test]
fn ctrl_c_cancels_all_mains() {
    let name = "ctrl_c_cancels_all_mains";
    if is_subject(name) {
        let deadlock = Config::new().cancel_on_ctrl_c(true).run(|| cede::task::park("nothing").is_err());
        assert!(matches!(deadlock, Err(cede::RunError::Deadlock { .. })));
        let running = AtomicUsize::new(0);
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    Config::new().cancel_on_ctrl_c(true).run(|| {
                        if running.fetch_add(1, SeqCst) == 1 {
                            println!("ready");
                        }
                        assert!(cede::time::sleep(LONG).is_err());
                    })
                });
            }
        });
        done()
    }
    let (status, text) = subject(name, &[libc::SIGINT]);
    assert_eq!(status.code(), Some(77), "{text}");
}

/// Main ignores its cancel and blocks the thread. The second Ctrl-C ends the process by the signal.
#[test]
fn second_ctrl_c_ends_the_process() {
    let name = "second_ctrl_c_ends_the_process";
    if is_subject(name) {
        let _listener = on(SignalKind::interrupt()).unwrap(); // does not change that
        let _ = Config::new().cancel_on_ctrl_c(true).run(|| {
            println!("ready");
            assert!(cede::time::sleep(LONG).is_err());
            println!("ready");
            thread::sleep(LONG);
        });
        done()
    }
    let (status, text) = subject(name, &[libc::SIGINT, libc::SIGINT]);
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status} {text}");
}

/// `ctrl_c` receives one Ctrl-C, and the next one has its default action again.
#[test]
fn ctrl_c_is_received_once() {
    let name = "ctrl_c_is_received_once";
    if is_subject(name) {
        run(|| {
            let mut interrupted = spawn(ctrl_c);
            yield_now();
            println!("ready");
            interrupted.join().unwrap().unwrap();
            println!("ready");
            cede::time::sleep(LONG).unwrap();
        });
        done()
    }
    let (status, text) = subject(name, &[libc::SIGINT, libc::SIGINT]);
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status} {text}");
}
