//! A child process.
#![forbid(unsafe_code)]

use super::exit::Exit;
use super::orphans;
use crate::io::PipeReader;
use crate::io::child_stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::io::pipe::read_all;
use crate::signal::SignalKind;
use crate::sys::{fork, send_signal};
use crate::wait::worker;
use std::fmt;
use std::io;
use std::mem::take;
use std::process::{self, ExitStatus, Output};

/// A child process, as [`std::process::Child`]. Made by [`Command::spawn`](super::Command::spawn).
///
/// The drop does not end the child unless [`kill_on_drop`](super::Command::kill_on_drop) was set; the [module docs](super) say when the
/// exit status of a dropped child is collected. A child may be waited for in another run or thread than that of its start.
pub struct Child {
    /// The stdin of the child, if it is a pipe.
    pub stdin: Option<ChildStdin>,
    /// The stdout of the child, if it is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The stderr of the child, if it is a pipe.
    pub stderr: Option<ChildStderr>,
    kill_on_drop: bool,
    /// Opened by the first wait that suspends.
    exit: Option<Exit>,
    output: Captured,
    /// Present until the drop.
    std: Option<process::Child>,
}

/// The output that calls of `wait_with_output` have read, and the pipes that have not ended.
#[derive(Default)]
struct Captured {
    pipes: [Option<PipeReader>; 2],
    bytes: [Vec<u8>; 2],
}

impl Child {
    pub(super) fn new(std: process::Child, kill_on_drop: bool) -> io::Result<Child> {
        let (stdin, stdout, stderr) = (None, None, None);
        let (exit, output, std) = (None, Captured::default(), Some(std));
        // The drop handles the child if one of the pipes cannot be wrapped.
        let mut child = Child { stdin, stdout, stderr, kill_on_drop, exit, output, std };
        fork::watch()?;
        let std = child.std.as_mut().expect("set above");
        child.stdin = std.stdin.take().map(ChildStdin::new).transpose()?;
        child.stdout = std.stdout.take().map(ChildStdout::new).transpose()?;
        child.stderr = std.stderr.take().map(ChildStderr::new).transpose()?;
        orphans::collect();
        Ok(child)
    }

    fn std(&mut self) -> &mut process::Child {
        self.std.as_mut().expect("present until the drop")
    }

    /// Returns the process id of the child. After the child was waited for, another process may have it.
    pub fn id(&self) -> u32 {
        self.std.as_ref().expect("present until the drop").id()
    }

    /// Sends SIGKILL to the child, which ends it, and does not wait for its end. Without effect if the child was waited for.
    ///
    /// # Errors
    ///
    /// The error of kill(2), as if the child runs as another user.
    #[doc(alias = "start_kill")]
    pub fn kill(&mut self) -> io::Result<()> {
        self.std().kill()
    }

    /// Sends a signal to the child, for example SIGTERM: the request to end.
    ///
    /// # Errors
    ///
    /// The error of kill(2). `InvalidInput` if the child was waited for: then another process may have its id.
    ///
    /// ```
    /// use cede::process::Command;
    /// use cede::signal::SignalKind;
    /// use std::os::unix::process::ExitStatusExt;
    /// cede::run(|| {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     child.send_signal(SignalKind::terminate())?;
    ///     assert_eq!(child.wait()?.signal(), Some(SignalKind::terminate().as_raw_value()));
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_signal(&mut self, kind: SignalKind) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "cannot send a signal to a child that was waited for: its process id may belong to another process",
            ));
        }
        // Nothing else waits for the child, so the id is still its own.
        send_signal(self.id(), kind.as_raw_value())
    }

    /// Returns the exit status if the child has ended, and `None` otherwise. Never waits.
    ///
    /// # Errors
    ///
    /// The error of waitpid(2): `ECHILD` if another part of the program has waited for the child, or if the process ignores SIGCHLD.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.std().try_wait()
    }

    /// Closes the stdin of the child, waits for its end, and returns its exit status. A later call returns the same status.
    ///
    /// A child that waits for room in the pipe of its stdout or stderr does not end: read them first, or call
    /// [`wait_with_output`](Self::wait_with_output).
    ///
    /// Cancel safety: a cancelled wait takes nothing, and the child continues to run.
    ///
    /// # Errors
    ///
    /// The errors of [`try_wait`](Self::try_wait) and of a wait (see [`io`](crate::io)). The error of pidfd_open(2) or pipe(2) if no
    /// descriptor is left.
    ///
    /// # Panics
    ///
    /// If the call would have to wait in a callback or inside [`no_suspend`](crate::no_suspend).
    ///
    /// ```
    /// use cede::{process::Command, timeout};
    /// use std::time::Duration;
    /// cede::run(|| {
    ///     let mut child = Command::new("sleep").arg("60").spawn()?;
    ///     assert!(timeout(Duration::from_millis(20), || child.wait()).is_err());
    ///     child.kill()?;
    ///     assert!(!child.wait()?.success());
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let std = self.std.as_mut().expect("present until the drop");
        let status = if worker().is_none() {
            std.wait()?
        } else if let Some(status) = std.try_wait()? {
            status
        } else {
            let exit = match &mut self.exit {
                Some(exit) => exit,
                none => none.insert(Exit::of(std)?),
            };
            exit.wait(std)?
        };
        self.exit = None;
        orphans::collect();
        Ok(status)
    }

    /// Closes the stdin of the child, reads its stdout and stderr to their ends, waits for its end, and returns all three. Reads both
    /// pipes at the same time, so the child never waits for one of them. Unlike that of `std`, borrows the child, so that a call that was
    /// cancelled can be repeated.
    ///
    /// Cancel safety: a cancelled call keeps what it has read, and a later call continues there.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and the error of read(2).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait) does.
    ///
    /// ```
    /// use cede::process::{Command, Stdio};
    /// cede::run(|| {
    ///     let mut sh = Command::new("sh");
    ///     sh.args(["-c", "echo out; echo err >&2"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    ///     let output = sh.spawn()?.wait_with_output()?;
    ///     assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_with_output(&mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let Captured { pipes: [out, err], bytes: [out_bytes, err_bytes] } = &mut self.output;
        if let Some(stdout) = self.stdout.take() {
            *out = Some(stdout.into_pipe());
        }
        if let Some(stderr) = self.stderr.take() {
            *err = Some(stderr.into_pipe());
        }
        read_all(&mut [(out, out_bytes), (err, err_bytes)])?;
        let status = self.wait()?;
        let [stdout, stderr] = take(&mut self.output.bytes);
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(mut std) = self.std.take() else { return };
        // An error: the status was collected elsewhere in the program.
        if matches!(std.try_wait(), Ok(None)) {
            if self.kill_on_drop {
                // Fails only for a child that runs as another user.
                let _ = std.kill();
            }
            orphans::add(std);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("kill_on_drop", &self.kill_on_drop)
            .finish_non_exhaustive()
    }
}
