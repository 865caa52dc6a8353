//! The rivals, each in a file of its own. All are set up in the same way and do the same work.
//!
//! Inside the timed loops is what the area says and nothing else; making coroutines, executors, threads and channels is
//! outside. Stacks are of 64 KiB, and of 16 KiB where 100,000 or more take turns; where that cannot be chosen, the file says so.

mod boost;
mod cede;
mod corosensei;
mod cpython;
mod floor;
mod channels;
mod futures;
mod genawaiter;
mod generator;
mod go;
mod java;
mod lua;
mod may;
mod ring;
mod smol;
mod threads;
mod tokio;

use crate::area::Area;
use crate::foreign::{Found, Tools};

/// What a rival is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What all others are divided by.
    Cede,
    /// cede in another way than the usual one.
    Variant,
    /// Does less than what is measured: nothing can be faster.
    Floor,
    /// A rival.
    Rival,
    /// Threads of the operating system.
    Threads,
}

/// How it is run.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// In a child of this program, which calls this with the area and n.
    Own(fn(Area, u64)),
    /// In a program of another language, which is called with the area and n.
    Foreign(fn(&Tools) -> Result<Found, String>),
}

/// A rival, or cede.
pub(crate) struct Rival {
    /// What it is called in the table and the JSON lines.
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) areas: &'static [Area],
    pub(crate) start: Start,
    /// How many tasks it is asked to hold at most, and why not more.
    pub(crate) most: Option<(u64, &'static str)>,
    /// Whether it needs more than the one core that all others are pinned to.
    pub(crate) all_cores: bool,
}

impl Rival {
    const fn own(name: &'static str, role: Role, areas: &'static [Area], start: fn(Area, u64)) -> Self {
        Rival { name, role, areas, start: Start::Own(start), most: None, all_cores: false }
    }

    const fn foreign(name: &'static str, areas: &'static [Area], find: fn(&Tools) -> Result<Found, String>) -> Self {
        Rival { name, role: Role::Rival, areas, start: Start::Foreign(find), most: None, all_cores: false }
    }

    const fn at_most(self, n: u64, why: &'static str) -> Self {
        Rival { most: Some((n, why)), ..self }
    }

    const fn on_all_cores(self) -> Self {
        Rival { all_cores: true, ..self }
    }
}

/// All of them, cede first.
pub(crate) fn all() -> Vec<&'static Rival> {
    let files: [&'static [Rival]; 16] = [
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
        &threads::RIVALS,
        &cpython::RIVALS,
        &lua::RIVALS,
        &go::RIVALS,
        &boost::RIVALS,
        &java::RIVALS,
    ];
    files.into_iter().flatten().collect()
}

/// Runs one of this program's own, as a child.
pub(crate) fn run(name: &str, area: Area, n: u64) -> Result<(), String> {
    let rival = all().into_iter().find(|rival| rival.name == name && rival.areas.contains(&area));
    match rival.map(|rival| rival.start) {
        Some(Start::Own(start)) => start(area, n),
        _ => return Err(format!("no rival {name:?} of this program's own in {area}")),
    }
    Ok(())
}

/// The size of a stack where n tasks take turns, in bytes.
fn stack_size(area: Area, n: u64) -> usize {
    if area == Area::Yield && n >= 100_000 { 16 * 1024 } else { 64 * 1024 }
}

/// How many messages the channel of many producers holds.
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
