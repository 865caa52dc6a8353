//! Bodies of every kind: creation, resuming, end.
#![forbid(unsafe_code)]

use crate::ledger::{Caught, Token, fail, see};
use crate::perform::{Ctx, Flow, perform};
use crate::program::{Block, Kind, Use};
use crate::suspend::{Access, Lent, Reach, nth};
use crate::world::{NodeId, NodeKind, World};
use cede::{Builder, CloseError, Coroutine, CoroutineState, Generator, Inbox, Scoped, Sink, State, Suspender, Yielder};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Unoptimised frames under AddressSanitizer are large.
const STACK: usize = 256 * 1024;

pub(crate) enum Inner {
    Plain(Generator<Token, (), Token>),
    Speaker(Generator<Token, Token, Token>),
    Coroutine(Coroutine<Token, Token, Token>),
    Sink(Sink<Token, Token>),
}

/// A body of the pool.
pub(crate) struct Body {
    world: Rc<World>,
    pub(crate) node: NodeId,
    pub(crate) inner: Option<Inner>,
}

thread_local! {
    /// Bodies that are dropped when the thread ends. Touched before the thread's first coroutine.
    pub(crate) static STASH: RefCell<Vec<Body>> = const { RefCell::new(Vec::new()) };
}

/// The function of a body.
fn body(world: &Rc<World>, node: NodeId, access: Access<'_>, outer: Option<&Reach<'_>>, block: Block) -> Token {
    let reach = Reach { access, node, outer };
    let ctx = Ctx { world, node, quiet: false, reach: Some(&reach), depth: 0 };
    let result = world.token();
    perform(&ctx, block);
    result
}

/// Takes the first suitable body out of the pool, from the place `number` on.
pub(crate) fn take(world: &World, number: u8, suits: impl Fn(&Body) -> bool) -> Option<Body> {
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
            // At the end of the thread the thread-local may be destroyed.
            let _ = STASH.try_with(|stash| stash.borrow_mut().push(body));
        }
        Use::Each => crate::tasks::spawn_each(ctx, body),
    }
}

/// The task that resumes a body. `None` if it does so inside of a body, which may continue in another task.
struct Resumer(Option<cede::task::Task>);

fn resumer(ctx: &Ctx<'_>) -> Option<Resumer> {
    (!ctx.world.is_in_body(ctx.node)).then(|| Resumer(cede::task::current()))
}

fn same_task(resumer: Option<Resumer>) {
    if resumer.is_some_and(|resumer| cede::task::current() != resumer.0) {
        fail("a resume returned in another task");
    }
}

impl Body {
    pub(crate) fn new(world: &Rc<World>, kind: Kind, block: Block) -> Body {
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

    /// Takes the generator out, if a task can drive it.
    pub(crate) fn into_plain(mut self) -> Option<(NodeId, Generator<Token, (), Token>)> {
        if !matches!(&self.inner, Some(Inner::Plain(generator)) if !generator.is_finished()) {
            return None;
        }
        match self.inner.take() {
            Some(Inner::Plain(generator)) => {
                // The task may drop the generator.
                self.world.ending(self.node);
                Some((self.node, generator))
            }
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
                    Ok(CoroutineState::Yielded(token)) => Some(token),
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
            Ok(CoroutineState::Yielded(token)) => self.after(Some(token), me),
            Ok(CoroutineState::Complete(token)) => token.check(),
            Err(error) if error.to_string() != "an error" => fail("the returned error is not the thrown one"),
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
        // The body may run once more, when the fields are dropped. It can suspend no body around it.
        self.world.entering(self.node, None);
        self.world.ending(self.node);
    }
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
        // Its owner ends it.
        ctx.world.node(self.node, |node| node.parent = Some(self.owner));
    }
}

pub(crate) fn resume_scoped(ctx: &Ctx<'_>, number: u8) {
    if let Some(Reach { access: Access::Lent(lent), .. }) = nth(ctx, number, true) {
        lent.resume(ctx);
    }
}

/// Ends a scoped coroutine when the call that owns it ends.
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

/// Runs a block and catches its panic.
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
