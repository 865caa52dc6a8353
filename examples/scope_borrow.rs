//! Scoped tasks that borrow: `scope` returns when all its tasks have ended, so they may borrow local variables.
//!
//! cargo run --example scope_borrow

use cede::task::{self, ScopeError};
use cede::{scope, yield_now};
use std::cell::Cell;

fn main() -> Result<(), ScopeError<usize>> {
    let text = "one two three four five six seven eight";
    let (mut longest, mut letters) = ("", 0);

    // The main of a run may borrow, too.
    let words = cede::run(|| {
        scope(|s| {
            s.spawn(|| longest = text.split(' ').max_by_key(|word| word.len()).unwrap_or(""));
            s.spawn(|| {
                for word in text.split(' ') {
                    letters += word.len();
                    yield_now();
                }
            });
            let mut words = s.spawn(|| text.split(' ').count());
            words.join().expect("it returns")
        })
    })?;
    println!("{words} words of {letters} letters; the longest is '{longest}'");

    // The task that finds the book cancels the scope.
    let shelves =
        [&["Emma", "Dracula", "Ulysses", "Walden"][..], &["Candide", "Faust", "Othello"], &["Iliad", "Utopia"]];
    let (mut looked, found) = ([0; 3], Cell::new("nowhere"));
    let search = || {
        scope(|s| {
            for (shelf, looked) in shelves.iter().zip(&mut looked) {
                let found = &found;
                s.spawn(move || {
                    for &title in *shelf {
                        if task::check().is_err() {
                            return; // another task has found it
                        }
                        *looked += 1;
                        if title == "Faust" {
                            found.set(title);
                            s.cancel();
                        }
                        yield_now();
                    }
                });
            }
        })
    };
    cede::run(search).expect("no task panics");
    println!("found {}, after a look at {looked:?} books", found.get());
    Ok(())
}
