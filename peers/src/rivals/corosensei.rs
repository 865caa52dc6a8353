//! corosensei: the coroutines on which cede's coroutines are built. It has no tasks. Instead, a loop resumes coroutines one after
//! another, which is less work than that of a scheduler: no coroutine can wait or be woken.

use super::{Rival, Role, stack_size};
use crate::area::{Area, Body};
use crate::serve::{self, Requests, serve};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

pub(super) static RIVALS: [Rival; 2] = [
    Rival::own("corosensei", Role::Rival, &[Area::Switch, Area::Memory], corosensei),
    Rival::own("corosensei, no scheduler", Role::Floor, &[Area::Yield, Area::Spawn], bare),
];

fn make(size: usize) -> Result<Coroutine<u64, u64, ()>, String> {
    let stack = DefaultStack::new(size).map_err(|error| error.to_string())?;
    let coroutine = Coroutine::with_stack(stack, |y, mut i| {
        while i < u64::MAX {
            i = y.suspend(i + 1);
        }
    });
    Ok(coroutine)
}

/// In the loop: `Coroutine::resume`.
fn corosensei(area: Area, n: u64) {
    let size = stack_size(area, n);
    if area == Area::Memory {
        return serve::hold(n, |_| {
            let mut coroutine = make(size)?;
            coroutine.resume(1);
            Ok(coroutine)
        });
    }
    let mut coroutine = make(size).expect("a stack");
    serve(1, |count| {
        for i in 0..count {
            if let CoroutineResult::Yield(value) = coroutine.resume(i) {
                black_box(value);
            }
        }
    });
    // Forgotten, so that it is not unwound.
    std::mem::forget(coroutine);
}

fn bare(area: Area, n: u64) {
    if area == Area::Yield { turns(n) } else { spawns(n) }
}

/// In the loop: a coroutine created on a reused stack, run to its end and dropped. Only one coroutine is alive at a time.
fn spawns(n: u64) {
    if n > 1 {
        return serve::say("error one stack can be used again by one coroutine only");
    }
    let mut stack = Some(DefaultStack::new(stack_size(Area::Spawn, n)).expect("a stack"));
    serve(1, |count| {
        for i in 0..count {
            let own = stack.take().expect("put back below");
            let mut coroutine = Coroutine::<(), (), u64, _>::with_stack(own, move |_, ()| i + 1);
            black_box(coroutine.resume(()).as_return());
            stack = Some(coroutine.into_stack());
        }
    });
}

static TOUCH: AtomicBool = AtomicBool::new(false);

/// In the loop: a resume of each of n coroutines in turn.
fn turns(n: u64) {
    let one = || -> Result<Coroutine<(), (), ()>, String> {
        let stack = DefaultStack::new(stack_size(Area::Yield, n)).map_err(|error| error.to_string())?;
        let mut coroutine = Coroutine::with_stack(stack, |y, ()| {
            let (mut register, mut memory) = (0u64, 0u64);
            while register < u64::MAX {
                if TOUCH.load(Relaxed) {
                    let memory = &raw mut memory;
                    // SAFETY: `memory` points to a local variable of this closure, which is alive.
                    unsafe { memory.write_volatile(memory.read_volatile() + 1) };
                }
                register += 1;
                y.suspend(());
            }
        });
        coroutine.resume(());
        Ok(coroutine)
    };
    let mut all = Vec::new();
    for k in 0..n {
        match one() {
            Ok(coroutine) => all.push(coroutine),
            Err(error) => {
                serve::say(&format!("error no stack after {k}: {error}"));
                std::process::exit(0);
            }
        }
    }
    let mut requests = Requests::ready();
    while let Some(request) = requests.next() {
        if request.body == Body::Shuffled {
            cede_benches::shuffle(&mut all);
        }
        TOUCH.store(request.body != Body::Registers, Relaxed);
        let start = Instant::now();
        for _ in 0..request.count {
            for coroutine in &mut all {
                black_box(coroutine.resume(()));
            }
        }
        requests.answer(start.elapsed(), request.count * n);
    }
    std::mem::forget(all);
}
