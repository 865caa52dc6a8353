//! Fibers: synchronous code as a future.

use cede::sync::channel::bounded;
use cede::{block_on, fiber};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Pending `n` times; wakes itself.
struct Pend(u32);
impl Future for Pend {
    type Output = u32;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        if self.0 == 0 {
            return Poll::Ready(7);
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn poll_once<F: Future + Unpin>(f: &mut F) -> Poll<F::Output> {
    Pin::new(f).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a() {
    let mut f = fiber(|| block_on(Pend(2)).unwrap() + 1);
    assert!(poll_once(&mut f).is_pending());
    assert!(poll_once(&mut f).is_pending());
    assert_eq!(poll_once(&mut f), Poll::Ready(8));
}

#[test]
fn b() {
    // in a task
    cede::run(|| {
        let (tx, rx) = bounded::<i32>(1);
        let mut t = cede::spawn(move || {
            block_on(fiber(move || {
                let mut sum = 0;
                while let Ok(x) = rx.recv() {
                    sum += x
                }
                sum
            }))
            .unwrap()
        });
        for i in 0..10 {
            tx.send(i).unwrap();
        }
        drop(tx);
        assert_eq!(t.join().unwrap(), 45);
    });
}

#[test]
fn c() {
    // run in a fiber with sleeps
    let start = Instant::now();
    let r = block_on(fiber(|| {
        cede::run(|| {
            let mut a = cede::spawn(|| cede::time::sleep(Duration::from_millis(20)));
            cede::time::sleep(Duration::from_millis(10)).unwrap();
            a.join().unwrap().unwrap();
            5
        })
    }));
    assert_eq!(r, Ok(5));
    assert!(start.elapsed() >= Duration::from_millis(20));
    // sleep in a fiber
    block_on(fiber(|| cede::time::sleep(Duration::from_millis(5)).unwrap())).unwrap();
}

#[test]
fn d() {
    // drop
    let seen = Rc::new(Cell::new(false));
    let s = Rc::clone(&seen);
    let mut f = fiber(move || s.set(block_on(std::future::pending::<()>()).is_err()));
    assert!(poll_once(&mut f).is_pending());
    drop(f);
    assert!(seen.get());
    // stubborn
    let mut f = fiber(move || {
        loop {
            let _ = block_on(std::future::pending::<()>());
        }
    });
    assert!(poll_once(&mut f).is_pending());
    drop(f);
    // run dropped
    let seen = Rc::new(Cell::new(0));
    let s = Rc::clone(&seen);
    let mut f = fiber(move || {
        cede::run(|| {
            let s2 = Rc::clone(&s);
            let mut t = cede::spawn(move || {
                if cede::time::sleep(Duration::from_secs(100)).is_err() {
                    s2.set(s2.get() + 1)
                }
            });
            if cede::time::sleep(Duration::from_secs(1000)).is_err() {
                s.set(s.get() + 10)
            }
            drop(t.join());
        })
    });
    assert!(poll_once(&mut f).is_pending());
    drop(f);
    assert_eq!(seen.get(), 11);
}

#[test]
fn e() {
    // sockets in a run in a fiber, and in a fiber
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut s, _) = listener.accept().unwrap();
            let mut b = [0; 5];
            s.read_exact(&mut b).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            s.write_all(&b).unwrap();
        }
    });
    let talk = move || {
        let mut s = cede::net::TcpStream::connect(addr).unwrap();
        s.write_all(b"hello").unwrap();
        let mut b = [0; 5];
        s.read_exact(&mut b).unwrap();
        b
    };
    assert_eq!(block_on(fiber(move || cede::run(talk))), Ok(*b"hello"));
    assert_eq!(block_on(fiber(talk)), Ok(*b"hello"));
    server.join().unwrap();
}

#[test]
fn g() {
    use cede::Config;
    // two runs interleaved, on one thread
    let log = Rc::new(RefCell::new(Vec::new()));
    let make = |name: &'static str| {
        let log = Rc::clone(&log);
        Config::new().run_async(move || {
            for i in 0..3 {
                log.borrow_mut().push((name, i));
                cede::time::sleep(Duration::from_millis(5)).unwrap();
            }
            name
        })
    };
    let (mut a, mut b) = (make("a"), make("b"));
    let c = a.canceller();
    struct W(std::thread::Thread);
    impl Wake for W {
        fn wake(self: Arc<Self>) {
            self.0.unpark()
        }
    }
    let waker = Waker::from(Arc::new(W(std::thread::current())));
    let (mut da, mut db) = (false, false);
    while !da || !db {
        if !da && Pin::new(&mut a).poll(&mut Context::from_waker(&waker)).is_ready() {
            da = true
        }
        if !db && pin!(&mut b).poll(&mut Context::from_waker(&waker)).is_ready() {
            db = true
        }
        if !da || !db {
            std::thread::park_timeout(Duration::from_secs(5));
        }
    }
    assert_eq!(*log.borrow(), [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]);
    assert!(!c.cancel());
    // cancel
    let r = Config::new().run_async(|| cede::time::sleep(Duration::from_secs(1000)).is_err());
    let c = r.canceller();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        assert!(c.cancel());
    });
    assert!(block_on(async { r.await.unwrap() }).unwrap());
    // handles across
    let slot = Rc::new(RefCell::new(None));
    let s = Rc::clone(&slot);
    let mut f = fiber(move || {
        cede::run(move || {
            *s.borrow_mut() = Some(cede::spawn(|| cede::task::park("x").is_err()));
            while let Some(false) = s.borrow().as_ref().map(|h| h.is_finished()) {
                cede::yield_now()
            }
            3
        })
    });
    assert!(Pin::new(&mut f).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| slot.borrow_mut().as_mut().unwrap().join())).is_err()
    );
    assert!(slot.borrow().as_ref().unwrap().cancel());
    assert_eq!(block_on(f), Ok(3));
}
