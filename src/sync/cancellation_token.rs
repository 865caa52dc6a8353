//! Cancellation tokens: a tree of flags, in which a cancel of a token also cancels its descendants.
//!
//! A node owns its parent, and its parent knows it weakly. So a node lives as long as a token of it or of a descendant, and
//! is removed from its parent when the last of them is dropped. A cancel and the drop of a node walk the tree in loops, not
//! recursively: the depth of the tree costs no stack.
//!
//! # Invariants
//!
//! 1. `is_cancelled` is set if and only if `State::cancellation` is `Some`. Both change once, under the lock.
//! 2. A cancelled node gets no more children: a later child is created cancelled, without a parent. The children that it had
//!    are removed when they are all cancelled.
#![forbid(unsafe_code)]

use super::error::{WaitTimeoutError, outcome};
use super::select::Case;
use super::select::sealed::{Granted, Internal, Operation, Plan, Registration};
use crate::time::now;
use crate::wait::cancel::Cancellation;
use crate::wait::lock::BiasedLock;
use crate::wait::queue::{Line, WaitQueue, WaiterId, wait_in};
use crate::wait::wake_list::WakeList;
use crate::wait::{Cancelled, WaitSpec, WakeHandle, consume_budget_of, worker};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A flag that requests the end of some work. Tasks and threads wait for it or check it, and any thread can set it.
///
/// A [`child_token`](Self::child_token) is cancelled with its parent, and can be cancelled alone. Clones are the same token.
/// The names and semantics are those of tokio-util. A cancel of a token cancels no task: the tasks that wait for the token
/// decide what to end.
///
/// ```
/// use cede::sync::CancellationToken;
/// let server = CancellationToken::new();
/// let connection = server.child_token();
/// let why = cede::run(|| {
///     let mut task = cede::spawn(move || connection.cancelled().unwrap());
///     cede::yield_now();
///     server.cancel_with("maintenance");
///     task.join().unwrap()
/// });
/// assert_eq!(why.reason(), Some("maintenance"));
/// ```
#[derive(Clone, Default)]
#[doc(alias = "AbortController")]
#[doc(alias = "Context")]
pub struct CancellationToken {
    node: Arc<Node>,
}

#[derive(Default)]
struct Node {
    is_cancelled: AtomicBool,
    state: BiasedLock<State>,
    /// The parent, and the place of this node among its children. `None` for a root, and for a node that was created
    /// cancelled.
    parent: Option<(Arc<Node>, usize)>,
}

#[derive(Default)]
struct State {
    cancellation: Option<Cancellation>,
    waiters: WaitQueue<()>,
    children: Children,
}

/// The children of a node. The places of dropped children are reused.
#[derive(Default)]
struct Children {
    nodes: Vec<Option<Weak<Node>>>,
    free: Vec<usize>,
}

impl Children {
    /// Returns a place for a new child.
    fn reserve(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            self.nodes.len() - 1
        })
    }

    /// Frees the place of a child. Does nothing after a cancel, which has removed all children.
    fn remove(&mut self, place: usize) {
        if let Some(node) = self.nodes.get_mut(place) {
            *node = None;
            self.free.push(place);
        }
    }
}

/// The wait queue of a token.
struct Waiting;

impl Line for Waiting {
    type State = State;
    type Value = ();

    fn waiters(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiters
    }

    /// Does nothing: a token never grants a value. It closes its queue instead.
    fn regrant(_: &mut State, (): ()) -> Vec<WakeHandle> {
        Vec::new()
    }
}

impl Node {
    /// Cancels this node and its descendants, and then wakes their waiters. If another thread cancels some of them at the same
    /// time, this call cancels them, too: so all are cancelled when it returns.
    fn cancel(self: &Arc<Node>, cancellation: &Cancellation) {
        let mut wake_list = WakeList::default();
        let mut nodes = vec![Arc::clone(self)];
        let mut next = 0;
        while let Some(node) = nodes.get(next) {
            let children = node.cancel_alone(cancellation, &mut wake_list);
            nodes.extend(children);
            next += 1;
        }
        for node in nodes {
            let children = std::mem::take(&mut node.state.lock().children);
            drop(children); // without the lock
        }
    }

    /// Cancels this node, and returns those of its children that may not be cancelled yet.
    fn cancel_alone(&self, cancellation: &Cancellation, wake_list: &mut WakeList) -> Vec<Arc<Node>> {
        let mut state = self.state.lock();
        if state.cancellation.is_none() {
            state.cancellation = Some(cancellation.clone());
            self.is_cancelled.store(true, Ordering::Release);
            wake_list.extend(state.waiters.close());
        }
        state.children.nodes.iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Creates a child, which is cancelled already if this node is.
    fn child(self: &Arc<Node>) -> Arc<Node> {
        let mut state = self.state.lock();
        if let Some(cancellation) = &state.cancellation {
            let cancellation = Some(cancellation.clone());
            let state = BiasedLock::new(State { cancellation, ..State::default() });
            return Arc::new(Node { is_cancelled: AtomicBool::new(true), state, parent: None });
        }
        let place = state.children.reserve();
        let parent = Some((Arc::clone(self), place));
        let child = Arc::new(Node { is_cancelled: AtomicBool::new(false), state: BiasedLock::default(), parent });
        state.children.nodes[place] = Some(Arc::downgrade(&child));
        child
    }

    fn cancellation(&self) -> Option<Cancellation> {
        self.is_cancelled.load(Ordering::Acquire).then(|| self.state.lock().cancellation.clone()).flatten()
    }

    #[track_caller]
    fn wait(&self, deadline: Option<Instant>) -> Result<Cancellation, WaitTimeoutError> {
        let worker = worker();
        let mut state = self.state.lock_for(worker);
        if state.cancellation.is_none() {
            let waiter = state.waiters.enqueue(());
            drop(state);
            let wait = WaitSpec { reason: "the cancel of a token", external: true, ..WaitSpec::DEFAULT };
            outcome(wait_in::<Waiting>(&self.state, waiter, wait, deadline))?;
        } else {
            drop(state);
            consume_budget_of(worker);
        }
        Ok(self.cancellation().expect("the queue is closed after the token is cancelled"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some((node, place)) = parent {
            node.state.lock().children.remove(place);
            // The parent may be owned by this child alone. Its own parent is next then.
            parent = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl CancellationToken {
    /// Creates a token without a parent, which is not cancelled.
    pub fn new() -> CancellationToken {
        CancellationToken::default()
    }

    /// Creates a token that is cancelled when this one is. A child of a cancelled token is cancelled from its creation.
    ///
    /// The child keeps its ancestors in memory. They can be dropped earlier: the child is still cancelled with those
    /// ancestors of which a token exists.
    ///
    /// ```
    /// use cede::sync::CancellationToken;
    /// let parent = CancellationToken::new();
    /// let (first, second) = (parent.child_token(), parent.child_token());
    /// first.cancel();
    /// assert!(first.is_cancelled() && !second.is_cancelled() && !parent.is_cancelled());
    /// parent.cancel();
    /// assert!(second.is_cancelled());
    /// ```
    pub fn child_token(&self) -> CancellationToken {
        CancellationToken { node: self.node.child() }
    }

    /// Cancels the token and its descendants, and wakes all their waiters. When the call returns, all of them are cancelled.
    /// Without effect if they are cancelled already.
    pub fn cancel(&self) {
        self.node.cancel(&Cancellation::new(None));
    }

    /// Like [`cancel`](Self::cancel), with a reason, which the waits for this token and its descendants return. The first
    /// cancel determines the reason.
    ///
    /// ```
    /// let token = cede::sync::CancellationToken::new();
    /// token.cancel_with("the user hung up");
    /// assert_eq!(token.cancellation().unwrap().to_string(), "cancelled: the user hung up");
    /// ```
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) {
        self.node.cancel(&Cancellation::new(Some(reason.into())));
    }

    /// Returns whether the token is cancelled.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled.load(Ordering::Acquire)
    }

    /// Returns the cancellation with its reason, or `None` if the token is not cancelled.
    pub fn cancellation(&self) -> Option<Cancellation> {
        self.node.cancellation()
    }

    /// Waits until the token is cancelled, and returns the cancellation with its reason. Returns at once if it is cancelled
    /// already.
    ///
    /// Cancel safety: a cancelled call has no effect on the token.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if not the token but the task is cancelled before its wait ends, if a deadline or scope around this
    /// call ends the wait, or if the task would have to wait while its thread panics.
    ///
    /// # Panics
    ///
    /// If it would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn cancelled(&self) -> Result<Cancellation, Cancelled> {
        self.node.wait(None).map_err(WaitTimeoutError::without_deadline)
    }

    /// Like [`cancelled`](Self::cancelled), but gives up at `deadline`, by the clock of [`time::now`](crate::time::now).
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError::Timeout`] if the deadline passes first, and [`WaitTimeoutError::Cancelled`] where
    /// [`cancelled`](Self::cancelled) returns [`Cancelled`].
    ///
    /// # Panics
    ///
    /// The panics of [`cancelled`](Self::cancelled).
    #[track_caller]
    pub fn cancelled_deadline(&self, deadline: Instant) -> Result<Cancellation, WaitTimeoutError> {
        self.node.wait(Some(deadline))
    }

    /// Like [`cancelled_deadline`](Self::cancelled_deadline), with a deadline `timeout` from now: a sleep that the cancel
    /// of the token ends. A `timeout` that is too long for an [`Instant`] never elapses.
    ///
    /// # Errors
    ///
    /// The errors of [`cancelled_deadline`](Self::cancelled_deadline).
    ///
    /// # Panics
    ///
    /// The panics of [`cancelled`](Self::cancelled).
    ///
    /// ```
    /// use cede::sync::{CancellationToken, WaitTimeoutError};
    /// use std::time::Duration;
    /// let token = CancellationToken::new();
    /// assert_eq!(token.cancelled_timeout(Duration::from_millis(1)), Err(WaitTimeoutError::Timeout));
    /// ```
    #[track_caller]
    pub fn cancelled_timeout(&self, timeout: Duration) -> Result<Cancellation, WaitTimeoutError> {
        self.node.wait(now().checked_add(timeout))
    }

    /// Returns a guard that cancels the token when it is dropped.
    ///
    /// ```
    /// let token = cede::sync::CancellationToken::new();
    /// drop(token.clone().drop_guard());
    /// assert!(token.is_cancelled());
    /// ```
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

/// The wait for a token as a case of a [`Select`](super::Select). Returned by [`CancellationToken::case`].
pub struct CancelledCase<'a> {
    node: &'a Node,
    waiter: Option<WaiterId>,
}

impl CancellationToken {
    /// Returns a case of a [`Select`](super::Select) that is ready when the token is cancelled. In
    /// [`select!`](crate::select), `cancelled(token) -> why` is the same.
    ///
    /// ```
    /// use cede::{select, sync::{CancellationToken, channel}};
    /// let (token, (_sender, receiver)) = (CancellationToken::new(), channel::bounded::<u32>(1));
    /// token.cancel_with("enough");
    /// let end = select! {
    ///     recv(receiver) -> number => format!("{number:?}"),
    ///     cancelled(token) -> why => why.to_string(),
    /// }?;
    /// assert_eq!(end, "cancelled: enough");
    /// # Ok::<(), cede::task::Cancelled>(())
    /// ```
    pub fn case(&self) -> CancelledCase<'_> {
        CancelledCase { node: &self.node, waiter: None }
    }
}

impl CancelledCase<'_> {
    /// Returns the cancellation of the token. Call it after the select has chosen this case.
    ///
    /// # Panics
    ///
    /// If the token is not cancelled: this case was not chosen.
    #[track_caller]
    pub fn take(&mut self) -> Cancellation {
        self.node.cancellation().expect("only the chosen case has a result")
    }
}

impl Case for CancelledCase<'_> {}

impl Operation for CancelledCase<'_> {
    fn try_complete(&mut self, _: Internal) -> bool {
        self.node.is_cancelled.load(Ordering::Acquire)
    }

    fn enqueue(&mut self, registration: Registration, plan: &mut Plan, _: Internal) -> bool {
        plan.external = true;
        let mut state = self.node.state.lock();
        if state.cancellation.is_some() {
            return false;
        }
        let select = (registration.select_state, registration.index);
        self.waiter = Some(state.waiters.enqueue_select((), &plan.waker, select));
        true
    }

    fn is_ready(&self, _: Registration, _: Internal) -> bool {
        self.node.is_cancelled.load(Ordering::Acquire)
    }

    fn leave(&mut self, _: Granted, _: Internal) {
        if let Some(waiter) = self.waiter.take() {
            self.node.state.lock().waiters.remove(waiter);
        }
    }
}

impl fmt::Debug for CancelledCase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelledCase").finish_non_exhaustive()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// A guard that cancels its [`CancellationToken`] when it is dropped. Returned by [`CancellationToken::drop_guard`].
#[derive(Debug)]
#[must_use = "a guard that is not kept cancels its token at once"]
pub struct DropGuard {
    /// `None` only after `disarm`.
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// Returns the token, which is not cancelled by this guard any more.
    ///
    /// ```
    /// let token = cede::sync::CancellationToken::new().drop_guard().disarm();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("only this method takes the token, and it consumes the guard")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
