//! Signals at any moment of a switch: a thread sends SIGUSR1, about 20,000 times a second, to the thread that runs the tasks.
//! The handler has no alternate stack, so its frame is on the current stack, below the stack pointer. A switch that kept
//! data below the stack pointer, or loaded the stack pointer too early, would lose that data here.
//!
//! `CEDE_STORM_SECONDS` makes it longer than 2 seconds.

use cede::{Generator, Yielder, yield_now};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// The lowest and the highest address at which a handler's frame was.
static LOWEST: AtomicU64 = AtomicU64::new(u64::MAX);
static HIGHEST: AtomicU64 = AtomicU64::new(0);

/// Writes over 1 KiB of its stack, as a handler's own variables would.
extern "C" fn scribble(signal: libc::c_int) {
    let mut bytes = [signal as u8; 1024];
    let address = black_box(&raw mut bytes) as u64;
    black_box(&mut bytes).fill(0xa5);
    black_box(&mut bytes);
    LOWEST.fetch_min(address, Relaxed);
    HIGHEST.fetch_max(address, Relaxed);
    ARRIVED.fetch_add(1, Relaxed);
}

/// One round of arithmetic on many values at once, so that registers and stack are full while the task is suspended. Returns
/// a checksum that depends on every one of them.
#[inline(always)]
fn round(seed: u64, pause: impl Fn()) -> u64 {
    let mut words = [seed; 8];
    let mut floats = [seed as f64; 8];
    let mut buffer = [seed as u8; 256];
    for step in 0..16u64 {
        for (n, word) in words.iter_mut().enumerate() {
            *word = word.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15 | step).wrapping_add(n as u64);
        }
        for (n, float) in floats.iter_mut().enumerate() {
            *float = *float * 0.5 + (step + n as u64) as f64;
        }
        black_box(&mut buffer)[(words[0] % 256) as usize] ^= words[1] as u8;
        pause();
    }
    let words = words.iter().fold(0u64, |sum, word| sum.rotate_left(1) ^ word);
    let floats = floats.iter().fold(0u64, |sum, float| sum.rotate_left(1) ^ float.to_bits());
    words ^ floats ^ buffer.iter().fold(0u64, |sum, byte| sum.rotate_left(3) ^ u64::from(*byte))
}

/// Compares rounds that pause with rounds that do not, until `stop` is set. Returns the number of rounds.
fn check(task: u64, stop: &Cell<bool>, pause: impl Fn()) -> u64 {
    let mut rounds = 0;
    while !stop.get() {
        let seed = task << 32 | rounds;
        assert_eq!(round(black_box(seed), &pause), round(seed, || ()), "damage in task {task}, round {rounds}");
        rounds += 1;
    }
    rounds
}

#[test]
fn signals_on_task_stacks_damage_nothing() {
    let seconds = std::env::var("CEDE_STORM_SECONDS").map_or(2, |text| text.parse().expect("a number of seconds"));
    // SAFETY: the handler only does arithmetic on its own frame and on atomics, so it is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = scribble as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    // SAFETY: pthread_self has no preconditions.
    let target = unsafe { libc::pthread_self() };
    let over = &AtomicBool::new(false);
    let (rounds, sent) = std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let mut sent = 0u64;
            while !over.load(Relaxed) {
                // SAFETY: the target thread is alive: it joins this thread before it ends.
                assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR1) }, 0);
                sent += 1;
                // Sleeping would take 50 us and more.
                let next = Instant::now() + Duration::from_micros(50);
                while Instant::now() < next {
                    std::hint::spin_loop();
                }
            }
            sent
        });
        let rounds = cede::run(|| tasks_in_the_storm(Duration::from_secs(seconds)));
        over.store(true, Relaxed);
        (rounds, sender.join().unwrap())
    });
    let arrived = ARRIVED.load(Relaxed);
    let spread = HIGHEST.load(Relaxed) - LOWEST.load(Relaxed);
    println!("{rounds} rounds, {sent} signals sent, {arrived} arrived, on stacks {} KiB apart", spread / 1024);
    // Signals that arrive while one is pending are merged, and an emulator is slow at each. Their number depends on the load of
    // the machine.
    assert!(arrived >= 100 * seconds, "only {arrived} signals arrived");
    assert!(spread > 64 * 1024, "every signal was on one stack");
    assert!(rounds > 0);
}

/// Runs four tasks that yield, and four that yield from inside of a generator, until the time is over, or longer on a machine so
/// busy that hardly a signal arrives.
fn tasks_in_the_storm(time: Duration) -> u64 {
    let enough = 100 * time.as_secs();
    let patience = Instant::now() + time * 30;
    let (end, stop) = (Instant::now() + time, Rc::new(Cell::new(false)));
    let tasks = (1..=8u64).map(|task| {
        let stop = Rc::clone(&stop);
        cede::spawn(move || {
            if task % 2 == 0 {
                return check(task, &stop, || yield_now());
            }
            let generator = Generator::new(move |y: &Yielder<u64>| {
                let pauses = Cell::new(0);
                let rounds = check(task, &stop, || {
                    // Half of the switches are to another task, half to the resumer of the generator.
                    pauses.set(pauses.get() + 1);
                    if pauses.get() % 2 == 0 { yield_now() } else { y.yield_(0) }
                });
                y.yield_(rounds);
            });
            generator.last().expect("the last item is the number of rounds")
        })
    });
    let mut tasks: Vec<_> = tasks.collect();
    while Instant::now() < end || ARRIVED.load(Relaxed) < enough && Instant::now() < patience {
        (0..100).for_each(|_| yield_now());
    }
    stop.set(true);
    tasks.iter_mut().map(|task| task.join().unwrap()).sum()
}
