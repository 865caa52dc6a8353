//! The area `http`: HTTP servers under wrk, with keep-alive and without pipelining.
//!
//! As in the area `echo`, server and load have a core each, and a server is started anew in every round.

use crate::area::{Area, Body};
use crate::child::{Child, pin};
use crate::echo::Cores;
use crate::foreign::Found;
use crate::record::{Line, round};
use crate::rivals::{Rival, Start};
use crate::run::{Run, Scale, progress};
use crate::stats::Samples;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// The seconds of load in one round. wrk takes whole seconds.
const SECONDS: u64 = 1;
/// The longest time for a response to the first request.
const PATIENCE: Duration = Duration::from_secs(10);

fn groups(scale: Scale) -> &'static [u64] {
    match scale {
        Scale::Full => &[1, 50, 1000],
        Scale::Quick => &[50],
        Scale::Smoke => &[2],
    }
}

/// A server in a group, with the error that ended its rounds.
struct Entry {
    rival: &'static Rival,
    found: Result<Found, String>,
    costs: Samples,
    rates: Samples,
    tails: Samples,
}

impl Entry {
    fn round(&mut self, n: u64, cores: Cores) {
        let Ok(found) = &self.found else { return };
        let measure = || -> Result<(f64, Load), String> {
            let (mut server, port) = start(self.rival, found, n, cores)?;
            let before = server.cpu_time()?;
            let load = wrk(port, n, cores)?;
            Ok((server.cpu_time()?.saturating_sub(before).as_nanos() as f64 / load.requests, load))
        };
        match measure() {
            Ok((cost, load)) => {
                self.costs.push(Some(cost));
                self.rates.push(Some(load.rate));
                self.tails.push(Some(load.tail));
            }
            Err(why) => self.found = Err(why),
        }
    }
}

/// Starts a server, and returns it with its port.
fn start(rival: &Rival, found: &Found, n: u64, cores: Cores) -> Result<(Child, u16), String> {
    let mut server = match rival.start {
        Start::Own(_) => Child::start(found, Area::Http, n, cores.server)?,
        // Programs that are not part of this one do not know its protocol.
        Start::Foreign(_) => Child::launch(&found.command, cores.server)?,
    };
    let port = server.port()?;
    Ok((server, port))
}

impl Run {
    /// Measures the area `http`.
    pub(crate) fn http(&mut self) {
        for &n in groups(self.scale) {
            self.responses(n);
        }
    }

    fn responses(&mut self, n: u64) {
        let (cores, rounds) = (Cores::find(), self.scale.rounds_of_servers());
        let entry = |(rival, found)| Entry {
            rival,
            found,
            costs: Samples::default(),
            rates: Samples::default(),
            tails: Samples::default(),
        };
        let mut entries: Vec<Entry> = self.rivals(Area::Http, n).into_iter().map(entry).collect();
        compare(&mut entries, n, cores);
        for number in 0..rounds {
            if number >= 1 && Instant::now() > self.deadline {
                break;
            }
            progress(&format!("http, {n}: round {} of {rounds}", number + 1));
            let mut order: Vec<&mut Entry> = entries.iter_mut().collect();
            if !number.is_multiple_of(2) {
                order.reverse();
            }
            order.into_iter().for_each(|entry| entry.round(n, cores));
        }
        let cede = entries.iter().find(|entry| entry.rival.name == "cede").map(|entry| &entry.costs);
        self.lines.extend(entries.iter().map(|entry| match &entry.found {
            Err(why) => Line::failed(Area::Http, entry.rival.name, n, Body::Plain, why),
            Ok(_) => Line {
                rate: entry.rates.median().map(f64::round),
                tail: entry.tails.median().map(round),
                ..Line::measured(Area::Http, entry.rival.name, n, Body::Plain, &entry.costs, cede)
            },
        }));
    }
}

/// Compares the responses of the servers. A server whose response differs from the first one is not measured.
fn compare(entries: &mut [Entry], n: u64, cores: Cores) {
    let mut first: Option<(&'static str, Vec<String>)> = None;
    for entry in entries {
        let Ok(found) = &entry.found else { continue };
        let response = start(entry.rival, found, n, cores).and_then(|(_server, port)| response(port));
        match (response, &first) {
            (Err(why), _) => entry.found = Err(why),
            (Ok(own), None) => first = Some((entry.rival.name, own)),
            (Ok(own), Some((name, other))) if own != *other => {
                entry.found = Err(format!("its response differs from that of {name}: {own:?} instead of {other:?}"));
            }
            _ => {}
        }
    }
}

/// Requests `/`, and returns the status, the fields but the date, in order, and the body.
fn response(port: u16) -> Result<Vec<String>, String> {
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = exchange().map_err(|error| format!("it does not answer: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(format!("its response has no head: {text:?}"))?;
    let mut head = head.split("\r\n");
    let status = head.next().unwrap_or_default().to_string();
    let fields = head.filter_map(|field| field.split_once(':'));
    let mut fields: Vec<String> = fields
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
        .map(|(name, value)| format!("{}:{value}", name.to_ascii_lowercase()))
        .collect();
    fields.sort();
    Ok([status].into_iter().chain(fields).chain([body.to_string()]).collect())
}

/// The results of wrk.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Load {
    requests: f64,
    /// Requests a second.
    rate: f64,
    /// Nanoseconds within which 99 of 100 responses come.
    tail: f64,
}

fn wrk(port: u16, n: u64, cores: Cores) -> Result<Load, String> {
    let mut command = Command::new("wrk");
    command.args(["--latency", "-t", "1", "-c", &n.to_string(), "-d", &format!("{SECONDS}s")]);
    command.arg(format!("http://127.0.0.1:{port}/"));
    let output = pin(&mut command, cores.load).output().map_err(|error| format!("wrk cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match parse(&text) {
        _ if !output.status.success() => Err(format!("wrk fails: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Some(load) => Ok(load),
        None => {
            let last = text.lines().find(|line| line.contains("errors") || line.contains("Non-2xx"));
            Err(format!("wrk reports {:?}", last.or(text.lines().last()).unwrap_or_default().trim()))
        }
    }
}

/// Parses the output of wrk. Returns `None` if a figure is missing, or if a request failed.
fn parse(text: &str) -> Option<Load> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let after = |name: &str| text.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.trim()));
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.parse().ok()?;
    Some(Load { requests, rate: after("Requests/sec:")?.parse().ok()?, tail: nanoseconds(after("99%")?)? })
}

/// Parses a duration of wrk: `33.00us`, `1.20ms`, `2.00s`.
fn nanoseconds(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &text[end..] {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(text[..end].parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 50 connections\n  Latency Distribution\n     \
        50%   33.00us\n     99%    1.20ms\n  12345 requests in 1.00s, 1.2MB read\nRequests/sec:  12290.5\nTransfer/sec: 1MB\n";

    #[test]
    fn figures_of_wrk_are_parsed() {
        assert_eq!(parse(OUTPUT), Some(Load { requests: 12_345.0, rate: 12_290.5, tail: 1.2e6 }));
        assert_eq!(nanoseconds("33.00us"), Some(33_000.0));
        assert_eq!(nanoseconds("2.00s"), Some(2e9));
        assert_eq!(nanoseconds("2.00m"), None);
    }

    #[test]
    fn failed_requests_give_no_figures() {
        let errors = "  Socket errors: connect 0, read 3, write 0, timeout 0\n";
        assert_eq!(parse(&OUTPUT.replace("Requests/sec", &format!("{errors}Requests/sec"))), None);
        assert_eq!(parse(&format!("{OUTPUT}  Non-2xx or 3xx responses: 5\n")), None);
        assert_eq!(parse("unable to connect\n"), None);
    }
}
