//! What the mountpoint shows, and how it answers.

use std::path::Path;
use std::thread;

use rustix::io::Errno;

use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{directory, file, mode, xattr};
use crate::support::mount::{Mount, mountinfo};
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::Repo;
use crate::support::tree::Shape;
use crate::support::{args, command::run_tool, command::try_tool, wait_until};

/// Seconds within which a mount shows what another process did.
const NEWS: u64 = 5;

fn shows(point: &Path, name: &str) -> bool {
    let entries = std::fs::read_dir(point).expect("the mountpoint can be listed");
    entries.flatten().any(|entry| entry.file_name() == name)
}

fn latest(point: &Path) -> Option<String> {
    let target = std::fs::read_link(point.join("latest")).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

#[test]
fn the_mount_is_read_only_without_setuid_and_devices_and_for_its_owner_alone() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let line = mountinfo(mount.point()).expect("it is mounted");
    let fields: Vec<&str> = line.split(' ').collect();
    let options: Vec<&str> = fields[5].split(',').collect();
    for option in ["ro", "nosuid", "nodev"] {
        assert!(options.contains(&option), "{option} not in {line}");
    }
    let of_fuse = fields.last().expect("there is a last field");
    assert!(of_fuse.contains("default_permissions"), "{line}");
    assert!(!of_fuse.contains("allow_other"), "{line}");
    assert!(line.contains(" - fuse"), "{line}");
    mount.unmount();
}

#[test]
fn other_users_are_let_in_only_by_allow_other_and_only_where_modes_permit() {
    if !require_fuse() || !require_root("acting as another user") {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        for (name, bits) in [("public", 0o644), ("private", 0o600)] {
            file(&source.join(name), name.as_bytes());
            mode(&source.join(name), bits);
        }
    });
    let cat = |top: &Path, name: &str| {
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "cat"];
        let mut command = args![top.join(name)].to_vec();
        command.splice(0..0, user.map(Into::into));
        try_tool("setpriv", command)
    };
    let mount = fixture.mount();
    cat(&fixture.in_mount(&mount), "public").fails(1, &["permission denied"]);
    mount.unmount();
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let top = fixture.in_mount(&mount);
    assert_eq!(cat(&top, "public").expect(0).text(), "public");
    cat(&top, "private").fails(1, &["permission denied"]);
    mount.unmount();
}

#[test]
fn a_snapshot_is_found_by_id_by_unique_prefix_and_as_latest() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let inner = fixture.source.strip_prefix("/").expect("it is absolute");
    for name in [&fixture.id[..], &fixture.id[..12], &fixture.id[..6], "latest"] {
        let found = mount.point().join(name).join(inner);
        assert_same(&fixture.source, &found, Rules::QUICK);
    }
    assert_eq!(latest(mount.point()), Some(fixture.id.clone()));
    assert!(shows(mount.point(), &fixture.id), "the full id is listed");
    assert!(!shows(mount.point(), &fixture.id[..12]), "a prefix is not listed");
    let missing = std::fs::symlink_metadata(mount.point().join("0123456789abcdefg"));
    assert_eq!(missing.map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::NotFound));
    mount.unmount();
}

#[test]
fn new_snapshots_appear_and_deleted_ones_vanish_without_remount() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    assert_eq!(latest(mount.point()), Some(fixture.id.clone()));
    for round in 0..3 {
        file(&fixture.source.join("new"), format!("round {round}").as_bytes());
        let id = fixture.repo.create(&fixture.source);
        wait_until("the new snapshot is listed", NEWS, || shows(mount.point(), &id));
        wait_until("latest is the new one", NEWS, || latest(mount.point()).as_ref() == Some(&id));
        assert_same(&fixture.source, &mount.source(&id, &fixture.source), Rules::ALL);
        fixture.repo.ok(["delete", &id, "--yes"]);
        wait_until("the deleted one is not listed", NEWS, || !shows(mount.point(), &id));
        wait_until("latest is the old one", NEWS, || {
            latest(mount.point()).as_ref() == Some(&fixture.id)
        });
        wait_until("the deleted one is not found", NEWS, || !mount.snapshot(&id).exists());
    }
    mount.unmount();
}

#[test]
fn a_repository_without_snapshots_can_be_mounted_and_then_shows_the_first() {
    if !require_fuse() {
        return;
    }
    let repo = Repo::new();
    let mount = Mount::new(&repo);
    assert_eq!(latest(mount.point()), None);
    let scratch = crate::support::scratch::Scratch::new();
    let source = scratch.join("source");
    plain_tree(&source, 1, 3, 1_000);
    let id = repo.create(&source);
    wait_until("the first snapshot is listed", NEWS, || shows(mount.point(), &id));
    assert_same(&source, &mount.source(&id, &source), Rules::ALL);
    mount.unmount();
}

#[test]
fn a_missing_attribute_gives_enodata_and_a_small_buffer_erange() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        file(&source.join("file"), b"x");
        xattr(&source.join("file"), "user.there", b"0123456789");
    });
    let mount = fixture.mount();
    let path = fixture.in_mount(&mount).join("file");
    let mut buffer = [0_u8; 64];
    for name in ["user.missing", "security.missing", "trusted.missing"] {
        let answer = rustix::fs::getxattr(&path, name, &mut buffer);
        assert_eq!(answer, Err(Errno::NODATA), "{name}");
    }
    let answer = rustix::fs::getxattr(&path, "user.there", &mut buffer[..9]);
    assert_eq!(answer, Err(Errno::RANGE));
    assert_eq!(rustix::fs::getxattr(&path, "user.there", &mut buffer[..10]), Ok(10));
    assert_eq!(rustix::fs::getxattr_query(&path, "user.there"), Ok(10));
    assert_eq!(rustix::fs::listxattr(&path, &mut buffer[..4]), Err(Errno::RANGE));
    assert_eq!(rustix::fs::listxattr_query(&path), Ok("user.there\0".len()));
    assert_eq!(rustix::fs::listxattr(&path, &mut buffer), Ok("user.there\0".len()));
    mount.unmount();
}

#[test]
fn wrong_paths_give_the_same_errors_as_on_the_source() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let long = "n".repeat(256);
    for name in [
        "nothing",
        "contents/random-1/below",
        "contents/nothing/below",
        "symlinks/loop",
        "symlinks/ping",
        "symlinks/dangling",
        "specials/socket/below",
        &long,
    ] {
        let errno = |top: &Path| {
            let opened = std::fs::File::open(top.join(name)).map(drop);
            opened.map_err(|error| error.raw_os_error())
        };
        assert!(errno(&fixture.source).is_err(), "{name}");
        assert_eq!(errno(&shown), errno(&fixture.source), "{name}");
    }
    let written = std::fs::read_dir(shown.join("contents/random-1")).map(drop);
    assert_eq!(written.map_err(|error| error.kind()), Err(std::io::ErrorKind::NotADirectory));
    mount.unmount();
}

#[test]
fn concurrent_readers_all_see_the_source() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape { wide: 500, ..Shape::SMALL });
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    assert_same(&fixture.source, &shown, Rules::ALL);
                }
            });
        }
    });
    mount.unmount();
}

#[test]
fn find_walks_the_whole_mount_without_a_loop_or_a_complaint() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let second = fixture.repo.create(&fixture.source);
    assert_ne!(second, fixture.id);
    let mount = fixture.mount();
    let places = [fixture.in_mount(&mount), mount.source(&second, &fixture.source)];
    let count = |top: &Path| run_tool("find", args![top, "-printf", "x"]).stdout.len();
    for place in &places {
        let found = run_tool("find", args![place, "-noleaf", "-printf", "x"]);
        assert_eq!(found.error(), "");
        assert_eq!(found.stdout.len(), count(&fixture.source));
    }
    let whole = run_tool("find", args![mount.point(), "-maxdepth", "3"]);
    assert_eq!(whole.error(), "");
    mount.unmount();
}
