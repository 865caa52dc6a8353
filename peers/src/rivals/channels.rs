//! Channels. Between tasks: those of tokio, async-channel and flume, on the current_thread runtime of tokio. (The latter two
//! belong to no executor, and each was faster there than on smol's LocalExecutor or on LocalPool.) Between threads: those of
//! crossbeam and std, on all cores unless the name says otherwise.

use super::ring::serve_async;
use super::{CAPACITY, Rival, Role};
use crate::area::Area;
use crate::serve::serve;
use ::tokio::runtime::Builder;
use ::tokio::spawn;
use ::tokio::sync::mpsc as tokio_mpsc;
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;

pub(super) static RIVALS: [Rival; 8] = [
    Rival::own("tokio mpsc", Role::Rival, &[Area::Channel], tokio_bounded),
    Rival::own("tokio mpsc, unbounded", Role::Rival, &[Area::Channel], tokio_unbounded),
    Rival::own("async-channel on tokio", Role::Rival, &[Area::Channel], async_channel),
    Rival::own("flume on tokio", Role::Rival, &[Area::Channel], flume),
    Rival::own("flume on tokio, unbounded", Role::Rival, &[Area::Channel], flume_unbounded),
    Rival::own("crossbeam-channel, threads", Role::Threads, &[Area::Channel], crossbeam).on_all_cores(),
    Rival::own("std mpsc, threads", Role::Threads, &[Area::Channel], std_mpsc).on_all_cores(),
    Rival::own("std mpsc, threads on one core", Role::Threads, &[Area::Channel], std_mpsc),
];

/// In the loop, if n == 2: a message to a task and one back. Otherwise: a message from each of n producers, which are spawned
/// before the clock starts. `$send` and `$recv` are the methods of the channel, with their suffixes.
macro_rules! on_tokio {
    ($n:expr, $channel:expr, $send:ident $(. $sent:tt)?, $recv:ident) => {{
        let n: u64 = $n;
        let channel = $channel;
        let work = async move {
            if n == 2 {
                #[allow(unused_mut, reason = "some receivers are received from by reference, some by mutable reference")]
                let ((to, mut from_us), (to_us, mut from)) = (channel(1), channel(1));
                spawn(async move {
                    loop {
                        let value: u64 = from_us.$recv().await.expect("the runtime ends before the channel");
                        to_us.$send(value + 1)$(.$sent)?.expect("the same");
                    }
                });
                return serve_async!(n, |count| {
                    for i in 0..count {
                        to.$send(i)$(.$sent)?.expect("it receives");
                        black_box(from.$recv().await.expect("it sends"));
                    }
                });
            }
            #[allow(unused_mut, reason = "as above")]
            let (to, mut from) = channel(CAPACITY);
            let produce = |count: u64| {
                for _ in 0..n {
                    let to = to.clone();
                    spawn(async move {
                        for i in 0..count {
                            to.$send(i)$(.$sent)?.expect("it receives");
                        }
                    });
                }
            };
            serve_async!(n, |count| () = produce(count) => {
                for _ in 0..n * count {
                    black_box(from.$recv().await.expect("somebody sends"));
                }
            });
        };
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        // A spawned task, because the future of `block_on` is polled less often.
        runtime.block_on(async move { spawn(work).await.expect("it returns") });
    }};
}

fn tokio_bounded(_: Area, n: u64) {
    on_tokio!(n, tokio_mpsc::channel, send.await, recv);
}

fn tokio_unbounded(_: Area, n: u64) {
    on_tokio!(n, |_: usize| tokio_mpsc::unbounded_channel(), send, recv);
}

fn async_channel(_: Area, n: u64) {
    on_tokio!(n, ::async_channel::bounded, send.await, recv);
}

fn flume(_: Area, n: u64) {
    on_tokio!(n, ::flume::bounded, send_async.await, recv_async);
}

fn flume_unbounded(_: Area, n: u64) {
    on_tokio!(n, |_: usize| ::flume::unbounded(), send_async.await, recv_async);
}

/// The same between threads. Producers are started before the clock, and wait for a message to begin.
macro_rules! between_threads {
    ($n:expr, $bounded:path) => {{
        let n: u64 = $n;
        if n == 2 {
            let (to, from_us) = $bounded(1);
            let (to_us, from) = $bounded(1);
            let other = thread::spawn(move || {
                while let Ok(value) = from_us.recv() {
                    let value: u64 = value;
                    let _ = to_us.send(value + 1);
                }
            });
            serve(n, |count| {
                for i in 0..count {
                    to.send(i).expect("it receives");
                    black_box(from.recv().expect("it sends"));
                }
            });
            drop(to);
            return other.join().expect("it ends");
        }
        let (to, from) = $bounded(CAPACITY);
        let begin: Vec<mpsc::Sender<u64>> = (0..n)
            .map(|_| {
                let (begin, counts) = mpsc::channel();
                let to = to.clone();
                thread::spawn(move || {
                    for count in counts {
                        (0..count).for_each(|i| to.send(i).expect("it receives"));
                    }
                });
                begin
            })
            .collect();
        serve(n, |count| {
            begin.iter().for_each(|begin| begin.send(count).expect("it waits"));
            for _ in 0..n * count {
                black_box(from.recv().expect("somebody sends"));
            }
        });
    }};
}

fn crossbeam(_: Area, n: u64) {
    between_threads!(n, ::crossbeam_channel::bounded);
}

fn std_mpsc(_: Area, n: u64) {
    between_threads!(n, mpsc::sync_channel);
}
