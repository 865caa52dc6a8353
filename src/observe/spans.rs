//! The spans of tracing, kept apart for each task and each body.
//!
//! A subscriber such as the `Registry` of tracing-subscriber keeps a stack of entered spans for each thread. A guard that is held over
//! a switch leaves its span on that stack, so that other tasks log inside of it. [`PerTask`] keeps the entered spans of each task, and of each
//! body of a generator or coroutine, and exchanges them lazily: nothing happens at a switch, and the first call of tracing in another task or
//! body exits the spans of the old one and enters those of the new one.
//!
//! The spans of a body are inside of those of its resumer, which may be another one each time. So the entered spans are levels: that of the task (or of the plain
//! thread), and above it one for each running body, from the outermost inwards. Code on an outer level does not run while an inner one
//! does, so an exchange keeps the levels that both contexts have in common, and replaces all above.

use crate::coroutine::body_numbers;
use crate::scheduler::worker;
use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_core::span::Current;

/// A subscriber that keeps the entered spans of each task and of each generator or coroutine apart, around a subscriber that keeps them for
/// each thread.
///
/// Then a guard of a span may be held over [`yield_now`](crate::yield_now), a wait, or [`Yielder::yield_`](crate::Yielder::yield_): events
/// of another task, or of the consumer of a generator, are not inside of that span. The spans of a generator's body are inside of those of
/// the code that resumes it.
///
/// A switch does nothing for it; each call of tracing compares the calling task and body with those of the last call. Layers that log each
/// enter and exit of a span see the exchanges, which come with the next event, not with the switch. So the busy time of a span contains
/// other tasks' turns without events.
///
/// ```
/// use cede::observe::PerTask;
/// use tracing::{info, info_span};
/// let subscriber = PerTask::new(tracing_subscriber::registry());
/// tracing::subscriber::with_default(subscriber, || cede::run(|| {
///     let mut request = cede::spawn(|| {
///         let _guard = info_span!("request").entered();
///         cede::yield_now();
///         info!("inside of the request");
///     });
///     cede::yield_now();
///     info!("not inside of it");
///     request.join().unwrap();
/// }));
/// ```
#[derive(Debug)]
pub struct PerTask<S> {
    inner: S,
    /// Tells apart the subscribers of a thread.
    number: u64,
}

/// The owner of a level of entered spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    /// Code outside of a run.
    Thread,
    /// The run and the number of a task.
    Task(u64, u64),
    /// The number of a body on this thread.
    Body(u32),
}

/// The spans that are entered on a thread, for one subscriber.
#[derive(Default)]
struct Entered {
    /// The level of the task or thread, and those of the running bodies, from the outermost inwards.
    levels: Vec<(Owner, Vec<Id>)>,
    /// The spans of tasks and bodies that do not run. No list is empty.
    others: HashMap<Owner, Vec<Id>>,
}

/// The calls of an exchange: the spans to exit, and then the spans to enter, in this order.
type Exchange = (Vec<Id>, Vec<Id>);

impl Entered {
    /// Makes the calling context the current one. Returns `None` if it is already.
    fn exchange(&mut self) -> Option<Exchange> {
        let base = worker().map_or(Owner::Thread, |worker| Owner::Task(worker.run(), worker.current().id()));
        let mut bodies = body_numbers();
        let Some(innermost) = bodies.next() else {
            return (self.levels.len() != 1 || self.levels[0].0 != base).then(|| self.replace(&[base]));
        };
        let mut context: Vec<Owner> = std::iter::once(innermost).chain(bodies).map(Owner::Body).collect();
        context.push(base);
        context.reverse();
        let is_current = self.levels.len() == context.len()
            && self.levels.iter().zip(&context).all(|(level, owner)| level.0 == *owner);
        (!is_current).then(|| self.replace(&context))
    }

    fn replace(&mut self, context: &[Owner]) -> Exchange {
        let common = self.levels.iter().zip(context).take_while(|(level, owner)| level.0 == **owner).count();
        let mut exits = Vec::new();
        for (owner, spans) in self.levels.drain(common..).rev() {
            exits.extend(spans.iter().rev().cloned());
            if !spans.is_empty() {
                self.others.insert(owner, spans);
            }
        }
        let mut enters = Vec::new();
        for owner in &context[common..] {
            let spans = self.others.remove(owner).unwrap_or_default();
            enters.extend(spans.iter().cloned());
            self.levels.push((*owner, spans));
        }
        (exits, enters)
    }

    fn enter(&mut self, id: &Id) {
        if let Some((_, spans)) = self.levels.last_mut() {
            spans.push(id.clone());
        }
    }

    /// Removes a span. Returns whether the subscriber has it as entered: not if it belongs to a task or body that does not run, because
    /// a guard was given away.
    fn exit(&mut self, id: &Id) -> bool {
        let take = |spans: &mut Vec<Id>| spans.iter().rposition(|one| one == id).map(|at| spans.remove(at)).is_some();
        if self.levels.iter_mut().rev().any(|(_, spans)| take(spans)) {
            return true;
        }
        let owner = self.others.iter_mut().find_map(|(owner, spans)| take(spans).then_some(*owner));
        if let Some(owner) = owner {
            if self.others[&owner].is_empty() {
                self.others.remove(&owner);
            }
            return false;
        }
        true
    }
}

thread_local! {
    /// The spans that are entered on this thread, by the numbers of the subscribers.
    static ENTERED: RefCell<Vec<(u64, Entered)>> = const { RefCell::new(Vec::new()) };
}

impl<S> PerTask<S> {
    /// Creates a subscriber around `inner`, which must not contain another `PerTask`.
    pub fn new(inner: S) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        PerTask { inner, number: NUMBER.fetch_add(1, Relaxed) }
    }

    /// Calls `f`, which must not run code of the subscriber, with the entered spans. Returns `None` at the end of a thread, when its
    /// thread-locals are gone.
    fn with_entered<R>(&self, f: impl FnOnce(&mut Entered) -> R) -> Option<R> {
        let find = |all: &RefCell<Vec<(u64, Entered)>>| {
            let mut all = all.borrow_mut();
            let at = all.iter().position(|(number, _)| *number == self.number).unwrap_or_else(|| {
                all.push((self.number, Entered::default()));
                all.len() - 1
            });
            f(&mut all[at].1)
        };
        ENTERED.try_with(find).ok()
    }
}

impl<S: Subscriber> PerTask<S> {
    /// Puts the spans of the calling task and body in place of those of the last call.
    #[inline]
    fn settle(&self) {
        // The subscriber is called outside of the borrow: it may be any code.
        if let Some(Some((exits, enters))) = self.with_entered(Entered::exchange) {
            exits.iter().for_each(|id| self.inner.exit(id));
            enters.iter().for_each(|id| self.inner.enter(id));
        }
    }
}

impl<S: Subscriber> Subscriber for PerTask<S> {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.inner.on_register_dispatch(dispatch);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.inner.register_callsite(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.inner.max_level_hint()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.settle();
        self.inner.enabled(metadata)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.settle();
        self.inner.new_span(attributes)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn event_enabled(&self, event: &Event<'_>) -> bool {
        self.settle();
        self.inner.event_enabled(event)
    }

    fn event(&self, event: &Event<'_>) {
        self.settle();
        self.inner.event(event);
    }

    fn enter(&self, span: &Id) {
        self.settle();
        self.with_entered(|entered| entered.enter(span));
        self.inner.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.settle();
        if self.with_entered(|entered| entered.exit(span)).unwrap_or(true) {
            self.inner.exit(span);
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.inner.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.inner.try_close(id)
    }

    fn current_span(&self) -> Current {
        self.settle();
        self.inner.current_span()
    }

    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        // SAFETY: the subscriber inside keeps the contract of this function, and lives as long as `self`.
        unsafe { self.inner.downcast_raw(id) }
    }
}
