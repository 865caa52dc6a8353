//! Cookbook: short complete programs, each of them tested. Above each is when to use it, below it what to watch for.
//!
//! * [`generators`]: [same fringe](generators#same-fringe), [k-way merge](generators#k-way-merge),
//!   [permutations](generators#permutations), [generators in traits and structs](generators#generators-in-traits-and-structs).
//! * [`pipelines`]: [follow, grep and broadcast over a growing log](pipelines#follow-grep-and-broadcast-over-a-growing-log),
//!   [events of a parser as dictionaries](pipelines#events-of-a-parser-as-dictionaries).
//! * [`tasks`]: [a small operating system](tasks#a-small-operating-system),
//!   [a queue simulation against theory](tasks#a-queue-simulation-against-theory), [actors](tasks#actors),
//!   [dining philosophers](tasks#dining-philosophers), [a cache with single flight](tasks#a-cache-with-single-flight).
//! * [`services`]:
//!   [a thousand workers with a limit, a timeout, retries and a stop](services#a-thousand-workers-with-a-limit-a-timeout-retries-and-a-stop),
//!   [progress of many tasks](services#progress-of-many-tasks), [fan-out and fan-in](services#fan-out-and-fan-in),
//!   [select with a deadline](services#select-with-a-deadline), [periodic jobs](services#periodic-jobs),
//!   [retries with back-off](services#retries-with-back-off).
//! * [`sockets`](mod@sockets): [a TCP echo server and client](mod@sockets#a-tcp-echo-server-and-client),
//!   [a server for a line protocol, with a shutdown](mod@sockets#a-server-for-a-line-protocol-with-a-shutdown),
//!   [an HTTP GET over a socket](mod@sockets#an-http-get-over-a-socket).
//! * [`files_and_processes`]: [copying a tree of files](files_and_processes#copying-a-tree-of-files),
//!   [child processes with pipes](files_and_processes#child-processes-with-pipes), [Ctrl-C](files_and_processes#ctrl-c).
//! * [`bridges`]: [nftw as an iterator](bridges#nftw-as-an-iterator),
//!   [qsort with comparisons that wait](bridges#qsort-with-comparisons-that-wait),
//!   [a future in synchronous code](bridges#a-future-in-synchronous-code),
//!   [stackful code as a future](bridges#stackful-code-as-a-future),
//!   [work of the processor on several cores](bridges#work-of-the-processor-on-several-cores).
//! * [`inside_tokio`]: [inside of tokio](inside_tokio#inside-of-tokio).
//! * [`testing`]: [a test with a paused clock](testing#a-test-with-a-paused-clock), [a test with seeds](testing#a-test-with-seeds).
#![forbid(unsafe_code)]

pub mod bridges;
#[cfg(feature = "io")]
pub mod files_and_processes;
pub mod generators;
pub mod inside_tokio;
pub mod pipelines;
pub mod services;
#[cfg(feature = "io")]
pub mod sockets;
pub mod tasks;
pub mod testing;
