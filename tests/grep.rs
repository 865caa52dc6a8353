//! Runs `examples/grep` and compares what it prints with what GNU grep prints, as written down here.
//!
//! A plain `cargo test` builds the example; if targets are named (`--test grep`, `--examples`), `cargo build --examples`
//! must run before. `CEDE_TEST_RUNNER` names a program, with its arguments, to run it under.
// Miri cannot start processes.
#![cfg(not(miri))]
// The example drops its suspended source, which prints a report to stderr where panics abort.
#![cfg(not(panic = "abort"))]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, iter, ptr, thread};

/// The number of bytes of one read of the example.
const READ: usize = 96 * 1024;

/// A directory for one test, in which the example runs.
struct Dir(PathBuf);

/// The outcome of a run.
struct Run {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Dir {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("grep-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    /// Returns a directory with the file that most tests search.
    fn with_verse(test: &str) -> Self {
        let dir = Dir::new(test);
        dir.file("verse", "one fish\ntwo fish\nRed Fish\n\nblue bird\n");
        dir
    }

    fn file(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let test = env::current_exe().unwrap();
        let example = test.parent().unwrap().with_file_name("examples").join("grep");
        assert!(example.exists(), "no {}: run cargo build --examples with the same options first", example.display());
        let runner = env::var("CEDE_TEST_RUNNER").unwrap_or_default();
        let mut words = runner.split_whitespace().map(OsString::from).chain(iter::once(example.into()));
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(args).current_dir(&self.0).env("TERM", "xterm").env_remove("NO_COLOR");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Run {
        finish(self.command(args))
    }

    fn run_on<A: AsRef<OsStr>>(&self, input: &str, args: &[A]) -> Run {
        let path = self.file(".input", input);
        let mut command = self.command(args);
        command.stdin(File::open(path).unwrap());
        finish(command)
    }

    /// Checks the output and the exit code of a run without error messages. The arguments are split at spaces.
    #[track_caller]
    fn check(&self, args: &str, code: i32, out: impl AsRef<[u8]>) {
        let args: Vec<_> = args.split(' ').collect();
        self.run(&args).check(&format!("{args:?}"), code, out);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Run {
    #[track_caller]
    fn check(&self, what: &str, code: i32, out: impl AsRef<[u8]>) {
        assert_eq!(self.err, "", "{what}");
        self.check_out(what, code, out);
    }

    #[track_caller]
    fn check_out(&self, what: &str, code: i32, out: impl AsRef<[u8]>) {
        let (is, should) = (String::from_utf8_lossy(&self.out), String::from_utf8_lossy(out.as_ref()));
        assert!(self.out == out.as_ref(), "{what} printed {}\ninstead of {}", start(&is), start(&should));
        assert_eq!(self.code, Some(code), "{what}: {}", self.err);
    }
}

fn finish(mut command: Command) -> Run {
    let output = command.output().unwrap();
    Run { code: output.status.code(), out: output.stdout, err: String::from_utf8(output.stderr).unwrap() }
}

/// The same command, started by a shell that redirects its streams.
fn redirected(command: &Command, redirections: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirections}"));
    shell.arg(command.get_program()).args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null());
    shell
}

/// The part of a text that a failure prints.
fn start(text: &str) -> String {
    format!("{:?}", text.chars().take(500).collect::<String>())
}

/// Lines of text without the searched word, of at least `bytes` bytes.
fn filler(bytes: usize) -> Vec<u8> {
    b"some line of text that is not wanted\n".repeat(bytes / 37 + 1)
}

#[test]
fn each_flag() {
    let dir = Dir::with_verse("flags");
    dir.check("fish verse", 0, "one fish\ntwo fish\n");
    dir.check("-E fish|bird verse", 0, "one fish\ntwo fish\nblue bird\n");
    dir.check("-F fish|bird verse", 1, "");
    dir.check("-F . verse", 1, "");
    dir.check("-i fish verse", 0, "one fish\ntwo fish\nRed Fish\n");
    dir.check("-v fish verse", 0, "Red Fish\n\nblue bird\n");
    dir.check("-n fish verse", 0, "1:one fish\n2:two fish\n");
    dir.check("-c fish verse", 0, "2\n");
    dir.check("-c shark verse", 1, "0\n");
    dir.check("-l fish verse", 0, "verse\n");
    dir.check("-l shark verse", 1, "");
    dir.check("-o i[rs]. verse", 0, "ish\nish\nish\nird\n");
    dir.check("-q fish verse", 0, "");
    dir.check("-q shark verse", 1, "");
    dir.check("-H two verse", 0, "verse:two fish\n");
    dir.check("-h two verse verse", 0, "two fish\ntwo fish\n");
    dir.check("two verse verse", 0, "verse:two fish\nverse:two fish\n");
    dir.check("-- fish verse", 0, "one fish\ntwo fish\n");
}

#[test]
fn flags_together() {
    let dir = Dir::with_verse("together");
    dir.check("-ni FISH verse", 0, "1:one fish\n2:two fish\n3:Red Fish\n");
    dir.check("-vn fish verse", 0, "3:Red Fish\n4:\n5:blue bird\n");
    dir.check("-vc fish verse", 0, "3\n");
    dir.check("-vic fish verse", 0, "2\n");
    dir.check("-Fi FISH verse", 0, "one fish\ntwo fish\nRed Fish\n");
    dir.check("-Fon fish verse", 0, "1:fish\n2:fish\n");
    dir.check("-on [eo] verse", 0, "1:o\n1:e\n2:o\n3:e\n5:e\n");
    dir.check("-oHn bird verse", 0, "verse:5:bird\n");
    dir.check("-oi fish verse", 0, "fish\nfish\nFish\n");
    dir.check("-ov fish verse", 0, "");
    dir.check("-ov . verse", 0, "");
    dir.check("-o x* verse", 0, "");
    dir.check("-oc [eo] verse", 0, "4\n");
    dir.check("-cH fish verse", 0, "verse:2\n");
    dir.check("-c fish verse verse", 0, "verse:2\nverse:2\n");
    dir.check("-lc fish verse verse", 0, "verse\nverse\n");
    dir.check("-lv fish verse", 0, "verse\n");
    dir.check("-loHn fish verse", 0, "verse\n");
    dir.check("-lh fish verse", 0, "verse\n");
    dir.check("-qc fish verse", 0, "");
    dir.check("-ql fish verse", 0, "");
    dir.check("-hH two verse", 0, "verse:two fish\n");
    dir.check("-Hh two verse", 0, "two fish\n");
    dir.check("two verse -n", 0, "2:two fish\n");
    dir.check("-v -i -n fish verse", 0, "4:\n5:blue bird\n");
}

#[test]
fn empty_patterns() {
    let dir = Dir::with_verse("empty-patterns");
    let verse = fs::read(dir.0.join("verse")).unwrap();
    for flag in ["-h", "-F", "-i", "-Fi"] {
        dir.run(&[flag, "", "verse"]).check("all lines", 0, &verse);
    }
    dir.run(&["-c", "", "verse"]).check("all lines", 0, "5\n");
    dir.run(&["-o", "", "verse"]).check("no match to show", 0, "");
    // Nothing can be selected, so not even the missing file is opened.
    dir.run(&["-vc", "", "verse", "missing"]).check("no lines", 1, "");
    dir.run(&["bird\n", "verse"]).check("a second, empty pattern", 0, &verse);
    dir.check("-n ^$ verse", 0, "4:\n");
    dir.check("-v ^$ verse", 0, "one fish\ntwo fish\nRed Fish\nblue bird\n");
    dir.check("-o ^$ verse", 0, "");
    dir.run_on("\n\n\n", &["-c", "^$"]).check("only empty lines", 0, "3\n");
    dir.run_on("\na\n\n", &["-n", "^$"]).check("empty lines at both ends", 0, "1:\n3:\n");
}

/// Of equal lines of a pattern GNU grep keeps one.
#[test]
fn empty_patterns_inverted_open_no_file() {
    let dir = Dir::with_verse("empty-lines");
    for pattern in ["\n", "\n\n"] {
        for flags in ["-v", "-vc", "-vl", "-vn", "-vq", "-vo", "-Fv", "-Fvc", "-Fvi"] {
            dir.run(&[flags, pattern, "verse", "missing"]).check(flags, 1, "");
        }
        dir.run(&["-c", pattern, "verse"]).check("not inverted", 0, "5\n");
    }
    for pattern in ["fish\n", "\nfish"] {
        dir.run(&["-vc", pattern, "verse"]).check("another line", 1, "0\n");
    }
}

#[test]
fn several_patterns() {
    let dir = Dir::with_verse("several");
    dir.run(&["-o", "one\nbird", "verse"]).check("alternatives", 0, "one\nbird\n");
    dir.run(&["-oF", "bl\nblue\nlu", "verse"]).check("the longest literal", 0, "blue\n");
    dir.run(&["-oFi", "RED\nred fish", "verse"]).check("the longest literal", 0, "Red Fish\n");
}

#[test]
fn exit_codes_and_complaints() {
    let dir = Dir::with_verse("complaints");
    let missing = "grep: missing: No such file or directory\n";
    let check = |args: &[&str], code, out: &str, err: &str| {
        let run = dir.run(args);
        run.check_out(&format!("{args:?}"), code, out);
        assert_eq!(run.err, err, "{args:?}");
    };
    check(&["fish", "missing"], 2, "", missing);
    check(&["two", "missing", "verse"], 2, "verse:two fish\n", missing);
    check(&["two", "verse", "missing"], 2, "verse:two fish\n", missing);
    check(&["-c", "two", "missing", "verse"], 2, "verse:1\n", missing);
    check(&["-l", "two", "missing", "verse"], 2, "verse\n", missing);
    check(&["-q", "two", "missing", "verse"], 0, "", missing);
    check(&["-q", "two", "verse", "missing"], 0, "", "");
    check(&["-q", "shark", "missing", "verse"], 2, "", missing);
    check(&["-F", "-E", "a"], 2, "", "grep: conflicting matchers specified\n");
    let usage = "Usage: grep [OPTION]... PATTERNS [FILE]...\nTry 'grep --help' for more information.\n";
    check(&[], 2, "", usage);
    check(&["-Z", "a"], 2, "", &format!("grep: invalid option -- 'Z'\n{usage}"));
    check(&["--help", "-Y"], 2, "", &format!("grep: invalid option -- 'Y'\n{usage}"));
    check(&["--shark", "a"], 2, "", &format!("grep: unrecognized option '--shark'\n{usage}"));
    let help = dir.run(&["--help"]);
    assert!(help.code == Some(0) && help.out.starts_with(b"Usage: grep ") && help.err.is_empty());
}

#[test]
fn standard_input() {
    let dir = Dir::with_verse("stdin");
    let input = "a fish\na bird";
    dir.run_on(input, &["bird"]).check("no operand", 0, "a bird\n");
    dir.run_on(input, &["bird", "-"]).check("-", 0, "a bird\n");
    dir.run_on(input, &["-Hn", "fish"]).check("a name", 0, "(standard input):1:a fish\n");
    dir.run_on(input, &["-c", "bird", "verse", "-"]).check("among files", 0, "verse:1\n(standard input):1\n");
    dir.run_on(input, &["-l", "fish"]).check("-l", 0, "(standard input)\n");
    dir.run_on("", &["-c", "fish"]).check("empty", 1, "0\n");
}

#[test]
fn ends_of_files() {
    let dir = Dir::new("ends");
    dir.file("empty", "");
    dir.file("newline", "\n");
    dir.file("open", "fish\nfish");
    dir.file("crlf", "fish\r\nbird\r\n");
    dir.check("-c ^ empty newline open", 0, "empty:0\nnewline:1\nopen:2\n");
    dir.check("-c fish$ open crlf", 0, "open:2\ncrlf:0\n");
    dir.check("-h fish open crlf", 0, "fish\nfish\nfish\r\n");
    dir.check("-v x empty newline open", 0, "newline:\nopen:fish\nopen:fish\n");
    dir.check("-on h$ open", 0, "1:h\n2:h\n");
}

#[test]
fn binary_files() {
    let dir = Dir::new("binary");
    dir.file("early", "fish\0bird\nbird\0fish");
    let matches = |name: &str| format!("grep: {name}: binary file matches\n");
    for args in [&["fish", "early"][..], &["-n", "bird", "early"], &["-v", "fish", "early"], &["-o", "i", "early"]] {
        let run = dir.run(args);
        run.check_out(&format!("{args:?}"), 0, "");
        assert_eq!(run.err, matches("early"));
    }
    dir.check("-c fish early", 0, "2\n"); // NUL ends a line
    dir.check("-c ^fish$ early", 0, "2\n");
    dir.check("-l fish early", 0, "early\n");
    dir.check("-q fish early", 0, "");
    dir.check("shark early", 1, "");

    // What was read before the first NUL has been printed. The line that it ends in has not.
    let mut late = filler(READ - 1000);
    late.extend(b"an early fish\n");
    let first = late.len();
    late.extend(filler(READ));
    late[first + READ / 2] = 0;
    late.extend(b"a late fish\n");
    dir.file("late", &late);
    let run = dir.run(&["fish", "late"]);
    run.check_out("a late NUL", 0, "an early fish\n");
    assert_eq!(run.err, matches("late"));
    dir.check("-c fish late", 0, "2\n");
    dir.check("-o early late", 0, "early\n");
    let run = dir.run(&["late", "late", "late"]);
    run.check_out("nothing to print", 0, "");
    assert_eq!(run.err, matches("late").repeat(2));
}

#[test]
fn holes_make_a_file_binary() {
    let dir = Dir::new("holes");
    let mut text = b"fish\n".to_vec();
    text.extend(filler(READ));
    let path = dir.file("sparse", &text);
    let size = text.len() as u64 + (4 << 20);
    File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
    if fs::metadata(&path).unwrap().blocks() * 512 >= size {
        return; // this file system has no holes
    }
    let run = dir.run(&["fish", "sparse"]);
    run.check_out("a hole", 0, "");
    assert_eq!(run.err, "grep: sparse: binary file matches\n");
}

#[test]
fn bytes_that_are_not_utf8() {
    let dir = Dir::new("bytes");
    let name = OsStr::from_bytes(b"na\xffme");
    dir.file(name, b"\xfffish\xfe\n\xc3\xa9t\xe9\n");
    dir.run(&[OsStr::new("fish"), name]).check("passed through", 0, b"\xfffish\xfe\n");
    dir.run(&[OsStr::new("-Hc"), OsStr::from_bytes(b"\xe9"), name]).check("a byte", 0, b"na\xffme:1\n");
    dir.run(&[OsStr::new("-o"), OsStr::from_bytes(b"[\xf0-\xff]."), name]).check("a range", 0, b"\xfff\n");
    dir.run(&[OsStr::new("-oF"), OsStr::from_bytes(b"\xc3"), name]).check("half a character", 0, b"\xc3\n");
    dir.run(&[OsStr::new("-c"), OsStr::new("^.{4}$"), name]).check("bytes, not characters", 0, "1\n");
    let run = dir.run(&[OsStr::new("-ic"), OsStr::from_bytes(b"\xc9"), name]);
    run.check("only ASCII is folded", 1, "0\n");
}

#[test]
fn directories() {
    let dir = Dir::new("walk");
    for name in ["tree/b/inner", "tree/b/.hidden", "tree/a", "tree/c", "tree/.git/config"] {
        dir.file(name, format!("fish in {name}\n"));
    }
    dir.file("tree/.gitignore", "*\n");
    symlink("a", dir.0.join("tree/link")).unwrap();
    symlink("b", dir.0.join("tree/linked")).unwrap();
    let found = ["tree/.git/config", "tree/a", "tree/b/.hidden", "tree/b/inner", "tree/c"];
    let lines = |write: &dyn Fn(&str) -> String| found.map(write).concat();
    dir.check("fish tree", 0, lines(&|name| format!("{name}:fish in {name}\n")));
    dir.check("-h fish tree", 0, lines(&|name| format!("fish in {name}\n")));
    dir.check("-l fish ./tree", 0, lines(&|name| format!("./{name}\n")));
    dir.check("-c hidden tree/b tree/a", 0, "tree/b/.hidden:1\ntree/b/inner:0\ntree/a:0\n");
    dir.check("-c fish tree/link", 0, "1\n");
    dir.check("-c fish tree/linked", 0, "tree/linked/.hidden:1\ntree/linked/inner:1\n");
    dir.check("-q fish tree", 0, "");
}

#[test]
fn lines_longer_than_a_read() {
    let dir = Dir::new("long");
    for length in [READ - 1, READ, READ + 1, 3 * READ, 10 * READ + 123] {
        let line = "y".repeat(length);
        dir.file("end", format!("{line}fish\nbird\n"));
        dir.file("middle", format!("bird\n{line}fish{line}\nbird\n{line}"));
        dir.check("fish end", 0, format!("{line}fish\n"));
        dir.check("-no fish|bird end", 0, "1:fish\n2:bird\n");
        dir.check("-no fish|bird middle", 0, "1:bird\n2:fish\n3:bird\n");
        dir.check("-vn fish middle", 0, format!("1:bird\n3:bird\n4:{line}\n"));
        dir.check("-c ^y middle end", 0, "middle:2\nend:1\n");
    }
}

#[test]
fn matches_where_reads_meet() {
    let dir = Dir::new("border");
    let (mut args, mut out) = (vec!["-no".to_owned(), "one fish$".to_owned()], String::new());
    for place in READ - 9..READ + 2 {
        let name = format!("at{place}");
        let mut text = filler(place + READ);
        text[place - 1] = b'\n';
        text[place..place + 9].copy_from_slice(b"one fish\n");
        let line = text[..place].iter().filter(|&&byte| byte == b'\n').count() + 1;
        out += &format!("{name}:{line}:one fish\n");
        dir.file(&name, text);
        args.push(name);
    }
    dir.run(&args).check("all places", 0, out);
}

#[test]
fn many_blocks() {
    let dir = Dir::new("many");
    let text: String = (1..=200_000).map(|n| format!("line {n}\n")).collect();
    dir.file("numbers", &text);
    let lines = |keep: &dyn Fn(u32) -> bool| -> String {
        (1..=200_000).filter(|&n| keep(n)).map(|n| format!("{n}:line {n}\n")).collect()
    };
    dir.check("-c 7 numbers", 0, format!("{}\n", (1..=200_000).filter(|n| n.to_string().contains('7')).count()));
    dir.check("-n 99$ numbers", 0, lines(&|n| n % 100 == 99));
    dir.check("-nF 999 numbers", 0, lines(&|n| n.to_string().contains("999")));
    dir.check("-nv [1-9]$ numbers", 0, lines(&|n| n % 10 == 0));
    dir.check("-v x numbers", 0, &text);
    dir.check("^ numbers", 0, &text);
}

#[test]
fn a_closed_output_ends_the_run_quietly() {
    let dir = Dir::new("closed");
    let mut child = dir.command(&["fish"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // This input has no end: the example must stop reading.
    let source = thread::spawn(move || while input.write_all(&b"a fish\n".repeat(1000)).is_ok() {});
    let mut output = child.stdout.take().unwrap();
    let mut head = [0; 14];
    output.read_exact(&mut head).unwrap();
    drop(output);
    assert_eq!(&head, b"a fish\na fish\n");
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    source.join().unwrap();
    assert_eq!(err, "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_answer_ends_the_run() {
    let dir = Dir::new("answer");
    for flag in ["-q", "-l"] {
        let mut child = dir.command(&[flag, "fish"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        while input.write_all(&b"a fish\n".repeat(1000)).is_ok() {}
        assert_eq!(child.wait().unwrap().code(), Some(0), "{flag}");
    }
}

#[test]
fn the_output_is_no_input() {
    let dir = Dir::with_verse("own-output");
    let path = dir.file("own", "a fish\n");
    let append = || Stdio::from(File::options().append(true).open(&path).unwrap());
    let mut command = dir.command(&["-h", "two fish", "own", "verse"]);
    command.stdout(append());
    let run = finish(command);
    assert_eq!(run.err, "grep: own: input file is also the output\n");
    assert_eq!(run.code, Some(2));
    let mut command = dir.command(&["-c", "fish", "own"]);
    command.stdout(append());
    assert_eq!(finish(command).code, Some(0));
    assert_eq!(fs::read_to_string(path).unwrap(), "a fish\ntwo fish\n2\n");
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_cannot_be_written() {
    let dir = Dir::with_verse("full");
    let mut command = dir.command(&["fish", "verse"]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    let run = finish(command);
    assert_eq!(run.err, "grep: write error: No space left on device\n");
    assert_eq!(run.code, Some(2));
}

/// std opens the null device in the place of a closed stream, and takes EBADF for success.
#[test]
fn closed_streams_are_errors() {
    let dir = Dir::with_verse("closed-streams");
    dir.file("binary", "fish\0");
    dir.file("other", "");
    let check = |args: &[&str], redirections: &str, code, out: &str, err: &str| {
        let run = finish(redirected(&dir.command(args), redirections));
        let what = format!("{args:?} {redirections}");
        run.check_out(&what, code, out);
        assert_eq!(run.err, err, "{what}");
    };
    let no_input = "grep: (standard input): Bad file descriptor\n";
    let no_output = "grep: write error: Bad file descriptor\n";
    check(&["fish"], "<&-", 2, "", no_input);
    check(&["-c", "fish", "-"], "<&-", 2, "", no_input);
    check(&["-c", "two", "verse", "-", "verse"], "<&-", 2, "verse:1\nverse:1\n", no_input);
    check(&["two", "verse"], "<&-", 0, "two fish\n", "");
    check(&["two", "verse"], ">&-", 2, "", no_output);
    check(&["-c", "shark", "verse"], ">&-", 2, "", no_output);
    check(&["two", "verse"], "1<other", 2, "", no_output);
    check(&["--help"], ">&-", 2, "", no_output);
    // Nothing is written.
    check(&["shark", "verse"], ">&-", 1, "", "");
    check(&["-q", "fish", "verse"], ">&-", 0, "", "");
    // A message that cannot be written is an error itself, but never with -q.
    for closed in ["2>&-", "2<other"] {
        check(&["two", "verse"], closed, 0, "two fish\n", "");
        check(&["shark", "verse"], closed, 1, "", "");
        check(&["fish", "binary"], closed, 2, "", "");
        check(&["-q", "shark", "missing"], closed, 0, "", "");
        check(&["(", "verse"], closed, 2, "", "");
        check(&["-q", "(", "verse"], closed, 0, "", "");
        check(&["-qY"], closed, 0, "", "");
    }
    check(&["fish"], "<&- >&- 2>&-", 2, "", "");
}

/// In POSIX mode an option cannot follow an operand.
#[test]
fn operands_end_options_where_posix_is_asked_for() {
    let dir = Dir::with_verse("posix");
    let check = |args: &[&str], code, out: &str, missing: &[&str]| {
        for value in ["1", ""] {
            let mut command = dir.command(args);
            command.env("POSIXLY_CORRECT", value);
            let run = finish(command);
            run.check_out(&format!("{args:?}"), code, out);
            let lines = missing.iter().map(|name| format!("grep: {name}: No such file or directory\n"));
            assert_eq!(run.err, lines.collect::<String>(), "{args:?}");
        }
    };
    check(&["two", "verse", "-n"], 2, "verse:two fish\n", &["-n"]);
    check(&["-n", "two", "verse", "-c", "--", "verse"], 2, "verse:2:two fish\nverse:2:two fish\n", &["-c", "--"]);
    check(&["-n", "--", "two", "--", "verse"], 2, "verse:2:two fish\n", &["--"]);
    check(&["two", "--help"], 2, "", &["--help"]);
    check(&["-n", "two", "verse"], 0, "2:two fish\n", &[]);
}

/// Runs with a terminal as standard output and returns what it shows.
fn on_terminal(mut command: Command) -> String {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: both pointers are valid for a write, and the remaining arguments may be null.
    let result = unsafe { libc::openpty(&mut master, &mut slave, ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) };
    assert_eq!(result, 0);
    // SAFETY: openpty just opened both descriptors, and no other code owns them.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut child = command.stdout(slave).spawn().unwrap();
    drop(command); // and with it the last copy of `slave` in here
    let mut shown = Vec::new();
    // On Linux the end of a terminal is an error.
    let _ = File::from(master).read_to_end(&mut shown);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    String::from_utf8(shown).unwrap().replace("\r\n", "\n").replace("\x1b[K", "").replace('\x1b', "!")
}

#[test]
fn colours_on_a_terminal() {
    let dir = Dir::with_verse("colours");
    let fish = "![01;31mfish![m";
    assert_eq!(on_terminal(dir.command(&["fish", "verse"])), format!("one {fish}\ntwo {fish}\n"));
    let head = "![35mverse![m![36m:![m![32m2![m![36m:![m";
    assert_eq!(on_terminal(dir.command(&["-Hn", "two fish", "verse"])), format!("{head}![01;31mtwo fish![m\n"));
    assert_eq!(on_terminal(dir.command(&["-Hno", "w", "verse"])), format!("{head}![01;31mw![m\n"));
    assert_eq!(on_terminal(dir.command(&["-v", "[nwF]", "verse"])), "\nblue bird\n");
    assert_eq!(on_terminal(dir.command(&["-l", "fish", "verse"])), "![35mverse![m\n");
    assert_eq!(on_terminal(dir.command(&["-Hc", "fish", "verse"])), "![35mverse![m![36m:![m2\n");
    let mut plain = dir.command(&["fish", "verse"]);
    plain.env("NO_COLOR", "1");
    assert_eq!(on_terminal(plain), "one fish\ntwo fish\n");
    let mut plain = dir.command(&["fish", "verse"]);
    plain.env("TERM", "dumb");
    assert_eq!(on_terminal(plain), "one fish\ntwo fish\n");
}

/// A pattern, the lines that it selects, and lines that it does not select.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
const SYNTAX: &[Case] = &[
    // Brackets: a backslash is a member, and so are `]`, `-` and `^` in the right places.
    ("^[]a]$",               &["]", "a"],              &["b", "[", "\\"]),
    ("^[^]a]$",              &["b", "^"],              &["]", "a", ""]),
    ("^[\\n]$",              &["\\", "n"],             &["\n", "x"]),
    ("^[\\]]$",              &["\\]"],                 &["]", "\\"]),
    ("^[a-c]$",              &["a", "b", "c"],         &["d", "-"]),
    ("^[a-]$",               &["a", "-"],              &["b"]),
    ("^[-a]$",               &["a", "-"],              &["b"]),
    ("^[%--]$",              &["%", "-", "+"],         &["a", "$"]),
    ("^[--/]$",              &["-", ".", "/"],         &["0", ","]),
    ("^[a^]$",               &["a", "^"],              &["b"]),
    ("^[[:digit:]x]$",       &["0", "9", "x"],         &["a", ":"]),
    ("^[^[:alpha:]]$",       &["1", " ", "\u{1}"],     &["a", "Z"]),
    ("^[[:space:][:punct:]]$", &[" ", "\t", "!", "_"], &["a", "1"]),
    ("^[[=a=][.-.]]$",       &["a", "-"],              &["b", "=", "."]),
    ("^[[.a.]-c]$",          &["a", "b", "c"],         &["d", "."]),
    ("^[[.].]]$",            &["]"],                   &["[", "."]),
    // Backslashes: GNU's operators, or the byte itself.
    ("^\\d$",                &["d"],                   &["1", "\\d"]),
    ("^\\.\\*\\[\\]$",       &[".*[]"],                &["a*[]"]),
    ("^\\{\\}\\(\\)\\|\\+\\?$", &["{}()|+?"],          &[]),
    ("^\\/\\-\\\"$",         &["/-\""],                &[]),
    ("^\\w+$",               &["a_1Z"],                &["a-b", "", "é"]),
    ("^\\W$",                &["-", " "],              &["a", "_"]),
    ("^\\s+$",               &[" \t\u{b}\u{c}\r"],     &["a", ""]),
    ("^\\S$",                &["a", "-"],              &[" ", "\t"]),
    ("\\bfish\\b",           &["fish", "a fish."],     &["fishy", "_fish"]),
    ("o\\B.",                &["fools"],               &["so l"]),
    ("^\\B$",                &[""],                    &["a"]),
    ("\\<a",                 &["a", "b a"],            &["ba"]),
    ("a\\>",                 &["a", "ba b"],           &["ab"]),
    ("\\`a\\'",              &["a"],                   &["ab", "ba"]),
    // Repetitions, also of repetitions and of nothing.
    ("^a**$",                &["", "a", "aa"],         &["b"]),
    ("^a+?$",                &["", "a", "aa"],         &["b"]),
    ("^a{2}{2}$",            &["aaaa"],                &["aa", "aaa"]),
    ("^(ab){2}$",            &["abab"],                &["ab", "abb"]),
    ("^a{2,3}$",             &["aa", "aaa"],           &["a", "aaaa"]),
    ("^a{,2}$",              &["", "a", "aa"],         &["aaa"]),
    ("^a{2,}$",              &["aa", "aaaa"],          &["a"]),
    ("^a{,}$",               &["", "aaa"],             &["b"]),
    ("^a{0}b$",              &["b"],                   &["ab"]),
    ("^\\b{2}a$",            &["a"],                   &[]),
    ("*a",                   &["a", "*a"],             &["*", "b"]),
    ("+a|?b",                &["a", "b"],              &["+", "?"]),
    ("{1}a",                 &["a", "{1}a"],           &["{1}"]),
    ("(*a)",                 &["a"],                   &["*"]),
    ("^*a",                  &["a", "ba"],             &["b"]),
    // Braces that are no repetition.
    ("^a{1$",                &["a{1"],                 &["a"]),
    ("^a{x}$",               &["a{x}"],                &["a"]),
    ("^a{1,x}$",             &["a{1,x}"],              &["a"]),
    ("^{$",                  &["{"],                   &[""]),
    ("^a}$",                 &["a}"],                  &["a"]),
    // Groups, branches and anchors.
    ("^(a|)b$",              &["ab", "b"],             &["a"]),
    ("^(|a)b$",              &["ab", "b"],             &["a"]),
    ("^a||b$",               &["a", "b", "x", ""],     &[]),
    ("^()$",                 &[""],                    &["a", "()"]),
    ("a)",                   &["a)"],                  &["a"]),
    ("^(a|b)(c|d)$",         &["ac", "bd"],            &["ab", "cd"]),
    ("a^b|a$b",              &[],                      &["a^b", "a$b", "ab"]),
    ("(^|x)a($|y)",          &["a", "xa", "ay", "bxay"], &["ba", "ab"]),
    ("^.$",                  &["a", ".", "\r"],        &["", "ab"]),
    ("a.b",                  &["a-b", "a\tb"],         &["ab", "a\nb"]),
    ("a[^x]b",               &["a-b"],                 &["axb", "a\nb"]),
    ("a\nb",                 &["a", "b", "xbx"],       &["x"]),
    // Literals that every match must contain, for which lines are searched first.
    ("[a-c]+fish+y",         &["afishy", "cfishhy"],   &["fishy", "afish"]),
    ("x*fish?y{0}z*",        &["fis", "fish", "xfishz"], &["fi"]),
    ("a(b|c)fish|bird",      &["abfish", "bird"],      &["fish"]),
    ("ab*c+?d",              &["ad", "abbcd"],         &["bcd", "a"]),
];

#[test]
fn syntax() {
    let dir = Dir::new("syntax");
    for &(pattern, selected, others) in SYNTAX {
        let text: String = selected.iter().chain(others).map(|line| format!("{line}\n")).collect();
        let out: String = selected.iter().map(|line| format!("{line}\n")).collect();
        let run = dir.run_on(&text, &[pattern]);
        run.check_out(pattern, if selected.is_empty() { 1 } else { 0 }, &out);
    }
}

#[test]
fn folded_syntax() {
    let dir = Dir::new("folded");
    let check = |pattern: &str, out: &str| {
        dir.run_on("a\nB\nk\n_\n1\n", &["-i", pattern]).check_out(pattern, i32::from(out.is_empty()), out);
    };
    check("[[:upper:]]", "a\nB\nk\n");
    check("[^A]", "B\nk\n_\n1\n");
    check("[^[:lower:]]", "_\n1\n");
    check("^[J-L]$", "k\n");
    check("[a-_]", "");
    check("A|b", "a\nB\n");
    check("\\W", "");
}

/// `regex` refuses more than 250 levels by itself.
#[test]
fn deep_patterns_match() {
    let dir = Dir::new("deep");
    let nested = |open: &str, middle: &str, close: &str, depth| {
        [open.repeat(depth), middle.to_owned(), close.repeat(depth)].concat()
    };
    for pattern in [
        nested("(", "b", ")", 251),
        nested("(", "b", ")", 10_000),
        nested("", "b", "*", 2_000),
        nested("", "b", "{1}", 126),
        nested("(a|", "b", ")", 300),
        nested("(a", "b", ")?", 300),
        nested("(a", "b", ")*", 300),
    ] {
        let run = dir.run_on("b\nab\n", &["-c", &pattern]);
        run.check(&start(&pattern), 0, "2\n");
    }
    let run = dir.run_on("b\n", &[nested("(", "b", ")", 60_000)]);
    run.check_out("too deep", 2, "");
    assert_eq!(run.err, "grep: stack overflow\n");
}

#[test]
fn wrong_patterns() {
    let dir = Dir::with_verse("wrong");
    let unmatched = "Unmatched [, [^, [:, [., or [=";
    for (pattern, complaint) in [
        ("(a", r"Unmatched ( or \("),
        ("(a\nb)", r"Unmatched ( or \("),
        ("(*)", r"Unmatched ( or \("),
        ("a\\", "Trailing backslash"),
        ("[a", unmatched),
        ("[]", unmatched),
        ("[[:alpha:", unmatched),
        ("[a[.]", unmatched),
        ("[b-a]", "Invalid range end"),
        ("[a-c-e]", "Invalid range end"),
        ("[[:alpha:]-z]", "Invalid range end"),
        ("[[:shark:]]", "Invalid character class name"),
        ("[[.ab.]]", "Invalid collation character"),
        ("[:space:]", "character class syntax is [[:space:]], not [:space:]"),
        ("a{2,1}", r"Invalid content of \{\}"),
        ("a{}", r"Invalid content of \{\}"),
        ("a{32768}", "Regular expression too big"),
    ] {
        let run = dir.run(&[pattern, "verse"]);
        run.check_out(pattern, 2, "");
        assert_eq!(run.err, format!("grep: {complaint}\n"), "{pattern}");
    }
    let run = dir.run(&[r"(fish)\1", "verse"]);
    assert_eq!((run.code, run.err.as_str()), (Some(2), "grep: back-references are not supported\n"));
}
