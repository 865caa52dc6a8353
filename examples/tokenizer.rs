//! From push to pull: a generator turns a scanner with a callback into an iterator, without changes to the scanner.
//!
//! cargo run --example tokenizer

use cede::{Generator, Yielder};

/// A scanner with a push interface, as in a third-party library: calls back for every token.
fn scan(text: &str, mut on_token: impl FnMut(&str)) {
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let same = |c: char| if first.is_alphanumeric() { c.is_alphanumeric() } else { c == first };
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        on_token(&rest[..end]);
        rest = rest[end..].trim_start();
    }
}

fn tokens(text: &'static str) -> Generator<String> {
    Generator::new(move |y: &Yielder<String>| scan(text, |token| y.yield_(token.to_string())))
}

fn main() {
    // An iterator can be peeked, zipped and stopped early. A callback cannot.
    let mut tokens = tokens("let x1 = y << 2 + 40;").peekable();
    while let Some(token) = tokens.next() {
        match tokens.peek() {
            Some(next) => println!("{token:4} before {next}"),
            None => println!("{token:4} at the end"),
        }
    }
}
