//! The chain of running bodies: which body resumed which, from the innermost outwards.
//!
//! A resume records nothing, so the fast path pays nothing for the chain. A walk over the stacks answers two rare
//! questions: which bodies must not suspend while a section is open ([`mark`]), and whether a panic began inside or
//! outside of a body ([`resumed_in_panic_here`]). At each step the stack pointer gives the stack, the stack's tag gives
//! the [`Head`] of the body that runs there, and corosensei's `on_parent_stack` gives the stack pointer of the resumer.
//! The walk ends at a stack without a body: the stack of a task or a thread.
//!
//! # Why only the body itself suspends
//!
//! A body receives its handle (`Yielder`, `Suspender`, `Inbox`) by reference. Code outside of the body cannot name the
//! lifetime of that reference, and the handle is neither `Send` nor `Sync`. So code on another stack can hold the
//! handle in two cases only:
//!
//! * A `scoped` coroutine that the body owns borrows the handle, and the body resumes that coroutine. The coroutine is
//!   part of the chain, so it is sound to suspend the outer body from the inner body's stack.
//! * A task of a scope (or the main function of a run) that the body opened borrows the handle. The task has a stack of
//!   its own, and the body's resumer knows nothing of that stack.
//!
//! The second case needs an open scope or run. While a section is open, every body of the chain that opened it is
//! marked, and a marked body refuses to suspend ([`Head::open`]). The mark also keeps a section that limits waits from
//! leaking to the consumer, and keeps a run from staying open on a stack that the program then forgets.
//!
//! A fiber is a body, too, but its sections are its own: it may be suspended with a run open, which is hidden outside of it. So the
//! marks end at the first fiber outwards. The poll of a fiber is itself a section of the bodies around it: the code of the fiber may reach the
//! handle of a generator whose body polls it, through a scoped thread-local, and cannot suspend that generator.

use crate::arch;
use crate::stack::arena::{Kind as Owner, Region, Slot, slot_around};
use crate::stack::pool::THREAD_ENDED;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr::{null, with_exposed_provenance};

/// The control byte: announces what crosses a switch. The fast path reads it and never writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Control {
    /// A value and nothing else.
    Plain,
    /// To the body: unwind. To a body that has not started: do not start.
    Unwind,
    /// In both directions: the handle holds a message, which only the body and its owner can read.
    Message,
    /// The thread is ending, and thread-locals to which frames on this stack point may be destroyed, so the body must
    /// not run again. The stack pool writes this value.
    ThreadEnded = THREAD_ENDED,
}

/// The parent link, through which a body suspends. corosensei's yielder is `repr(transparent)` around it, so the types
/// of input and output do not matter.
pub(super) type Link = corosensei::Yielder<(), ()>;

/// The part of a raw yielder that is the same for every type of input and output. It is the first field of the raw
/// yielder, and so of the handle.
///
/// The control byte is its first field: the stack's tag stores the address of the control byte, and [`Walk`] uses that
/// address as the address of the head.
#[repr(C)]
pub(crate) struct Head {
    pub(super) control: Cell<Control>,
    /// Set if the resumer was panicking when it resumed the body: then `panicking()` says nothing about the body.
    pub(super) resumed_in_panic: Cell<bool>,
    /// Set when the body was asked to unwind. Cleared if a panicking thread resumes the body after that.
    pub(super) unwinding: Cell<bool>,
    /// The kind of the section that was opened at `place`.
    kind: Cell<Kind>,
    /// The number of the body on its thread; 0 until it is asked for.
    #[cfg(feature = "tracing")]
    number: Cell<u32>,
    /// The number of open sections on the body's stack and on the stacks of the bodies that it resumed. The body must
    /// not suspend while this number is positive. While a body runs ahead and no section is open, the number is negative: it
    /// counts the values for which there is room in the body's buffer. So one look before a suspension answers both questions.
    pub(super) open: Cell<isize>,
    /// The negative number of `open`, while sections are open in a body that runs ahead.
    room: Cell<isize>,
    /// The parent link, on targets where [`Head::link`] cannot compute its address. Null until the body starts.
    stored_link: Cell<*const Link>,
    /// The place where the innermost section on the body's own stack was opened.
    place: Cell<Option<&'static Location<'static>>>,
}

impl Head {
    pub(super) fn new() -> Head {
        Head {
            control: Cell::new(Control::Plain),
            resumed_in_panic: Cell::new(false),
            unwinding: Cell::new(false),
            kind: Cell::new(Kind::Run),
            #[cfg(feature = "tracing")]
            number: Cell::new(0),
            open: Cell::new(0),
            room: Cell::new(0),
            stored_link: Cell::new(null()),
            place: Cell::new(None),
        }
    }
}

/// The distance in bytes from the handle down to corosensei's parent link, to which its yielder points. `None` where
/// the distance is unknown: there the link is stored, and loading it costs half a nanosecond per suspension.
const LINK_BELOW: Option<usize> =
    if cfg!(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(feature = "asan"))) {
        Some(16)
    } else {
        None
    };

impl Head {
    /// Returns the parent link of the body, which must have started.
    #[inline(always)]
    pub(super) fn link(&self) -> *const Link {
        match LINK_BELOW {
            Some(below) => with_exposed_provenance(std::ptr::from_ref(self).addr() - below),
            None => self.stored_link.get(),
        }
    }

    /// Sets the parent link when the body starts, and checks that [`Head::link`] will find it.
    #[inline(always)]
    pub(super) fn set_link(&self, link: *const Link) {
        match LINK_BELOW {
            Some(_) => assert!(self.link() == link, "corosensei stores its parent link at an unexpected address"),
            None => self.stored_link.set(link),
        }
    }
}

/// The kind of a section that a body must not suspend out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Run,
    Scope,
    Join,
    Timeout,
    Deadline,
    Shield,
    NoSuspend,
    /// The poll of a fiber.
    Poll,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Scope => "scope",
            Kind::Join => "join_anywhere",
            Kind::Timeout => "timeout",
            Kind::Deadline => "deadline",
            Kind::Shield => "shield",
            Kind::NoSuspend => "no_suspend",
            Kind::Poll => "fiber poll",
        }
    }
}

/// An open section on a body's stack: its kind and where it was opened.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) kind: Kind,
    pub(crate) place: &'static Location<'static>,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} section", self.kind.text())?;
        // A poll is called by the code of an executor or of the library.
        if self.kind == Kind::Poll { Ok(()) } else { write!(f, " (opened at {})", self.place) }
    }
}

impl Head {
    /// Returns the innermost section on the body's own stack.
    fn innermost(&self) -> Option<Opened> {
        self.place.get().map(|place| Opened { kind: self.kind.get(), place })
    }

    fn open_section(&self) {
        let open = self.open.get();
        if open < 0 {
            self.room.set(open);
        }
        self.open.set(open.max(0) + 1);
    }

    fn close_section(&self) {
        let open = self.open.get() - 1;
        self.open.set(if open == 0 { self.room.take() } else { open });
    }

    /// Sets the number of values for which there is room in the body's buffer. Returns the number that was left.
    pub(super) fn set_room(&self, room: isize) -> isize {
        let open = self.open.get();
        // Inside of a section the number is stored beside the open sections.
        let place = if open > 0 { &self.room } else { &self.open };
        -place.replace(-room)
    }

    fn set_innermost(&self, section: Option<Opened>) {
        self.place.set(section.map(|section| section.place));
        self.kind.set(section.map_or(Kind::Run, |section| section.kind));
    }
}

/// A running body: its stack, and the head on that stack.
struct Running {
    slot: Slot,
    head: &'static Head,
}

/// An iterator over the bodies around a stack pointer, from the innermost outwards.
struct Walk(usize);

impl Walk {
    /// Starts at the caller's own stack.
    #[inline(always)]
    fn from_here() -> Walk {
        Walk(arch::stack_pointer())
    }

    /// Starts at the resumer of the body of `head`, which must be running.
    fn from_resumer(head: &Head) -> Walk {
        // SAFETY: both callers pass the head of a running body. So its link is set, and the parent link lives on the
        // body's stack until the body ends. The link names the stack of the resumer, which is suspended in the resume.
        Walk(unsafe { (*head.link()).on_parent_stack(arch::stack_pointer) })
    }
}

impl Iterator for Walk {
    type Item = Running;

    #[inline]
    fn next(&mut self) -> Option<Running> {
        self.step(slot_around(self.0)?)
    }
}

impl Walk {
    /// Goes on from a stack to that of its resumer. Returns the body on the stack, if it has one.
    #[inline]
    fn step(&mut self, slot: Slot) -> Option<Running> {
        let control = slot.exit_byte()?;
        // SAFETY: only `RawYielder::register_exit_byte` stores this address, and it stores that of a head's first field.
        // The head lives until the body ends, which clears the tag. The body has not ended, because the walk reached
        // its stack through its running frames. No `Running` outlives the walk.
        let head: &'static Head = unsafe { control.cast::<Head>().as_ref() };
        self.0 = Walk::from_resumer(head).0;
        Some(Running { slot, head })
    }
}

thread_local! {
    /// The region from which this thread polled a fiber last, outside of bodies.
    static POLLED_FROM: Cell<Region> = const { Cell::new(Region::EMPTY) };
    /// Set once this thread has created a body. In a program of tasks alone no section starts a walk.
    static HAS_BODIES: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread creates a body.
#[inline(always)]
pub(super) fn note_body() {
    HAS_BODIES.set(true);
}

/// The bodies that [`mark`] marked, for [`unmark`].
pub(crate) enum Marked {
    /// No body: the section was opened on the stack of a task or a thread.
    None,
    /// At least one body. The field is the section that was the innermost one on the innermost body's stack before.
    Inside(Option<Opened>),
}

/// Opens a section here: the bodies that run now must not suspend before it closes.
#[inline(always)]
pub(crate) fn mark(section: Opened) -> Marked {
    if !HAS_BODIES.get() {
        return Marked::None;
    }
    mark_running(section)
}

/// Like [`mark`], for the poll of a fiber. Most executors run on the stack of a thread, of a task or of another fiber, where there is nothing to
/// mark: one look at the stack pointer shows that ([`Region`] says why it suffices), and no walk.
#[inline(always)]
pub(crate) fn mark_poll(section: Opened) -> Marked {
    if POLLED_FROM.with(|region| region.get().shows_no_body(arch::stack_pointer())) {
        debug_assert!(inside_fiber().next().is_none(), "the region from which a fiber is polled is wrong");
        return Marked::None;
    }
    mark_poll_elsewhere(section)
}

#[cold]
#[inline(never)]
fn mark_poll_elsewhere(section: Opened) -> Marked {
    let marked = mark_running(section);
    if let Marked::None = marked {
        POLLED_FROM.set(Region::around(arch::stack_pointer()));
    }
    marked
}

#[inline(never)]
fn mark_running(section: Opened) -> Marked {
    let mut walk = inside_fiber();
    match walk.next() {
        None => Marked::None,
        Some(innermost) => Marked::Inside(mark_all(innermost.head, walk, section)),
    }
}

/// Returns an iterator over the bodies around the caller, out to the first fiber, which is not included. A section inside a fiber
/// belongs to the fiber, whatever its poller does meanwhile.
fn inside_fiber() -> impl Iterator<Item = Running> {
    let mut walk = Walk::from_here();
    std::iter::from_fn(move || {
        let slot = slot_around(walk.0)?;
        if slot.kind() == Owner::Fiber { None } else { walk.step(slot) }
    })
}

fn mark_all(innermost: &Head, around: impl Iterator<Item = Running>, section: Opened) -> Option<Opened> {
    let outer = innermost.innermost();
    innermost.set_innermost(Some(section));
    for head in std::iter::once(innermost).chain(around.map(|running| running.head)) {
        head.open_section();
    }
    outer
}

/// Closes a section. The same bodies run as when it was opened: a marked body cannot suspend, and code cannot leave a
/// stack in any other way.
#[inline(always)]
pub(crate) fn unmark(marked: &Marked) {
    if let Marked::Inside(outer) = marked {
        unmark_all(*outer);
    }
}

#[inline(never)]
fn unmark_all(outer: Option<Opened>) {
    for (nth, Running { head, .. }) in inside_fiber().enumerate() {
        if nth == 0 {
            head.set_innermost(outer);
        }
        head.close_section();
    }
}

/// Returns the section that forbids suspending the body on `slot` from here: the innermost section on that body's stack
/// or on the stack of a body inside of it. Returns `None` if the caller does not run in that body, but in a task of a
/// scope that is open there.
#[cold]
pub(super) fn section_inside(slot: Slot) -> Option<Opened> {
    let mut inside = None;
    for running in Walk::from_here() {
        inside = inside.or(running.head.innermost());
        if running.slot == slot {
            return inside;
        }
    }
    None
}

/// Returns whether the caller runs in the body on `slot`, or in a body that it resumed.
#[cold]
pub(super) fn runs_on(slot: Slot) -> bool {
    Walk::from_here().any(|running| running.slot == slot)
}

/// Returns whether any body from here outwards was resumed by a thread that was already panicking. If so, the panic
/// started outside of that body. Called on the resumer's side.
#[cold]
pub(super) fn resumed_in_panic_here() -> bool {
    Walk::from_here().any(|running| running.head.resumed_in_panic.get())
}

/// Like [`resumed_in_panic_here`], but starts at the resumer of `head`'s body. Called on the body's side.
#[cold]
pub(super) fn resumed_in_panic_around(head: &Head) -> bool {
    Walk::from_resumer(head).any(|running| running.head.resumed_in_panic.get())
}

/// Returns the numbers of the bodies around the caller, from the innermost outwards. No other body of this thread has or had the number, up to
/// four thousand million bodies.
#[cfg(feature = "tracing")]
#[inline]
pub(crate) fn body_numbers() -> impl Iterator<Item = u32> {
    HAS_BODIES.get().then(Walk::from_here).into_iter().flatten().map(|running| running.head.number())
}

#[cfg(feature = "tracing")]
impl Head {
    fn number(&self) -> u32 {
        thread_local! {
            static LAST: Cell<u32> = const { Cell::new(0) };
        }
        if self.number.get() == 0 {
            LAST.set(LAST.get().wrapping_add(1).max(1));
            self.number.set(LAST.get());
        }
        self.number.get()
    }
}
