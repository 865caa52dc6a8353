//! Parsing of intervals, `a{2,5}`, and of text that only looks like one.

/// The limit of GNU for the numbers in an interval (`RE_DUP_MAX`).
pub(crate) const MOST: u32 = 0x7fff;

/// The meaning of an opening brace.
pub(crate) enum Interval {
    /// Not an interval.
    Literal,
    /// An interval that GNU refuses: empty, with a range that runs backwards, or with a third number.
    Wrong,
    /// An interval, with its length in the pattern, the closing brace included.
    Right { least: u32, most: Option<u32>, length: usize },
}

/// Parses the text after the brace: `M}`, `M,}`, `,N}`, `,}` or `M,N}`.
pub(crate) fn read(text: &[u8]) -> Interval {
    let Some(Number { value: least, length }) = read_number(text) else {
        return Interval::Literal;
    };
    if text[length] == b'}' {
        return match least {
            Some(least) => Interval::Right { least, most: Some(least), length: length + 1 },
            None => Interval::Wrong,
        };
    }
    let least = least.unwrap_or(0);
    let behind = length + 1;
    let Some(Number { value: most, length }) = read_number(&text[behind..]) else {
        return Interval::Literal;
    };
    let end = behind + length;
    if text[end] != b'}' || most.is_some_and(|most| most < least) {
        return Interval::Wrong;
    }
    Interval::Right { least, most, length: end + 1 }
}

/// A number in an interval, or none, and the number of bytes before the next `,` or `}`.
struct Number {
    value: Option<u32>,
    length: usize,
}

/// Parses the number before the next `,` or `}`. Returns `None` if there is no such byte, or other bytes than digits before it.
fn read_number(text: &[u8]) -> Option<Number> {
    let length = text.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    let digits = &text[..length];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // All numbers beyond the limit are treated alike, so the value is capped.
    let value = digits.iter().fold(0, |value, digit| (value * 10 + u32::from(digit - b'0')).min(MOST + 1));
    Some(Number { value: (!digits.is_empty()).then_some(value), length })
}
