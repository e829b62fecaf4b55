//! A frozen repository is read whole: by each command that reads, and mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Frozen, LISTED, Line, all, expected};
use crate::support::mount::Mount;
use crate::support::need::{is_root, require_fuse};

#[test]
fn every_frozen_repository_is_listed_with_its_tags_and_pins_and_what_was_deleted() {
    for frozen in all() {
        let listed = frozen.repo.list_json();
        let texts = |field: &str| -> Vec<String> {
            listed.iter().map(|snapshot| snapshot[field].to_string()).collect()
        };
        let quoted = LISTED.map(|description| format!("{description:?}"));
        assert_eq!(texts("description"), quoted, "{}", frozen.name);
        let tags = [r#"["yearly","kept"]"#, r#"["renamed"]"#, "[]", "[]"];
        assert_eq!(texts("tags"), tags, "{}", frozen.name);
        assert_eq!(texts("pinned"), ["true", "true", "false", "false"], "{}", frozen.name);
        assert!(texts("pinned_until")[1].contains("2099-01-01"), "{}", frozen.name);
        assert_eq!(texts("host"), [r#""frozen""#; 4], "{}", frozen.name);
        let deleted = frozen.repo.ok(["list", "--deleted", "--json"]).json();
        assert_eq!(deleted[0]["description"], "deleted", "{}", frozen.name);
        assert_eq!(frozen.repo.ok(["cat", "latest:pipe/stream"]).text(), "from a pipe");
    }
}

#[test]
fn every_frozen_repository_is_read_whole_and_found_undamaged() {
    for frozen in all() {
        frozen.check();
        for snapshot in frozen.expected.snapshots().filter(|name| LISTED.contains(name)) {
            frozen.cat_all(snapshot);
            list_all(&frozen, snapshot);
        }
    }
}

/// Fails unless `ls` shows what was saved.
fn list_all(frozen: &Frozen, snapshot: &str) {
    let shown = frozen.repo.ok(["ls", "-R", "--json", &frozen.id(snapshot)]).json();
    let shown = shown.as_array().expect("a list").iter();
    let shown: BTreeMap<_, _> =
        shown.map(|entry| (entry["path"].as_str().expect("a path"), entry)).collect();
    let lines = frozen.expected.lines(snapshot);
    assert_eq!(shown.len(), lines.len(), "{}: {snapshot}", frozen.name);
    // Others are shown with their odd bytes replaced.
    let is_plain = |line: &&Line| line.path.iter().all(|byte| (33..127).contains(byte));
    for line in lines.iter().filter(is_plain) {
        let path = std::str::from_utf8(&line.path).expect("plain");
        let entry = shown.get(path).unwrap_or_else(|| panic!("{}: no {path}", frozen.name));
        assert_eq!(entry["kind"], line.kind, "{}: {path}", frozen.name);
        assert_eq!(entry["mode"], format!("{:04o}", line.mode), "{}: {path}", frozen.name);
        if line.kind == "file" {
            assert_eq!(entry["size"], line.size, "{}: {path}", frozen.name);
        }
    }
}

#[test]
fn every_frozen_repository_is_mounted_and_all_of_it_is_what_was_saved() {
    if !require_fuse() {
        return;
    }
    for frozen in all() {
        let mount = Mount::new(&frozen.repo);
        for snapshot in frozen.expected.snapshots().filter(|name| LISTED.contains(name)) {
            let top = mount.point().join(frozen.id(snapshot));
            let lines = frozen.expected.lines(snapshot);
            let saved: BTreeSet<_> = lines.iter().map(Line::path).collect();
            assert_eq!(paths(&top), saved, "{}: {snapshot}", frozen.name);
            let mut groups = BTreeMap::new();
            for line in lines {
                assert_same(&top, line, &mut groups);
            }
            let inodes: BTreeSet<_> = groups.values().collect();
            assert!(!groups.is_empty() && inodes.len() == groups.len(), "{groups:?}");
        }
        mount.unmount();
    }
}

/// All that is below a directory, as seen from there.
fn paths(top: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut work = vec![top.to_owned()];
    while let Some(directory) = work.pop() {
        for entry in fs::read_dir(&directory).expect("a directory can be listed") {
            let entry = entry.expect("a directory can be listed");
            if entry.file_type().expect("a type").is_dir() {
                work.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(top).expect("below").to_owned());
        }
    }
    found
}

/// Fails unless an item of a mounted snapshot is what was saved. `groups` has the
/// inode of each group of hard links.
fn assert_same(top: &Path, line: &Line, groups: &mut BTreeMap<String, u64>) {
    let path = top.join(line.path());
    let facts = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let kind = facts.file_type();
    let fits = match line.kind.as_str() {
        "file" => kind.is_file(),
        "directory" => kind.is_dir(),
        "symlink" => kind.is_symlink(),
        "fifo" => kind.is_fifo(),
        "socket" => kind.is_socket(),
        other => panic!("a frozen {other}"),
    };
    assert!(fits, "{line:?} is {kind:?}");
    assert_eq!(facts.mode() & 0o7777, line.mode, "{line:?}");
    let mtime = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
    assert_eq!(mtime, line.mtime, "{line:?}");
    if let Some(target) = &line.target {
        let found = fs::read_link(&path).expect("a symlink can be read");
        assert_eq!(found.as_os_str().as_bytes(), target, "{line:?}");
    }
    if let Some(first) = &line.linked {
        let inode = *groups.entry(first.clone()).or_insert(facts.ino());
        assert_eq!((facts.ino(), facts.nlink()), (inode, 3), "{line:?}");
    }
    for (name, value) in &line.xattrs {
        let mut found = vec![0; 1024];
        let bytes = rustix::fs::lgetxattr(&path, name.as_str(), found.as_mut_slice());
        found.truncate(bytes.unwrap_or_else(|error| panic!("{line:?}: {name}: {error}")));
        assert_eq!(&found, value, "{line:?}: {name}");
    }
    if line.kind == "file" {
        assert_eq!(facts.len(), line.size, "{line:?}");
        // Only its owner may read some, and that was root.
        if line.mode & 0o004 != 0 || is_root() {
            let content = fs::read(&path).expect("a file can be read");
            assert_eq!(expected::sha256(&content), line.sha256, "{line:?}");
        }
    }
}
