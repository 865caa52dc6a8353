//! Runs several programs at once, at most two at a time, each with a time limit, and prints their outputs in order. Ctrl-C ends them.
//!
//! cargo run --example run_children                                # runs five commands of its own
//! cargo run --example run_children -- 'sleep 1; date' 'uname -a'  # runs these shell commands

use cede::process::{Command, Output, Stdio};
use cede::signal::SignalKind;
use cede::sync::Semaphore;
use cede::{Config, scope, shield, timeout};
use std::io;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(2_000);
const DEMO: [&str; 5] = [
    "echo one",
    "echo two; echo 'and an error' >&2; exit 3",
    "echo three; exec sleep 60",
    "kill -9 $$",
    "seq 50000 | tail -n 1",
];

/// Runs a shell command. A command that is late, or cancelled by Ctrl-C, gets SIGTERM and a second to end; then it is killed.
fn run(command: &str) -> io::Result<Output> {
    let mut sh = Command::new("sh");
    // A group of its own: Ctrl-C reaches this program only, which ends the commands.
    sh.args(["-c", command]).process_group(0).kill_on_drop(true);
    let mut child = sh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    match timeout(LIMIT, || child.wait_with_output()) {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) if !cede::io::is_cancelled(&error) => Err(error),
        // The output so far is kept for the next call.
        Ok(Err(_)) | Err(_) => shield(|| {
            child.send_signal(SignalKind::terminate())?;
            timeout(Duration::from_secs(1), || child.wait_with_output()).unwrap_or_else(|late| late.into_value())
        }),
    }
}

fn main() {
    let mut commands: Vec<String> = std::env::args().skip(1).collect();
    if commands.is_empty() {
        commands = DEMO.map(String::from).to_vec();
    }
    let room = Semaphore::new(2);
    let outcome = Config::new().cancel_on_ctrl_c(true).run(|| {
        scope(|s| {
            let (room, commands) = (&room, &commands);
            let mut tasks: Vec<_> = commands
                .iter()
                .map(|command| {
                    s.spawn(move || {
                        let _permit = room.acquire().map_err(io::Error::other)?;
                        run(command)
                    })
                })
                .collect();
            for (command, task) in commands.iter().zip(&mut tasks) {
                println!("$ {command}");
                match task.join() {
                    Ok(Ok(output)) => {
                        print!("{}", String::from_utf8_lossy(&output.stdout));
                        print!("{}", String::from_utf8_lossy(&output.stderr));
                        println!("[{}]", output.status);
                    }
                    Ok(Err(error)) => println!("[{error}]"),
                    Err(error) => return println!("[{error}]"),
                }
            }
        })
    });
    if let Err(error) = outcome {
        eprintln!("run_children: {error}");
    }
}
