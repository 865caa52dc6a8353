//! The same test between tasks, between threads, and across.

use std::thread;

/// Who runs the test's main part, and who what it spawns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Tasks of one worker.
    Tasks,
    /// Plain threads.
    Threads,
    /// A task, and plain threads.
    TaskAndThreads,
    /// A plain thread, and tasks of workers on other threads.
    ThreadAndTasks,
    /// Tasks of a worker each.
    Workers,
}

pub(crate) const WORLDS: [World; 5] =
    [World::Tasks, World::Threads, World::TaskAndThreads, World::ThreadAndTasks, World::Workers];

/// Something spawned. Joining it blocks the thread unless it is a task of this run, so join what needs nobody else.
pub(crate) enum Spawned<T> {
    Task(cede::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

impl<T> Spawned<T> {
    #[track_caller]
    pub(crate) fn join(self) -> T {
        match self {
            Spawned::Task(mut task) => task.join().unwrap(),
            Spawned::Thread(thread) => thread.join().unwrap(),
        }
    }
}

impl World {
    pub(crate) fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Spawned<T> {
        match self {
            World::Tasks => Spawned::Task(cede::spawn(f)),
            World::Threads | World::TaskAndThreads => Spawned::Thread(thread::spawn(f)),
            World::ThreadAndTasks | World::Workers => Spawned::Thread(thread::spawn(move || cede::run(f))),
        }
    }

    /// Runs a test's main part.
    pub(crate) fn main(self, f: impl FnOnce()) {
        match self {
            World::Threads | World::ThreadAndTasks => f(),
            World::Tasks | World::TaskAndThreads | World::Workers => cede::run(f),
        }
    }
}

/// Runs the test in each.
pub(crate) fn in_all_worlds(test: impl Fn(World)) {
    for world in WORLDS {
        world.main(|| test(world));
    }
}
