//! Values with canaries, which must be dropped once, and panics, which must be seen once.
#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// Ends the process; the driver names the program.
pub(crate) fn fail(what: &str) -> ! {
    eprintln!("fuzz: {what}\n{}", std::backtrace::Backtrace::capture());
    std::process::abort()
}

/// The counts of one program.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Tokens that exist.
    alive: AtomicI64,
    /// Whether a value was forgotten, or abandoned as documented, so that tokens may stay.
    leaky: AtomicBool,
    /// Whether a combinator was unwound while it held results.
    unwound: AtomicBool,
    /// The number of panics that were dropped unseen.
    unseen: AtomicI64,
}

impl Ledger {
    pub(crate) fn allow_leaks(&self) {
        self.leaky.store(true, Relaxed);
    }

    pub(crate) fn allow_unseen(&self) {
        self.unwound.store(true, Relaxed);
    }

    /// A panic was only borrowed.
    pub(crate) fn excuse_a_panic(&self) {
        self.unseen.fetch_sub(1, Relaxed);
    }

    /// Checks the counts at the end of the program.
    pub(crate) fn settle(&self) {
        let (alive, unseen) = (self.alive.load(Relaxed), self.unseen.load(Relaxed));
        if alive != 0 && !self.leaky.load(Relaxed) {
            fail(&format!("{alive} values were not dropped, and no value was forgotten"));
        }
        if unseen > 0 && !self.unwound.load(Relaxed) {
            fail(&format!("{unseen} panics were dropped unseen"));
        }
    }
}

const ALIVE: u64 = 0x5afe_c0de_0000_0001;
const DEAD: u64 = 0xdead_0000_dead_0000;

/// A value on the heap that can check its contents.
pub(crate) struct Token {
    words: Box<[u64; 3]>,
    ledger: Arc<Ledger>,
}

impl Token {
    pub(crate) fn new(ledger: &Arc<Ledger>) -> Token {
        let number = ledger.alive.fetch_add(1, Relaxed) as u64;
        Token { words: Box::new([ALIVE, number, !number]), ledger: Arc::clone(ledger) }
    }

    pub(crate) fn check(&self) {
        if self.words[0] != ALIVE || self.words[1] != !self.words[2] {
            fail(&format!("a value is broken: {:x?}", self.words));
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.check();
        self.words[0] = DEAD;
        self.ledger.alive.fetch_sub(1, Relaxed);
    }
}

/// A value on a stack that can check its contents.
pub(crate) struct Canary([u64; 4]);

impl Canary {
    #[inline(never)]
    pub(crate) fn new(seed: usize) -> Canary {
        let seed = seed as u64;
        Canary([seed, seed ^ ALIVE, !seed, seed.rotate_left(13)])
    }

    #[inline(never)]
    pub(crate) fn check(&self) {
        let [seed, a, b, c] = *std::hint::black_box(&self.0);
        if (a, b, c) != (seed ^ ALIVE, !seed, seed.rotate_left(13)) {
            fail(&format!("a stack is broken: {:x?}", self.0));
        }
    }
}

/// The payload of the programs' own panics.
pub(crate) struct Bang {
    token: Token,
    seen: bool,
}

impl Bang {
    pub(crate) fn raise(ledger: &Arc<Ledger>) -> ! {
        // A panic out of a destructor during another panic ends there, and is only printed to stderr.
        std::panic::panic_any(Bang { token: Token::new(ledger), seen: std::thread::panicking() })
    }
}

impl Drop for Bang {
    fn drop(&mut self) {
        if !self.seen {
            self.token.ledger.unseen.fetch_add(1, Relaxed);
        }
    }
}

/// A caught panic.
pub(crate) enum Caught {
    /// A panic of the program, which counts as seen now.
    Bang,
    /// A documented panic of the library.
    Text,
    /// An unwinding of the library.
    Private(Box<dyn Any + Send>),
}

/// The panics that the library documents. Every other panic is a defect of the library.
const TEXTS: [&str; 21] = [
    "cannot wait",
    "cannot open a scope",
    "cannot spawn a task",
    "cannot set a ",
    "cannot park outside",
    "cannot sleep outside",
    "cannot resume ",
    "cannot start a run inside of another",
    "cannot finish ",
    "cannot yield from ",
    "cannot add a callback",
    "cannot take the result",
    "cannot read a task-local",
    "the result of task ",
    "deadlock: ",
    "an unnamed generator raised: ",
    "an unnamed generator ended without a value",
    "(not a string; the scope returns it)",
    "generator had finished before it was run as a task",
    "cannot suspend",
    "cannot use a task-local",
];

/// Classifies a panic.
pub(crate) fn see(mut payload: Box<dyn Any + Send>) -> Caught {
    if let Some(bang) = payload.downcast_mut::<Bang>() {
        bang.token.check();
        bang.seen = true;
        return Caught::Bang;
    }
    let text = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&str>() {
            Ok(text) => text.to_string(),
            Err(payload) => return Caught::Private(payload),
        },
    };
    if !TEXTS.iter().any(|known| text.starts_with(known)) {
        fail(&format!("a panic that is not documented: {text}"));
    }
    Caught::Text
}

/// Checks the panic of a task, which is never an unwinding of the library.
pub(crate) fn see_failure(payload: Box<dyn Any + Send>) {
    if matches!(see(payload), Caught::Private(_)) {
        fail("a task failed with a payload of the library");
    }
}

/// Checks a borrowed panic.
pub(crate) fn peek(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Bang>()
}
