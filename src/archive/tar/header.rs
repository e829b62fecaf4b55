//! A header: one block of fields at fixed places.

use crate::archive::tar::BLOCK;

/// Where a field lies in a header, and how long it is.
#[derive(Clone, Copy)]
pub(super) struct Field(usize, usize);

pub(super) const NAME: Field = Field(0, 100);
pub(super) const MODE: Field = Field(100, 8);
pub(super) const UID: Field = Field(108, 8);
pub(super) const GID: Field = Field(116, 8);
pub(super) const SIZE: Field = Field(124, 12);
pub(super) const MTIME: Field = Field(136, 12);
const CHECKSUM: Field = Field(148, 8);
pub(super) const KIND: Field = Field(156, 1);
pub(super) const LINK: Field = Field(157, 100);
const MAGIC: Field = Field(257, 8);
pub(super) const USER: Field = Field(265, 32);
pub(super) const GROUP: Field = Field(297, 32);
pub(super) const MAJOR: Field = Field(329, 8);
pub(super) const MINOR: Field = Field(337, 8);
const PREFIX: Field = Field(345, 155);
/// Of the old form of holes: the first extents, whether more blocks of them
/// follow, the size with the holes.
pub(super) const OLD_EXTENTS: Field = Field(386, 96);
pub(super) const OLD_MORE: Field = Field(482, 1);
pub(super) const OLD_SIZE: Field = Field(483, 12);

const POSIX: &[u8] = b"ustar\x0000";

/// One block that is a header.
#[derive(Clone)]
pub(super) struct Header([u8; BLOCK]);

impl Header {
    /// A header of a kind with nothing in it.
    pub(super) fn new(kind: u8) -> Self {
        let mut header = Self([0; BLOCK]);
        header.put(KIND, &[kind]);
        header.put(MAGIC, POSIX);
        header
    }

    /// Takes a block, or nothing if its checksum is wrong.
    pub(super) fn parse(block: [u8; BLOCK]) -> Option<Self> {
        let header = Self(block);
        let stored = header.number(CHECKSUM)?;
        let (unsigned, signed) = header.sums();
        // Some old programs took bytes for signed ones.
        (stored == unsigned || i64::try_from(stored).ok() == Some(signed)).then_some(header)
    }

    /// The block with its checksum.
    pub(super) fn sealed(mut self) -> [u8; BLOCK] {
        let (sum, _) = self.sums();
        self.put(CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }

    fn sums(&self) -> (u64, i64) {
        let (mut unsigned, mut signed) = (0_u64, 0_i64);
        for (place, byte) in self.0.iter().enumerate() {
            let in_field = (CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1).contains(&place);
            let byte = if in_field { b' ' } else { *byte };
            unsigned += u64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        (unsigned, signed)
    }

    /// The bytes of a field.
    pub(super) fn bytes(&self, field: Field) -> &[u8] {
        self.0.get(field.0..field.0 + field.1).unwrap_or_default()
    }

    /// A text, up to its NUL.
    pub(super) fn text(&self, field: Field) -> &[u8] {
        let bytes = self.bytes(field);
        bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The name, with the prefix that POSIX puts before a long one.
    pub(super) fn name(&self) -> Vec<u8> {
        let prefix = self.text(PREFIX);
        if self.bytes(MAGIC) != POSIX || prefix.is_empty() {
            return self.text(NAME).to_vec();
        }
        [prefix, b"/", self.text(NAME)].concat()
    }

    /// The kind of the member.
    pub(super) fn kind(&self) -> u8 {
        self.bytes(KIND).first().copied().unwrap_or_default()
    }

    /// A number, in octal digits or in binary as GNU tar writes large ones.
    pub(super) fn number(&self, field: Field) -> Option<u64> {
        number(self.bytes(field))
    }

    /// A time in seconds, which may lie before the epoch: GNU tar writes it in
    /// binary then, as a complement of two.
    pub(super) fn seconds(&self, field: Field) -> Option<i64> {
        let bytes = self.bytes(field);
        let (high, low) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
        if high.iter().all(|byte| *byte == 0xff) {
            return Some(i64::from_be_bytes(low.try_into().ok()?)).filter(|number| *number < 0);
        }
        self.number(field).and_then(|number| i64::try_from(number).ok())
    }

    /// Writes a text that fits, and tells whether it does.
    pub(super) fn put(&mut self, field: Field, text: &[u8]) -> bool {
        let room = self.0.get_mut(field.0..field.0 + field.1).unwrap_or_default();
        match room.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                true
            }
            None => {
                let fits = room.len();
                room.copy_from_slice(text.get(..fits).unwrap_or_default());
                false
            }
        }
    }

    /// Writes a number in octal, and tells whether it fits; else 0 is written.
    pub(super) fn put_number(&mut self, field: Field, number: u64) -> bool {
        let digits = field.1 - 1;
        let fits = number >> (3 * digits).min(63) == 0;
        let shown = if fits { number } else { 0 };
        self.put(field, format!("{shown:0digits$o}").as_bytes());
        fits
    }

    /// Writes a number of a device, in binary if it is that large.
    pub(super) fn put_device(&mut self, field: Field, number: u32) {
        if !self.put_number(field, u64::from(number)) {
            let [a, b, c, d] = number.to_be_bytes();
            self.put(field, &[0x80, 0, 0, 0, a, b, c, d]);
        }
    }
}

/// A number in octal digits between blanks and NULs, or in binary behind a set
/// bit. Nothing if it is neither, or negative.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    if first & 0x80 != 0 {
        let mut sum = u64::from(first & 0x7f);
        for byte in bytes.get(1..)? {
            sum = sum.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return Some(sum);
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let begin = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let digits = bytes.get(begin..)?.split(is_blank).next().unwrap_or_default();
    let mut sum = 0_u64;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        sum = sum.checked_mul(8)?.checked_add(u64::from(digit))?;
    }
    let behind = bytes.get(begin + digits.len()..)?;
    behind.iter().all(is_blank).then_some(sum)
}
