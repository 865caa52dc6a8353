//! GNU's extended regular expressions, in the C locale, written out again in the syntax of the `regex` crate.
//!
//! The two syntaxes look alike and differ in many small things: what `\d`, `a+?`, `a{,3}`, `[\n]` or a leading `*`
//! mean, and that a pattern is made of bytes. So nothing is passed through: each element is read the way GNU grep
//! reads it and written in a form that `regex` can only take one way. Nothing that is written can match a line end.
//!
//! GNU grep itself has two readers: the one that selects lines, and the C library's, which has to accept the pattern
//! as well and finds the matches for `-o`. They disagree about a repetition with nothing to repeat (`^*a`, `{1}a`).
//! The first one is followed here.

use crate::bracket;
use crate::interval::{self, Interval};
use crate::required::Required;
use std::fmt::Write;

/// What grep says of an interval beyond [`interval::MOST`], and of a pattern that compiles to too much.
pub(crate) const TOO_BIG: &str = "Regular expression too big";
/// What grep says of a pattern that nests too deep.
pub(crate) const TOO_DEEP: &str = "stack overflow";

/// A translated pattern.
pub(crate) struct Translation {
    /// The pattern in the syntax of `regex`.
    pub(crate) syntax: String,
    /// The longest literal that was found to be part of every match; empty if there is none.
    pub(crate) required: Vec<u8>,
    /// Whether the pattern is this literal and nothing else.
    pub(crate) plain: bool,
}

/// Translates a whole pattern. Its lines are alternatives, each of which has to be complete in itself.
pub(crate) fn translate(pattern: &[u8], ignore_case: bool) -> Result<Translation, &'static str> {
    let mut syntax = String::new();
    let mut required = Required::default();
    for (index, line) in pattern.split(|&byte| byte == b'\n').enumerate() {
        if index > 0 {
            syntax.push('|');
            required.branch();
        }
        Translator::new(line, ignore_case, &mut syntax, &mut required).run()?;
    }
    let (required, plain) = required.finish();
    Ok(Translation { syntax, required, plain })
}

/// Appends a pattern that matches these bytes and nothing else.
pub(crate) fn push_literal(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        push_byte(byte, out);
    }
}

/// Appends one byte as itself. Escaped by its number it is never syntax, and above 0x7F not part of a character.
fn push_byte(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        // Writing to a String cannot fail.
        let _ = write!(out, r"\x{byte:02X}");
    }
}

/// What a repetition would apply to: the element that was written last.
#[derive(Clone, Copy)]
struct Last {
    /// Where it begins in the output.
    start: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Something that a repetition can be written behind as it is.
    Plain,
    /// `^`, `\b` and the like. Behind the latter an interval would be read as part of the name.
    Anchor,
    /// Something repeated, where another operator would change the meaning of the first: `a+?`.
    Repeated,
}

/// One line of the pattern on its way. There is no recursion in here: a pattern may nest as deep as it likes.
struct Translator<'a> {
    rest: &'a [u8],
    ignore_case: bool,
    out: &'a mut String,
    required: &'a mut Required,
    /// Where the groups that are still open begin in the output.
    groups: Vec<usize>,
    /// Nothing at the start of a branch, where a repetition applies to nothing and GNU drops it.
    last: Option<Last>,
    libc: Libc,
}

/// What the C library makes of the pattern, as far as it matters: it passes over the operator of a repetition of
/// nothing, takes what follows for an element whatever it is, and so misses the end of the group in `(*)`.
#[derive(Default)]
struct Libc {
    /// How many groups are open to it.
    open: usize,
    at: At,
}

/// What the C library has read last.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Nothing that could be repeated: the beginning of a branch, or an anchor.
    #[default]
    Start,
    /// The operator of a repetition of nothing.
    PassedOver,
    /// Something that could be repeated.
    Element,
}

impl Libc {
    /// A repetition, or what might be one.
    fn repetition(&mut self) {
        if self.at == At::Start {
            self.at = At::PassedOver;
        }
    }

    fn close(&mut self) {
        if self.at != At::PassedOver {
            self.open = self.open.saturating_sub(1);
        }
        self.at = At::Element;
    }
}

impl<'a> Translator<'a> {
    fn new(rest: &'a [u8], ignore_case: bool, out: &'a mut String, required: &'a mut Required) -> Self {
        Translator { rest, ignore_case, out, required, groups: Vec::new(), last: None, libc: Libc::default() }
    }

    fn run(mut self) -> Result<(), &'static str> {
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'*' => self.operator("*", true),
                b'+' => self.operator("+", false),
                b'?' => self.operator("?", true),
                b'{' => self.interval()?,
                b'(' => self.open(),
                b')' => self.close(),
                b'|' => self.branch(),
                b'^' => self.element("^", Kind::Anchor),
                b'$' => self.element("$", Kind::Anchor),
                b'.' => self.element(r"[^\n]", Kind::Plain),
                b'[' => {
                    // The class is all there will be of it.
                    self.element("", Kind::Plain);
                    bracket::translate(&mut self.rest, self.ignore_case, self.out)?;
                }
                b'\\' => self.escape()?,
                _ => self.literal(byte),
            }
        }
        if self.groups.is_empty() && self.libc.open == 0 { Ok(()) } else { Err(r"Unmatched ( or \(") }
    }

    /// A backslash: GNU's own operators, or whatever stands behind it as itself.
    fn escape(&mut self) -> Result<(), &'static str> {
        let (&byte, rest) = self.rest.split_first().ok_or("Trailing backslash")?;
        self.rest = rest;
        match byte {
            b'w' => self.element(r"[0-9A-Za-z_]", Kind::Plain),
            b'W' => self.element(r"[^0-9A-Za-z_\n]", Kind::Plain),
            b's' => self.element(r"[\t\x0B-\r ]", Kind::Plain),
            b'S' => self.element(r"[^\t-\r ]", Kind::Plain),
            b'b' => self.element(r"\b", Kind::Anchor),
            b'B' => self.element(r"\B", Kind::Anchor),
            b'<' => self.element(r"\b{start}", Kind::Anchor),
            b'>' => self.element(r"\b{end}", Kind::Anchor),
            // The buffer that these speak of is a line.
            b'`' => self.element("^", Kind::Anchor),
            b'\'' => self.element("$", Kind::Anchor),
            b'1'..=b'9' => return Err("back-references are not supported"),
            _ => self.literal(byte),
        }
        Ok(())
    }

    /// Notes that an element begins here.
    fn begin(&mut self, kind: Kind) {
        self.libc.at = if kind == Kind::Anchor { At::Start } else { At::Element };
        self.last = Some(Last { start: self.out.len(), kind });
    }

    fn element(&mut self, text: &str, kind: Kind) {
        self.required.other();
        self.begin(kind);
        self.out.push_str(text);
    }

    fn literal(&mut self, byte: u8) {
        if self.groups.is_empty() {
            self.required.literal(byte);
        }
        self.begin(Kind::Plain);
        push_byte(byte, self.out);
    }

    fn open(&mut self) {
        self.required.other();
        self.groups.push(self.out.len());
        self.out.push_str("(?:");
        self.last = None;
        self.libc = Libc { open: self.libc.open + 1, at: At::Start };
    }

    /// A closing parenthesis; without an open one it is a literal.
    fn close(&mut self) {
        self.libc.close();
        let Some(start) = self.groups.pop() else {
            return self.literal(b')');
        };
        self.out.push(')');
        self.last = Some(Last { start, kind: Kind::Plain });
    }

    fn branch(&mut self) {
        if self.groups.is_empty() {
            self.required.branch();
        }
        self.out.push('|');
        self.last = None;
        self.libc.at = At::Start;
    }

    /// One of the repetitions of a single byte.
    fn operator(&mut self, operator: &str, optional: bool) {
        self.libc.repetition();
        self.repeat(operator, optional);
    }

    /// Applies a repetition to the last element.
    fn repeat(&mut self, operator: &str, optional: bool) {
        let Some(last) = &mut self.last else {
            return;
        };
        self.required.repetition(optional);
        if last.kind != Kind::Plain {
            self.out.insert_str(last.start, "(?:");
            self.out.push(')');
        }
        last.kind = Kind::Repeated;
        self.out.push_str(operator);
    }

    /// What may be an interval, with its `{` gone. Much of what cannot be one is a literal brace to GNU.
    fn interval(&mut self) -> Result<(), &'static str> {
        match interval::read(self.rest) {
            // Where there is nothing to repeat GNU takes even a wrong interval as it is written.
            Interval::Wrong if self.libc.at == At::Element => return Err(r"Invalid content of \{\}"),
            Interval::Wrong | Interval::Literal => {
                self.libc.repetition();
                let at = self.libc.at;
                self.literal(b'{');
                self.libc.at = at;
            }
            Interval::Right { least, most, length } => {
                if most.unwrap_or(least) > interval::MOST {
                    return Err(TOO_BIG);
                }
                self.rest = &self.rest[length..];
                // Where there is nothing to repeat, the numbers are literals to the C library.
                self.libc.at = At::Element;
                let most = most.map_or(String::new(), |most| most.to_string());
                self.repeat(&format!("{{{least},{most}}}"), least == 0);
            }
        }
        Ok(())
    }
}
