//! Stored records: canonical bytes, and behind them the hints.
//!
//! ```text
//! record = canonical length (varint) | canonical bytes | hints
//! hints  = one signed varint for each object named in the canonical bytes, in
//!          their order: the difference to the hint before in the same family;
//!          `hint` itself is the sequence number plus one, 0 for unknown
//! ```

use crate::base::codec::{DecodeError, Decoder, Encoder};
use crate::base::limits::TREE_BYTES_MAX;

/// The sequence number under which an object was stored when its parent was
/// written. Unhashed and untrusted: what is found there must have the right id.
pub type Hint = Option<u64>;

/// Why an object of the DAG is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagError {
    /// The bytes are no canonical encoding.
    #[error("the {object} is malformed at {source}")]
    Malformed {
        /// What was being decoded.
        object: &'static str,
        /// Where and why.
        source: DecodeError,
    },
    /// The bytes do not hash to the id that names them.
    #[error("the {object} {id} does not match its hash")]
    WrongHash {
        /// What was being decoded.
        object: &'static str,
        /// The id that it should have.
        id: String,
    },
    /// A value exceeds what an object may hold.
    #[error("{what} exceeds its limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

impl DagError {
    /// Wraps a decoding error with the kind of object it came from.
    pub(crate) fn malformed(object: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |source| Self::Malformed { object, source }
    }
}

/// An encoded object: what is hashed, and the hints to store behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The canonical bytes that the id is computed from.
    pub canonical: Vec<u8>,
    hints: Vec<(Target, Hint)>,
}

impl Record {
    /// Returns the bytes to store.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.bytes(&self.canonical);
        let mut last = [0_i64; Target::COUNT];
        for (target, hint) in &self.hints {
            let value = hint.map_or(0, |sequence| sequence.wrapping_add(1)).cast_signed();
            encoder.signed(value.wrapping_sub(last[target.index()]));
            last[target.index()] = value;
        }
        encoder.finish()
    }
}

/// Splits stored bytes into the canonical bytes and the hints behind them.
///
/// # Errors
/// Fails if the stored length exceeds its bound or the record.
pub fn split_stored<'a>(
    object: &'static str,
    stored: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), DagError> {
    let mut decoder = Decoder::new(stored);
    let canonical =
        decoder.bytes(TREE_BYTES_MAX, "the record").map_err(DagError::malformed(object))?;
    Ok((canonical, stored.get(decoder.position()..).unwrap_or_default()))
}

/// The family in which a hinted object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A chunk.
    Data,
    /// A tree or a page of a chunk list.
    Tree,
}

impl Target {
    const COUNT: usize = 2;

    const fn index(self) -> usize {
        match self {
            Self::Data => 0,
            Self::Tree => 1,
        }
    }
}

/// Builds a record: canonical values, and references with their hints.
#[derive(Debug, Default)]
pub struct RecordEncoder {
    /// The canonical values.
    pub body: Encoder,
    hints: Vec<(Target, Hint)>,
}

impl RecordEncoder {
    /// Appends the digest of another object, with the hint where it lies.
    pub fn reference(&mut self, target: Target, digest: &[u8; 32], hint: Hint) {
        self.body.raw(digest);
        self.hints.push((target, hint));
    }

    /// Appends all of another encoder.
    pub fn append(&mut self, other: Self) {
        self.body.raw(&other.body.finish());
        self.hints.extend(other.hints);
    }

    /// Returns the record.
    #[must_use]
    pub fn finish(self) -> Record {
        Record { canonical: self.body.finish(), hints: self.hints }
    }
}

/// Takes a record apart.
#[derive(Debug)]
pub struct RecordDecoder<'a> {
    /// The canonical values.
    pub body: Decoder<'a>,
    hints: Decoder<'a>,
    last: [i64; Target::COUNT],
}

impl<'a> RecordDecoder<'a> {
    /// Starts on canonical bytes and the hints that came with them.
    #[must_use]
    pub fn new(canonical: &'a [u8], hints: &'a [u8]) -> Self {
        Self { body: Decoder::new(canonical), hints: Decoder::new(hints), last: [0; Target::COUNT] }
    }

    /// Takes the digest of another object and the hint where it lies. A hint
    /// that is missing or nonsense reads as unknown: it is not worth an error.
    ///
    /// # Errors
    /// Fails at the end of the canonical bytes.
    pub fn reference(&mut self, target: Target) -> Result<([u8; 32], Hint), DecodeError> {
        let digest = self.body.array()?;
        let difference = self.hints.signed().unwrap_or(0);
        let last = &mut self.last[target.index()];
        *last = last.wrapping_add(difference);
        Ok((digest, last.cast_unsigned().checked_sub(1)))
    }
}
