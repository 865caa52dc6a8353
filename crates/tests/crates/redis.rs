//! The `redis` crate over the streams of cede, with a real server.

use crate::{pattern, run, silent_peer_ends, until_waiting};
use cede::net::TcpStream;
use cede_crates::redis::Connection;
use redis::{Commands, ConnectionLike, RedisError};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A redis-server on a free port, without persistence. The drop ends it.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Server {
        // Another process may take the port before the server does.
        (0..5).find_map(|_| Server::try_start()).expect("redis-server starts: its log is above")
    }

    fn try_start() -> Option<Server> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--dir", env!("CARGO_TARGET_TMPDIR")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("redis-server cannot be started ({error}): install it, on Debian by `apt-get install redis-server`")
        });
        let mut server = Server { process, address };
        let began = Instant::now();
        while server.process.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(30) {
            if std::net::TcpStream::connect(address).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        server.process.kill().unwrap();
        let mut log = String::new();
        server.process.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        eprintln!("{log}");
        None
    }

    fn connect(&self) -> Connection<TcpStream> {
        Connection::new(TcpStream::connect(self.address).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn commands_and_pipelines_work() {
    let server = Server::start();
    run(|| {
        let mut redis = server.connect();
        redis.set::<_, _, ()>("key", "value").unwrap();
        assert_eq!(redis.get::<_, String>("key").unwrap(), "value");
        assert_eq!(redis.get::<_, Option<String>>("no key").unwrap(), None);
        let large = pattern(1 << 20);
        redis.set::<_, _, ()>("large", &large).unwrap();
        assert!(redis.get::<_, Vec<u8>>("large").unwrap() == large);
        let sums: (i64, i64) = redis::pipe().atomic().incr("n", 1).incr("n", 10).query(&mut redis).unwrap();
        assert_eq!(sums, (1, 11));
        let refused = redis.lpush::<_, _, i64>("key", 1).unwrap_err();
        assert_eq!(refused.code(), Some("WRONGTYPE"));
        // A refusal of the server does not close the connection.
        assert!(redis.check_connection() && redis.is_open());
    });
}

/// The consumer's command waits in the server while the producer, on the same thread, sends its own.
#[test]
fn blocking_pop_suspends_only_its_task() {
    let server = Server::start();
    run(|| {
        let mut consumer = server.connect();
        let mut popped = cede::spawn(move || {
            (0..10)
                .map(|_| consumer.blpop::<_, (String, u32)>("jobs", 0.0).map(|(_, job)| job))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut producer = server.connect();
        for job in 0..10u32 {
            until_waiting(1);
            producer.rpush::<_, _, i64>("jobs", job).unwrap();
        }
        assert_eq!(popped.join().unwrap().unwrap(), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn deadline_in_a_command_closes_the_connection() {
    let server = Server::start();
    run(|| {
        let mut redis = server.connect();
        let late = cede::timeout(Duration::from_millis(50), || redis.blpop::<_, Vec<String>>("jobs", 0.0)).unwrap_err();
        let error = late.value.unwrap_err();
        assert!(cede_crates::is_cancelled(&error) && error.is_timeout(), "{error:?}");
        // The reply to the first command would answer this one.
        assert!(!redis.is_open());
        assert!(redis.get::<_, Option<String>>("key").is_err());
    });
}

#[test]
fn redis_command_to_a_silent_peer_ends() {
    silent_peer_ends(|address| -> Result<String, RedisError> {
        Connection::new(TcpStream::connect(address)?).get("key")
    });
}
