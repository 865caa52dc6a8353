//! The standard streams. Each test replaces those of a process of its own by pipes, sockets, terminals and files.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use common::child::in_child;
use common::random::Random;
use common::{command, rounds};

use cede::io::{Partial, is_cancelled, stderr, stdin, stdout, write_all};
use cede::time::sleep;
use cede::{run, spawn, timeout, yield_now};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::ptr::{null, null_mut};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

/// The time after which a wait ends in these tests.
const LIMIT: Duration = Duration::from_millis(60);

/// Runs `body` in a process of its own.
fn alone(name: &str, body: impl FnOnce()) {
    let output = in_child(name, body);
    assert!(output.ends_with("exit code Some(0)"), "{output}");
}

/// Replaces a standard stream, and closes `fd`.
fn replace(number: i32, fd: impl Into<OwnedFd>) {
    let fd: OwnedFd = fd.into();
    // SAFETY: both descriptors are open, and the streams of this process belong to the test.
    assert_eq!(unsafe { libc::dup2(fd.as_raw_fd(), number) }, number);
    // A new descriptor has the lowest number that is free: after a close it is that of the stream.
    if fd.as_raw_fd() == number {
        std::mem::forget(fd);
    }
}

fn flags(number: i32) -> i32 {
    // SAFETY: the call takes no pointer.
    unsafe { libc::fcntl(number, libc::F_GETFL) }
}

/// The end of the test, and the end that becomes a standard stream.
type Ends = (File, OwnedFd);

fn input_pipe() -> Ends {
    let (reader, writer) = io::pipe().unwrap();
    (File::from(OwnedFd::from(writer)), reader.into())
}

fn output_pipe() -> Ends {
    let (reader, writer) = io::pipe().unwrap();
    (File::from(OwnedFd::from(reader)), writer.into())
}

fn socket() -> Ends {
    let (mine, theirs) = UnixStream::pair().unwrap();
    (File::from(OwnedFd::from(mine)), theirs.into())
}

/// A terminal. With `is_raw` it changes no byte, and knows no lines.
fn terminal(is_raw: bool) -> Ends {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: both places are writable, and the other arguments may be null.
    assert_eq!(unsafe { libc::openpty(&raw mut master, &raw mut slave, null_mut(), null(), null()) }, 0);
    // SAFETY: the descriptors are new, so nothing else owns them.
    let ends = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    change(ends.1.as_fd(), |settings| {
        if is_raw {
            // SAFETY: `settings` is valid for the call.
            unsafe { libc::cfmakeraw(settings) };
        }
        settings.c_lflag &= !libc::ECHO;
    });
    ends
}

/// Changes the settings of a terminal.
fn change(fd: BorrowedFd<'_>, f: impl FnOnce(&mut libc::termios)) {
    // SAFETY: all zeros is a valid `termios`, which has only numbers.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `settings` is valid for the call.
    assert_eq!(unsafe { libc::tcgetattr(fd.as_raw_fd(), &raw mut settings) }, 0);
    f(&mut settings);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::tcsetattr(fd.as_raw_fd(), libc::TCSANOW, &raw const settings) }, 0);
}

/// Stops or continues the output of a terminal, as Ctrl-S and Ctrl-Q do.
fn flow(number: i32, action: i32) {
    // SAFETY: the call takes no pointer.
    assert_eq!(unsafe { libc::tcflow(number, action) }, 0);
}

/// All kinds of input that can be silent.
fn inputs() -> [Ends; 4] {
    [input_pipe(), socket(), terminal(false), terminal(true)]
}

fn read_some(len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let count = stdin().read(&mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// The error of a closure that its deadline has ended.
fn late<T>(f: impl FnOnce() -> io::Result<T>) -> io::Error {
    let late = timeout(LIMIT, f).err().expect("the deadline has passed");
    late.value.err().expect("the call has no result")
}

/// Runs `body` while another task counts its turns. Returns their number.
fn counted(body: impl FnOnce()) -> u32 {
    let turns = Rc::new(Cell::new(0));
    let counter = Rc::clone(&turns);
    let mut ticker = spawn(move || {
        while sleep(Duration::from_millis(2)).is_ok() {
            counter.set(counter.get() + 1);
        }
    });
    body();
    ticker.cancel();
    let _ = ticker.join();
    turns.get()
}

#[test]
fn silent_input_times_out() {
    alone("silent_input_times_out", || {
        for (mut other, end) in inputs() {
            replace(0, end);
            let before = flags(0);
            run(|| {
                let turns = counted(|| {
                    let error = late(|| read_some(16));
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert!(is_cancelled(&error));
                });
                assert!(turns > 0, "the other task has no turn");
                assert_eq!(flags(0), before);
                other.write_all(b"late\n").unwrap();
                assert_eq!(read_some(16).unwrap(), b"late\n");
            });
            assert_eq!(flags(0), before);
            other.write_all(b"thread\n").unwrap();
            assert_eq!(read_some(16).unwrap(), b"thread\n", "in a plain thread");
        }
    });
}

#[test]
fn silent_input_is_cancelled() {
    alone("silent_input_is_cancelled", || {
        for (mut other, end) in inputs() {
            replace(0, end);
            run(|| {
                let mut reader = spawn(|| read_some(16));
                rounds(3);
                assert!(!reader.is_finished());
                reader.cancel();
                let error = reader.join().unwrap().unwrap_err();
                assert!(is_cancelled(&error) && error.kind() == ErrorKind::Other, "{error:?}");
                other.write_all(b"next\n").unwrap();
                assert_eq!(spawn(|| read_some(16)).join().unwrap().unwrap(), b"next\n");
            });
        }
    });
}

/// Input that arrives during the wait ends it, in a task and in a plain thread.
#[test]
fn late_input_is_read() {
    alone("late_input_is_read", || {
        for (mut other, end) in inputs() {
            replace(0, end);
            for in_run in [true, false] {
                let mut writer = other.try_clone().unwrap();
                let writing = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    writer.write_all(b"late\n").unwrap();
                });
                let text = if in_run { run(|| read_some(16)) } else { read_some(16) };
                assert_eq!(text.unwrap(), b"late\n");
                writing.join().unwrap();
            }
            other.flush().unwrap();
        }
    });
}

/// A terminal that reports data, but whose read waits for more: the read on the pool outlives its waiter.
fn slow_terminal() -> Ends {
    let (other, end) = terminal(true);
    change(end.as_fd(), |settings| {
        settings.c_cc[libc::VMIN] = 4;
        settings.c_cc[libc::VTIME] = 200; // tenths of a second
    });
    (other, end)
}

#[test]
fn data_after_timeout_is_kept() {
    alone("data_after_timeout_is_kept", || {
        let (mut other, end) = slow_terminal();
        replace(0, end);
        for in_run in [true, false] {
            run(|| {
                other.write_all(b"a").unwrap();
                let error = late(|| read_some(100));
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            });
            other.write_all(b"bcd").unwrap();
            // The bytes of the first read come in two parts, and before later ones.
            let parts = || (read_some(3).unwrap(), read_some(100).unwrap());
            let (first, second) = if in_run { run(parts) } else { parts() };
            assert_eq!((&*first, &*second), (&b"abc"[..], &b"d"[..]));
        }
        run(|| {
            other.write_all(b"1").unwrap();
            let mut text = String::new();
            assert!(is_cancelled(&late(|| stdin().read_line(&mut text))));
            other.write_all(b"234\n678").unwrap();
            assert_eq!(stdin().read_line(&mut text).unwrap(), 5);
            assert_eq!(text, "1234\n");
            assert_eq!(read_some(100).unwrap(), b"678");
        });
    });
}

/// Reads with deadlines of up to 2 ms from a writer that pauses as long.
#[test]
fn deadlines_lose_no_input() {
    alone("deadlines_lose_no_input", || {
        let kinds = [input_pipe(), socket(), terminal(true), slow_terminal()];
        for (seed, (mut other, end)) in (0..).zip(kinds) {
            replace(0, end);
            let bytes = pattern(20_000);
            let sent = bytes.clone();
            let writing = thread::spawn(move || {
                let mut random = Random::new(seed);
                let mut rest = &sent[..];
                while !rest.is_empty() {
                    // The slow terminal needs four bytes at a time.
                    let count = (4 * (1 + random.below(60))).min(rest.len());
                    let (now, later) = rest.split_at(count);
                    let (first, second) = now.split_at(random.below(count));
                    other.write_all(first).unwrap();
                    thread::sleep(Duration::from_micros(random.below(2_000) as u64));
                    other.write_all(second).unwrap();
                    rest = later;
                }
                other
            });
            let (mut received, mut late) = (Vec::new(), 0);
            run(|| {
                let mut random = Random::new(!seed);
                while received.len() < bytes.len() {
                    let limit = Duration::from_micros(random.below(2_000) as u64);
                    let len = 1 + random.below(300);
                    match timeout(limit, || read_some(len)).unwrap_or_else(|late| late.value) {
                        Ok(read) => received.extend(read),
                        Err(error) => {
                            assert!(is_cancelled(&error), "{error}");
                            late += 1;
                        }
                    }
                }
            });
            assert!(received == bytes, "kind {seed}");
            assert!(late > 0, "no deadline passed, kind {seed}");
            let _other = writing.join().unwrap();
        }
    });
}

/// Writes with deadlines of up to 2 ms to a reader that pauses as long.
#[test]
fn deadlines_lose_no_output() {
    alone("deadlines_lose_no_output", || {
        for (seed, (mut other, end)) in (0..).zip([output_pipe(), socket(), terminal(true)]) {
            replace(1, end);
            let bytes = pattern(1 << 20);
            let len = bytes.len();
            let reading = thread::spawn(move || {
                let mut random = Random::new(seed);
                let (mut received, mut buffer) = (Vec::new(), [0; 30_000]);
                while received.len() < len {
                    let count = other.read(&mut buffer).unwrap();
                    received.extend_from_slice(&buffer[..count]);
                    thread::sleep(Duration::from_micros(random.below(2_000) as u64));
                }
                received
            });
            let mut late = 0;
            run(|| {
                let mut random = Random::new(!seed);
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let limit = Duration::from_micros(random.below(2_000) as u64);
                    let some = &rest[..(1 + random.below(100_000)).min(rest.len())];
                    let written = timeout(limit, || write_all(stdout(), some)).unwrap_or_else(|late| late.value);
                    let sent = written.map_or_else(
                        |partial| {
                            assert!(is_cancelled(&partial.error), "{partial}");
                            late += 1;
                            partial.sent
                        },
                        |()| some.len(),
                    );
                    rest = &rest[sent..];
                }
                stdout().flush().unwrap();
            });
            assert!(reading.join().unwrap() == bytes, "kind {seed}");
            assert!(late > 0, "no deadline passed, kind {seed}");
        }
    });
}

/// Runs a test in a run and in a plain thread.
fn in_run_and_thread(test: impl Fn()) {
    run(&test);
    test();
}

#[test]
fn files_are_read_at_once() {
    alone("files_are_read_at_once", || {
        let contents: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let path = std::env::temp_dir().join(format!("cede-stdin-{}", std::process::id()));
        std::fs::write(&path, &contents).unwrap();
        in_run_and_thread(|| {
            let mut file = File::open(&path).unwrap();
            file.sync_all().unwrap();
            // SAFETY: the call takes no pointer.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            replace(0, file.try_clone().unwrap());
            let mut all = Vec::new();
            stdin().read_to_end(&mut all).unwrap();
            assert!(all == contents);
            assert_eq!(read_some(8).unwrap(), b"");
            file.rewind().unwrap();
            assert_eq!(read_some(8).unwrap(), contents[..8], "the cursor is that of the file");
        });
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn empty_inputs_end_at_once() {
    alone("empty_inputs_end_at_once", || {
        in_run_and_thread(|| {
            replace(0, File::open("/dev/null").unwrap());
            assert_eq!(read_some(8).unwrap(), b"");
            let (other, end) = input_pipe();
            drop(other);
            replace(0, end);
            assert_eq!(read_some(8).unwrap(), b"");
            assert_eq!(stdin().lines().count(), 0);
            // SAFETY: the streams of this process belong to the test.
            unsafe { libc::close(0) };
            assert_eq!(read_some(8).unwrap(), b"", "a closed descriptor is an empty input");
            assert_eq!(stdin().read_line(&mut String::new()).unwrap(), 0);
            replace(0, File::open("/").unwrap());
            assert_eq!(read_some(8).unwrap_err().kind(), ErrorKind::IsADirectory);
        });
    });
}

#[test]
fn lines_are_whole() {
    alone("lines_are_whole", || {
        in_run_and_thread(|| {
            let (mut other, end) = input_pipe();
            replace(0, end);
            let long = "x".repeat(20_000);
            let text = format!("one\r\n\ntwo\n{long}\nlast");
            let writing = thread::spawn(move || {
                for part in text.as_bytes().chunks(4_999) {
                    other.write_all(part).unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let lines: Vec<_> = stdin().lines().map(Result::unwrap).collect();
            assert_eq!(lines, ["one", "", "two", &long, "last"]);
            writing.join().unwrap();

            let (mut other, end) = input_pipe();
            replace(0, end);
            other.write_all(b"\xff\nfine\nrest").unwrap();
            drop(other);
            let mut text = String::from("kept ");
            assert_eq!(stdin().read_line(&mut text).unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(stdin().read_line(&mut text).unwrap(), 5);
            assert_eq!(text, "kept fine\n");
            assert_eq!(read_some(100).unwrap(), b"rest", "what was read with the line is kept");
        });
    });
}

#[test]
fn cancelled_line_is_kept() {
    alone("cancelled_line_is_kept", || {
        let (mut other, end) = input_pipe();
        replace(0, end);
        run(|| {
            other.write_all(b"first half, ").unwrap();
            let mut lines = stdin().lines();
            assert!(is_cancelled(&late(|| lines.next().unwrap())));
            other.write_all(b"second half\n").unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "first half, second half");
            let mut line = String::new();
            writeln!(other, "buffered").unwrap();
            BufReader::new(stdin()).read_line(&mut line).unwrap();
            assert_eq!(line, "buffered\n");
        });
    });
}

/// Each line is read once, by tasks and by a thread.
#[test]
fn readers_take_turns() {
    alone("readers_take_turns", || {
        let (mut other, end) = input_pipe();
        replace(0, end);
        let writing = thread::spawn(move || {
            (0..3_000).for_each(|number| writeln!(other, "{number}").unwrap());
        });
        let in_thread = thread::spawn(|| stdin().lines().map(Result::unwrap).collect::<Vec<_>>());
        let mut all = run(|| {
            let readers = [0, 1].map(|_| {
                spawn(|| {
                    stdin()
                        .lines()
                        .map(|line| {
                            yield_now();
                            line.unwrap()
                        })
                        .collect::<Vec<_>>()
                })
            });
            readers.map(|mut reader| reader.join().unwrap()).concat()
        });
        writing.join().unwrap();
        all.extend(in_thread.join().unwrap());
        let mut numbers: Vec<u32> = all.iter().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers == (0..3_000).collect::<Vec<_>>());
    });
}

/// Another process may have made a shared descriptor non-blocking.
#[test]
fn nonblocking_streams_wait_nevertheless() {
    alone("nonblocking_streams_wait_nevertheless", || {
        for ends in [input_pipe, || terminal(false)] {
            let (mut other, end) = ends();
            replace(0, end);
            // SAFETY: the call takes no pointer.
            unsafe { libc::fcntl(0, libc::F_SETFL, flags(0) | libc::O_NONBLOCK) };
            let before = flags(0);
            in_run_and_thread(|| {
                let mut writer = other.try_clone().unwrap();
                let writing = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    writer.write_all(b"text\n").unwrap();
                });
                assert_eq!(read_some(100).unwrap(), b"text\n");
                writing.join().unwrap();
            });
            assert_eq!(flags(0), before);
            other.flush().unwrap();
        }
        let (other, end) = output_pipe();
        replace(1, end);
        // SAFETY: as above.
        unsafe { libc::fcntl(1, libc::F_SETFL, flags(1) | libc::O_NONBLOCK) };
        in_run_and_thread(|| {
            let reading = reader_of(other.try_clone().unwrap(), 300_000);
            stdout().write_all(&[7; 300_000]).unwrap();
            assert!(reading.join().unwrap() == [7; 300_000]);
        });
    });
}

/// A thread that reads `len` bytes, after a while.
fn reader_of(mut file: File, len: usize) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes).unwrap();
        bytes
    })
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

#[test]
fn full_output_times_out() {
    alone("full_output_times_out", || {
        for (mut other, end) in [output_pipe(), socket(), terminal(true)] {
            let bytes = pattern(4 << 20);
            replace(1, end);
            let before = flags(1);
            let sent = run(|| {
                let mut partial: Option<Partial> = None;
                let turns = counted(|| {
                    partial = timeout(LIMIT, || write_all(stdout(), &bytes)).unwrap_err().value.err();
                    // This write waits from its begin, also if the first one has needed all its time to fill the stream.
                    let error = late(|| stdout().write(b"never"));
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                });
                assert!(turns > 0, "the other task has no turn");
                let partial = partial.unwrap();
                assert_eq!(partial.error.kind(), ErrorKind::TimedOut);
                assert!(is_cancelled(&partial.error));
                assert_eq!(flags(1), before);
                partial.sent
            });
            assert!(sent > 0 && sent < bytes.len());
            // What was accepted, and nothing else, comes before the next bytes.
            let reading = thread::spawn(move || {
                let mut all = vec![0; sent + 4];
                other.read_exact(&mut all).unwrap();
                all
            });
            stdout().write_all(b"more").unwrap();
            stdout().flush().unwrap();
            let all = reading.join().unwrap();
            assert!(all[..sent] == bytes[..sent] && &all[sent..] == b"more");
        }
    });
}

/// A terminal that reports room, but has less than the write needs: the write on the pool outlives its waiter, and its bytes come first.
#[test]
fn accepted_bytes_come_first() {
    alone("accepted_bytes_come_first", || {
        let is_pending = || run(|| timeout(LIMIT, || stdout().flush()).is_err());
        // The terminal is full at the end of a write or in the middle, depending on the lengths.
        for first in (1..60).map(|step| step * 149) {
            let (mut other, end) = terminal(true);
            replace(1, end);
            let bytes = pattern(300_000);
            stdout().write_all(&bytes[..first]).unwrap();
            let partial =
                run(|| timeout(LIMIT, || write_all(stdout(), &bytes[first..])).unwrap_err().value.unwrap_err());
            let (sent, was_pending) = (first + partial.sent, is_pending());
            let reading = thread::spawn(move || {
                let mut all = vec![0; sent + 4];
                other.read_exact(&mut all).unwrap();
                all
            });
            stdout().write_all(b"more").unwrap();
            stdout().flush().unwrap();
            let all = reading.join().unwrap();
            assert!(all[..sent] == bytes[..sent] && &all[sent..] == b"more");
            if was_pending {
                return;
            }
        }
        panic!("no write was in the middle when the terminal was full");
    });
}

#[test]
fn stopped_terminal_times_out() {
    alone("stopped_terminal_times_out", || {
        let (mut other, end) = terminal(true);
        replace(2, end);
        flow(2, libc::TCOOFF);
        let before = flags(2);
        let outcome = run(|| {
            let mut writer = spawn(|| stderr().write_all(b"cancelled"));
            rounds(3);
            writer.cancel();
            (late(|| stderr().write_all(b"never")).kind(), writer.join().unwrap())
        });
        let after = flags(2);
        flow(2, libc::TCOON);
        write!(stderr(), "continued").unwrap();
        let mut text = [0; 9];
        other.read_exact(&mut text).unwrap();
        // Now a panic has a place for its message.
        replace(2, output_pipe().1);
        assert_eq!((&text, outcome.0, after), (b"continued", ErrorKind::TimedOut, before));
        assert!(is_cancelled(&outcome.1.unwrap_err()));
    });
}

#[test]
fn output_reaches_every_kind() {
    alone("output_reaches_every_kind", || {
        for (other, end) in [output_pipe(), socket(), terminal(true)] {
            replace(1, end);
            in_run_and_thread(|| {
                let reading = reader_of(other.try_clone().unwrap(), 100_000);
                (&stdout()).write_all(&pattern(100_000)).unwrap();
                assert!(reading.join().unwrap() == pattern(100_000));
            });
        }
        let path = std::env::temp_dir().join(format!("cede-stdout-{}", std::process::id()));
        in_run_and_thread(|| {
            replace(1, File::create(&path).unwrap());
            writeln!(stdout(), "{} words", 2).unwrap();
            assert_eq!(stdout().write(b"three").unwrap(), 5);
            assert_eq!(std::fs::read(&path).unwrap(), b"2 words\nthree");
            replace(1, File::options().write(true).open("/dev/null").unwrap());
            assert_eq!(stdout().write(b"three").unwrap(), 5);
            let (other, end) = output_pipe();
            drop(other);
            replace(1, end);
            assert_eq!(stdout().write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            // SAFETY: the streams of this process belong to the test.
            unsafe { libc::close(1) };
            assert_eq!(stdout().write(b"three").unwrap(), 5, "a closed descriptor takes all");
            stdout().write_all(b"three").unwrap();
            stdout().flush().unwrap();
        });
        std::fs::remove_file(&path).unwrap();
    });
}

/// A line is written whole, also if the task waits in the middle.
#[test]
fn lines_of_tasks_stay_whole() {
    alone("lines_of_tasks_stay_whole", || {
        let (other, end) = output_pipe();
        replace(1, end);
        let reading = thread::spawn(move || {
            let lines = BufReader::with_capacity(1000, PipeReader::from(OwnedFd::from(other))).lines();
            lines.take(60).map(Result::unwrap).collect::<Vec<_>>()
        });
        run(|| {
            let writers = ["a", "b", "c"].map(|name| {
                spawn(move || {
                    for _ in 0..20 {
                        let half = name.repeat(10_000);
                        writeln!(stdout(), "{half}{half}").unwrap();
                    }
                })
            });
            writers.into_iter().for_each(|mut writer| writer.join().unwrap());
        });
        for line in reading.join().unwrap() {
            assert_eq!(line, line[..1].repeat(20_000));
        }
    });
}

/// Ctrl-C at a terminal ends a process whose task reads from it. The terminal's mode is unchanged, as it was all the time.
#[test]
fn ctrl_c_ends_a_read() {
    const READER: &str = "CEDE_STDIO_READER";
    if std::env::var_os(READER).is_some() {
        run(|| {
            let mut reader = spawn(|| read_some(16));
            rounds(3);
            writeln!(stderr(), "reads").unwrap();
            let _ = reader.join();
        });
        std::process::exit(1);
    }
    let (mut other, end) = terminal(false);
    // SAFETY: the call takes no pointer.
    let flags = || unsafe { libc::fcntl(end.as_raw_fd(), libc::F_GETFL) };
    let before = flags();
    let mut command = command(std::env::current_exe().unwrap());
    command.args(["--exact", "ctrl_c_ends_a_read", "--nocapture"]).env(READER, "");
    if cfg!(panic = "abort") {
        command.env("__RUST_TEST_INVOKE", "ctrl_c_ends_a_read");
    }
    command.stdin(end.try_clone().unwrap()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: only two system calls run between fork and exec, and both are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // The terminal becomes the one of a new session.
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(messages.any(|line| line.unwrap() == "reads"));
    assert_eq!(flags(), before, "during the read");
    other.write_all(b"\x03").unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), flags()), (Some(libc::SIGINT), before), "{status}");
}

#[test]
fn terminals_are_recognized() {
    alone("terminals_are_recognized", || {
        let (_other, end) = terminal(false);
        replace(0, end);
        replace(1, output_pipe().1);
        assert!(stdin().is_terminal() && !stdout().is_terminal());
        assert_eq!((stdin().as_raw_fd(), stdout().as_fd().as_raw_fd(), stderr().as_raw_fd()), (0, 1, 2));
    });
}
