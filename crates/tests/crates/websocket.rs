//! tungstenite over the streams of cede.

use crate::{listen, pattern, run, silent_peer_ends, tcp_pair};
use cede::net::TcpStream;
use std::io::{self, Write};
use std::time::Duration;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tungstenite::{Error, Message, WebSocket};

/// Opens a WebSocket. The error of a handshake has no source, so it is unpacked.
pub(crate) fn open(stream: TcpStream) -> Result<WebSocket<TcpStream>, Error> {
    match tungstenite::client("ws://localhost/chat", stream) {
        Ok((socket, _response)) => Ok(socket),
        Err(HandshakeError::Failure(error)) => Err(error),
        Err(HandshakeError::<ClientHandshake<TcpStream>>::Interrupted(_)) => panic!("no call returns WouldBlock"),
    }
}

#[test]
fn websocket_carries_messages_pings_and_its_close() {
    run(|| {
        let (listener, address) = listen();
        let mut server = cede::spawn(move || -> Result<Vec<&'static str>, Error> {
            let mut socket = tungstenite::accept(listener.accept()?.0)
                .map_err(|error| Error::Io(io::Error::other(error.to_string())))?;
            let mut seen = Vec::new();
            loop {
                match socket.read() {
                    Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                        seen.push("message");
                        socket.send(message)?;
                    }
                    Ok(Message::Ping(_)) => seen.push("ping"), // tungstenite answers it
                    Ok(Message::Close(_)) => seen.push("close"),
                    Err(Error::ConnectionClosed) => return Ok(seen),
                    other => panic!("{other:?}"),
                }
            }
        });
        let mut socket = open(TcpStream::connect(address).unwrap()).unwrap();
        for message in [Message::text("grüß Gott"), Message::binary(pattern(1 << 20)), Message::text("")] {
            socket.send(message.clone()).unwrap();
            assert!(socket.read().unwrap() == message);
        }
        socket.send(Message::Ping("are you there?".into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong("are you there?".into()));
        let bye = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
        socket.close(Some(bye.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Close(Some(bye)));
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
        assert_eq!(server.join().unwrap().unwrap(), ["message", "message", "message", "ping", "close"]);
    });
}

#[test]
fn websocket_handshake_with_a_silent_peer_ends() {
    silent_peer_ends(|address| open(TcpStream::connect(address)?).map(drop));
}

#[test]
fn websocket_of_a_silent_peer_ends() {
    silent_peer_ends(|address| {
        let mut socket = WebSocket::from_raw_socket(TcpStream::connect(address)?, Role::Client, None);
        socket.send(Message::text("hello"))?;
        socket.read()
    });
}

/// The first half of a frame comes before the deadline.
#[test]
fn frame_cut_by_a_deadline_is_kept() {
    run(|| {
        let (client, server) = tcp_pair();
        let mut socket = WebSocket::from_raw_socket(client, Role::Client, None);
        // A final text frame of five bytes, without a mask.
        (&server).write_all(b"\x81\x05he").unwrap();
        let late = cede::timeout(Duration::from_millis(50), || socket.read()).unwrap_err();
        assert!(cede_crates::is_cancelled(&late.value.unwrap_err()));
        (&server).write_all(b"llo").unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("hello"));
    });
}
