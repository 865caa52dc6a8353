//! Floors: the cost of the same loops with calls instead of switches.

use super::{Rival, Role};
use crate::area::{Area, Body};
use crate::serve::{Requests, serve};
use std::hint::black_box;
use std::time::Instant;

pub(super) static RIVALS: [Rival; 2] = [
    Rival::own("plain call", Role::Floor, &[Area::Switch], plain),
    Rival::own("indirect call", Role::Floor, &[Area::Switch, Area::Yield, Area::Spawn], indirect),
];

#[inline(never)]
fn add_one(i: u64) -> u64 {
    black_box(i) + 1
}

/// In the loop: a call that is not inlined, a u64 in and out.
fn plain(_: Area, _: u64) {
    serve(1, |count| {
        for i in 0..count {
            black_box(add_one(i));
        }
    });
}

fn indirect(area: Area, n: u64) {
    match area {
        Area::Switch => {
            let call: fn(u64) -> u64 = black_box(add_one);
            serve(1, |count| {
                for i in 0..count {
                    black_box(call(i));
                }
            });
        }
        Area::Spawn => {
            // In the loop: a boxed closure created, called and dropped, or n of them created and then called.
            serve(n, |count| {
                for i in 0..count {
                    let all = (0..n).map(|k| black_box(Box::new(move || i + k) as Box<dyn Fn() -> u64>));
                    let call = |f: Box<dyn Fn() -> u64>| {
                        black_box(f());
                    };
                    if n == 1 { all.for_each(call) } else { all.collect::<Vec<_>>().into_iter().for_each(call) }
                }
            });
        }
        _ => turns(n),
    }
}

/// In the loop: a call of each of n closures, with 64 bytes of state each, which the body `stack` touches.
fn turns(n: u64) {
    let mut all: Vec<Box<dyn FnMut(bool)>> = (0..n)
        .map(|_| {
            let mut state = [0u64; 8];
            Box::new(move |touch| {
                if touch {
                    state[0] = black_box(state[0]) + 1;
                    black_box(&mut state);
                }
            }) as Box<dyn FnMut(bool)>
        })
        .collect();
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        if request.body == Body::Shuffled {
            cede_benches::shuffle(&mut all);
        }
        let touch = request.body != Body::Registers;
        let start = Instant::now();
        for _ in 0..request.count {
            all.iter_mut().for_each(|call| call(touch));
        }
        requests.answer(start.elapsed(), request.count * n);
    }
}
