//! Listeners to signals.

use super::SignalKind;
use crate::io::Async;
use crate::sys::self_pipe::SelfPipe;
use crate::sys::signals::Handled;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

/// A listener to one kind of signal, made by [`on`]. The [module docs](crate::signal) describe what it receives.
///
/// Two descriptors per listener stay open after its drop, for the next listener of the process.
pub struct Signals {
    kind: SignalKind,
    /// The descriptor of `pipe`, which is never closed. Dropped before `pipe`, which the next listener may take.
    reader: Async<BorrowedFd<'static>>,
    _handled: Handled,
    pipe: SelfPipe,
}

/// Creates a listener to signals of `kind`, and suspends the default action of the signal until the listener is dropped. A number is a
/// kind, too: `on(libc::SIGTERM)`.
///
/// # Errors
///
/// `InvalidInput` if there is no such signal, if it cannot be handled (SIGKILL, SIGSTOP), or if it reports a fault of the machine or an
/// abort (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS). The error of pipe(2) if no descriptor is left.
///
/// ```
/// use cede::signal::{SignalKind, on};
/// let hangups = on(SignalKind::hangup())?;
/// cede::run(|| {
///     let mut reload = cede::spawn(move || hangups.recv());
///     # cede::yield_now();
///     # let kill = std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status()?;
///     # assert!(kill.success());
///     // kill -HUP ends the wait
///     reload.join().unwrap()
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "sigaction")]
#[doc(alias = "signal")]
pub fn on(kind: impl Into<SignalKind>) -> io::Result<Signals> {
    let kind = kind.into();
    let pipe = SelfPipe::new()?;
    pipe.listen(kind.as_raw_value());
    let handled = Handled::install(kind.as_raw_value())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot handle {kind:?}: {error}")))?;
    let reader = Async::new(pipe.reader());
    Ok(Signals { kind, reader, _handled: handled, pipe })
}

/// Waits for the next Ctrl-C (SIGINT) that arrives after the call.
///
/// A Ctrl-C during the wait does not end the process. After the call the previous action is restored, so the next Ctrl-C ends the process,
/// unless a listener waits for it. To receive several ones, keep a listener: `on(SignalKind::interrupt())`.
///
/// Cancel safety: a cancelled wait takes no signal.
///
/// # Errors
///
/// The errors of [`on`] and of [`Signals::recv`].
///
/// # Panics
///
/// As [`Signals::recv`] does.
///
/// ```no_run
/// cede::run(|| {
///     let work = cede::spawn(|| cede::time::sleep(std::time::Duration::from_secs(3600)));
///     cede::signal::ctrl_c()?;
///     work.cancel();
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SIGINT")]
#[track_caller]
pub fn ctrl_c() -> io::Result<()> {
    on(SignalKind::interrupt())?.recv()
}

impl Signals {
    /// Waits until a signal arrives, or returns at once if one has arrived since the last call or the creation of the listener.
    ///
    /// In a task the wait suspends the task; in a plain thread it blocks the thread. While a task waits for a signal, its run is
    /// neither stalled nor deadlocked.
    ///
    /// Cancel safety: a cancelled wait takes no signal.
    ///
    /// # Errors
    ///
    /// The errors of a wait (see [`io`](crate::io)), and an error whose text begins with "forked" in a child process, if the
    /// listener was made in the parent.
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    #[track_caller]
    pub fn recv(&self) -> io::Result<()> {
        self.reader.read_with(|_| if self.try_recv()? { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) })
    }

    /// Returns whether a signal has arrived since the last call or the creation of the listener. Never waits.
    ///
    /// # Errors
    ///
    /// An error whose text begins with "forked" in a child process, if the listener was made in the parent.
    pub fn try_recv(&self) -> io::Result<bool> {
        if self.pipe.is_foreign() {
            return Err(io::Error::other(
                "forked: the listener was made in the parent process; make one with `signal::on` in this one",
            ));
        }
        // Cleared first: a signal that arrives after the check makes the pipe readable again.
        self.pipe.clear();
        Ok(self.pipe.take_signal(self.kind.as_raw_value()))
    }

    /// Returns the kind of the signals.
    pub fn kind(&self) -> SignalKind {
        self.kind
    }
}

impl AsFd for Signals {
    /// Returns a descriptor that becomes readable when a signal arrives, for [`select!`](crate::select): after `readable(signals)`, call
    /// [`try_recv`](Signals::try_recv).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("kind", &self.kind).finish_non_exhaustive()
    }
}
