//! Servers of a run with several workers: one task accepts, and each connection has a task on one of the workers.
#![forbid(unsafe_code)]

use super::serve::{Listener, Served, Server, State};
use crate::coroutine::Builder;
use crate::io::error::interrupted;
use crate::task::{Cancelled, RemoteHandle, report_panic_of, shield};
use crate::wait::running;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Accepts connections like [`serve`](super::serve()), but gives each to a task on one of the workers of the run: the worker that serves the
/// fewest connections of this server at that time. [`Server::serve_anywhere`] adds an ordered shutdown.
///
/// The handler runs on several threads at the same time, so it is `Send` and `Sync`, and owns what it uses. A connection stays on its
/// worker. If single connections can keep a worker busy, let the connection's task read, and let
/// [`spawn_anywhere`](crate::task::spawn_anywhere) handle each request: see [the guide](crate::guide::workers).
///
/// The maximum of connections, errors, panics and cancels are those of [`serve`](super::serve()), with one difference: if a worker has no
/// memory for the stack of a task, the server learns of that after the accept, and may close several connections before it waits.
///
/// # Errors
///
/// Those of [`serve`](super::serve()). Also the error of epoll_create1(2), eventfd(2) or io_uring_setup(2) if a worker cannot wait for I/O.
///
/// # Panics
///
/// As [`serve`](super::serve()) does.
///
/// ```
/// use cede::net::{TcpListener, TcpStream, serve_anywhere};
/// use cede::task::spawn_anywhere;
/// use std::io::{BufRead, BufReader, Write};
///
/// /// An example of work that takes some microseconds.
/// fn answer(line: String) -> String {
///     line.chars().rev().collect()
/// }
///
/// fn connection(stream: TcpStream) -> std::io::Result<()> {
///     for line in BufReader::new(&stream).lines() {
///         let line = line?;
///         let answer = spawn_anywhere(move || answer(line)).join().map_err(|error| std::io::Error::other(error.to_string()))?;
///         writeln!(&stream, "{answer}")?;
///     }
///     Ok(())
/// }
///
/// cede::Config::new().workers(2).run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let mut server = cede::spawn(move || {
///         serve_anywhere(listener, 1000, |stream, _peer| {
///             let _ = connection(stream); // an error ends only this connection
///         })
///     });
///     let stream = TcpStream::connect(address)?;
///     writeln!(&stream, "olleh")?;
///     let mut line = String::new();
///     BufReader::new(&stream).read_line(&mut line)?;
///     assert_eq!(line, "hello\n");
///     server.cancel();
///     assert!(cede::io::is_cancelled(&server.join().unwrap().unwrap_err()));
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "multi-threaded server")]
#[doc(alias = "SO_REUSEPORT")]
#[track_caller]
pub fn serve_anywhere<L, H>(listener: L, max: usize, handler: H) -> io::Result<Served>
where
    L: Listener<Stream: Send, Address: Send>,
    H: Fn(L::Stream, L::Address) + Send + Sync + 'static,
{
    Server::new(max).serve_anywhere(listener, handler)
}

impl Server<'_> {
    /// Serves connections on all workers of the run, like [`serve_anywhere`](serve_anywhere()), and returns after an ordered shutdown.
    ///
    /// # Errors
    ///
    /// The errors of [`serve_anywhere`](serve_anywhere()). A cancel or a deadline also ends the grace period of a shutdown.
    ///
    /// # Panics
    ///
    /// As [`serve`](super::serve()) does.
    ///
    /// ```
    /// use cede::net::{Server, TcpListener, TcpStream};
    /// use cede::sync::Event;
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// let stop = Arc::new(Event::new());
    /// let config = cede::Config::new().workers(2);
    /// let served = config.run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let _stream = TcpStream::connect(listener.local_addr()?)?;
    ///     let server = Server::new(1000).shutdown(&stop, Duration::from_secs(10));
    ///     let stop = Arc::clone(&stop);
    ///     server.serve_anywhere(listener, move |_stream, _peer| stop.set()) // the first connection stops the server
    /// }).unwrap()?;
    /// assert_eq!((served.accepted, served.cancelled), (1, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn serve_anywhere<L, H>(self, listener: L, handler: H) -> io::Result<Served>
    where
        L: Listener<Stream: Send, Address: Send>,
        H: Fn(L::Stream, L::Address) + Send + Sync + 'static,
    {
        let workers = running("serve connections").member().crew().workers();
        make_reactors(workers)?;
        let crowd = Arc::new(Crowd::new(self.max(), workers));
        let handler = Arc::new(handler);
        let cancel_on_drop = CancelOnDrop(&crowd);
        // The slot of a connection returns the permit.
        let start = |permit: crate::sync::Permit<'_>, stream, peer| {
            permit.forget();
            crowd.start(&handler, stream, peer)
        };
        let stopped = self.accept_all(&listener, &crowd.state, start);
        // As in `serve`: before the grace period.
        drop(listener);
        let served = stopped.and_then(|()| self.wait_for_handlers(&crowd.state));
        // Cancels what is left, and waits for it. The wait fails only in a deadlock of the run, which ends the waits of the handlers, too.
        drop(cancel_on_drop);
        let _ = shield(|| crowd.state.permits.acquire_many(self.max()));
        served
    }
}

/// Makes the reactors of all workers. Made by the first wait, one could find that the connections have taken all descriptors.
fn make_reactors(workers: usize) -> io::Result<()> {
    let make = || running("serve connections").reactor().map(drop);
    let spawn = |worker| Builder::new().on(worker).spawn_anywhere(make);
    let mut tasks: Vec<_> = (0..workers).filter_map(|worker| spawn(worker).ok()).collect();
    tasks.iter_mut().try_for_each(|task| task.join().unwrap_or_else(|_| Err(interrupted(Cancelled))))
}

/// The connections of a server, which its tasks on all workers share.
struct Crowd {
    state: State,
    /// The number of connections on each worker.
    counts: Box<[AtomicUsize]>,
    connections: Mutex<Connections>,
}

/// The tasks of the connections.
#[derive(Default)]
struct Connections {
    next_number: u64,
    /// The handle of each; `None` while it is spawned.
    handles: HashMap<u64, Option<RemoteHandle<()>>>,
}

/// A connection on its way to a task. Fields are dropped in this order: the slot tells that nothing of the connection is left.
struct Connection<S, A, H> {
    stream: S,
    peer: A,
    handler: Arc<H>,
    slot: Slot,
}

/// The place of a connection in its server.
struct Slot {
    crowd: Arc<Crowd>,
    number: u64,
    worker: usize,
    has_started: bool,
}

impl Crowd {
    fn new(max: usize, workers: usize) -> Crowd {
        Crowd {
            state: State::new(max),
            counts: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            connections: Mutex::default(),
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns the task of a connection.
    fn start<S, A, H>(self: &Arc<Self>, handler: &Arc<H>, stream: S, peer: A) -> io::Result<()>
    where
        S: Send + 'static,
        A: Send + 'static,
        H: Fn(S, A) + Send + Sync + 'static,
    {
        let number = {
            let mut connections = self.connections();
            connections.next_number += 1;
            let number = connections.next_number;
            connections.handles.insert(number, None);
            number
        };
        // Connections come and go at any time on all workers. So the counts are a hint, and of equal ones each is taken in turn.
        let first = number as usize % self.counts.len();
        let workers = (first..self.counts.len()).chain(0..first);
        let worker = workers.min_by_key(|worker| self.counts[*worker].load(Relaxed)).unwrap_or(0);
        self.counts[worker].fetch_add(1, Relaxed);
        let slot = Slot { crowd: Arc::clone(self), number, worker, has_started: false };
        let connection = Connection { stream, peer, handler: Arc::clone(handler), slot };
        // Neither spawn nor a drop of the closure happens under the lock: the slot takes it.
        let spawned = Builder::new().on(worker).spawn_anywhere(move || connection.serve());
        let Ok(handle) = spawned else { return Err(interrupted(Cancelled)) }; // the run ends
        self.state.count_accepted();
        let ended = match self.connections().handles.get_mut(&number) {
            Some(place) => place.replace(handle),
            None => Some(handle), // the connection has ended
        };
        drop(ended);
        Ok(())
    }

    fn cancel_all(&self) {
        let handles: Vec<_> = self.connections().handles.drain().collect();
        for (_, handle) in handles {
            // Without a handle the spawn has panicked, and there is no task.
            let _ = handle.map(|handle| handle.cancel());
        }
    }
}

/// Cancels the connections, also if the hook for errors panics.
struct CancelOnDrop<'a>(&'a Crowd);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel_all();
    }
}

impl<S, A, H: Fn(S, A)> Connection<S, A, H> {
    fn serve(self) {
        // Dropped last, also in a forced unwind.
        let mut slot = self.slot;
        slot.has_started = true;
        let (handler, stream, peer) = (self.handler, self.stream, self.peer);
        report_panic_of(|| handler(stream, peer));
        drop(handler);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = &self.crowd.state;
        // A task that never ran has had no stack, or the server ends.
        if !self.has_started {
            state.lacks_stack.store(true, Relaxed);
        }
        self.crowd.counts[self.worker].fetch_sub(1, Relaxed);
        let handle = self.crowd.connections().handles.remove(&self.number);
        drop(handle);
        let _ = state.permits.add_permits(1);
        // A connection without a stack has given none back, so it must not end the delay.
        if self.has_started {
            state.ended.set();
        }
    }
}
