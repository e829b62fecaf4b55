//! The byte codec of every stored record: bounded, canonical, no surprises.
//!
//! Numbers are LEB128 varints in their shortest form; signed ones are
//! zigzag-mapped first; byte strings carry their length. A value has exactly
//! one encoding, and the reader refuses any other, so equal values have equal
//! hashes.

/// Why a stored record cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct DecodeError {
    /// Where in the record.
    pub offset: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Appends values to a record.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Returns an empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty record with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Appends one byte.
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends an unsigned number.
    pub fn number(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// Appends a signed number.
    pub fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// Appends bytes without a length: the reader knows how many.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    /// The bytes appended so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the record.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes values from a record, each within its bound.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Returns an error that points at the current byte.
    #[must_use]
    pub fn error(&self, problem: impl Into<String>) -> DecodeError {
        DecodeError { offset: self.offset, problem: problem.into() }
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// Fails at the end of the record.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte =
            *self.bytes.get(self.offset).ok_or_else(|| self.error("the record ends early"))?;
        self.offset += 1;
        Ok(byte)
    }

    /// Takes an unsigned number.
    ///
    /// # Errors
    /// Fails at the end of the record, above 64 bits, or on a longer encoding
    /// than needed.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(self.error("a number has more than 64 bits"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.error("a number is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.error("a number has more than 64 bits"))
    }

    /// Takes an unsigned number of at most `max`.
    ///
    /// # Errors
    /// As [`Self::number`], or above `max`.
    pub fn bounded(&mut self, max: u64, what: &str) -> Result<u64, DecodeError> {
        let value = self.number()?;
        if value > max {
            return Err(self.error(format!("{what} is {value}, more than {max}")));
        }
        Ok(value)
    }

    /// Takes a 32-bit number.
    ///
    /// # Errors
    /// As [`Self::number`], or above 32 bits.
    pub fn number32(&mut self, what: &str) -> Result<u32, DecodeError> {
        let value = self.number()?;
        u32::try_from(value).map_err(|_| self.error(format!("{what} exceeds 32 bits")))
    }

    /// Takes a count of at most `max` items.
    ///
    /// # Errors
    /// As [`Self::number`], or above `max`.
    pub fn count(&mut self, max: usize, what: &str) -> Result<usize, DecodeError> {
        let value = self.bounded(max as u64, what)?;
        usize::try_from(value).map_err(|_| self.error(format!("{what} is too large")))
    }

    /// Takes a signed number.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Takes `length` bytes.
    ///
    /// # Errors
    /// Fails if the record has fewer.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let taken = rest.get(..length).ok_or_else(|| self.error("the record ends early"))?;
        self.offset += length;
        Ok(taken)
    }

    /// Takes a fixed number of bytes.
    ///
    /// # Errors
    /// As [`Self::raw`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0_u8; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// Takes bytes with their length, at most `max`.
    ///
    /// # Errors
    /// Fails above `max` or at the end of the record.
    pub fn bytes(&mut self, max: usize, what: &str) -> Result<&'a [u8], DecodeError> {
        let length = self.count(max, what)?;
        self.raw(length)
    }

    /// Takes UTF-8 text with its length in bytes, at most `max`.
    ///
    /// # Errors
    /// As [`Self::bytes`], or if it is no UTF-8.
    pub fn text(&mut self, max: usize, what: &str) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes(max, what)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(format!("{what} is not UTF-8")))
    }

    /// The bytes taken so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.offset
    }

    /// Whether every byte was taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.offset >= self.bytes.len()
    }

    /// Ends the record.
    ///
    /// # Errors
    /// Fails if bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.is_done() { Ok(()) } else { Err(self.error("bytes follow the record")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_survives_and_the_record_ends_there(
            number: u64, signed: i64, bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let mut encoder = Encoder::new();
            encoder.number(number);
            encoder.signed(signed);
            encoder.bytes(&bytes);
            let record = encoder.finish();
            let mut decoder = Decoder::new(&record);
            prop_assert_eq!(decoder.number().unwrap(), number);
            prop_assert_eq!(decoder.signed().unwrap(), signed);
            prop_assert_eq!(decoder.bytes(300, "bytes").unwrap(), &bytes[..]);
            decoder.finish().unwrap();
        }

        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(bytes: Vec<u8>) {
            let mut decoder = Decoder::new(&bytes);
            while decoder.number().is_ok() && decoder.bytes(16, "bytes").is_ok() {}
        }
    }

    #[test]
    fn a_longer_form_of_a_number_is_refused() {
        assert!(Decoder::new(&[0x80, 0x00]).number().is_err());
        assert!(Decoder::new(&[0xff; 11]).number().is_err());
        let mut largest = vec![0xff; 9];
        largest.push(1);
        assert_eq!(Decoder::new(&largest).number().unwrap(), u64::MAX);
        largest[9] = 2;
        assert!(Decoder::new(&largest).number().is_err());
    }

    #[test]
    fn a_length_above_its_bound_is_refused_before_anything_is_read() {
        let mut encoder = Encoder::new();
        encoder.number(u64::MAX);
        let record = encoder.finish();
        let error = Decoder::new(&record).bytes(10, "name").unwrap_err();
        assert!(error.problem.contains("more than 10"), "{error}");
    }
}
