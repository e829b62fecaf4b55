//! From a password to a key: Argon2id (RFC 9106), its cost stored beside what it
//! protects and bounded when it is read.

use std::num::NonZero;
use std::thread;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use zeroize::{Zeroize as _, Zeroizing};

use crate::crypto::secret::{KEY_BYTES, Secret};

/// Most memory, in KiB, that a key file may ask for: 2 GiB, as the first choice of RFC
/// 9106, section 4, does.
const MEMORY_KIB_MAX: u32 = 2 << 20;
/// Most passes that it may ask for.
const PASSES_MAX: u32 = 64;
/// Most lanes that it may ask for.
const LANES_MAX: u32 = 64;
/// Most memory times passes, in KiB: some twenty seconds of a processor.
pub const WORK_KIB_MAX: u64 = 16 << 20;
/// Least memory, in KiB.
const MEMORY_KIB_MIN: u32 = 1024;

/// What it costs to try a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes, which are computed side by side as far as there are processors.
    pub lanes: u32,
}

/// A password that cannot be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KdfError {
    /// The cost is out of bounds.
    #[error(
        "trying a password would take {memory_kib} KiB of memory, {passes} passes and {lanes} \
         lanes, which is out of bounds (1 MiB to 2 GiB, 64 passes, 64 lanes, and no more than \
         16 GiB times passes)"
    )]
    OutOfBounds {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// There is not that much memory.
    #[error("trying a password takes {memory_kib} KiB of memory, which is not there")]
    NoMemory {
        /// Memory in KiB.
        memory_kib: u32,
    },
    /// There are no threads to be had.
    #[error("trying a password takes threads, which the system does not give: {0}")]
    NoThreads(String),
}

impl Default for KdfCost {
    /// The second choice of RFC 9106, section 4: what it recommends where 2 GiB for
    /// each attempt are too much.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

impl KdfCost {
    /// Checks costs that came from a disk or a person.
    ///
    /// # Errors
    /// Fails if they are too low to mean anything or too high to be paid.
    pub fn validate(&self) -> Result<(), KdfError> {
        let Self { memory_kib, passes, lanes } = *self;
        let is_bounded = (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (1..=PASSES_MAX).contains(&passes)
            && (1..=LANES_MAX).contains(&lanes)
            && self.work_kib() <= WORK_KIB_MAX;
        if is_bounded { Ok(()) } else { Err(KdfError::OutOfBounds { memory_kib, passes, lanes }) }
    }

    /// Memory in KiB times passes, which is what the time goes with.
    #[must_use]
    pub fn work_kib(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Returns the key that a password makes.
    ///
    /// # Errors
    /// Fails if the cost is out of bounds or the memory is not there.
    pub(crate) fn derive(&self, password: &[u8], salt: &[u8; 32]) -> Result<Secret, KdfError> {
        self.validate()?;
        let Self { memory_kib, passes, lanes } = *self;
        let invalid = |_| KdfError::OutOfBounds { memory_kib, passes, lanes };
        let params = Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).map_err(invalid)?;
        let mut memory: Vec<Block> = Vec::new();
        let blocks = params.block_count();
        memory.try_reserve_exact(blocks).map_err(|_| KdfError::NoMemory { memory_kib })?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        #[cfg(test)]
        work::add(self.work_kib());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        // Not only the lanes: a third of the time goes into pages that are touched for
        // the first time.
        let outcome = threads(lanes)?.install(|| {
            (0..blocks).into_par_iter().map(|_| Block::default()).collect_into_vec(&mut memory);
            let outcome =
                argon2.hash_password_into_with_memory(password, salt, &mut *key, &mut memory);
            memory.par_iter_mut().for_each(|block| block.as_mut().zeroize());
            outcome
        });
        outcome.map_err(invalid)?;
        Ok(Secret::take(&mut key))
    }
}

/// Threads for one derivation, no more than there are lanes and processors. They end
/// with it: a mount that lives for months keeps none.
fn threads(lanes: u32) -> Result<ThreadPool, KdfError> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let lanes = usize::try_from(lanes).unwrap_or(usize::MAX);
    ThreadPoolBuilder::new()
        .num_threads(processors.min(lanes))
        .thread_name(|_| "argon2".to_owned())
        .build()
        .map_err(|error| KdfError::NoThreads(error.to_string()))
}

/// What derivations have cost this thread, so that tests count instead of timing.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static KIB: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn add(kib: u64) {
        KIB.set(KIB.get() + kib);
    }

    /// Memory in KiB times passes, since the last call.
    pub(crate) fn take() -> u64 {
        KIB.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::hex;

    #[test]
    fn the_key_of_a_password_never_changes() {
        // Pinned: another key would not open what is there. The reference
        // implementation (argon2-cffi) gives the same two.
        let cost = KdfCost { memory_kib: 1024, passes: 1, lanes: 1 };
        let key = cost.derive(b"password", &[b's'; 32]).unwrap();
        assert_eq!(
            hex(key.as_bytes()),
            "4fabca494f832cd2160ba9c08777da4aa1397b46c26969cddd544ce2653e4603"
        );
        let other = KdfCost { passes: 2, ..cost }.derive(b"password", &[b's'; 32]).unwrap();
        assert_ne!(key.as_bytes(), other.as_bytes());
        // As many threads as there are, the lanes are what counts.
        let key = KdfCost { passes: 3, lanes: 4, ..cost }.derive(b"password", &[b's'; 32]).unwrap();
        assert_eq!(
            hex(key.as_bytes()),
            "c3a28f3077116e0d4e42db4bce714f4c17f0c777cdc4082599f82273987d39d3"
        );
    }

    #[test]
    fn costs_out_of_bounds_are_refused_before_they_are_paid() {
        assert!(KdfCost::default().validate().is_ok());
        let cost = KdfCost::default();
        for bad in [
            KdfCost { memory_kib: u32::MAX, ..cost },
            KdfCost { memory_kib: MEMORY_KIB_MAX + 1, passes: 1, ..cost },
            KdfCost { memory_kib: MEMORY_KIB_MAX, passes: 9, ..cost },
            KdfCost { memory_kib: 8, ..cost },
            KdfCost { passes: 0, ..cost },
            KdfCost { passes: u32::MAX, ..cost },
            KdfCost { lanes: 0, ..cost },
            KdfCost { lanes: 1 << 24, ..cost },
        ] {
            let outcome = bad.derive(b"password", &[0; 32]);
            assert!(matches!(outcome, Err(KdfError::OutOfBounds { .. })), "{bad:?}");
        }
    }
}
