//! The master key on paper: sixteen groups of four hexadecimal digits, each line
//! of four groups with a check of its own, so that a slip is found where it is.
//!
//! ```text
//! 1: 8f3c 02a1 77e0 9b5d - 41
//! ```
//!
//! The check is the first byte of the SHA-256 of `icecore paper 1\0`, the number
//! of the line and its bytes. The last line checks the whole key in the same way
//! by eight digits.

use zeroize::Zeroizing;

use crate::base::hash::tagged;
use crate::base::id::hex;
use crate::crypto::master::MasterKey;
use crate::crypto::secret::{KEY_BYTES, Secret};

const TAG: &[u8] = b"icecore paper 1\0";
const LINE_BYTES: usize = 8;
const LINES: usize = KEY_BYTES / LINE_BYTES;
/// Bytes of the check of a line, and of the whole.
const CHECKS: (usize, usize) = (1, 4);

/// Text that is no key on paper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaperError {
    /// It has other lines than a key has.
    #[error("a key on paper has four lines of four groups of four digits, and one that checks it")]
    Form,
    /// A line was not copied as it was printed.
    #[error("line {0} was not copied as it was printed")]
    Line(usize),
    /// The lines are of different keys.
    #[error("the lines do not belong together")]
    Whole,
}

/// Returns the lines to print.
#[must_use]
pub fn to_paper(key: &MasterKey) -> Zeroizing<String> {
    let bytes = key.secret().as_bytes();
    let mut text = Zeroizing::new(String::with_capacity(200));
    for (index, line) in bytes.chunks_exact(LINE_BYTES).enumerate() {
        let groups = Zeroizing::new(hex(line));
        text.push_str(&format!("{}:", index + 1));
        for group in groups.as_bytes().chunks(4) {
            text.push(' ');
            text.extend(group.iter().map(|digit| char::from(*digit)));
        }
        text.push_str(&format!(" - {}\n", check(index + 1, line, CHECKS.0)));
    }
    text.push_str(&format!("{}: {}\n", LINES + 1, check(LINES + 1, bytes, CHECKS.1)));
    text
}

/// Understands lines as they were printed; spaces and empty lines do not matter.
///
/// # Errors
/// Fails if a line was not copied as it was printed, and says which.
pub fn from_paper(text: &str) -> Result<MasterKey, PaperError> {
    let digits = |line: &str| -> Zeroizing<String> {
        let line = line.split_once(':').map_or(line, |(_, rest)| rest);
        let kept = line.chars().filter(|c| !c.is_whitespace() && *c != '-');
        // As large as it can become: what grows leaves copies behind.
        let mut digits = Zeroizing::new(String::with_capacity(line.len()));
        digits.extend(kept.map(|c| c.to_ascii_lowercase()));
        digits
    };
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(digits).collect();
    if lines.len() != LINES + 1 {
        return Err(PaperError::Form);
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (index, (line, place)) in lines.iter().zip(key.chunks_exact_mut(LINE_BYTES)).enumerate() {
        let number = index + 1;
        let (bytes, checked) =
            line.split_at_checked(2 * LINE_BYTES).ok_or(PaperError::Line(number))?;
        for (byte, pair) in place.iter_mut().zip(bytes.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| PaperError::Line(number))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| PaperError::Line(number))?;
        }
        if Zeroizing::new(hex(place)).as_str() != bytes || check(number, place, CHECKS.0) != checked
        {
            return Err(PaperError::Line(number));
        }
    }
    let whole = lines.last().map(|line| line.as_str());
    if whole != Some(check(LINES + 1, &*key, CHECKS.1).as_str()) {
        return Err(PaperError::Whole);
    }
    Ok(MasterKey::new(Secret::take(&mut key)))
}

fn check(line: usize, bytes: &[u8], length: usize) -> String {
    let number = [u8::try_from(line).unwrap_or(u8::MAX)];
    let checked = Zeroizing::new([&number[..], bytes].concat());
    let digest = tagged(TAG, &checked);
    hex(digest.get(..length).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_paper_and_each_slip_of_a_digit_is_found_in_its_line() {
        let key = MasterKey::generate().unwrap();
        let text = to_paper(&key);
        let read = |text: &str| from_paper(text).map(|key| *key.secret().as_bytes());
        assert_eq!(read(&text).unwrap(), *key.secret().as_bytes());
        assert_eq!(read(&text.to_uppercase().replace(' ', "  ")), read(&text));
        let mut missed = 0;
        for (number, line) in text.lines().enumerate().take(LINES) {
            for at in 3..line.len() {
                let Some(digit) = line.chars().nth(at).and_then(|c| c.to_digit(16)) else {
                    continue;
                };
                let other = char::from_digit((digit + 1) % 16, 16).unwrap();
                let mut slip = line.to_owned();
                slip.replace_range(at..=at, &other.to_string());
                let wrong = text.replace(line, &slip);
                match read(&wrong) {
                    Err(PaperError::Line(found)) => assert_eq!(found, number + 1),
                    // One byte of check misses one slip in 256, the whole finds it.
                    Err(PaperError::Whole) => missed += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(missed < 8, "{missed}");
        let swapped: String = [1, 0, 2, 3, 4].map(|n| text.lines().nth(n).unwrap()).join("\n");
        assert!(read(&swapped).is_err());
        for nonsense in ["", "1: 2", &"\u{e9}\n".repeat(5), &"1: +1+1+1+1+1+1+1+1 - 00\n".repeat(5)]
        {
            assert!(read(nonsense).is_err());
        }
    }
}
