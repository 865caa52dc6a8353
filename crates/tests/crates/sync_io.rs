//! Synchronous crates over async streams of tokio, by `SyncIo`. Each side of a connection is a function of any `Read + Write`, and runs in
//! a task of its own, and then in a fiber of its own on one thread of tokio. So a call that blocked the thread would hang the test.

use crate::pattern;
use crate::tls::Tls;
use crate::tokio::run_in_tokio;
use ::tokio::net::{TcpListener, TcpStream};
use bytes::BytesMut;
use cede::block_on;
use cede::bridge::SyncIo;
use postgres_protocol::message::{backend, frontend};
use quick_xml::events::{BytesText, Event};
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::time::Duration;

/// Both directions of a connection.
trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

type Io = Box<dyn ReadWrite>;

/// Runs both sides of a connection in tasks of one run, and in fibers without a run: over a pipe of 13 bytes, so that a call waits many
/// times, and over TCP.
#[track_caller]
fn talk(client: impl FnOnce(Io) + Clone + 'static, server: impl FnOnce(Io) + Clone + 'static) {
    let (in_fiber_client, in_fiber_server) = (client.clone(), server.clone());
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let (client, server) = (in_fiber_client, in_fiber_server);
        let (near, far) = ::tokio::io::duplex(13);
        ::tokio::join!(in_fiber(near, client.clone()), in_fiber(far, server.clone()));
        let (near, far) = connected().await.unwrap();
        ::tokio::join!(in_fiber(near, client), in_fiber(far, server));
    });
    run_in_tokio(move || {
        let (near, far) = ::tokio::io::duplex(13);
        let sides = [in_task(near, client.clone()), in_task(far, server.clone())];
        cede::try_join_all(sides).unwrap();
        let (near, far) = tcp_pair();
        let sides = [in_task(near, client), in_task(far, server)];
        cede::try_join_all(sides).unwrap();
    });
}

/// Runs one side in a task.
fn in_task<T>(stream: T, side: impl FnOnce(Io) + 'static) -> cede::JoinHandle<Result<(), io::Error>>
where
    T: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static,
{
    // For flate2: see `stacks.rs`.
    let options = cede::Builder::new().stack_size(1 << 20);
    let task = options.spawn(move || {
        side(Box::new(SyncIo::tokio(stream)));
        Ok(())
    });
    task.unwrap()
}

/// Runs one side in a fiber.
fn in_fiber<T>(stream: T, side: impl FnOnce(Io) + 'static) -> cede::bridge::Fiber<()>
where
    T: ::tokio::io::AsyncRead + ::tokio::io::AsyncWrite + Unpin + 'static,
{
    let options = cede::Builder::new().stack_size(1 << 20);
    options.fiber(move || side(Box::new(SyncIo::tokio(stream)))).unwrap()
}

/// The two ends of a TCP connection of tokio.
fn tcp_pair() -> (TcpStream, TcpStream) {
    block_on(connected()).unwrap().unwrap()
}

async fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (near, far) = ::tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    let pair = (near?, far?.0);
    pair.0.set_nodelay(true)?;
    pair.1.set_nodelay(true)?;
    Ok(pair)
}

#[test]
fn lines_in_both_directions() {
    fn client(stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        for n in 0..20 {
            writeln!(stream.get_mut(), "line {n} of many").unwrap();
            let mut answer = String::new();
            stream.read_line(&mut answer).unwrap();
            assert_eq!(answer, format!("LINE {n} OF MANY\n"));
        }
    }
    fn server(stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap() > 0 {
            stream.get_mut().write_all(line.to_uppercase().as_bytes()).unwrap();
            line.clear();
        }
    }
    talk(client, server);
}

#[test]
fn json_documents() {
    fn client(mut stream: impl Read + Write) {
        for n in 0..5 {
            serde_json::to_writer(&mut stream, &serde_json::json!({ "question": [n, "ä", null], "deep": { "er": n } }))
                .unwrap();
        }
        stream.write_all(b"\"last\"").unwrap();
        let all: Vec<u32> = serde_json::from_reader(stream).unwrap();
        assert_eq!(all, [0, 1, 2, 3, 4]);
    }
    fn server(mut stream: impl Read + Write) {
        let mut all = Vec::new();
        for document in serde_json::Deserializer::from_reader(&mut stream).into_iter::<serde_json::Value>() {
            match document.unwrap() {
                serde_json::Value::String(last) if last == "last" => break,
                document => {
                    assert_eq!(document["question"][1], "ä");
                    all.push(document["deep"]["er"].as_u64().unwrap());
                }
            }
        }
        serde_json::to_writer(stream, &all).unwrap();
    }
    talk(client, server);
}

#[test]
fn gzip_of_megabytes() {
    const LEN: usize = 1 << 20;
    fn client(stream: impl Read + Write) {
        let mut encoder = flate2::write::GzEncoder::new(stream, flate2::Compression::fast());
        encoder.write_all(&pattern(LEN)).unwrap();
        let mut stream = encoder.finish().unwrap();
        stream.flush().unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"done");
    }
    fn server(stream: impl Read + Write) {
        let mut decoder = flate2::bufread::GzDecoder::new(BufReader::new(stream));
        let mut bytes = Vec::new();
        decoder.read_to_end(&mut bytes).unwrap();
        assert!(bytes == pattern(LEN));
        decoder.get_mut().get_mut().write_all(b"done").unwrap();
    }
    talk(client, server);
}

#[test]
fn tar_entries() {
    fn client(stream: impl Read + Write) {
        let mut archive = tar::Builder::new(stream);
        for len in [0, 1, 512, 5_000] {
            let mut header = tar::Header::new_gnu();
            header.set_size(len as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("dir/{len}"), &pattern(len)[..]).unwrap();
        }
        archive.into_inner().unwrap().flush().unwrap();
    }
    fn server(stream: impl Read + Write) {
        let mut lens = Vec::new();
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let len: usize = entry.path().unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            assert!(bytes == pattern(len));
            lens.push(len);
        }
        assert_eq!(lens, [0, 1, 512, 5_000]);
        // The crate stops at the first block of the end.
        io::copy(&mut archive.into_inner(), &mut io::sink()).unwrap();
    }
    talk(client, server);
}

#[test]
fn csv_records() {
    fn client(stream: impl Read + Write) {
        let mut writer = csv::WriterBuilder::new().buffer_capacity(5).from_writer(stream);
        writer.write_record(["name", "text"]).unwrap();
        for n in 0..50 {
            writer.write_record([n.to_string().as_str(), "with \"quotes\",\nand lines"]).unwrap();
        }
        writer.flush().unwrap();
    }
    fn server(stream: impl Read + Write) {
        let mut records = csv::Reader::from_reader(stream).into_records().map(Result::unwrap);
        for n in 0..50 {
            let record = records.next().unwrap();
            assert_eq!((&record[0], &record[1]), (n.to_string().as_str(), "with \"quotes\",\nand lines"));
        }
        assert!(records.next().is_none());
    }
    talk(client, server);
}

#[test]
fn xml_events() {
    fn client(stream: impl Read + Write) {
        let mut writer = quick_xml::Writer::new(stream);
        let list = writer.create_element("list").with_attribute(("of", "texts"));
        list.write_inner_content(|writer| {
            for n in 0..30 {
                writer.create_element("text").write_text_content(BytesText::new(&format!("<{n}>")))?;
            }
            Ok(())
        })
        .unwrap();
    }
    fn server(stream: impl Read + Write) {
        let mut reader = quick_xml::Reader::from_reader(BufReader::with_capacity(7, stream));
        let (mut buffer, mut texts, mut depth) = (Vec::new(), String::new(), 0);
        loop {
            match reader.read_event_into(&mut buffer).unwrap() {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Text(text) => texts.push_str(&text),
                Event::GeneralRef(name) => texts.push_str(&name),
                Event::Eof => break,
                other => panic!("{other:?}"),
            }
            buffer.clear();
        }
        assert_eq!(depth, 0);
        assert_eq!(texts, (0..30).map(|n| format!("lt{n}gt")).collect::<String>());
    }
    talk(client, server);
}

/// An archive as a stream, without seeks.
#[test]
fn zip_as_a_stream() {
    fn archive() -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for len in [3, 5_000] {
            archive.start_file(len.to_string(), zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&pattern(len)).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }
    fn client(mut stream: impl Read + Write) {
        stream.write_all(&archive()).unwrap();
        // An archive that is written as a stream has its sizes after the data.
        let mut archive = zip::ZipWriter::new_stream(stream);
        archive.start_file("answer", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&pattern(1_000)).unwrap();
        archive.finish().unwrap().into_inner().flush().unwrap();
    }
    fn server(mut stream: impl Read + Write) {
        for len in [3, 5_000] {
            let mut file = zip::read::read_zipfile_from_stream(&mut stream).unwrap().unwrap();
            assert_eq!(file.name().unwrap(), len.to_string());
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert!(bytes == pattern(len));
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(rest)).unwrap();
        let mut bytes = Vec::new();
        archive.by_name("answer").unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == pattern(1_000));
    }
    talk(client, server);
}

/// An archive in a file of tokio, which the crate seeks in.
#[test]
fn zip_in_a_file() {
    fn write(file: impl Write + Seek) {
        let mut archive = zip::ZipWriter::new(file);
        for len in [3, 5_000] {
            archive.start_file(len.to_string(), zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&pattern(len)).unwrap();
        }
        archive.finish().unwrap().flush().unwrap();
    }
    fn read(file: impl Read + Seek) {
        let mut archive = zip::ZipArchive::new(file).unwrap();
        for len in [5_000, 3] {
            let mut bytes = Vec::new();
            archive.by_name(&len.to_string()).unwrap().read_to_end(&mut bytes).unwrap();
            assert!(bytes == pattern(len));
        }
    }
    run_in_tokio(|| {
        let path = std::env::temp_dir().join(format!("cede-crates-{}.zip", std::process::id()));
        let options = ::tokio::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).to_owned();
        let file = block_on(options.open(path.clone())).unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
        let options = cede::Builder::new().stack_size(1 << 20);
        let task = options.spawn(move || {
            let mut file = SyncIo::tokio(file);
            write(&mut file);
            file.seek(SeekFrom::Start(0)).unwrap();
            read(file);
        });
        task.unwrap().join().unwrap();
    });
}

#[test]
fn websocket_messages() {
    fn client(stream: impl Read + Write) {
        let (mut socket, _) =
            tungstenite::client("ws://localhost/chat", stream).map_err(|error| error.to_string()).unwrap();
        for message in [tungstenite::Message::text("grüß Gott"), tungstenite::Message::binary(pattern(10_000))] {
            socket.send(message.clone()).unwrap();
            assert!(socket.read().unwrap() == message);
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
    fn server(stream: impl Read + Write) {
        let mut socket = tungstenite::accept(stream).map_err(|error| error.to_string()).unwrap();
        loop {
            match socket.read() {
                Ok(message) if message.is_text() || message.is_binary() => socket.send(message).unwrap(),
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    talk(client, server);
}

#[test]
fn tls_with_its_end() {
    fn client(stream: impl Read + Write, tls: &Tls) {
        let mut stream = tls.connect(stream);
        // The server's tickets come before its first byte. A write does not read them, and they do not fit into the pipe.
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(&pattern(20_000)).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer == pattern(20_000));
    }
    fn server(stream: impl Read + Write, tls: &Tls) {
        let mut stream = tls.accept(stream);
        stream.write_all(b"x").unwrap();
        stream.flush().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }
    let tls = Rc::new(Tls::new());
    let other = Rc::clone(&tls);
    talk(move |stream| client(stream, &tls), move |stream| server(stream, &other));
}

/// The messages of a connection to Postgres, with a server that knows one answer.
#[test]
fn postgres_messages() {
    fn message(stream: &mut impl Read, buffer: &mut BytesMut) -> backend::Message {
        loop {
            if let Some(message) = backend::Message::parse(buffer).unwrap() {
                return message;
            }
            let mut part = [0; 64];
            let count = stream.read(&mut part).unwrap();
            assert_ne!(count, 0, "the connection ended");
            buffer.extend_from_slice(&part[..count]);
        }
    }
    fn client(mut stream: impl Read + Write) {
        let (mut out, mut buffer) = (BytesMut::new(), BytesMut::new());
        frontend::startup_message([("user", "me"), ("database", "test")], &mut out).unwrap();
        stream.write_all(&out.split()).unwrap();
        assert!(matches!(message(&mut stream, &mut buffer), backend::Message::AuthenticationOk));
        assert!(matches!(message(&mut stream, &mut buffer), backend::Message::ReadyForQuery(_)));
        for _ in 0..3 {
            frontend::query("SELECT 'an answer'", &mut out).unwrap();
            stream.write_all(&out.split()).unwrap();
            let backend::Message::DataRow(row) = message(&mut stream, &mut buffer) else { panic!("no row") };
            assert!(row.buffer().ends_with(b"an answer"));
            let backend::Message::CommandComplete(end) = message(&mut stream, &mut buffer) else { panic!("no end") };
            assert_eq!(end.tag().unwrap(), "SELECT 1");
            assert!(matches!(message(&mut stream, &mut buffer), backend::Message::ReadyForQuery(_)));
        }
        frontend::terminate(&mut out);
        stream.write_all(&out).unwrap();
    }
    /// Reads the rest of a message: its length, which counts itself, and its body.
    fn body(stream: &mut impl Read) -> Vec<u8> {
        let mut len = [0; 4];
        stream.read_exact(&mut len).unwrap();
        let mut body = vec![0; u32::from_be_bytes(len) as usize - 4];
        stream.read_exact(&mut body).unwrap();
        body
    }
    fn server(mut stream: impl Read + Write) {
        assert!(body(&mut stream).ends_with(b"database\0test\0\0"));
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
        let mut kind = [0];
        loop {
            stream.read_exact(&mut kind).unwrap();
            let body = body(&mut stream);
            match kind[0] {
                b'Q' => {
                    assert_eq!(body, b"SELECT 'an answer'\0");
                    stream.write_all(b"D\0\0\0\x13\0\x01\0\0\0\x09an answer").unwrap();
                    stream.write_all(b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I").unwrap();
                }
                b'X' => break,
                other => panic!("{other}"),
            }
        }
    }
    talk(client, server);
}

/// A task reads and another writes the same connection. Deadlines cut the reads.
#[test]
fn halves_in_two_tasks() {
    const LEN: usize = 200_000;
    run_in_tokio(|| {
        let (near, far) = tcp_pair();
        let (reader, writer) = ::tokio::io::split(near);
        let late = Rc::new(Cell::new(0));
        let was_late = Rc::clone(&late);
        let mut echo = cede::spawn(move || {
            let (reader, writer) = ::tokio::io::split(far);
            let (mut reader, mut writer) = (SyncIo::tokio(reader), SyncIo::tokio(writer));
            io::copy(&mut reader, &mut writer)?;
            writer.shutdown()
        });
        let mut sender = cede::spawn(move || {
            let mut writer = SyncIo::tokio(writer);
            for part in pattern(LEN).chunks(1_000) {
                writer.write_all(part)?;
                cede::yield_now();
            }
            while was_late.get() == 0 {
                cede::time::sleep(Duration::from_millis(1)).map_err(io::Error::other)?;
            }
            writer.write_all(b"last")?;
            writer.shutdown()
        });
        let (mut reader, mut bytes) = (SyncIo::tokio(reader), Vec::new());
        let mut part = [0; 4_096];
        loop {
            // A read may end together with its deadline: then the error holds a success.
            let limited = cede::timeout(Duration::from_millis(1), || reader.read(&mut part));
            match limited.unwrap_or_else(|late| late.value) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    late.set(late.get() + 1);
                }
            }
        }
        assert!(bytes == [pattern(LEN), b"last".to_vec()].concat());
        sender.join().unwrap().unwrap();
        echo.join().unwrap().unwrap();
    });
}

/// A deadline ends a read of the crate with an error that shows it, and the rest of the frame comes afterwards.
#[test]
fn frame_over_a_deadline() {
    run_in_tokio(|| {
        let (near, far) = ::tokio::io::duplex(64);
        let mut task = cede::spawn(move || {
            let (near, mut far) = (SyncIo::tokio(near), SyncIo::tokio(far));
            let mut socket = tungstenite::WebSocket::from_raw_socket(near, tungstenite::protocol::Role::Client, None);
            far.write_all(b"\x81\x05he").unwrap();
            let late = cede::timeout(Duration::from_millis(20), || socket.read()).unwrap_err();
            let error = late.value.unwrap_err();
            assert!(cede_crates::is_cancelled(&error));
            assert_eq!(cede_crates::io_error(&error).unwrap().kind(), ErrorKind::TimedOut);
            far.write_all(b"llo").unwrap();
            assert_eq!(socket.read().unwrap(), tungstenite::Message::text("hello"));
        });
        task.join().unwrap();
    });
}
