//! Stacks: pieces of address space with a guard page at the low end, kept in a pool for reuse.
//!
//! A stack costs address space, not memory: the kernel provides each page when it is first touched.
//!
//! * `arena` maps slabs. A slab is one mapping that contains many stacks of one size.
//! * `guard` protects the guard page below each stack.
//! * `pool` is the stack pool. It reuses the stack of an ended coroutine while its pages are still warm.
//! * `overflow` reports a stack overflow by the name of the coroutine or task, and aborts the process.
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
mod error;
pub(crate) mod guard;
pub(crate) mod overflow;
pub(crate) mod pool;
mod shape;

pub use self::error::{Limit, StackError};
pub use self::guard::GuardKind;
pub(crate) use self::pool::Stack;
pub use self::pool::{Stats, pool_cap, set_pool_cap, stats, trim};
pub(crate) use self::shape::Shape;
pub use self::shape::{DEFAULT_SIZE, MAX_SIZE, min_size};
