//! Encryption: sealing of records, keys, and how a password becomes one.
//!
//! Purpose: everything of a repository's encryption that is a computation.
//! Where keys lie and how a person is asked for a password is the business of
//! others. The whole scheme is in `docs/encryption.md`.
//!
//! Invariants:
//! - Keys and nonces come from the kernel's generator and nowhere else.
//! - What holds a key is wiped when it is dropped and prints nothing of it.
//! - Costs that come from a disk are bounded before they are paid.
//!
//! Imports: `base`.

mod kdf;
mod key_file;
mod master;
mod paper;
mod secret;
mod xaes;

#[cfg(test)]
pub(crate) use kdf::work;
pub use kdf::{KdfCost, KdfError, WORK_KIB_MAX};
pub use key_file::{Credential, KEY_FILE_BYTES_MAX, KeyFile, KeyFileError, KeyKind};
pub use master::{Keys, MasterKey};
pub use paper::{PaperError, from_paper, to_paper};
pub use secret::{KEY_BYTES, RandomnessError, Secret, random};
pub use xaes::{OVERHEAD_BYTES, SealError, SealingKey};
