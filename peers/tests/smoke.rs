//! The whole program with minimal work: every area, every rival in Rust, and the processes that it leaves running.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn peers() -> Command {
    Command::new(env!("CARGO_BIN_EXE_peers"))
}

#[test]
fn every_area_has_its_lines_and_its_picture() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smoke");
    let json = place.join("smoke.json");
    let output = peers().args(["all", "--smoke", "--json"]).arg(&json).arg("--svg").arg(&place).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");

    let text = std::fs::read_to_string(&json).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let machine = &lines[0]["machine"];
    for key in ["cpu", "cores", "kernel", "rustc", "versions"] {
        assert!(!machine[key].is_null(), "{machine}");
    }
    for area in ["switch", "yield", "spawn", "memory", "channel", "bridge", "echo"] {
        let of_area: Vec<&Value> = lines[1..].iter().filter(|line| line["area"] == area).collect();
        let cede: Vec<&&Value> = of_area.iter().filter(|line| line["case"] == "cede").collect();
        assert!(!cede.is_empty(), "{area}: {text}");
        for line in cede {
            assert!(line["median"].as_f64().is_some_and(|median| median > 0.0), "{line}");
        }
        assert!(of_area.len() > 8, "{area} has rivals: {of_area:?}");
        let picture = std::fs::read_to_string(place.join(format!("{area}.svg"))).unwrap_or_default();
        assert!(picture.contains("cede"), "{area}");
    }
    // In a short run hyper is alone: cede's server is not part of this program.
    let of_http: Vec<&Value> = lines[1..].iter().filter(|line| line["area"] == "http").collect();
    assert!(matches!(of_http[..], [hyper] if hyper["case"] == "hyper, tokio current_thread"), "{of_http:?}");
    for line in &lines[1..] {
        let figures = ["min", "median", "rounds"].map(|key| line[key].as_f64().is_some());
        assert_eq!(figures, [line["error"].is_null(); 3], "either figures or an error: {line}");
        // Only lines with a known reason fail here.
        let known = ["one stack can be used again", "wrk cannot be run", "the kernel has io_uring"];
        assert!(line["error"].as_str().is_none_or(|why| known.iter().any(|known| why.contains(known))), "{line}");
    }
}

#[test]
fn nothing_is_left_running_when_it_is_killed() {
    // Without the tools of other languages, nothing needs to be built first.
    let mut parent =
        peers().args(["yield"]).env("PATH", "/nowhere").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let list = format!("/proc/{0}/task/{0}/children", parent.id());
    let children = || std::fs::read_to_string(&list).unwrap_or_default();
    let patience = Instant::now() + Duration::from_secs(30);
    while children().split_whitespace().count() < 3 {
        assert!(Instant::now() < patience, "the program started no children");
        std::thread::sleep(Duration::from_millis(5));
    }
    let children = children();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let alive = || children.split_whitespace().filter(|pid| Path::new(&format!("/proc/{pid}/exe")).exists()).count();
    while alive() > 0 {
        assert!(Instant::now() < patience, "{} of its children are still alive", alive());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn unknown_argument_ends_with_the_usage() {
    let output = peers().arg("yeild").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(words.contains("\"yeild\"") && words.contains("usage: peers"), "{words}");
}
