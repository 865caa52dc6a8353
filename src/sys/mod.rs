//! Operating-system services: signal handlers and the self-pipe. This module does not depend on tasks or workers.

pub(crate) mod membarrier;
mod page;
pub(crate) mod signals;

pub(crate) use self::page::page_size;
