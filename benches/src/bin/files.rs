//! Benchmarks of reads of files:
//!
//! cargo run --release -p cede-benches --bin files -- [--quick] [--dir DIR]
//!
//! *Cached*: one task reads a file that is in the page cache, at pseudo-random places: by pread(2) on the thread of the run, by
//! `cede::fs`, by the system call that it makes, and on the pool. *O_DIRECT*: 32 tasks read blocks of 4 KiB from the device, by a pool of
//! four threads and by `cede::fs`; the elapsed time per read, and in a table of its own the CPU time of the process per read. Figures are
//! nanoseconds per read. The file has 256 MiB, is made in DIR (by default the directory for temporary files), and is removed at the end. A
//! file system without `O_DIRECT` has no figures for it.

use cede::blocking::{max_threads, set_max_threads, unblock};
use cede::fs::{File, OpenOptions};
use cede_benches::{take_turns, timed};
use std::hint::black_box;
use std::io::{IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The size of the file.
const SIZE: u64 = 256 << 20;

/// The size of a block that is read with `O_DIRECT`, and its alignment.
const BLOCK: usize = 4096;

const TASKS: u64 = 32;

/// Pseudo-random offsets of blocks of `len` bytes. (Marsaglia, "Xorshift RNGs", 2003.)
struct Offsets {
    state: u64,
    len: u64,
}

impl Offsets {
    fn new(seed: u64, len: usize) -> Offsets {
        Offsets { state: seed * 7919 + 1, len: len as u64 }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % (SIZE / self.len) * self.len
    }
}

/// Returns nanoseconds per read of `len` bytes, in the main of a run.
fn cached(len: usize, mut read: impl FnMut(&mut [u8], u64)) -> f64 {
    let reads = if len == BLOCK { 20_000 } else { 3_000 };
    let (mut buffer, mut offsets) = (vec![0; len], Offsets::new(1, len));
    cede::run(|| {
        let start = Instant::now();
        for _ in 0..reads {
            read(&mut buffer, offsets.next());
            black_box(&buffer);
        }
        start.elapsed().as_nanos() as f64 / f64::from(reads)
    })
}

/// Reads blocks in 32 tasks. Returns nanoseconds per read by `clock`.
fn direct(reads: u64, clock: fn() -> Duration, read: impl Fn(&mut [u8], u64) + 'static) -> f64 {
    let read = Rc::new(read);
    cede::run(|| {
        let start = clock();
        let tasks = (0..TASKS).map(|task| {
            let read = Rc::clone(&read);
            cede::spawn(move || {
                let mut room = vec![0; 2 * BLOCK];
                let at = room.as_ptr().align_offset(BLOCK);
                let mut offsets = Offsets::new(task, BLOCK);
                (0..reads / TASKS).for_each(|_| read(&mut room[at..][..BLOCK], offsets.next()));
            })
        });
        cede::join_all(tasks.collect::<Vec<_>>()).into_iter().for_each(|task| task.expect("no read fails"));
        (clock() - start).as_nanos() as f64 / reads as f64
    })
}

fn time_of(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn elapsed() -> Duration {
    time_of(libc::CLOCK_MONOTONIC)
}

fn cpu() -> Duration {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The call with which `cede::fs` asks the page cache.
fn read_nowait(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> isize {
    let buffer = IoSliceMut::new(buffer);
    let fd = file.as_raw_fd();
    // SAFETY: `IoSliceMut` has the layout of `iovec` on Unix, and its buffer is borrowed for the call.
    unsafe { libc::preadv2(fd, (&raw const buffer).cast(), 1, offset as libc::off_t, libc::RWF_NOWAIT) }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn measure(path: &Path, rounds: usize) -> std::io::Result<()> {
    for (name, len) in [("4 KiB", BLOCK), ("64 KiB", 64 << 10)] {
        let plain = leak(std::fs::File::open(path)?);
        let ours = leak(File::open(path)?);
        let cases = vec![
            timed("pread on the thread of the run", move || {
                cached(len, |buffer, offset| plain.read_exact_at(buffer, offset).expect("a block"))
            }),
            timed("cede::fs", move || {
                cached(len, |buffer, offset| ours.read_exact_at(buffer, offset).expect("a block"))
            }),
            timed("preadv2 with RWF_NOWAIT", move || {
                cached(len, |buffer, offset| assert_eq!(read_nowait(plain, buffer, offset), len as isize))
            }),
            timed("pread in unblock", move || {
                cached(len, |buffer, offset| unblock(|| plain.read_exact_at(buffer, offset)).expect("a block"))
            }),
        ];
        cede_benches::print(&format!("cached, {name}"), &take_turns(rounds, cases));
    }

    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    options.custom_flags(libc::O_DIRECT);
    let Ok(file) = options.open(path) else {
        println!("no O_DIRECT in this directory");
        return Ok(());
    };
    let plain = leak(std::fs::File::from(file));
    let ours = leak(options.open(path)?);
    let reads = 6_400;
    for (title, clock) in [("time", elapsed as fn() -> Duration), ("CPU time", cpu)] {
        let limit = max_threads();
        let cases = vec![
            timed("a pool of four threads", move || {
                set_max_threads(4);
                let each = direct(reads, clock, |buffer, offset| {
                    unblock(|| plain.read_exact_at(buffer, offset)).expect("a block");
                });
                set_max_threads(limit);
                each
            }),
            timed("cede::fs", move || {
                direct(reads, clock, |buffer, offset| ours.read_exact_at(buffer, offset).expect("a block"))
            }),
        ];
        cede_benches::print(&format!("O_DIRECT, 4 KiB, 32 tasks, {title}"), &take_turns(rounds.min(9), cases));
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let args: Vec<_> = std::env::args().collect();
    let dir = args.iter().position(|arg| arg == "--dir").and_then(|at| args.get(at + 1)).map(PathBuf::from);
    let rounds = if args.iter().any(|arg| arg == "--quick") { 5 } else { 25 };
    let path = dir.unwrap_or_else(std::env::temp_dir).join(format!("cede-bench-files-{}", std::process::id()));
    let mut file = std::fs::File::create_new(&path)?;
    let temporary = Temporary(path);
    let block = vec![1; 1 << 20];
    (0..SIZE >> 20).try_for_each(|_| file.write_all(&block))?;
    file.sync_all()?;
    measure(&temporary.0, rounds)
}
