//! Parsing of the command line. Resolves options that override each other.

use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Usage: grep [OPTION]... PATTERN [FILE|DIR]...
Print the lines of each FILE, and of each file in each DIR, that match PATTERN.
With no FILE, or when FILE is -, read standard input.

  -E     PATTERN is an extended regular expression (the default)
  -F     PATTERN is a string, or several on lines of their own
  -i     ignore the case of ASCII letters
  -v     select the lines that do not match
  -n     print line numbers
  -H     print file names
  -h     print no file names
  -c     print only how many lines of each file are selected
  -l     print only the names of the files with selected lines
  -o     print only the matches, each on a line of its own
  -q     print nothing, stop at the first selected line
  --help print this text

The exit status is 0 if a line is selected, 1 if none is, and 2 if there was an error,
though with -q it is 0 as soon as a line is selected.
";

/// The end of the message about a wrong command line.
const USAGE: &str = "\
Usage: grep [OPTION]... PATTERNS [FILE]...
Try 'grep --help' for more information.
";

/// The kind of output for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// The selected lines.
    Lines,
    /// The matches in them (`-o`).
    Matches,
    /// The number of selected lines (`-c`).
    Count,
    /// The input's name if a line is selected (`-l`).
    Name,
    /// Nothing; only the exit code tells the result (`-q`).
    Nothing,
}

/// The options of a search.
#[derive(Debug)]
pub(crate) struct Options {
    /// The pattern, as given on the command line.
    pub pattern: Vec<u8>,
    /// The files and directories to search, in this order.
    pub operands: Vec<OsString>,
    /// Whether the pattern is a literal (`-F`).
    pub fixed: bool,
    /// Whether the case of ASCII letters is ignored (`-i`).
    pub ignore_case: bool,
    /// Whether the lines that do not match are selected (`-v`).
    pub invert: bool,
    /// Whether line numbers are printed (`-n`).
    pub numbers: bool,
    /// Whether names are printed.
    pub names: bool,
    /// The kind of output.
    pub show: Show,
    /// Whether the first selected line ends the whole run (`-q`).
    pub quiet: bool,
}

impl Options {
    /// Returns whether lines or matches are printed. For a binary file they never are.
    pub(crate) fn prints_text(&self) -> bool {
        matches!(self.show, Show::Lines | Show::Matches)
    }

    /// Returns whether the first selected line of an input decides its whole output.
    pub(crate) fn first_is_enough(&self, binary: bool) -> bool {
        match self.show {
            Show::Lines | Show::Matches => binary,
            Show::Count => false,
            Show::Name | Show::Nothing => true,
        }
    }
}

/// A parsed command line.
#[derive(Debug)]
pub(crate) enum Request {
    /// A search.
    Search(Options),
    /// The help text.
    Help {
        /// Whether `-q` was given.
        quiet: bool,
    },
}

/// The error of a command line that is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The whole text to print.
    pub text: String,
    /// Whether `-q` was given.
    pub quiet: bool,
}

/// The letters seen so far.
#[derive(Default)]
struct Letters {
    extended: bool,
    fixed: bool,
    ignore_case: bool,
    invert: bool,
    numbers: bool,
    names: Option<bool>,
    count: bool,
    list: bool,
    matches: bool,
    quiet: bool,
}

impl Letters {
    /// Sets an option. Returns `None` if there is no option with this letter.
    fn set(&mut self, letter: char) -> Option<()> {
        match letter {
            'E' => self.extended = true,
            'F' => self.fixed = true,
            'i' => self.ignore_case = true,
            'v' => self.invert = true,
            'n' => self.numbers = true,
            'H' => self.names = Some(true),
            'h' => self.names = Some(false),
            'c' => self.count = true,
            'l' => self.list = true,
            'o' => self.matches = true,
            'q' => self.quiet = true,
            _ => return None,
        }
        Some(())
    }

    /// Makes the error of the command line, with the letters seen before the mistake.
    fn refuse(&self, text: String) -> Refusal {
        Refusal { text, quiet: self.quiet }
    }

    /// Returns the kind of output. If several options set it, they rank as in grep.
    fn show(&self) -> Show {
        match self {
            Letters { quiet: true, .. } => Show::Nothing,
            Letters { list: true, .. } => Show::Name,
            Letters { count: true, .. } => Show::Count,
            Letters { matches: true, .. } => Show::Matches,
            _ => Show::Lines,
        }
    }
}

/// Parses the command line of this process. `other` takes the names of further options, and reads their values from the parser. It
/// returns `None` if it does not know the name.
pub(crate) fn parse(
    mut other: impl FnMut(&str, &mut Parser) -> Option<Result<(), lexopt::Error>>,
) -> Result<Request, Refusal> {
    let mut letters = Letters::default();
    let mut values = Vec::new();
    let mut help = false;
    // In POSIX the first operand ends the options, and even `--` after it is an operand. GNU does this if the variable is set.
    let operands_end_options = std::env::var_os("POSIXLY_CORRECT").is_some();
    let mut parser = Parser::from_env();
    loop {
        let wrong = match parser.next() {
            Ok(Some(Arg::Value(value))) => {
                values.push(value);
                if operands_end_options && let Ok(rest) = parser.raw_args() {
                    values.extend(rest);
                }
                continue;
            }
            Ok(Some(Arg::Long("help"))) => {
                help = true;
                continue;
            }
            Ok(Some(Arg::Short(letter))) if letters.set(letter).is_some() => continue,
            Ok(None) => break,
            Ok(Some(Arg::Short(letter))) => match other(letter.encode_utf8(&mut [0; 4]), &mut parser) {
                Some(Ok(())) => continue,
                Some(Err(error)) => error.to_string(),
                None => format!("invalid option -- '{letter}'"),
            },
            Ok(Some(Arg::Long(name))) => {
                let name = name.to_owned();
                // A letter is no long option.
                match (name.len() > 1).then(|| other(&name, &mut parser)).flatten() {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => error.to_string(),
                    None => format!("unrecognized option '--{name}'"),
                }
            }
            Err(error) => error.to_string(),
        };
        return Err(letters.refuse(format!("grep: {wrong}\n{USAGE}")));
    }
    if help {
        return Ok(Request::Help { quiet: letters.quiet });
    }
    if letters.extended && letters.fixed {
        return Err(letters.refuse("grep: conflicting matchers specified\n".to_owned()));
    }
    let mut values = values.into_iter();
    let pattern = values.next().ok_or_else(|| letters.refuse(USAGE.to_owned()))?.into_vec();
    let mut operands: Vec<OsString> = values.collect();
    let several = operands.len() > 1 || operands.iter().any(|operand| Path::new(operand).is_dir());
    if operands.is_empty() {
        operands.push("-".into());
    }
    Ok(Request::Search(Options {
        pattern,
        operands,
        fixed: letters.fixed,
        ignore_case: letters.ignore_case,
        invert: letters.invert,
        numbers: letters.numbers,
        names: letters.names.unwrap_or(several),
        show: letters.show(),
        quiet: letters.quiet,
    }))
}
