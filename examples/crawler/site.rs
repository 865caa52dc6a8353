//! The sites to crawl: three servers, each at a loopback address of its own, with slow and broken pages.

use cede::net::{TcpListener, TcpStream, serve};
use cede::time::sleep;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// A page: its path, the milliseconds before its response, and its links. An attempt before the last number is broken.
type Source = (&'static str, u64, &'static [&'static str], u32);

const ANNA: &[Source] = &[
    ("/robots.txt", 1, &[], 0),
    ("/", 10, &["anna/news", "anna/private/diary", "anna/old", "ben/", "anna/"], 0),
    ("/news", 20, &["anna/news/1", "anna/news/2", "anna/news/3", "cleo/"], 0),
    ("/news/1", 5, &["anna/"], 0),
    ("/news/2", 5, &["anna/news/1"], 0),
    ("/news/3", 5, &["anna/private/"], 0),
    ("/private/diary", 0, &[], 0),
];
const BEN: &[Source] = &[
    ("/", 30, &["ben/a", "ben/b", "ben/c", "ben/d", "ben/flaky", "ben/endless"], 0),
    ("/a", 40, &["cleo/"], 0),
    ("/b", 60, &[], 0),
    ("/c", 40, &["dora/"], 0),
    ("/d", 40, &[], 0),
    ("/flaky", 7, &["ben/hidden"], 2),
    ("/hidden", 9, &["anna/"], 0),
    ("/endless", 3_600_000, &[], 0),
];
const CLEO: &[Source] = &[("/robots.txt", 3, &[], 1), ("/", 15, &["ben/", "cleo/photos"], 0)];

/// A site that is not served yet.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    pages: &'static [Source],
}

/// Binds the listeners. Each address 127.x.x.x is a loopback address.
pub(crate) fn bind() -> io::Result<Vec<Site>> {
    let sites = [("anna", ANNA), ("ben", BEN), ("cleo", CLEO)];
    let bind = |(number, (name, pages)): (u8, (&'static str, &'static [Source]))| {
        let listener = TcpListener::bind(SocketAddr::from(([127, 67, 0, number], 0)))?;
        Ok(Site { name, address: listener.local_addr()?, listener, pages })
    };
    (1..).zip(sites).map(bind).collect()
}

impl Site {
    /// Serves the site until the task is cancelled.
    pub(crate) fn serve(self) {
        let Site { name, listener, pages, .. } = self;
        let attempts = RefCell::default();
        let ended = serve(listener, 100, |stream, _| {
            let _ = respond(&stream, name, pages, &attempts); // an error: the client has given up
        });
        assert!(ended.is_err_and(|error| cede::io::is_cancelled(&error)));
    }
}

fn respond(
    stream: &TcpStream,
    name: &str,
    pages: &[Source],
    attempts: &RefCell<BTreeMap<String, u32>>,
) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    // The fields of the request, up to the empty line.
    lines.find(|line| line.as_ref().map_or(true, String::is_empty));
    let path = request.split(' ').nth(1).unwrap_or_default();
    let Some(&(_, millis, links, broken)) = pages.iter().find(|page| page.0 == path) else {
        return write!(&*stream, "HTTP/1.1 404 Not Found\r\n\r\n");
    };
    sleep(Duration::from_millis(millis)).map_err(io::Error::other)?;
    let attempt = {
        let mut attempts = attempts.borrow_mut();
        let attempt = attempts.entry(path.to_string()).or_insert(0);
        *attempt += 1;
        *attempt
    };
    if attempt <= broken {
        // Every second time without any response.
        let _ = attempt % 2 == 0 || write!(&*stream, "HTTP/1.1 503 Service Unavailable\r\n\r\n").is_ok();
        return Ok(());
    }
    let body = match (path, name) {
        ("/robots.txt", "anna") => concat!(
            "User-agent: other-crawler\nDisallow: /\n\n",
            "User-agent: *\nDisallow: /private\nCrawl-delay: 0.025\n",
        )
        .to_string(),
        ("/robots.txt", _) => "User-agent: *\nDisallow: /photos\n".to_string(),
        _ => links.iter().map(|link| format!("<a href=\"http://{link}\">a link</a>\n")).collect(),
    };
    write!(&*stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
