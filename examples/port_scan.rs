//! A port scan: a semaphore limits the number of connection attempts at the same time, and each has a timeout.
//!
//! cargo run --example port_scan

fn main() -> std::io::Result<()> {
    use cede::net::{TcpListener, TcpStream};
    use cede::sync::Semaphore;
    use cede::{run, scope};
    use std::cell::Cell;
    use std::net::SocketAddr;
    use std::time::Duration;

    // Each address 127.x.x.x is a loopback address. At this one no other program listens.
    let listener = TcpListener::bind("127.83.67.1:0")?;
    let address = listener.local_addr()?;
    let ports = address.port().saturating_sub(50)..=address.port().saturating_add(50);

    let limit = Semaphore::bounded(8);
    let (in_flight, most) = (Cell::new(0), Cell::new(0));
    let mut open = run(|| {
        scope(|s| {
            let attempts: Vec<_> = ports
                .map(|port| {
                    let (limit, in_flight, most) = (&limit, &in_flight, &most);
                    s.spawn(move || {
                        let _permit = limit.acquire().ok()?; // released when it is dropped
                        in_flight.set(in_flight.get() + 1);
                        most.set(most.get().max(in_flight.get()));
                        let target = SocketAddr::new(address.ip(), port);
                        let attempt = TcpStream::connect_timeout(&target, Duration::from_millis(200));
                        in_flight.set(in_flight.get() - 1);
                        attempt.is_ok().then_some(port)
                    })
                })
                .collect();
            cede::join_all(attempts).into_iter().filter_map(Result::unwrap).collect::<Vec<_>>()
        })
        .expect("no task panics")
    });
    open.sort_unstable();
    for port in open {
        println!("open: the listener's port {:+}", i32::from(port) - i32::from(address.port()));
    }
    assert!(most.get() <= 8);
    println!("at most 8 attempts at the same time");
    Ok(())
}
