//! Benchmarks of cede and its rivals, interleaved in one run.
//!
//! cargo run --release -p peers -- [switch|yield|spawn|memory|channel|bridge|echo|http|all] [--json FILE] [--svg FILE] [--quick]
//! cargo run --release -p peers -- record        # measures all, into docs/benchmarks/
//! cargo run --release -p peers -- page          # only rewrites docs/benchmarks/ from its JSON
//!
//! `docs/benchmarks/README.md` describes the method.

mod area;
mod chart;
mod child;
mod earlier;
mod echo;
mod foreign;
mod http;
mod machine;
mod page;
mod promise;
mod record;
mod rivals;
mod run;
mod serve;
mod stats;
mod table;

use area::Area;
use echo::load::Load;
use lexopt::prelude::*;
use record::Record;
use run::{Run, Scale};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: peers [switch|yield|spawn|memory|channel|bridge|echo|http|all] [--json FILE] [--svg FILE] [--quick|--smoke]
       peers record    all areas, and docs/benchmarks/ from them
       peers page      docs/benchmarks/ anew, from its JSON

--json FILE   a line about the machine and one for each case
--svg FILE    a picture: FILE if it ends in .svg and there is one area, FILE with the area in its name if there are more,
              and a directory of one picture for each area if it does not end in .svg
--quick       fewer tasks and rounds: about a minute
--smoke       next to nothing, rivals in Rust only: whether it works";

/// A parsed command line.
#[derive(Debug, PartialEq)]
enum Order {
    Measure { areas: Vec<Area>, scale: Scale, json: Option<PathBuf>, svg: Option<PathBuf>, page: Option<PathBuf> },
    Page,
    Child { rival: String, area: Area, n: u64 },
    Load(Load),
    Turns(u64),
    Help,
}

/// Returns the path of a file of the last run.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks").join(name)
}

fn file(parser: &mut lexopt::Parser) -> Result<PathBuf, String> {
    parser.value().map(PathBuf::from).map_err(|error| error.to_string())
}

fn order(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Order, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut words, mut scale, mut json, mut svg) = (Vec::new(), Scale::Full, None, None);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Long("json") => json = Some(file(&mut parser)?),
            Long("svg") => svg = Some(file(&mut parser)?),
            Long("quick") => scale = Scale::Quick,
            Long("smoke") => scale = Scale::Smoke,
            Long("help") | Short('h') => return Ok(Order::Help),
            Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["page"] => Ok(Order::Page),
        ["child", rival, area, n] => {
            let n = n.parse().map_err(|_| format!("{n:?} is no number"))?;
            Ok(Order::Child { rival: rival.into(), area: area.parse()?, n })
        }
        ["load", kind, port, connections, size] => Ok(Order::Load(Load::parse([kind, port, connections, size])?)),
        ["turns", n] => Ok(Order::Turns(n.parse().map_err(|_| format!("{n:?} is no number"))?)),
        ["record"] if json.is_some() || svg.is_some() => Err("record writes into docs/benchmarks only".into()),
        ["record"] => {
            let (json, svg, page) = (Some(kept("last.json")), Some(kept("")), Some(kept("README.md")));
            Ok(Order::Measure { areas: Area::ALL.into(), scale, json, svg, page })
        }
        _ => {
            let all = words.is_empty() || words.contains(&"all");
            let areas = words.iter().filter(|word| **word != "all").map(|word| word.parse::<Area>());
            let mut areas = areas.collect::<Result<Vec<_>, _>>()?;
            if all {
                areas = Area::ALL.into();
            }
            Ok(Order::Measure { areas, scale, json, svg, page: None })
        }
    }
}

fn print(record: &Record) {
    let machine = &record.machine;
    println!("{}, {} cores, Linux {}, load {}\n", machine.cpu, machine.cores, machine.kernel, machine.load);
    for area in record.areas() {
        for (n, body) in record.groups(area) {
            let lines: Vec<_> = record.group(area, n, body).collect();
            println!("{}", table::table(area, n, body, &lines));
        }
    }
    for verdict in promise::verdicts(record) {
        let met = verdict.met.map_or("      ", |met| if met { "met   " } else { "MISSED" });
        println!("{met} {} ({})", verdict.promise, verdict.measured);
    }
}

fn keep(record: &Record, json: Option<&Path>, svg: Option<&Path>, page: Option<&Path>) -> Result<(), String> {
    if let Some(json) = json {
        if let Some(directory) = json.parent() {
            std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        std::fs::write(json, record.to_json_lines()).map_err(|error| format!("{}: {error}", json.display()))?;
    }
    if let Some(svg) = svg {
        chart::draw(record, svg)?;
    }
    page.map_or(Ok(()), |page| page::rewrite(page, record))
}

fn obey(order: Order) -> Result<(), String> {
    match order {
        Order::Help => println!("{USAGE}"),
        Order::Child { rival, area, n } => {
            if let Err(why) = rivals::run(&rival, area, n) {
                serve::say(&format!("error {why}"));
            }
        }
        Order::Load(load) => echo::load::run(&load),
        Order::Turns(n) => echo::turns::serve(n),
        Order::Page => {
            let record = Record::read(&kept("last.json"))?;
            keep(&record, None, Some(&kept("")), Some(&kept("README.md")))?;
        }
        Order::Measure { mut areas, scale, json, svg, page } => {
            let start = Instant::now();
            let words: Vec<String> = std::env::args().skip(1).collect();
            let mut run = Run::new(scale);
            // `Memory` comes last: it takes longest and does not need a quiet machine.
            areas.sort_by_key(|area| *area == Area::Memory);
            areas.into_iter().for_each(|area| run.area(area));
            let record = run.finish(format!("cargo run --release -p peers -- {}", words.join(" ")));
            print(&record);
            eprintln!("{} s in all", start.elapsed().as_secs());
            keep(&record, json.as_deref(), svg.as_deref(), page.as_deref())?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match order(std::env::args_os().skip(1)).and_then(obey) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(line: &str) -> Result<Order, String> {
        order(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn without_a_word_everything_is_measured() {
        let everything = ordered("all").unwrap();
        assert_eq!(ordered("").unwrap(), everything);
        assert!(
            matches!(everything, Order::Measure { areas, scale: Scale::Full, json: None, .. } if areas == Area::ALL)
        );
    }

    #[test]
    fn options_may_stand_anywhere() {
        let Ok(Order::Measure { areas, scale, json, svg, .. }) =
            ordered("--quick yield --json a.json switch --svg b.svg")
        else {
            panic!("it is an order to measure");
        };
        assert_eq!((areas, scale), (vec![Area::Yield, Area::Switch], Scale::Quick));
        assert_eq!((json, svg), (Some("a.json".into()), Some("b.svg".into())));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert!(ordered("yeild").unwrap_err().contains("\"yeild\""));
        assert!(ordered("--slow").unwrap_err().contains("--slow"));
        assert!(ordered("child may yield two").unwrap_err().contains("\"two\""));
        assert!(ordered("record --json a.json").unwrap_err().contains("docs/benchmarks"));
    }
}
