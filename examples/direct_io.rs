//! Random reads of 4 KiB that bypass the page cache (`O_DIRECT`), as a database makes them: by one thread, by tasks whose reads four
//! threads make, and by tasks that read through `cede::fs`.
//!
//! cargo run --release --example direct_io -- [--reads N] [--tasks N] [--size MIB] [--dir DIR]
//!
//! Creates a file of SIZE MiB (at most 1,024) in DIR, and removes it at the end. Prints reads per second, and the CPU time of the process per
//! read. The defaults are 20,000 reads, 32 tasks, 256 MiB, and the directory for temporary files.

use cede::blocking::{max_threads, set_max_threads, unblock};
use cede::fs::{File, OpenOptions};
use lexopt::{Arg, Parser, ValueExt};
use std::error::Error;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The size of a read, and the alignment of its buffer and offset.
const BLOCK: usize = 4096;

struct Options {
    reads: usize,
    tasks: usize,
    blocks: u64,
    dir: PathBuf,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options { reads: 20_000, tasks: 32, blocks: 256 << 8, dir: std::env::temp_dir() };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("reads") => options.reads = parser.value()?.parse()?,
            Arg::Long("tasks") => options.tasks = parser.value()?.parse::<usize>()?.clamp(1, 10_000),
            Arg::Long("size") => options.blocks = parser.value()?.parse::<u64>()?.clamp(1, 1024) << 8,
            Arg::Long("dir") => options.dir = parser.value()?.into(),
            arg => return Err(arg.unexpected()),
        }
    }
    Ok(options)
}

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes a file in which each block begins with its number.
fn create(path: &Path, blocks: u64) -> std::io::Result<Temporary> {
    let file = Temporary(path.into());
    let mut writer = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create_new(path)?);
    for number in 0..blocks {
        let mut block = [0; BLOCK];
        block[..8].copy_from_slice(&number.to_le_bytes());
        writer.write_all(&block)?;
    }
    writer.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(file)
}

/// A block in memory that the kernel accepts for `O_DIRECT`.
struct Buffer {
    room: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new() -> Buffer {
        let room = vec![0; 2 * BLOCK];
        let start = room.as_ptr().align_offset(BLOCK);
        Buffer { room, start }
    }

    fn block(&mut self) -> &mut [u8] {
        &mut self.room[self.start..][..BLOCK]
    }
}

/// Reads `count` blocks at pseudo-random places by `read`, and checks each.
fn read_blocks(
    seed: u64,
    count: usize,
    blocks: u64,
    mut read: impl FnMut(&mut [u8], u64) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut buffer = Buffer::new();
    let mut random = seed * 7919 + 1;
    for _ in 0..count {
        // Marsaglia, "Xorshift RNGs" (2003)
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let number = random % blocks;
        read(buffer.block(), number * BLOCK as u64)?;
        assert_eq!(buffer.block()[..8], number.to_le_bytes(), "another block was read");
    }
    Ok(())
}

/// Starts tasks that share the reads, and waits for them.
fn in_tasks(options: &Options, read: impl Fn(&mut [u8], u64) -> std::io::Result<()> + 'static) -> std::io::Result<()> {
    let read = Rc::new(read);
    let (tasks, blocks) = (options.tasks, options.blocks);
    let counts = (0..tasks).map(|task| options.reads / tasks + usize::from(task < options.reads % tasks));
    cede::run(|| {
        let tasks = counts.enumerate().map(|(task, count)| {
            let read = Rc::clone(&read);
            cede::spawn(move || read_blocks(task as u64, count, blocks, |buffer, offset| read(buffer, offset)))
        });
        let outcomes = cede::join_all(tasks.collect::<Vec<_>>());
        outcomes.into_iter().try_for_each(|outcome| outcome.expect("no task panics or is cancelled"))
    })
}

/// The CPU time of the process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Prints the cost of the reads that `f` makes.
fn measure(name: &str, reads: usize, f: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()> {
    let (start, cpu) = (Instant::now(), cpu_time());
    f()?;
    let rate = reads as f64 / start.elapsed().as_secs_f64();
    let each = (cpu_time() - cpu).as_secs_f64() * 1e6 / reads as f64;
    println!("{name:36} {rate:9.0} reads/s {each:7.1} us of CPU per read");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let path = options.dir.join(format!("cede-direct-io-{}", std::process::id()));
    let _file = create(&path, options.blocks).map_err(|error| format!("{}: {error}", path.display()))?;

    let mut direct = OpenOptions::new();
    direct.read(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    direct.custom_flags(libc::O_DIRECT);
    let open = || {
        let no_flag = |error| format!("{}: {error}: use --dir with a file system that has O_DIRECT", path.display());
        direct.open(&path).map_err(no_flag)
    };

    let file = std::fs::File::from(open()?);
    let (reads, blocks) = (options.reads, options.blocks);
    measure("one thread", reads, || {
        read_blocks(0, reads, blocks, |buffer, offset| file.read_exact_at(buffer, offset))
    })?;

    let limit = max_threads();
    set_max_threads(4);
    let name = format!("{} tasks, a pool of four threads", options.tasks);
    measure(&name, reads, || in_tasks(&options, move |buffer, offset| unblock(|| file.read_exact_at(buffer, offset))))?;
    set_max_threads(limit);

    let file: File = open()?;
    let name = format!("{} tasks, cede::fs", options.tasks);
    measure(&name, reads, || in_tasks(&options, move |buffer, offset| file.read_exact_at(buffer, offset)))?;
    Ok(())
}
