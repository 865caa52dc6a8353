//! A synchronous interpreter over an asynchronous database: what virtual machines such as revm and evm2 need of fibers. The machine calls
//! its database deep inside of its frames, through a trait whose methods are not async.

mod common;

use cede::bridge::{BorrowingFiber, Context, context, try_block_on};
use cede::task::Cancelled;
use cede::{Builder, block_on, fiber};
use common::executor::{Boxed, Wakes, all, block, poll, poll_with};
use common::futures::{Flag, self_waking};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MachineError {
    /// The database has no such key.
    Unknown(u64),
    Cancelled,
    NotOnFiber,
}

/// What the machine calls.
trait Database {
    fn load(&mut self, key: u64) -> Result<u64, MachineError>;
}

/// An asynchronous database: each answer takes some polls.
trait AsyncDatabase {
    fn get(&mut self, key: u64) -> impl Future<Output = Result<u64, MachineError>>;
}

/// The bridge: one function in a program that uses fibers.
struct Bridged<D>(D);

impl<D: AsyncDatabase> Database for Bridged<D> {
    fn load(&mut self, key: u64) -> Result<u64, MachineError> {
        match try_block_on(self.0.get(key)) {
            Ok(Ok(answer)) => answer,
            Ok(Err(Cancelled)) => Err(MachineError::Cancelled),
            Err(_) => Err(MachineError::NotOnFiber),
        }
    }
}

/// Answers each key below 100 by its double, after some polls.
struct Doubles {
    polls: u32,
}

impl AsyncDatabase for Doubles {
    async fn get(&mut self, key: u64) -> Result<u64, MachineError> {
        self_waking(self.polls).await;
        if key < 100 { Ok(key * 2) } else { Err(MachineError::Unknown(key)) }
    }
}

/// The machine: each call has a frame on the stack. Not `Send`.
struct Machine<D> {
    database: D,
    gas: Rc<Cell<u64>>,
    sum: u64,
}

impl<D: Database> Machine<D> {
    fn new(database: D) -> Machine<D> {
        Machine { database, gas: Rc::default(), sum: 0 }
    }

    /// Loads `key` at the depth `depth`, and adds it to the sum.
    fn call(&mut self, key: u64, depth: u32) -> Result<u64, MachineError> {
        self.gas.set(self.gas.get() + 1);
        if depth > 0 {
            return std::hint::black_box(self.call(key, depth - 1));
        }
        self.sum += self.database.load(key)?;
        Ok(self.sum)
    }

    /// A future that calls in a fiber, and borrows the machine.
    ///
    /// # Safety
    ///
    /// Once polled, the future is not forgotten.
    unsafe fn call_async(&mut self, key: u64, depth: u32) -> BorrowingFiber<'_, Result<u64, MachineError>> {
        // SAFETY: the caller guarantees it.
        unsafe { Builder::new().stack_size(1 << 20).fiber_borrowing(move || self.call(key, depth)) }.unwrap()
    }
}

fn machine(polls: u32) -> Machine<Bridged<Doubles>> {
    Machine::new(Bridged(Doubles { polls }))
}

#[test]
fn pending_load_suspends_and_resumes() {
    let mut machine = machine(2);
    {
        // SAFETY: dropped at the end of this block.
        let mut call = unsafe { machine.call_async(4, 30) };
        // An executor without wakes polls in a loop.
        assert!(poll(&mut call).is_pending());
        assert!(poll(&mut call).is_pending());
        assert_eq!(poll(&mut call), Poll::Ready(Ok(8)));
    }
    // The machine is free again, with what the call left in it.
    // SAFETY: `block` drops it.
    assert_eq!(block(unsafe { machine.call_async(5, 3) }), Ok(18));
    assert_eq!((machine.sum, machine.gas.get()), (18, 31 + 4));
}

#[test]
fn ready_load_needs_one_poll() {
    let mut machine = machine(0);
    // SAFETY: dropped at the end of the statement.
    assert_eq!(poll(&mut unsafe { machine.call_async(4, 30) }), Poll::Ready(Ok(8)));
}

#[test]
fn stack_is_reused() {
    let places = [(); 3].map(|()| {
        block(
            Builder::new()
                .stack_size(1 << 20)
                .fiber(|| {
                    let place = 0_u8;
                    block_on(self_waking(1)).unwrap();
                    (&raw const place).addr() >> 20
                })
                .unwrap(),
        )
    });
    assert!(places[0] == places[1] && places[1] == places[2], "{places:x?}");
}

#[test]
fn error_outside_of_a_fiber() {
    assert_eq!(machine(1).call(4, 3), Err(MachineError::NotOnFiber));
    // Also while a fiber is suspended on the thread, and after it.
    let mut suspended = fiber(|| block_on(self_waking(1)));
    assert!(poll(&mut suspended).is_pending());
    assert_eq!(machine(1).call(4, 3), Err(MachineError::NotOnFiber));
    assert!(poll(&mut suspended).is_ready());
    assert_eq!(machine(0).call(4, 3), Err(MachineError::NotOnFiber));
}

#[test]
fn error_of_database_is_returned() {
    let mut machine = machine(1);
    // SAFETY: `block` drops it.
    assert_eq!(block(unsafe { machine.call_async(100, 10) }), Err(MachineError::Unknown(100)));
    // SAFETY: as above.
    assert_eq!(block(unsafe { machine.call_async(1, 10) }), Ok(2));
}

/// Never answers; counts the futures that were dropped.
struct Silent(Rc<Cell<u32>>);

impl AsyncDatabase for Silent {
    async fn get(&mut self, _: u64) -> Result<u64, MachineError> {
        struct Dropped(Rc<Cell<u32>>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let _dropped = Dropped(Rc::clone(&self.0));
        std::future::pending().await
    }
}

#[test]
fn drop_cancels_a_load() {
    let (dropped, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let mut machine = Machine::new(Bridged(Silent(Rc::clone(&dropped))));
    let place = Rc::clone(&seen);
    // SAFETY: dropped below.
    let mut call = unsafe {
        Builder::new().fiber_borrowing(|| {
            let first = machine.call(1, 5);
            place.set(Some((first, machine.call(2, 5))));
        })
    }
    .unwrap();
    assert!(poll(&mut call).is_pending());
    assert_eq!((dropped.get(), seen.get()), (0, None));
    drop(call);
    assert_eq!((dropped.get(), seen.get()), (2, Some((Err(MachineError::Cancelled), Err(MachineError::Cancelled)))));
    assert_eq!(machine.gas.get(), 12);
}

#[test]
fn thread_is_clear_while_pending() {
    let mut machine = machine(1);
    // SAFETY: dropped at the end of the function.
    let mut call = unsafe { machine.call_async(4, 3) };
    assert!(poll(&mut call).is_pending());
    assert_eq!(context(), Context::Thread);
    let other = std::thread::spawn(context);
    assert_eq!(other.join().unwrap(), Context::Thread);
    assert!(poll(&mut call).is_ready());
    assert_eq!(context(), Context::Thread);
}

/// Asks another machine, in a fiber of its own.
struct Layered;

impl AsyncDatabase for Layered {
    async fn get(&mut self, key: u64) -> Result<u64, MachineError> {
        self_waking(1).await;
        let inner = fiber(move || machine(2).call(key, 5)).await?;
        self_waking(1).await;
        Ok(inner + 1)
    }
}

#[test]
fn machines_nest() {
    assert_eq!(block(fiber(|| Machine::new(Bridged(Layered)).call(7, 5))), Ok(15));
    assert_eq!(block(fiber(|| Machine::new(Bridged(Layered)).call(700, 5))), Err(MachineError::Unknown(700)));
    // Without futures in between.
    let body = fiber(|| {
        let mut outer = machine(1);
        let inner = block_on(fiber(|| machine(3).call(1, 2))).unwrap();
        (outer.call(2, 2), inner)
    });
    assert_eq!(block(body), (Ok(4), Ok(2)));
}

#[test]
fn machines_interleave() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let run = |name: u32| -> Boxed<'static, Result<u64, MachineError>> {
        let log = Rc::clone(&log);
        Box::pin(fiber(move || {
            let mut machine = machine(1);
            for key in 0..3 {
                log.borrow_mut().push((key, name));
                machine.call(key, name)?;
            }
            machine.call(10, name)
        }))
    };
    assert_eq!(all([run(1), run(2)]), [Ok(26), Ok(26)]);
    assert_eq!(*log.borrow(), [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]);
}

#[test]
fn nested_poll_keeps_its_waker() {
    /// A future that calls the machine in its poll, and uses its `Context` afterwards.
    struct Calls(u32);
    impl Future for Calls {
        type Output = Result<u64, MachineError>;
        fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
            let answer = machine(2).call(3, 10);
            self.0 -= 1;
            if self.0 == 0 {
                return Poll::Ready(answer);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    let mut body = fiber(|| block_on(Calls(3)));
    let mut polls = 0;
    // Each poll has a waker that is gone at the next one.
    let answer = loop {
        polls += 1;
        let (_, waker) = Wakes::new();
        if let Poll::Ready(answer) = poll_with(&mut body, &waker) {
            break answer;
        }
    };
    assert_eq!((answer, polls), (Ok(Ok(6)), 9));
}

#[test]
fn load_is_woken_by_another_thread() {
    struct Waits(Flag);
    impl AsyncDatabase for Waits {
        async fn get(&mut self, key: u64) -> Result<u64, MachineError> {
            self.0.wait().await;
            Ok(key)
        }
    }
    let flag = Flag::default();
    let waits = Waits(flag.clone());
    let thread = std::thread::spawn(move || {
        while flag.polls() == 0 {
            std::thread::yield_now();
        }
        flag.set();
    });
    let body = fiber(move || Machine::new(Bridged(waits)).call(9, 9));
    assert_eq!(block(body), Ok(9));
    thread.join().unwrap();
}

#[test]
fn noop_waker_is_enough() {
    // As in a test of a machine: polled in a loop, with a waker that does nothing.
    let mut body = fiber(|| machine(100).call(9, 9));
    let polls = (1..).find(|_| poll_with(&mut body, Waker::noop()).is_ready());
    assert_eq!(polls, Some(101));
}
