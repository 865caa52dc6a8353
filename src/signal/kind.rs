//! Kinds of signals.

use std::fmt;

/// A kind of signal, by its number.
///
/// ```
/// use cede::signal::SignalKind;
/// assert_eq!(SignalKind::interrupt().as_raw_value(), 2);
/// assert_eq!(format!("{:?}", SignalKind::terminate()), "SIGTERM");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalKind(i32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:ident $alias:literal;)*) => {
        impl SignalKind {
            $($(#[$doc])*
            #[doc(alias = $alias)]
            pub const fn $name() -> SignalKind {
                SignalKind(libc::$number)
            })*
        }

        /// The names of the kinds that have a constructor.
        const NAMES: &[(i32, &str)] = &[$((libc::$number, $alias)),*];
    };
}

kinds! {
    /// Returns SIGALRM: a timer of alarm(2) or setitimer(2) has expired.
    alarm = SIGALRM "SIGALRM";
    /// Returns SIGCHLD: a child process has ended, stopped or continued.
    child = SIGCHLD "SIGCHLD";
    /// Returns SIGHUP: the terminal was closed. Many daemons read their configuration again.
    hangup = SIGHUP "SIGHUP";
    /// Returns SIGINT: Ctrl-C in the terminal.
    interrupt = SIGINT "SIGINT";
    /// Returns SIGIO: a descriptor with `O_ASYNC` is ready.
    io = SIGIO "SIGIO";
    /// Returns SIGPIPE: a write to a pipe or socket without a reader. A Rust program ignores it by default.
    pipe = SIGPIPE "SIGPIPE";
    /// Returns SIGQUIT: Ctrl-\ in the terminal.
    quit = SIGQUIT "SIGQUIT";
    /// Returns SIGTERM: the request to end, as of kill(1), of an init system or of a container.
    terminate = SIGTERM "SIGTERM";
    /// Returns SIGUSR1, whose meaning the program defines.
    user_defined1 = SIGUSR1 "SIGUSR1";
    /// Returns SIGUSR2, whose meaning the program defines.
    user_defined2 = SIGUSR2 "SIGUSR2";
    /// Returns SIGWINCH: the terminal has a new size.
    window_change = SIGWINCH "SIGWINCH";
}

impl SignalKind {
    /// Returns the kind with a number, for example of a real-time signal. [`on`](super::on) refuses a number that is no signal.
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// Returns the number of the signal.
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }
}

impl From<i32> for SignalKind {
    fn from(number: i32) -> SignalKind {
        SignalKind(number)
    }
}

impl From<SignalKind> for i32 {
    fn from(kind: SignalKind) -> i32 {
        kind.0
    }
}

impl fmt::Debug for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}
