//! The search in a text, as a pipeline of three coroutines: `blocks` -> `matcher` -> `collector`.

use crate::job::Found;
use cede::{Generator, Inbox, Sink, Yielder};
use memchr::{memchr, memchr_iter, memmem, memrchr};
use std::ops::Range;
use std::rc::Rc;

/// The number of bytes that are searched in one turn of the task.
const BLOCK: usize = 64 * 1024;

/// Returns the lines of `text` that contain `pattern`, which has no line feed. Yields to the other tasks after each block, so
/// that a heartbeat is sent while a long text is searched.
pub fn search(pattern: &Rc<[u8]>, text: &Rc<Vec<u8>>) -> Found {
    let mut matcher = matcher(Rc::clone(pattern), Rc::clone(text), collector(Rc::clone(text)));
    for block in blocks(Rc::clone(text)) {
        if matcher.send(block).is_err() {
            break;
        }
        cede::yield_now();
    }
    matcher.finish()
}

/// Yields the ranges of blocks of whole lines.
fn blocks(text: Rc<Vec<u8>>) -> Generator<Range<usize>> {
    Generator::new(move |y: &Yielder<Range<usize>>| {
        let mut from = 0;
        while from < text.len() {
            // The last byte of the block may be the line feed already.
            let last = (from + BLOCK).min(text.len()) - 1;
            let to = memchr(b'\n', &text[last..]).map_or(text.len(), |after| last + after + 1);
            y.yield_(from..to);
            from = to;
        }
    })
}

/// Receives blocks, and sends the ranges of their selected lines on, without line feeds.
fn matcher(
    pattern: Rc<[u8]>,
    text: Rc<Vec<u8>>,
    mut collector: Sink<Range<usize>, Found>,
) -> Sink<Range<usize>, Found> {
    Sink::new(move |inbox: &Inbox<Range<usize>>| {
        let finder = memmem::Finder::new(&pattern);
        for block in inbox {
            let mut at = block.start;
            // The empty pattern is found at `at`, so it selects every line.
            while at < block.end
                && let Some(hit) = finder.find(&text[at..block.end])
            {
                let hit = at + hit;
                let from = memrchr(b'\n', &text[at..hit]).map_or(at, |before| at + before + 1);
                let to = memchr(b'\n', &text[hit..block.end]).map_or(block.end, |after| hit + after);
                if collector.send(from..to).is_err() {
                    break;
                }
                at = to + 1;
            }
        }
        collector.finish()
    })
}

/// Receives ranges of lines, and returns the lines with their numbers.
fn collector(text: Rc<Vec<u8>>) -> Sink<Range<usize>, Found> {
    Sink::new(move |inbox: &Inbox<Range<usize>>| {
        let mut found = Found::default();
        let mut counted = 0;
        for line in inbox {
            found.newlines += memchr_iter(b'\n', &text[counted..line.start]).count() as u64;
            counted = line.start;
            let number = u32::try_from(found.newlines).expect("a part is shorter than 4 GiB");
            found.add(number, &text[line]);
        }
        found.newlines += memchr_iter(b'\n', &text[counted..]).count() as u64;
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pattern: &str, text: &[u8]) -> (u64, Vec<(u32, Vec<u8>)>) {
        let found = cede::run(|| search(&pattern.as_bytes().into(), &Rc::new(text.to_vec())));
        (found.newlines, found.lines().map(|line| line.map(|(n, line)| (n, line.to_vec())).unwrap()).collect())
    }

    /// The same by std alone.
    fn expected(pattern: &str, text: &[u8]) -> (u64, Vec<(u32, Vec<u8>)>) {
        let newlines = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let mut all: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        if all.last().is_some_and(|last| last.is_empty()) {
            all.pop();
        }
        let holds = |line: &[u8]| String::from_utf8_lossy(line).contains(pattern);
        let hits = (0..).zip(all).filter(|(_, line)| holds(line));
        (newlines, hits.map(|(n, line)| (n, line.to_vec())).collect())
    }

    #[test]
    fn lines_are_those_of_a_plain_loop() {
        let long = "x".repeat(3 * BLOCK);
        let texts = [
            String::new(),
            "\n".into(),
            "ab".into(),
            "a\nb\nab\n".into(),
            "\n\na\n\n".into(),
            format!("a\n{long}\nb"),
            format!("{long}a\nab"),
            "a line\nanother, of b\n".repeat(10_000),
            "y".repeat(BLOCK - 1) + "\na\n",
        ];
        for text in texts {
            for pattern in ["", "a", "b", "ab", "xa", "no such text"] {
                let (text, start) = (text.as_bytes(), &text[..text.len().min(20)]);
                assert!(lines(pattern, text) == expected(pattern, text), "{pattern:?} in {start:?}");
            }
        }
    }
}
