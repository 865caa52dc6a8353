//! The areas and bodies that are measured, and their names on the command line, in the JSON lines and in the protocol.

use std::fmt;
use std::str::FromStr;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Area {
    /// Resume and suspend: a round trip with a u64 in and out.
    Switch,
    /// N tasks that yield in turn.
    Yield,
    /// Spawn, run and join.
    Spawn,
    /// The memory of a suspended task.
    Memory,
    /// Messages between tasks.
    Channel,
    /// Futures in synchronous code, and synchronous code as a future.
    Bridge,
    /// Bytes sent to a TCP server and returned.
    Echo,
    /// Requests of an HTTP server.
    Http,
}

impl Area {
    pub(crate) const ALL: [Area; 8] =
        [Area::Switch, Area::Yield, Area::Spawn, Area::Memory, Area::Channel, Area::Bridge, Area::Echo, Area::Http];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Area::Switch => "switch",
            Area::Yield => "yield",
            Area::Spawn => "spawn",
            Area::Memory => "memory",
            Area::Channel => "channel",
            Area::Bridge => "bridge",
            Area::Echo => "echo",
            Area::Http => "http",
        }
    }

    /// Describes one operation.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Area::Switch => "resume + suspend, a u64 in and out",
            Area::Yield => "one turn of one of N tasks",
            Area::Spawn => "spawn + run + join",
            Area::Memory => "resident memory and page tables of one suspended task",
            Area::Channel => "one message",
            Area::Bridge => "synchronous code waits for a future",
            Area::Echo => "a request of a TCP echo server",
            Area::Http => "a request of an HTTP server",
        }
    }

    pub(crate) fn unit(self, body: Body) -> &'static str {
        match (self, body) {
            (Area::Memory, _) | (_, Body::Idle | Body::Held) => "bytes",
            (_, Body::Calls) => "calls",
            _ => "ns",
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Area {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words = Area::ALL.map(Area::word).join(", ");
        Area::ALL
            .into_iter()
            .find(|area| area.word() == word)
            .ok_or(format!("no area {word:?}; there are {words}, all"))
    }
}

/// The work of a task in its turn, or of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// The only body of an area.
    Plain,
    /// Counts its turns in a variable that the compiler may keep in a register.
    Registers,
    /// Counts its turns in a volatile local variable, and so touches a cache line of its stack, or of the state that a rival
    /// has instead of a stack.
    Stack,
    /// Like `Stack`, with the run queue in random order.
    Shuffled,
    /// Returns requests of 64 bytes.
    Small,
    /// Returns requests of 16 KiB.
    Large,
    /// Accepts n connections at once, and returns a byte on each.
    Accept,
    /// Keeps n connections open, each after a request of 16 KiB. Measured is the memory.
    Idle,
    /// Returns requests of 64 bytes. Measured are the system calls.
    Calls,
    /// Like `Registers`, beside a task that waits for a connection.
    Listener,
    /// Waits for a future that is ready.
    Ready,
    /// Waits for a future that is pending once. A loop polls, without a wake.
    Pending,
    /// Waits for a future that is pending once and wakes its executor at once.
    Woken,
    /// Makes a future out of synchronous code, completes it in one poll and drops it.
    Made,
    /// In a local task, makes a future out of synchronous code that waits ten calls deep for a future as in `Woken`.
    Answer,
    /// Like `Answer`, in a task that also yields each time.
    Between,
    /// Takes an item of a stream.
    Item,
    /// Holds n suspended futures of synchronous code. Measured is the memory.
    Held,
}

impl Body {
    pub(crate) const ALL: [Body; 18] = [
        Body::Plain,
        Body::Registers,
        Body::Stack,
        Body::Shuffled,
        Body::Small,
        Body::Large,
        Body::Accept,
        Body::Idle,
        Body::Calls,
        Body::Listener,
        Body::Ready,
        Body::Pending,
        Body::Woken,
        Body::Made,
        Body::Answer,
        Body::Between,
        Body::Item,
        Body::Held,
    ];
    /// The bodies of the area `bridge` that are timed.
    pub(crate) const OF_BRIDGE: [Body; 7] =
        [Body::Ready, Body::Pending, Body::Woken, Body::Made, Body::Answer, Body::Between, Body::Item];
    /// The bodies of tasks that yield.
    pub(crate) const OF_TURNS: [Body; 3] = [Body::Registers, Body::Stack, Body::Shuffled];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Body::Plain => "plain",
            Body::Registers => "registers",
            Body::Stack => "stack",
            Body::Shuffled => "shuffled",
            Body::Small => "64-B",
            Body::Large => "16-KiB",
            Body::Accept => "accept",
            Body::Idle => "idle",
            Body::Calls => "calls",
            Body::Listener => "listener",
            Body::Ready => "ready",
            Body::Pending => "pending",
            Body::Woken => "woken",
            Body::Made => "made",
            Body::Answer => "answer",
            Body::Between => "between",
            Body::Item => "item",
            Body::Held => "held",
        }
    }
}

impl FromStr for Body {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Body::ALL.into_iter().find(|body| body.word() == word).ok_or(format!("no body {word:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_name() {
        for area in Area::ALL {
            assert_eq!(area.word().parse(), Ok(area));
        }
        for body in Body::ALL {
            assert_eq!(body.word().parse(), Ok(body));
        }
        let error = "yeild".parse::<Area>().unwrap_err();
        assert!(error.contains("\"yeild\"") && error.contains("switch, yield"), "{error}");
    }
}
