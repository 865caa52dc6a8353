//! Several cores.
#![forbid(unsafe_code)]
