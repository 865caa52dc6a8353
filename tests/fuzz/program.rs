//! Programs: their operations, and their generation from a seed.
//!
//! A program is a list of blocks, each a list of operations that name further blocks. A block only names blocks that were
//! begun after it or finished before it, so no program recurses. The kinds of operations of a program and their frequencies are
//! drawn first ("swarm testing"): programs that use all kinds at once rarely reach deep states.
#![forbid(unsafe_code)]

use crate::random::Random;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The index of a block.
pub(crate) type Block = usize;

/// The kinds of bodies in a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `Generator<Token>`: takes nothing, can be delegated to.
    Plain,
    /// `Generator<Token, Token, Token>`: is sent values.
    Speaker,
    Coroutine,
    Sink,
}

/// An action on a body of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    Resume(u8),
    Throw,
    Close,
    Drop,
    Forget,
    /// Moved into a thread-local, to be dropped when the thread ends.
    Stash,
    /// Driven by a task.
    Each,
}

/// An action on a handle of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handle {
    Join,
    TryJoin,
    Cancel,
    CancelAndJoin,
    Drop,
    Forget,
    Gather,
    Race,
    AsCompleted,
}

/// A wait or a wake.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Turn,
    Sleep(u16),
    Park(u16),
    ParkForEver,
    Unpark,
    TrySend,
    Send,
    SendTimeout(u16),
    Recv,
    RecvTimeout(u16),
    Select(u16),
    Acquire(u16),
    AddPermit,
    EventSet,
    EventClear,
    AwaitEvent(u16),
    PromiseSet,
    AwaitPromise(u16),
    /// A thread sends, sets and wakes, and is joined.
    Remote,
}

/// A section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Section {
    Timeout(u16),
    /// Moved to the second before the block begins.
    Deadline(u16, u16),
    Shield,
    NoSuspend,
}

/// The configuration of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunConfig {
    pub(crate) paused: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) grace: u16,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Suspends the body that is `port` bodies out from the innermost within reach. `lenient`: catches a refusal.
    Suspend {
        port: u8,
        trying: bool,
        lenient: bool,
    },
    /// Delegates to a generator of the pool, or to a new one.
    Delegate {
        port: u8,
        trying: bool,
        lenient: bool,
        body: Option<Block>,
    },
    Make(Kind, Block),
    Body(Use, u8),
    /// A scoped coroutine, and the block of its owner.
    Scoped(Block, Block),
    /// Resumes a scoped coroutine within reach.
    ResumeScoped(u8),
    Section(Section, Block),
    /// Tasks, the body; cancelled before the body; a task of a task.
    Scope {
        tasks: Vec<Block>,
        body: Block,
        cancel: bool,
        late: Option<Block>,
        eager: bool,
        join: bool,
    },
    Run(RunConfig, Block),
    Spawn {
        block: Block,
        eager: bool,
    },
    Handle(Handle, u8),
    OnDone {
        handle: u8,
        block: Block,
        remove: bool,
    },
    PromiseDone(Block),
    Wait(Wait),
    Lock(u16, Block),
    Local(Block),
    Panic,
    Catch(Block),
    /// A destructor that runs a block at the end of this one, whether it returns or unwinds.
    OnDrop(Block),
    /// Ends the body.
    Return,
}

/// An operation, and its number in the program.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) number: usize,
    pub(crate) act: Act,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) blocks: Vec<Vec<Op>>,
    pub(crate) count: usize,
}

/// The number of kinds of operations: the arms of `Maker::act`.
const KINDS: usize = 24;
const MOST_BLOCKS: usize = 40;

impl Program {
    pub(crate) fn of_seed(seed: u64) -> Program {
        let mut random = Random::new(seed);
        let mut weights = [0; KINDS];
        for weight in &mut weights {
            // A third of the kinds is left out.
            *weight = [0, 0, 1, 2, 3, 6][random.below(6)];
        }
        // A program without these operations tests little.
        for kind in [0, 2, 3] {
            weights[kind] = weights[kind].max(2) * 2;
        }
        let mut maker = Maker { random, weights, program: Program::default(), done: Vec::new() };
        maker.root();
        maker.program
    }

    /// Returns the program without some of its operations, by number. Blocks that are no longer named stay, unused.
    pub(crate) fn without(mut self, numbers: &BTreeSet<usize>) -> Program {
        self.blocks.iter_mut().for_each(|block| block.retain(|op| !numbers.contains(&op.number)));
        self
    }

    /// The program as text, one operation a line, blocks below the operations that name them.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(0, 1, &mut text);
        text
    }

    fn write(&self, block: Block, depth: usize, text: &mut String) {
        for op in &self.blocks[block] {
            let _ = writeln!(text, "{:1$}{2}: {3:?}", "", depth * 2, op.number, op.act);
            for inner in op.act.blocks() {
                let _ = writeln!(text, "{:1$}block {inner}:", "", depth * 2 + 1);
                self.write(inner, depth + 1, text);
            }
        }
    }

    /// The numbers of the operations that can be reached.
    pub(crate) fn reachable(&self) -> BTreeSet<usize> {
        let (mut seen, mut todo, mut numbers) = (BTreeSet::new(), vec![0], BTreeSet::new());
        while let Some(block) = todo.pop() {
            if seen.insert(block) {
                for op in &self.blocks[block] {
                    numbers.insert(op.number);
                    todo.extend(op.act.blocks());
                }
            }
        }
        numbers
    }
}

impl Act {
    /// The blocks that the operation names.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        match self {
            Act::Delegate { body, .. } => body.iter().copied().collect(),
            Act::Scoped(body, with) => vec![*body, *with],
            Act::Scope { tasks, body, late, .. } => tasks.iter().chain([body]).chain(late).copied().collect(),
            Act::Make(_, block)
            | Act::Section(_, block)
            | Act::Run(_, block)
            | Act::Spawn { block, .. }
            | Act::OnDone { block, .. }
            | Act::PromiseDone(block)
            | Act::Lock(_, block)
            | Act::Local(block)
            | Act::Catch(block)
            | Act::OnDrop(block) => vec![*block],
            _ => Vec::new(),
        }
    }
}

struct Maker {
    random: Random,
    weights: [usize; KINDS],
    program: Program,
    /// Finished blocks, and their depths.
    done: Vec<(Block, usize)>,
}

impl Maker {
    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn byte(&mut self) -> u8 {
        self.below(8) as u8
    }

    fn micros(&mut self) -> u16 {
        [0, 1, 20, 60, 150][self.below(5)]
    }

    /// The thread's own block: mostly runs, one after the other.
    fn root(&mut self) {
        self.program.blocks.push(Vec::new());
        for _ in 0..self.below(3) + 2 {
            let act = if self.one_in(4) { self.act(1) } else { self.run(1) };
            self.add(0, act);
        }
    }

    fn add(&mut self, block: Block, act: Act) {
        let number = self.program.count;
        self.program.count += 1;
        self.program.blocks[block].push(Op { number, act });
    }

    fn block(&mut self, depth: usize) -> Block {
        if depth > 6 || self.program.blocks.len() >= MOST_BLOCKS || !self.done.is_empty() && self.one_in(8) {
            let deep = self.done.iter().filter(|done| done.1 >= depth).map(|done| done.0).collect::<Vec<_>>();
            if !deep.is_empty() {
                return deep[self.below(deep.len())];
            }
        }
        let block = self.program.blocks.len();
        self.program.blocks.push(Vec::new());
        let most = if depth > 6 || block >= MOST_BLOCKS { 2 } else { 6 };
        for _ in 0..self.below(most) + 1 {
            let act = if most == 2 { self.leaf() } else { self.act(depth + 1) };
            self.add(block, act);
        }
        self.done.push((block, depth));
        block
    }

    fn run(&mut self, depth: usize) -> Act {
        let seed = self.one_in(3).then(|| self.random.next());
        let config = RunConfig { paused: !self.one_in(4), seed, grace: if self.one_in(2) { 0 } else { 2 } };
        Act::Run(config, self.block(depth))
    }

    fn leaf(&mut self) -> Act {
        match self.below(4) {
            0 => Act::Wait(Wait::Turn),
            1 => Act::Body(Use::Resume(1), self.byte()),
            _ => self.suspend(),
        }
    }

    fn suspend(&mut self) -> Act {
        let port = if self.one_in(3) { self.byte() } else { 0 };
        Act::Suspend { port, trying: self.one_in(3), lenient: !self.one_in(4) }
    }

    fn act(&mut self, depth: usize) -> Act {
        let mut place = self.below(self.weights.iter().sum());
        let kind = self.weights.iter().position(|weight| {
            let here = place < *weight;
            place = place.saturating_sub(*weight);
            here
        });
        match kind.unwrap_or(0) {
            0 | 1 => self.suspend(),
            2 => {
                let kind = [Kind::Plain, Kind::Plain, Kind::Speaker, Kind::Coroutine, Kind::Sink][self.below(5)];
                Act::Make(kind, self.block(depth))
            }
            3 => Act::Body(Use::Resume(self.below(3) as u8 + 1), self.byte()),
            4 => Act::Body([Use::Throw, Use::Close, Use::Drop, Use::Each][self.below(4)], self.byte()),
            5 => Act::Body([Use::Forget, Use::Stash][self.below(2)], self.byte()),
            6 => {
                let body = (!self.one_in(3)).then(|| self.block(depth));
                let port = if self.one_in(4) { self.byte() } else { 0 };
                Act::Delegate { port, trying: self.one_in(2), lenient: !self.one_in(4), body }
            }
            7 => Act::Scoped(self.block(depth), self.block(depth)),
            8 | 9 => Act::ResumeScoped(self.byte()),
            10 => Act::Section(Section::Timeout(self.micros()), self.block(depth)),
            11 => Act::Section(Section::Deadline(self.micros(), self.micros()), self.block(depth)),
            12 => Act::Section(Section::Shield, self.block(depth)),
            13 => Act::Section(Section::NoSuspend, self.block(depth)),
            14 => Act::Scope {
                tasks: (0..self.below(3) + 1).map(|_| self.block(depth)).collect(),
                body: self.block(depth),
                cancel: self.one_in(4),
                late: self.one_in(4).then(|| self.block(depth)),
                eager: self.one_in(3),
                join: self.one_in(2),
            },
            15 => self.run(depth),
            16 => Act::Spawn { block: self.block(depth), eager: self.one_in(4) },
            17 => {
                use Handle::*;
                let all = [Join, TryJoin, Cancel, CancelAndJoin, Drop, Gather, Race, AsCompleted, Join, Forget];
                Act::Handle(all[self.below(all.len())], self.byte())
            }
            18 if self.one_in(4) => Act::PromiseDone(self.block(depth)),
            18 => Act::OnDone { handle: self.byte(), block: self.block(depth), remove: self.one_in(5) },
            19 => Act::Wait(if self.one_in(2) { Wait::Turn } else { Wait::Sleep(self.micros()) }),
            20 => self.sync(depth),
            21 if self.one_in(3) => Act::Local(self.block(depth)),
            21 => Act::Lock(self.micros(), self.block(depth)),
            22 if self.one_in(3) => Act::Panic,
            22 => Act::Catch(self.block(depth)),
            _ if self.one_in(6) => Act::Return,
            _ => Act::OnDrop(self.block(depth)),
        }
    }

    fn sync(&mut self, _depth: usize) -> Act {
        use Wait::*;
        let micros = self.micros();
        let all = [
            Park(micros),
            ParkForEver,
            Unpark,
            TrySend,
            Send,
            SendTimeout(micros),
            Recv,
            RecvTimeout(micros),
            Select(micros),
            Acquire(micros),
            AddPermit,
            EventSet,
            EventClear,
            AwaitEvent(micros),
            PromiseSet,
            AwaitPromise(micros),
            Remote,
        ];
        let wait = all[self.below(all.len())];
        // Threads are slow.
        Act::Wait(if matches!(wait, Remote) && !self.one_in(8) { TrySend } else { wait })
    }
}
