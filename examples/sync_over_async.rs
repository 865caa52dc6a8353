//! Synchronous code that asks an async database, deep inside: two interpreters as fibers, whose lookups overlap on one thread.
//!
//! cargo run --example sync_over_async

use cede::bridge::Fiber;
use cede::{block_on, fiber};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};

/// Evaluates an expression. The recursion passes through an iterator, which no async function can do.
fn evaluate(words: &mut dyn Iterator<Item = &str>, database: &Database) -> Option<u64> {
    match words.next()? {
        ")" => None,
        "(" => {
            let is_sum = words.next() == Some("+");
            let values = std::iter::from_fn(|| evaluate(words, database));
            Some(if is_sum { values.sum() } else { values.product() })
        }
        // Suspends the fiber until the database has answered. The other fiber goes on.
        word => Some(word.parse().unwrap_or_else(|_| block_on(database.get(word)).expect("the fiber is not dropped"))),
    }
}

/// An async client of a database, which answers on a thread of its own.
struct Database {
    requests: mpsc::Sender<(String, Arc<Mutex<Answer>>)>,
    open: Cell<u32>,
    most: Cell<u32>,
}

#[derive(Default)]
struct Answer {
    value: Option<u64>,
    waker: Option<Waker>,
}

impl Database {
    fn connect() -> Database {
        let (requests, received) = mpsc::channel::<(String, Arc<Mutex<Answer>>)>();
        std::thread::spawn(move || {
            for (name, answer) in received {
                let mut answer = answer.lock().unwrap();
                answer.value = Some(name.len() as u64);
                answer.waker.take().into_iter().for_each(Waker::wake);
            }
        });
        Database { requests, open: Cell::new(0), most: Cell::new(0) }
    }

    async fn get(&self, name: &str) -> u64 {
        self.open.set(self.open.get() + 1);
        self.most.set(self.most.get().max(self.open.get()));
        let answer = Arc::<Mutex<Answer>>::default();
        let mut request = Some((name.to_string(), Arc::clone(&answer)));
        let value = poll_fn(|cx| {
            let mut answer = answer.lock().unwrap();
            answer.waker = Some(cx.waker().clone());
            request.take().into_iter().for_each(|request| self.requests.send(request).unwrap());
            answer.value.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.open.set(self.open.get() - 1);
        value
    }
}

/// Awaits all fibers, as `join_all` of the crate futures does.
async fn join_all(fibers: Vec<Fiber<String>>) -> Vec<String> {
    let mut all: Vec<_> = fibers.into_iter().map(|fiber| (fiber, None)).collect();
    poll_fn(|cx| {
        for (fiber, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(line) = Pin::new(fiber).poll(cx) {
                *output = Some(line);
            }
        }
        if all.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

fn main() {
    let database = Rc::new(Database::connect());
    let programs = ["( + apples 1 ( * 3 pears ) )", "( * ( + figs ( + plums 2 ) ) 10 cherries )"];
    let interpreters = programs.map(|text| {
        let database = Rc::clone(&database);
        fiber(move || format!("{text} = {}", evaluate(&mut text.split(' '), &database).expect("an expression")))
    });
    // Any executor can await the fibers. Here it is that of `block_on`.
    let lines = block_on(join_all(interpreters.into())).expect("a plain thread is not cancelled");
    println!("{}", lines.join("\n"));
    println!("up to {} lookups at the same time", database.most.get());
}
