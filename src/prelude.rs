//! A prelude with the names that most programs use: `use cede::prelude::*;`.

pub use crate::pipeline::Push;
pub use crate::{Builder, CoroutineState, Generator, Inbox, Sink, Yielder, run, spawn, yield_now};
