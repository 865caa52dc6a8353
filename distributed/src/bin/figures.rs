//! Measures `dgrep` over a redis-server of its own: `.ci/distributed figures` builds and runs it.
//!
//! ```text
//! figures [ROUNDS] [MEMORY_MIB]
//! ```
//!
//! Prints the minimum and the median of the rounds, one workload after the other in each round. The last part prints the largest size of
//! a coordinator in memory for an input of a tenth of `MEMORY_MIB`, and for all of it.
#![forbid(unsafe_code)]

#[path = "../../tests/distributed/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;

use server::Server;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATTERN: &str = "needle";
const MIB: usize = 1 << 20;
/// The size of the input of the workloads but the last.
const INPUT: usize = 64 * MIB;
/// The size of the file whose repetitions are the last input.
const LARGE: usize = 100 * MIB;

struct Figures {
    directory: PathBuf,
    server: Server,
    runs: u32,
}

impl Figures {
    fn program(&self, name: &str) -> Command {
        let mut path = std::env::current_exe().expect("the program has a path");
        path.set_file_name(name);
        Command::new(path)
    }

    /// Starts workers: `dgrep`, or a worker whose jobs compute.
    fn workers(&self, count: usize, compute: Option<u32>) -> Vec<Child> {
        let (address, run) = (self.server.address(), self.runs.to_string());
        let worker = |_| {
            let mut command = match compute {
                None => self.program("dgrep"),
                Some(_) => self.program("faulty_worker"),
            };
            match compute {
                None => command.args(["worker", &address, &run, PATTERN]),
                Some(time) => command.args([&address, &run, PATTERN, "5000", "tasks=2", &format!("compute={time}")]),
            };
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a worker starts")
        };
        (0..count).map(worker).collect()
    }

    /// Runs a search. Returns its time and the summary.
    fn run(&mut self, workers: usize, compute: Option<u32>, options: &[&str], files: &[&Path]) -> (Duration, String) {
        self.runs += 1;
        let workers = self.workers(workers, compute);
        // They wait for the run.
        std::thread::sleep(Duration::from_millis(300));
        let mut command = self.program("dgrep");
        command.args(["coordinator", "--summary"]).args(options);
        command.args([&self.server.address(), &self.runs.to_string(), PATTERN]).args(files);
        let output = File::create(self.directory.join("output")).expect("the output can be made");
        let begun = Instant::now();
        let ended = command.stdin(Stdio::null()).stdout(output).output().expect("the coordinator starts");
        let time = begun.elapsed();
        let summary = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{summary}");
        for mut worker in workers {
            worker.wait().expect("a worker ends");
        }
        (time, summary)
    }

    /// Fails unless the last output is that of GNU grep. Returns grep's time.
    fn compare(&self, files: &[&Path]) -> Duration {
        let path = self.directory.join("expected");
        let output = File::create(&path).expect("the output can be made");
        let begun = Instant::now();
        let mut grep = Command::new("grep");
        grep.env("LC_ALL", "C").args(["-a", "-F", "-n", "-H", PATTERN]).args(files).stdout(output);
        grep.status().expect("grep starts");
        let time = begun.elapsed();
        let same =
            fs::read(path).expect("grep's output") == fs::read(self.directory.join("output")).expect("an output");
        assert!(same, "the output is not that of grep");
        time
    }

    /// Makes a file of `length` bytes.
    fn file(&self, name: &str, length: usize) -> PathBuf {
        let mut text = Vec::with_capacity(length + 200);
        let mut number = 0u64;
        while text.len() < length {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let rare = if number >> 33 & 1023 == 0 { PATTERN } else { "straw" };
            text.extend(
                format!("{number:020} some hay and {rare}, and a line of a usual length after it\n").into_bytes(),
            );
        }
        let path = self.directory.join(name);
        fs::write(&path, text).expect("the file can be written");
        path
    }
}

/// Prints the minimum and the median.
fn print(name: &str, times: &mut [Duration], jobs: u64) -> Duration {
    times.sort();
    let (least, middle) = (times[0], times[times.len() / 2]);
    let each = |time: Duration| time.as_secs_f64() * 1e3 / jobs as f64;
    let (total, of_job) = (least.as_secs_f64() * 1e3, each(least));
    println!("{name:44} {total:8.0} {:8.0} ms {of_job:8.3} {:8.3} ms a job", middle.as_secs_f64() * 1e3, each(middle));
    least
}

fn jobs(summary: &str) -> u64 {
    let before = summary.split(" jobs,").next().and_then(|before| before.rsplit(' ').next());
    before.and_then(|number| number.parse().ok()).expect("the summary has the number of jobs")
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|number| number.parse::<usize>().expect("a number"));
    let (rounds, memory) = (arguments.next().unwrap_or(5), arguments.next().unwrap_or(10_000));
    let directory = std::env::temp_dir().join(format!("dgrep-figures-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("the directory can be made");
    let server = Server::start(&directory, true);
    let mut figures = Figures { directory: directory.clone(), server, runs: 0 };
    let input = figures.file("input", INPUT);
    let small = figures.file("small", INPUT / 64);
    let (input, small) = ([input.as_path()], [small.as_path()]);

    println!("{:44} {:>8} {:>8}    {:>8} {:>8}", "", "minimum", "median", "minimum", "median");
    type Workload<'a> = (&'a str, usize, Option<u32>, &'a [&'a str], &'a [&'a Path]);
    let workloads: [Workload<'_>; 5] = [
        ("64 MiB, jobs of 64 KiB, 1 worker", 1, None, &["--chunk", "65536"], &input),
        ("64 MiB, jobs of 1 MiB, 1 worker", 1, None, &[], &input),
        ("64 MiB, jobs of 1 MiB, by value, 1 worker", 1, None, &["--by-value"], &input),
        ("1 MiB, jobs that compute 20 ms, 1 worker", 1, Some(20), &["--chunk", "8192"], &small),
        ("1 MiB, jobs that compute 20 ms, 2 workers", 2, Some(20), &["--chunk", "8192"], &small),
    ];
    let mut times = vec![Vec::new(); workloads.len()];
    let (mut counts, mut grep) = (vec![0; workloads.len()], Vec::new());
    for _ in 0..rounds {
        for (at, (_, workers, compute, options, files)) in workloads.iter().enumerate() {
            let (time, summary) = figures.run(*workers, *compute, options, files);
            let of_grep = figures.compare(files);
            if at == 0 {
                grep.push(of_grep);
            }
            times[at].push(time);
            counts[at] = jobs(&summary);
        }
    }
    let mut least = Vec::new();
    for (at, (name, ..)) in workloads.iter().enumerate() {
        least.push(print(name, &mut times[at], counts[at]));
    }
    print("64 MiB, GNU grep", &mut grep, 1);
    println!("two workers are {:.2} times as fast as one (minima)", least[3].as_secs_f64() / least[4].as_secs_f64());

    let large = figures.file("large", LARGE);
    for total in [memory / 10, memory] {
        let files = vec![large.as_path(); (total * MIB / LARGE).max(1)];
        let (time, summary) = figures.run(1, None, &[], &files);
        println!("{} MiB in {:.1} s: {}", files.len() * LARGE / MIB, time.as_secs_f64(), summary.trim());
    }
    drop(figures);
    fs::remove_dir_all(directory).expect("the directory can be removed");
}
