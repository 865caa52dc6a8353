//! The rules for one host: its limits, its robots.txt, and the retries.

use crate::fetch::{Page, get};
use crate::robots::Rules;
use cede::sync::{Mutex, Semaphore};
use cede::time::{now, sleep, sleep_until};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The largest number of requests to a host at the same time.
const REQUESTS: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(2);
/// The number of attempts, and the delay before the second one. Each further delay is twice as long.
const ATTEMPTS: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The requests to all hosts together.
pub(crate) struct Total {
    permits: Semaphore,
    running: Cell<usize>,
    /// The largest number of requests at the same time, in total and to one host.
    pub(crate) most: Cell<usize>,
    pub(crate) most_of_a_host: Cell<usize>,
}

impl Total {
    /// Creates the limit for the requests to all hosts together.
    pub(crate) fn new(limit: usize) -> Total {
        let permits = Semaphore::bounded(limit);
        Total { permits, running: Cell::new(0), most: Cell::new(0), most_of_a_host: Cell::new(0) }
    }
}

/// A host, shared by the tasks that fetch its pages.
pub(crate) struct Host<'a> {
    name: &'static str,
    address: SocketAddr,
    total: &'a Total,
    running: Cell<usize>,
    own: Semaphore,
    /// The time before which no request may begin.
    next: Cell<Instant>,
    /// Present after the first page's task has fetched them. The other tasks wait for the lock.
    rules: Mutex<Option<Rules>>,
}

/// The outcome of a visit to a page.
pub(crate) enum Outcome {
    Fetched(Page),
    /// The host does not want the page to be fetched.
    Forbidden,
    /// The error of the last attempt.
    Failed(io::Error),
}

impl<'a> Host<'a> {
    /// Creates a host. `total` limits the requests to all hosts together.
    pub(crate) fn new(name: &'static str, address: SocketAddr, total: &'a Total) -> Host<'a> {
        Host {
            name,
            address,
            total,
            running: Cell::new(0),
            own: Semaphore::bounded(REQUESTS),
            next: Cell::new(now()),
            rules: Mutex::new(None),
        }
    }

    /// Fetches a page if the rules of the host allow it. `note` receives the reason of each retry.
    pub(crate) fn visit(&self, path: &str, note: impl Fn(String)) -> Outcome {
        let outcome = self.rules(&note).and_then(|rules| {
            if rules.forbid(path) {
                return Ok(Outcome::Forbidden);
            }
            self.fetch(path, rules.delay, &note).map(|(page, _)| Outcome::Fetched(page))
        });
        outcome.unwrap_or_else(Outcome::Failed)
    }

    /// Returns the rules of robots.txt, which the first call fetches.
    fn rules(&self, note: &impl Fn(String)) -> io::Result<Rules> {
        let mut rules = self.rules.lock().map_err(io::Error::other)?;
        if let Some(rules) = &*rules {
            return Ok(rules.clone());
        }
        let (page, text) = self.fetch("/robots.txt", Duration::ZERO, note)?;
        // Without a robots.txt all pages are allowed.
        let fetched = if page.status == 200 { Rules::parse(&text) } else { Rules::default() };
        Ok(rules.insert(fetched).clone())
    }

    /// Fetches a page. Tries again after an error that may pass.
    fn fetch(&self, path: &str, delay: Duration, note: &impl Fn(String)) -> io::Result<(Page, String)> {
        let mut pause = FIRST_DELAY;
        for attempt in 1.. {
            let error = match self.attempt(path, delay) {
                Ok((page, text)) if page.status < 500 => return Ok((page, text)),
                Ok((page, _)) => io::Error::other(format!("status {}", page.status)),
                Err(error) => error,
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            note(format!("{error}; {path} again in {} ms", pause.as_millis()));
            sleep(pause).map_err(io::Error::other)?; // holds no permit
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// Makes one request, within the limits of the host and of the crawler.
    fn attempt(&self, path: &str, delay: Duration) -> io::Result<(Page, String)> {
        let _own = self.own.acquire().map_err(io::Error::other)?;
        let start = self.next.get().max(now());
        self.next.set(start + delay);
        sleep_until(start).map_err(io::Error::other)?;
        // Last, so that a request that waits for its host keeps no other host waiting.
        let _total = self.total.permits.acquire().map_err(io::Error::other)?;
        self.count(1);
        let page = cede::timeout(TIMEOUT, || get(self.address, self.name, path));
        self.count(-1);
        page.unwrap_or_else(|late| late.into_value())
    }

    fn count(&self, change: isize) {
        for (running, most) in [(&self.running, &self.total.most_of_a_host), (&self.total.running, &self.total.most)] {
            running.set(running.get().saturating_add_signed(change));
            most.set(most.get().max(running.get()));
        }
    }
}
