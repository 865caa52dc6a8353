//! The promises about performance, and whether a run meets them.

use crate::area::{Area, Body};
use crate::record::{Line, Record};
use crate::rivals::{self, Role};
use crate::table::{amount, digits, thousands};

/// A promise and its measured figure. `met` is `None` if a figure is missing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) promise: String,
    pub(crate) measured: String,
    pub(crate) met: Option<bool>,
}

/// Returns all promises about the areas of the run.
pub(crate) fn verdicts(record: &Record) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for area in record.areas() {
        match area {
            Area::Switch => verdicts.extend(switch(record)),
            Area::Yield => verdicts.extend(turns(record)),
            Area::Spawn => verdicts.push(ahead(record, area, 1, Body::Plain, 3.0, "spawn + join, one after another")),
            Area::Memory => verdicts.extend(memory(record)),
            Area::Channel => {
                verdicts.push(ahead(record, area, 2, Body::Plain, 2.0, "channel, to and fro"));
                verdicts.push(ahead(record, area, 100, Body::Plain, 1.5, "channel, many to one"));
            }
            Area::Bridge => verdicts.extend(bridge(record)),
            Area::Http => {}
            Area::Echo => verdicts.extend(crate::echo::promises::verdicts(record)),
        }
    }
    verdicts
}

fn role(case: &str) -> Role {
    rivals::all().into_iter().find(|rival| rival.name == case).map_or(Role::Rival, |rival| rival.role)
}

/// Returns the line of the rival with the smallest ratio to cede. Floors and variants of cede are not rivals.
fn best_rival(record: &Record, area: Area, n: u64, body: Body) -> Option<&Line> {
    let rivals = record.group(area, n, body).filter(|line| matches!(role(&line.case), Role::Rival | Role::Threads));
    rivals.filter(|line| line.ratio.is_some()).min_by(|a, b| a.ratio.partial_cmp(&b.ratio).expect("figures"))
}

fn ahead(record: &Record, area: Area, n: u64, body: Body, factor: f64, what: &str) -> Verdict {
    let promise = match factor {
        1.0 => format!("{what}: faster than every rival"),
        _ => format!("{what}: {factor} times as fast as the best rival"),
    };
    let best = best_rival(record, area, n, body);
    let measured = best.map(|line| format!("{} times as fast as {}", digits(line.ratio.unwrap_or(0.0)), line.case));
    let met = best.and_then(|line| line.ratio).map(|ratio| ratio >= factor);
    Verdict { promise, measured: measured.unwrap_or("not measured".into()), met }
}

fn switch(record: &Record) -> Vec<Verdict> {
    let ratio = |case| record.find(Area::Switch, case, 1, Body::Plain).and_then(|line| line.ratio);
    let corosensei = ratio("corosensei").map(|ratio| 1.0 / ratio);
    let mut verdicts = vec![Verdict {
        promise: "switch: at most 1.10 times as long as corosensei".into(),
        measured: corosensei.map_or("not measured".into(), |ratio| format!("{} times", digits(ratio))),
        met: corosensei.map(|ratio| ratio <= 1.10),
    }];
    for rival in ["generator", "genawaiter, rc", "genawaiter, stack", "Boost.Context"] {
        let ratio = ratio(rival);
        verdicts.push(Verdict {
            promise: format!("switch: faster than {rival}"),
            measured: ratio.map_or("not measured".into(), |ratio| format!("{} times as fast", digits(ratio))),
            met: ratio.map(|ratio| ratio > 1.0),
        });
    }
    verdicts
}

fn turns(record: &Record) -> Vec<Verdict> {
    let touching = record.groups(Area::Yield).into_iter().filter(|(_, body)| *body != Body::Registers);
    let verdict = |(n, body): (u64, Body)| {
        let factor = if n >= 100_000 { 1.0 } else { 2.5 };
        let order = if body == Body::Shuffled { ", shuffled" } else { "" };
        ahead(record, Area::Yield, n, body, factor, &format!("a turn of {} tasks{order}", thousands(n)))
    };
    touching.map(verdict).collect()
}

fn memory(record: &Record) -> Vec<Verdict> {
    const N: u64 = 1_000_000;
    let at = |case| record.find(Area::Memory, case, N, Body::Plain);
    let each = at("cede").and_then(|line| line.median);
    let mut verdicts = vec![Verdict {
        promise: "memory: at most 4.5 KiB a task at a million, guarded".into(),
        measured: each.map_or("not measured".into(), |each| amount(each, "bytes")),
        met: each.map(|each| each <= 4.5 * 1024.0),
    }];
    for rival in ["corosensei", "generator", "may", "Boost.Fiber, guarded stacks"] {
        let line = at(rival);
        let error = line.and_then(|line| line.error.as_deref());
        verdicts.push(Verdict {
            promise: format!("memory: {rival} does not reach a million"),
            measured: match line {
                None => "not measured".into(),
                Some(_) => error.unwrap_or("it does").to_string(),
            },
            met: line.map(|line| line.error.is_some()),
        });
    }
    verdicts
}

fn bridge(record: &Record) -> Vec<Verdict> {
    const SLOT: &str = "a slot of one stack";
    const IN_PLACE: &str = "block_in_place, all cores";
    let groups = record.groups(Area::Bridge);
    let held = groups.iter().find(|(_, body)| *body == Body::Held).map_or(0, |(n, _)| *n);
    let line = |case: &str, n, body| record.find(Area::Bridge, case, n, body);
    let at_most = |what: &str, case, n, body, most: f64| {
        let line = line(case, n, body);
        let median = line.and_then(|line| line.median);
        let show = |value| amount(value, Area::Bridge.unit(body));
        Verdict {
            promise: format!("bridge, {what}: at most {}", show(most)),
            measured: median.map_or("not measured".into(), show),
            met: median.map(|median| median <= most),
        }
    };
    let ahead = |what: &str, rival: &str, body, factor: f64| {
        let ratio = line(rival, 1, body).and_then(|line| line.ratio);
        let promise = if factor == 1.0 {
            format!("bridge, {what}: not slower than {rival}")
        } else {
            format!("bridge, {what}: {factor} times as fast as {rival}")
        };
        let measured = ratio.map_or("not measured".into(), |ratio| format!("{} times as fast", digits(ratio)));
        Verdict { promise, measured, met: ratio.map(|ratio| ratio >= factor) }
    };
    vec![
        at_most("a ready future in a task", "cede, in a task", 1, Body::Ready, 4.0),
        at_most("a ready future in a fiber", "cede", 1, Body::Ready, 4.0),
        at_most("pending once", "cede", 1, Body::Pending, 14.0),
        ahead("woken", SLOT, Body::Woken, 1.0),
        at_most("made and completed", "cede", 1, Body::Made, 30.0),
        ahead("one answer", SLOT, Body::Answer, 1.0),
        ahead("one answer, the task yields between", IN_PLACE, Body::Between, 50.0),
        at_most("a suspended fiber", "cede", held, Body::Held, 4.6 * 1024.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(area: Area, case: &str, n: u64, body: Option<&str>, ratio: f64) -> Line {
        let (case, body) = (case.to_string(), body.map(str::to_string));
        Line { area: area.word().into(), case, n, body, ratio: Some(ratio), median: Some(ratio), ..Line::default() }
    }

    fn record(lines: Vec<Line>) -> Record {
        Record { lines, ..Record::default() }
    }

    #[test]
    fn the_best_rival_counts_and_floors_do_not() {
        let body = Some("stack");
        let lines = |best| {
            vec![
                line(Area::Yield, "indirect call", 100, body, 0.5),
                line(Area::Yield, "cede", 100, body, 1.0),
                line(Area::Yield, "Go", 100, body, best),
                line(Area::Yield, "may", 100, body, 9.0),
            ]
        };
        let verdict = |best| turns(&record(lines(best))).remove(0);
        assert_eq!((verdict(2.6).met, verdict(2.4).met), (Some(true), Some(false)));
        assert_eq!(verdict(2.6).measured, "2.60 times as fast as Go");
    }

    #[test]
    fn a_rival_that_wins_is_told() {
        let lines = vec![
            line(Area::Switch, "cede", 1, None, 1.0),
            line(Area::Switch, "corosensei", 1, None, 0.8),
            line(Area::Switch, "generator", 1, None, 4.0),
        ];
        let verdicts = switch(&record(lines));
        assert_eq!(verdicts[0].met, Some(false), "{verdicts:?}");
        assert_eq!(verdicts[1].met, Some(true));
        assert_eq!(verdicts[2].met, None);
    }

    #[test]
    fn areas_that_were_not_measured_have_no_verdict() {
        assert_eq!(verdicts(&record(Vec::new())), []);
    }
}
