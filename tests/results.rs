//! The items of a body that may fail, as results.

use cede::{Generator, Yielder};
use std::cell::Cell;
use std::fmt::Error;
use std::rc::Rc;

fn body(items: u32, outcome: Result<(), Error>) -> Generator<u32, (), Result<(), Error>> {
    Generator::new(move |y: &Yielder<u32>| {
        (0..items).for_each(|n| y.yield_(n));
        outcome
    })
}

#[test]
fn an_error_is_the_last_item() {
    let items: Vec<_> = body(2, Err(Error)).into_results().collect();
    assert_eq!(items, [Ok(0), Ok(1), Err(Error)]);
    let items: Vec<_> = body(2, Ok(())).into_results().collect();
    assert_eq!(items, [Ok(0), Ok(1)]);
    let items: Vec<_> = body(0, Err(Error)).into_results().collect();
    assert_eq!(items, [Err(Error)]);
}

#[test]
fn the_error_comes_once() {
    let mut items = body(0, Err(Error)).into_results();
    assert_eq!([items.next(), items.next(), items.next()], [Some(Err(Error)), None, None]);
}

#[test]
fn collect_and_question_marks_see_the_error() {
    assert_eq!(body(3, Ok(())).into_results().collect::<Result<Vec<_>, _>>(), Ok(vec![0, 1, 2]));
    assert_eq!(body(3, Err(Error)).into_results().collect::<Result<Vec<_>, _>>(), Err(Error));
    let sum = || {
        let mut sum = 0;
        for item in body(4, Err(Error)).into_results() {
            sum += item?;
        }
        Ok(sum)
    };
    assert_eq!(sum(), Err(Error));
}

#[test]
fn an_error_of_recursion_ends_all_of_it() {
    // As in a walk through directories: `?` at each level.
    fn walk(depth: u32, y: &Yielder<u32>) -> Result<(), Error> {
        y.yield_(depth);
        if depth == 3 { Err(Error) } else { walk(depth + 1, y).and_then(|()| walk(depth + 1, y)) }
    }
    let items: Vec<_> = Generator::new(|y| walk(0, y)).into_results().collect();
    assert_eq!(items, [Ok(0), Ok(1), Ok(2), Ok(3), Err(Error)]);
}

#[test]
fn dropping_the_iterator_closes_the_body() {
    let closed = Rc::new(Cell::new(false));
    let there = Rc::clone(&closed);
    let mut items = Generator::new(move |y: &Yielder<u32>| {
        while y.try_yield(1).is_ok() {}
        there.set(true);
        Err::<(), _>(Error)
    })
    .into_results();
    assert_eq!(items.next(), Some(Ok(1)));
    drop(items);
    assert!(closed.get());
}
