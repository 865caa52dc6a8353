//! Records of earlier runs that are kept beside the last one, and their ratios side by side: whether a ratio holds on another
//! processor, or in a second run.

use crate::promise::{Verdict, verdicts};
use crate::record::Record;
use crate::table::{cell, digits, title};
use std::fmt::Write as _;
use std::path::Path;

/// A record with the name of its file, which heads its column.
pub(crate) struct Earlier {
    pub(crate) name: String,
    pub(crate) record: Record,
}

/// Reads all records of a directory but `last.json`, by name.
pub(crate) fn read(directory: &Path) -> Result<Vec<Earlier>, String> {
    let failed = |error| format!("{}: {error}", directory.display());
    let mut earlier = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "json") && name != "last" {
            earlier.push(Earlier { name, record: Record::read(&path)? });
        }
    }
    earlier.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(earlier)
}

fn outcome(verdict: Option<&Verdict>) -> String {
    let Some(verdict) = verdict else { return String::new() };
    let missed = if verdict.met == Some(false) { ", **missed**" } else { "" };
    cell(&verdict.measured) + missed
}

/// Returns the promises and the ratios to cede of the last record and of earlier ones, one column for each.
pub(crate) fn side_by_side(last: &Record, earlier: &[Earlier]) -> String {
    if earlier.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n## Earlier records beside this one\n\n");
    for Earlier { name, record } in earlier {
        let machine = &record.machine;
        let (cpu, kernel) = (&machine.cpu, &machine.kernel);
        let _ = writeln!(
            text,
            "* `{name}.json`: {}, {cpu}, {} cores, Linux {kernel}, load {}",
            machine.date, machine.cores, machine.load
        );
    }
    let heads: String = earlier.iter().map(|Earlier { name, .. }| format!(" {name} |")).collect();
    let lines = "---|".repeat(earlier.len());
    let old: Vec<_> = earlier.iter().map(|Earlier { record, .. }| verdicts(record)).collect();
    let _ = write!(text, "\nPromises:\n\n| promise | this record |{heads}\n|---|---|{lines}\n");
    for verdict in verdicts(last) {
        let same = |verdicts: &Vec<Verdict>| outcome(verdicts.iter().find(|old| old.promise == verdict.promise));
        let old: String = old.iter().map(|verdicts| format!(" {} |", same(verdicts))).collect();
        let _ = writeln!(text, "| {} | {} |{old}", verdict.promise, outcome(Some(&verdict)));
    }
    let _ = write!(
        text,
        "\nTimes cede, medians of the ratios within a round:\n\n| | this record |{heads}\n|---|---|{lines}\n"
    );
    for area in last.areas() {
        for (n, body) in last.groups(area) {
            for line in last.group(area, n, body).filter(|line| line.case != "cede") {
                let Some(ratio) = line.ratio else { continue };
                let ratio_of = |record: &Record| record.find(area, &line.case, n, body).and_then(|line| line.ratio);
                let old = earlier.iter().map(|Earlier { record, .. }| ratio_of(record).map_or(String::new(), digits));
                let old: String = old.map(|ratio| format!(" {ratio} |")).collect();
                let case = cell(&format!("{}: {}", title(area, n, body), line.case));
                let _ = writeln!(text, "| {case} | {} |{old}", digits(ratio));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = r#"{"machine":{"cpu":"c","cores":2,"kernel":"6","rustc":"r","versions":{},"date":"d","command":"x","load":0.1,"pinned":1}}"#;

    fn channels(rival: f64) -> Record {
        let lines = format!(
            r#"{{"area":"channel","case":"cede","n":2,"unit":"ns","min":20,"median":21,"rounds":3,"ratio":1.0}}
{{"area":"channel","case":"may","n":2,"unit":"ns","min":80,"median":84,"rounds":3,"ratio":{rival}}}"#
        );
        Record::from_json_lines(&format!("{MACHINE}\n{lines}\n")).unwrap()
    }

    #[test]
    fn records_have_a_column_each() {
        let earlier = [Earlier { name: "old".into(), record: channels(1.5) }];
        let text = side_by_side(&channels(4.0), &earlier);
        assert!(text.contains("| promise | this record | old |\n|---|---|---|\n"), "{text}");
        assert!(text.contains("| 4.00 times as fast as may | 1.50 times as fast as may, **missed** |"), "{text}");
        assert!(text.contains("to and fro, a channel of one each way: may | 4.00 | 1.50 |"), "{text}");
    }

    #[test]
    fn figures_that_a_record_lacks_are_empty() {
        let earlier = [Earlier { name: "old".into(), record: Record::default() }];
        let text = side_by_side(&channels(4.0), &earlier);
        assert!(text.contains("channel of one each way: may | 4.00 |  |"), "{text}");
        assert_eq!(side_by_side(&channels(4.0), &[]), "");
    }
}
