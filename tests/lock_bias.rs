//! Lock biasing: the internal lock of the `sync` types is owned by one run until another thread wants it. Checked in a model of
//! which every interleaving is explored, and in unusual processes: without membarrier(2), and forked.

mod common;

use cede::sync::Mutex;
use common::child::in_child;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// The processor of one of the two threads, with a memory model as weak as aarch64's. Writes wait in a buffer and become visible
/// in any order, except that writes to one place stay in order and a releasing write comes after all writes before it. A read may
/// happen early.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Processor {
    /// The next step of its program.
    at: u8,
    /// Writes that are not visible to the other thread yet: place, value, and whether the write releases.
    buffer: Vec<(usize, u8, bool)>,
    /// The value of the bias, if it was read early.
    early: Option<u8>,
    /// How often it still enters.
    left: u8,
}

/// Places in memory.
const BIAS: usize = 0;
const INSIDE: usize = 1;

/// Values of the bias.
const OWNER: u8 = 0;
const SHARED: u8 = 1;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Machine {
    memory: [u8; 2],
    owner: Processor,
    other: Processor,
}

impl Processor {
    /// Returns the newest value that this processor sees.
    fn read(&self, memory: &[u8; 2], place: usize) -> u8 {
        let own = self.buffer.iter().rev().find(|(at, _, _)| *at == place);
        own.map_or(memory[place], |(_, value, _)| *value)
    }

    /// Returns the writes that may become visible next, as indices into the buffer.
    fn drains(&self) -> Vec<usize> {
        let may_be_next = |n: &usize| {
            let (place, _, releases) = self.buffer[*n];
            let waits_for = |(other, _, _): &(usize, u8, bool)| releases || *other == place;
            !self.buffer[..*n].iter().any(waits_for)
        };
        (0..self.buffer.len()).filter(may_be_next).collect()
    }
}

/// The steps of the two programs in which they access the value.
const OWNER_INSIDE: u8 = 3;
const OTHER_INSIDE: u8 = 4;

impl Machine {
    fn drain(&mut self, owner: bool, n: usize) {
        let processor = if owner { &mut self.owner } else { &mut self.other };
        let (place, value, _) = processor.buffer.remove(n);
        self.memory[place] = value;
    }

    /// A step of the owner: inside = true; check that it still has the bias; the value; inside = false. Repeats `left` times, or
    /// until the bias is shared.
    fn owner(&self) -> Option<Machine> {
        let mut next = self.clone();
        let p = &mut next.owner;
        match p.at {
            0 if p.left == 0 => return None,
            0 => {
                p.left -= 1;
                p.early = None;
                p.at = 1;
            }
            1 => {
                p.buffer.push((INSIDE, 1, false));
                p.at = 2;
            }
            2 => {
                let bias = p.early.unwrap_or(p.read(&self.memory, BIAS));
                p.at = if bias == OWNER { OWNER_INSIDE } else { 5 };
            }
            OWNER_INSIDE => {
                p.buffer.push((INSIDE, 0, true));
                p.at = 0;
            }
            // Refused: it would take the shared lock now, which the other thread holds.
            5 => {
                p.buffer.push((INSIDE, 0, true));
                p.at = 6;
            }
            _ => return None,
        }
        Some(next)
    }

    /// A step in which the owner reads the bias early: at any time between the start of an attempt and its use.
    fn owner_reads_early(&self) -> Option<Machine> {
        let mut next = self.clone();
        next.owner.early = Some(self.owner.read(&self.memory, BIAS));
        (self.owner.at == 1 && self.owner.early.is_none()).then_some(next)
    }

    /// A step of the other thread: bias = SHARED; the heavy fence; wait until inside is false; the value.
    fn other(&self, fence: bool) -> Option<Machine> {
        let mut next = self.clone();
        match self.other.at {
            0 => next.other.buffer.push((BIAS, SHARED, false)),
            1 if fence => {
                // Every processor passes a full fence: all writes become visible, and early reads are repeated.
                while let Some(n) = next.owner.drains().first().copied() {
                    next.drain(true, n);
                }
                while let Some(n) = next.other.drains().first().copied() {
                    next.drain(false, n);
                }
                if next.owner.at == 1 {
                    next.owner.early = None;
                }
            }
            1 => {}
            2 if next.other.read(&self.memory, INSIDE) == 1 => return None,
            2 => {}
            3 => {}
            _ => return None,
        }
        next.other.at += 1;
        Some(next)
    }

    fn successors(&self, fence: bool) -> Vec<Machine> {
        let mut all: Vec<Machine> =
            [self.owner(), self.owner_reads_early(), self.other(fence)].into_iter().flatten().collect();
        for owner in [true, false] {
            let processor = if owner { &self.owner } else { &self.other };
            for n in processor.drains() {
                let mut next = self.clone();
                next.drain(owner, n);
                all.push(next);
            }
        }
        all
    }
}

/// Explores every interleaving. Returns the number of states, and whether both threads access the value in one of them.
fn explore(fence: bool) -> (usize, bool) {
    let owner = Processor { left: 3, ..Processor::default() };
    let start = Machine { memory: [OWNER, 0], owner, other: Processor::default() };
    let (mut seen, mut open, mut both) = (HashSet::from([start.clone()]), vec![start], false);
    while let Some(machine) = open.pop() {
        both |= machine.owner.at == OWNER_INSIDE && machine.other.at == OTHER_INSIDE;
        open.extend(machine.successors(fence).into_iter().filter(|next| seen.insert(next.clone())));
    }
    let ends = seen.iter().filter(|machine| machine.successors(fence).is_empty());
    assert!(ends.clone().all(|end| end.other.at == OTHER_INSIDE), "the other thread waits without end");
    (seen.len(), both)
}

#[test]
fn in_no_interleaving_are_two_inside() {
    let (states, both) = explore(true);
    assert!(states > 200 && !both, "{states} states");
}

#[test]
fn without_the_heavy_fence_the_model_finds_two_inside() {
    assert!(explore(false).1);
}

/// A run and a plain thread lock mutexes that the run owned first. Returns how often they locked one.
fn use_from_a_run_and_a_thread() -> u64 {
    let mutexes: Arc<Vec<Mutex<u64>>> = Arc::new((0..20).map(|_| Mutex::new(0)).collect());
    let step = |mutexes: &[Mutex<u64>]| mutexes.iter().for_each(|mutex| *mutex.lock().unwrap() += 1);
    cede::run(|| {
        step(&mutexes);
        let other = Arc::clone(&mutexes);
        let thread = thread::spawn(move || (0..10).for_each(|_| step(&other)));
        (0..10).for_each(|_| step(&mutexes));
        thread.join().unwrap();
    });
    mutexes.iter().map(|mutex| *mutex.try_lock().unwrap()).sum()
}

#[test]
fn a_run_and_a_thread_share_what_belonged_to_the_run() {
    assert_eq!(use_from_a_run_and_a_thread(), 20 * 21);
}

/// In a child of fork, a thread takes the locks whose owner is the run that the child inherited, and new runs work.
#[test]
fn forked_child_takes_locks_from_the_inherited_run() {
    let told = in_child("forked_child_takes_locks_from_the_inherited_run", || {
        static OWNED: Mutex<u64> = Mutex::new(0);
        cede::run(|| {
            *OWNED.lock().unwrap() += 1;
            // SAFETY: this process has one thread besides the harness's, which waits. The child ends by _exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // A new thread takes the locks that the inherited run owns, and whole runs work.
                let other = thread::spawn(|| *OWNED.lock().unwrap() += 1);
                let fine = other.join().is_ok() && *OWNED.lock().unwrap() == 2;
                let runs = thread::spawn(use_from_a_run_and_a_thread).join();
                let code = i32::from(!(fine && runs.is_ok_and(|count| count == 20 * 21)));
                // SAFETY: _exit has no preconditions. It ends the child without the parent's clean-up.
                unsafe { libc::_exit(code) };
            }
            let mut status = -1;
            // SAFETY: `child` is the child forked above, and `status` lives through the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child failed");
            assert_eq!(*OWNED.lock().unwrap(), 1);
        });
    });
    assert!(told.ends_with("exit code Some(0)"), "{told}");
}

/// Makes membarrier(2) fail in this thread and in the threads that it starts.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn forbid_membarrier() {
    let code = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let errno = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let mut filter = [
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the number of the system call
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_membarrier as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, errno),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the filter program lives through the calls, which copy it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
        assert_eq!(libc::syscall(libc::SYS_membarrier, 0, 0, 0), -1);
    }
}

#[test]
fn without_membarrier_locks_have_no_owner_and_work() {
    if common::emulated() {
        return; // its seccomp is the host's, with the host's numbers
    }
    let told = in_child("without_membarrier_locks_have_no_owner_and_work", || {
        forbid_membarrier();
        assert_eq!(use_from_a_run_and_a_thread(), 20 * 21);
    });
    assert!(told.ends_with("exit code Some(0)"), "{told}");
}

/// Starts a thread whose run locks 10 mutexes, reports that, calls `what` until `stop` is set, and locks them again.
fn owner(
    stop: &Arc<AtomicBool>,
    what: impl Fn(&AtomicBool) + Send + 'static,
) -> (Arc<Vec<Mutex<u64>>>, thread::JoinHandle<()>) {
    let mutexes: Arc<Vec<Mutex<u64>>> = Arc::new((0..10).map(|_| Mutex::new(0)).collect());
    let (stop, inner) = (Arc::clone(stop), Arc::clone(&mutexes));
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        cede::run(|| {
            inner.iter().for_each(|mutex| *mutex.lock().unwrap() += 1);
            sender.send(()).unwrap();
            while !stop.load(Ordering::Acquire) {
                what(&stop);
            }
            inner.iter().for_each(|mutex| *mutex.lock().unwrap() += 1);
        });
    });
    receiver.recv().unwrap();
    (mutexes, thread)
}

/// The threads of the owners are asked by a signal, whatever they do. After that no lock has an owner.
#[test]
fn membarrier_forbidden_late_locks_still_change_hands() {
    if common::emulated() {
        return; // as above; `scheduler::handshake` has tests of what takes its place, and they run there
    }
    let told = in_child("membarrier_forbidden_late_locks_still_change_hands", || {
        let stop = Arc::new(AtomicBool::new(false));
        let owners = [
            owner(&stop, |stop| while !stop.load(Ordering::Acquire) {}),
            owner(&stop, |_| thread::sleep(Duration::from_millis(200))),
            owner(&stop, |_| cede::yield_now()),
            owner(&stop, |_| cede::time::sleep(Duration::from_millis(1)).unwrap()),
        ];
        static ENDED: Mutex<u64> = Mutex::new(0);
        static ENDED_HERE: Mutex<u64> = Mutex::new(0);
        thread::spawn(|| cede::run(|| *ENDED.lock().unwrap() += 1)).join().unwrap();
        cede::run(|| *ENDED_HERE.lock().unwrap() += 1);
        forbid_membarrier();
        owners.iter().for_each(|(mutexes, _)| mutexes.iter().for_each(|mutex| *mutex.lock().unwrap() += 1));
        *ENDED.lock().unwrap() += 1;
        *ENDED_HERE.lock().unwrap() += 1;
        stop.store(true, Ordering::Release);
        for (mutexes, thread) in owners {
            thread.join().unwrap();
            assert!(mutexes.iter().all(|mutex| *mutex.try_lock().unwrap() == 3));
        }
        assert_eq!((*ENDED.try_lock().unwrap(), *ENDED_HERE.try_lock().unwrap()), (2, 2));
        assert_eq!(use_from_a_run_and_a_thread(), 20 * 21);
    });
    assert!(told.ends_with("exit code Some(0)"), "{told}");
}

/// The owner waits for the thread that wants its lock, so only a signal reaches it. In a child of fork the owner has another
/// thread id.
#[test]
fn membarrier_forbidden_late_in_a_forked_child_works() {
    if common::emulated() {
        return; // as above
    }
    let told = in_child("membarrier_forbidden_late_in_a_forked_child_works", || {
        static OWNED: Mutex<u64> = Mutex::new(0);
        let take = || {
            forbid_membarrier();
            *OWNED.lock().unwrap() += 1;
        };
        cede::run(|| {
            *OWNED.lock().unwrap() += 1;
            // SAFETY: this process has one thread besides the harness's, which waits. The child ends by _exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let fine = thread::spawn(take).join().is_ok() && *OWNED.lock().unwrap() == 2;
                // SAFETY: _exit has no preconditions. It ends the child without the parent's clean-up.
                unsafe { libc::_exit(i32::from(!fine)) };
            }
            let mut status = -1;
            // SAFETY: `child` is the child forked above, and `status` lives through the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child failed");
            thread::spawn(take).join().unwrap();
            assert_eq!(*OWNED.lock().unwrap(), 2);
        });
    });
    assert!(told.ends_with("exit code Some(0)"), "{told}");
}

/// No signal reaches the owner, and it takes no turns. Going on would be a race, so the process aborts with a message.
#[test]
fn membarrier_forbidden_late_owner_cannot_be_asked_aborts() {
    if common::emulated() {
        return; // as above
    }
    let told = in_child("membarrier_forbidden_late_owner_cannot_be_asked_aborts", || {
        let (mutexes, _) = owner(&Arc::new(AtomicBool::new(false)), |stop| {
            // SAFETY: the signal set is plain data that the first call fills, and only this thread's mask changes.
            unsafe {
                let mut all: libc::sigset_t = std::mem::zeroed();
                libc::sigfillset(&mut all);
                assert_eq!(libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut()), 0);
            }
            while !stop.load(Ordering::Acquire) {}
        });
        forbid_membarrier();
        *mutexes[0].lock().unwrap() += 1;
    });
    assert!(
        told.contains("cede: the kernel refuses membarrier(2), which it had granted before, and thread "),
        "{told}"
    );
    assert!(told.contains("it blocks SIGURG, and takes no turns. Allow membarrier in the seccomp filter"), "{told}");
    assert!(told.ends_with("exit code None"), "{told}");
}
