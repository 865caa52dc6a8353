//! Services of the operating system: signal handlers with a self-pipe. Knows nothing of tasks.

pub(crate) mod membarrier;
pub(crate) mod signals;
