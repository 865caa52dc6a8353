//! `SyncIo`: the traits of std over those of tokio and of futures-io. Each test runs over both families.
#![cfg(any(feature = "tokio", feature = "futures-io"))]

mod common;

use cede::bridge::SyncIo;
use cede::task::Cancelled;
use cede::{Generator, Yielder, shield, spawn, timeout, yield_now};
use common::futures::Flag;
use common::streams::Scripted;
use common::streams::Step::{self, Bytes, End, Fail, Lost, Pending, Room, Until};
use common::{caught, panic_text};
use std::cell::Cell;
use std::error::Error;
use std::io::{self, BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(5);

/// A family of traits.
trait Family: 'static {
    /// The length of a vectored read into buffers of 3 and 4 bytes: tokio has no such read, so std reads into the first.
    const VECTORED: usize;

    type Io: Read + BufRead + Write + Seek + std::fmt::Debug + 'static;

    fn wrap(stream: Scripted) -> Self::Io;

    /// Ends the output.
    fn end(io: &mut Self::Io) -> io::Result<()>;

    fn stream(io: &mut Self::Io) -> &mut Scripted;

    fn unwrap(io: Self::Io) -> Scripted;
}

#[cfg(feature = "tokio")]
impl Family for cede::bridge::Tokio {
    const VECTORED: usize = 3;

    type Io = SyncIo<Scripted>;

    fn wrap(stream: Scripted) -> Self::Io {
        SyncIo::tokio(stream)
    }

    fn end(io: &mut Self::Io) -> io::Result<()> {
        io.shutdown()
    }

    fn stream(io: &mut Self::Io) -> &mut Scripted {
        assert!(Rc::ptr_eq(&io.get_ref().output.clone(), &io.get_mut().output));
        io.get_mut()
    }

    fn unwrap(io: Self::Io) -> Scripted {
        io.into_inner()
    }
}

#[cfg(feature = "futures-io")]
impl Family for cede::bridge::FuturesIo {
    const VECTORED: usize = 7;

    type Io = SyncIo<Scripted, cede::bridge::FuturesIo>;

    fn wrap(stream: Scripted) -> Self::Io {
        SyncIo::futures_io(stream)
    }

    fn end(io: &mut Self::Io) -> io::Result<()> {
        io.close()
    }

    fn stream(io: &mut Self::Io) -> &mut Scripted {
        assert!(Rc::ptr_eq(&io.get_ref().output.clone(), &io.get_mut().output));
        io.get_mut()
    }

    fn unwrap(io: Self::Io) -> Scripted {
        io.into_inner()
    }
}

/// Makes a test of each function, for each family.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        #[cfg(feature = "tokio")]
        mod over_tokio {
            $(#[test]
            fn $name() {
                super::$name::<cede::bridge::Tokio>();
            })*
        }

        #[cfg(feature = "futures-io")]
        mod over_futures_io {
            $(#[test]
            fn $name() {
                super::$name::<cede::bridge::FuturesIo>();
            })*
        }
    };
}

tests! {
    short_reads, short_writes, end_and_empty_reads, errors_pass, vectored_calls, lines, seeks, accessors,
    thread_wakes_reader, cancel_loses_nothing, deadline_loses_nothing, line_over_a_deadline, seek_over_a_deadline,
    cancelled_and_shielded, buffer_that_vanishes,
}

fn io<F: Family>(steps: impl IntoIterator<Item = Step>) -> F::Io {
    F::wrap(Scripted::new(steps))
}

/// Calls `f` in a plain thread, in main, in a task, and in the body of a generator of a task.
fn everywhere(f: fn()) {
    f();
    cede::run(|| {
        f();
        spawn(f).join().unwrap();
        let body = move |y: &Yielder<u32>| {
            f();
            y.yield_(1);
            f();
        };
        let values = spawn(move || Generator::new(body).collect::<Vec<_>>()).join().unwrap();
        assert_eq!(values, [1]);
    });
}

fn short_reads<F: Family>() {
    everywhere(|| {
        let steps = [Pending, Bytes(b"one"), Pending, Pending, Bytes(b"two"), Bytes(b"three")];
        let mut io = io::<F>(steps);
        let mut buffer = [0; 4];
        assert_eq!(io.read(&mut buffer).unwrap(), 3);
        io.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"twot");
        let mut rest = String::from("t");
        assert_eq!(io.read_to_string(&mut rest).unwrap(), 4);
        assert_eq!(rest, "three");
    });
}

fn short_writes<F: Family>() {
    everywhere(|| {
        let mut io = io::<F>([Room(3), Pending, Room(1), Room(2), Pending]);
        io.write_all(b"a long line\n").unwrap();
        let stream = F::stream(&mut io);
        assert_eq!(stream.written(), "a long line\n");
        stream.extend([Pending, Pending]);
        io.flush().unwrap();
        F::stream(&mut io).extend([Pending]);
        F::end(&mut io).unwrap();
        assert_eq!(*F::stream(&mut io).log.borrow(), ["flush", "end"]);
        F::stream(&mut io).extend([Pending, Room(1), Room(0)]);
        assert_eq!(io.write_all(b"xyz").unwrap_err().kind(), ErrorKind::WriteZero);
        assert_eq!(F::unwrap(io).written(), "a long line\nx");
    });
}

fn end_and_empty_reads<F: Family>() {
    let mut io = io::<F>([Pending, End, Bytes(b"more")]);
    let mut buffer = [0; 8];
    assert_eq!(io.read(&mut buffer).unwrap(), 0);
    assert_eq!(io.read(&mut []).unwrap(), 0, "an empty buffer takes nothing");
    assert_eq!(io.read(&mut buffer).unwrap(), 4);
    F::stream(&mut io).extend([End]);
    assert_eq!(io.read_exact(&mut buffer).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// Also those whose kinds this library never makes.
fn errors_pass<F: Family>() {
    everywhere(|| {
        for kind in [ErrorKind::ConnectionReset, ErrorKind::Interrupted, ErrorKind::WouldBlock] {
            let mut io = io::<F>([Pending, Fail(kind), Fail(kind), Fail(kind), Fail(kind), Fail(kind), Fail(kind)]);
            assert_eq!(io.read(&mut [0]).unwrap_err().kind(), kind);
            assert_eq!(io.fill_buf().unwrap_err().kind(), kind);
            assert_eq!(io.write(b"x").unwrap_err().kind(), kind);
            assert_eq!(io.flush().unwrap_err().kind(), kind);
            assert_eq!(F::end(&mut io).unwrap_err().kind(), kind);
            let error = io.seek(SeekFrom::Start(1)).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.source().is_none());
        }
    });
}

fn vectored_calls<F: Family>() {
    let mut io = io::<F>([Pending, Room(5)]);
    assert_eq!(io.write_vectored(&[IoSlice::new(b"abc"), IoSlice::new(b"defg")]).unwrap(), 5);
    assert_eq!(F::stream(&mut io).written(), "abcde");
    F::stream(&mut io).extend([Pending, Bytes(b"0123456789")]);
    let (mut one, mut two) = ([0; 3], [0; 4]);
    let count = io.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]).unwrap();
    assert_eq!(count, F::VECTORED);
    assert_eq!(&[&one[..], &two].concat()[..count], &b"0123456789"[..count]);
}

fn lines<F: Family>() {
    everywhere(|| {
        let steps = [Bytes(b"one\ntwo"), Pending, Bytes(b"\nthr"), Bytes(b"ee"), End, End, Bytes(b"after")];
        let mut io = io::<F>(steps);
        let lines: io::Result<Vec<_>> = (&mut io).lines().collect();
        assert_eq!(lines.unwrap(), ["one", "two", "three"]);
        // One poll has seen the end, and not what comes after.
        assert_eq!(io.fill_buf().unwrap(), b"after");
        io.consume(2);
        io.consume(0);
        assert_eq!(io.fill_buf().unwrap(), b"ter");
    });
}

fn seeks<F: Family>() {
    everywhere(|| {
        let mut io = io::<F>([Pending, Pending]);
        assert_eq!(io.seek(SeekFrom::Start(7)).unwrap(), 7);
        io.rewind().unwrap();
        assert_eq!(*F::unwrap(io).log.borrow(), ["Start(7)", "Start(0)"]);
    });
}

fn accessors<F: Family>() {
    let io = io::<F>([Bytes(b"kept")]);
    assert_eq!(format!("{io:?}"), "SyncIo(Scripted)");
    assert_eq!(io::read_to_string(F::wrap(F::unwrap(io))).unwrap(), "kept");
}

/// The stream is woken by another thread, and the other tasks of the run go on.
fn thread_wakes_reader<F: Family>() {
    let flag = Flag::default();
    let wake_soon = |flag: &Flag| {
        let flag = flag.clone();
        thread::spawn(move || {
            thread::sleep(SOON);
            flag.wake(); // a spurious wakeup
            thread::sleep(SOON);
            flag.set();
        })
    };
    let waker = wake_soon(&flag);
    assert_eq!(io::read_to_string(io::<F>([Until(flag), Bytes(b"x")])).unwrap(), "x");
    waker.join().unwrap();
    cede::run(|| {
        let turns = Rc::new(Cell::new(0));
        let inner = Rc::clone(&turns);
        let counting = spawn(move || {
            while cede::time::sleep(Duration::from_millis(1)).is_ok() {
                inner.set(inner.get() + 1);
            }
        });
        let flag = Flag::default();
        let waker = wake_soon(&flag);
        assert_eq!(io::read_to_string(io::<F>([Until(flag), Bytes(b"y")])).unwrap(), "y");
        assert!(turns.get() > 0);
        counting.cancel();
        waker.join().unwrap();
    });
}

/// A call that may wait; its name is for messages.
type Call<F> = (&'static str, fn(&mut <F as Family>::Io) -> io::Result<usize>);

/// Each call that may wait. If it does not fail, it returns 3.
fn calls<F: Family>() -> [Call<F>; 8] {
    [
        ("read", |io| io.read(&mut [0; 8])),
        ("read_exact", |io| io.read_exact(&mut [0; 3]).map(|()| 3)),
        ("read_until", |io| io.read_until(b'c', &mut Vec::new())),
        ("fill_buf", |io| io.fill_buf().map(<[u8]>::len)),
        ("write", |io| io.write(b"abc")),
        ("write_vectored", |io| io.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"c")])),
        ("flush", |io| io.flush().map(|()| 3)),
        ("end", |io| F::end(io).map(|()| 3)),
    ]
}

#[track_caller]
fn assert_cancelled(error: &io::Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.source().is_some_and(|source| source.is::<Cancelled>()), "{error:?}");
    #[cfg(feature = "io")]
    assert!(cede::io::is_cancelled(error));
}

fn cancel_loses_nothing<F: Family>() {
    for (name, call) in calls::<F>() {
        cede::run(|| {
            let flag = Flag::default();
            let mut io = io::<F>([Pending, Until(flag.clone()), Bytes(b"abc")]);
            let mut task = spawn(move || (call(&mut io), io));
            yield_now();
            yield_now();
            task.cancel();
            let (outcome, mut io) = task.join().unwrap();
            let error = outcome.expect_err(name);
            assert_cancelled(&error, ErrorKind::Other);
            assert_eq!(error.to_string(), "the wait was cancelled");
            assert_eq!(
                (F::stream(&mut io).written(), F::stream(&mut io).log.borrow().len()),
                (String::new(), 0),
                "{name}"
            );
            flag.set();
            assert_eq!(call(&mut io).expect(name), 3, "{name}");
        });
    }
}

fn deadline_loses_nothing<F: Family>() {
    for (name, call) in calls::<F>() {
        cede::run(|| {
            let flag = Flag::default();
            let mut io = io::<F>([Until(flag.clone()), Bytes(b"abc")]);
            let late = timeout(SOON, || call(&mut io)).expect_err(name);
            let error = late.value.expect_err(name);
            assert_cancelled(&error, ErrorKind::TimedOut);
            assert_eq!(
                (F::stream(&mut io).written(), F::stream(&mut io).log.borrow().len()),
                (String::new(), 0),
                "{name}"
            );
            // Another task wakes the second call.
            spawn(move || flag.set());
            assert_eq!(call(&mut io).expect(name), 3, "{name}");
        });
    }
}

/// `read_until` of std keeps what it had before the deadline.
fn line_over_a_deadline<F: Family>() {
    cede::run(|| {
        let flag = Flag::default();
        let mut io = io::<F>([Bytes(b"first half, "), Until(flag.clone()), Bytes(b"second half\nrest")]);
        let mut line = Vec::new();
        let late = timeout(SOON, || io.read_until(b'\n', &mut line)).unwrap_err();
        assert_cancelled(&late.value.unwrap_err(), ErrorKind::TimedOut);
        flag.set();
        io.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"first half, second half\n");
    });
}

/// The next seek ends the one that was cut off, where the family cannot replace it.
fn seek_over_a_deadline<F: Family>() {
    cede::run(|| {
        let flag = Flag::default();
        let mut io = io::<F>([Until(flag.clone())]);
        let late = timeout(SOON, || io.seek(SeekFrom::Start(5))).unwrap_err();
        assert_cancelled(&late.value.unwrap_err(), ErrorKind::TimedOut);
        // Neither end of a wait loses the seek in progress.
        let late = timeout(SOON, || io.seek(SeekFrom::Start(6))).unwrap_err();
        assert_cancelled(&late.value.unwrap_err(), ErrorKind::TimedOut);
        flag.set();
        assert_eq!(io.seek(SeekFrom::Start(7)).unwrap(), 7);
        assert_eq!(F::unwrap(io).log.borrow().last().unwrap(), "Start(7)");
    });
}

/// A cancelled task still gets what needs no wait, and waits inside of a shield.
fn cancelled_and_shielded<F: Family>() {
    cede::run(|| {
        let mut task = spawn(|| {
            assert!(cede::task::park("the cancel").is_err());
            let mut io = io::<F>([Bytes(b"a"), Pending, Pending, Bytes(b"b"), Until(Flag::default())]);
            let mut buffer = [0; 1];
            io.read_exact(&mut buffer).unwrap();
            shield(|| io.read_exact(&mut buffer)).unwrap();
            assert_eq!(&buffer, b"b");
            io.read_exact(&mut buffer).unwrap_err()
        });
        yield_now();
        task.cancel();
        assert_cancelled(&task.join().unwrap(), ErrorKind::Other);
    });
}

/// A stream that breaks the contract of `poll_fill_buf` gets an error, and not a wait that no waker ends.
fn buffer_that_vanishes<F: Family>() {
    let mut io = io::<F>([Lost(b"data"), Until(Flag::default())]);
    let error = io.fill_buf().unwrap_err();
    assert!(error.to_string().contains("poll_fill_buf"), "{error}");
}

/// A call that would have to wait where no wait is possible.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn wait_inside_no_suspend_panics() {
    fn case<F: Family>() {
        let read = || cede::no_suspend(|| io::<F>([Until(Flag::default())]).read(&mut [0; 1]));
        assert!(panic_text(caught(|| cede::run(read))).contains("no_suspend"));
        assert_eq!(cede::run(|| cede::no_suspend(|| io::<F>([Bytes(b"x")]).read(&mut [0; 1]))).unwrap(), 1);
    }
    #[cfg(feature = "tokio")]
    case::<cede::bridge::Tokio>();
    #[cfg(feature = "futures-io")]
    case::<cede::bridge::FuturesIo>();
}
