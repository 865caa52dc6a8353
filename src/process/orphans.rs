//! The children that were dropped before they ended: their exit statuses are collected later, so that they do not remain zombies.
#![forbid(unsafe_code)]

use crate::sys::fork::PerProcess;
use std::collections::VecDeque;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

/// The number of children that one call looks at. Each call adds at most one child, so the list does not keep ended ones.
const LOOKS: usize = 64;

/// The dropped children, of which the next one to look at is the first. The parent's are none of a child process.
static ORPHANS: PerProcess<Mutex<VecDeque<Child>>> = PerProcess::new(|| Mutex::new(VecDeque::new()));

/// Adds a child that was dropped, and collects the statuses of children that have ended.
pub(super) fn add(child: Child) {
    ORPHANS.get().lock().unwrap_or_else(PoisonError::into_inner).push_back(child);
    collect();
}

/// Collects the statuses of up to 64 dropped children that have ended.
pub(super) fn collect() {
    let mut orphans = ORPHANS.get().lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..LOOKS.min(orphans.len()) {
        let Some(mut child) = orphans.pop_front() else { return };
        // An error: the status was collected elsewhere in the program.
        if matches!(child.try_wait(), Ok(None)) {
            orphans.push_back(child);
        }
    }
}
