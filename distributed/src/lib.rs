//! A grep over many machines: the parts of `dgrep`. README.md describes the commands and what each failure does.
//!
//! ```text
//! chunks -> window -> broker (jobs) -> workers: read, search -> broker (answers) -> order -> printer
//! ```
//!
//! The coordinator keeps every job that it has not printed, at most a window of them. It sends a job again if the broker has
//! lost it, and drops the second answer to a job. So the broker may forget everything, at any time, and the output stays that of
//! `grep -a -F -n -H`.
#![forbid(unsafe_code)]

pub mod args;
pub mod broker;
pub mod chunks;
/// A connection of the `redis` crate over a stream of cede; the same file is a module of the member crate `crates`.
#[path = "../../crates/src/redis.rs"]
pub mod connection;
pub mod coordinator;
pub mod job;
pub mod link;
pub mod printer;
pub mod progress;
pub mod search;
pub mod streams;
pub mod worker;

use std::hash::{BuildHasher, RandomState};

/// Returns a random number, for a name that no other process takes.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
