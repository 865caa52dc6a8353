//! The pages of the guide: each recipe of the cookbook is complete, and the programs of a page use each line of its tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The pages of a folder of the guide: the name of the module, and its docs.
fn pages(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide").join(folder);
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let docs = text.lines().filter_map(|line| line.strip_prefix("//!"));
        let docs: Vec<_> = docs.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        pages.push((path.file_stem().unwrap().to_str().unwrap().to_string(), docs.join("\n")));
    }
    pages.sort();
    pages
}

/// A part of a page: a heading, a paragraph, the lines of a table, or a program.
#[derive(Debug, PartialEq)]
enum Part {
    Heading(String),
    Paragraph(String),
    Table(Vec<String>),
    /// The visible lines of a code block that rustdoc runs, with single spaces between the words.
    Program(String),
}

fn parts(docs: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = docs.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let code: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let visible = code.iter().filter(|line| !line.trim_start().starts_with("# ") && line.trim() != "#");
            if line == "```" {
                parts.push(Part::Program(one_line(&visible.copied().collect::<Vec<_>>().join("\n"))));
            }
        } else if let Some(title) = line.strip_prefix("# ") {
            parts.push(Part::Heading(title.to_string()));
        } else if line.starts_with('|') {
            let mut rows = vec![line.to_string()];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row.to_string());
            }
            parts.push(Part::Table(rows));
        } else if !line.is_empty() {
            let mut text = vec![line];
            while let Some(line) = lines.next_if(|line| !line.is_empty() && !line.starts_with("```")) {
                text.push(line);
            }
            parts.push(Part::Paragraph(text.join(" ")));
        }
    }
    parts
}

/// Joins the words with single spaces.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The recipes of a page, and what is wrong with them.
fn recipes(docs: &str) -> (Vec<String>, Vec<String>) {
    let (mut titles, mut wrong) = (Vec::new(), Vec::new());
    let parts = parts(docs);
    for (at, part) in parts.iter().enumerate() {
        let Part::Heading(title) = part else { continue };
        titles.push(title.clone());
        let is_complete = match &parts[at + 1..] {
            [Part::Paragraph(when), Part::Program(code), Part::Paragraph(watch), rest @ ..] => {
                when.starts_with("*When:* ")
                    && code.contains("assert")
                    && watch.starts_with("*Watch for:* ")
                    && matches!(rest, [] | [Part::Heading(_), ..])
            }
            _ => false,
        };
        if !is_complete {
            wrong.push(title.clone());
        }
    }
    (titles, wrong)
}

/// The anchor that rustdoc makes of a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "- ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The texts in backticks.
fn code_spans(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|")).collect()
}

/// Whether the pieces of `expression`, between which `..` is for any code, occur in `code` in this order.
fn occurs(expression: &str, code: &str) -> bool {
    let expression = one_line(expression);
    let mut rest = code;
    expression.split("..").map(str::trim).filter(|piece| !piece.is_empty()).all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// The number of rows of a page's tables, and the expressions of their right columns that no program of the page has.
fn unused(docs: &str) -> (usize, Vec<String>) {
    let parts = parts(docs);
    let programs = parts.iter().filter_map(|part| if let Part::Program(code) = part { Some(code) } else { None });
    let programs: Vec<_> = programs.collect();
    let (mut count, mut unused) = (0, Vec::new());
    for part in &parts {
        let Part::Table(rows) = part else { continue };
        for row in &rows[2..] {
            count += 1;
            let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
            let spans = if let [_, right] = cells[..] { code_spans(right) } else { Vec::new() };
            if spans.is_empty() {
                unused.push(row.clone());
            }
            unused.extend(spans.into_iter().filter(|span| !programs.iter().any(|code| occurs(span, code))));
        }
    }
    (count, unused)
}

#[test]
fn each_recipe_has_its_parts() {
    let mut count = 0;
    for (name, docs) in pages("cookbook").iter().filter(|page| page.0 != "mod") {
        let (titles, wrong) = recipes(docs);
        assert_eq!(wrong, [""; 0], "in {name}: a recipe has *When:*, one program with an assert, and *Watch for:*");
        count += titles.len();
    }
    assert!(count >= 26, "{count} recipes");
}

#[test]
fn the_index_names_each_recipe() {
    let (mut linked, mut written) = (BTreeSet::new(), BTreeSet::new());
    for (name, docs) in pages("cookbook") {
        if name == "mod" {
            let targets = docs.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let targets = targets.map(|target| target.trim_start_matches("mod@").to_string());
            linked.extend(targets.filter(|target| target.contains('#')));
        } else {
            written.extend(recipes(&docs).0.iter().map(|title| format!("{name}#{}", anchor(title))));
        }
    }
    assert_eq!(linked, written);
}

#[test]
fn programs_use_each_line_of_the_tables() {
    for (name, docs) in pages("coming_from").iter().filter(|page| page.0 != "mod") {
        let (count, unused) = unused(docs);
        assert_eq!(unused, [""; 0], "in {name}: no program has this code of the table's right column");
        assert!(count >= 15, "{name} has {count} rows");
    }
}

#[test]
fn planted_faults_are_found() {
    let docs = "Page.\n\n| a | b |\n|---|---|\n| x | `f(\\|n\\| ..)`, `g(1)` |\n| y | words |\n| z | `hidden()` |\n\n\
                ```\nf(|n|\n  n + 1);\n# hidden();\n```\n```text\ng(1)\n```";
    let expected = ["g(1)", "| y | words |", "hidden()"].map(String::from);
    assert_eq!(unused(docs), (3, expected.to_vec()));
    assert!(occurs("a(..)?", "b a( 1 )?") && !occurs("a(..)?", ")? a("));

    let good = "# One\n\n*When:* now.\n\n```\nassert!(true);\n```\n\n*Watch for:* it.\n";
    let bad = ["*When:* now.\n", "assert!", "*Watch for:* "].map(|part| good.replace(part, "").replace("One", "Two"));
    let (titles, wrong) = recipes(&[good, &bad[0], &bad[1], &bad[2]].join("\n"));
    assert_eq!((titles.len(), wrong), (4, vec!["Two".to_string(); 3]));
    assert_eq!(anchor("Fan-out, and (fan-in)"), "fan-out-and-fan-in");
}
