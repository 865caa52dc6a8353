//! The HTTP server of the examples against clients that are wrong, slow, greedy or gone: it answers or closes each, keeps serving
//! good clients, and its memory stays flat.
#![cfg(all(feature = "io", target_os = "linux"))]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod server;
mod stop;

use cases::{ACCEPTED, REFUSED, bytes_of};
use common::random::Random;
use common::{command, emulated, example};
use server::{LONG, Server, response, rest};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Returns whether the memory and the time of the server are its own, and not those of an emulator or a sanitizer.
fn measures() -> bool {
    !emulated() && !cfg!(feature = "asan")
}

/// Returns the number in an environment variable.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn each_request_gets_its_response() {
    let server = Server::start("");
    for &(request, status, text) in REFUSED {
        let answer = server.answer(&bytes_of(request));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text), "{request:?}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{request:?}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.is_empty(), request.starts_with("HEAD "), "{request:?}: {answer}");
        assert_eq!(
            answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).count(),
            1,
            "the rest is no second request: {request:?}: {answer}"
        );
    }
    for &(request, text) in ACCEPTED {
        let answer = server.answer(&bytes_of(request));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(text), "{request:?}: {answer}");
    }
    server.serves();
}

/// The same requests, each byte in a packet of its own.
#[test]
fn bytes_may_arrive_one_by_one() {
    let server = Server::start("");
    let refused = REFUSED.iter().map(|&(request, status, _)| (request, status)).step_by(5);
    for (request, status) in refused.chain(ACCEPTED.iter().map(|&(request, _)| (request, 200))) {
        let mut stream = server.connect();
        stream.set_nodelay(true).unwrap();
        let sent = bytes_of(request).iter().all(|byte| {
            thread::sleep(MS / 20);
            stream.write_all(&[*byte]).is_ok()
        });
        let _ = stream.shutdown(Shutdown::Write);
        let answer = rest(&mut stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) || !sent, "{request:?}: {answer}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start("");
    let mut requests = String::new();
    for number in 0..50 {
        let length = number.to_string().len();
        requests += &format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{number}");
        requests += "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    }
    let answer = server.answer(requests.as_bytes());
    let bodies = answer.split("HTTP/1.1 200 OK\r\n").skip(1).map(|text| text.split("\r\n\r\n").nth(1).unwrap());
    let expected = (0..50).flat_map(|number| [number.to_string(), String::new()]);
    assert!(bodies.eq(expected), "{answer}");
}

#[test]
fn continue_is_sent_only_for_a_body_that_is_read() {
    let server = Server::start("");
    let head = |path: &str, length: u32| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-Continue\r\n\r\n")
    };
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().write_all(head("/echo", 4).as_bytes()).unwrap();
    assert_eq!(response(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.get_mut().write_all(b"body").unwrap();
    assert!(response(&mut stream).ends_with("\r\n\r\nbody"));
    // A client that does not wait gets one response.
    stream.get_mut().write_all((head("/echo", 4) + "more").as_bytes()).unwrap();
    assert!(response(&mut stream).starts_with("HTTP/1.1 200 OK"));
    for (path, length, status) in [("/nothing", 4, 404), ("/", 4, 405), ("/echo", 4 << 20, 413)] {
        let answer = server.answer(head(path, length).as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "the body may follow or not: {answer}");
    }
}

#[test]
fn bombs_are_refused_within_the_limits() {
    let server = Server::start("");
    server.serves();
    let before = server.memory();
    let line = "a".repeat(4 << 20);
    let fields: String = (0..100_000).map(|number| format!("X{number}: y\r\n")).collect();
    let chunks = "1;".to_string() + &"x".repeat(300) + "\r\na\r\n";
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bombs = [
        (format!("GET /{line} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (line.clone(), 414),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(5000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: {line}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{line}: x\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(64)), 431),
        ("\r\n".repeat(2 << 20), 431),
        (format!("{chunked}1;{line}"), 400),
        (format!("{chunked}{chunks}"), 400),
        (format!("{chunked}0\r\nX: {line}"), 400),
        (format!("{chunked}0\r\n{fields}\r\n"), 400),
        (format!("{chunked}{}", "10000\r\n".to_string() + &"a".repeat(65536) + "\r\n"), 400),
        (chunked.to_string() + &format!("10000\r\n{}\r\n", "a".repeat(65536)).repeat(40), 413),
    ];
    for round in 0..3 {
        for (bomb, status) in &bombs {
            let answer = server.answer(bomb.as_bytes());
            let name = &bomb[..bomb.len().min(100)];
            // A reset may overtake the response to a client that sends more than the server drops.
            let is_answered = answer.starts_with(&format!("HTTP/1.1 {status} "));
            assert!(is_answered || answer.is_empty() && bomb.len() > 500_000, "{round}: {name:?}: {answer}");
        }
    }
    server.serves();
    let grown = server.memory() - before;
    assert!(!measures() || grown < 8 * 1024, "{grown} KiB more");
}

/// A close with unread bytes would reset the connection, and a client on another system could lose the response.
#[test]
fn refused_client_sees_no_reset() {
    let server = Server::start("");
    for (head, status) in [
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413),
        ("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n", 404),
    ] {
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..30 {
            stream.write_all(&[b'x'; 10_000]).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

/// Changes a request at random.
fn mutate(request: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"\0",
        b"0",
        b"-",
        b"\r\n\r\n",
        b"HTTP/1.1",
        b"chunked",
        b"\xff",
        b";",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n",
        b"Host: a\r\n",
    ];
    for _ in 0..=random.below(4) {
        let at = random.below(request.len() + 1);
        let end = (at + random.below(12)).min(request.len());
        match random.below(6) {
            0 if at < request.len() => request[at] ^= 1 << random.below(8),
            1 => drop(request.drain(at..end)),
            2 => {
                let copy = request[at..end].to_vec();
                request.splice(at..at, copy);
            }
            3 => request.truncate(at),
            _ => drop(request.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
        }
    }
}

/// With `CEDE_HTTP_MUTATIONS=n`, n instead of 2,000 requests. `CEDE_SEED` sets the seed.
#[test]
fn mutated_requests_are_answered_or_closed() {
    let count = number("CEDE_HTTP_MUTATIONS", if emulated() { 200 } else { 2_000 });
    let seed = number("CEDE_SEED", 1);
    // A valid request that is cut short waits for the rest until the end of the stream, so no deadline passes here.
    let server = Server::start("--connections 50");
    let sources: Vec<_> = REFUSED.iter().map(|case| case.0).chain(ACCEPTED.iter().map(|case| case.0)).collect();
    let attack = |thread: usize, count: usize| {
        let mut random = Random::new((seed * 1000 + thread) as u64);
        for round in 0..count {
            let mut request = bytes_of(sources[random.below(sources.len())]);
            if random.below(3) == 0 {
                request.extend(bytes_of(sources[random.below(sources.len())]));
            }
            mutate(&mut request, &mut random);
            let answer = server.answer(&request);
            let text = String::from_utf8_lossy(&request);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "seed {seed}: {text:?}: {answer}");
            for status in answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")) {
                assert!(!status.contains("Unknown"), "seed {seed}: {text:?}: {answer}");
            }
            // Only a request of empty lines gets no response.
            let is_blank = request.iter().all(|byte| b"\r\n".contains(byte));
            assert!(!answer.is_empty() || is_blank, "seed {seed}: {text:?}");
            if round % 100 == 0 {
                server.serves();
            }
        }
    };
    let in_threads = |count: usize| {
        thread::scope(|s| (0..4).for_each(|thread| drop(s.spawn(move || attack(thread, count / 4)))));
    };
    in_threads(count / 4);
    let before = server.memory();
    in_threads(count);
    let grown = server.memory() - before;
    assert!(!measures() || grown < 2 * 1024, "{grown} KiB more after {count} requests");
    server.serves();
}

/// The server inherits the limit.
fn raise_descriptor_limit(count: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = count.clamp(limit.rlim_cur.min(limit.rlim_max), limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// With `CEDE_HTTP_CLIENTS=n`, n instead of 500 clients.
#[test]
fn slow_clients_are_refused_and_do_not_disturb() {
    let count = number("CEDE_HTTP_CLIENTS", if emulated() { 50 } else { 500 });
    raise_descriptor_limit(2 * count as u64 + 1000);
    let server = &Server::start("--idle 8000 --head 4000 --body 4000");
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n";
    let connect = |_| server.connect();
    let silent: Vec<TcpStream> = (0..count / 5).map(connect).collect();
    let mut slow: Vec<TcpStream> = (0..count).map(connect).collect();
    let mut in_body: Vec<TcpStream> = (0..count / 5).map(connect).collect();
    for stream in &mut in_body {
        stream.write_all(head).unwrap();
        stream.write_all(b"\r\nsome of the body").unwrap();
    }
    // A byte every 200 ms. Good clients are served in between.
    for byte in &head[..4] {
        slow.iter_mut().for_each(|stream| drop(stream.write(&[*byte])));
        let begun = Instant::now();
        server.serves();
        assert!(begun.elapsed() < LONG);
        thread::sleep(200 * MS);
    }
    // The client sends nothing more, and the server does nothing until the deadlines.
    for mut stream in slow {
        let answer = rest(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("the head of the request"), "{answer}");
    }
    for mut stream in in_body {
        let answer = rest(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("the body did not arrive"), "{answer}");
    }
    for mut stream in silent {
        assert_eq!(rest(&mut stream), "", "a connection without a request is closed");
    }
    server.serves();
}

#[test]
fn idle_connections_cost_no_time_and_little_memory() {
    let count = if emulated() { 50 } else { 500 };
    let server = Server::start("");
    server.serves();
    let before = server.memory();
    let mut streams: Vec<_> = (0..count).map(|_| BufReader::new(server.connect())).collect();
    for stream in &mut streams {
        stream.get_mut().write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8000\r\n\r\n").unwrap();
        stream.get_mut().write_all(&[b'x'; 8000]).unwrap();
        assert!(response(stream).starts_with("HTTP/1.1 200 "));
    }
    thread::sleep(100 * MS);
    let each = (server.memory() - before) / count;
    let cpu = server.cpu_time();
    thread::sleep(500 * MS);
    assert!(!measures() || server.cpu_time() - cpu <= 2, "the server is idle");
    assert!(!measures() || each <= 24, "{each} KiB per idle connection");
    // Each connection continues.
    for stream in &mut streams {
        stream.get_mut().write_all(b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(response(stream).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn client_that_does_not_read_loses_its_connection() {
    let server = Server::start("--write 500");
    let mut stream = server.connect();
    // More responses than the kernel buffers.
    let body = vec![b'x'; 1 << 20];
    let outcome = (0..64).try_for_each(|_| {
        stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n")?;
        stream.write_all(&body)
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    server.serves();
}

#[test]
fn vanished_clients_leave_nothing() {
    let server = Server::start("");
    let reset = |bytes: &[u8]| {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    server.serves();
    let before = descriptors();
    for _ in 0..50 {
        reset(b"");
        reset(b"GET / HTTP/1.1\r\nHo");
        reset(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
        reset(b"GET /slow?20 HTTP/1.1\r\nHost: a\r\n\r\n");
        reset(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.serves();
    let begun = Instant::now();
    while descriptors() > before {
        assert!(begun.elapsed() < LONG, "{} descriptors, {before} before", descriptors());
        thread::sleep(10 * MS);
    }
}

#[test]
fn server_stops_after_its_last_response() {
    let server = Server::start("--requests 3 --grace 60000");
    let mut idle = BufReader::new(server.connect());
    idle.get_mut().write_all(b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(!response(&mut idle).contains("Connection: close"));
    let mut running = server.connect();
    running.write_all(b"GET /slow?300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    thread::sleep(50 * MS);
    assert!(server.answer(b"GET /nothing HTTP/1.0\r\n\r\n").contains(" 404 "));
    // The response that has begun is complete, and the idle connection ends at once.
    let answer = server.answer(b"");
    assert_eq!(answer, "");
    let last = rest(&mut running);
    assert!(last.contains(" 200 OK") && last.contains("after 300 ms") && last.contains("Connection: close"), "{last}");
    assert_eq!(rest(idle.get_mut()), "");
    let text = server.end();
    assert!(text.contains(", 0 of them cancelled") && text.ends_with("200: 2\n404: 1\n"), "{text}");
}

/// The stop ends idle connections. A request of which a part arrives at that moment gets no response.
#[test]
fn stop_refuses_no_request() {
    let server = Server::start("--requests 1 --grace 60000");
    let mut last = BufReader::new(server.connect());
    let mut idle: Vec<_> = (0..300).map(|_| server.connect()).collect();
    server_is_idle(&server);
    last.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    for (number, stream) in idle.iter_mut().enumerate() {
        let part: &[u8] =
            if number % 2 == 0 { b"G" } else { b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n" };
        let _ = stream.write_all(part); // the connection may have ended
    }
    assert!(response(&mut last).starts_with("HTTP/1.1 200 OK"));
    for stream in &mut idle {
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(rest(stream), "");
    }
    drop(last);
    assert!(server.end().ends_with("\n200: 1\n"));
}

/// Waits until the server has accepted all connections: its CPU time stays the same.
fn server_is_idle(server: &Server) {
    let mut before = u64::MAX;
    while before != server.cpu_time() {
        before = server.cpu_time();
        thread::sleep(100 * MS);
    }
}

/// After the grace period the connections are cancelled.
#[test]
fn grace_period_ends_the_rest() {
    let server = Server::start("--seconds 1 --grace 100");
    let mut stream = server.connect();
    stream.write_all(b"GET /slow?10000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let text = server.end();
    assert!(text.contains("1 connections, 1 of them cancelled"), "{text}");
}

#[test]
fn wrong_command_lines_are_refused() {
    for arguments in
        ["--workers", "--workers -1", "--connections 0", "--idle", "nowhere", "127.0.0.1:0 127.0.0.1:0", "--what"]
    {
        let output = command(example("http_server")).args(arguments.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(String::from_utf8_lossy(&output.stderr).ends_with("; see --help\n"));
    }
}

/// A server at its maximum of connections leaves clients in the backlog.
#[test]
fn maximum_of_connections_is_kept() {
    let server = Server::start("--connections 2");
    let (first, _second) = (server.connect(), server.connect());
    let mut third = server.connect();
    third.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let is_answered = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            assert!(rest(&mut third).starts_with("HTTP/1.1 200 OK"));
            is_answered.store(true, Relaxed);
        });
        thread::sleep(200 * MS);
        assert!(!is_answered.load(Relaxed));
        drop(first);
    });
}
