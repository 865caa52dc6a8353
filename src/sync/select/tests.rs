//! Select states are reused after their threads have ended.
#![forbid(unsafe_code)]

// `runtime` is a higher layer than this module; tests may use it nevertheless.
extern crate self as cede;

use crate::sync::channel::{Receiver, Sender, bounded};
use crate::wait::queue::SelectState;
use std::cell::RefCell;
use std::thread;
use std::time::Duration;

/// Runs a select that waits and times out.
fn wait_once(receiver: &Receiver<u8>) {
    let waited = cede::select! { recv(receiver) -> _ => false, default(Duration::from_millis(1)) => true };
    assert_eq!(waited, Ok(true));
}

/// Asserts that fewer select states were allocated than a quarter of `threads`. Other tests of this process may
/// allocate some at the same time, but far fewer than `threads`.
#[track_caller]
fn assert_few_allocated(before: usize, threads: usize) {
    let allocated = SelectState::allocated() - before;
    assert!(allocated < threads / 4, "{allocated} select states were allocated for {threads} threads");
}

#[test]
fn select_states_of_ended_threads_are_reused() {
    const THREADS: usize = 100;
    let before = SelectState::allocated();
    for n in 0..THREADS {
        let (_sender, receiver) = bounded(1);
        let waits = move || match n % 2 {
            0 => wait_once(&receiver),
            // Several tasks wait at once, so the thread uses several select states.
            _ => cede::run(|| {
                let task = || {
                    let receiver = receiver.clone();
                    cede::spawn(move || wait_once(&receiver))
                };
                cede::gather([task(), task(), task()]).into_iter().for_each(|result| result.unwrap());
            }),
        };
        thread::spawn(waits).join().unwrap();
    }
    assert_few_allocated(before, THREADS);
}

#[test]
fn select_states_of_selects_at_thread_end_are_reused() {
    struct AtTheEnd(Receiver<u8>, #[expect(dead_code, reason = "keeps the channel open")] Sender<u8>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            wait_once(&self.0);
        }
    }
    thread_local! {
        static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }
    const THREADS: usize = 100;
    let before = SelectState::allocated();
    for n in 0..THREADS {
        let waits = move || {
            let (sender, receiver) = bounded(1);
            let at_the_end = || AtTheEnd(receiver.clone(), sender.clone());
            // Created before the thread's free list, or after it: the two are destroyed in either order.
            if n % 2 == 0 {
                LAST.set(Some(at_the_end()));
                wait_once(&receiver);
            } else {
                wait_once(&receiver);
                LAST.set(Some(at_the_end()));
            }
        };
        thread::spawn(waits).join().unwrap();
    }
    assert_few_allocated(before, THREADS);
}
