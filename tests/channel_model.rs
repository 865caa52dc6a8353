//! Channels against plain models: random operations, cancels and deadlines, by seed. Every message is received or returned,
//! once. `CEDE_SEED=n` runs seed n alone.

mod common;

use cede::sync::channel::{
    self, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use cede::{Config, select, spawn, yield_now};
use common::random::{Random, each_seed};
use common::worlds::World;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// The id of message n of task t.
type Id = (u32, u32);

/// The fate of every message: sent, received or returned.
#[derive(Default, Debug)]
struct Account {
    sent: Vec<Id>,
    returned: Vec<Id>,
    /// The receivers, with the messages that each received.
    received: Vec<(u32, Id)>,
    operations: u64,
}

impl Account {
    fn send<E>(&mut self, id: Id, result: Result<(), E>, back: impl FnOnce(E) -> Id) {
        self.operations += 1;
        match result {
            Ok(()) => self.sent.push(id),
            Err(error) => {
                assert_eq!(back(error), id, "another message came back");
                self.returned.push(id);
            }
        }
    }

    fn recv<E>(&mut self, by: u32, result: Result<Id, E>) {
        self.operations += 1;
        if let Ok(id) = result {
            self.received.push((by, id));
        }
    }

    fn add(&mut self, other: Account) {
        self.sent.extend(other.sent);
        self.returned.extend(other.returned);
        self.received.extend(other.received);
        self.operations += other.operations;
    }

    fn check(&self, context: &str) {
        let unique = |ids: &mut dyn Iterator<Item = Id>| {
            let all: Vec<_> = ids.collect();
            let set: BTreeSet<_> = all.iter().copied().collect();
            assert_eq!(set.len(), all.len(), "a message is counted twice\n{context}");
            set
        };
        let sent = unique(&mut self.sent.iter().copied());
        let returned = unique(&mut self.returned.iter().copied());
        let received = unique(&mut self.received.iter().map(|(_, id)| *id));
        assert_eq!(sent, received, "sent and received differ\n{context}");
        assert!(sent.is_disjoint(&returned), "a message was sent and came back\n{context}");
        // Each receiver sees the messages of each sender in order.
        let mut last: HashMap<(u32, u32), u32> = HashMap::new();
        for (by, (from, n)) in &self.received {
            let before = last.insert((*by, *from), *n);
            assert!(before.is_none_or(|before| before < *n), "out of order\n{context}");
        }
    }
}

fn make(random: &mut Random) -> (Sender<Id>, Receiver<Id>, String) {
    let capacity = [0, 0, 1, 1, 2, 5, usize::MAX][random.below(7)];
    let (sender, receiver) = match capacity {
        usize::MAX => channel::unbounded(),
        capacity => channel::bounded(capacity),
    };
    (sender, receiver, format!("capacity {capacity}"))
}

/// A bit of a seed: no wait without a deadline.
const FINITE: u64 = 1 << 63;

/// Random operations of one task on one channel. Ends when it is cancelled or the channel is closed.
fn perform(me: u32, seed: u64, steps: u32, sender: &Sender<Id>, receiver: &Receiver<Id>) -> Account {
    let mut random = Random::new(seed);
    let mut account = Account::default();
    for n in 0..steps {
        let (id, time) = ((me, n), random.below(4) as u32 * MS);
        match random.below(12) {
            0 => account.send(id, sender.try_send(id), TrySendError::into_inner),
            1..4 => account.send(id, sender.send_timeout(id, time), SendTimeoutError::into_inner),
            // Between threads no wait may be without a deadline: all threads could wait at once.
            4 if seed & FINITE == 0 => account.send(id, sender.send(id), SendError::into_inner),
            5 => account.recv(me, receiver.try_recv()),
            6..9 => account.recv(me, receiver.recv_timeout(time)),
            9 => choose(&mut account, me, id, time, sender, receiver),
            10 => yield_now(),
            _ if seed & FINITE == 0 => account.recv(me, receiver.recv()),
            _ => account.recv(me, receiver.recv_timeout(3 * MS)),
        }
        if cede::task::is_cancelled() {
            break;
        }
    }
    account
}

/// Sends or receives, whichever is possible first.
fn choose(account: &mut Account, me: u32, id: Id, time: Duration, sender: &Sender<Id>, receiver: &Receiver<Id>) {
    let mut message = Some(id);
    let chosen = select! {
        send_from(sender, &mut message) -> sent => account.send(id, sent, SendError::into_inner),
        recv(receiver) -> received => account.recv(me, received),
        default(time) => {}
    };
    account.operations += u64::from(chosen.is_err());
    if !account.sent.ends_with(&[id]) && !account.returned.ends_with(&[id]) {
        assert_eq!(message, Some(id), "a message that was not sent stays");
    }
}

/// One run: tasks that send and receive, and a task that cancels them. Returns the number of operations.
fn tasks_with_cancels(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let (sender, receiver, kind) = make(&mut random);
    let count = 2 + random.below(6) as u32;
    let total = Rc::new(RefCell::new(Account::default()));
    let outcome = Config::new().paused_clock(true).closed_world(true).run(|| {
        let mut handles = VecDeque::new();
        for me in 0..count {
            let (sender, receiver, total) = (sender.clone(), receiver.clone(), Rc::clone(&total));
            let seed = random.next() & !FINITE;
            let body = move || {
                let account = perform(me, seed, 200, &sender, &receiver);
                total.borrow_mut().add(account);
            };
            handles.push_back(spawn(body));
        }
        drop((sender, receiver.clone()));
        while let Some(mut handle) = handles.pop_front() {
            (0..random.below(20)).for_each(|_| yield_now());
            if random.below(3) == 0 {
                handle.cancel();
            } else if random.below(2) == 0 {
                let _ = cede::time::sleep(random.below(6) as u32 * MS);
            }
            // A task that still waits is cancelled in the end.
            for _ in 0..200 {
                if handle.is_finished() || cede::time::sleep(MS).is_err() {
                    break;
                }
            }
            handle.cancel();
            // A task that is cancelled before its first turn never runs.
            assert!(matches!(handle.join(), Ok(()) | Err(cede::JoinError::Cancelled)));
        }
        while let Ok(id) = receiver.try_recv() {
            total.borrow_mut().received.push((u32::MAX, id));
        }
    });
    outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let total = total.borrow();
    total.check(&format!("seed {seed}, {kind}, {count} tasks"));
    total.operations
}

/// Random sends, receives and cancels: every message is received once, or returned to its sender.
#[test]
fn e3_every_message_is_received_or_returned_despite_cancels() {
    let operations = Cell::new(0);
    let wanted = if common::emulated() { 20_000 } else { 1_000_000 };
    each_seed(|seed| {
        operations.set(operations.get() + tasks_with_cancels(seed));
        operations.get() < wanted
    });
}

#[test]
fn the_same_between_threads_and_workers() {
    let rounds = if common::emulated() { 2 } else { 6 };
    for world in [World::Threads, World::TaskAndThreads, World::ThreadAndTasks, World::Workers] {
        world.main(|| {
            for seed in 0..rounds {
                let mut random = Random::new(seed);
                let (sender, receiver, kind) = make(&mut random);
                let others: Vec<_> = (0..3)
                    .map(|me| {
                        let (sender, receiver, seed) = (sender.clone(), receiver.clone(), random.next() | FINITE);
                        world.spawn(move || perform(me, seed, 150, &sender, &receiver))
                    })
                    .collect();
                let mut total = perform(9, random.next() | FINITE, 150, &sender, &receiver);
                drop(sender);
                others.into_iter().for_each(|other| total.add(other.join()));
                total.received.extend(receiver.iter().map(|id| (u32::MAX, id)));
                total.check(&format!("seed {seed}, {kind}, {world:?}"));
            }
        });
    }
}

#[test]
fn without_waiting_a_channel_is_a_queue() {
    each_seed(|seed| {
        let mut random = Random::new(seed);
        let capacity = 1 + random.below(6);
        let (sender, receiver) = channel::bounded(capacity);
        let (mut senders, mut receivers) = (vec![sender], vec![receiver]);
        let (mut model, mut closed) = (VecDeque::new(), false);
        for n in 0..500u32 {
            match random.below(20) {
                0..8 if !senders.is_empty() => {
                    let expected = if closed || receivers.is_empty() {
                        Err(TrySendError::Disconnected(n))
                    } else if model.len() == capacity {
                        Err(TrySendError::Full(n))
                    } else {
                        model.push_back(n);
                        Ok(())
                    };
                    let one = &senders[random.below(senders.len())];
                    let sent = if expected.is_ok() { one.send(n).map_err(Into::into) } else { one.try_send(n) };
                    assert_eq!(sent, expected, "seed {seed}");
                }
                8..16 if !receivers.is_empty() => {
                    let ended = closed || senders.is_empty();
                    let expected =
                        model.pop_front().ok_or(if ended { TryRecvError::Disconnected } else { TryRecvError::Empty });
                    assert_eq!(receivers[random.below(receivers.len())].try_recv(), expected, "seed {seed}");
                }
                16 if !senders.is_empty() => senders.push(senders[0].clone()),
                17 if !receivers.is_empty() => receivers.push(receivers[0].clone()),
                18 if random.below(10) == 0 && senders.len() + receivers.len() > 1 => {
                    if random.below(2) == 0 {
                        drop(senders.pop())
                    } else {
                        drop(receivers.pop())
                    }
                    if receivers.is_empty() {
                        model.clear();
                    }
                }
                19 if random.below(100) == 0 => {
                    let ends =
                        senders.first().map(Sender::close).into_iter().chain(receivers.first().map(Receiver::close));
                    let open = !closed && !senders.is_empty() && !receivers.is_empty();
                    assert_eq!(ends.into_iter().any(|closed| closed), open);
                    closed |= open;
                }
                _ => {}
            }
            let length = senders.first().map(Sender::len).or(receivers.first().map(Receiver::len));
            assert_eq!(length, Some(model.len()), "seed {seed}");
        }
        seed < 200
    });
}

#[test]
fn receive_errors_tell_a_timeout_from_a_disconnect() {
    let (sender, receiver) = channel::bounded::<Id>(0);
    Config::new()
        .paused_clock(true)
        .run(|| {
            assert_eq!(receiver.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
            drop(sender);
            assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
        })
        .unwrap();
}
