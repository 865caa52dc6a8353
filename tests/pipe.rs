//! Pipes: between tasks, with descriptors of the program, in plain threads, cancelled, full.
#![cfg(feature = "io")]

mod common;

use cede::io::{PipeReader, PipeWriter, is_cancelled, pipe};
use cede::{run, scope, spawn, timeout, yield_now};
use common::random::Random;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

/// Returns whether the descriptor is in non-blocking mode.
fn nonblocking(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open for the call, which takes no pointer.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK != 0
}

/// Sends `count` bytes with random sizes of the calls, and checks that they arrive in order.
fn transfer(reader: impl Read, writer: impl Write + 'static, count: usize) {
    let (mut reader, mut writer) = (reader, writer);
    let mut sender = spawn(move || {
        let mut random = Random::new(7);
        let mut sent = 0;
        while sent < count {
            let len = random.below(9000).min(count - sent);
            let bytes: Vec<u8> = (sent..sent + len).map(|at| (at % 251) as u8).collect();
            writer.write_all(&bytes).unwrap();
            sent += len;
        }
    });
    let mut random = Random::new(8);
    let (mut got, mut buffer) = (0, vec![0; 20_000]);
    loop {
        let len = 1 + random.below(buffer.len() - 1);
        let read = reader.read(&mut buffer[..len]).unwrap();
        if read == 0 {
            break;
        }
        assert!(buffer[..read].iter().enumerate().all(|(at, byte)| *byte == ((got + at) % 251) as u8));
        got += read;
    }
    assert_eq!(got, count);
    sender.join().unwrap();
}

#[test]
fn bytes_arrive_in_order() {
    run(|| {
        let (reader, writer) = pipe().unwrap();
        assert!(nonblocking(reader.as_fd()) && nonblocking(writer.as_fd()));
        transfer(reader, writer, 1_000_000);
    });
}

/// Descriptors in blocking mode, which another process may share, stay in it, and no call blocks the run.
#[test]
fn brought_pipes_keep_their_mode() {
    run(|| {
        let (reader, writer) = io::pipe().unwrap();
        let (reader, writer) = (PipeReader::from(reader), PipeWriter::from(OwnedFd::from(writer)));
        let keeper = writer.try_clone().unwrap();
        assert!(!nonblocking(reader.as_fd()) && !nonblocking(writer.as_fd()));
        let mut waiting = spawn(move || {
            let mut reader = reader;
            reader.read_exact(&mut [0; 3]).unwrap();
            reader
        });
        yield_now(); // would block the thread if the read did
        (&writer).write_all(b"abc").unwrap();
        let reader = waiting.join().unwrap();
        drop(keeper);
        transfer(&reader, writer, 300_000);
        assert!(!nonblocking(reader.as_fd()));
        assert!(!nonblocking(OwnedFd::from(reader).as_fd()));
    });
}

/// A program that gets an end of a pipe expects blocking mode.
#[test]
fn own_pipes_leave_in_blocking_mode() {
    let (reader, writer) = pipe().unwrap();
    let (reader, writer) = (io::PipeReader::from(reader), OwnedFd::from(writer));
    assert!(!nonblocking(reader.as_fd()) && !nonblocking(writer.as_fd()));
    // A non-blocking one of the program keeps its mode, too.
    let (end, _writer) = pipe().unwrap();
    let brought = PipeReader::from(end.as_fd().try_clone_to_owned().unwrap());
    assert!(nonblocking(OwnedFd::from(brought).as_fd()) && nonblocking(end.as_fd()));
}

#[test]
fn vectored_calls_use_all_buffers() {
    run(|| {
        let (reader, writer) = pipe().unwrap();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!((&writer).write_vectored(&parts).unwrap(), 7);
        let (mut a, mut b) = ([0; 2], [0; 9]);
        assert_eq!((&reader).read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).unwrap(), 7);
        assert_eq!((&a, &b[..5]), (b"on", &b"e two"[..]));
    });
}

/// A call takes at most 1,024 buffers, and the next call the rest.
#[test]
fn many_buffers_lose_no_data() {
    run(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        // From the first wait on, the run knows whether the pipe may have data.
        assert!(timeout(MS, || reader.read(&mut [0])).is_err());
        writer.write_all(&[7; 1400]).unwrap();
        let mut bytes = [0; 1500];
        let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
        let first = reader.read_vectored(&mut buffers).unwrap();
        let rest = timeout(LONG, || reader.read(&mut [0; 1500])).unwrap().unwrap();
        assert_eq!(first + rest, 1400);
    });
}

/// A duplicate that leaves in blocking mode, as for a child, sets that mode for both. The calls of the other one wait nevertheless.
#[test]
fn duplicates_share_no_block() {
    run(|| {
        let (reader, writer) = pipe().unwrap();
        let (their_reader, their_writer) = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
        let theirs = (OwnedFd::from(their_reader), OwnedFd::from(their_writer));
        assert!(!nonblocking(reader.as_fd()) && !nonblocking(writer.as_fd()));
        assert!(timeout(20 * MS, || (&reader).read(&mut [0])).is_err());
        assert!(timeout(20 * MS, || (&writer).write_all(&vec![0; 1 << 20])).is_err());
        drop(theirs);
    });
}

#[test]
fn cancelled_calls_transfer_nothing() {
    for brought in [false, true] {
        run(|| {
            let (reader, writer) = if brought {
                let (reader, writer) = io::pipe().unwrap();
                (reader.into(), writer.into())
            } else {
                pipe().unwrap()
            };
            let late = timeout(20 * MS, || (&reader).read(&mut [0; 9])).unwrap_err().into_value().unwrap_err();
            assert!(is_cancelled(&late) && late.kind() == ErrorKind::TimedOut, "{late}");
            // Full: the write waits, too.
            let full = timeout(20 * MS, || (&writer).write_all(&vec![1; 1 << 20])).unwrap_err();
            assert!(is_cancelled(&full.into_value().unwrap_err()));
            let (mut reader, writer) = (reader, writer);
            let mut rest = spawn(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            (&writer).write_all(&[2; 10]).unwrap();
            drop(writer);
            let all = rest.join().unwrap().unwrap();
            let (ones, twos) = all.split_at(all.len() - 10);
            assert!(ones.iter().all(|byte| *byte == 1) && twos == [2; 10], "{} bytes", all.len());
        });
    }
}

#[test]
fn closed_ends_are_seen() {
    run(|| {
        let (mut reader, writer) = pipe().unwrap();
        let mut end = spawn(move || reader.read(&mut [0; 4]));
        yield_now();
        drop(writer);
        assert_eq!(end.join().unwrap().unwrap(), 0);
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// One end in a run, the other one in a plain thread; then both in plain threads, after the run.
#[test]
fn plain_threads_block() {
    let (reader, writer) = pipe().unwrap();
    let (mut back, mut answer) = pipe().unwrap();
    let thread = thread::spawn(move || {
        let mut bytes = [0; 5];
        (&reader).read_exact(&mut bytes).unwrap();
        answer.write_all(&bytes).unwrap();
        let mut rest = Vec::new();
        (&reader).read_to_end(&mut rest).unwrap();
        rest.len()
    });
    run(|| {
        thread::sleep(10 * MS); // the thread waits first
        (&writer).write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        back.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    });
    let mut writer = writer;
    writer.write_all(&vec![0; 200_000]).unwrap(); // more than the pipe holds
    drop(writer);
    assert_eq!(thread.join().unwrap(), 200_000);
}

#[test]
fn both_ends_are_shared_by_tasks() {
    run(|| {
        let (reader, writer) = pipe().unwrap();
        let (reader, writer) = (&reader, &writer);
        scope(|s| {
            let readers: Vec<_> =
                (0..4).map(|_| s.spawn(move || timeout(LONG, || { reader }.read(&mut [0])))).collect();
            yield_now();
            for _ in 0..4 {
                s.spawn(move || { writer }.write_all(b"x"));
            }
            for mut reader in readers {
                assert_eq!(reader.join().unwrap().unwrap().unwrap(), 1);
            }
        })
        .unwrap();
    });
}

/// The kernel copies between pipes, also those of children. A copy that a deadline ends loses nothing, as one through a buffer would.
#[test]
fn cancelled_copy_loses_nothing() {
    use cede::io::copy;
    use cede::process::{Command, Stdio};
    const LEN: usize = 400_000;
    let pattern: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    run(|| {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let (mut first, mut source) = pipe().unwrap();
        let (mut end, mut last) = pipe().unwrap();
        let sent = pattern.clone();
        spawn(move || source.write_all(&sent).unwrap());
        // Into the child until its pipes are full, and out of it until the last pipe is full.
        for _ in 0..3 {
            assert!(timeout(30 * MS, || copy(&mut first, &mut stdin)).is_err());
            assert!(timeout(30 * MS, || copy(&mut stdout, &mut last)).is_err());
        }
        spawn(move || copy(&mut first, &mut stdin).unwrap());
        spawn(move || copy(&mut stdout, &mut last).unwrap());
        let mut got = Vec::new();
        end.read_to_end(&mut got).unwrap();
        assert!(got == pattern, "{} bytes of {LEN}", got.len());
        assert!(cat.wait().unwrap().success());
    });
}
