//! XAES-256-GCM: AES-256-GCM with a 192-bit nonce, so that random nonces need no
//! bound on the messages under one key.
//!
//! Source: F. Valsorda, "The XAES-256-GCM extended-nonce AEAD", C2SP,
//! <https://c2sp.org/XAES-256-GCM>. From the first half of the nonce and the key a
//! fresh AES-256 key is derived (NIST SP 800-108r1, counter mode over CMAC, two
//! blocks), and the second half is the nonce of AES-256-GCM (NIST SP 800-38D) under
//! it. Random nonces collide with probability 2^-32 after 2^80 messages. A message
//! is at most 8 MiB here, far below GCM's bound of 64 GiB.
//!
//! The bulk is `ring`'s, which uses AES-NI, VAES and CLMUL; only the derivation of
//! the message key, two blocks, is made here of the `aes` crate.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::base::locked::Locked;
use crate::crypto::secret::{RandomnessError, Secret, random};

/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
const HALF: usize = NONCE_BYTES / 2;
/// Bytes of a tag.
const TAG_BYTES: usize = 16;
/// Bytes that a sealed message has more than the plain one.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

type Block = [u8; 16];

/// Why a message cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no nonce to be had.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// It is longer than AES-GCM can take.
    #[error("it is too long to be sealed")]
    TooLong,
    /// The message, or what it is bound to, is not what was sealed under this key.
    #[error("it is not what was sealed with this repository's key")]
    Forged,
}

/// A key that seals messages. Out of the swap, and wiped when its last clone is
/// dropped.
#[derive(Clone)]
pub struct SealingKey(Locked<Prepared>);

/// What derives the keys of messages.
struct Prepared {
    /// Wiped by itself.
    cipher: Aes256,
    subkey: Block,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.subkey.zeroize();
    }
}

impl SealingKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &Secret) -> Self {
        let cipher = Aes256::new(&Array(*key.as_bytes()));
        // The subkey K1 of CMAC (NIST SP 800-38B, 6.1).
        let mut block = Array([0; 16]);
        cipher.encrypt_block(&mut block);
        let number = u128::from_be_bytes(block.0);
        let carry = if number >> 127 == 1 { 0x87 } else { 0 };
        let subkey = (number << 1 ^ carry).to_be_bytes();
        Self(Locked::new(Prepared { cipher, subkey }))
    }

    /// Appends the sealed form of what `plain` writes to `target`: a random nonce,
    /// the ciphertext and the tag. `bound` is not part of it, and must be the same
    /// when it is opened.
    ///
    /// # Errors
    /// Fails if there is no randomness, or `plain` writes more than AES-GCM can take.
    pub fn seal(
        &self,
        bound: &[u8],
        target: &mut Vec<u8>,
        plain: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SealError> {
        self.seal_with(random()?, bound, target, plain)
    }

    fn seal_with(
        &self,
        nonce: [u8; NONCE_BYTES],
        bound: &[u8],
        target: &mut Vec<u8>,
        plain: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SealError> {
        target.extend_from_slice(&nonce);
        let start = target.len();
        plain(target);
        let (key, nonce) = self.message_key(&nonce)?;
        let sealed = target.get_mut(start..).ok_or(SealError::TooLong)?;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(bound), sealed);
        target.extend_from_slice(tag.map_err(|_| SealError::TooLong)?.as_ref());
        Ok(())
    }

    /// Returns the plain form of a sealed message.
    ///
    /// # Errors
    /// Fails if it or `bound` is not what was sealed.
    pub fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, rest) = sealed.split_first_chunk().ok_or(SealError::Forged)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(SealError::Forged)?;
        let (key, nonce) = self.message_key(nonce)?;
        let mut plain = body.to_vec();
        let opened = key.open_in_place_separate_tag(
            nonce,
            Aad::from(bound),
            Tag::from(*tag),
            &mut plain,
            0..,
        );
        match opened {
            Ok(_) => Ok(plain),
            Err(_) => Err(SealError::Forged),
        }
    }

    /// Derives the key and the nonce of one message.
    fn message_key(&self, nonce: &[u8; NONCE_BYTES]) -> Result<(LessSafeKey, Nonce), SealError> {
        let (first, second) = nonce.split_at(HALF);
        let block = |counter: u8| {
            let mut block: Block = self.0.subkey;
            let input = [0, counter, b'X', 0].into_iter().chain(first.iter().copied());
            block.iter_mut().zip(input).for_each(|(byte, input)| *byte ^= input);
            Array(block)
        };
        let mut blocks = [block(1), block(2)];
        self.0.cipher.encrypt_blocks(&mut blocks);
        let mut key = Zeroizing::new([0; 32]);
        for (half, block) in key.chunks_exact_mut(16).zip(&mut blocks) {
            half.copy_from_slice(&block.0);
            block.0.zeroize();
        }
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| SealError::TooLong)?;
        let nonce = Nonce::try_assume_unique_for_key(second).map_err(|_| SealError::Forged)?;
        Ok((LessSafeKey::new(key), nonce))
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::hex;
    use proptest::prelude::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(&Secret::take(&mut [byte; 32]))
    }

    #[test]
    fn the_test_vectors_of_the_specification_hold() {
        let nonce = *b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (byte, bound, expected) in [
            (1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (
                3,
                "c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ] {
            let mut sealed = Vec::new();
            let plain = |target: &mut Vec<u8>| target.extend_from_slice(b"XAES-256-GCM");
            key(byte).seal_with(nonce, bound.as_bytes(), &mut sealed, plain).unwrap();
            assert_eq!(hex(&sealed[NONCE_BYTES..]), expected);
            assert_eq!(key(byte).open(bound.as_bytes(), &sealed).unwrap(), b"XAES-256-GCM");
        }
    }

    fn sealed(bound: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        key(7).seal(bound, &mut sealed, |target| target.extend_from_slice(plain)).unwrap();
        sealed
    }

    #[test]
    fn equal_messages_never_look_equal() {
        let (one, other) = (sealed(b"", b"same"), sealed(b"", b"same"));
        assert_ne!(one[..NONCE_BYTES], other[..NONCE_BYTES]);
        assert_ne!(one[NONCE_BYTES..], other[NONCE_BYTES..]);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_any_changed_bit_is_found(
            plain: Vec<u8>, bound: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8
        ) {
            let mut message = sealed(&bound, &plain);
            prop_assert_eq!(message.len(), plain.len() + OVERHEAD_BYTES);
            prop_assert_eq!(key(7).open(&bound, &message).unwrap(), plain);
            prop_assert_eq!(key(8).open(&bound, &message), Err(SealError::Forged));
            let other = [&bound[..], b"x"].concat();
            prop_assert_eq!(key(7).open(&other, &message), Err(SealError::Forged));
            let at = at.index(message.len());
            message[at] ^= 1 << bit;
            prop_assert_eq!(key(7).open(&bound, &message), Err(SealError::Forged));
        }

        #[test]
        fn any_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert_eq!(key(7).open(b"", &bytes), Err(SealError::Forged));
        }
    }
}
