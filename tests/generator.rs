//! The generator protocol, row by row. The ids are those of the table in ARCHITECTURE.md, whose left column is Python's
//! behaviour.

mod common;

use cede::{CloseError, CoroutineState, Generator, Interrupt, SendError, State, Yielder};
use common::panic_text;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// A log that bodies and tests share.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    /// Logs `text` when it is dropped: a `finally`.
    fn at_end(&self, text: &'static str) -> AtEnd {
        AtEnd(self.clone(), text)
    }
}

struct AtEnd(Log, &'static str);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// A thrown error with an identity, to check that the same error comes back.
#[derive(Debug)]
struct Trouble(u32);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trouble {}", self.0)
    }
}

impl Error for Trouble {}

/// A generator that yields 0, and then each value that it is sent.
fn echo() -> Generator<u32, u32> {
    Generator::new(|y| {
        let mut value = 0;
        loop {
            value = y.yield_(value);
        }
    })
}

/// Creating a generator runs nothing. The first `next` runs the body to its first yield.
#[test]
fn g01_body_starts_at_the_first_next_and_runs_to_a_yield() {
    let log = Log::default();
    let inner = log.clone();
    let mut g = Generator::new(move |y| {
        inner.add("start");
        y.yield_(1);
        inner.add("after");
    });
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(g.next(), Some(1));
    assert_eq!(log.take(), ["start"]);
}

#[test]
fn g02_send_before_start_gives_the_value_back_and_harms_nothing() {
    let mut g = echo();
    let Err(SendError::NotStarted(value)) = g.send(5) else { panic!("sent to a generator that has not started") };
    assert_eq!(value, 5);
    assert_eq!(g.state(), State::Created);
    assert_eq!(g.start(), CoroutineState::Yielded(0));
    assert_eq!(g.send(5).unwrap(), CoroutineState::Yielded(5));
}

#[test]
fn g03_next_is_send_of_nothing() {
    let count = || Generator::new(|y: &Yielder<u32>| (1..3).for_each(|n| y.yield_(n)));
    let (mut a, mut b) = (count(), count());
    assert_eq!(a.next(), Some(1));
    assert_eq!(b.start(), CoroutineState::Yielded(1));
    assert_eq!(a.next(), Some(2));
    assert_eq!(b.send(()).unwrap(), CoroutineState::Yielded(2));
    assert_eq!(a.next(), None);
    assert_eq!(b.send(()).unwrap(), CoroutineState::Complete(()));
}

/// The sent value is what the pending yield returns, and `send` returns the next yielded item.
#[test]
fn g04_send_resumes_the_yield_and_returns_the_next_item() {
    let mut g = echo();
    g.start();
    assert_eq!(g.send(10).unwrap(), CoroutineState::Yielded(10));
    assert_eq!(g.send(11).unwrap(), CoroutineState::Yielded(11));
}

#[test]
fn g04_values_of_every_size_cross_the_switch() {
    let mut g = Generator::new(|y: &Yielder<[u64; 64], String>| {
        let text = y.yield_([7; 64]);
        let more = y.yield_([text.len() as u64; 64]);
        text + &more
    });
    assert_eq!(g.start(), CoroutineState::Yielded([7; 64]));
    assert_eq!(g.send("abc".into()).unwrap(), CoroutineState::Yielded([3; 64]));
    assert_eq!(g.send("def".into()).unwrap(), CoroutineState::Complete("abcdef".into()));
}

/// The return value comes out once. After that, `send` returns its value back as `Finished`, and `next` returns `None`.
#[test]
fn g05_return_value_comes_once_then_it_is_finished() {
    let mut g = Generator::new(|y: &Yielder<u32, u32>| {
        y.yield_(1);
        42
    });
    g.start();
    assert_eq!(g.send(0).unwrap(), CoroutineState::Complete(42));
    for value in 0..3 {
        assert_eq!(g.send(value), Err(SendError::Finished(value)));
    }
    let mut g = Generator::new(|y| y.yield_(1));
    assert_eq!(g.by_ref().count(), 1);
    assert_eq!((g.next(), g.next()), (None, None));
}

/// A panic of the body reaches the resumer, and the generator is finished.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g06_panic_reaches_the_resumer_and_finishes_the_generator() {
    let mut g = Generator::new(|y| {
        y.yield_(1);
        panic!("from the body");
    });
    g.next();
    assert_eq!(panic_text(catch_unwind(AssertUnwindSafe(|| g.next()))), "from the body");
    assert_eq!(g.state(), State::Finished);
    assert_eq!(g.next(), None);
}

/// The end of an inner generator that the body drives itself does not end the outer one.
#[test]
fn g07_end_of_an_inner_generator_does_not_end_the_outer() {
    let mut outer = Generator::new(|y| {
        let mut inner = Generator::new(|y| y.yield_(1));
        y.yield_(inner.next());
        y.yield_(inner.next());
        y.yield_(Some(3));
    });
    assert_eq!(outer.next(), Some(Some(1)));
    assert_eq!(outer.next(), Some(None));
    assert_eq!(outer.next(), Some(Some(3)));
    assert_eq!(outer.next(), None);
}

#[test]
fn g08_throw_arrives_at_the_paused_yield_and_returns_the_next() {
    let mut g = Generator::new(|y: &Yielder<String>| match y.try_yield("first".into()) {
        Err(Interrupt::Thrown(error)) => y.yield_(format!("caught {error}")),
        other => panic!("{other:?}"),
    });
    g.next();
    assert_eq!(g.throw(Trouble(1)).unwrap(), CoroutineState::Yielded("caught trouble 1".into()));
    assert_eq!(g.next(), None);
}

#[test]
fn g08_a_body_may_return_on_a_thrown_error() {
    let mut g = Generator::new(|y: &Yielder<u32>| y.try_yield(1).unwrap_err().to_string());
    g.next();
    assert_eq!(
        g.throw(Trouble(2)).unwrap(),
        CoroutineState::Complete("an error was thrown into the generator: trouble 2".to_string())
    );
}

/// `throw` before the first resume returns the error, drops the captures, and never runs the body.
#[test]
fn g09_throw_before_the_start_returns_it_and_runs_nothing() {
    let log = Log::default();
    let (inner, captured) = (log.clone(), log.at_end("captures dropped"));
    let mut g = Generator::new(move |y| {
        let _captured = captured;
        inner.add("body");
        y.yield_(1);
    });
    let error = g.throw(Trouble(9)).unwrap_err();
    assert_eq!(error.into_inner().downcast::<Trouble>().unwrap().0, 9);
    assert_eq!(log.take(), ["captures dropped"]);
    assert_eq!(g.state(), State::Finished);
    assert_eq!(g.next(), None);
}

#[test]
fn g10_throw_at_a_finished_generator_comes_straight_back() {
    let mut g = Generator::new(|y| y.yield_(1));
    assert_eq!(g.by_ref().count(), 1);
    assert_eq!(g.throw(Trouble(10)).unwrap_err().to_string(), "trouble 10");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g11_an_unhandled_throw_comes_back_out_as_itself() {
    let log = Log::default();
    let inner = log.clone();
    let mut g = Generator::new(move |y| {
        let _cleanup = inner.at_end("cleanup");
        y.yield_(1);
        inner.add("not reached");
    });
    g.next();
    let error = g.throw(Trouble(11)).unwrap_err().into_inner();
    assert_eq!(error.downcast_ref::<Trouble>().unwrap().0, 11);
    assert_eq!(log.take(), ["cleanup"]);
    assert_eq!(g.state(), State::Finished);

    // The same with an error that is raised again by value.
    let mut g = Generator::new(|y: &Yielder<u32>| -> () { y.rethrow(y.try_yield(1).unwrap_err()) });
    g.next();
    assert!(g.throw(Trouble(12)).unwrap_err().into_inner().is::<Trouble>());
    assert_eq!(g.state(), State::Finished);
}

/// A body that catches the unwinding of a `throw` has handled the error, and goes on.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g11_body_that_catches_a_throws_unwinding_has_handled_it() {
    let mut g = Generator::new(|y| {
        let caught = catch_unwind(AssertUnwindSafe(|| y.yield_(1)));
        assert!(caught.is_err());
        y.yield_(2);
        "went on"
    });
    g.next();
    assert_eq!(g.throw(Trouble(1)).unwrap(), CoroutineState::Yielded(2));
    assert_eq!(g.send(()).unwrap(), CoroutineState::Complete("went on"));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g12_close_runs_the_cleanup_and_finishes() {
    let log = Log::default();
    let inner = log.clone();
    let mut g = Generator::new(move |y| {
        let _cleanup = inner.at_end("finally");
        y.yield_(1);
    });
    g.next();
    assert_eq!(g.close().unwrap(), None);
    assert_eq!(log.take(), ["finally"]);
    assert_eq!(g.next(), None);
}

/// `close` before the start, after the end, or for the second time runs nothing.
#[test]
fn g13_close_unstarted_finished_or_twice_does_nothing() {
    let log = Log::default();
    let inner = log.clone();
    let make = move || {
        let inner = inner.clone();
        Generator::new(move |y| {
            inner.add("ran");
            y.yield_(1);
        })
    };
    let mut unstarted = make();
    assert_eq!(unstarted.close().unwrap(), None);
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(unstarted.state(), State::Finished);
    assert_eq!(unstarted.close().unwrap(), None);

    let mut finished = make();
    assert_eq!(finished.by_ref().count(), 1);
    log.take();
    assert_eq!(finished.close().unwrap(), None);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn g14_yielding_instead_of_ending_is_reported_with_the_value() {
    let mut g = Generator::new(|y| {
        let _ = y.try_yield(1);
        y.yield_(2);
        "end"
    });
    g.next();
    let Err(CloseError::Ignored(2)) = g.close() else { panic!("the yielded value is lost") };
    // The generator is still suspended, and can be used.
    assert_eq!(g.state(), State::Suspended);
    assert_eq!(g.send(()).unwrap(), CoroutineState::Complete("end"));
}

/// `close` reports a body that catches its unwinding and yields again, with the yielded item.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g14_body_that_swallows_its_unwinding_and_yields_is_reported() {
    let mut g = Generator::new(|y| {
        let _ = catch_unwind(AssertUnwindSafe(|| y.yield_(1)));
        y.yield_(2);
    });
    g.next();
    assert!(matches!(g.close(), Err(CloseError::Ignored(2))));
    assert_eq!(g.close().unwrap(), None);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g15_another_error_during_the_cleanup_comes_out_of_close() {
    let mut g = Generator::new(|y: &Yielder<u32>| {
        if y.try_yield(1).is_err() {
            panic!("in the cleanup");
        }
    });
    g.next();
    assert_eq!(panic_text(catch_unwind(AssertUnwindSafe(|| g.close()))), "in the cleanup");
    assert_eq!(g.state(), State::Finished);

    let mut g = Generator::new(|y: &Yielder<u32>| {
        if y.try_yield(1).is_err() {
            y.rethrow(Interrupt::Thrown(Box::new(Trouble(15))))
        }
    });
    g.next();
    match g.close() {
        Err(CloseError::Raised(error)) => assert!(error.is::<Trouble>()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn g16_close_returns_what_the_body_returned() {
    let mut g = Generator::new(|y: &Yielder<u32>| match y.try_yield(1) {
        Err(Interrupt::Closed) => "bye",
        _ => "?",
    });
    g.next();
    assert_eq!(g.close().unwrap(), Some("bye"));
    assert_eq!(g.close().unwrap(), None);
}

#[test]
fn g17_a_generator_cannot_be_resumed_by_its_own_body() {
    // `&mut self` refuses it at compile time. A RefCell that evades this returns its own borrow error.
    let own: Rc<RefCell<Option<Generator<bool>>>> = Rc::default();
    let weak = Rc::downgrade(&own);
    *own.borrow_mut() = Some(Generator::new(move |y| {
        y.yield_(weak.upgrade().unwrap().try_borrow_mut().is_err());
    }));
    assert_eq!(own.borrow_mut().as_mut().unwrap().next(), Some(true));
}

/// A generator that yields "i1", then the first value sent, and returns the second.
fn inner() -> Generator<String, String, String> {
    Generator::new(|y| {
        let a = y.yield_("i1".into());
        let b = y.yield_(format!("i2 {a}"));
        format!("ret {b}")
    })
}

/// `yield_from` passes items out and sent values in, and returns what the inner generator returned.
#[test]
fn g18_yield_from_passes_yields_sends_and_the_return_value() {
    let mut outer = Generator::new(|y| {
        let value = y.yield_from(inner());
        y.yield_(value);
    });
    assert_eq!(outer.start(), CoroutineState::Yielded("i1".into()));
    assert_eq!(outer.send("A".into()).unwrap(), CoroutineState::Yielded("i2 A".into()));
    assert_eq!(outer.send("B".into()).unwrap(), CoroutineState::Yielded("ret B".into()));
    assert_eq!(outer.send("C".into()).unwrap(), CoroutineState::Complete(()));
}

/// `yield_from` continues a started generator, and a generator that itself delegates.
#[test]
fn g18_yield_from_continues_a_started_generator() {
    let mut middle = Generator::new(|y| {
        y.yield_from(Generator::new(|y| (1..=3).for_each(|n| y.yield_(n))));
        y.yield_(4);
    });
    assert_eq!(middle.next(), Some(1));
    let outer = Generator::new(move |y| {
        y.yield_(0);
        y.yield_from(middle);
        y.yield_(5);
    });
    assert_eq!(outer.collect::<Vec<_>>(), [0, 2, 3, 4, 5]);
}

/// `yield_from` of a finished generator returns its kept return value, or panics if that was taken.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g18_yield_from_finished_returns_the_kept_value_or_panics() {
    let finished = |keep: bool| {
        let mut g = Generator::new(|y| {
            y.yield_(1);
            7
        });
        g.next();
        if keep {
            assert_eq!(g.next(), None)
        } else {
            assert_eq!(g.send(()).unwrap(), CoroutineState::Complete(7))
        }
        g
    };
    let mut outer = Generator::new(move |y| y.yield_from(finished(true)));
    assert_eq!(outer.start(), CoroutineState::Complete(7));
    let mut outer = Generator::new(move |y| y.yield_from(finished(false)));
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| outer.start())));
    assert_eq!(text, "cannot yield from an unnamed generator: it has finished, and its return value is gone");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g19_a_started_inner_that_waits_for_a_value_is_refused() {
    let mut started = echo();
    started.start();
    let mut outer = Generator::new(move |y: &Yielder<u32, u32>| y.yield_from(started));
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| outer.start())));
    assert!(text.contains("it waits for a value, and there is none to send"), "{text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g20_close_of_the_outer_closes_the_inner_first() {
    let log = Log::default();
    let (l1, l2, l3) = (log.clone(), log.clone(), log.clone());
    let mut outer = Generator::new(move |y| {
        let _finally = l1.at_end("outer");
        y.yield_from(Generator::new(move |y| {
            let _finally = l2.at_end("middle");
            y.yield_from(Generator::new(move |y| {
                let _finally = l3.at_end("inner");
                y.yield_(1);
            }));
        }));
        unreachable!("closed");
    });
    outer.next();
    assert_eq!(outer.close().unwrap(), None);
    assert_eq!(log.take(), ["inner", "middle", "outer"]);
}

/// An inner generator that returns a value when it is closed does not let the outer one continue: `try_yield_from`
/// returns `Closed`.
#[test]
fn g20_inner_that_returns_when_closed_still_closes_the_outer() {
    let log = Log::default();
    let inner_log = log.clone();
    let mut outer = Generator::new(move |y| {
        let value = y.try_yield_from(Generator::new(|y: &Yielder<u32>| y.try_yield(1).is_err()));
        inner_log.add(format!("{value:?}"));
        "outer's end"
    });
    outer.next();
    assert_eq!(outer.close().unwrap(), Some("outer's end"));
    assert_eq!(log.take(), ["Err(Closed)"]);
}

#[test]
fn g21_throw_goes_to_the_innermost_and_then_outwards() {
    let catching = || {
        Generator::new(|y: &Yielder<String>| match y.try_yield("inner".into()) {
            Err(Interrupt::Thrown(_)) => y.yield_("inner caught".into()),
            _ => unreachable!(),
        })
    };
    let mut outer = Generator::new(move |y| y.yield_from(catching()));
    outer.next();
    assert_eq!(outer.throw(Trouble(1)).unwrap(), CoroutineState::Yielded("inner caught".into()));

    // An error that the inner generator does not handle arrives at the outer's yield_from.
    let mut outer =
        Generator::new(|y: &Yielder<String>| match y.try_yield_from(Generator::new(|y| y.yield_("inner".into()))) {
            Err(Interrupt::Thrown(error)) => y.yield_(format!("outer caught {error}")),
            _ => unreachable!(),
        });
    outer.next();
    assert_eq!(outer.throw(Trouble(2)).unwrap(), CoroutineState::Yielded("outer caught trouble 2".into()));

    // An error that neither handles comes out.
    let mut outer = Generator::new(|y| y.yield_from(Generator::new(|y| y.yield_(1))));
    outer.next();
    assert!(outer.throw(Trouble(3)).unwrap_err().into_inner().is::<Trouble>());
    assert_eq!(outer.state(), State::Finished);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g21_a_panic_of_the_inner_arrives_at_the_outers_yield_from() {
    let mut outer = Generator::new(|y| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            y.yield_from(Generator::new(|y| {
                y.yield_("one");
                panic!("inner");
            }))
        }));
        assert_eq!(panic_text(caught), "inner");
        y.yield_("two");
    });
    assert_eq!(outer.next(), Some("one"));
    assert_eq!(outer.next(), Some("two"));
    assert_eq!(outer.next(), None);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g22_dropping_a_suspended_generator_runs_its_cleanup_at_once() {
    let log = Log::default();
    let inner = log.clone();
    let mut g = Generator::new(move |y| {
        let _finally = inner.at_end("finally");
        y.yield_(1);
    });
    g.next();
    drop(g);
    assert_eq!(log.take(), ["finally"]);
}

#[test]
fn g22_dropping_makes_a_pending_try_yield_return_closed() {
    let log = Log::default();
    let inner = log.clone();
    let mut g = Generator::new(move |y: &Yielder<u32>| {
        let interrupt = y.try_yield(1).unwrap_err();
        inner.add(format!("{interrupt}; panicking: {}", std::thread::panicking()));
    });
    g.next();
    drop(g);
    assert_eq!(log.take(), ["the generator is being closed; panicking: false"]);
}

#[test]
fn g22_dropping_one_that_has_not_started_drops_what_it_captured() {
    let log = Log::default();
    let captured = log.at_end("captured");
    drop(Generator::new(move |y: &Yielder<u32>| {
        let _captured = captured;
        y.yield_(1);
    }));
    assert_eq!(log.take(), ["captured"]);
}

#[test]
fn g23_states() {
    let mut g = Generator::new(|y| y.yield_(1));
    assert_eq!(g.state(), State::Created);
    g.next();
    assert_eq!(g.state(), State::Suspended);
    g.next();
    assert_eq!(g.state(), State::Finished);
    // No code can observe a running state: the resumer has borrowed the generator.
}

#[test]
fn g24_iteration_stops_at_the_return_whose_value_is_kept() {
    let make = || {
        Generator::new(|y| {
            y.yield_(1);
            42
        })
    };
    assert_eq!(make().collect::<Vec<_>>(), [1]);
    let mut g = make();
    for value in g.by_ref() {
        assert_eq!(value, 1);
    }
    assert_eq!(g.into_return(), Some(42));
    assert_eq!(make().into_return(), None);
}

#[test]
fn g25_the_tutorials_grep() {
    let log = Log::default();
    let inner = log.clone();
    let mut grep = cede::Sink::new(move |inbox: &cede::Inbox<&str>| {
        inner.add("Looking for: python");
        for line in inbox {
            if line.contains("python") {
                inner.add(line);
            }
        }
    });
    assert_eq!(log.take(), [""; 0], "the banner comes with the first line");
    for line in ["no", "python rules", "x", "a python"] {
        grep.send(line).unwrap();
    }
    grep.finish();
    assert_eq!(log.take(), ["Looking for: python", "python rules", "a python"]);
}

#[test]
fn g25b_a_sink_cannot_be_forgotten_to_be_primed() {
    let mut sink = cede::Sink::new(|inbox: &cede::Inbox<u32>| inbox.iter().collect::<Vec<_>>());
    sink.send(1).unwrap();
    assert_eq!(sink.finish(), [1]);
}

#[test]
fn g26_delegation_and_recursion_nest_deeply() {
    fn nested(depth: u32) -> Generator<u32> {
        Generator::new(move |y| if depth > 0 { y.yield_from(nested(depth - 1)) } else { y.yield_all([7, 8]) })
    }
    assert_eq!(nested(800).collect::<Vec<_>>(), [7, 8]);
    // Dropped in the middle, 800 bodies are closed without recursion in the library.
    let mut g = nested(800);
    assert_eq!(g.next(), Some(7));
    drop(g);

    fn recursive(y: &Yielder<u32>, depth: u32) {
        if depth > 0 { recursive(y, depth - 1) } else { y.yield_(9) }
    }
    let mut g = cede::Builder::new().stack_size(1 << 20).generator(|y| recursive(y, 800)).unwrap();
    assert_eq!((g.next(), g.next()), (Some(9), None));
}

/// An error that is raised while a thrown one is handled keeps the thrown one as its source.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn g27_error_raised_in_a_handler_keeps_the_thrown_as_source() {
    #[derive(Debug)]
    struct Outer(Box<dyn Error>);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }
    let mut g = Generator::new(|y: &Yielder<u32>| match y.try_yield(1) {
        Err(Interrupt::Thrown(error)) => y.rethrow(Interrupt::Thrown(Box::new(Outer(error)))),
        _ => unreachable!(),
    });
    g.next();
    let error = g.throw(Trouble(27)).unwrap_err();
    let source = error.source().expect("ThrowError is transparent, so this is Outer's source");
    assert_eq!(source.to_string(), "trouble 27");
    // An Interrupt shows the thrown error as its source too.
    assert!(Interrupt::Thrown(Box::new(Trouble(1))).source().unwrap().is::<Trouble>());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn rethrow_of_closed_without_a_close_is_named() {
    let mut g = cede::Builder::new().name("odd").generator(|y: &Yielder<u32>| y.rethrow(Interrupt::Closed)).unwrap();
    let _: &Generator<u32, (), ()> = &g;
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| g.next())));
    assert!(text.starts_with("generator 'odd' ended without a value"), "{text}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn starting_twice_is_refused_by_name() {
    let mut g = cede::Builder::new().name("twice").generator(|y: &Yielder<u32>| y.yield_(1)).unwrap();
    g.start();
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| g.start())));
    assert_eq!(text, "cannot start generator 'twice': it has been started");
}

/// A destructor of a panicking consumer may resume a generator to its end.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn generator_resumed_while_its_consumer_panics_works() {
    struct Drains(Generator<u32>, Rc<Cell<u32>>);
    impl Drop for Drains {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.1.set(self.0.by_ref().sum());
        }
    }
    let sum = Rc::new(Cell::new(0));
    let drains = Drains(Generator::new(|y| y.yield_all([1, 2, 3])), Rc::clone(&sum));
    let text = panic_text(catch_unwind(AssertUnwindSafe(move || {
        let _drains = drains;
        panic!("consumer");
    })));
    assert_eq!((text.as_str(), sum.get()), ("consumer", 6));
}

/// A generator that yields again when it is dropped is abandoned after one try, and so is one that delegates to it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d1_generator_yielding_in_its_drop_is_abandoned_after_one_try() {
    let tries = Rc::new(Cell::new(0));
    let stubborn = |tries: &Rc<Cell<u32>>| {
        let tries = Rc::clone(tries);
        Generator::new(move |y| {
            loop {
                let _ = catch_unwind(AssertUnwindSafe(|| y.yield_(1)));
                tries.set(tries.get() + 1);
            }
        })
    };
    let mut alone: Generator<u32, (), ()> = stubborn(&tries);
    alone.next();
    drop(alone);
    assert_eq!(tries.get(), 1);
    // As a delegate: the outer generator is abandoned with it, and neither is resumed again.
    let inner: Generator<u32, (), ()> = stubborn(&tries);
    let outer_ended = Rc::new(Cell::new(false));
    let ended = Rc::clone(&outer_ended);
    let mut outer = Generator::new(move |y| {
        let _at_end = AtDrop(ended);
        y.yield_from(inner)
    });
    outer.next();
    drop(outer);
    assert_eq!((tries.get(), outer_ended.get()), (2, false));
}

struct AtDrop(Rc<Cell<bool>>);

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Panics when it is dropped, unless the thread panics already.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bomb")
    }
}

impl Error for Bomb {}

/// A body that is dropped and yields a value whose destructor panics is unwound once only. The panic comes out of the
/// drop.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn d1_body_yielding_a_bomb_in_its_drop_is_tried_once() {
    let rounds = Rc::new(Cell::new(0));
    let inner = Rc::clone(&rounds);
    let mut c = cede::Coroutine::new(move |s: &cede::Suspender<(), Bomb>, ()| {
        loop {
            let _ = catch_unwind(AssertUnwindSafe(|| s.suspend(Bomb)));
            inner.set(inner.get() + 1);
        }
    });
    if let cede::CoroutineState::Yielded(bomb) = c.resume(()) {
        std::mem::forget(bomb);
    }
    assert_eq!(panic_text(catch_unwind(AssertUnwindSafe(|| drop::<cede::Coroutine<(), Bomb, ()>>(c)))), "bomb");
    assert_eq!(rounds.get(), 1);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_handled_error_does_not_come_back_later() {
    let mut g = Generator::new(|y| {
        let _ = catch_unwind(AssertUnwindSafe(|| y.yield_(1)));
        y.yield_(2);
    });
    g.next();
    assert_eq!(g.throw(Trouble(1)).unwrap(), CoroutineState::Yielded(2));
    assert_eq!(g.close().unwrap(), None);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_delegate_that_panics_does_not_leave_the_outer_listening() {
    let mut g = Generator::new(|y: &Yielder<u32>| {
        let failing = Generator::new(|_: &Yielder<u32>| panic!("inner"));
        let _ = catch_unwind(AssertUnwindSafe(|| y.try_yield_from::<()>(failing)));
        y.yield_(5);
    });
    assert_eq!(g.next(), Some(5));
    assert!(g.throw(Trouble(7)).unwrap_err().into_inner().is::<Trouble>());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_refused_yield_from_leaves_nothing_behind() {
    let mut g = Generator::new(|y: &Yielder<u32>| {
        let inner = Generator::new(|y| y.yield_(100));
        assert!(catch_unwind(AssertUnwindSafe(|| cede::no_suspend(|| y.yield_from(inner)))).is_err());
        y.yield_(5);
    });
    assert_eq!((g.next(), g.next()), (Some(5), None));
}

/// A value with a panicking destructor is dropped inside of a chain of delegates: the panic finishes the outer body and
/// reaches the caller.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panicking_destructor_in_a_chain_panics_in_the_outer_body() {
    // Closing drops the inner's return value, whose destructor panics: the outer body gets the panic.
    let mut outer = Generator::new(|y: &Yielder<u32>| {
        y.yield_from(Generator::new(|y: &Yielder<u32>| {
            let _ = y.try_yield(1);
            Bomb
        }));
    });
    outer.next();
    assert_eq!(panic_text(catch_unwind(AssertUnwindSafe(|| outer.close()))), "bomb");
    assert_eq!(outer.state(), State::Finished);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn destructors_are_answered_at_once_while_their_body_unwinds() {
    struct Asks<'a>(&'a Yielder<u32>, Rc<Cell<u32>>);
    impl Drop for Asks<'_> {
        fn drop(&mut self) {
            let refused =
                self.0.try_yield(9).is_err() && self.0.try_yield_from(Generator::new(|y| y.yield_(10))).is_err();
            self.1.set(if refused { 1 } else { 2 });
        }
    }
    let asked = Rc::new(Cell::new(0));
    let inner = Rc::clone(&asked);
    let mut g = Generator::new(move |y| {
        let _asks = Asks(y, inner);
        y.yield_(1);
    });
    g.next();
    drop(g);
    assert_eq!(asked.get(), 1);

    struct Receives<'a>(&'a cede::Inbox<u32>, Rc<Cell<u32>>);
    impl Drop for Receives<'_> {
        fn drop(&mut self) {
            self.1.set(if self.0.recv().is_none() { 3 } else { 4 });
        }
    }
    let inner = Rc::clone(&asked);
    let mut sink = cede::Sink::new(move |inbox: &cede::Inbox<u32>| {
        let _receives = Receives(inbox, inner);
        inbox.recv();
        panic!("body");
    });
    assert!(catch_unwind(AssertUnwindSafe(|| sink.send(1))).is_err());
    assert_eq!(asked.get(), 3);
}

/// A body that caught the unwinding of a `throw` may be resumed to its end by a destructor of a panicking consumer.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn body_that_caught_a_throw_is_drained_by_a_panicking_consumer() {
    struct Drains(Option<Generator<u32>>, Rc<Cell<u32>>);
    impl Drop for Drains {
        fn drop(&mut self) {
            self.1.set(self.0.take().map_or(0, Iterator::sum));
        }
    }
    let mut g = Generator::new(|y| {
        let _ = catch_unwind(AssertUnwindSafe(|| y.yield_(1)));
        y.yield_all([2, 3, 4]);
    });
    g.next();
    assert_eq!(g.throw(Trouble(1)).unwrap(), CoroutineState::Yielded(2));
    let sum = Rc::new(Cell::new(0));
    let drains = Drains(Some(g), Rc::clone(&sum));
    let _ = catch_unwind(AssertUnwindSafe(move || {
        let _drains = drains;
        panic!("consumer");
    }));
    assert_eq!(sum.get(), 7);
}

/// A panic drops a generator, whose body then panics: the second panic ends there, and the first one goes on.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_a_body_that_a_panic_drops_is_swallowed() {
    // By value, so that the body itself does not unwind when it panics.
    let text = panic_text(catch_unwind(AssertUnwindSafe(|| {
        let mut g = Generator::new(|y: &Yielder<u32>| {
            if y.try_yield(1).is_err() {
                std::panic::panic_any(Bomb);
            }
        });
        g.next();
        panic!("consumer");
    })));
    assert_eq!(text, "consumer");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn an_item_with_a_failing_destructor_costs_no_stack() {
    let live = || cede::stack::stats().live;
    let round = || {
        let mut sink = cede::Sink::new(|_: &cede::Inbox<Bomb>| panic!("body"));
        let _ = catch_unwind(AssertUnwindSafe(|| sink.send(Bomb)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop::<cede::Sink<Bomb, ()>>(sink)));
    };
    round();
    // Other tests of this process make stacks and give them back at the same time. A stack that a round leaks would stay.
    let costs_none = || {
        let before = live();
        (0..50).for_each(|_| round());
        live() < before + 40
    };
    assert!((0..20).any(|_| costs_none()), "each round leaks a stack");
}
