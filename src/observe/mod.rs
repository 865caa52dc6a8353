//! Diagnostics of a run: dumps with backtraces, metrics, deadlock reports, and a watchdog for slow turns. Reads all lower
//! layers; only `runtime` uses it.

mod ask;
pub(crate) mod deadlock;
mod descriptor;
pub(crate) mod dump;
mod memory;
pub(crate) mod metrics;
pub(crate) mod sampler;
pub(crate) mod slow_turn;
pub(crate) mod watchdog;

pub use self::deadlock::{DeadlockReport, Stuck};
pub use self::descriptor::Descriptor;
pub use self::dump::{Dump, TaskDump};
pub use self::metrics::Metrics;
pub use self::slow_turn::SlowTurn;
