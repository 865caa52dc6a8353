//! Tasks that are spawned without a stack: they take one with their first turn. The closure waits in the task control block
//! until then.

mod common;

use cede::stack::{self, StackError};
use cede::task::{self, JoinError, ScopeError, TaskState, When, park, wait};
use cede::{Builder, Config, JoinHandle, run, spawn, yield_now};
use common::child;
use common::witness::{AtEnd, Drops, Log};
use common::{caught, emulated, panic_text, text_of};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;

/// Spawns so many tasks that the thread keeps no unused stack: a task that is spawned next gets none. It counts the stacks of the
/// process.
fn use_up_the_kept_stacks() -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    loop {
        let before = stack::stats().live;
        tasks.push(spawn(|| ()));
        if stack::stats().live == before {
            return tasks;
        }
        assert!(tasks.len() < 1000, "each spawn took a stack");
    }
}

/// Spawns tasks without stacks, and then runs them.
#[test]
fn outstanding_tasks_use_few_stacks() {
    child::passes("outstanding_tasks_use_few_stacks", || {
        run(|| {
            let places: Rc<RefCell<Vec<usize>>> = Rc::default();
            let tasks: Vec<_> = (0..10_000usize)
                .map(|n| {
                    let places = Rc::clone(&places);
                    spawn(move || {
                        let local = black_box(0u8);
                        places.borrow_mut().push((&raw const local).addr() / (64 * 1024));
                        n
                    })
                })
                .collect();
            assert!(stack::stats().live < 100, "{:?}", stack::stats());
            assert_eq!(task::all().iter().filter(|(_, state)| *state == TaskState::Pending).count(), 10_000);
            for (n, mut task) in tasks.into_iter().enumerate() {
                assert_eq!(task.join().unwrap(), n);
            }
            assert_eq!(places.borrow().len(), 10_000);
            places.borrow_mut().sort_unstable();
            places.borrow_mut().dedup();
            assert!(places.borrow().len() < 200, "{} stacks", places.borrow().len());
            assert!(stack::stats().live < 100, "{:?}", stack::stats());
        });
    });
}

/// Tasks that wait have a stack each, keep their values, and start in the order of their creation.
#[test]
fn tasks_that_wait_keep_a_stack_each() {
    run(|| {
        let log: Rc<RefCell<Vec<u32>>> = Rc::default();
        let tasks: Vec<_> = (0..2_000u32)
            .map(|n| {
                let log = Rc::clone(&log);
                spawn(move || {
                    let values = black_box([n; 64]);
                    for _ in 0..3 {
                        log.borrow_mut().push(n);
                        yield_now();
                    }
                    values.iter().sum::<u32>()
                })
            })
            .collect();
        for (n, mut task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), 64 * n as u32);
        }
        let once: Vec<u32> = (0..2_000).collect();
        assert_eq!(*log.borrow(), [once.clone(), once.clone(), once].concat());
    });
}

/// Closures of each size and alignment arrive unchanged: in the task control block up to 64 bytes, in a box above.
#[test]
fn closures_of_every_shape_arrive() {
    child::passes("closures_of_every_shape_arrive", || {
        #[repr(align(64))]
        struct Aligned([u8; 64]);
        fn shape<const N: usize>() {
            let (mut bytes, drops) = ([0u8; N], Drops::default());
            bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
            let captured = drops.value();
            let mut task = spawn(move || {
                let _captured = captured;
                bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8)
            });
            let mut cancelled = {
                let captured = drops.value();
                spawn(move || (captured, bytes).1.len())
            };
            cancelled.cancel();
            assert!(task.join().unwrap());
            assert!(matches!(cancelled.join(), Err(JoinError::Cancelled)));
            assert_eq!(drops.count(), 2, "{N} bytes");
        }
        run(|| {
            let _filler = use_up_the_kept_stacks();
            shape::<0>();
            shape::<1>();
            shape::<31>();
            shape::<56>();
            shape::<57>();
            shape::<200>();
            shape::<5_000>();
            shape::<100_000>();
            let aligned = Aligned([7; 64]);
            let mut task = spawn(move || (&raw const aligned).addr().is_multiple_of(64) && aligned.0 == [7; 64]);
            assert!(task.join().unwrap());
            // More than the stack of a task: the box keeps it off the stack.
            let large = vec![1u8; 10].into_boxed_slice();
            assert_eq!(spawn(move || large.len()).join().unwrap(), 10);
        });
    });
}

/// The destructor of a closure that never runs is code of its task: it may wait, and may panic.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn cancelled_closure_is_dropped_in_its_task() {
    child::passes("cancelled_closure_is_dropped_in_its_task", || {
        run(|| {
            let _filler = use_up_the_kept_stacks();
            let log = Log::default();
            let waits = {
                let log = log.clone();
                AtEnd(move || {
                    log.add(format!("{:?}", task::current().unwrap().id()));
                    yield_now();
                    log.add("after the yield");
                })
            };
            let mut waiting = spawn(move || drop(waits));
            let panics = AtEnd(|| panic!("in the drop"));
            let mut panicking = spawn(move || drop(panics));
            waiting.cancel();
            panicking.cancel();
            assert!(matches!(waiting.join(), Err(JoinError::Cancelled)));
            assert_eq!(log.take(), [format!("{}", waiting.task().id()), "after the yield".into()]);
            let Err(JoinError::Panicked(payload)) = panicking.join() else { panic!("the panic is lost") };
            assert_eq!(text_of(&*payload), "in the drop");
        });
    });
}

/// Tasks that have not started when main returns are cancelled: each closure is dropped once.
#[test]
fn closures_left_at_the_end_of_the_run_are_dropped() {
    let (drops, runs) = (Drops::default(), Rc::new(Cell::new(0)));
    run(|| {
        for _ in 0..1_000 {
            let (captured, runs) = (drops.value(), Rc::clone(&runs));
            drop(spawn(move || {
                runs.set(runs.get() + 1);
                drop(captured);
            }));
        }
    });
    assert_eq!((drops.count(), runs.get()), (1_000, 0));
}

/// A scope's tasks without stacks may borrow, and end before the scope does.
#[test]
fn tasks_of_a_scope_borrow_without_stacks() {
    let mut numbers = vec![0usize; 500];
    run(|| {
        cede::scope(|s| {
            for (n, place) in numbers.iter_mut().enumerate() {
                s.spawn(move || *place = n);
            }
        })
        .unwrap();
    });
    assert!(numbers.iter().enumerate().all(|(n, place)| n == *place));
}

/// A task without a stack can be named, seen and unwound like any other.
#[test]
fn task_without_a_stack_is_seen() {
    child::passes("task_without_a_stack_is_seen", || {
        run(|| {
            let _filler = use_up_the_kept_stacks();
            let live = stack::stats().live;
            let mut task = spawn(|| 1);
            assert_eq!(stack::stats().live, live, "it has no stack");
            assert_eq!(task.state(), TaskState::Pending);
            let _ = task.backtrace();
            assert!(cede::dump().to_string().contains(&task.task().to_string()));
            // A builder takes the stack at once, so that it can return the error.
            let mut built = Builder::new().spawn(|| 2).unwrap();
            assert_eq!(stack::stats().live, live + 1);
            assert_eq!((task.join().unwrap(), built.join().unwrap()), (1, 2));
        });
    });
}

/// A task uses the stack of the task that ended before it only if that has the size of its own.
#[test]
fn stack_of_another_size_is_not_reused() {
    fn deep(levels: usize) -> usize {
        let frame = black_box([levels as u8; 1024]);
        if levels == 0 { 0 } else { deep(levels - 1) + usize::from(frame[levels] == levels as u8) }
    }
    run(|| {
        for size in [stack::min_size(), 1 << 20] {
            for _ in 0..3 {
                Builder::new().stack_size(size).spawn(|| ()).unwrap().join().unwrap();
                assert_eq!(spawn(|| deep(15)).join().unwrap(), 15);
            }
        }
    });
}

// ---- no stack

/// Calls `f` in a run in which no task can get another stack: nearly all address space is used.
fn without_stacks(name: &str, unhandled: impl Fn(&str, &(dyn Any + Send)) + 'static, f: impl FnOnce()) {
    if emulated() || cfg!(feature = "asan") {
        return; // qemu does not pass the limit on, and the memory of ASan counts
    }
    child::passes(name, || {
        let bytes = 1 << 30;
        // SAFETY: setrlimit reads the struct.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: bytes, rlim_max: bytes }) };
        let run = Config::new().on_unhandled_panic(unhandled).run(|| {
            // Makes the stack on which tasks without one begin.
            use_up_the_kept_stacks().into_iter().for_each(|mut task| task.join().unwrap());
            // A task per stack, until there are no more. Its memory is kept for what the test needs.
            let reserve: Vec<_> = (0..512).map(|_| vec![1u8; 1024]).collect();
            // Keeps the allocator from returning the reserve to the system.
            let _above = vec![1u8; 1024];
            let mut holders = Vec::with_capacity(100_000);
            while let Ok(holder) = Builder::new().spawn(|| park("the end of the test").is_ok()) {
                holders.push(holder);
            }
            yield_now();
            drop(reserve);
            f();
            holders.iter().for_each(|holder| assert!(holder.cancel()));
            holders.into_iter().for_each(|mut holder| assert!(!holder.join().unwrap()));
            assert_eq!(spawn(|| 3).join().unwrap(), 3, "later tasks get a stack");
        });
        run.unwrap();
    });
}

fn unexpected(label: &str, payload: &(dyn Any + Send)) {
    panic!("{label}: {}", text_of(payload));
}

#[test]
fn missing_stack_is_the_error_of_the_join() {
    without_stacks("missing_stack_is_the_error_of_the_join", unexpected, || {
        let drops = Drops::default();
        let (captured, ran) = (drops.value(), Rc::new(Cell::new(false)));
        let mut task = spawn({
            let ran = Rc::clone(&ran);
            move || {
                ran.set(true);
                drop(captured);
            }
        });
        assert!(matches!(Builder::new().spawn(|| ()), Err(task::SpawnError::Stack(_))), "a builder fails at once");
        assert_eq!((drops.count(), task.state()), (0, TaskState::Pending));
        // The first turn fails. The event loop ends the task after this task, which is ready.
        let mut between = spawn(|| ());
        between.cancel();
        yield_now();
        let _ = task.backtrace();
        assert!(matches!(between.join(), Err(JoinError::Cancelled)));
        let error = task.join().unwrap_err();
        let JoinError::Stack(reason) = &error else { panic!("{error}") };
        assert!(matches!(**reason, StackError::Map { .. } | StackError::Guard { .. }), "{reason}");
        assert!(error.to_string().starts_with("the task was not started: "), "{error}");
        assert_eq!((drops.count(), ran.get(), task.state()), (1, false, TaskState::Cancelled));
        let mut cancelled = spawn(|| ());
        cancelled.cancel();
        assert!(matches!(cancelled.join(), Err(JoinError::Cancelled)));
    });
}

/// The task has no stack for the destructor of its closure, so that runs in the event loop, and must not wait.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn closure_without_a_stack_is_dropped_in_the_event_loop() {
    without_stacks("closure_without_a_stack_is_dropped_in_the_event_loop", unexpected, || {
        let seen = Rc::new(RefCell::new(String::new()));
        let waits = {
            let seen = Rc::clone(&seen);
            AtEnd(move || *seen.borrow_mut() = panic_text(caught(|| park("in the drop"))))
        };
        let panics = AtEnd(|| panic!("in the drop"));
        let mut tasks = (spawn(move || drop(waits)), spawn(move || drop(panics)));
        assert!(matches!(tasks.0.join(), Err(JoinError::Stack(_))));
        assert!(seen.borrow().contains("cannot wait in a callback"), "{}", seen.borrow());
        let Err(JoinError::Panicked(payload)) = tasks.1.join() else { panic!("the panic is lost") };
        assert_eq!(text_of(&*payload), "in the drop");
    });
}

/// A task without a stack and without a handle is reported like an unjoined panic.
#[test]
fn detached_task_without_a_stack_is_reported() {
    let told: Rc<RefCell<Vec<bool>>> = Rc::default();
    let hook = {
        let told = Rc::clone(&told);
        move |_: &str, payload: &(dyn Any + Send)| told.borrow_mut().push(payload.is::<StackError>())
    };
    without_stacks("detached_task_without_a_stack_is_reported", hook, || {
        drop(spawn(|| ()));
        let after = spawn(|| ());
        yield_now();
        yield_now();
        drop(after);
        yield_now();
        assert_eq!(*told.borrow(), [true, true]);
    });
}

/// In a scope a missing stack is a failure, like a panic: it cancels the rest of the scope, which returns it.
#[test]
fn scope_returns_a_missing_stack() {
    without_stacks("scope_returns_a_missing_stack", unexpected, || {
        let value = Cell::new(0);
        let outcome = cede::scope(|s| {
            s.spawn(|| value.set(1));
            let _ = park("the cancel");
            s.is_cancelled()
        });
        let Err(ScopeError::Failed { value: true, failures }) = outcome else { panic!("{outcome:?}") };
        assert!(matches!(failures[..], [task::Failure { error: JoinError::Stack(_), .. }]), "{failures:?}");
        assert_eq!(value.get(), 0);
        let mut tasks = [spawn(|| ()), spawn(|| ())];
        let waited = wait(&mut tasks, When::FirstError, None).unwrap();
        assert!(!waited.done.is_empty());
        // A failure that no code joins would be reported.
        tasks.iter_mut().for_each(|task| assert!(matches!(task.join(), Err(JoinError::Stack(_)))));
    });
}
