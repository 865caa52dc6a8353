//! Goroutines, on one P (`GOMAXPROCS=1`). Their stacks grow automatically.

use super::Rival;
use crate::area::Area;
use crate::foreign::{Found, Tools};
use std::process::Command;

pub(super) static RIVALS: [Rival; 1] =
    [Rival::foreign("Go", &[Area::Switch, Area::Yield, Area::Spawn, Area::Memory, Area::Channel], go)];

fn go(tools: &Tools) -> Result<Found, String> {
    let version = tools.ask(&["go", "version"], "go version")?;
    let program = tools.build("goroutines", &["goroutines.go"], |target| {
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(target).arg(tools.source("goroutines.go"));
        command
    })?;
    Ok(Found { command: vec![program.into()], version: version.replace("go version ", "") })
}
