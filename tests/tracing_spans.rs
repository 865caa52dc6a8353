//! Spans of tracing that stay open over a switch, in tasks and in bodies.
#![cfg(feature = "tracing")]

mod common;

use cede::observe::PerTask;
use cede::{Builder, Generator, Yielder, join_all, run, spawn, yield_now};
use std::sync::{Arc, Mutex};
use tracing::{Event, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// The names of the spans around each event, the innermost first, behind the name of the task.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target().starts_with("cede") {
            return;
        }
        let spans: Vec<_> = context.event_scope(event).into_iter().flatten().map(|span| span.name()).collect();
        let task = cede::task::current().map_or("-".into(), |task| task.to_string());
        self.0.lock().unwrap().push(format!("{task}: {}", spans.join(" < ")));
    }
}

/// Returns the lines of the events of `f`, with [`PerTask`] or without.
fn logged(per_task: bool, f: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let registry = Registry::default().with(log.clone());
    if per_task {
        tracing::subscriber::with_default(PerTask::new(registry), f);
    } else {
        tracing::subscriber::with_default(registry, f);
    }
    let lines = log.0.lock().unwrap();
    lines.clone()
}

fn three_tasks() {
    run(|| {
        let named = |name: &'static str| Builder::new().name(name);
        let a = named("A").spawn(|| {
            let _outer = info_span!("spanA").entered();
            info!("1");
            yield_now();
            info!("2");
            yield_now();
            let _inner = info_span!("innerA").entered();
            info!("3");
            yield_now();
            info!("4");
        });
        let b = named("B").spawn(|| {
            let _guard = info_span!("spanB").entered();
            info!("1");
            yield_now();
            info!("2");
            yield_now();
            info!("3");
        });
        let c = named("C").spawn(|| {
            for _ in 0..3 {
                info!("no span");
                yield_now();
            }
        });
        join_all([a.unwrap(), b.unwrap(), c.unwrap()]);
        info!("at the end");
    });
}

/// Eleven events in three tasks, each inside of the spans of its own task. Without the subscriber most are wrong.
#[test]
fn events_are_inside_of_the_spans_of_their_task() {
    let right = [
        "'A': spanA",
        "'B': spanB",
        "'C': ",
        "'A': spanA",
        "'B': spanB",
        "'C': ",
        "'A': innerA < spanA",
        "'B': spanB",
        "'C': ",
        "'A': innerA < spanA",
        "'main': ",
    ];
    assert_eq!(logged(true, three_tasks), right);
    assert_ne!(logged(false, three_tasks), right, "the plain registry would do");
}

fn two_generators() {
    let generator = |name: &'static str| {
        Generator::new(move |y: &Yielder<u32>| {
            let _guard = info_span!("body", name).entered();
            for n in 0..2 {
                info!("inside");
                y.yield_(n);
            }
        })
    };
    let (mut one, mut two) = (generator("one"), generator("two"));
    let outer = info_span!("consumer").entered();
    for _ in 0..2 {
        one.next();
        info!("outside");
        two.next();
        info!("outside");
    }
    drop(outer);
    one.next();
    info!("after");
}

/// The spans of a body are inside of those of the consumer, which does not see them.
#[test]
fn spans_of_bodies_stay_inside() {
    let round = ["-: body < consumer", "-: consumer", "-: body < consumer", "-: consumer"];
    let right: Vec<_> = round.iter().chain(&round).copied().chain(["-: "]).collect();
    assert_eq!(logged(true, two_generators), right);
}

/// A body without a span of its own is inside of the spans of the code that resumes it.
#[test]
fn body_is_inside_of_the_spans_of_its_resumer() {
    let lines = logged(true, || {
        let mut inner = Generator::new(|y: &Yielder<u32>| {
            for n in 0..3 {
                info!("x");
                y.yield_(n);
            }
        });
        info_span!("first").in_scope(|| inner.next());
        info_span!("second").in_scope(|| inner.next());
        let mut outer = Generator::new(move |y: &Yielder<u32>| {
            let _guard = info_span!("outer").entered();
            y.yield_(inner.next().unwrap());
            info!("x");
        });
        outer.next();
        info!("x");
        outer.next();
    });
    assert_eq!(lines, ["-: first", "-: second", "-: outer", "-: ", "-: outer"]);
}

/// A guard that another task drops ends the span of the task that entered it.
#[test]
fn guard_may_be_dropped_by_another_task() {
    let lines = logged(true, || {
        run(|| {
            let place = std::rc::Rc::new(std::cell::RefCell::new(None));
            let own = std::rc::Rc::clone(&place);
            let mut enters = Builder::new()
                .name("enters")
                .spawn(move || {
                    *own.borrow_mut() = Some(info_span!("given").entered());
                    info!("1");
                    yield_now();
                    info!("2");
                })
                .unwrap();
            yield_now();
            info!("3");
            drop(place.take());
            info!("4");
            enters.join().unwrap();
        });
    });
    assert_eq!(lines, ["'enters': given", "'main': ", "'main': ", "'enters': "]);
}

/// A guard that a task forgets does not come back in a later run, whose tasks have the same numbers.
#[test]
fn forgotten_guard_does_not_come_back() {
    let lines = logged(true, || {
        for _ in 0..2 {
            run(|| {
                let mut task = spawn(|| {
                    info!("1");
                    std::mem::forget(info_span!("forgotten").entered());
                });
                task.join().unwrap();
            });
        }
    });
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.ends_with(": ")), "{lines:?}");
}

/// Two subscribers on one thread do not mix their spans.
#[test]
fn subscribers_keep_their_own_spans() {
    let inner_lines = std::cell::RefCell::new(Vec::new());
    let lines = logged(true, || {
        let _guard = info_span!("outer").entered();
        *inner_lines.borrow_mut() = logged(true, || {
            info!("x");
            info_span!("inner").in_scope(|| info!("y"));
        });
        info!("z");
    });
    assert_eq!(lines, ["-: outer"]);
    assert_eq!(inner_lines.into_inner(), ["-: ", "-: inner"]);
}

/// The subscriber inside can be reached, as layers do that look for each other.
#[test]
fn inner_subscriber_can_be_downcast() {
    let dispatch = tracing::Dispatch::new(PerTask::new(Registry::default()));
    assert!(dispatch.downcast_ref::<Registry>().is_some());
    assert!(dispatch.downcast_ref::<PerTask<Registry>>().is_some());
}
