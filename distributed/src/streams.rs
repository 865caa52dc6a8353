//! A broker over Redis Streams.
//!
//! A run has three keys. `jobs` is a stream with the jobs that no worker has answered; its consumer group delivers them. `answers` is a
//! stream with the answers that the coordinator has not taken. `state` holds the number of the coordinator, and "over" after
//! the end. All of them expire, so a coordinator that dies leaves nothing behind.
//!
//! Only `set_up` makes the streams: an answer that comes after the end of a run must not make a stream that no process removes.

use crate::broker::{Broker, Source, Stored, Taken, Ticket};
use crate::connection::Connection;
use crate::job::{Answer, Job};
use redis::streams::{StreamAutoClaimReply, StreamId, StreamPendingCountReply, StreamReadReply};
use redis::{Cmd, FromRedisValue, RedisError, Value, cmd, pipe};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// The consumer group of the workers.
const GROUP: &str = "workers";
/// The field of an entry that holds the packed message.
const FIELD: &str = "m";
/// The value of `state` after the end of a run.
const OVER: &str = "over";
/// The lifetime of the keys after the last call of `set_up`, and of the state after the end, in seconds.
const LIFETIME: u64 = 600;
/// The number of answers that are taken at once.
const BATCH: usize = 16;
/// The number of entries about which `stored` asks: more than any window.
const ALL: usize = 1 << 20;
/// The time between two looks at a run that has not begun.
const PAUSE: Duration = Duration::from_millis(100);
/// Returns the identifiers of all entries of a stream, without their messages.
const IDS: &str = "local ids = {} \
                   for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do ids[#ids + 1] = entry[1] end \
                   return ids";

/// A connection to a Redis server over a stream of bytes, such as a [`TcpStream`](cede::net::TcpStream).
pub struct Streams<S> {
    connection: Connection<S>,
    /// The name of this connection among those of the workers.
    consumer: String,
    claim_after: Duration,
    next_claim: Instant,
    jobs: String,
    answers: String,
    state: String,
}

impl<S> fmt::Debug for Streams<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("jobs", &self.jobs).field("consumer", &self.consumer).finish_non_exhaustive()
    }
}

impl<S: Read + Write> Streams<S> {
    /// Creates a connection for one run, over a stream that is connected to a server. A job whose worker is silent for `claim_after` is
    /// delivered again.
    pub fn new(stream: S, run: &str, claim_after: Duration) -> Streams<S> {
        // The number is the version of the messages: other versions of the program do not meet.
        let key = |name: &str| format!("dgrep:1:{{{run}}}:{name}");
        Streams {
            connection: Connection::new(stream),
            consumer: format!("{:016x}", crate::random()),
            claim_after,
            next_claim: Instant::now(),
            jobs: key("jobs"),
            answers: key("answers"),
            state: key("state"),
        }
    }

    fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        command.query(&mut self.connection)
    }

    /// Returns a job whose worker has died. Asks now and then, because it costs as much as an empty read.
    fn claim(&mut self) -> Result<Option<StreamId>, RedisError> {
        if Instant::now() < self.next_claim {
            return Ok(None);
        }
        let mut cursor = "0-0".to_owned();
        loop {
            let mut claim = cmd("XAUTOCLAIM");
            claim.arg(&self.jobs).arg(GROUP).arg(&self.consumer).arg(milliseconds(self.claim_after));
            let reply: StreamAutoClaimReply = self.query(claim.arg(&cursor).arg("COUNT").arg(1))?;
            if let Some(entry) = reply.claimed.into_iter().next() {
                return Ok(Some(entry));
            }
            cursor = reply.next_stream_id;
            if cursor == "0-0" {
                self.next_claim = Instant::now() + self.claim_after / 8;
                return Ok(None);
            }
        }
    }

    /// Returns a job that no worker has had.
    fn read_new(&mut self, wait: Duration) -> Result<Option<StreamId>, RedisError> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(1);
        block(&mut read, wait);
        let reply: Option<StreamReadReply> = self.query(read.arg("STREAMS").arg(&self.jobs).arg(">"))?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).next())
    }

    fn claim_or_read(&mut self, source: Source, wait: Duration) -> Result<Option<StreamId>, RedisError> {
        // Claims first: while new jobs come without an end, the oldest must not wait, because the whole window waits for it.
        let claimed = if source == Source::LostFirst { self.claim()? } else { None };
        match claimed {
            Some(entry) => Ok(Some(entry)),
            None => self.read_new(wait),
        }
    }

    fn make_stream(&mut self, key: &str) -> io::Result<()> {
        let made: Result<Value, RedisError> =
            self.query(cmd("XGROUP").arg("CREATE").arg(key).arg(GROUP).arg("0").arg("MKSTREAM"));
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

impl<S: Read + Write> Broker for Streams<S> {
    fn set_up(&mut self, coordinator: u64) -> io::Result<()> {
        let (jobs, answers, state) = (self.jobs.clone(), self.answers.clone(), self.state.clone());
        let coordinator = format!("{coordinator:016x}");
        let mut own = cmd("SET");
        own.arg(&state).arg(&coordinator).arg("NX").arg("EX").arg(LIFETIME);
        let is_new: Option<String> = self.query(&own).map_err(failed)?;
        if is_new.is_some() {
            // The coordinator before has died. Its jobs would cost work, and one of them may kill workers.
            self.query::<()>(cmd("DEL").arg(&jobs).arg(&answers)).map_err(failed)?;
        } else {
            let owner: Option<String> = self.query(cmd("GET").arg(&state)).map_err(failed)?;
            if owner.as_deref() != Some(&coordinator) {
                let reason = if owner.as_deref() == Some(OVER) { "has ended" } else { "has another coordinator" };
                let text = format!("the run {reason}: take another name, or wait for {LIFETIME} s");
                return Err(io::Error::new(ErrorKind::AlreadyExists, text));
            }
        }
        self.make_stream(&jobs)?;
        self.make_stream(&answers)?;
        let mut expire = pipe();
        for key in [&jobs, &answers, &state] {
            expire.cmd("EXPIRE").arg(key).arg(LIFETIME).ignore();
        }
        expire.exec(&mut self.connection).map_err(failed)
    }

    fn push(&mut self, jobs: &[Job]) -> io::Result<Vec<Ticket>> {
        let mut push = pipe();
        for job in jobs {
            push.cmd("XADD").arg(&self.jobs).arg("NOMKSTREAM").arg("*").arg(FIELD).arg(job.pack());
        }
        let ids: Vec<Option<String>> = push.query(&mut self.connection).map_err(failed)?;
        let lost = || io::Error::new(ErrorKind::NotFound, "the queue of jobs is gone");
        ids.into_iter().map(|id| id.map(Ticket).ok_or_else(lost)).collect()
    }

    fn answers(&mut self, wait: Duration) -> io::Result<Vec<Answer>> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(BATCH);
        block(&mut read, wait);
        // From the start, because what was taken is deleted.
        let reply: Option<StreamReadReply> =
            self.query(read.arg("STREAMS").arg(&self.answers).arg("0")).map_err(failed)?;
        let entries: Vec<StreamId> = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect();
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut delete = cmd("XDEL");
        delete.arg(&self.answers).arg(entries.iter().map(|entry| &entry.id[..]).collect::<Vec<_>>());
        self.query::<()>(&delete).map_err(failed)?;
        entries.iter().map(|entry| Answer::unpack(&message(entry)?)).collect()
    }

    fn stored(&mut self) -> io::Result<Vec<Stored>> {
        let mut ask = pipe();
        ask.atomic().cmd("EVAL").arg(IDS).arg(1).arg(&self.jobs);
        ask.cmd("XPENDING").arg(&self.jobs).arg(GROUP).arg("-").arg("+").arg(ALL);
        let (ids, pending): (Vec<String>, StreamPendingCountReply) = ask.query(&mut self.connection).map_err(failed)?;
        let entry = |id: String| {
            let about = pending.ids.iter().find(|about| about.id == id);
            Stored {
                ticket: Ticket(id),
                deliveries: about.map_or(0, |about| about.times_delivered as u64),
                idle: Duration::from_millis(about.map_or(0, |about| about.last_delivered_ms as u64)),
            }
        };
        Ok(ids.into_iter().map(entry).collect())
    }

    fn tear_down(&mut self) -> io::Result<()> {
        let mut end = pipe();
        end.atomic().cmd("DEL").arg(&self.jobs).arg(&self.answers);
        end.cmd("SET").arg(&self.state).arg(OVER).arg("EX").arg(LIFETIME);
        end.exec(&mut self.connection).map_err(failed)
    }

    fn take(&mut self, source: Source, wait: Duration) -> io::Result<Taken> {
        match self.claim_or_read(source, wait) {
            Ok(Some(entry)) => Ok(Taken::Job(Ticket(entry.id.clone()), Job::unpack(&message(&entry)?)?)),
            Ok(None) => Ok(Taken::Nothing),
            // There is no queue: before the run, after it, or because the broker has lost it. The second code ends a read that waits.
            Err(error) if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                let state: Option<String> = self.query(cmd("GET").arg(&self.state)).map_err(failed)?;
                if state.as_deref() == Some(OVER) {
                    return Ok(Taken::Over);
                }
                cede::time::sleep(PAUSE).map_err(io::Error::other)?;
                Ok(Taken::Nothing)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn extend(&mut self, tickets: &[Ticket]) -> io::Result<()> {
        let mut claim = cmd("XCLAIM");
        claim.arg(&self.jobs).arg(GROUP).arg(&self.consumer).arg(0);
        // Without a new delivery in its count.
        claim.arg(tickets.iter().map(|ticket| &ticket.0[..]).collect::<Vec<_>>()).arg("JUSTID");
        self.query::<()>(&claim).map_err(failed)
    }

    fn answer(&mut self, ticket: &Ticket, answer: &Answer) -> io::Result<()> {
        let mut step = pipe();
        step.atomic().cmd("XADD").arg(&self.answers).arg("NOMKSTREAM").arg("*").arg(FIELD).arg(answer.pack());
        step.cmd("XACK").arg(&self.jobs).arg(GROUP).arg(&ticket.0);
        step.cmd("XDEL").arg(&self.jobs).arg(&ticket.0);
        step.exec(&mut self.connection).map_err(failed)
    }
}

/// Adds the time for which a read waits. The server takes 0 for an unlimited time.
fn block(read: &mut Cmd, wait: Duration) {
    if !wait.is_zero() {
        read.arg("BLOCK").arg(milliseconds(wait).max(1));
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn message(entry: &StreamId) -> io::Result<Vec<u8>> {
    entry.get(FIELD).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "an entry of the stream has no message"))
}

fn failed(error: RedisError) -> io::Error {
    io::Error::other(error)
}
