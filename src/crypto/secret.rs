//! Secret bytes, and where random ones come from.

use std::fmt;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::{Zeroize as _, Zeroizing};

use crate::base::id::parse_hex;
use crate::base::locked::Locked;

/// Bytes of every key.
pub const KEY_BYTES: usize = 32;

/// The system gives no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no randomness: {0}")]
pub struct RandomnessError(Errno);

/// Returns random bytes of the kernel's generator (`getrandom(2)`).
///
/// # Errors
/// Fails if the system has none, which no supported one does.
pub fn random<const N: usize>() -> Result<[u8; N], RandomnessError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(RandomnessError(error)),
        }
    }
    Ok(bytes)
}

/// A key, out of the swap, and wiped when its last clone is dropped.
#[derive(Clone)]
pub struct Secret(Locked<Zeroizing<[u8; KEY_BYTES]>>);

impl Secret {
    /// Wraps a key, and wipes where it came from.
    #[must_use]
    pub fn take(bytes: &mut [u8; KEY_BYTES]) -> Self {
        let secret = Self(Locked::new(Zeroizing::new(*bytes)));
        bytes.zeroize();
        secret
    }

    /// Returns a new random key.
    ///
    /// # Errors
    /// As [`random`].
    pub fn generate() -> Result<Self, RandomnessError> {
        Ok(Self::take(&mut random()?))
    }

    /// Returns the key that 64 hexadecimal digits mean.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        parse_hex(text).map(|mut bytes| Self::take(&mut bytes))
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_never_repeat_and_a_secret_does_not_show_itself() {
        assert_ne!(random::<24>().unwrap(), random::<24>().unwrap());
        let secret = Secret::from_hex(&"ab".repeat(32)).unwrap();
        assert_eq!(secret.as_bytes(), &[0xab; 32]);
        assert_eq!(format!("{secret:?}"), "Secret");
        assert!(Secret::from_hex("ab").is_none());
    }
}
