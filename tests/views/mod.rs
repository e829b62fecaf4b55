//! The views beside the snapshots: by time, tag and host, `at`, `changes`,
//! `versions`, and names for Samba.

mod at;
mod by_name;
mod changes;
mod root;
mod versions;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::support::generate::{directory, file, mtime};
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;

/// A repository, and a source of which snapshots are taken at given times.
struct History {
    _scratch: Scratch,
    source: PathBuf,
    repo: Repo,
}

impl History {
    /// Makes an empty source.
    fn new() -> Self {
        let scratch = Scratch::new();
        let source = scratch.mkdir("source");
        Self { _scratch: scratch, source, repo: Repo::new() }
    }

    /// Writes the file `note`, with a time that tells its content.
    fn write(&self, content: &str) {
        let note = self.source.join("note");
        file(&note, content.as_bytes());
        mtime(&note, i64::try_from(content.len()).expect("it is short"), 0);
    }

    /// Takes a snapshot as if at `time`.
    #[track_caller]
    fn take(&self, time: &str, options: &[&str]) -> String {
        let source = self.source.to_str().expect("test paths are texts");
        let mut arguments = vec!["--time", time, source];
        arguments.extend(options);
        id_of(&self.repo.create_json(arguments, 0))
    }

    /// The path of something in the source, below a snapshot or the like.
    fn inner(&self, name: &str) -> PathBuf {
        let top = self.source.strip_prefix("/").expect("the source is absolute");
        if name.is_empty() { top.to_owned() } else { top.join(name) }
    }
}

/// The names in a directory, sorted.
#[track_caller]
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("it can be listed").file_name().into_string().expect("names are texts")
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

/// Where a symlink leads.
#[track_caller]
fn target(link: &Path) -> String {
    let target = std::fs::read_link(link);
    let target = target.unwrap_or_else(|error| panic!("{}: {error}", link.display()));
    target.into_os_string().into_string().expect("targets are texts")
}

/// Fails unless there is nothing at a path.
#[track_caller]
fn assert_missing(path: &Path) {
    let found = std::fs::symlink_metadata(path).map(drop).map_err(|error| error.kind());
    assert_eq!(found, Err(ErrorKind::NotFound), "{}", path.display());
}

/// Makes a file in directories that may not be there yet.
fn deep_file(path: &Path, content: &[u8]) {
    directory(path.parent().expect("it is in a directory"));
    file(path, content);
}
