//! What a snapshot leaves out: pseudo file systems, the repository itself, and
//! what lies behind a symlink.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::args;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, symlink};
use crate::support::need::require_root;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;

fn lists(repo: &Repo, id: &str, path: &Path) -> String {
    repo.ok(args!["ls", "--recursive", format!("{id}:{}", path.display())]).text()
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn a_proc_below_the_source_is_left_out_as_an_empty_directory() {
    if !require_root("mounting a proc") {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    let proc = directory(&source.join("inner/proc")).to_owned();
    file(&source.join("inner/real"), b"x");
    mount("proc", &proc, "proc", MountFlags::empty(), None).expect("proc can be mounted");
    let mounted = Mounted(proc);
    let repo = Repo::new();
    let id = id_of(&repo.create_json([&source], 0));
    drop(mounted);
    let listed = lists(&repo, &id, &source);
    assert!(listed.contains("real") && listed.contains("proc"), "{listed}");
    assert!(!listed.contains("cmdline") && !listed.contains("meminfo"), "{listed}");
}

#[test]
fn a_file_of_proc_that_is_named_is_kept_with_its_content() {
    let repo = Repo::new();
    let path = "/proc/sys/kernel/ostype";
    let outcome = repo.run(["create", path]);
    assert!([0, 3].contains(&outcome.code), "{}: {}", outcome.code, outcome.error());
    let printed = repo.ok(["cat", &format!("latest:{path}")]);
    assert_eq!(printed.text(), "Linux\n");
}

#[test]
fn another_file_system_below_the_source_is_kept() {
    if !require_root("mounting a tmpfs") {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    let inner = directory(&source.join("inner")).to_owned();
    mount("icecore-test", &inner, "tmpfs", MountFlags::empty(), c"size=1m").expect("a tmpfs");
    let mounted = Mounted(inner.clone());
    file(&inner.join("on-tmpfs"), b"kept");
    let repo = Repo::new();
    let id = repo.create(&source);
    drop(mounted);
    let printed = repo.ok(args!["cat", format!("{id}:{}", inner.join("on-tmpfs").display())]);
    assert_eq!(printed.text(), "kept");
}

#[test]
fn the_repository_is_never_snapshotted_into_itself() {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    file(&source.join("real"), b"x");
    let repo = Repo::at(&source.join("the-repository"));
    for _ in 0..2 {
        let id = id_of(&repo.create_json([&source], 0));
        let listed = lists(&repo, &id, &source);
        assert!(listed.contains("real"), "{listed}");
        assert!(!listed.contains("config") && !listed.contains("db"), "{listed}");
    }
    let outcome = repo.run(args!["create", repo.path()]);
    let listed = repo.list_json().len();
    assert!(outcome.code != 0 || listed == 3, "{}", outcome.error());
    if outcome.code == 0 {
        let found = repo.ok(args!["ls", "--recursive", "latest"]).text();
        assert!(!found.contains("LOCK") && !found.contains(".sst"), "{found}");
    }
}

#[test]
fn a_symlink_is_kept_and_never_followed() {
    let scratch = Scratch::new();
    let secret = scratch.mkdir("secret");
    file(&secret.join("behind"), b"not to be seen");
    let fixture = Fixture::built(|source| {
        symlink(&directory(source).join("to-directory"), secret.as_os_str().as_encoded_bytes());
    });
    let listed = lists(&fixture.repo, &fixture.id, &fixture.source);
    assert!(listed.contains("to-directory") && !listed.contains("behind"), "{listed}");
    let link = fixture.source.join("to-directory");
    let id = fixture.repo.create(&link);
    let listed = fixture.repo.ok(["ls", "--recursive", &id]).text();
    assert!(listed.contains("to-directory") && !listed.contains("behind"), "{listed}");
}
