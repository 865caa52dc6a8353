use super::*;
use crate::stack::arena::Kind;
use crate::stack::{Stack, min_size};

const RULES: Rules = Rules { limit: 0x40_0000, idle_timeout: Duration::from_secs(10) };

/// Makes `count` stacks that no pool has.
fn fresh(count: usize) -> Vec<Slot> {
    let (mut fresh, mut slots) = (FreshSlots::new(Shape::new(min_size(), 0).unwrap()), Vec::new());
    while slots.len() < count {
        fresh.carve(&mut slots, 0).unwrap();
    }
    slots.truncate(count);
    slots
}

/// Adds stacks with 64 KiB of memory each.
fn add(depots: &mut Depots, slots: &[Slot], rules: Rules) -> usize {
    let mut over = Vec::new();
    slots.chunks(10).for_each(|batch| depots.add(batch, batch.len() << 16, rules, &mut over));
    over.len()
}

/// Takes `count` stacks.
fn take(depots: &mut Depots, count: usize) -> Vec<Slot> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let depot = &mut depots.all[0];
        let slot = depot.take((count - taken.len() - 1).min(16), &mut taken);
        taken.push(slot);
    }
    taken
}

#[test]
fn limit_counts_bytes_of_each_shape() {
    let (mut depots, slots) = (Depots::new(), fresh(200));
    let rules = Rules { idle_timeout: Duration::ZERO, ..RULES };
    assert_eq!(add(&mut depots, &slots, rules), 136, "64 stacks of 64 KiB are 4 MiB");
    assert_eq!((depots.all[0].warm.len(), depots.all[0].warm_bytes), (64, RULES.limit));
    assert!(depots.period.is_none());
    let other = Stack::acquire(Shape::new(3 * min_size(), 0).unwrap(), Kind::Task, None, false).unwrap();
    let mut over = Vec::new();
    depots.add(&[other.slot()], 1 << 16, rules, &mut over);
    assert!(over.is_empty(), "another shape has its own limit");
    std::mem::forget(other);
}

#[test]
fn memory_of_recurring_bursts_is_kept() {
    let (mut depots, slots) = (Depots::new(), fresh(1000));
    assert_eq!(add(&mut depots, &slots, RULES), 0);
    let mut end = depots.period.unwrap() + RULES.idle_timeout;
    for _ in 0..5 {
        // Each burst needs all stacks but 100.
        let burst = take(&mut depots, 900);
        assert_eq!(add(&mut depots, &burst, RULES), 0);
        let mut idle = Vec::new();
        assert_eq!(depots.remove_idle(RULES, end - Duration::from_secs(1), &mut idle), Some(end));
        assert!(idle.is_empty(), "the period is not over");
        let next = depots.remove_idle(RULES, end, &mut idle);
        assert_eq!(next, Some(end + RULES.idle_timeout));
        assert!(idle.len() <= 100, "{} of the stacks that the bursts need", idle.len());
        end = next.unwrap();
    }
    assert_eq!(depots.all[0].warm.len(), 900);
}

#[test]
fn idle_memory_over_the_limit_is_returned_in_parts() {
    let (mut depots, slots) = (Depots::new(), fresh(1000));
    add(&mut depots, &slots, RULES);
    let (mut now, mut parts) = (depots.period.unwrap(), Vec::new());
    while let Some(next) = {
        let mut idle = Vec::new();
        let next = depots.remove_idle(RULES, now, &mut idle);
        parts.push(idle.len());
        next
    } {
        now = next;
    }
    // The first 70 stacks have come before the period began, the rest within it.
    assert_eq!(parts.iter().sum::<usize>(), 1000 - 64, "{parts:?}");
    assert!(parts.iter().all(|part| *part <= SHRINK_MOST), "{parts:?}");
    assert_eq!((depots.all[0].warm.len(), depots.all[0].warm_bytes, depots.period), (64, RULES.limit, None));
}

#[test]
fn local_cache_holds_fewer_large_stacks() {
    let most = |size| local_most_of(Shape::new(size, 0).unwrap());
    assert_eq!([64 << 10, 256 << 10, 1 << 20, 8 << 20, 1 << 30].map(most), [32, 32, 16, 2, 2]);
}

#[test]
fn resident_memory_is_what_was_touched() {
    let stack = Stack::acquire(Shape::new(1 << 20, 0).unwrap(), Kind::Task, None, false).unwrap();
    let (slot, page) = (stack.slot(), page_size());
    let before = slot.resident();
    for at in 1..=8 {
        // SAFETY: the stack is mapped and unused, and larger than 8 pages of any size.
        unsafe { ((slot.limit() + slot.shape().size - at * page) as *mut u8).write_volatile(1) };
    }
    assert!(before >= page && slot.resident() >= 8 * page, "{before}, {}", slot.resident());
    // SAFETY: the stack is unused, and nothing points into it.
    unsafe { slot.fill_with_zeros() };
    assert_eq!(slot.resident(), slot.shape().size);
}
