//! Task-locals, which belong to a task, and thread-locals and `errno`, which stay those of the thread.

mod common;

use cede::task::{Unparker, park, park_until};
use cede::{Builder, Generator, run, spawn, yield_now};
use common::child::in_child;
use common::rounds;
use common::witness::{AtEnd, Drops};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::Instant;

// ---- task-locals

cede::task_local! {
    static NUMBER: u32 = 7;
    static NAME: RefCell<String> = RefCell::new("initial".into());
    static LATE: Option<Rc<dyn Any>> = None;
}

#[test]
fn a55_task_locals_belong_to_each_task_and_do_not_leak_up() {
    run(|| {
        assert_eq!(NUMBER.get(), 7);
        NUMBER.set(8);
        let mut fresh = spawn(|| {
            let before = NUMBER.get();
            NUMBER.set(100);
            yield_now();
            (before, NUMBER.get())
        });
        let mut inherits = Builder::new()
            .inherit_locals(true)
            .spawn(|| {
                let before = NUMBER.get();
                NUMBER.set(200);
                yield_now();
                (before, NUMBER.get())
            })
            .unwrap();
        // A value that the spawner sets after the spawn is not inherited.
        NUMBER.set(9);
        rounds(2);
        assert_eq!(NUMBER.get(), 9, "a value of a child does not reach its spawner");
        assert_eq!(fresh.join().unwrap(), (7, 100));
        assert_eq!(inherits.join().unwrap(), (8, 200));
        let mut plain = Builder::new().inherit_locals(false).spawn(|| NUMBER.get()).unwrap();
        assert_eq!(plain.join().unwrap(), 7);
    });
    run(|| assert_eq!(NUMBER.get(), 7, "a new run begins anew"));
}

#[test]
fn task_local_can_be_borrowed_across_a_wait() {
    run(|| {
        let mut other = spawn(|| NAME.with(|name| name.borrow_mut().push_str(" of the other")));
        NAME.with(|name| {
            name.borrow_mut().push_str(" of main");
            other.join().unwrap();
            NAME.set(RefCell::new("replaced".into()));
            assert_eq!(*name.borrow(), "initial of main", "the borrowed value stays");
        });
        NAME.with(|name| assert_eq!(*name.borrow(), "replaced"));
        // In a generator task-locals are those of the task that resumes it.
        let mut generator = Generator::new(|y| {
            loop {
                y.yield_(NUMBER.get());
            }
        });
        NUMBER.set(1);
        assert_eq!(generator.next(), Some(1));
        let mut other = spawn(move || {
            NUMBER.set(2);
            generator.next()
        });
        assert_eq!(other.join().unwrap(), Some(2));
    });
}

/// A task-local set by a destructor at the end of a task does not reach the next task, which reuses the control block.
#[test]
fn local_set_in_a_destructor_does_not_reach_the_next_task() {
    run(|| {
        for _ in 0..2 {
            drop(spawn(|| {
                assert_eq!(NUMBER.get(), 7, "a value that another task has set");
                LATE.set(Some(Rc::new(AtEnd(|| {
                    NUMBER.set(99);
                    drop(Unparker::current());
                }))));
            }));
            yield_now();
        }
        let mut next = spawn(|| NUMBER.get());
        assert_eq!(next.join().unwrap(), 7);
    });
}

/// An `Unparker` made by a destructor at the end of a task is not the one of the next task, which reuses the control
/// block.
#[test]
fn unparker_made_in_a_destructor_is_not_the_next_tasks() {
    let text = in_child("unparker_made_in_a_destructor_is_not_the_next_tasks", || {
        run(|| {
            drop(spawn(|| LATE.set(Some(Rc::new(AtEnd(|| drop(Unparker::current())))))));
            yield_now();
            let slot = Rc::new(RefCell::new(None));
            let inner = Rc::clone(&slot);
            let mut next = spawn(move || {
                *inner.borrow_mut() = Some(Unparker::current());
                park("a wake").unwrap();
            });
            yield_now();
            slot.borrow().as_ref().unwrap().unpark();
            rounds(2);
            assert!(next.is_finished(), "its own unparker does not wake it");
            next.join().unwrap();
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn the_locals_of_main_are_dropped_when_the_run_ends() {
    let drops = Drops::default();
    run(|| LATE.set(Some(Rc::new(drops.value()))));
    assert_eq!(drops.count(), 1);
    run(|| {
        let value = drops.value();
        spawn(move || LATE.set(Some(Rc::new(value)))).join().unwrap();
    });
    assert_eq!(drops.count(), 2);
}

// ---- the thread's own

thread_local! {
    static OF_THE_THREAD: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn b1_thread_locals_stay_the_threads_across_turns() {
    #[inline(never)]
    fn bump() -> *const Cell<u32> {
        OF_THE_THREAD.with(|cell| {
            cell.set(cell.get() + 1);
            std::ptr::from_ref(cell)
        })
    }
    let on_this_thread = || {
        OF_THE_THREAD.set(0);
        let mine = bump() as usize;
        run(move || {
            let mut tasks: Vec<_> = (0..10)
                .map(|_| {
                    spawn(move || {
                        let id = thread::current().id();
                        for _ in 0..100 {
                            assert_eq!(bump() as usize, mine);
                            yield_now();
                            assert_eq!(bump() as usize, mine);
                            park_until("a moment", Instant::now()).unwrap();
                            assert_eq!(thread::current().id(), id);
                        }
                    })
                })
                .collect();
            tasks.iter_mut().for_each(|task| task.join().unwrap());
        });
        OF_THE_THREAD.get()
    };
    let threads: Vec<_> = (0..3).map(|_| thread::spawn(on_this_thread)).collect();
    assert_eq!(on_this_thread(), 2001);
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 2001));
}

#[test]
fn b9_errno_is_right_if_read_before_the_next_turn() {
    run(|| {
        let task = |path: &'static str, expected: i32| {
            spawn(move || {
                for _ in 0..100 {
                    let error = std::fs::File::open(path).unwrap_err();
                    yield_now();
                    assert_eq!(error.raw_os_error(), Some(expected));
                }
            })
        };
        let mut tasks = [task("/no/such/file", libc::ENOENT), task("/dev/null/x", libc::ENOTDIR)];
        tasks.iter_mut().for_each(|task| task.join().unwrap());
    });
}
