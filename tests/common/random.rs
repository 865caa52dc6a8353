//! Random numbers from a seed, for tests against models.

/// Vigna's xorshift64*, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016), seeded.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

/// Calls `check` with the seeds 0, 1, 2 and so on until it returns false. With `CEDE_SEED=n` it is called with n only. The seed
/// of a failure is printed.
pub(crate) fn each_seed(mut check: impl FnMut(u64) -> bool) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("CEDE_SEED={} runs this seed alone", self.0);
            }
        }
    }
    let only = std::env::var("CEDE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    for seed in only.unwrap_or(0).. {
        let _named_in_a_panic = Seed(seed);
        if !check(seed) || only.is_some() {
            return;
        }
    }
}
