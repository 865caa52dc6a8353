//! Boost.Context and Boost.Fiber, from the packages of Debian (libboost-context-dev, libboost-fiber-dev), compiled by g++ -O2.

use super::Rival;
use crate::area::Area;
use crate::foreign::{Found, Tools};
use std::process::Command;

const GUARDS: (u64, &str) = (30_000, "a guard takes two mappings, and where there are no more it fails unnoticed");
const HEAVY: (u64, &str) = (100_000, "with 8 KiB each, a million would leave the others too little memory");

pub(super) static RIVALS: [Rival; 5] = [
    Rival::foreign("Boost.Context", &[Area::Switch, Area::Memory], context),
    Rival::foreign("Boost.Fiber", &[Area::Yield], fiber).at_most(HEAVY.0, HEAVY.1),
    Rival::foreign("Boost.Fiber", &[Area::Spawn, Area::Memory, Area::Channel], fiber),
    Rival::foreign("Boost.Fiber, guarded stacks", &[Area::Yield, Area::Spawn], guarded).at_most(GUARDS.0, GUARDS.1),
    Rival::foreign("Boost.Fiber, guarded stacks", &[Area::Memory], guarded),
];

fn build(tools: &Tools, name: &str, source: &str, flags: &[&str]) -> Result<Found, String> {
    let version = tools.ask(
        &["g++", "-dM", "-E", "-include", "boost/version.hpp", "-x", "c++", "/dev/null"],
        "define BOOST_LIB_VERSION",
    )?;
    let program = tools.build(name, &[source, "peer.hpp"], |target| {
        let mut command = Command::new("g++");
        command.args(["-std=c++17", "-O2", "-DNDEBUG"]).arg(tools.source(source)).arg("-o").arg(target).args(flags);
        command
    })?;
    let version = version.split('"').nth(1).unwrap_or("of an unknown version").replace('_', ".");
    Ok(Found { command: vec![program.into()], version: format!("Boost {version}") })
}

fn context(tools: &Tools) -> Result<Found, String> {
    build(tools, "boost_context", "boost_context.cpp", &["-lboost_context"])
}

fn fiber(tools: &Tools) -> Result<Found, String> {
    build(tools, "boost_fiber", "boost_fiber.cpp", &["-lboost_fiber", "-lboost_context", "-pthread"])
}

fn guarded(tools: &Tools) -> Result<Found, String> {
    let flags = ["-DPROTECTED", "-lboost_fiber", "-lboost_context", "-pthread"];
    build(tools, "boost_fiber_guarded", "boost_fiber.cpp", &flags)
}
