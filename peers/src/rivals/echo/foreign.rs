//! Echo servers in other languages: the bare system calls in C, compiled by gcc -O2, and Go on one P (`GOMAXPROCS=1`).

use crate::foreign::{Found, Tools};
use std::process::Command;

/// Edge-triggered epoll in one loop, with one buffer for all connections.
pub(super) fn epoll(tools: &Tools) -> Result<Found, String> {
    c(tools, "echo_epoll")
}

/// One-shot receives and sends by io_uring, with a buffer for each connection. Needs the kernel's headers, and no library.
pub(super) fn io_uring(tools: &Tools) -> Result<Found, String> {
    c(tools, "echo_io_uring")
}

fn c(tools: &Tools, name: &str) -> Result<Found, String> {
    let version = tools.ask(&["gcc", "--version"], "gcc")?;
    let source = format!("{name}.c");
    let program = tools.build(name, &[&source, "echo.h"], |target| {
        let mut command = Command::new("gcc");
        command.args(["-std=gnu11", "-O2", "-DNDEBUG"]).arg(tools.source(&source)).arg("-o").arg(target);
        command
    })?;
    Ok(Found { command: vec![program.into()], version })
}

pub(super) fn go(tools: &Tools) -> Result<Found, String> {
    let version = tools.ask(&["go", "version"], "go version")?;
    let program = tools.build("echo_go", &["echo.go"], |target| {
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(target).arg(tools.source("echo.go"));
        command
    })?;
    Ok(Found { command: vec![program.into()], version: version.replace("go version ", "") })
}
