//! generator: the coroutines on which may is built. Uses scoped generators, as its documentation recommends.

use super::{Rival, Role, stack_size};
use crate::area::Area;
use crate::serve::{self, serve};
use generator::{Generator, Gn};
use std::hint::black_box;

pub(super) static RIVALS: [Rival; 1] = [Rival::own("generator", Role::Rival, &[Area::Switch, Area::Memory], generator)];

/// Sizes are in words.
fn make(bytes: usize) -> Generator<'static, u64, u64> {
    Gn::<u64>::new_scoped_opt(bytes / 8, |mut scope| {
        let mut i = 0;
        while i < u64::MAX {
            i = scope.yield_(i + 1).expect("a value is sent");
        }
        i
    })
}

/// In the loop: `send`.
fn generator(area: Area, n: u64) {
    if area == Area::Memory {
        return serve::hold(n, |_| {
            let mut generator = make(stack_size(area, n));
            generator.raw_send(None);
            Ok(generator)
        });
    }
    let mut generator = make(stack_size(area, n));
    generator.raw_send(None);
    serve(1, |count| {
        for i in 0..count {
            black_box(generator.send(i));
        }
    });
    std::mem::forget(generator);
}
