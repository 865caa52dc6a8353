// The queues of crossbeam-deque, reduced to what the crew relies on: an element is taken once, and `is_empty` is a load without a lock, which
// needs the fences of its callers.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use std::collections::VecDeque;

pub enum Steal<T> {
    Empty,
    Success(T),
    Retry,
}

impl<T> Steal<T> {
    pub fn is_retry(&self) -> bool {
        matches!(self, Steal::Retry)
    }
}

struct Queue<T> {
    elements: Mutex<VecDeque<T>>,
    length: AtomicUsize,
}

impl<T> Queue<T> {
    fn new() -> Arc<Queue<T>> {
        Arc::new(Queue { elements: Mutex::new(VecDeque::new()), length: AtomicUsize::new(0) })
    }

    fn push(&self, element: T) {
        self.elements.lock().unwrap().push_back(element);
        self.length.fetch_add(1, Ordering::Release);
    }

    fn take(&self) -> Option<T> {
        // A thread that takes reads the newest value, as the exchange of crossbeam-deque does.
        if self.length.fetch_add(0, Ordering::AcqRel) == 0 {
            return None;
        }
        let element = self.elements.lock().unwrap().pop_front();
        if element.is_some() {
            self.length.fetch_sub(1, Ordering::Release);
        }
        element
    }

    fn is_empty(&self) -> bool {
        self.length.load(Ordering::Acquire) == 0
    }
}

pub struct Injector<T>(Arc<Queue<T>>);

impl<T> Injector<T> {
    pub fn new() -> Injector<T> {
        Injector(Queue::new())
    }

    pub fn push(&self, element: T) {
        self.0.push(element);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn steal_batch_and_pop(&self, _: &Worker<T>) -> Steal<T> {
        self.0.take().map_or(Steal::Empty, Steal::Success)
    }
}

pub struct Stealer<T>(Arc<Queue<T>>);

impl<T> Stealer<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn steal(&self) -> Steal<T> {
        self.0.take().map_or(Steal::Empty, Steal::Success)
    }

    pub fn steal_batch_and_pop(&self, _: &Worker<T>) -> Steal<T> {
        self.steal()
    }
}

pub struct Worker<T>(Arc<Queue<T>>);

impl<T> Worker<T> {
    pub fn new_fifo() -> Worker<T> {
        Worker(Queue::new())
    }

    pub fn new_lifo() -> Worker<T> {
        Worker(Queue::new())
    }

    pub fn len(&self) -> usize {
        self.0.length.load(Ordering::Acquire)
    }

    pub fn stealer(&self) -> Stealer<T> {
        Stealer(Arc::clone(&self.0))
    }

    pub fn push(&self, element: T) {
        self.0.push(element);
    }

    pub fn pop(&self) -> Option<T> {
        self.0.take()
    }
}
