//! The promises about echo servers.

use super::{BESIDE, IDLE};
use crate::area::{Area, Body};
use crate::promise::Verdict;
use crate::record::{Line, Record};
use crate::rivals::RAW_EPOLL;
use crate::table::{amount, digits, thousands};

/// cede with a buffer for each connection, and with the buffers of the worker, by io_uring and by epoll.
const OWN: &str = "cede";
const LEND: &str = "cede, lend";
const EPOLL: &str = "cede, epoll";
const EPOLL_LEND: &str = "cede, epoll, lend";

/// Returns the promises, in the order of the measurements.
pub(crate) fn verdicts(record: &Record) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let of_raw = |line: &Line| line.raw;
    let epoll_rivals = [("tokio current_thread", 0.98), ("may", 0.85), ("smol LocalExecutor", 0.85), ("Go", 0.85)];
    let level = [("tokio current_thread", 0.93), ("monoio, deferred", 1.0)];
    let groups = [
        (OWN, 50, 0.97, &level[..]),
        (OWN, 1000, 1.0, &level),
        (EPOLL, 50, 1.03, &epoll_rivals),
        (EPOLL, 1000, 1.05, &epoll_rivals),
    ];
    for (case, n, bar, rivals) in groups {
        verdicts.push(at_most(record, case, (n, Body::Small), bar, RAW_EPOLL, of_raw));
        for (rival, bar) in rivals {
            // Both ratios are to the same server in the same rounds.
            let ratio = |line: &Line| Some(line.raw? / find(record, rival, (n, Body::Small))?.raw?);
            verdicts.push(at_most(record, case, (n, Body::Small), *bar, rival, ratio));
        }
    }
    verdicts.push(at_most(record, LEND, (50, Body::Large), 0.97, RAW_EPOLL, of_raw));
    verdicts.push(at_most(record, EPOLL_LEND, (50, Body::Large), 1.05, RAW_EPOLL, of_raw));
    verdicts.push(at_most(record, OWN, (1, Body::Small), 1.03, RAW_EPOLL, of_raw));
    verdicts.push(at_most(record, EPOLL, (1, Body::Small), 1.02, RAW_EPOLL, of_raw));
    // The server in C has one buffer for all connections. To allocate and clear one for each takes as long as 0.08 of the bar.
    verdicts.push(at_most(record, LEND, (64, Body::Accept), 1.0, RAW_EPOLL, of_raw));
    verdicts.push(at_most(record, EPOLL_LEND, (64, Body::Accept), 1.12, RAW_EPOLL, of_raw));
    verdicts.push(below(record, OWN, (50, Body::Calls), 0.2, "0.2 system calls a request, 50 connections"));
    verdicts.push(below(record, EPOLL, (50, Body::Calls), 2.1, "2.1 system calls a request, 50 connections"));
    let idle = "5 KiB for an idle connection after 16 KiB";
    verdicts.push(below(record, LEND, (IDLE, Body::Idle), 5.0 * 1024.0, idle));
    for n in [2, 100] {
        let ratio = find(record, BESIDE, (n, Body::Listener)).and_then(|line| line.ratio);
        verdicts.push(Verdict {
            promise: format!("echo: a turn of {n} tasks beside an idle listener takes at most 1.03 times as long"),
            measured: ratio.map_or("not measured".into(), |ratio| format!("{ratio:.3} times")),
            met: ratio.map(|ratio| ratio <= 1.03),
        });
    }
    verdicts
}

fn find<'a>(record: &'a Record, case: &str, (n, body): (u64, Body)) -> Option<&'a Line> {
    record.find(Area::Echo, case, n, body)
}

/// Describes a group briefly.
fn brief((n, body): (u64, Body)) -> String {
    match body {
        Body::Large => format!("{} x 16 KiB", thousands(n)),
        Body::Accept => format!("{n} connections at once"),
        _ if n == 1 => "the round trip of one connection".into(),
        _ => format!("{} x 64 B", thousands(n)),
    }
}

/// Compares the median ratio of `case` to `rival` within a round. The ratio of the fastest rounds is told, and does not count.
fn at_most(
    record: &Record,
    case: &str,
    group: (u64, Body),
    bar: f64,
    rival: &str,
    ratio: impl Fn(&Line) -> Option<f64>,
) -> Verdict {
    let line = find(record, case, group);
    let ratio = line.and_then(ratio);
    let fastest = line.and_then(|line| Some(line.min? / find(record, rival, group)?.min?));
    let measured = match (ratio, fastest) {
        (Some(ratio), Some(fastest)) => format!("{ratio:.3} times (fastest rounds {fastest:.3})"),
        _ => "not measured".into(),
    };
    let promise = format!("echo, {}: {case} takes at most {} times as long as {rival}", brief(group), digits(bar));
    Verdict { promise, measured, met: ratio.map(|ratio| ratio <= bar) }
}

fn below(record: &Record, case: &str, group: (u64, Body), bar: f64, what: &str) -> Verdict {
    let line = find(record, case, group);
    let value = line.and_then(|line| line.median);
    Verdict {
        promise: format!("echo: {case} needs at most {what}"),
        measured: value.map_or("not measured".into(), |value| amount(value, Area::Echo.unit(group.1))),
        met: value.map(|value| value <= bar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(case: &str, n: u64, body: Body, min: f64, ratio: f64, raw: f64) -> Line {
        let body = Some(body.word().to_string());
        let (min, ratio, raw) = (Some(min), Some(ratio), Some(raw));
        Line { area: "echo".into(), case: case.into(), n, body, min, median: min, ratio, raw, ..Line::default() }
    }

    fn verdict(lines: Vec<Line>, wanted: &str) -> Verdict {
        let verdicts = verdicts(&Record { lines, ..Record::default() });
        verdicts.into_iter().find(|verdict| verdict.promise.contains(wanted)).unwrap()
    }

    #[test]
    fn ratios_within_rounds_decide() {
        let lines = |raw| {
            vec![
                line(EPOLL, 50, Body::Small, 5150.0, 1.0, raw),
                line(RAW_EPOLL, 50, Body::Small, 5000.0, 0.97, 1.0),
                line("may", 50, Body::Small, 6000.0, 1.25, 1.275),
            ]
        };
        let raw = verdict(lines(1.02), "50 x 64 B: cede, epoll takes at most 1.03 times as long as raw epoll");
        assert_eq!((raw.measured.as_str(), raw.met), ("1.020 times (fastest rounds 1.030)", Some(true)));
        assert_eq!(verdict(lines(1.04), "cede, epoll takes at most 1.03").met, Some(false));
        let may = verdict(lines(1.02), "50 x 64 B: cede, epoll takes at most 0.85 times as long as may");
        assert_eq!((may.measured.as_str(), may.met), ("0.800 times (fastest rounds 0.858)", Some(true)));
        assert_eq!(verdict(lines(1.02), "as long as Go").met, None);
    }

    #[test]
    fn figures_without_rivals() {
        let lines = vec![
            line(EPOLL, 50, Body::Calls, 2.2, 1.0, 1.0),
            line(LEND, IDLE, Body::Idle, 4500.0, 1.0, 1.0),
            line(BESIDE, 2, Body::Listener, 3.0, 1.01, 1.0),
        ];
        assert_eq!(verdict(lines.clone(), "2.1 system calls").met, Some(false));
        assert_eq!(verdict(lines.clone(), "5 KiB for an idle").met, Some(true));
        assert_eq!(verdict(lines.clone(), "a turn of 2 tasks").met, Some(true));
        assert_eq!(verdict(lines, "a turn of 100 tasks").measured, "not measured");
    }
}
