//! The order of a mutex between tasks, runs and threads: FIFO among the tasks of a worker, and bounded overtaking by other
//! threads.

mod common;

use cede::sync::{Mutex, MutexGuard, WaitTimeoutError};
use cede::task::TaskState;
use cede::{Config, JoinHandle, spawn, yield_now};
use common::random::Random;
use common::{emulated, rounds};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// The time for which a waiter of another worker may be overtaken.
const PATIENCE: Duration = Duration::from_micros(500);

/// The log of the holders, which the mutex protects.
type Logged = Arc<Mutex<Vec<(&'static str, Instant)>>>;

fn add(log: &mut MutexGuard<'_, Vec<(&'static str, Instant)>>, name: &'static str) {
    log.push((name, Instant::now()));
}

fn names(log: &Logged) -> Vec<&'static str> {
    log.lock().unwrap().iter().map(|(name, _)| *name).collect()
}

/// Spawns a task that locks the mutex and logs that, and runs it until it waits.
fn waiter(log: &Logged, name: &'static str) -> JoinHandle<()> {
    let log = Arc::clone(log);
    let task = spawn(move || add(&mut log.lock().unwrap(), name));
    while !matches!(task.state(), TaskState::Waiting(_)) {
        yield_now();
    }
    task
}

/// A thread with a run, in which a task waits for the mutex.
struct Remote {
    thread: thread::JoinHandle<()>,
    /// The time at which the task was in the queue.
    queued: Instant,
}

fn remote(log: &Logged, name: &'static str) -> Remote {
    let (log, (told, hears)) = (Arc::clone(log), channel());
    let thread = thread::spawn(move || {
        cede::run(|| {
            let mut task = waiter(&log, name);
            told.send(Instant::now()).unwrap();
            task.join().unwrap();
        });
    });
    Remote { thread, queued: hears.recv().unwrap() }
}

/// Waits, without a wait of the run, until the first waiter must not be overtaken any more.
fn lose_patience() {
    thread::sleep(4 * PATIENCE);
}

/// After half a millisecond a waiter on another thread is granted the mutex by the next release, although it sleeps.
#[test]
fn patient_waiter_is_granted_the_mutex() {
    let log = Logged::default();
    let mut held = log.lock().unwrap();
    let remote = remote(&log, "remote");
    lose_patience();
    add(&mut held, "first");
    drop(held);
    add(&mut log.lock().unwrap(), "second");
    remote.thread.join().unwrap();
    assert_eq!(names(&log), ["first", "remote", "second"]);
}

/// Two threads that never wait take turns with the mutex. A waiter's turn comes at the first release after its time.
#[test]
fn waiter_is_served_between_hot_threads() {
    for _ in 0..if emulated() { 3 } else { 50 } {
        let (log, stop) = (Logged::default(), Arc::new(AtomicBool::new(false)));
        let held = log.lock().unwrap();
        let remote = remote(&log, "remote");
        let hot = ["one", "other"].map(|name| {
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut held = log.lock().unwrap();
                    if held.len() < 200_000 {
                        add(&mut held, name);
                    }
                }
            })
        });
        drop(held);
        remote.thread.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        hot.into_iter().for_each(|thread| thread.join().unwrap());
        let log = log.lock().unwrap();
        let end = log.iter().position(|(name, _)| *name == "remote").expect("the waiter was served");
        // A holder that came before the time and one that took what that one released are the same, or one came late.
        let late =
            log[..end].iter().filter(|(_, time)| *time > remote.queued + PATIENCE + Duration::from_micros(2)).count();
        assert!(late <= 1, "{late} holders began after the waiter's time");
    }
}

/// Tasks of the holder's worker overtake a waiter of another thread for half a millisecond only.
#[test]
fn tasks_pass_a_remote_waiter_only_at_first() {
    let log = Logged::default();
    cede::run(|| {
        let held = log.lock().unwrap();
        let mut one = waiter(&log, "one");
        let remote = remote(&log, "remote");
        let (mut two, mut three) = (waiter(&log, "two"), waiter(&log, "three"));
        lose_patience();
        drop(held);
        assert!(log.try_lock().is_none(), "a waiter has it");
        [&mut one, &mut two, &mut three].into_iter().for_each(|task| task.join().unwrap());
        remote.thread.join().unwrap();
    });
    assert_eq!(names(&log), ["one", "remote", "two", "three"]);
}

/// In the first half millisecond they do, in their own order, and without a turn of the other thread.
#[test]
fn tasks_pass_a_remote_waiter_in_their_order() {
    let passed = (0..1000).any(|_| {
        let log = Logged::default();
        let remote = cede::run(|| {
            let held = log.lock().unwrap();
            let remote = remote(&log, "remote");
            let mut tasks = ["one", "two", "three"].map(|name| waiter(&log, name));
            drop(held);
            tasks.iter_mut().for_each(|task| task.join().unwrap());
            remote
        });
        remote.thread.join().unwrap();
        let mut order = names(&log);
        let at = order.iter().position(|name| *name == "remote").unwrap();
        order.remove(at);
        assert_eq!(order, ["one", "two", "three"]);
        at > 0
    });
    assert!(passed || emulated(), "the mutex was always handed to the other thread");
}

/// A release does not search a long queue for a task of its worker: the first waiter is granted the mutex.
#[test]
fn far_task_waits_behind_remote_ones() {
    let (log, names_of_remote) = (Logged::default(), (0..40).map(|n| &*n.to_string().leak()).collect::<Vec<&str>>());
    cede::run(|| {
        let held = log.lock().unwrap();
        let (inner, remote_names, (told, hears)) = (Arc::clone(&log), names_of_remote.clone(), channel());
        let remote = thread::spawn(move || {
            cede::run(|| {
                let mut tasks: Vec<_> = remote_names.iter().map(|name| waiter(&inner, name)).collect();
                told.send(()).unwrap();
                tasks.iter_mut().for_each(|task| task.join().unwrap());
            });
        });
        hears.recv().unwrap();
        let mut far = waiter(&log, "far");
        drop(held);
        far.join().unwrap();
        remote.join().unwrap();
    });
    assert_eq!(names(&log), [&names_of_remote[..], &["far"]].concat());
}

/// A release by another thread wakes the first waiter. A task of the woken waiter's worker that comes first overtakes no
/// task of its worker, and gives the mutex to the first of them.
#[test]
fn newcomer_does_not_overtake_its_own_worker() {
    for _ in 0..if emulated() { 20 } else { 300 } {
        let log = Logged::default();
        let held = log.lock().unwrap();
        let (waits, waiting) = channel();
        let (released, release) = channel();
        let inner = Arc::clone(&log);
        let other = thread::spawn(move || {
            cede::run(|| {
                let mut tasks = ["one", "two"].map(|name| waiter(&inner, name));
                waits.send(()).unwrap();
                wait_blocking(&release);
                // The worker has not looked at its remote wakes since.
                assert!(inner.try_lock().is_none(), "two tasks wait");
                add(&mut inner.lock().unwrap(), "newcomer");
                tasks.iter_mut().for_each(|task| task.join().unwrap());
            });
        });
        waiting.recv().unwrap();
        drop(held);
        released.send(()).unwrap();
        other.join().unwrap();
        assert_eq!(names(&log), ["one", "two", "newcomer"]);
    }
}

/// Blocks the whole thread, so that its worker polls nothing.
fn wait_blocking(receiver: &Receiver<()>) {
    receiver.recv().unwrap();
}

/// What ends the wait of a woken waiter before it looks at the mutex.
#[derive(Clone, Copy, Debug)]
enum End {
    Cancel,
    Deadline,
    Unwind,
}

/// A waiter that was woken to take the mutex, and ends without looking, passes that on to the waiter behind it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn ended_waiter_passes_the_mutex_on() {
    for end in [End::Cancel, End::Deadline, End::Unwind] {
        for _ in 0..if emulated() { 10 } else { 100 } {
            let mutex = Arc::new(Mutex::new(()));
            let held = mutex.lock().unwrap();
            let (waits, waiting) = channel();
            let (released, release) = channel();
            let inner = Arc::clone(&mutex);
            let other = thread::spawn(move || woken_and_ended(&inner, end, &waits, &release));
            waiting.recv().unwrap();
            let behind = remote_lock(&mutex);
            drop(held);
            released.send(()).unwrap();
            behind.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{end:?}: the next is not woken"));
            other.join().unwrap();
            assert!(mutex.try_lock().is_some(), "{end:?}");
        }
    }
}

/// A task waits for the mutex. Its wait ends by `end` after the release, before its worker has seen the wake.
fn woken_and_ended(mutex: &Arc<Mutex<()>>, end: End, waits: &Sender<()>, release: &Receiver<()>) {
    let _ = Config::new().shutdown_grace(Duration::ZERO).run(|| {
        let inner = Arc::clone(mutex);
        let mut task = spawn(move || match end {
            End::Cancel => drop(inner.lock()),
            End::Deadline => drop(cede::timeout(PATIENCE / 5, || inner.lock().map(drop))),
            End::Unwind => drop(cede::shield(|| inner.lock())),
        });
        while !matches!(task.state(), TaskState::Waiting(_)) && !task.is_finished() {
            yield_now();
        }
        waits.send(()).unwrap();
        wait_blocking(release);
        match end {
            End::Cancel => {
                task.cancel();
                task.join().unwrap();
            }
            End::Deadline => task.join().unwrap(),
            // Main returns.
            End::Unwind => {}
        }
    });
}

/// Starts a thread that locks the mutex, and waits until it is in the queue, as far as that can be seen.
fn remote_lock(mutex: &Arc<Mutex<()>>) -> Receiver<()> {
    let (mutex, (told, hears)) = (Arc::clone(mutex), channel());
    let (begins, begun) = channel();
    thread::spawn(move || {
        cede::run(|| {
            let mut task = spawn(move || drop(mutex.lock().unwrap()));
            while !matches!(task.state(), TaskState::Waiting(_)) {
                yield_now();
            }
            begins.send(()).unwrap();
            task.join().unwrap();
        });
        // False if the test has failed already.
        let _ = told.send(());
    });
    begun.recv().unwrap();
    hears
}

/// Plain threads and runs lock in a loop, with timeouts and cancels: one holder at a time, no lost wake.
#[test]
fn mutex_serves_threads_and_runs_with_cancels() {
    let each = if emulated() { 60 } else { 3_000 };
    let (mutex, start) = (Arc::new(Mutex::new((0u64, 0u64))), Arc::new(Barrier::new(6)));
    let (done, all_done) = channel();
    for thread in 0..6u64 {
        let (mutex, start, done) = (Arc::clone(&mutex), Arc::clone(&start), done.clone());
        thread::spawn(move || {
            start.wait();
            let count =
                if thread < 3 { lock_in_a_loop(&mutex, each, thread) } else { lock_in_tasks(&mutex, each, thread) };
            done.send(count).unwrap();
        });
    }
    let mut sum = 0;
    for _ in 0..6 {
        sum += all_done.recv_timeout(Duration::from_secs(100)).expect("a waiter was not woken");
    }
    assert_eq!(*mutex.try_lock().expect("it is free"), (sum, sum));
}

/// Locks `each` times, and gives up at random deadlines. Returns how often it had the lock.
fn lock_in_a_loop(mutex: &Mutex<(u64, u64)>, each: u64, seed: u64) -> u64 {
    let mut random = Random::new(seed + 1);
    let mut count = 0;
    for n in 0..each {
        let locked = match random.below(3) {
            0 => mutex.lock_timeout(Duration::from_nanos(random.below(100_000) as u64)),
            _ => mutex.lock().map_err(WaitTimeoutError::from),
        };
        if let Ok(mut both) = locked {
            both.0 += 1;
            if n % 16 == 0 {
                if cede::task::current().is_some() { yield_now() } else { thread::yield_now() }
            }
            both.1 += 1;
            assert_eq!(both.0, both.1, "another holder was inside");
            count += 1;
        }
    }
    count
}

/// Five tasks of a run lock in a loop. Other tasks are cancelled while they wait.
fn lock_in_tasks(mutex: &Arc<Mutex<(u64, u64)>>, each: u64, seed: u64) -> u64 {
    cede::run(|| {
        let mut tasks: Vec<_> = (0..5)
            .map(|task| {
                let mutex = Arc::clone(mutex);
                spawn(move || lock_in_a_loop(&mutex, each / 5, 10 * seed + task))
            })
            .collect();
        let mut random = Random::new(seed);
        while !tasks.iter().all(JoinHandle::is_finished) {
            let inner = Arc::clone(mutex);
            let mut victim = spawn(move || drop(inner.lock()));
            rounds(random.below(4) as u32);
            victim.cancel();
            // Fails if the task had no turn before the cancel.
            let _ = victim.join();
            yield_now();
        }
        tasks.iter_mut().map(|task| task.join().unwrap()).sum()
    })
}
