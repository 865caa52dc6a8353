//! Writing all of a buffer, with a count of what was written when that fails.
#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Write};

/// The error of [`write_all`]: not all bytes were written.
///
/// As an [`io::Error`] it keeps the kind, and [`is_cancelled`](super::is_cancelled) sees a cancel in it.
#[derive(Debug, thiserror::Error)]
#[error("sent {sent} of {len} bytes: {error}")]
#[non_exhaustive]
pub struct Partial {
    /// The number of bytes that were written before the error. The bytes from this index on were not.
    pub sent: usize,
    /// The number of bytes of the call.
    pub len: usize,
    /// The error that ended the call.
    #[source]
    pub error: io::Error,
}

impl From<Partial> for io::Error {
    fn from(partial: Partial) -> io::Error {
        io::Error::new(partial.error.kind(), partial)
    }
}

/// Writes all bytes, and waits where the stream waits. Unlike `Write::write_all`, says how much was written when it fails.
///
/// Cancel safety: after a cancel, the first `sent` bytes have been written; `sent` is a field of the error,
/// [`Partial`]. The stream remains usable, and a later call can continue with the rest of the bytes.
///
/// # Errors
///
/// The first error of a write, and `WriteZero` if the stream takes no more bytes, each with the number of bytes that were written.
///
/// ```
/// use cede::net::UnixStream;
/// use std::time::Duration;
/// cede::run(|| {
///     let (here, there) = UnixStream::pair()?;
///     let bytes = vec![7; 1 << 20]; // more than the socket has room for
///     let late = cede::timeout(Duration::from_millis(1), || cede::io::write_all(&here, &bytes));
///     let partial = late.unwrap_err().value.unwrap_err();
///     assert_eq!(partial.error.kind(), std::io::ErrorKind::TimedOut);
///     let mut reader = cede::spawn(move || std::io::read_to_string(&there).map(|text| text.len()));
///     cede::io::write_all(&here, &bytes[partial.sent..])?;
///     drop(here);
///     assert_eq!(reader.join().unwrap()?, bytes.len());
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "write")]
#[doc(alias = "send")]
#[track_caller]
pub fn write_all(mut stream: impl Write, bytes: &[u8]) -> Result<(), Partial> {
    let len = bytes.len();
    let mut sent = 0;
    while sent < len {
        let error = match stream.write(&bytes[sent..]) {
            Ok(0) => io::Error::new(ErrorKind::WriteZero, "the stream takes no more bytes"),
            Ok(count) => {
                sent += count;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return Err(Partial { sent, len, error });
    }
    Ok(())
}
