//! The sampler: takes the backtrace of a running task from another thread.
//!
//! A signal handler cannot take a backtrace, because unwinding takes locks and allocates. Therefore the handler, on the
//! thread of the worker, only copies: the registers, the number and the name of the task, and its stack from the stack pointer
//! to the top. If the stack belongs to a coroutine or generator, the stacks of its resumers are copied too. Then the watchdog
//! unwinds the copy on its own thread.
//!
//! The copy has other addresses than the original. Each word that points into an original stack is therefore translated: it
//! points to the same place in the copy. An unwinder trusts what it reads, and where its tables are wrong (hand-written code)
//! it would follow any word as a pointer. So a word that points neither into a copied stack nor to code is replaced by the
//! address of zeros:
//!
//! ```text
//! +---------+----------------------+---------+
//! | zeros   | stack 1 | stack 2 .. | zeros   |   one allocation; only the copied part becomes resident
//! +---------+----------------------+---------+
//!      ^ target of all other words
//! ```
//!
//! After the translation, a return address is code or the address of zeros, and a frame is in a copy or in zeros. The walk
//! ends at the first return address that is not code, wherever that is. Three more precautions are needed:
//!
//! * A frame may name saved registers just below the copied part. The words there hold the address of zeros too, because a
//!   frame pointer of zero would lead to address 8.
//! * The seam of a coroutine, where its first frame meets its resumer, follows a pointer to the resumer's frame. So the word
//!   at the address of zeros holds the address of further zeros.
//! * All general registers are translated: in the middle of a prologue the tables may name any of them.
//!
//! The handler must copy mapped memory only. Coroutine stacks are always mapped. The thread's own stack may not be: the kernel
//! grows the stack of the main thread page by page, up to a limit that may be infinite, and a read below the mapped part
//! would fault or grow it. So the watchdog reads the mapped range from /proc/self/maps before it sends the signal. A stack
//! only grows, so the range stays mapped.
//!
//! A number on a coroutine's stack may look like the address of another stack. So the link to the stack of the resumer is
//! recognised by the word that corosensei stores next to it:
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
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};
use std::time::{Duration, Instant};

/// The maximum number of copied bytes, of all stacks together.
const MOST: usize = 1 << 20;
/// The maximum number of copied stacks.
const STACKS: usize = 8;
/// The size of the zeros on each side, in bytes: larger than the frame of any function. Few of their pages are ever
/// touched, so they hardly take memory.
const ZEROS: usize = 32 << 20;
/// The number of bytes copied from below the stack pointer: the red zone of the x86-64 ABI, which signal handlers must not
/// overwrite.
const BELOW: usize = 128;
/// The number of words below the copy that hold the address of zeros: more than a frame saves.
const MARGIN: usize = 512;
/// The maximum length of a copied name, in bytes.
const NAME: usize = 128;

/// A stack that is copied, or planned to be.
#[derive(Clone, Copy, Default)]
struct StackCopy {
    /// The top of the stack, which identifies it.
    top: usize,
    /// The address of the first copied word in the original.
    from: usize,
    /// The offset of the copy from the first copied byte of all stacks.
    at: usize,
    /// The length in bytes; 0 if the stack is planned and not copied yet.
    len: usize,
}

/// The data that the handler collects for the watchdog.
struct StackSnapshot {
    /// Set by the watchdog: the turn to sample, or `None` for any. Overwritten by the handler if it found another turn.
    moment: Option<Moment>,
    id: u64,
    is_event_loop: bool,
    name: [u8; NAME],
    name_len: usize,
    has_name: bool,
    registers: Option<Registers>,
    copies: [StackCopy; STACKS],
    count: usize,
    /// The number of bytes copied so far.
    end: usize,
    /// The zeros, the copies, and zeros again.
    words: Vec<usize>,
    /// The part of the thread's own stack that is mapped.
    own_stack: (usize, usize),
    /// The address ranges of code at the last lookup.
    code: Vec<(usize, usize)>,
}

/// No sample is requested.
const IDLE: u32 = 0;
/// The watchdog has requested a sample.
const ASKED: u32 = 1;
/// The handler is copying.
const COPYING: u32 = 2;
/// The copy is complete.
const COPIED: u32 = 3;

/// The sampler of a worker, shared with its watchdog.
pub(crate) struct Sampler {
    state: AtomicU32,
    thread: signals::Thread,
    /// The next open sampler of the thread. Used by the worker's thread only.
    next: Cell<*const Sampler>,
    /// The bounds of the thread's own stack: the lowest address to which it may grow, and its top.
    bounds: (usize, usize),
    /// An address in use on the thread's own stack.
    inside: usize,
    worker: *const Worker,
    /// Owned by the handler from `ASKED` to `COPIED`, otherwise by the watchdog.
    snapshot: UnsafeCell<StackSnapshot>,
}

// SAFETY: `state` tells which thread owns the snapshot. Only the worker's own thread dereferences `worker`, and only it uses `next`.
unsafe impl Sync for Sampler {}
// SAFETY: as for `Sync`.
unsafe impl Send for Sampler {}

thread_local! {
    /// The open samplers of this thread, as a list, the newest first. Runs in fibers open and close in any order. The handler may read
    /// it: a constant thread-local without a destructor needs no registration.
    static OPEN: Cell<*const Sampler> = const { Cell::new(null()) };
}

/// A sample: the running task and its backtrace.
pub(crate) struct Sample {
    /// The number of the task; 0 if it has ended.
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) is_event_loop: bool,
    pub(crate) trace: Option<Backtrace>,
}

/// The result of a request for a sample.
pub(crate) enum SampleResult {
    Taken(Sample),
    /// The requested turn had ended.
    Over,
    /// The thread did not answer: it blocks the signal.
    Deaf,
}

impl Sampler {
    /// Creates the sampler of `worker`, whose thread is the calling thread.
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
            state: AtomicU32::new(IDLE),
            thread: signals::Thread::current(),
            next: Cell::new(null()),
            bounds: thread_bounds(),
            inside: (&raw const here).addr(),
            worker,
            snapshot: UnsafeCell::new(snapshot),
        }
    }

    /// Accepts samples while `f` runs.
    pub(crate) fn while_open<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Closed<'a>(&'a Sampler);
        impl Drop for Closed<'_> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        self.next.set(OPEN.get());
        // The handler may run between any two instructions: it must find a whole list.
        compiler_fence(Ordering::SeqCst);
        OPEN.set(self);
        let _closed = Closed(self);
        f()
    }

    /// Removes the sampler from the list of the thread.
    fn close(&self) {
        let mut place = OPEN.get();
        if std::ptr::eq(place, self) {
            OPEN.set(self.next.get());
        }
        // SAFETY: the list holds samplers whose `while_open` has not returned, so they are alive. A sampler in the stack of a fiber that
        // was forgotten is never freed.
        while let Some(open) = unsafe { place.as_ref() } {
            if std::ptr::eq(open.next.get(), self) {
                open.next.set(self.next.get());
            }
            place = open.next.get();
        }
        compiler_fence(Ordering::SeqCst);
    }

    /// Takes a sample of the running turn. Called by the watchdog. With `moment`, only if it is still that turn.
    pub(crate) fn look(&self, moment: Option<Moment>) -> SampleResult {
        // SAFETY: no request is pending, so the watchdog owns the cell.
        unsafe {
            (*self.snapshot.get()).moment = moment;
            (*self.snapshot.get()).own_stack = mapped_part(self.bounds, self.inside);
        }
        self.state.store(ASKED, Ordering::Release);
        if !self.thread.interrupt(signals::SAMPLE) {
            // The run is in a fiber that was forgotten, and its thread has ended.
            self.state.store(IDLE, Ordering::Relaxed);
            return SampleResult::Over;
        }
        let asked = Instant::now();
        while self.state.load(Ordering::Acquire) != COPIED {
            let late = asked.elapsed() > Duration::from_secs(1);
            if late && self.state.compare_exchange(ASKED, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return SampleResult::Deaf;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        self.state.store(IDLE, Ordering::Relaxed);
        // SAFETY: the handler has set `COPIED` and does not touch the cell again, so the watchdog owns it.
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

/// Copies the samples that watchdogs have requested from this thread. Returns false if there are none. Called by the signal handler.
///
/// # Safety
///
/// `context` is the context that the kernel passed to the signal handler.
pub(crate) unsafe fn answer(context: *mut libc::c_void) -> bool {
    let (mut place, mut any) = (OPEN.get(), false);
    // SAFETY: as in `Sampler::close`, which this thread may be running: the list is whole between any two instructions.
    while let Some(sampler) = unsafe { place.as_ref() } {
        place = sampler.next.get();
        // Two signals may arrive as one.
        if sampler.state.compare_exchange(ASKED, COPYING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            continue;
        }
        // SAFETY: in state `COPYING` the handler owns the cell. The worker belongs to this thread and outlives its sampler. The
        // caller guarantees the context.
        unsafe {
            let (snapshot, worker) = (&mut *sampler.snapshot.get(), &*sampler.worker);
            snapshot.fill(worker, sampler.bounds, interrupted(context));
        }
        sampler.state.store(COPIED, Ordering::Release);
        any = true;
    }
    any
}

impl StackSnapshot {
    /// Fills the snapshot. Runs in the signal handler, between any two instructions of the worker, so it must not allocate or
    /// take a lock.
    ///
    /// # Safety
    ///
    /// `registers` are those of the interrupted code on this thread, and `bounds` are those of the thread's own stack.
    unsafe fn fill(&mut self, worker: &Worker, bounds: (usize, usize), registers: Option<Registers>) {
        let found = Some(worker.progress().look());
        if self.moment.is_some() && found != self.moment {
            self.moment = found;
            return;
        }
        // SAFETY: a context in use is part of a TCB in `worker.table`, which lives as long as the worker.
        let tcb: &Tcb = unsafe { &*tcb_of(worker.current.get()) };
        self.id = if tcb.phase() == Phase::Free || tcb.is_finished() { 0 } else { tcb.id() };
        self.is_event_loop = worker.is_event_loop(tcb);
        // SAFETY: the name of a task changes only before its first turn and after its end, so it is not borrowed mutably now.
        let name = unsafe { tcb.name_unchecked() }.filter(|_| self.id != 0);
        self.has_name = name.is_some();
        let name = name.unwrap_or("");
        self.name_len = (0..=name.len().min(NAME)).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
        self.name[..self.name_len].copy_from_slice(&name.as_bytes()[..self.name_len]);
        self.registers = registers;
        let Some(registers) = registers else { return };
        // At the end of a function, the unwind tables may place registers that were already popped just below the stack pointer.
        let sp = registers.sp & !7;
        if bounds.0 <= sp && sp < bounds.1 {
            // The stack may have grown since the lookup. Above the stack pointer it is in use, so it is mapped.
            self.own_stack.0 = self.own_stack.0.min(sp);
        }
        let below = sp.saturating_sub(BELOW);
        let from = if self.top_of(below) == self.top_of(sp) { below } else { sp };
        self.plan(from);
        // Coroutines first: the link of a coroutine may lower the start of the planned copy of its resumer's stack. After that
        // stack is copied, it is too late.
        let next = |copies: &[StackCopy]| {
            let rest = |copy: &&StackCopy| copy.len == 0;
            let coroutine = copies.iter().filter(rest).find(|copy| is_coroutine(copy.from));
            coroutine.or_else(|| copies.iter().find(rest)).map(|copy| copy.top)
        };
        while let Some(top) = next(&self.copies[..self.count]) {
            // SAFETY: each planned copy starts at the stack pointer or at a link, both on stacks in use and in their mapped part
            // (`top_of`).
            if !unsafe { self.copy_stack(top) } {
                break;
            }
        }
    }

    /// Plans to copy the stack that contains `from`, from that address to its top, unless it was copied.
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

    /// Copies the stack with this top. If it belongs to a coroutine, plans to copy the stacks of its resumers. Returns false if
    /// no room is left.
    ///
    /// # Safety
    ///
    /// The stack is in use, and the planned copy starts in its mapped part.
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
        // SAFETY: the caller guarantees that the stack is mapped from `from` to its top. `len` is limited to the room in `words`.
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

    /// Returns whether `link` is the address, on a known stack, of a frame pointer with a return address above it.
    fn leads_to_a_return(&self, link: usize) -> bool {
        let Some(top) = self.top_of(link) else { return false };
        if !link.is_multiple_of(align_of::<usize>()) || top - link < 2 * size_of::<usize>() {
            return false;
        }
        let mut frame = [0; 2];
        // SAFETY: `top_of` guarantees that the stack is mapped from `link` to its top, and that part has at least two words.
        unsafe { copy_words(link, frame.as_mut_ptr(), 2) };
        is_code(&self.code, frame[1])
    }

    /// Returns the top of the stack that contains `address`: a stack of the library, or the mapped part of the thread's own
    /// stack. The stack is mapped from `address` to the returned top.
    fn top_of(&self, address: usize) -> Option<usize> {
        match arena::find(address) {
            Some(Place::Stack(slot, _)) => Some(slot.top()).filter(|top| address < *top),
            Some(Place::Guard(_)) => None,
            None => (self.own_stack.0 <= address && address < self.own_stack.1).then_some(self.own_stack.1),
        }
    }

    /// Makes a sample of the snapshot.
    fn sample(&mut self) -> Sample {
        let name = std::str::from_utf8(&self.name[..self.name_len]).ok().filter(|_| self.has_name);
        let (id, name, is_event_loop) = (self.id, name.map(Into::into), self.is_event_loop);
        Sample { id, name, is_event_loop, trace: self.unwind() }
    }

    /// Translates the copy and unwinds it. Returns its backtrace, if there is one.
    fn unwind(&mut self) -> Option<Backtrace> {
        unsafe extern "C" fn capture(place: *mut u8) {
            // SAFETY: `place` points to `trace` below, which outlives the call.
            unsafe { *place.cast::<Option<Backtrace>>() = Some(Backtrace::force_capture()) };
        }
        let registers = self.registers?;
        // Libraries may have been loaded since the last lookup. The handler uses the new ranges from the next sample on.
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
        // A function that probes a large frame page by page holds the address of the end of the frame in a register, and the
        // tables find the caller by it. So a register that points below the first stack keeps its distance to the copy: it
        // then points to zeros.
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
        // SAFETY: all registers and all words of the copy were translated, so each points into the copy, to zeros or to code.
        // `words` is not changed during the call.
        unsafe { unwind_from_registers(&registers, capture, (&raw mut trace).cast()) };
        trace
    }

    /// Resets the snapshot: all words are zero again.
    fn wipe(&mut self) {
        let first = ZEROS / size_of::<usize>();
        self.words[first - MARGIN..first + self.end / size_of::<usize>()].fill(0);
        self.words[first / 2] = 0;
        self.count = 0;
        self.end = 0;
        self.registers = None;
    }
}

/// Returns whether `address` is on the stack of a body.
fn is_coroutine(address: usize) -> bool {
    match arena::find(address) {
        Some(Place::Stack(slot, _)) => !matches!(slot.kind(), Kind::Task | Kind::EventLoop),
        _ => false,
    }
}

/// Copies words without checks by AddressSanitizer, which forbids other functions to read most of a stack frame.
///
/// # Safety
///
/// `count` words are mapped at `from` and at `to`, and the caller has exclusive access to those at `to`.
unsafe fn copy_words(from: usize, to: *mut usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller guarantees both ranges (see above). By the ABI the direction flag is clear, also in a signal handler.
    unsafe {
        std::arch::asm!("rep movsq", inout("rcx") count => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller guarantees both ranges (see above). The buffer of the copy is no stack, so they do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(from as *const usize, to, count);
    }
}

/// Returns the lowest and the highest address of the calling thread's own stack. Both are 0 if unknown.
fn thread_bounds() -> (usize, usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: `pthread_getattr_np` initialises the attributes if it returns 0, and they are destroyed after their last use.
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

/// Returns the mapped part of a stack, up to its top. It starts at `inside`, which is in use, or below if the system says so.
/// Reads a file, so a signal handler must not call it.
fn mapped_part(bounds: (usize, usize), inside: usize) -> (usize, usize) {
    let (lowest, top) = bounds;
    if top == 0 {
        return (0, 0);
    }
    // A sanitizer may place a local variable outside the stack.
    let inside = if (lowest..top).contains(&inside) { inside } else { top - size_of::<usize>() };
    // Without this file, a backtrace from a coroutine that main resumed has the frames of the coroutine, but not those of main.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (readable_below(&maps, top).map_or(inside, |start| start.clamp(lowest, inside)), top)
}

/// Returns the start of the readable memory that extends without a gap to the byte before `top`.
fn readable_below(maps: &str, top: usize) -> Option<usize> {
    let mut range = (0, 0);
    for line in maps.lines() {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        let is_readable = rest.starts_with('r');
        // The lines are in ascending order.
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

/// Returns the address ranges of the code of the program and its libraries.
fn code() -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    #[cfg(target_os = "linux")]
    // SAFETY: `dl_iterate_phdr` passes valid entries and the pointer to `ranges` to the callback, and keeps neither.
    unsafe {
        unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, ranges: *mut libc::c_void) -> libc::c_int {
            // SAFETY: the loader passes a valid entry with `dlpi_phnum` headers. The last argument points to the `ranges` vector
            // of `code`, which outlives the call.
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
    fn readable_below_ends_at_gaps_and_unreadable_maps() {
        let maps = "1000-2000 rw-p 00000000 00:00 0\n2000-3000 ---p 00000000 00:00 0\n3000-4000 r--p 00000000 00:00 0\n\
                    4000-6000 rw-p 00000000 00:00 0 [stack]\n8000-9000 rw-p 00000000 00:00 0\n";
        let starts = [0x2000, 0x3000, 0x4000, 0x5800, 0x6000, 0x7000, 0x9000].map(|top| readable_below(maps, top));
        assert_eq!(starts, [Some(0x1000), None, Some(0x3000), Some(0x3000), Some(0x3000), None, Some(0x8000)]);
        assert_eq!(readable_below("", 1), None);
        assert_eq!(readable_below("what is this", 1), None);
    }
}
