//! The driver: runs programs in children, finds the failing program, and makes it smaller.
#![forbid(unsafe_code)]

use crate::Options;
use crate::program::Program;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The number of programs of one child. Values that they forget stay until the child ends.
const BATCH: u64 = 500;
/// The time limit of a program. No program takes a second, but emulators and busy machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts this program again, under the emulator of the tests if there is one.
fn command() -> Command {
    let program = std::env::current_exe().expect("a program knows its path");
    let runner = std::env::var("CEDE_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    match words.next() {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started")
}

/// Collects the end of a child's stderr.
fn collect(child: &mut Child) -> thread::JoinHandle<String> {
    let mut stderr = child.stderr.take().expect("the stream is piped");
    thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            all.extend(&buffer[..count]);
            if all.len() > 1 << 20 {
                all.drain(..1 << 19);
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

struct Failed {
    seed: u64,
    status: Option<ExitStatus>,
    stderr: String,
}

/// Runs programs in a child. Returns the program that failed.
fn batch(from: u64, count: u64) -> Option<Failed> {
    let (first, many) = (from.to_string(), count.to_string());
    let mut child = start(command().args(["--batch", "--from", &first, "--programs", &many]));
    let (errors, mut stdout) = (collect(&mut child), child.stdout.take().expect("the stream is piped"));
    let (sender, seeds) = mpsc::channel();
    thread::spawn(move || {
        let mut seed = [0; 8];
        while stdout.read_exact(&mut seed).is_ok() && sender.send(u64::from_le_bytes(seed)).is_ok() {}
    });
    let mut last = from;
    let hangs = loop {
        match seeds.recv_timeout(PATIENCE) {
            Ok(seed) => last = seed,
            Err(error) => break error == mpsc::RecvTimeoutError::Timeout,
        }
    };
    if hangs {
        child.kill().expect("the child exists");
    }
    let status = child.wait().expect("the child can be waited for");
    let stderr = errors.join().expect("it reads");
    let failed = Failed { seed: last, status: Some(status).filter(|_| !hangs), stderr };
    if status.success() && last == from + count - 1 { None } else { Some(failed) }
}

/// The signature of a failure: the fuzzer's message, or else how the process ended.
fn kind(status: Option<ExitStatus>, stderr: &str) -> Option<String> {
    let Some(status) = status else { return Some("hung".to_string()) };
    if status.success() {
        return None;
    }
    let line = stderr.lines().find(|line| line.starts_with("fuzz: "));
    let text = line.map_or_else(|| status.to_string(), str::to_string);
    Some(text.chars().filter(|c| !c.is_ascii_digit()).collect())
}

/// Runs one program in a child. Returns how it fails, if it does.
fn failure(seed: u64, without: &BTreeSet<usize>, patience: Duration) -> Option<String> {
    let list: Vec<_> = without.iter().map(usize::to_string).collect();
    let mut child = start(command().args(["--seed", &seed.to_string(), "--without", &list.join(",")]));
    let errors = collect(&mut child);
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().expect("it is a child of this process") {
            Some(status) => break Some(status),
            None if begun.elapsed() > patience => break None,
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    if status.is_none() {
        child.kill().and_then(|()| child.wait()).expect("the child exists");
    }
    kind(status, &errors.join().expect("it reads"))
}

/// Leaves out operations that are not needed for the same failure: halves first, then single operations.
fn shrink(seed: u64, same: &str, patience: Duration) -> BTreeSet<usize> {
    let mut without = BTreeSet::new();
    let mut size = Program::of_seed(seed).count;
    let until = Instant::now() + Duration::from_secs(120);
    while size > 0 && Instant::now() < until {
        let left: Vec<usize> = Program::of_seed(seed).without(&without).reachable().into_iter().collect();
        let mut smaller = false;
        for chunk in left.rchunks(size) {
            let more = without.iter().chain(chunk).copied().collect();
            if failure(seed, &more, patience).is_some_and(|kind| kind == same) {
                without = more;
                smaller = true;
            }
        }
        if size > 1 || !smaller {
            size /= 2;
        }
    }
    without
}

fn report(failed: &Failed) {
    let Failed { seed, status, stderr } = failed;
    let ended = status.map_or("hung".to_string(), |status| status.to_string());
    let start = stderr.len().saturating_sub(6000);
    let start = (start..stderr.len()).find(|at| stderr.is_char_boundary(*at)).unwrap_or(0);
    println!("fuzz: program {seed} failed ({ended}):\n{}", &stderr[start..]);
    let patience = if status.is_some() { PATIENCE } else { Duration::from_secs(5) };
    let Some(same) = failure(*seed, &BTreeSet::new(), patience) else {
        println!("fuzz: alone it does not fail; run the seeds before it too");
        return;
    };
    let without = shrink(*seed, &same, patience);
    let list: Vec<_> = without.iter().map(usize::to_string).collect();
    println!("fuzz: --seed {seed} --without {} --trace\n", list.join(","));
    println!("{}", Program::of_seed(*seed).without(&without).text());
}

/// Runs as many programs as the options say. Ends the process with an error if one fails.
pub(crate) fn drive(options: &Options) {
    let begun = Instant::now();
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (next, done) = (&next, &done);
    let limit = if options.programs == 0 { u64::MAX } else { options.programs };
    let failed = thread::scope(|scope| {
        let worker = || loop {
            let late = options.seconds > 0 && begun.elapsed() >= Duration::from_secs(options.seconds);
            let first = next.fetch_add(BATCH, Relaxed);
            if late || first >= limit {
                return None;
            }
            let count = BATCH.min(limit - first);
            if let Some(failed) = batch(options.from + first, count) {
                next.store(limit, Relaxed);
                return Some(failed);
            }
            done.fetch_add(count, Relaxed);
        };
        let workers: Vec<_> = (0..options.threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("it reports")).next()
    });
    if let Some(failed) = failed {
        report(&failed);
        let _ = std::io::stdout().flush();
        std::process::exit(1);
    }
    let (count, seconds) = (done.load(Relaxed), begun.elapsed().as_secs_f64());
    println!("fuzz: {count} programs in {seconds:.1} s, {:.0} a second, none failed", count as f64 / seconds);
}
