//! `dgrep`: see README.md.
#![forbid(unsafe_code)]

use cede::Config;
use cede::net::TcpStream;
use cede_distributed::args::{self, HELP, Request, Role};
use cede_distributed::broker::Broker;
use cede_distributed::link::{Connect, Link};
use cede_distributed::progress::Progress;
use cede_distributed::streams::Streams;
use cede_distributed::{coordinator, search, worker};
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

/// The exit code after an error.
const ERROR: u8 = 2;
/// The exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let request = match args::parse(std::env::args_os().skip(1)) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("dgrep: {error}\nTry 'dgrep --help'.");
            return ExitCode::from(ERROR);
        }
    };
    match Config::new().cancel_on_ctrl_c(true).stack_size(256 << 10).run(|| run(request)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dgrep: {error}");
            ExitCode::from(ERROR)
        }
    }
}

fn run(request: Request) -> ExitCode {
    let Request { role, address, run, claim_after, patience, summary } = request;
    let progress = Rc::new(match &role {
        Role::Coordinator(options) => Progress::new(&options.input.files),
        _ => Progress::hidden(),
    });
    let connect: Rc<Connect> = Rc::new(move || {
        let stream = TcpStream::connect(&address[..])?;
        stream.set_nodelay(true)?;
        Ok(Box::new(Streams::new(stream, &run, claim_after)) as Box<dyn Broker>)
    });
    let link = || Link::new(Rc::clone(&connect), patience, Rc::clone(&progress));
    let code = match role {
        Role::Help => {
            print!("{HELP}");
            Ok(0)
        }
        Role::Coordinator(options) => {
            let done = coordinator::coordinate(&options, link(), cede::io::stdout(), &progress);
            done.map(|done| {
                if summary {
                    eprintln!("dgrep: {done}, {}", peak_memory());
                }
                if done.unreadable > 0 { ERROR } else { u8::from(done.lines == 0) }
            })
        }
        Role::Worker(options) => {
            let pattern = Rc::clone(&options.pattern);
            let done = worker::work(&options, &link, &|_, text| search::search(&pattern, text));
            done.map(|done| {
                if summary {
                    eprintln!("dgrep: {} jobs answered, {} reconnects, {}", done.jobs, done.reconnects, peak_memory());
                }
                0
            })
        }
    };
    code.unwrap_or_else(|error: io::Error| {
        if cede::task::check().is_err() {
            return INTERRUPTED;
        }
        eprintln!("dgrep: {error}");
        ERROR
    })
    .into()
}

/// The largest size of the process in memory.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or("peak memory unknown".to_owned(), |peak| format!("peak memory {}", peak.trim()))
}
