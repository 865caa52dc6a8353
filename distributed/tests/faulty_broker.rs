//! Coordinator and workers over a broker that loses jobs and answers, repeats answers, and breaks connections, at random.

use cede::time::{now, sleep};
use cede_distributed::broker::{Broker, Source, Stored, Taken, Ticket};
use cede_distributed::chunks::Input;
use cede_distributed::coordinator::{self, Summary, coordinate};
use cede_distributed::job::{Answer, Job};
use cede_distributed::link::{Connect, Link};
use cede_distributed::progress::Progress;
use cede_distributed::search::search;
use cede_distributed::worker::{self, work};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CLAIM_AFTER: Duration = Duration::from_secs(3);
const WINDOW: u64 = 8;
const PATTERN: &[u8] = b"7";

/// A job that is stored.
struct Entry {
    ticket: Ticket,
    job: Job,
    deliveries: u64,
    since: Option<Instant>,
}

/// What the broker stores, and its faults.
struct State {
    random: u64,
    has_faults: bool,
    has_queues: bool,
    is_over: bool,
    tickets: u64,
    jobs: Vec<Entry>,
    answers: Vec<Answer>,
    /// The jobs whose answers the coordinator has.
    taken: BTreeSet<u64>,
}

impl State {
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    /// Returns true once in `times` calls, at random.
    fn fault(&mut self, times: u64) -> bool {
        self.has_faults && self.below(times) == 0
    }

    fn first_missing(&self) -> u64 {
        (0..).find(|seq| !self.taken.contains(seq)).unwrap_or(u64::MAX)
    }
}

/// A connection to the broker.
struct Faulty(Rc<RefCell<State>>);

impl Faulty {
    /// Makes a change. The connection may break before or after it.
    fn call<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.borrow_mut();
        if state.fault(100) {
            (state.has_queues, state.jobs, state.answers) = (false, vec![], vec![]);
        }
        if state.fault(30) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let result = change(&mut state);
        if state.fault(30) { Err(ErrorKind::ConnectionReset.into()) } else { result }
    }
}

impl Broker for Faulty {
    fn set_up(&mut self, _coordinator: u64) -> io::Result<()> {
        self.call(|state| {
            state.has_queues = true;
            Ok(())
        })
    }

    fn push(&mut self, jobs: &[Job]) -> io::Result<Vec<Ticket>> {
        self.call(|state| {
            if !state.has_queues {
                return Err(ErrorKind::NotFound.into());
            }
            let first_missing = state.first_missing();
            let mut push = |job: &Job| {
                assert!(job.seq < first_missing + WINDOW, "job {} is outside of the window", job.seq);
                state.tickets += 1;
                let ticket = Ticket(state.tickets.to_string());
                if !state.fault(20) {
                    state.jobs.push(Entry { ticket: ticket.clone(), job: job.clone(), deliveries: 0, since: None });
                }
                ticket
            };
            Ok(jobs.iter().map(&mut push).collect())
        })
    }

    fn answers(&mut self, wait: Duration) -> io::Result<Vec<Answer>> {
        if self.0.borrow().answers.is_empty() && !wait.is_zero() {
            sleep(wait / 10).map_err(io::Error::other)?;
        }
        let mut state = self.0.borrow_mut();
        let mut taken = Vec::new();
        while taken.len() < 3 && !state.answers.is_empty() {
            let count = state.answers.len() as u64;
            let at = state.below(count) as usize;
            let answer = if state.fault(10) { state.answers[at].clone() } else { state.answers.swap_remove(at) };
            state.taken.insert(answer.seq);
            taken.push(answer);
        }
        Ok(taken)
    }

    fn stored(&mut self) -> io::Result<Vec<Stored>> {
        self.call(|state| {
            let stored = |entry: &Entry| Stored {
                ticket: entry.ticket.clone(),
                deliveries: entry.deliveries,
                idle: entry.since.map_or(Duration::ZERO, |since| now().duration_since(since)),
            };
            Ok(state.jobs.iter().map(stored).collect())
        })
    }

    fn tear_down(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        (state.is_over, state.has_queues, state.jobs, state.answers) = (true, false, vec![], vec![]);
        Ok(())
    }

    fn take(&mut self, source: Source, wait: Duration) -> io::Result<Taken> {
        if self.0.borrow().is_over {
            return Ok(Taken::Over);
        }
        let taken = self.call(|state| {
            let is_lost = |since: Instant| source == Source::LostFirst && now().duration_since(since) >= CLAIM_AFTER;
            let mut entries = state.jobs.iter_mut();
            Ok(entries.find(|entry| entry.since.is_none_or(is_lost)).map(|entry| {
                (entry.deliveries, entry.since) = (entry.deliveries + 1, Some(now()));
                Taken::Job(entry.ticket.clone(), entry.job.clone())
            }))
        })?;
        if taken.is_none() {
            sleep(wait / 10).map_err(io::Error::other)?;
        }
        Ok(taken.unwrap_or(Taken::Nothing))
    }

    fn extend(&mut self, tickets: &[Ticket]) -> io::Result<()> {
        self.call(|state| {
            let entries = state.jobs.iter_mut().filter(|entry| tickets.contains(&entry.ticket));
            entries.for_each(|entry| entry.since = Some(now()));
            Ok(())
        })
    }

    fn answer(&mut self, ticket: &Ticket, answer: &Answer) -> io::Result<()> {
        self.call(|state| {
            if state.has_queues {
                state.answers.push(answer.clone());
                state.jobs.retain(|entry| entry.ticket != *ticket);
            }
            Ok(())
        })
    }
}

/// A writer whose bytes stay with the test.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes two files, and returns their paths with the output of a search for the pattern.
fn files(name: &str) -> (Vec<PathBuf>, Vec<u8>) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut output = Vec::new();
    let files = [500, 300].map(|count| {
        let path = directory.join(format!("{name}-{count}"));
        let text: String = (0..count).map(|number| format!("line {}\n", number * 13 % 101)).collect();
        std::fs::write(&path, &text).unwrap();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| line.contains('7')) {
            writeln!(output, "{}:{number}:{line}", path.display()).unwrap();
        }
        path
    });
    (files.to_vec(), output)
}

/// Searches with three workers, each with two jobs in hand. Returns the counts and the output.
fn run(files: &[PathBuf], seed: u64, has_faults: bool, deliveries: u64) -> (io::Result<Summary>, Vec<u8>) {
    let state = State {
        random: seed,
        has_faults,
        has_queues: false,
        is_over: false,
        tickets: 0,
        jobs: vec![],
        answers: vec![],
        taken: BTreeSet::new(),
    };
    let main = move || {
        let state = Rc::new(RefCell::new(state));
        let connect: Rc<Connect> = Rc::new(move || Ok(Box::new(Faulty(Rc::clone(&state))) as Box<dyn Broker>));
        let progress = Rc::new(Progress::hidden());
        let link = &|| {
            let link = Link::new(Rc::clone(&connect), Duration::from_secs(60), Rc::clone(&progress));
            link.quiet()
        };
        let idle = Duration::from_secs(600);
        let pattern: Rc<[u8]> = PATTERN.into();
        let options = worker::Options { pattern: Rc::clone(&pattern), tasks: 2, idle, claim_after: CLAIM_AFTER };
        let out = Shared::default();
        let summary = cede::scope(|s| {
            for _ in 0..3 {
                let (options, pattern) = (&options, &pattern);
                s.spawn(move || {
                    let filter = |_: &_, text: &Rc<Vec<u8>>| {
                        // Long enough for many looks of the coordinator at the broker.
                        sleep(Duration::from_millis(170)).unwrap();
                        search(pattern, text)
                    };
                    work(options, link, &filter).unwrap()
                });
            }
            let files = files.iter().map(|file| file.clone().into()).collect();
            let input = Input { files, pattern: PATTERN.to_vec(), chunk: 40, by_value: seed % 2 == 1 };
            let options = coordinator::Options { input, window: WINDOW, deliveries, claim_after: CLAIM_AFTER };
            coordinate(&options, link(), out.clone(), &progress)
        });
        (summary.unwrap(), out.0.take())
    };
    cede::Config::new().paused_clock(true).seed(seed).stack_size(256 << 10).run(main).unwrap()
}

#[test]
fn broker_without_faults_needs_no_job_twice() {
    let (files, expected) = files("no-fault");
    for seed in 0..4 {
        let (summary, output) = run(&files, seed, false, 1);
        let summary = summary.unwrap();
        assert!(output == expected, "seed {seed}");
        assert_eq!((summary.again, summary.twice, summary.reconnects), (0, 0, 0), "seed {seed}");
        assert!(summary.jobs > 100 && summary.lines > 100, "{summary}");
    }
}

#[test]
fn output_is_the_same_over_a_faulty_broker() {
    let (files, expected) = files("faults");
    let (mut again, mut twice) = (0, 0);
    for seed in 0..16 {
        let (summary, output) = run(&files, seed, true, 1000);
        let summary = summary.unwrap();
        assert!(output == expected, "seed {seed}: {summary}");
        again += summary.again;
        twice += summary.twice;
    }
    assert!(again > 100 && twice > 100, "{again} sent again, {twice} answered twice");
}
