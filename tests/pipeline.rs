//! Sinks and stages: items pass in order, ends pass in both directions, and no item is lost.

use cede::pipeline::{self, Push};
use cede::{Generator, Inbox, SendError, Sink, State};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

fn summing() -> Sink<u32, u32> {
    Sink::new(|inbox: &Inbox<u32>| inbox.iter().sum())
}

/// A sink starts at its first item, or at `finish`, which returns what the body returns.
#[test]
fn sink_starts_at_the_first_item_and_finish_returns_its_result() {
    let mut sink = summing();
    assert_eq!(sink.state(), State::Created);
    sink.send(1).unwrap();
    assert_eq!(sink.state(), State::Suspended);
    sink.send(2).unwrap();
    assert_eq!(sink.finish(), 3);
    assert_eq!(summing().finish(), 0, "finish() alone starts the sink too");
}

/// A sink whose body has returned gives the next item back, and keeps its result for `finish`.
#[test]
fn sink_that_returned_early_refuses_items_and_keeps_its_result() {
    let mut sink = Sink::new(|inbox: &Inbox<u32>| inbox.recv());
    sink.send(1).unwrap();
    assert!(sink.is_finished());
    assert_eq!(sink.send(2), Err(SendError::Finished(2)));
    assert_eq!(sink.finish(), Some(1));
}

#[test]
fn a_body_that_takes_nothing_gives_even_the_first_item_back() {
    let mut sink = Sink::new(|_: &Inbox<String>| "done");
    assert_eq!(sink.send("x".into()).unwrap_err().into_inner(), "x");
    assert_eq!(sink.finish(), "done");
}

#[test]
fn dropping_a_sink_ends_its_input_and_lets_it_finish() {
    let written = Rc::new(RefCell::new(Vec::new()));
    let out = Rc::clone(&written);
    let mut buffered = Sink::new(move |inbox: &Inbox<u32>| {
        let held: Vec<u32> = inbox.iter().collect();
        out.borrow_mut().extend(held);
    });
    buffered.extend([1, 2, 3]);
    assert!(written.borrow().is_empty());
    drop(buffered);
    assert_eq!(*written.borrow(), [1, 2, 3]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_sink_dropped_by_a_panic_is_unwound_instead() {
    let log = Rc::new(RefCell::new(Vec::new()));
    struct Logs(Rc<RefCell<Vec<&'static str>>>);
    impl Drop for Logs {
        fn drop(&mut self) {
            self.0.borrow_mut().push("cleanup");
        }
    }
    let inner = Rc::clone(&log);
    let result = catch_unwind(AssertUnwindSafe(move || {
        let mut sink = Sink::new(move |inbox: &Inbox<u32>| {
            let logs = Logs(inner);
            for _ in inbox {}
            logs.0.borrow_mut().push("finished");
        });
        sink.send(1).unwrap();
        panic!("source");
    }));
    assert!(result.is_err());
    assert_eq!(*log.borrow(), ["cleanup"]);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_panic_of_the_body_comes_out_of_send_and_of_drop() {
    let make = || {
        Sink::new(|inbox: &Inbox<u32>| {
            for item in inbox {
                assert_ne!(item, 2, "a bad item");
            }
            panic!("at the end");
        })
    };
    let mut sink = make();
    sink.send(1).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| sink.send(2))).is_err());
    assert_eq!(sink.send(3), Err(SendError::Finished(3)));
    let mut sink = make();
    sink.send(1).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(sink))).is_err());
}

#[test]
fn recv_after_the_end_stays_none() {
    let sink = Sink::new(|inbox: &Inbox<u32>| (inbox.recv(), inbox.recv(), inbox.recv()));
    assert_eq!(sink.finish(), (None, None, None));
}

#[test]
fn stages_pass_items_on_in_order() {
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    let end = pipeline::collect::<Vec<String>, _>();
    let mut stages = pipeline::inspect(
        move |_| counter.set(counter.get() + 1),
        pipeline::filter(|n| n % 3 != 0, pipeline::map(|n: u32| n.to_string(), end)),
    );
    stages.feed(1..=7).unwrap();
    assert_eq!(stages.finish(), ["1", "2", "4", "5", "7"]);
    assert_eq!(seen.get(), 7);
}

/// When the last stage ends early, every stage before it refuses items, and no item of the source is lost.
#[test]
fn early_end_passes_up_every_stage_and_stops_the_source() {
    // The sink stops after two items. The stages before it must neither swallow an item nor ask for more.
    let first_two = || Sink::new(|inbox: &Inbox<u32>| (inbox.recv(), inbox.recv()));
    let mut source = 1..;
    let mut stages = pipeline::map(
        |n: u32| n,
        pipeline::inspect(|_| {}, pipeline::filter(|_| true, pipeline::take(9, first_two()))),
    );
    assert_eq!(stages.feed(source.by_ref()), Err(SendError::Finished(3)));
    assert_eq!(source.next(), Some(4), "the source gave no item that no stage takes");
    assert_eq!(stages.finish(), (Some(1), Some(2)));
}

/// A stage whose target never takes an item gives the original item back.
#[test]
fn stage_returns_the_unmapped_item_if_its_target_ended() {
    let mut stages = pipeline::map(|n: u32| n.to_string(), Sink::new(|_: &Inbox<String>| ()));
    assert_eq!(stages.send(7), Err(SendError::Finished(7)));
    let mut stages = pipeline::batch(3, Sink::new(|_: &Inbox<Vec<u32>>| ()));
    assert_eq!(stages.send(7), Err(SendError::Finished(7)));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn batches_are_whole_and_the_rest_comes_at_the_end() {
    let mut stages = pipeline::batch(3, pipeline::collect::<Vec<Vec<u32>>, _>());
    stages.feed(1..=7).unwrap();
    assert_eq!(stages.finish(), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
    assert!(catch_unwind(|| drop(pipeline::batch::<u32, _>(0, pipeline::for_each(drop::<Vec<u32>>)))).is_err());
}

#[test]
fn tee_and_broadcast_go_on_until_all_have_ended() {
    let mut both = pipeline::tee(pipeline::take(1, pipeline::collect::<Vec<u32>, _>()), summing());
    both.feed([1, 2, 3]).unwrap();
    assert!(both.ready(), "the second takes more");
    assert_eq!(both.finish(), (vec![1], 6));

    let mut both = pipeline::tee(summing(), pipeline::take(1, pipeline::collect::<Vec<u32>, _>()));
    both.feed([1, 2, 3]).unwrap();
    assert!(both.ready(), "the first takes more");
    assert_eq!(both.finish(), (6, vec![1]));

    let targets = [2, 0, 1].map(|n| pipeline::take(n, pipeline::collect::<Vec<u32>, _>()));
    let mut all = pipeline::broadcast(targets);
    assert_eq!(all.feed(1..), Err(SendError::Finished(3)));
    assert_eq!(all.finish(), [vec![1, 2], vec![], vec![1]]);
    let mut none = pipeline::broadcast(Vec::<Sink<u32>>::new());
    assert_eq!(none.send(1), Err(SendError::Finished(1)));
}

#[test]
fn lines_come_without_their_ends_and_bad_ones_are_errors() {
    let mut lines = pipeline::collect::<Vec<String>, _>();
    assert!(lines.feed_lines(&b"one\r\n\ntwo\nlast"[..]).unwrap());
    assert_eq!(lines.finish(), ["one", "", "two", "last"]);

    let mut lines = pipeline::collect::<Vec<String>, _>();
    assert!(lines.feed_lines(&b"fine\n\xff\n"[..]).is_err());
    assert_eq!(lines.finish(), ["fine"]);

    // A line that no stage would take is not read.
    let mut lines = pipeline::take(1, pipeline::collect::<Vec<String>, _>());
    let mut reader = &b"a\nb\nc"[..];
    assert!(!lines.feed_lines(&mut reader).unwrap());
    assert_eq!((reader, lines.finish()), (&b"b\nc"[..], vec!["a".to_string()]));
}

#[test]
fn a_generator_is_a_source_and_a_sink_can_be_a_stage() {
    let numbers = Generator::new(|y| y.yield_all(1..=4u32));
    // A stage with a body of its own: pairs of neighbours.
    let mut target = pipeline::collect::<Vec<(u32, u32)>, _>();
    let mut pairs = Sink::new(move |inbox: &Inbox<u32>| {
        let mut last = inbox.recv();
        for item in inbox {
            if let Some(last) = last.replace(item)
                && target.send((last, item)).is_err()
            {
                break;
            }
        }
        target.finish()
    });
    pairs.feed(numbers).unwrap();
    assert_eq!(pairs.finish(), [(1, 2), (2, 3), (3, 4)]);
}

#[test]
fn a_lent_stage_is_finished_by_its_owner() {
    let mut sum = summing();
    let mut doubled = pipeline::map(|n: u32| 2 * n, &mut sum);
    doubled.feed([1, 2]).unwrap();
    doubled.finish();
    assert_eq!(sum.finish(), 6);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn extend_says_when_items_would_be_lost() {
    let mut sink = Sink::new(|inbox: &Inbox<u32>| inbox.recv());
    let payload = catch_unwind(AssertUnwindSafe(|| sink.extend([1, 2]))).unwrap_err();
    let text = payload.downcast::<String>().unwrap();
    assert_eq!(*text, "cannot extend an unnamed sink: cannot send: the receiver has finished");
}

/// A stage does not call its function with an item that it gives back.
#[test]
fn stage_does_not_call_its_function_for_a_refused_item() {
    let calls = Cell::new(0);
    let count = || calls.set(calls.get() + 1);
    let ended = || pipeline::take(0, pipeline::for_each(drop::<u32>));
    assert!(
        pipeline::filter(
            |_| {
                count();
                true
            },
            ended()
        )
        .send(1)
        .is_err()
    );
    assert!(pipeline::inspect(|_| count(), ended()).send(1).is_err());
    assert!(
        pipeline::map(
            |n: u32| {
                count();
                n
            },
            ended()
        )
        .send(1)
        .is_err()
    );
    assert_eq!(calls.get(), 0);
}
