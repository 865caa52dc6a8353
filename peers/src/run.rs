//! A run: measures the cases of each group interleaved, A B C A B C, one round at a time.

use crate::area::{Area, Body};
use crate::child::{Child, Memory, core_to_pin, find};
use crate::echo::Cores;
use crate::foreign::{Found, Tools};
use crate::machine;
use crate::record::{Line, Record};
use crate::rivals::{self, Rival, Role, Start};
use crate::stats::Samples;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// The scale of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Everything, in a quarter of an hour.
    Full,
    /// Fewer tasks and rounds, in about a minute.
    Quick,
    /// A minimum, with rivals in Rust only: tests whether the program works.
    Smoke,
}

impl Scale {
    pub(crate) fn rounds(self, n: u64) -> usize {
        match (self, n) {
            (Scale::Smoke, _) => 1,
            (Scale::Quick, _) => 3,
            (_, 1_000_000..) => 5,
            (_, 100_000..) => 7,
            _ => 15,
        }
    }

    /// The rounds of servers.
    pub(crate) fn rounds_of_servers(self) -> usize {
        match self {
            Scale::Smoke => 1,
            Scale::Quick => 3,
            Scale::Full => 9,
        }
    }

    /// The duration of the load on a server in one round.
    pub(crate) fn window(self) -> Duration {
        Duration::from_millis(match self {
            Scale::Smoke => 5,
            Scale::Quick => 50,
            Scale::Full => 250,
        })
    }

    /// The duration of a case in one round: many times the cost of a cold cache or of a timer interrupt.
    fn slice(self) -> Duration {
        Duration::from_micros(match self {
            Scale::Smoke => 200,
            Scale::Quick => 2_000,
            Scale::Full => 10_000,
        })
    }

    /// The time limit of a group. After it, the rounds beyond the first three are skipped.
    fn budget(self, n: u64) -> Duration {
        let full = match n {
            1_000_000.. => 120,
            10_000.. => 50,
            _ => 25,
        };
        Duration::from_secs(if self == Scale::Full { full } else { full / 8 })
    }

    /// The time limit of the whole run. After it, the run skips all it can, so that it ends in time on a busy machine too.
    fn most(self) -> Duration {
        Duration::from_secs(if self == Scale::Full { 900 } else { 60 })
    }

    /// The longest duration of a single operation. A slower case is skipped in all rounds after the first three.
    fn patience(self) -> Duration {
        self.slice() * 50
    }

    /// The number of futures of synchronous code that are held.
    fn fibers(self) -> u64 {
        match self {
            Scale::Full => 100_000,
            Scale::Quick => 10_000,
            Scale::Smoke => 100,
        }
    }

    fn groups(self, area: Area) -> Vec<(u64, Vec<Body>)> {
        let most = match self {
            Scale::Full => 1_000_000,
            Scale::Quick => 10_000,
            Scale::Smoke => 100,
        };
        let plain = |n| (n, vec![Body::Plain]);
        let groups = match area {
            Area::Switch => vec![plain(1)],
            Area::Yield => [2, 100, 10_000, 100_000, 1_000_000]
                .map(|n| (n, if n == 2 { Body::OF_TURNS[..2].to_vec() } else { Body::OF_TURNS.to_vec() }))
                .into(),
            Area::Spawn => vec![plain(1), plain(if self == Scale::Smoke { 100 } else { 100_000 })],
            Area::Memory if self == Scale::Smoke => vec![plain(100)],
            Area::Memory if self == Scale::Quick => vec![plain(10_000)],
            Area::Memory => vec![plain(10_000), plain(100_000), plain(1_000_000)],
            Area::Channel => vec![plain(2), plain(100)],
            Area::Bridge => vec![(1, Body::OF_BRIDGE.to_vec())],
            Area::Echo | Area::Http => Vec::new(),
        };
        groups.into_iter().filter(|(n, _)| area != Area::Yield || *n <= most).collect()
    }
}

/// A child in a group, or the reason why it is not measured.
pub(crate) struct Seat {
    child: Result<Child, String>,
    count: u64,
    slow: bool,
    samples: Samples,
}

/// The state of a run.
pub(crate) struct Run {
    pub(crate) scale: Scale,
    tools: Tools,
    pub(crate) core: Option<usize>,
    found: BTreeMap<(&'static str, &'static [Area]), Result<Found, String>>,
    pub(crate) lines: Vec<Line>,
    pub(crate) deadline: Instant,
}

impl Run {
    pub(crate) fn new(scale: Scale) -> Self {
        let deadline = Instant::now() + scale.most();
        Run { scale, tools: Tools::new(), core: core_to_pin(), found: BTreeMap::new(), lines: Vec::new(), deadline }
    }

    /// Measures one area.
    pub(crate) fn area(&mut self, area: Area) {
        for (n, bodies) in self.scale.groups(area) {
            match area {
                Area::Memory => self.weigh(area, n, Body::Plain),
                _ => self.measure(area, n, &bodies),
            }
        }
        match area {
            Area::Bridge => self.weigh(area, self.scale.fibers(), Body::Held),
            Area::Echo => self.echo(),
            Area::Http => self.http(),
            _ => {}
        }
        progress("");
    }

    pub(crate) fn finish(self, command: String) -> Record {
        let found =
            self.found.into_iter().filter_map(|((name, _), found)| Some((name.to_string(), found.ok()?.version)));
        let tools = found.filter(|(_, version)| !version.is_empty()).collect();
        let measures_servers =
            self.lines.iter().any(|line| [Area::Echo, Area::Http].map(Area::word).contains(&&*line.area));
        let Cores { server, load } = Cores::find();
        let servers = server.zip(load).filter(|_| measures_servers);
        Record { machine: machine::look(command, self.core, servers, tools), lines: self.lines }
    }

    /// Returns the rivals that are measured in this area, with the commands that start them.
    pub(crate) fn rivals(&mut self, area: Area, n: u64) -> Vec<(&'static Rival, Result<Found, String>)> {
        let smoke = self.scale == Scale::Smoke;
        let wanted =
            |rival: &&Rival| rival.areas.contains(&area) && !(smoke && matches!(rival.start, Start::Foreign(_)));
        let rivals: Vec<_> = rivals::all().into_iter().filter(wanted).collect();
        let with_command = rivals.into_iter().map(|rival| {
            let found = self.found.entry((rival.name, rival.areas)).or_insert_with(|| {
                progress(&format!("looking for {}", rival.name));
                let start = Instant::now();
                let found = find(rival, &self.tools);
                // What is built once is no part of the time of a run.
                self.deadline += start.elapsed();
                found
            });
            let found = match rival.most {
                _ if Instant::now() > self.deadline => Err("left out: the run had taken too long by then".into()),
                Some((most, why)) if n > most => Err(format!("not asked for more than {most}: {why}")),
                _ => found.clone(),
            };
            (rival, found)
        });
        with_command.collect()
    }

    fn measure(&mut self, area: Area, n: u64, bodies: &[Body]) {
        let (core, start) = (self.core, Instant::now());
        let seat = |(rival, found): (&'static Rival, Result<Found, String>)| {
            progress(&format!("{area}, {n}: setting up {}", rival.name));
            let core = if rival.all_cores { None } else { core };
            (rival, Seat::new(found.and_then(|found| Child::start(&found, area, n, core))))
        };
        let mut seats: Vec<(&'static Rival, Seat)> = self.rivals(area, n).into_iter().map(seat).collect();
        for (&body, part) in bodies.iter().zip(1..) {
            let until = start + self.scale.budget(n) * part / bodies.len() as u32;
            let rounds = self.scale.rounds(n);
            progress(&format!("{area}, {n}, {}: how many are a round", body.word()));
            let of_body = |(rival, _): &&mut (&'static Rival, Seat)| rival.has(body);
            seats.iter_mut().filter(of_body).for_each(|(_, seat)| seat.calibrate(body, self.scale));
            for round in 0..rounds {
                let now = Instant::now();
                if (round >= 3 && now > until) || (round >= 1 && now > self.deadline) {
                    break;
                }
                progress(&format!("{area}, {n}, {}: round {} of {rounds}", body.word(), round + 1));
                seats.iter_mut().filter(of_body).for_each(|(_, seat)| seat.take(body, round));
            }
            let cede = seats.iter().find(|(rival, _)| rival.role == Role::Cede).map(|(_, seat)| seat.samples.clone());
            let measured = seats.iter().filter(|(rival, _)| rival.has(body));
            self.lines.extend(measured.map(|(rival, seat)| seat.line(area, rival.name, n, body, cede.as_ref())));
        }
    }

    /// Measures the memory of each rival in turn, each in a process that ends before the next one begins.
    fn weigh(&mut self, area: Area, n: u64, body: Body) {
        for (rival, found) in self.rivals(area, n).into_iter().filter(|(rival, _)| rival.has(body)) {
            progress(&format!("memory, {n}: {}", rival.name));
            let child = found.and_then(|found| Child::start(&found, area, n, self.core));
            let line = match child.and_then(|mut child| child.hold(n)) {
                Ok((memory, held, why)) => weighed(area, rival.name, n, body, memory, held, why),
                Err(why) => Line::failed(area, rival.name, n, body, &why),
            };
            self.lines.push(line);
        }
        self.add_ratios(area, n, body);
    }

    /// Adds the ratios to cede to figures that were taken once.
    pub(crate) fn add_ratios(&mut self, area: Area, n: u64, body: Body) {
        let cede = self.lines.iter().rev().find(|line| line.is(area, n, body) && line.case == "cede");
        let cede = cede.and_then(|line| line.median);
        for line in self.lines.iter_mut().filter(|line| line.is(area, n, body)) {
            line.ratio = line.median.zip(cede).map(|(own, cede)| crate::record::round(own / cede));
        }
    }
}

/// Creates a line with the memory of each of the `held` things, n of which were asked for.
pub(crate) fn weighed(
    area: Area,
    case: &str,
    n: u64,
    body: Body,
    memory: Memory,
    held: u64,
    why: Option<String>,
) -> Line {
    let each = |bytes: u64| bytes as f64 / held.max(1) as f64;
    let all = each(memory.resident + memory.page_tables);
    if let Some(why) = why {
        let kib = all / 1024.0;
        let why = format!("stopped at {held} ({kib:.1} KiB each, {} mappings): {why}", memory.mappings);
        return Line::failed(area, case, n, body, &why);
    }
    Line {
        resident: Some(each(memory.resident).round()),
        page_tables: Some(each(memory.page_tables).round()),
        mappings: Some(memory.mappings),
        ..Line::counted(area, case, n, body, all)
    }
}

impl Seat {
    pub(crate) fn new(child: Result<Child, String>) -> Self {
        Seat { child, count: 1, slow: false, samples: Samples::default() }
    }

    /// Returns the reason why the child is not measured, if it is not.
    pub(crate) fn error(&self) -> Option<&str> {
        self.child.as_ref().err().map(String::as_str)
    }

    /// Asks for a round. A child that fails is not asked again.
    pub(crate) fn ask(&mut self, body: Body) -> Option<(f64, f64)> {
        let answer = self.child.as_mut().ok()?.ask(body, self.count);
        match answer {
            Ok(answer) => Some(answer),
            Err(why) => {
                self.child = Err(why);
                None
            }
        }
    }

    /// Finds the number of operations that takes one slice. The search also warms up the child.
    pub(crate) fn calibrate(&mut self, body: Body, scale: Scale) {
        let slice = scale.slice().as_nanos() as f64;
        (self.count, self.samples) = (1, Samples::default());
        while let Some((nanos, _)) = self.ask(body) {
            self.slow = self.count == 1 && nanos > scale.patience().as_nanos() as f64;
            if nanos > 0.7 * slice {
                break;
            }
            let factor = (slice / nanos.max(1.0)).clamp(1.5, 16.0);
            self.count = (self.count as f64 * factor).ceil() as u64;
        }
    }

    fn take(&mut self, body: Body, round: usize) {
        let sample = if self.slow && round >= 3 { None } else { self.ask(body) };
        self.samples.push(sample.map(|(nanos, operations)| nanos / operations));
    }

    fn line(&self, area: Area, case: &str, n: u64, body: Body, cede: Option<&Samples>) -> Line {
        match &self.child {
            Ok(_) => Line::measured(area, case, n, body, &self.samples, cede),
            Err(why) => Line::failed(area, case, n, body, why),
        }
    }
}

/// Reports the progress on stderr: on a terminal by overwriting the last report, elsewhere by a line now and then.
pub(crate) fn progress(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
        let _ = stderr().flush();
    } else if text.contains("round 1 of") || text.starts_with("memory") {
        eprintln!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_asked_is_a_failure_with_its_figures() {
        let memory = Memory { resident: 4096 * 90, page_tables: 1024 * 90, mappings: 180 };
        let line = weighed(Area::Memory, "x", 100, Body::Plain, memory, 90, Some("no memory".into()));
        assert_eq!(line.error.as_deref(), Some("stopped at 90 (5.0 KiB each, 180 mappings): no memory"));
        assert_eq!((line.median, line.mappings), (None, None));
        let line = weighed(Area::Memory, "x", 90, Body::Plain, memory, 90, None);
        let figures = (line.median, line.resident, line.page_tables, line.mappings);
        assert_eq!(figures, (Some(5120.0), Some(4096.0), Some(1024.0), Some(180)));
    }

    #[test]
    fn small_scales_are_parts_of_the_full_one() {
        for area in [Area::Switch, Area::Yield, Area::Channel] {
            let full = Scale::Full.groups(area);
            let all = |scale: Scale| scale.groups(area).iter().all(|group| full.contains(group));
            assert!(all(Scale::Quick) && all(Scale::Smoke), "{area}");
        }
        let turns: Vec<u64> = Scale::Full.groups(Area::Yield).into_iter().map(|(n, _)| n).collect();
        assert_eq!(turns, [2, 100, 10_000, 100_000, 1_000_000]);
    }
}
