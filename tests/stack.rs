//! The stack pool and its limits. A test that changes the state of the whole process runs in its own child process.

mod common;

use cede::stack::{self, GuardKind, Limit};
use cede::{Builder, Coroutine, CoroutineState, StackError, Suspender};
use common::{child, emulated};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

fn suspended() -> Result<Coroutine<u32, u32, u32>, StackError> {
    let mut c = Coroutine::try_new(|s: &Suspender<u32, u32>, n| n + s.suspend(n))?;
    c.resume(1);
    Ok(c)
}

/// Sizes that a program may pass by mistake.
#[test]
fn c10_bad_sizes_are_typed_errors() {
    let make = |size| Builder::new().stack_size(size).coroutine(|_: &Suspender<(), ()>, ()| ()).map(drop);
    for size in [0, 1, 4095, stack::min_size() - 1] {
        assert!(matches!(make(size), Err(StackError::TooSmall { .. })), "{size}");
    }
    for size in [1 << 47, usize::MAX - 4096, usize::MAX] {
        assert!(matches!(make(size), Err(StackError::TooLarge { .. })), "{size}");
    }
    let text = make(1).unwrap_err().to_string();
    assert_eq!(text, format!("a stack of 1 bytes is too small: ask for at least {} bytes", stack::min_size()));
    make(stack::min_size()).unwrap();
    make(stack::min_size() + 1).unwrap();
    make(1 << 30).unwrap();
    let guard = Builder::new().guard_size(usize::MAX).coroutine(|_: &Suspender<(), ()>, ()| ()).map(drop);
    assert!(matches!(guard, Err(StackError::TooLarge { .. })));
}

#[test]
fn handles_too_large_for_the_stack_are_refused() {
    // The input is stored in the uppermost part of the stack.
    type Large = [u8; 20_000];
    let make = |size| Builder::new().stack_size(size).coroutine(|_: &Suspender<Large, ()>, large: Large| large[0]);
    assert!(matches!(make(64 * 1024), Err(StackError::TooSmall { .. })));
    assert_eq!(make(1 << 20).unwrap().resume([3; 20_000]), CoroutineState::Complete(3));
}

/// A larger stack takes deeper calls, and the high-water mark shows them.
#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn larger_stack_takes_deeper_calls_shown_by_the_high_water() {
    #[inline(never)]
    fn deep(n: u32) -> u32 {
        let frame = black_box([n; 256]);
        if n == 0 { 0 } else { deep(n - 1) + frame[0].min(1) }
    }
    let size = 4 << 20;
    let mut c = Builder::new()
        .stack_size(size)
        .coroutine(|s: &Suspender<u32, u32>, n| {
            let n = s.suspend(deep(n));
            deep(n)
        })
        .unwrap();
    assert_eq!(c.resume(1), CoroutineState::Yielded(1));
    let shallow = c.stack_high_water().unwrap();
    assert!((1..64 * 1024).contains(&shallow), "{shallow}");
    assert_eq!(c.resume(1000), CoroutineState::Complete(1000));
    let deep = c.stack_high_water().unwrap();
    assert!(deep >= 1_000_000 && deep <= size, "{deep}");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
#[cfg(not(feature = "asan"))] // ASan's own memory would be counted
fn c12_the_pool_keeps_its_limit_and_trim_returns_the_rest() {
    child::passes("c12_the_pool_keeps_its_limit_and_trim_returns_the_rest", || {
        stack::set_pool_limit(100 * page_size());
        let all: Vec<_> = (0..3_000).map(|_| suspended().unwrap()).collect();
        assert_eq!(stack::stats().live, 3_000);
        let full = resident_kib();
        drop(all);
        let stats = stack::stats();
        assert_eq!(stats.live, 0);
        // Some stacks have touched two pages.
        assert!((50..=100 + 32).contains(&stats.warm), "{stats:?}");
        assert!(stats.warm_bytes <= 100 * page_size(), "{stats:?}");
        assert!(stats.cold >= 3_000 - 132, "{stats:?}");
        let after = resident_kib();
        assert!(full.saturating_sub(after) > 2_500 * 4, "{full} KiB before, {after} after");
        assert_eq!(stack::trim(), stats.warm);
        assert_eq!(stack::stats().warm, 0);
        // Stacks that were given back work again.
        let mut again: Vec<_> = (0..200).map(|_| suspended().unwrap()).collect();
        assert_eq!(stack::stats().slabs, stats.slabs);
        assert!(again.iter_mut().all(|c| c.resume(5) == CoroutineState::Complete(6)));
        stack::set_pool_limit(0);
        drop(again);
        assert_eq!(stack::stats().warm, 0);
    });
}

fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

#[test]
fn stacks_of_ended_threads_are_used_again() {
    child::passes("stacks_of_ended_threads_are_used_again", || {
        for _ in 0..200 {
            std::thread::spawn(|| suspended().unwrap().resume(1)).join().unwrap();
        }
        let stats = stack::stats();
        assert_eq!((stats.live, stats.slabs), (0, 1), "{stats:?}");
    });
}

#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn the_warmest_stack_comes_first() {
    let place = || {
        let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| {
            let here = 0u8;
            &raw const here as usize
        });
        c.resume(()).complete().unwrap()
    };
    let first = place();
    assert!((0..10).all(|_| place() == first));
}

#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn c11_a_cleared_stack_shows_its_next_user_nothing() {
    #[inline(never)]
    fn peek(offset: usize) -> u8 {
        let here = 0u8;
        let place = black_box(&raw const here as usize) - offset;
        // SAFETY: well inside the stack, below every live frame, and mapped.
        unsafe { (place as *const u8).read_volatile() }
    }
    let leave = |clear| {
        let builder = Builder::new().stack_size(48 * 1024).clear_stack(clear);
        let mut c = builder
            .coroutine(|_: &Suspender<(), ()>, ()| {
                let mut secret = [0u8; 16 * 1024];
                black_box(&mut secret).fill(black_box(0xa5));
                black_box(&secret);
            })
            .unwrap();
        c.resume(());
    };
    let found = || {
        let mut c = Builder::new()
            .stack_size(48 * 1024)
            .coroutine(|_: &Suspender<(), ()>, ()| (2048..12 * 1024).filter(|&n| peek(n) == 0xa5).count())
            .unwrap();
        c.resume(()).complete().unwrap()
    };
    leave(false);
    assert!(found() > 4096, "the test does not see the contents of an uncleared stack");
    leave(true);
    assert_eq!(found(), 0);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
#[cfg(not(feature = "asan"))] // ASan's own memory would be counted
fn c6_c9_a_limit_on_address_space_is_named_and_nothing_is_lost() {
    if emulated() {
        return; // qemu does not pass this limit on
    }
    child::passes("c6_c9_a_limit_on_address_space_is_named_and_nothing_is_lost", || {
        let bytes = 1 << 30;
        // SAFETY: setrlimit reads the struct.
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: bytes, rlim_max: bytes }) };
        let mut all = Vec::with_capacity(100_000);
        let error = loop {
            match suspended() {
                Ok(c) => all.push(c),
                Err(error) => break error,
            }
        };
        let StackError::Map { limit, live, .. } = error else { panic!("{error}") };
        assert_eq!(limit, Limit::AddressSpace(bytes));
        assert_eq!(live, all.len());
        assert!(live > 5_000, "smaller slabs were tried: {live}");
        assert!(error.to_string().contains("(RLIMIT_AS); raise it with `ulimit -v`"), "{error}");
        let before = maps();
        for _ in 0..200 {
            assert!(suspended().is_err());
        }
        assert_eq!(maps(), before, "a failure leaks no mapping");
        assert!(all.iter_mut().all(|c| c.resume(5) == CoroutineState::Complete(6)));
        all.truncate(10);
        (0..1_000).for_each(|_| drop(suspended().unwrap()));
    });
}

fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Makes `MADV_GUARD_INSTALL` return `errno` without an effect. 0 is a call that reports success falsely, like qemu's user mode.
#[cfg(target_arch = "x86_64")]
fn break_guard_install(errno: u32) {
    const fn stmt(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let refuse = libc::SECCOMP_RET_ERRNO | errno;
    let mut filter = [
        stmt(LOAD, 0, 0, 0), // the call's number
        stmt(IS, libc::SYS_process_madvise as u32, 4, 0),
        stmt(IS, libc::SYS_madvise as u32, 0, 2),
        stmt(LOAD, 32, 0, 0), // its third argument
        stmt(IS, 102, 1, 0),
        stmt(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
        stmt(libc::BPF_RET | libc::BPF_K, refuse, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the filter program is well-formed and lives through the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
    }
}

/// Returns whether the kernel refuses a write to the page below the coroutine's stack.
#[cfg(not(feature = "asan"))]
fn guard_stands() -> bool {
    let place = Rc::new(Cell::new(0));
    let inner = Rc::clone(&place);
    let builder = Builder::new().stack_size(64 * 1024);
    let mut c = builder
        .coroutine(move |s: &Suspender<(), ()>, ()| {
            let here = 0u8;
            inner.set(&raw const here as usize);
            s.suspend(());
        })
        .unwrap();
    c.resume(());
    // Somewhere between 64 and 68 KiB below the top there must be a fault, and none above.
    let mut pipe = [0; 2];
    // SAFETY: the kernel reads the byte, or refuses.
    let readable = |address: usize| unsafe {
        libc::pipe(pipe.as_mut_ptr());
        let ok = libc::write(pipe[1], address as *const _, 1) == 1;
        libc::close(pipe[0]);
        libc::close(pipe[1]);
        ok
    };
    let pages: Vec<bool> = (0..17).map(|n| place.get() - n * 4096).map(readable).collect();
    pages[..15].iter().all(|&ok| ok) && pages[15..].contains(&false)
}

#[test]
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))] // ASan keeps locals elsewhere
fn c4_guard_call_without_effect_is_detected() {
    if emulated() {
        return; // qemu's call has no effect anyway: `c4_guard_page_is_in_place` covers it
    }
    child::passes("c4_guard_call_without_effect_is_detected", || {
        break_guard_install(0);
        assert!(guard_stands());
        assert_eq!(stack::stats().guard, GuardKind::Mprotect);
    });
}

#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn c4_guard_page_is_in_place() {
    assert!(guard_stands());
    if emulated() || cfg!(cede_mprotect_guard) {
        assert_eq!(stack::stats().guard, GuardKind::Mprotect);
    }
}

#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn c4_locked_memory_falls_back_to_mprotect() {
    child::passes("c4_locked_memory_falls_back_to_mprotect", || {
        // SAFETY: mlockall has no preconditions. If it is refused, or ignored as by qemu, this tests less.
        let locked = unsafe { libc::mlockall(libc::MCL_FUTURE) } == 0;
        assert!(guard_stands());
        if locked && !emulated() {
            assert_eq!(stack::stats().guard, GuardKind::Mprotect);
        }
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
#[cfg(all(target_arch = "x86_64", not(feature = "asan")))] // ASan ends the process where a mapping is refused
fn c3_mapping_limit_is_an_error_and_stacks_keep_working() {
    if emulated() {
        return; // the limit is that of the host's kernel
    }
    child::passes("c3_mapping_limit_is_an_error_and_stacks_keep_working", || {
        let max: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
        if max > 200_000 {
            return println!("vm.max_map_count is {max}: the limit is too high to reach");
        }
        break_guard_install(libc::EINVAL as u32);
        let mut all = Vec::with_capacity(max);
        let error = loop {
            match suspended() {
                Ok(c) => all.push(c),
                Err(error) => break error,
            }
        };
        println!("{} stacks, then: {error}", all.len());
        let StackError::Guard { live, limit, .. } = &error else { panic!("{error}") };
        assert_eq!((*live, *limit), (all.len(), Limit::MapCount(max)));
        assert!(all.len() > max / 2 - 200 && all.len() < max / 2 + 200, "{} stacks", all.len());
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        // Live coroutines still work, and new ones can be made once some have ended.
        assert!(all.iter_mut().all(|c| c.resume(5) == CoroutineState::Complete(6)));
        all.truncate(1_000);
        let mut more: Vec<_> = (0..10_000).map(|_| suspended().unwrap()).collect();
        assert!(more.iter_mut().all(|c| c.resume(5) == CoroutineState::Complete(6)));
    });
}

#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn c8_no_stack_is_made_of_huge_pages() {
    if emulated() {
        return; // the flags shown are the emulator's
    }
    let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| {
        let here = 0u8;
        &raw const here as usize
    });
    let here = c.resume(()).complete().unwrap();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let mut inside = false;
    for line in smaps.lines() {
        // A mapping's first line begins with its addresses.
        let addresses = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((Ok(from), Ok(to))) =
            addresses.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)))
        {
            inside = (from..to).contains(&here);
        }
        if inside && line.starts_with("VmFlags") {
            assert!(line.contains(" nh"), "{line}");
        }
    }
}

#[test]
#[cfg(not(feature = "asan"))] // ASan keeps locals elsewhere
fn tops_of_neighbours_do_not_fall_into_the_same_cache_sets() {
    let mut places = std::collections::HashSet::new();
    let mut all = Vec::new();
    for _ in 0..32 {
        let mut c = Coroutine::new(|s: &Suspender<(), usize>, ()| {
            let here = 0u8;
            s.suspend(&raw const here as usize);
        });
        places.extend(c.resume(()).yielded().map(|place| place % 4096));
        all.push(c);
    }
    assert!(places.len() >= 16, "only {} different places in a page", places.len());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn c7_c14_ordinary_calls_fit_the_default_stack() {
    child::passes("c7_c14_ordinary_calls_fit_the_default_stack", || {
        let mut c = Coroutine::new(|_: &Suspender<(), ()>, ()| {
            let mut numbers: Vec<f64> = (0..10_000).map(|n| f64::from(n * 7919 % 10_007)).collect();
            numbers.sort_by(f64::total_cmp);
            println!("{} {:?}", numbers[5], std::thread::spawn(|| 1).join());
            let _ = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").map(Iterator::count);
            // A panic with its backtrace printed: 21 KiB in a release build.
            let _ = std::panic::catch_unwind(|| panic!("first"));
            std::backtrace::Backtrace::force_capture().to_string().len()
        });
        assert!(matches!(c.resume(()), CoroutineState::Complete(n) if n > 0));
    });
}

/// Thread-locals are destroyed in the reverse order of their creation. A body that is kept in one must not run when thread-locals
/// that it uses are destroyed: resuming it is refused, and dropping it leaks it.
#[test]
#[cfg_attr(panic = "abort", ignore = "it unwinds")]
fn b3_bodies_dropped_late_in_thread_exit_are_leaked() {
    use std::cell::RefCell;
    child::passes("b3_bodies_dropped_late_in_thread_exit_are_leaked", || {
        struct Value(Cell<u32>);
        impl Drop for Value {
            fn drop(&mut self) {
                self.0.set(0xdead);
            }
        }
        struct Looks<'a>(&'a Value);
        impl Looks<'_> {
            fn look(&self) {
                assert_ne!(self.0.0.get(), 0xdead, "ran with a dead thread-local");
            }
        }
        impl Drop for Looks<'_> {
            fn drop(&mut self) {
                self.look();
            }
        }
        thread_local! {
            static VALUE: Value = const { Value(Cell::new(1)) };
        }
        /// The bodies that a thread-local keeps. Its destructor tries to resume each before it drops them.
        struct Kept(
            Option<Coroutine<(), (), ()>>,
            Option<cede::Generator<u32>>,
            Option<cede::Generator<u32, (), ()>>,
            Option<cede::Sink<u32>>,
        );
        impl Drop for Kept {
            fn drop(&mut self) {
                let Kept(Some(coroutine), Some(generator), Some(listening), Some(sink)) = self else { return };
                let refused = |f: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
                assert!(refused(&mut || _ = coroutine.resume(())));
                assert!(refused(&mut || _ = generator.next()));
                assert!(refused(&mut || _ = listening.next()));
                assert!(refused(&mut || _ = sink.send(1)));
            }
        }
        thread_local! {
            static HOLDER: RefCell<Kept> = const { RefCell::new(Kept(None, None, None, None)) };
        }
        std::thread::spawn(|| {
            // The holder is touched first, so it is destroyed last.
            HOLDER.with(|holder| drop(holder.borrow_mut()));
            let mut coroutine = Coroutine::new(|s: &Suspender<(), ()>, ()| {
                VALUE.with(|value| {
                    let looks = Looks(value);
                    s.suspend(());
                    looks.look();
                });
            });
            coroutine.resume(());
            let mut generator = cede::Generator::new(|y| {
                VALUE.with(|value| {
                    let looks = Looks(value);
                    y.yield_(1);
                    looks.look();
                });
            });
            generator.next();
            let mut listening = cede::Generator::new(|y: &cede::Yielder<u32>| {
                VALUE.with(|value| {
                    let looks = Looks(value);
                    let _ = y.try_yield(1);
                    looks.look();
                });
            });
            listening.next();
            let mut sink = cede::Sink::new(|inbox: &cede::Inbox<u32>| {
                VALUE.with(|value| {
                    let looks = Looks(value);
                    inbox.iter().for_each(drop);
                    looks.look();
                });
            });
            sink.send(1).unwrap();
            HOLDER.set(Kept(Some(coroutine), Some(generator), Some(listening), Some(sink)));
        })
        .join()
        .unwrap();
        assert_eq!(stack::stats().live, 4, "each stack is leaked once");
    });
}

#[test]
fn b11_threads_come_and_go_with_their_alternate_stacks() {
    child::passes("b11_threads_come_and_go_with_their_alternate_stacks", || {
        extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
            suspended().unwrap().resume(1);
            std::ptr::null_mut()
        }
        let before = maps();
        for _ in 0..if emulated() { 50 } else { 1_000 } {
            // SAFETY: a thread with a valid start function, joined at once.
            unsafe {
                let mut thread = std::mem::zeroed();
                assert_eq!(libc::pthread_create(&mut thread, std::ptr::null(), run, std::ptr::null_mut()), 0);
                libc::pthread_join(thread, std::ptr::null_mut());
            }
        }
        assert!(maps() < before + 20, "{} mappings before, {} after", before, maps());
    });
}

#[test]
fn names_do_not_stay_with_a_stack() {
    let named = |name: Option<&'static str>| {
        let builder = Builder::new().stack_size(80 * 1024);
        let builder = if let Some(name) = name { builder.name(name) } else { builder };
        let c = builder.coroutine(|_: &Suspender<(), ()>, ()| ()).unwrap();
        c.name().map(String::from)
    };
    assert_eq!(named(Some("first")).as_deref(), Some("first"));
    assert_eq!(named(None), None);
}
