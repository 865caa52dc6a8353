//! Idle connections: their memory, their turns and polls while nothing happens, and their wake-up. `cargo run --release -p cede-benches
//! --bin idle` measures 10,000 of them.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::net::UnixStream;
use cede::{Builder, metrics, run, stack, yield_now};
use common::child::in_child;
use common::emulated;
use std::io::{Read, Write};
use std::time::Duration;

/// Raises the limit of descriptors as far as it goes, and returns it.
fn raise_descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur as usize
}

/// The resident memory of the process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The process has a test of its own, because its memory is measured, and because it takes thousands of descriptors.
#[test]
fn idle_connections_cost_a_page_and_no_turn() {
    let text = in_child("idle_connections_cost_a_page_and_no_turn", || {
        let count = 2000.min((raise_descriptor_limit() - 50) / 2);
        run(|| {
            // Both ends exist before the measurement, and the reactor, too.
            let mut pairs: Vec<_> = (0..=count).map(|_| UnixStream::pair().unwrap()).collect();
            let wait = |mut stream: UnixStream| {
                let options = Builder::new().stack_size(stack::min_size());
                options.spawn(move || stream.read_exact(&mut [0; 1]).map(|()| stream)).unwrap()
            };
            let (mut peer, stream) = pairs.pop().unwrap();
            let mut first = wait(stream);
            peer.write_all(b"x").unwrap();
            first.join().unwrap().unwrap();
            let before = resident();
            let (mut peers, streams): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let mut tasks: Vec<_> = streams.into_iter().map(wait).collect();
            yield_now();
            assert_eq!(metrics().io_waiting, count as u64);
            let each = (resident() - before) as f64 / count as f64;
            eprintln!("{each:.2} KiB each");
            if !emulated() && !cfg!(feature = "asan") {
                // Without optimization a wait takes a second page of the stack.
                let limit = if cfg!(debug_assertions) { 12.0 } else { 6.0 };
                assert!(each <= limit, "a connection takes {each:.2} KiB");
            }
            let before = metrics();
            cede::time::sleep(Duration::from_millis(300)).unwrap();
            let after = metrics();
            // The only turn is that of the sleeper. The kernel may round its sleep to milliseconds.
            assert_eq!(after.switches - before.switches, 1);
            assert!(after.io_polls - before.io_polls <= 10, "{before:?} {after:?}");
            peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
            tasks.iter_mut().for_each(|task| drop(task.join().unwrap().unwrap()));
            assert_eq!((metrics().io_waiting, metrics().io_descriptors, metrics().live), (0, 0, 0));
        });
    });
    assert!(text.ends_with("exit code Some(0)"), "{text}");
    print!("{text}");
}
