//! The record of a run: JSON lines. The first describes the machine, and each of the rest a case.

use crate::area::{Area, Body};
use crate::stats::Samples;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The machine, the date and the command of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// The frequency of the first core before the run, in MHz. Earlier records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mhz: Option<f64>,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// The versions of cede, of the rivals, and of the tools of the rivals.
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) date: String,
    pub(crate) command: String,
    /// The load average of the last minute, before the run.
    pub(crate) load: f64,
    /// The core to which all cases were pinned.
    pub(crate) pinned: Option<usize>,
    /// The cores of the servers and of the load, if servers were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) servers: Option<(usize, usize)>,
}

/// The figures of a case, or its error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) area: String,
    pub(crate) case: String,
    pub(crate) n: u64,
    pub(crate) unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) median: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rounds: Option<usize>,
    /// The median of the ratio to cede in the same round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// The median of the ratio to the loop of bare system calls in the same round, for servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) raw: Option<f64>,
    /// The median of the requests a second, for servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// The median of the time within which 99 of 100 responses come, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail: Option<f64>,
    /// The body, in areas with several bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// Resident memory of each task, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resident: Option<f64>,
    /// Page tables of each task, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) page_tables: Option<f64>,
    /// The number of mappings of all tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mappings: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The record of a whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) machine: Machine,
    pub(crate) lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct MachineLine {
    machine: Machine,
}

impl Line {
    fn new(area: Area, case: &str, n: u64, body: Body) -> Self {
        let unit = area.unit(body);
        let body = (body != Body::Plain).then(|| body.word().to_string());
        Line { area: area.word().into(), case: case.into(), n, unit: unit.into(), body, ..Line::default() }
    }

    pub(crate) fn failed(area: Area, case: &str, n: u64, body: Body, why: &str) -> Self {
        Line { error: Some(why.into()), ..Line::new(area, case, n, body) }
    }

    pub(crate) fn measured(area: Area, case: &str, n: u64, body: Body, own: &Samples, cede: Option<&Samples>) -> Self {
        Line {
            min: own.min().map(round),
            median: own.median().map(round),
            rounds: Some(own.rounds()),
            ratio: cede.and_then(|cede| own.ratio(cede)).map(round),
            ..Line::new(area, case, n, body)
        }
    }

    /// Creates a line with a figure that was counted once, without a clock.
    pub(crate) fn counted(area: Area, case: &str, n: u64, body: Body, each: f64) -> Self {
        let (each, rounds) = (Some(round(each)), Some(1));
        Line { min: each, median: each, rounds, ..Line::new(area, case, n, body) }
    }

    pub(crate) fn is(&self, area: Area, n: u64, body: Body) -> bool {
        let word = self.body.as_deref().unwrap_or(Body::Plain.word());
        self.area == area.word() && self.n == n && word == body.word()
    }
}

/// Rounds to four digits. More digits are noise.
pub(crate) fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 3.0);
    // By way of text, so that 2.2 does not become 2.2000000000000002.
    format!("{:.*}", (-unit.log10()).max(0.0).round() as usize, (value / unit).round() * unit).parse().unwrap_or(value)
}

impl Record {
    pub(crate) fn to_json_lines(&self) -> String {
        let machine = MachineLine { machine: self.machine.clone() };
        let mut text = serde_json::to_string(&machine).expect("strings and figures") + "\n";
        for line in &self.lines {
            text.push_str(&serde_json::to_string(line).expect("strings and figures"));
            text.push('\n');
        }
        text
    }

    pub(crate) fn from_json_lines(text: &str) -> Result<Self, String> {
        let mut record = Record::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |error| format!("line {}: {error}", at + 1);
            if at == 0 {
                record.machine = serde_json::from_str::<MachineLine>(line).map_err(wrong)?.machine;
            } else {
                record.lines.push(serde_json::from_str(line).map_err(wrong)?);
            }
        }
        Ok(record)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Record::from_json_lines(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Returns the measured areas, in the order of `Area::ALL`.
    pub(crate) fn areas(&self) -> Vec<Area> {
        Area::ALL.into_iter().filter(|area| self.lines.iter().any(|line| line.area == area.word())).collect()
    }

    /// Returns whether a case of the area has figures.
    pub(crate) fn has_figures(&self, area: Area) -> bool {
        self.lines.iter().any(|line| line.area == area.word() && line.median.is_some())
    }

    /// Returns the groups of an area. The cases of a group were measured interleaved.
    pub(crate) fn groups(&self, area: Area) -> Vec<(u64, Body)> {
        let mut groups: Vec<(u64, Body)> = Vec::new();
        for line in self.lines.iter().filter(|line| line.area == area.word()) {
            let body = line.body.as_deref().and_then(|body| body.parse().ok()).unwrap_or(Body::Plain);
            if !groups.contains(&(line.n, body)) {
                groups.push((line.n, body));
            }
        }
        groups
    }

    pub(crate) fn group(&self, area: Area, n: u64, body: Body) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.is(area, n, body))
    }

    pub(crate) fn find(&self, area: Area, case: &str, n: u64, body: Body) -> Option<&Line> {
        self.group(area, n, body).find(|line| line.case == case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut samples = Samples::default();
        [2.1, 2.3, 2.5].into_iter().for_each(|sample| samples.push(Some(sample)));
        let lines = vec![
            Line::measured(Area::Yield, "cede", 2, Body::Stack, &samples, Some(&samples)),
            Line::measured(Area::Switch, "cede", 1, Body::Plain, &samples, None),
            Line::failed(Area::Switch, "Lua", 1, Body::Plain, "lua5.4 cannot be run"),
            Line { mappings: Some(3), ..Line::counted(Area::Memory, "cede", 10_000, Body::Plain, 4301.4) },
        ];
        Record { machine: Machine { cpu: "a \"quoted\" one".into(), cores: 2, ..Machine::default() }, lines }
    }

    #[test]
    fn lines_are_as_promised() {
        let text = record().to_json_lines();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with(r#"{"machine":{"cpu":"a \"quoted\" one","cores":2,"kernel":"#), "{}", lines[0]);
        let line = r#"{"area":"yield","case":"cede","n":2,"unit":"ns","min":2.1,"median":2.3,"rounds":3,"ratio":1.0,"body":"stack"}"#;
        assert_eq!(lines[1], line);
        let line = r#"{"area":"switch","case":"cede","n":1,"unit":"ns","min":2.1,"median":2.3,"rounds":3}"#;
        assert_eq!(lines[2], line);
        let line = r#"{"area":"switch","case":"Lua","n":1,"unit":"ns","error":"lua5.4 cannot be run"}"#;
        assert_eq!(lines[3], line);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let record = record();
        assert_eq!(Record::from_json_lines(&record.to_json_lines()), Ok(record));
        let error = Record::from_json_lines("{\"machine\":3}\n").unwrap_err();
        assert!(error.starts_with("line 1: "), "{error}");
    }

    /// Older records lack fields of newer ones.
    #[test]
    fn kept_records_can_be_read() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut records = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
        assert!(records.by_ref().map(|path| Record::read(&path).unwrap().lines.len()).all(|lines| lines > 0));
        let text = record().to_json_lines();
        assert!(!text.contains("mhz"), "{text}");
        let newer = Machine { mhz: Some(3693.062), ..Machine::default() };
        let text = Record { machine: newer.clone(), lines: Vec::new() }.to_json_lines();
        assert_eq!(Record::from_json_lines(&text).unwrap().machine, newer);
    }

    #[test]
    fn groups_are_what_was_interleaved() {
        let record = record();
        assert_eq!(record.areas(), [Area::Switch, Area::Yield, Area::Memory]);
        assert!(record.has_figures(Area::Switch) && !record.has_figures(Area::Echo));
        assert_eq!(record.groups(Area::Yield), [(2, Body::Stack)]);
        assert_eq!(record.group(Area::Switch, 1, Body::Plain).count(), 2);
        assert!(record.find(Area::Switch, "Lua", 1, Body::Plain).unwrap().error.is_some());
    }

    #[test]
    fn four_digits_are_kept() {
        let rounded = [2.123_456, 0.012_345_6, 123_456.0, 0.0, 4301.4].map(round);
        assert_eq!(rounded, [2.123, 0.012_35, 123_500.0, 0.0, 4301.0]);
    }
}
