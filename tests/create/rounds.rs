//! Random trees through rounds of random edits: whatever happened between two
//! snapshots, the newer one is what the tree is.

use std::path::{Path, PathBuf};

use super::place::Place;
use crate::support::args;
use crate::support::generate::{directory, file, link, mode, mtime, symlink, xattr};
use crate::support::need::require_fuse;
use crate::support::repo::{count_of, id_of};
use crate::support::rng::Rng;

const ROUNDS: usize = 6;

/// A tree that changes at random.
struct Garden {
    top: PathBuf,
    rng: Rng,
    links: bool,
}

impl Garden {
    /// Every path in the tree, files or directories only.
    fn all(&self, directories: bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut work = vec![self.top.clone()];
        while let Some(inner) = work.pop() {
            let entries = std::fs::read_dir(&inner).expect("it can be listed");
            let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            // The same seed must give the same tree.
            paths.sort_unstable();
            for path in paths {
                let is_directory = path.is_dir() && !path.is_symlink();
                if is_directory {
                    work.push(path.clone());
                }
                if is_directory == directories {
                    found.push(path);
                }
            }
        }
        found
    }

    fn pick(&mut self, from: &[PathBuf]) -> Option<PathBuf> {
        let count = from.len() as u64;
        (count > 0).then(|| from[self.rng.below(count) as usize].clone())
    }

    /// A path that may be there already; its directory is there.
    fn somewhere(&mut self) -> PathBuf {
        let mut directories = self.all(true);
        directories.push(self.top.clone());
        let inner = self.pick(&directories).expect("the top is there");
        inner.join(format!("name-{}", self.rng.below(30)))
    }

    fn content(&mut self) -> Vec<u8> {
        let most = [1, 100, 5_000, 300_000][self.rng.below(4) as usize];
        let size = self.rng.below(most) as usize;
        if self.rng.below(2) == 0 { self.rng.bytes(size) } else { self.rng.prose(size) }
    }

    fn edit(&mut self) {
        let files = self.all(false);
        let plain: Vec<_> = files.iter().filter(|path| !path.is_symlink()).cloned().collect();
        let kind = self.rng.below(15);
        match kind {
            0..3 => self.make_file(),
            3 => drop(std::fs::create_dir(self.somewhere())),
            4 => self.make_symlink(),
            5 => self.move_to(&files),
            6 => {
                let directories = self.all(true);
                self.move_to(&directories);
            }
            7 => remove(self.pick(&files).as_deref()),
            8 if self.rng.below(3) == 0 => {
                let directories = self.all(true);
                remove(self.pick(&directories).as_deref());
            }
            9 if self.links => {
                if let Some(from) = self.pick(&files) {
                    let to = self.somewhere();
                    if !to.is_symlink() && !to.exists() {
                        link(&from, &to);
                    }
                }
            }
            _ => {
                if let Some(path) = self.pick(&plain) {
                    self.change(&path, kind);
                }
            }
        }
    }

    fn make_file(&mut self) {
        let path = self.somewhere();
        if !path.is_dir() {
            remove(path.is_symlink().then_some(&path));
            let content = self.content();
            file(&path, &content);
        }
    }

    fn make_symlink(&mut self) {
        let path = self.somewhere();
        remove(Some(&path));
        symlink(&path, format!("target-{}", self.rng.below(9)).as_bytes());
    }

    fn move_to(&mut self, from: &[PathBuf]) {
        if let Some(from) = self.pick(from) {
            let to = self.somewhere();
            // Refused where it makes no sense, such as into itself.
            let _refused = std::fs::rename(&from, &to);
        }
    }

    fn change(&mut self, path: &Path, kind: u64) {
        let mut content = std::fs::read(path).expect("it can be read");
        match kind {
            10 => mode(path, 0o600 + (self.rng.below(64) as u32)),
            11 => mtime(path, self.rng.below(2_000_000_000) as i64, 7),
            12 => xattr(path, "user.round", &self.rng.bytes(20)),
            13 => {
                content.extend(self.content());
                file(path, &content);
            }
            _ => {
                // Other bytes, the same length and time.
                use std::os::unix::fs::MetadataExt;
                let before = std::fs::metadata(path).expect("it is there");
                let other = self.rng.bytes(content.len());
                file(path, &other);
                mtime(path, before.mtime(), before.mtime_nsec() as u32);
            }
        }
    }
}

fn remove(path: Option<&Path>) {
    match path {
        Some(path) if path.is_dir() && !path.is_symlink() => {
            std::fs::remove_dir_all(path).expect("it can be removed");
        }
        Some(path) => drop(std::fs::remove_file(path)),
        None => {}
    }
}

fn grow(links: bool) -> (Place, Garden) {
    let place = Place::new();
    let rng = Rng::printed("edits");
    let mut garden = Garden { top: place.source.clone(), rng, links };
    for name in ["one", "one/two", "three", "three/four/five"] {
        directory(&place.at(name));
    }
    for _ in 0..60 {
        garden.make_file();
    }
    (place, garden)
}

#[test]
fn after_any_edits_the_newest_snapshot_equals_the_tree_and_that_of_force() {
    if !require_fuse() {
        return;
    }
    let (place, mut garden) = grow(false);
    for round in 0..ROUNDS {
        let summary = place.create(&[]);
        place.compare(&summary);
        assert_eq!(count_of(&summary, "errors"), 0, "{summary}");
        let forced = place.create(&args!["--force"]);
        let roots = [&summary, &forced].map(|one| place.listed(one)["root"].clone());
        assert_eq!(roots[0], roots[1], "round {round}");
        assert_eq!(count_of(&forced, "added_chunks"), 0, "round {round}: {forced}");
        for _ in 0..garden.rng.below(40) {
            garden.edit();
        }
    }
}

#[test]
fn after_any_edits_with_hard_links_the_newest_snapshot_equals_the_tree() {
    if !require_fuse() {
        return;
    }
    let (place, mut garden) = grow(true);
    for _ in 0..20 {
        garden.edit();
    }
    for _ in 0..ROUNDS {
        let summary = place.create(&[]);
        place.compare(&summary);
        if garden.rng.below(3) == 0 {
            place.repo.ok(["delete", "--yes", &id_of(&summary)]);
            place.repo.gc();
        }
        for _ in 0..garden.rng.below(40) {
            garden.edit();
        }
        // Some rounds begin with all old enough to be trusted, some do not.
        if garden.rng.below(2) == 0 {
            super::place::rest();
        }
    }
    place.compare(&place.create(&[]));
}
