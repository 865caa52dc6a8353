//! Pipelines: a growing log through grep to several targets, and the events of a parser as dictionaries.
//!
//! # Follow, grep and broadcast over a growing log
//!
//! *When:* lines come in over time, and each of several consumers wants a part of them: `tail -f log | grep ..` with many greps. The source
//! is a generator that waits; each consumer is a [`Sink`](crate::Sink).
//!
//! ```
//! use cede::pipeline::{Push, broadcast};
//! use cede::sync::{CancellationToken, WaitTimeoutError};
//! use cede::{Config, Generator, Inbox, Sink, spawn, time::sleep};
//! use std::fs::File;
//! use std::io::{self, BufRead, BufReader, Write};
//! use std::path::PathBuf;
//! use std::time::Duration;
//!
//! /// Yields the lines of a file that grows, until `stop` is cancelled.
//! fn follow(path: PathBuf, stop: CancellationToken) -> Generator<String, (), io::Result<()>> {
//!     Generator::new(move |y| {
//!         let mut log = BufReader::new(File::open(path)?);
//!         let mut line = String::new();
//!         loop {
//!             let is_last = stop.is_cancelled(); // before the reads: lines that were written before the stop are read
//!             while log.read_line(&mut line)? > 0 && line.ends_with('\n') {
//!                 y.yield_(line.trim_end().to_string());
//!                 line.clear();
//!             }
//!             // A sleep that the stop ends. `line` keeps the part of a line that has no end yet.
//!             if is_last || stop.cancelled_timeout(Duration::from_millis(100)) == Err(WaitTimeoutError::Cancelled) {
//!                 return Ok(());
//!             }
//!         }
//!     })
//! }
//!
//! /// Collects the lines that contain a word.
//! fn grep(word: &'static str) -> Sink<String, Vec<String>> {
//!     Sink::new(move |inbox: &Inbox<String>| inbox.iter().filter(|line| line.contains(word)).collect())
//! }
//!
//! let path = std::env::temp_dir().join(format!("cede-follow-{}", std::process::id()));
//! File::create(&path)?;
//! let found = Config::new().paused_clock(true).run(|| {
//!     let stop = CancellationToken::new();
//!     let (mut log, end) = (File::options().append(true).open(&path)?, stop.clone().drop_guard());
//!     spawn(move || {
//!         let _end = end; // cancels the token when the writer ends
//!         for text in ["GET /index\nGET /fav", "icon\nPOST /form\n", "GET /form\n"] {
//!             log.write_all(text.as_bytes())?;
//!             let _ = sleep(Duration::from_secs(1));
//!         }
//!         Ok::<(), io::Error>(())
//!     });
//!     let mut greps = broadcast([grep("GET"), grep("form"), grep("favicon")]);
//!     for line in follow(path.clone(), stop).into_results() {
//!         let _ = greps.send(line?); // an error: all consumers have ended
//!     }
//!     Ok::<_, io::Error>(greps.finish())
//! }).unwrap()?;
//! std::fs::remove_file(&path)?;
//! assert_eq!(found[0], ["GET /index", "GET /favicon", "GET /form"]);
//! assert_eq!(found[1], ["POST /form", "GET /form"]);
//! assert_eq!(found[2], ["GET /favicon"]);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! *Watch for:* the three classic faults of a follower. A line that is only half written must not be passed on, a cancelled wait must end
//! the loop, and the lines between the last read and the stop must not be lost. A log that is rotated also needs a look at its inode.
//!
//! # Events of a parser as dictionaries
//!
//! *When:* a library calls back with events (SAX, a scanner, a protocol decoder), and the consumer would otherwise be a state machine. The
//! body of a sink receives the events in straight code: its position in the code is the state.
//!
//! ```
//! use cede::pipeline::{Push, collect, filter};
//! use cede::{Inbox, Sink};
//! use std::collections::BTreeMap;
//!
//! enum Event {
//!     Start(String),
//!     Text(String),
//!     End(String),
//! }
//!
//! /// A parser that calls `event`, as the SAX parser of an XML crate does.
//! fn parse(xml: &str, mut event: impl FnMut(Event)) {
//!     for (tag, text) in xml.split('<').filter_map(|part| part.split_once('>')) {
//!         event(match tag.strip_prefix('/') {
//!             Some(name) => Event::End(name.to_string()),
//!             None => Event::Start(tag.to_string()),
//!         });
//!         event(Event::Text(text.trim().to_string()));
//!     }
//! }
//!
//! type Bus = BTreeMap<String, String>;
//!
//! /// Sends a dictionary to `target` for each `<bus>`.
//! fn dictionaries<P: Push<Bus> + 'static>(mut target: P) -> Sink<Event, P::Output> {
//!     Sink::new(move |inbox: &Inbox<Event>| {
//!         while let Some(event) = inbox.recv() {
//!             if matches!(event, Event::Start(name) if name == "bus")
//!                 && let Some(bus) = fields(inbox)
//!                 && target.send(bus).is_err()
//!             {
//!                 break; // the target has ended
//!             }
//!         }
//!         target.finish()
//!     })
//! }
//!
//! /// Receives the fields of one bus, up to its end tag. `None` if the document ends before.
//! fn fields(inbox: &Inbox<Event>) -> Option<Bus> {
//!     let (mut bus, mut content) = (Bus::new(), String::new());
//!     loop {
//!         match inbox.recv()? {
//!             Event::Start(_) => content.clear(),
//!             Event::Text(text) => content += &text,
//!             Event::End(name) if name == "bus" => return Some(bus),
//!             Event::End(name) => drop(bus.insert(name, std::mem::take(&mut content))),
//!         }
//!     }
//! }
//!
//! let is_north = |bus: &Bus| bus["direction"] == "North";
//! let mut stages = dictionaries(filter(is_north, collect::<Vec<Bus>, _>()));
//! let xml = "<buses><bus><id>7574</id><direction>North</direction></bus>
//!            <bus><id>7575</id><direction>South</direction></bus></buses>";
//! parse(xml, |event| {
//!     let _ = stages.send(event);
//! });
//! let buses = stages.finish();
//! assert_eq!(buses, [Bus::from([("id".into(), "7574".into()), ("direction".into(), "North".into())])]);
//! ```
//!
//! *Watch for:* the end of the input inside of an element. `recv` returns `None` then, at any depth of calls, so `?` ends all of them.
//! The reverse, an iterator out of a parser with callbacks, is a [`Generator`](crate::Generator) whose body runs the parser and yields in
//! the callback.
