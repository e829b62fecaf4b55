//! A directory and a repository: `create` runs in the directory and takes `.`,
//! so that paths in the snapshot are those in the directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::args;
use crate::support::command::{Outcome, run, run_fed};
use crate::support::compare::{Rules, assert_same};
use crate::support::generate::{directory, file};
use crate::support::mount::Mount;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;

/// The place.
pub(super) struct Place {
    /// A place for more.
    pub(super) scratch: Scratch,
    /// The directory.
    pub(super) source: PathBuf,
    /// The repository.
    pub(super) repo: Repo,
}

impl Place {
    /// Makes an empty one.
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    /// Makes one that holds files, each with its own path as content; a path
    /// that ends with `/` is a directory.
    pub(super) fn with(paths: &[&str]) -> Self {
        let scratch = Scratch::new();
        let source = scratch.mkdir("source");
        let place = Self { scratch, source, repo: Repo::new() };
        for path in paths {
            match path.strip_suffix('/') {
                Some(path) => _ = directory(&place.at(path)),
                None => place.file(path, path.as_bytes()),
            }
        }
        place
    }

    /// A path in the directory.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.source.join(path)
    }

    /// Makes a file and the directories above it.
    pub(super) fn file(&self, path: &str, content: &[u8]) {
        let path = self.at(path);
        directory(path.parent().expect("it is in the directory"));
        file(&path, content);
    }

    /// A `create` that is not started, without sources.
    pub(super) fn command(&self, options: &[OsString]) -> Command {
        let mut command = self.repo.command(["create"]);
        command.args(options).current_dir(&self.source);
        command
    }

    /// Runs `create --json OPTIONS .`, which must work, and returns its summary.
    #[track_caller]
    pub(super) fn create(&self, options: &[OsString]) -> Value {
        summary_of(&run(self.command(options).args(["--json", "."])).expect(0))
    }

    /// Runs `create --json OPTIONS`, which must work, with something to read.
    #[track_caller]
    pub(super) fn create_fed(&self, options: &[OsString], input: &[u8]) -> Value {
        summary_of(&run_fed(self.command(options).arg("--json"), input).expect(0))
    }

    /// All paths in the newest snapshot, in order.
    #[track_caller]
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = lines(&self.repo.ok(["ls", "--recursive", "latest"]).text());
        names.sort_unstable();
        names
    }

    /// The content of a file in the newest snapshot.
    #[track_caller]
    pub(super) fn cat(&self, path: &str) -> Vec<u8> {
        self.repo.ok(args!["cat", format!("latest:{path}")]).stdout
    }

    /// What `list --json` says of a snapshot.
    #[track_caller]
    pub(super) fn listed(&self, summary: &Value) -> Value {
        let id = id_of(summary);
        let found = self.repo.list_json().into_iter().find(|one| id_of(one) == id);
        found.unwrap_or_else(|| panic!("{id} is not listed"))
    }

    /// Fails unless a snapshot of the directory equals it, through the mount.
    #[track_caller]
    pub(super) fn compare(&self, summary: &Value) {
        self.compare_with(&self.source, summary);
    }

    /// Fails unless a snapshot equals `source`, through the mount.
    #[track_caller]
    pub(super) fn compare_with(&self, source: &Path, summary: &Value) {
        let mount = Mount::new(&self.repo);
        let rules = Rules { root: false, ..Rules::ALL };
        assert_same(source, &mount.snapshot(&id_of(summary)), rules);
        mount.unmount();
    }
}

/// The last line of a `create --json`.
#[track_caller]
pub(super) fn summary_of(outcome: &Outcome) -> Value {
    let summary = outcome.last_json_line();
    assert_eq!(summary["type"], "summary", "{summary}");
    summary
}

/// Lets a tree become so old that the next `create` trusts its times.
pub(super) fn rest() {
    std::thread::sleep(Duration::from_millis(300));
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
