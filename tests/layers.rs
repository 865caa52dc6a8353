//! Each module uses only lower layers, in the order of `src/lib.rs`, and `unsafe` has known homes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the library in layer order, read from `src/lib.rs`: the `mod` lines are the list.
fn layers(lib: &str) -> Vec<String> {
    let lines = lib.lines().map(|line| line.trim_start_matches("pub ").trim_start_matches("(crate) "));
    lines.filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_string())).collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(sources(&path)) } else { files.push(path) }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// The code of a file: without comments and docs.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::name` in the code, also inside `crate::{a, b::c}`; names re-exported at the root count as the module that
/// `home` says they come from.
fn uses<'a>(code: &'a str, home: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest: &'a str = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or("").split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for name in names {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            // A macro is at the root of the crate, wherever it is defined.
            if name[end..].starts_with("!(") {
                continue;
            }
            let name = name[..end].to_string();
            found.push(home.get(&name).cloned().unwrap_or(name));
        }
    }
    found
}

/// Which names the root re-exports, and from which module.
fn homes(lib: &str) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for statement in code(lib).split(';') {
        let Some(path) = statement.trim().strip_prefix("pub use ") else { continue };
        let (module, names) = path.split_once("::").unwrap();
        for name in names.trim_matches(['{', '}']).split(',') {
            homes.insert(name.trim().trim_start_matches('{').to_string(), module.to_string());
        }
    }
    homes
}

/// The blocking modules: they wait through `wait`, and never name the scheduler. Includes the ones that are planned.
const BLOCKING: &[&str] = &["sync", "time", "io", "net", "fs", "process", "signal", "blocking", "bridge"];

/// Returns each violation of the order as text.
fn violations(lib: &str, files: &[(String, String)]) -> Vec<String> {
    let (layers, homes) = (layers(lib), homes(lib));
    let place = |module: &str| layers.iter().position(|layer| layer == module);
    let mut wrong = Vec::new();
    for (path, text) in files {
        // A test may use what is higher.
        if path.ends_with("_tests.rs") {
            continue;
        }
        let own = path.split(['/', '.']).next().unwrap().to_string();
        let Some(here) = place(&own) else {
            if own != "lib" {
                wrong.push(format!("{path} is in no layer"));
            }
            continue;
        };
        for used in uses(&code(text), &homes) {
            if used == "scheduler" && BLOCKING.contains(&own.as_str()) {
                wrong.push(format!("{path} uses scheduler, and must use wait"));
            }
            match place(&used) {
                Some(there) if there > here => wrong.push(format!("{path} uses {used}, which is a higher layer")),
                Some(_) => {}
                None => wrong.push(format!("{path} uses crate::{used}, which is in no layer")),
            }
        }
    }
    wrong
}

fn library() -> (String, Vec<(String, String)>) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src).into_iter().map(|path| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
        (name, fs::read_to_string(&path).unwrap())
    });
    (fs::read_to_string(src.join("lib.rs")).unwrap(), files.collect())
}

#[test]
fn modules_use_only_lower_layers() {
    let (lib, files) = library();
    assert!(layers(&lib).len() >= 5, "the list in lib.rs was read: {:?}", layers(&lib));
    assert_eq!(violations(&lib, &files), [""; 0]);
}

#[test]
fn a_planted_violation_is_found() {
    let (lib, mut files) = library();
    files.push(("stack/planted.rs".into(), "use crate::{suspend_check::x, generator::Generator};".into()));
    files.push(("suspend_check.rs".into(), "fn f() { crate::Sink::new }".into()));
    files.push(("sync/planted.rs".into(), "use crate::{wait::WaitSpec, scheduler};".into()));
    assert_eq!(
        violations(&lib, &files),
        [
            "stack/planted.rs uses suspend_check, which is a higher layer",
            "stack/planted.rs uses generator, which is a higher layer",
            "suspend_check.rs uses pipeline, which is a higher layer",
            "sync/planted.rs uses scheduler, and must use wait"
        ]
    );
}

#[test]
fn unsafe_code_has_known_homes() {
    let homes = [
        "sys/",
        "reactor/epoll.rs",
        "reactor/provided.rs",
        "reactor/uring.rs",
        "io/known.rs",
        "io/operation.rs",
        "net/raw_fd.rs",
        "net/sys.rs",
        "net/sys_batch.rs",
        "process/pre_exec.rs",
        "wait/lock.rs",
        "stack/",
        "coroutine/",
        "scheduler/",
        "task/",
        "blocking/call.rs",
        "bridge/fiber.rs",
        "bridge/mod.rs",
        "sync/mutex.rs",
        "sync/rwlock.rs",
        "observe/memory.rs",
        "observe/sampler.rs",
        "observe/spans.rs",
        "observe/descriptor.rs",
    ];
    let (_, files) = library();
    for (path, text) in &files {
        let at_home = homes.iter().any(|home| path.starts_with(home));
        // The head of a directory forbids it for the whole directory.
        let heads = path.match_indices('/').map(|(at, _)| format!("{}/mod.rs", &path[..at]));
        let forbids =
            |path: &str| files.iter().any(|(name, text)| name == path && text.contains("\n#![forbid(unsafe_code)]\n"));
        let trivial = !text.contains("fn ") && !text.contains("unsafe");
        assert!(
            at_home || forbids(path) || heads.into_iter().any(|head| forbids(&head)) || trivial,
            "{path} must say #![forbid(unsafe_code)], or be named as a home of unsafe code"
        );
    }
}

#[test]
fn files_stay_small_enough_to_hold_one_idea() {
    for (path, text) in library().1 {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//")).count();
        assert!(lines <= 400, "src/{path} has {lines} lines of code: is it still one idea?");
    }
}
