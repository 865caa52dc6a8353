//! An HTTP/1.1 server: keep-alive, pipelining, chunked bodies, limits, deadlines for slow clients, and an ordered shutdown.
//!
//! cargo run --example http_server                               # serves a few requests of its own, and prints the responses
//! cargo run --release --example http_server -- 127.0.0.1:8080   # serves until SIGTERM or Ctrl-C; see --help
//! cargo run --release --example http_server -- --workers 0 127.0.0.1:8080   # the same with a thread for each core
//!
//! `connection.rs` is the way of a request through the server. `request.rs` and `body.rs` decide what is a request, `routes.rs`
//! answers it.

mod args;
mod body;
mod connection;
mod demo;
mod request;
mod response;
mod routes;
mod service;

fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    let options = match args::parse() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_server: {error}; see --help");
            return ExitCode::from(2);
        }
    };
    let fail = |error: &dyn std::fmt::Display| {
        eprintln!("http_server: {error}");
        ExitCode::FAILURE
    };
    match cede::Config::new().workers(options.workers).run(|| serve(&options)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

fn serve(options: &args::Options) -> std::io::Result<()> {
    use cede::net::{Server, TcpListener};
    use cede::scope;
    use cede::signal::{SignalKind, on};

    let listener = TcpListener::bind(options.address)?;
    // The backlog of `bind`, 128 as in `std`, is too short for a burst of clients: each one too many waits a second or more.
    socket2::SockRef::from(&listener).listen(4096)?;
    let address = listener.local_addr()?;
    let service = &std::sync::Arc::new(service::Service::new(options.limits, options.requests));
    let signals = &[on(SignalKind::terminate())?, on(SignalKind::interrupt())?];
    let served = scope(|s| {
        for signals in signals {
            // The first of them stops the server. A second one shortens nothing: `--grace` limits the stop.
            s.spawn(|| signals.recv().map(|()| service.stop.set()));
        }
        s.spawn(|| service.end_idle_connections());
        if let Some(seconds) = options.seconds {
            s.spawn(move || {
                if cede::time::sleep(seconds).is_ok() {
                    service.stop.set();
                }
            });
        }
        if options.is_demo {
            s.spawn(move || {
                demo::talk_to(address);
                service.stop.set();
            });
        } else {
            println!("listening on {address}");
        }
        let server = Server::new(options.connections).shutdown(&service.stop, options.grace);
        let shared = std::sync::Arc::clone(service);
        let served = server.serve_anywhere(listener, move |stream, _peer| connection::serve(stream, &shared));
        s.cancel(); // the tasks above
        served
    });
    let served = served.map_err(|error| std::io::Error::other(error.to_string()))??;
    println!("{} connections, {} of them cancelled; responses by status:", served.accepted, served.cancelled);
    print!("{}", service.stats());
    Ok(())
}
