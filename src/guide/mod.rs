//! Guide: pages on one subject each, with programs that run.
//!
//! * [`cookbook`]: short complete programs with when to use each and what to watch for: generators, pipelines, actors, caches, servers,
//!   files, processes, callbacks of C, tests.
//! * [`coming_from`]: the names of Python's generators, asyncio, gevent, Go, tokio, crossbeam and Kotlin, and the names here.
//! * [`sockets`]: servers and clients, names, buffers, deadlines, cancels, half-closes, select, the types of std, plain threads, drivers,
//!   limits.
//! * [`blocking_calls`]: calls that stop the whole run, their replacements (files, standard streams, the pool), and how to find them.
//! * [`workers`]: several cores: where tasks run, what may move, servers, locks, the end, tests, figures.
//! * [`processes`]: children, their output, time limits, the end of a program by Ctrl-C and SIGTERM.
//! * [`async_rust`]: futures in tasks, fibers and runs as futures, cancels, readers, writers and streams, wakers, and limits.
//! * [`mod@tokio`]: tokio inside of a run, and cede inside of tokio.
//! * [`c_callbacks`]: waits inside a callback of C code, and their limits.
#![forbid(unsafe_code)]

pub mod async_rust;
pub mod blocking_calls;
pub mod c_callbacks;
pub mod coming_from;
pub mod cookbook;
#[cfg(feature = "io")]
pub mod processes;
#[cfg(feature = "io")]
pub mod sockets;
pub mod tokio;
#[cfg(feature = "io")]
pub mod workers;
