//! GNU's extended regular expressions in the C locale, translated to the syntax of the `regex` crate.
//!
//! The two syntaxes look alike but differ in many details: the meaning of `\d`, `a+?`, `a{,3}`, `[\n]` and of a leading `*`,
//! and that a pattern consists of bytes. So nothing is passed through: each element is parsed as GNU grep parses it, and
//! written in a form with only one meaning for `regex`. No translation can match a line end.
//!
//! GNU grep itself has two parsers. Its own parser selects lines. The parser of the C library must accept the pattern too, and
//! finds the matches for `-o`. The two disagree about a repetition with nothing to repeat (`^*a`, `{1}a`). The translation
//! follows grep's own parser.

use crate::bracket;
use crate::interval::{self, Interval};
use crate::required::Required;
use std::fmt::Write;

/// The message of grep for an interval beyond [`interval::MOST`], and for a pattern whose compiled form is too large.
pub(crate) const TOO_BIG: &str = "Regular expression too big";
/// The message of grep for a pattern that nests too deep.
pub(crate) const TOO_DEEP: &str = "stack overflow";

/// A translated pattern.
pub(crate) struct Translation {
    /// The pattern in the syntax of `regex`.
    pub(crate) syntax: String,
    /// The longest known literal that every match contains. Empty if there is none.
    pub(crate) required: Vec<u8>,
    /// Whether the pattern consists only of this literal.
    pub(crate) plain: bool,
}

/// Translates a whole pattern. Its lines are alternatives, and each must be a complete pattern.
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

/// Appends a pattern that matches only these bytes.
pub(crate) fn push_literal(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        push_byte(byte, out);
    }
}

/// Appends a pattern that matches one byte. Escaped by its number, the byte is never syntax, and above 0x7F not a part of a
/// character.
fn push_byte(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        // Writing to a `String` cannot fail.
        let _ = write!(out, r"\x{byte:02X}");
    }
}

/// The last written element, to which a repetition would apply.
#[derive(Clone, Copy)]
struct Last {
    /// The offset of its start in the output.
    start: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An element that a repetition may follow directly.
    Plain,
    /// `^`, `\b` and similar. An interval directly after `\b` would be parsed as a part of its name.
    Anchor,
    /// A repeated element. A second operator would change the meaning of the first: `a+?`.
    Repeated,
}

/// The translation of one line of the pattern. Not recursive, so the nesting depth of a pattern is not limited here.
struct Translator<'a> {
    rest: &'a [u8],
    ignore_case: bool,
    out: &'a mut String,
    required: &'a mut Required,
    /// The offsets in the output at which the open groups start.
    groups: Vec<usize>,
    /// `None` at the start of a branch. GNU ignores a repetition there, because it has nothing to repeat.
    last: Option<Last>,
    libc: Libc,
}

/// The relevant part of the state of the C library's parser. It skips the operator of a repetition of nothing, and takes the
/// next byte for an element, whatever it is. So it misses the end of the group in `(*)`.
#[derive(Default)]
struct Libc {
    /// The number of groups that it considers open.
    open: usize,
    at: At,
}

/// The last thing that the C library has parsed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// The beginning of a branch or an anchor, which cannot be repeated.
    #[default]
    Start,
    /// The operator of a repetition of nothing.
    PassedOver,
    /// An element, which can be repeated.
    Element,
}

impl Libc {
    /// Handles a repetition, or a possible one.
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
                    // `translate` writes the whole class.
                    self.element("", Kind::Plain);
                    bracket::translate(&mut self.rest, self.ignore_case, self.out)?;
                }
                b'\\' => self.escape()?,
                _ => self.literal(byte),
            }
        }
        if self.groups.is_empty() && self.libc.open == 0 { Ok(()) } else { Err(r"Unmatched ( or \(") }
    }

    /// Handles a backslash: an operator of GNU, or the next byte as itself.
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
            // These match at the ends of the buffer, and for grep the buffer is a line.
            b'`' => self.element("^", Kind::Anchor),
            b'\'' => self.element("$", Kind::Anchor),
            b'1'..=b'9' => return Err("back-references are not supported"),
            _ => self.literal(byte),
        }
        Ok(())
    }

    /// Records that an element begins here.
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

    /// Handles a closing parenthesis. Without an open group it is a literal.
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

    /// Handles a repetition operator of a single byte.
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

    /// Handles a possible interval, whose `{` was removed already. For GNU, most text that is not an interval is a literal brace.
    fn interval(&mut self) -> Result<(), &'static str> {
        match interval::read(self.rest) {
            // With nothing to repeat, GNU takes even a wrong interval literally.
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
                // With nothing to repeat, the numbers are literals for the C library.
                self.libc.at = At::Element;
                let most = most.map_or(String::new(), |most| most.to_string());
                self.repeat(&format!("{{{least},{most}}}"), least == 0);
            }
        }
        Ok(())
    }
}
