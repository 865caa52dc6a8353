// The first definition of a link counts: here the glossary and the guide are modules, in the README files.
//! [glossary]: mod@glossary
//! [sockets]: mod@guide::sockets
//! [several cores]: mod@guide::workers
//! [processes]: mod@guide::processes
//! [blocking calls]: mod@guide::blocking_calls
//! [C callbacks]: mod@guide::c_callbacks
//! [async Rust]: mod@guide::async_rust
//! [tokio]: mod@guide::tokio
//! [cookbook]: mod@guide::cookbook
//! [tables of names]: mod@guide::coming_from
//!
#![doc = include_str!("../README.md")]

#[cfg(not(all(unix, target_pointer_width = "64")))]
compile_error!("cede runs on 64-bit Unix systems: Linux on x86_64 and aarch64 is tested, see the README's table");

// In layer order, the lowest first: each module uses only lower layers. `tests/layers.rs` enforces that.
#[path = "../arch/mod.rs"]
mod arch;
mod report;
mod sys;
pub mod stack;
pub mod coroutine;
mod suspend_check;
pub mod generator;
pub mod pipeline;
#[cfg(feature = "io")]
mod reactor;
mod scheduler;
mod wait;
pub mod task;
pub mod time;
pub mod sync;
pub mod blocking;
#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "io")]
pub mod net;
#[cfg(feature = "io")]
pub mod fs;
#[cfg(feature = "io")]
pub mod signal;
#[cfg(feature = "io")]
pub mod process;
pub mod bridge;
pub mod observe;
mod runtime;
pub mod prelude;
pub mod glossary;
pub mod guide;

pub use bridge::{block_on, fiber};
pub use coroutine::{Builder, Coroutine, CoroutineState, Scoped, State, Suspender, scoped};
pub use generator::{CloseError, Generator, Interrupt, ReadAhead, SendError, ThrowError, Yielder};
pub use observe::dump::dump;
pub use observe::metrics::metrics;
pub use pipeline::{Inbox, Sink};
pub use runtime::{Canceller, Config, FailedSchedule, RunError, RunFailure, RunFuture, WorkersError, run};
pub use stack::StackError;
pub use task::{
    JoinError, JoinHandle, as_completed, gather, join_all, no_suspend, race, scope, shield, spawn, spawn_each, timeout,
    try_join_all, yield_now,
};

/// Programs that must not compile, each with a twin that must.
#[cfg(doctest)]
#[doc = include_str!("../tests/soundness.md")]
mod soundness {}
