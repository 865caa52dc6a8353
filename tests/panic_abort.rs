//! Programs whose panics abort: nothing can be unwound. A body that waits in a call that returns `Closed` ends by value. Every
//! other body is abandoned: its stack is leaked and it is named on stderr.
//!
//! Under `-Cpanic=abort` (`.ci/panic-abort`) this is the whole suite. Elsewhere it checks the half that is the same.

mod common;

use cede::{Builder, CoroutineState, Generator, Sink, Yielder};
use common::{command, transcript};
use std::cell::Cell;
use std::rc::Rc;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--child") {
        return leave_some_behind();
    }
    by_value();
    println!("by value ... ok");
    let output = command(std::env::current_exe().unwrap()).arg("--child").output().unwrap();
    let text = transcript(&output);
    let expected = if cfg!(panic = "abort") {
        "dropped\n--- stderr\n\
         cede: coroutine 'waits' was dropped while suspended, where panics abort and nothing can unwind it; its stack is leaked\n\
         cede: generator 'yields' was dropped while suspended, where panics abort and nothing can unwind it; its stack is leaked\n"
    } else {
        "unwound\nunwound\ndropped\n"
    };
    assert_eq!(text, expected);
    println!("abandoned ... ok\n\n2 passed, 0 failed");
}

fn by_value() {
    let ended = Rc::new(Cell::new(0));
    let count = |ended: &Rc<Cell<u32>>| ended.set(ended.get() + 1);

    // Closed, dropped, and given an error by `throw`, while it waits in `try_yield`.
    for way in 0..3 {
        let inner = Rc::clone(&ended);
        let mut g = Generator::new(move |y: &Yielder<u32>| {
            let interrupt = y.try_yield(1).unwrap_err();
            count(&inner);
            interrupt.to_string()
        });
        g.next();
        match way {
            0 => assert_eq!(g.close().unwrap().unwrap(), "the generator is being closed"),
            1 => drop(g),
            _ => assert!(matches!(g.throw("trouble"), Ok(CoroutineState::Complete(text)) if text.ends_with("trouble"))),
        }
    }
    assert_eq!(ended.get(), 3);

    // Through a delegate, if both use the calls that return `Closed`.
    let inner = Rc::clone(&ended);
    let mut outer = Generator::new(move |y: &Yielder<u32>| {
        let delegate = Generator::new(|y: &Yielder<u32>| y.try_yield(1).is_err());
        assert!(y.try_yield_from(delegate).is_err());
        count(&inner);
    });
    outer.next();
    drop(outer);
    assert_eq!(ended.get(), 4);

    // The input of a sink ends. A sink that has not started is only dropped.
    let mut sink = Sink::new(|inbox: &cede::Inbox<u32>| inbox.iter().sum::<u32>());
    sink.send(1).unwrap();
    assert_eq!(sink.finish(), 1);
    let captured = Rc::clone(&ended);
    drop(Generator::new(move |y: &Yielder<u32>| y.yield_(captured.get())));
    assert_eq!(Rc::strong_count(&ended), 1);
}

fn leave_some_behind() {
    struct Says;
    impl Drop for Says {
        fn drop(&mut self) {
            println!("unwound");
        }
    }
    let waits = Builder::new().name("waits").coroutine(|s: &cede::Suspender<(), ()>, ()| {
        let _says = Says;
        s.suspend(());
    });
    waits.unwrap().resume(());
    let yields = Builder::new().name("yields").generator(|y: &Yielder<u32>| {
        let _says = Says;
        y.yield_(1);
    });
    yields.unwrap().next();
    println!("dropped");
}
