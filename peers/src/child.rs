//! The parent's side: runs each rival in a child process, which is pinned, watched, and asked for one round at a time.
//!
//! The parent kills a child that uses more than `MOST_MEMORY`, leaves less than `LEAST_LEFT` to the machine, or does not answer
//! for too long. A child dies with its parent, even if the parent is killed.

use crate::area::{Area, Body};
use crate::foreign::{Found, Tools};
use crate::rivals::{Rival, Start};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
const MOST_MEMORY: u64 = 8 * GIB;
const LEAST_LEFT: u64 = 3 * GIB;
/// The longest time in which a child must answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The interval between two checks of the child's memory.
const GLANCE: Duration = Duration::from_millis(20);

/// A running rival.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    words: Option<thread::JoinHandle<String>>,
}

/// The memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// Resident bytes.
    pub(crate) resident: u64,
    /// Bytes of page tables.
    pub(crate) page_tables: u64,
    /// Mappings.
    pub(crate) mappings: u64,
}

/// Returns the command that starts a rival, or the reason why it cannot be started.
pub(crate) fn find(rival: &Rival, tools: &Tools) -> Result<Found, String> {
    match rival.start {
        Start::Foreign(find) => find(tools),
        Start::Own(_) => {
            let command = own_command(&["child".to_string(), rival.name.to_string()])?;
            Ok(Found { command, version: String::new() })
        }
    }
}

/// Returns the command that starts this program with these arguments.
pub(crate) fn own_command(arguments: &[String]) -> Result<Vec<OsString>, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    Ok([own.into_os_string()].into_iter().chain(arguments.iter().map(OsString::from)).collect())
}

impl Child {
    /// Starts a rival and waits until it is ready.
    pub(crate) fn start(found: &Found, area: Area, n: u64, core: Option<usize>) -> Result<Self, String> {
        let arguments = [area.word().into(), n.to_string().into()];
        let mut child = Child::launch(&[&found.command[..], &arguments].concat(), core)?;
        child.ready()?;
        Ok(child)
    }

    /// Starts a program, and does not wait for it.
    pub(crate) fn launch(words: &[OsString], core: Option<usize>) -> Result<Self, String> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A backtrace takes memory. A child that panics because it has no memory left would hang in it.
        command.env("RUST_BACKTRACE", "0");
        let mut process = pin(&mut command, core).spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let (input, output, errors) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (sender, lines) = channel();
        let output = BufReader::new(output.expect("piped"));
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut errors = errors.expect("piped");
        let words = thread::spawn(move || last_words(&mut errors));
        Ok(Child { process, input, lines, words: Some(words) })
    }

    /// Waits until the child is ready.
    pub(crate) fn ready(&mut self) -> Result<(), String> {
        match self.line()?.as_str() {
            "ready" => Ok(()),
            line => Err(line.strip_prefix("error ").unwrap_or(line).to_string()),
        }
    }

    /// Returns the port of a server, from a line of the protocol, or of an example of cede.
    pub(crate) fn port(&mut self) -> Result<u16, String> {
        let line = self.line()?;
        let port = line.strip_prefix("port ").or(line.strip_prefix("listening on 127.0.0.1:"));
        let port = port.and_then(|port| port.trim().parse().ok());
        port.ok_or(format!("it answered {line:?} instead of its port"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the CPU time of all threads of the child, those that have ended included.
    pub(crate) fn cpu_time(&mut self) -> Result<Duration, String> {
        if let Ok(Some(_)) = self.process.try_wait() {
            return Err(self.cause_of_death());
        }
        cpu_time(self.process.id()).ok_or(format!("the kernel has no CPU clock of process {}", self.process.id()))
    }

    /// Asks for `count` operations per task. Returns their total time in nanoseconds and their number.
    pub(crate) fn ask(&mut self, body: Body, count: u64) -> Result<(f64, f64), String> {
        self.tell(&format!("{} {count}", body.word()))?;
        let line = self.line()?;
        parse_answer(&line)
    }

    /// Makes the child hold n suspended tasks. Returns their memory, their number, and why they are fewer than n, if they are.
    pub(crate) fn hold(&mut self, n: u64) -> Result<(Memory, u64, Option<String>), String> {
        let before = self.memory();
        self.tell("hold")?;
        let mut at = 0;
        loop {
            let line = self.line().map_err(|why| format!("after {at} or more: {why}"))?;
            if let Some(k) = line.strip_prefix("at ") {
                at = k.trim().parse().unwrap_or(at);
            } else if let Some(held) = line.strip_prefix("held ") {
                let (held, why) = held.split_once(' ').unwrap_or((held, ""));
                let held = held.parse().map_err(|_| format!("it answered {line:?}"))?;
                let after = self.memory();
                let why = (held < n).then(|| if why.is_empty() { "no word why".into() } else { why.to_string() });
                return Ok((after.beyond(before), held, why));
            } else {
                return Err(line.strip_prefix("error ").unwrap_or(&line).to_string());
            }
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        let about = |name| std::fs::read_to_string(format!("/proc/{}/{name}", self.process.id())).unwrap_or_default();
        memory(&about("status"), &about("maps"))
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().expect("open until it is dropped");
        // A write to a dead child fails. The next call of `line` then returns the cause.
        let _ = writeln!(input, "{line}").and_then(|()| input.flush());
        Ok(())
    }

    /// Returns the next line of the child, or the reason why it died or must be killed.
    fn line(&mut self) -> Result<String, String> {
        let since = Instant::now();
        loop {
            match self.lines.recv_timeout(GLANCE) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.cause_of_death()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let left = memory_available();
            if resident(self.process.id()) > MOST_MEMORY {
                return Err(format!("ended when it had {} GiB of memory", MOST_MEMORY / GIB));
            } else if left < LEAST_LEFT {
                return Err(format!("ended when {} MiB of the machine's memory were left", left >> 20));
            } else if since.elapsed() > PATIENCE {
                return Err(format!("ended when it had not answered for {} s", PATIENCE.as_secs()));
            }
        }
    }

    fn cause_of_death(&mut self) -> String {
        let status = self.process.wait();
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        let how = match status {
            Ok(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("died of signal {signal}"),
                (None, code) => format!("ended with status {}", code.unwrap_or(0)),
            },
            Err(error) => format!("ended: {error}"),
        };
        if words.is_empty() { how } else { format!("{how}: {words}") }
    }
}

impl Drop for Child {
    /// Closes the input of the child and kills it. The child need not clean up.
    fn drop(&mut self) {
        self.input.take();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Pins a command to a core, and prepares it like every child.
pub(crate) fn pin(command: &mut Command, core: Option<usize>) -> &mut Command {
    // SAFETY: `prepare` makes only system calls that are allowed between fork and exec. It does not allocate.
    unsafe { command.pre_exec(move || prepare(core)) }
}

/// Pins the child to a core, allows it as many descriptors as it may have, and makes it die with its parent. Runs in the child
/// between fork and exec.
fn prepare(core: Option<usize>) -> std::io::Result<()> {
    // SAFETY: `set` and `limit` are local variables, which outlive the system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        if let Some(core) = core {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            // If pinning is not allowed, the child runs unpinned.
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        }
    }
    Ok(())
}

/// Returns the cores that this process may use, or none if the system does not tell.
pub(crate) fn cores() -> Vec<usize> {
    // SAFETY: all zeros are a valid `cpu_set_t`, and the call fills the local set.
    let allowed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: `core` is less than `CPU_SETSIZE`.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &allowed) }).collect()
}

/// Returns the core to which children are pinned: the last core that this process may use.
pub(crate) fn core_to_pin() -> Option<usize> {
    cores().pop()
}

/// Returns the CPU time of a process.
fn cpu_time(pid: u32) -> Option<Duration> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a local variable, which outlives the call.
    let known = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } == 0;
    read_clock(clock).filter(|_| known)
}

fn read_clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a local variable, which outlives the call.
    let known = unsafe { libc::clock_gettime(clock, &raw mut time) } == 0;
    known.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Reads the errors of the child to their end. Returns the most informative line: the message of a panic, or the last line.
fn last_words(errors: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = errors.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
        let surplus = text.len().saturating_sub(16 * 1024);
        text.drain(..surplus);
    }
    said(&String::from_utf8_lossy(&text))
}

fn said(text: &str) -> String {
    let telling = |line: &&str| !line.trim().is_empty() && !line.starts_with("note: ");
    let panicked = text.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    let line = panicked.or(text.lines().rev().find(telling)).unwrap_or_default().trim();
    line.chars().take(160).collect()
}

fn parse_answer(line: &str) -> Result<(f64, f64), String> {
    let figures = line.split_once(' ').and_then(|(nanos, operations)| {
        let figures = (nanos.parse::<f64>().ok()?, operations.trim().parse::<f64>().ok()?);
        (figures.1 > 0.0).then_some(figures)
    });
    figures.ok_or_else(|| line.strip_prefix("error ").map_or(format!("it answered {line:?}"), str::to_string))
}

fn memory(status: &str, maps: &str) -> Memory {
    let bytes = |name| figure(status, name) * 1024;
    Memory { resident: bytes("VmRSS:"), page_tables: bytes("VmPTE:"), mappings: maps.lines().count() as u64 }
}

impl Memory {
    pub(crate) fn beyond(self, before: Memory) -> Memory {
        Memory {
            resident: self.resident.saturating_sub(before.resident),
            page_tables: self.page_tables.saturating_sub(before.page_tables),
            mappings: self.mappings.saturating_sub(before.mappings),
        }
    }
}

/// Returns the figure after a name in a file of /proc, or 0.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn resident(pid: u32) -> u64 {
    figure(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmRSS:") * 1024
}

/// Returns the bytes of memory that are available to processes. If unknown, `u64::MAX`, so that no child is killed for it.
fn memory_available() -> u64 {
    match std::fs::read_to_string("/proc/meminfo") {
        Ok(text) => figure(&text, "MemAvailable:") * 1024,
        Err(_) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Found {
        Found { command: ["sh", "-c", script].map(OsString::from).to_vec(), version: String::new() }
    }

    #[test]
    fn a_child_answers_or_says_why_not() {
        let found = shell("echo ready; read a; echo 500 10; read a; echo error no more");
        let mut child = Child::start(&found, Area::Switch, 1, core_to_pin()).unwrap();
        assert_eq!(child.ask(Body::Plain, 10), Ok((500.0, 10.0)));
        assert_eq!(child.ask(Body::Plain, 10), Err("no more".into()));
        let error = Child::start(&shell("echo error no such area"), Area::Echo, 1, None).unwrap_err();
        assert_eq!(error, "no such area");
    }

    #[test]
    fn the_death_of_a_child_is_told_with_its_last_words() {
        let error = Child::start(&shell("echo out of stacks >&2; kill -9 $$"), Area::Switch, 1, None).unwrap_err();
        assert_eq!(error, "died of signal 9: out of stacks");
        let error = Child::start(&shell("exit 3"), Area::Switch, 1, None).unwrap_err();
        assert_eq!(error, "ended with status 3");
        let panic = "\nthread 'main' panicked at src/main.rs:1:1:\nno stack\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(said(panic), "no stack");
    }

    #[test]
    fn holding_fewer_than_asked_has_a_reason() {
        let held = |script: &str| Child::start(&shell(script), Area::Memory, 10, None).unwrap().hold(10);
        let (_, k, why) = held("echo ready; read a; echo at 0; echo held 7 no memory; read a").unwrap();
        assert_eq!((k, why.as_deref()), (7, Some("no memory")));
        let (_, k, why) = held("echo ready; read a; echo 'held 10 '; read a").unwrap();
        assert_eq!((k, why), (10, None));
        let error = held("echo ready; read a; echo at 4000; exit 1").unwrap_err();
        assert_eq!(error, "after 4000 or more: ended with status 1");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Child::start(&shell("echo ready; sleep 1000"), Area::Switch, 1, None).unwrap();
        let pid = child.process.id();
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn cpu_time_counts_ended_threads() {
        const BUSY: Duration = Duration::from_millis(20);
        let before = cpu_time(std::process::id()).unwrap();
        thread::spawn(|| while read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap() < BUSY {}).join().unwrap();
        assert!(cpu_time(std::process::id()).unwrap() - before >= BUSY);
        // Linux has no process with a number that high.
        assert_eq!(cpu_time(5_000_000), None);
    }

    #[test]
    fn server_tells_its_port() {
        let mut child = Child::start(&shell("echo ready; echo port 8080; read a"), Area::Echo, 1, None).unwrap();
        assert_eq!(child.port(), Ok(8080));
        let words = ["sh", "-c", "echo listening on 127.0.0.1:8081; read a"].map(OsString::from);
        assert_eq!(Child::launch(&words, None).unwrap().port(), Ok(8081));
        let mut child = Child::start(&shell("echo ready; echo 8080; read a"), Area::Echo, 1, None).unwrap();
        assert_eq!(child.port(), Err("it answered \"8080\" instead of its port".into()));
    }

    #[test]
    fn figures_of_proc_are_read_in_bytes() {
        let status = "Name:\tx\nVmRSS:\t     100 kB\nVmPTE:\t       8 kB\n";
        assert_eq!(memory(status, "a\nb\n"), Memory { resident: 102_400, page_tables: 8192, mappings: 2 });
        assert_eq!(figure(status, "VmLck:"), 0);
        assert_eq!(parse_answer("1200 12"), Ok((1200.0, 12.0)));
        assert!(parse_answer("1200").is_err() && parse_answer("12 0").is_err() && parse_answer("a b").is_err());
    }
}
