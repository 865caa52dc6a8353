//! Stack overflow: it always ends the process with the name of the body that overflowed. Every other fault goes to the handler
//! that was there before.
//!
//! Each case runs in its own process: this file is its own child, and its arguments select the case. The twelve named cases
//! share 1,000 children (48 under an emulator).

mod common;

use cede::{Builder, Coroutine, Suspender};
use common::{command, emulated, transcript};
use std::hint::black_box;
use std::ptr::null_mut;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, case] = &args[..]
        && flag == "--child"
    {
        child(case);
        println!("the child returned");
        return;
    }
    if cfg!(feature = "asan") {
        // ASan's frames are not probed page by page, and ASan reports faults itself.
        return println!("overflows under ASan are ASan's to report");
    }
    let mut failed = 0;
    let mut passed = 0;
    let mut check = |case: &str, expected: &dyn Fn(&str) -> bool| {
        let output = command(std::env::current_exe().unwrap()).args(["--child", case]).output().unwrap();
        let text = transcript(&output);
        if expected(&text) {
            passed += 1;
        } else {
            failed += 1;
            println!("overflow case {case}: unexpected\n{text}");
        }
    };

    let runs = if emulated() { 48 } else { 1000 };
    let threads = ["main", "std", "foreign"];
    let ways = ["recursion", "frame", "drop", "nested"];
    for run in 0..runs {
        let case = format!("{}-{}", threads[run % 3], ways[run / 3 % 4]);
        check(&case, &|text| text.contains(NAMED) && text.contains("--- killed by SIGABRT"));
    }
    for (case, expected) in OTHERS {
        // qemu delivers signals differently, so a frame without room looks different there. Where panics abort, nothing
        // unwinds, so nothing can suspend while it does.
        if !(emulated() && *case == "sigframe" || cfg!(panic = "abort") && *case == "destructor") {
            check(case, &|text| expected.iter().all(|part| text.contains(part)));
        }
    }
    for case in WRONG_POINTERS {
        // Where the stack pointer of a fault is not known, every fault in a guard is reported as an overflow.
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            check(case, &|text| !text.contains("cede: ") && text.contains("--- killed by signal 11"));
        }
    }
    println!("{passed} passed, {failed} failed");
    assert_eq!(failed, 0);
}

const NAMED: &str = "cede: coroutine 'parser-42' overflowed its 64 KiB stack (give it more with Builder::stack_size)\n";

/// Cases with the parts that their transcripts must contain.
const OTHERS: &[(&str, &[&str])] = &[
    ("unnamed", &["cede: an unnamed generator overflowed its 64 KiB stack", "--- killed by SIGABRT"]),
    ("sink", &["cede: sink 'log' overflowed its 32 KiB stack", "--- killed by SIGABRT"]),
    ("reused", &["cede: coroutine 'second' overflowed its 64 KiB stack", "--- killed by SIGABRT"]),
    ("long-name", &["cede: coroutine 'éééé", "' overflowed its 64 KiB stack", "--- killed by SIGABRT"]),
    ("sigframe", &["cede: coroutine 'tiny' has no room for a signal frame: ", "--- killed by SIGABRT"]),
    ("null", &["--- killed by signal 11\n"]),
    ("null-in-coroutine", &["--- killed by signal 11\n"]),
    ("plain", &["has overflowed its stack", "--- killed by SIGABRT"]),
    ("previous-siginfo", &["previous handler: SA_SIGINFO\n"]),
    ("previous-plain", &["previous handler: plain\n"]),
    ("sent", &["--- killed by signal 11\n"]),
    ("destructor", &["cede: coroutine 'rude' suspends while it unwinds", "--- killed by SIGABRT"]),
    ("scoped", &["cede: an unnamed coroutine borrows from its caller and will not end", "--- killed by SIGABRT"]),
];

/// Cases in which a guard page is touched and no stack has overflowed.
const WRONG_POINTERS: &[&str] =
    &["own-guard", "next-guard", "handler-own-guard", "handler-next-guard", "alternate-stack"];

/// Reads page by page from here to a guard page: that of this stack, or that of the stack above.
fn read_to_a_guard(down: bool) {
    let local = black_box(0u8);
    let here = black_box(&raw const local);
    for pages in 0..1 << 10 {
        let page = if down { here.wrapping_sub(pages << 12) } else { here.wrapping_add(pages << 12) };
        // SAFETY: none: the fault is the test.
        unsafe { black_box(page.read_volatile()) };
    }
}

/// An access to a guard page through a wrong pointer, like that of a profiler's unwinder, is a plain fault.
fn wrong_pointer(case: &str) {
    extern "C" fn own(_: libc::c_int) {
        read_to_a_guard(true);
    }
    extern "C" fn next(_: libc::c_int) {
        read_to_a_guard(false);
    }
    static BODY: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    extern "C" fn of_the_body(_: libc::c_int) {
        let body = BODY.load(std::sync::atomic::Ordering::Relaxed) as *const u8;
        (0..1 << 10).for_each(|pages| {
            // SAFETY: none: the fault is the test.
            unsafe { black_box(body.wrapping_sub(pages << 12).read_volatile()) };
        });
    }
    let (handler, flags): (extern "C" fn(libc::c_int), _) = match case {
        "handler-own-guard" => (own, 0),
        "handler-next-guard" => (next, 0),
        _ => (of_the_body, libc::SA_ONSTACK),
    };
    // SAFETY: the handlers are async-signal-safe, and the struct is plain data for which zero is valid.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGUSR1, &action, null_mut());
    }
    let stack = || Builder::new().name("parser-42").stack_size(256 * 1024);
    let _below = stack().coroutine(|_: &Suspender<(), ()>, ()| ()).unwrap();
    let case = case.to_string();
    let mut c = stack()
        .coroutine(move |_: &Suspender<(), ()>, ()| match &case[..] {
            "own-guard" => read_to_a_guard(true),
            "next-guard" => read_to_a_guard(false),
            _ => {
                let local = black_box(0u8);
                BODY.store(black_box(&raw const local) as usize, std::sync::atomic::Ordering::Relaxed);
                // SAFETY: raising a signal that has a handler does not end the process.
                unsafe { libc::raise(libc::SIGUSR1) };
            }
        })
        .unwrap();
    let _above = stack().coroutine(|_: &Suspender<(), ()>, ()| ()).unwrap();
    c.resume(());
}

#[expect(unconditional_recursion, reason = "that is what overflows")]
fn recurse(n: u64) -> u64 {
    black_box(recurse(black_box(n + 1)) + 1)
}

#[inline(never)]
fn big_frame() {
    black_box(&mut [1u8; 256 * 1024]);
}

struct Overflows;

impl Drop for Overflows {
    fn drop(&mut self) {
        recurse(0);
    }
}

fn overflow_by(way: &str) {
    let way = way.to_string();
    let body = move |_: &Suspender<(), ()>, ()| match &way[..] {
        "frame" => big_frame(),
        "drop" => drop(Overflows),
        _ => drop(recurse(0)),
    };
    let mut c = Builder::new().name("parser-42").coroutine(body).unwrap();
    c.resume(());
}

fn child(case: &str) {
    match case.split_once('-').filter(|_| !WRONG_POINTERS.contains(&case)) {
        Some(("main", way)) => way_of(way),
        Some(("std", way)) => {
            let way = way.to_string();
            std::thread::spawn(move || way_of(&way)).join().unwrap();
        }
        Some(("foreign", way)) => foreign_thread(way),
        _ => other(case),
    }
}

fn way_of(way: &str) {
    if way == "nested" {
        let mut outer =
            Builder::new().name("outer").coroutine(|_: &Suspender<(), ()>, ()| overflow_by("recursion")).unwrap();
        outer.resume(());
    } else {
        overflow_by(way);
    }
}

/// Runs on a thread that std did not make, so it has no alternate signal stack.
fn foreign_thread(way: &str) {
    extern "C" fn run(way: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: `way` is the string of the caller, which joins this thread before it drops the string.
        way_of(unsafe { &*way.cast::<String>() });
        null_mut()
    }
    let mut way = way.to_string();
    // SAFETY: the thread is joined before `way` is dropped.
    unsafe {
        let mut thread = std::mem::zeroed();
        assert_eq!(libc::pthread_create(&mut thread, null_mut(), run, (&raw mut way).cast()), 0);
        libc::pthread_join(thread, null_mut());
    }
}

fn other(case: &str) {
    match case {
        "unnamed" => {
            let mut g = cede::Generator::new(|y: &cede::Yielder<u64>| y.yield_(recurse(0)));
            g.next();
        }
        "sink" => {
            let sink = Builder::new().name("log").stack_size(32 * 1024);
            let mut sink = sink.sink(|inbox: &cede::Inbox<u64>| inbox.iter().map(recurse).sum::<u64>()).unwrap();
            sink.send(1).unwrap();
        }
        "reused" => {
            let first = Builder::new().name("first").coroutine(|_: &Suspender<(), ()>, ()| ());
            first.unwrap().resume(());
            let second = Builder::new().name("second").coroutine(|_: &Suspender<(), ()>, ()| recurse(0));
            second.unwrap().resume(());
        }
        "long-name" => {
            let c = Builder::new().name("é".repeat(5000)).coroutine(|_: &Suspender<(), ()>, ()| recurse(0));
            c.unwrap().resume(());
        }
        "sigframe" => signal_without_room(),
        "null" | "null-in-coroutine" => {
            let null = || {
                // SAFETY: none: the fault is the test.
                unsafe { black_box(null_mut::<u32>()).write_volatile(1) }
            };
            // The handler is installed either way.
            let mut c = Coroutine::new(move |_: &Suspender<bool, ()>, inside| {
                if inside {
                    null()
                }
            });
            c.resume(case == "null-in-coroutine");
            null();
        }
        "plain" => {
            Coroutine::new(|_: &Suspender<(), ()>, ()| ()).resume(());
            std::thread::Builder::new().name("plain".into()).spawn(|| recurse(0)).unwrap().join().unwrap();
        }
        "previous-siginfo" | "previous-plain" => previous_handler(case == "previous-siginfo"),
        "sent" => {
            // SAFETY: the default action is installed before any handler of the library.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                Coroutine::new(|_: &Suspender<(), ()>, ()| ()).resume(());
                libc::raise(libc::SIGSEGV);
            }
        }
        "destructor" => suspend_in_a_destructor(),
        "scoped" => cede::scoped(
            |s: &Suspender<(), ()>, ()| loop {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| s.suspend(())));
            },
            |mut c| {
                c.resume(());
            },
        ),
        _ if WRONG_POINTERS.contains(&case) => wrong_pointer(case),
        _ => panic!("no case {case}"),
    }
}

/// Uses nearly all of a small stack, and then raises a signal whose handler runs on it.
fn signal_without_room() {
    extern "C" fn ignore(_: libc::c_int) {}
    #[inline(never)]
    #[expect(unconditional_recursion, reason = "that is what uses the stack up")]
    fn fill(start: usize) {
        let here = black_box(0u8);
        // The first signals still have room. The size of a signal frame depends on the CPU.
        if start - (&raw const here as usize) > 10_000 {
            // SAFETY: raising a signal that has a handler does not end the process.
            unsafe { libc::raise(libc::SIGUSR1) };
        }
        fill(start);
        black_box(here);
    }
    // SAFETY: the handler does nothing. SA_ONSTACK is left out on purpose.
    unsafe { libc::signal(libc::SIGUSR1, ignore as extern "C" fn(libc::c_int) as usize) };
    let tiny = Builder::new().name("tiny").stack_size(cede::stack::min_size());
    let mut c = tiny
        .coroutine(|_: &Suspender<(), ()>, ()| {
            let here = 0u8;
            fill(&raw const here as usize);
        })
        .unwrap();
    c.resume(());
}

fn previous_handler(siginfo: bool) {
    fn say(text: &str) -> ! {
        // SAFETY: write and _exit may be called in a signal handler.
        unsafe {
            libc::write(1, text.as_ptr().cast(), text.len());
            libc::_exit(0)
        }
    }
    extern "C" fn plain(_: libc::c_int) {
        say("previous handler: plain\n")
    }
    extern "C" fn with_info(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid siginfo, which lives through the handler.
        let address = unsafe { (*info).si_addr() } as usize;
        say(if address == 8 { "previous handler: SA_SIGINFO\n" } else { "previous handler: wrong address\n" })
    }
    // SAFETY: both handlers only write and exit. The write through a wild pointer is the test.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if siginfo {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = with_info;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
        } else {
            action.sa_sigaction = plain as extern "C" fn(libc::c_int) as usize;
        }
        libc::sigaction(libc::SIGSEGV, &action, null_mut());
        Coroutine::new(|_: &Suspender<(), ()>, ()| ()).resume(());
        black_box(8 as *mut u32).write_volatile(1);
    }
}

fn suspend_in_a_destructor() {
    struct Rude<'a>(&'a Suspender<(), ()>);
    impl Drop for Rude<'_> {
        fn drop(&mut self) {
            self.0.suspend(());
        }
    }
    let c = Builder::new().name("rude").coroutine(|s: &Suspender<(), ()>, ()| {
        let _rude = Rude(s);
        panic!("first");
    });
    c.unwrap().resume(());
}
