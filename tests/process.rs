//! Child processes: outputs, waits, cancels, drops, zombies, inheritance. Each property of waits is tested with descriptors of
//! processes and with SIGCHLD.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::is_cancelled;
use cede::net::{TcpListener, TcpStream};
use cede::process::{Child, Command, Output, Stdio, refuse_pidfd};
use cede::signal::SignalKind;
use cede::{Config, Generator, Yielder, join_all, run, scope, spawn, timeout, yield_now};
use common::child::in_child;
use common::emulated;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// SIGCHLD tells the end of a child.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Runs `test` in a process of its own for each event that tells the end of a child.
fn both_ways(name: &str, test: impl Fn()) {
    let text = in_child(name, || {
        test();
        refuse_pidfd(true);
        IS_REFUSED.store(true, Relaxed);
        test();
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

fn text_of(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

/// The descriptors of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The children of this process, with their states.
fn children() -> Vec<(u32, char)> {
    let own = std::process::id().to_string();
    let stats = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may have spaces.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next()?.chars().next()?, fields.next()?);
        (parent == own).then_some((pid, state))
    });
    stats.collect()
}

/// Waits until `pid` is no child of this process, while other children start and end.
fn is_collected(pid: u32) -> bool {
    let began = Instant::now();
    while children().iter().any(|(child, _)| *child == pid) {
        if began.elapsed() > LONG {
            return false;
        }
        assert!(run(|| Command::new("true").status()).unwrap().success());
    }
    true
}

#[test]
fn output_and_status_are_those_of_std() {
    both_ways("output_and_status_are_those_of_std", || {
        run(|| {
            let output = sh("echo out; echo err >&2; cat; exit 3").output().unwrap();
            assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
            assert_eq!(output.status.code(), Some(3));
            assert!(Command::new("true").status().unwrap().success());
            assert_eq!(sh("kill -TERM $$").status().unwrap().signal(), Some(libc::SIGTERM));
            // An emulator forks instead of calling vfork(2), and then posix_spawn(3) cannot tell an error.
            if !emulated() {
                let error = Command::new("/no/such/program").spawn().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
        });
    });
}

/// What the program set is kept by `output`, and `spawn` after it has its own defaults.
#[test]
fn output_keeps_what_was_set() {
    run(|| {
        let mut command = sh("cat; echo out; echo err >&2");
        let mut input = tempfile();
        input.write_all(b"in ").unwrap();
        input.rewind().unwrap();
        command.stdin(input).stdout(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!((&*output.stdout, &*output.stderr), (&b""[..], &b"err\n"[..]));
        let mut child = sh("true");
        child.output().unwrap();
        let child = child.spawn().unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
    });
}

fn tempfile() -> fs::File {
    let path = std::env::temp_dir().join(format!("cede-process-{}", std::process::id()));
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

#[test]
fn builder_reaches_the_child() {
    run(|| {
        let mut command = Command::new("env");
        command.env_clear().env("A", "1").envs([("B", "2"), ("C", "3")]).env_remove("C").current_dir("/");
        assert_eq!(command.output().unwrap().stdout, b"A=1\nB=2\n");
        let mut command = Command::new("sh");
        command.arg0("name").args(["-c", "echo $0; pwd; ps -o pgid= -p $$ 2>/dev/null || echo $$; echo $$"]);
        let text = String::from_utf8(command.current_dir("/").process_group(0).output().unwrap().stdout).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        assert_eq!(lines[..2], ["name", "/"]);
        assert_eq!(lines[2], lines[3], "the child leads a group of its own");
        let mut command = sh("true");
        // SAFETY: the closure only makes an error.
        unsafe { command.pre_exec(|| Err(io::Error::from_raw_os_error(libc::EPERM))) };
        assert_eq!(command.spawn().unwrap_err().raw_os_error(), Some(libc::EPERM));
    });
}

/// A child that fills both pipes, in any order, and reads its stdin to the end.
#[test]
fn full_pipes_do_not_block_each_other() {
    both_ways("full_pipes_do_not_block_each_other", || {
        let script =
            "cat >/dev/null; head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero; head -c 100000 /dev/zero >&2";
        let output = || {
            let mut command = sh(script);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let output = command.spawn().unwrap().wait_with_output().unwrap();
            assert_eq!((output.stdout.len(), output.stderr.len()), (200_000, 400_000));
            assert!(output.status.success());
        };
        output(); // in a plain thread
        run(|| {
            output();
            let mut others: Vec<_> = (0..4).map(|_| spawn(output)).collect();
            others.iter_mut().for_each(|task| task.join().unwrap());
        });
    });
}

/// The output that a cancelled call has read is that of the next call.
#[test]
fn cancelled_output_is_kept() {
    both_ways("cancelled_output_is_kept", || {
        run(|| {
            let mut command = sh("echo one; echo bad >&2; read line; echo $line; echo worse >&2");
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take().unwrap();
            for _ in 0..3 {
                let late = timeout(30 * MS, || child.wait_with_output()).unwrap_err().into_value().unwrap_err();
                assert!(is_cancelled(&late) && late.kind() == ErrorKind::TimedOut, "{late}");
            }
            (&stdin).write_all(b"two\n").unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!((&*output.stdout, &*output.stderr), (&b"one\ntwo\n"[..], &b"bad\nworse\n"[..]));
        });
    });
}

/// A child that writes without a break neither starves the other tasks nor keeps a deadline from being seen.
#[test]
fn endless_output_can_be_ended() {
    run(|| {
        let mut child = Command::new("cat").arg("/dev/zero").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut ticks = spawn(|| (0..3).for_each(|_| cede::time::sleep(MS).unwrap()));
        let late = timeout(20 * MS, || child.wait_with_output()).unwrap_err();
        assert!(is_cancelled(&late.into_value().unwrap_err()));
        ticks.join().unwrap();
    });
}

/// A pipe that always has data: no read waits, and nevertheless a deadline is seen, and the other tasks have turns.
#[test]
fn ready_output_can_be_ended() {
    const LEN: u64 = 64 << 20;
    // SAFETY: the name ends with a zero byte, and the descriptor is new, so nothing else owns it.
    let mut file = unsafe { fs::File::from_raw_fd(libc::memfd_create(c"output".as_ptr(), libc::MFD_CLOEXEC)) };
    file.set_len(LEN).unwrap();
    run(|| {
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        child.stdout = Some(std::process::ChildStdout::from(OwnedFd::from(file.try_clone().unwrap())).into());
        let late = timeout(Duration::ZERO, || child.wait_with_output()).unwrap_err().into_value().unwrap_err();
        assert!(is_cancelled(&late), "{late}");
        let read = file.stream_position().unwrap();
        assert!(0 < read && read < LEN / 4, "{read}");
        let mut other = spawn(move || file.stream_position().unwrap());
        let late = timeout(500 * MS, || child.wait_with_output()).unwrap_err().into_value().unwrap_err();
        assert!(is_cancelled(&late), "{late}");
        let read = other.join().unwrap();
        assert!(read < LEN / 4, "the other task had its first turn after {read} bytes");
    });
}

#[test]
fn wait_can_be_cancelled_and_repeated() {
    both_ways("wait_can_be_cancelled_and_repeated", || {
        run(|| {
            let mut child = sh("read line").stdin(Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take();
            assert!(child.try_wait().unwrap().is_none());
            let late = timeout(20 * MS, || child.wait()).unwrap_err().into_value().unwrap_err();
            assert!(is_cancelled(&late) && late.kind() == ErrorKind::TimedOut, "{late}");
            let mut waiting = spawn(move || (child.wait().map(drop), child));
            yield_now();
            waiting.cancel();
            let (error, mut child) = waiting.join().unwrap();
            assert!(is_cancelled(&error.unwrap_err()));
            // The child ends while no task waits for it.
            drop(stdin);
            cede::time::sleep(30 * MS).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(1));
            assert_eq!(child.wait().unwrap().code(), Some(1), "the status is kept");
            child.kill().unwrap();
            assert_eq!(child.send_signal(SignalKind::hangup()).unwrap_err().kind(), ErrorKind::InvalidInput);
        });
    });
}

/// The wait closes the stdin, so a child that reads it to the end ends.
#[test]
fn wait_closes_stdin() {
    run(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(timeout(LONG, || child.wait()).unwrap().unwrap().success());
    });
}

#[test]
fn other_tasks_run_during_waits() {
    both_ways("other_tasks_run_during_waits", || {
        run(|| {
            let mut children: Vec<_> = (0..8)
                .map(|code| spawn(move || sh(&format!("sleep 0.2; exit {code}")).status().unwrap().code()))
                .collect();
            let mut turns = 0;
            while children.iter().any(|child| !child.is_finished()) {
                cede::time::sleep(MS).unwrap();
                turns += 1;
            }
            let codes: Vec<_> = children.iter_mut().map(|child| child.join().unwrap()).collect();
            assert_eq!(codes, (0..8).map(Some).collect::<Vec<_>>());
            assert!(turns > 10 || emulated(), "{turns}");
        });
    });
}

#[test]
fn signals_and_kills_end_children() {
    both_ways("signals_and_kills_end_children", || {
        run(|| {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            child.send_signal(SignalKind::terminate()).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        });
    });
}

/// In main, in a generator inside of a task, and in plain threads; started in one run and waited for in another.
#[test]
fn waits_work_everywhere() {
    both_ways("waits_work_everywhere", || {
        let ended = |child: &mut Child| assert_eq!(child.wait().unwrap().code(), Some(4));
        let start = || sh("sleep 0.05; exit 4").spawn().unwrap();
        ended(&mut start());
        let mut child = run(|| {
            ended(&mut start());
            let mut nested = spawn(move || {
                let codes = Generator::new(move |y: &Yielder<i32>| {
                    y.yield_(start().wait().unwrap().code().unwrap());
                });
                codes.collect::<Vec<_>>()
            });
            assert_eq!(nested.join().unwrap(), [4]);
            let mut child = start();
            assert!(timeout(MS, || child.wait()).is_err());
            child
        });
        run(|| ended(&mut child));
        let mut moved = run(|| {
            let mut child = start();
            assert!(timeout(MS, || child.wait()).is_err());
            child
        });
        thread::spawn(move || ended(&mut moved)).join().unwrap();
    });
}

/// 1,000 children, at most 32 at once, each with its own output: none is lost, no zombie remains, no descriptor is left open.
#[test]
fn thousand_children_leave_nothing() {
    both_ways("thousand_children_leave_nothing", || {
        let count = if emulated() { 100 } else { 1000 };
        let mut warm = [0; 2];
        for open in &mut warm {
            run(|| {
                let room = cede::sync::Semaphore::new(32);
                let room = &room;
                scope(|s| {
                    let tasks: Vec<_> = (0..count)
                        .map(|number| {
                            s.spawn(move || {
                                let _permit = room.acquire().unwrap();
                                let mut child = sh(&format!("echo {number}; echo {number} >&2; exit {}", number % 100));
                                (number, child.output().unwrap())
                            })
                        })
                        .collect();
                    for mut task in tasks {
                        let (number, output) = task.join().unwrap();
                        let text = format!("{number}\n").into_bytes();
                        assert_eq!((output.stdout, output.stderr), (text.clone(), text));
                        assert_eq!(output.status.code(), Some(number % 100));
                    }
                })
                .unwrap();
            });
            assert_eq!(children(), []);
            *open = descriptors();
        }
        // A listener to SIGCHLD keeps its pipe for the next one, and at most 32 tasks wait at once.
        let kept = if IS_REFUSED.load(Relaxed) { 64 } else { 0 };
        assert!(warm[1] <= warm[0] + kept, "descriptors after the first and the second thousand: {warm:?}");
    });
}

#[test]
fn dropped_children_continue_and_are_collected() {
    both_ways("dropped_children_continue_and_are_collected", || {
        // In a run, in a plain thread, and one that was waited for in between.
        let (reader, writer) = io::pipe().unwrap();
        let start =
            |writer: &io::PipeWriter| sh("sleep 0.2; echo done").stdout(writer.try_clone().unwrap()).spawn().unwrap();
        let mut pids = vec![run(|| start(&writer).id()), start(&writer).id()];
        run(|| {
            let mut child = start(&writer);
            assert!(timeout(MS, || child.wait()).is_err());
            pids.push(child.id());
        });
        drop(writer);
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["done"; 3], "the children continued");
        for pid in pids {
            assert!(is_collected(pid), "{pid} is a zombie: {:?}", children());
        }
    });
}

#[test]
fn kill_on_drop_ends_the_child() {
    both_ways("kill_on_drop_ends_the_child", || {
        let pid = run(|| Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap().id());
        assert!(is_collected(pid));
        let pid = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap().id();
        assert!(is_collected(pid));
        // A cancelled `output` drops its child; so does a task that is cancelled before its first turn.
        run(|| {
            let mut command = Command::new("sleep");
            command.arg("600").kill_on_drop(true);
            assert!(timeout(20 * MS, || command.output()).is_err());
            assert!(timeout(20 * MS, || command.status()).is_err());
            let child = command.spawn().unwrap();
            let task = spawn(move || drop(child));
            task.cancel();
        });
        // A task that ignores its cancel is unwound.
        if cfg!(panic = "unwind") {
            let pid = Config::new().shutdown_grace(10 * MS).run(|| {
                let mut child = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
                let pid = child.id();
                spawn(move || while child.wait().is_err() {});
                yield_now();
                pid
            });
            assert!(is_collected(pid.unwrap()));
        }
        let left: Vec<_> = children().into_iter().map(|(pid, _)| pid).collect();
        assert!(left.into_iter().all(is_collected));
    });
}

/// Prints what a child has inherited: its descriptors, and the signals that are blocked and ignored. A shell blocks all signals while it
/// starts a program, so the last program tells its own.
const INHERITED: &str = "ls /proc/self/fd; exec grep -E 'Sig(Blk|Ign)' /proc/self/status";

/// While 1,000 sockets are registered, a child inherits what it inherits without them: no descriptor, no blocked or ignored signal.
#[test]
fn children_inherit_nothing_of_the_library() {
    let text = in_child("children_inherit_nothing_of_the_library", || {
        let pairs = if emulated() { 50 } else { 500 };
        let (mut fork, mut spawned) = (sh(INHERITED), sh(INHERITED));
        // SAFETY: the closure does nothing. With one, std forks instead of calling posix_spawn(3).
        unsafe { fork.pre_exec(|| Ok(())) };
        let mut inherited = || [&mut fork, &mut spawned].map(|command| text_of(command.output().unwrap()));
        let before = inherited();
        let _listeners = [SignalKind::terminate(), SignalKind::user_defined1()].map(cede::signal::on);
        let mut main = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let streams: Vec<_> =
                (0..pairs).flat_map(|_| [TcpStream::connect(address).unwrap(), listener.accept().unwrap().0]).collect();
            scope(|s| {
                let mut readers: Vec<_> =
                    streams.iter().map(|stream| s.spawn(move || { stream }.read(&mut [0]).unwrap())).collect();
                yield_now(); // all are registered now
                let (_pipe, mut child) = (cede::io::pipe().unwrap(), Command::new("sleep").arg("60").spawn().unwrap());
                assert!(timeout(MS, || child.wait()).is_err()); // its descriptor is open, too
                assert_eq!(inherited(), before);
                child.kill().unwrap();
                child.wait().unwrap();
                // The sockets work as before.
                streams.iter().for_each(|mut stream| stream.write_all(b"x").unwrap());
                assert!(readers.iter_mut().all(|reader| reader.join().unwrap() == 1));
            })
            .unwrap();
        };
        run(&mut main);
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// The pipes of a child and their conversions: from one child to the next.
#[test]
fn output_of_one_child_is_input_of_another() {
    run(|| {
        let mut first = sh("head -c 200000 /dev/zero").stdout(Stdio::piped()).spawn().unwrap();
        let second = Command::new("wc").arg("-c").stdin(first.stdout.take().unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(second.stdout).unwrap().trim(), "200000");
        assert!(first.wait().unwrap().success());
    });
}

#[test]
fn dump_names_the_awaited_process() {
    run(|| {
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let id = child.id();
        let waiting = spawn(move || child.wait().map(drop));
        yield_now();
        let text = cede::dump().to_string();
        assert!(text.contains(&format!(", the end of process {id})")) || emulated(), "{text}");
        waiting.cancel();
    });
}

#[test]
fn many_tasks_talk_to_children() {
    run(|| {
        let tasks = (0..16).map(|number| {
            spawn(move || {
                let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
                let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
                let mut answers = BufReader::new(stdout).lines();
                for line in 0..20 {
                    writeln!(stdin, "{number} {line}").unwrap();
                    assert_eq!(answers.next().unwrap().unwrap(), format!("{number} {line}"));
                }
                drop(stdin);
                assert!(answers.next().is_none());
                child.wait().unwrap().success()
            })
        });
        assert!(join_all(tasks.collect::<Vec<_>>()).into_iter().all(Result::unwrap));
    });
}
