//! Test of branch targets: with BTI enforced, every jump of the switch must reach a landing pad.
//!
//! A page has the BTI property only if all code linked into it has landing pads, and Debian's std has none. So the test
//! itself enforces BTI, while nothing but switches runs.

use super::{Context, switch};
use crate::stack::Shape;
use crate::stack::arena::Kind;
use crate::stack::pool::Stack;
use std::cell::Cell;

thread_local! {
    static STOP: Cell<bool> = const { Cell::new(false) };
}

struct Pair {
    main: Context,
    task: Context,
}

unsafe extern "C" fn entry(pair: usize) -> *const Context {
    // SAFETY: `enforce_and_switch` keeps the pair until the task has returned. `main` is suspended whenever the task
    // runs.
    unsafe {
        let pair = &*(pair as *const Pair);
        while !STOP.get() {
            switch(&pair.task, &pair.main);
        }
        &pair.main
    }
}

/// Returns the bounds of the mapping that contains an address.
fn text_around(address: usize) -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let range = maps.lines().find_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let range = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        (range.0..range.1).contains(&address).then_some(range)
    });
    range.expect("the code is in a mapping")
}

fn switches(pair: &Pair, count: u32) {
    for _ in 0..count {
        // SAFETY: the task is suspended, and `main` is used only by this thread, which runs.
        unsafe { switch(&pair.main, &pair.task) };
    }
}

/// Enforcing applies to all threads, so the test does it in a child process that has only one.
#[test]
fn every_jump_of_the_switch_lands_on_a_pad() {
    if std::env::var_os("CEDE_CHILD").is_some() {
        return enforce_and_switch();
    }
    let runner = std::env::var("CEDE_TEST_RUNNER").unwrap_or_default();
    let own = std::env::current_exe().expect("a test knows its own path").display().to_string();
    let mut words = runner.split_whitespace().map(String::from).chain([own]);
    let mut child = std::process::Command::new(words.next().expect("there is at least the test itself"));
    let name = "arch::bti::every_jump_of_the_switch_lands_on_a_pad";
    child.args(words).args(["--exact", name, "--test-threads=1"]).env("CEDE_CHILD", "bti");
    let output = child.output().expect("the test can run itself");
    assert!(output.status.success(), "{:?}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
}

fn enforce_and_switch() {
    const HWCAP2_BTI: libc::c_ulong = 1 << 17;
    const PROT_BTI: libc::c_int = 0x10;
    // SAFETY: getauxval has no preconditions.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_BTI == 0 {
        return; // this CPU has no BTI
    }
    let stack = Stack::acquire(Shape::default_shape(), Kind::Task, None, false).expect("a stack");
    let pair = Pair { main: Context::new(), task: Context::new() };
    // SAFETY: only the task uses the stack until it has returned, below. `entry` does not unwind.
    unsafe { pair.task.init(stack.limit(), stack.top(), entry, &raw const pair as usize) };
    // The first switch comes before enforcing: the call in `root` reaches a Rust function, which has no landing pad.
    switches(&pair, 1);
    let code: unsafe extern "C" fn(usize) -> *const Context = entry;
    let (from, to) = text_around(code as usize);
    let (plain, enforced) = (libc::PROT_READ | libc::PROT_EXEC, libc::PROT_READ | libc::PROT_EXEC | PROT_BTI);
    // SAFETY: the pages of this code stay readable and executable throughout.
    unsafe {
        assert_eq!(libc::mprotect(from as *mut _, to - from, enforced), 0);
        switches(&pair, 3000);
        assert_eq!(libc::mprotect(from as *mut _, to - from, plain), 0);
    }
    STOP.set(true);
    switches(&pair, 1);
    drop(stack);
}
