//! A small deterministic source of numbers and bytes (splitmix64).

/// The generator. Equal seeds give equal sequences on every machine.
pub(crate) struct Rng(u64);

impl Rng {
    /// Starts a sequence.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts a sequence at `ICECORE_TEST_SEED` or at a seed of the clock, and
    /// prints it so that a failure can be repeated.
    pub(crate) fn printed(what: &str) -> Self {
        let given = std::env::var("ICECORE_TEST_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is behind 1970").as_nanos() as u64
        });
        eprintln!("{what}: seed {seed} (repeat with ICECORE_TEST_SEED={seed})");
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes that no compressor shrinks.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// Lines of words: bytes that compress well, yet are not periodic.
    pub(crate) fn prose(&mut self, count: usize) -> Vec<u8> {
        const WORDS: [&str; 8] =
            ["snow ", "ice ", "core\n", "glacier ", "layer ", "depth ", "year\n", "cold "];
        let mut bytes = Vec::with_capacity(count + 64);
        while bytes.len() < count {
            let mut bits = self.next();
            for _ in 0..10 {
                bytes.extend_from_slice(WORDS[(bits & 7) as usize].as_bytes());
                bits >>= 3;
            }
        }
        bytes.truncate(count);
        bytes
    }
}
