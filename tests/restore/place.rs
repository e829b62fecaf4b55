//! A snapshot of a tree, and a target to restore it into.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::args;
use crate::support::command::{Outcome, run};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};

/// A copy on a real file system, whose `st_blocks` are its own affair.
pub(super) const COPY: Rules = Rules { blocks: false, ..Rules::ALL };

/// The place.
pub(super) struct Place {
    pub(super) fixture: Fixture,
    pub(super) target: PathBuf,
}

impl Place {
    /// Takes a snapshot of a tree.
    pub(super) fn new(fixture: Fixture) -> Self {
        let target = fixture.scratch.join("target");
        Self { fixture, target }
    }

    /// Makes files, each with its own path as content.
    pub(super) fn of(paths: &[&str]) -> Self {
        Self::new(Fixture::built(|source| {
            for path in paths {
                let path = source.join(path);
                directory(path.parent().expect("it is in the source"));
                file(&path, path.as_os_str().as_encoded_bytes());
            }
        }))
    }

    /// What is restored: the source itself.
    pub(super) fn named(&self) -> OsString {
        let mut name = OsString::from(format!("{}:", self.fixture.id));
        name.push(&self.fixture.source);
        name
    }

    /// A restore of the source into the target, not started.
    pub(super) fn command(&self, options: &[&str]) -> Command {
        let mut command = self.fixture.repo.command(["restore"]);
        command.args(args![self.named(), &self.target]).args(options);
        command
    }

    /// Runs a restore.
    pub(super) fn restore(&self, options: &[&str]) -> Outcome {
        run(&mut self.command(options))
    }

    /// Runs a restore that must end with `code`, and returns its summary.
    #[track_caller]
    pub(super) fn summary(&self, options: &[&str], code: i32) -> Value {
        let options = [options, &["--json"]].concat();
        let summary = self.restore(&options).expect(code).last_json_line();
        assert_eq!(summary["type"], "summary", "{summary}");
        summary
    }

    /// A path in the source.
    pub(super) fn source(&self, path: &str) -> PathBuf {
        self.fixture.source.join(path)
    }

    /// A path in the target.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// Fails unless the target is as the source.
    #[track_caller]
    pub(super) fn compare(&self) {
        assert_same(&self.fixture.source, &self.target, COPY);
    }
}

/// What changes when something is written: of each path the inode and its times.
pub(super) fn stamps(top: &Path) -> Vec<(PathBuf, u64, i64, i64, i64)> {
    let mut found = Vec::new();
    let mut ahead = vec![top.to_owned()];
    while let Some(path) = ahead.pop() {
        let Ok(status) = std::fs::symlink_metadata(&path) else { continue };
        if status.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            ahead.extend(entries.map(|entry| entry.path()));
        }
        let (ctime, nanoseconds) = (status.ctime(), status.ctime_nsec());
        found.push((path, status.ino(), status.mtime_nsec(), ctime, nanoseconds));
    }
    found.sort();
    found
}

/// Names of icecore's own that were left in a tree.
pub(super) fn leftovers(top: &Path) -> Vec<PathBuf> {
    let is_own = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec());
        name.is_some_and(|name| name.starts_with(b".icecore-restore"))
    };
    stamps(top).into_iter().map(|(path, ..)| path).filter(is_own).collect()
}
