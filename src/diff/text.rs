//! The difference of two texts, in unified form.

use std::io::{self, Write};
use std::time::Duration;

use similar::TextDiff;

/// How long the shortest difference is looked for; then a longer one does.
const SEARCH_TIME: Duration = Duration::from_secs(5);
/// Where a NUL byte is looked for, as `git` and `grep` do.
const PROBE_BYTES: usize = 8000;

/// Whether bytes are no text.
#[must_use]
pub fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(PROBE_BYTES).any(|byte| *byte == 0)
}

/// Writes the difference of two texts as `diff -u` does, with so many lines
/// around each change; nothing if they are equal. The headers say what each is.
///
/// # Errors
/// Fails if `writer` does.
pub fn write_unified(
    (before, before_header): (&[u8], &str),
    (after, after_header): (&[u8], &str),
    context_lines: usize,
    writer: &mut dyn Write,
) -> io::Result<()> {
    let diff = TextDiff::configure().timeout(SEARCH_TIME).diff_lines(before, after);
    let mut unified = diff.unified_diff();
    unified.context_radius(context_lines).header(before_header, after_header).to_writer(writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(before: &[u8], after: &[u8], context_lines: usize) -> String {
        let mut text = Vec::new();
        write_unified((before, "a"), (after, "b"), context_lines, &mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn texts_are_compared_by_lines_as_diff_does() {
        let text = unified(b"1\n2\n3\n4\n5\n", b"1\n2\nthree\n4\n5\n", 1);
        assert_eq!(text, "--- a\n+++ b\n@@ -2,3 +2,3 @@\n 2\n-3\n+three\n 4\n");
        assert_eq!(unified(b"same\n", b"same\n", 3), "");
        let text = unified(b"x\n", b"x", 3);
        let end = "@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n";
        assert_eq!(text, format!("--- a\n+++ b\n{end}"));
        let text = unified(b"\xff\n", b"\xfe\n", 0);
        assert!(text.contains("-\u{fffd}\n+\u{fffd}\n"), "{text}");
    }

    #[test]
    fn bytes_with_a_nul_near_their_beginning_are_no_text() {
        assert!(is_binary(b"a\0b") && !is_binary(b"a\nb\xff") && !is_binary(b""));
    }
}
