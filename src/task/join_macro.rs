//! `join!`: several tasks of different types at once.
#![forbid(unsafe_code)]

use super::group::sealed::Internal;
use super::group::{Joinable, settle};
use super::join_error::JoinError;
use super::timeout::shield;

/// Waits for several tasks, whose types may differ, and returns a tuple of what each came to, in the order of the handles.
///
/// If the one who waits is cancelled, all of them are, and are awaited nevertheless, as by [`join_all`](crate::join_all).
///
/// ```
/// cede::run(|| {
///     let (number, text) = cede::join!(cede::spawn(|| 42), cede::spawn(|| "text"));
///     assert_eq!((number.unwrap(), text.unwrap()), (42, "text"));
/// });
/// ```
#[macro_export]
macro_rules! join {
    ($($handle:expr),+ $(,)?) => {
        $crate::task::JoinTuple::join(($($handle,)+))
    };
}

/// Tuples of up to eight handles, for [`join!`](crate::join).
pub trait JoinTuple {
    /// What the tasks came to.
    type Results;

    /// Waits for all of them.
    fn join(self) -> Self::Results;
}

/// Joins one, unless somebody was interrupted already.
#[track_caller]
fn first_try<H: Joinable>(handle: &mut H, cut: &mut bool) -> Option<Result<H::Value, JoinError>> {
    if *cut {
        return None;
    }
    match handle.handle(Internal).join() {
        Err(JoinError::Interrupted) => {
            *cut = true;
            None
        }
        result => Some(result),
    }
}

macro_rules! tuples {
    ($($H:ident $handle:ident $result:ident),+) => {
        impl<$($H: Joinable),+> JoinTuple for ($($H,)+) {
            type Results = ($(Result<$H::Value, JoinError>,)+);

            #[track_caller]
            fn join(self) -> Self::Results {
                let ($(mut $handle,)+) = self;
                let mut cut = false;
                $(let mut $result = [first_try(&mut $handle, &mut cut)];)+
                if cut {
                    $(if $result[0].is_none() { $handle.handle(Internal).cancel(); })+
                    shield(|| { $(settle(std::slice::from_mut(&mut $handle), &mut $result);)+ });
                }
                ($({ let [result] = $result; result.expect("settled") },)+)
            }
        }
    };
}

tuples!(A a x);
tuples!(A a x, B b y);
tuples!(A a x, B b y, C c z);
tuples!(A a x, B b y, C c z, D d u);
tuples!(A a x, B b y, C c z, D d u, E e v);
tuples!(A a x, B b y, C c z, D d u, E e v, F f w);
tuples!(A a x, B b y, C c z, D d u, E e v, F f w, G g s);
tuples!(A a x, B b y, C c z, D d u, E e v, F f w, G g s, H h t);
