//! Turns of cede's tasks in a run with an idle listener, and in a run without one.

use crate::area::Body;
use crate::serve::Requests;
use cede::net::TcpListener;
use cede::{run, spawn, yield_now};
use std::time::{Duration, Instant};

/// Answers requests for turns of n yielding tasks. With `Body::Listener`, another task waits in `accept` during them. Each
/// request is a run of its own, because a run that has waited for a socket once polls it until its end.
pub(crate) fn serve(n: u64) {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        let elapsed = run(|| turns(n, request.count, request.body == Body::Listener));
        requests.answer(elapsed, n * request.count);
    }
}

fn turns(n: u64, count: u64, with_listener: bool) -> Duration {
    let listener = with_listener.then(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        spawn(move || listener.accept().is_ok())
    });
    // The task reaches its wait.
    yield_now();
    let start = Instant::now();
    let turn = move || (0..count).for_each(|_| yield_now());
    for mut task in (0..n).map(|_| spawn(turn)).collect::<Vec<_>>() {
        task.join().expect("it returns");
    }
    let elapsed = start.elapsed();
    if let Some(mut listener) = listener {
        listener.cancel();
        assert_eq!(listener.join().ok(), Some(false), "the listener waited until it was cancelled");
    }
    elapsed
}
