//! Futures of tokio in tasks of a run, with `block_on`. A runtime of tokio on threads of its own drives its timers and sockets.

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::runtime::{Builder, Runtime};
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{sleep, timeout};
use cede::block_on;
use cede::task::Cancelled;
use std::io;
use std::time::{Duration, Instant};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Runs `main` as a run in the context of a runtime: one guard around the run serves all its tasks.
pub(crate) fn run_in_tokio<T>(main: impl FnOnce() -> T) -> T {
    let runtime = runtime();
    let _guard = runtime.enter();
    crate::run(main)
}

#[test]
fn timers_of_many_tasks() {
    run_in_tokio(|| {
        let begin = Instant::now();
        let mut tasks: Vec<_> = (0..50)
            .map(|n| {
                cede::spawn(move || {
                    block_on(sleep(Duration::from_millis(n))).unwrap();
                    assert!(begin.elapsed() >= Duration::from_millis(n));
                    n
                })
            })
            .collect();
        let sum: u64 = tasks.iter_mut().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 49 * 25);
    });
}

#[test]
fn echo_over_sockets() {
    run_in_tokio(|| {
        let listener = block_on(::tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = cede::spawn(move || {
            let (mut stream, _) = block_on(listener.accept()).unwrap()?;
            let mut buffer = [0; 4];
            for _ in 0..100 {
                block_on(stream.read_exact(&mut buffer)).unwrap()?;
                block_on(stream.write_all(&buffer)).unwrap()?;
            }
            Ok::<_, io::Error>(())
        });
        let mut stream = block_on(::tokio::net::TcpStream::connect(address)).unwrap().unwrap();
        for n in 0..100_u32 {
            let answer = block_on(async {
                stream.write_all(&n.to_le_bytes()).await?;
                stream.read_u32_le().await
            });
            assert_eq!(answer.unwrap().unwrap(), n);
        }
        server.join().unwrap().unwrap();
    });
}

/// Channels of tokio need no runtime: tasks of a run, tasks of tokio and a plain thread send to each other.
#[test]
fn channels_of_tokio() {
    let (sender, mut receiver) = mpsc::channel(1);
    let from_thread = sender.clone();
    let thread = std::thread::spawn(move || (0..100).for_each(|n| block_on(from_thread.send(n)).unwrap().unwrap()));
    run_in_tokio(|| {
        let from_task = sender.clone();
        let mut task = cede::spawn(move || (0..100).for_each(|n| block_on(from_task.send(n)).unwrap().unwrap()));
        let (answer, question) = oneshot::channel();
        let async_task = ::tokio::spawn(async move {
            for n in 0..100 {
                sender.send(n).await.unwrap();
            }
            question.await.unwrap()
        });
        let mut sum = 0;
        while let Some(n) = block_on(receiver.recv()).unwrap() {
            sum += n;
            if sum == 3 * 99 * 50 {
                break;
            }
        }
        answer.send(sum).unwrap();
        assert_eq!(block_on(async_task).unwrap().unwrap(), 3 * 99 * 50);
        task.join().unwrap();
    });
    thread.join().unwrap();
}

/// Limits of both libraries end the wait: `timeout` and `select!` of tokio inside, `timeout` and cancels of cede around.
#[test]
fn limits_inside_and_around() {
    const SOON: Duration = Duration::from_millis(5);
    const LATE: Duration = Duration::from_secs(60);
    run_in_tokio(|| {
        assert!(block_on(timeout(SOON, sleep(LATE))).unwrap().is_err());
        let first = block_on(async {
            ::tokio::select! {
                () = sleep(LATE) => 1,
                () = sleep(SOON) => 2,
            }
        });
        assert_eq!(first, Ok(2));
        let elapsed = cede::timeout(SOON, || block_on(sleep(LATE))).unwrap_err();
        assert_eq!(elapsed.value, Err(Cancelled));
        let mut task = cede::spawn(|| block_on(sleep(LATE)));
        cede::yield_now();
        task.cancel();
        assert_eq!(task.join().unwrap(), Err(Cancelled));
    });
}

/// A run on a thread of tokio that may be blocked: its tasks are in the context of the runtime.
#[test]
fn run_on_a_blocking_thread() {
    let answer = runtime().block_on(async {
        let run = || {
            crate::run(|| {
                let mut tasks = [1, 2].map(|n| {
                    cede::spawn(move || {
                        block_on(sleep(Duration::from_millis(n))).unwrap();
                        n
                    })
                });
                tasks.each_mut().map(|task| task.join().unwrap())
            })
        };
        ::tokio::task::spawn_blocking(run).await.unwrap()
    });
    assert_eq!(answer, [1, 2]);
}

/// The guide warns of a guard per task: tokio panics, because the guards are dropped out of order.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn guard_per_task_panics() {
    let runtime = runtime();
    let tasks = crate::run(|| {
        let mut tasks: Vec<_> = (0..2)
            .map(|_| {
                let handle = runtime.handle().clone();
                cede::spawn(move || {
                    let _guard = handle.enter();
                    cede::yield_now();
                })
            })
            .collect();
        tasks.iter_mut().map(|task| task.join()).filter(Result::is_err).count()
    });
    assert_eq!(tasks, 1);
}
