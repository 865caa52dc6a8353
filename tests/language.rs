//! The language of the library's text: banned words and idioms, openings of docs, lengths of test names.
//!
//! None of them is allowed. When you catch a new idiom, add it to the list.

use std::fs;
use std::path::{Path, PathBuf};

/// Pronouns without a subject (the subject is the waiter, the sender, the task), as sequences of words.
const PRONOUNS: &[&str] = &[
    "whoever",
    "whomever",
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    "no one",
    "someone",
    "anyone",
    "everyone",
    "those who",
    "those that",
    "one who",
    "the one that",
    "others",
];

/// Idioms, with their inflections.
#[rustfmt::skip]
const IDIOMS: &[&str] = &[
    "lie", "lies", "lay", "lying", "stand", "stands", "stood", "standing", "go down", "goes down", "going down", "went down",
    "come by", "comes by", "coming by", "came by", "get on", "gets on", "getting on", "got on", "for ever", "all the same",
    "in vain", "under the feet", "came to", "comes to", "is told", "are told", "was told", "was handed", "is to be", "are to be",
    "to be had", "from then on", "as it were", "has to do with", "have to do with", "now and then", "for good",
];

/// Words that no doc opens with: a first sentence is a verb in the third person or a noun phrase.
const OPENINGS: &[&str] =
    &["Who", "Whom", "Whose", "Whoever", "What", "Where", "How", "Those", "One", "It", "This", "That"];

/// The longest name of a test.
const NAME: usize = 60;

/// A place in a file, with what was found there.
#[derive(Debug, PartialEq)]
struct Hit {
    path: String,
    line: usize,
    what: String,
}

impl std::fmt::Display for Hit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A word with its line. Punctuation that ends a phrase is a word of its own.
type Words = Vec<(usize, String)>;

/// Adds the words of `text`, which begins at `line`, in lower case.
fn add_words(words: &mut Words, mut line: usize, text: &str) {
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_alphanumeric() || c == '\'' && !word.is_empty() {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            words.push((line, std::mem::take(&mut word).trim_end_matches("'s").trim_end_matches('\'').to_string()));
        }
        if ".,;:!?()`|".contains(c) {
            words.push((line, c.to_string()));
        }
        line += usize::from(c == '\n');
    }
}

/// The comments, docs and string literals of Rust code, and the names of its tests.
fn prose(code: &str) -> Words {
    let mut words = Words::new();
    let (mut rest, mut line, mut is_first) = (code, 1, true);
    while !rest.is_empty() {
        let (len, text) = literal(rest, is_first);
        match text {
            Some(text) => {
                add_words(&mut words, line, text);
                // Comments of lines in sequence are one text. A literal is one alone.
                if !rest.starts_with("//") {
                    words.push((line, ".".into()));
                }
            }
            // Code between two comments ends a phrase.
            None if !rest.starts_with(char::is_whitespace) && words.last().is_some_and(|word| word.1 != ".") => {
                words.push((line, ".".into()));
            }
            None => {}
        }
        is_first = !rest[..len].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    for (line, name) in test_names(code) {
        words.push((line, ".".into()));
        add_words(&mut words, line, &name.replace('_', " "));
    }
    words
}

/// The length of the token at the head of `code`, and its text if it is a comment or a string literal. `is_first`: it does
/// not continue a name.
fn literal(code: &str, is_first: bool) -> (usize, Option<&str>) {
    if code.starts_with("//") {
        let end = code.find('\n').unwrap_or(code.len());
        return (end, Some(code[..end].trim_start_matches('/').trim_start_matches('!')));
    }
    let raw = code.strip_prefix('b').unwrap_or(code).strip_prefix('r').filter(|_| is_first);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(text) = raw[hashes..].strip_prefix('"') {
            let end = text.find(&format!("\"{}", "#".repeat(hashes))).unwrap_or(text.len());
            return (code.len() - text.len() + (end + 1 + hashes).min(text.len()), Some(&text[..end]));
        }
    }
    if let Some(text) = code.strip_prefix('"') {
        let mut escaped = false;
        let end = text.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.unwrap_or(text.len());
        return ((end + 2).min(code.len()), Some(&text[..end]));
    }
    if let Some(character) = code.strip_prefix('\'') {
        // A lifetime has no second quote so near.
        let escaped = character.starts_with('\\');
        let end = code.char_indices().skip(if escaped { 3 } else { 2 }).find(|(_, c)| *c == '\'' || !escaped);
        if let Some((at, '\'')) = end {
            return (at + 1, None);
        }
    }
    (code.chars().next().map_or(1, char::len_utf8), None)
}

/// The names of tests with their lines.
fn test_names(code: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut is_test = false;
    for (number, line) in (1..).zip(code.lines().map(str::trim)) {
        is_test |= line == "#[test]";
        if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            names.push((number, name[..end].to_string()));
            is_test = false;
        }
    }
    names
}

/// Where one of these phrases is.
fn phrases(path: &str, words: &Words, banned: &[&str]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for at in 0..words.len() {
        for phrase in banned {
            let parts = phrase.split(' ');
            let mut found = words[at..].iter().map(|(_, word)| word.as_str());
            if parts.clone().all(|part| found.next() == Some(part)) {
                hits.push(Hit { path: path.into(), line: words[at].0, what: (*phrase).into() });
            }
        }
    }
    hits
}

/// Docs that open with a banned word.
fn openings(path: &str, code: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut before = "";
    for (number, line) in (1..).zip(code.lines().map(str::trim)) {
        let doc = line.strip_prefix("///").or(line.strip_prefix("//!"));
        let is_inside = before.starts_with("///") || before.starts_with("//!");
        if let Some(doc) = doc.filter(|_| !is_inside) {
            let first = doc.split(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty()).unwrap_or("");
            if OPENINGS.contains(&first) {
                hits.push(Hit { path: path.into(), line: number, what: format!("a doc opens with {first}") });
            }
        }
        before = line;
    }
    hits
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

/// Files of these folders, with their paths from the root.
fn sources(dirs: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = dirs.iter().flat_map(|dir| files(&root.join(dir)));
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
    let all = all.map(|path| (name(&path), fs::read_to_string(&path).unwrap()));
    // This file quotes what it forbids.
    all.filter(|(path, _)| path != "tests/language.rs").collect()
}

/// The words of everything that people read: code, README and ARCHITECTURE.
fn library() -> Vec<(String, Words)> {
    let mut all: Vec<_> =
        sources(&["src", "arch", "examples"]).iter().map(|(path, code)| (path.clone(), prose(code))).collect();
    for path in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/glossary.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let mut words = Words::new();
        add_words(&mut words, 1, &text);
        all.push((path.into(), words));
    }
    // Of tests only the names.
    for (path, code) in sources(&["tests"]) {
        let mut words = Words::new();
        for (line, name) in test_names(&code) {
            add_words(&mut words, line, &name.replace('_', " "));
            words.push((line, ".".into()));
        }
        all.push((path, words));
    }
    all
}

#[track_caller]
fn check(category: &str, hits: &[Hit]) {
    let list: Vec<_> = hits.iter().map(|hit| format!("\n  {hit}")).collect();
    assert!(hits.is_empty(), "{category}: {}{}", hits.len(), list.concat());
}

#[test]
fn text_has_no_pronoun_without_a_subject() {
    let hits: Vec<_> = library().iter().flat_map(|(path, words)| phrases(path, words, PRONOUNS)).collect();
    check("pronouns", &hits);
}

#[test]
fn text_has_no_idiom() {
    let hits: Vec<_> = library().iter().flat_map(|(path, words)| phrases(path, words, IDIOMS)).collect();
    check("idioms", &hits);
}

#[test]
fn no_doc_opens_with_a_question_word() {
    let files = sources(&["src", "arch", "examples"]);
    let hits: Vec<_> = files.iter().flat_map(|(path, code)| openings(path, code)).collect();
    check("openings of docs", &hits);
}

#[test]
fn no_test_name_is_long() {
    let mut hits = Vec::new();
    for (path, code) in sources(&["src", "arch", "tests", "models/src", "benches", "crates", "distributed", "peers"]) {
        let long = test_names(&code).into_iter().filter(|(_, name)| name.len() > NAME);
        hits.extend(long.map(|(line, what)| Hit { path: path.clone(), line, what }));
    }
    check("long names of tests", &hits);
}

/// Every kind of violation is found where it is planted, and nothing else is.
#[test]
fn planted_violations_are_found() {
    let code = r##"//! What it is.
/// Returns: whoever waits; it is for
/// ever. Those who rely on it understand others' standards.
fn nobody() { let lies = 'l'; }
// One alone, and this lies in vain: "all the same".
/// A value.
///
/// This is no opening. 'Tis.
#[test]
fn a_wait_that_somebody_else_has_to_end_and_whose_name_goes_on_and_on() { panic!("everybody's {}", r#"anybody"#) }
#[test]
fn short() {}
"##;
    let words = prose(code);
    let found =
        |banned| phrases("x.rs", &words, banned).iter().map(|hit| (hit.line, hit.what.clone())).collect::<Vec<_>>();
    let at = |all: &[(usize, &str)]| all.iter().map(|(line, what)| (*line, (*what).to_string())).collect::<Vec<_>>();
    let pronouns =
        [(2, "whoever"), (3, "those who"), (3, "others"), (10, "everybody"), (10, "anybody"), (10, "somebody")];
    assert_eq!(found(PRONOUNS), at(&pronouns));
    assert_eq!(found(IDIOMS), at(&[(2, "for ever"), (5, "lies"), (5, "in vain"), (5, "all the same")]));
    assert_eq!(openings("x.rs", code), [Hit { path: "x.rs".into(), line: 1, what: "a doc opens with What".into() }]);
    let names: Vec<_> = test_names(code).into_iter().map(|(line, name)| (line, name.len() > NAME)).collect();
    assert_eq!(names, [(10, true), (12, false)]);
    let mut words = Words::new();
    add_words(&mut words, 1, "A table | that\nstands. Goes\ndown, comes. By");
    assert_eq!(phrases("x.md", &words, IDIOMS).iter().map(|hit| hit.line).collect::<Vec<_>>(), [2, 2]);
}
