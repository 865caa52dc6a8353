//! The generated part of the page, with all figures. Written between two marks, so that no figure is typed by hand.

use crate::area::{Area, Body};
use crate::promise::verdicts;
use crate::record::{Line, Record};
use crate::table::{amount, digits, thousands, title};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- From here to the end mark: `cargo run --release -p peers -- page`. Not to be edited. -->";
const END: &str = "<!-- The end of what is made of figures. -->";

/// Replaces the text between the marks of the page.
pub(crate) fn rewrite(path: &Path, record: &Record) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = between_marks(&text, &figures(record)).ok_or(format!("{}: there are no marks", path.display()))?;
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn between_marks(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

fn figures(record: &Record) -> String {
    let mut text = machine(record);
    text.push_str("\n## What must show\n\n| promised | measured | |\n|---|---|---|\n");
    for verdict in verdicts(record) {
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let _ = writeln!(text, "| {} | {} | {met} |", cell(&verdict.promise), cell(&verdict.measured));
    }
    text.push_str("\n## Figures\n");
    for area in record.areas() {
        let _ = write!(text, "\n### {}: {}\n", area.word(), area.operation());
        if area != Area::Echo {
            let _ = write!(text, "\n![{} in a picture]({}.svg)\n", area.word(), area.word());
        }
        text.push_str(&match area {
            Area::Yield => turns(record),
            _ => record.groups(area).into_iter().map(|(n, body)| group(record, area, n, body)).collect(),
        });
    }
    text
}

fn machine(record: &Record) -> String {
    let machine = &record.machine;
    let pinned = machine.pinned.map_or("not pinned".into(), |core| format!("pinned to core {core}"));
    let versions = machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>();
    format!(
        "`{}` on {}: {}, {} cores, Linux {}, {}, {pinned}, load {} before the run.\n\nVersions: {}.\n",
        machine.command,
        machine.date,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.rustc,
        machine.load,
        versions.join("; ")
    )
}

/// Escapes characters that would end the cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn sorted(record: &Record, area: Area, n: u64, body: Body) -> (Vec<&Line>, Vec<&Line>) {
    let (mut measured, failed): (Vec<_>, Vec<_>) = record.group(area, n, body).partition(|line| line.error.is_none());
    measured.sort_by(|a, b| a.median.partial_cmp(&b.median).expect("figures"));
    (measured, failed)
}

fn bold(case: &str) -> String {
    if case == "cede" { "**cede**".into() } else { cell(case) }
}

fn group(record: &Record, area: Area, n: u64, body: Body) -> String {
    let (measured, failed) = sorted(record, area, n, body);
    let mut text = format!("\n{}:\n\n", title(area, n, body));
    text.push_str(match area {
        Area::Memory => "| | in all | resident | page tables | mappings | times cede |\n|---|---|---|---|---|---|\n",
        _ => "| | median | fastest round | rounds | times cede |\n|---|---|---|---|---|\n",
    });
    for line in measured {
        let show = |value: Option<f64>| value.map_or(String::new(), |value| amount(value, &line.unit));
        let ratio = line.ratio.map_or(String::new(), digits);
        let (case, median) = (bold(&line.case), show(line.median));
        let _ = match area {
            Area::Memory => writeln!(
                text,
                "| {case} | {median} | {} | {} | {} | {ratio} |",
                show(line.resident),
                show(line.page_tables),
                thousands(line.mappings.unwrap_or(0))
            ),
            _ => writeln!(text, "| {case} | {median} | {} | {} | {ratio} |", show(line.min), line.rounds.unwrap_or(0)),
        };
    }
    text + &failures(&failed)
}

fn failures(failed: &[&Line]) -> String {
    if failed.is_empty() {
        return String::new();
    }
    let mut text = "\nNot measured:\n\n".to_string();
    for line in failed {
        let _ = writeln!(text, "* {}: {}", line.case, line.error.as_deref().unwrap_or("").replace('\n', " "));
    }
    text
}

/// Returns a table for each number of tasks, with three bodies of each case in a row.
fn turns(record: &Record) -> String {
    let mut text = String::new();
    let mut counts: Vec<u64> = record.groups(Area::Yield).into_iter().map(|(n, _)| n).collect();
    counts.dedup();
    for n in counts {
        let _ = write!(
            text,
            "\n{} tasks, medians of a turn, and in brackets times cede:\n\n| | touches its stack | shuffled | registers |\n\
             |---|---|---|---|\n",
            thousands(n)
        );
        let (measured, failed) = sorted(record, Area::Yield, n, Body::Stack);
        for line in measured {
            let show = |body| {
                let line = record.find(Area::Yield, &line.case, n, body)?;
                Some(format!("{} ({})", amount(line.median?, &line.unit), digits(line.ratio?)))
            };
            let [stack, shuffled, registers] =
                [Body::Stack, Body::Shuffled, Body::Registers].map(|body| show(body).unwrap_or_default());
            let _ = writeln!(text, "| {} | {stack} | {shuffled} | {registers} |", bold(&line.case));
        }
        text.push_str(&failures(&failed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = format!("words\n{BEGIN}\nold\n{END}\nmore words\n");
        let once = between_marks(&page, "new\n").unwrap();
        assert_eq!(once, format!("words\n{BEGIN}\n\nnew\n\n{END}\nmore words\n"));
        assert_eq!(between_marks(&once, "new\n"), Some(once.clone()));
        assert_eq!(between_marks("no marks", "new"), None);
    }

    #[test]
    fn failures_have_their_reasons() {
        let text = r#"{"machine":{"cpu":"c","cores":2,"kernel":"6","rustc":"r","versions":{},"date":"d","command":"x","load":0.1,"pinned":1}}
{"area":"channel","case":"cede","n":2,"unit":"ns","min":20,"median":21,"rounds":3,"ratio":1.0}
{"area":"channel","case":"Go","n":2,"unit":"ns","error":"go cannot be run"}
{"area":"channel","case":"may","n":2,"unit":"ns","min":80,"median":84,"rounds":3,"ratio":4.0}
"#;
        let figures = figures(&Record::from_json_lines(text).unwrap());
        assert!(figures.contains("| **cede** | 21.0 ns | 20.0 ns | 3 | 1.00 |\n| may | 84.0 ns |"), "{figures}");
        assert!(figures.contains("* Go: go cannot be run\n"), "{figures}");
        assert!(figures.contains("| 4.00 times as fast as may | met |"), "{figures}");
    }
}
