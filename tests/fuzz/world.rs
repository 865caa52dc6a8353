//! The state that the code of one program shares: its pools, and which code runs on top of which.
//!
//! Each piece of code has a *node*: the innermost body, task, section or destructor around it. A node has a parent, the node that
//! it runs on top of at the moment. The parent of a body is the node of its resumer. A suspension must be refused exactly if the
//! path from the code to the body passes a section or does not reach the body.
#![forbid(unsafe_code)]

use crate::bodies::Body;
use crate::ledger::{Caught, Ledger, Token, fail, see};
use crate::program::Program;
use cede::JoinHandle;
use cede::sync::{Completion, Event, Mutex, Promise, Semaphore, channel};
use cede::task::Unparker;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::panicking;

pub(crate) type NodeId = usize;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum NodeKind {
    /// A thread, a task or a callback, which runs on top of no other node.
    Root,
    Body,
    /// A coroutine that borrows.
    Scoped,
    /// A run, a scope or a limit that is open.
    Section,
    /// A destructor that a panic runs.
    Destructor,
}

pub(crate) struct Node {
    kind: NodeKind,
    pub(crate) parent: Option<NodeId>,
    /// Whether its resumer was panicking.
    pub(crate) in_panic: bool,
    /// Whether it caught its own unwinding or received `Closed`: if it suspends again, it is abandoned.
    pub(crate) told_to_end: bool,
    pub(crate) swallowed: bool,
    /// How often it was resumed.
    pub(crate) resumes: u32,
    /// When it was resumed last, counted over all.
    resumed: u64,
    /// The generator that it delegates to, and the generator that delegates to it.
    pub(crate) delegate: Option<NodeId>,
    pub(crate) delegator: Option<NodeId>,
}

/// The path from code to the body that it tries to suspend.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Path {
    Clear,
    /// It passes a section, or does not reach the body.
    Refused,
    /// It passes a destructor that a panic runs. `certain`: the body unwinds, and no node between was resumed during a panic.
    Destructor {
        certain: bool,
    },
}

pub(crate) struct World {
    pub(crate) program: Arc<Program>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) trace: bool,
    fuel: Cell<u32>,
    nodes: RefCell<Vec<Node>>,
    /// How often any body was resumed.
    resumes: Cell<u64>,
    /// The body that is about to suspend, and is allowed to.
    pub(crate) leaving: Cell<Option<NodeId>>,
    pub(crate) bodies: RefCell<Vec<Body>>,
    pub(crate) handles: RefCell<Vec<JoinHandle<Token>>>,
    pub(crate) unparkers: RefCell<Vec<Unparker>>,
    pub(crate) channel: (channel::Sender<Token>, channel::Receiver<Token>),
    pub(crate) mutex: Mutex<u32>,
    pub(crate) permits: Semaphore,
    pub(crate) event: Arc<Event>,
    pub(crate) promise: RefCell<PromiseOfToken>,
}

/// Operations that one program may perform.
const FUEL: u32 = 400;

impl World {
    pub(crate) fn new(program: Arc<Program>, trace: bool) -> World {
        World {
            program,
            ledger: Arc::default(),
            trace,
            fuel: Cell::new(FUEL),
            nodes: RefCell::default(),
            resumes: Cell::new(0),
            leaving: Cell::new(None),
            bodies: RefCell::default(),
            handles: RefCell::default(),
            unparkers: RefCell::default(),
            channel: channel::bounded(2),
            mutex: Mutex::new(0),
            permits: Semaphore::new(1),
            event: Arc::new(Event::new()),
            promise: RefCell::new(new_promise()),
        }
    }

    /// Whether there is fuel for one more operation.
    pub(crate) fn spend(&self) -> bool {
        let left = self.fuel.get();
        self.fuel.set(left.saturating_sub(1));
        left > 0
    }

    pub(crate) fn token(&self) -> Token {
        Token::new(&self.ledger)
    }

    pub(crate) fn add(&self, kind: NodeKind, parent: Option<NodeId>) -> NodeId {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            kind,
            parent,
            in_panic: false,
            told_to_end: false,
            swallowed: false,
            resumes: 0,
            resumed: 0,
            delegate: None,
            delegator: None,
        });
        nodes.len() - 1
    }

    pub(crate) fn node<R>(&self, node: NodeId, f: impl FnOnce(&mut Node) -> R) -> R {
        f(&mut self.nodes.borrow_mut()[node])
    }

    pub(crate) fn is_scoped(&self, node: NodeId) -> bool {
        self.node(node, |node| node.kind == NodeKind::Scoped)
    }

    /// Records that the body, and the bodies that it delegates to, are about to run on top of `parent`.
    pub(crate) fn entering(&self, body: NodeId, parent: Option<NodeId>) {
        let mut next = Some(body);
        self.resumes.set(self.resumes.get() + 1);
        while let Some(body) = next {
            next = self.node(body, |node| {
                node.parent = parent;
                node.in_panic = panicking();
                node.resumes += 1;
                node.resumed = self.resumes.get();
                node.delegate
            });
        }
    }

    /// Records that the body, and the bodies that it delegates to, are dropped: a body that suspends then is abandoned.
    pub(crate) fn ending(&self, body: NodeId) {
        let mut next = Some(body);
        while let Some(body) = next {
            next = self.node(body, |node| {
                node.told_to_end = true;
                node.delegate
            });
        }
    }

    /// Checks that the suspended body was allowed to suspend, or delegates to the body that was.
    pub(crate) fn suspended(&self, body: NodeId) {
        let Some(mut leaving) = self.leaving.take() else { fail("a body was suspended that must not be") };
        while leaving != body {
            match self.node(leaving, |node| node.delegator) {
                Some(delegator) => leaving = delegator,
                None => fail("the suspended body is not the yielding body"),
            }
        }
    }

    pub(crate) fn path(&self, from: NodeId, to: NodeId) -> Path {
        let nodes = self.nodes.borrow();
        let (mut here, mut refused, mut destructor, mut certain) = (Some(from), false, false, true);
        while let Some(node) = here {
            if node == to {
                certain &= !nodes[to].in_panic;
                break;
            }
            match nodes[node].kind {
                NodeKind::Section => refused = true,
                NodeKind::Destructor => destructor = true,
                _ => certain &= !nodes[node].in_panic,
            }
            here = nodes[node].parent;
        }
        match (destructor, refused || here.is_none()) {
            (true, refused) => Path::Destructor { certain: certain && !refused },
            (false, true) => Path::Refused,
            (false, false) => Path::Clear,
        }
    }

    /// Whether code runs in a body, and not on a task's or thread's own stack.
    pub(crate) fn is_in_body(&self, from: NodeId) -> bool {
        let nodes = self.nodes.borrow();
        std::iter::successors(Some(from), |node| nodes[*node].parent)
            .any(|node| matches!(nodes[node].kind, NodeKind::Body | NodeKind::Scoped))
    }

    /// Classifies a panic that was caught here. Returns the payload if it is an unwinding of the library.
    pub(crate) fn caught(&self, payload: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        match see(payload) {
            Caught::Private(payload) => Some(payload),
            _ => None,
        }
    }

    /// Records that the code here has caught an unwinding and goes on. If it was the unwinding of its task, which cannot be known, the
    /// task is abandoned when it waits again.
    pub(crate) fn swallowed(&self, from: NodeId) {
        if cede::task::current().is_some() {
            self.ledger.allow_leaks();
        }
        let mut here = Some(from);
        while let Some(node) = here {
            here = self.node(node, |node| {
                node.swallowed = true;
                node.told_to_end = true;
                node.parent
            });
        }
    }

    /// Runs destructors, which may panic.
    fn end_by(&self, f: impl FnOnce()) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        if outcome.is_err_and(|payload| self.caught(payload).is_some()) {
            fail("an unwinding came out of a destructor");
        }
    }

    /// Ends the bodies and tasks in the pools, which may run code that fills the pools again.
    pub(crate) fn dispose(&self) {
        loop {
            let (body, handle) = (self.bodies.borrow_mut().pop(), self.handles.borrow_mut().pop());
            if body.is_none() && handle.is_none() {
                break;
            }
            self.end_by(|| handle.into_iter().for_each(crate::tasks::detach));
            self.end_by(|| drop(body));
        }
        while let Ok(token) = self.channel.1.try_recv() {
            token.check();
        }
        self.unparkers.take();
        drop(self.promise.replace(new_promise()));
    }
}

type PromiseOfToken = (Rc<Promise<Token>>, Rc<Completion<Token>>);

pub(crate) fn new_promise() -> PromiseOfToken {
    let promise = Promise::new();
    let completion = promise.completion();
    (Rc::new(promise), Rc::new(completion))
}
