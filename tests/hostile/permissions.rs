//! Permissions in a mount are those of the original: what a user is given and
//! what is refused, by which error, is the same, for every user, every
//! operation, every path to a file, and whoever was there before.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat};
use rustix::io::Errno;

use super::people::{
    Answer, GROUP, NAMED, NAMED_GROUP, OPERATIONS, OWNER, PEOPLE, Person, attribute,
};
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::generate::{directory, file, mode, mtime, owner, special, symlink, xattr};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;

/// What a class of users may be given: no write permission, which a mount has
/// for nobody.
const BITS: [u32; 4] = [0o0, 0o1, 0o4, 0o5];
/// ACLs: of what a file or directory of mode 640 or 750 gains by them.
const ACLS: [(&str, &[&str]); 13] = [
    ("a named user may", &["u:NAMED:rx"]),
    ("a named user may and the mask forbids", &["u:NAMED:rx", "m::---"]),
    ("a named user may not though others may", &["u:NAMED:---", "o::rx"]),
    ("the owner by name may not", &["u:OWNER:---", "o::rx"]),
    ("the owner may not though by name", &["u::---", "u:OWNER:rx"]),
    ("a named group may", &["g:NAMED_GROUP:rx"]),
    ("a named group may and the mask forbids", &["g:NAMED_GROUP:rx", "m::---"]),
    ("a named group may only read by the mask", &["g:NAMED_GROUP:rx", "m::r"]),
    ("a named group may not though others may", &["g:NAMED_GROUP:---", "o::rx"]),
    ("the group may not and a named one may", &["g::---", "g:NAMED_GROUP:rx"]),
    ("the group may read and a named one run", &["g::r", "g:NAMED_GROUP:x"]),
    ("others may not", &["g::---", "o::---", "m::rwx"]),
    ("a mask alone", &["m::r"]),
];

/// Adds an entry to an ACL, by the number of whom it names.
fn acl(path: &Path, option: &str, entry: &str) {
    let numbers = [("NAMED_GROUP", NAMED_GROUP), ("NAMED", NAMED), ("OWNER", OWNER)];
    let entry = numbers
        .iter()
        .fold(entry.to_owned(), |entry, (name, number)| entry.replace(name, &number.to_string()));
    run_tool("setfacl", args![option, entry, path]);
}

/// Gives a path to the owner, with an attribute and a mode.
fn settle(path: &Path, bits: u32) {
    xattr(path, "user.kept", b"kept");
    owner(path, OWNER, GROUP);
    mode(path, bits);
}

/// Makes a file, and a directory of a file, of one mode.
fn pair(top: &Path, name: &str, bits: u32) -> [PathBuf; 2] {
    let (plain, entered) = (top.join(name), top.join(format!("{name} as a directory")));
    file(&plain, b"before");
    settle(&plain, bits);
    inhabited(&entered, bits);
    [plain, entered]
}

fn inhabited(path: &Path, bits: u32) {
    file(&directory(path).join("inner"), b"before");
    settle(&path.join("inner"), 0o644);
    settle(path, bits);
}

/// Every mode, and ACLs and what else bears on permissions.
fn tree(top: &Path) {
    directory(top);
    for owners in BITS {
        for members in BITS {
            for others in BITS {
                let bits = owners << 6 | members << 3 | others;
                pair(top, &format!("{bits:03o}"), bits);
            }
        }
    }
    for (name, entries) in ACLS {
        let [plain, entered] = pair(top, name, 0o750);
        mode(&plain, 0o640);
        for path in [plain, entered] {
            entries.iter().for_each(|entry| acl(&path, "-m", entry));
        }
    }
    let inheriting = top.join("inheriting");
    directory(&inheriting);
    for entry in ["u:NAMED:rwx", "g::---", "g:NAMED_GROUP:rx", "o::---"] {
        acl(&inheriting, "-dm", entry);
    }
    inhabited(&inheriting, 0o700);
    // What is made in it has the ACL, whatever mode it is given then.
    inhabited(&inheriting.join("heir"), 0o750);
    inhabited(&top.join("for what is made"), 0o711);
    acl(&top.join("for what is made"), "-dm", "u:NAMED:rwx");
    let sticky = directory(&top.join("sticky")).to_owned();
    inhabited(&sticky, 0o1777);
    symlink(&sticky.join("to-inner"), b"inner");
    owner(&sticky.join("to-inner"), NAMED, NAMED);
    for (name, bits) in [("setgid", 0o2710), ("setuid", 0o4701)] {
        pair(top, name, bits);
    }
    for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        for bits in [0o640, 0o604, 0o040] {
            let path = top.join(format!("{name}-{bits:o}"));
            special(&path, kind, (0, 0));
            owner(&path, OWNER, GROUP);
            mode(&path, bits);
        }
    }
    for (name, target) in [("to-private", "000"), ("to-readable", "444"), ("to-below", "100")] {
        symlink(&top.join(name), target.as_bytes());
    }
}

/// All paths of a tree, relative to it.
fn paths(top: &Path) -> Vec<PathBuf> {
    let listed = run_tool("find", args![top, "-mindepth", "1", "-printf", "%P\\0"]).stdout;
    let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let path = |name: &[u8]| PathBuf::from(String::from_utf8(name.to_vec()).expect("texts"));
    names.map(path).collect()
}

/// What each operation gives to somebody on each path.
fn answers(top: &Path, paths: &[PathBuf], person: Person) -> Vec<Answer> {
    person.act(|| {
        let all = paths.iter().map(|path| top.join(path));
        all.flat_map(|path| OPERATIONS.map(|(_, run)| run(&path))).collect()
    })
}

/// The original and what everybody gets from it.
struct Original {
    paths: Vec<PathBuf>,
    answers: Vec<(Person, Vec<Answer>)>,
}

impl Original {
    fn of(top: &Path, paths: Vec<PathBuf>) -> Self {
        let answers = PEOPLE.map(|person| (person, answers(top, &paths, person)));
        let original = Self { paths, answers: answers.to_vec() };
        original.can_fail();
        original
    }

    /// Each operation, but those that ask for no permission, is refused to
    /// somebody and granted to somebody else; and no two people get the same.
    fn can_fail(&self) {
        for (index, (name, _)) in OPERATIONS.iter().enumerate() {
            let every = || self.answers.iter().flat_map(|(_, all)| all.iter().skip(index));
            let every = || every().step_by(OPERATIONS.len());
            assert!(every().any(|answer| *answer == Err(Errno::ACCESS)), "{name}");
            assert!(every().any(Result::is_ok), "{name}");
        }
        for (index, (one, first)) in self.answers.iter().enumerate() {
            for (other, second) in &self.answers[index + 1..] {
                let is_member = |person: &Person| person.name.starts_with("a member");
                let alike = is_member(one) && is_member(other);
                assert!(first != second || alike, "{one:?} and {other:?} are one");
            }
        }
    }

    /// Fails if anybody gets anything else in a tree of a mount.
    #[track_caller]
    fn is_equal_to(&self, top: &Path, round: &str) {
        let mut wrong = Vec::new();
        for (person, expected) in &self.answers {
            let found = answers(top, &self.paths, *person);
            let places =
                self.paths.iter().flat_map(|path| OPERATIONS.map(|(name, _)| (path, name)));
            for ((path, operation), (expected, found)) in places.zip(expected.iter().zip(&found)) {
                if expected != found {
                    let who = person.name;
                    wrong.push(format!("{who}: {operation} {path:?}: {found:?}, not {expected:?}"));
                }
            }
        }
        let count = wrong.len();
        wrong.truncate(20);
        assert!(wrong.is_empty(), "{count} differ, {round}, in {top:?}:\n{}", wrong.join("\n"));
    }
}

/// A tree, a repository with three snapshots (of the directory when it was empty, of
/// the tree, and of the tree after every file in it has changed), and what everybody
/// gets from the tree.
struct Scene {
    _scratch: Scratch,
    source: PathBuf,
    repo: Repo,
    ids: [String; 3],
    original: Original,
}

impl Scene {
    /// Nothing where it cannot be played.
    fn new() -> Option<Self> {
        if !require_fuse() || !require_root("acting as other users") {
            return None;
        }
        let (scratch, repo) = (Scratch::new(), Repo::new());
        let source = scratch.mkdir("source");
        let take = |time: &str| {
            let words = args!["--time", time, "--tag", "t", "--host", "h", &source];
            crate::support::repo::id_of(&repo.create_json(words, 0))
        };
        let empty = take("2026-11-17T03:00:00Z");
        tree(&source);
        let before = take("2026-11-18T03:00:00Z");
        let paths = paths(&source);
        for path in paths.iter().map(|path| source.join(path)) {
            if !path.symlink_metadata().expect("it is there").is_dir() {
                mtime(&path, 1_700_000_000, 0);
            }
        }
        let after = take("2026-11-19T03:00:00Z");
        let original = Original::of(&source, paths);
        Some(Self { _scratch: scratch, source, repo, ids: [empty, before, after], original })
    }

    fn mount(&self) -> Mount<'_> {
        Mount::with(&self.repo, &["--allow-other", "--samba"])
    }

    /// The tree below a place in a mount.
    fn in_place(&self, mount: &Mount<'_>, place: &str) -> PathBuf {
        mount.source(place, &self.source)
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.source.join(path).is_dir()
    }
}

#[test]
fn every_user_gets_from_a_mount_what_the_original_gives_cold_and_in_warm_caches() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount();
    let top = scene.in_place(&mount, &scene.ids[2]);
    scene.original.is_equal_to(&top, "cold");
    run_tool("tar", args!["-C", &top, "-cf", "/dev/null", "--xattrs", "--acls", "."]);
    scene.original.is_equal_to(&top, "after root has read all");
    mount.unmount();
}

#[test]
fn every_way_through_a_mount_to_a_file_asks_for_the_permissions_of_the_original() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount();
    for place in [
        "latest",
        &scene.ids[2][..12],
        "at/now",
        "by-time/20261119T030000Z",
        "by-tag/t/latest",
        "by-host/h/20261119T030000Z",
        "@GMT-2026.11.19-03.00.00",
        "changes/latest~2..latest/added",
        "changes/latest..latest~2/removed",
        "changes/latest~1..latest/modified",
    ] {
        scene.original.is_equal_to(&scene.in_place(&mount, place), "by another way");
    }
    mount.unmount();
}

#[test]
fn versions_of_a_path_are_told_to_those_who_may_look_at_it_in_the_original() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount();
    let top = scene.in_place(&mount, "versions");
    let lstat = |path: &Path| rustix::fs::lstat(path).map(drop);
    let list = |path: &Path| std::fs::read_dir(path).map(drop).map_err(|error| error.kind());
    for path in &scene.original.paths {
        let (shown, kept) = (top.join(path), scene.source.join(path));
        let newest = run_tool("ls", args![&shown]).text();
        let newest = shown.join(newest.lines().next_back().expect("there is a version"));
        for person in PEOPLE {
            person.act(|| {
                let who = person.name;
                assert_eq!(lstat(&shown), lstat(&kept), "{who}: {path:?}");
                for inner in ["inner", "nothing"] {
                    let (shown, kept) = (shown.join(inner), kept.join(inner));
                    let expected = lstat(&kept).map_err(|error| match error {
                        Errno::NOTDIR => Errno::NOENT,
                        error => error,
                    });
                    assert_eq!(lstat(&shown), expected, "{who}: {kept:?}");
                }
                if scene.is_directory(path) {
                    assert_eq!(list(&shown), list(&kept), "{who}: {path:?}");
                    return;
                }
                // The version itself is a symlink, which these do not follow.
                let follows =
                    |name: &str| !["open without following", "read the symlink"].contains(&name);
                for (operation, run) in OPERATIONS.iter().filter(|(name, _)| follows(name)) {
                    assert_eq!(run(&newest), run(&kept), "{who}: {operation} {path:?}");
                }
            });
        }
    }
    mount.unmount();
}

#[test]
fn attributes_of_the_mount_itself_are_told_to_those_who_may_read_the_file() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount();
    let mut told = [0; 3];
    for place in ["latest", "changes/latest~1..latest/modified"] {
        let top = scene.in_place(&mount, place);
        for person in PEOPLE {
            person.act(|| {
                for path in &scene.original.paths {
                    let kept = attribute(&scene.source.join(path), "user.kept");
                    let names =
                        ["user.icecore.snapshot", "user.icecore.tree", "user.icecore.sha256"];
                    for (name, told) in names.iter().zip(&mut told) {
                        let own = attribute(&top.join(path), name);
                        let is_wrong = match (&kept, &own) {
                            (Ok(_), Ok(_)) => {
                                *told += 1;
                                false
                            }
                            (Ok(_), Err(error)) => *error != Errno::NODATA,
                            (Err(kept), own) => *own != Err(*kept),
                        };
                        assert!(!is_wrong, "{}: {name} {path:?}: {own:?}, {kept:?}", person.name);
                    }
                }
            });
        }
    }
    assert!(told.iter().all(|count| *count > 0), "{told:?}");
    mount.unmount();
}

#[test]
fn access_to_write_is_refused_to_all_as_on_any_file_system_that_is_read_only() {
    let Some(scene) = Scene::new() else { return };
    let mount = scene.mount();
    let top = scene.in_place(&mount, "latest");
    let access = |path: &Path, wanted| accessat(CWD, path, wanted, AtFlags::empty());
    for path in &scene.original.paths {
        let (shown, kept) = (top.join(path), scene.source.join(path));
        let target = kept.metadata().expect("root may look").file_type();
        for person in PEOPLE {
            person.act(|| {
                let expected = match access(&kept, Access::EXISTS) {
                    // What is written to a pipe or socket is not written to the disk.
                    Ok(()) if target.is_file() || target.is_dir() => Err(Errno::ROFS),
                    Ok(()) => access(&kept, Access::WRITE_OK),
                    refused => refused,
                };
                let found = access(&shown, Access::WRITE_OK);
                assert_eq!(found, expected, "{}: {path:?}", person.name);
            });
        }
    }
    mount.unmount();
}
