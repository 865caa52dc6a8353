//! `dgrep` as processes, over a real redis-server. In each test the output is compared with that of GNU grep.

mod ends;
mod failures;
mod inputs;
mod run;
mod server;
