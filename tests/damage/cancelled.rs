//! Ctrl-C in a check and in a repair.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::repo::{Frozen, Repo, holds_open};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

/// Tries to catch a command in the middle of its work.
const TRIES: usize = 10;

struct Scene {
    _scratch: Scratch,
    repo: Repo,
    source: PathBuf,
}

impl Scene {
    /// A repository that takes a while to read, in files that a collection rewrote: a
    /// repair has to copy these.
    fn new() -> Self {
        let (scratch, repo) = (Scratch::new(), Repo::new());
        let source = scratch.join("source");
        plain_tree(&source.join("small"), 1, 400, 100_000);
        file(&source.join("large"), &Rng::new(2).bytes(60 << 20));
        plain_tree(&source.join("gone"), 3, 400, 100_000);
        let id = repo.create(&source);
        fs::remove_dir_all(source.join("gone")).expect("it is there");
        repo.create(&source);
        repo.ok(["delete", "--yes", &id]);
        repo.gc();
        Self { _scratch: scratch, repo, source }
    }

    fn freeze(&self, verb: &[&str], mut is_time: impl FnMut(u32) -> bool) -> Frozen {
        let mut tries =
            (0..TRIES).filter_map(|_| self.repo.start_and_freeze(verb, &[0, 4], &mut is_time));
        tries.next().expect("it was always done too early")
    }
}

/// Whether a process has a file open whose name begins like this.
fn reads(pid: u32, prefix: &Path) -> bool {
    let Ok(links) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let prefix = prefix.to_str().expect("a text");
    let is_it = |target: PathBuf| target.to_str().is_some_and(|text| text.starts_with(prefix));
    links.flatten().any(|link| fs::read_link(link.path()).is_ok_and(is_it))
}

#[test]
fn a_check_ends_by_a_signal_with_its_code_and_says_nothing_of_damage() {
    let scene = Scene::new();
    let leases = scene.repo.path().join("leases/");
    for (by, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let frozen = scene.freeze(&["check", "--read-data"], |pid| reads(pid, &leases));
        frozen.thaw(Some(by)).fails(code, &["cancelled"]);
    }
    scene.repo.ok(["check", "--read-data"]);
    let log = scene.repo.ok(["log", "--json"]).text();
    assert!(!log.contains("validation.failed"), "a check that was ended is no damage");
}

#[test]
fn a_repair_ends_by_a_signal_with_its_code_loses_nothing_and_begins_anew() {
    let scene = Scene::new();
    let repair = ["repair", "--yes"];
    let lock = scene.repo.path().join("db/LOCK");
    let frozen = scene.freeze(&repair, |pid| holds_open(pid, &lock));
    frozen.thaw(Some(Signal::INT)).fails(130, &["cancelled", "loses nothing"]);
    scene.repo.ok(["check", "--read-data"]);

    // While the store is built anew.
    let (current, building) =
        (scene.repo.path().join("db/CURRENT"), scene.repo.path().join("db.building"));
    let lose = || {
        let named = fs::read(&current).expect("it is there");
        fs::remove_file(&current).expect("it is there");
        named
    };
    for (by, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut tries = (0..TRIES).filter_map(|_| {
            let named = lose();
            let frozen = scene.repo.start_and_freeze(&repair, &[0], |_| building.exists());
            Some((named, frozen?))
        });
        let (named, frozen) = tries.next().expect("it was always done too early");
        frozen.thaw(Some(by)).fails(code, &["as it was"]);
        assert!(!building.exists(), "what it had begun is left");
        assert!(!current.exists(), "the damaged store was changed");
        file(&current, &named);
        scene.repo.ok(["check", "--read-data"]);
    }
    fs::remove_file(&current).expect("it is there");
    scene.repo.ok(repair);
    scene.repo.ok(["check", "--read-data"]);
    scene.repo.create(&scene.source);
}
