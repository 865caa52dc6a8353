//! Line charts: a curve for each case over the number of tasks.

use super::{CEDE, FLOOR, GRID, INK, MUTED, Outcome, Plane, RIVAL, Scale, THREADS, line, role, sheet, short, write};
use crate::area::{Area, Body};
use crate::record::Record;
use crate::rivals::Role;
use crate::table::thousands;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const SIZE: (i32, i32) = (900, 560);
const PLOT: ((i32, i32), (i32, i32)) = ((70, 84), (640, 510));
/// The smallest vertical distance between two names at the right.
const APART: i32 = 21;

struct Curve {
    case: String,
    role: Role,
    points: Vec<(f64, f64)>,
}

fn curves(record: &Record) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for line in record.lines.iter().filter(|line| line.area == Area::Yield.word()) {
        let touching = line.body.as_deref() == Some(Body::Stack.word());
        let Some(median) = line.median.filter(|_| touching) else { continue };
        let point = (line.n as f64, median);
        match curves.iter_mut().find(|curve| curve.case == line.case) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { case: line.case.clone(), role: role(&line.case), points: vec![point] }),
        }
    }
    curves
}

pub(super) fn draw(record: &Record, text: &mut String) -> Outcome {
    let curves = curves(record);
    let points = curves.iter().flat_map(|curve| curve.points.iter().copied()).collect::<Vec<_>>();
    if points.is_empty() {
        return Ok(());
    }
    let below = "nanoseconds, over the number of tasks; each touches its stack; medians of one interleaved run; lower is faster";
    let plane = sheet(text, (SIZE.0 as u32, SIZE.1 as u32), "yield: one turn of one of N tasks", below)?;
    let ((left, top), (right, bottom)) = PLOT;
    let across =
        Scale { values: (2.0, points.iter().map(|point| point.0).fold(100.0, f64::max)), pixels: (left + 12, right) };
    let up = Scale::around(points.iter().map(|point| point.1), (bottom, top));
    for decade in up.decades() {
        line(&plane, (left, up.at(decade)), (right, up.at(decade)), GRID.0, 1)?;
        write(
            &plane,
            (left - 8, up.at(decade)),
            &short(decade, "ns").replace(".0", ""),
            14,
            MUTED.0,
            HPos::Right,
            false,
        )?;
    }
    let mut counts: Vec<u64> = points.iter().map(|point| point.0 as u64).collect();
    counts.sort_unstable();
    counts.dedup();
    for n in counts {
        let x = across.at(n as f64);
        line(&plane, (x, top), (x, bottom), GRID.0, 1)?;
        write(&plane, (x, bottom + 20), &thousands(n), 14, MUTED.0, HPos::Center, false)?;
    }
    // cede is drawn last, on top of all other curves.
    let (own, others): (Vec<&Curve>, Vec<&Curve>) = curves.iter().partition(|curve| curve.role == Role::Cede);
    for curve in others.iter().chain(&own) {
        draw_curve(&plane, curve, &across, &up)?;
    }
    name_all(&plane, &curves, &across, &up)?;
    plane.present()
}

fn style(role: Role) -> (RGBColor, u32) {
    match role {
        Role::Cede | Role::Variant => (CEDE.0, 5),
        Role::Floor | Role::Raw => (FLOOR.0, 2),
        Role::Rival => (RIVAL.0, 2),
        Role::Threads => (THREADS.0, 2),
    }
}

fn draw_curve(plane: &Plane<'_>, curve: &Curve, across: &Scale, up: &Scale) -> Outcome {
    let (colour, width) = style(curve.role);
    let points: Vec<_> = curve.points.iter().map(|(n, nanos)| (across.at(*n), up.at(*nanos))).collect();
    for pair in points.windows(2) {
        match curve.role {
            Role::Floor => dash(plane, pair[0], pair[1], colour)?,
            _ => line(plane, pair[0], pair[1], colour, width)?,
        }
    }
    points.iter().try_for_each(|at| plane.draw(&Circle::new(*at, if width > 2 { 6 } else { 4 }, colour.filled())))
}

/// Draws a dashed slanted line.
fn dash(plane: &Plane<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Outcome {
    let length = f64::from(to.0 - from.0).hypot(f64::from(to.1 - from.1));
    let at = |part: f64| {
        let part = (part / length).min(1.0);
        let place = |from: i32, to: i32| from + (f64::from(to - from) * part).round() as i32;
        (place(from.0, to.0), place(from.1, to.1))
    };
    let pieces = (length / 9.0) as i32;
    (0..=pieces).map(f64::from).try_for_each(|k| line(plane, at(k * 9.0), at(k * 9.0 + 5.0), colour, 2))
}

/// Writes the names at the right, in the order of the last figures, each with a thin line to the end of its curve. Names that
/// would overlap are moved apart.
fn name_all(plane: &Plane<'_>, curves: &[Curve], across: &Scale, up: &Scale) -> Outcome {
    let right = PLOT.1.0;
    let mut named: Vec<(&Curve, (i32, i32), f64)> = curves
        .iter()
        .filter_map(|curve| curve.points.last().map(|(n, nanos)| (curve, (across.at(*n), up.at(*nanos)), *nanos)))
        .collect();
    named.sort_by_key(|(_, end, _)| end.1);
    let heights = spread(&named.iter().map(|(_, end, _)| end.1).collect::<Vec<_>>(), (PLOT.0.1 - 8, SIZE.1 - 16));
    for ((curve, end, nanos), y) in named.into_iter().zip(heights) {
        let (colour, _) = style(curve.role);
        line(plane, (end.0 + 9, end.1), (right + 28, y), GRID.0, 1)?;
        let ink = if curve.role == Role::Rival { INK.0 } else { colour };
        let text = format!("{} {}", curve.case, short(nanos, "ns"));
        write(plane, (right + 32, y), &text, 15, ink, HPos::Left, curve.role == Role::Cede)?;
    }
    Ok(())
}

/// Returns heights in the same order, at least `APART` from one another and within the bounds, each as near as possible to the
/// wanted height. Overlapping names are moved as a block, to the average of the places that its members want.
fn spread(wanted: &[i32], bounds: (i32, i32)) -> Vec<i32> {
    // A block: the sum of the places that its members want for the first member, and the number of members.
    let mut blocks: Vec<(i32, i32)> = Vec::new();
    let place = |(sum, members): (i32, i32)| {
        let height = (members - 1) * APART;
        (sum / members).min(bounds.1 - height).max(bounds.0)
    };
    for &height in wanted {
        let mut block = (height, 1);
        while let Some(&above) = blocks.last().filter(|above| place(**above) + above.1 * APART > place(block)) {
            blocks.pop();
            block = (above.0 + block.0 - block.1 * above.1 * APART, above.1 + block.1);
        }
        blocks.push(block);
    }
    blocks.into_iter().flat_map(|block| (0..block.1).map(move |k| place(block) + k * APART)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap_and_stay_in_order() {
        let heights = spread(&[100, 101, 102, 300, 498, 499], (50, 500));
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{heights:?}");
        assert!(*heights.last().unwrap() <= 500 && heights[3] == 300, "{heights:?}");
    }
}
