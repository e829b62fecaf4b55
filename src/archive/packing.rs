//! Packing a stream, and the seal at its end.
//!
//! The checksums of gzip and zstd do not cover their own headers, nor a cut
//! between two of their parts. So an archive of ours ends in a *seal*: the SHA-256
//! of all bytes before it, in a place that every program passes over. In gzip it
//! is a last, empty member whose extra field `IC` holds the digest (RFC 1952), in
//! zstd a skippable frame (RFC 8878, 3.1.2).

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::archive::format::Packing;
use crate::base::hash::{Digest256, StreamHash};

/// A gzip member up to its digest: deflate, an extra field of 36 bytes, `IC` with
/// 32 of them.
const GZIP_SEAL: &[u8] = b"\x1f\x8b\x08\x04\0\0\0\0\x00\xff\x24\0IC\x20\0";
/// The rest of it: an empty block, the checksum and the size of nothing.
const GZIP_END: &[u8] = b"\x03\0\0\0\0\0\0\0\0\0";
/// A skippable frame of 40 bytes up to the digest.
const ZSTD_SEAL: &[u8] = b"\x5e\x2a\x4d\x18\x28\0\0\0icecore\0";
/// The first bytes of what can be unpacked.
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// Bytes read at once.
const BUFFER: usize = 128 << 10;
/// The level of zstd, its own default.
const ZSTD_LEVEL: i32 = 3;

/// The seal of bytes with that digest.
fn seal(packing: Packing, digest: &Digest256) -> Vec<u8> {
    match packing {
        Packing::None => Vec::new(),
        Packing::Gzip => [GZIP_SEAL, digest, GZIP_END].concat(),
        Packing::Zstd => [ZSTD_SEAL, digest].concat(),
    }
}

/// Hashes and counts what passes.
pub(super) struct Hashed<W> {
    inner: W,
    hash: StreamHash,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(buffer.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Packs what is written.
pub(super) enum Packer<W: Write> {
    None(Hashed<W>),
    Gzip(Box<GzEncoder<Hashed<W>>>),
    Zstd(Box<zstd::Encoder<'static, Hashed<W>>>),
}

impl<W: Write> Packer<W> {
    pub(super) fn new(packing: Packing, output: W) -> io::Result<Self> {
        let output = Hashed { inner: output, hash: StreamHash::default(), bytes: 0 };
        Ok(match packing {
            Packing::None => Self::None(output),
            Packing::Gzip => {
                Self::Gzip(Box::new(GzEncoder::new(output, flate2::Compression::default())))
            }
            Packing::Zstd => {
                let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Ends the stream, with a seal if it is to have one, and returns what it was
    /// written to and how many bytes it took.
    pub(super) fn finish(self, is_sealed: bool) -> io::Result<(W, u64)> {
        let (mut output, packing) = match self {
            Self::None(output) => (output, Packing::None),
            Self::Gzip(encoder) => (encoder.finish()?, Packing::Gzip),
            Self::Zstd(encoder) => (encoder.finish()?, Packing::Zstd),
        };
        if is_sealed {
            let digest = output.hash.clone().finish();
            output.write_all(&seal(packing, &digest))?;
        }
        output.flush()?;
        Ok((output.inner, output.bytes))
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(output) => output.write(buffer),
            Self::Gzip(encoder) => encoder.write(buffer),
            Self::Zstd(encoder) => encoder.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(output) => output.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Hashes what is read but for the last bytes, which may be a seal.
pub(super) struct SealReader<R> {
    inner: R,
    hash: StreamHash,
    /// What was read and not hashed.
    tail: Vec<u8>,
    tail_bytes: usize,
    /// What was looked at before the packing was known.
    first: io::Cursor<Vec<u8>>,
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.first.read(buffer)? {
            0 => self.inner.read(buffer)?,
            read => read,
        };
        self.tail.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if let Some(ready) = self.tail.len().checked_sub(self.tail_bytes) {
            self.hash.update(self.tail.get(..ready).unwrap_or_default());
            self.tail.drain(..ready);
        }
        Ok(read)
    }
}

/// Unpacks what is read, whatever it is packed with.
pub(super) enum Unpacker<R: Read> {
    None(SealReader<R>),
    Gzip(Box<MultiGzDecoder<io::BufReader<SealReader<R>>>>),
    Zstd(Box<zstd::Decoder<'static, io::BufReader<SealReader<R>>>>),
}

impl<R: Read> Unpacker<R> {
    /// Whether it is packed; what is not has no seal.
    pub(super) const fn is_packed(&self) -> bool {
        !matches!(self, Self::None(_))
    }

    /// Looks at the first bytes to see how it is packed.
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        let mut first = Vec::new();
        input.by_ref().take(4).read_to_end(&mut first)?;
        let packing = match () {
            () if first.starts_with(GZIP_MAGIC) => Packing::Gzip,
            () if first == ZSTD_MAGIC => Packing::Zstd,
            () => Packing::None,
        };
        let tail_bytes = seal(packing, &Digest256::default()).len();
        let (hash, tail, first) = (StreamHash::default(), Vec::new(), io::Cursor::new(first));
        let input = SealReader { inner: input, hash, tail, tail_bytes, first };
        let buffered = |input| io::BufReader::with_capacity(BUFFER, input);
        Ok(match packing {
            Packing::None => Self::None(input),
            Packing::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(buffered(input)))),
            Packing::Zstd => {
                let decoder = zstd::Decoder::with_buffer(buffered(input))?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Reads everything to the end, so that all checksums are seen, and returns
    /// whether a seal is there and fits.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        io::copy(&mut self, &mut io::sink())?;
        let (mut input, packing) = match self {
            Self::None(input) => (input, Packing::None),
            Self::Gzip(decoder) => (decoder.into_inner().into_inner(), Packing::Gzip),
            Self::Zstd(decoder) => (decoder.finish().into_inner(), Packing::Zstd),
        };
        io::copy(&mut input, &mut io::sink())?;
        let expected = seal(packing, &input.hash.finish());
        Ok(!expected.is_empty() && input.tail == expected)
    }
}

impl<R: Read> Read for Unpacker<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self {
            Self::None(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(packing: Packing, content: &[u8]) -> Vec<u8> {
        let mut packer = Packer::new(packing, Vec::new()).unwrap();
        packer.write_all(content).unwrap();
        packer.finish(true).unwrap().0
    }

    /// What comes out, and whether the seal fits.
    fn unpacked(bytes: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let mut unpacker = Unpacker::new(bytes)?;
        let mut content = Vec::new();
        unpacker.by_ref().read_to_end(&mut content)?;
        Ok((content, unpacker.finish()?))
    }

    #[test]
    fn a_sealed_stream_shows_every_flipped_bit_every_cut_and_whatever_is_appended() {
        let content: Vec<u8> = (0..3000_u32).map(|number| (number % 251) as u8).collect();
        for packing in [Packing::Gzip, Packing::Zstd] {
            let whole = packed(packing, &content);
            assert_eq!(unpacked(&whole).unwrap(), (content.clone(), true));
            let is_taken = |bytes: &[u8]| unpacked(bytes).is_ok_and(|(_, sealed)| sealed);
            for place in 0..whole.len() {
                for bit in 0..8 {
                    let mut flipped = whole.clone();
                    flipped[place] ^= 1 << bit;
                    assert!(!is_taken(&flipped), "{packing:?}: bit {bit} of byte {place}");
                }
                assert!(!is_taken(&whole[..place]), "{packing:?}: cut at {place}");
            }
            assert!(!is_taken(&[whole.as_slice(), b"\0"].concat()));
            assert!(!is_taken(&[whole.as_slice(), &whole].concat()[1..]));
        }
    }

    #[test]
    fn what_is_not_packed_is_read_as_it_is_and_has_no_seal() {
        for content in [&b""[..], b"a", b"plain text of some length"] {
            assert_eq!(unpacked(content).unwrap(), (content.to_vec(), false));
        }
    }
}
