//! Bodies of every kind: made, resumed, suspended, delegated to, ended.
#![forbid(unsafe_code)]

use crate::GATED;
use crate::ledger::{Caught, Token, fail, see};
use crate::perform::{Ctx, Flow, perform};
use crate::program::{Block, Kind, Use};
use crate::world::{NodeId, NodeKind, Path, World};
use cede::{
    Builder, CloseError, Coroutine, CoroutineState, Generator, Inbox, Interrupt, Scoped, Sink, State, Step, Suspender,
    Yielder,
};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread::panicking;

/// Unoptimised frames under AddressSanitizer are large.
const STACK: usize = 256 * 1024;

enum Inner {
    Plain(Generator<Token, (), Token>),
    Speaker(Generator<Token, Token, Token>),
    Coroutine(Coroutine<Token, Token, Token>),
    Sink(Sink<Token, Token>),
}

/// A body of the pool.
pub(crate) struct Body {
    world: Rc<World>,
    node: NodeId,
    inner: Option<Inner>,
}

thread_local! {
    /// Bodies that are dropped when the thread ends. Touched before the thread's first coroutine.
    pub(crate) static STASH: RefCell<Vec<Body>> = const { RefCell::new(Vec::new()) };
}

/// What code can suspend or resume, the innermost first.
pub(crate) struct Reach<'a> {
    access: Access<'a>,
    node: NodeId,
    outer: Option<&'a Reach<'a>>,
}

#[derive(Clone, Copy)]
enum Access<'a> {
    Plain(&'a Yielder<Token>),
    Speaker(&'a Yielder<Token, Token>),
    Coroutine(&'a Suspender<Token, Token>),
    Inbox(&'a Inbox<Token>),
    /// A coroutine that borrows, to be resumed.
    Lent(&'a dyn Lent),
}

enum Answer {
    Value,
    Closed,
    Thrown(Box<dyn std::error::Error>),
}

impl Access<'_> {
    fn suspend(&self, world: &World, trying: bool) -> Answer {
        let interrupted = |interrupt| match interrupt {
            Interrupt::Closed => Answer::Closed,
            Interrupt::Thrown(error) => Answer::Thrown(error),
        };
        let token = match self {
            Access::Plain(y) if trying => {
                return y.try_yield(world.token()).map_or_else(interrupted, |()| Answer::Value);
            }
            Access::Speaker(y) if trying => match y.try_yield(world.token()) {
                Ok(token) => Some(token),
                Err(interrupt) => return interrupted(interrupt),
            },
            Access::Plain(y) => {
                y.yield_(world.token());
                None
            }
            Access::Speaker(y) => Some(y.yield_(world.token())),
            Access::Coroutine(s) => Some(s.suspend(world.token())),
            Access::Inbox(inbox) => match inbox.recv() {
                Some(token) => Some(token),
                None => return Answer::Closed,
            },
            Access::Lent(_) => None,
        };
        token.iter().for_each(Token::check);
        Answer::Value
    }
}

fn nth<'a>(ctx: &Ctx<'a>, number: u8, lent: bool) -> Option<&'a Reach<'a>> {
    let all: Vec<_> = std::iter::successors(ctx.reach, |reach| reach.outer)
        .filter(|reach| matches!(reach.access, Access::Lent(_)) == lent)
        .collect();
    if all.is_empty() { None } else { Some(all[number as usize % all.len()]) }
}

/// The whole of a body.
fn body(world: &Rc<World>, node: NodeId, access: Access<'_>, outer: Option<&Reach<'_>>, block: Block) -> Token {
    let reach = Reach { access, node, outer };
    let ctx = Ctx { world, node, quiet: false, reach: Some(&reach), depth: 0 };
    let result = world.token();
    perform(&ctx, block);
    result
}

/// Whether the body may not be suspended at this moment for reasons that are documented to end the process.
fn would_abort(world: &World, node: NodeId) -> bool {
    let (swallowed, in_panic) = world.node(node, |node| (node.swallowed, node.in_panic));
    let gated = GATED && (panicking() && !in_panic || cfg!(debug_assertions) && world.is_below_later_resume(node));
    swallowed && (panicking() || world.is_scoped(node)) || gated
}

/// Suspends a body by `f`, or sees to it that this is refused. `None` if nothing was tried.
fn leave<T>(ctx: &Ctx<'_>, reach: &Reach<'_>, trying: bool, f: impl FnOnce() -> T) -> Option<Result<T, String>> {
    let (world, node) = (ctx.world, reach.node);
    let path = world.path(ctx.node, node);
    let by_value = trying && matches!(reach.access, Access::Plain(_) | Access::Speaker(_))
        || matches!(reach.access, Access::Inbox(_));
    let in_panic = world.node(node, |node| node.in_panic);
    match path {
        Path::Clear if would_abort(world, node) => return None,
        Path::Refused if GATED || panicking() && !in_panic => return None,
        Path::Destructor { certain } if !(certain && by_value && panicking()) => return None,
        _ => {}
    }
    if path == Path::Clear && world.node(node, |node| node.told_to_end) {
        world.ledger.allow_leaks();
    }
    world.leaving.set(Some(node).filter(|_| path == Path::Clear));
    let resumes = world.node(node, |node| node.resumes);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    world.leaving.set(None);
    let stayed = world.node(node, |node| node.resumes) == resumes;
    match (path, outcome) {
        (Path::Clear, Ok(value)) => Some(Ok(value)),
        (Path::Destructor { .. }, Ok(value)) if stayed => Some(Ok(value)),
        // There was an item, or the input has ended.
        (Path::Refused, Ok(value)) if stayed && matches!(reach.access, Access::Inbox(_)) => Some(Ok(value)),
        (path, Ok(_)) => fail(&format!("a body was suspended: {path:?}")),
        (path, Err(payload)) => {
            let text = payload.downcast_ref::<String>().filter(|text| text.starts_with("cannot suspend "));
            match (path, text) {
                (Path::Refused, Some(text)) if stayed => {
                    let text = text.clone();
                    Some(Err(text))
                }
                (Path::Clear, None) => resume_unwind(payload),
                (path, text) => fail(&format!("a suspension came to {text:?}: {path:?}")),
            }
        }
    }
}

pub(crate) fn suspend(ctx: &Ctx<'_>, port: u8, trying: bool, lenient: bool) -> Flow {
    let Some(reach) = nth(ctx, port, false) else { return Flow::Next };
    match leave(ctx, reach, trying, || reach.access.suspend(ctx.world, trying)) {
        None | Some(Ok(Answer::Value)) => Flow::Next,
        Some(Ok(Answer::Closed)) => closed(ctx, reach, lenient),
        Some(Ok(Answer::Thrown(error))) => thrown(reach, error, lenient),
        Some(Err(_)) if lenient => Flow::Next,
        Some(Err(text)) => std::panic::panic_any(text),
    }
}

fn closed(ctx: &Ctx<'_>, reach: &Reach<'_>, lenient: bool) -> Flow {
    if !matches!(reach.access, Access::Inbox(_)) {
        ctx.world.node(reach.node, |node| node.told_to_end = true);
    }
    if lenient { Flow::End } else { Flow::Next }
}

fn thrown(reach: &Reach<'_>, error: Box<dyn std::error::Error>, lenient: bool) -> Flow {
    match reach.access {
        Access::Plain(y) if !lenient => y.rethrow(Interrupt::Thrown(error)),
        Access::Speaker(y) if !lenient => y.rethrow(Interrupt::Thrown(error)),
        _ => Flow::Next,
    }
}

pub(crate) fn delegate(ctx: &Ctx<'_>, port: u8, trying: bool, lenient: bool, block: Option<Block>) -> Flow {
    let Some(reach) = nth(ctx, port, false) else { return Flow::Next };
    let kind = match reach.access {
        Access::Plain(_) => Kind::Plain,
        Access::Speaker(_) => Kind::Speaker,
        _ => return Flow::Next,
    };
    let found = match block {
        Some(block) => Some(Body::new(ctx.world, kind, block)),
        None => take(ctx.world, port, |body| match (kind, &body.inner) {
            (Kind::Plain, Some(Inner::Plain(g))) => g.state() != State::Finished,
            (Kind::Speaker, Some(Inner::Speaker(g))) => g.state() == State::Created,
            _ => false,
        }),
    };
    let Some(mut inner) = found else { return Flow::Next };
    let (outer, node) = (reach.node, inner.node);
    let world = Rc::clone(ctx.world);
    let answer = leave(ctx, reach, trying, move || {
        world.node(outer, |outer| outer.delegate = Some(node));
        world.node(node, |node| node.delegator = Some(outer));
        let parent = world.node(outer, |outer| outer.parent);
        world.entering(node, parent);
        let outcome = match (reach.access, inner.inner.take()) {
            (Access::Plain(y), Some(Inner::Plain(g))) if trying => y.try_yield_from(g),
            (Access::Plain(y), Some(Inner::Plain(g))) => Ok(y.yield_from(g)),
            (Access::Speaker(y), Some(Inner::Speaker(g))) if trying => y.try_yield_from(g),
            (Access::Speaker(y), Some(Inner::Speaker(g))) => Ok(y.yield_from(g)),
            _ => fail("that is no generator of this kind"),
        };
        world.node(outer, |outer| outer.delegate = None);
        outcome
    });
    match answer {
        None => Flow::Next,
        Some(Ok(Ok(token))) => {
            token.check();
            Flow::Next
        }
        Some(Ok(Err(Interrupt::Closed))) => closed(ctx, reach, lenient),
        Some(Ok(Err(Interrupt::Thrown(error)))) => thrown(reach, error, lenient),
        Some(Err(_)) if lenient => Flow::Next,
        Some(Err(text)) => std::panic::panic_any(text),
    }
}

/// Takes the first body that suits, from the place `number` on.
fn take(world: &World, number: u8, suits: impl Fn(&Body) -> bool) -> Option<Body> {
    let mut bodies = world.bodies.borrow_mut();
    let count = bodies.len();
    let place = (0..count).map(|n| (number as usize + n) % count).find(|place| suits(&bodies[*place]))?;
    Some(bodies.swap_remove(place))
}

fn put(world: &World, body: Body) {
    let mut bodies = world.bodies.borrow_mut();
    bodies.push(body);
    let surplus = if bodies.len() > 12 { Some(bodies.swap_remove(0)) } else { None };
    drop(bodies);
    drop(surplus);
}

pub(crate) fn make(ctx: &Ctx<'_>, kind: Kind, block: Block) {
    put(ctx.world, Body::new(ctx.world, kind, block));
}

pub(crate) fn use_body(ctx: &Ctx<'_>, what: Use, number: u8) {
    let Some(mut body) = take(ctx.world, number, |_| true) else { return };
    match what {
        Use::Resume(times) => {
            (0..times).for_each(|_| body.resume(ctx));
            put(ctx.world, body);
        }
        Use::Throw => {
            body.throw(ctx);
            put(ctx.world, body);
        }
        Use::Close => body.close(ctx),
        Use::Drop => drop(body),
        Use::Forget => {
            ctx.world.ledger.allow_leaks();
            std::mem::forget(body);
        }
        Use::Stash => {
            ctx.world.ledger.allow_leaks();
            // At the end of the thread it may be gone.
            let _ = STASH.try_with(|stash| stash.borrow_mut().push(body));
        }
        Use::Each => crate::tasks::spawn_each(ctx, body),
    }
}

/// The task that resumes a body; `None` if it does so inside of a body, which may go on in another task.
struct Resumer(Option<cede::task::Task>);

fn resumer(ctx: &Ctx<'_>) -> Option<Resumer> {
    (!ctx.world.is_in_body(ctx.node)).then(|| Resumer(cede::task::current()))
}

fn same_task(resumer: Option<Resumer>) {
    if resumer.is_some_and(|resumer| cede::task::current() != resumer.0) {
        fail("a resume came back in another task");
    }
}

impl Body {
    fn new(world: &Rc<World>, kind: Kind, block: Block) -> Body {
        let node = world.add(NodeKind::Body, None);
        let builder = Builder::new().stack_size(STACK);
        let w = Rc::clone(world);
        let inner = match kind {
            Kind::Plain => Inner::Plain(
                builder.generator(move |y: &Yielder<Token>| body(&w, node, Access::Plain(y), None, block)).unwrap(),
            ),
            Kind::Speaker => Inner::Speaker(
                builder
                    .generator(move |y: &Yielder<Token, Token>| body(&w, node, Access::Speaker(y), None, block))
                    .unwrap(),
            ),
            Kind::Coroutine => Inner::Coroutine(
                builder
                    .coroutine(move |s: &Suspender<Token, Token>, first: Token| {
                        first.check();
                        body(&w, node, Access::Coroutine(s), None, block)
                    })
                    .unwrap(),
            ),
            Kind::Sink => Inner::Sink(
                builder.sink(move |i: &Inbox<Token>| body(&w, node, Access::Inbox(i), None, block)).unwrap(),
            ),
        };
        Body { world: Rc::clone(world), node, inner: Some(inner) }
    }

    /// The generator in it, if it is one that a task can drive.
    pub(crate) fn into_plain(mut self) -> Option<(NodeId, Generator<Token, (), Token>)> {
        if !matches!(&self.inner, Some(Inner::Plain(generator)) if !generator.is_finished()) {
            return None;
        }
        match self.inner.take() {
            Some(Inner::Plain(generator)) => Some((self.node, generator)),
            _ => None,
        }
    }

    fn resume(&mut self, ctx: &Ctx<'_>) {
        let world = ctx.world;
        world.entering(self.node, Some(ctx.node));
        let me = resumer(ctx);
        let token = world.token();
        let yielded = match self.inner.as_mut() {
            Some(Inner::Plain(g)) => g.next(),
            Some(Inner::Speaker(g)) => {
                let step = if g.state() == State::Created { Ok(g.start()) } else { g.send(token) };
                match step {
                    Ok(Step::Yielded(token)) => Some(token),
                    _ => None,
                }
            }
            Some(Inner::Coroutine(c)) if !c.is_finished() => match c.resume(token) {
                CoroutineState::Yielded(token) => Some(token),
                CoroutineState::Complete(_) => None,
            },
            Some(Inner::Sink(s)) => match s.send(token) {
                Ok(()) if s.state() == State::Suspended => Some(world.token()),
                Err(error) => {
                    error.into_inner().check();
                    None
                }
                _ => None,
            },
            _ => return,
        };
        self.after(yielded, me);
    }

    fn after(&self, yielded: Option<Token>, me: Option<Resumer>) {
        if let Some(token) = yielded {
            token.check();
            self.world.suspended(self.node);
        }
        same_task(me);
    }

    fn throw(&mut self, ctx: &Ctx<'_>) {
        ctx.world.entering(self.node, Some(ctx.node));
        let me = resumer(ctx);
        let step = match self.inner.as_mut() {
            Some(Inner::Plain(g)) => g.throw("an error"),
            Some(Inner::Speaker(g)) => g.throw("an error"),
            _ => return,
        };
        match step {
            Ok(Step::Yielded(token)) => self.after(Some(token), me),
            Ok(Step::Complete(token)) => token.check(),
            Err(error) if error.to_string() != "an error" => fail("another error came back than the one thrown"),
            Err(_) => {}
        }
    }

    fn close(mut self, ctx: &Ctx<'_>) {
        ctx.world.entering(self.node, Some(ctx.node));
        let me = resumer(ctx);
        let closed = match self.inner.as_mut() {
            Some(Inner::Plain(g)) => g.close(),
            Some(Inner::Speaker(g)) => g.close(),
            Some(Inner::Sink(_)) => match self.inner.take() {
                Some(Inner::Sink(sink)) => Ok(Some(sink.finish())),
                _ => return,
            },
            _ => return,
        };
        match closed {
            Ok(token) => token.iter().for_each(Token::check),
            Err(CloseError::Ignored(token)) => self.after(Some(token), me),
            Err(CloseError::Raised(_)) => {}
        }
        put(ctx.world, self);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The body may run once more, in the drop of the fields. It reaches no body around it.
        self.world.entering(self.node, None);
    }
}

/// A coroutine that borrows, as those see it that it is lent to.
trait Lent {
    fn resume(&self, ctx: &Ctx<'_>);
}

struct LentScoped<'s> {
    coroutine: RefCell<Scoped<'s, Token, Token, Token>>,
    node: NodeId,
    owner: NodeId,
}

impl Lent for LentScoped<'_> {
    fn resume(&self, ctx: &Ctx<'_>) {
        let Ok(mut coroutine) = self.coroutine.try_borrow_mut() else { return };
        if coroutine.is_finished() {
            return;
        }
        ctx.world.entering(self.node, Some(ctx.node));
        let me = resumer(ctx);
        if let CoroutineState::Yielded(token) = coroutine.resume(ctx.world.token()) {
            token.check();
            ctx.world.suspended(self.node);
        }
        same_task(me);
        // Its owner is who ends it.
        ctx.world.node(self.node, |node| node.parent = Some(self.owner));
    }
}

pub(crate) fn resume_scoped(ctx: &Ctx<'_>, number: u8) {
    if let Some(Reach { access: Access::Lent(lent), .. }) = nth(ctx, number, true) {
        lent.resume(ctx);
    }
}

/// The call that owns a scoped coroutine ends it.
struct Ending<'a>(&'a World, NodeId, NodeId);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.entering(self.1, Some(self.2));
    }
}

pub(crate) fn scoped(ctx: &Ctx<'_>, block: Block, with: Block) -> Flow {
    let node = ctx.world.add(NodeKind::Scoped, Some(ctx.node));
    cede::scoped(
        |s: &Suspender<Token, Token>, first: Token| {
            first.check();
            body(ctx.world, node, Access::Coroutine(s), ctx.reach, block)
        },
        |coroutine| {
            let _ending = Ending(ctx.world, node, ctx.node);
            let lent = LentScoped { coroutine: RefCell::new(coroutine), node, owner: ctx.node };
            let reach = Reach { access: Access::Lent(&lent), node, outer: ctx.reach };
            perform(&Ctx { reach: Some(&reach), ..*ctx }, with)
        },
    )
}

/// Catches what a block throws.
pub(crate) fn catch(ctx: &Ctx<'_>, block: Block, lenient: bool) -> Flow {
    match catch_unwind(AssertUnwindSafe(|| perform(ctx, block))) {
        Ok(flow) => flow,
        Err(payload) => match see(payload) {
            Caught::Private(payload) if !lenient => resume_unwind(payload),
            Caught::Private(_) => {
                ctx.world.swallowed(ctx.node);
                Flow::Next
            }
            _ => Flow::Next,
        },
    }
}
