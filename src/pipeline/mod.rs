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
//! let collector = Sink::new(|inbox: &Inbox<String>| inbox.iter().collect::<Vec<_>>());
//! let mut grep = pipeline::filter(|line: &String| line.contains("python"), pipeline::take(2, collector));
//! let end = grep.feed(["no", "a python", "two pythons", "python three"].map(String::from));
//! assert_eq!(end.unwrap_err().into_inner(), "python three"); // `take` has ended: `filter` refused it
//! assert_eq!(grep.finish(), ["a python", "two pythons"]);
//! ```
//!
//! # No item is lost
//!
//! Every stage checks whether its target is [`ready`](Push::ready) before it accepts an item. So no stage accepts an item
//! and then finds that its target refuses it. A refused item is returned in the error. A stage whose target has ended is
//! never ready, so the end of one stage ends all stages before it, and the source stops.
#![forbid(unsafe_code)]

mod inbox;
mod push;
mod sink;
mod stage;

pub use self::inbox::{Inbox, Iter};
pub use self::push::Push;
pub use self::sink::Sink;
pub use self::stage::{
    Batch, Broadcast, Filter, Fold, Inspect, Map, Take, Tee, batch, broadcast, collect, filter, fold, for_each,
    inspect, map, take, tee,
};
