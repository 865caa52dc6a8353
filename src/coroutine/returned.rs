//! The return value of a body, without its type: bodies that return different types then have the same type themselves.

use std::any::TypeId;
use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};
use std::ptr::from_ref;

/// The number of words that are stored in place. A larger value is stored on the heap.
const WORDS: usize = 3;

type Words = MaybeUninit<[usize; WORDS]>;

/// A type of stored values, without the type itself.
struct Kind {
    id: fn() -> TypeId,
    /// Drops the value in words of this kind, which are not used after that. `None` if that does nothing.
    drop: Option<unsafe fn(*mut Words)>,
}

/// Names the kind of an `R`.
struct Of<R>(R);

impl<R: 'static> Of<R> {
    const IN_PLACE: bool = size_of::<R>() <= size_of::<Words>() && align_of::<R>() <= align_of::<Words>();

    const KIND: Kind = Kind {
        id: TypeId::of::<R>,
        drop: if !Self::IN_PLACE {
            // SAFETY: the words hold a box for an R (contract of `Kind::drop`).
            Some(|words| unsafe { words.cast::<Box<R>>().drop_in_place() })
        } else if needs_drop::<R>() {
            // SAFETY: the words hold an R (contract of `Kind::drop`).
            Some(|words| unsafe { words.cast::<R>().drop_in_place() })
        } else {
            None
        },
    };
}

impl Kind {
    #[inline]
    fn is<R: 'static>(&self) -> bool {
        // One address per type and unit of compilation.
        std::ptr::eq(self, from_ref(&Of::<R>::KIND)) || (self.id)() == TypeId::of::<R>()
    }
}

/// The place for a return value.
pub(crate) struct Returning {
    /// The kind of the value that the words hold.
    kind: Cell<Option<&'static Kind>>,
    words: UnsafeCell<Words>,
}

/// A return value of any type. Dropping it drops the value.
pub(crate) struct Returned {
    kind: &'static Kind,
    words: Words,
}

impl Returning {
    #[inline]
    pub(crate) const fn new() -> Self {
        Returning { kind: Cell::new(None), words: UnsafeCell::new(Words::uninit()) }
    }

    /// Stores a value. There must be none.
    #[inline]
    pub(crate) fn put<R: 'static>(&self, value: R) {
        let words = self.words.get();
        // SAFETY: a box is one word, and an R that is stored in place fits. The words are on this thread alone, and no reference to them
        // exists outside of the functions here.
        unsafe {
            if const { Of::<R>::IN_PLACE } {
                words.cast::<R>().write(value)
            } else {
                words.cast::<Box<R>>().write(Box::new(value))
            }
        }
        self.kind.set(Some(&Of::<R>::KIND));
    }

    /// Takes the value.
    ///
    /// # Panics
    /// Panics if there is none, or one of another type.
    #[inline]
    pub(crate) fn take<R: 'static>(&self) -> R {
        assert!(self.kind.get().is_some_and(Kind::is::<R>), "there is no return value of the expected type");
        self.kind.set(None);
        // SAFETY: the words hold an R (checked above). The line above marks them as empty, so they are read once.
        unsafe { read(self.words.get()) }
    }

    /// Takes the value without its type.
    #[inline]
    pub(crate) fn take_any(&self) -> Option<Returned> {
        let kind = self.kind.take()?;
        // SAFETY: the words are marked as empty above, so the value that they hold is moved once.
        Some(Returned { kind, words: unsafe { self.words.get().read() } })
    }
}

impl Drop for Returning {
    #[inline]
    fn drop(&mut self) {
        drop(self.take_any());
    }
}

impl Returned {
    /// Returns the value.
    ///
    /// # Panics
    /// Panics if the value has another type.
    #[inline]
    pub(crate) fn take<R: 'static>(self) -> R {
        assert!(self.kind.is::<R>(), "a return value has an unexpected type");
        // SAFETY: the words hold an R (checked above), and `forget` is all that happens to them after this.
        unsafe { read(&raw const ManuallyDrop::new(self).words) }
    }
}

/// Moves the value out of words that hold an R.
///
/// # Safety
/// The words must be of the kind of `R`, and are not to be used after this.
#[inline]
unsafe fn read<R: 'static>(words: *const Words) -> R {
    // SAFETY: the words hold an R or a box for one (contract of this function).
    unsafe { if const { Of::<R>::IN_PLACE } { words.cast::<R>().read() } else { *words.cast::<Box<R>>().read() } }
}

impl Drop for Returned {
    #[inline]
    fn drop(&mut self) {
        if let Some(drop) = self.kind.drop {
            // SAFETY: the words are of this kind, since `take` has not moved the value out.
            unsafe { drop(&mut self.words) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    fn returning<R: 'static>(value: R) -> Returning {
        let returning = Returning::new();
        returning.put(value);
        returning
    }

    fn returned<R: 'static>(value: R) -> Returned {
        returning(value).take_any().expect("a value")
    }

    #[test]
    fn value_of_any_size_is_returned() {
        #[repr(align(64))]
        #[derive(PartialEq, Debug, Clone, Copy)]
        struct Aligned(u8);
        fn check<R: 'static + PartialEq + std::fmt::Debug + Clone>(value: R) {
            assert_eq!(returning(value.clone()).take::<R>(), value);
            assert_eq!(returned(value.clone()).take::<R>(), value);
        }
        check(());
        check(7u8);
        check("three words".to_string());
        check([1u64; 100]);
        check(Aligned(3));
    }

    #[test]
    fn value_is_dropped_once() {
        let value = Rc::new(());
        let large = || [(); 9].map(|()| Rc::clone(&value));
        drop((returning(Rc::clone(&value)), returning(large()), returned(Rc::clone(&value)), returned(large())));
        assert_eq!(Rc::strong_count(&value), 1);
        let taken = (returning(large()).take::<[Rc<()>; 9]>(), returned(Rc::clone(&value)).take::<Rc<()>>());
        assert_eq!(Rc::strong_count(&value), 11);
        drop(taken);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn value_is_taken_once() {
        let returning = returning(1);
        assert!(returning.take_any().is_some() && returning.take_any().is_none());
    }

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn another_type_is_refused() {
        let value = Rc::new(());
        let (returning, returned) = (returning(Rc::clone(&value)), returned(Rc::clone(&value)));
        assert!(catch_unwind(AssertUnwindSafe(|| returning.take::<u64>())).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| returned.take::<u64>())).is_err());
        drop(returning);
        assert_eq!(Rc::strong_count(&value), 1);
    }
}
