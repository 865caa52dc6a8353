//! Push pipelines: a source pushes items through stages into a [`Sink`].
//!
//! Python's tutorials write a filter as a coroutine that receives in a loop and sends to a target. Here the receiving
//! loop is the body of a [`Sink`]. The usual stages are functions whose last argument is their target, so a pipeline
//! reads in the order in which items travel:
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
//! # No item is lost
//!
//! Every stage checks whether its target is [`ready`](Push::ready) before it accepts an item. So an accepted item
//! passes through all stages, and a refused item comes back in the error. A stage whose target has ended is never
//! ready, so an early end travels back to the source, which stops.
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

/// A receiver of items: a [`Sink`], or a stage in front of one.
///
/// To write a stage of your own, either write a sink whose body sends to the next target, or implement this trait.
pub trait Push<T> {
    /// The type of the result of [`finish`](Self::finish).
    type Output;

    /// Returns true if the receiver accepts the next item: the next [`send`](Self::send) then takes its item. Runs a
    /// coroutine that has not started until it waits for its first item.
    fn ready(&mut self) -> bool;

    /// Sends an item. Returns when the receiver waits for the next item or has ended.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Finished`] with the item if the receiver accepts no more items.
    fn send(&mut self, item: T) -> Result<(), SendError<T>>;

    /// Ends the input, lets every later stage finish, and returns the result.
    fn finish(self) -> Self::Output;

    /// Sends the items of an iterator until one is refused.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Finished`] with the refused item. The rest stays in the iterator: pass `iterator.by_ref()`
    /// to continue with it elsewhere.
    fn feed(&mut self, items: impl IntoIterator<Item = T>) -> Result<(), SendError<T>> {
        items.into_iter().try_for_each(|item| self.send(item))
    }

    /// Sends every line of `reader`, without its line ending (`\n` or `\r\n`). Returns true at the end of the input,
    /// and false when the pipeline accepts no more items. No line is read that the pipeline does not accept.
    ///
    /// # Errors
    ///
    /// Returns the error of `reader`, also for a line that is not UTF-8. All earlier lines have been sent.
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

/// Sends the result of an item that was already accepted.
#[track_caller]
fn deliver<T>(target: &mut (impl Push<T> + ?Sized), item: T) {
    if target.send(item).is_err() {
        panic!("a pipeline stage was ready and then refused an item: its `Push::ready` is wrong");
    }
}

/// Pushes to a borrowed stage. `finish` then does nothing, and the owner of the stage finishes it.
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
