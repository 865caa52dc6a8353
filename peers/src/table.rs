//! Tables for the terminal.

use crate::area::{Area, Body};
use crate::record::Line;

/// Returns the title of a group.
pub(crate) fn title(area: Area, n: u64, body: Body) -> String {
    let many = thousands(n);
    let turns = match body {
        Body::Registers => ", bodies that keep their state in registers",
        Body::Stack => ", bodies that touch their stack, in memory order",
        Body::Shuffled => ", bodies that touch their stack, shuffled",
        Body::Small if n == 1 => return "the round trip of 64 bytes over one connection".into(),
        Body::Small => return format!("CPU time of the server for a request of 64 bytes, {many} connections"),
        Body::Large => return format!("CPU time of the server for a request of 16 KiB, {many} connections"),
        Body::Accept => {
            return format!("CPU time of the server for a connection: {many} opened at once, a byte each way, reset");
        }
        Body::Idle => return format!("memory of one of {many} connections that wait after a request of 16 KiB"),
        Body::Calls => return format!("system calls of a request of 64 bytes, {many} connections"),
        Body::Listener => {
            return format!("one turn of one of {many} tasks, with a task beside them that waits for a connection");
        }
        Body::Ready => return "a wait for a ready future".into(),
        Body::Pending => return "a wait for a future that is pending once, polled in a loop".into(),
        Body::Woken => return "a wait for a future that is pending once and wakes a local task of tokio".into(),
        Body::Made => return "a future of synchronous code: made, completed in one poll, dropped".into(),
        Body::Answer => return "in a local task, synchronous code that waits once, ten calls deep".into(),
        Body::Between => return "the same in a task that yields between".into(),
        Body::Item => return "an item of a stream".into(),
        Body::Held => return format!("memory of one of {many} suspended futures of synchronous code"),
        Body::Plain => "",
    };
    match (area, n) {
        (Area::Switch | Area::Bridge | Area::Echo, _) => area.operation().to_string(),
        (Area::Yield, _) => format!("one turn of one of {many} tasks{turns}"),
        (Area::Spawn, 1) => "spawn + join, one after another".into(),
        (Area::Spawn, _) => format!("spawn + join, {many} outstanding"),
        (Area::Memory, _) => format!("memory of one of {many} suspended tasks"),
        (Area::Http, 1) => "CPU time of the server for a request, one connection".into(),
        (Area::Http, _) => format!("CPU time of the server for a request, {many} connections"),
        (Area::Channel, 2) => "a message between two tasks, to and fro, a channel of one each way".into(),
        (Area::Channel, _) => format!("a message from one of {many} producers to one consumer, a channel of 1,024"),
    }
}

/// Escapes characters that would end the cell of a table in Markdown.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Formats a number with separators: `1,000,000`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap_or("")).collect();
    parts.join(",")
}

/// Formats a figure with three digits and a unit: `2.21 ns`, `1.74 µs`, `4.2 KiB`, `2.06 calls`.
pub(crate) fn amount(value: f64, unit: &str) -> String {
    if unit == "calls" {
        return format!("{} calls", digits(value));
    }
    let step = if unit == "bytes" { 1024.0 } else { 1000.0 };
    let names = if unit == "bytes" { ["B", "KiB", "MiB", "GiB"] } else { ["ns", "µs", "ms", "s"] };
    let power = (0..3).take_while(|power| value >= 0.9995 * f64::powi(step, power + 1)).count();
    format!("{} {}", digits(value / f64::powi(step, power as i32)), names[power])
}

/// Formats a figure with three digits.
pub(crate) fn digits(value: f64) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}")
}

/// Formats a group as a table, the fastest case first, followed by the failed cases with their errors.
pub(crate) fn table(area: Area, n: u64, body: Body, lines: &[&Line]) -> String {
    let (mut measured, failed): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.error.is_none());
    measured.sort_by(|a, b| a.median.unwrap_or(0.0).total_cmp(&b.median.unwrap_or(0.0)));
    let mut text = format!("{}: {}\n", area, title(area, n, body));
    let weighed = measured.iter().any(|line| line.resident.is_some());
    let [first, second] = if weighed { ["resident", "in all"] } else { ["min", "median"] };
    text.push_str(&format!("  {:34} {first:>10} {second:>10} {:>8} {:>7}", "", "cede x", "rounds"));
    text.push_str(match measured.iter().find(|line| line.rate.is_some()) {
        None => "\n",
        Some(line) if line.tail.is_some() => "      99 %  a second\n",
        Some(_) => "     raw x  a second\n",
    });
    for line in measured {
        let show = |value: Option<f64>| value.map_or(String::new(), |value| amount(value, &line.unit));
        let first = if weighed { line.resident } else { line.min };
        let ratio = line.ratio.map_or(String::new(), digits);
        let rest = match line.mappings {
            Some(mappings) => format!("{} mappings", thousands(mappings)),
            None => line.rounds.unwrap_or(0).to_string(),
        };
        let (first, median) = (show(first), show(line.median));
        text.push_str(&format!("  {:34} {first:>10} {median:>10} {ratio:>8} {rest:>7}", line.case));
        if let Some(rate) = line.rate {
            let tail = line.tail.map(|tail| amount(tail, "ns"));
            let beside = tail.or(line.raw.map(digits)).unwrap_or_default();
            text.push_str(&format!(" {beside:>9} {:>9}", thousands(rate as u64)));
        }
        text.push('\n');
    }
    for line in failed {
        text.push_str(&format!("  {:34} {}\n", line.case, line.error.as_deref().unwrap_or("")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_one_reads_them() {
        assert_eq!(amount(2.213, "ns"), "2.21 ns");
        assert_eq!(amount(36.04, "ns"), "36.0 ns");
        assert_eq!(amount(999.4, "ns"), "999 ns");
        assert_eq!(amount(999.7, "ns"), "1.00 µs");
        assert_eq!(amount(4_301.0, "bytes"), "4.20 KiB");
        assert_eq!(amount(3e9, "ns"), "3.00 s");
        assert_eq!(amount(2.06, "calls"), "2.06 calls");
        assert_eq!([2, 100, 10_000, 1_000_000].map(thousands), ["2", "100", "10,000", "1,000,000"]);
    }

    #[test]
    fn servers_have_their_rates() {
        let line =
            |rate| Line { case: "x".into(), unit: "ns".into(), median: Some(5e3), rate, raw: rate, ..Line::default() };
        let text = table(Area::Echo, 50, Body::Small, &[&line(Some(181_000.0))]);
        assert!(text.contains("raw x  a second\n") && text.contains(" 181,000\n"), "{text}");
        let line = Line { tail: Some(1.2e6), ..line(Some(59_000.0)) };
        let text = table(Area::Http, 50, Body::Plain, &[&line]);
        assert!(text.contains(" 99 %  a second\n") && text.contains(" 1.20 ms    59,000\n"), "{text}");
        assert!(!table(Area::Echo, 50, Body::Listener, &[&Line { rate: None, ..line }]).contains("a second"));
    }

    #[test]
    fn the_fastest_stands_first_and_failures_last() {
        let line = |case: &str, median: Option<f64>, error: Option<&str>| Line {
            case: case.into(),
            unit: "ns".into(),
            median,
            error: error.map(str::to_string),
            ..Line::default()
        };
        let lines =
            [line("gone", None, Some("no stack")), line("slow", Some(20.0), None), line("quick", Some(3.0), None)];
        let text = table(Area::Switch, 1, Body::Plain, &lines.iter().collect::<Vec<_>>());
        let order: Vec<_> = ["quick", "slow", "gone", "no stack"].map(|word| text.find(word).unwrap()).into();
        assert!(order.is_sorted(), "{text}");
    }
}
