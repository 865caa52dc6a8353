//! A directory with files, a server, and the processes of one run.

use crate::server::Server;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The time in which a process must end.
const LIMIT: Duration = Duration::from_secs(120);
/// A process, with its output in files. The drop kills it.
pub(crate) struct Process {
    child: Child,
    output: PathBuf,
}

/// The end of a process.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Process {
    fn start(mut command: Command, output: PathBuf) -> Process {
        let file = |extension| File::create(output.with_extension(extension)).unwrap();
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Process::start_as_it_is(command, output)
    }

    fn start_as_it_is(mut command: Command, output: PathBuf) -> Process {
        Process { child: command.spawn().unwrap(), output }
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ended {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let stdout = fs::read(self.output.with_extension("out")).unwrap_or_default();
                return Ended { status, stdout, stderr: self.stderr() };
            }
            assert!(begun.elapsed() < LIMIT, "{} does not end: {}", self.output.display(), self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the process by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGINT.
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.output.with_extension("err")).unwrap_or_default()
    }

    /// The number of bytes written to standard output.
    pub(crate) fn written(&self) -> u64 {
        fs::metadata(self.output.with_extension("out")).map_or(0, |about| about.len())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The number in front of `name` in the summary.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let before = self.stderr.split(name).next().filter(|before| before.len() < self.stderr.len());
        let number = before.and_then(|before| before.trim_end().rsplit([' ', ',']).next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {:?}", self.stderr))
    }
}

/// A run of `dgrep`.
pub(crate) struct Run {
    pub(crate) directory: PathBuf,
    pub(crate) server: Server,
    pub(crate) pattern: String,
    pub(crate) files: Vec<PathBuf>,
    /// The time after which a job of a silent worker is given to another one, in milliseconds.
    pub(crate) claim_after: &'static str,
    started: AtomicU32,
}

impl Run {
    /// Makes a directory with four files, one of them empty and one without a last line feed, and starts a server without
    /// persistence.
    pub(crate) fn new(name: &str) -> Run {
        Run::with_server(name, |directory| Server::start(directory, false))
    }

    /// The same with another server.
    pub(crate) fn with_server(name: &str, server: impl FnOnce(&Path) -> Server) -> Run {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let server = server(&directory);
        let mut run = Run {
            directory,
            server,
            pattern: "needle".into(),
            files: vec![],
            claim_after: "1000",
            started: AtomicU32::new(0),
        };
        for (seed, name) in ["a", "empty", "b", "c"].into_iter().enumerate() {
            let mut text = if name == "empty" { String::new() } else { lines(seed as u64, 6000) };
            if name == "c" {
                text += "the last needle, without a line feed";
            }
            run.file(name, text.as_bytes());
        }
        run
    }

    /// Makes a file, as the last one to search.
    pub(crate) fn file(&mut self, name: &str, text: &[u8]) {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        self.files.push(path);
    }

    /// The same with the paths of the files as they are in the directory.
    pub(crate) fn with_relative_paths(mut self) -> Run {
        for file in &mut self.files {
            *file = file.file_name().unwrap().into();
        }
        self
    }

    /// The output of GNU grep.
    pub(crate) fn expected(&self) -> Vec<u8> {
        let mut grep = Command::new("grep");
        grep.current_dir(&self.directory)
            .env("LC_ALL", "C")
            .args(["-a", "-F", "-n", "-H", "-e", &self.pattern, "--"])
            .args(&self.files);
        grep.stderr(Stdio::null()).output().unwrap().stdout
    }

    fn command(&self, program: &str) -> (Command, PathBuf) {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        (command, self.directory.join(format!("process-{number}")))
    }

    /// Starts a worker.
    pub(crate) fn worker(&self) -> Process {
        self.worker_with(&[])
    }

    /// Starts a worker with more arguments.
    pub(crate) fn worker_with(&self, options: &[&str]) -> Process {
        let (command, output) = self.worker_command(options);
        Process::start(command, output)
    }

    fn worker_command(&self, options: &[&str]) -> (Command, PathBuf) {
        let (mut command, output) = self.command(env!("CARGO_BIN_EXE_dgrep"));
        command.args(["worker", "--summary", "--claim-after", self.claim_after]).args(options);
        command.args([&self.server.address(), "run", &self.pattern]);
        (command, output)
    }

    /// Starts a worker in a directory that has none of the files.
    pub(crate) fn worker_elsewhere(&self) -> Process {
        let (mut command, output) = self.worker_command(&[]);
        let elsewhere = self.directory.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        command.current_dir(elsewhere);
        Process::start(command, output)
    }

    /// Starts a worker with faults.
    pub(crate) fn faulty_worker(&self, faults: &[&str]) -> Process {
        let (mut command, output) = self.command(env!("CARGO_BIN_EXE_faulty_worker"));
        command.args([&self.server.address(), "run", &self.pattern, self.claim_after]).args(faults);
        Process::start(command, output)
    }

    fn coordinator_command(&self, options: &[&str]) -> (Command, PathBuf) {
        let (mut command, output) = self.command("env");
        // A background job of a shell ignores the signal, and so would its children.
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_dgrep")]);
        command.args(["coordinator", "--summary", "--claim-after", self.claim_after, "--chunk", "8192"]).args(options);
        command.args([&self.server.address(), "run", &self.pattern]).args(&self.files);
        (command, output)
    }

    /// Starts a coordinator, with jobs of 8 KiB.
    pub(crate) fn coordinator(&self, options: &[&str]) -> Process {
        let (command, output) = self.coordinator_command(options);
        Process::start(command, output)
    }

    /// The same, with a pipe as its standard output.
    pub(crate) fn piped_coordinator(&self, options: &[&str]) -> Process {
        let (mut command, output) = self.coordinator_command(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(output.with_extension("err")).unwrap());
        Process::start_as_it_is(command, output)
    }

    /// Waits for a coordinator, and compares its output with that of GNU grep. No queue may be left.
    #[track_caller]
    pub(crate) fn check(&self, coordinator: Process) -> Ended {
        let ended = coordinator.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        self.check_output(&ended);
        self.check_keys();
        ended
    }

    #[track_caller]
    pub(crate) fn check_output(&self, ended: &Ended) {
        let expected = self.expected();
        let same = ended.stdout.iter().zip(&expected).take_while(|(one, other)| one == other).count();
        let (got, wanted) = (ended.stdout.len(), expected.len());
        assert!(ended.stdout == expected, "{got} bytes for {wanted}, {same} of them equal: {}", ended.stderr);
        assert!(!expected.is_empty());
    }

    #[track_caller]
    pub(crate) fn check_keys(&self) {
        assert_eq!(self.server.keys(), ["dgrep:1:{run}:state"]);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.server.kill();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Waits until `is_true` returns true.
#[track_caller]
pub(crate) fn until(mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < LIMIT, "it does not become true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lines of random lengths and words. One in about 8 contains "needle".
pub(crate) fn lines(seed: u64, count: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let words =
        ["hay", "straw", "a needle", "needles", "grass", "", "need", "stack", "in", "the", "dle", "of", "é", "x"];
    (0..count)
        .map(|_| {
            let line: Vec<_> = (0..next(14)).map(|_| words[next(14) as usize].to_owned()).collect();
            line.join(" ") + "\n"
        })
        .collect()
}
