//! Runs the blocks of a program.
#![forbid(unsafe_code)]

use crate::bodies;
use crate::ledger::{Bang, Canary};
use crate::program::{Act, Block};
use crate::suspend::{self, Reach};
use crate::tasks;
use crate::world::{NodeId, NodeKind, World};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread::panicking;

/// The context of code: the node in which it runs, and the bodies that it can suspend.
#[derive(Clone, Copy)]
pub(crate) struct Ctx<'a> {
    pub(crate) world: &'a Rc<World>,
    pub(crate) node: NodeId,
    /// Whether the code runs in a `no_suspend` or in a callback, where every wait panics.
    pub(crate) quiet: bool,
    pub(crate) reach: Option<&'a Reach<'a>>,
    /// The number of blocks around the code on this stack.
    pub(crate) depth: u32,
}

/// Whether the body goes on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flow {
    Next,
    End,
}

const DEEPEST: u32 = 12;

#[inline(never)]
pub(crate) fn perform(ctx: &Ctx<'_>, block: Block) -> Flow {
    if ctx.depth == DEEPEST {
        return Flow::Next;
    }
    let ctx = &Ctx { depth: ctx.depth + 1, ..*ctx };
    let program = &ctx.world.program;
    let (canary, token) = (Canary::new(block), ctx.world.token());
    let mut guards = Vec::new();
    for op in &program.blocks[block] {
        if !ctx.world.spend() {
            break;
        }
        if ctx.world.trace {
            trace(ctx, op);
        }
        let flow = match op.act {
            Act::OnDrop(block) => {
                guards.push(Guard { ctx: *ctx, block });
                Flow::Next
            }
            ref act => step(ctx, op.number, act),
        };
        canary.check();
        token.check();
        if flow == Flow::End {
            return flow;
        }
    }
    Flow::Next
}

#[cold]
fn trace(ctx: &Ctx<'_>, op: &crate::program::Op) {
    let task = cede::task::current().map_or(0, |task| task.id());
    let panicking = if panicking() { " (panicking)" } else { "" };
    eprintln!(
        "{:1$}[task {task}, node {2}] {3}: {4:?}{panicking}",
        "", ctx.depth as usize, ctx.node, op.number, op.act
    );
}

/// Each arm is a call, so that this frame stays small.
fn step(ctx: &Ctx<'_>, number: usize, act: &Act) -> Flow {
    match *act {
        Act::Suspend { port, trying, lenient } => return suspend::suspend(ctx, port, trying, lenient),
        Act::Delegate { port, trying, lenient, body } => return suspend::delegate(ctx, port, trying, lenient, body),
        Act::Make(kind, block) => bodies::make(ctx, kind, block),
        Act::Body(what, place) => bodies::use_body(ctx, what, place),
        Act::Scoped(block, with) => return bodies::scoped(ctx, block, with),
        Act::ResumeScoped(place) => bodies::resume_scoped(ctx, place),
        Act::Section(section, block) => return tasks::section(ctx, section, block),
        Act::Scope { .. } => return tasks::scope(ctx, act),
        Act::Run(config, block) => return tasks::run(ctx, config, block),
        Act::Spawn { block, eager } => tasks::spawn(ctx, block, eager),
        Act::Handle(what, place) => tasks::use_handle(ctx, what, place),
        Act::OnDone { handle, block, remove } => tasks::on_done(ctx, handle, block, remove),
        Act::PromiseDone(block) => tasks::promise_done(ctx, block),
        Act::Wait(wait) => crate::waits::wait(ctx, number, wait),
        Act::Lock(micros, block) => return crate::waits::lock(ctx, micros, block),
        Act::Local(block) => return crate::waits::local(ctx, number, block),
        Act::Panic => Bang::raise(&ctx.world.ledger),
        Act::Catch(block) => return bodies::catch(ctx, block, number.is_multiple_of(2)),
        Act::OnDrop(_) => unreachable!("the block handles it"),
        Act::Return => return Flow::End,
    }
    Flow::Next
}

/// A destructor that runs a block.
struct Guard<'a> {
    ctx: Ctx<'a>,
    block: Block,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let (world, unwinding) = (self.ctx.world, panicking());
        let node = match unwinding {
            true => world.add(NodeKind::Destructor, Some(self.ctx.node)),
            false => self.ctx.node,
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| perform(&Ctx { node, ..self.ctx }, self.block)));
        if let Some(payload) = outcome.err().and_then(|payload| world.caught(payload)) {
            if !unwinding {
                resume_unwind(payload);
            }
            world.swallowed(node);
        }
    }
}
