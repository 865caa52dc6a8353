//! Pushing: the trait of everything that takes items.

use crate::SendError;
use std::io::{self, BufRead};

/// A receiver of items: a [`Sink`](crate::Sink), or a stage in front of one.
///
/// To write a stage of your own, either write a sink whose body sends to the next target, or implement this trait.
pub trait Push<T> {
    /// The type of the result of [`finish`](Self::finish).
    type Output;

    /// Returns true if the receiver accepts the next item: the next [`send`](Self::send) then takes its item. If the
    /// receiver is a sink that has not started, starts its body, which runs until it waits for its first item.
    fn ready(&mut self) -> bool;

    /// Sends an item. Returns when the receiver waits for the next item or has ended.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Finished`] with the item if the receiver accepts no more items.
    fn send(&mut self, item: T) -> Result<(), SendError<T>>;

    /// Ends the input, lets every later stage finish, and returns the result.
    fn finish(self) -> Self::Output;

    /// Sends the items of an iterator until one is refused. A [`Generator`](crate::Generator) as the source costs a switch for each
    /// item; [`read_ahead`](crate::Generator::read_ahead) makes that one for several.
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
    /// Returns the error of `reader`. A line that is not UTF-8 is an error too. All earlier lines have been sent.
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
        feed_lines(self, reader)
    }
}

/// Sends to `target` what a stage made of an item that the stage has already accepted.
#[track_caller]
pub(super) fn deliver<T>(target: &mut (impl Push<T> + ?Sized), item: T) {
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

/// Sends lines while the target accepts them. Reads no line that the target would refuse.
fn feed_lines<T: From<String>>(target: &mut (impl Push<T> + ?Sized), mut reader: impl BufRead) -> io::Result<bool> {
    while target.ready() {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(true);
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        deliver(target, T::from(line));
    }
    Ok(false)
}
