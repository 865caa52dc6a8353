//! Sockets in fibers, and in runs in fibers.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::io::Driver;
use cede::net::{TcpListener, TcpStream};
use cede::time::sleep;
use cede::{Config, fiber};
use common::executor::{Boxed, all, block, poll};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An echo server and its clients, all tasks of one run.
fn echo(driver: Driver) -> u64 {
    let talk = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _server = cede::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                cede::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..count]).unwrap();
                    }
                });
            }
        });
        let mut clients: Vec<_> = (0..8)
            .map(|n| {
                cede::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..5_u8 {
                        stream.write_all(&[n, round]).unwrap();
                        let mut answer = [0; 2];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, [n, round]);
                        sleep(ms(1)).unwrap();
                    }
                    1
                })
            })
            .collect();
        clients.iter_mut().map(|client| client.join().unwrap()).sum()
    };
    block(Config::new().driver(driver).run_async(talk)).unwrap()
}

#[test]
fn sockets_by_epoll() {
    assert_eq!(echo(Driver::Epoll), 8);
}

#[test]
fn sockets_by_default_driver() {
    assert_eq!(echo(Driver::Auto), 8);
}

#[test]
fn sockets_in_plain_fiber() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).unwrap();
        sleep(ms(5)).unwrap();
        stream.write_all(&request).unwrap();
        request
    };
    let client = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        answer
    };
    let fibers: [Boxed<'_, _>; 2] = [Box::pin(fiber(server)), Box::pin(fiber(client))];
    assert_eq!(all(fibers), [*b"hello", *b"hello"]);
}

#[test]
fn read_ends_at_drop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    for in_run in [false, true] {
        let (log, connected) = (Rc::clone(&seen), Rc::new(Cell::new(false)));
        let has_connected = Rc::clone(&connected);
        let reads = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            has_connected.set(true);
            let error = stream.read(&mut [0]).unwrap_err();
            log.borrow_mut().push((in_run, cede::io::is_cancelled(&error)));
        };
        let mut body: Boxed<'_, ()> = match in_run {
            true => Box::pin(async { Config::new().run_async(reads).await.unwrap() }),
            false => Box::pin(fiber(reads)),
        };
        // The connect may be pending, too.
        while !connected.replace(false) {
            assert!(poll(&mut body).is_pending());
            thread::sleep(ms(1));
        }
        let _peer = listener.accept().unwrap();
        assert!(poll(&mut body).is_pending());
        drop(body);
    }
    assert_eq!(*seen.borrow(), [(false, true), (true, true)]);
}
