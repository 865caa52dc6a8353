//! Helpers of the tests of waits for the kernel: the drivers of this machine, and calls that wait.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod drivers;
pub(crate) mod pending;

/// Whether the tests run slowly: under a sanitizer, an emulator, or without optimization.
pub(crate) const SLOW: bool = cfg!(feature = "asan") || cfg!(target_arch = "aarch64") || cfg!(debug_assertions);
