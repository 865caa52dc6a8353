//! Runs, tasks, scopes, limits and callbacks.
#![forbid(unsafe_code)]

use crate::bodies::Body;
use crate::ledger::{Ledger, Token, fail, peek, see_failure};
use crate::perform::{Ctx, Flow, perform};
use crate::program::{Act, Block, Handle, RunConfig, Section};
use crate::world::{NodeKind, World, new_promise};
use cede::task::ScopeError;
use cede::{Builder, JoinError, JoinHandle, RunError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

pub(crate) fn micros(count: u16) -> Duration {
    Duration::from_micros(count.into())
}

pub(crate) fn in_run() -> bool {
    cede::task::current().is_some()
}

/// Returns whether a callback runs, on the scheduler's own stack.
pub(crate) fn in_callback() -> bool {
    cede::task::current().is_some_and(|task| task.id() == 2)
}

/// The context in a section, with a new node.
fn inside<'a>(ctx: &Ctx<'a>) -> Ctx<'a> {
    Ctx { node: ctx.world.add(NodeKind::Section, Some(ctx.node)), ..*ctx }
}

pub(crate) fn section(ctx: &Ctx<'_>, section: Section, block: Block) -> Flow {
    if section == Section::Shield && !in_run() {
        // Outside of a run a shield opens no section.
        return cede::shield(|| perform(ctx, block));
    }
    let inner = inside(ctx);
    match section {
        Section::Timeout(time) => cede::timeout(micros(time), || perform(&inner, block)).unwrap_or_else(|e| e.value),
        Section::Deadline(first, second) => {
            let now = cede::time::now();
            let body = |deadline: &cede::task::Deadline| {
                deadline.reschedule(Some(now + micros(second)));
                perform(&inner, block)
            };
            cede::task::deadline(now + micros(first), body).unwrap_or_else(|e| e.value)
        }
        Section::Shield => cede::shield(|| perform(&inner, block)),
        Section::NoSuspend => cede::no_suspend(|| perform(&Ctx { quiet: true, ..inner }, block)),
    }
}

/// The function of a task.
fn task(world: &Rc<World>, ctx: Option<&Ctx<'_>>, block: Block) -> Token {
    let node = world.add(NodeKind::Root, None);
    let result = world.token();
    perform(&Ctx { world, node, quiet: false, reach: ctx.and_then(|ctx| ctx.reach), depth: 0 }, block);
    result
}

pub(crate) fn scope(ctx: &Ctx<'_>, act: &Act) -> Flow {
    let Act::Scope { tasks, body, cancel, late, eager, join } = act else { return Flow::Next };
    let inner = inside(ctx);
    let outcome = cede::scope(|s| {
        let mut handles = Vec::new();
        for block in tasks {
            let (late, child) = (*late, inner);
            let body = move || {
                let token = task(child.world, Some(&child), *block);
                if let Some(late) = late {
                    drop(s.spawn(move || task(child.world, Some(&child), late)));
                }
                token
            };
            match Builder::new().eager(*eager && !ctx.quiet).spawn_scoped(s, body) {
                Ok(handle) => handles.push(handle),
                Err(error) => fail(&format!("no task: {error}")),
            }
        }
        if *cancel {
            s.cancel();
        }
        let flow = perform(&inner, *body);
        if *join && !ctx.quiet {
            handles.iter_mut().for_each(|handle| joined(handle.join()));
        }
        flow
    });
    match outcome {
        Ok(flow) => flow,
        Err(ScopeError::Failed { value, failures }) => {
            for failure in failures {
                failure.error.into_panic().into_iter().for_each(see_failure);
            }
            value
        }
        Err(_) => Flow::Next,
    }
}

fn joined(result: Result<Token, JoinError>) {
    match result {
        Ok(token) => token.check(),
        Err(error) => error.into_panic().into_iter().for_each(see_failure),
    }
}

pub(crate) fn run(ctx: &Ctx<'_>, config: RunConfig, block: Block) -> Flow {
    let inner = inside(ctx);
    let ledger = std::sync::Arc::clone(&ctx.world.ledger);
    let mut run = cede::Config::new()
        .paused_clock(config.paused)
        .closed_world(true)
        .stack_size(256 * 1024)
        .shutdown_grace(Duration::from_millis(config.grace.into()))
        .on_unhandled_panic(move |_, payload| {
            // The panic is only borrowed.
            if peek(payload) {
                ledger.excuse_a_panic();
            }
        });
    if let Some(seed) = config.seed {
        run = run.seed(seed);
    }
    match run.run(|| perform(&inner, block)) {
        Ok(flow) => flow,
        Err(RunError::Deadlock { outcome, .. }) => match outcome {
            Ok(flow) => flow,
            Err(payload) => resume_unwind(payload),
        },
        Err(_) => Flow::Next,
    }
}

fn keep(world: &World, handle: JoinHandle<Token>) {
    let mut handles = world.handles.borrow_mut();
    handles.push(handle);
    let surplus = if handles.len() > 12 { Some(handles.swap_remove(0)) } else { None };
    drop(handles);
    surplus.into_iter().for_each(detach);
}

/// Drops a handle. Outside of a run a panic would only be printed to stderr.
pub(crate) fn detach(mut handle: JoinHandle<Token>) {
    if !in_run() {
        handle.try_join().into_iter().for_each(joined);
    }
}

fn take(world: &World, place: u8) -> Option<JoinHandle<Token>> {
    let mut handles = world.handles.borrow_mut();
    let count = handles.len();
    if count == 0 { None } else { Some(handles.swap_remove(place as usize % count)) }
}

pub(crate) fn spawn(ctx: &Ctx<'_>, block: Block, eager: bool) {
    if !in_run() {
        return;
    }
    let world = Rc::clone(ctx.world);
    let eager = eager && !ctx.quiet;
    match Builder::new().eager(eager).inherit_locals(eager).spawn(move || task(&world, None, block)) {
        Ok(handle) => keep(ctx.world, handle),
        Err(error) => fail(&format!("no task: {error}")),
    }
}

/// Spawns a task that drives a generator.
pub(crate) fn spawn_each(ctx: &Ctx<'_>, body: Body) {
    if !in_run() {
        return;
    }
    let Some((node, generator)) = body.into_plain() else { return };
    let world = Rc::clone(ctx.world);
    let driver = world.add(NodeKind::Root, None);
    world.entering(node, Some(driver));
    let handle = cede::spawn_each(generator, move |token| {
        token.check();
        world.suspended(node);
        world.entering(node, Some(driver));
    });
    keep(ctx.world, handle);
}

pub(crate) fn use_handle(ctx: &Ctx<'_>, what: Handle, place: u8) {
    let world = ctx.world;
    let waits = matches!(what, Handle::Gather | Handle::Race | Handle::AsCompleted);
    if waits {
        if !in_run() || ctx.quiet || in_callback() {
            return;
        }
        let handles: Vec<_> = (0..place % 3 + 1).filter_map(|_| take(world, place)).collect();
        let mut done = Results { ledger: &world.ledger, complete: false };
        combine(what, handles);
        done.complete = true;
        return;
    }
    let Some(mut handle) = take(world, place) else { return };
    match what {
        Handle::Join if ctx.quiet || in_callback() => keep(world, handle),
        Handle::Join => joined(handle.join()),
        Handle::TryJoin => match handle.try_join() {
            Some(result) => joined(result),
            None => keep(world, handle),
        },
        Handle::Cancel => {
            handle.cancel();
            keep(world, handle);
        }
        Handle::CancelAndJoin => {
            handle.cancel();
            if ctx.quiet || in_callback() {
                detach(handle);
            } else {
                joined(handle.join());
            }
        }
        Handle::Forget => {
            world.ledger.allow_leaks();
            std::mem::forget(handle);
        }
        _ if place.is_multiple_of(2) && in_run() => drop(handle.cancel_on_drop()),
        _ => detach(handle),
    }
}

/// The results that a combinator holds while it waits. If its task is unwound there, at the end of a run, no code sees them.
struct Results<'a> {
    ledger: &'a Ledger,
    complete: bool,
}

impl Drop for Results<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.ledger.allow_unseen();
        }
    }
}

fn combine(what: Handle, handles: Vec<JoinHandle<Token>>) {
    if handles.is_empty() {
        return;
    }
    match what {
        Handle::Gather => cede::gather(handles).into_iter().for_each(joined),
        Handle::Race => {
            let race = cede::race(handles);
            joined(race.result);
            race.losers.into_iter().for_each(|(_, result)| joined(result));
        }
        _ => cede::as_completed(handles).for_each(|completed| joined(completed.result)),
    }
}

pub(crate) fn on_done(ctx: &Ctx<'_>, place: u8, block: Block, remove: bool) {
    let Some(handle) = take(ctx.world, place) else { return };
    let world = Rc::clone(ctx.world);
    let id = handle.on_done(move |done| {
        if let Some(Ok(token)) = done.result() {
            token.check();
        }
        callback(&world, block);
        if let Some(Ok(token)) = done.result() {
            token.check();
        }
    });
    if remove {
        handle.remove_done(id);
    }
    keep(ctx.world, handle);
}

fn callback(world: &Rc<World>, block: Block) {
    let node = world.add(NodeKind::Root, None);
    let ctx = Ctx { world, node, quiet: true, reach: None, depth: 0 };
    let outcome = catch_unwind(AssertUnwindSafe(|| perform(&ctx, block)));
    if outcome.is_err_and(|payload| world.caught(payload).is_some()) {
        fail("an unwinding came out of a callback");
    }
}

pub(crate) fn promise_done(ctx: &Ctx<'_>, block: Block) {
    if !in_run() {
        return;
    }
    let world = Rc::clone(ctx.world);
    let completion = Rc::clone(&ctx.world.promise.borrow().1);
    completion.on_done(move |result| {
        if let Ok(token) = result {
            token.check();
        }
        callback(&world, block);
    });
}

/// Sets the promise, and makes a new one.
pub(crate) fn set_promise(world: &World) {
    let (promise, _) = world.promise.replace(new_promise());
    drop(promise.set(world.token()));
}
