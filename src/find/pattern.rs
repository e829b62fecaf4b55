//! Patterns of names and paths, and where in a tree they can fit at all.

use crate::patterns::{PathPatterns, PatternError};

/// Patterns of files: of their names, or with a slash of their paths.
#[derive(Clone, Debug)]
pub struct FilePatterns {
    patterns: PathPatterns,
    /// Where they can fit; nothing if that is anywhere.
    reaches: Option<Vec<Reach>>,
    /// Whether they look at names alone.
    are_names: bool,
}

/// Where a pattern of paths can fit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reach {
    /// The names with which each path begins.
    names: Vec<String>,
    /// How many names a path has at most.
    depth_max: usize,
}

impl FilePatterns {
    /// Takes patterns as `.gitignore` has them, but without its comments. None
    /// at all fit everything.
    ///
    /// # Errors
    /// Fails if one makes no sense, and names it.
    pub fn new<S: AsRef<str>>(patterns: &[S], ignore_case: bool) -> Result<Self, PatternError> {
        let lines: Vec<_> = patterns.iter().map(|pattern| line(pattern.as_ref())).collect();
        let reaches: Option<Vec<_>> = lines.iter().map(|line| Reach::of(line)).collect();
        Ok(Self {
            patterns: PathPatterns::new(&lines, ignore_case)?,
            reaches: reaches.filter(|_| !ignore_case && !lines.is_empty()),
            are_names: lines.iter().all(|line| !is_path(line)),
        })
    }

    /// Whether they look at names alone, and not at where a file is.
    #[must_use]
    pub const fn are_names(&self) -> bool {
        self.are_names
    }

    /// Whether they fit a path.
    #[must_use]
    pub fn fit(&self, path: &[u8], is_directory: bool) -> bool {
        self.patterns.is_empty() || self.patterns.fit(path, is_directory)
    }

    /// Whether they can fit something below a directory.
    #[must_use]
    pub fn reach_below(&self, directory: &[u8]) -> bool {
        let names: Vec<_> = directory.split(|byte| *byte == b'/').collect();
        let reaches = |reach: &Reach| {
            names.len() < reach.depth_max
                && names.iter().zip(&reach.names).all(|(name, own)| *name == own.as_bytes())
        };
        self.reaches.as_ref().is_none_or(|all| all.iter().any(reaches))
    }
}

impl Reach {
    /// Where a pattern can fit; nothing if that is anywhere.
    fn of(line: &str) -> Option<Self> {
        if !is_path(line) {
            return None;
        }
        let parts: Vec<_> = line.split('/').filter(|part| !part.is_empty()).collect();
        let is_plain = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        let names: Vec<_> = parts.iter().copied().take_while(is_plain).map(String::from).collect();
        let is_deep = parts.iter().any(|part| part.contains("**"));
        Some(Self { names, depth_max: if is_deep { usize::MAX } else { parts.len() } })
    }
}

/// The line of `.gitignore` that means a pattern: a number sign begins no
/// comment, and blanks at the end count.
fn line(pattern: &str) -> String {
    let text = pattern.trim_end_matches(' ');
    let blanks = "\\ ".repeat(pattern.len() - text.len());
    let sign = if text.starts_with('#') { "\\" } else { "" };
    format!("{sign}{text}{blanks}")
}

/// Whether a pattern is one of paths: a slash elsewhere than at the end. One
/// that takes back is so too, since it may change what another one fits.
fn is_path(line: &str) -> bool {
    line.trim_end_matches('/').contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        FilePatterns::new(&[pattern], false).unwrap().fit(path.as_bytes(), false)
    }

    #[test]
    fn a_slash_makes_a_pattern_one_of_paths() {
        assert!(fits("*.conf", "etc/a.conf") && fits("etc/*.conf", "etc/a.conf"));
        assert!(!fits("etc/*.conf", "etc/b/a.conf") && fits("etc/**/*.conf", "etc/b/a.conf"));
        assert!(fits("**/b/*", "etc/b/a") && !fits("b/*", "etc/b/a"));
        let folded = FilePatterns::new(&["*.CONF"], true).unwrap();
        assert!(folded.fit(b"etc/a.conf", false) && folded.are_names());
        assert!(FilePatterns::new(&["["], false).is_err());
    }

    #[test]
    fn number_signs_and_blanks_are_no_syntax() {
        assert!(fits("#*#", "a/#draft#") && fits("a ", "a ") && !fits("a ", "a"));
    }

    #[test]
    fn directories_in_which_nothing_can_fit_are_known() {
        let reach = |patterns: &[&str], directory: &str| {
            FilePatterns::new(patterns, false).unwrap().reach_below(directory.as_bytes())
        };
        assert!(reach(&["*.conf"], "home/u") && reach(&[], "home"));
        assert!(reach(&["/etc/*.conf"], "etc") && !reach(&["/etc/*.conf"], "home"));
        assert!(!reach(&["/etc/*.conf"], "etc/nginx") && reach(&["/etc/**"], "etc/nginx"));
        assert!(reach(&["home/*/x", "etc/y"], "home/u") && !reach(&["home/*/x"], "home/u/x"));
        assert!(reach(&["a/b", "*.c"], "z") && reach(&["**/z"], "q/r/s"));
        let folded = FilePatterns::new(&["/ETC/*"], true).unwrap();
        assert!(folded.reach_below(b"etc"));
        let back = FilePatterns::new(&["a/b", "!x/y"], false).unwrap();
        assert!(back.reach_below(b"a"));
    }
}
