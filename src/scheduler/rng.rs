//! Pseudo-random number generators: xorshift64 and xorshift64*, seeded by splitmix64.
//!
//! xorshift64 shuffles the run queue of a run with a seed (`Config::seed`), and xorshift64* chooses among the ready
//! cases of a select. Both take a few instructions and are random enough to vary an order. Neither is cryptographically
//! secure.
//!
//! The sequence of a seed must not change between versions: a failing run prints its seed, and the seed repeats the
//! run.
#![forbid(unsafe_code)]

use std::cell::Cell;

/// Returns the state of a generator for `seed`. The state is never 0, which a xorshift generator would never leave.
///
/// This is the finalizer of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
/// The finalizer is a bijection that maps only 0 to 0; seed 0 gets the increment of splitmix64 instead.
pub(crate) fn splitmix64(seed: u64) -> u64 {
    let x = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    match x ^ x >> 31 {
        0 => 0x9e37_79b9_7f4a_7c15,
        state => state,
    }
}

/// Advances `state` and returns the next number of xorshift64: Marsaglia, "Xorshift RNGs" (2003), with the shifts 13,
/// 7, 17.
#[inline]
pub(crate) fn xorshift64(state: &Cell<u64>) -> u64 {
    let mut x = state.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    state.set(x);
    x
}

/// Advances `state` and returns the next number of xorshift64*, whose high bits are the best: Vigna, "An experimental
/// exploration of Marsaglia's xorshift generators, scrambled" (2016).
#[inline]
pub(crate) fn xorshift64_star(state: &Cell<u64>) -> u64 {
    let mut x = state.get();
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    state.set(x);
    x.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed that an earlier version printed must repeat its run, so the sequences are fixed here.
    #[test]
    fn generators_return_fixed_sequences() {
        assert_eq!(splitmix64(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix64(0), 0x9e37_79b9_7f4a_7c15);
        let state = Cell::new(88_172_645_463_325_252);
        assert_eq!([(); 2].map(|()| xorshift64(&state)), [8_748_534_153_485_358_512, 3_040_900_993_826_735_515]);
        let state = Cell::new(1);
        assert_eq!([(); 2].map(|()| xorshift64_star(&state)), [0x47e4_ce4b_896c_dd1d, 0xabcf_a6a8_e079_651d]);
    }
}
