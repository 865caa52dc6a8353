//! genawaiter: generators made of async blocks, which can suspend only in their own function. In both variants: with the state
//! on the heap (`rc`) and in the caller's frame (`stack`).

use super::{Rival, Role};
use crate::area::Area;
use crate::serve::{self, serve};
use genawaiter::GeneratorState;
use std::hint::black_box;

pub(super) static RIVALS: [Rival; 2] = [
    Rival::own("genawaiter, rc", Role::Rival, &[Area::Switch, Area::Memory], rc),
    Rival::own("genawaiter, stack", Role::Rival, &[Area::Switch], stack),
];

/// In the loop: `resume_with`.
fn rc(area: Area, n: u64) {
    let make = || {
        let mut generator = genawaiter::rc::Gen::new(|co| async move {
            let mut i = 0;
            while i < u64::MAX {
                i = co.yield_(i + 1).await;
            }
        });
        // The value of the first resume is discarded.
        generator.resume_with(0);
        generator
    };
    if area == Area::Memory {
        return serve::hold(n, |_| Ok(Box::new(make())));
    }
    let mut generator = make();
    serve(1, |count| {
        for i in 0..count {
            if let GeneratorState::Yielded(value) = generator.resume_with(i) {
                black_box(value);
            }
        }
    });
}

/// In the loop: `resume_with`.
fn stack(_: Area, _: u64) {
    async fn counting(co: genawaiter::stack::Co<'_, u64, u64>) {
        let mut i = 0;
        while i < u64::MAX {
            i = co.yield_(i + 1).await;
        }
    }
    genawaiter::stack::let_gen_using!(generator, counting);
    generator.resume_with(0);
    serve(1, |count| {
        for i in 0..count {
            if let GeneratorState::Yielded(value) = generator.resume_with(i) {
                black_box(value);
            }
        }
    });
}
