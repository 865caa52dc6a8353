//! The watch for endless waits: the watchdog asks for looks, which the workers make between two turns.
#![forbid(unsafe_code)]

use super::endless::{EndlessWait, Finder, Look, look};
use crate::scheduler::event_loop::Held;
use crate::scheduler::{self, Worker};
use crate::sys::self_pipe::SelfPipe;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// The user's hook for endless waits.
pub(crate) type OnEndlessWait = dyn Fn(&EndlessWait) + Send + Sync;

/// The part of the time that looks may take: one of so many.
const SHARE: u32 = 50;

/// A message from a worker to the watchdog.
enum Answer {
    /// The number of workers, and the job that requests the next looks. Comes before the looks.
    Begun(usize, Held),
    /// The number of a worker, its look, and the time that the look took.
    Look(usize, Look, Duration),
}

/// The looks of the workers of a run, as the watchdog of worker 0 requests them.
pub(crate) struct Looks {
    request: Held,
    answers: Receiver<Answer>,
    under_way: bool,
    /// The answers of the looks under way. Empty until the number of workers is known.
    parts: Vec<Option<Look>>,
    finder: Finder,
    interval: Duration,
    next: Instant,
    /// The longest time that one of the looks under way took.
    took: Duration,
}

impl Looks {
    /// Prepares looks at intervals of half of `allowed`, so that a wait is seen twice within that time.
    pub(crate) fn new(worker: &Worker, allowed: Duration, pipe: &Arc<SelfPipe>) -> Looks {
        let (sender, answers) = mpsc::channel();
        let request = hold_looks(worker, sender, Arc::clone(pipe));
        let interval = allowed / 2;
        Looks {
            request,
            answers,
            under_way: false,
            parts: Vec::new(),
            finder: Finder::default(),
            interval,
            next: Instant::now() + interval,
            took: Duration::ZERO,
        }
    }

    /// Returns the time until the next look is due, or `None` while one is under way.
    pub(crate) fn rest(&self) -> Option<Duration> {
        (!self.under_way).then(|| self.next.saturating_duration_since(Instant::now()))
    }

    /// Requests looks if they are due, takes the answers that have arrived, and returns what they show.
    pub(crate) fn advance(&mut self) -> Vec<EndlessWait> {
        if !self.under_way && Instant::now() >= self.next {
            self.under_way = true;
            self.request.release();
        }
        for answer in self.answers.try_iter() {
            match answer {
                Answer::Begun(workers, next) => {
                    self.parts.resize_with(workers, || None);
                    self.request = next;
                }
                Answer::Look(worker, look, took) => {
                    self.parts[worker] = Some(look);
                    self.took = self.took.max(took);
                }
            }
        }
        if self.parts.is_empty() || self.parts.iter().any(Option::is_none) {
            return Vec::new();
        }
        self.under_way = false;
        self.next = Instant::now() + self.interval.max(std::mem::take(&mut self.took) * SHARE);
        let looks: Vec<Look> = self.parts.drain(..).flatten().collect();
        self.finder.compare(&looks)
    }
}

/// Stores a job in the worker that makes all workers look. Releasing the returned handle requests the looks.
fn hold_looks(worker: &Worker, sender: Sender<Answer>, pipe: Arc<SelfPipe>) -> Held {
    worker.hold(Box::new(move || {
        let Some(worker) = scheduler::worker() else { return };
        let next = hold_looks(worker, sender.clone(), Arc::clone(&pipe));
        let crew = worker.existing_member().map(|member| Arc::clone(member.crew())).filter(|crew| crew.workers() > 1);
        let workers = crew.as_ref().map_or(1, |crew| crew.workers());
        // These fail only if the watchdog is gone.
        let _ = sender.send(Answer::Begun(workers, next));
        send_look(0, &sender, &pipe);
        for number in 1..workers {
            let (sender, pipe) = (sender.clone(), Arc::clone(&pipe));
            if let Some(crew) = &crew {
                crew.call(number, Box::new(move || send_look(number, &sender, &pipe)));
            }
        }
    }))
}

fn send_look(number: usize, sender: &Sender<Answer>, pipe: &SelfPipe) {
    let Some(worker) = scheduler::worker() else { return };
    let begun = Instant::now();
    let look = look(worker);
    let _ = sender.send(Answer::Look(number, look, begun.elapsed()));
    pipe.wake();
}
