//! Every example runs and prints its transcript.

mod common;
#[path = "../examples/crawler/robots.rs"]
mod robots;

use common::{command, example, transcript};

fn check(name: &str) {
    let output = command(example(name)).output().expect("the example was built with the tests");
    let file = format!("{}/tests/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let mut expected = std::fs::read_to_string(file).expect("there is a transcript");
    if cfg!(panic = "abort") && name == "fibonacci" {
        // Its generator is dropped while it is suspended, which prints a report here.
        expected += "--- stderr\ncede: an unnamed generator was dropped while suspended, where panics abort and nothing can \
                     unwind it; its stack is leaked\n";
    }
    if cfg!(cede_portable_switch) && ["dump", "slow_turn"].contains(&name) {
        // Stacks cannot be read there.
        expected = expected.lines().filter(|line| !line.starts_with("  in ")).map(|line| format!("{line}\n")).collect();
    }
    let mut text = without_emulator(&transcript(&output));
    if name == "crawler" {
        // The drivers of I/O report events that are there at the same time in different orders.
        (text, expected) = (sorted_by_time(&text), sorted_by_time(&expected));
    }
    assert_eq!(text, expected, "{name}");
}

/// Sorts the neighbouring lines that begin with the same time.
fn sorted_by_time(text: &str) -> String {
    let time = |line: &str| line.split(" ms ").next().unwrap_or("").to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.chunk_by_mut(|a, b| time(a) == time(b)).for_each(<[&str]>::sort_unstable);
    lines.join("\n")
}

/// Removes the line that qemu prints when the program that it runs dies by a signal.
fn without_emulator(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("qemu: uncaught target signal"))
        .map(|line| format!("{line}\n"))
        .collect()
}

macro_rules! transcripts {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )* };
}

transcripts! {
    fibonacci tree_walk tokenizer averager overflow
    round_robin tasks nested callbacks deadlock
    sleepers gather cancel_timeout scope_borrow crawler_sim
    ping_pong producer_consumer message_queue pipeline_tasks
    inventory semaphore_pool sync_over_async
    dump slow_turn
}

#[cfg(all(feature = "io", target_os = "linux"))]
transcripts! {
    echo_server echo_client chat proxy port_scan http_server crawler run_children
}

/// The demonstration sends its requests one after another, so the workers that answer them make no difference.
#[cfg(all(feature = "io", target_os = "linux"))]
#[test]
fn http_server_uses_workers() {
    let output = command(example("http_server")).args(["--workers", "3"]).output().unwrap();
    let text = without_emulator(&transcript(&output));
    assert_eq!(text, include_str!("transcripts/http_server.txt"));
}

#[cfg(all(feature = "io", target_os = "linux"))]
#[test]
fn io_driver_is_named() {
    for (variable, expected) in [("epoll", ["epoll\n", "poll\n"]), ("auto", ["io_uring\n", "epoll; io_uring is not"])] {
        let output = command(example("io_driver")).env("CEDE_IO", variable).output().unwrap();
        let text = transcript(&output);
        let is_poll = cfg!(cede_poll_driver) && text.starts_with("poll");
        assert!(is_poll || expected.iter().any(|expected| text.starts_with(expected)), "{text}");
    }
}

#[test]
fn every_example_is_tested_and_in_the_index() {
    let index = include_str!("../examples/README.md");
    // These print figures or need arguments, and have tests of their own.
    let elsewhere =
        ["io_driver", "direct_io", "grep", "million", "million_tasks", "pgrep", "sync_stress", "thread_vs_coroutine"];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("README.md") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let link = if path.is_dir() { format!("]({name}/main.rs)") } else { format!("]({name}.rs)") };
        assert!(index.contains(&link), "examples/README.md has no link to {name}");
        let transcript = format!("{}/tests/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        assert!(
            elsewhere.contains(&name) || std::path::Path::new(&transcript).exists(),
            "examples/{name} has no transcript"
        );
        let source = path.is_file().then(|| std::fs::read_to_string(&path).unwrap());
        assert!(source.is_none_or(|source| source.starts_with("//! ")), "examples/{name} does not say what it shows");
    }
}

#[test]
fn crawler_reads_robots_txt() {
    use robots::Rules;
    use std::time::Duration;
    let forbidden = |text: &str| Rules::parse(text).forbidden;
    assert_eq!(forbidden("User-agent: *\nDisallow: /a\ndisallow:/b # not c\r\n"), ["/a", "/b"]);
    // An empty value allows all pages.
    let rules = Rules::parse("User-agent: *\nDisallow:\nDisallow: \n");
    assert_eq!(rules, Rules::default());
    assert!(!rules.forbid("/a"));
    // Each group is for its own crawlers.
    let groups =
        "Disallow: /0\nUser-agent: x\nDisallow: /x\n\nUser-agent: y\nUser-agent: *\nSitemap: /s\nDisallow: /yz\n";
    assert_eq!(forbidden(groups), ["/yz"]);
    assert!(Rules::parse(groups).forbid("/yz/1") && !Rules::parse(groups).forbid("/x"));
    let own = format!("{groups}USER-AGENT: {}/1.0\nUser-agent: z\nDisallow: /own\n", robots::AGENT.to_uppercase());
    assert_eq!(forbidden(&own), ["/own"]);
    assert_eq!(Rules::parse(&format!("{own}User-agent: x\nCrawl-delay: 5\n")).delay, Duration::ZERO);

    let seconds = Duration::from_secs;
    for (value, delay) in [
        ("0.25", Duration::from_millis(250)),
        ("0", Duration::ZERO),
        ("-1", seconds(1)),
        ("-inf", seconds(1)),
        ("soon", seconds(1)),
        ("", seconds(1)),
        ("inf", seconds(60)),
        ("1e30", seconds(60)),
        ("nan", seconds(60)),
    ] {
        assert_eq!(Rules::parse(&format!("User-agent: *\nCrawl-delay: {value}\n")).delay, delay, "{value}");
    }
}

#[test]
fn million_holds_what_it_is_asked_to() {
    let output = command(example("million")).arg("20000").output().unwrap();
    let text = transcript(&output);
    assert!(text.starts_with("20000 suspended coroutines\n"), "{text}");
    assert!(text.ends_with("each resumed once more: all finished\n"), "{text}");
    let output = command(example("million_tasks")).arg("20000").output().unwrap();
    let text = transcript(&output);
    assert!(text.contains("all joined: every result is there\n"), "{text}");
}

#[test]
fn everything_in_sync_at_once_counts_right() {
    let output = command(example("sync_stress")).args(["--seconds", "1", "--tasks", "600"]).output().unwrap();
    let text = transcript(&output);
    assert!(text.ends_with(" s: every count is right\n"), "{text}");
}

/// Each read is checked by the example itself.
#[cfg(feature = "io")]
#[test]
fn direct_io_prints_each_way() {
    let output =
        command(example("direct_io")).args(["--reads", "500", "--size", "4", "--tasks", "7"]).output().unwrap();
    let text = transcript(&output);
    // A file system in memory has no O_DIRECT.
    if text.contains("use --dir") {
        return;
    }
    for (line, way) in text.lines().zip(["one thread", "7 tasks, a pool of four threads", "7 tasks, cede::fs"]) {
        assert!(line.starts_with(way) && line.ends_with(" us of CPU per read"), "{text}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
}

/// `thread_vs_coroutine` prints the cost of a thread switch and of a task switch, and their ratio.
#[test]
fn thread_vs_coroutine_prints_both_costs_and_their_ratio() {
    let output = command(example("thread_vs_coroutine")).arg("500").output().unwrap();
    let text = transcript(&output);
    let lines: Vec<&str> = text.lines().collect();
    let figure = |line: &str, before: &str, after: &str| -> f64 {
        let figure = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("{line:?} in {text}"))
    };
    let threads = figure(lines[0], "from one thread to another: ", " ns");
    let tasks = figure(lines[1], "from one coroutine to another: ", " ns");
    let times = figure(lines[2], "In the time of one switch of threads, coroutines switch ", " times.");
    assert!((threads / tasks / times - 1.0).abs() < 0.5, "{text}");
}
