//! Timers and clocks. Almost all tests run with a paused clock, so that they take no time.

mod common;

use cede::task::{Cancelled, Unparker};
use cede::time::{after, interval, now, sleep, sleep_until};
use cede::{Config, JoinHandle, RunError, spawn};
use common::child::in_child;
use common::paused;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

type Log = Rc<RefCell<Vec<(u64, &'static str)>>>;

/// Sleepers wake in the order of their deadlines, never early.
#[test]
fn a50_sleepers_wake_in_deadline_order_and_never_early() {
    let log: Log = Rc::default();
    paused(|| {
        let start = now();
        let sleeper = |name, seconds| {
            let log = Rc::clone(&log);
            spawn(move || {
                sleep(seconds * SECOND).unwrap();
                log.borrow_mut().push(((now() - start).as_secs(), name));
            })
        };
        // The tutorials' three workers: 1, 2 and 4 units end after 4 units.
        let mut workers = [sleeper("four", 4), sleeper("one", 1), sleeper("two", 2)];
        workers.iter_mut().for_each(|worker| worker.join().unwrap());
        assert_eq!((now() - start).as_secs(), 4);
    });
    assert_eq!(*log.borrow(), [(1, "one"), (2, "two"), (4, "four")]);
}

/// Sleepers with equal deadlines wake in the order in which they began to sleep.
#[test]
fn a50_equal_deadlines_fire_in_arming_order() {
    let log: Log = Rc::default();
    paused(|| {
        let deadline = now() + SECOND;
        for name in ["a", "b", "c", "d"] {
            let log = Rc::clone(&log);
            spawn(move || {
                sleep_until(deadline).unwrap();
                log.borrow_mut().push((0, name));
            });
        }
        sleep(2 * SECOND).unwrap();
    });
    assert_eq!(log.borrow().iter().map(|(_, name)| *name).collect::<String>(), "abcd");
}

#[test]
fn a50_no_time_and_the_past_still_give_up_a_turn() {
    let log: Log = Rc::default();
    paused(|| {
        let inner = Rc::clone(&log);
        spawn(move || inner.borrow_mut().push((0, "other")));
        sleep(Duration::ZERO).unwrap();
        log.borrow_mut().push((1, "main"));
        let inner = Rc::clone(&log);
        spawn(move || inner.borrow_mut().push((2, "other")));
        sleep_until(now().checked_sub(SECOND).unwrap()).unwrap();
        log.borrow_mut().push((3, "main"));
    });
    assert_eq!(*log.borrow(), [(0, "other"), (1, "main"), (2, "other"), (3, "main")]);
}

#[test]
fn a50_the_real_clock_is_never_early() {
    cede::run(|| {
        for nanos in [0, 1, 1_000, 1_000_000, 3_000_000] {
            let duration = Duration::from_nanos(nanos);
            let start = Instant::now();
            sleep(duration).unwrap();
            assert!(start.elapsed() >= duration);
        }
    });
}

#[test]
fn a51_after_calls_in_deadline_order_and_can_be_cancelled() {
    let log: Log = Rc::default();
    paused(|| {
        let start = now();
        let call = |name, seconds| {
            let log = Rc::clone(&log);
            after(seconds * SECOND, move || log.borrow_mut().push(((now() - start).as_secs(), name)))
        };
        let (second, first, never) = (call("second", 2), call("first", 1), call("never", 1));
        assert!(never.cancel());
        assert_eq!(never.join().unwrap(), None);
        assert_eq!(second.join().unwrap(), Some(()));
        assert!(!first.cancel(), "the call has been made");
    });
    assert_eq!(*log.borrow(), [(1, "first"), (2, "second")]);
}

#[test]
fn a52_a_sleep_is_cut_short_by_a_cancel_and_by_nothing_else() {
    paused(|| {
        let start = now();
        let unparker: Rc<RefCell<Option<Unparker>>> = Rc::default();
        let own = Rc::clone(&unparker);
        let mut sleeper = spawn(move || {
            *own.borrow_mut() = Some(Unparker::current());
            (sleep(10 * SECOND), now())
        });
        sleep(SECOND).unwrap();
        unparker.take().unwrap().unpark();
        sleep(SECOND).unwrap();
        assert!(sleeper.try_join().is_none(), "an unpark does not end a sleep");
        sleeper.cancel();
        let (result, at) = sleeper.join().unwrap();
        assert_eq!(result, Err(Cancelled));
        assert_eq!((at - start).as_secs(), 2);
    });
}

#[test]
fn e6_a_duration_too_long_for_the_clock_never_comes() {
    let result = Config::new().paused_clock(true).run(|| sleep(Duration::MAX));
    let Err(RunError::Deadlock { report, outcome }) = result else { panic!("the sleep ended") };
    assert_eq!(report.tasks[0].reason.to_string(), "the end of its sleep");
    assert!(outcome.unwrap().is_err());
    paused(|| {
        let never = after(Duration::MAX, || ());
        sleep(Duration::from_secs(86_400 * 365)).unwrap();
        assert!(never.cancel());
    });
}

/// The longest duration from now that the clock can represent.
fn longest() -> Duration {
    let start = now();
    let (mut low, mut high) = (Duration::ZERO, Duration::MAX);
    while high - low > Duration::from_nanos(1) {
        let middle = low + (high - low) / 2;
        if start.checked_add(middle).is_some() { low = middle } else { high = middle }
    }
    low
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn paused_clock_at_its_last_moment_still_ends_the_run() {
    let told = in_child("paused_clock_at_its_last_moment_still_ends_the_run", || {
        for grace in [0, 20] {
            let config = Config::new().paused_clock(true).shutdown_grace(Duration::from_millis(grace));
            let outcome = config.run(|| {
                let start = now();
                spawn(|| cede::task::park("ever"));
                // Always ready, so that only the grace period ends it.
                spawn(|| {
                    loop {
                        cede::yield_now();
                    }
                });
                let longest = longest();
                spawn(move || {
                    sleep(longest).unwrap();
                    // Clean-up may sleep.
                    let _ = sleep(SECOND);
                    cede::shield(|| sleep(Duration::from_nanos(1))).unwrap();
                });
                let mut sleeper = spawn(move || sleep(longest));
                for _ in 0..100 {
                    cede::yield_now();
                }
                (sleeper.cancel(), sleeper.join().unwrap().is_err(), now() == start)
            });
            assert_eq!(outcome.unwrap(), (true, true, true));
            // No other task is ready, so the clock jumps there.
            let config = Config::new().paused_clock(true).shutdown_grace(Duration::from_millis(grace));
            let outcome = config.run(|| {
                let end = now() + longest();
                let mut task = spawn(move || cede::time::sleep_until(end));
                spawn(|| cede::task::park("ever"));
                spawn(|| while cede::task::park("ever").is_err() {});
                task.join().unwrap().unwrap();
                (now() == end, sleep(Duration::ZERO).is_ok(), now() == end)
            });
            assert_eq!(outcome.unwrap(), (true, true, true));
        }
    });
    assert!(told.ends_with("exit code Some(0)"), "{told}");
}

#[test]
fn durations_at_the_limits_of_the_clock_harm_no_wait() {
    let years = |years: u64| Duration::from_secs(years * 365 * 86_400);
    for duration in [Duration::MAX, longest() - SECOND, longest() / 2, Duration::from_nanos(u64::MAX), years(600)] {
        let config = Config::new().shutdown_grace(duration).report_stall(duration).report_slow_turns(duration);
        let outcome = config.run(|| {
            let mut sleeper = spawn(move || (sleep(duration), cede::timeout(duration, || sleep(duration)).is_ok()));
            let mut ticker = spawn(move || {
                let mut ticks = interval(duration);
                ticks.tick().unwrap();
                ticks.skip_missed();
                ticks.tick()
            });
            let late = after(duration, || ());
            let event = cede::sync::Event::new();
            assert!(event.wait_timeout(Duration::ZERO).is_err());
            event.set();
            event.wait_timeout(duration).unwrap();
            let main = cede::task::Unparker::current();
            std::thread::spawn(move || main.unpark());
            match now().checked_add(duration) {
                Some(end) => cede::task::park_until("a thread", end).unwrap(),
                None => cede::task::park("a thread").unwrap(),
            }
            assert!(sleeper.cancel() && ticker.cancel() && late.cancel());
            (sleeper.join().unwrap(), ticker.join().unwrap().is_err(), late.join().unwrap())
        });
        assert_eq!(outcome.unwrap(), ((Err(Cancelled), true), true, None), "{duration:?}");
    }
}

#[test]
fn waits_after_584_years_have_a_beginning() {
    // The largest number of nanoseconds in 64 bits.
    for years in
        [Duration::from_nanos(u64::MAX), Duration::from_nanos(u64::MAX - 1), Duration::from_secs(u64::MAX >> 2)]
    {
        paused(|| {
            sleep(years).unwrap();
            let task = spawn(|| cede::task::park("ever"));
            sleep(SECOND).unwrap();
            assert!(cede::dump().to_string().contains("ever"));
            task.cancel();
        });
    }
}

#[test]
fn skipping_missed_ticks_takes_one_step_however_many() {
    let told = in_child("skipping_missed_ticks_takes_one_step_however_many", || {
        paused(|| {
            let mut ticks = interval(Duration::from_nanos(7));
            let start = ticks.tick().unwrap();
            sleep(Duration::from_secs(1 << 50) + Duration::from_nanos(3)).unwrap();
            ticks.skip_missed();
            let tick = ticks.tick().unwrap();
            assert_eq!((tick - start).as_nanos() % 7, 0);
            assert!((now() - start).as_nanos() - (1_000_000_000 << 50) < 7 + 3);
            // The next tick would be beyond the range of the clock.
            let mut ticks = interval(longest());
            ticks.tick().unwrap();
            sleep(longest()).unwrap();
            ticks.skip_missed();
        });
    });
    assert!(told.ends_with("exit code Some(0)"), "{told}");
}

/// An interval does not drift. Missed ticks come at once, or are left out after `skip_missed`.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn interval_does_not_drift_and_repeats_or_skips_missed_ticks() {
    paused(|| {
        let start = now();
        let since = |at: Instant| (at - start).as_millis();
        let mut ticks = interval(SECOND);
        assert_eq!(since(ticks.tick().unwrap()), 0);
        // Work that takes longer than a period.
        sleep(Duration::from_millis(2500)).unwrap();
        assert_eq!([ticks.tick(), ticks.tick()].map(|tick| since(tick.unwrap())), [1000, 2000]);
        assert_eq!(since(now()), 2500);
        assert_eq!(since(ticks.tick().unwrap()), 3000);
        sleep(Duration::from_millis(2500)).unwrap();
        ticks.skip_missed();
        assert_eq!(since(ticks.tick().unwrap()), 6000);
    });
    assert!(std::panic::catch_unwind(|| cede::run(|| interval(Duration::ZERO))).is_err());
}

#[test]
fn e7_a_model_of_sorted_deadlines_agrees() {
    // Random sleeps, a third of them cancelled at random times, against a list sorted by (deadline, order of arming).
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: u64| {
        // xorshift64, Marsaglia 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for _ in 0..20 {
        let woken: Rc<RefCell<Vec<usize>>> = Rc::default();
        let mut model: Vec<(u64, usize)> = Vec::new();
        paused(|| {
            let start = now();
            let mut sleepers = Vec::new();
            for i in 0..500 {
                let due = random(1000);
                let woken = Rc::clone(&woken);
                sleepers.push((
                    due,
                    spawn(move || {
                        if sleep_until(start + Duration::from_millis(due)).is_ok() {
                            woken.borrow_mut().push(i);
                        }
                    }),
                ));
            }
            cede::yield_now();
            for (i, (due, sleeper)) in sleepers.iter().enumerate() {
                // Sleeps that are due at once have ended, or end in their task's next turn.
                if *due > 0 && random(3) == 0 {
                    sleeper.cancel();
                } else {
                    model.push((*due, i));
                }
            }
            for (_, sleeper) in &mut sleepers {
                sleeper.join().unwrap();
            }
        });
        model.sort();
        assert_eq!(*woken.borrow(), model.into_iter().map(|(_, i)| i).collect::<Vec<_>>());
    }
}

/// A sorted list of deadlines, compared with the timers.
struct Model {
    random: Box<dyn FnMut(u64) -> u64>,
    woken: Rc<RefCell<Vec<usize>>>,
    start: Instant,
    /// Armed timers, by deadline in nanoseconds since the start, and by the order of arming.
    armed: BTreeSet<(u128, usize)>,
    /// Timers that were due when they were armed.
    at_once: Vec<usize>,
    sleepers: Vec<(Option<u128>, usize, JoinHandle<()>)>,
    next: usize,
}

impl Model {
    fn arm(&mut self) {
        let (id, random) = (self.next, &mut self.random);
        self.next += 1;
        let milli = Duration::from_millis;
        let offset = match random(20) {
            0 => Some(Duration::ZERO),
            1 => Some(Duration::from_nanos(1)),
            2 => None,                             // Duration::MAX
            3..8 => Some(milli(random(10) * 100)), // ties
            _ => Some(milli(random(1000)) + Duration::from_nanos(random(1_000_000))),
        };
        let past = random(20) == 0;
        let (at, woken) = (now(), Rc::clone(&self.woken));
        let task = spawn(move || {
            let slept = match offset {
                // `sleep_until` accepts a deadline before now.
                Some(offset) if past => sleep_until(at.checked_sub(offset).unwrap_or(at)),
                Some(offset) if id % 2 == 0 => sleep_until(at + offset),
                Some(offset) => sleep(offset),
                None => sleep(Duration::MAX),
            };
            if slept.is_ok() {
                woken.borrow_mut().push(id);
            }
        });
        let due = offset.map(|offset| (at - self.start + if past { Duration::ZERO } else { offset }).as_nanos());
        match due {
            Some(due) if due == (at - self.start).as_nanos() => self.at_once.push(id),
            Some(due) => drop(self.armed.insert((due, id))),
            None => {}
        }
        self.sleepers.push((due, id, task));
    }

    fn cancel(&mut self) {
        if !self.sleepers.is_empty() {
            let victim = (self.random)(self.sleepers.len() as u64) as usize;
            let (due, id, task) = self.sleepers.swap_remove(victim);
            if task.cancel() {
                if let Some(due) = due {
                    self.armed.remove(&(due, id));
                }
                self.at_once.retain(|one| *one != id);
            }
        }
    }

    /// Lets time pass, and compares the woken tasks and their order with the list.
    fn advance(&mut self) {
        sleep(Duration::from_millis((self.random)(60))).unwrap();
        (0..3).for_each(|_| cede::yield_now());
        let now = (now() - self.start).as_nanos();
        let later = self.armed.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut self.armed, later);
        let expected: Vec<_> = self.at_once.drain(..).chain(due.into_iter().map(|(_, id)| id)).collect();
        assert_eq!(self.woken.take(), expected, "at {now} ns");
        self.sleepers.retain(|(.., task)| !task.is_finished());
    }
}

#[test]
fn e7_a_million_operations_on_timers_agree_with_a_sorted_list() {
    let operations = match () {
        () if common::emulated() => 10_000,
        () if cfg!(debug_assertions) => 200_000,
        () => 1_000_000,
    };
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    paused(|| {
        let mut model = Model {
            random: Box::new(random),
            woken: Rc::default(),
            start: now(),
            armed: BTreeSet::new(),
            at_once: Vec::new(),
            sleepers: Vec::new(),
            next: 0,
        };
        for _ in 0..operations {
            match (model.random)(100) {
                0..58 => model.arm(),
                58..97 => model.cancel(),
                _ => model.advance(),
            }
        }
        assert!(model.next > operations / 2);
        for (.., task) in &model.sleepers {
            task.cancel();
        }
        cede::yield_now();
        assert!(model.woken.take().len() <= model.at_once.len(), "cancelled sleeps do not wake");
    });
}

#[test]
fn deadlines_fire_while_the_run_queue_is_busy() {
    cede::run(|| {
        let deadline = Instant::now() + Duration::from_millis(5);
        let mut sleeper = spawn(move || sleep_until(deadline));
        let start = Instant::now();
        while !sleeper.is_finished() && start.elapsed() < Duration::from_secs(10) {
            cede::yield_now();
        }
        assert!(sleeper.try_join().is_some_and(|result| result.unwrap().is_ok()));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn outside_of_a_run_there_is_the_real_time_and_no_sleep() {
    assert!(now() <= Instant::now());
    let text = *std::panic::catch_unwind(|| sleep(SECOND)).unwrap_err().downcast::<String>().unwrap();
    assert_eq!(text, "cannot sleep outside of a run: call cede::run(|| ...) and do it in there");
}

#[test]
fn a_paused_clock_does_not_keep_a_run_from_ending() {
    // A task that is always ready: the clock would stop, and the grace period would never end.
    let start = Instant::now();
    let config = Config::new().paused_clock(true).shutdown_grace(Duration::from_millis(50));
    config
        .run(|| {
            spawn(|| {
                loop {
                    cede::yield_now();
                }
            });
            sleep(Duration::ZERO)
        })
        .unwrap()
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
}
