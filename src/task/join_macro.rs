//! `join!`: waits for several tasks of different types.
#![forbid(unsafe_code)]

use super::group::sealed::Internal;
use super::group::{Joinable, settle};
use super::join_error::JoinError;
use super::timeout::shield;

/// Waits for several tasks, whose types may differ, and returns a tuple of their results in the order of the handles.
/// Accepts one to eight handles.
///
/// Cancel safety: no result is lost. If the waiting task is cancelled, all tasks are cancelled and still awaited, as in
/// [`join_all`](crate::join_all).
///
/// # Panics
///
/// The panics of [`join_all`](crate::join_all).
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

/// A tuple of one to eight handles, for [`join!`](crate::join).
pub trait JoinTuple {
    /// The tuple of the results.
    type Results;

    /// Waits for all tasks and returns their results.
    fn join(self) -> Self::Results;
}

/// Joins one task, unless an earlier join was interrupted (`cut`). Sets `cut` if this join is interrupted.
#[track_caller]
fn first_try<H: Joinable>(handle: &mut H, cut: &mut bool) -> Option<Result<H::Value, JoinError>> {
    if *cut {
        return None;
    }
    match handle.join(Internal) {
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
                    $(if $result[0].is_none() { $handle.cancel(Internal); })+
                    shield(|| { $(settle(std::slice::from_mut(&mut $handle), &mut $result);)+ });
                }
                ($({ let [result] = $result; result.expect("every task is settled") },)+)
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
