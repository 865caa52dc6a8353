//! Connecting by name: the lookup on the pool, and the attempts that overlap.
#![cfg(all(feature = "io", target_os = "linux"))]

mod common;

use cede::net::{
    Addresses, TcpListener, TcpStream, ToSocketAddrs, UdpSocket, lookup_host, set_resolver, system_resolver,
};
use cede::time::now;
use cede::{Builder, Config, Generator, metrics, run, spawn, timeout, yield_now};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// More than any wait here takes, under an emulator too.
const LONG: Duration = Duration::from_secs(60);

/// A lookup that ends when the gate opens, and the number of lookups inside.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
    entered: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.inside.fetch_add(1, SeqCst);
        self.entered.fetch_add(1, SeqCst);
        let open = self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap();
        self.inside.fetch_sub(1, SeqCst);
        drop(open);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// The answers of the test's resolver: a gate to pass, and then the addresses, or an error without any.
type Answer = (Option<Arc<Gate>>, Result<Vec<SocketAddr>, &'static str>);

static ANSWERS: Mutex<Option<HashMap<String, Answer>>> = Mutex::new(None);

fn resolver(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let answer = ANSWERS.lock().unwrap().as_ref().and_then(|answers| answers.get(host).cloned());
    let Some((gate, result)) = answer else { return system_resolver(host, port) };
    if let Some(gate) = gate {
        gate.pass();
    }
    result.map_err(|text| io::Error::new(ErrorKind::NotFound, text))
}

/// Makes the resolver answer `host`, which only one test uses.
fn answer(host: &'static str, gate: Option<&Arc<Gate>>, result: Result<Vec<SocketAddr>, &'static str>) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_resolver(resolver));
    let mut answers = ANSWERS.lock().unwrap();
    answers.get_or_insert_default().insert(host.into(), (gate.cloned(), result));
}

fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address whose port has no listener. The socket keeps the port.
fn refused() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A listener that drops each packet that begins a connection, because its backlog is full.
struct Blackhole {
    address: SocketAddr,
    /// The listener and its connections.
    sockets: Vec<socket2::Socket>,
}

fn blackhole() -> Blackhole {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut sockets = vec![listener];
    loop {
        let socket = new();
        let full = socket.connect_timeout(&address.into(), 300 * MS).is_err();
        sockets.push(socket);
        if full {
            return Blackhole { address, sockets };
        }
        assert!(sockets.len() < 20, "a backlog of 0 has a limit");
    }
}

/// Sends a byte through the stream to the listener.
fn is_connected(mut stream: &TcpStream, listener: &std::net::TcpListener) {
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn other_tasks_run_during_a_lookup() {
    let (listener, address) = listener();
    let gate = Arc::new(Gate::default());
    answer("slow.test", Some(&gate), Ok(vec![address]));
    run(move || {
        let mut client = spawn(|| TcpStream::connect("slow.test:80"));
        while gate.inside.load(SeqCst) == 0 {
            yield_now();
        }
        assert!(!client.is_finished());
        // Only this task ends the lookup.
        gate.open();
        is_connected(&client.join().unwrap().unwrap(), &listener);
    });
}

#[test]
fn name_connects_in_each_context() {
    let (listener, address) = listener();
    let port = address.port();
    let connect = move |host: &str| TcpStream::connect((host, port)).unwrap();
    // A plain thread; main; a task with the smallest stack; a generator in a task.
    is_connected(&connect("localhost"), &listener);
    is_connected(&connect("127.0.0.1"), &listener);
    run(move || {
        is_connected(&connect("localhost"), &listener);
        let mut small = Builder::new().stack_size(16 * 1024).spawn(move || connect("localhost")).unwrap();
        is_connected(&small.join().unwrap(), &listener);
        let mut body = spawn(move || {
            let mut streams = Generator::new(move |y| {
                y.yield_(connect("localhost"));
            });
            streams.next().unwrap()
        });
        is_connected(&body.join().unwrap(), &listener);
    });
}

struct Service(SocketAddr);

impl ToSocketAddrs for Service {
    fn to_addresses(&self) -> io::Result<Addresses<'_>> {
        self.0.to_addresses()
    }
}

#[test]
fn all_kinds_of_addresses_connect() {
    let (listener, address) = listener();
    run(move || {
        let service = Service(address);
        for stream in [
            TcpStream::connect(&service),
            TcpStream::connect(service),
            TcpStream::connect(&[address][..]),
            TcpStream::connect(address.to_string()),
            TcpStream::connect(("localhost".to_string(), address.port())),
        ] {
            is_connected(&stream.unwrap(), &listener);
        }
        let none: &[SocketAddr] = &[];
        assert_eq!(TcpStream::connect(none).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(TcpStream::connect("localhost").unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn hanging_lookup_ends_by_cancel_and_deadline() {
    let gate = Arc::new(Gate::default());
    answer("hang.test", Some(&gate), Ok(Vec::new()));
    let at_gate = Arc::clone(&gate);
    run(move || {
        let mut client = spawn(|| TcpStream::connect("hang.test:80"));
        while at_gate.inside.load(SeqCst) == 0 {
            yield_now();
        }
        client.cancel();
        let error = client.join().unwrap().unwrap_err();
        assert!(cede::io::is_cancelled(&error) && error.kind() == ErrorKind::Other, "{error:?}");
        let late = timeout(20 * MS, || TcpListener::bind("hang.test:80")).unwrap_err();
        let error = late.value.unwrap_err();
        assert!(cede::io::is_cancelled(&error) && error.kind() == ErrorKind::TimedOut, "{error:?}");
        // Queued behind nothing: the pool has more threads.
        lookup_host("localhost:80").unwrap();
    });
    // The run did not wait for the lookups, and their threads return to the pool.
    assert_eq!(gate.inside.load(SeqCst), 2);
    gate.open();
    let began = Instant::now();
    while gate.inside.load(SeqCst) > 0 {
        assert!(began.elapsed() < LONG);
        thread::yield_now();
    }
}

/// Of 70 lookups without an answer 64 get a thread. A cancelled one in the queue never begins.
#[test]
fn lookups_have_a_limit() {
    let body = || {
        let gate = Arc::new(Gate::default());
        answer("limit.test", Some(&gate), Ok(vec!["127.0.0.1:1".parse().unwrap()]));
        run(move || {
            let mut lookups: Vec<_> = (0..70).map(|_| spawn(|| lookup_host("limit.test:80"))).collect();
            while gate.inside.load(SeqCst) < 64 {
                yield_now();
            }
            let mut queued: Vec<_> = lookups.drain(64..).collect();
            for task in &mut queued[..3] {
                task.cancel();
                assert!(cede::io::is_cancelled(&task.join().unwrap().unwrap_err()));
            }
            // The others get no thread, however long they wait.
            cede::time::sleep(50 * MS).unwrap();
            assert_eq!(gate.entered.load(SeqCst), 64);
            // A blocking call gets one.
            assert_eq!(cede::blocking::unblock(|| 7), 7);
            gate.open();
            for mut task in lookups.into_iter().chain(queued.drain(3..)) {
                assert_eq!(task.join().unwrap().unwrap().len(), 1);
            }
            assert_eq!(gate.entered.load(SeqCst), 67);
        });
    };
    let text = common::child::in_child("lookups_have_a_limit", body);
    assert!(text.ends_with("exit code Some(0)"), "{text}");
}

#[test]
fn failed_lookup_names_the_host() {
    answer("example.invalid", None, Err("no such name"));
    answer("empty.test", None, Ok(Vec::new()));
    run(|| {
        let error = TcpStream::connect("example.invalid:80").unwrap_err();
        assert_eq!(
            (error.to_string(), error.kind()),
            ("resolving example.invalid: no such name".into(), ErrorKind::NotFound)
        );
        let error = lookup_host("empty.test:80").unwrap_err();
        assert_eq!(error.to_string(), "resolving empty.test: the host has no address");
    });
    let error = UdpSocket::bind("example.invalid:80").unwrap_err();
    assert_eq!(error.to_string(), "resolving example.invalid: no such name");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn panic_in_a_lookup_reaches_the_caller() {
    // An address list is taken from a poisoned answer: the resolver panics.
    answer("panic.test", Some(&poisoned_gate()), Ok(Vec::new()));
    let text = common::panic_text(common::caught(|| run(|| TcpStream::connect("panic.test:80"))));
    assert!(text.contains("PoisonError"), "{text}");
}

fn poisoned_gate() -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    let same = Arc::clone(&gate);
    let _ = thread::spawn(move || {
        let _open = same.open.lock();
        std::panic::resume_unwind(Box::new(()));
    })
    .join();
    gate
}

#[test]
fn refused_addresses_are_skipped_at_once() {
    let (listener, address) = listener();
    let (_port, refused) = refused();
    let unroutable = "[2001:db8::1]:9".parse().unwrap();
    answer("later.test", None, Ok(vec![refused, unroutable, refused, refused, refused, refused, address]));
    // A paused clock advances only by the delays between attempts.
    Config::new()
        .paused_clock(true)
        .run(|| {
            let began = now();
            let stream = TcpStream::connect("later.test:80").unwrap();
            assert!(now() - began < 1500 * MS, "{:?}", now() - began);
            is_connected(&stream, &listener);
        })
        .unwrap();
    // A plain thread.
    is_connected(&TcpStream::connect("later.test:80").unwrap(), &listener);
}

#[test]
fn silent_address_delays_by_a_quarter_second() {
    let (hole, (listener, address)) = (blackhole(), listener());
    answer("silent.test", None, Ok(vec![hole.address, hole.address, address]));
    let in_time = |began: Instant| {
        let elapsed = began.elapsed();
        assert!((500 * MS..LONG).contains(&elapsed), "{elapsed:?}");
    };
    run(|| {
        let began = Instant::now();
        let stream = TcpStream::connect("silent.test:80").unwrap();
        in_time(began);
        // The attempts that lost are closed, and their registrations have ended.
        assert!(metrics().io_descriptors <= 1, "{}", metrics().io_descriptors);
        assert_eq!(metrics().io_waiting, 0);
        is_connected(&stream, &listener);
        drop(stream);
        assert_eq!(metrics().io_descriptors, 0);
    });
    // A plain thread.
    let began = Instant::now();
    is_connected(&TcpStream::connect("silent.test:80").unwrap(), &listener);
    in_time(began);
}

/// The silent attempt is pending while the next ones fail.
#[test]
fn failure_ends_the_delay() {
    let (hole, (listener, address)) = (blackhole(), listener());
    let (_port, refused) = refused();
    answer("mixed.test", None, Ok([vec![hole.address], vec![refused; 8], vec![address]].concat()));
    // A paused clock advances only by the delays between attempts.
    let main = || {
        let began = now();
        let stream = TcpStream::connect("mixed.test:80").unwrap();
        assert!((250 * MS..2000 * MS).contains(&(now() - began)), "{:?}", now() - began);
        is_connected(&stream, &listener);
    };
    Config::new().paused_clock(true).run(main).unwrap();
}

/// The first attempt has lost its head start, but not the race.
#[test]
fn first_attempt_may_win_late() {
    let hole = blackhole();
    let (address, other) = (hole.address, blackhole());
    answer("late.test", None, Ok(vec![address, other.address]));
    run(move || {
        let mut client = spawn(|| TcpStream::connect("late.test:80"));
        while metrics().io_descriptors < 2 {
            cede::time::sleep(MS).unwrap();
        }
        // Room in the backlog of the first: the kernel repeats its SYN after 1 s, 3 s or 7 s.
        hole.sockets[0].set_nonblocking(true).unwrap();
        while !client.is_finished() {
            drop(hole.sockets[0].accept());
            cede::time::sleep(10 * MS).unwrap();
        }
        let stream = client.join().unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    });
}

#[test]
fn ended_race_leaves_no_registration() {
    let hole = blackhole();
    answer("holes.test", None, Ok(vec![hole.address; 3]));
    run(|| {
        let late = timeout(400 * MS, || TcpStream::connect("holes.test:80")).unwrap_err();
        assert_eq!(late.value.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!((metrics().io_descriptors, metrics().io_waiting), (0, 0));
        let mut client = spawn(|| TcpStream::connect("holes.test:80"));
        while metrics().io_descriptors < 2 {
            cede::time::sleep(MS).unwrap();
        }
        client.cancel();
        assert!(cede::io::is_cancelled(&client.join().unwrap().unwrap_err()));
        assert_eq!((metrics().io_descriptors, metrics().io_waiting), (0, 0));
    });
}

#[test]
fn failed_race_names_all_addresses() {
    let ((_a, a), (_b, b)) = (refused(), refused());
    answer("down.test", None, Ok(vec![a, b]));
    let check = || {
        let error = TcpStream::connect("down.test:80").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = error.to_string();
        let refusal = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(text, format!("connecting to down.test: {a}: {refusal}; {b}: {refusal}"));
        let error = TcpStream::connect(&[a, b][..]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("connecting: {a}: ")), "{error}");
        // A literal address keeps the system's error.
        assert_eq!(TcpStream::connect(a).unwrap_err().raw_os_error(), Some(libc::ECONNREFUSED));
    };
    run(check);
    check();
}

#[test]
fn udp_takes_names() {
    run(|| {
        let receiver = UdpSocket::bind("localhost:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        let host = if receiver.local_addr().unwrap().is_ipv6() { "::1" } else { "127.0.0.1" };
        let sender = UdpSocket::bind((host, 0)).unwrap();
        sender.send_to(b"one", ("localhost", port)).unwrap();
        sender.connect(("localhost", port)).unwrap();
        sender.send(b"three").unwrap();
        let mut buffer = [0; 8];
        assert_eq!([receiver.recv(&mut buffer).unwrap(), receiver.recv(&mut buffer).unwrap()], [3, 5]);
    });
}
