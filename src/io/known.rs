//! The readers and writers whose descriptors `copy` knows: it takes any `Read` and `Write`, and asks here for the type.
//!
//! The standard library does the same for its own `copy`, by specialization. Here the types are compared by their `TypeId`, without
//! lifetimes.

use super::source::Source;
use super::stream::Transfer;
use super::{child_stdio, pipe};
use crate::reactor::Interest;
use std::any::TypeId;
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::OnceLock;
use std::time::Duration;

/// A reader or writer that `copy` knows.
pub(super) enum Known<'a> {
    /// A stream of `net`.
    Stream(&'a dyn KnownStream),
    /// A pipe of this library, with its link to the reactor.
    Pipe(BorrowedFd<'a>, &'a Source),
    /// A file, a pipe of `std` or another descriptor.
    Fd(BorrowedFd<'a>),
}

/// A stream of `net`, a higher layer.
pub(crate) trait KnownStream: Transfer {
    fn fd(&self) -> BorrowedFd<'_>;
    fn source(&self) -> &Source;
    fn timeout(&self, interest: Interest) -> Option<Duration>;
}

/// A type of stream.
struct StreamType {
    /// The ids of the type, of a reference to it, and of a mutable reference.
    ids: [TypeId; 3],
    /// Casts a pointer to a stream of this type.
    cast: fn(*const ()) -> *const dyn KnownStream,
}

/// The names of the types of streams.
#[derive(Clone, Copy)]
pub(crate) enum StreamName {
    Tcp,
    Unix,
}

/// The types of streams. Each is set by `net` before it makes the first stream of the type.
static STREAMS: [OnceLock<StreamType>; 2] = [const { OnceLock::new() }; 2];

/// Sets the type of a stream.
#[inline]
pub(crate) fn know_stream<S: KnownStream + 'static>(name: StreamName) {
    let known = &STREAMS[name as usize];
    if known.get().is_none() {
        let ids = [TypeId::of::<S>(), TypeId::of::<&'static S>(), TypeId::of::<&'static mut S>()];
        known.get_or_init(|| StreamType { ids, cast: |stream| stream.cast::<S>() });
    }
}

/// Returns the `TypeId` that `T` has with all its lifetimes replaced by `'static`.
fn id_of<T: ?Sized>() -> TypeId {
    trait Id {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T: ?Sized> Id for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let phantom = PhantomData::<T>;
    let id: &dyn Id = &phantom;
    // SAFETY: only the lifetime bound of the trait object changes, and with it no value: `id` returns a constant, and
    // neither stores nor returns a reference.
    unsafe { std::mem::transmute::<&dyn Id, &(dyn Id + 'static)>(id) }.id()
}

/// Returns `value` as a `&U`, if `T` is `U`, a reference to a `U` or a mutable one.
///
/// `U` has no lifetimes (`'static`), so equal `TypeId`s of `T` and `U` are equal types.
fn cast<T: ?Sized, U: 'static>(value: &T) -> Option<&U> {
    let (id, place) = (id_of::<T>(), std::ptr::from_ref(value));
    if id == TypeId::of::<U>() {
        // SAFETY: `T` is `U`, and `value` is borrowed for the lifetime of the result.
        return Some(unsafe { &*place.cast::<U>() });
    }
    if id == TypeId::of::<&'static U>() {
        // SAFETY: `T` is a reference to a `U` of some lifetime, which lasts at least as long as the borrow of `value`.
        return Some(unsafe { *place.cast::<&U>() });
    }
    if id == TypeId::of::<&'static mut U>() {
        // SAFETY: `T` is a mutable reference to a `U`, which is borrowed, through `value`, for the lifetime of the result.
        return Some(unsafe { &**place.cast::<&mut U>() });
    }
    None
}

fn stream<T: ?Sized>(value: &T) -> Option<&dyn KnownStream> {
    let (id, place) = (id_of::<T>(), std::ptr::from_ref(value).cast::<()>());
    for StreamType { ids, cast } in STREAMS.iter().filter_map(OnceLock::get) {
        let stream = match ids.iter().position(|stream| id == *stream) {
            Some(0) => place,
            // SAFETY: `T` is a reference, which has the representation of a pointer.
            Some(_) => unsafe { *place.cast::<*const ()>() },
            None => continue,
        };
        // SAFETY: `stream` points to the type that `cast` expects. `value` is that stream or a reference to it, so the stream is borrowed
        // at least for the lifetime of the result.
        return Some(unsafe { &*cast(stream) });
    }
    None
}

/// Returns the descriptor of a reader or writer, if `copy` knows its type.
pub(super) fn known<T: ?Sized>(value: &T) -> Option<Known<'_>> {
    fn fd<'a, U: AsFd + 'static>(value: Option<&'a U>) -> Option<BorrowedFd<'a>> {
        value.map(AsFd::as_fd)
    }
    if let Some(stream) = stream(value) {
        return Some(Known::Stream(stream));
    }
    let pipe = (cast(value).map(|pipe: &pipe::PipeReader| (pipe.as_fd(), pipe.source())))
        .or_else(|| cast(value).map(|pipe: &pipe::PipeWriter| (pipe.as_fd(), pipe.source())))
        .or_else(|| cast(value).map(|pipe: &child_stdio::ChildStdin| (pipe.as_fd(), pipe.source())))
        .or_else(|| cast(value).map(|pipe: &child_stdio::ChildStdout| (pipe.as_fd(), pipe.source())))
        .or_else(|| cast(value).map(|pipe: &child_stdio::ChildStderr| (pipe.as_fd(), pipe.source())));
    if let Some((fd, source)) = pipe {
        return Some(Known::Pipe(fd, source));
    }
    fd::<File>(cast(value))
        .or_else(|| fd::<PipeReader>(cast(value)))
        .or_else(|| fd::<PipeWriter>(cast(value)))
        .or_else(|| fd::<ChildStdin>(cast(value)))
        .or_else(|| fd::<ChildStdout>(cast(value)))
        .or_else(|| fd::<ChildStderr>(cast(value)))
        .map(Known::Fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    fn is_fd<T: ?Sized>(value: &T) -> bool {
        matches!(known(value), Some(Known::Fd(_)))
    }

    #[test]
    fn known_types_are_found_behind_references() {
        let mut file = File::open("/dev/null").unwrap();
        assert!(is_fd(&file) && is_fd(&&file) && is_fd(&&mut file));
        let reference = &file;
        let Some(Known::Fd(fd)) = known(&reference) else { panic!("a reference to a file is known") };
        assert_eq!(fd.as_raw_fd(), file.as_raw_fd());
        assert!(!is_fd(&&&file), "two references are none of the types");
        assert!(!is_fd(&[1_u8][..]) && !is_fd("text") && !is_fd(&Vec::<u8>::new()));
        let hidden: &mut dyn Read = &mut file;
        assert!(!is_fd(hidden) && !is_fd(&hidden));
    }
}
