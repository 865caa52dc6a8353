//! The child's side: a rival in a process of its own, asked for one round at a time.
//!
//! ```text
//! parent  <body> <count>                 do it `count` times (for each of the n)
//! child   ready                          once, when all is set up
//!         <nanoseconds> <operations>     the answer to a request
//!         error <why>                    instead of either; then it ends
//! ```
//!
//! In the area memory the parent says `hold` once, the child `at <k>` from time to time, and in the end `held <k>`, or
//! `held <k> <why there are not more>`. The end of input ends the child. Rivals in other languages (`foreign/`) speak the same.

use crate::area::Body;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

/// What the parent wants: `count` operations for each of the n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) body: Body,
    pub(crate) count: u64,
}

/// The requests of the parent.
#[derive(Debug)]
pub(crate) struct Requests(());

impl Requests {
    /// Tells the parent that all is set up.
    pub(crate) fn ready() -> Self {
        say("ready");
        Requests(())
    }

    /// Blocks the thread until the next one; `None` when the parent wants no more.
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

/// A line to the parent.
pub(crate) fn say(line: &str) {
    let mut out = stdout().lock();
    // Without a parent there is nobody to tell.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Answers all requests by calling `run(count)`, which does `n` operations `count` times and nothing else.
pub(crate) fn serve(n: u64, run: impl FnMut(u64)) {
    serve_prepared(n, |_| (), run);
}

/// The same with `prepare(count)` before the clock starts.
pub(crate) fn serve_prepared(n: u64, mut prepare: impl FnMut(u64), mut run: impl FnMut(u64)) {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        prepare(request.count);
        let start = Instant::now();
        run(request.count);
        requests.answer(start.elapsed(), request.count * n);
    }
}

/// The same for what measures itself, and returns nanoseconds for one operation.
pub(crate) fn serve_each(mut run: impl FnMut(u64) -> f64) {
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        let nanos = run(request.count) * request.count as f64;
        requests.answer(Duration::from_nanos(nanos as u64), request.count);
    }
}

/// Waits until the parent has looked at the process as it is before anything is held.
pub(crate) fn before_holding() {
    say("ready");
    let _ = stdin().lock().read_line(&mut String::new());
}

/// Tells how far it is, now and then, so that the parent knows when a child dies on the way.
pub(crate) fn holding(k: u64) {
    if k.is_multiple_of(1000) {
        say(&format!("at {k}"));
    }
}

/// Tells how many are held, and waits until the parent has looked. `why` there are not more, if there are not.
pub(crate) fn held(k: u64, why: Option<&str>) {
    say(&format!("held {k} {}", why.unwrap_or("")));
    let _ = stdin().lock().read_line(&mut String::new());
}

/// Holds what `one(k)` returns n times, or as many times as it can.
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
    // The parent ends what does not end by itself; what is suspended need not be unwound for that.
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
