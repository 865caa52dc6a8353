//! Waits for signals, such as Ctrl-C, SIGTERM and SIGHUP.
//!
//! [`on`] makes a listener, and [`Signals::recv`] waits for the next signal. [`ctrl_c`] does both for one Ctrl-C. A wait suspends the
//! task; a plain thread blocks. Any number of tasks, runs and threads may listen to one signal at the same time.
//!
//! # Delivery
//!
//! * Each listener receives a signal that arrives after its creation. A signal before that is not received.
//! * Signals are coalesced: if several signals of a kind arrive before a call of `recv`, that call returns once for all of them. The
//!   kernel does the same. After each signal, at least one call of `recv` returns, so no event is missed.
//! * A listener that several tasks share gives each signal to one of them.
//!
//! # Actions
//!
//! The library handles a signal as long as there is a listener for it. For this time, the default action is suspended: SIGINT and
//! SIGTERM do not end the process. When the last listener is dropped, the previous action is restored. A handler that the program
//! had installed before is called, too. A signal that the process ignored is not ignored while there is a listener.
//!
//! A handler that the program installs while there is a listener replaces that of the library. Then the listener receives a signal
//! only if that handler calls the previous one, as most crates do.
//!
//! The handler of the library runs on the alternate signal stack (`SA_ONSTACK`), and interrupted system calls are restarted
//! (`SA_RESTART`). No signal is blocked, in no thread. Programs that [`process`](crate::process) starts have the default action for each
//! signal that the library handles.
//!
//! After fork(2) the listeners of the parent return errors in the child, and the child can make new ones.
//!
//! # Examples
//!
//! A server ends in order when SIGTERM or Ctrl-C arrives:
//!
//! ```no_run
//! use cede::net::{Server, TcpListener};
//! use cede::signal::{SignalKind, on};
//! use cede::sync::Event;
//! use std::time::Duration;
//! let stop = &Event::new();
//! cede::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:8080")?;
//!     let signals = [on(SignalKind::terminate())?, on(SignalKind::interrupt())?];
//!     cede::scope(|s| {
//!         for signals in &signals {
//!             s.spawn(move || signals.recv().map(|()| stop.set()));
//!         }
//!         let served = Server::new(1000).shutdown(stop, Duration::from_secs(10)).serve(listener, |_stream, _peer| {});
//!         s.cancel(); // the other waits
//!         served
//!     })
//!     .unwrap()
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`Config::cancel_on_ctrl_c`](crate::Config::cancel_on_ctrl_c) cancels the main task of a run, without a listener.
#![forbid(unsafe_code)]

mod kind;
mod signals;

pub use self::kind::SignalKind;
pub use self::signals::{Signals, ctrl_c, on};
