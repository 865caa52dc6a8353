//! The worker: takes jobs, searches, answers.
//!
//! Its tasks share one thread: while one of them searches, the others wait for the broker or for a file. A further task sends
//! heartbeats between the blocks of a search.

use crate::broker::{Source, Taken, Ticket};
use crate::chunks;
use crate::job::{Answer, Found, Job, Part};
use crate::link::Link;
use cede::fs::File;
use cede::time::now;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The time for which one call waits for a job.
const WAIT: Duration = Duration::from_millis(500);
/// The pause after a job without a result, in which other workers can take it.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer, in bytes: Redis takes 512 MiB.
const LARGEST: usize = 500 << 20;

/// The options of a worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pattern, which must be that of the coordinator.
    pub pattern: Rc<[u8]>,
    /// The number of jobs that are in hand at the same time.
    pub tasks: usize,
    /// The time without a job after which the worker ends with an error.
    pub idle: Duration,
    /// The time without a heartbeat after which a job is given to another worker.
    pub claim_after: Duration,
}

/// The counts of a worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// The jobs answered.
    pub jobs: u64,
    /// The connections that were made anew.
    pub reconnects: u64,
}

/// The state that the tasks of a worker share.
struct Worker<'a> {
    options: &'a Options,
    filter: &'a dyn Fn(&Part, &Rc<Vec<u8>>) -> Found,
    /// The jobs in hand, with the times of their arrival, by the number of the task.
    in_hand: RefCell<HashMap<usize, (Ticket, Instant)>>,
    jobs: Cell<u64>,
    reconnects: Cell<u64>,
}

/// Works until the run has ended. `filter` returns the selected lines of a part.
///
/// # Errors
///
/// The errors of the broker after its patience has ended; `TimedOut` after the idle time without a job; `InvalidInput` if the coordinator
/// searches for another pattern.
///
/// # Panics
///
/// Propagates panics of its own tasks. A panic of `filter` is the answer to the job.
pub fn work(
    options: &Options,
    link: &dyn Fn() -> Link,
    filter: &dyn Fn(&Part, &Rc<Vec<u8>>) -> Found,
) -> io::Result<Summary> {
    let worker = Worker { options, filter, in_hand: RefCell::default(), jobs: Cell::new(0), reconnects: Cell::new(0) };
    let result = Rc::new(RefCell::new(Ok(())));
    let scope = cede::scope(|s| {
        let heartbeat = s.spawn(|| worker.send_heartbeats(link()));
        let tasks: Vec<_> = (0..options.tasks)
            .map(|number| {
                let (worker, result) = (&worker, Rc::clone(&result));
                s.spawn(move || {
                    let mut link = link();
                    let ended = worker.take_jobs(number, &mut link);
                    worker.reconnects.set(worker.reconnects.get() + link.reconnects());
                    if let Err(error) = ended {
                        // The first error ends the other tasks, whose errors are those of the cancel.
                        if result.borrow().is_ok() {
                            *result.borrow_mut() = Err(error);
                        }
                        s.cancel();
                    }
                })
            })
            .collect();
        for mut task in tasks {
            if let Err(cede::task::JoinError::Panicked(panic)) = task.join() {
                resume_unwind(panic);
            }
        }
        heartbeat.cancel();
    });
    if let Err(error) = scope {
        return Err(io::Error::other(error.to_string()));
    }
    result.replace(Ok(()))?;
    Ok(Summary { jobs: worker.jobs.get(), reconnects: worker.reconnects.get() })
}

impl Worker<'_> {
    fn take_jobs(&self, number: usize, link: &mut Link) -> io::Result<()> {
        // One task at a time has a job that another worker may have died of. If this worker dies of it, too, the jobs of the other
        // tasks are new ones, so they are not taken for the reason of several deaths.
        let source = if number == 0 { Source::LostFirst } else { Source::New };
        let wait = WAIT.min(self.options.claim_after / 2);
        let mut last = now();
        loop {
            let (ticket, job) = match link.with(wait, |broker| broker.take(source, wait))? {
                Taken::Job(ticket, job) => (ticket, job),
                Taken::Over => return Ok(()),
                Taken::Nothing if now().duration_since(last) < self.options.idle => continue,
                Taken::Nothing => {
                    let text = format!("no job for {} s", now().duration_since(last).as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, text));
                }
            };
            if job.pattern[..] != self.options.pattern[..] {
                let theirs = String::from_utf8_lossy(&job.pattern);
                let text = format!("the coordinator of the run searches for another pattern: {theirs:?}");
                return Err(io::Error::new(ErrorKind::InvalidInput, text));
            }
            self.in_hand.borrow_mut().insert(number, (ticket.clone(), now()));
            let answer = self.answer(job);
            link.with(Duration::ZERO, |broker| broker.answer(&ticket, &answer))?;
            self.in_hand.borrow_mut().remove(&number);
            self.jobs.set(self.jobs.get() + 1);
            if answer.outcome.is_err() {
                cede::time::sleep(PAUSE).map_err(io::Error::other)?;
            }
            last = now();
        }
    }

    /// Does a job. An error becomes the answer, so that the coordinator can name it.
    fn answer(&self, job: Job) -> Answer {
        let Job { coordinator, seq, parts, .. } = job;
        let mut size = 0;
        let search = |mut part: Part| {
            let name = part.path.display().to_string();
            let text = text(&mut part).map_err(|error| format!("{name}: {error}"))?;
            let search = catch_unwind(AssertUnwindSafe(|| (self.filter)(&part, &Rc::new(text))));
            let found = search.map_err(|panic| format!("{name}: the search panicked: {}", message(&*panic)))?;
            size += found.size();
            if size > LARGEST {
                return Err(format!("{name}: an answer of more than {LARGEST} bytes, which the broker refuses"));
            }
            Ok(found)
        };
        Answer { coordinator, seq, outcome: parts.into_iter().map(search).collect() }
    }

    /// Tells the broker of long jobs, until the task is cancelled.
    fn send_heartbeats(&self, mut link: Link) {
        let interval = self.options.claim_after / 3;
        // Connects before the first long job, so that a heartbeat is one message. An attempt that fails is repeated below.
        let _ = link.once(Duration::ZERO, &mut |_| Ok(()));
        while cede::time::sleep(interval).is_ok() {
            let long = |(ticket, since): &(Ticket, Instant)| {
                (now().duration_since(*since) > interval / 2).then(|| ticket.clone())
            };
            let tickets: Vec<Ticket> = self.in_hand.borrow().values().filter_map(long).collect();
            if !tickets.is_empty() {
                // If it fails, the next one comes soon.
                let _ = link.once(Duration::ZERO, &mut |broker| broker.extend(&tickets));
            }
        }
    }
}

/// Takes the bytes of a part from the job, or reads them.
fn text(part: &mut Part) -> io::Result<Vec<u8>> {
    match part.text.take() {
        Some(text) => Ok(text),
        None => chunks::read(&File::open(&part.path)?, part.offset, part.length),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or(panic.downcast_ref::<String>().map(|text| &text[..])).unwrap_or("no message")
}
