//! Coming from another language or library: its names in a table, and the names here. The programs below each table use every line of it.
//!
//! * [`python_generators`]: `yield`, `send`, `throw`, `close`, `yield from`, consumers.
//! * [`asyncio`]: tasks, cancels, timeouts, queues, threads.
//! * [`gevent`]: greenlets, pools, events, servers.
//! * [`go`]: goroutines, channels, `select`, contexts, `sync`.
//! * [`mod@tokio`]: tasks, channels, `select!`, times, blocking calls, sockets.
//! * [`crossbeam`]: channels, `select!`, scopes, queues, parkers.
//! * [`kotlin`]: scopes, jobs, channels, flows, dispatchers.
//!
//! # Three differences from all of them
//!
//! * *A call that waits looks like any other call.* There is no `await`, and any function that it goes through may be an ordinary one.
//! * *A cancel is a value.* The waits of a cancelled task return an error, and `?` ends the task. Nothing is thrown, and no future is
//!   dropped. A task that ignores the errors goes on until the end of the run.
//! * *A task stays on one thread, and nothing preempts it.* So its values need neither `Send` nor a lock between two waits, and a long
//!   computation delays the other tasks of its worker.
#![forbid(unsafe_code)]

pub mod asyncio;
pub mod crossbeam;
pub mod gevent;
pub mod go;
pub mod kotlin;
pub mod python_generators;
pub mod tokio;
