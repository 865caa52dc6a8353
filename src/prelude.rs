//! What most programs use: `use cede::prelude::*;`.

pub use crate::pipeline::Push;
pub use crate::{Builder, Generator, Inbox, Sink, Step, Yielder, run, spawn, yield_now};
