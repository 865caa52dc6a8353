//! Pipelines that are pushed: a [`Sink`] at the end, stages before it, a source that drives them.
//!
//! Python's tutorials write a filter as a coroutine that receives in a loop and sends on to a target. Here the receiving
//! loop is the body of a [`Sink`], and the usual stages are functions whose last argument is their target, so that a
//! pipeline reads in the order in which items travel:
//!
//! ```
//! use cede::pipeline::{self, Push};
//! use cede::{Inbox, Sink};
//!
//! let printer = Sink::new(|inbox: &Inbox<String>| inbox.iter().collect::<Vec<_>>());
//! let mut grep = pipeline::filter(|line: &String| line.contains("python"), pipeline::take(2, printer));
//! let end = grep.feed(["no", "a python", "two pythons", "python three"].map(String::from));
//! assert_eq!(end.unwrap_err().into_inner(), "python three"); // `take` had enough: the item comes back
//! assert_eq!(grep.finish(), ["a python", "two pythons"]);
//! ```
//!
//! # Nothing is lost
//!
//! Every stage asks whether its target is [`ready`](Push::ready) before it takes an item, so an item is either taken and
//! goes all the way, or comes back in the error. A stage whose target has ended is never ready, so an early end travels up
//! to the source, which stops.
#![forbid(unsafe_code)]

mod inbox;
mod sink;
mod source;
mod stage;

pub use self::inbox::{Inbox, Iter};
pub use self::sink::Sink;
pub use self::stage::{
    Batch, Broadcast, Filter, Fold, Inspect, Map, Take, Tee, batch, broadcast, collect, filter, fold, for_each,
    inspect, map, take, tee,
};

use crate::SendError;
use std::io::{self, BufRead};

/// What items can be pushed to: a [`Sink`], or a stage in front of one.
///
/// To write a stage of your own, either write a sink whose body sends on, or implement this.
pub trait Push<T> {
    /// What [`finish`](Self::finish) returns.
    type Output;

    /// Whether the next item will be taken. A coroutine that has not started runs up to where it waits for its first item.
    ///
    /// Once this has returned true, the next [`send`](Self::send) takes its item.
    fn ready(&mut self) -> bool;

    /// Hands over an item; returns when the receiver wants the next, or has ended.
    ///
    /// # Errors
    ///
    /// [`SendError::Finished`] with the item when the receiver takes no more.
    fn send(&mut self, item: T) -> Result<(), SendError<T>>;

    /// Ends the input, lets everything behind it finish, and returns the result.
    fn finish(self) -> Self::Output;

    /// Sends every item of an iterator, until one is refused.
    ///
    /// # Errors
    ///
    /// [`SendError::Finished`] with the item that was refused. What the iterator has not given yet stays in it: pass
    /// `iterator.by_ref()` to go on with it elsewhere.
    fn feed(&mut self, items: impl IntoIterator<Item = T>) -> Result<(), SendError<T>> {
        items.into_iter().try_for_each(|item| self.send(item))
    }

    /// Sends every line of `reader`, without its end (`\n` or `\r\n`). Returns true when the reader has come to its end, and
    /// false when the pipeline takes no more: no line has been read then that it did not take.
    ///
    /// # Errors
    ///
    /// When reading fails, also on a line that is not UTF-8. What was read before has been sent.
    ///
    /// ```
    /// use cede::pipeline::{self, Push};
    /// let mut lines = pipeline::collect::<Vec<String>, _>();
    /// assert!(lines.feed_lines("one\ntwo".as_bytes())?);
    /// assert_eq!(lines.finish(), ["one", "two"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn feed_lines(&mut self, reader: impl BufRead) -> io::Result<bool>
    where
        T: From<String>,
    {
        source::feed_lines(self, reader)
    }
}

/// Sends what has become of an item that was accepted.
#[track_caller]
fn deliver<T>(target: &mut (impl Push<T> + ?Sized), item: T) {
    if target.send(item).is_err() {
        panic!("a pipeline's stage said that it was ready and then refused an item: its `Push::ready` is wrong");
    }
}

/// A stage may also be lent: the source then leaves it to its owner to finish it.
impl<T, P: Push<T>> Push<T> for &mut P {
    type Output = ();

    fn ready(&mut self) -> bool {
        (**self).ready()
    }

    fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        (**self).send(item)
    }

    fn finish(self) {}
}
