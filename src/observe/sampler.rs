//! Seeing where a worker is while it runs, from another thread.
//!
//! A backtrace cannot be taken in a signal handler: unwinding takes locks and allocates. So the handler, on the worker's
//! thread, only copies: the registers, the task's number and name, and the stack from where it stands to its top, with
//! the stacks below it if it is that of a generator. The watchdog then unwinds the copy on its own thread.
//!
//! The copy lies elsewhere, so every word in it that points into an original is made to point to the same place in the copy.
//! An unwinder believes what it reads, and where its tables are wrong for a place (hand-written code) it would follow
//! whatever lies there. So a word that points neither into a copied stack nor into code is replaced by the address of zeros:
//!
//! ```text
//! +---------+----------------------+---------+
//! | zeros   | stack 1 | stack 2 .. | zeros   |   one allocation; only what is copied becomes resident
//! +---------+----------------------+---------+
//!      ^ what points nowhere known
//! ```
//!
//! Then a return address is code or the address of zeros, a frame lies in a copy or in zeros, and the walk ends at the first
//! return address that is not code, wherever it has come to. What a frame names as saved may lie just below what was copied;
//! so there the address of zeros stands too: as a frame pointer, zero itself would lead to address 8. And the seam of a
//! coroutine follows a pointer to its caller's frame; so the first of the zeros is the address of more of them. All general
//! registers are translated: in the middle of a prologue the tables may name any of them.
//!
//! What the handler copies must be mapped. Its own coroutine stacks are; the thread's own stack need not be: the system grows
//! that of the main thread page by page, up to a limit that may be none, and a read below it would fault or grow it. So the
//! watchdog looks up what is mapped (/proc/self/maps) before it sends the signal: a stack only grows, so that part stays. And
//! any number in a coroutine's stack may look like an address of another one. So the link to where a coroutine was resumed is
//! known by what corosensei keeps beside it:
//!
//! ```text
//! coroutine's stack, near its top              stack of the code that resumed it
//! +-------------------------------+            +---------------------------------+
//! | the link                      | ---------> | frame pointer                   |
//! | address of the first function |            | return address                  |
//! +-------------------------------+            +---------------------------------+
//! ```

use crate::arch::{Registers, interrupted, unwind_from_registers};
use crate::scheduler::progress::Moment;
use crate::scheduler::tcb::Tcb;
use crate::scheduler::tcb_table::tcb_of;
use crate::scheduler::{Phase, Worker};
use crate::stack::arena::{self, Kind, Place};
use crate::sys::signals;
use std::backtrace::Backtrace;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How much of stacks is copied, in bytes.
const MOST: usize = 1 << 20;
/// How many stacks.
const STACKS: usize = 8;
/// How many zeros lie on both sides, in bytes: more than the frame of any function. They are never touched.
const ZEROS: usize = 32 << 20;
/// How much is copied from below the stack pointer, in bytes: what the ABI of x86-64 keeps signals from writing to.
const BELOW: usize = 128;
/// How many words below the copy are not zero: more than a frame saves.
const MARGIN: usize = 512;
/// How much of a name is kept, in bytes.
const NAME: usize = 128;

/// A stack that was copied.
#[derive(Clone, Copy, Default)]
struct StackCopy {
    /// The top of the stack, by which it is known.
    top: usize,
    /// Where it lay.
    from: usize,
    /// Where it lies, counted from the first copied byte.
    at: usize,
    /// In bytes; 0 if it was not copied yet.
    len: usize,
}

/// What the handler leaves for the watchdog.
struct StackSnapshot {
    /// The turn that is wanted, or any; then the one that was found.
    moment: Option<Moment>,
    id: u64,
    is_event_loop: bool,
    name: [u8; NAME],
    name_len: usize,
    has_name: bool,
    registers: Option<Registers>,
    copies: [StackCopy; STACKS],
    count: usize,
    /// How many bytes were copied.
    end: usize,
    words: Vec<usize>,
    /// The part of the thread's own stack that is mapped.
    own_stack: (usize, usize),
    /// Where there was code when that was last looked up.
    code: Vec<(usize, usize)>,
}

const NOBODY: u32 = 0;
const ASKED: u32 = 1;
const COPYING: u32 = 2;
const COPIED: u32 = 3;

/// One worker's, shared with its watchdog.
pub(crate) struct Sampler {
    state: AtomicU32,
    thread: libc::pthread_t,
    /// The thread's own stack, as far as it may grow.
    bounds: (usize, usize),
    /// An address in use on it.
    inside: usize,
    worker: *const Worker,
    /// The handler's from `ASKED` to `COPIED`, else the watchdog's.
    snapshot: UnsafeCell<StackSnapshot>,
}

// SAFETY: the state says whose the cell is; the worker is followed only by the handler, on the worker's own thread.
unsafe impl Sync for Sampler {}
// SAFETY: as above; a pthread_t is a name.
unsafe impl Send for Sampler {}

thread_local! {
    /// The sampler of the run on this thread, for the handler. Needs no registration and no destructor.
    static SAMPLER: Cell<*const Sampler> = const { Cell::new(null()) };
}

/// Who runs, and where.
pub(crate) struct Sample {
    /// 0 if there is none: a task that has ended.
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) is_event_loop: bool,
    pub(crate) trace: Option<Backtrace>,
}

/// What came of a look.
pub(crate) enum SampleResult {
    Taken(Sample),
    /// The turn was over.
    Over,
    /// The thread takes no signals.
    Deaf,
}

impl Sampler {
    /// For the run of `worker`, on the thread that calls.
    pub(crate) fn new(worker: &Worker) -> Sampler {
        let snapshot = StackSnapshot {
            moment: None,
            id: 0,
            is_event_loop: false,
            name: [0; NAME],
            name_len: 0,
            has_name: false,
            registers: None,
            copies: [StackCopy::default(); STACKS],
            count: 0,
            end: 0,
            words: vec![0; (ZEROS + MOST + ZEROS) / size_of::<usize>()],
            own_stack: (0, 0),
            code: code(),
        };
        let here = 0_u8;
        Sampler {
            state: AtomicU32::new(NOBODY),
            // SAFETY: it has no preconditions.
            thread: unsafe { libc::pthread_self() },
            bounds: thread_bounds(),
            inside: (&raw const here).addr(),
            worker,
            snapshot: UnsafeCell::new(snapshot),
        }
    }

    /// Lets the worker be looked at while `f` runs.
    pub(crate) fn while_open<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Closed(*const Sampler);
        impl Drop for Closed {
            fn drop(&mut self) {
                SAMPLER.set(self.0);
            }
        }
        let _closed = Closed(SAMPLER.replace(self));
        f()
    }

    /// From the watchdog: who keeps the worker at this moment, if that is still the turn that was seen, or whoever it is.
    pub(crate) fn look(&self, moment: Option<Moment>) -> SampleResult {
        // SAFETY: nobody has been asked, so the cell is ours; the thread lives, since it waits for this one before it ends.
        unsafe {
            (*self.snapshot.get()).moment = moment;
            (*self.snapshot.get()).own_stack = mapped_part(self.bounds, self.inside);
            self.state.store(ASKED, Ordering::Release);
            libc::pthread_kill(self.thread, signals::SAMPLE);
        }
        let asked = Instant::now();
        while self.state.load(Ordering::Acquire) != COPIED {
            let late = asked.elapsed() > Duration::from_secs(1);
            if late && self.state.compare_exchange(ASKED, NOBODY, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return SampleResult::Deaf;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        self.state.store(NOBODY, Ordering::Relaxed);
        // SAFETY: the handler is done, so the cell is ours again.
        let snapshot = unsafe { &mut *self.snapshot.get() };
        let seen = if moment.is_none() || snapshot.moment == moment {
            SampleResult::Taken(snapshot.sample())
        } else {
            SampleResult::Over
        };
        snapshot.wipe();
        seen
    }
}

/// From the signal handler: copies, if this thread was asked. False if it was not.
///
/// # Safety
///
/// `context` is what the kernel passed.
pub(crate) unsafe fn answer(context: *mut libc::c_void) -> bool {
    let sampler = SAMPLER.get();
    // SAFETY: the run that set it still stands, since it takes it back at its end.
    let Some(sampler) = (unsafe { sampler.as_ref() }) else { return false };
    if sampler.state.compare_exchange(ASKED, COPYING, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return false;
    }
    // SAFETY: the state makes the cell ours, the worker is this thread's and stands, and the context is the caller's.
    unsafe {
        let (snapshot, worker) = (&mut *sampler.snapshot.get(), &*sampler.worker);
        snapshot.fill(worker, sampler.bounds, interrupted(context));
    }
    sampler.state.store(COPIED, Ordering::Release);
    true
}

impl StackSnapshot {
    /// Neither allocates nor locks. Runs between any two instructions of the worker's.
    ///
    /// # Safety
    ///
    /// The registers are those of the interrupted code, on this thread, whose stack lies in `bounds`.
    unsafe fn fill(&mut self, worker: &Worker, bounds: (usize, usize), registers: Option<Registers>) {
        let found = Some(worker.progress().look());
        if self.moment.is_some() && found != self.moment {
            self.moment = found;
            return;
        }
        // SAFETY: contexts in use lie in the table. The name changes only before the task's first turn and after its end.
        let tcb: &Tcb = unsafe { &*tcb_of(worker.current.get()) };
        self.id = if tcb.phase() == Phase::Free || tcb.is_finished() { 0 } else { tcb.id() };
        self.is_event_loop = worker.is_event_loop(tcb);
        // SAFETY: as above, so nobody borrows it mutably.
        let name = unsafe { tcb.name_unchecked() }.filter(|_| self.id != 0);
        self.has_name = name.is_some();
        let name = name.unwrap_or("");
        self.name_len = (0..=name.len().min(NAME)).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
        self.name[..self.name_len].copy_from_slice(&name.as_bytes()[..self.name_len]);
        self.registers = registers;
        let Some(registers) = registers else { return };
        // At the end of a function the tables name places just below the stack pointer for what was popped from there.
        let sp = registers.sp & !7;
        if bounds.0 <= sp && sp < bounds.1 {
            // It may have grown meanwhile. From the stack pointer up it is in use, so it is mapped.
            self.own_stack.0 = self.own_stack.0.min(sp);
        }
        let below = sp.saturating_sub(BELOW);
        let from = if self.top_of(below) == self.top_of(sp) { below } else { sp };
        self.plan(from);
        // Coroutines first: each may say more of where the one below it was left.
        let next = |copies: &[StackCopy]| {
            let rest = |copy: &&StackCopy| copy.len == 0;
            let coroutine = copies.iter().filter(rest).find(|copy| is_coroutine(copy.from));
            coroutine.or_else(|| copies.iter().find(rest)).map(|copy| copy.top)
        };
        while let Some(top) = next(&self.copies[..self.count]) {
            // SAFETY: the stack pointer, and addresses on stacks that are in use.
            if !unsafe { self.copy_stack(top) } {
                break;
            }
        }
    }

    /// Has a stack copied from this address on, if it lies on one that was not copied.
    fn plan(&mut self, from: usize) {
        let Some(top) = self.top_of(from) else { return };
        let from = from & !7;
        match self.copies[..self.count].iter_mut().find(|copy| copy.top == top) {
            Some(copy) if copy.len == 0 => copy.from = copy.from.min(from),
            Some(_) => {}
            None if self.count < STACKS => {
                self.copies[self.count] = StackCopy { top, from, at: 0, len: 0 };
                self.count += 1;
            }
            None => {}
        }
    }

    /// Copies the stack with this top, and plans to copy those that a coroutine's links lead to. False if there is no room.
    ///
    /// # Safety
    ///
    /// The stack is in use, and its piece begins in its mapped part.
    unsafe fn copy_stack(&mut self, top: usize) -> bool {
        let Some(copy) = self.copies[..self.count].iter_mut().find(|copy| copy.top == top) else { return false };
        copy.at = self.end;
        copy.len = (top - copy.from).min(MOST - self.end) & !7;
        let StackCopy { from, at, len, .. } = *copy;
        if len == 0 {
            return false;
        }
        self.end += len;
        let first = (ZEROS + at) / size_of::<usize>();
        let count = len / size_of::<usize>();
        // SAFETY: from `from` to the top the stack is mapped and readable, and the buffer has room.
        unsafe { copy_words(from, self.words.as_mut_ptr().add(first), count) };
        if is_coroutine(from) {
            for at in first + count.saturating_sub(256)..(first + count).saturating_sub(1) {
                let (link, function) = (self.words[at], self.words[at + 1]);
                if is_code(&self.code, function) && self.leads_to_a_return(link) {
                    self.plan(link);
                }
            }
        }
        true
    }

    /// Whether an address is that of a frame pointer with a return address above it, on a stack.
    fn leads_to_a_return(&self, link: usize) -> bool {
        let Some(top) = self.top_of(link) else { return false };
        if !link.is_multiple_of(align_of::<usize>()) || top - link < 2 * size_of::<usize>() {
            return false;
        }
        let mut frame = [0; 2];
        // SAFETY: from the link to the top of its stack all is mapped, as `top_of` promises, and that is two words at least.
        unsafe { copy_words(link, frame.as_mut_ptr(), 2) };
        is_code(&self.code, frame[1])
    }

    /// The top of the stack on which an address lies, if it is one of ours or the mapped part of the thread's own: from there to
    /// the top it is mapped.
    fn top_of(&self, address: usize) -> Option<usize> {
        match arena::find(address) {
            Some(Place::Stack(slot, _)) => Some(slot.top()).filter(|top| address < *top),
            Some(Place::Guard(_)) => None,
            None => (self.own_stack.0 <= address && address < self.own_stack.1).then_some(self.own_stack.1),
        }
    }

    fn sample(&mut self) -> Sample {
        let name = std::str::from_utf8(&self.name[..self.name_len]).ok().filter(|_| self.has_name);
        let (id, name, is_event_loop) = (self.id, name.map(Into::into), self.is_event_loop);
        Sample { id, name, is_event_loop, trace: self.unwind() }
    }

    /// The backtrace of what was copied.
    fn unwind(&mut self) -> Option<Backtrace> {
        unsafe extern "C" fn capture(place: *mut u8) {
            // SAFETY: `place` is the option below.
            unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
        }
        let registers = self.registers?;
        // Libraries may have been loaded since; the handler knows of them from the next look on.
        self.code = code();
        let code = &self.code;
        if self.end == 0 || !is_code(code, registers.pc + 2) || registers.is_switching() {
            return None;
        }
        let (base, copies) = (self.words.as_ptr() as usize, &self.copies[..self.count]);
        let translate = |word: usize| {
            let copy = copies.iter().find(|copy| copy.len > 0 && word.wrapping_sub(copy.from) <= copy.len);
            match copy {
                Some(copy) => base + ZEROS + copy.at + (word - copy.from),
                None if is_code(code, word) => word,
                None => base + ZEROS / 2,
            }
        };
        // A function that is about to touch its frame page by page has the address of its end in a register, from which its
        // caller is found. So what points below the first stack stays as far below the copy, where zeros are.
        let (first_stack, room) = (copies[0], ZEROS / 2);
        let registers = registers.map(|word| match first_stack.from.checked_sub(word) {
            Some(below) if first_stack.len > 0 && (1..room).contains(&below) => base + ZEROS + first_stack.at - below,
            _ => translate(word),
        });
        let first = ZEROS / size_of::<usize>();
        self.words[first..first + self.end / size_of::<usize>()].iter_mut().for_each(|word| *word = translate(*word));
        self.words[first - MARGIN..first].fill(base + ZEROS / 2);
        self.words[first / 2] = base + ZEROS / 2 + ZEROS / 4;
        let mut trace = None;
        // SAFETY: the registers point into the copy, to zeros or to code, and so does everything that they lead to.
        unsafe { unwind_from_registers(&registers, capture, (&raw mut trace).cast()) };
        trace
    }

    /// Makes everything zero again.
    fn wipe(&mut self) {
        let first = ZEROS / size_of::<usize>();
        self.words[first - MARGIN..first + self.end / size_of::<usize>()].fill(0);
        self.words[first / 2] = 0;
        self.count = 0;
        self.end = 0;
        self.registers = None;
    }
}

/// Whether an address lies on the stack of something that is resumed.
fn is_coroutine(address: usize) -> bool {
    match arena::find(address) {
        Some(Place::Stack(slot, _)) => matches!(slot.label().0, Kind::Coroutine | Kind::Generator | Kind::Sink),
        _ => false,
    }
}

/// Copies words in a way that AddressSanitizer does not see: most of a stack is not for others to read.
///
/// # Safety
///
/// Both sides are mapped, and the target is ours.
unsafe fn copy_words(from: usize, to: *mut usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's; the direction flag is clear, by the ABI, also in a signal handler.
    unsafe {
        std::arch::asm!("rep movsq", inout("rcx") count => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's.
    unsafe {
        std::ptr::copy_nonoverlapping(from as *const usize, to, count);
    }
}

/// The lowest and the highest address of the calling thread's own stack; both 0 where that is not known.
fn thread_bounds() -> (usize, usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the attributes are initialised by the first call if it succeeds, and destroyed after their last use.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) == 0 {
            let (mut start, mut size) = (std::ptr::null_mut(), 0);
            libc::pthread_attr_getstack(&attributes, &mut start, &mut size);
            libc::pthread_attr_destroy(&mut attributes);
            return (start as usize, start as usize + size);
        }
    }
    (0, 0)
}

/// The part of a stack that is mapped, up to its top: from `inside`, which is in use, or from lower down if the system says so.
/// Not for a signal handler.
fn mapped_part(bounds: (usize, usize), inside: usize) -> (usize, usize) {
    let (lowest, top) = bounds;
    if top == 0 {
        return (0, 0);
    }
    // A sanitizer may keep a local elsewhere.
    let inside = if (lowest..top).contains(&inside) { inside } else { top - size_of::<usize>() };
    // Where there is no such file the frames of the run are not seen from inside of a coroutine, those above it are.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (readable_below(&maps, top).map_or(inside, |start| start.clamp(lowest, inside)), top)
}

/// Where the readable memory begins that goes on without a gap to the byte before `top`.
fn readable_below(maps: &str, top: usize) -> Option<usize> {
    let mut range = (0, 0);
    for line in maps.lines() {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        let is_readable = rest.starts_with('r');
        // In ascending order.
        range = match () {
            _ if !is_readable => (to, to),
            _ if from == range.1 => (range.0, to),
            _ => (from, to),
        };
        if from < top && top <= to {
            return is_readable.then_some(range.0);
        }
    }
    None
}

/// Where the program and its libraries have code.
fn code() -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    #[cfg(target_os = "linux")]
    // SAFETY: the callback gets what is passed on here, and valid headers.
    unsafe {
        unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, ranges: *mut libc::c_void) -> libc::c_int {
            // SAFETY: the loader passes a valid entry with as many headers as it says, and our own vector.
            unsafe {
                let (info, ranges) = (&*info, &mut *ranges.cast::<Vec<(usize, usize)>>());
                for header in std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) {
                    if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
                        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
                        ranges.push((start, start + header.p_memsz as usize));
                    }
                }
            }
            0
        }
        libc::dl_iterate_phdr(Some(add), (&raw mut ranges).cast());
    }
    ranges
}

fn is_code(ranges: &[(usize, usize)], address: usize) -> bool {
    ranges.iter().any(|&(start, end)| start <= address && address < end)
}

#[cfg(test)]
mod tests {
    use super::readable_below;

    #[test]
    fn maps_end_at_gaps_and_at_what_is_not_readable() {
        let maps = "1000-2000 rw-p 00000000 00:00 0\n2000-3000 ---p 00000000 00:00 0\n3000-4000 r--p 00000000 00:00 0\n\
                    4000-6000 rw-p 00000000 00:00 0 [stack]\n8000-9000 rw-p 00000000 00:00 0\n";
        let starts = [0x2000, 0x3000, 0x4000, 0x5800, 0x6000, 0x7000, 0x9000].map(|top| readable_below(maps, top));
        assert_eq!(starts, [Some(0x1000), None, Some(0x3000), Some(0x3000), Some(0x3000), None, Some(0x8000)]);
        assert_eq!(readable_below("", 1), None);
        assert_eq!(readable_below("what is this", 1), None);
    }
}
