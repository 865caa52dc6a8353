//! The buffers that a ring gives to receives which bring none: the kernel takes one when data is there.
//!
//! So a connection that waits holds no buffer. A completion names the buffer that has the data. Its receiver takes the buffer, and gives
//! the ring another one. If none is left, a receive fails with `ENOBUFS`, and takes no data.

use super::BUFFER_LEN;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering::Release};

/// A buffer.
pub(crate) type Bytes = Box<[u8; BUFFER_LEN]>;

/// The number of the group of buffers. A ring has one.
pub(crate) const GROUP: u16 = 0;

/// The number of buffers, a power of two. The kernel completes some 20 operations per call, and a receiver keeps its buffer until the
/// data is used, which for an echo is the next call.
const COUNT: u16 = 64;

/// The buffers, and the queue in which the kernel finds them.
pub(super) struct Provided {
    queue: MmapMut,
    tail: Cell<u16>,
    /// The buffer of each number, as `Box::into_raw` returned it: the kernel writes through this pointer.
    buffers: RefCell<Vec<*mut [u8; BUFFER_LEN]>>,
}

impl Provided {
    /// Makes the buffers by calls of `new`, and registers them.
    ///
    /// # Errors
    ///
    /// The error of mmap(2) or io_uring_register(2).
    pub(super) fn register(ring: &IoUring, mut new: impl FnMut() -> Bytes) -> io::Result<Provided> {
        let queue = MmapMut::map_anon(usize::from(COUNT) * size_of::<BufRingEntry>())?;
        // SAFETY: the mapping is page-aligned and has room for `COUNT` entries. The ring is dropped before it (`Ring`'s drop).
        unsafe { ring.submitter().register_buf_ring_with_flags(queue.as_ptr() as u64, COUNT, GROUP, 0) }?;
        let provided = Provided { queue, tail: Cell::new(0), buffers: RefCell::default() };
        for number in 0..COUNT {
            let buffer = Box::into_raw(new());
            provided.buffers.borrow_mut().push(buffer);
            provided.give(number, buffer);
        }
        Ok(provided)
    }

    fn entries(&self) -> *mut BufRingEntry {
        self.queue.as_ptr().cast_mut().cast()
    }

    /// Gives a buffer to the kernel.
    fn give(&self, number: u16, buffer: *mut [u8; BUFFER_LEN]) {
        let tail = self.tail.get();
        // SAFETY: the index is below `COUNT`, for which the mapping has room. The kernel does not read the entry at the tail, and no
        // reference to the mapping exists.
        let entry = unsafe { &mut *self.entries().add(usize::from(tail % COUNT)) };
        entry.set_addr(buffer.expose_provenance() as u64);
        entry.set_len(BUFFER_LEN as u32);
        entry.set_bid(number);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the address is that of the first entry, which is in the mapping. The kernel reads the tail by an atomic load.
        let place = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries()).cast_mut()) };
        place.store(tail.wrapping_add(1), Release);
    }

    /// Takes the buffer of a completion, and gives `other` to the kernel in its place.
    #[inline]
    pub(super) fn exchange(&self, number: u16, other: Bytes) -> Bytes {
        let other = Box::into_raw(other);
        let taken = std::mem::replace(&mut self.buffers.borrow_mut()[usize::from(number)], other);
        self.give(number, other);
        // SAFETY: `Box::into_raw` made the pointer, and the table had it once. The completion that names the buffer has ended its use by
        // the kernel.
        unsafe { Box::from_raw(taken) }
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        for buffer in self.buffers.get_mut().drain(..) {
            // SAFETY: `Box::into_raw` made the pointer, and nothing else owns the buffer. The ring has been dropped, or this process is a
            // child, of whose memory the kernel uses nothing.
            drop(unsafe { Box::from_raw(buffer) });
        }
    }
}
