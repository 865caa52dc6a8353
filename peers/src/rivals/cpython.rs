//! CPython: its generators, asyncio, and greenlet. Python keeps frames in heap objects, so no stack size is set.

use super::Rival;
use crate::area::Area;
use crate::foreign::{Found, Tools};

const SLOW: (u64, &str) =
    (100_000, "one turn takes microseconds: a million of them in each round would take longer than all others");

pub(super) static RIVALS: [Rival; 3] = [
    Rival::foreign("CPython generators", &[Area::Switch, Area::Yield, Area::Memory], generators),
    Rival::foreign("CPython asyncio", &[Area::Yield, Area::Spawn, Area::Memory, Area::Channel], asyncio)
        .at_most(SLOW.0, SLOW.1),
    Rival::foreign("greenlet", &[Area::Switch, Area::Yield, Area::Spawn, Area::Memory], greenlet)
        .at_most(SLOW.0, SLOW.1),
];

fn script(tools: &Tools, name: &str, import: &str) -> Result<Found, String> {
    let print = format!("{import}; import sys; assert sys.version_info >= (3, 10), 'Python is older than 3.10'");
    tools.ask(&["python3", "-c", &print], "")?;
    let version = tools.ask(&["python3", "--version"], "Python")?;
    // No compiled copies are written beside the sources.
    Ok(Found { command: vec!["python3".into(), "-B".into(), tools.source(name).into()], version })
}

fn generators(tools: &Tools) -> Result<Found, String> {
    script(tools, "generators.py", "pass")
}

fn asyncio(tools: &Tools) -> Result<Found, String> {
    script(tools, "tasks.py", "import asyncio")
}

fn greenlet(tools: &Tools) -> Result<Found, String> {
    let mut found = script(tools, "greenlets.py", "import greenlet")?;
    let print = "import greenlet; print('greenlet', greenlet.__version__)";
    found.version = tools.ask(&["python3", "-c", print], "greenlet")?;
    Ok(found)
}
