//! A deadlock of two tasks that wait for each other: the run ends with a report of it.
//!
//! cargo run --example deadlock

use cede::task::{Unparker, park};
use cede::{Builder, Config, RunError};
use std::cell::RefCell;
use std::rc::Rc;

fn main() {
    // A closed world: no other thread wakes these tasks. When all of them wait, it is a deadlock.
    let result = Config::new().closed_world(true).run(|| {
        let waiting: Rc<RefCell<Vec<Unparker>>> = Rc::default();
        let mut tasks = [("fork", "the knife"), ("knife", "the fork")].map(|(name, other)| {
            let waiting = Rc::clone(&waiting);
            let polite = move || {
                waiting.borrow_mut().push(Unparker::current());
                let told = park(other); // each task wakes the other only after it was woken itself
                waiting.borrow().iter().for_each(Unparker::unpark);
                told
            };
            Builder::new().name(name).spawn(polite).unwrap()
        });
        tasks[0].join().map_err(|error| error.to_string())
    });
    match result {
        Err(RunError::Deadlock { report, outcome }) => {
            println!("{report}");
            println!("the join returned: {:?}", outcome.unwrap().unwrap_err());
        }
        other => println!("no deadlock: {}", other.is_ok()),
    }
}
