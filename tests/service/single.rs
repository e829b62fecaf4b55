//! Mounts of one directory of one snapshot.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::args;
use crate::support::command::run_tool;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::mount::is_mounted;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, plain_command};
use crate::support::tree::Shape;

/// Mounts `SOURCE` and lets `body` look at it.
fn with_mount(fixture: &Fixture, source: &str, body: impl FnOnce(&Path)) {
    let point = fixture.scratch.mkdir("single");
    let mut command = plain_command();
    crate::support::command::run(command.args(args!["mount", source, &point])).expect(0);
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&point)));
    fixture.repo.ok(args!["umount", &point]);
    assert!(!is_mounted(&point));
    if let Err(panic) = looked {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_snapshot_or_a_directory_of_it_is_mounted_alone_with_the_numbers_of_the_whole() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let repo = fixture.repo.path().display();
    let inner = fixture.source.strip_prefix("/").expect("it is absolute");
    let whole = fixture.mount();
    let id = &fixture.id;
    for name in [id.as_str(), &id[..12], "latest", "latest~0"] {
        with_mount(&fixture, &format!("{repo}:{name}"), |point| {
            assert_same(&fixture.source, &point.join(inner), Rules::ALL);
            let names: Vec<_> = std::fs::read_dir(point).expect("it can be listed").collect();
            assert_eq!(names.len(), 1, "nothing but the snapshot's own: {names:?}");
            assert_eq!(number(point), number(&whole.snapshot(id)));
        });
    }
    for between in ["/", ":/", ":"] {
        let source = format!("{repo}:latest{between}{}/", inner.display());
        with_mount(&fixture, &source, |point| {
            assert_same(&fixture.source, point, Rules::ALL);
            for entry in std::fs::read_dir(point).expect("it can be listed").flatten() {
                let other = fixture.in_mount(&whole).join(entry.file_name());
                assert_eq!(number(&entry.path()), number(&other), "{}", other.display());
            }
            let tool = args!["--only-values", "-n", "user.icecore.snapshot", point];
            assert_eq!(run_tool("getfattr", tool).text(), *id);
        });
    }
    whole.unmount();
}

fn number(path: &Path) -> u64 {
    path.symlink_metadata().expect("it is there").ino()
}

#[test]
fn what_is_mounted_alone_outlives_newer_snapshots_and_its_own_deletion() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let copy = fixture.scratch.join("copy");
    run_tool("cp", args!["-a", &fixture.source, &copy]);
    let inner = fixture.source.strip_prefix("/").expect("it is absolute").display();
    let source = format!("{}:latest/{inner}", fixture.repo.path().display());
    with_mount(&fixture, &source, |point| {
        plain_tree(&fixture.source.join("more"), 9, 30, 20_000);
        std::fs::remove_dir_all(fixture.source.join("directory-0")).expect("it can be removed");
        fixture.repo.create(&fixture.source);
        fixture.repo.ok(["delete", &fixture.id, "--yes"]);
        fixture.repo.gc();
        assert_same(&copy, point, Rules::ALL);
    });
    let freed = fixture.repo.gc();
    assert_ne!(freed["deleted_chunks"], 0, "the lease did not go: {freed}");
}

#[test]
fn what_is_not_there_is_no_mount_and_a_directory_with_a_colon_is_a_repository() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let repo = fixture.repo.path().display();
    let inner = fixture.source.strip_prefix("/").expect("it is absolute").display();
    let point = fixture.scratch.mkdir("mnt");
    for (source, code, word) in [
        (format!("{repo}:no-such-snapshot"), 1, "no-such-snapshot"),
        (format!("{repo}:latest/no/such/path"), 1, "no/such/path"),
        (format!("{repo}:latest/{inner}/directory-0/file-0"), 1, "no directory"),
        (format!("{repo}-none:latest"), 10, "-none"),
    ] {
        for option in ["--foreground", "--no-pin"] {
            let mut command = plain_command();
            command.args(args!["mount", option, &source, &point]);
            crate::support::command::run(&mut command).fails(code, &[word]);
            assert!(!is_mounted(&point));
        }
    }
    // A literal name wins over the reading with a colon.
    let literal = Repo::at(Path::new(&format!("{repo}:latest")));
    let id = literal.create(&fixture.source);
    with_mount(&fixture, &format!("{repo}:latest"), |point| {
        assert!(point.join(&id).is_dir(), "another repository");
    });
    with_mount(&fixture, &format!("{repo}:latest:{id}/{inner}"), |point| {
        assert_same(&fixture.source, point, Rules::QUICK);
    });
}
