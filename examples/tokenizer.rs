//! Push to pull: a scanner that calls back becomes an iterator, without changing the scanner.
//!
//! cargo run --example tokenizer

use cede::{Generator, Yielder};

/// Somebody else's interface: it calls back for every token and is done when it is done.
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
    // An iterator can be looked ahead in, zipped and stopped early; the callback could not.
    let mut tokens = tokens("let x1 = y << 2 + 40;").peekable();
    while let Some(token) = tokens.next() {
        match tokens.peek() {
            Some(next) => println!("{token:4} before {next}"),
            None => println!("{token:4} at the end"),
        }
    }
}
