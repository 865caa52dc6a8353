//! The compiled pattern, and how it is looked for.

use crate::args::Options;
use crate::ere::{self, Translation};
use cede::{Builder, Suspender};
use memchr::{memchr, memmem, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// How much memory a compiled pattern may take. GNU grep has no limit, and with `(a{1000}){1000}` no answer either.
const PATTERN_LIMIT: usize = 256 << 20;
/// How much memory the automaton of a pattern, which is built as it is needed, may take.
const AUTOMATON_LIMIT: usize = 16 << 20;

/// How deep a pattern may nest beyond what `regex` allows by itself (250): several levels for each group with a repetition.
/// GNU grep takes some 10,000 groups, depending on `ulimit -s`, and then says [`ere::TOO_DEEP`].
const NESTING_LIMIT: u32 = 40_000;
/// The stack on which a deep pattern is compiled. Compiling is recursive and takes up to 14 KiB a repetition in debug
/// builds; only what is touched is memory.
const DEEP_STACK: usize = 1 << 30;

/// After so many lines that had the required literal and no match, it is asked whether the literal is worth it.
const PATIENCE: usize = 8;
/// How far apart such lines have to be for that, on average: what a search of this length costs is about what it
/// costs to begin one.
const WORTH_IT: usize = 100;

/// A pattern, ready to search with.
#[derive(Debug)]
pub(crate) struct Pattern {
    engine: Engine,
    /// Finds a literal that every match contains, if there is one: far faster than the automaton, which then only has
    /// to look at lines that have the literal in them.
    required: Option<Engine>,
}

/// Something to search with.
#[derive(Debug)]
enum Engine {
    /// A literal in which case counts.
    Literal(Box<memmem::Finder<'static>>),
    /// `^$`, by the two line ends around it. It is asked for often, and there is nothing in it to search for.
    EmptyLine,
    /// Everything else.
    Regex(Regex),
}

impl Pattern {
    /// Compiles the pattern of a command line. An error is worded as grep words it.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let Options { ref pattern, ignore_case, .. } = *options;
        let literal = |bytes| {
            if ignore_case || pattern.contains(&b'\n') {
                Engine::regex(&any_of(bytes), ignore_case)
            } else {
                Ok(Engine::literal(bytes))
            }
        };
        if options.fixed {
            return Ok(Pattern { engine: literal(pattern)?, required: None });
        }
        if pattern == b"^$" {
            return Ok(Pattern { engine: Engine::EmptyLine, required: None });
        }
        let Translation { syntax, required, plain } = ere::translate(pattern, ignore_case)?;
        if plain {
            return Ok(Pattern { engine: literal(&required)?, required: None });
        }
        let required = if required.is_empty() { None } else { Some(literal(&required)?) };
        Ok(Pattern { engine: Engine::regex(&syntax, ignore_case)?, required })
    }

    /// The first line at or after `at`, which is where a line begins, that has a match in it.
    ///
    /// The text is searched as a whole and lines are only looked for around a match.
    pub(crate) fn next_line(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        // The last line end is left out of the search: behind it would be one more place where a line could be empty.
        let body = &text[..text.len() - 1];
        let Some(required) = &self.required else {
            return Some(line_around(body, at, self.engine.place(body, at)?));
        };
        let mut from = at;
        for missed in 0.. {
            if from == text.len() {
                return None;
            }
            if missed >= PATIENCE && from - at < missed * WORTH_IT {
                return Some(line_around(body, from, self.engine.place(body, from)?));
            }
            let line = line_around(body, from, required.place(body, from)?);
            if self.engine.place(&text[..line.end - 1], line.start).is_some() {
                return Some(line);
            }
            from = line.end;
        }
        None
    }

    /// Appends the matches in a line that are not empty.
    pub(crate) fn push_matches(&self, text: &[u8], line: Range<usize>, matches: &mut Vec<Range<usize>>) {
        let body = &text[..line.end - 1];
        let mut at = line.start;
        while at < body.len() {
            let Some(found) = self.engine.find(body, at) else {
                break;
            };
            // Behind an empty match there may be one that begins at the next byte.
            at = found.end.max(found.start + 1);
            if !found.is_empty() {
                matches.push(found);
            }
        }
    }
}

impl Engine {
    fn literal(bytes: &[u8]) -> Self {
        Engine::Literal(Box::new(memmem::Finder::new(bytes).into_owned()))
    }

    fn regex(syntax: &str, ignore_case: bool) -> Result<Self, String> {
        let mut builder = RegexBuilder::new(syntax);
        builder
            .unicode(false)
            .multi_line(true)
            .case_insensitive(ignore_case)
            .size_limit(PATTERN_LIMIT)
            .dfa_size_limit(AUTOMATON_LIMIT);
        let regex = match builder.build() {
            Err(regex::Error::Syntax(_)) => compile_deep(builder),
            result => result,
        };
        // The syntax is always right, so what is left is its depth and its size.
        regex.map(Engine::Regex).map_err(|error| match error {
            regex::Error::Syntax(_) => ere::TOO_DEEP.to_owned(),
            _ => ere::TOO_BIG.to_owned(),
        })
    }

    /// A place in the first line at or after `at` that has a match in it. Any place in the line will do.
    fn place(&self, body: &[u8], at: usize) -> Option<usize> {
        let rest = &body[at..];
        match self {
            Engine::Literal(finder) => Some(at + finder.find(rest)?),
            Engine::EmptyLine if rest.is_empty() || rest[0] == b'\n' => Some(at),
            Engine::EmptyLine => match memmem::find(rest, b"\n\n") {
                Some(before) => Some(at + before + 1),
                None => rest.ends_with(b"\n").then_some(body.len()),
            },
            // The end of the shortest match is the cheapest to find.
            Engine::Regex(regex) => regex.shortest_match_at(body, at),
        }
    }

    /// The first match at or after `at`, unless it could only be empty.
    fn find(&self, body: &[u8], at: usize) -> Option<Range<usize>> {
        match self {
            Engine::Literal(finder) => {
                let start = at + finder.find(&body[at..])?;
                Some(start..start + finder.needle().len())
            }
            Engine::EmptyLine => None,
            Engine::Regex(regex) => regex.find_at(body, at).map(|found| found.range()),
        }
    }
}

/// Compiles a pattern that nests deep, on a coroutine that has the stack for it.
fn compile_deep(mut builder: RegexBuilder) -> Result<Regex, regex::Error> {
    builder.nest_limit(NESTING_LIMIT);
    let compile = move |_: &Suspender<(), ()>, ()| builder.build();
    let compiled = Builder::new().name("deep pattern").stack_size(DEEP_STACK).coroutine(compile);
    // Without the address space it is too deep, too.
    let no_stack = |error: cede::stack::StackError| regex::Error::Syntax(error.to_string());
    compiled.map_err(no_stack)?.resume(()).complete().expect("compiling does not suspend")
}

/// The line around a place, from where a line begins at or before it. `body` lacks the last line end.
fn line_around(body: &[u8], from: usize, place: usize) -> Range<usize> {
    let start = memrchr(b'\n', &body[from..place]).map_or(from, |before| from + before + 1);
    let end = memchr(b'\n', &body[place..]).map_or(body.len(), |length| place + length);
    start..end + 1
}

/// A regular expression for several literals. The longest come first, since `regex` prefers the first that matches
/// where grep prefers the longest.
fn any_of(literals: &[u8]) -> String {
    let mut literals: Vec<&[u8]> = literals.split(|&byte| byte == b'\n').collect();
    literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
    let mut out = String::new();
    for (index, literal) in literals.into_iter().enumerate() {
        if index > 0 {
            out.push('|');
        }
        ere::push_literal(literal, &mut out);
    }
    out
}
