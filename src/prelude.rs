//! What most programs use: `use cede::prelude::*;`.

pub use crate::pipeline::Push;
pub use crate::{Builder, Coroutine, CoroutineState, Generator, Inbox, Sink, Step, Yielder};
