//! The description of the machine on which a run took place.

use crate::record::Machine;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The lock file, with the versions of the crates with which this program was built.
const LOCK: &str = include_str!("../../Cargo.lock");
const BUILT_WITH: [&str; 18] = [
    "cede",
    "corosensei",
    "generator",
    "genawaiter",
    "may",
    "monoio",
    "compio",
    "hyper",
    "tokio",
    "smol",
    "async-executor",
    "futures",
    "async-channel",
    "flume",
    "crossbeam-channel",
    "stackful",
    "pollster",
    "async-stream",
];

pub(crate) fn look(
    command: String,
    pinned: Option<usize>,
    servers: Option<(usize, usize)>,
    tools: BTreeMap<String, String>,
) -> Machine {
    let mut versions = tools;
    for name in BUILT_WITH {
        versions.insert(name.into(), locked(LOCK, name));
    }
    Machine {
        cpu: cpu(&file("/proc/cpuinfo")),
        mhz: mhz(&file("/proc/cpuinfo")),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        kernel: file("/proc/sys/kernel/osrelease").trim().to_string(),
        rustc: said(Command::new("rustc").arg("--version")),
        versions,
        date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        command,
        load: file("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        pinned,
        servers,
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn said(command: &mut Command) -> String {
    command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
}

/// Returns the name of the processor, with its family and model: different processors have the same name in virtual machines.
fn cpu(info: &str) -> String {
    let find = |name| info.lines().find_map(|line| after_colon(line, name));
    let name = find("model name").unwrap_or_default();
    match (find("cpu family"), find("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

/// Returns the frequency of the first core, if the system tells it.
fn mhz(info: &str) -> Option<f64> {
    info.lines().find_map(|line| after_colon(line, "cpu MHz"))?.parse().ok()
}

fn after_colon(line: &str, name: &str) -> Option<String> {
    let (before, after) = line.split_once(':')?;
    (before.trim_end() == name).then(|| after.trim().to_string())
}

fn locked(lock: &str, name: &str) -> String {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown").to_string()
}

/// Converts seconds since 1970 to a date in UTC.
fn date(seconds: u64) -> String {
    // Howard Hinnant's civil_from_days, for days since 0000-03-01.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_767_225_599), "2025-12-31");
        assert_eq!(date(1_767_225_600), "2026-01-01");
    }

    #[test]
    fn processor_has_family_and_model() {
        let info = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n";
        assert_eq!(cpu(info), "AMD EPYC (family 25, model 17)");
        assert_eq!(cpu("model name\t: x\n"), "x");
        assert_eq!(cpu("CPU part\t: 0xd0c\n"), "");
        assert_eq!(mhz("cpu MHz\t\t: 3693.062\n"), Some(3693.062));
        assert_eq!(mhz(info), None);
    }

    #[test]
    fn every_version_is_in_the_lock() {
        for name in BUILT_WITH {
            let version = locked(LOCK, name);
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{name}: {version}");
        }
        assert_eq!(locked("", "nobody"), "unknown");
    }
}
