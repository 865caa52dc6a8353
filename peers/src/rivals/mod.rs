//! The rivals, each in a file of its own. All are set up in the same way and do the same work.
//!
//! The timed loops contain only the work of the area. Coroutines, executors, threads and channels are created outside of them.
//! Stacks have 64 KiB, or 16 KiB if 100,000 or more tasks take turns. If the size cannot be set, the file of the rival says so.

mod boost;
mod bridge;
mod cede;
mod corosensei;
mod cpython;
mod echo;
mod floor;
mod channels;
mod futures;
mod genawaiter;
mod generator;
mod go;
mod http;
mod java;
mod lua;
mod may;
mod ring;
mod slot;
mod smol;
mod threads;
mod tokio;

use crate::area::{Area, Body};
use crate::foreign::{Found, Tools};

/// The name of the echo server to which all echo servers are compared.
pub(crate) const RAW_EPOLL: &str = "raw epoll";

/// The role of a case in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The reference of all ratios.
    Cede,
    /// A variant of cede.
    Variant,
    /// A lower bound: does less than the measured work, so no case can be faster.
    Floor,
    /// The bare system calls, in C and without tasks.
    Raw,
    /// A rival.
    Rival,
    /// Threads of the operating system.
    Threads,
}

/// The way to start a case.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// In a child process of this program, which calls the function with the area and n.
    Own(fn(Area, u64)),
    /// As a program in another language, which receives the area and n as arguments.
    Foreign(fn(&Tools) -> Result<Found, String>),
}

/// A rival, or cede.
pub(crate) struct Rival {
    /// Its name in the table and the JSON lines.
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) areas: &'static [Area],
    pub(crate) start: Start,
    /// The maximum number of tasks, and the reason for it.
    pub(crate) most: Option<(u64, &'static str)>,
    /// Whether it uses all cores, instead of the one core to which the rest is pinned.
    pub(crate) all_cores: bool,
    /// The bodies that it has. Empty: all bodies of its areas.
    pub(crate) bodies: &'static [Body],
}

impl Rival {
    const fn own(name: &'static str, role: Role, areas: &'static [Area], start: fn(Area, u64)) -> Self {
        Rival { name, role, areas, start: Start::Own(start), most: None, all_cores: false, bodies: &[] }
    }

    const fn foreign(name: &'static str, areas: &'static [Area], find: fn(&Tools) -> Result<Found, String>) -> Self {
        Rival { name, role: Role::Rival, areas, start: Start::Foreign(find), most: None, all_cores: false, bodies: &[] }
    }

    const fn at_most(self, n: u64, why: &'static str) -> Self {
        Rival { most: Some((n, why)), ..self }
    }

    const fn on_all_cores(self) -> Self {
        Rival { all_cores: true, ..self }
    }

    const fn with_bodies(self, bodies: &'static [Body]) -> Self {
        Rival { bodies, ..self }
    }

    /// Returns whether it has the body.
    pub(crate) fn has(&self, body: Body) -> bool {
        self.bodies.is_empty() || self.bodies.contains(&body)
    }
}

/// Returns all cases, cede first.
pub(crate) fn all() -> Vec<&'static Rival> {
    let files: [&'static [Rival]; 19] = [
        &cede::RIVALS,
        &floor::RIVALS,
        &corosensei::RIVALS,
        &generator::RIVALS,
        &genawaiter::RIVALS,
        &may::RIVALS,
        &tokio::RIVALS,
        &smol::RIVALS,
        &futures::RIVALS,
        &channels::RIVALS,
        &bridge::RIVALS,
        &threads::RIVALS,
        &cpython::RIVALS,
        &lua::RIVALS,
        &go::RIVALS,
        &boost::RIVALS,
        &java::RIVALS,
        &echo::RIVALS,
        &http::RIVALS,
    ];
    files.into_iter().flatten().collect()
}

/// Runs a case of this program, in a child process.
pub(crate) fn run(name: &str, area: Area, n: u64) -> Result<(), String> {
    let rival = all().into_iter().find(|rival| rival.name == name && rival.areas.contains(&area));
    match rival.map(|rival| rival.start) {
        Some(Start::Own(start)) => start(area, n),
        _ => return Err(format!("no rival {name:?} of this program's own in {area}")),
    }
    Ok(())
}

/// Returns the size of a stack in bytes.
fn stack_size(area: Area, n: u64) -> usize {
    if area == Area::Yield && n >= 100_000 { 16 * 1024 } else { 64 * 1024 }
}

/// The capacity of the channel of many producers.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_told_apart_and_cede_is_first_in_every_area() {
        for area in Area::ALL {
            let names: Vec<_> =
                all().iter().filter(|rival| rival.areas.contains(&area)).map(|rival| rival.name).collect();
            let mut distinct = names.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), names.len(), "{area}: {names:?}");
            assert!(names.is_empty() || names[0] == "cede", "{area}: {names:?}");
        }
    }

    #[test]
    fn one_that_is_unknown_is_an_error() {
        assert!(run("nobody", Area::Switch, 1).is_err());
        assert!(run("corosensei", Area::Channel, 1).is_err());
    }
}
