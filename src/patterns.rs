//! Patterns of paths, as `.gitignore` has them.
//!
//! Purpose: one meaning of patterns for whatever takes them (`create`, `restore`,
//! `find`, archives), by the `ignore` crate: `*.o` fits at any depth, `/etc/*.conf`
//! and `a/b` are seen from the root of the snapshot, `dir/` fits directories, `**`
//! any number of names, `!` takes back. Pure.
//!
//! Imports: `base`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::base::format::one_line;

/// Why a pattern is none.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the pattern {pattern:?} is not valid: {detail}")]
pub struct PatternError {
    pattern: String,
    detail: String,
}

/// A list of patterns, of which the last one that fits decides.
#[derive(Clone, Debug)]
pub struct PathPatterns(Gitignore);

impl PathPatterns {
    /// Takes patterns, seen from the root of the snapshot.
    ///
    /// # Errors
    /// Fails if one makes no sense, and names it.
    pub fn new<S: AsRef<str>>(patterns: &[S], ignore_case: bool) -> Result<Self, PatternError> {
        let mut builder = builder(Path::new(""));
        let invalid = |pattern: &str, error: ignore::Error| PatternError {
            pattern: pattern.to_owned(),
            // It quotes the pattern as it is.
            detail: one_line(&error.to_string()),
        };
        builder.case_insensitive(ignore_case).map_err(|error| invalid("", error))?;
        for pattern in patterns {
            let pattern = pattern.as_ref();
            builder.add_line(None, pattern).map_err(|error| invalid(pattern, error))?;
        }
        let all = || patterns.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
        builder.build().map(Self).map_err(|error| invalid(&all(), error))
    }

    /// No patterns.
    #[must_use]
    pub fn none() -> Self {
        Self(Gitignore::empty())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they fit the path of an item itself.
    #[must_use]
    pub fn fit(&self, path: &[u8], is_directory: bool) -> bool {
        !self.is_empty() && self.0.matched(as_path(path), is_directory).is_ignore()
    }

    /// Whether they fit an item or a directory above it.
    #[must_use]
    pub fn fit_from_above(&self, path: &[u8], is_directory: bool) -> bool {
        let path = as_path(path);
        !self.is_empty()
            && !path.as_os_str().is_empty()
            && self.0.matched_path_or_any_parents(path, is_directory).is_ignore()
    }
}

/// Checks a pattern.
///
/// # Errors
/// Fails if it makes no sense.
pub fn check_pattern(pattern: &str) -> Result<(), PatternError> {
    PathPatterns::new(&[pattern], false).map(|_| ())
}

/// A builder of the patterns of a directory; every pattern must be whole.
#[must_use]
pub fn builder(root: &Path) -> GitignoreBuilder {
    let mut builder = GitignoreBuilder::new(PathBuf::from(root));
    builder.allow_unclosed_class(false);
    builder
}

fn as_path(path: &[u8]) -> &Path {
    let path = Path::new(OsStr::from_bytes(path));
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_seen_from_the_root_of_the_snapshot() {
        let patterns =
            PathPatterns::new(&["*.o", "!keep.o", "/home/u/tmp", "cache/", "a/**/z"], false)
                .unwrap();
        for (path, is_directory) in [
            ("x.o", false),
            ("d/x.o", false),
            ("/home/u/tmp", true),
            ("d/cache", true),
            ("a/b/z", false),
        ] {
            assert!(patterns.fit(path.as_bytes(), is_directory), "{path}");
        }
        for path in ["keep.o", "d/home/u/tmp", "cache", "", "/"] {
            assert!(!patterns.fit(path.as_bytes(), false), "{path}");
        }
    }

    #[test]
    fn what_lies_below_a_directory_that_fits_does_too_if_that_is_asked() {
        let patterns = PathPatterns::new(&["etc/nginx"], false).unwrap();
        assert!(patterns.fit_from_above(b"etc/nginx/conf.d/x", false));
        assert!(!patterns.fit(b"etc/nginx/conf.d/x", false));
        assert!(!patterns.fit_from_above(b"etc", true) && !patterns.fit_from_above(b"", true));
    }

    #[test]
    fn a_pattern_that_is_none_is_told_without_steering_a_terminal() {
        for pattern in ["\u{1b}[2J[", "\u{9b}31m[", "a\rb[", "{\u{7}", "[z-\u{1b}]"] {
            let text = check_pattern(pattern).unwrap_err().to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn no_patterns_fit_nothing() {
        let patterns = PathPatterns::new::<&str>(&[], false).unwrap();
        assert!(patterns.is_empty() && !patterns.fit(b"x", false));
    }
}
