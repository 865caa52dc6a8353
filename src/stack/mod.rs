//! Stacks: pieces of address space with a guard page at the low end, kept in a pool for reuse.
//!
//! A stack costs address space, not memory: the kernel provides each page when it is first touched.
//!
//! * `arena` maps slabs. A slab is one mapping that contains many stacks of one size.
//! * `guard` protects the guard page below each stack.
//! * `pool` is the stack pool. It reuses the stack of an ended coroutine while its pages are still warm. `depot` decides how many
//!   pages the pool keeps.
//! * `overflow` reports a stack overflow by the name of the coroutine or task, and aborts the process.
//!
//! # Memory that is kept
//!
//! Unused stacks keep memory for their next users. Of each size: up to 32 stacks in each thread (16 MiB of address space at most if those are
//! more than two), up to [`pool_limit`] bytes (4 MiB) in the process, and while a run is alive what was used within the last one or two
//! [idle timeouts](set_pool_idle_timeout) (1 s). [`trim`] returns it, and [`stats`] counts it.
//!
//! ```text
//! one slot of a slab                      64 KiB stack, 4 KiB pages
//! 0x11000 +---------------------------+
//!         | staggering, (i mod 32)*64 |   tops of equal offset would all fall into the same cache sets
//! 0x10fc0 +---------------------------+ <- top      first address not usable; the owner's block is just below
//!         | owner's block             |
//!         | first frame               |
//!         |            |              |
//!         |            v              |
//! 0x01000 +---------------------------+ <- limit    lowest usable address
//!         | guard page: faults        |
//! 0x00000 +---------------------------+ <- the previous slot's end
//! ```

pub(crate) mod arena;
pub(crate) mod depot;
mod error;
pub(crate) mod guard;
pub(crate) mod overflow;
pub(crate) mod pool;
mod shape;

pub use self::depot::{Stats, pool_idle_timeout, pool_limit, set_pool_idle_timeout, set_pool_limit, stats};
pub use self::error::{Limit, StackError};
pub use self::guard::GuardKind;
pub(crate) use self::pool::Stack;
pub use self::pool::trim;
pub(crate) use self::shape::Shape;
pub use self::shape::{DEFAULT_SIZE, MAX_SIZE, min_size};
