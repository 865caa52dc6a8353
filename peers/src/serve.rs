//! The child's side: a rival in a process of its own, which the parent asks for one round at a time.
//!
//! ```text
//! parent  <body> <count>                 requests `count` operations for each of the n
//! child   ready                          sent once, after the set-up
//!         <nanoseconds> <operations>     answers a request
//!         error <why>                    sent instead of either; then the child ends
//! ```
//!
//! In the area `echo` the child is a server. After `ready` it sends `port <port>`, and then it only answers connections.
//!
//! In the area `memory` the parent sends `hold` once. The child sends `at <k>` from time to time, and finally `held <k>`, or
//! `held <k> <why not more>`. The end of input ends the child. Rivals in other languages (`foreign/`) use the same protocol.

use crate::area::Body;
use std::io::{BufRead, Write, stdin, stdout};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A request of the parent: `count` operations for each of the n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) body: Body,
    pub(crate) count: u64,
}

/// The requests of the parent.
#[derive(Debug)]
pub(crate) struct Requests(());

impl Requests {
    /// Tells the parent that the set-up is complete.
    pub(crate) fn ready() -> Self {
        say("ready");
        Requests(())
    }

    /// Blocks the thread until the next request. Returns `None` at the end of input.
    pub(crate) fn next(&mut self) -> Option<Request> {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).ok()?;
        parse(&line)
    }

    pub(crate) fn answer(&self, elapsed: Duration, operations: u64) {
        say(&format!("{} {operations}", elapsed.as_nanos()));
    }
}

fn parse(line: &str) -> Option<Request> {
    let (body, count) = line.trim().split_once(' ')?;
    Some(Request { body: body.parse().ok()?, count: count.parse().ok()? })
}

/// Sends a line to the parent.
pub(crate) fn say(line: &str) {
    let mut out = stdout().lock();
    // The write fails only if the parent is gone, and then no process needs the line.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Tells the parent that the server accepts connections at this address.
pub(crate) fn listening(address: SocketAddr) {
    say("ready");
    say(&format!("port {}", address.port()));
}

/// Answers all requests by calling `run(count)`, which performs only `n` operations, `count` times.
pub(crate) fn serve(n: u64, run: impl FnMut(u64)) {
    serve_prepared(n, |_| (), run);
}

/// Like `serve`, but calls `prepare(count)` before the clock starts.
pub(crate) fn serve_prepared(n: u64, mut prepare: impl FnMut(u64), mut run: impl FnMut(u64)) {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        prepare(request.count);
        let start = Instant::now();
        run(request.count);
        requests.answer(start.elapsed(), request.count * n);
    }
}

/// Like `serve`, but `run` measures itself and returns the nanoseconds of one operation.
pub(crate) fn serve_each(mut run: impl FnMut(u64) -> f64) {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        let nanos = run(request.count) * request.count as f64;
        requests.answer(Duration::from_nanos(nanos as u64), request.count);
    }
}

/// Waits until the parent has measured the memory of the process before any task exists.
pub(crate) fn before_holding() {
    say("ready");
    let _ = stdin().lock().read_line(&mut String::new());
}

/// Reports the progress to the parent now and then, so that it knows how far a child came that dies.
pub(crate) fn holding(k: u64) {
    if k.is_multiple_of(1000) {
        say(&format!("at {k}"));
    }
}

/// Reports the number of held tasks, and waits until the parent has measured the memory. `why` explains a number below n.
pub(crate) fn held(k: u64, why: Option<&str>) {
    say(&format!("held {k} {}", why.unwrap_or("")));
    let _ = stdin().lock().read_line(&mut String::new());
}

/// Calls `one(k)` n times, or until it fails, and holds the results.
pub(crate) fn hold<T>(n: u64, mut one: impl FnMut(u64) -> Result<T, String>) {
    before_holding();
    let mut all = Vec::with_capacity(usize::try_from(n).expect("64 bits"));
    let mut why = None;
    for k in 0..n {
        holding(k);
        match one(k) {
            Ok(item) => all.push(item),
            Err(error) => {
                why = Some(error);
                break;
            }
        }
    }
    held(all.len() as u64, why.as_deref());
    // Exits at once, so that the suspended tasks are not unwound.
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_two_words() {
        assert_eq!(parse("stack 12\n"), Some(Request { body: Body::Stack, count: 12 }));
        for nonsense in ["", "stack", "stack twelve", "heap 12", "12 stack"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
