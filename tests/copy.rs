//! Copies between streams, files and pipes, and writes that say how far they came.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::{HalfClose, copy, copy_both, is_cancelled, write_all};
use cede::net::{TcpListener, TcpStream, UnixStream};
use cede::time::sleep;
use cede::{Config, join_all, run, scope, spawn, timeout, yield_now};
use common::emulated;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write, pipe};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn large() -> usize {
    if emulated() { 4 << 20 } else { 64 << 20 }
}

/// Eight bytes at a time, each block different.
fn pattern(len: usize) -> Vec<u8> {
    let words = 0..len.div_ceil(8) as u64;
    let mut bytes: Vec<u8> = words.flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// Asserts equality without printing the bytes.
#[track_caller]
fn assert_same(one: &[u8], other: &[u8]) {
    assert_eq!(one.len(), other.len());
    assert!(one == other, "the bytes differ");
}

/// A file without a name that holds `bytes`, with its offset at the start.
fn file_of(bytes: &[u8]) -> File {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("cede-copy-{}-{number}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn contents(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn file_to_stream_to_file() {
    let bytes = pattern(large());
    run(|| {
        let (here, there) = tcp_pair();
        let mut from = file_of(&bytes);
        // The copy begins at the offset of the file.
        from.seek(SeekFrom::Start(5)).unwrap();
        let mut receiving = spawn(move || {
            let mut to = file_of(b"");
            let count = copy(&mut &there, &mut to).unwrap();
            (count, to)
        });
        assert_eq!(copy(&mut from, &mut &here).unwrap(), bytes.len() as u64 - 5);
        here.shutdown(Shutdown::Write).unwrap();
        let (count, to) = receiving.join().unwrap();
        assert_eq!(count, bytes.len() as u64 - 5);
        assert_same(&contents(&to), &bytes[5..]);
        let mut second = file_of(b"old");
        from.rewind().unwrap();
        assert_eq!(copy(&mut &from, &mut second).unwrap(), bytes.len() as u64);
        assert_same(&contents(&second), &bytes);
    });
}

#[test]
fn proxy_copies_both_ways_and_passes_ends_on() {
    let (up, down) = (pattern(large()), pattern(large() / 2 + 1));
    run(|| {
        let (client, front) = tcp_pair();
        let (back, server) = UnixStream::pair().unwrap();
        let mut proxy = spawn(move || copy_both(&front, &back));
        scope(|s| {
            s.spawn(|| {
                (&client).write_all(&up).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            s.spawn(|| {
                // The server answers only when it has seen the end of the request.
                let mut all = Vec::new();
                (&server).read_to_end(&mut all).unwrap();
                assert_same(&all, &up);
                (&server).write_all(&down).unwrap();
                server.shutdown(Shutdown::Write).unwrap();
            });
            let mut all = Vec::new();
            (&client).read_to_end(&mut all).unwrap();
            assert_same(&all, &down);
        })
        .unwrap();
        let copied = proxy.join().unwrap();
        assert_eq!((copied.forth, copied.back), (up.len() as u64, down.len() as u64));
        assert!(copied.forth_error.is_none() && copied.back_error.is_none());
    });
}

#[test]
fn pipes_and_streams_in_a_chain() {
    let bytes = pattern(large() / 4);
    run(|| {
        let ((mut first, into), (here, there), (mut out, mut last)) = (pipe().unwrap(), tcp_pair(), pipe().unwrap());
        let (mut second, mut middle) = pipe().unwrap();
        scope(|s| {
            // The pipes of `std` are in blocking mode, so the two ends are plain threads.
            let sent = &bytes;
            let writing = thread::scope(|threads| {
                threads.spawn(move || { &into }.write_all(sent).unwrap());
                let reading = threads.spawn(move || {
                    let mut all = Vec::new();
                    out.read_to_end(&mut all).unwrap();
                    all
                });
                s.spawn(move || {
                    let count = copy(&mut first, &mut &here).unwrap();
                    here.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(count, sent.len() as u64);
                });
                s.spawn(move || assert_eq!(copy(&mut &there, &mut middle).unwrap(), sent.len() as u64));
                let mut end = s.spawn(move || copy(&mut second, &mut last).unwrap());
                assert_eq!(end.join().unwrap(), sent.len() as u64);
                reading.join().unwrap()
            });
            assert_same(&writing, &bytes);
        })
        .unwrap();
    });
}

/// The pipe of a child is in blocking mode: a read of it would block the worker and all its tasks.
#[test]
fn pipe_of_a_child_blocks_no_other_task() {
    run(|| {
        let (input, output) = (Stdio::piped(), Stdio::piped());
        let mut child =
            Command::new("sh").args(["-c", "read line; echo done"]).stdin(input).stdout(output).spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (here, there) = UnixStream::pair().unwrap();
        let mut copying = spawn(move || copy(&mut output, &mut &here).unwrap());
        let mut ticking = spawn(|| (0..3).for_each(|_| sleep(5 * MS).unwrap()));
        ticking.join().unwrap();
        assert!(!copying.is_finished(), "the child waits for its input");
        input.write_all(b"go\n").unwrap();
        assert_eq!(copying.join().unwrap(), 5);
        let mut text = String::new();
        (&there).read_to_string(&mut text).unwrap();
        assert_eq!(text, "done\n");
        child.wait().unwrap();
    });
}

#[test]
fn cancelled_copy_of_a_file_loses_nothing() {
    let bytes = pattern(8 << 20);
    run(|| {
        // The accepted side sends: it is in non-blocking mode, too.
        let (there, here) = tcp_pair();
        let mut from = file_of(&bytes);
        let late = timeout(20 * MS, || copy(&mut from, &mut &here)).unwrap_err().value.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        let sent = from.stream_position().unwrap() as usize;
        assert!(0 < sent && sent < bytes.len());
        let mut rest = spawn(move || {
            let count = copy(&mut from, &mut &here).unwrap();
            (count, here)
        });
        let mut all = vec![0; bytes.len()];
        (&there).read_exact(&mut all).unwrap();
        assert_same(&all, &bytes);
        let (count, here) = rest.join().unwrap();
        assert_eq!(count as usize, bytes.len() - sent);
        drop(here);
        assert_eq!((&there).read(&mut [0]).unwrap(), 0, "nothing was sent twice");
    });
}

#[test]
fn cancelled_copy_of_a_pipe_loses_nothing() {
    let bytes = pattern(1 << 20);
    run(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        thread::scope(|threads| {
            threads.spawn(|| {
                writer.write_all(&bytes).unwrap();
                drop(writer);
            });
            there.set_read_timeout(Some(MS)).unwrap();
            let mut all = Vec::new();
            let mut cancels = 0;
            loop {
                let outcome = timeout(2 * MS, || copy(&mut reader, &mut &here));
                let ended = match outcome {
                    Ok(count) => count.is_ok(),
                    Err(late) => late.value.map_err(|error| assert!(is_cancelled(&error))).is_ok(),
                };
                cancels += u32::from(!ended);
                if ended {
                    break;
                }
                let mut some = [0; 100_000];
                // There may be nothing yet: the deadline may have passed before the first byte.
                if let Ok(count) = (&there).read(&mut some) {
                    all.extend_from_slice(&some[..count]);
                }
            }
            drop(here);
            there.set_read_timeout(None).unwrap();
            (&there).read_to_end(&mut all).unwrap();
            assert!(cancels > 0);
            assert_same(&all, &bytes);
        });
    });
}

#[test]
fn counts_of_a_cancelled_proxy_are_exact() {
    run(|| {
        let (client, front) = tcp_pair();
        let (back, server) = UnixStream::pair().unwrap();
        let mut proxy = spawn(move || copy_both(&front, &back));
        let bytes = pattern(16 << 20);
        let mut client = spawn(move || {
            // Ends by the reset when the proxy drops its side.
            let _ = write_all(&client, &bytes);
            bytes
        });
        let mut received = vec![0; 300_000];
        (&server).read_exact(&mut received).unwrap();
        proxy.cancel();
        let copied = proxy.join().unwrap();
        assert!(copied.forth_error.as_ref().is_some_and(is_cancelled), "{copied:?}");
        (&server).read_to_end(&mut received).unwrap();
        assert_eq!(copied.forth, received.len() as u64);
        assert_same(&received, &client.join().unwrap()[..received.len()]);
        assert_eq!(copied.back, 0);
    });
}

#[test]
fn cancelled_proxy_keeps_its_counts() {
    for seed in 1..if emulated() { 20 } else { 200 } {
        let proxied = Config::new().seed(seed).run(|| {
            let (mut client, front) = UnixStream::pair().unwrap();
            let (back, mut server) = UnixStream::pair().unwrap();
            let mut proxy = spawn(move || copy_both(&front, &back));
            // Ready tasks, so that the direction of the data is not the next one to run after the cancel.
            let others: Vec<_> = (0..5).map(|_| spawn(|| (0..30).for_each(|_| yield_now()))).collect();
            client.write_all(b"hello").unwrap();
            server.read_exact(&mut [0; 5]).unwrap();
            proxy.cancel();
            let copied = proxy.join().unwrap();
            join_all(others);
            copied
        });
        let copied = proxied.unwrap();
        assert_eq!((copied.forth, copied.back), (5, 0), "seed {seed}: {copied:?}");
        assert!(copied.forth_error.as_ref().is_some_and(is_cancelled), "seed {seed}: {copied:?}");
        assert!(copied.back_error.as_ref().is_some_and(is_cancelled), "seed {seed}: {copied:?}");
    }
}

/// A stream whose reads end as this function does, and whose writes do nothing.
struct Stub(fn() -> std::io::Result<usize>);

impl Read for &Stub {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        (self.0)()
    }
}

impl Write for &Stub {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl HalfClose for Stub {
    fn close_write(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn direction_that_never_began_is_cancelled() {
    run(|| {
        let (here, _there) = UnixStream::pair().unwrap();
        let copied = copy_both(&here, &Stub(|| Err(ErrorKind::BrokenPipe.into())));
        assert_eq!((copied.forth, copied.back), (0, 0));
        assert!(copied.forth_error.as_ref().is_some_and(is_cancelled), "{copied:?}");
        assert_eq!(copied.back_error.map(|error| error.kind()), Some(ErrorKind::BrokenPipe));
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_of_a_proxied_read_propagates() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let payload = catch_unwind(AssertUnwindSafe(|| copy_both(&Stub(|| panic!("read of the first stream")), &here)))
            .unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"read of the first stream"));
    });
}

#[test]
fn closed_peer_ends_a_copy_with_an_error() {
    run(|| {
        let bytes = pattern(1 << 20);
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(copy(&mut file_of(&bytes), &mut &here).unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(copy(&mut file_of(&bytes), &mut writer).unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(copy(&mut &bytes[..], &mut &here).unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// The kernel would block the thread on a stream in blocking mode, so such a stream is copied to through a buffer.
#[test]
fn stream_in_blocking_mode_blocks_no_other_task() {
    run(|| {
        let bytes = pattern(4 << 20);
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let (here, there) = (UnixStream::from(here), UnixStream::from(there));
        let mut file = file_of(&bytes);
        let mut sending = spawn(move || copy(&mut file, &mut &here).unwrap());
        let mut all = Vec::new();
        (&there).read_to_end(&mut all).unwrap();
        assert_same(&all, &bytes);
        assert_eq!(sending.join().unwrap(), bytes.len() as u64);
    });
}

#[test]
fn files_without_a_size_are_copied() {
    let mut status = Vec::new();
    let count = copy(&mut File::open("/proc/self/status").unwrap(), &mut status).unwrap();
    assert!(count > 0 && status.len() as u64 == count);
    let (here, there) = UnixStream::pair().unwrap();
    assert!(copy(&mut File::open("/proc/self/status").unwrap(), &mut &here).unwrap() > 0);
    drop(here);
    assert!(copy(&mut &there, &mut std::io::sink()).unwrap() > 0);
}

#[test]
fn plain_thread_copies_as_a_task_does() {
    let bytes = pattern(large() / 8);
    let (here, there) = UnixStream::pair().unwrap();
    let mut from = file_of(&bytes);
    let sending = thread::spawn(move || copy(&mut from, &mut &here).unwrap());
    let mut all = Vec::new();
    assert_eq!(copy(&mut &there, &mut all).unwrap(), bytes.len() as u64);
    assert_eq!(sending.join().unwrap(), bytes.len() as u64);
    assert_same(&all, &bytes);
}

#[test]
fn unknown_types_are_copied_through_a_buffer() {
    run(|| {
        let bytes = pattern(100_000);
        let (here, there) = UnixStream::pair().unwrap();
        let mut sending = spawn({
            let mut file = file_of(&bytes);
            move || {
                let hidden: &mut dyn Read = &mut file;
                copy(hidden, &mut &here).unwrap()
            }
        });
        let mut all = Vec::new();
        let mut hidden: Box<dyn Read> = Box::new(there);
        assert_eq!(copy(&mut hidden, &mut all).unwrap(), bytes.len() as u64);
        assert_eq!(sending.join().unwrap(), bytes.len() as u64);
        assert_same(&all, &bytes);
    });
}

#[test]
fn partial_write_says_how_much_was_sent() {
    run(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let bytes = pattern(4 << 20);
        let late = timeout(20 * MS, || write_all(&here, &bytes)).unwrap_err();
        let partial = late.value.unwrap_err();
        assert_eq!((partial.error.kind(), partial.len), (ErrorKind::TimedOut, bytes.len()));
        let text = format!("sent {} of {} bytes: {}", partial.sent, bytes.len(), partial.error);
        assert_eq!(partial.to_string(), text);
        assert!(std::error::Error::source(&partial).is_some());
        let mut rest = spawn({
            let (rest, here) = (bytes[partial.sent..].to_vec(), here.try_clone().unwrap());
            move || write_all(&here, &rest).unwrap()
        });
        drop(here);
        let mut all = Vec::new();
        (&there).read_to_end(&mut all).unwrap();
        rest.join().unwrap();
        assert_same(&all, &bytes);
        let error = std::io::Error::from(partial);
        assert!(is_cancelled(&error) && error.kind() == ErrorKind::TimedOut && error.to_string() == text);
        // A writer that takes nothing.
        let none = write_all(&mut [0_u8; 3][..], b"abcde").unwrap_err();
        assert_eq!((none.sent, none.error.kind()), (3, ErrorKind::WriteZero));
    });
}
