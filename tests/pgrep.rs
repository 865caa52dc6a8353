//! Runs `examples/pgrep` and compares its output with that of GNU grep over the same files in the order of the walk, or where GNU grep
//! is missing with that of `examples/grep`.
// Miri cannot start processes.
#![cfg(not(miri))]
// The examples drop suspended coroutines, which prints a report to stderr where panics abort.
#![cfg(all(feature = "io", not(panic = "abort")))]

mod common;

use common::{command, emulated, example};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory for one test.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Dir {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pgrep-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The regular files below a directory, each directory's entries in the order of their names.
fn files_below(dir: &Path, files: &mut Vec<OsString>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let kind = entry.file_type().unwrap();
        assert!(!kind.is_fifo());
        if kind.is_dir() {
            files_below(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path().into());
        }
    }
}

/// The standard output and error of a command together, and its exit code.
fn outcome(mut command: Command, dir: &Dir) -> (Vec<u8>, Option<i32>) {
    let path = dir.0.with_extension(format!("out-{:?}", std::thread::current().id()));
    let file = File::options().create(true).truncate(true).write(true).open(&path).unwrap();
    command.env("LC_ALL", "C").env_remove("POSIXLY_CORRECT").stdin(Stdio::null());
    let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
    let output = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    (output, status.code())
}

/// Returns a grep that takes an extended regular expression, or with `-F` a string.
fn reference(flags: &[&str]) -> Command {
    let version = Command::new("grep").arg("--version").output();
    if version.is_ok_and(|version| version.stdout.starts_with(b"grep (GNU grep)")) {
        let mut grep = Command::new("grep");
        if !flags.contains(&"-F") {
            grep.arg("-E");
        }
        grep
    } else {
        command(example("grep"))
    }
}

/// Compares the outcomes over `place`.
#[track_caller]
fn check(dir: &Dir, place: &Path, flags: &[&str], pattern: &str) {
    let mut files = Vec::new();
    files_below(place, &mut files);
    let mut grep = reference(flags);
    grep.arg("-H").args(flags).arg("--").arg(pattern).args(&files);
    let expected = outcome(grep, dir);
    for [option, threads] in [["-j", "1"], ["-j", "3"], ["--workers", "2"]] {
        let mut pgrep = command(example("pgrep"));
        pgrep.args([option, threads, "-H"]).args(flags).arg("--").arg(pattern).arg(place);
        let actual = outcome(pgrep, dir);
        let same = actual.0.iter().zip(&expected.0).take_while(|(a, b)| a == b).count();
        let part = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[same.saturating_sub(80)..bytes.len().min(same + 200)]).into_owned()
        };
        assert!(
            actual == expected,
            "{option} {threads} {flags:?} {pattern:?}: exit {:?} instead of {:?}, at byte {same}\n{}\ninstead of\n{}",
            actual.1,
            expected.1,
            part(&actual.0),
            part(&expected.0)
        );
    }
}

/// Text of `lines` lines, of which each seventh has the word "needle".
fn text(lines: usize) -> String {
    let line = |number: usize| {
        let word = if number % 7 == 3 { "needle" } else { "straw" };
        format!("{number} {word} {}\n", "x".repeat(number % 90))
    };
    (0..lines).map(line).collect()
}

/// Makes files of all kinds, in several directories.
fn tree(dir: &Dir) -> PathBuf {
    let place = dir.0.join("tree");
    for number in 0..120 {
        dir.file(format!("tree/{}/{number} file", number % 11), text(number));
    }
    dir.file("tree/empty", "");
    dir.file("tree/no end", "needle\nneedle without an end");
    dir.file("tree/windows", "one\r\nneedle\r\n");
    dir.file("tree/.hidden/needle", "needle\n");
    dir.file(OsStr::from_bytes(b"tree/\xff name"), "a needle\n");
    dir.file("tree/large", text(5000));
    dir.file("tree/large without", "straw\n".repeat(30_000));
    dir.file("tree/long line", format!("{}needle{}\nneedle\n", "a".repeat(150_000), "b".repeat(100_000)));
    dir.file("tree/binary", b"needle\0needle\nneedle\n");
    dir.file("tree/binary without", b"\0\0\0 straw\n");
    // The lines of the first read are printed, and then the file is found to be binary.
    dir.file("tree/binary late", [text(3000).as_bytes(), b"\0needle\n", text(100).as_bytes()].concat());
    dir.file("tree/binary end", [text(3000).as_bytes(), b"straw\0"].concat());
    // Their matches are behind the first read.
    dir.file("tree/binary early", [b"\0\n", "straw\n".repeat(30_000).as_bytes(), text(50).as_bytes()].concat());
    dir.file("tree/text late", ["straw\n".repeat(30_000), text(50)].concat());
    let mut sparse = File::create(place.join("sparse")).unwrap();
    sparse.write_all(b"needle\n").unwrap();
    sparse.seek(SeekFrom::Start(1 << 18)).unwrap();
    sparse.write_all(b"needle\n").unwrap();
    std::os::unix::fs::symlink("large", place.join("link")).unwrap();
    place
}

#[test]
fn trees_give_the_output_of_grep() {
    let dir = Dir::new("tree");
    let place = tree(&dir);
    for flags in [
        &[][..],
        &["-n"],
        &["-i"],
        &["-c"],
        &["-l"],
        &["-o"],
        &["-v"],
        &["-h"],
        &["-F"],
        &["-n", "-o"],
        &["-n", "-i", "-h"],
        &["-c", "-v"],
        &["-n", "-v"],
        &["-q"],
        &["-n", "-F", "-i"],
    ] {
        check(&dir, &place, flags, "needle");
        check(&dir, &place, flags, "[0-9]*1 NEEDLE|needle x{5}");
    }
}

#[test]
fn the_repository_gives_the_output_of_grep() {
    let dir = Dir::new("repository");
    let place = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["src", "tests", "examples", "docs"].map(|part| place.join(part)).iter().filter(|part| part.is_dir()) {
        for (flags, pattern) in [
            (&["-n"][..], "fn [a-z_]+\\("),
            (&["-c"], "unsafe"),
            (&["-o", "-i"], "task|thread"),
            (&["-l"], "^#!\\[forbid"),
            (&["-v", "-n"], "[a-z]"),
        ] {
            check(&dir, part, flags, pattern);
        }
    }
}

/// Errors appear between the lines of the other files, in the order of the operands.
#[test]
fn operands_keep_their_order() {
    let dir = Dir::new("operands");
    dir.file("b", "needle b\n");
    dir.file("a", "needle a\n");
    for threads in ["1", "3"] {
        let mut grep = reference(&[]);
        let mut pgrep = command(example("pgrep"));
        pgrep.args(["-j", threads]);
        let outcomes = [&mut grep, &mut pgrep].map(|command| {
            command.current_dir(&dir.0).args(["needle", "b", "missing", "a", "b", "none", "a"]);
            outcome(std::mem::replace(command, Command::new("true")), &dir)
        });
        assert_eq!(String::from_utf8_lossy(&outcomes[1].0), String::from_utf8_lossy(&outcomes[0].0));
        assert_eq!((outcomes[0].1, outcomes[1].1), (Some(2), Some(2)));
    }
}

#[test]
fn standard_input_is_read() {
    let mut pgrep = command(example("pgrep"));
    let mut child = pgrep.args(["-n", "two"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\ntwo\nthree two").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2:two\n3:three two\n");
    assert!(output.status.success());
}

#[test]
fn a_wrong_thread_count_is_refused() {
    for words in [&["-j"][..], &["-j", "many", "x"], &["--workers"], &["--workers", "-1", "x"], &["--j", "1", "x"]] {
        let output = command(example("pgrep")).args(words).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(output.stderr.starts_with(b"grep: "), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A large file is read block by block, also while its output waits for a reader, and the end of the reader ends the search.
#[test]
fn memory_is_bounded() {
    let dir = Dir::new("memory");
    for number in 0..160 {
        dir.file(number.to_string(), format!("{}needle\n", "straw of a line\n".repeat(1000)).repeat(64));
    }
    let mut pgrep = command(example("pgrep"));
    // The threads beside the first one can go on while the first one cannot write.
    let mut child = pgrep.args(["-j", "3", "-v", "needle"]).arg(&dir.0).stdout(Stdio::piped()).spawn().unwrap();
    let mut start = vec![0; 1 << 20];
    child.stdout.as_mut().unwrap().read_exact(&mut start).unwrap();
    // Until the process reads no more.
    let read = || fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
    let (mut before, mut same) = (read(), 0);
    for _ in 0..200 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let now = read();
        same = if now == before { same + 1 } else { 0 };
        before = now;
        if same == 5 {
            break;
        }
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let peak: u64 = peak.unwrap_or(0);
    assert!(emulated() || peak < 60 << 10, "{peak} KiB for 160 MiB of files");
}
