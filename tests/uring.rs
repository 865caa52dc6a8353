//! The choice between the drivers, and what happens where the kernel refuses io_uring(7) or an operation.
#![cfg(all(feature = "uring", target_os = "linux", not(cede_poll_driver)))]

mod common;
mod kernel;

use cede::io::Driver;
use cede::net::UnixStream;
use cede::{Config, dump, metrics, spawn};
use common::child::in_child;
use common::emulated;
use common::seccomp::refuse;
use kernel::drivers::{has_uring, until_waiting, warm_up};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::thread;

/// Runs `check` in a thread of a child process, in which a filter or a limit has no effect on other tests.
fn in_own_process(name: &str, check: impl FnOnce() + Send) {
    let text = in_child(name, || thread::scope(|scope| scope.spawn(check).join().unwrap()));
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

/// Starts a run that waits for I/O. Returns the driver in use, and the head of the dump.
fn driver_of(choice: Driver) -> io::Result<(Driver, String)> {
    let main = || {
        assert_eq!(metrics().io_driver, None, "chosen before the first wait");
        warm_up()?;
        let text = dump().to_string();
        Ok((metrics().io_driver.unwrap(), text.lines().next().unwrap().to_string()))
    };
    Config::new().driver(choice).run(main).unwrap()
}

#[test]
fn driver_is_named() {
    if has_uring() {
        let auto = if std::env::var("CEDE_IO").as_deref() == Ok("epoll") { Driver::Epoll } else { Driver::Uring };
        assert_eq!(driver_of(Driver::Uring).unwrap(), (Driver::Uring, "1 task; I/O by io_uring".into()));
        assert_eq!(driver_of(Driver::Auto).unwrap().0, auto);
    }
    assert_eq!(driver_of(Driver::Epoll).unwrap(), (Driver::Epoll, "1 task; I/O by epoll".into()));
}

/// As in a container with the usual filter, or on a kernel without io_uring.
#[test]
fn refused_io_uring_falls_back_to_epoll() {
    if emulated() {
        return; // qemu installs no filters
    }
    in_own_process("refused_io_uring_falls_back_to_epoll", || {
        for error in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EINVAL, libc::EMFILE] {
            let check = || {
                refuse(libc::SYS_io_uring_setup, error);
                let reason = io::Error::from_raw_os_error(error);
                // SAFETY: the other thread of this process waits for this one.
                unsafe { std::env::remove_var("CEDE_IO") };
                let (driver, text) = driver_of(Driver::Auto).unwrap();
                assert_eq!(driver, Driver::Epoll);
                assert_eq!(text, format!("1 task; I/O by epoll; io_uring is not available ({reason})"));
                let refused = driver_of(Driver::Uring).unwrap_err();
                assert_eq!(refused.kind(), reason.kind());
                let expected =
                    format!("io_uring is not available ({reason}): choose Driver::Auto, which then takes epoll");
                assert_eq!(refused.to_string(), expected);
                assert_eq!(driver_of(Driver::Epoll).unwrap().1, "1 task; I/O by epoll");
            };
            thread::scope(|scope| scope.spawn(check).join().unwrap());
        }
    });
}

/// A wait that fails leaves a run that goes on: timers, channels, and calls that need no wait.
#[test]
fn run_without_a_driver_goes_on() {
    if emulated() {
        return; // qemu installs no filters
    }
    in_own_process("run_without_a_driver_goes_on", || {
        refuse(libc::SYS_io_uring_setup, libc::EPERM);
        let outcome = Config::new().driver(Driver::Uring).run(|| {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            for _ in 0..3 {
                assert_eq!(there.read(&mut [0]).unwrap_err().kind(), ErrorKind::PermissionDenied);
                assert_eq!(metrics().io_driver, None);
                here.write_all(b"x").unwrap();
                assert_eq!(there.read(&mut [0]).unwrap(), 1);
            }
            cede::time::sleep(std::time::Duration::from_millis(1)).unwrap();
            assert_eq!(spawn(|| 7).join().unwrap(), 7);
        });
        outcome.unwrap();
    });
}

#[test]
fn environment_replaces_auto() {
    let uring = has_uring();
    in_own_process("environment_replaces_auto", move || {
        for (name, expected) in [("epoll", Driver::Epoll), ("uring", Driver::Uring), ("other", Driver::Uring)] {
            // SAFETY: the other thread of this process waits for this one.
            unsafe { std::env::set_var("CEDE_IO", name) };
            if uring || expected == Driver::Epoll {
                assert_eq!(driver_of(Driver::Auto).unwrap().0, expected, "CEDE_IO={name}");
            }
            assert_eq!(driver_of(Driver::Uring).is_ok(), uring, "CEDE_IO={name}");
            assert_eq!(driver_of(Driver::Epoll).unwrap().0, Driver::Epoll, "CEDE_IO={name}");
        }
    });
}

/// With each number of free descriptors a run gets a driver or an error.
#[test]
fn few_descriptors_suffice_or_fail() {
    in_own_process("few_descriptors_suffice_or_fail", || {
        // SAFETY: the other thread of this process waits for this one.
        unsafe { std::env::remove_var("CEDE_IO") };
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: `limit` is valid for the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        let mut seen = Vec::new();
        for free in 0..8 {
            let drivers = [Driver::Auto, Driver::Uring].map(|choice| match driver_of(choice) {
                Ok((driver, _)) => Some(driver),
                Err(error) => {
                    assert_eq!(error.raw_os_error().unwrap_or(libc::EMFILE), libc::EMFILE, "{free} free: {error}");
                    None
                }
            });
            eprintln!("{free} free descriptors: {drivers:?}");
            seen.push(drivers);
            files.pop();
        }
        assert_eq!(seen[0], [None; 2]);
        assert!(seen[7][0].is_some());
        // Each run has given its descriptors back.
        assert!(File::open("/dev/null").is_ok());
    });
}

/// As an unprivileged user, with little memory to lock, which recent kernels count for the queues. What does not fit is done by epoll.
#[test]
fn limit_of_locked_memory_is_respected() {
    // SAFETY: the call takes nothing.
    if !has_uring() || unsafe { libc::geteuid() } != 0 {
        return;
    }
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if !matches!(setting.trim(), "" | "0") {
        return; // only for privileged users
    }
    in_own_process("limit_of_locked_memory_is_respected", || {
        // SAFETY: the other thread of this process waits for this one.
        unsafe { std::env::remove_var("CEDE_IO") };
        let mut privileged = true;
        for bytes in [8 << 20, 1 << 20, 64 << 10, 0] {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            // SAFETY: `limit` is valid for the call. The other calls take numbers.
            unsafe {
                assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit), 0);
                if std::mem::take(&mut privileged) {
                    assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
                }
            }
            let mut by_uring = 0;
            for _ in 0..200 {
                let outcome = Config::new().driver(Driver::Auto).run(|| {
                    warm_up()?;
                    let (here, there) = UnixStream::pair()?;
                    let mut task = spawn(move || there.lend(<[u8]>::to_vec));
                    until_waiting(1);
                    (&here).write_all(b"lent")?;
                    assert_eq!(task.join().unwrap()?, b"lent");
                    Ok::<_, io::Error>(metrics().io_driver)
                });
                by_uring += usize::from(outcome.unwrap().unwrap() == Some(Driver::Uring));
            }
            eprintln!("{bytes} bytes of locked memory: {by_uring} of 200 runs by io_uring");
            assert!(by_uring > 0 || bytes < 8 << 20);
        }
    });
}
