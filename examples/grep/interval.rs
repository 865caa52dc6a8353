//! Intervals, `a{2,5}`, and what only looks like one.

/// GNU's limit for the numbers in an interval, its RE_DUP_MAX.
pub(crate) const MOST: u32 = 0x7fff;

/// What an opening brace turns out to be.
pub(crate) enum Interval {
    /// No interval at all.
    Literal,
    /// An interval that GNU refuses: empty, running backwards or with a third number.
    Wrong,
    /// An interval and how much of the pattern it takes up, the closing brace included.
    Right { least: u32, most: Option<u32>, length: usize },
}

/// Reads what stands behind the brace: `M}`, `M,}`, `,N}`, `,}` or `M,N}`.
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

/// A number in an interval, if there is one, and how many bytes stand before the `,` or `}` behind it.
struct Number {
    value: Option<u32>,
    length: usize,
}

/// Reads up to the next `,` or `}`. Nothing if there is none, or if what stands before it is no number.
fn read_number(text: &[u8]) -> Option<Number> {
    let length = text.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    let digits = &text[..length];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond the limit it no longer matters how far beyond.
    let value = digits.iter().fold(0, |value, digit| (value * 10 + u32::from(digit - b'0')).min(MOST + 1));
    Some(Number { value: (!digits.is_empty()).then_some(value), length })
}
