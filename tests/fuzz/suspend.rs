//! Suspending: the bodies that code can reach, and the expected outcome of an attempt.
#![forbid(unsafe_code)]

use crate::bodies::{Body, Inner, take};
use crate::ledger::{Token, fail};
use crate::perform::{Ctx, Flow};
use crate::program::{Block, Kind};
use crate::world::{NodeId, Path, World};
use cede::{Inbox, Interrupt, State, Suspender, Yielder};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread::panicking;

/// The bodies that code can suspend or resume, the innermost first.
pub(crate) struct Reach<'a> {
    pub(crate) access: Access<'a>,
    pub(crate) node: NodeId,
    pub(crate) outer: Option<&'a Reach<'a>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Access<'a> {
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

/// Returns the body within reach that has this number, from the inside out, or the lent coroutine.
pub(crate) fn nth<'a>(ctx: &Ctx<'a>, number: u8, lent: bool) -> Option<&'a Reach<'a>> {
    let all: Vec<_> = std::iter::successors(ctx.reach, |reach| reach.outer)
        .filter(|reach| matches!(reach.access, Access::Lent(_)) == lent)
        .collect();
    if all.is_empty() { None } else { Some(all[number as usize % all.len()]) }
}

/// A coroutine that borrows, lent to code that resumes it.
pub(crate) trait Lent {
    fn resume(&self, ctx: &Ctx<'_>);
}

/// Returns whether suspending the body now would end the process, as documented.
fn would_abort(world: &World, node: NodeId) -> bool {
    let swallowed = world.node(node, |node| node.swallowed);
    swallowed && (panicking() || world.is_scoped(node))
}

/// The form of a suspension.
#[derive(Clone, Copy)]
struct How {
    /// Returns the interrupt as a value.
    trying: bool,
    /// Yields from another generator.
    delegates: bool,
}

/// Suspends a body by `f`, or checks that this is refused. Returns `None` if no attempt was made.
fn leave<T>(ctx: &Ctx<'_>, reach: &Reach<'_>, how: How, f: impl FnOnce() -> T) -> Option<Result<T, String>> {
    let (world, node) = (ctx.world, reach.node);
    let How { trying, delegates } = how;
    let path = world.path(ctx.node, node);
    let by_value = trying && matches!(reach.access, Access::Plain(_) | Access::Speaker(_))
        || matches!(reach.access, Access::Inbox(_));
    match path {
        Path::Clear if would_abort(world, node) => return None,
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
        // In a body that unwinds these forms return at once, and suspend nothing that would be refused.
        (Path::Refused, Ok(value)) if stayed && by_value && panicking() => Some(Ok(value)),
        (path, Ok(_)) => fail(&format!("a body was suspended: {path:?}")),
        (path, Err(payload)) => {
            let text = payload.downcast_ref::<String>().filter(|text| text.starts_with("cannot suspend "));
            match (path, text) {
                (Path::Refused, Some(text)) if stayed => {
                    let text = text.clone();
                    Some(Err(text))
                }
                // Or the generator that it delegates to was refused, and the panic comes out here.
                (Path::Clear, text) if text.is_none() || delegates => resume_unwind(payload),
                (path, text) => fail(&format!("a suspension ended with {text:?}: {path:?}")),
            }
        }
    }
}

pub(crate) fn suspend(ctx: &Ctx<'_>, port: u8, trying: bool, lenient: bool) -> Flow {
    let Some(reach) = nth(ctx, port, false) else { return Flow::Next };
    match leave(ctx, reach, How { trying, delegates: false }, || reach.access.suspend(ctx.world, trying)) {
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
    // The panic of a refusal drops the inner generator. A started one would then run, on top of code that the nodes do not
    // record.
    let is_started = matches!(&inner.inner, Some(Inner::Plain(g)) if g.state() != State::Created);
    if is_started && ctx.world.path(ctx.node, reach.node) == Path::Refused {
        return Flow::Next;
    }
    let (outer, node) = (reach.node, inner.node);
    let world = Rc::clone(ctx.world);
    let answer = leave(ctx, reach, How { trying, delegates: true }, move || {
        world.node(outer, |outer| outer.delegate = Some(node));
        world.node(node, |node| node.delegator = Some(outer));
        let parent = world.node(outer, |outer| outer.parent);
        world.entering(node, parent);
        let outcome = match (reach.access, inner.inner.take()) {
            (Access::Plain(y), Some(Inner::Plain(g))) if trying => y.try_yield_from(g),
            (Access::Plain(y), Some(Inner::Plain(g))) => Ok(y.yield_from(g)),
            (Access::Speaker(y), Some(Inner::Speaker(g))) if trying => y.try_yield_from(g),
            (Access::Speaker(y), Some(Inner::Speaker(g))) => Ok(y.yield_from(g)),
            _ => fail("not a generator of this kind"),
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
