//! The description of the machine on which a run took place.

use crate::record::Machine;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The lock file, with the versions of the crates with which this program was built.
const LOCK: &str = include_str!("../../Cargo.lock");
const BUILT_WITH: [&str; 12] = [
    "cede",
    "corosensei",
    "generator",
    "genawaiter",
    "may",
    "tokio",
    "smol",
    "async-executor",
    "futures",
    "async-channel",
    "flume",
    "crossbeam-channel",
];

pub(crate) fn look(command: String, pinned: Option<usize>, tools: BTreeMap<String, String>) -> Machine {
    let mut versions = tools;
    for name in BUILT_WITH {
        versions.insert(name.into(), locked(LOCK, name));
    }
    Machine {
        cpu: file("/proc/cpuinfo").lines().find_map(|line| after_colon(line, "model name")).unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        kernel: file("/proc/sys/kernel/osrelease").trim().to_string(),
        rustc: said(Command::new("rustc").arg("--version")),
        versions,
        date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        command,
        load: file("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        pinned,
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn said(command: &mut Command) -> String {
    command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
}

fn after_colon(line: &str, name: &str) -> Option<String> {
    Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_string())
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
    fn every_version_is_in_the_lock() {
        for name in BUILT_WITH {
            let version = locked(LOCK, name);
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{name}: {version}");
        }
        assert_eq!(locked("", "nobody"), "unknown");
    }
}
