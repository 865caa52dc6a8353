//! Diagnostics of a run: dumps with backtraces, metrics, deadlock reports, and a watchdog for slow turns. Reads all lower
//! layers; only `runtime` uses it.

mod ask;
pub(crate) mod deadlock;
mod descriptor;
pub(crate) mod dump;
pub(crate) mod endless;
pub(crate) mod endless_watch;
mod memory;
pub(crate) mod metrics;
pub(crate) mod sampler;
pub(crate) mod slow_turn;
#[cfg(feature = "tracing")]
mod spans;
pub(crate) mod watchdog;

pub use self::deadlock::{DeadlockReport, Stuck};
pub use self::descriptor::Descriptor;
pub use self::dump::{Dump, TaskDump};
pub use self::endless::EndlessWait;
pub use self::metrics::Metrics;
pub use self::slow_turn::SlowTurn;
#[cfg(feature = "tracing")]
pub use self::spans::PerTask;
