//! HTTP servers with the same response to `GET /`: cede's example `http_server`, and hyper on tokio's current_thread runtime. Both
//! have a deadline for the head of a request.

use super::{Rival, Role};
use crate::area::Area;
use crate::foreign::{Found, Tools};
use crate::serve::listening;
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::runtime::Builder;
use ::tokio::task::{LocalSet, spawn_local};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const HTTP: &[Area] = &[Area::Http];

pub(super) static RIVALS: [Rival; 2] = [
    Rival { role: Role::Cede, ..Rival::foreign("cede", HTTP, example) },
    Rival::own("hyper, tokio current_thread", Role::Rival, HTTP, hyper),
];

/// The deadlines for the head of a request and the backlog, as in the example.
const HEAD: Duration = Duration::from_secs(10);
const BACKLOG: u32 = 4096;
/// The response of the example.
const INDEX: &str = "\
GET  /          this text
POST /echo      the body of the request
GET  /slow?MS   a response after MS milliseconds, at most 10000
GET  /stats     the number of responses
";

/// Builds the example. It listens on a free port.
fn example(tools: &Tools) -> Result<Found, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = tools.target();
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "-p", "cede", "--example", "http_server", "--target-dir"]).arg(&target);
    let output = command.current_dir(root).output().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo fails: {}", crate::foreign::first_error(&output.stderr)));
    }
    let program = target.join("release/examples/http_server");
    Ok(Found { command: vec![program.into(), "127.0.0.1:0".into()], version: String::new() })
}

fn hyper(_: Area, _: u64) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, accept());
}

async fn accept() {
    let socket = ::tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("there is a free port");
    let listener: TcpListener = socket.listen(BACKLOG).expect("it is bound");
    listening(listener.local_addr().expect("it is bound"));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        spawn_local(answer(stream));
    }
}

async fn answer(stream: TcpStream) {
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // An error ends the connection, as in the example.
    let _ = connection.serve_connection(TokioIo::new(stream), service_fn(respond)).await;
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => (StatusCode::OK, INDEX),
        _ => (StatusCode::NOT_FOUND, "there is no such path; GET / lists them\n"),
    };
    // The example copies the text for each response.
    let mut response = Response::new(Full::new(Bytes::from(text.to_string())));
    *response.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}
