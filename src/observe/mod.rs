//! Observation: what the tasks of a run do, wait for, and take too long over. Reads all other layers; only the run uses it.

pub(crate) mod deadlock;
pub(crate) mod dump;
pub(crate) mod metrics;
pub(crate) mod sampler;
pub(crate) mod slow_turn;
pub(crate) mod watchdog;

pub use self::deadlock::{DeadlockReport, Stuck};
pub use self::dump::{Dump, TaskDump};
pub use self::metrics::Metrics;
pub use self::slow_turn::SlowTurn;
