//! Calls of one closure for all elements of a slice, on all workers: [`for_each_anywhere`] and [`map_anywhere`].
#![forbid(unsafe_code)]

use super::fork::join_anywhere;
use crate::wait::worker;

/// The number of parts per worker into which a slice is split: enough that a worker that has ended its parts finds more of them, also if the elements
/// take different times.
const PARTS: usize = 64;

/// Calls `f` for each element of a slice, on all workers of the run, and returns when all calls have returned.
///
/// The slice is split by [`join_anywhere`], into at most 64 parts per worker (rounded up to a power of two), and at least one element each. The
/// calls of a part run one after the other. All that is documented there about waits, cancels and places applies here. Outside of a run the
/// calls run in order.
///
/// # Panics
///
/// Propagates a panic of `f`. Then the remaining elements of that part, and parts that no worker has begun, may be left out.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// let words = ["one", "two", "three"];
/// let letters = AtomicUsize::new(0);
/// cede::run(|| {
///     cede::task::for_each_anywhere(&words, |word| {
///         letters.fetch_add(word.len(), Relaxed);
///     })
/// });
/// assert_eq!(letters.into_inner(), 11);
/// ```
#[doc(alias = "par_iter")]
#[doc(alias = "parallel_for")]
#[doc(alias = "rayon")]
#[track_caller]
pub fn for_each_anywhere<T: Sync>(items: &[T], f: impl Fn(&T) + Sync) {
    each(items, part_of(items.len()), &f);
}

/// Calls `f` for each element of a slice, on all workers of the run, and returns the values in the order of the elements.
///
/// Splits the slice as [`for_each_anywhere`] does.
///
/// # Panics
///
/// Propagates a panic of `f`, and drops the values of the other calls.
///
/// ```
/// let squares = cede::Config::new().workers(2).run(|| cede::task::map_anywhere(&[1, 2, 3], |n| n * n))?;
/// assert_eq!(squares, [1, 4, 9]);
/// # Ok::<(), cede::RunError<Vec<i32>>>(())
/// ```
#[doc(alias = "par_iter")]
#[doc(alias = "par_map")]
#[doc(alias = "rayon")]
#[track_caller]
pub fn map_anywhere<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut values: Vec<Option<R>> = items.iter().map(|_| None).collect();
    map(items, &mut values, part_of(items.len()), &f);
    values.into_iter().flatten().collect()
}

/// Returns the largest number of elements that are not split.
fn part_of(len: usize) -> usize {
    let workers = worker().and_then(|worker| worker.existing_member()).map_or(1, |member| member.crew().workers());
    len.div_ceil(workers * PARTS).max(1)
}

#[track_caller]
fn each<T: Sync>(items: &[T], part: usize, f: &(impl Fn(&T) + Sync)) {
    if items.len() <= part {
        return items.iter().for_each(f);
    }
    let (left, right) = items.split_at(items.len() / 2);
    join_anywhere(|| each(left, part, f), || each(right, part, f));
}

#[track_caller]
fn map<T: Sync, R: Send>(items: &[T], values: &mut [Option<R>], part: usize, f: &(impl Fn(&T) -> R + Sync)) {
    if items.len() <= part {
        return items.iter().zip(values).for_each(|(item, value)| *value = Some(f(item)));
    }
    let middle = items.len() / 2;
    let ((left, right), (left_values, right_values)) = (items.split_at(middle), values.split_at_mut(middle));
    join_anywhere(|| map(left, left_values, part, f), || map(right, right_values, part, f));
}
