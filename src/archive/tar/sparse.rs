//! Holes: where the data of a sparse file lies.
//!
//! We write the form 1.0 of GNU tar, whose map precedes the data, and read that
//! one, 0.0 and 0.1, which have it in the extended header, and the old one.

use std::io::{self, Read};

use crate::archive::tar::header::{Header, OLD_EXTENTS, OLD_MORE, OLD_SIZE, number};
use crate::archive::tar::pax::Records;
use crate::archive::tar::{BLOCK, padding};

/// Extents of a file at most; a file with more is stored with its zeros.
pub(crate) const EXTENTS_MAX: usize = 1 << 22;

/// A run of data in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it begins.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

/// Where the data of a member belongs, if not all at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    /// The size with the holes.
    pub(super) size: u64,
    /// The name, where the header has another one.
    pub(super) name: Option<Vec<u8>>,
    pub(super) extents: Vec<Extent>,
    /// Bytes of the map before the data.
    pub(super) map_bytes: u64,
}

/// The map of form 1.0, blocks filled up: the number of extents, then for each
/// where it begins and how long it is. One of no bytes at the end says the size.
pub(super) fn encode(extents: &[Extent], size: u64) -> Vec<u8> {
    let is_open = extents.last().is_none_or(|last| last.offset + last.bytes < size);
    let mut map = format!("{}\n", extents.len() + usize::from(is_open)).into_bytes();
    let end = Extent { offset: size, bytes: 0 };
    for extent in extents.iter().chain(is_open.then_some(&end)) {
        map.extend_from_slice(format!("{}\n{}\n", extent.offset, extent.bytes).as_bytes());
    }
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

impl SparseMap {
    /// The map of a member, if it is sparse; `None` inside if it makes no sense.
    /// What of it lies in the data or in further headers is read from `input`,
    /// where `stored` bytes of the member follow.
    pub(super) fn read(
        header: &Header,
        records: &Records,
        stored: u64,
        input: &mut dyn Read,
    ) -> io::Result<Option<Option<Self>>> {
        let version = (records.number("GNU.sparse.major"), records.number("GNU.sparse.minor"));
        let map = match version {
            _ if header.kind() == b'S' => Self::old(header, input)?,
            (Some(Ok(1)), Some(Ok(0))) => Self::form_1_0(records, stored, input)?,
            (Some(_), _) => None,
            _ if records.get("GNU.sparse.map").is_some() => Self::form_0_1(records),
            _ if records.get("GNU.sparse.numblocks").is_some() => Self::form_0_0(records),
            _ => return Ok(None),
        };
        Ok(Some(map.filter(|map| map.is_sound(stored))))
    }

    /// Extents rise, lie in the file, and take what is stored.
    fn is_sound(&self, stored: u64) -> bool {
        let mut end = 0;
        let mut sum = self.map_bytes;
        for extent in &self.extents {
            let Some(next) = extent.offset.checked_add(extent.bytes) else { return false };
            if extent.offset < end || next > self.size {
                return false;
            }
            end = next;
            sum = sum.saturating_add(extent.bytes);
        }
        sum == stored
    }

    fn new(records: &Records, size: &str, extents: Vec<Extent>, map_bytes: u64) -> Option<Self> {
        let size = records.number(size)?.ok()?;
        let name = records.get("GNU.sparse.name").map(<[u8]>::to_vec);
        Some(Self { size, name, extents, map_bytes })
    }

    fn form_0_0(records: &Records) -> Option<Self> {
        let (mut extents, mut offset) = (Vec::new(), None);
        for (keyword, value) in records.all() {
            let number = || std::str::from_utf8(value).ok()?.parse().ok();
            match keyword {
                b"GNU.sparse.offset" => offset = Some(number()?),
                b"GNU.sparse.numbytes" => {
                    extents.push(Extent { offset: offset.take()?, bytes: number()? });
                }
                _ => {}
            }
        }
        Self::new(records, "GNU.sparse.size", extents, 0)
    }

    fn form_0_1(records: &Records) -> Option<Self> {
        let text = std::str::from_utf8(records.get("GNU.sparse.map")?).ok()?;
        let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.parse().ok()).collect();
        let pairs = numbers?;
        let extent = |pair: &[u64]| match *pair {
            [offset, bytes] => Some(Extent { offset, bytes }),
            _ => None,
        };
        let extents: Option<Vec<Extent>> = pairs.chunks(2).map(extent).collect();
        Self::new(records, "GNU.sparse.size", extents?, 0)
    }

    fn form_1_0(records: &Records, stored: u64, input: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut numbers = MapNumbers { input, left: stored, block: [0; BLOCK], place: BLOCK };
        let Some(count) = numbers.next()? else { return Ok(None) };
        if count > EXTENTS_MAX as u64 {
            return Ok(None);
        }
        let mut extents = Vec::new();
        for _ in 0..count {
            let (Some(offset), Some(bytes)) = (numbers.next()?, numbers.next()?) else {
                return Ok(None);
            };
            extents.push(Extent { offset, bytes });
        }
        let map_bytes = stored - numbers.left;
        Ok(Self::new(records, "GNU.sparse.realsize", extents, map_bytes))
    }

    fn old(header: &Header, input: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut extents = Vec::new();
        let mut is_sound = take_old(header.bytes(OLD_EXTENTS), &mut extents);
        let mut has_more = header.bytes(OLD_MORE) != [0];
        while has_more && is_sound && extents.len() < EXTENTS_MAX {
            let mut block = [0; BLOCK];
            input.read_exact(&mut block)?;
            let (pairs, rest) = block.split_at(504);
            is_sound = take_old(pairs, &mut extents);
            has_more = rest.first() != Some(&0);
        }
        let size = header.number(OLD_SIZE).filter(|_| is_sound && !has_more);
        Ok(size.map(|size| Self { size, name: None, extents, map_bytes: 0 }))
    }
}

fn take_old(pairs: &[u8], extents: &mut Vec<Extent>) -> bool {
    for pair in pairs.chunks(24) {
        let (offset, bytes) = pair.split_at_checked(12).unwrap_or_default();
        if bytes.iter().all(|byte| *byte == 0) {
            break;
        }
        match (number(offset), number(bytes)) {
            (Some(offset), Some(bytes)) => extents.push(Extent { offset, bytes }),
            _ => return false,
        }
    }
    true
}

/// The numbers of a map of form 1.0, whose blocks are read as needed.
struct MapNumbers<'a> {
    input: &'a mut dyn Read,
    /// Bytes of the member that were not read yet.
    left: u64,
    block: [u8; BLOCK],
    place: usize,
}

impl MapNumbers<'_> {
    /// The next number, or nothing if there is none.
    fn next(&mut self) -> io::Result<Option<u64>> {
        let mut number = 0_u64;
        for digits in 0..21 {
            if self.place == BLOCK {
                if self.left < BLOCK as u64 {
                    return Ok(None);
                }
                self.input.read_exact(&mut self.block)?;
                self.left -= BLOCK as u64;
                self.place = 0;
            }
            let byte = self.block.get(self.place).copied().unwrap_or_default();
            self.place += 1;
            if byte == b'\n' {
                return Ok((digits > 0).then_some(number));
            }
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10);
            let sum = digit.and_then(|digit| number.checked_mul(10)?.checked_add(digit.into()));
            let Some(sum) = sum else { return Ok(None) };
            number = sum;
        }
        Ok(None)
    }
}
