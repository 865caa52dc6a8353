//! The builder of a child process.
#![forbid(unsafe_code)]

use super::child::Child;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ExitStatus, Output, Stdio};

/// A builder of a child process, as [`std::process::Command`], with the same methods and defaults.
///
/// ```
/// use cede::process::{Command, Stdio};
/// use std::io::{Read, Write};
/// cede::run(|| {
///     let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
///     child.stdin.take().unwrap().write_all(b"through cat")?; // its drop closes the pipe
///     let mut text = String::new();
///     child.stdout.take().unwrap().read_to_string(&mut text)?;
///     assert_eq!(text, "through cat");
///     assert!(child.wait()?.success());
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    std: process::Command,
    /// Whether the program set stdin, stdout and stderr.
    is_set: [bool; 3],
    kill_on_drop: bool,
}

impl From<process::Command> for Command {
    /// Wraps a command of `std`. [`output`](Command::output) takes its stdin, stdout and stderr as not set, because `std` does not tell.
    fn from(std: process::Command) -> Command {
        Command { std, is_set: [false; 3], kill_on_drop: false }
    }
}

impl Command {
    /// Creates a builder for `program`: a path, or a name that is searched in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        process::Command::new(program).into()
    }

    /// Adds an argument. No shell interprets it.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> &mut Command {
        self.std.args(args);
        self
    }

    /// Sets the argument 0 of the program, which is its name by default.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// Sets an environment variable of the child.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets several environment variables of the child.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, vars: impl IntoIterator<Item = (K, V)>) -> &mut Command {
        self.std.envs(vars);
        self
    }

    /// Removes an environment variable of the child, which it would inherit.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Removes all environment variables of the child.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Sets the working directory of the child.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(dir);
        self
    }

    /// Sets the stdin of the child: inherited by default, and empty for [`output`](Self::output).
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.is_set[0] = true;
        self.std.stdin(stdio);
        self
    }

    /// Sets the stdout of the child: inherited by default, and captured by [`output`](Self::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.is_set[1] = true;
        self.std.stdout(stdio);
        self
    }

    /// Sets the stderr of the child: inherited by default, and captured by [`output`](Self::output).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.is_set[2] = true;
        self.std.stderr(stdio);
        self
    }

    /// Sets the user id of the child.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// Sets the group id of the child.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// Sets the process group of the child; 0 for a new one. A Ctrl-C in the terminal reaches only the group in the foreground.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.std.process_group(group);
        self
    }

    /// Sets whether the drop of a [`Child`] kills the child by SIGKILL if it has not ended. By default it does not.
    ///
    /// Also applies to the child of [`output`](Self::output) and [`status`](Self::status) if a cancel or a deadline ends the call.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Returns the command of `std`, for example to read its arguments.
    pub fn as_std(&self) -> &process::Command {
        &self.std
    }

    /// Returns the command of `std`, for options that this type does not have. [`output`](Self::output) does not see a stdin, stdout or
    /// stderr that is set there.
    pub fn as_std_mut(&mut self) -> &mut process::Command {
        &mut self.std
    }

    /// Converts the builder into that of `std`.
    pub fn into_std(self) -> process::Command {
        self.std
    }

    /// Starts the program. Stdin, stdout and stderr are inherited unless they were set.
    ///
    /// Blocks the thread until the program has been loaded or that has failed, about a millisecond, and suspends no task.
    ///
    /// # Errors
    ///
    /// The error of the start: `NotFound` if there is no such program, `PermissionDenied` if it may not be executed. That of pipe(2) or
    /// fork(2) if no descriptor or process is left.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let child = self.std.spawn()?;
        Child::new(child, self.kill_on_drop)
    }

    /// Starts the program, waits for its end, and returns its exit status. Stdin, stdout and stderr are inherited unless they were set.
    ///
    /// Cancel safety: a cancelled call drops its child, which continues to run, or is killed after
    /// [`kill_on_drop`](Self::kill_on_drop). To wait again later, call [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Panics
    ///
    /// As [`Child::wait`] does.
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Starts the program, waits for its end, and returns its exit status and its output. Stdout and stderr are captured and stdin is
    /// empty, unless they were set.
    ///
    /// Cancel safety: as that of [`status`](Self::status). The output that was read is lost. To keep it, call [`spawn`](Self::spawn) and
    /// [`Child::wait_with_output`].
    ///
    /// # Errors
    ///
    /// The errors of [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// As [`Child::wait`] does.
    ///
    /// ```
    /// use cede::process::Command;
    /// use std::time::Duration;
    /// cede::run(|| {
    ///     let mut sleep = Command::new("sleep");
    ///     sleep.arg("60").kill_on_drop(true);
    ///     let late = cede::timeout(Duration::from_millis(20), || sleep.output()).unwrap_err();
    ///     assert_eq!(late.into_value().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// });
    /// ```
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        self.capture_unset(true);
        let child = self.spawn();
        // A later `spawn` of the same builder inherits.
        self.capture_unset(false);
        child?.wait_with_output()
    }

    /// Sets what the program has not set: to an empty stdin and captured outputs, or back to those of this process.
    fn capture_unset(&mut self, capture: bool) {
        let output = || if capture { Stdio::piped() } else { Stdio::inherit() };
        let [stdin, stdout, stderr] = self.is_set;
        if !stdin {
            self.std.stdin(if capture { Stdio::null() } else { Stdio::inherit() });
        }
        if !stdout {
            self.std.stdout(output());
        }
        if !stderr {
            self.std.stderr(output());
        }
    }
}
