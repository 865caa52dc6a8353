//! Operating-system services: signal handlers and the self-pipe. This module does not depend on tasks or workers.

pub(crate) mod membarrier;
pub(crate) mod signals;
