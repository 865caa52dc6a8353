//! Questions to all workers of a run: each event loop answers for its own.
#![forbid(unsafe_code)]

use crate::scheduler::{Worker, worker};
use crate::sync::channel;
use crate::task::Handle;
use crate::time::now;
use std::time::Duration;

/// The time that the workers have to answer. A turn that lasts longer delays the answer of its worker.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks all workers of a run. Returns the answers in the order of the workers; `None` for one that did not answer within 1 s, and for all if
/// the run has ended. Suspends the calling task or fiber, or blocks the thread.
#[track_caller]
pub(super) fn ask<T: Send + 'static>(
    handle: &Handle,
    question: impl Fn(&Worker) -> T + Clone + Send + 'static,
) -> Vec<Option<T>> {
    let crew = handle.crew();
    let mut answers: Vec<_> = (0..crew.workers()).map(|_| None).collect();
    let (sender, receiver) = channel::unbounded();
    for number in 0..crew.workers() {
        let (sender, question) = (sender.clone(), question.clone());
        let call = move || {
            if let Some(worker) = worker() {
                // Fails only if this worker is late.
                let _ = sender.send((number, question(worker)));
            }
        };
        // Without the worker, the call is dropped with its sender.
        let _ = crew.call(number, Box::new(call));
    }
    drop(sender);
    let deadline = now() + PATIENCE;
    while let Ok((number, answer)) = receiver.recv_deadline(deadline) {
        answers[number] = Some(answer);
    }
    answers
}
