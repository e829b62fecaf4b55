//! Repositories that cannot be written are mounted and listed all the same.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::support::command::{Outcome, icecore, run, run_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::mount::{Mount, detach, is_mounted};
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::{args, wait_until};

/// A medium that is ejected at the end.
struct Medium(PathBuf);

impl Medium {
    fn new(place: PathBuf) -> Self {
        let made = mount("icecore-test", &place, "tmpfs", MountFlags::empty(), c"size=64m");
        made.expect("a tmpfs can be mounted");
        Self(place)
    }

    fn protect(&self) {
        mount_remount(&self.0, MountFlags::RDONLY, c"").expect("it can be remounted");
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn a_repository_on_a_read_only_medium_is_listed_and_mounted_with_one_line_of_warning() {
    if !require_fuse() || !require_root("mounting a tmpfs") {
        return;
    }
    for with_leases in [true, false] {
        let scratch = Scratch::new();
        let medium = Medium::new(scratch.mkdir("medium"));
        let source = scratch.join("source");
        plain_tree(&source, 5, 20, 10_000);
        let repo = Repo::at(&medium.0.join("repo"));
        let id = repo.create(&source);
        if !with_leases {
            std::fs::remove_dir_all(repo.path().join("leases")).expect("it can be removed");
        }
        medium.protect();
        assert_eq!(repo.ids(), std::slice::from_ref(&id));
        assert_eq!(repo.ok(["ls", "-R", "latest"]).error(), "");
        let mount = Mount::foreground(&repo);
        assert_same(&source, &mount.source(&id, &source), Rules::ALL);
        let log = mount.log();
        let said: Vec<&str> = log.lines().filter(|line| line.contains("leased")).collect();
        assert!(said.len() == 1 && said[0].contains("read-only"), "{log}");
        mount.unmount();
        repo.run(args!["create", &source]).ends(1, &["read-only"]);
    }
}

#[test]
fn a_repository_without_its_directory_of_leases_gets_it_back_from_the_first_reader() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let leases = fixture.repo.path().join("leases");
    std::fs::remove_dir_all(&leases).expect("it can be removed");
    let mount = Mount::foreground(&fixture.repo);
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::QUICK);
    assert!(!mount.log().contains("leased"), "{}", mount.log());
    let mode = leases.metadata().expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o700);
    mount.unmount();
}

/// Runs a program as a user who owns nothing.
fn as_nobody(program: &Path, arguments: &[std::ffi::OsString]) -> Outcome {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    run(command.arg(program).args(arguments).env("TZ", "UTC"))
}

#[test]
fn a_user_who_may_only_read_mounts_and_is_told_that_gc_may_take_what_was_deleted() {
    if !require_fuse() || !require_root("being another user") {
        return;
    }
    let helper = std::fs::metadata("/usr/bin/fusermount3");
    if !helper.is_ok_and(|helper| helper.mode() & 0o4000 != 0) {
        return eprintln!("SKIPPED: fusermount3 is not setuid, so users cannot mount");
    }
    if !std::fs::metadata("/dev/fuse").is_ok_and(|device| device.mode() & 0o006 == 0o006) {
        return eprintln!("SKIPPED: /dev/fuse is not for users");
    }
    let fixture = Fixture::plain();
    let home = fixture.scratch.mkdir("home");
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).expect("it can be given away");
    // The program may lie where only its builder may go.
    let program = fixture.scratch.join("icecore");
    if std::fs::hard_link(icecore(), &program).is_err() {
        std::fs::copy(icecore(), &program).expect("it can be copied");
    }
    let repo = fixture.repo.path();
    let (point, log) = (home.join("mnt"), home.join("log"));
    as_nobody(Path::new("mkdir"), &args![&point]).expect(0);
    let list = args!["-r", repo, "list"];
    as_nobody(&program, &list).fails(1, &["permission denied"]);

    let outside = repo.parent().expect("it is in a directory");
    std::fs::set_permissions(outside, PermissionsExt::from_mode(0o755)).expect("it can be opened");
    run_tool("chmod", args!["-R", "a+rX", repo]);
    let told = as_nobody(&program, &list).expect(0);
    assert!(told.text().contains(&fixture.id[..12]) && told.error().is_empty());
    let mounted = as_nobody(&program, &args!["mount", "--log-file", &log, repo, &point]);
    mounted.expect(0);
    let inner = fixture.source.strip_prefix("/").expect("it is absolute");
    let shown = point.join(&fixture.id).join(inner);
    let outcome = as_nobody(Path::new("diff"), &args!["-r", &shown, &fixture.source]);
    let ended = as_nobody(&program, &args!["umount", &point]);
    if is_mounted(&point) {
        detach(&point);
    }
    assert_eq!((outcome.code, outcome.text()), (0, String::new()), "{}", outcome.error());
    ended.expect(0);
    let said = std::fs::read_to_string(&log).expect("the log is there");
    assert!(said.lines().count() == 1 && said.contains("`gc` may take"), "{said}");
    wait_until("it is gone", 10, || !is_mounted(&point));
}
