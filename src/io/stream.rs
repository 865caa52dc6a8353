//! Streams that read into a buffer of the thread's pool.
#![forbid(unsafe_code)]

pub(crate) use self::sealed::Transfer;

/// A stream socket: [`TcpStream`](crate::net::TcpStream), [`UnixStream`](crate::net::UnixStream), or a shared reference to one. Sealed:
/// [`Buffered`](super::Buffered) needs reads of streams that other types do not have.
pub trait Stream: sealed::Transfer {}

impl<S: Transfer> Stream for S {}

mod sealed {
    use crate::io::buffer::Chunk;
    use std::io;

    /// The transfers of a stream.
    pub trait Transfer {
        /// Waits for data, and returns it in a buffer of the pool. No buffer is taken while the call waits.
        fn receive(&self) -> io::Result<Chunk>;

        /// Like `receive`, but returns `None` where the call would wait.
        fn try_receive(&self) -> io::Result<Option<Chunk>>;

        /// Waits for data, and reads it into `buffer`.
        fn receive_into(&self, buffer: &mut [u8]) -> io::Result<usize>;

        /// Like `receive_into`, but returns `None` where the call would wait.
        fn try_receive_into(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

        /// Waits for room, and writes.
        fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    }

    impl<S: Transfer + ?Sized> Transfer for &S {
        fn receive(&self) -> io::Result<Chunk> {
            (**self).receive()
        }

        fn try_receive(&self) -> io::Result<Option<Chunk>> {
            (**self).try_receive()
        }

        fn receive_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
            (**self).receive_into(buffer)
        }

        fn try_receive_into(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            (**self).try_receive_into(buffer)
        }

        fn send(&self, bytes: &[u8]) -> io::Result<usize> {
            (**self).send(bytes)
        }
    }
}
