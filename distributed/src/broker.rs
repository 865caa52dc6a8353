//! The broker, which carries jobs to workers and their answers back.

use crate::job::{Answer, Job};
use std::io;
use std::time::Duration;

/// The name by which a broker knows a job that it stores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub String);

/// The result of [`Broker::take`].
#[derive(Debug)]
pub enum Taken {
    /// A job, which the broker delivers again if neither an answer nor [`Broker::extend`] comes in time.
    Job(Ticket, Job),
    /// No job within the time.
    Nothing,
    /// The run has ended.
    Over,
}

/// The jobs that [`Broker::take`] delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Jobs that no worker has had.
    New,
    /// Jobs whose worker has died, and only then new ones.
    LostFirst,
}

/// A job that the broker stores, because no worker has answered it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The job.
    pub ticket: Ticket,
    /// The number of deliveries to workers.
    pub deliveries: u64,
    /// The time since the last delivery, or since the last [`Broker::extend`].
    pub idle: Duration,
}

/// A connection to a broker of jobs, for one run.
///
/// The broker delivers each job at least once, while it runs and keeps what it stores. The coordinator makes up for the rest.
/// Every call waits for the broker, and returns an I/O error if the connection fails. Then the call may have had its effect
/// or not. A call that is repeated after that does no harm.
pub trait Broker {
    /// Makes the queues of the run for a coordinator, or keeps them and extends their lifetime. The coordinator calls this at the start, on
    /// each new connection, and once a second.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the run has ended, or has another coordinator.
    fn set_up(&mut self, coordinator: u64) -> io::Result<()>;

    /// Stores jobs, and returns a ticket for each.
    ///
    /// # Errors
    ///
    /// `NotFound` if the broker has lost the queues.
    fn push(&mut self, jobs: &[Job]) -> io::Result<Vec<Ticket>>;

    /// Takes answers, in any order. Waits for the first of them until `wait` has passed.
    fn answers(&mut self, wait: Duration) -> io::Result<Vec<Answer>>;

    /// Returns the jobs without an answer.
    fn stored(&mut self) -> io::Result<Vec<Stored>>;

    /// Removes the queues, and tells the workers that the run has ended.
    fn tear_down(&mut self) -> io::Result<()>;

    /// Takes a job for a worker. Waits for it until `wait` has passed.
    fn take(&mut self, source: Source, wait: Duration) -> io::Result<Taken>;

    /// Tells the broker that workers still work on these jobs.
    fn extend(&mut self, tickets: &[Ticket]) -> io::Result<()>;

    /// Stores an answer and removes its job, in one step.
    fn answer(&mut self, ticket: &Ticket, answer: &Answer) -> io::Result<()>;
}
