//! The rules of a robots.txt (RFC 9309): the pages that a site forbids, and the delay between requests. `Allow` and wildcards are
//! not supported.

use std::time::Duration;

/// The name of this crawler, which its requests send.
pub(crate) const AGENT: &str = "cede-crawler";
/// The longest delay that the crawler obeys.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// The delay for a value that is no number of seconds.
const DELAY_DEFAULT: Duration = Duration::from_secs(1);

/// The rules for this crawler.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    /// The begins of the paths that must not be fetched.
    pub(crate) forbidden: Vec<String>,
    /// The time between the begins of two requests.
    pub(crate) delay: Duration,
}

impl Rules {
    /// Parses a robots.txt. The groups with the name of this crawler count, or those for `*` if no group has the name.
    pub(crate) fn parse(text: &str) -> Rules {
        let (mut own, mut general) = (None, Rules::default());
        // The groups to which the next rule belongs, and whether the next `User-agent` begins a group.
        let (mut is_own, mut is_general, mut is_complete) = (false, false, true);
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((field, value)) = line.split_once(':') else { continue };
            let (field, value) = (field.trim().to_ascii_lowercase(), value.trim());
            if field == "user-agent" {
                if is_complete {
                    (is_own, is_general, is_complete) = (false, false, false);
                }
                is_general |= value == "*";
                let name = value.split('/').next().unwrap_or_default(); // a version may follow
                if name.trim().eq_ignore_ascii_case(AGENT) {
                    is_own = true;
                    own.get_or_insert_with(Rules::default);
                }
                continue;
            }
            if !["disallow", "allow", "crawl-delay"].contains(&&*field) {
                continue; // `Sitemap` and other fields belong to no group
            }
            is_complete = true;
            let groups = [own.as_mut().filter(|_| is_own), Some(&mut general).filter(|_| is_general)];
            for rules in groups.into_iter().flatten() {
                match &*field {
                    // An empty value forbids nothing.
                    "disallow" if !value.is_empty() => rules.forbidden.push(value.to_string()),
                    "crawl-delay" => rules.delay = delay(value),
                    _ => {}
                }
            }
        }
        own.unwrap_or(general)
    }

    /// Returns whether the site forbids to fetch a path.
    pub(crate) fn forbid(&self, path: &str) -> bool {
        self.forbidden.iter().any(|begin| path.starts_with(begin))
    }
}

/// Parses a delay in seconds.
fn delay(value: &str) -> Duration {
    let seconds = value.parse().ok().map(|seconds: f64| seconds.min(DELAY_MAX.as_secs_f64()));
    // A negative number is refused.
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(DELAY_DEFAULT)
}
