//! Operating-system services: signal handlers, the self-pipe, and the list of the library's threads. This module does not depend on tasks or workers.

pub(crate) mod membarrier;
mod page;
pub(crate) mod signals;
pub(crate) mod threads;

pub(crate) use self::page::page_size;
