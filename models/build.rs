//! Generates modules from the library's own source files, with the threads, locks and atomics of loom in place of those of the
//! standard library: one module without a fault, and one for each planted fault that the models must detect.
//!
//! The build fails if a replacement does not find its text, so a model never runs on code that differs from what it claims.

use std::fmt::Write as _;
use std::path::Path;

/// A file of the library, with the replacements that loom needs: pairs of old and new text.
struct File {
    name: &'static str,
    for_loom: &'static [(&'static str, &'static str)],
}

const REMOTE: File = File {
    name: "scheduler/remote.rs",
    for_loom: &[
        ("use std::sync::atomic::", "use loom::sync::atomic::"),
        (
            "use std::sync::{Condvar, Mutex, MutexGuard,",
            "use loom::sync::{Condvar, Mutex, MutexGuard};use std::sync::{",
        ),
        ("use std::thread::yield_now", "use loom::thread::yield_now"),
        // The models sleep in a poller, too.
        ("#[cfg(feature = \"io\")]", ""),
        // Statics outlive an execution of a model, which loom's objects must not do.
        ("static UNUSED: Mutex<", "static UNUSED: ::std::sync::Mutex<"),
        ("= Mutex::new(Vec::new())", "= ::std::sync::Mutex::new(Vec::new())"),
        (".push(self.queue)", ".len()"),
        (
            "static NEXT_RUN: AtomicU64 = AtomicU64::new(1)",
            "static NEXT_RUN: ::std::sync::atomic::AtomicU64 = ::std::sync::atomic::AtomicU64::new(1)",
        ),
        ("NEXT_RUN.fetch_add(1, Ordering::Relaxed)", "NEXT_RUN.fetch_add(1, ::std::sync::atomic::Ordering::Relaxed)"),
    ],
};

const REMOTE_WAKE: File = File { name: "scheduler/remote_wake.rs", for_loom: &[] };
const JOB: File = File { name: "scheduler/job.rs", for_loom: &[] };
const RNG: File = File { name: "scheduler/rng.rs", for_loom: &[("#[cfg(test)]", "#[cfg(any())]")] };

const CREW: File =
    File { name: "scheduler/crew/mod.rs", for_loom: &[("mod member;\nmod shared;\nmod sleepers;\nmod stall;\n", "")] };

const CREW_SHARED: File = File {
    name: "scheduler/crew/shared.rs",
    for_loom: &[
        ("use crossbeam_deque::", "use crate::deque::"),
        ("use std::sync::atomic::Ordering", "use loom::sync::atomic::Ordering"),
        ("use std::sync::atomic::{AtomicBool", "use loom::sync::atomic::{AtomicBool"),
        ("use std::thread::yield_now", "use loom::thread::yield_now"),
    ],
};

const CREW_SLEEPERS: File = File {
    name: "scheduler/crew/sleepers.rs",
    for_loom: &[("use std::sync::atomic::", "use loom::sync::atomic::"), ("#[cfg(test)]", "#[cfg(any())]")],
};

const CREW_MEMBER: File = File {
    name: "scheduler/crew/member.rs",
    for_loom: &[
        ("use crossbeam_deque::", "use crate::deque::"),
        ("use std::sync::atomic::Ordering", "use loom::sync::atomic::Ordering"),
        ("use std::sync::atomic::fence", "use loom::sync::atomic::fence"),
    ],
};

const CREW_STALL: File = File {
    name: "scheduler/crew/stall.rs",
    for_loom: &[("use std::sync::atomic::", "use loom::sync::atomic::"), ("#[cfg(test)]", "#[cfg(any())]")],
};

const LOCK: File = File {
    name: "wait/lock.rs",
    for_loom: &[
        ("use std::sync::atomic::", "use loom::sync::atomic::"),
        ("use std::sync::{Mutex, MutexGuard,", "use loom::sync::{Mutex, MutexGuard};use std::sync::{"),
        ("use std::thread::{sleep, yield_now};", "use loom::thread::yield_now; fn sleep(_: Duration) { yield_now() }"),
        ("const fn new", "fn new"),
        ("const fn with_marks", "fn with_marks"),
        // A pause is no step of another thread, so the looks between them would only be tried again.
        ("&[8, 16, 32, 64, 128]", "&[]"),
        // The library's unit tests do not run under loom.
        ("#[cfg(test)]", "#[cfg(any())]"),
    ],
};

const MUTEX: File = File { name: "sync/mutex.rs", for_loom: &[("const fn new", "fn new")] };

const RAW_MUTEX: File = File {
    name: "sync/raw_mutex.rs",
    for_loom: &[
        ("const fn new", "fn new"),
        // A spin only adds interleavings of the inner lock.
        ("const SPINS: [u32; 5] = [4, 8, 16, 32, 64];", "const SPINS: [u32; 0] = [];"),
        ("fn time() -> u32 {", "fn time() -> u32 { return crate::time::micros();"),
    ],
};

const WAIT_ERROR: File = File { name: "sync/error.rs", for_loom: &[] };

const WAIT_QUEUE: File = File { name: "wait/queue.rs", for_loom: &[] };
const GRANT: File = File { name: "wait/grant.rs", for_loom: &[] };
const WAITER: File = File { name: "wait/waiter.rs", for_loom: &[] };
const SELECT_STATE: File =
    File { name: "wait/select_state.rs", for_loom: &[("use std::sync::atomic::", "use loom::sync::atomic::")] };

const PROMISE: File = File {
    name: "sync/promise.rs",
    for_loom: &[
        ("use std::sync::{Arc, OnceLock};", "use std::sync::Arc; use crate::once::OnceLock;"),
        // Callbacks need a run, which the models do not have.
        ("impl<T: 'static> Completion<T> {", "#[cfg(any())] impl<T: 'static> Completion<T> {"),
    ],
};

const SIGNAL: File = File {
    name: "task/anywhere/signal.rs",
    for_loom: &[
        ("use std::cell::Cell;", "use loom::cell::Cell;"),
        ("use std::sync::atomic::", "use loom::sync::atomic::"),
        ("pub(super) fn new", "pub fn overwrite(&self) { self.waiter.set(None) } pub(super) fn new"),
        ("pub(super)", "pub"),
    ],
};

const COUNT: File = File {
    name: "task/anywhere/count.rs",
    for_loom: &[("use std::sync::atomic::", "use loom::sync::atomic::"), ("pub(super)", "pub")],
};

const SLOT: File = File {
    name: "task/anywhere/slot.rs",
    for_loom: &[
        ("use std::cell::UnsafeCell;", "use crate::once::Tracked as UnsafeCell;"),
        ("use std::sync::atomic::", "use loom::sync::atomic::"),
        ("use std::sync::{Mutex, MutexGuard,", "use loom::sync::{Mutex, MutexGuard};use std::sync::{"),
        ("pub(super)", "pub"),
    ],
};

const CHANNEL: File = File { name: "sync/channel/core.rs", for_loom: &[] };
const ERROR: File = File { name: "sync/channel/error.rs", for_loom: &[] };

/// A planted fault: the text `what` replaces `instead_of` in `file`.
struct Fault {
    name: &'static str,
    file: &'static str,
    instead_of: &'static str,
    what: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "sleeps_without_looking",
        file: REMOTE.name,
        instead_of: "while pending.is_empty()",
        what: "let mut looked = false;\nwhile !std::mem::replace(&mut looked, true) || pending.is_empty()",
    },
    Fault { name: "sleeps_without_saying_so", file: REMOTE.name, instead_of: "pending.sleeping = true;", what: "" },
    Fault {
        name: "sleeps_in_the_poller_without_looking",
        file: REMOTE.name,
        instead_of: "let may_sleep = pending.is_empty();",
        what: "let may_sleep = true;",
    },
    Fault {
        name: "sleeps_in_a_fiber_without_looking",
        file: REMOTE.name,
        instead_of: "if pending.is_empty() {\n            return Some(pending.waker.replace(new));",
        what: "if true {\n            return Some(pending.waker.replace(new));",
    },
    Fault {
        name: "closes_a_bell_that_is_rung",
        file: REMOTE.name,
        instead_of: "while self.ringing.load(Ordering::Acquire) > 0 {",
        what: "while false {",
    },
    Fault {
        name: "clears_a_cell_by_a_store",
        file: REMOTE.name,
        instead_of: "cell.posted.swap(false, Ordering::AcqRel);",
        what: "cell.posted.store(false, Ordering::Release);",
    },
    Fault {
        name: "never_clears_a_cell",
        file: REMOTE.name,
        instead_of: "cell.posted.swap(false, Ordering::AcqRel);",
        what: "",
    },
    Fault {
        name: "announces_a_wait_by_a_store",
        file: SIGNAL.name,
        instead_of: "self.state.compare_exchange(EMPTY, AWAITED, AcqRel, Acquire).is_ok()",
        what: "{ self.state.store(AWAITED, Release); true }",
    },
    Fault {
        name: "reads_the_waiter_after_the_end",
        file: SIGNAL.name,
        instead_of: "let waiter = waiter.get();\n            state.store(DONE, Release);",
        what: "state.store(DONE, Release);\nlet waiter = waiter.get();",
    },
    Fault {
        name: "ends_without_release",
        file: SIGNAL.name,
        instead_of: "state.compare_exchange(EMPTY, DONE, Release, Acquire)",
        what: "state.compare_exchange(EMPTY, DONE, ::std::sync::atomic::Ordering::Relaxed, Acquire)",
    },
    Fault {
        name: "counts_before_the_end",
        file: COUNT.name,
        instead_of: "        end();\n        if self.left.fetch_sub(1, AcqRel) == 1 {",
        what: "        let is_last = self.left.fetch_sub(1, AcqRel) == 1;\n        end();\n        if is_last {",
    },
    Fault {
        name: "counts_without_order",
        file: COUNT.name,
        instead_of: "if self.left.fetch_sub(1, AcqRel) == 1 {",
        what: "if self.left.fetch_sub(1, Relaxed) == 1 {",
    },
    Fault {
        name: "done_before_the_value",
        file: SLOT.name,
        instead_of: "unsafe { *self.value.get() = Some(value) };\n        let before = self.state.fetch_or(DONE, AcqRel);",
        what: "let before = self.state.fetch_or(DONE, AcqRel);\n// SAFETY: none, which is the fault.\nunsafe { *self.value.get() = Some(value) };",
    },
    Fault {
        name: "looks_for_the_waiter_first",
        file: SLOT.name,
        instead_of: "let before = self.state.fetch_or(DONE, AcqRel);",
        what: "let before = self.state.load(Acquire); self.state.fetch_or(DONE, AcqRel);",
    },
    Fault {
        name: "awaits_before_the_waiter",
        file: SLOT.name,
        instead_of: "let former = self.waiter().replace(waiter);\n        let may_wait = self.state.fetch_or(AWAITED, AcqRel) & DONE == 0;",
        what: "let may_wait = self.state.fetch_or(AWAITED, AcqRel) & DONE == 0;\nlet former = self.waiter().replace(waiter);",
    },
    Fault {
        name: "cancels_what_has_started",
        file: SLOT.name,
        instead_of: "_ => self.state.fetch_or(CANCELLED, AcqRel),",
        what: "state => { self.state.fetch_or(CANCELLED, AcqRel); state }",
    },
    Fault {
        name: "enlists_too_late",
        file: CHANNEL.name,
        instead_of: "Err(TryRecvError::Empty) => Received::Queued(state.receiving.enqueue_in(None, worker)),",
        what: "Err(TryRecvError::Empty) => {\ndrop(state);\nlet mut state = self.state.lock_for(worker);\nReceived::Queued(state.receiving.enqueue_in(None, worker))\n}",
    },
    Fault {
        name: "a_cancel_drops_what_was_handed",
        file: WAIT_QUEUE.name,
        instead_of: "Status::Granted => Ended::Granted,",
        what: "Status::Granted if !is_cancelled => Ended::Granted,",
    },
    Fault { name: "the_next_is_not_woken", file: RAW_MUTEX.name, instead_of: "let _ = waker.wake();", what: "" },
    Fault {
        name: "handed_over_and_free",
        file: RAW_MUTEX.name,
        instead_of: "self.holder.set(waker);",
        what: "state.lock = Lock::Free;",
    },
    Fault {
        name: "an_offer_is_not_passed_on",
        file: RAW_MUTEX.name,
        instead_of: "if state.lock == Lock::Offered { state.release_unrecorded() } else { None }",
        what: "None",
    },
    Fault {
        name: "woken_once_only",
        file: RAW_MUTEX.name,
        instead_of: "self.0.get() & !Waiter::WOKEN",
        what: "self.0.get()",
    },
    Fault {
        name: "taken_without_an_offer",
        file: RAW_MUTEX.name,
        instead_of: "if !record.looks() || state.lock != Lock::Offered {",
        what: "if !record.looks() {",
    },
    Fault {
        name: "two_may_claim",
        file: SELECT_STATE.name,
        instead_of: "self.0.compare_exchange(0, index, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        what: "{ self.0.store(index, Ordering::Relaxed); true }",
    },
    Fault {
        name: "looks_before_the_lock",
        file: PROMISE.name,
        instead_of: "let mut state = self.state.lock_for(worker);\n        if self.outcome.get().is_none() {",
        what: "let is_set = self.outcome.get().is_some();\nlet mut state = self.state.lock_for(worker);\nif !is_set {",
    },
    Fault { name: "no_light_fence", file: LOCK.name, instead_of: "membarrier::asymmetric_light();", what: "" },
    Fault { name: "no_heavy_fence", file: LOCK.name, instead_of: "!membarrier::asymmetric_heavy()", what: "false" },
    Fault {
        name: "pushes_without_a_fence",
        file: CREW_SHARED.name,
        instead_of: "fn wake_for_work(&self) {\n        fence(SeqCst);",
        what: "fn wake_for_work(&self) {",
    },
    Fault {
        name: "sleeps_without_a_fence",
        file: CREW_MEMBER.name,
        instead_of: "self.crew.sleepers.insert(self.number);\n        fence(SeqCst);",
        what: "self.crew.sleepers.insert(self.number);",
    },
    Fault {
        name: "sleeps_without_a_second_look",
        file: CREW_MEMBER.name,
        instead_of: "let may_sleep = !self.crew.has_work();",
        what: "let may_sleep = true;",
    },
    Fault {
        name: "gives_a_search_back_without_a_look",
        file: CREW_SHARED.name,
        instead_of: "if self.sleepers.is_empty() || !self.has_work() {",
        what: "if true {",
    },
    Fault {
        name: "stops_searching_without_a_look",
        file: CREW_MEMBER.name,
        instead_of: "if self.crew.has_work() {\n                self.crew.wake_for_work();",
        what: "if false {\n                self.crew.wake_for_work();",
    },
    Fault {
        name: "closes_without_waiting",
        file: CREW_SHARED.name,
        instead_of: "while self.gate.load(SeqCst) != CLOSED {",
        what: "while false {",
    },
    Fault {
        name: "reads_stalls_once",
        file: CREW_STALL.name,
        instead_of: "!has_entries && seat.stall.load(SeqCst) == *before",
        what: "!has_entries",
    },
    Fault {
        name: "ignores_wakes_on_their_way",
        file: CREW_STALL.name,
        instead_of: "!has_entries && seat.stall.load(SeqCst) == *before",
        what: "seat.stall.load(SeqCst) == *before",
    },
    Fault {
        name: "the_owner_is_not_waited_for",
        file: LOCK.name,
        instead_of: "if owner != INSIDE {",
        what: "if true {",
    },
    Fault {
        name: "a_mark_stays",
        file: LOCK.name,
        instead_of: "(self.unmark)(unsafe { &mut *self.value.get() }, mark);",
        what: "let _ = mark;",
    },
    Fault {
        name: "a_mark_is_lost",
        file: LOCK.name,
        instead_of: "self.owner.store(mark.0, Ordering::Release);",
        what: "self.owner.store(NOT_OWNED, Ordering::Release);",
    },
    Fault {
        name: "a_mark_is_removed_without_a_look",
        file: LOCK.name,
        instead_of: "self.enter_marked(run, mark).then",
        what: "true.then",
    },
];

fn text(file: &File, module: &str, fault: Option<&Fault>) -> String {
    let path = Path::new("../src").join(file.name);
    println!("cargo::rerun-if-changed={}", path.display());
    let source = std::fs::read_to_string(&path).expect("a file of the library");
    // Inner docs and attributes are allowed only at the head of a file.
    let mut text: String = source.lines().filter(|line| !line.starts_with("//!") && !line.starts_with("#![")).fold(
        String::new(),
        |mut text, line| {
            text += line;
            text.push('\n');
            text
        },
    );
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "{} no longer contains {from:?}", file.name);
        text = text.replace(from, to);
    };
    file.for_loom.iter().for_each(|(from, to)| replace(from, to));
    if let Some(fault) = fault.filter(|fault| fault.file == file.name) {
        replace(fault.instead_of, fault.what);
    }
    text.replace("crate::", &format!("crate::{module}::"))
}

fn module(name: &str, fault: Option<&Fault>) -> String {
    let part = |file: &File| text(file, name, fault);
    let around = |path: &str| {
        println!("cargo::rerun-if-changed={path}");
        std::fs::read_to_string(path).expect("a file of this crate").replace("crate::", &format!("crate::{name}::"))
    };
    format!(
        "pub mod {name} {{
            pub mod scheduler {{
                pub mod remote {{ {} }}
                pub mod remote_wake {{ {} }}
                pub mod job {{ {} }}
                pub mod rng {{ {} }}
                pub mod crew {{
                    pub mod shared {{ {} }}
                    pub mod sleepers {{ {} }}
                    pub mod member {{ {} }}
                    pub mod stall {{ {} }}
                    {}
                }}
                {}
            }}
            pub mod wait {{
                pub mod lock {{ {} }}
                pub mod queue {{ {} }}
                pub mod grant {{ {} }}
                pub mod waiter {{ {} }}
                pub mod select_state {{ {} }}
                {}
            }}
            pub mod sync {{
                pub mod error {{ {} }}
                pub mod raw_mutex {{ {} }}
                pub mod mutex {{ {} }}
                pub mod promise {{ {} }}
                pub mod channel {{
                    pub mod core {{ {} }}
                    pub mod error {{ {} }}
                    {}
                }}
            }}
            pub mod anywhere {{
                pub mod signal {{ {} }}
                pub mod count {{ {} }}
                pub mod slot {{ {} }}
            }}
            pub mod deque {{ {} }}
            {}
        }}\n",
        part(&REMOTE),
        part(&REMOTE_WAKE),
        part(&JOB),
        part(&RNG),
        part(&CREW_SHARED),
        part(&CREW_SLEEPERS),
        part(&CREW_MEMBER),
        part(&CREW_STALL),
        part(&CREW),
        around("src/scheduler.rs"),
        part(&LOCK),
        part(&WAIT_QUEUE),
        part(&GRANT),
        part(&WAITER),
        part(&SELECT_STATE),
        around("src/wait.rs"),
        part(&WAIT_ERROR),
        part(&RAW_MUTEX),
        part(&MUTEX),
        part(&PROMISE),
        part(&CHANNEL),
        part(&ERROR),
        around("src/channel.rs"),
        part(&SIGNAL),
        part(&COUNT),
        part(&SLOT),
        around("src/deque.rs"),
        around("src/rest.rs"),
    )
}

fn main() {
    let mut all = module("as_it_is", None);
    FAULTS
        .iter()
        .for_each(|fault| write!(all, "{}", module(fault.name, Some(fault))).expect("writing to a String succeeds"));
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("modules.rs"), all).expect("OUT_DIR exists and is writable");
    println!("cargo::rerun-if-changed=build.rs");
}
