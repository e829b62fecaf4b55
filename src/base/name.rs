//! Names of directory entries, valid by construction.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::base::limits::NAME_BYTES_MAX;

/// Why bytes are no entry name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, `.` or `..`.
    #[error("a name is empty, `.` or `..`")]
    Reserved,
    /// A slash or a NUL byte.
    #[error("a name holds a slash or a NUL byte")]
    Forbidden,
    /// More than 255 bytes.
    #[error("a name is longer than 255 bytes")]
    TooLong,
}

/// A name of any bytes that a Linux directory can hold. The constructor is the
/// only way to one, on the way in from a disk as well.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryName(Box<[u8]>);

impl EntryName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// Fails on names that no directory can hold.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        Self::check(bytes)?;
        Ok(Self(bytes.into()))
    }

    /// Checks a name without keeping it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check(bytes: &[u8]) -> Result<(), NameError> {
        if matches!(bytes, b"" | b"." | b"..") {
            return Err(NameError::Reserved);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if bytes.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(NameError::Forbidden);
        }
        Ok(())
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name for the operating system.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl Borrow<[u8]> for EntryName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

/// Returns a name or path as text that is safe on a terminal: control
/// characters and bytes that are no UTF-8 are escaped as `\x1b`, a backslash is
/// doubled.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                _ if character.is_control() || is_direction_mark(character) => {
                    text.extend(character.escape_unicode());
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str("\\x");
            text.push_str(&crate::base::id::hex(&[*byte]));
        }
    }
    text
}

/// Bytes of a long path that [`shown`] keeps of its beginning, and of its end.
const SHOWN_HALF_BYTES: usize = 512;

/// The same as [`printable`] for a message of one line: of a path that is longer than
/// any system's, and was made by somebody else, only the beginning and the end.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    if path.len() <= 2 * SHOWN_HALF_BYTES {
        return printable(path);
    }
    let (start, rest) = path.split_at_checked(SHOWN_HALF_BYTES).unwrap_or((path, &[]));
    let end = rest.get(rest.len().saturating_sub(SHOWN_HALF_BYTES)..).unwrap_or_default();
    format!("{}[...]{}", printable(start), printable(end))
}

/// A path below another one; either may be empty.
#[must_use]
pub fn join_paths(above: &[u8], path: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if above.is_empty() || path.is_empty() { b"" } else { b"/" };
    [above, slash, path].concat()
}

/// Whether a character can reorder the text around it on a terminal.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_directory_can_hold_are_refused() {
        for (bytes, error) in [
            (&b""[..], NameError::Reserved),
            (b".", NameError::Reserved),
            (b"..", NameError::Reserved),
            (b"a/b", NameError::Forbidden),
            (b"a\0b", NameError::Forbidden),
            (&[b'x'; 256], NameError::TooLong),
        ] {
            assert_eq!(EntryName::new(bytes).unwrap_err(), error);
        }
    }

    #[test]
    fn names_of_any_other_bytes_are_kept() {
        for bytes in [&b"..."[..], b"\xff\xfe", b"\n", b" ", &[b'x'; 255]] {
            assert_eq!(EntryName::new(bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn a_path_of_any_length_is_shown_on_one_line() {
        assert_eq!(shown(b"a\nb"), "a\\nb");
        let long = shown(&[&b"begin"[..], &vec![0x1b; 1 << 20], b"end"].concat());
        assert!(long.starts_with("begin") && long.ends_with("end") && long.contains("[...]"));
        assert!(long.len() < 10_000 && !long.contains('\u{1b}'));
    }

    #[test]
    fn printable_text_cannot_drive_a_terminal() {
        assert_eq!(printable(b"a\x1b[31m\xff\\\n"), "a\\u{1b}[31m\\xff\\\\\\n");
        assert_eq!(printable("caf\u{e9}\u{202e}".as_bytes()), "caf\u{e9}\\u{202e}");
    }
}
