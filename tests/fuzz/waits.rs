//! Waits, wakes, locks and task-locals.
#![forbid(unsafe_code)]

use crate::ledger::Token;
use crate::perform::{Ctx, Flow, perform};
use crate::program::{Block, Wait};
use crate::tasks::{in_callback, in_run, micros, set_promise};
use cede::select;
use cede::task::Unparker;
use std::rc::Rc;
use std::sync::Arc;

/// Waits. One of eight waits is tried also where it panics.
fn is_rash(number: usize) -> bool {
    number % 8 == 7
}

pub(crate) fn wait(ctx: &Ctx<'_>, number: usize, wait: Wait) {
    let world = ctx.world;
    let may_wait = in_run() && (!(ctx.quiet || in_callback()) || is_rash(number));
    match wait {
        Wait::Turn if may_wait => cede::yield_now(),
        Wait::Sleep(time) if may_wait => {
            let _ = cede::time::sleep(micros(time));
        }
        Wait::Park(time) if may_wait => {
            world.unparkers.borrow_mut().push(Unparker::current());
            let _ = cede::task::park_until("a wake", cede::time::now() + micros(time));
            // A kept unparker counts as a wake that may still come, and would hide a deadlock.
            let own = cede::task::current();
            world.unparkers.borrow_mut().retain(|other| Some(other.task()) != own.as_ref());
        }
        Wait::ParkForEver if may_wait => {
            let _ = cede::task::park("a wake that does not come");
        }
        Wait::Unpark => {
            let last = world.unparkers.borrow().last().cloned();
            last.iter().for_each(Unparker::unpark);
        }
        Wait::TrySend => drop(world.channel.0.try_send(world.token())),
        Wait::Send if may_wait => drop(world.channel.0.send(world.token())),
        Wait::SendTimeout(time) if may_wait => drop(world.channel.0.send_timeout(world.token(), micros(time))),
        Wait::Recv if may_wait => world.channel.1.recv().iter().for_each(Token::check),
        Wait::RecvTimeout(time) if may_wait => {
            world.channel.1.recv_timeout(micros(time)).iter().for_each(Token::check);
        }
        Wait::Select(time) if may_wait => select_one(ctx, time),
        Wait::Acquire(time) if may_wait => {
            if let Ok(permit) = world.permits.acquire_timeout(1, micros(time)) {
                cede::yield_now();
                drop(permit);
            }
        }
        Wait::AddPermit if world.permits.available_permits() < 3 => drop(world.permits.add_permits(1)),
        Wait::EventSet => world.event.set(),
        Wait::EventClear => world.event.clear(),
        Wait::AwaitEvent(time) if may_wait => {
            let _ = world.event.wait_timeout(micros(time));
        }
        Wait::PromiseSet => set_promise(world),
        Wait::AwaitPromise(time) if may_wait => {
            let completion = Rc::clone(&world.promise.borrow().1);
            completion.wait_timeout(micros(time)).into_iter().for_each(Token::check);
        }
        Wait::Remote => remote(ctx),
        _ => {}
    }
}

fn select_one(ctx: &Ctx<'_>, time: u16) {
    let world = ctx.world;
    let (sender, receiver) = (&world.channel.0, &world.channel.1);
    let _ = select! {
        recv(receiver) -> token => token.iter().for_each(Token::check),
        send(sender, world.token()) -> _ => (),
        after(micros(time)) => (),
    };
}

/// Wakes from another thread, which has ended when this returns.
fn remote(ctx: &Ctx<'_>) {
    let world = ctx.world;
    let unparker = world.unparkers.borrow().last().cloned();
    let (sender, event, ledger) = (world.channel.0.clone(), Arc::clone(&world.event), Arc::clone(&world.ledger));
    let thread = std::thread::spawn(move || {
        drop(sender.try_send(Token::new(&ledger)));
        event.set();
        unparker.iter().for_each(Unparker::unpark);
    });
    thread.join().expect("it does not panic");
}

pub(crate) fn lock(ctx: &Ctx<'_>, time: u16, block: Block) -> Flow {
    let may_wait = in_run() && !ctx.quiet && !in_callback();
    let guard = if may_wait { ctx.world.mutex.lock_timeout(micros(time)).ok() } else { ctx.world.mutex.try_lock() };
    let Some(mut guard) = guard else { return Flow::Next };
    *guard += 1;
    let before = *guard;
    let flow = perform(ctx, block);
    assert_eq!(*guard, before, "a lock was held by two");
    flow
}

cede::task_local! {
    static LOCAL: Vec<usize> = vec![3; 40];
}

pub(crate) fn local(ctx: &Ctx<'_>, number: usize, block: Block) -> Flow {
    if !in_run() {
        return Flow::Next;
    }
    LOCAL.with(|values| {
        let first = values[0];
        let flow = perform(ctx, block);
        assert!(values.iter().all(|value| *value == first), "a task-local was lost while it was lent");
        // In another task, if this is a body that was resumed by one.
        LOCAL.set(vec![number; 40]);
        flow
    })
}
