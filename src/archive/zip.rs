//! Writing a zip archive as a stream.
//!
//! Ours, since the crate for it takes names of text only. Sizes follow each
//! file (a data descriptor), always in 64 bits. Unix modes, symlinks, owners and
//! whole seconds are kept (Info-ZIP's fields `UT` and `ux`); hard links become
//! files of their own, holes zeros. Nanoseconds, attributes and devices have no
//! place in the format; the caller leaves out what is neither file, directory
//! nor link.
//!
//! Source: PKWARE's APPNOTE 6.3.10, Info-ZIP's `extrafld.txt`.

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::archive::entry::{Entry, FormatWriter};
use crate::archive::tar::Extent;
use crate::dag::{Kind, Node};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
/// Version 4.5 has 64 bits; made by Unix.
const NEEDED: u16 = 45;
const MADE_BY: u16 = 3 << 8 | NEEDED;
/// A data descriptor follows.
const STREAMED: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
const DEFLATE: u16 = 8;
const STORED: u16 = 0;

/// Counts what was written.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Where the bytes go.
enum State<W: Write> {
    Between(Counted<W>),
    In(DeflateEncoder<Counted<W>>),
    /// Only while one becomes the other, or after a failure.
    Lost,
}

/// Writes a zip archive.
pub(super) struct ZipWriter<W: Write> {
    state: State<W>,
    /// The directory at the end: kept until then.
    central: Vec<u8>,
    count: u64,
    present: Present,
}

/// The present entry.
#[derive(Default)]
struct Present {
    head: Vec<u8>,
    name: Vec<u8>,
    extra: Vec<u8>,
    attributes: u32,
    offset: u64,
    begin: u64,
    is_file: bool,
    crc: Crc,
    bytes: u64,
}

fn lost() -> io::Error {
    io::Error::other("the archive cannot be written any more")
}

impl<W: Write> ZipWriter<W> {
    pub(super) fn new(output: W) -> Self {
        let output = Counted { inner: output, bytes: 0 };
        let state = State::Between(output);
        Self { state, central: Vec::new(), count: 0, present: Present::default() }
    }

    fn output(&mut self) -> io::Result<&mut Counted<W>> {
        match &mut self.state {
            State::Between(output) => Ok(output),
            _ => Err(lost()),
        }
    }

    /// Writes the directory and ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let (central, count) = (std::mem::take(&mut self.central), self.count);
        let output = self.output()?;
        let (begin, bytes) = (output.bytes, central.len() as u64);
        output.write_all(&central)?;
        let end64 = output.bytes;
        let mut end = Vec::new();
        put(&mut end, &[END64.into()], 4);
        put(&mut end, &[44], 8);
        put(&mut end, &[MADE_BY.into(), NEEDED.into()], 2);
        put(&mut end, &[0, 0], 4);
        put(&mut end, &[count, count, bytes, begin], 8);
        put(&mut end, &[LOCATOR64.into(), 0], 4);
        put(&mut end, &[end64], 8);
        put(&mut end, &[1, END.into()], 4);
        let short = |number: u64| number.min(0xffff);
        put(&mut end, &[0, 0, short(count), short(count)], 2);
        let long = |number: u64| number.min(0xffff_ffff);
        put(&mut end, &[long(bytes), long(begin)], 4);
        put(&mut end, &[0], 2);
        output.write_all(&end)?;
        match self.state {
            State::Between(output) => Ok(output.inner),
            _ => Err(lost()),
        }
    }
}

impl<W: Write> FormatWriter for ZipWriter<W> {
    fn begin(&mut self, entry: &Entry<'_>, _extents: Option<&[Extent]>) -> io::Result<()> {
        let node = entry.node;
        let is_directory = matches!(node.kind, Kind::Directory(_));
        let mut name = entry.path.to_vec();
        name.extend(is_directory.then_some(b'/'));
        if name.len() > usize::from(u16::MAX) {
            return Err(io::Error::other("a path is too long for a zip archive"));
        }
        let is_file = matches!(node.kind, Kind::File(_));
        let method = if is_file { DEFLATE } else { STORED };
        let is_text = name.is_ascii() || std::str::from_utf8(&name).is_err();
        let flags = STREAMED | if is_text { 0 } else { UTF8 };
        let (date, time) = dos_time(node);
        let mut head = Vec::new();
        put(&mut head, &[NEEDED, flags, method, time, date].map(u64::from), 2);
        let extra = extra(node);
        let mut local = Vec::new();
        put(&mut local, &[LOCAL.into()], 4);
        local.extend_from_slice(&head);
        // Sizes are 64 bits in an extra field, here as nothing, and in the descriptor.
        put(&mut local, &[0, 0xffff_ffff, 0xffff_ffff], 4);
        put(&mut local, &[name.len() as u64, extra.len() as u64 + 20], 2);
        local.extend_from_slice(&name);
        put(&mut local, &[1, 16], 2);
        put(&mut local, &[0, 0], 8);
        local.extend_from_slice(&extra);
        let output = self.output()?;
        let offset = output.bytes;
        output.write_all(&local)?;
        let (begin, attributes) = (output.bytes, attributes(node));
        let (crc, bytes) = (Crc::new(), 0);
        self.present =
            Present { head, name, extra, attributes, offset, begin, is_file, crc, bytes };
        if is_file {
            self.state = match std::mem::replace(&mut self.state, State::Lost) {
                State::Between(output) => {
                    State::In(DeflateEncoder::new(output, Compression::default()))
                }
                other => other,
            };
        } else if let Kind::Symlink(target) = &node.kind {
            self.data(target)?;
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.present.crc.update(bytes);
        self.present.bytes += bytes.len() as u64;
        match &mut self.state {
            State::Between(output) => output.write_all(bytes),
            State::In(encoder) => encoder.write_all(bytes),
            State::Lost => Err(lost()),
        }
    }

    fn hole(&mut self, bytes: u64) -> io::Result<()> {
        let zeros = [0; 64 << 10];
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(zeros.len() as u64);
            self.data(zeros.get(..piece as usize).unwrap_or_default())?;
            left -= piece;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.present.is_file {
            self.state = match std::mem::replace(&mut self.state, State::Lost) {
                State::In(encoder) => State::Between(encoder.finish()?),
                other => other,
            };
        }
        let present = std::mem::take(&mut self.present);
        let output = self.output()?;
        let packed = output.bytes - present.begin;
        let crc = u64::from(present.crc.sum());
        let mut descriptor = Vec::new();
        put(&mut descriptor, &[DESCRIPTOR.into(), crc], 4);
        put(&mut descriptor, &[packed, present.bytes], 8);
        output.write_all(&descriptor)?;
        let central = &mut self.central;
        put(central, &[CENTRAL.into()], 4);
        put(central, &[MADE_BY.into()], 2);
        central.extend_from_slice(&present.head);
        put(central, &[crc, 0xffff_ffff, 0xffff_ffff], 4);
        let extra_bytes = present.extra.len() as u64 + 28;
        put(central, &[present.name.len() as u64, extra_bytes, 0, 0, 0], 2);
        put(central, &[present.attributes.into(), 0xffff_ffff], 4);
        central.extend_from_slice(&present.name);
        put(central, &[1, 24], 2);
        put(central, &[present.bytes, packed, present.offset], 8);
        central.extend_from_slice(&present.extra);
        self.count += 1;
        Ok(())
    }
}

/// Appends numbers of so many bytes, little-endian.
fn put(bytes: &mut Vec<u8>, numbers: &[u64], width: usize) {
    for number in numbers {
        bytes.extend(number.to_le_bytes().into_iter().take(width));
    }
}

fn attributes(node: &Node) -> u32 {
    let kind = match node.kind {
        Kind::Directory(_) => 0o040_000,
        Kind::Symlink(_) => 0o120_000,
        _ => 0o100_000,
    };
    let is_directory = matches!(node.kind, Kind::Directory(_));
    (kind | u32::from(node.mode)) << 16 | u32::from(is_directory) << 4
}

/// The time of last change in seconds, and owner and group.
fn extra(node: &Node) -> Vec<u8> {
    let mut extra = Vec::new();
    // 32 bits, which programs take for signed ones.
    if let Ok(seconds) = i32::try_from(node.mtime.seconds()) {
        put(&mut extra, &[0x5455, 5], 2);
        extra.push(1);
        extra.extend_from_slice(&seconds.to_le_bytes());
    }
    put(&mut extra, &[0x7875, 11], 2);
    extra.extend_from_slice(&[1, 4]);
    put(&mut extra, &[node.owner.uid.into()], 4);
    extra.push(4);
    put(&mut extra, &[node.owner.gid.into()], 4);
    extra
}

/// Date and time as MS-DOS has them: from 1980 on, every other second.
fn dos_time(node: &Node) -> (u16, u16) {
    let text = node.mtime.to_utc_text("%Y %m %d %H %M %S").unwrap_or_default();
    let numbers: Vec<u16> = text.split(' ').filter_map(|number| number.parse().ok()).collect();
    match *numbers.as_slice() {
        [year @ 1980..=2107, month, day, hour, minute, second] => {
            (((year - 1980) << 9) | (month << 5) | day, (hour << 11) | (minute << 5) | (second / 2))
        }
        _ => (1 << 5 | 1, 0),
    }
}
