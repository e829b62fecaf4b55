//! Choices taken from the bytes of an input.

/// Takes choices from bytes; zeros once there are no more.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// A number below a bound, which is at most 256 and not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (part, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        part
    }

    /// A number of any size: often a small one, at times one at an end of a range.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..=199 => u64::from(byte),
            byte @ 200..=240 => 1_u64.checked_shl(u32::from(byte - 190)).unwrap_or(0),
            241..=245 => u64::from(u32::MAX),
            246..=248 => i64::MAX.cast_unsigned(),
            249..=251 => u64::MAX,
            _ => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}
