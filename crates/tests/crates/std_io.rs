//! The adapters of `std::io`.

use crate::{listen, pattern, silent_peer_ends, tcp_pair};
use cede::net::{TcpStream, UnixStream};
use std::io::{self, BufRead, BufReader, BufWriter, LineWriter, Read, Write};

#[test]
fn buffered_lines_cross_in_both_directions() {
    cede::run(|| {
        let (client, server) = tcp_pair();
        // Otherwise the second small write of a line waits for a delayed acknowledgement of the first.
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let mut upper = cede::spawn(move || {
            let mut out = LineWriter::new(&server);
            for line in BufReader::new(&server).lines() {
                writeln!(out, "{}", line?.to_uppercase())?;
            }
            Ok::<(), io::Error>(())
        });
        let mut out = BufWriter::with_capacity(7, &client);
        let mut answers = BufReader::with_capacity(3, &client).lines();
        for n in 0..100 {
            writeln!(out, "line {n} of many").unwrap();
            out.flush().unwrap();
            assert_eq!(answers.next().unwrap().unwrap(), format!("LINE {n} OF MANY"));
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(answers.next().is_none());
        upper.join().unwrap().unwrap();
    });
}

/// Each buffer between the two is full for most of the time: reader and writer wait for each other.
#[test]
fn std_copy_moves_megabytes_between_streams() {
    cede::run(|| {
        let (client, server) = tcp_pair();
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let sent = pattern(4 << 20);
        let expected = sent.clone();
        let mut writer =
            cede::spawn(move || (&client).write_all(&sent).and_then(|()| client.shutdown(std::net::Shutdown::Write)));
        let mut copier = cede::spawn(move || {
            let count = io::copy(&mut &server, &mut left)?;
            left.shutdown(std::net::Shutdown::Write)?;
            Ok::<u64, io::Error>(count)
        });
        let mut received = Vec::new();
        right.read_to_end(&mut received).unwrap();
        assert!(received == expected);
        assert_eq!(copier.join().unwrap().unwrap(), 4 << 20);
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn take_and_chain_stop_at_their_limits() {
    cede::run(|| {
        let (client, server) = tcp_pair();
        let mut writer = cede::spawn(move || (&client).write_all(b"headbodyrest").map(|()| client));
        let mut text = String::new();
        (&server).take(4).chain(&b"+"[..]).chain((&server).take(4)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "head+body");
        drop(writer.join().unwrap().unwrap());
        let mut rest = String::new();
        (&server).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
    });
}

#[test]
fn read_line_of_a_silent_peer_ends() {
    silent_peer_ends(|address| {
        let mut line = String::new();
        BufReader::new(TcpStream::connect(address)?).read_line(&mut line).map(|_| line)
    });
}

/// `read_until` retries on `Interrupted`, so a cancel that had this kind would never end the call.
#[test]
fn line_read_before_a_deadline_is_kept() {
    cede::run(|| {
        let (listener, address) = listen();
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(server);
        let mut line = Vec::new();
        (&client).write_all(b"first half, ").unwrap();
        let late = cede::timeout(std::time::Duration::from_millis(50), || reader.read_until(b'\n', &mut line));
        assert_eq!(late.unwrap_err().value.unwrap_err().kind(), io::ErrorKind::TimedOut);
        (&client).write_all(b"second half\n").unwrap();
        reader.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"first half, second half\n");
    });
}
