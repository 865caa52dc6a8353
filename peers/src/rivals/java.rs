//! The virtual threads of Java 21 and later, on one carrier thread. Their stacks grow automatically. `JAVA_HOME` is searched
//! first.

use super::Rival;
use crate::area::Area;
use crate::foreign::{Found, Tools, major};
use std::process::Command;

pub(super) static RIVALS: [Rival; 1] =
    [Rival::foreign("Java virtual threads", &[Area::Yield, Area::Spawn, Area::Memory, Area::Channel], virtual_threads)];

fn virtual_threads(tools: &Tools) -> Result<Found, String> {
    let at_home = std::env::var("JAVA_HOME").map(|home| format!("{home}/bin/java"));
    let java = at_home.ok().filter(|java| std::path::Path::new(java).exists()).unwrap_or("java".into());
    let version = tools.ask(&[&java, "-version"], "version")?;
    if major(&version) < 21 {
        return Err(format!("virtual threads are from Java 21 on, and this is {version}"));
    }
    let class = tools.build("VirtualThreads.class", &["VirtualThreads.java"], |target| {
        let mut command = Command::new("javac");
        command.args(["--release", "17", "-d"]).arg(target.parent().expect("a directory"));
        command.arg(tools.source("VirtualThreads.java"));
        command
    })?;
    let mut command = vec![java.into()];
    // One carrier thread, never a replacement for it. A large heap keeps the garbage collector out of the measurement.
    let flags =
        ["-Djdk.virtualThreadScheduler.parallelism=1", "-Djdk.virtualThreadScheduler.maxPoolSize=1", "-Xmx6g", "-cp"];
    command.extend(flags.map(Into::into));
    command.push(class.parent().expect("a directory").into());
    command.push("VirtualThreads".into());
    Ok(Found { command, version })
}
