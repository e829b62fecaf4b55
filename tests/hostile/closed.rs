//! Directories that were closed to others in some snapshots and not in all: what
//! shows several snapshots at once tells nobody what was in them while they were.

use std::fs::{read_dir, remove_dir_all, remove_file};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::lstat;
use rustix::io::Errno;

use super::people::{GROUP, NAMED, NOBODY, OWNER, PEOPLE, Person, ROOT};
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::generate::{directory, file, mode, owner};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;

/// A source, and a repository with snapshots of it before and after a change.
struct Change {
    _scratch: Scratch,
    source: PathBuf,
    repo: Repo,
}

const BEFORE: [&str; 3] = ["changed", "gone", "same"];
const AFTER: [&str; 3] = ["changed", "new", "same"];

impl Change {
    /// Makes a directory, and lets `before` and `after` say who may look into it.
    fn of(before: impl FnOnce(&Path), after: impl FnOnce(&Path)) -> Self {
        let (scratch, repo) = (Scratch::new(), Repo::new());
        let source = scratch.mkdir("source");
        let place = source.join("place");
        directory(&place);
        BEFORE.iter().for_each(|name| file(&place.join(name), b"before"));
        before(&place);
        repo.create(&source);
        remove_file(place.join("gone")).expect("it is there");
        file(&place.join("changed"), b"and after");
        file(&place.join("new"), b"new");
        after(&place);
        repo.create(&source);
        Self { _scratch: scratch, source, repo }
    }

    fn mount(&self) -> Mount<'_> {
        Mount::with(&self.repo, &["--allow-other"])
    }

    /// Fails unless somebody is told, or is not told, which files there are.
    #[track_caller]
    fn tells(&self, mount: &Mount<'_>, person: Person, is_told: bool) {
        let comparison = "changes/latest~1..latest";
        let names = |path: &Path| -> Result<Vec<_>, ErrorKind> {
            let names = read_dir(path).map_err(|error| error.kind())?;
            Ok(names.map(|entry| entry.expect("it is listed").file_name()).collect())
        };
        person.act(|| {
            for (part, name) in [("added", "new"), ("removed", "gone"), ("modified", "changed")] {
                let place =
                    mount.source(&format!("{comparison}/{part}"), &self.source).join("place");
                let told = names(&place);
                let expected =
                    if is_told { Ok(vec![name.into()]) } else { Err(ErrorKind::PermissionDenied) };
                assert_eq!(told, expected, "{}: {part}", person.name);
                for name in ["new", "gone", "changed", "same", "nothing"] {
                    let found = lstat(place.join(name)).map(drop);
                    assert_eq!(found == Err(Errno::ACCESS), !is_told, "{}: {name}", person.name);
                }
            }
            let place = mount.source("versions", &self.source).join("place");
            for (name, count) in [("new", 1), ("gone", 1), ("changed", 2), ("same", 1)] {
                let found = names(&place.join(name)).map(|names| names.len());
                let expected = if is_told { Ok(count) } else { Err(ErrorKind::PermissionDenied) };
                assert_eq!(found, expected, "{}: versions of {name}", person.name);
            }
            let nothing = if is_told { Errno::NOENT } else { Errno::ACCESS };
            assert_eq!(lstat(place.join("nothing")).map(drop), Err(nothing), "{}", person.name);
        });
    }
}

fn may_run() -> bool {
    require_fuse() && require_root("acting as other users")
}

fn chown(path: &Path, uid: u32, gid: u32, bits: u32) {
    owner(path, uid, gid);
    mode(path, bits);
}

#[test]
fn what_was_in_a_directory_while_it_was_closed_is_told_nobody_who_was_outside() {
    if !may_run() {
        return;
    }
    for (before, after) in [(0o700, 0o755), (0o755, 0o700), (0o711, 0o755), (0o755, 0o744)] {
        let change = Change::of(|place| mode(place, before), |place| mode(place, after));
        let mount = change.mount();
        // Who may search and not list before, and both behind, learns nothing by a list.
        let place =
            |part: &str| mount.source(&format!("changes/latest~1..latest/{part}"), &change.source);
        for part in ["added", "removed", "modified"] {
            let listed = NOBODY.act(|| read_dir(place(part).join("place")).map(drop));
            let refused = listed.map_err(|error| error.kind());
            let may = before & after & 0o4 != 0;
            assert_eq!(refused == Ok(()), may, "{part} {before:o} {after:o}");
        }
        if before & after & 0o7 == 0 {
            change.tells(&mount, NOBODY, false);
        }
        change.tells(&mount, ROOT, true);
        mount.unmount();
    }
}

#[test]
fn a_directory_that_was_open_to_all_is_so_under_its_next_owner_too() {
    if !may_run() {
        return;
    }
    let change =
        Change::of(|place| chown(place, 0, 0, 0o755), |place| chown(place, OWNER, GROUP, 0o755));
    let mount = change.mount();
    PEOPLE.iter().for_each(|person| change.tells(&mount, *person, true));
    mount.unmount();
    // Its owner alone could enter, and is another one now.
    let change = Change::of(
        |place| chown(place, OWNER, GROUP, 0o700),
        |place| chown(place, NAMED, GROUP, 0o700),
    );
    let mount = change.mount();
    PEOPLE.iter().for_each(|person| change.tells(&mount, *person, person.name == ROOT.name));
    mount.unmount();
    // Its group could not, and can now: its owner could always.
    let change = Change::of(
        |place| chown(place, OWNER, GROUP, 0o700),
        |place| chown(place, OWNER, GROUP, 0o750),
    );
    let mount = change.mount();
    for person in PEOPLE {
        change.tells(&mount, person, ["root", "the owner"].contains(&person.name));
    }
    mount.unmount();
}

#[test]
fn an_acl_that_shut_somebody_out_once_does_so_wherever_both_snapshots_are_shown() {
    if !may_run() {
        return;
    }
    let acl =
        |entry: String| move |place: &Path| drop(run_tool("setfacl", args!["-m", entry, place]));
    let change = Change::of(acl(format!("u:{NAMED}:---")), |place| {
        run_tool("setfacl", args!["-b", place]);
    });
    let mount = change.mount();
    for person in PEOPLE {
        change.tells(&mount, person, person.name == ROOT.name);
    }
    mount.unmount();
    // The same one in both shuts out whom it names and nobody else.
    let change = Change::of(acl(format!("u:{NAMED}:---")), |_| ());
    let mount = change.mount();
    for person in PEOPLE {
        change.tells(&mount, person, person.name != "a user whom ACLs name");
    }
    mount.unmount();
}

#[test]
fn a_closed_directory_that_became_a_file_is_still_closed_among_versions() {
    if !may_run() {
        return;
    }
    let change = Change::of(|place| mode(place, 0o700), |_| ());
    let place = change.source.join("place");
    remove_dir_all(&place).expect("it is there");
    file(&place, b"a file now");
    change.repo.create(&change.source);
    let mount = change.mount();
    let shown = mount.source("versions", &change.source).join("place");
    for name in BEFORE.iter().chain(&AFTER).chain(&["nothing"]) {
        let found = NOBODY.act(|| lstat(shown.join(name)).map(drop));
        assert_eq!(found, Err(Errno::ACCESS), "{name}");
    }
    assert_eq!(ROOT.act(|| lstat(shown.join("gone")).map(drop)), Ok(()));
    mount.unmount();
}

#[test]
fn a_directory_is_closed_among_versions_as_soon_as_a_snapshot_has_it_closed() {
    if !may_run() {
        return;
    }
    let change = Change::of(|_| (), |_| ());
    let mount = change.mount();
    change.tells(&mount, NOBODY, true);
    let place = change.source.join("place");
    let shown = mount.source("versions", &change.source).join("place");
    let look = |name: &str| NOBODY.act(|| lstat(shown.join(name)).map(drop));
    assert_eq!(look("gone"), Ok(()));
    mode(&place, 0o700);
    file(&place.join("secret"), b"new");
    change.repo.create(&change.source);
    assert_eq!(look("secret"), Err(Errno::ACCESS));
    assert_eq!(look("gone"), Err(Errno::ACCESS));
    mount.unmount();
}

#[test]
fn the_root_of_a_snapshot_guards_what_is_in_it_as_any_directory_does() {
    if !may_run() {
        return;
    }
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let (top, archive) = (scratch.mkdir("top"), scratch.join("a.tar"));
    file(&top.join("secret"), b"before");
    mode(&top, 0o700);
    for content in ["before", "and after"] {
        file(&top.join("secret"), content.as_bytes());
        run_tool("tar", args!["-C", &top, "-cf", &archive, "."]);
        id_of(&repo.ok(args!["import", "--json", &archive]).last_json_line());
    }
    let mount = Mount::with(&repo, &["--allow-other"]);
    for place in ["latest", "versions", "changes/latest~1..latest/modified"] {
        let secret = mount.point().join(place).join("secret");
        assert_eq!(NOBODY.act(|| lstat(&secret).map(drop)), Err(Errno::ACCESS), "{place}");
        assert_eq!(ROOT.act(|| lstat(&secret).map(drop)), Ok(()), "{place}");
        let listed = NOBODY.act(|| read_dir(mount.point().join(place)).map(drop));
        assert_eq!(listed.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
    }
    mount.unmount();
}
