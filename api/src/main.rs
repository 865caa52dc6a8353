//! Writes the public items of cede as text, a line for each, so that a change of the interface shows in a review.
//!
//! cargo run -p cede-api -- [--renew]
//!
//! Compares docs/api.txt with the items of the source, with all features but `asan`, and prints each line that differs. With `--renew`, writes
//! the file. The format of rustdoc's description is unstable, so a newer compiler may need a newer version of the crate public-api.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// Parts of lines on traits that the compiler implements and that no user of the crate names.
const LEFT_OUT: [&str; 5] = [
    "core::marker::Freeze for",
    "core::marker::Unpin for",
    "core::marker::UnsafeUnpin for",
    "core::panic::unwind_safe::RefUnwindSafe for",
    "core::panic::unwind_safe::UnwindSafe for",
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    let file = root.join("docs/api.txt");
    let items = items(&describe(root));
    if env::args().nth(1).as_deref() == Some("--renew") {
        fs::write(&file, items).expect("docs/api.txt can be written");
        return ExitCode::SUCCESS;
    }
    let old = fs::read_to_string(&file).expect("docs/api.txt can be read");
    let (lines, old): (BTreeSet<_>, BTreeSet<_>) = (items.lines().collect(), old.lines().collect());
    old.difference(&lines).for_each(|line| println!("- {line}"));
    lines.difference(&old).for_each(|line| println!("+ {line}"));
    if lines == old {
        println!("docs/api.txt has all {} lines", lines.len());
        return ExitCode::SUCCESS;
    }
    println!("the public items differ from docs/api.txt: cargo run -p cede-api -- --renew");
    ExitCode::FAILURE
}

/// Makes rustdoc's description of the crate. Returns its path.
fn describe(root: &Path) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir)).join("api");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["rustdoc", "--quiet", "--package", "cede", "--lib", "--features", "stream,tokio,futures-io,tracing"])
        .args(["--", "-Zunstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(root)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "rustdoc failed");
    target.join("doc/cede.json")
}

/// Returns the public items, a line for each.
fn items(description: &Path) -> String {
    let items = public_api::Builder::from_rustdoc_json(description)
        .omit_blanket_impls(true)
        .build()
        .expect("the crate public-api fits the format of this compiler");
    let lines = items.items().map(ToString::to_string);
    // A set: an item that is reexported comes once for each place.
    let kept: BTreeSet<_> = lines.filter(|line| !LEFT_OUT.iter().any(|part| line.contains(part))).collect();
    kept.iter().fold(String::new(), |text, line| text + line + "\n")
}
