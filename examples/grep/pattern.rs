//! The compiled pattern, and the search for it.

use crate::args::Options;
use crate::ere::{self, Translation};
use cede::{Builder, Suspender};
use memchr::{memchr, memmem, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// The memory limit of a compiled pattern, in bytes. GNU grep has no limit, and does not finish with `(a{1000}){1000}`.
const PATTERN_LIMIT: usize = 256 << 20;
/// The memory limit of the automaton of a pattern, in bytes. The automaton is built lazily.
const AUTOMATON_LIMIT: usize = 16 << 20;

/// The limit of the nesting depth, instead of the default limit of `regex` (250). A group with a repetition has several levels.
/// GNU grep accepts some 10,000 groups, depending on `ulimit -s`, and beyond that fails with [`ere::TOO_DEEP`].
const NESTING_LIMIT: u32 = 40_000;
/// The size of the stack on which a deep pattern is compiled, in bytes. The compiler is recursive and takes up to 14 KiB per
/// repetition in debug builds. Only the pages that it touches take memory.
const DEEP_STACK: usize = 1 << 30;

/// The number of lines with the required literal but without a match, after which the use of the literal is evaluated.
const PATIENCE: usize = 8;
/// The average distance of such lines, in bytes, at which the literal is worth its cost. To search this many bytes takes about
/// as long as to start a search.
const WORTH_IT: usize = 100;

/// A pattern, ready to search with.
#[derive(Debug)]
pub(crate) struct Pattern {
    engine: Engine,
    /// Finds a literal that every match contains, if there is one. Far faster than the automaton, which then searches only the
    /// lines that contain the literal.
    required: Option<Engine>,
}

/// A search algorithm.
#[derive(Debug)]
enum Engine {
    /// A case-sensitive literal.
    Literal(Box<memmem::Finder<'static>>),
    /// `^$`, found by the two line ends around it. A common pattern without a literal.
    EmptyLine,
    /// Any other pattern.
    Regex(Regex),
}

impl Pattern {
    /// Compiles the pattern of a command line. The text of an error is that of grep.
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

    /// Returns the first line with a match, at or after `at`. A line must begin at `at`.
    ///
    /// Searches the text as a whole, and determines lines only around a match.
    pub(crate) fn next_line(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        // The search excludes the last line end, because the position after it would look like one more empty line.
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

    /// Appends the non-empty matches in a line to `matches`.
    pub(crate) fn push_matches(&self, text: &[u8], line: Range<usize>, matches: &mut Vec<Range<usize>>) {
        let body = &text[..line.end - 1];
        let mut at = line.start;
        while at < body.len() {
            let Some(found) = self.engine.find(body, at) else {
                break;
            };
            // After an empty match, another one may begin at the next byte.
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
        // The translated syntax is always valid, so a syntax error means that the pattern nests too deep.
        regex.map(Engine::Regex).map_err(|error| match error {
            regex::Error::Syntax(_) => ere::TOO_DEEP.to_owned(),
            _ => ere::TOO_BIG.to_owned(),
        })
    }

    /// Returns any position in the first line with a match, at or after `at`.
    fn place(&self, body: &[u8], at: usize) -> Option<usize> {
        let rest = &body[at..];
        match self {
            Engine::Literal(finder) => Some(at + finder.find(rest)?),
            Engine::EmptyLine if rest.is_empty() || rest[0] == b'\n' => Some(at),
            Engine::EmptyLine => match memmem::find(rest, b"\n\n") {
                Some(before) => Some(at + before + 1),
                None => rest.ends_with(b"\n").then_some(body.len()),
            },
            // The end of the shortest match is the cheapest position to find.
            Engine::Regex(regex) => regex.shortest_match_at(body, at),
        }
    }

    /// Returns the first match at or after `at`. `None` for `^$`, whose matches are all empty.
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

/// Compiles a deeply nested pattern, in a coroutine with a large stack.
fn compile_deep(mut builder: RegexBuilder) -> Result<Regex, regex::Error> {
    builder.nest_limit(NESTING_LIMIT);
    let compile = move |_: &Suspender<(), ()>, ()| builder.build();
    let compiled = Builder::new().name("deep pattern").stack_size(DEEP_STACK).coroutine(compile);
    // If the address space for the stack is not available, the pattern counts as too deep.
    let no_stack = |error: cede::stack::StackError| regex::Error::Syntax(error.to_string());
    compiled.map_err(no_stack)?.resume(()).complete().expect("compiling does not suspend")
}

/// Returns the line around `place`. A line must begin at `from`, at or before `place`. `body` lacks the last line end.
fn line_around(body: &[u8], from: usize, place: usize) -> Range<usize> {
    let start = memrchr(b'\n', &body[from..place]).map_or(from, |before| from + before + 1);
    let end = memchr(b'\n', &body[place..]).map_or(body.len(), |length| place + length);
    start..end + 1
}

/// Returns a regular expression that matches any of the literals. The longest come first, because `regex` prefers the first
/// alternative that matches, and grep prefers the longest.
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
