//! The lines of a segment from its end to its beginning. A window and one line are
//! held, however large the segment is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::audit::error::AuditError;
use crate::audit::segment::Segment;
use crate::base::limits::EVENT_BYTES_MAX;

/// Bytes read at once.
const WINDOW: u64 = 64 << 10;

/// A line and where it begins.
#[derive(Debug)]
pub(super) struct PlacedLine {
    pub(super) offset: u64,
    /// Its bytes without the newline; nothing if they are more than any event has.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Reads lines, the last one first.
pub(super) struct LinesBack {
    file: File,
    path: PathBuf,
    /// What lies before it is still to be returned.
    end: u64,
    /// Bytes of the file, and where they begin.
    window: Vec<u8>,
    begin: u64,
}

impl LinesBack {
    /// Begins at the end of a segment; nothing if it was removed meanwhile.
    pub(super) fn of_segment(segment: &Segment) -> Result<Option<Self>, AuditError> {
        let file = match segment.open() {
            Ok(file) => file,
            Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let path = segment.path.clone();
        let end = file.metadata().map_err(AuditError::io("read", &path))?.len();
        Ok(Some(Self { file, path, end, window: Vec::new(), begin: 0 }))
    }

    /// The line before the one that was returned last, or nothing at the beginning.
    pub(super) fn next(&mut self) -> Result<Option<PlacedLine>, AuditError> {
        if self.end == 0 {
            return Ok(None);
        }
        let line = self.line();
        line.map(Some).map_err(AuditError::io("read", &self.path))
    }

    fn line(&mut self) -> io::Result<PlacedLine> {
        // The last byte is the line's own newline, or has none behind it.
        let before = self.newline_before(self.end - 1)?;
        let offset = before.map_or(0, |newline| newline + 1);
        let length = std::mem::replace(&mut self.end, offset) - offset;
        if length > EVENT_BYTES_MAX as u64 + 1 {
            return Ok(PlacedLine { offset, bytes: None });
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.read_at(&mut bytes, offset)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Ok(PlacedLine { offset, bytes: Some(bytes).filter(|it| it.len() <= EVENT_BYTES_MAX) })
    }

    /// Where the last newline before a place stands.
    fn newline_before(&mut self, mut place: u64) -> io::Result<Option<u64>> {
        while place > 0 {
            let end = self.begin + self.window.len() as u64;
            if place <= self.begin || place > end {
                self.begin = place.saturating_sub(WINDOW);
                self.window.resize(usize::try_from(place - self.begin).unwrap_or_default(), 0);
                self.file.read_exact_at(&mut self.window, self.begin)?;
            }
            let inside = usize::try_from(place - self.begin).unwrap_or_default();
            let inside = self.window.get(..inside).unwrap_or_default();
            if let Some(newline) = inside.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(self.begin + newline as u64));
            }
            place = self.begin;
        }
        Ok(None)
    }

    /// Takes bytes out of the window where it has them.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let from = offset.checked_sub(self.begin).and_then(|from| usize::try_from(from).ok());
        let held = from.and_then(|from| self.window.get(from..)?.get(..bytes.len()));
        match held {
            Some(held) => bytes.copy_from_slice(held),
            None => self.file.read_exact_at(bytes, offset)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The lines of a segment from its beginning, with their places.
    fn forwards(segment: &Segment) -> Vec<(u64, Option<Vec<u8>>)> {
        let (mut lines, mut offset, mut all) = (segment.lines(0).unwrap(), 0, Vec::new());
        while let Some(line) = lines.next().unwrap() {
            let is_cut = line.is_cut();
            all.push((offset, (!is_cut).then_some(line.bytes)));
            offset += line.length;
        }
        all
    }

    #[test]
    fn lines_are_the_same_from_both_ends() {
        let directory = tempfile::tempdir().unwrap();
        let segment = Segment::new(directory.path(), 1);
        let window = usize::try_from(WINDOW).unwrap();
        let lines = |lengths: &[usize]| -> Vec<u8> {
            let line = |length: &usize| [vec![b'x'; *length], vec![b'\n']].concat();
            lengths.iter().flat_map(line).collect()
        };
        for (number, mut text) in [
            Vec::new(),
            lines(&[0]),
            lines(&[0, 0, 0, 5, 0]),
            lines(&[3, window, 2]),
            lines(&[window - 1, window - 1, window + 1, 7]),
            lines(&[1, EVENT_BYTES_MAX, 2]),
            lines(&[EVENT_BYTES_MAX + 1, 2, 3 * EVENT_BYTES_MAX]),
            lines(&[400; 1000]),
        ]
        .into_iter()
        .enumerate()
        {
            for end in [&b""[..], b"torn"] {
                text.extend_from_slice(end);
                fs::write(&segment.path, &text).unwrap();
                let mut lines = LinesBack::of_segment(&segment).unwrap().unwrap();
                let mut all = Vec::new();
                while let Some(line) = lines.next().unwrap() {
                    all.push((line.offset, line.bytes));
                }
                all.reverse();
                assert!(all == forwards(&segment), "text {number}, end {end:?}");
            }
        }
        fs::remove_file(&segment.path).unwrap();
        assert!(LinesBack::of_segment(&segment).unwrap().is_none());
    }
}
