//! The system calls of a process, counted by strace.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running strace.
#[derive(Debug)]
pub(crate) struct Strace {
    process: Child,
    /// Keeps the pipe open until the end, which strace writes to.
    errors: BufReader<std::process::ChildStderr>,
}

impl Strace {
    /// Attaches to all threads of a process.
    pub(crate) fn attach(pid: u32) -> Result<Self, String> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("strace cannot be run: {error}"))?;
        let errors = BufReader::new(process.stderr.take().expect("piped"));
        let mut strace = Strace { process, errors };
        let mut line = String::new();
        // strace reports each thread, and then attaches to the next one. The first line can only fail.
        strace.errors.read_line(&mut line).map_err(|error| format!("strace cannot be read: {error}"))?;
        match line.contains("attached") {
            true => Ok(strace),
            false => Err(format!("strace fails: {}", line.trim())),
        }
    }

    /// Detaches, and returns the number of calls.
    pub(crate) fn detach(mut self) -> Result<u64, String> {
        let pid = libc::pid_t::try_from(self.process.id()).expect("a process number");
        // SAFETY: the call takes no pointer. The process is a child that has not been waited for, so the number is still its own.
        unsafe { libc::kill(pid, libc::SIGINT) };
        let mut text = String::new();
        while matches!(self.errors.read_line(&mut text), Ok(1..)) {}
        let _ = self.process.wait();
        total(&text).ok_or_else(|| format!("strace printed no total: {:?}", text.lines().last().unwrap_or_default()))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the calls in the last line of the summary. Columns before and after may be empty, so the place of the heading counts.
fn total(summary: &str) -> Option<u64> {
    let heading = summary.lines().find(|line| line.contains("usecs/call"))?;
    let end = heading.find(" calls")? + " calls".len();
    let line = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.get(..end)?.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_of_the_calls_column() {
        let summary = "strace: Process 7 detached\n\
            % time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000300           3       100        20 recvfrom\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000500           2       220        20 total\n";
        assert_eq!(total(summary), Some(220));
        let older = summary.replace("0.000500           2 ", "0.000500             ");
        assert_eq!(total(&older), Some(220));
        assert_eq!(total("strace: Process 7 detached\n"), None);
    }

    #[test]
    fn missing_process_is_an_error() {
        // Whether strace is missing or fails, its words are in the error.
        assert!(Strace::attach(5_000_000).unwrap_err().contains("strace"));
    }
}
