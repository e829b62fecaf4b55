//! Archives of any bytes.

use std::ops::Range;

use crate::archive::witness;
use crate::base::progress::Silent;

/// Bytes of a block of tar; where in it the size of a member and the checksum stand.
const BLOCK: usize = 512;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;

/// Reads the input as it is, and as a tar archive whose headers have the right
/// checksums: else hardly a changed header would be looked at.
pub(super) fn read_archive(input: &[u8]) {
    for archive in [input, &with_checksums(input)] {
        let _ = witness(archive, &Silent).map_err(|error| error.to_string());
    }
}

/// The same with the checksum of each header set right.
pub(super) fn with_checksums(input: &[u8]) -> Vec<u8> {
    let mut archive = input.to_vec();
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..).and_then(|rest| rest.get_mut(..BLOCK)) {
        let size = block.get(SIZE).map_or(0, octal);
        let is_header = block.iter().any(|byte| *byte != 0);
        if let Some(place) = block.get_mut(CHECKSUM).filter(|_| is_header) {
            place.fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            let text = format!("{sum:06o}\0 ");
            block.iter_mut().skip(CHECKSUM.start).zip(text.bytes()).for_each(|(a, b)| *a = b);
        }
        at = at.saturating_add(BLOCK).saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
    }
    archive
}

/// A number as headers have them; what is none is 0.
fn octal(text: &[u8]) -> usize {
    let text = String::from_utf8_lossy(text);
    usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::seeds::seeds;

    #[test]
    fn the_seeds_are_whole_archives() {
        for seed in seeds("read_archive") {
            let outcome = witness(&seed, &Silent);
            assert!(outcome.is_ok(), "{outcome:?}");
        }
    }
}
