//! Charts: an SVG picture for each area, with slow cases at the right or at the top of a logarithmic scale.
//!
//! The elements have the colours of a light page. A style sheet at the head of the file replaces them if the reader prefers dark
//! pages. The background is part of the picture, so that it is readable on any page.

mod lines;
mod rows;

use crate::area::Area;
use crate::record::Record;
use crate::rivals::{self, Role};
use crate::table::digits;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::{Path, PathBuf};

/// The drawing area.
type Plane<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Outcome = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The colours on a light page and on a dark page.
const PAGE: (RGBColor, &str) = (RGBColor(254, 254, 254), "#0d1117");
const INK: (RGBColor, &str) = (RGBColor(31, 35, 40), "#e6edf3");
const MUTED: (RGBColor, &str) = (RGBColor(89, 99, 110), "#9198a1");
const GRID: (RGBColor, &str) = (RGBColor(225, 228, 232), "#262c36");
const CEDE: (RGBColor, &str) = (RGBColor(0, 105, 200), "#58a6ff");
const RIVAL: (RGBColor, &str) = (RGBColor(125, 134, 145), "#848d97");
const THREADS: (RGBColor, &str) = (RGBColor(188, 76, 0), "#f0883e");
const FLOOR: (RGBColor, &str) = (RGBColor(26, 127, 55), "#3fb950");

fn colour(role: Role) -> RGBColor {
    match role {
        Role::Cede | Role::Variant => CEDE.0,
        Role::Floor | Role::Raw => FLOOR.0,
        Role::Rival => RIVAL.0,
        Role::Threads => THREADS.0,
    }
}

fn role(case: &str) -> Role {
    rivals::all().into_iter().find(|rival| rival.name == case).map_or(Role::Rival, |rival| rival.role)
}

/// Draws the pictures of all measured areas. If `path` ends in `.svg`, it is a file, and with several areas the name of each area
/// is added to it. Otherwise it is a directory.
pub(crate) fn draw(record: &Record, path: &Path) -> Result<Vec<PathBuf>, String> {
    let areas: Vec<Area> = record.areas().into_iter().filter(|area| record.has_figures(*area)).collect();
    let mut drawn = Vec::new();
    for &area in &areas {
        let file = file(path, area, areas.len());
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let text = picture(record, area).map_err(|error| format!("{area}: {error}"))?;
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        drawn.push(file);
    }
    Ok(drawn)
}

fn file(path: &Path, area: Area, areas: usize) -> PathBuf {
    match path.to_str().and_then(|path| path.strip_suffix(".svg")) {
        Some(_) if areas == 1 => path.into(),
        Some(stem) => format!("{stem}-{area}.svg").into(),
        None => path.join(format!("{area}.svg")),
    }
}

fn picture(record: &Record, area: Area) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    let mut text = String::new();
    match area {
        Area::Yield => lines::draw(record, &mut text)?,
        _ => rows::draw(record, area, &mut text)?,
    }
    Ok(for_both_pages(&text))
}

fn for_both_pages(svg: &str) -> String {
    let mut style = String::from("<style>text{font-family:-apple-system,\"Segoe UI\",Helvetica,Arial,sans-serif}");
    style.push_str("@media(prefers-color-scheme:dark){");
    for (RGBColor(red, green, blue), dark) in [PAGE, INK, MUTED, GRID, CEDE, RIVAL, THREADS, FLOOR] {
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        style.push_str(&format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}"));
    }
    style.push_str("}</style>\n");
    match svg.find('>') {
        Some(end) => format!("{}\n{style}{}", &svg[..=end], svg[end + 1..].trim_start()),
        None => svg.to_string(),
    }
}

/// A logarithmic scale.
#[derive(Clone, Copy, Debug)]
struct Scale {
    values: (f64, f64),
    pixels: (i32, i32),
}

impl Scale {
    /// Creates a scale from the power of ten, or half of one, below the smallest value to that above the largest.
    fn around(values: impl Iterator<Item = f64> + Clone, pixels: (i32, i32)) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        let half = |value: f64, up: bool| {
            let places = value.log10() * 2.0;
            10f64.powf(if up { (places + 0.1).ceil() } else { (places - 0.1).floor() } / 2.0)
        };
        Scale { values: (half(least, false), half(most, true)), pixels }
    }

    fn at(&self, value: f64) -> i32 {
        let part = (value / self.values.0).ln() / (self.values.1 / self.values.0).ln();
        self.pixels.0 + (part * f64::from(self.pixels.1 - self.pixels.0)).round() as i32
    }

    /// Returns the powers of ten on the scale.
    fn decades(&self) -> Vec<f64> {
        let all = (-3..10).map(|power| 10f64.powi(power));
        all.filter(|value| (self.values.0..=self.values.1).contains(value)).collect()
    }
}

/// Draws the background, the title and the line below the title.
fn sheet<'a>(
    text: &'a mut String,
    size: (u32, u32),
    title: &str,
    below: &str,
) -> Result<Plane<'a>, DrawingAreaErrorKind<std::io::Error>> {
    let plane = SVGBackend::with_string(text, size).into_drawing_area();
    plane.fill(&PAGE.0)?;
    write(&plane, (16, 26), title, 20, INK.0, HPos::Left, true)?;
    write(&plane, (16, 50), below, 14, MUTED.0, HPos::Left, false)?;
    Ok(plane)
}

/// Writes text, vertically centred at this height.
fn write(
    plane: &Plane<'_>,
    at: (i32, i32),
    text: &str,
    size: u32,
    colour: RGBColor,
    side: HPos,
    bold: bool,
) -> Outcome {
    let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size), weight);
    let style = font.color(&colour).pos(Pos::new(side, VPos::Center));
    plane.draw(&Text::new(text.to_string(), at, style))
}

fn line(plane: &Plane<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor, width: u32) -> Outcome {
    plane.draw(&PathElement::new([from, to], colour.stroke_width(width)))
}

fn dashed(plane: &Plane<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Outcome {
    let (length, steps) = (((to.0 - from.0).abs() + (to.1 - from.1).abs()), 9);
    let at = |part: i32| {
        let place = |from: i32, to: i32| from + (to - from) * part.min(length) / length.max(1);
        (place(from.0, to.0), place(from.1, to.1))
    };
    (0..length).step_by(steps).try_for_each(|part| line(plane, at(part), at(part + 5), colour, 2))
}

/// Formats a figure briefly enough for a picture: `4.2 KiB`, `1.2 µs`.
fn short(value: f64, unit: &str) -> String {
    let (step, names) = if unit == "bytes" { (1024.0, ["B", "KiB", "MiB"]) } else { (1000.0, ["ns", "µs", "ms"]) };
    let power = (0..2).take_while(|power| value >= 0.9995 * f64::powi(step, power + 1)).count();
    let figure = value / f64::powi(step, power as i32);
    let figure = if figure < 9.95 { format!("{figure:.1}") } else { digits(figure.round()).replace(".0", "") };
    format!("{figure} {}", names[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_their_areas() {
        let name = |path: &str, areas| file(Path::new(path), Area::Yield, areas);
        assert_eq!(name("a/one.svg", 1), Path::new("a/one.svg"));
        assert_eq!(name("a/run.svg", 2), Path::new("a/run-yield.svg"));
        assert_eq!(name("docs", 5), Path::new("docs/yield.svg"));
    }

    #[test]
    fn tenfold_is_always_as_far() {
        let scale = Scale::around([2.0, 5000.0].into_iter(), (0, 400));
        assert_eq!(scale.decades(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(scale.at(100.0) - scale.at(10.0), scale.at(1000.0) - scale.at(100.0));
        assert!(scale.at(2.0) > 0 && scale.at(5000.0) < 400);
    }

    #[test]
    fn figures_in_pictures_are_short() {
        assert_eq!(
            [2.213, 36.04, 999.7, 1460.0].map(|nanos| short(nanos, "ns")),
            ["2.2 ns", "36 ns", "1.0 µs", "1.5 µs"]
        );
        assert_eq!(short(4301.0, "bytes"), "4.2 KiB");
    }

    #[test]
    fn every_colour_is_exchanged_on_dark_pages() {
        let svg = for_both_pages("<svg width=\"1\">\n<rect fill=\"#FEFEFE\"/></svg>");
        assert!(svg.starts_with("<svg width=\"1\">\n<style>"), "{svg}");
        assert!(svg.contains("[fill=\"#0069C8\"]{fill:#58a6ff}"), "{svg}");
    }
}
