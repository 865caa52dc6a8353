//! Row charts: a row for each case with a dot for each figure, the fastest on top, and the figures in columns at the right.

use super::{FLOOR, GRID, INK, MUTED, Outcome, PAGE, Plane, Scale, colour, dashed, line, role, sheet, short, write};
use crate::area::{Area, Body};
use crate::record::Record;
use crate::rivals::Role;
use crate::table::thousands;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: i32 = 900;
const ROW: i32 = 26;
const TOP: i32 = 112;
const NAMES: i32 = 236;
const COLUMN: i32 = 82;

struct Row {
    case: String,
    role: Role,
    /// A figure for each series, or its error.
    figures: Vec<Option<Result<f64, String>>>,
}

/// A drawn group of an area, with the name of its column.
type Series = ((u64, Body), String);

/// Returns the drawn groups. Of servers, those are the requests on several connections.
fn series(record: &Record, area: Area) -> Vec<Series> {
    let name = |n: u64, body: Body| match (area, n) {
        (Area::Echo, n) => {
            let size = if body == Body::Small { "64 B" } else { "16 KiB" };
            format!("{}×{size}", if n == 1000 { "1k".into() } else { n.to_string() })
        }
        (Area::Http, n) if n >= 1000 => format!("{}k conn.", n / 1000),
        (Area::Http, n) => format!("{n} conn."),
        (Area::Bridge, _) => body.word().to_string(),
        (Area::Spawn, 1) => "one by one".to_string(),
        (Area::Channel, 2) => "to and fro".to_string(),
        (Area::Channel, n) => format!("{n} to one"),
        (Area::Switch, _) => "median".to_string(),
        (_, n) => format!("{} tasks", thousands(n)).replace(",000,000 tasks", "M").replace(",000 tasks", "k"),
    };
    let drawn = |&(n, body): &(u64, Body)| match area {
        Area::Echo => n > 1 && matches!(body, Body::Small | Body::Large),
        Area::Bridge => matches!(body, Body::Pending | Body::Woken | Body::Made | Body::Answer),
        _ => body == Body::Plain,
    };
    record.groups(area).into_iter().filter(drawn).map(|(n, body)| ((n, body), name(n, body))).collect()
}

fn rows(record: &Record, area: Area, series: &[Series]) -> Vec<Row> {
    let mut cases: Vec<&str> = Vec::new();
    for line in record.lines.iter().filter(|line| line.area == area.word()) {
        if !cases.contains(&line.case.as_str()) {
            cases.push(&line.case);
        }
    }
    let row = |case: &str| {
        let figure = |((n, body), _): &Series| {
            let line = record.find(area, case, *n, *body)?;
            Some(line.median.ok_or_else(|| line.error.clone().unwrap_or_default()))
        };
        Row { case: case.into(), role: role(case), figures: series.iter().map(figure).collect() }
    };
    let mut rows: Vec<Row> = cases.into_iter().map(row).collect();
    rows.retain(|row| row.figures.iter().flatten().any(Result::is_ok));
    rows.sort_by(|a, b| a.least().total_cmp(&b.least()));
    rows
}

impl Row {
    fn measured(&self) -> impl Iterator<Item = f64> + Clone {
        self.figures.iter().filter_map(|figure| figure.as_ref()?.as_ref().ok().copied())
    }

    fn least(&self) -> f64 {
        self.measured().next().unwrap_or(f64::INFINITY)
    }
}

pub(super) fn draw(record: &Record, area: Area, text: &mut String) -> Outcome {
    let series = series(record, area);
    let rows = rows(record, area, &series);
    if rows.is_empty() {
        return Ok(());
    }
    let below = match area {
        Area::Memory => "further left is less; × failed before it held so many",
        Area::Echo | Area::Http => {
            "CPU time of the server; medians of interleaved rounds; further left is less, from line to line ten times"
        }
        _ => "medians of one interleaved run; further left is faster, from line to line ten times",
    };
    let height = TOP + ROW * rows.len() as i32 + 16;
    let title = format!("{}: {}", area.word(), area.operation());
    let plane = sheet(text, (WIDTH as u32, height as u32), &title, below)?;
    let columns = WIDTH - 8 - COLUMN * series.len() as i32;
    let all = rows.iter().flat_map(|row| row.measured());
    let scale = Scale::around(all.collect::<Vec<_>>().into_iter(), (NAMES + 12, columns - 8));
    let unit = area.unit(Body::Plain);
    for decade in decades(&scale, unit) {
        let x = scale.at(decade);
        line(&plane, (x, TOP - 8), (x, height - 14), GRID.0, 1)?;
        if x > columns - 30 {
            continue; // its figure would overlap the names of the columns
        }
        write(&plane, (x, TOP - 20), &short(decade, unit).replace(".0", ""), 13, MUTED.0, HPos::Center, false)?;
    }
    for (k, (_, name)) in series.iter().enumerate() {
        let x = columns + COLUMN * (k as i32 + 1);
        write(&plane, (x, TOP - 20), name, 13, MUTED.0, HPos::Right, false)?;
        if series.len() > 1 {
            mark(&plane, (x - 7 * name.chars().count() as i32 - 10, TOP - 20), k, MUTED.0)?;
        }
    }
    let floor = rows.iter().filter(|row| row.role == Role::Floor).map(Row::least).fold(f64::INFINITY, f64::min);
    if floor.is_finite() {
        dashed(&plane, (scale.at(floor), TOP - 8), (scale.at(floor), height - 14), FLOOR.0)?;
        write(&plane, (scale.at(floor), TOP - 36), "floor", 13, FLOOR.0, HPos::Center, false)?;
    }
    for (k, row) in rows.iter().enumerate() {
        let y = TOP + ROW * k as i32 + ROW / 2;
        draw_row(&plane, row, y, &scale, columns, unit)?;
    }
    plane.present()
}

/// Returns the grid values: powers of ten, or for bytes powers of four in KiB.
fn decades(scale: &Scale, unit: &str) -> Vec<f64> {
    if unit == "bytes" {
        let all = (2..20).map(|power| 4f64.powi(power));
        return all.filter(|value| (scale.values.0..=scale.values.1).contains(value)).collect();
    }
    scale.decades()
}

fn draw_row(plane: &Plane<'_>, row: &Row, y: i32, scale: &Scale, columns: i32, unit: &str) -> Outcome {
    let own = row.role == Role::Cede;
    let colour = colour(row.role);
    if own {
        let band = [(8, y - ROW / 2 + 1), (WIDTH - 4, y + ROW / 2 - 1)];
        plane.draw(&Rectangle::new(band, colour.mix(0.14).filled()))?;
    }
    let ink = if matches!(row.role, Role::Rival) { INK.0 } else { colour };
    write(plane, (NAMES, y), &row.case, 15, ink, HPos::Right, own)?;
    let last = row.measured().fold(0.0, f64::max);
    line(plane, (NAMES + 12, y), (scale.at(last), y), colour, if own { 4 } else { 2 })?;
    for (k, figure) in row.figures.iter().enumerate() {
        let x = columns + COLUMN * (k as i32 + 1);
        match figure {
            Some(Ok(value)) => {
                mark(plane, (scale.at(*value), y), k, colour)?;
                write(plane, (x, y), &short(*value, unit), 15, ink, HPos::Right, own)?;
            }
            Some(Err(_)) => write(plane, (x, y), "×", 17, ink, HPos::Right, false)?,
            None => {}
        }
    }
    Ok(())
}

/// Draws the mark of a series: a disc, a ring, a square or the outline of a square.
fn mark(plane: &Plane<'_>, at: (i32, i32), series: usize, colour: RGBColor) -> Outcome {
    match series {
        0 => plane.draw(&Circle::new(at, 6, colour.filled())),
        1 => {
            plane.draw(&Circle::new(at, 6, PAGE.0.filled()))?;
            plane.draw(&Circle::new(at, 6, colour.stroke_width(2)))
        }
        2 => plane.draw(&square(at, colour.filled())),
        _ => {
            plane.draw(&square(at, PAGE.0.filled()))?;
            plane.draw(&square(at, colour.stroke_width(2)))
        }
    }
}

fn square((x, y): (i32, i32), style: ShapeStyle) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x - 5, y - 5), (x + 5, y + 5)], style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_name_their_groups() {
        let lines = [(Area::Echo, 1, Some("64-B")), (Area::Echo, 1000, Some("16-KiB")), (Area::Echo, 50, Some("idle"))];
        let lines = lines.into_iter().chain([(Area::Http, 50, None), (Area::Memory, 10_000, None)]);
        let line = |(area, n, body): (Area, u64, Option<&str>)| crate::record::Line {
            area: area.word().into(),
            n,
            body: body.map(str::to_string),
            ..Default::default()
        };
        let record = Record { lines: lines.map(line).collect(), ..Record::default() };
        let names = |area| series(&record, area).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(Area::Echo), ["1k×16 KiB"]);
        assert_eq!((names(Area::Http), names(Area::Memory)), (vec!["50 conn.".to_string()], vec!["10k".to_string()]));
    }
}
