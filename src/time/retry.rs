//! Repeated attempts, with growing delays between them.

use super::sleep;
use crate::wait::{rng, worker};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The delays between the attempts of [`retry`]: an iterator that doubles its delay, up to a limit.
///
/// Each delay is drawn at random between its half and its whole (jitter), so that clients that failed together do not come back together.
/// The source of this rule is "Exponential Backoff And Jitter" of the AWS Architecture Blog (2015), where it is called "equal jitter". In a
/// run with a [seed](crate::Config::seed), the delays follow from the seed.
///
/// ```
/// use std::time::Duration;
/// let delays = cede::time::Backoff::new(Duration::from_millis(100)).max_delay(Duration::from_millis(500)).attempts(5).jitter(false);
/// assert_eq!(delays.map(|delay| delay.as_millis()).collect::<Vec<_>>(), [100, 200, 400, 500]);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a backoff has an effect in `retry` only"]
pub struct Backoff {
    next: Duration,
    max_delay: Duration,
    /// The number of delays that are left; `None` if they have no end.
    left: Option<u32>,
    jitter: bool,
}

impl Backoff {
    /// Creates delays that begin with `first`, have no end, and are at most 30 seconds long.
    pub fn new(first: Duration) -> Backoff {
        Backoff { next: first, max_delay: Duration::from_secs(30), left: None, jitter: true }
    }

    /// Sets the longest delay.
    pub fn max_delay(mut self, max_delay: Duration) -> Backoff {
        self.max_delay = max_delay;
        self
    }

    /// Sets the number of attempts, so there is one delay fewer.
    ///
    /// # Panics
    ///
    /// If `attempts` is zero: [`retry`] always makes a first attempt.
    #[track_caller]
    pub fn attempts(mut self, attempts: u32) -> Backoff {
        assert!(attempts > 0, "Backoff: there must be at least one attempt");
        self.left = Some(attempts - 1);
        self
    }

    /// Sets whether a delay is drawn at random between its half and its whole. The default is true.
    pub fn jitter(mut self, jitter: bool) -> Backoff {
        self.jitter = jitter;
        self
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = match self.left {
            Some(0) => return None,
            left => left.map(|left| left - 1),
        };
        let delay = self.next.min(self.max_delay);
        self.next = delay.saturating_mul(2);
        Some(if self.jitter { delay / 2 + share(delay / 2) } else { delay })
    }
}

/// Returns a random part of `whole`.
fn share(whole: Duration) -> Duration {
    let random = match worker() {
        Some(worker) if worker.has_seed() => rng::xorshift64_star(&worker.random),
        // Has keys of its own in each process and for each call, unlike the generator of a run without a seed.
        _ => RandomState::new().build_hasher().finish(),
    };
    whole.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

/// The error of [`retry`], with the error of the last attempt.
#[derive(Debug)]
pub enum RetryError<E> {
    /// All attempts have failed, or the error of the last one was permanent.
    Failed {
        /// The number of attempts.
        attempts: u32,
        /// The error of the last attempt.
        error: E,
    },
    /// The delay before the next attempt was cancelled.
    Cancelled {
        /// The number of attempts.
        attempts: u32,
        /// The error of the last attempt.
        error: E,
    },
}

impl<E> RetryError<E> {
    /// Returns the error of the last attempt.
    pub fn into_inner(self) -> E {
        match self {
            RetryError::Failed { error, .. } | RetryError::Cancelled { error, .. } => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (attempts, error, end) = match self {
            RetryError::Failed { attempts, error } => (attempts, error, "failed"),
            RetryError::Cancelled { attempts, error } => (attempts, error, "cancelled"),
        };
        let s = if *attempts == 1 { "" } else { "s" };
        write!(f, "{end} after {attempts} attempt{s}; the last one: {error}")
    }
}

impl<E: std::error::Error + 'static> std::error::Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RetryError::Failed { error, .. } | RetryError::Cancelled { error, .. } => Some(error),
        }
    }
}

/// Calls `attempt` until it succeeds, and sleeps between two calls for the delays of `backoff`.
///
/// # Errors
///
/// [`RetryError::Failed`] after the last attempt. [`RetryError::Cancelled`] if the task is cancelled, or a deadline or scope around the call
/// ends, during a delay. Both hold the error of the last attempt.
///
/// # Panics
///
/// The panics of [`sleep`].
///
/// ```
/// use cede::time::{Backoff, retry};
/// use std::time::Duration;
///
/// let mut calls = 0;
/// let value = cede::Config::new().paused_clock(true).run(|| {
///     retry(Backoff::new(Duration::from_millis(100)).attempts(5), || {
///         calls += 1;
///         if calls < 3 { Err("refused") } else { Ok("connected") }
///     })
/// }).unwrap();
/// assert_eq!((value.unwrap(), calls), ("connected", 3));
/// ```
#[track_caller]
pub fn retry<T, E>(
    backoff: impl IntoIterator<Item = Duration>,
    attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, RetryError<E>> {
    retry_if(backoff, |_| true, attempt)
}

/// Like [`retry`], but only while `is_transient` returns true for the error of the last attempt.
///
/// # Errors
///
/// As [`retry`]; [`RetryError::Failed`] also for an error that is not transient.
///
/// # Panics
///
/// The panics of [`sleep`].
///
/// ```
/// use cede::time::{Backoff, RetryError, retry_if};
/// use std::time::Duration;
///
/// let backoff = Backoff::new(Duration::from_millis(100));
/// let result: Result<(), _> = cede::run(|| retry_if(backoff, |status| *status >= 500, || Err(404)));
/// assert!(matches!(result, Err(RetryError::Failed { attempts: 1, error: 404 })));
/// ```
#[track_caller]
pub fn retry_if<T, E>(
    backoff: impl IntoIterator<Item = Duration>,
    mut is_transient: impl FnMut(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, RetryError<E>> {
    let mut delays = backoff.into_iter();
    let mut attempts = 0;
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        attempts += 1;
        match delays.next().filter(|_| is_transient(&error)) {
            None => return Err(RetryError::Failed { attempts, error }),
            Some(delay) if sleep(delay).is_err() => return Err(RetryError::Cancelled { attempts, error }),
            Some(_) => {}
        }
    }
}
