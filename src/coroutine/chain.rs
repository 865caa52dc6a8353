//! The chain of running bodies: which body resumed which, from the innermost outwards.
//!
//! The plain way of a resume writes nothing down for this. Two rare questions are answered by walking: which bodies may not
//! suspend while a section is open ([`mark`]), and whether a panic began inside of a body or outside of it ([`resumed_in_panic_here`]). A
//! stack pointer leads to the stack that it is on, that stack's tag to the [`Head`] of its body, and corosensei's
//! `on_parent_stack` to the stack of the resumer. The walk ends at a stack that no body runs on: a task's or a thread's.
//!
//! # Why only the body itself suspends
//!
//! A body's handle (`Yielder`, `Suspender`, `Inbox`) is lent to the body by reference, with a lifetime that nothing outside of
//! the body can name, and is neither `Send` nor `Sync`. So code on another stack can hold it in two cases only:
//!
//! * a `scoped` coroutine that the body owns borrows it, and is resumed from the body: it is part of the chain, and suspending
//!   the outer body from the inner one's stack is sound;
//! * a task of a scope (or the main function of a run) that was opened inside of the body borrows it. Such a task has a stack
//!   of its own, which the body's resumer knows nothing of.
//!
//! The second needs an open scope or run. While one is open, every body of the chain that opened it is marked, and a marked
//! body refuses to suspend ([`Head::open`]). That is also what keeps a section that limits waits from leaking to the
//! consumer, and a run from being left open on a stack that is then forgotten.

use crate::arch;
use crate::stack::arena::{Slot, slot_around};
use crate::stack::pool::THREAD_ENDED;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr::{null, with_exposed_provenance};

/// The announcement beside a switch. `Plain` is the one that is never written on the plain way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Control {
    /// A value and nothing else.
    Plain,
    /// To the body: unwind. (A body that has not started: do not.)
    Unwind,
    /// Either way: the message is in the handle, in words that only the two sides know.
    Message,
    /// The thread ends, and thread-locals that lie on this stack may be gone: the body runs no more. Written by the pool.
    ThreadEnded = THREAD_ENDED,
}

/// How a body suspends, whatever its types. corosensei's yielder is `repr(transparent)` around the parent link.
pub(super) type Link = corosensei::Yielder<(), ()>;

/// The part of a raw yielder that is the same for every type of input and output; the first field of the raw yielder,
/// and so of the handle.
///
/// Its first byte is the control byte, because the stack's tag keeps the address of the control byte, and the walk
/// takes that for the head's.
#[repr(C)]
pub(crate) struct Head {
    pub(super) control: Cell<Control>,
    /// The resumer was panicking when it resumed the body, so `panicking()` says nothing about the body.
    pub(super) resumed_in_panic: Cell<bool>,
    /// The body has been told to unwind.
    pub(super) unwinding: Cell<bool>,
    /// The kind of the section at `place`.
    kind: Cell<Kind>,
    /// How many sections are open on the body's stack and on those of the bodies that it resumed. While it is not zero the body
    /// does not suspend.
    pub(super) open: Cell<u32>,
    /// How the body suspends, where that is not found by its place: see [`Head::link`]. Null until it has started.
    stored_link: Cell<*const Link>,
    /// Where the innermost section on the body's own stack was opened.
    place: Cell<Option<&'static Location<'static>>>,
}

impl Head {
    pub(super) fn new() -> Head {
        Head {
            control: Cell::new(Control::Plain),
            resumed_in_panic: Cell::new(false),
            unwinding: Cell::new(false),
            kind: Cell::new(Kind::Run),
            open: Cell::new(0),
            stored_link: Cell::new(null()),
            place: Cell::new(None),
        }
    }
}

/// How far below the handle corosensei keeps its parent link, which is what its yielder points to. Where that is not known the
/// link is stored: loading it takes half a nanosecond of every suspension.
const LINK_BELOW: Option<usize> =
    if cfg!(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(feature = "asan"))) {
        Some(16)
    } else {
        None
    };

impl Head {
    /// How the body suspends. It has started.
    #[inline(always)]
    pub(super) fn link(&self) -> *const Link {
        match LINK_BELOW {
            Some(below) => with_exposed_provenance(std::ptr::from_ref(self).addr() - below),
            None => self.stored_link.get(),
        }
    }

    /// The body starts. Checks that the link is where it is looked for later.
    #[inline(always)]
    pub(super) fn set_link(&self, link: *const Link) {
        match LINK_BELOW {
            Some(_) => assert!(self.link() == link, "corosensei keeps its parent link in another place"),
            None => self.stored_link.set(link),
        }
    }
}

/// The kinds of sections that a body cannot suspend out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Run,
    Scope,
    Timeout,
    Deadline,
    Shield,
    NoSuspend,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Scope => "scope",
            Kind::Timeout => "timeout",
            Kind::Deadline => "deadline",
            Kind::Shield => "shield",
            Kind::NoSuspend => "no_suspend",
        }
    }
}

/// A section on a body's stack: its kind and where it was opened.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) kind: Kind,
    pub(crate) place: &'static Location<'static>,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} section (opened at {})", self.kind.text(), self.place)
    }
}

impl Head {
    /// The innermost section on the body's own stack.
    fn innermost(&self) -> Option<Opened> {
        self.place.get().map(|place| Opened { kind: self.kind.get(), place })
    }

    fn set_innermost(&self, section: Option<Opened>) {
        self.place.set(section.map(|section| section.place));
        self.kind.set(section.map_or(Kind::Run, |section| section.kind));
    }
}

/// A body that runs: its stack, and its head there.
struct Running {
    slot: Slot,
    head: &'static Head,
}

/// The bodies around a stack pointer, the innermost first.
struct Walk(usize);

impl Walk {
    /// From the code that asks.
    #[inline(always)]
    fn from_here() -> Walk {
        Walk(arch::stack_pointer())
    }

    /// From the resumer of a body that runs.
    fn from_resumer(head: &Head) -> Walk {
        // SAFETY: the caller's body runs, so its link is set and names the stack of its resumer, which is suspended just there.
        Walk(unsafe { (*head.link()).on_parent_stack(arch::stack_pointer) })
    }
}

impl Iterator for Walk {
    type Item = Running;

    #[inline]
    fn next(&mut self) -> Option<Running> {
        let slot = slot_around(self.0)?;
        let control = slot.last_word()?;
        // SAFETY: `RawYielder::ask_for_last_word` gave the address of a head's first field, which lives until the tag
        // is cleared, so until the body has ended; and this body has not, since the walk came by its running frames. No
        // `Running` outlives the walk.
        let head: &'static Head = unsafe { control.cast::<Head>().as_ref() };
        self.0 = Walk::from_resumer(head).0;
        Some(Running { slot, head })
    }
}

thread_local! {
    /// Whether this thread has ever made a body. Programs of tasks alone walk nowhere.
    static HAS_BODIES: Cell<bool> = const { Cell::new(false) };
}

/// This thread makes a body.
#[inline(always)]
pub(super) fn note_body() {
    HAS_BODIES.set(true);
}

/// The bodies that run while a section is open, as [`mark`] left them for [`unmark`].
pub(crate) enum Marked {
    /// There are none: the section was opened on the stack of a task or a thread.
    None,
    /// There are some. The innermost has this section open around the new one.
    Inside(Option<Opened>),
}

/// Notes that a section opens here: the bodies that run now do not suspend before it closes.
#[inline(always)]
pub(crate) fn mark(section: Opened) -> Marked {
    if !HAS_BODIES.get() {
        return Marked::None;
    }
    mark_running(section)
}

#[inline(never)]
fn mark_running(section: Opened) -> Marked {
    let mut walk = Walk::from_here();
    match walk.next() {
        None => Marked::None,
        Some(innermost) => Marked::Inside(mark_all(innermost.head, walk, section)),
    }
}

fn mark_all(innermost: &Head, around: Walk, section: Opened) -> Option<Opened> {
    let outer = innermost.innermost();
    innermost.set_innermost(Some(section));
    for head in std::iter::once(innermost).chain(around.map(|running| running.head)) {
        head.open.set(head.open.get() + 1);
    }
    outer
}

/// The section closes. The same bodies run as when it was opened: none of them could suspend, and what runs on a stack cannot
/// leave it otherwise.
#[inline(always)]
pub(crate) fn unmark(marked: &Marked) {
    if let Marked::Inside(outer) = marked {
        unmark_all(*outer);
    }
}

#[inline(never)]
fn unmark_all(outer: Option<Opened>) {
    for (nth, Running { head, .. }) in Walk::from_here().enumerate() {
        if nth == 0 {
            head.set_innermost(outer);
        }
        head.open.set(head.open.get() - 1);
    }
}

/// The section that keeps the body on `slot` from being suspended here: the innermost one on its stack or on that of a body
/// inside of it. `None` if the code that asks does not run in that body, but in a task of a scope that is open there.
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

/// Whether the code that asks is part of the body on `slot`, or of one that it resumed.
#[cold]
pub(super) fn runs_on(slot: Slot) -> bool {
    Walk::from_here().any(|running| running.slot == slot)
}

/// Whether a body from here outwards was resumed by a thread that panicked already. Then the panic is not that of a body inside
/// of it. For the resumer's side.
#[cold]
pub(super) fn resumed_in_panic_here() -> bool {
    Walk::from_here().any(|running| running.head.resumed_in_panic.get())
}

/// The same from the resumer of a body outwards, for that body's side.
#[cold]
pub(super) fn resumed_in_panic_around(head: &Head) -> bool {
    Walk::from_resumer(head).any(|running| running.head.resumed_in_panic.get())
}
