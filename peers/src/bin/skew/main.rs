//! The latency of a server on several cores under a skewed load: some connections send far more than others, and some requests take far
//! longer than others. cede and tokio, interleaved in one run.
//!
//! cargo run --release -p peers --bin skew -- [--rate N] [--rounds N] [--seconds S] [--outstanding N] [SERVER...]
//!
//! Each server is a process of its own; this process sends. Of 64 connections, number k sends with the rate 1/k^0.8 (Zipf), in an order
//! that differs in each round. A request takes 20 us of computation on average, by Pareto's distribution with the exponent 1.5, up to 2 ms.
//! Requests are sent at random times with `--rate` per second, whatever the answers do, and a latency counts from the time at which the
//! request was due. With `--outstanding N` each answer is followed by the next request instead, so that N are under way: the rate is then
//! the throughput.
//!
//! `SERVER@N` has N workers; without `@N` there are two. A star means that the connection's task spawns the handling of each request.

mod load;
mod servers;

use load::{Load, Outcome};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const USAGE: &str = "usage: skew [--rate N] [--rounds N] [--seconds S] [--outstanding N] [SERVER[@WORKERS]...]
servers: tokio, tokio*, serve_anywhere, serve_anywhere*, reuse_port, reuse_port*, one_worker";

/// The servers without a choice.
const SERVERS: [&str; 6] =
    ["tokio", "tokio*", "serve_anywhere", "serve_anywhere*", "serve_anywhere*@3", "reuse_port*@3"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, server] = &args[..]
        && command == "server"
    {
        return servers::run(server);
    }
    let (mut load, mut rounds, mut servers) = (Load::default(), 5, Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<f64>().ok()).expect(USAGE);
        match &*arg {
            "--rate" => load.rate = number(),
            "--rounds" => rounds = number() as u64,
            "--seconds" => load.seconds = number(),
            "--outstanding" => load.outstanding = number() as usize,
            _ if arg.starts_with("--") => panic!("{USAGE}"),
            _ => servers.push(arg),
        }
    }
    if servers.is_empty() {
        servers = SERVERS.map(str::to_owned).into();
    }
    let mut outcomes: Vec<Vec<Outcome>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        load.seed = 0x9E37_79B9_7F4A_7C15 ^ (round * 7919);
        for n in 0..servers.len() {
            let n = (n + round as usize) % servers.len();
            let (mut server, address) = start(&servers[n]);
            outcomes[n].push(load.send(address));
            server.kill().expect("the server runs");
            server.wait().expect("the server has ended");
        }
    }
    print(&servers, &outcomes);
}

/// Starts a server, which prints its address.
fn start(name: &str) -> (Child, std::net::SocketAddr) {
    let this = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(this).args(["server", name]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    (child, line.trim().parse().expect("an address"))
}

/// Prints the minima and medians of the rounds, and the ratios to the first server in the same round.
fn print(servers: &[String], outcomes: &[Vec<Outcome>]) {
    println!(
        "latency in us: minimum and median of the rounds; p99 beside the first server's of the same round: median of the ratios"
    );
    println!("{:20} {:>14} {:>14} {:>14} {:>14} {:>6} {:>10}", "", "p50", "p90", "p99", "p99.9", "p99 x", "answers/s");
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    for (server, rounds) in servers.iter().zip(outcomes) {
        print!("{server:20}");
        for n in 0..4 {
            let values = sorted(rounds.iter().map(|outcome| outcome.quantiles[n]).collect());
            print!(" {:>14}", format!("{:.0} {:.0}", values[0], values[values.len() / 2]));
        }
        let ratios = rounds.iter().zip(&outcomes[0]).map(|(own, first)| own.quantiles[2] / first.quantiles[2]);
        let (ratios, rates) = (sorted(ratios.collect()), sorted(rounds.iter().map(|outcome| outcome.rate).collect()));
        println!(" {:>6.2} {:>10.0}", ratios[ratios.len() / 2], rates[rates.len() / 2]);
    }
}
