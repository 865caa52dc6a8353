//! The coordinator: sends jobs, keeps them until they are printed, and prints the answers in order.

use crate::broker::{Stored, Ticket};
use crate::chunks::{self, Input};
use crate::job::{Answer, Found, Job};
use crate::link::Link;
use crate::printer::printer;
use crate::progress::Progress;
use cede::time::now;
use cede::{Generator, Sink};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The time between two looks at what the broker stores.
const LOOK: Duration = Duration::from_secs(1);
/// The time for which one call waits for answers.
const WAIT: Duration = Duration::from_millis(250);
/// The number of jobs in one message to the broker.
const BATCH: usize = 8;
/// The time without any answer after which the coordinator says so.
const SILENCE: Duration = Duration::from_secs(10);
/// The patience with the broker at the end of the run.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The options of a coordinator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The files and the pattern.
    pub input: Input,
    /// The largest number of jobs that are sent and not printed.
    pub window: u64,
    /// The number of deliveries without an answer after which the run fails.
    pub deliveries: u64,
    /// The time without a heartbeat after which a job counts as lost with its worker: that of the workers.
    pub claim_after: Duration,
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// The lines printed.
    pub lines: u64,
    /// The jobs.
    pub jobs: u64,
    /// The answers that were dropped, because another answer to the job had come before.
    pub twice: u64,
    /// The jobs that were sent again.
    pub again: u64,
    /// The largest number of answers that waited for an earlier one.
    pub held: usize,
    /// The files that could not be read.
    pub unreadable: u64,
    /// The connections to the broker that were made anew.
    pub reconnects: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { lines, jobs, twice, again, held, unreadable: _, reconnects } = self;
        write!(f, "{lines} lines, {jobs} jobs, {again} sent again, {twice} answered twice, ")?;
        write!(f, "{held} answers held at most, {reconnects} reconnects")
    }
}

/// A job that is not printed.
struct Sent {
    job: Job,
    /// The names under which the broker may store it, with the deliveries that were seen.
    tickets: HashMap<Ticket, u64>,
    /// The answers without a result.
    failures: u64,
}

struct Coordinator<'a> {
    link: &'a mut Link,
    progress: &'a Progress,
    options: &'a Options,
    number: u64,
    sent: BTreeMap<u64, Sent>,
    /// The answers to later jobs than the next one to print.
    held: BTreeMap<u64, Vec<Found>>,
    /// The job to print next.
    next: u64,
    begun: Instant,
    is_silent: bool,
    summary: Summary,
}

/// Runs a search: waits until all lines are written to `out`, or until `out` is closed. Removes the queues from the broker at the
/// end, whatever the result is.
///
/// # Errors
///
/// The errors of the broker and of `out`; `Other` with the name of a chunk that no worker answers; the error of a cancel.
pub fn coordinate(
    options: &Options,
    link: Link,
    out: impl Write + 'static,
    progress: &Rc<Progress>,
) -> io::Result<Summary> {
    let number = crate::random();
    let mut link = link.prepare(move |broker| broker.set_up(number));
    // A run that is not this one's must not be removed.
    link.with(Duration::ZERO, |_| Ok(()))?;
    let mut coordinator = Coordinator {
        link: &mut link,
        progress,
        options,
        number,
        sent: BTreeMap::new(),
        held: BTreeMap::new(),
        next: 0,
        begun: now(),
        is_silent: true,
        summary: Summary::default(),
    };
    let result = coordinator.run(printer(out), progress);
    let summary = coordinator.summary;
    progress.finish();
    // After a cancel, too.
    link.set_patience(LAST_PATIENCE);
    let removed = cede::shield(|| link.with(Duration::ZERO, |broker| broker.tear_down()));
    let lines = result?;
    if let Err(error) = removed {
        progress.say(&format!("the queues stay in the broker until they expire: {error}"));
    }
    Ok(Summary { lines, reconnects: link.reconnects(), ..summary })
}

impl Coordinator<'_> {
    /// Returns the number of lines printed.
    fn run(
        &mut self,
        mut printer: Sink<(Job, Vec<Found>), io::Result<u64>>,
        progress: &Rc<Progress>,
    ) -> io::Result<u64> {
        let unreadable = Rc::new(Cell::new(0));
        let report = {
            let (progress, unreadable) = (Rc::clone(progress), Rc::clone(&unreadable));
            move |path: &OsStr, error| {
                progress.say(&format!("{}: {error}", path.display()));
                unreadable.set(unreadable.get() + 1);
            }
        };
        let mut jobs = Some(chunks::jobs(self.options.input.clone(), self.number, report));
        let mut looked = now();
        loop {
            self.fill(&mut jobs)?;
            self.summary.unreadable = unreadable.get();
            if jobs.is_none() && self.sent.is_empty() {
                return printer.finish();
            }
            if now().duration_since(looked) >= LOOK {
                self.look()?;
                looked = now();
            }
            for answer in self.link.with(WAIT, |broker| broker.answers(WAIT))? {
                self.accept(answer);
            }
            if !self.print(&mut printer) {
                return match printer.finish() {
                    // The reader has enough, which is no error.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(1),
                    result => result,
                };
            }
        }
    }

    /// Sends jobs until the window is full. `jobs` is `None` after the last.
    fn fill(&mut self, jobs: &mut Option<Generator<Job>>) -> io::Result<()> {
        while let Some(source) = jobs {
            let room = self.next + self.options.window - self.summary.jobs;
            let wanted = BATCH.min(usize::try_from(room).unwrap_or(BATCH));
            let batch: Vec<Job> = source.take(wanted).collect();
            if batch.len() < wanted {
                *jobs = None;
            }
            if batch.is_empty() {
                break;
            }
            self.summary.jobs += batch.len() as u64;
            let tickets = self.link.with(Duration::ZERO, |broker| broker.push(&batch))?;
            for (job, ticket) in batch.into_iter().zip(tickets) {
                self.sent.insert(job.seq, Sent { job, tickets: HashMap::from([(ticket, 0)]), failures: 0 });
            }
        }
        Ok(())
    }

    /// Stores an answer, unless the job has one.
    fn accept(&mut self, answer: Answer) {
        if answer.coordinator != self.number {
            return;
        }
        self.is_silent = false;
        let is_answered = self.held.contains_key(&answer.seq);
        let Some(sent) = self.sent.get_mut(&answer.seq).filter(|_| !is_answered) else {
            self.summary.twice += 1;
            return;
        };
        let outcome = answer.outcome.and_then(|found| {
            let fits = found.len() == sent.job.parts.len();
            if fits { Ok(found) } else { Err("the answer has another number of parts than the job".to_owned()) }
        });
        match outcome {
            Ok(found) => {
                self.held.insert(answer.seq, found);
                self.summary.held = self.summary.held.max(self.held.len());
            }
            Err(reason) => {
                self.progress.say(&format!("{}: a worker answered: {reason}", sent.job));
                sent.failures += 1;
                // The broker has removed the job, so the next look finds it missing.
                sent.tickets.clear();
            }
        }
    }

    /// Prints the answers that have their turn. Returns false if the output has ended.
    fn print(&mut self, printer: &mut Sink<(Job, Vec<Found>), io::Result<u64>>) -> bool {
        while let Some(found) = self.held.remove(&self.next) {
            if let Some(sent) = self.sent.remove(&self.next) {
                self.progress.advance(sent.job.length(), self.sent.len() - self.held.len());
                if printer.send((sent.job, found)).is_err() || printer.is_finished() {
                    return false;
                }
            }
            self.next += 1;
        }
        true
    }

    /// Compares the jobs without an answer with those that the broker stores: fails if one of them was delivered too often, and sends again
    /// those that the broker has lost.
    fn look(&mut self) -> io::Result<()> {
        let number = self.number;
        let stored = self.link.with(Duration::ZERO, |broker| {
            broker.set_up(number)?;
            broker.stored()
        })?;
        // An answer and the removal of its job are one step. So after this, a job that is not stored and has no answer was lost.
        loop {
            let answers = self.link.with(Duration::ZERO, |broker| broker.answers(Duration::ZERO))?;
            if answers.is_empty() {
                break;
            }
            answers.into_iter().for_each(|answer| self.accept(answer));
        }
        let stored: HashMap<&Ticket, &Stored> = stored.iter().map(|stored| (&stored.ticket, stored)).collect();
        let mut lost = Vec::new();
        for (seq, sent) in &mut self.sent {
            if self.held.contains_key(seq) {
                continue;
            }
            if let Some(reason) = sent.poison(&stored, self.options) {
                return Err(io::Error::other(format!("{}: given up: {reason}", sent.job)));
            }
            if !sent.tickets.keys().any(|ticket| stored.contains_key(ticket)) {
                lost.push(*seq);
            }
        }
        self.send_again(&lost)?;
        if self.is_silent && now().duration_since(self.begun) > SILENCE {
            self.progress.say("no worker has answered yet");
            self.is_silent = false;
        }
        Ok(())
    }

    fn send_again(&mut self, lost: &[u64]) -> io::Result<()> {
        for seq in lost {
            let Some(sent) = self.sent.get_mut(seq) else { continue };
            let job = std::slice::from_ref(&sent.job);
            let tickets = self.link.with(Duration::ZERO, |broker| broker.push(job))?;
            sent.tickets.extend(tickets.into_iter().map(|ticket| (ticket, 0)));
            self.summary.again += 1;
        }
        Ok(())
    }
}

impl Sent {
    /// Returns the reason to give the job up, if there is one.
    fn poison(&mut self, stored: &HashMap<&Ticket, &Stored>, options: &Options) -> Option<String> {
        let mut is_silent = true;
        for (ticket, seen) in &mut self.tickets {
            if let Some(stored) = stored.get(ticket) {
                *seen = stored.deliveries;
                is_silent &= stored.idle >= options.claim_after;
            }
        }
        let deliveries: u64 = self.tickets.values().sum();
        if self.failures >= options.deliveries {
            return Some(format!("{} workers had no result", self.failures));
        }
        // The last delivery counts only when its worker is silent, too.
        let is_poison = deliveries > options.deliveries || deliveries == options.deliveries && is_silent;
        is_poison.then(|| format!("{deliveries} deliveries to workers without an answer"))
    }
}
