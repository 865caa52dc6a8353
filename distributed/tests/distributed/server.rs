//! A redis-server on a free port of the loopback interface.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time in which a server must start.
const START: Duration = Duration::from_secs(30);

/// A server. The drop kills it.
pub(crate) struct Server {
    process: Option<Child>,
    address: SocketAddr,
    directory: PathBuf,
    persistent: bool,
}

impl Server {
    /// Starts a server that keeps its data in `directory`, or keeps nothing.
    pub(crate) fn start(directory: &Path, persistent: bool) -> Server {
        let mut server = Server::prepare(directory, persistent);
        // Another process may take the port before the server does.
        for _ in 0..5 {
            if server.try_restart() {
                return server;
            }
            server.address = free_port();
        }
        panic!("redis-server does not start: see its log in {}", directory.display());
    }

    /// Chooses a port for a server that does not run yet.
    pub(crate) fn prepare(directory: &Path, persistent: bool) -> Server {
        Server { process: None, address: free_port(), directory: directory.to_owned(), persistent }
    }

    /// Starts the server again, on the same port, with what it has kept.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_restart(), "redis-server does not start: see its log in {}", self.directory.display());
    }

    fn try_restart(&mut self) -> bool {
        let log = std::fs::File::options().append(true).create(true).open(self.directory.join("redis.log")).unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", if self.persistent { "yes" } else { "no" }])
            .args(["--daemonize", "no", "--dir"])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn();
        let mut process = process.unwrap_or_else(|error| {
            panic!("redis-server cannot be started ({error}): install it, on Debian by `apt-get install redis-server`")
        });
        let begun = Instant::now();
        while process.try_wait().unwrap().is_none() && begun.elapsed() < START {
            // A server that loads its data answers with an error.
            if ask(self.address, "PING").is_ok_and(|reply| reply.starts_with("+PONG")) {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = process.kill();
        let _ = process.wait();
        false
    }

    /// Kills the server by SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The address, as an argument.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Removes a key.
    pub(crate) fn forget(&self, key: &str) {
        assert_eq!(ask(self.address, &format!("DEL {key}")).unwrap().lines().next(), Some(":1"));
    }

    /// The keys, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let reply = ask(self.address, "KEYS *").unwrap();
        let mut keys: Vec<String> = reply.lines().filter(|line| line.starts_with("dgrep")).map(str::to_owned).collect();
        keys.sort();
        keys
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Sends a command, and returns the reply as it is on the wire.
fn ask(address: SocketAddr, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    // The server closes the connection after the second command.
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
