//! The stack that each crate needs: with `--nocapture` the test prints the largest depth of each, in KiB.

use crate::http_client::{agent, get, https_agent};
use crate::httparse::serve;
use crate::redis::Server;
use crate::tls::Tls;
use crate::{Outcome, tcp_pair, websocket};
use cede::net::TcpStream;
use cede::{Builder, CoroutineState};
use redis::Commands;
use std::io::{Read, Write};
use std::rc::Rc;

/// Runs `body` in a coroutine of the calling task, and returns the KiB of stack that it used.
fn depth(body: impl FnOnce() -> Outcome + 'static) -> usize {
    let options = Builder::new().stack_size(4 << 20).clear_stack(true);
    let mut coroutine =
        options.coroutine(|suspender, ()| suspender.suspend(body().map_err(|error| error.to_string()))).unwrap();
    match coroutine.resume(()) {
        CoroutineState::Yielded(outcome) => outcome.unwrap(),
        CoroutineState::Complete(()) => unreachable!("the body suspends once"),
    }
    let depth = coroutine.stack_high_water().unwrap() / 1024;
    coroutine.resume(());
    depth
}

/// Runs both sides of a connection, and returns the depth of each.
fn depths(
    client: impl FnOnce(TcpStream) -> Outcome + 'static,
    server: impl FnOnce(TcpStream) -> Outcome + 'static,
) -> [usize; 2] {
    let (near, far) = tcp_pair();
    let mut far = Builder::new().stack_size(256 << 10).spawn(move || depth(|| server(far))).unwrap();
    [depth(|| client(near)), far.join().unwrap()]
}

/// The docs of the crate state these sizes.
#[test]
fn stack_sizes_are_those_of_the_docs() {
    let redis_server = Server::start();
    cede::run(|| {
        let tls = Rc::new(Tls::new());
        let (one, other) = (Rc::clone(&tls), Rc::clone(&tls));
        let rustls = depths(
            move |stream| {
                let mut stream = one.connect(stream);
                stream.write_all(b"hello")?;
                Ok(stream.read_exact(&mut [0; 5])?)
            },
            move |stream| {
                let mut stream = other.accept(stream);
                stream.read_exact(&mut [0; 5])?;
                Ok(stream.write_all(b"hello")?)
            },
        );
        let tungstenite = depths(
            |stream| {
                let mut socket = websocket::open(stream)?;
                socket.send("hello".into())?;
                socket.read()?;
                Ok(socket.close(None)?)
            },
            |stream| {
                let mut socket = tungstenite::accept(stream).map_err(|error| error.to_string())?;
                let message = socket.read()?;
                Ok(socket.send(message)?)
            },
        );
        let httparse = depths(
            |mut stream| {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")?;
                stream.shutdown(std::net::Shutdown::Write)?;
                Ok(std::io::copy(&mut stream, &mut std::io::sink()).map(drop)?)
            },
            serve,
        );
        let address = redis_server.address;
        let redis = depth(move || {
            let mut redis = cede_crates::redis::Connection::new(TcpStream::connect(address)?);
            redis.set::<_, _, ()>("depth", "1")?;
            Ok(redis.get::<_, String>("depth").map(drop)?)
        });
        let (listener, address) = crate::listen();
        crate::http_client::server(listener);
        let ureq = depth(move || Ok(get(&agent(), &format!("http://{address}/")).map(drop)?));
        let (listener, address) = crate::listen();
        let secret = Rc::clone(&tls);
        Builder::new()
            .stack_size(1 << 20)
            .spawn(move || -> Outcome { serve(secret.accept(listener.accept()?.0)) })
            .unwrap();
        let ureq_tls = depth(move || {
            let url = format!("https://localhost:{}/", address.port());
            Ok(get(&https_agent(&tls), &url).map(drop)?)
        });
        let deflate = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes)?;
            encoder.finish()
        };
        let packed = deflate(&crate::pattern(100_000)).unwrap();
        let flate2 = [
            depth(move || Ok(deflate(&crate::pattern(100_000)).map(drop)?)),
            depth(move || {
                let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
                Ok(std::io::copy(&mut decoder, &mut std::io::sink()).map(drop)?)
            }),
        ];
        eprintln!(
            "KiB of stack, client and server: rustls {rustls:?}, tungstenite {tungstenite:?}, httparse {httparse:?}"
        );
        eprintln!(
            "client: redis {redis}, ureq {ureq}, ureq with rustls {ureq_tls}; flate2, write and read: {flate2:?}"
        );
        // A page of the default stack remains.
        let fits = |depth: usize| depth <= cede::stack::DEFAULT_SIZE / 1024 - 4;
        assert!([rustls, tungstenite, httparse, [redis; 2]].into_iter().flatten().all(fits));
        // Without optimization ureq needs a larger one.
        assert!([ureq, ureq_tls].into_iter().all(|depth| fits(depth) || cfg!(debug_assertions) && depth <= 192));
        // flate2 needs one in any case to compress.
        assert!(flate2.into_iter().all(|depth| depth <= if cfg!(debug_assertions) { 384 } else { 96 }), "{flate2:?}");
    });
}
