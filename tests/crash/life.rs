//! A repository on a disk that fails, with what was promised of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::support::command::Outcome;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::frail::Lost;
use crate::support::frail_disk::{FrailDisk, Image};
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

/// Runs that are cut in a verb.
pub(crate) fn rounds(default: u64) -> u64 {
    let given = std::env::var("ICECORE_CRASH_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A repository on a frail disk with what was promised of it.
pub(crate) struct Life {
    pub(crate) disk: FrailDisk,
    pub(crate) repo: Repo,
    pub(crate) scratch: Scratch,
    pub(crate) source: PathBuf,
    /// Snapshots that are there, each with a copy of what it holds.
    pub(crate) kept: Vec<(String, PathBuf)>,
    /// Snapshots that were deleted and not collected.
    pub(crate) deleted: Vec<String>,
    image: Image,
}

impl Life {
    /// Three snapshots of a changing tree, and one that was deleted.
    pub(crate) fn new() -> Self {
        let (disk, scratch) = (FrailDisk::new(), Scratch::new());
        let source = scratch.join("source");
        let repo = Repo::at(&disk.point().join("repo"));
        let mut kept = Vec::new();
        for round in 0..4 {
            plain_tree(&source.join(format!("stays-{round}")), round, 12, 20_000);
            plain_tree(&source.join("turns"), 100 + round, 12, 20_000);
            file(&source.join("small"), format!("{round}").as_bytes());
            let copy = scratch.join(&format!("copy-{round}"));
            cp_copy(&source, &copy);
            kept.push((repo.create(&source), copy));
            std::fs::remove_dir_all(source.join("turns")).expect("it is there");
        }
        let (gone, _) = kept.remove(1);
        repo.ok(["delete", "--yes", &gone]);
        plain_tree(&source.join("new"), 200, 12, 20_000);
        cp_copy(&source, &scratch.join("copy-new"));
        let image = disk.image();
        Self { disk, repo, scratch, source, kept, deleted: vec![gone], image }
    }

    /// Runs a verb from the state at first, with the power cut behind so many
    /// changes of the disk, and restarts the disk.
    pub(super) fn cut(&self, verb: &[OsString], changes: u64, lost: Lost) -> Outcome {
        self.begin_again();
        self.disk.cut_behind(changes);
        let outcome = self.repo.run(verb);
        self.disk.restart(lost);
        outcome
    }

    /// Changes what the disk holds at first.
    pub(crate) fn prepare(&mut self, change: impl FnOnce(&Path)) {
        self.begin_again();
        change(self.repo.path());
        self.image = self.disk.image();
    }

    /// The disk as it was at first.
    pub(crate) fn begin_again(&self) {
        self.disk.reset(&self.image);
    }

    /// How often a verb changes the disk.
    pub(super) fn changes_of(&self, verb: &[OsString]) -> u64 {
        self.begin_again();
        let outcome = self.repo.run(verb);
        // One that repairs what was lost before says so.
        assert!([0, 4].contains(&outcome.code), "{}", outcome.error());
        self.disk.changes()
    }

    /// Says what of the promised snapshots is not there or not whole.
    pub(crate) fn missing(&self, promised: &[(&str, &Path)]) -> Result<(), String> {
        let listed = self.repo.run(["list", "--json"]);
        if listed.code != 0 {
            return Err(format!("list ends with {}: {}", listed.code, listed.error()));
        }
        let listed = listed.json();
        let ids: Vec<_> = listed.as_array().into_iter().flatten().map(id_of).collect();
        for (id, _) in promised {
            if !ids.iter().any(|other| other == id) {
                return Err(format!("snapshot {id} is gone"));
            }
        }
        let mount = Mount::new(&self.repo);
        for (id, copy) in promised {
            assert_same(copy, &mount.source(id, &self.source), Rules { root: false, ..Rules::ALL });
        }
        mount.unmount();
        Ok(())
    }

    /// Fails unless all is undamaged, the promised are whole, the log is, and life
    /// goes on.
    pub(crate) fn goes_on(&self, promised: &[(&str, &Path)]) {
        // Before the next `create` could heal anything.
        self.repo.ok(["check", "--untrusted", "--read-data"]);
        self.repo.ok(["log", "verify"]);
        let next = self.repo.create(&self.source);
        self.repo.gc();
        let newest = self.scratch.join("copy-new");
        let mut promised = promised.to_vec();
        promised.push((&next, &newest));
        self.missing(&promised).unwrap_or_else(|problem| panic!("{problem}"));
        self.repo.ok(["check", "--untrusted", "--read-data"]);
    }

    /// Every event of the log, as text.
    pub(crate) fn log(&self) -> String {
        self.repo.ok(["log", "--json"]).text()
    }

    pub(crate) fn kept(&self) -> Vec<(&str, &Path)> {
        self.kept.iter().map(|(id, copy)| (id.as_str(), copy.as_path())).collect()
    }
}
