//! POSIX bracket expressions (`[^]a-f[:digit:]]`): parses them as sets of bytes and writes them as classes of the `regex`
//! crate.

use std::fmt::Write;

/// The message of grep for a bracket expression without an end.
const UNMATCHED: &str = "Unmatched [, [^, [:, [., or [=";
/// The message of grep for a range that runs backwards, or whose ends are not single bytes.
const BAD_RANGE: &str = "Invalid range end";
/// The message of grep for a collating symbol of several bytes. The C locale has only symbols of one byte.
const BAD_SYMBOL: &str = "Invalid collation character";

/// An element of a bracket expression.
enum Element {
    /// A byte, written as itself or as `[.x.]`. Only this kind may be an end of a range.
    Byte(u8),
    /// `[=x=]`; in the C locale `x` is its only member.
    Equivalent(u8),
    /// `[:name:]`
    Class(fn(u8) -> bool),
}

/// Parses the bracket expression at the front of `rest`, whose `[` was removed already. Removes it from `rest` and appends the
/// class to `out`.
///
/// With `-i`, `regex` makes the other case of letters match. Here the option only affects which ranges are refused: their
/// ends are compared as capitals.
pub(crate) fn translate(rest: &mut &[u8], ignore_case: bool, out: &mut String) -> Result<(), &'static str> {
    let rank = |byte: u8| if ignore_case { byte.to_ascii_uppercase() } else { byte };
    let negated = rest.starts_with(b"^");
    if negated {
        *rest = &rest[1..];
    }
    if looks_like_a_bare_class(rest) {
        return Err("character class syntax is [[:space:]], not [:space:]");
    }
    let mut set = [false; 256];
    let mut first = true;
    // A `]` in the first position is a member.
    while first || !rest.starts_with(b"]") {
        if !first && rest.starts_with(b"-") && rest.get(1).is_some_and(|&next| next != b']') {
            return Err(BAD_RANGE);
        }
        first = false;
        let start = element(rest)?;
        if !matches!(start, Element::Byte(_)) || !at_range(rest)? {
            add(&mut set, start);
            continue;
        }
        *rest = &rest[1..];
        let (Element::Byte(low), Element::Byte(high)) = (start, element(rest)?) else {
            return Err(BAD_RANGE);
        };
        if rank(low) > rank(high) {
            return Err(BAD_RANGE);
        }
        (low..=high).for_each(|byte| set[usize::from(byte)] = true);
    }
    *rest = &rest[1..];
    // The class must not match a line end, negated or not.
    set[usize::from(b'\n')] = negated;
    push_class(&set, negated, out);
    Ok(())
}

/// Returns whether the `-` of a range comes next. A `-` before the closing bracket is a member instead.
fn at_range(rest: &[u8]) -> Result<bool, &'static str> {
    match rest {
        [b'-', b']', ..] => Ok(false),
        [b'-', _, ..] => Ok(true),
        [] | [b'-'] => Err(UNMATCHED),
        _ => Ok(false),
    }
}

/// Parses and removes the element at the front of `rest`.
fn element(rest: &mut &[u8]) -> Result<Element, &'static str> {
    let (&byte, behind) = rest.split_first().ok_or(UNMATCHED)?;
    *rest = behind;
    let kind = match (byte, behind.first()) {
        (b'[', Some(&kind @ (b':' | b'.' | b'='))) => kind,
        _ => return Ok(Element::Byte(byte)),
    };
    let name = &behind[1..];
    let length = name.windows(2).position(|pair| pair == [kind, b']']).ok_or(UNMATCHED)?;
    *rest = &name[length + 2..];
    let name = &name[..length];
    match (kind, name) {
        (b':', _) => Ok(Element::Class(class(name).ok_or("Invalid character class name")?)),
        (b'.', &[byte]) => Ok(Element::Byte(byte)),
        (b'=', &[byte]) => Ok(Element::Equivalent(byte)),
        _ => Err(BAD_SYMBOL),
    }
}

/// Returns the predicate of a named class in the C locale.
fn class(name: &[u8]) -> Option<fn(u8) -> bool> {
    Some(match name {
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        b"cntrl" => |byte| byte.is_ascii_control(),
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        _ => return None,
    })
}

/// Adds an element that is not part of a range to the set.
fn add(set: &mut [bool; 256], element: Element) {
    match element {
        Element::Byte(byte) | Element::Equivalent(byte) => set[usize::from(byte)] = true,
        Element::Class(member) => (0..=255).filter(|&byte| member(byte)).for_each(|byte| set[usize::from(byte)] = true),
    }
}

/// Returns whether the expression looks like `[:space:]`, where `[[:space:]]` was meant: colons at both ends, and neither a
/// range nor a named class between them. Like GNU grep, `translate` refuses it instead of matching a surprising set.
fn looks_like_a_bare_class(rest: &[u8]) -> bool {
    let Some(end) = rest.iter().skip(1).position(|&byte| byte == b']').map(|at| at + 1) else {
        return false;
    };
    match &rest[..end] {
        [b':', name @ .., b':'] => {
            name.iter().any(|&byte| byte != b':') && !name.contains(&b'-') && !name.contains(&b'[')
        }
        _ => false,
    }
}

/// Writes the set as explicit ranges. A negation is passed to `regex`, which folds the case of a class before negating it.
fn push_class(set: &[bool; 256], negated: bool, out: &mut String) {
    if !set.contains(&true) {
        // `[]` would not be a class. Only a range that runs backwards before its case is folded gives an empty set.
        out.push_str(r"[^\x00-\xFF]");
        return;
    }
    out.push_str(if negated { "[^" } else { "[" });
    let mut byte = 0;
    while byte < set.len() {
        let run = set[byte..].iter().take_while(|&&member| member).count();
        if run > 0 {
            // Writing to a `String` cannot fail.
            let _ = write!(out, r"\x{byte:02X}-\x{:02X}", byte + run - 1);
        }
        byte += run + 1;
    }
    out.push(']');
}
