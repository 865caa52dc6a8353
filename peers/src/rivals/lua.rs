//! The coroutines of Lua 5.4. Their stacks grow automatically.

use super::Rival;
use crate::area::Area;
use crate::foreign::{Found, Tools};

pub(super) static RIVALS: [Rival; 1] =
    [Rival::foreign("Lua", &[Area::Switch, Area::Yield, Area::Spawn, Area::Memory], lua)];

fn lua(tools: &Tools) -> Result<Found, String> {
    let version = tools.ask(&["lua5.4", "-v"], "Lua")?;
    let version = version.split("  ").next().unwrap_or_default().to_string();
    Ok(Found { command: vec!["lua5.4".into(), tools.source("coroutines.lua").into()], version })
}
