//! Servers: an accept loop with one task per connection, a maximum of connections, and an ordered shutdown.
//!
//! Two scopes are nested. The outer one has the tasks of the connections. The inner one has the task that waits for the stop
//! event, and its cancel ends the waits of the accept loop without ending the connections.
#![forbid(unsafe_code)]

use super::{SocketAddr, TcpListener, TcpStream, UnixListener, UnixStream};
use crate::coroutine::Builder;
use crate::io::error::interrupted;
use crate::report::report;
use crate::sync::{Event, Permit, Semaphore, WaitTimeoutError};
use crate::task::{Cancelled, Scope, ScopeError, SpawnError, check, report_panic_of, scope};
use crate::time::now;
use crate::wait::running;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The first delay before another accept after the system was out of a resource. Each further delay is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(5);

/// The longest delay.
const LAST_DELAY: Duration = Duration::from_secs(1);

/// The time without such an error after which the next one is reported again.
const EPISODE: Duration = Duration::from_secs(10);

mod sealed {
    pub trait Sealed {}
}

/// A listener that [`serve`] accepts connections from: [`TcpListener`], [`UnixListener`], or a reference to one.
pub trait Listener: sealed::Sealed + fmt::Debug {
    /// The type of a connection.
    type Stream: 'static;
    /// The type of a peer's address.
    type Address: 'static;

    /// Waits for a connection.
    #[doc(hidden)]
    fn next_connection(&self) -> io::Result<(Self::Stream, Self::Address)>;
}

macro_rules! listener {
    ($Listener:ty, $Stream:ty, $Address:ty) => {
        impl sealed::Sealed for $Listener {}

        impl Listener for $Listener {
            type Stream = $Stream;
            type Address = $Address;

            fn next_connection(&self) -> io::Result<($Stream, $Address)> {
                self.accept()
            }
        }
    };
}

listener!(TcpListener, TcpStream, SocketAddr);
listener!(&TcpListener, TcpStream, SocketAddr);
listener!(UnixListener, UnixStream, std::os::unix::net::SocketAddr);
listener!(&UnixListener, UnixStream, std::os::unix::net::SocketAddr);

/// Accepts connections, and calls `handler` with the stream and the peer's address of each, in a task of its own. At most `max`
/// handlers run at the same time. [`Server`] adds an ordered shutdown. The connections are on the worker of the caller;
/// [`serve_anywhere`](super::serve_anywhere()) uses all workers of the run.
///
/// While `max` handlers run, the server does not accept: further connections wait in the backlog of the listener. The handlers
/// may borrow from the caller, because `serve` waits for them before it returns, like [`scope`](crate::scope).
///
/// * *No resource left.* If the process or the system has no descriptor or no memory for another connection (`EMFILE`, `ENFILE`,
///   `ENOBUFS`, `ENOMEM`), or if the system forbids it (`EPERM`), the connection stays in the backlog. The server tries again when
///   one of its connections ends, and after 5 ms, 10 ms, and so on up to 1 s. If there is no memory for the stack of a task, the
///   server closes the accepted connection, and waits in the same way. [`Server::on_error`] receives the first error; by default it
///   is printed on stderr. Later errors are not reported until 10 s have passed without one.
/// * *Broken connections.* A connection that fails before it is accepted, for example with `ECONNABORTED`, is skipped.
/// * *Panics.* A panic of a handler ends its connection, and no other. The hook of
///   [`Config::on_unhandled_panic`](crate::Config::on_unhandled_panic) receives the panic. By default it is printed on stderr.
/// * *Cancel.* If the calling task is cancelled, or a deadline around the call passes, the tasks of the connections are cancelled.
///   When they have ended, `serve` returns the error. A handler that ignores its cancel delays the return.
///
/// The backlog of `bind` holds 128 connections, as in `std`, and a client that finds it full connects a second or more later. For
/// bursts of clients set a longer one, for example with `socket2::SockRef::from(&listener).listen(4096)`.
///
/// Pass the listener by reference to use it again afterwards. A listener that is passed by value is closed when the server stops
/// accepting, and the connections in its backlog are reset.
///
/// # Errors
///
/// Returns only with an error: that of the wait if the task was cancelled or a deadline passed (see [`io`](crate::io)), or an
/// error of accept4(2) after which no connection can follow, for example `EINVAL` if the listener was shut down. The connections
/// are cancelled first.
///
/// A read timeout of the listener ([`set_read_timeout`](TcpListener::set_read_timeout)) ends the server with an error of the kind
/// `TimedOut` if no client connects for that time.
///
/// # Panics
///
/// If called outside a run, in a callback or inside [`no_suspend`](crate::no_suspend), or with a `max` of 0.
///
/// ```
/// use cede::net::{TcpListener, TcpStream, serve};
/// use std::io::{Read, Write};
/// cede::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let mut server = cede::spawn(move || {
///         serve(listener, 1000, |stream, _peer| {
///             let _ = cede::io::copy(&mut &stream, &mut &stream); // an error ends only this connection
///         })
///     });
///     let mut stream = TcpStream::connect(address)?;
///     stream.write_all(b"hello")?;
///     stream.read_exact(&mut [0; 5])?;
///     server.cancel();
///     let error = server.join().unwrap().unwrap_err();
///     assert!(cede::io::is_cancelled(&error));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "accept loop")]
#[doc(alias = "backlog")]
#[doc(alias = "EMFILE")]
#[track_caller]
pub fn serve<L: Listener>(listener: L, max: usize, handler: impl Fn(L::Stream, L::Address)) -> io::Result<Served> {
    Server::new(max).serve(listener, handler)
}

type ErrorHook<'a> = Box<dyn Fn(&io::Error) + 'a>;

/// The options of a server: [`serve`] with an ordered shutdown and a hook for errors.
///
/// ```
/// use cede::net::{Server, TcpListener, TcpStream};
/// use cede::sync::Event;
/// use std::time::Duration;
/// let stop = Event::new();
/// let served = cede::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let _stream = TcpStream::connect(listener.local_addr()?)?;
///     let server = Server::new(1000).shutdown(&stop, Duration::from_secs(10));
///     server.serve(listener, |_stream, _peer| stop.set()) // the first connection stops the server
/// })?;
/// assert_eq!((served.accepted, served.cancelled), (1, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server<'a> {
    max: usize,
    shutdown: Option<(&'a Event, Duration)>,
    on_error: Option<ErrorHook<'a>>,
}

/// The outcome of a server after an ordered shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// The number of connections that got a task. The handler of a connection that was cancelled before its task had a turn was
    /// not called.
    pub accepted: u64,
    /// The number of these connections that had not ended after the grace period, and were cancelled.
    pub cancelled: usize,
}

impl<'a> Server<'a> {
    /// Creates the options of a server with at most `max` connections at the same time.
    ///
    /// # Panics
    ///
    /// If `max` is 0.
    #[track_caller]
    pub fn new(max: usize) -> Server<'a> {
        assert!(max > 0, "cannot serve with a maximum of 0 connections");
        Server { max, shutdown: None, on_error: None }
    }

    /// Sets the event that begins an ordered shutdown: the server stops accepting, waits up to `grace` for the running handlers,
    /// cancels the remaining ones, waits until they have ended, and returns [`Served`].
    ///
    /// The event may be set by a task, by a handler, or by another thread. A later
    /// [`clear`](Event::clear) of the event does not end the shutdown. With a `grace` of [`Duration::MAX`] no handler is cancelled.
    #[doc(alias = "graceful shutdown")]
    #[doc(alias = "stop")]
    pub fn shutdown(self, stop: &'a Event, grace: Duration) -> Server<'a> {
        Server { shutdown: Some((stop, grace)), ..self }
    }

    /// Sets the hook that receives the error if the system is out of a resource (see [`serve`]), instead of the message on stderr.
    ///
    /// The hook receives the first error, and a later one only after 10 s without any. It runs in the task of the server, and no
    /// connection is accepted until it returns.
    pub fn on_error(self, f: impl Fn(&io::Error) + 'a) -> Server<'a> {
        Server { on_error: Some(Box::new(f)), ..self }
    }

    /// Serves connections like [`serve`], and returns after an ordered shutdown.
    ///
    /// # Errors
    ///
    /// The errors of [`serve`]. A cancel or a deadline also ends the grace period of a shutdown.
    ///
    /// # Panics
    ///
    /// As [`serve`] does.
    #[track_caller]
    pub fn serve<L: Listener>(self, listener: L, handler: impl Fn(L::Stream, L::Address)) -> io::Result<Served> {
        // The reactor needs two descriptors. Made by the first wait, it could find that the connections have taken all.
        running("serve connections").reactor()?;
        let state = State::new(self.max);
        let outcome = scope(|connections| {
            let start = |permit, stream, peer| state.start(connections, permit, &handler, stream, peer);
            let stopped = self.accept_all(&listener, &state, start);
            // A listener that was passed by value is closed before the grace period, so that clients go to another server.
            drop(listener);
            let served = stopped.and_then(|()| self.wait_for_handlers(&state));
            if served.as_ref().map_or(true, |served| served.cancelled > 0) {
                connections.cancel();
            }
            served
        });
        flatten(outcome)
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Accepts connections until the stop event is set or an error ends the server.
    pub(super) fn accept_all<'s, L: Listener>(
        &self,
        listener: &L,
        state: &'s State,
        start: impl FnMut(Permit<'s>, L::Stream, L::Address) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some((stop, _)) = self.shutdown else { return self.accept_until(|| false, listener, state, start) };
        // The event may be cleared before the accept loop sees it.
        let was_stopped = Cell::new(false);
        flatten(scope(|accepting| {
            let wait = || {
                if stop.wait().is_ok() {
                    was_stopped.set(true);
                    accepting.cancel(); // ends the wait of the accept loop
                }
            };
            Builder::new().spawn_scoped(accepting, wait).map_err(without_stack)?;
            let stopped = self.accept_until(|| was_stopped.get() || stop.is_set(), listener, state, start);
            accepting.cancel(); // ends the wait for the event
            stopped
        }))
    }

    fn accept_until<'s, L: Listener>(
        &self,
        is_stopped: impl Fn() -> bool,
        listener: &L,
        state: &'s State,
        mut start: impl FnMut(Permit<'s>, L::Stream, L::Address) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut backoff = Backoff { delay: FIRST_DELAY, last_error: None };
        while !is_stopped() {
            // The check: while connections arrive without a break, nothing below waits, and no wait would see a cancel.
            // At the maximum, the acquire waits until a handler returns.
            let permit = check().and_then(|()| state.permits.acquire()).map_err(interrupted);
            // Before the accept: the end of a connection after the accept has failed must end the delay.
            state.ended.clear();
            let outcome = permit.and_then(|permit| {
                state.check_stacks()?;
                let (stream, peer) = listener.next_connection()?;
                start(permit, stream, peer)
            });
            let error = match outcome {
                Ok(()) => {
                    backoff.delay = FIRST_DELAY;
                    continue;
                }
                Err(_) if is_stopped() => return Ok(()),
                Err(error) => error,
            };
            match fate(&error) {
                Fate::Skip => {}
                Fate::End => return Err(error),
                Fate::Retry => {
                    if backoff.is_new_episode() {
                        self.report(listener, &error);
                    }
                    let waited = state.ended.wait_timeout(backoff.next());
                    if waited == Err(WaitTimeoutError::Cancelled) && !is_stopped() {
                        return Err(interrupted(Cancelled));
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits up to the grace period until the handlers have returned.
    pub(super) fn wait_for_handlers(&self, state: &State) -> io::Result<Served> {
        let grace = self.shutdown.map_or(Duration::ZERO, |(_, grace)| grace);
        let cancelled = match state.permits.acquire_timeout(self.max, grace) {
            Ok(_) => 0,
            Err(WaitTimeoutError::Timeout) => self.max - state.permits.available_permits(),
            Err(WaitTimeoutError::Cancelled) => return Err(interrupted(Cancelled)),
        };
        Ok(Served { accepted: state.accepted.load(Relaxed), cancelled })
    }

    /// Reports an error that delays the server. No return value can carry it while the server runs, and a server that stops
    /// accepting in silence looks like one that hangs. So without a hook the error is printed.
    #[cold]
    fn report(&self, listener: &dyn fmt::Debug, error: &io::Error) {
        match &self.on_error {
            Some(hook) => hook(error),
            None => report!(
                "the server of {listener:?} cannot accept a connection now: {error}. It tries again when a connection ends, and at \
                 least once a second; clients wait in the backlog. Serve fewer connections at the same time, or raise the limit of \
                 the resource (descriptors: `ulimit -n`)"
            ),
        }
    }
}

impl fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("max", &self.max).field("shutdown", &self.shutdown).finish_non_exhaustive()
    }
}

/// The state of a server that its tasks share.
pub(super) struct State {
    /// The permits of the running handlers, one each.
    pub(super) permits: Semaphore,
    accepted: AtomicU64,
    /// Set when a connection has ended, which may have freed a descriptor.
    pub(super) ended: Event,
    /// Another worker had no memory for the stack of a connection's task.
    pub(super) lacks_stack: AtomicBool,
}

/// A connection that is given to its task. The drop closes the stream first.
struct Connection<'s, S, A> {
    stream: S,
    peer: A,
    slot: Slot<'s>,
}

/// The place of a connection in its server. The drop tells the accept loop that the connection has ended.
struct Slot<'s> {
    ended: &'s Event,
    _permit: Permit<'s>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.ended.set();
    }
}

impl State {
    pub(super) fn new(max: usize) -> State {
        State {
            permits: Semaphore::bounded(max),
            accepted: AtomicU64::new(0),
            ended: Event::new(),
            lacks_stack: AtomicBool::new(false),
        }
    }

    /// Counts a connection that has got its task.
    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// Returns an error if a connection had no stack since the last call.
    fn check_stacks(&self) -> io::Result<()> {
        match self.lacks_stack.load(Relaxed) && self.lacks_stack.swap(false, Relaxed) {
            true => Err(io::Error::new(io::ErrorKind::OutOfMemory, "no memory for the stack of a task")),
            false => Ok(()),
        }
    }

    /// Starts the task of a connection.
    fn start<'scope, S: 'static, A: 'static>(
        &'scope self,
        connections: &'scope Scope<'scope, '_>,
        permit: Permit<'scope>,
        handler: &'scope impl Fn(S, A),
        stream: S,
        peer: A,
    ) -> io::Result<()> {
        let connection = Connection { stream, peer, slot: Slot { ended: &self.ended, _permit: permit } };
        let task = move || {
            let Connection { stream, peer, slot } = connection;
            report_panic_of(|| handler(stream, peer));
            drop(slot);
        };
        let had_ended = self.ended.is_set();
        if let Err(error) = Builder::new().spawn_scoped(connections, task) {
            // The drop of `task` has set the event. It gave no stack back, so it must not end the delay.
            if !had_ended {
                self.ended.clear();
            }
            return Err(without_stack(error));
        }
        self.count_accepted();
        Ok(())
    }
}

/// Converts the error of a spawn. In a run the only one is that there is no memory for a stack.
pub(super) fn without_stack(error: SpawnError) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}

/// The delays between accepts while the system is out of a resource.
struct Backoff {
    delay: Duration,
    last_error: Option<Instant>,
}

impl Backoff {
    /// Records an error. Returns whether it begins an episode.
    fn is_new_episode(&mut self) -> bool {
        let now = now();
        self.last_error.replace(now).is_none_or(|last| now.saturating_duration_since(last) > EPISODE)
    }

    /// Returns the delay after an error.
    fn next(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(LAST_DELAY);
        delay
    }
}

/// The consequence of an error of accept4(2) for the server.
enum Fate {
    /// Only the connection failed: accept the next one.
    Skip,
    /// The connection waits in the backlog: try again later.
    Retry,
    /// No connection can follow.
    End,
}

fn fate(error: &io::Error) -> Fate {
    match error.raw_os_error() {
        // The errors of a connection that failed in the backlog: see accept(2), "Error handling".
        Some(
            libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ETIMEDOUT,
        ) => Fate::Skip,
        #[cfg(target_os = "linux")]
        Some(libc::ENONET) => Fate::Skip,
        // Firewall rules forbid a connection, or a seccomp filter forbids all. The delay keeps the latter from spinning.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM) => Fate::Retry,
        // No stack for the task of the connection.
        None if error.kind() == io::ErrorKind::OutOfMemory => Fate::Retry,
        _ => Fate::End,
    }
}

/// Returns the value of a scope, or its error. No task of these scopes panics, so the scope either succeeds or refuses to open.
fn flatten<T>(outcome: Result<io::Result<T>, ScopeError<io::Result<T>>>) -> io::Result<T> {
    outcome.unwrap_or_else(|error| Err(io::Error::other(error.to_string())))
}
