//! What of the sources belongs to a snapshot.
//!
//! Patterns are those of `.gitignore`, by the `ignore` crate, and are seen from
//! the root of the snapshot; those of an ignore file from its directory.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::Gitignore;
use rustix::fs::{FileType, Mode, OFlags, openat};

use crate::base::format::{self, one_line};
use crate::ingest::content::read_small;
use crate::ingest::listing::Names;
use crate::local::Status;
use crate::patterns::{PathPatterns, PatternError, builder};

/// The name of files that hold patterns of their directory.
pub const IGNORE_FILE: &str = ".icecoreignore";
/// Bytes of such a file that are looked at.
const IGNORE_FILE_BYTES_MAX: usize = 1 << 20;
/// Patterns of one such file that make no sense and are named, and characters of one that
/// are shown: whoever saves it need not be who wrote it.
const PROBLEMS_MAX: usize = 10;
const PROBLEM_CHARS_MAX: usize = 100;
/// Bytes of the header that a marker file can be asked for.
const MARKER_HEADER_BYTES_MAX: usize = 4096;
/// What a cache directory holds (<https://bford.info/cachedir/>).
const CACHE_MARKER: (&str, &str) = ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");

/// What of the sources belongs to a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SelectionOptions {
    /// Patterns of what to leave out; the last one that matches decides.
    pub excludes: Vec<String>,
    /// The same, whatever the case of letters.
    pub excludes_ignoring_case: Vec<String>,
    /// Patterns of what to keep in any case.
    pub includes: Vec<String>,
    /// Files that mark a directory whose content is left out.
    pub markers: Vec<Marker>,
    /// Bytes above which a regular file is left out.
    pub larger_than: Option<u64>,
    /// Leave out what is marked by `chattr +d`.
    pub nodump: bool,
    /// Stay on the file systems of the sources.
    pub one_file_system: bool,
    /// Obey [`IGNORE_FILE`].
    pub ignore_files: bool,
}

/// A file that marks its directory as not worth saving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Its name.
    pub name: String,
    /// What it must begin with.
    pub header: Vec<u8>,
}

impl Marker {
    /// Returns the marker that `NAME` or `NAME:HEADER` mean, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, header) = text.split_once(':').unwrap_or((text, ""));
        let fits = !name.is_empty() && !name.contains('/');
        let fits = fits && header.len() <= MARKER_HEADER_BYTES_MAX;
        fits.then(|| Self { name: name.to_owned(), header: header.as_bytes().to_vec() })
    }

    /// Returns the marker of cache directories.
    #[must_use]
    pub fn caches() -> Self {
        let (name, header) = CACHE_MARKER;
        Self { name: name.to_owned(), header: header.as_bytes().to_vec() }
    }
}

/// The options, ready to be applied.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    options: SelectionOptions,
    excludes: PathPatterns,
    excludes_ignoring_case: PathPatterns,
    includes: PathPatterns,
}

/// The patterns of the ignore files from a directory upwards.
#[derive(Debug)]
pub(crate) struct IgnoreFiles {
    patterns: Gitignore,
    above: Option<Arc<Self>>,
}

impl Selection {
    pub(crate) fn new(options: &SelectionOptions) -> Result<Self, PatternError> {
        Ok(Self {
            options: options.clone(),
            excludes: PathPatterns::new(&options.excludes, false)?,
            excludes_ignoring_case: PathPatterns::new(&options.excludes_ignoring_case, true)?,
            includes: PathPatterns::new(&options.includes, false)?,
        })
    }

    pub(crate) const fn one_file_system(&self) -> bool {
        self.options.one_file_system
    }

    /// Whether an item at a path in the snapshot is left out.
    pub(crate) fn excludes(
        &self,
        path: &[u8],
        status: &Status,
        ignore_files: Option<&IgnoreFiles>,
    ) -> bool {
        let is_directory = status.is(FileType::Directory);
        let too_large = || {
            let limit = self.options.larger_than;
            status.is(FileType::RegularFile) && limit.is_some_and(|limit| status.size > limit)
        };
        if (self.options.nodump && status.nodump) || too_large() {
            return true;
        }
        if self.includes.fit(path, is_directory) {
            return false;
        }
        let path_of = |path| Path::new(OsStr::from_bytes(path));
        self.excludes.fit(path, is_directory)
            || self.excludes_ignoring_case.fit(path, is_directory)
            || ignore_files.is_some_and(|files| {
                let path = path_of(path);
                files.excludes(path.strip_prefix("/").unwrap_or(path), is_directory)
            })
    }

    /// Whether the content of a directory is left out but for the name that is
    /// returned, because a marker is there.
    pub(crate) fn marker(&self, directory: &OwnedFd, names: &Names) -> Option<&str> {
        let is_there = |marker: &&Marker| {
            names.contains(marker.name.as_bytes())
                && (marker.header.is_empty()
                    || starts_with(directory, &marker.name, &marker.header))
        };
        self.options.markers.iter().find(is_there).map(|marker| marker.name.as_str())
    }

    /// Returns the patterns that hold below a directory at a path in the
    /// snapshot, and what is wrong with those of its own.
    pub(crate) fn ignore_files(
        &self,
        directory: &OwnedFd,
        names: &Names,
        path: &[u8],
        above: Option<&Arc<IgnoreFiles>>,
    ) -> (Option<Arc<IgnoreFiles>>, Vec<String>) {
        if !self.options.ignore_files || !names.contains(IGNORE_FILE.as_bytes()) {
            return (above.cloned(), Vec::new());
        }
        let Some(bytes) = head(directory, IGNORE_FILE, IGNORE_FILE_BYTES_MAX) else {
            return (above.cloned(), vec!["cannot be read and is not obeyed".to_owned()]);
        };
        let path = Path::new(OsStr::from_bytes(path));
        let mut builder = builder(path.strip_prefix("/").unwrap_or(path));
        let (mut problems, mut more) = (Vec::new(), 0);
        for line in String::from_utf8_lossy(&bytes).lines() {
            match builder.add_line(None, line) {
                Ok(_) => {}
                Err(_) if problems.len() == PROBLEMS_MAX => more += 1,
                Err(error) => problems.push(problem_of(line, &error.to_string())),
            }
        }
        if more > 0 {
            let patterns = format::plural(more, "more pattern is", "more patterns are");
            problems.push(format!("{patterns} not valid"));
        }
        match builder.build() {
            Ok(patterns) => {
                let above = above.cloned();
                (Some(Arc::new(IgnoreFiles { patterns, above })), problems)
            }
            Err(error) => (above.cloned(), vec![one_line(&error.to_string())]),
        }
    }
}

impl IgnoreFiles {
    /// The innermost file with a pattern that matches decides.
    fn excludes(&self, path: &Path, is_directory: bool) -> bool {
        let mut files = Some(self);
        while let Some(file) = files {
            match file.patterns.matched(path, is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => files = file.above.as_deref(),
            }
        }
        false
    }
}

/// What is said of a pattern that makes no sense, which may be very long.
fn problem_of(line: &str, detail: &str) -> String {
    let shown: String = line.chars().take(PROBLEM_CHARS_MAX).collect();
    let dots = if shown.len() < line.len() { "..." } else { "" };
    let detail: String = one_line(detail).chars().take(PROBLEM_CHARS_MAX * 2).collect();
    format!("the pattern {shown:?}{dots} is not valid: {detail}")
}

/// The first bytes of a regular file, if it can be read.
fn head(directory: &OwnedFd, name: &str, max: usize) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(directory, name, flags, Mode::empty()).ok()?;
    let status = Status::of_file(&file).ok()?;
    if !status.is(FileType::RegularFile) {
        return None;
    }
    read_small(&file, max).ok()
}

fn starts_with(directory: &OwnedFd, name: &str, header: &[u8]) -> bool {
    head(directory, name, header.len()).is_some_and(|head| head == header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::Device;

    fn status(kind: FileType, size: u64) -> Status {
        let device = Device { major: 0, minor: 0 };
        Status {
            kind,
            mode: 0,
            device,
            inode: 0,
            links: 1,
            uid: 0,
            gid: 0,
            size,
            allocated: 0,
            special: device,
            mtime: Default::default(),
            ctime: Default::default(),
            atime: Default::default(),
            nodump: false,
        }
    }

    fn excluded(options: &SelectionOptions, path: &str) -> bool {
        let selection = Selection::new(options).unwrap();
        let kind = if path.ends_with('/') { FileType::Directory } else { FileType::RegularFile };
        let path = path.trim_end_matches('/');
        selection.excludes(path.as_bytes(), &status(kind, 10), None)
    }

    #[test]
    fn patterns_are_those_of_gitignore_seen_from_the_root_of_the_snapshot() {
        let patterns = ["*.o", "!keep.o", "/home/u/tmp", "cache/", "a/**/z", "var/log"];
        let options = SelectionOptions {
            excludes: patterns.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        for path in ["x.o", "d/x.o", "home/u/tmp", "d/cache/", "a/b/c/z", "a/z", "var/log/"] {
            assert!(excluded(&options, path), "{path}");
        }
        for path in ["keep.o", "x.ob", "d/home/u/tmp", "cache", "b/a/z", "d/var/log"] {
            assert!(!excluded(&options, path), "{path}");
        }
    }

    #[test]
    fn an_include_wins_and_case_is_ignored_on_request() {
        let options = SelectionOptions {
            excludes: vec!["*.log".to_owned()],
            excludes_ignoring_case: vec!["*.tmp".to_owned()],
            includes: vec!["keep*".to_owned()],
            larger_than: Some(9),
            ..Default::default()
        };
        assert!(excluded(&options, "a.log") && excluded(&options, "A.TMP"));
        let options = SelectionOptions { larger_than: Some(10), ..options };
        assert!(!excluded(&options, "a.LOG") && !excluded(&options, "keep.log"));
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_named() {
        let options = SelectionOptions { excludes: vec!["a[".to_owned()], ..Default::default() };
        assert!(Selection::new(&options).unwrap_err().to_string().contains("a["));
    }

    #[test]
    fn what_is_wrong_with_an_ignore_file_steers_no_terminal_and_fills_none() {
        // Anybody whose files are saved can put one there; who runs `create` reads it.
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(IGNORE_FILE), "\u{1b}]0;x\u{7}[\n*.o\n").unwrap();
        let directory = OwnedFd::from(std::fs::File::open(scratch.path()).unwrap());
        let mut names = Names::default();
        names.read(&directory).unwrap();
        let selection = Selection::new(&SelectionOptions::default()).unwrap();
        let (files, problems) = selection.ignore_files(&directory, &names, b"d", None);
        assert!(files.is_none() && problems.is_empty(), "they are obeyed only if that is asked");
        let options = SelectionOptions { ignore_files: true, ..SelectionOptions::default() };
        let selection = Selection::new(&options).unwrap();
        let (files, problems) = selection.ignore_files(&directory, &names, b"d", None);
        assert!(files.unwrap().excludes(Path::new("d/a.o"), false));
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].chars().any(char::is_control), "{:?}", problems[0]);

        // Nor does it fill one.
        let lines = format!("{}[\n{}*.o\n", "x".repeat(100_000), "[\n".repeat(5000));
        std::fs::write(scratch.path().join(IGNORE_FILE), lines).unwrap();
        let (files, problems) = selection.ignore_files(&directory, &names, b"d", None);
        assert!(files.unwrap().excludes(Path::new("d/a.o"), false));
        assert_eq!(problems.len(), PROBLEMS_MAX + 1);
        assert_eq!(problems[PROBLEMS_MAX], "4,991 more patterns are not valid");
        assert!(problems.iter().all(|problem| problem.len() < 600), "{:?}", problems[0].len());
    }

    #[test]
    fn markers_have_a_name_and_perhaps_a_header() {
        let marker = Marker::parse("X:a:b").unwrap();
        assert_eq!((marker.name.as_str(), &marker.header[..]), ("X", &b"a:b"[..]));
        assert!(Marker::parse("").is_none() && Marker::parse("a/b").is_none());
    }
}
