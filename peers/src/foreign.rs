//! Rivals in other languages: finds the tools of this machine and builds programs with them. Installs nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that starts a rival (the area and n are appended), and the version of the rival.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) command: Vec<OsString>,
    pub(crate) version: String,
}

/// The tools found so far, so that each is searched for once.
#[derive(Debug)]
pub(crate) struct Tools {
    sources: PathBuf,
    builds: PathBuf,
    built: RefCell<HashMap<PathBuf, Result<PathBuf, String>>>,
}

impl Tools {
    /// Creates the tools. Programs are built in a folder beside this program, and kept for the next run.
    pub(crate) fn new() -> Self {
        let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        let builds = beside.unwrap_or_else(std::env::temp_dir).join("peers-foreign");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign");
        Tools { sources, builds, built: RefCell::default() }
    }

    /// Returns the folder in which cargo built this program, for what cargo builds for it.
    pub(crate) fn target(&self) -> PathBuf {
        self.builds.ancestors().nth(2).unwrap_or(&self.builds).to_path_buf()
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.sources.join(name)
    }

    /// Runs a command. Returns the first line of its output or errors that contains `wanted`.
    pub(crate) fn ask(&self, command: &[&str], wanted: &str) -> Result<String, String> {
        let output = Command::new(command[0]).args(&command[1..]).output();
        let output = output.map_err(|error| format!("{} cannot be run: {error}", command[0]))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word why");
            return Err(format!("{} fails: {}", command.join(" "), last.trim()));
        }
        let line = text.lines().find(|line| line.contains(wanted)).unwrap_or("of an unknown version");
        Ok(line.trim().to_string())
    }

    /// Builds a program, unless it exists and is newer than every source. `command` receives the path of the program.
    pub(crate) fn build(
        &self,
        name: &str,
        sources: &[&str],
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<PathBuf, String> {
        let target = self.builds.join(name);
        if let Some(known) = self.built.borrow().get(&target) {
            return known.clone();
        }
        let result = self.build_anew(&target, sources, command);
        self.built.borrow_mut().insert(target, result.clone());
        result
    }

    fn build_anew(
        &self,
        target: &Path,
        sources: &[&str],
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<PathBuf, String> {
        let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
        let newest = sources.iter().filter_map(|source| changed(&self.source(source))).max();
        if changed(target).is_some_and(|built| Some(built) > newest) {
            return Ok(target.to_path_buf());
        }
        std::fs::create_dir_all(&self.builds).map_err(|error| format!("{}: {error}", self.builds.display()))?;
        let mut command = command(target);
        let tool = command.get_program().to_string_lossy().into_owned();
        let output = command.output().map_err(|error| format!("{tool} cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(target.to_path_buf());
        }
        Err(format!("{tool} fails: {}", first_error(&output.stderr)))
    }
}

/// Returns the first line with an error, or the first line.
pub(crate) fn first_error(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().find(|line| line.contains("error")).or(text.lines().next()).unwrap_or("no word why");
    line.trim().to_string()
}

/// Returns the major version in a line: of `openjdk version "21.0.8"`, 21.
pub(crate) fn major(version: &str) -> u32 {
    let word = version.split([' ', '"']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    word.and_then(|word| word.split('.').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_there_is_an_error_that_names_it() {
        let error = Tools::new().ask(&["no-such-tool-anywhere", "--version"], "").unwrap_err();
        assert!(error.starts_with("no-such-tool-anywhere cannot be run"), "{error}");
        let error = Tools::new().ask(&["sh", "-c", "echo that is why >&2; exit 3"], "").unwrap_err();
        assert!(error.ends_with("that is why"), "{error}");
    }

    #[test]
    fn versions_begin_with_a_digit() {
        assert_eq!(major("openjdk version \"21.0.8\" 2025-07-15 LTS"), 21);
        assert_eq!(major("javac 17.0.15"), 17);
        assert_eq!(major("no digits"), 0);
    }
}
