//! Runs the same test between tasks, between threads, and between tasks and threads.

use std::thread;

/// The kinds of callers: the first runs the test's main part, the second runs the functions that it spawns.
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
    /// Tasks, each with a worker on its own thread.
    Workers,
}

pub(crate) const WORLDS: [World; 5] =
    [World::Tasks, World::Threads, World::TaskAndThreads, World::ThreadAndTasks, World::Workers];

/// A spawned task or thread. Joining it blocks the thread unless it is a task of this run, so the test must only join a function
/// that can end without the tasks of this thread.
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

/// Runs the test in each world.
pub(crate) fn in_all_worlds(test: impl Fn(World)) {
    for world in WORLDS {
        world.main(|| test(world));
    }
}
