//! Files and directories, compared with `std::fs`.
#![cfg(feature = "io")]

mod common;

use common::rounds;

use cede::fs::{self, File, OpenOptions};
use cede::io::is_cancelled;
use cede::time::now;
use cede::{Config, Generator, run, spawn, timeout, yield_now};
use std::cell::Cell;
use std::io::{BufRead, BufReader, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// A directory of one test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cede-test-fs-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Calls `test` with an empty directory: in a plain thread, in the main of a run, in a task, in a generator's body in a task, and where
/// nothing may suspend.
fn everywhere(test: fn(&Dir)) {
    test(&Dir::new());
    run(|| {
        test(&Dir::new());
        spawn(move || test(&Dir::new())).join().unwrap();
        let in_body = move || Generator::<()>::new(move |_| test(&Dir::new())).next();
        assert_eq!(spawn(in_body).join().unwrap(), None);
        cede::no_suspend(|| test(&Dir::new()));
    });
}

/// Bytes in which each place differs from its neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

/// Drops the contents of a file from the page cache.
fn evict(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes no pointer.
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
    }
}

#[test]
fn reads_at_offsets_equal_std() {
    everywhere(|dir| {
        let contents = pattern(300_000);
        let path = dir.file("f", &contents);
        let file = File::open(&path).unwrap();
        for cached in [true, false] {
            for (offset, len) in
                [(0, 1), (5, 4096), (4090, 12), (100_000, 150_000), (299_990, 100), (300_000, 1), (1 << 40, 9)]
            {
                if !cached {
                    evict(&path);
                }
                let mut buffer = vec![0xee; len];
                let count = file.read_at(&mut buffer, offset as u64).unwrap();
                let expected = &contents[offset.min(contents.len())..(offset + len).min(contents.len())];
                assert_eq!(&buffer[..count], expected, "{len} bytes at {offset}");
                assert!(
                    buffer[count..].iter().all(|byte| *byte == 0xee),
                    "a read does not touch the rest of the buffer"
                );
            }
        }
        let mut word = [0; 4];
        file.read_exact_at(&mut word, 299_996).unwrap();
        assert_eq!(word, contents[299_996..]);
        let error = file.read_exact_at(&mut word, 299_997).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
        assert_eq!((&file).stream_position().unwrap(), 0, "no read used the cursor");
    });
}

/// The offset that would be -1 for the kernel is not taken for the cursor.
#[test]
fn offsets_too_large_are_refused() {
    everywhere(|dir| {
        let path = dir.file("f", "contents");
        let ours = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        for offset in [u64::MAX, 1 << 63] {
            assert_eq!(ours.read_at(&mut [0; 4], offset).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            assert_eq!(ours.write_at(b"x", offset).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"contents");
    });
}

/// A read that the page cache serves only in part continues on the pool.
#[test]
fn half_cached_file_is_whole() {
    everywhere(|dir| {
        let contents = pattern(4 << 20);
        let path = dir.file("f", &contents);
        for at_cursor in [false, true] {
            evict(&path);
            // Some pages at the start only, without a read-ahead.
            let mut file = std::fs::File::open(&path).unwrap();
            #[cfg(target_os = "linux")]
            // SAFETY: the call takes no pointer.
            unsafe {
                libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM);
            }
            file.read_exact(&mut [0; 10_000]).unwrap();
            let mut file = File::open(&path).unwrap();
            let mut buffer = vec![0; 3 << 20];
            let count = if at_cursor { file.read(&mut buffer) } else { file.read_at(&mut buffer, 1) }.unwrap();
            assert_eq!(count, buffer.len());
            assert!(buffer == contents[usize::from(!at_cursor)..][..count]);
        }
    });
}

#[test]
fn cursor_moves_as_with_std() {
    everywhere(|dir| {
        let path = dir.file("f", pattern(10_000));
        let (mut ours, mut std) = (File::open(&path).unwrap(), std::fs::File::open(&path).unwrap());
        for len in [0, 1, 100, 5_000, 4_000, 4_000, 10] {
            let (mut a, mut b) = (vec![0; len], vec![0; len]);
            assert_eq!(ours.read(&mut a).unwrap(), std.read(&mut b).unwrap());
            assert_eq!(a, b);
            assert_eq!(ours.stream_position().unwrap(), std.stream_position().unwrap());
        }
        for to in [SeekFrom::Start(7), SeekFrom::Current(-3), SeekFrom::End(-20), SeekFrom::End(30)] {
            assert_eq!(ours.seek(to).unwrap(), std.seek(to).unwrap());
        }
        let before_start = SeekFrom::Current(-100_000);
        assert_eq!(ours.seek(before_start).unwrap_err().kind(), std.seek(before_start).unwrap_err().kind());
        ours.rewind().unwrap();
        let mut all = Vec::new();
        assert_eq!(ours.read_to_end(&mut all).unwrap(), 10_000);
        assert!(all == pattern(10_000));
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn writes_reach_the_file() {
    everywhere(|dir| {
        let path = dir.path("f");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"hello, world").unwrap();
        file.write_all_at(b"W", 7).unwrap();
        assert_eq!(file.write_at(b"!", 20).unwrap(), 1);
        file.flush().unwrap();
        assert_eq!(file.stream_position().unwrap(), 12);
        let count = file.write_vectored(&[IoSlice::new(b" an"), IoSlice::new(b""), IoSlice::new(b"d")]).unwrap();
        assert_eq!(count, 4);
        assert_eq!(std::fs::read(&path).unwrap(), b"hello, World and\0\0\0\0!");
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        file.set_len(5).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
        assert_eq!(file.metadata().unwrap().len(), 5);
        let error = file.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "the file was opened for writing only");
    });
}

#[test]
fn vectored_read_fills_in_sequence() {
    everywhere(|dir| {
        let path = dir.file("f", "abcdefg");
        for cached in [true, false] {
            if !cached {
                evict(&path);
            }
            let mut file = File::open(&path).unwrap();
            let (mut a, mut b, mut c) = ([0; 2], [0; 3], [0; 9]);
            let mut buffers = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
            assert_eq!(file.read_vectored(&mut buffers).unwrap(), 7);
            assert_eq!((&a, &b, &c[..2]), (b"ab", b"cde", &b"fg"[..]));
        }
    });
}

#[test]
fn append_writes_at_the_end() {
    everywhere(|dir| {
        let path = dir.file("f", "one\n");
        let mut first = OpenOptions::new().append(true).open(&path).unwrap();
        let mut second = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        writeln!(first, "two").unwrap();
        writeln!(second, "three").unwrap();
        writeln!(first, "four").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\nfour\n");
    });
}

#[test]
fn options_open_as_with_std() {
    everywhere(|dir| {
        let error = File::open(dir.path("missing")).unwrap_err();
        assert_eq!(error.to_string(), std::fs::File::open(dir.path("missing")).unwrap_err().to_string());
        let path = dir.path("f");
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"text").unwrap();
        file.rewind().unwrap();
        assert_eq!(std::io::read_to_string(&file).unwrap(), "text");
        assert_eq!(File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(OpenOptions::new().open(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o640);
        drop(options.open(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "it was truncated");
        drop(options.open(dir.path("new")).unwrap());
        assert_eq!(std::fs::metadata(dir.path("new")).unwrap().mode() & 0o7137, 0);
        let error = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
        let mut of_std = std::fs::OpenOptions::new();
        of_std.read(true);
        assert_eq!(OpenOptions::from(of_std).open(&path).unwrap().read(&mut [0; 4]).unwrap(), 0);
    });
}

#[test]
fn metadata_and_permissions_are_set() {
    everywhere(|dir| {
        let path = dir.file("f", "text");
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_modified(time).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
        file.set_times(fs::FileTimes::new().set_accessed(time)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), time);
    });
}

#[test]
fn clones_share_the_cursor() {
    everywhere(|dir| {
        let mut file = File::open(dir.file("f", "abcdef")).unwrap();
        let mut clone = file.try_clone().unwrap();
        let mut two = [0; 2];
        file.read_exact(&mut two).unwrap();
        clone.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"cd");
        let std: std::fs::File = clone.into();
        let mut back = File::from(std);
        back.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ef");
        let fd: OwnedFd = back.into();
        let again = File::from(fd);
        assert_eq!(again.as_fd().as_raw_fd(), again.as_raw_fd());
        assert_eq!(again.read_at(&mut two, 0).unwrap(), 2);
    });
}

#[test]
fn paths_equal_std() {
    everywhere(|dir| {
        let (a, b, deep) = (dir.path("a"), dir.path("b"), dir.path("x/y/z"));
        fs::write(&a, "contents").unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"contents");
        assert_eq!(fs::read_to_string(&a).unwrap(), "contents");
        fs::write(dir.path("latin"), [0xff]).unwrap();
        assert_eq!(fs::read_to_string(dir.path("latin")).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(fs::copy(&a, &b).unwrap(), 8);
        assert_eq!(std::fs::read(&b).unwrap(), b"contents");
        fs::hard_link(&a, dir.path("hard")).unwrap();
        assert_eq!(fs::metadata(dir.path("hard")).unwrap().ino(), std::fs::metadata(&a).unwrap().ino());
        std::os::unix::fs::symlink("a", dir.path("soft")).unwrap();
        assert_eq!(fs::read_link(dir.path("soft")).unwrap(), Path::new("a"));
        assert!(fs::symlink_metadata(dir.path("soft")).unwrap().is_symlink());
        assert_eq!(fs::canonicalize(dir.path("soft")).unwrap(), std::fs::canonicalize(&a).unwrap());
        fs::rename(&b, dir.path("c")).unwrap();
        assert_eq!((fs::exists(&b).unwrap(), fs::exists(dir.path("c")).unwrap()), (false, true));
        fs::remove_file(dir.path("c")).unwrap();
        assert_eq!(fs::remove_file(dir.path("c")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::create_dir(&deep).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(deep.join("last")).unwrap();
        fs::remove_dir(deep.join("last")).unwrap();
        assert!(fs::remove_dir(dir.path("x")).is_err(), "it is not empty");
        fs::remove_dir_all(dir.path("x")).unwrap();
        assert!(!dir.path("x").exists());
    });
}

#[test]
fn directory_is_listed_whole() {
    everywhere(|dir| {
        let mut expected: Vec<_> = (0..300).map(|number| format!("entry {number}")).collect();
        expected.iter().for_each(|name| drop(dir.file(name, "")));
        std::fs::create_dir(dir.path("subdirectory")).unwrap();
        expected.push("subdirectory".into());
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir.0).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(entry.path(), dir.path(&name));
            assert_eq!(entry.file_type().unwrap().is_dir(), name == "subdirectory");
            assert_eq!(entry.metadata().unwrap().ino(), entry.ino());
            names.push(name);
        }
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
        assert_eq!(fs::read_dir(dir.path("subdirectory")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path("entry 1")).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    });
}

/// A batch of exactly the entries of the directory is followed by its end.
#[test]
fn listing_ends_after_full_batches() {
    everywhere(|dir| {
        for count in [1, 127, 128, 129, 256] {
            let sub = dir.path(&count.to_string());
            std::fs::create_dir(&sub).unwrap();
            (0..count).for_each(|number| std::fs::write(sub.join(number.to_string()), "").unwrap());
            let mut entries = fs::read_dir(&sub).unwrap();
            assert_eq!(entries.by_ref().filter(Result::is_ok).count(), count);
            assert!(entries.next().is_none());
        }
    });
}

#[test]
fn buffered_readers_read_lines() {
    everywhere(|dir| {
        let path = dir.file("f", "one\ntwo\nthree");
        let lines: Vec<_> = BufReader::new(File::open(&path).unwrap()).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["one", "two", "three"]);
        let mut copied = Vec::new();
        assert_eq!(cede::io::copy(&mut File::open(&path).unwrap(), &mut copied).unwrap(), 13);
        assert_eq!(copied, b"one\ntwo\nthree");
    });
}

/// Files of procfs have no length, and no `RWF_NOWAIT`.
#[cfg(target_os = "linux")]
#[test]
fn files_without_length_are_read() {
    everywhere(|_| {
        let mut text = String::new();
        File::open("/proc/self/status").unwrap().read_to_string(&mut text).unwrap();
        assert!(text.starts_with("Name:"));
        assert_eq!(File::open("/dev/null").unwrap().read(&mut [0; 8]).unwrap(), 0);
        let mut zeros = [1; 100];
        File::open("/dev/zero").unwrap().read_exact(&mut zeros).unwrap();
        assert_eq!(zeros, [0; 100]);
        assert_eq!(File::open("/").unwrap().read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::IsADirectory);
    });
}

/// A FIFO, as a slow disk: the test decides when a read ends.
fn fifo(dir: &Dir) -> PathBuf {
    let path = dir.path("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: `name` is a string that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

#[test]
fn tasks_run_during_a_read() {
    let dir = Dir::new();
    let path = fifo(&dir);
    run(|| {
        let turns = Rc::new(Cell::new(0));
        let counter = Rc::clone(&turns);
        let mut reader = spawn({
            let path = path.clone();
            move || {
                let mut bytes = Vec::new();
                File::open(path)?.read_to_end(&mut bytes)?;
                Ok::<_, std::io::Error>(bytes)
            }
        });
        spawn(move || {
            (0..100).for_each(|_| {
                counter.set(counter.get() + 1);
                yield_now();
            })
        });
        rounds(200);
        assert_eq!(turns.get(), 100, "the open of the FIFO does not block the run");
        fs::write(&path, "late").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b"late");
    });
}

/// A call that waits for the cursor is cancelled. The call that has the cursor is not.
#[test]
fn cancelled_waiter_leaves_the_cursor() {
    let dir = Dir::new();
    let path = fifo(&dir);
    run(|| {
        let file = Rc::new(OpenOptions::new().read(true).write(true).open(&path).unwrap());
        let tasks = [0, 1].map(|_| {
            let file = Rc::clone(&file);
            spawn(move || {
                let mut bytes = [0; 4];
                (&*file).read(&mut bytes).map(|count| bytes[..count].to_vec())
            })
        });
        let [mut first, mut second] = tasks;
        rounds(3);
        first.cancel();
        second.cancel();
        assert!(is_cancelled(&second.join().unwrap().unwrap_err()));
        rounds(100);
        file.write_at(b"x", 0).unwrap_err();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"data").unwrap();
        match first.join().unwrap() {
            // The call borrows its buffer, so it ended first.
            Ok(bytes) => assert_eq!(bytes, b"data"),
            // The kernel has cancelled the call, which has taken nothing.
            Err(error) => {
                assert!(is_cancelled(&error));
                let mut bytes = [0; 4];
                (&*file).read_exact(&mut bytes).unwrap();
                assert_eq!(&bytes, b"data");
            }
        }
    });
}

/// A transfer of a file takes no time by a paused clock, as any call that the run only waits for.
#[test]
fn paused_clock_waits_for_files() {
    let dir = Dir::new();
    let path = dir.path("file");
    let late = Config::new().paused_clock(true).run(|| {
        let file = File::create(&path).unwrap();
        let before = now();
        let late = (0..20).filter(|number| {
            file.write_at(&[7; 5000], number * 5000).unwrap();
            timeout(Duration::from_secs(1), || file.sync_all()).is_err()
        });
        (late.count(), now() - before)
    });
    assert_eq!(late.unwrap(), (0, Duration::ZERO));
}

/// A deadline that passes during a read does not lose what the read returns.
#[test]
fn late_read_keeps_its_data() {
    let dir = Dir::new();
    let path = fifo(&dir);
    run(|| {
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let writer = file.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            std::fs::File::from(writer).write_all(b"data").unwrap();
        });
        let mut bytes = [0; 4];
        match timeout(Duration::from_millis(20), || file.read(&mut bytes)).unwrap_or_else(|late| late.value) {
            Ok(count) => assert_eq!(count, 4),
            Err(error) => {
                assert!(is_cancelled(&error));
                file.read_exact(&mut bytes).unwrap();
            }
        }
        assert_eq!(&bytes, b"data");
        writing.join().unwrap();
    });
}

/// Two tasks that read one cursor get each byte once.
#[test]
fn shared_cursor_loses_no_byte() {
    let dir = Dir::new();
    let contents: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = dir.file("f", &contents);
    evict(&path);
    run(|| {
        let file = Rc::new(File::open(&path).unwrap());
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let file = Rc::clone(&file);
                spawn(move || {
                    let (mut all, mut buffer) = (Vec::new(), [0; 8_000]);
                    loop {
                        let count = (&*file).read(&mut buffer).unwrap();
                        if count == 0 {
                            return all;
                        }
                        assert_eq!(count, buffer.len(), "the length is a multiple of the buffer's");
                        all.push(buffer.to_vec());
                        yield_now();
                    }
                })
            })
            .collect();
        let mut pieces: Vec<_> = tasks.into_iter().flat_map(|mut task| task.join().unwrap()).collect();
        pieces.sort_by_key(|piece| u32::from_le_bytes(piece[..4].try_into().unwrap()));
        assert!(pieces.concat() == contents);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn direct_reads_equal_std() {
    everywhere(|dir| {
        let contents = pattern(64 << 10);
        let path = dir.file("f", &contents);
        // Not each file system has the flag.
        let Ok(mut file) = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path) else { return };
        let mut room = vec![0; 12 << 10];
        let start = room.as_ptr().align_offset(4096);
        let buffer = &mut room[start..][..8192];
        file.read_exact_at(buffer, 4096).unwrap();
        assert!(buffer == &contents[4096..][..8192]);
        file.read_exact(buffer).unwrap();
        assert!(buffer == &contents[..8192]);
        let clone = file.try_clone().unwrap();
        assert_eq!(clone.read_at(buffer, 60 << 10).unwrap(), 4096);
        assert_eq!(clone.read_at(&mut buffer[1..], 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    });
}

/// A task that reads only what is cached gives way to the other tasks.
#[test]
fn cached_reads_give_way() {
    let dir = Dir::new();
    let path = dir.file("f", pattern(4096));
    run(|| {
        let done = Rc::new(Cell::new(false));
        let other = Rc::clone(&done);
        let file = File::open(&path).unwrap();
        spawn(move || other.set(true));
        let mut reads = 0;
        while !done.get() {
            assert_eq!(file.read_at(&mut [0; 512], 0).unwrap(), 512);
            reads += 1;
            assert!(reads < 10_000, "the other task has no turn");
        }
    });
}
