//! ureq over the streams of cede: its transport is an adapter of `cede_crates`.

use crate::httparse::serve;
use crate::tls::Tls;
use crate::{Outcome, listen, pattern, run, silent_peer_ends};
use cede::net::TcpListener;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

/// The options of the tests: no proxy, whatever the environment says.
fn options() -> ConfigBuilder<ureq::typestate::AgentScope> {
    Config::builder().proxy(None)
}

pub(crate) fn agent() -> Agent {
    cede_crates::http::agent(options().build())
}

/// An agent that trusts the certificate of the test.
pub(crate) fn https_agent(tls: &Tls) -> Agent {
    let trusted = RootCerts::new_with_certs(&[Certificate::from_der(&tls.certificate).to_owned()]);
    cede_crates::http::agent(options().tls_config(TlsConfig::builder().root_certs(trusted).build()).build())
}

/// Serves each connection in a task of its own, until the run ends. Returns the number of connections so far.
pub(crate) fn server(listener: TcpListener) -> Rc<Cell<u32>> {
    let accepted = Rc::new(Cell::new(0));
    let counted = Rc::clone(&accepted);
    cede::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream?;
            counted.set(counted.get() + 1);
            cede::spawn(move || drop(serve(stream)));
        }
        Ok::<(), std::io::Error>(())
    });
    accepted
}

pub(crate) fn get(agent: &Agent, url: &str) -> Result<String, Error> {
    agent.get(url).call()?.body_mut().read_to_string()
}

#[test]
fn requests_share_an_idle_connection() {
    run(|| {
        let (listener, address) = listen();
        let accepted = server(listener);
        let agent = agent();
        for n in 0..5 {
            assert_eq!(get(&agent, &format!("http://{address}/{n}")).unwrap(), format!("GET /{n} "));
        }
        assert_eq!(accepted.get(), 1);
    });
}

/// The server closes each connection after its answer, so none can carry a second request.
#[test]
fn closed_connection_is_not_used_again() {
    run(|| {
        let (listener, address) = listen();
        cede::spawn(move || -> Outcome {
            loop {
                let (stream, _) = listener.accept()?;
                let mut requests = crate::httparse::Requests::new(&stream);
                requests.next_request()?;
                std::io::Write::write_all(&mut &stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            }
        });
        let agent = agent();
        for _ in 0..5 {
            assert_eq!(get(&agent, &format!("http://{address}/")).unwrap(), "ok");
            // The close arrives.
            cede::time::sleep(Duration::from_millis(5)).unwrap();
        }
    });
}

#[test]
fn hundred_requests_are_in_flight_at_once() {
    run(|| {
        let (listener, address) = listen();
        let _accepted = server(listener);
        let agent = agent();
        let requests = (0..100).map(|n| {
            let agent = agent.clone();
            cede::spawn(move || -> Result<bool, Error> {
                let body = pattern(1000 * n);
                let mut answer = agent.post(format!("http://{address}/{n}")).send(&body)?;
                let answer = answer.body_mut().read_to_vec()?;
                Ok(answer.strip_prefix(format!("POST /{n} ").as_bytes()) == Some(&body))
            })
        });
        let answers = cede::join_all(requests.collect::<Vec<_>>());
        assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap()));
    });
}

/// The name is looked up, and TLS is spoken, over streams of cede.
#[test]
fn https_request_by_name_is_answered() {
    run(|| {
        let tls = Tls::new();
        let (listener, address) = listen();
        let agent = https_agent(&tls);
        let mut server = cede::spawn(move || -> Outcome { serve(tls.accept(listener.accept()?.0)) });
        let url = format!("https://localhost:{}/secret", address.port());
        let body = pattern(100_000);
        let mut answer = agent.post(&url).send(&body).unwrap();
        assert_eq!(answer.body_mut().read_to_vec().unwrap().strip_prefix(b"POST /secret "), Some(&body[..]));
        drop(agent);
        // ureq closes a connection without an end of TLS.
        let end = server.join().unwrap();
        assert!(end.is_ok() || end.unwrap_err().downcast::<std::io::Error>().is_ok());
    });
}

#[test]
fn http_request_to_a_silent_peer_ends() {
    silent_peer_ends(|address: SocketAddr| get(&agent(), &format!("http://{address}/")));
}

#[test]
fn https_request_to_a_silent_peer_ends() {
    silent_peer_ends(|address: SocketAddr| {
        let options = options().tls_config(TlsConfig::builder().disable_verification(true).build());
        get(&cede_crates::http::agent(options.build()), &format!("https://{address}/"))
    });
}

#[test]
fn timeouts_of_the_agent_are_its_own_errors() {
    run(|| {
        let (_silent, address) = listen();
        let agent = cede_crates::http::agent(options().timeout_global(Some(Duration::from_millis(50))).build());
        let error = get(&agent, &format!("http://{address}/")).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    });
}

#[test]
fn plain_thread_can_use_the_same_agent() {
    let (listener, address) = listen();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0).is_ok());
    let agent = agent();
    for _ in 0..2 {
        assert_eq!(get(&agent, &format!("http://{address}/x")).unwrap(), "GET /x ");
    }
    drop(agent);
    assert!(server.join().unwrap());
}
