//! How tasks, workers and plain threads talk to each other.
//!
//! One set of types for all three: where a task waits, others have their turns; where a plain thread waits, it sleeps. What
//! is handed over goes to those who wait in the order in which they came, and whoever is cancelled while it waits loses
//! nothing: either it was handed something first, and returns that, or it leaves the line and the next one gets it.
#![forbid(unsafe_code)]

pub mod channel;
pub mod promise;
pub mod select;
pub(crate) mod waiters;

pub use self::promise::{Completion, Promise};
pub use self::select::Select;
#[cfg(test)]
mod tests;
