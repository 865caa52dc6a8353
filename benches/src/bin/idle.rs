//! The cost of idle connections: `cargo run --release -p cede-benches --bin idle -- 10000`.
//!
//! A task for each connection waits for a byte, into a buffer on its own stack. Prints the memory of each connection in this process
//! (stack, task, socket and registration), and the CPU time and polls of a second in which nothing happens. Then each connection
//! gets its byte. The other ends are in a child process. Fails if a connection takes more than 5 KiB, or if idling takes CPU time.

use cede::net::TcpListener;
use std::fs::read_to_string;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Raises the limit of descriptors as far as it goes, and returns it.
fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live local of the type that both calls expect.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_max
}

/// Returns the resident memory and the page tables of the process, in KiB.
fn memory() -> f64 {
    let status = read_to_string("/proc/self/status").expect("/proc is mounted");
    let figure = |line: &str| line.split_whitespace().nth(1)?.parse::<f64>().ok();
    status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmPTE")).filter_map(figure).sum()
}

/// Returns the CPU time of the main thread so far.
fn cpu_time() -> Duration {
    let text = read_to_string("/proc/self/schedstat").expect("the kernel counts CPU time");
    Duration::from_nanos(text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds"))
}

/// The child: connects, waits for a line on stdin, sends a byte on each connection, and waits for the end of stdin.
fn connect(address: &str, count: usize) -> io::Result<()> {
    raise_descriptor_limit();
    let streams = (0..count).map(|_| std::net::TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    streams.iter().try_for_each(|mut stream| stream.write_all(b"x"))?;
    io::stdin().read_line(&mut line).map(drop)
}

struct Clients(Child);

impl Clients {
    fn start(address: &str, count: usize) -> io::Result<Clients> {
        let program = std::env::current_exe()?;
        let child = Command::new(program).args([address, &count.to_string()]).stdin(Stdio::piped()).spawn()?;
        Ok(Clients(child))
    }

    fn send_bytes(&mut self) -> io::Result<()> {
        self.0.stdin.as_mut().expect("stdin is a pipe").write_all(b"\n")
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn measure(count: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let mut tasks = Vec::with_capacity(count);
    let accept = || {
        let (mut stream, _) = listener.accept()?;
        let options = cede::Builder::new().stack_size(cede::stack::min_size());
        options.spawn(move || stream.read_exact(&mut [0; 1])).map_err(io::Error::other)
    };
    // The first task brings what all share: the reactor and the first slab of stacks.
    let mut first = Clients::start(&address, 1)?;
    let mut task = accept()?;
    first.send_bytes()?;
    task.join().map_err(|error| io::Error::other(error.to_string()))??;
    let before = memory();
    let mut clients = Clients::start(&address, count)?;
    for _ in 0..count {
        tasks.push(accept()?);
    }
    while cede::metrics().io_waiting < count as u64 {
        cede::yield_now();
    }
    let each = (memory() - before) / count as f64;
    println!("{count} idle connections: {each:.2} KiB each, stacks and page tables included");

    let (cpu, polls) = (cpu_time(), cede::metrics().io_polls);
    cede::time::sleep(Duration::from_secs(1)).map_err(io::Error::other)?;
    let (cpu, polls) = (cpu_time() - cpu, cede::metrics().io_polls - polls);
    println!("a second of idling: {cpu:?} of CPU time, {polls} polls");

    let start = Instant::now();
    clients.send_bytes()?;
    for task in &mut tasks {
        task.join().map_err(|error| io::Error::other(error.to_string()))??;
    }
    println!("each of them got a byte, within {:?}", start.elapsed());
    assert!(each <= 5.0, "a connection takes more than 5 KiB");
    assert!(cpu <= Duration::from_millis(5) && polls <= 10, "idle connections take CPU time");
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [address, count] = &arguments[..] {
        return connect(address, count.parse().expect("a number"));
    }
    let wanted = arguments.first().map_or(10_000, |count| count.parse().expect("the number of connections"));
    let allowed = raise_descriptor_limit().saturating_sub(50) as usize;
    if allowed < wanted {
        println!("the limit of descriptors allows {allowed} connections, not {wanted}");
    }
    cede::run(|| measure(wanted.min(allowed)))
}
