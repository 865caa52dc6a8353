//! The stop of the server by a signal, during many connections.

use super::common::emulated;
use super::raise_descriptor_limit;
use super::server::{LONG, Server, rest};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsent";

fn signal(server: &Server, signal: i32) {
    let pid = server.child.id().try_into().unwrap();
    // SAFETY: kill takes two numbers. The server is a child that was not waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Returns when the server has read what was sent before.
fn reads_all(server: &Server, options: &str) {
    server.serves();
    if options.contains("--workers") {
        // That was one worker. The other ones read at their own pace.
        std::thread::sleep(Duration::from_secs(if emulated() { 5 } else { 2 }));
    }
}

/// A third of the connections is silent, a third has had a response, and the requests of a third have begun. Those are answered, the
/// idle ones are closed at once, and the server ends with its statistics.
fn stops_in_order(number: i32, options: &str) {
    let count = if emulated() { 60 } else { 1_000 };
    raise_descriptor_limit(2 * count as u64 + 1000);
    let server = Server::start(&format!("--connections 2000 --grace 20000 {options}"));
    let mut streams: Vec<_> = (0..count).map(|_| server.connect()).collect();
    let (idle, begun) = streams.split_at_mut(count - count / 3);
    let (used, _silent) = idle.split_at_mut(count / 3);
    for stream in used {
        stream.write_all(&[HEAD, b"ok"].concat()).unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    begun.iter_mut().for_each(|stream| stream.write_all(HEAD).unwrap());
    reads_all(&server, options);
    signal(&server, number);
    for stream in idle {
        assert!(rest(stream).matches("HTTP/1.1").count() == 0, "the connection is closed without a response");
    }
    let stopped = Instant::now();
    for stream in begun {
        stream.write_all(b"it").unwrap();
        let answer = rest(stream);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nsentit"), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
    let text = server.end();
    assert!(text.contains(&format!("{} connections, 0 of them cancelled", count + 1)), "{text}");
    assert!(stopped.elapsed() < Duration::from_secs(20), "the grace period was not needed");
}

#[test]
fn sigterm_ends_in_order() {
    stops_in_order(libc::SIGTERM, "");
}

#[test]
fn all_workers_end_in_order() {
    stops_in_order(libc::SIGTERM, "--workers 4");
}

#[test]
fn ctrl_c_ends_in_order() {
    stops_in_order(libc::SIGINT, "");
}

/// Requests that never end are cancelled after the grace period.
fn is_limited_by_grace(options: &str) {
    let server = Server::start(&format!("--grace 300 {options}"));
    let mut streams: Vec<_> = (0..10).map(|_| server.connect()).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(HEAD).unwrap());
    reads_all(&server, options);
    let stopped = Instant::now();
    signal(&server, libc::SIGTERM);
    for stream in &mut streams {
        assert_eq!(rest(stream), "");
    }
    let text = server.end();
    assert!(text.contains("11 connections, 10 of them cancelled"), "{text}");
    assert!(stopped.elapsed() >= Duration::from_millis(300) && stopped.elapsed() < LONG, "{:?}", stopped.elapsed());
}

#[test]
fn grace_period_limits_the_stop() {
    is_limited_by_grace("");
    is_limited_by_grace("--workers 3");
}
