//! The read buffers of a thread, which streams lend while there are bytes in them.
//!
//! A call takes a buffer only when it attempts a read, and gives the buffer back when the bytes are consumed. So a connection that waits
//! holds no buffer. The code that uses the bytes may suspend: then the next call, of another task, takes another buffer.
//!
//! The pool belongs to the thread and not to the worker, so that plain threads have one, too. It keeps at most `KEPT` idle buffers
//! (256 KiB). The buffer that was given back last is taken first, because it is in the cache.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// The size of a buffer, in bytes.
pub(crate) use crate::reactor::BUFFER_LEN as LEN;

/// The largest number of idle buffers that a thread keeps.
const KEPT: usize = 64;

type Bytes = Box<[u8; LEN]>;

thread_local! {
    /// The idle buffers. Borrowed only inside `take` and `give_back`, which neither suspend nor call user code.
    static IDLE: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of the thread's pool, given back by the drop. Its contents are unspecified.
pub(crate) struct Lent {
    /// Present until the drop.
    bytes: Option<Bytes>,
}

impl Lent {
    /// Takes the buffer that was given back last, or allocates one.
    // Not inlined: a caller that suspends must not keep the address of the thread-local.
    #[inline(never)]
    pub(crate) fn take() -> Lent {
        // The pool is gone if a destructor of another thread-local calls.
        let idle = IDLE.try_with(|idle| idle.borrow_mut().pop()).ok().flatten();
        Lent { bytes: Some(idle.unwrap_or_else(allocate)) }
    }
}

impl From<Bytes> for Lent {
    fn from(bytes: Bytes) -> Lent {
        Lent { bytes: Some(bytes) }
    }
}

impl From<Lent> for Bytes {
    fn from(mut lent: Lent) -> Bytes {
        lent.bytes.take().expect("present until the drop")
    }
}

#[cold]
fn allocate() -> Bytes {
    // Not `Box::new`: a task's stack may be smaller than the buffer.
    match vec![0; LEN].into_boxed_slice().try_into() {
        Ok(bytes) => bytes,
        Err(_) => unreachable!("the slice has the length of the array"),
    }
}

#[inline(never)]
fn give_back(bytes: Bytes) {
    let _ = IDLE.try_with(|idle| {
        let mut idle = idle.borrow_mut();
        if idle.len() < KEPT {
            idle.push(bytes);
        }
    });
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            give_back(bytes);
        }
    }
}

impl Deref for Lent {
    type Target = [u8; LEN];

    #[inline]
    fn deref(&self) -> &[u8; LEN] {
        self.bytes.as_deref().expect("present until the drop")
    }
}

impl DerefMut for Lent {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8; LEN] {
        self.bytes.as_deref_mut().expect("present until the drop")
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

/// Bytes that a read has stored in a buffer of the pool.
#[derive(Debug)]
pub struct Chunk {
    pub(crate) buffer: Lent,
    pub(crate) len: usize,
}

impl Chunk {
    /// Returns the bytes; none at the end of the stream.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(buffer: &Lent) -> usize {
        buffer.as_ptr() as usize
    }

    #[test]
    fn buffer_given_back_is_taken_next() {
        let (first, second) = (Lent::take(), Lent::take());
        let addresses = [address(&first), address(&second)];
        assert_ne!(addresses[0], addresses[1]);
        drop(first);
        drop(second);
        let (second, first) = (Lent::take(), Lent::take());
        assert_eq!([address(&first), address(&second)], addresses);
    }

    #[test]
    fn idle_buffers_are_bounded() {
        let many: Vec<_> = (0..3 * KEPT).map(|_| Lent::take()).collect();
        drop(many);
        assert_eq!(IDLE.with_borrow(Vec::len), KEPT);
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn panicking_user_gives_the_buffer_back() {
        let _ = std::panic::catch_unwind(|| {
            let _buffer = Lent::take();
            panic!("in the closure");
        });
        assert_eq!(IDLE.with_borrow(Vec::len), 1);
    }
}
