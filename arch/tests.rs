//! Tests of the contract in `mod.rs`, for the compiled implementation. `.ci/switch-matrix` builds these tests
//! with all options that change which values the compiler keeps in registers. `.ci/switch-mutants` breaks the
//! implementations and expects the tests to fail.

use super::{Context, NATIVE, clock, fresh_address, prefetch, switch, thread_pointer, unwind_from};
use crate::coroutine::raw::Payload;
use crate::stack::Shape;
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use crate::{Coroutine, Generator, Suspender, Yielder};
use std::arch::naked_asm;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

// --- A small scheduler: a task that yields goes to the end of the queue. The hub is the caller of `run`.

type Body<'a> = Box<dyn FnOnce(&Ring<'a>) + 'a>;

struct Task<'a> {
    context: Context,
    ring: *const Ring<'a>,
    body: Cell<Option<Body<'a>>>,
    thrown: Cell<Option<Payload>>,
    stack: Stack,
}

/// A scheduler and its tasks. Must not move once it has a task, and outlives all tasks.
struct Ring<'a> {
    hub: Context,
    current: Cell<*const Context>,
    ready: RefCell<VecDeque<*const Context>>,
    tasks: RefCell<Vec<Rc<Task<'a>>>>,
    live: Cell<usize>,
    switches: Cell<usize>,
}

fn stack() -> Stack {
    Stack::acquire(Shape::default_shape(), Kind::Task, None, false).unwrap()
}

impl<'a> Ring<'a> {
    fn new() -> Ring<'a> {
        let (hub, current, ready, tasks) = (Context::new(), Cell::default(), RefCell::default(), RefCell::default());
        Ring { hub, current, ready, tasks, live: Cell::default(), switches: Cell::default() }
    }

    fn spawn(&self, body: impl FnOnce(&Ring<'a>) + 'a) -> Rc<Task<'a>> {
        let (context, body) = (Context::new(), Cell::new(Some(Box::new(body) as Body<'a>)));
        let task = Rc::new(Task { context, ring: self, body, thrown: Cell::default(), stack: stack() });
        // SAFETY: only this task uses its stack. `tasks` keeps the task as long as the ring lives. `enter_task` catches
        // every panic.
        unsafe { task.context.init(task.stack.limit(), task.stack.top(), enter_task, Rc::as_ptr(&task) as usize) };
        self.tasks.borrow_mut().push(Rc::clone(&task));
        self.live.set(self.live.get() + 1);
        self.wake(&task);
        task
    }

    fn wake(&self, task: &Task<'a>) {
        self.ready.borrow_mut().push_back(&raw const task.context);
    }

    /// Returns the next context. `again`: adds the running context to the end of the queue.
    fn next(&self, again: bool) -> *const Context {
        let mut ready = self.ready.borrow_mut();
        if again {
            ready.push_back(self.current.get());
        }
        ready.pop_front().unwrap_or(&raw const self.hub)
    }

    #[inline(always)]
    fn go(&self, to: *const Context) {
        let from = self.current.replace(to);
        if from != to {
            self.switches.set(self.switches.get() + 1);
            // SAFETY: `to` is from the queue, which contains suspended contexts only, each once; or `to` is the hub,
            // which is suspended while a task runs. `from` is the running context.
            unsafe { switch(from, to) };
        }
    }

    #[inline(always)]
    fn yield_now(&self) {
        self.go(self.next(true));
    }

    /// Suspends the task until `wake` queues it.
    #[inline(always)]
    fn park(&self) {
        self.go(self.next(false));
    }

    /// Runs until no task is ready.
    fn run(&self) {
        self.current.set(&raw const self.hub);
        self.park();
    }

    /// Runs until all tasks have ended, and resumes their panics.
    fn finish(&self) {
        self.run();
        for task in self.tasks.borrow().iter() {
            if let Some(payload) = task.thrown.take() {
                resume_unwind(payload);
            }
        }
        assert_eq!(self.live.get(), 0, "tasks that are still parked");
    }

    /// Extends the lifetime, for bodies that must be 'static, such as a generator's.
    fn forever(&self) -> &'static Ring<'static> {
        // SAFETY: only tasks of this ring use the reference, and the ring outlives its tasks.
        unsafe { &*(self as *const Ring<'a>).cast() }
    }
}

unsafe extern "C" fn enter_task(task: usize) -> *const Context {
    // SAFETY: `spawn` passes a task of the ring. `tasks` keeps the task as long as the ring lives.
    let (task, ring) = unsafe {
        let task = &*(task as *const Task<'_>);
        (task, &*task.ring)
    };
    let body = task.body.take().expect("a task runs once");
    task.thrown.set(catch_unwind(AssertUnwindSafe(|| body(ring))).err());
    ring.live.set(ring.live.get() - 1);
    let next = ring.next(false);
    ring.current.set(next);
    next
}

// --- Register canaries.

/// Returns true under an emulator, which is slow, most of all for backtraces.
fn emulated() -> bool {
    std::env::var_os("CEDE_TEST_RUNNER").is_some()
}

extern "C" fn turn(ring: &Ring<'_>) {
    ring.yield_now();
}

/// Fills every callee-saved register with a different pattern derived from the seed, calls `f(ring)`, and returns the
/// bits that the call changed.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn hold(ring: &Ring<'_>, f: extern "C" fn(&Ring<'_>), seed: u64) -> u64 {
    naked_asm!(
        "push rbx\n push rbp\n push r12\n push r13\n push r14\n push r15\n push rdx",
        "lea rbx, [rdx + 1]\n lea rbp, [rdx + 2]",
        "lea r12, [rdx + 3]\n lea r13, [rdx + 4]\n lea r14, [rdx + 5]\n lea r15, [rdx + 6]",
        "call rsi",
        "pop rdx",
        "lea rax, [rdx + 1]\n xor rax, rbx",
        "lea rcx, [rdx + 2]\n xor rcx, rbp\n or rax, rcx",
        "lea rcx, [rdx + 3]\n xor rcx, r12\n or rax, rcx",
        "lea rcx, [rdx + 4]\n xor rcx, r13\n or rax, rcx",
        "lea rcx, [rdx + 5]\n xor rcx, r14\n or rax, rcx",
        "lea rcx, [rdx + 6]\n xor rcx, r15\n or rax, rcx",
        "pop r15\n pop r14\n pop r13\n pop r12\n pop rbp\n pop rbx\n ret",
    )
}

#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn hold(ring: &Ring<'_>, f: extern "C" fn(&Ring<'_>), seed: u64) -> u64 {
    naked_asm!(
        "stp x29, x30, [sp, #-176]!",
        "stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]",
        "str x2, [sp, #160]",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29\n add x\\n, x2, #\\n\n .endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15\n add x9, x2, #\\n\n fmov d\\n, x9\n .endr",
        "blr x1",
        "ldr x2, [sp, #160]",
        "mov x0, xzr",
        ".irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29",
        "add x9, x2, #\\n\n eor x9, x9, x\\n\n orr x0, x0, x9\n .endr",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "add x9, x2, #\\n\n fmov x10, d\\n\n eor x9, x9, x10\n orr x0, x0, x9\n .endr",
        "ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]",
        "ldp x29, x30, [sp], #176",
        "ret",
    )
}

#[repr(align(256))]
struct Block([u64; 32]);

/// A computation that keeps many values live across each `turn`. The result depends on all of them.
#[inline(always)]
fn busy(seed: u64, rounds: u64, turn: impl Fn()) -> String {
    macro_rules! in_flight {
        ($($int:ident $float:ident $n:literal)*) => {{
            $(let (mut $int, mut $float) = (seed.wrapping_mul($n), seed as f64 / $n as f64);)*
            let (mut wide, mut block, mut text) = (u128::from(seed) << 64, Block([seed; 32]), seed.to_string());
            for round in 0..rounds {
                $($int = $int.rotate_left($n).wrapping_mul(round | 1); $float = $float * 0.75 + round as f64;)*
                wide = wide.wrapping_mul(0x1_0000_0000_0001_b3c5).wrapping_add(u128::from(round));
                block.0[(round % 32) as usize] ^= wide as u64;
                turn();
                text.replace_range(.., &wide.to_string()[..8 * usize::from(wide > u128::MAX / 4)]);
                assert_eq!(black_box(&raw const block) as usize % 256, 0);
            }
            format!("{text} {wide} {:?} {:?} {:?}", [$($int),*], [$($float),*], block.0)
        }};
    }
    in_flight!(a aa 1 b bb 2 c cc 3 d dd 4 e ee 5 f ff 6 g gg 7 h hh 8 i ii 9 j jj 10 k kk 11 l ll 12 m mm 13 n nn 14)
}

#[test]
fn values_in_registers_survive_a_million_switches() {
    let rounds = if emulated() { 12_500 } else { 125_000 };
    let ring = Ring::new();
    for seed in 1..=4u64 {
        ring.spawn(move |ring| {
            for round in 0..rounds {
                // SAFETY: `hold` follows the calling convention, and `turn` does not unwind.
                let damage = unsafe { hold(ring, turn, seed * 0x0123_4567_89ab_cdef + round) };
                assert_eq!(damage, 0, "damaged bits in task {seed}, round {round}");
            }
        });
        ring.spawn(move |ring| {
            let expected = busy(black_box(seed), rounds, || ());
            let survived = busy(seed, rounds, || ring.yield_now());
            assert_eq!(survived, expected, "task {seed}");
        });
    }
    ring.finish();
    assert!(ring.switches.get() as u64 >= 8 * rounds);
}

/// The stack pointer at the entry, and the context to enter next.
#[repr(C)]
struct Probe(usize, *const Context);

/// An entry that only stores its stack pointer in a probe, its argument.
#[unsafe(naked)]
unsafe extern "C" fn note_stack_pointer(arg: usize) -> *const Context {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("lea rax, [rsp + 8]", "mov [rdi], rax", "mov rax, [rdi + 8]", "ret");
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x1, sp", "str x1, [x0]", "ldr x0, [x0, #8]", "ret");
}

#[test]
fn stack_pointer_at_the_entry_is_aligned_forevery_top() {
    let (stack, context, here) = (stack(), Context::new(), Context::new());
    for offset in 0..64 {
        let mut note = Probe(0, &raw const here);
        // SAFETY: only this test uses the stack, and the entry of the previous round has returned.
        unsafe {
            context.init(stack.limit(), stack.top() - offset, note_stack_pointer, &raw mut note as usize);
            switch(&here, &context);
        }
        assert_eq!(note.0 % 16, 0, "with the top {offset} bytes lower");
        assert!((stack.limit()..=stack.top() - offset).contains(&note.0));
    }
}

// --- First and last switches.

/// A task without a scheduler: its number, the log for the number, the context to enter next.
struct Link<'a>(usize, &'a RefCell<Vec<usize>>, *const Context);

unsafe extern "C" fn link(arg: usize) -> *const Context {
    // SAFETY: the argument is a link of the test below, which keeps all links until they have ended.
    let link = unsafe { &*(arg as *const Link<'_>) };
    link.1.borrow_mut().push(link.0);
    link.2
}

#[test]
fn returned_context_is_entered_next_and_stacks_are_reusable() {
    let (here, log) = (Context::new(), RefCell::default());
    let stacks: Vec<Stack> = (0..50).map(|_| stack()).collect();
    let contexts: Vec<Context> = stacks.iter().map(|_| Context::new()).collect();
    for round in 0..3 {
        // Each link enters the link before it. The first link enters this test.
        let links: Vec<Link<'_>> =
            (0..50).map(|n| Link(n, &log, if n == 0 { &raw const here } else { &raw const contexts[n - 1] })).collect();
        for (n, this) in links.iter().enumerate() {
            // SAFETY: only this test uses the stacks, and the links of earlier rounds have ended. These links outlive
            // the switch below.
            unsafe { contexts[n].init(stacks[n].limit(), stacks[n].top(), link, &raw const *this as usize) };
        }
        // SAFETY: the context is prepared and has not been entered.
        unsafe { switch(&here, &contexts[49]) };
        assert_eq!(log.take(), (0..50).rev().collect::<Vec<_>>(), "round {round}");
    }
}

/// A context that begins on a stack which it shares, and continues on a stack of its own.
struct Mover<'a> {
    context: Context,
    own: Stack,
    link: Link<'a>,
}

/// Prepares the context again, on its own stack.
unsafe extern "C" fn move_over(mover: usize) -> *const Context {
    // SAFETY: the address is that of a mover in the test below, whose link outlives the switches. Only this context uses the stack.
    unsafe {
        let mover = &*(mover as *const Mover<'_>);
        // Uses the shared stack, which other movers are prepared on.
        black_box(black_box([7u8; 2000]).iter().map(|&byte| u32::from(byte)).sum::<u32>());
        mover.context.init(mover.own.limit(), mover.own.top(), link, &raw const mover.link as usize);
        &raw const mover.context
    }
}

#[test]
fn contexts_prepared_on_one_stack_move_to_their_own() {
    let (here, log, shared) = (Context::new(), RefCell::default(), stack());
    let mut movers: Vec<Mover<'_>> = Vec::with_capacity(20);
    for n in 0..20 {
        let before = movers.last().map_or(&raw const here, |mover: &Mover<'_>| &raw const mover.context);
        movers.push(Mover { context: Context::new(), own: stack(), link: Link(n, &log, before) });
    }
    for round in 0..3 {
        for mover in &movers {
            // SAFETY: the contexts are entered one after the other, and leave the shared stack before the next is entered. The
            // movers outlive the switch below.
            unsafe { mover.context.init(shared.limit(), shared.top(), move_over, &raw const *mover as usize) };
        }
        // SAFETY: the context is prepared and has not been entered.
        unsafe { switch(&here, &movers[19].context) };
        assert_eq!(log.take(), (0..20).rev().collect::<Vec<_>>(), "round {round}");
    }
}

#[test]
fn an_ended_task_enters_started_and_fresh_tasks_alike() {
    let log = &RefCell::new(Vec::new());
    let ring = Ring::new();
    for n in 0..20 {
        ring.spawn(move |ring| {
            (0..n % 3).for_each(|_| ring.yield_now());
            if n % 5 == 0 {
                ring.spawn(move |_| log.borrow_mut().push(100 + n));
            }
            log.borrow_mut().push(n);
        });
    }
    ring.finish();
    let (early, late): (Vec<_>, Vec<_>) = log.take().into_iter().partition(|n| *n < 100);
    assert_eq!((early.len(), late), (20, vec![100, 115, 110, 105]));
    assert_eq!(early[..7], [0, 3, 6, 9, 12, 15, 18], "in order of their turns");
}

#[cfg(debug_assertions)]
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn entering_a_context_twice_panics_in_debug_builds() {
    if !NATIVE {
        return;
    }
    let ring = Ring::new();
    ring.spawn(|ring| {
        let never_made = Context::new();
        for wrong in [ring.current.get(), &raw const never_made] {
            // SAFETY: violated on purpose: neither context is suspended. The check panics before the switch changes
            // anything.
            let thrown = catch_unwind(AssertUnwindSafe(|| unsafe { switch(&Context::new(), wrong) })).unwrap_err();
            let text = thrown.downcast_ref::<&str>().unwrap();
            assert!(text.contains("switch to a context that runs already"), "{text}");
        }
        ring.yield_now();
    });
    ring.spawn(|_| ());
    ring.finish();
}

// --- Panics.

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panics_unwind_through_one_another() {
    #[inline(never)]
    fn fall(ring: &Ring<'_>, dropped: &Cell<u32>, depth: u32, payload: u32) {
        let _guard = OnDrop(|| {
            ring.yield_now();
            dropped.set(dropped.get() + 1);
        });
        if depth == 0 {
            resume_unwind(Box::new(payload));
        }
        fall(ring, dropped, depth - 1, payload);
        black_box(());
    }
    let (tasks, panics) = (20, if emulated() { 5 } else { 50 });
    let dropped = Cell::new(0);
    let ring = Ring::new();
    for task in 0..tasks {
        let dropped = &dropped;
        ring.spawn(move |ring| {
            for n in 0..panics {
                let thrown =
                    catch_unwind(AssertUnwindSafe(|| fall(ring, dropped, n % 4, task * 1000 + n))).unwrap_err();
                assert_eq!(*thrown.downcast::<u32>().unwrap(), task * 1000 + n);
            }
        });
    }
    ring.finish();
    assert_eq!(dropped.get(), tasks * (0..panics).map(|n| n % 4 + 1).sum::<u32>());
    assert!(!std::thread::panicking());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_panic_can_be_caught_at_the_root() {
    let ring = Ring::new();
    let task = ring.spawn(|ring| {
        ring.yield_now();
        panic!("to the root");
    });
    ring.spawn(|ring| (0..3).for_each(|_| ring.yield_now()));
    ring.run();
    assert_eq!(*task.thrown.take().unwrap().downcast::<&str>().unwrap(), "to the root");
    ring.finish();
}

// --- Tasks and coroutines nested in them. These tests check the property that portable.rs depends on.

type Note = Rc<dyn Fn(u32)>;

/// Takes four turns from inside of `depth` nested coroutines, and then panics there if `panics`.
fn take_turns(ring: &'static Ring<'static>, depth: u32, panics: bool, note: Note) {
    if depth == 0 {
        for n in 0..4 {
            note(n);
            ring.yield_now();
        }
        if panics {
            resume_unwind(Box::new("inside"));
        }
        return;
    }
    let mut coroutine = Coroutine::new(move |s: &Suspender<u32, u32>, first| {
        assert_eq!(s.suspend(first + 1), 3);
        take_turns(ring, depth - 1, panics, note);
        assert_eq!(s.suspend(4), 5);
        "returned"
    });
    assert_eq!(coroutine.resume(1).yielded(), Some(2));
    assert_eq!(coroutine.resume(3).yielded(), Some(4));
    ring.yield_now();
    assert_eq!(coroutine.resume(5).complete(), Some("returned"));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_task_may_switch_away_from_inside_of_coroutines() {
    for panics in [false, true] {
        let log = Rc::new(RefCell::new(Vec::new()));
        let ring = Ring::new();
        // Depths 0, 1 and 2, twice each, so that tasks of equal depth also alternate.
        for task in 0..6 {
            let log = Rc::clone(&log);
            ring.spawn(move |ring| {
                let ring = ring.forever();
                let note: Note = Rc::new(move |n| log.borrow_mut().push((n, task)));
                let outcome = catch_unwind(AssertUnwindSafe(|| take_turns(ring, task % 3, panics, note)));
                assert_eq!(outcome.err().map(|thrown| *thrown.downcast::<&str>().unwrap()), panics.then_some("inside"));
                ring.yield_now();
            });
        }
        ring.finish();
        let turns: Vec<_> = (0..4).flat_map(|n| (0..6).map(move |task| (n, task))).collect();
        assert_eq!(*log.borrow(), turns, "all tasks in turn");
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_generator_can_be_resumed_and_dropped_by_any_task() {
    let (slot, seen, dropped) = (&Cell::new(None), &RefCell::new(Vec::new()), Rc::new(Cell::new(0)));
    let (ring, flag) = (Ring::new(), Rc::clone(&dropped));
    ring.spawn(move |ring| {
        let ring = ring.forever();
        slot.set(Some(Generator::new(move |y: &Yielder<u32>| {
            let _guard = OnDrop(|| flag.set(flag.get() + 1));
            for n in 0.. {
                // Suspends the task that resumes the generator.
                ring.yield_now();
                y.yield_(n);
            }
        })));
    });
    for task in 0..5 {
        ring.spawn(move |ring| {
            for _ in 0..8 {
                let mut generator = loop {
                    match slot.take() {
                        Some(generator) => break generator,
                        None => ring.yield_now(),
                    }
                };
                seen.borrow_mut().push((generator.next().unwrap(), task));
                slot.set((seen.borrow().len() < 40).then_some(generator));
                ring.yield_now();
            }
        });
    }
    ring.finish();
    let (numbers, tasks): (Vec<_>, Vec<_>) = seen.take().into_iter().unzip();
    assert_eq!(numbers, (0..40).collect::<Vec<u32>>());
    assert!((0..5).all(|task| tasks.iter().filter(|t| **t == task).count() == 8), "{tasks:?}");
    assert_eq!(dropped.get(), 1);
}

// --- Backtraces.

/// The function names of a backtrace's frames, including inlined functions.
fn names(trace: &Backtrace) -> Vec<String> {
    let text = trace.to_string();
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("at "));
    lines.map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(": ").into()).collect()
}

/// Asserts that names containing these parts occur in this order.
#[track_caller]
fn assert_order(names: &[String], parts: &[&str]) {
    let mut rest = names.iter();
    assert!(parts.iter().all(|part| rest.any(|name| name.contains(part))), "{parts:?} in {names:#?}");
}

type Traces = RefCell<Vec<(&'static str, Backtrace)>>;

/// Captures a backtrace. `.ci/gdb-root` sets its breakpoint here.
#[inline(never)]
fn landmark(traces: &Traces, after: &'static str) {
    traces.borrow_mut().push((after, Backtrace::force_capture()));
}

/// Captures a backtrace after every kind of switch.
#[inline(never)]
fn looks_back(ring: &Ring<'_>, traces: &Traces) {
    landmark(traces, "the first entry");
    ring.yield_now();
    landmark(traces, "a switch from a task");
    ring.yield_now();
    landmark(traces, "the end of a task");
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _guard = OnDrop(|| {
            ring.yield_now();
            landmark(traces, "a switch in an unwinding");
        });
        resume_unwind(Box::new(()));
    }));
    landmark(traces, "a panic");
    ring.park();
    landmark(traces, "a switch from the hub");
    // Prevents a tail call to the last `landmark`, which would leave no frame of this function.
    assert!(black_box(caught).is_err());
}

#[inline(never)]
fn looks_back_in_a_generator(ring: &'static Ring<'static>, traces: &'static Traces) {
    let generator = Generator::new(move |y: &Yielder<()>| {
        ring.yield_now();
        landmark(traces, "a switch in a generator");
        y.yield_(());
    });
    assert_eq!(generator.count(), 1);
}

/// Runs the ring. No backtrace of a task may contain the name of this function.
#[inline(never)]
fn beyond_the_root(ring: &Ring<'_>) {
    ring.run();
    black_box(());
}

#[cfg(not(feature = "asan"))] // with ASan announcements corosensei's first frame no longer finds its parent
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn a_backtrace_in_a_task_ends_at_its_root() {
    let traces = &*Box::leak(Box::<Traces>::default());
    let ring = Ring::new();
    let first = ring.spawn(|ring| looks_back(ring, traces));
    ring.spawn(|ring| ring.yield_now());
    ring.spawn(|ring| looks_back_in_a_generator(ring.forever(), traces));
    beyond_the_root(&ring);
    ring.wake(&first);
    beyond_the_root(&ring);
    ring.finish();
    assert_eq!(traces.borrow().len(), 7);
    for (after, trace) in traces.take() {
        let names = names(&trace);
        assert_order(&names, &["landmark", "looks_back", "enter_task"]);
        let beyond = names.iter().any(|name| name.contains("beyond_the_root"));
        assert_eq!(beyond, !NATIVE, "after {after}: {names:#?}");
        if NATIVE {
            assert!(names.last().unwrap().ends_with("imp::root"), "after {after}: {names:#?}");
            assert!(names.len() < 64, "after {after}: {names:#?}");
        }
    }
}

#[inline(never)]
fn recurse_and_park(ring: &Ring<'_>, depth: u32) -> u32 {
    if depth == 0 {
        ring.park();
        return 0;
    }
    black_box(recurse_and_park(ring, black_box(depth - 1)) + 1)
}

#[inline(never)]
fn resumes_a_generator(ring: &'static Ring<'static>) {
    let mut generator = Generator::new(move |y: &Yielder<u32>| y.yield_(recurse_and_park(ring, 3)));
    assert_eq!(generator.next(), Some(3));
}

unsafe extern "C" fn look_into_it(slot: *mut u8) {
    // SAFETY: `frames_of` passes a pointer to a live `Option<Backtrace>`.
    unsafe { *slot.cast() = Some(Backtrace::force_capture()) };
}

/// Returns the function names of a suspended task, from its innermost frame to its root.
fn frames_of(task: &Task<'_>) -> Option<Vec<String>> {
    let mut slot: Option<Backtrace> = None;
    // SAFETY: all callers pass a suspended task, and `look_into_it` does not switch.
    let done = unsafe { unwind_from(&task.context, look_into_it, (&raw mut slot).cast()) };
    assert_eq!((done, slot.is_some()), (NATIVE, NATIVE));
    let names = slot.as_ref().map(names)?;
    let seam = names.iter().position(|name| name.ends_with("imp::unwind_from")).expect("its own frame");
    assert!(names[..seam].iter().any(|name| name.contains("look_into_it")), "{names:#?}");
    assert!(names.last().unwrap().ends_with("imp::root"), "{names:#?}");
    Some(names[seam + 1..].to_vec())
}

#[cfg(not(feature = "asan"))] // with ASan announcements corosensei's first frame no longer finds its parent
#[test]
fn a_suspended_context_can_be_unwound() {
    let ring = Ring::new();
    let deep = ring.spawn(|ring| assert_eq!(recurse_and_park(ring, 10), 10));
    let nested = ring.spawn(|ring| {
        resumes_a_generator(ring.forever());
        black_box(());
    });
    ring.run();
    let fresh = ring.spawn(|_| ());
    // Twice, because unwinding must change nothing.
    for _ in 0..2 {
        if let (Some(deep), Some(nested), Some(fresh)) = (frames_of(&deep), frames_of(&nested), frames_of(&fresh)) {
            assert_order(&deep, &[&["recurse_and_park"; 11][..], &["enter_task", "imp::root"]].concat());
            assert_order(&nested, &[&["recurse_and_park"; 4][..], &["resumes_a_generator", "enter_task"]].concat());
            assert_eq!(fresh.len(), 1, "{fresh:#?}");
        }
    }
    ring.wake(&deep);
    ring.wake(&nested);
    ring.finish();
}

#[cfg(not(cede_portable_switch))]
#[test]
fn the_chain_of_frame_pointers_ends_inside_of_the_stack() {
    let ring = Ring::new();
    let task = ring.spawn(|ring| assert_eq!(recurse_and_park(ring, 10), 10));
    ring.run();
    let span = task.stack.limit()..task.stack.top();
    assert!(span.contains(&task.context.stack_pointer()));
    // On x86-64 rbp is data unless the build says otherwise; on aarch64 there are frame pointers by default.
    let flags = option_env!("RUSTFLAGS").unwrap_or("");
    if cfg!(target_arch = "aarch64") || flags.contains("force-frame-pointers=yes") {
        let (mut frames, mut at) = (0, task.context.frame_pointer());
        while at != 0 {
            assert!(span.contains(&at) && at % 8 == 0, "{frames} frames up: {at:#x} is not in {span:#x?}");
            // SAFETY: the address is inside of the stack, which is mapped while `task` lives.
            let next = unsafe { *(at as *const usize) };
            assert!(next == 0 || next > at, "{frames} frames up: {at:#x} is followed by {next:#x}");
            (frames, at) = (frames + 1, next);
        }
        assert!(frames > 10, "{frames} frames");
    }
    ring.wake(&task);
    ring.finish();
}

// --- Thread pointer, address of a static, prefetch and clock.

#[test]
fn thread_pointers_are_set_and_fresh_addresses_are_correct() {
    static PLACE: u32 = 7;
    let (mine, other) = (thread_pointer(), std::thread::spawn(thread_pointer));
    assert_eq!(mine, thread_pointer());
    let other = other.join().unwrap();
    assert!(!cfg!(target_os = "linux") || !NATIVE || (mine != 0 && other != 0));
    assert_eq!(fresh_address!(PLACE), &raw const PLACE as usize);
    prefetch(0);
    assert!(clock() <= clock());
}
