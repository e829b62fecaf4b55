//! A place of the disk that cannot be read any more: what else there is stays
//! readable, what is hurt is named, and nothing is given up for good.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::support::args;
use crate::support::frail_disk::FrailDisk;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

const FILES: u64 = 60;
const FILE_BYTES: usize = 50_000;
/// A disk gives nothing of some sectors that lie together.
const BAD_BYTES: u64 = 16 << 10;

struct Place {
    disk: FrailDisk,
    repo: Repo,
    source: PathBuf,
    id: String,
    scratch: Scratch,
}

/// A snapshot on a disk, most of whose content lies in one file of the store.
fn place() -> Place {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    let mut rng = Rng::new(9);
    for number in 0..FILES {
        file(&source.join(format!("{number:02}")), &rng.bytes(FILE_BYTES));
    }
    let disk = FrailDisk::new();
    let repo = Repo::at(&disk.point().join("repo"));
    let id = repo.create(&source);
    Place { disk, repo, source, id, scratch }
}

impl Place {
    /// Spoils a place in the middle of the largest file of the store.
    fn spoil(&self) -> PathBuf {
        let files = fs::read_dir(self.repo.path().join("db")).expect("it can be listed");
        let tables =
            files.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "sst"));
        let sizes =
            tables.map(|entry| (entry.metadata().expect("it is there").size(), entry.path()));
        let (size, table) = sizes.max().expect("there is one");
        assert!(size > FILES * FILE_BYTES as u64 / 2, "{size} bytes");
        let within = table.strip_prefix(self.disk.point()).expect("it is on the disk");
        self.disk.spoil(within, size / 2..size / 2 + BAD_BYTES);
        table
    }

    fn names(&self) -> BTreeSet<String> {
        (0..FILES).map(|number| format!("{number:02}")).collect()
    }

    fn is_whole(&self, root: &Path, name: &str) -> bool {
        let expected = fs::read(self.source.join(name)).expect("it can be read");
        fs::read(root.join(name)).is_ok_and(|found| found == expected)
    }
}

fn last_name(path: &str) -> String {
    Path::new(path).file_name().expect("it has one").to_string_lossy().into_owned()
}

/// The names of the files that a check says are hurt.
fn hurt(place: &Place) -> BTreeSet<String> {
    let outcome = place.repo.run(["check", "--read-data", "--json"]).expect(4);
    let report = outcome.last_json_line();
    let damages = report["damages"].as_array().expect("a list").clone();
    assert!(
        damages.iter().all(|damage| damage["detail"].to_string().contains("the disk failed")),
        "{report}"
    );
    let files =
        damages.iter().flat_map(|damage| damage["files"].as_array().expect("a list").clone());
    files.map(|file| last_name(file["path"].as_str().expect("a text"))).collect()
}

#[test]
fn what_a_disk_does_not_give_is_named_and_the_rest_is_read() {
    if !require_fuse() {
        return;
    }
    let place = place();
    place.repo.ok(["check", "--read-data"]);
    let table = place.spoil();
    assert!(fs::read(&table).is_err(), "the rig spoils nothing");
    let hurt = hurt(&place);
    assert!((1..10).contains(&hurt.len()), "{hurt:?}");
    let target = place.scratch.join("target");
    let restored = place.repo.run(args!["restore", &place.id, &target, "--json"]).expect(4);
    let root = target.join(place.source.strip_prefix("/").expect("it is absolute"));
    let mount = Mount::foreground(&place.repo);
    let shown = mount.source(&place.id, &place.source);
    for name in place.names() {
        if hurt.contains(&name) {
            assert!(!root.join(&name).exists(), "{name} is half there");
            assert!(restored.error().contains(&name), "{name} is not named");
            let read = fs::read(shown.join(&name)).map(drop);
            let errno = read.map_err(|error| error.raw_os_error());
            assert_eq!(errno, Err(Some(rustix::io::Errno::IO.raw_os_error())), "{name}");
        } else {
            assert!(place.is_whole(&root, &name), "{name} restored");
            assert!(place.is_whole(&shown, &name), "{name} in the mount");
        }
    }
    mount.unmount();
}

#[test]
fn a_repair_gives_nothing_up_that_a_sound_disk_would_give() {
    if !require_fuse() {
        return;
    }
    let place = place();
    place.spoil();
    let refused = place.repo.run(["repair", "--yes"]).expect(1).error();
    assert!(refused.contains("ddrescue") && refused.contains(".sst"), "{refused}");
    place.repo.run(["gc", "--max-unused", "0"]);
    place.disk.mend();
    place.repo.ok(["check", "--read-data"]);
    let target = place.scratch.join("target");
    place.repo.ok(args!["restore", &place.id, &target]);
    let root = target.join(place.source.strip_prefix("/").expect("it is absolute"));
    assert!(place.names().iter().all(|name| place.is_whole(&root, name)));
}

#[test]
fn a_copy_of_what_a_disk_still_gives_is_repaired_and_healed() {
    if !require_fuse() {
        return;
    }
    let place = place();
    let table = place.spoil();
    let hurt = hurt(&place);
    place.disk.mend();
    // What ddrescue makes: zeros where nothing could be read.
    let copy = Repo::copy_of(&place.repo, &place.scratch.join("copy"));
    let table = copy.path().join("db").join(table.file_name().expect("it has a name"));
    let mut bytes = fs::read(&table).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + BAD_BYTES as usize].fill(0);
    fs::write(&table, bytes).expect("it can be written");
    let repaired = copy.run(["repair", "--yes", "--json"]).expect(4).last_json_line();
    let sibling = repaired["hurt"][0]["sibling"].as_str().expect("there is one").to_owned();
    let target = place.scratch.join("sibling");
    copy.ok(args!["restore", &sibling, &target]);
    let root = target.join(place.source.strip_prefix("/").expect("it is absolute"));
    for name in place.names() {
        assert_eq!(place.is_whole(&root, &name), !hurt.contains(&name), "{name}");
    }
    copy.create(&place.source);
    copy.ok(["gc", "--max-unused", "0"]);
    copy.ok(["check", "--read-data"]);
    let target = place.scratch.join("healed");
    copy.ok(args!["restore", &place.id, &target]);
    let root = target.join(place.source.strip_prefix("/").expect("it is absolute"));
    assert!(place.names().iter().all(|name| place.is_whole(&root, name)));
}
