//! Waits for connections: the next waiter, and a lack of descriptors.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;
mod kernel;

use cede::net::{TcpListener, UnixListener};
use cede::{spawn, timeout};
use common::child::in_child;
use kernel::drivers::{LONG, passed, run_on_each_driver, until_waiting};
use std::io;
use std::net::TcpStream as StdStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream as StdUnixStream};
use std::rc::Rc;

/// Checks that a connection that comes together with a cancel is not lost: it ends another wait for the listener.
fn cancelled_wait_keeps_no_connection(accept: impl Fn() -> io::Result<()> + 'static, connect: impl Fn()) {
    let accept = Rc::new(accept);
    let [mut first, mut second] = [accept.clone(), accept].map(|accept| spawn(move || accept()));
    until_waiting(2);
    connect();
    first.cancel();
    if first.join().unwrap().is_ok() {
        second.cancel();
        assert!(cede::io::is_cancelled(&second.join().unwrap().unwrap_err()));
    } else {
        timeout(LONG, || second.join()).expect("no task has the connection").unwrap().unwrap();
    }
}

#[test]
fn cancelled_accept_loses_no_connection() {
    run_on_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || drop(StdStream::connect(address).unwrap());
        cancelled_wait_keeps_no_connection(move || listener.accept().map(|_| ()), connect);

        let name = format!("cede-accept-{}-{driver:?}", std::process::id());
        let name = UnixAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let connect = || drop(StdUnixStream::connect_addr(&name).unwrap());
        cancelled_wait_keeps_no_connection(move || listener.accept().map(|_| ()), connect);
    });
}

fn set_descriptor_limit(count: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, count);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

/// With a limit of 0, poll(2) fails too. The error is that of accept4(2), after which a server tries again.
#[test]
fn accept_without_descriptors_says_so() {
    let text = in_child("accept_without_descriptors_says_so", || {
        run_on_each_driver(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _streams = [0; 2].map(|_| StdStream::connect(listener.local_addr().unwrap()).unwrap());
            listener.accept().unwrap();
            let limit = set_descriptor_limit(0);
            let error = listener.accept().unwrap_err();
            set_descriptor_limit(limit);
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            listener.accept().unwrap();
        });
    });
    passed(&text);
}
