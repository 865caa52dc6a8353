//! Circles of imports between the files of `src/`. `.ci/circles` prints them.
//!
//! An arrow goes from a file to each file whose items it names, by a `use` or by a path. A name that a module re-exports or
//! imports counts as the file that defines it. Test modules do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module by its path from the crate's root: `["task", "wait"]`.
type Module = Vec<String>;

/// The files of a library by the modules that they hold.
struct Library {
    files: BTreeMap<Module, String>,
    code: BTreeMap<Module, String>,
    /// What a module imports or re-exports: the name, and the path from the root.
    names: BTreeMap<Module, BTreeMap<String, Module>>,
}

/// The code of a file: without comments, contents of strings, and test modules.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    let all = lines.collect::<Vec<_>>().join("\n");
    let tests = all.find("#[cfg(test)]\nmod tests").or(all.find("#[cfg(all(test, debug_assertions))]\nmod tests"));
    all[..tests.unwrap_or(all.len())].to_string()
}

/// The leaves of a `use` tree: each path, and the name that it gets.
fn leaves(tree: &str, before: &[String], all: &mut Vec<(Module, String)>) {
    let tree = tree.trim();
    let mut path = before.to_vec();
    let (head, list) = match tree.split_once('{') {
        Some((head, list)) => (head, Some(list.trim_end().trim_end_matches('}'))),
        None => (tree, None),
    };
    let (head, alias) = match head.split_once(" as ") {
        Some((head, alias)) => (head, Some(alias.trim())),
        None => (head, None),
    };
    path.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(String::from));
    let Some(list) = list else {
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), String::from);
        all.push((path, name));
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[start..at].trim().is_empty() {
                    leaves(&list[start..at], &path, all);
                }
                start = (at + 1).min(list.len());
            }
            _ => {}
        }
    }
}

/// Every `use` of a file: whether it re-exports, and its leaves.
fn uses(code: &str) -> Vec<(bool, Vec<(Module, String)>)> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..at].trim();
        let is_use = before.is_empty() || before.starts_with("pub") && !before.contains(' ');
        let Some(end) = code[at..].find(';').filter(|_| is_use) else { continue };
        let mut found = Vec::new();
        leaves(&code[at + "use ".len()..at + end], &[], &mut found);
        all.push((!before.is_empty(), found));
    }
    all
}

impl Library {
    fn new(sources: &[(String, String)]) -> Library {
        let mut library = Library { files: BTreeMap::new(), code: BTreeMap::new(), names: BTreeMap::new() };
        for (path, text) in sources {
            let path_of = path.trim_end_matches(".rs");
            let mut module: Module = path_of.split('/').map(String::from).collect();
            module.retain(|part| part != "mod" && part != "lib");
            library.files.insert(module.clone(), path.clone());
            library.code.insert(module, code(text));
        }
        for (module, code) in &library.code {
            let names = library.names.entry(module.clone()).or_default();
            for (path, name) in uses(code).into_iter().flat_map(|(_, leaves)| leaves) {
                if let Some(path) = from_root(module, &path) {
                    names.insert(name, path);
                }
            }
        }
        library
    }

    /// The module whose file defines what `path`, from the root, names.
    fn definition(&self, path: &[String], depth: usize) -> Option<&Module> {
        let mut module = Module::new();
        for (at, part) in path.iter().enumerate() {
            let mut child = module.clone();
            child.push(part.clone());
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            // An item of this module, or a name for one of another.
            return match self.names.get(&module).and_then(|names| names.get(part)) {
                Some(target) if depth < 8 && *target != path[..=at] => {
                    let rest = path[at + 1..].iter();
                    self.definition(&target.iter().chain(rest).cloned().collect::<Vec<_>>(), depth + 1)
                }
                _ => self.files.get_key_value(&module).map(|(module, _)| module),
            };
        }
        self.files.get_key_value(&module).map(|(module, _)| module)
    }

    /// Paths that begin with the name of a child module, without `self::`.
    fn child_paths(&self, module: &Module, code: &str) -> Vec<Module> {
        let children =
            self.files.keys().filter(|child| child.split_last().is_some_and(|(_, head)| head == &module[..]));
        let mut paths = Vec::new();
        for child in children {
            let name = child.last().expect("a child has a name");
            for (at, _) in code.match_indices(&format!("{name}::")) {
                // In the root a `use` begins with such a path: `names` has it.
                if !module.is_empty() && !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)) {
                    let rest = code[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c));
                    let path: String = rest.collect();
                    let parts = path.trim_end_matches(':').split("::").map(String::from);
                    paths.push(["self".to_string()].into_iter().chain(parts).collect());
                }
            }
        }
        paths
    }

    /// The arrows of each file to others.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let mut arrows: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
        for (module, code) in &self.code {
            let mut paths: Vec<Module> = Vec::new();
            for (is_export, leaves) in uses(code) {
                // A facade re-exports, and needs nothing of it.
                paths.extend(leaves.into_iter().filter(|_| !is_export).map(|(path, _)| path));
            }
            paths.extend(inline_paths(code));
            paths.extend(self.child_paths(module, code));
            let to = paths.iter().filter_map(|path| self.definition(&from_root(module, path)?, 0));
            let to = to.filter(|to| *to != module && !to.is_empty()).collect();
            arrows.insert(module, to);
        }
        arrows
    }

    /// The strongly connected components of more than one file, as paths, the largest first.
    fn circles(&self) -> Vec<Vec<String>> {
        let arrows = self.arrows();
        let reach = |from: &Module| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(at) = next.pop() {
                for to in &arrows[&at] {
                    if seen.insert((*to).clone()) {
                        next.push((*to).clone());
                    }
                }
            }
            seen
        };
        let reach: BTreeMap<&Module, _> = arrows.keys().map(|module| (*module, reach(module))).collect();
        let mut circles = BTreeSet::new();
        for (module, to) in &reach {
            let circle: Vec<_> = to.iter().filter(|other| reach[other].contains(*module)).cloned().collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        let path = |module: &Module| self.files[module].clone();
        let mut circles: Vec<Vec<String>> = circles.iter().map(|circle| circle.iter().map(path).collect()).collect();
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    /// The arrows inside of a circle, as text.
    fn inside(&self, circle: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        for (from, to) in self.arrows() {
            for to in to {
                let (from, to) = (&self.files[from], &self.files[to]);
                if circle.contains(from) && circle.contains(to) {
                    all.push(format!("{from} -> {to}"));
                }
            }
        }
        all
    }
}

/// A path from the root, for one that a module names; `None` if it leads out of the crate.
fn from_root(module: &Module, path: &[String]) -> Option<Module> {
    let mut at = module.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            at = Module::new();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                at.pop()?;
                rest = &rest[1..];
            }
        }
        // In the root's own `pub use` a module's name comes first.
        _ if module.is_empty() => {}
        _ => return None,
    }
    at.extend(rest.iter().cloned());
    Some(at)
}

/// Paths outside of `use`: `crate::a::b`, `super::c`.
fn inline_paths(code: &str) -> Vec<Module> {
    let mut paths = Vec::new();
    for head in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(head) {
            let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
            let is_use = code[line..at].split_whitespace().any(|word| word == "use");
            if is_use || code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)) {
                continue;
            }
            let path: String =
                code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            // The head of a list, or of a macro, which is the root's.
            if path.ends_with(':') || code[at + path.len()..].starts_with('!') {
                continue;
            }
            paths.push(path.split("::").map(String::from).collect());
        }
    }
    paths
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    all.sort();
    all
}

#[test]
fn imports_form_no_circles() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = files(&src).into_iter().map(|path| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
        (name, fs::read_to_string(&path).unwrap())
    });
    let library = Library::new(&sources.collect::<Vec<_>>());
    let circles = library.circles();
    for circle in &circles {
        let arrows = library.inside(circle);
        println!("{} files, {} arrows: {}", circle.len(), arrows.len(), circle.join(", "));
        arrows.iter().for_each(|arrow| println!("    {arrow}"));
    }
    println!("{} circles", circles.len());
    assert!(circles.is_empty(), "files import each other: {circles:#?}");
}

#[test]
fn a_planted_circle_is_found_through_a_facade() {
    let file = |path: &str, text: &str| (path.to_string(), text.to_string());
    let mut sources = vec![
        file("lib.rs", "mod a;\nmod b;\npub use a::{x::One, y};\n"),
        file("a/mod.rs", "mod x;\nmod y;\npub use self::x::One;\nuse self::y::{two, three as four};\n"),
        file("a/x.rs", "use crate::b::{self, Three};\nfn f() { super::four(); } // crate::a::z\n"),
        file("a/y.rs", "use std::fmt::{self, Debug};\npub fn two() { $crate::a::x::One; }\n"),
        file("b.rs", "pub struct Three;\n#[cfg(test)]\nmod tests {\n    use crate::One;\n}\n"),
    ];
    assert_eq!(Library::new(&sources).circles(), [[""; 0]; 0]);
    sources[4].1.insert_str(0, "use crate::One;\n");
    assert_eq!(Library::new(&sources).circles(), [["a/x.rs", "b.rs"]]);
    sources[3].1.push_str("use super::{One as Uno, inner};\n");
    let library = Library::new(&sources);
    assert_eq!(library.circles(), [vec!["a/mod.rs", "a/x.rs", "a/y.rs", "b.rs"]]);
    assert!(library.inside(&library.circles()[0]).contains(&"a/x.rs -> a/y.rs".to_string()));
    // A path from a head to its own file needs no `self::`.
    let sources = [
        file("lib.rs", "mod a;\n"),
        file("a/mod.rs", "mod x;\nfn f() { x::g() }\n"),
        file("a/x.rs", "fn g() { super::f() }\n"),
    ];
    assert_eq!(Library::new(&sources).circles(), [["a/mod.rs", "a/x.rs"]]);
}
