//! Adapters between cede's streams and crates that open their own connections, and a search for a cancel in their errors.
//!
//! A crate that takes any `Read + Write` needs no adapter: rustls, tungstenite and httparse run over a
//! [`TcpStream`](cede::net::TcpStream) as they are. The tests of this crate show each of them. They also run such crates over the async
//! streams of tokio, by cede's `SyncIo`.
//!
//! # Stacks
//!
//! In an optimized build each of these crates fits into the default stack of 64 KiB: measured were 36 KiB for `ureq` with
//! rustls, 24 KiB for `ureq`, and at most 16 KiB for the rest. Without optimization `ureq` needs 84 KiB, and 120 KiB with
//! rustls, so give its tasks 256 KiB ([`Config::stack_size`](cede::Config::stack_size)); the rest needs at most 52 KiB. The
//! test `stacks` measures them.
//!
//! flate2, which `zip` uses, needs a larger stack in any build: 68 KiB to compress and 56 KiB to decompress, and without optimization
//! 300 KiB and 116 KiB.
#![forbid(unsafe_code)]

/// A page of cede's guide, whose programs run here, where there is a runtime of tokio. Elsewhere the feature `guide` is missing.
#[cfg(doctest)]
#[path = "../../src/guide/tokio.rs"]
pub mod tokio;

/// The same for a recipe of the cookbook.
#[cfg(doctest)]
#[path = "../../src/guide/cookbook/inside_tokio.rs"]
pub mod inside_tokio;

pub mod http;
pub mod redis;

use std::error::Error;
use std::io;
use std::sync::Arc;

/// Returns the first I/O error in the chain of sources that begins with `error`.
pub fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // `redis` shares its I/O errors, so that its errors can be cloned.
        let shared = error.downcast_ref::<Arc<dyn Error + Send + Sync>>();
        let error = shared.map_or(error, |shared| &**shared as &'a (dyn Error + 'static));
        // The errors of `ureq` have no source.
        let hidden =
            error.downcast_ref().and_then(|error| if let ureq::Error::Io(error) = error { Some(error) } else { None });
        if let Some(error) = hidden.or(error.downcast_ref()) {
            return Some(error);
        }
        next = error.source();
    }
    None
}

/// Returns whether an error, or an error in its chain of sources, is the I/O error of a wait that a cancel or a deadline ended.
pub fn is_cancelled(error: &(dyn Error + 'static)) -> bool {
    io_error(error).is_some_and(cede::io::is_cancelled)
}
