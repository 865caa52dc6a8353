//! The area `echo`: TCP echo servers beside loops of bare system calls.
//!
//! Each server and the load generator (`load.rs`) have a process and a core of their own. In every round each server is started
//! anew, so a figure does not depend on one layout of its memory. Every second round has the reverse order.

pub(crate) mod load;
pub(crate) mod promises;
mod strace;
pub(crate) mod turns;

use crate::area::{Area, Body};
use crate::child::{Child, Memory, cores, own_command};
use crate::foreign::Found;
use crate::record::Line;
use crate::rivals::{RAW_EPOLL, Rival};
use crate::run::{Run, Scale, Seat, progress, weighed};
use crate::stats::Samples;
use load::{Kind, Load};
use std::time::{Duration, Instant};
use strace::Strace;

/// The name of cede in a run with an idle listener.
pub(crate) const BESIDE: &str = "cede, idle listener";

/// The connections of the case `idle`, in a full run.
pub(crate) const IDLE: u64 = 1000;

/// Returns the groups of a scale.
fn groups(scale: Scale) -> Vec<(u64, Body)> {
    match scale {
        Scale::Full => vec![
            (50, Body::Small),
            (1000, Body::Small),
            (50, Body::Large),
            (1000, Body::Large),
            (1, Body::Small),
            (64, Body::Accept),
            (IDLE, Body::Idle),
            (50, Body::Calls),
            (2, Body::Listener),
            (100, Body::Listener),
        ],
        Scale::Quick => vec![
            (50, Body::Small),
            (50, Body::Large),
            (1, Body::Small),
            (64, Body::Accept),
            (100, Body::Idle),
            (2, Body::Listener),
        ],
        Scale::Smoke => {
            vec![(2, Body::Small), (2, Body::Large), (2, Body::Accept), (2, Body::Idle), (2, Body::Listener)]
        }
    }
}

/// Returns the load of a group.
fn load(n: u64, body: Body, port: u16) -> Load {
    let (kind, size) = match body {
        Body::Accept => (Kind::Burst, 1),
        Body::Idle => (Kind::Hold, 16 * 1024),
        Body::Large => (Kind::Echo, 16 * 1024),
        _ => (Kind::Echo, 64),
    };
    Load { kind, port, connections: usize::try_from(n).expect("64 bits"), size }
}

/// A server and the load on it, both running.
struct Pair {
    server: Child,
    load: Child,
}

/// The figures of a round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Nanoseconds of CPU time of the server for each request.
    cost: f64,
    /// Nanoseconds of the clock for each request.
    time: f64,
    requests: f64,
}

impl Pair {
    fn start(found: &Found, n: u64, body: Body, cores: Cores) -> Result<Self, String> {
        let mut server = Child::start(found, Area::Echo, n, cores.server)?;
        let port = server.port()?;
        let mut load = Child::launch(&own_command(&load(n, body, port).arguments())?, cores.load)?;
        load.ready()?;
        Ok(Pair { server, load })
    }

    /// Lets the load run for a time. Nothing is in flight before or after.
    fn round(&mut self, time: Duration) -> Result<Figures, String> {
        let before = self.server.cpu_time()?;
        let (elapsed, requests) = self.load.ask(Body::Plain, time.as_millis() as u64)?;
        let used = self.server.cpu_time()?.saturating_sub(before);
        Ok(Figures { cost: used.as_nanos() as f64 / requests, time: elapsed / requests, requests })
    }
}

/// The cores of the server and of the load, or `None` where they are not pinned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: Option<usize>,
    pub(crate) load: Option<usize>,
}

impl Cores {
    /// Returns the first two cores that this process may use. With a single core, server and load share it.
    pub(crate) fn find() -> Self {
        let cores = cores();
        Cores { server: cores.first().copied(), load: cores.get(1).or(cores.first()).copied() }
    }
}

/// A server in a group, with the error that ended its rounds.
struct Entry {
    rival: &'static Rival,
    found: Result<Found, String>,
    samples: Samples,
    rates: Samples,
}

impl Entry {
    fn round(&mut self, n: u64, body: Body, scale: Scale, cores: Cores) {
        let Ok(found) = &self.found else { return };
        let figures = Pair::start(found, n, body, cores).and_then(|mut pair| pair.round(scale.window()));
        match figures {
            Ok(figures) => {
                // With one connection, server and load wait for each other: the time of the clock is the round trip.
                let sample = if n == 1 { figures.time } else { figures.cost };
                // A clock that did not advance while the server answered is no figure.
                self.samples.push(Some(sample).filter(|sample| *sample > 0.0));
                self.rates.push(Some(1e9 / figures.time));
            }
            Err(why) => self.found = Err(why),
        }
    }
}

impl Run {
    /// Measures the area `echo`.
    pub(crate) fn echo(&mut self) {
        if cores().len() < 2 {
            eprintln!("echo: servers and load share one core, since this process may use no other");
        }
        for (n, body) in groups(self.scale) {
            match body {
                Body::Idle => self.idle(n),
                Body::Calls => self.calls(n),
                Body::Listener => self.listener(n),
                _ => self.requests(n, body),
            }
        }
    }

    fn entries(&mut self, n: u64) -> Vec<Entry> {
        let entry = |(rival, found)| Entry { rival, found, samples: Samples::default(), rates: Samples::default() };
        self.rivals(Area::Echo, n).into_iter().map(entry).collect()
    }

    fn requests(&mut self, n: u64, body: Body) {
        let (scale, cores) = (self.scale, Cores::find());
        let mut entries = self.entries(n);
        let rounds = scale.rounds_of_servers();
        for round in 0..rounds {
            if round >= 1 && Instant::now() > self.deadline {
                break;
            }
            progress(&format!("echo, {n}, {}: round {} of {rounds}", body.word(), round + 1));
            let mut order: Vec<&mut Entry> = entries.iter_mut().collect();
            if !round.is_multiple_of(2) {
                order.reverse();
            }
            order.into_iter().for_each(|entry| entry.round(n, body, scale, cores));
        }
        let samples_of = |name| entries.iter().find(|entry| entry.rival.name == name).map(|entry| &entry.samples);
        let (cede, raw) = (samples_of("cede"), samples_of(RAW_EPOLL));
        let lines = entries.iter().map(|entry| match &entry.found {
            Err(why) => Line::failed(Area::Echo, entry.rival.name, n, body, why),
            Ok(_) => Line {
                rate: entry.rates.median().map(f64::round),
                raw: raw.and_then(|raw| entry.samples.ratio(raw)).map(crate::record::round),
                ..Line::measured(Area::Echo, entry.rival.name, n, body, &entry.samples, cede)
            },
        });
        let lines: Vec<Line> = lines.collect();
        self.lines.extend(lines);
    }

    /// Measures the memory of connections that wait after one exchange.
    fn idle(&mut self, n: u64) {
        let cores = Cores::find();
        for (rival, found) in self.rivals(Area::Echo, n) {
            progress(&format!("echo, {n} idle connections: {}", rival.name));
            let hold = |found| -> Result<Memory, String> {
                let mut pair = Pair::start(&found, n, Body::Idle, cores)?;
                let before = pair.server.memory();
                pair.load.ask(Body::Plain, 0)?;
                Ok(pair.server.memory().beyond(before))
            };
            self.lines.push(match found.and_then(hold) {
                Ok(memory) => weighed(Area::Echo, rival.name, n, Body::Idle, memory, n, None),
                Err(why) => Line::failed(Area::Echo, rival.name, n, Body::Idle, &why),
            });
        }
        self.add_ratios(Area::Echo, n, Body::Idle);
    }

    /// Counts the system calls of a request.
    fn calls(&mut self, n: u64) {
        let (cores, window) = (Cores::find(), self.scale.window());
        for (rival, found) in self.rivals(Area::Echo, n) {
            progress(&format!("echo, system calls of {}", rival.name));
            let count = |found| -> Result<f64, String> {
                let mut pair = Pair::start(&found, n, Body::Calls, cores)?;
                let strace = Strace::attach(pair.server.id())?;
                let requests = pair.round(window)?.requests;
                Ok(strace.detach()? as f64 / requests)
            };
            self.lines.push(match found.and_then(count) {
                Ok(calls) => Line::counted(Area::Echo, rival.name, n, Body::Calls, calls),
                Err(why) => Line::failed(Area::Echo, rival.name, n, Body::Calls, &why),
            });
        }
        self.add_ratios(Area::Echo, n, Body::Calls);
    }

    /// Measures the turns of n tasks with an idle listener and without one, both in one process.
    fn listener(&mut self, n: u64) {
        let start = || -> Result<Child, String> {
            let mut child = Child::launch(&own_command(&["turns".to_string(), n.to_string()])?, self.core)?;
            child.ready()?;
            Ok(child)
        };
        let mut seat = Seat::new(start());
        seat.calibrate(Body::Plain, self.scale);
        let (mut without, mut with) = (Samples::default(), Samples::default());
        for round in 0..self.scale.rounds(n) {
            progress(&format!("echo, {n} tasks beside a listener: round {}", round + 1));
            let mut ask = |body| seat.ask(body).map(|(nanos, turns)| nanos / turns);
            let (first, second) = if round.is_multiple_of(2) {
                (ask(Body::Plain), ask(Body::Listener))
            } else {
                let with = ask(Body::Listener);
                (ask(Body::Plain), with)
            };
            without.push(first);
            with.push(second);
        }
        for (name, samples) in [("cede", &without), (BESIDE, &with)] {
            self.lines.push(match seat.error() {
                None => Line::measured(Area::Echo, name, n, Body::Listener, samples, Some(&without)),
                Some(why) => Line::failed(Area::Echo, name, n, Body::Listener, why),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn small_scales_measure_every_kind() {
        let kinds = |scale| groups(scale).iter().map(|(_, body)| body.word()).collect::<BTreeSet<_>>();
        let mut full = kinds(Scale::Full);
        // strace is no tool that every machine has.
        full.remove(Body::Calls.word());
        assert_eq!(kinds(Scale::Smoke), full);
        assert_eq!(kinds(Scale::Quick), full);
    }

    #[test]
    fn loads_match_their_groups() {
        assert_eq!(load(50, Body::Small, 1), Load { kind: Kind::Echo, port: 1, connections: 50, size: 64 });
        assert_eq!(load(50, Body::Large, 1).size, 16_384);
        assert_eq!(load(64, Body::Accept, 1).kind, Kind::Burst);
        assert_eq!(load(50, Body::Calls, 1), load(50, Body::Small, 1));
    }
}
