//! A crawler of three web sites, which it serves itself: limits for all requests and for each host, a delay between requests
//! to a host, robots.txt, a timeout for each request, and retries with an exponential back-off.
//!
//! cargo run --example crawler

#[cfg(target_os = "linux")]
mod fetch;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod robots;
#[cfg(target_os = "linux")]
mod site;

#[cfg(target_os = "linux")]
fn main() {
    // The sockets are real. The paused clock makes all delays instant, and their order the same in every run.
    cede::Config::new().paused_clock(true).run(crawler::run).expect("no deadlock").expect("the sockets work");
}

#[cfg(target_os = "linux")]
mod crawler {
    use crate::fetch::Page;
    use crate::host::{Host, Outcome, Total};
    use crate::site;
    use cede::sync::channel;
    use cede::task::Scope;
    use cede::time::now;
    use std::collections::{BTreeMap, HashSet};

    /// The largest number of requests at the same time.
    const REQUESTS: usize = 3;

    /// Serves the sites, and crawls them from one page on.
    pub(crate) fn run() -> std::io::Result<()> {
        let sites = site::bind()?;
        let total = &Total::new(REQUESTS);
        let hosts = &sites.iter().map(|site| (site.name, Host::new(site.name, site.address, total))).collect();
        cede::scope(|servers| {
            for site in sites {
                servers.spawn(move || site.serve());
            }
            cede::scope(|s| crawl(s, hosts, "anna/")).expect("no task panics");
            servers.cancel();
        })
        .expect("no task panics");
        println!(
            "at most {} requests at the same time, and {} to one host",
            total.most.get(),
            total.most_of_a_host.get()
        );
        Ok(())
    }

    /// Fetches a page, and each page that it leads to. Each page has a task. The main task receives the results in the order in
    /// which they complete.
    fn crawl<'s>(s: &'s Scope<'s, '_>, hosts: &'s BTreeMap<&'static str, Host<'_>>, first: &str) {
        let begin = now();
        let (sender, results) = channel::unbounded();
        let (mut known, mut pending, mut fetched) = (HashSet::new(), 0, 0);
        let mut add = |url: &str| {
            let is_new = known.insert(url.to_string());
            let (name, path) = url.split_once('/').unwrap_or((url, ""));
            let (Some(host), true) = (hosts.get(name), is_new) else { return 0 };
            let (url, path, sender) = (url.to_string(), format!("/{path}"), sender.clone());
            s.spawn(move || {
                let outcome = host.visit(&path, |note| println!("{:>8}  {url}: {note}", millis(begin)));
                let _ = sender.send((url, outcome));
            });
            1
        };
        pending += add(first);
        while pending > 0 {
            let (url, outcome) = results.recv().expect("`add` has a sender");
            pending -= 1;
            let text = match outcome {
                Outcome::Fetched(Page { status, links, bytes }) => {
                    fetched += 1;
                    pending += links.iter().map(|link| add(link)).sum::<usize>();
                    format!("{status}, {bytes} bytes, {} links", links.len())
                }
                Outcome::Forbidden => "robots.txt forbids it".to_string(),
                Outcome::Failed(error) => format!("given up: {error}"),
            };
            println!("{:>8}  {url}: {text}", millis(begin));
        }
        println!("{fetched} pages after {}", millis(begin));
    }

    fn millis(begin: std::time::Instant) -> String {
        format!("{} ms", (now() - begin).as_millis())
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {} // the sites need loopback addresses of their own
