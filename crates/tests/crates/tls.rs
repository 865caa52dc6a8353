//! rustls over the streams of cede.

use crate::{Outcome, listen, pattern, run, silent_peer_ends, tcp_pair};
use cede::net::TcpStream;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A certificate for `localhost`, made for the test, and the options of a server that has it and of a client that trusts it.
pub(crate) struct Tls {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Tls {
    pub(crate) fn new() -> Tls {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Tls { certificate, server: Arc::new(server), client: Arc::new(client) }
    }

    pub(crate) fn accept<S: Read + Write>(&self, stream: S) -> StreamOwned<ServerConnection, S> {
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.server)).unwrap(), stream)
    }

    pub(crate) fn connect<S: Read + Write>(&self, stream: S) -> StreamOwned<ClientConnection, S> {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name).unwrap(), stream)
    }
}

#[test]
fn tls_carries_lines_and_its_end() {
    run(|| {
        let tls = Tls::new();
        let (listener, address) = listen();
        let mut client = tls.connect(TcpStream::connect(address).unwrap());
        let mut server = cede::spawn(move || -> Outcome<u32> {
            let mut stream = BufReader::new(tls.accept(listener.accept()?.0));
            let mut lines = 0;
            let mut line = String::new();
            while stream.read_line(&mut line)? > 0 {
                stream.get_mut().write_all(line.to_uppercase().as_bytes())?;
                line.clear();
                lines += 1;
            }
            // The client has sent its end, not only closed the connection: otherwise `read_line` fails.
            Ok(lines)
        });
        let mut answer = [0; 7];
        for _ in 0..3 {
            client.write_all(b"a line\n").unwrap();
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"A LINE\n");
        }
        client.conn.send_close_notify();
        client.flush().unwrap();
        assert_eq!(server.join().unwrap().unwrap(), 3);
    });
}

/// Both directions at once: two connections, so that each task owns its own.
#[test]
fn tls_carries_megabytes_through_borrowed_streams() {
    run(|| {
        let tls = Tls::new();
        let (client, server) = tcp_pair();
        let mut client = (tls.connect(client), pattern(1 << 20));
        let mut sender = cede::spawn(move || -> Outcome {
            let (stream, bytes) = (&mut client.0, &client.1);
            // `Stream` borrows what `StreamOwned` owns.
            let mut stream = Stream::new(&mut stream.conn, &mut stream.sock);
            stream.write_all(bytes)?;
            stream.flush()?;
            let mut back = vec![0; bytes.len()];
            stream.read_exact(&mut back)?;
            assert!(back == *bytes);
            Ok(())
        });
        let mut connection = ServerConnection::new(Arc::clone(&tls.server)).unwrap();
        let mut server = &server;
        let mut stream = Stream::new(&mut connection, &mut server);
        let mut received = vec![0; 1 << 20];
        stream.read_exact(&mut received).unwrap();
        stream.write_all(&received).unwrap();
        stream.flush().unwrap();
        sender.join().unwrap().unwrap();
        assert!(received == pattern(1 << 20));
    });
}

#[test]
fn tls_handshake_with_a_silent_peer_ends() {
    silent_peer_ends(|address: SocketAddr| {
        let mut stream = Tls::new().connect(TcpStream::connect(address)?);
        stream.write_all(b"hello")?;
        stream.flush()?;
        stream.read(&mut [0; 8])
    });
}

#[test]
fn tls_read_continues_after_a_deadline() {
    run(|| {
        let tls = Tls::new();
        let (client, server) = tcp_pair();
        let mut client = tls.connect(client);
        let mut server = tls.accept(server);
        let mut talk = cede::spawn(move || -> io::Result<()> {
            let mut letter = [0; 1];
            server.read_exact(&mut letter)?;
            cede::time::sleep(Duration::from_millis(200)).map_err(io::Error::other)?;
            server.write_all(&letter)
        });
        client.write_all(b"x").unwrap();
        let mut letter = [0; 1];
        let mut late = 0;
        // Each deadline ends a wait in the middle of the protocol, the handshake included.
        loop {
            // The byte may arrive together with the deadline: then the error holds a success.
            let limited = cede::timeout(Duration::from_millis(3), || client.read_exact(&mut letter));
            match limited.unwrap_or_else(|late| late.value) {
                Ok(()) => break,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
            late += 1;
        }
        assert!(late > 0);
        assert_eq!(&letter, b"x");
        talk.join().unwrap().unwrap();
    });
}
