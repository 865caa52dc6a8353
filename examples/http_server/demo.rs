//! The demonstration: a client that sends requests, and prints the responses.

use cede::net::TcpStream;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;

/// The requests of each connection, with the method of the request that each response belongs to.
const CONNECTIONS: &[(&str, &str, &[&str])] = &[
    (
        "keep-alive and pipelining",
        "GET /slow?20 HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        &["GET", "HEAD"],
    ),
    (
        "a body in chunks",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npieces\r\n8;x=y\r\n of one\n\r\n0\r\n\r\n",
        &["POST"],
    ),
    (
        "a client that waits before it sends the body",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        &["POST", "POST"],
    ),
    ("HTTP/1.0", "GET /nothing HTTP/1.0\r\n\r\n", &["GET"]),
    ("a method that the path does not have", "PUT / HTTP/1.1\r\nHost: a\r\n\r\n", &["PUT"]),
    (
        "two ways to find the end of the body",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &["POST"],
    ),
    ("a body that is too large", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", &["POST"]),
    ("no HTTP", "\u{16}\u{3}\u{1}", &["none"]),
];

/// Sends the requests, and prints the responses.
pub(crate) fn talk_to(server: SocketAddr) {
    for &(name, requests, methods) in CONNECTIONS {
        println!("{name}:");
        if let Err(error) = exchange(server, requests, methods) {
            println!("  {error}");
        }
    }
}

fn exchange(server: SocketAddr, requests: &str, methods: &[&str]) -> std::io::Result<()> {
    let stream = TcpStream::connect(server)?;
    (&stream).write_all(requests.as_bytes())?;
    let mut reader = BufReader::new(&stream);
    for &method in methods {
        let (mut status, mut length) = (String::new(), 0);
        reader.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("the server sends a number"),
                Some(("Connection" | "Allow", _)) => status += &line,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        reader.read_exact(&mut body)?;
        if status.contains(" 100 ") {
            (&stream).write_all(b"hello")?;
        }
        for line in status.lines().chain(String::from_utf8_lossy(&body).lines()) {
            println!("  {line}");
        }
    }
    Ok(())
}
