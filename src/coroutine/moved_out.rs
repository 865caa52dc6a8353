//! Rare calls that leave a value in registers.

use std::mem::MaybeUninit;

/// Calls `f` with a value that is moved out of its place, and moves the value back after that, on return and on unwinding.
///
/// The compiler then knows that `f` has no address of the place. In a loop with a rare call it keeps the words of the value in
/// registers, where it would load them from the place in each round.
#[inline(always)]
pub(crate) fn moved_out<T, R>(place: &mut T, f: impl FnOnce(&mut T) -> R) -> R {
    /// Moves the value back when it is dropped.
    struct Back<T> {
        place: *mut T,
        value: *mut T,
    }
    impl<T> Drop for Back<T> {
        #[inline(always)]
        fn drop(&mut self) {
            // SAFETY: both point to variables of the function below, which are alive. The value is not used after this.
            unsafe { copy(self.value, self.place) };
        }
    }
    let mut value = MaybeUninit::<T>::uninit();
    let back = Back { place, value: value.as_mut_ptr() };
    // SAFETY: `place` is a valid value, and `value` has its type. The value in `place` is not used until `back` writes it.
    unsafe { copy(back.place, back.value) };
    // SAFETY: initialised by the line above, and nothing else uses `value` until `f` has returned.
    f(unsafe { &mut *back.value })
}

/// Copies a value word by word, with the types that the fields of a raw coroutine have: four integers, then pointers. A copy of the whole is no
/// access to a field for the compiler, which then keeps none in a register. The types matter for nothing else.
///
/// # Safety
/// The contract of [`std::ptr::copy_nonoverlapping`], for one value.
#[inline(always)]
unsafe fn copy<T>(from: *const T, to: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(size_of::<usize>()) && align_of::<T>() == align_of::<usize>()) };
    const INTEGERS: usize = 4;
    type Integer = MaybeUninit<usize>;
    type Pointer = MaybeUninit<*const ()>;
    let (integers, pointers) = (from.cast::<Integer>(), from.cast::<Pointer>());
    let (to_integers, to_pointers) = (to.cast::<Integer>(), to.cast::<Pointer>());
    // SAFETY: whole words, which are aligned (checked above), valid (contract of this function) and may hold anything.
    unsafe {
        for word in 0..INTEGERS.min(words::<T>()) {
            to_integers.add(word).write(integers.add(word).read());
        }
        for word in INTEGERS..words::<T>() {
            to_pointers.add(word).write(pointers.add(word).read());
        }
    }
}

/// Returns the number of words of a type.
const fn words<T>() -> usize {
    size_of::<T>() / size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(panic = "abort", ignore = "it unwinds")]
    fn value_is_moved_back_on_return_and_unwinding() {
        let mut pair = ("a".to_string(), "b".to_string());
        assert_eq!(moved_out(&mut pair, |pair| std::mem::replace(&mut pair.0, "c".to_string())), "a");
        let panics = || {
            moved_out(&mut pair, |pair| {
                pair.1 = "d".to_string();
                std::panic::resume_unwind(Box::new(()));
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(pair, ("c".to_string(), "d".to_string()));
    }
}
