//! The mount helper, called as mount(8) calls it, and by mount(8) itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::{Outcome, icecore, run, run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::mount::{detach, is_mounted, mountinfo};
use crate::support::need::{require_fuse, require_root};
use crate::support::scratch::Scratch;
use crate::support::{args, wait_until};

/// A place to mount on by helper, taken away at the end.
struct Place {
    scratch: Scratch,
    point: PathBuf,
}

impl Place {
    fn new() -> Self {
        let scratch = Scratch::new();
        let point = scratch.mkdir("mnt");
        Self { scratch, point }
    }

    /// The program under another name.
    fn named(&self, name: &str) -> PathBuf {
        let path = self.scratch.join(name);
        std::os::unix::fs::symlink(icecore(), &path).expect("a symlink can be made");
        path
    }

    /// Calls the helper as mount(8) does.
    fn call(&self, program: &Path, source: &Path, more: &[&str]) -> Outcome {
        run(Command::new(program).arg(source).arg(&self.point).args(more).env("TZ", "UTC"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if is_mounted(&self.point) {
            detach(&self.point);
        }
    }
}

#[test]
fn under_both_names_it_mounts_with_the_options_of_mount_and_returns_once_it_serves() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    for name in ["mount.icecore", "mount.fuse.icecore"] {
        let place = Place::new();
        let log = place.scratch.join("log");
        // As for a line of fstab with `noauto,nofail,users,...`.
        let options = format!(
            "ro,noexec,nosuid,nodev,nofail,_netdev,users,x-systemd.automount,\
             cache_size=8M,no_pin,log_file={}",
            log.display()
        );
        let program = place.named(name);
        let outcome = place.call(&program, fixture.repo.path(), &["-n", "-o", &options]).expect(0);
        assert_eq!((outcome.error(), outcome.text()), (String::new(), String::new()));
        let line = mountinfo(&place.point).expect("it is mounted");
        for option in ["ro", "noexec", "nosuid", "nodev"] {
            assert!(line.split([' ', ',']).any(|word| word == option), "{option} is not in {line}");
        }
        let shown = place.point.join(&fixture.id).join(fixture.source.strip_prefix("/").unwrap());
        assert_same(&fixture.source, &shown, Rules::ALL);
        assert!(log.exists(), "the log is not where it was asked for");
        fixture.repo.ok(args!["umount", &place.point]);
        assert!(!is_mounted(&place.point));
    }
}

#[test]
fn a_copy_of_the_program_under_the_helpers_name_serves_too() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let place = Place::new();
    let beside = Path::new(icecore()).parent().expect("it is in a directory");
    let copies = tempfile::tempdir_in(beside).expect("a directory can be made");
    let copy = copies.path().join("mount.icecore");
    std::fs::hard_link(icecore(), &copy).expect("a link can be made");
    place.call(&copy, fixture.repo.path(), &["-o", "ro"]).expect(0);
    assert!(is_mounted(&place.point));
    fixture.repo.ok(args!["umount", &place.point]);
}

#[test]
fn mistakes_end_with_1_and_failures_with_32_and_one_line_each() {
    let fixture = Fixture::plain();
    let place = Place::new();
    let helper = place.named("mount.icecore");
    let repo = fixture.repo.path();
    for (more, word) in [
        (&["-o", "ro,frobnicate"][..], "frobnicate"),
        (&["-o", "allow_other,rw"], "read-only"),
        (&["-o", "cache_size=much"], "cache_size"),
        (&["-o", "remount,ro"], "remount"),
        (&["-N", "/proc/1/ns/mnt"], "-N"),
        (&["-x"], "usage"),
        (&["one-more"], "usage"),
    ] {
        place.call(&helper, repo, more).fails(1, &[word]);
    }
    run(Command::new(&helper).arg(repo)).fails(1, &["usage"]);
    let none = place.scratch.join("no-repository");
    place.call(&helper, &none, &["-o", "ro"]).fails(32, &["no-repository"]);
    let inside = repo.join("db");
    let overlap = run(Command::new(&helper).arg(repo).arg(inside).args(["-o", "ro"]));
    overlap.fails(32, &["overlaps"]);
    assert!(!is_mounted(&place.point));
}

#[test]
fn sloppy_passes_over_unknown_options_and_fake_mounts_nothing() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let place = Place::new();
    let helper = place.named("mount.icecore");
    place.call(&helper, fixture.repo.path(), &["-f", "-o", "ro"]).expect(0);
    assert!(!is_mounted(&place.point));
    let options = ["-s", "-v", "-o", "ro,frobnicate=1"];
    let told = place.call(&helper, fixture.repo.path(), &options).expect(0).error();
    assert!(told.contains("Mounted on"), "-v says nothing: {told}");
    let again = place.call(&helper, fixture.repo.path(), &["-o", "ro"]);
    again.fails(32, &["already"]);
    fixture.repo.ok(args!["umount", &place.point]);
    assert!(!is_mounted(&place.point), "mounted twice");
}

/// In a mount namespace of its own: the helpers are in /sbin.
const HELPERS: &str = r#"
set -euo pipefail
work=$1 point=$2 icecore=$3 repo=$4
trap 'umount -l "$point" 2>/dev/null || true' EXIT
mount -t tmpfs icecore-test "$work"
mkdir "$work/upper" "$work/work"
sbin=$(readlink -f /sbin)
mount -t overlay icecore-test -o "lowerdir=$sbin,upperdir=$work/upper,workdir=$work/work" "$sbin"
for name in mount.icecore mount.fuse.icecore; do ln -s "$icecore" "$sbin/$name"; done
"#;

/// Behind [`HELPERS`].
const WITH_MOUNT: &str = r#"
listing=$5
printf '%s %s icecore defaults,noauto,nofail,allow_other,x-systemd.automount 0 0\n' \
    "$repo" "$point" > "$work/fstab"
shown() {
    ls "$point" | grep -E '^[0-9a-f]{64}$' | diff - "$listing"
    pid=$(getfattr --only-values -n user.icecore.pid "$point")
    umount "$point"
    while [ -e "/proc/$pid" ]; do sleep 0.05; done
}
mount -t icecore -o ro "$repo" "$point" && shown
mount -t fuse.icecore -o ro,allow_other "$repo" "$point" && shown
mount --fstab "$work/fstab" "$point" && shown
# What is mounted is told by its source, so that a second -a is no failure.
again() {
    printf '%s %s icecore ro,allow_other 0 0\n' "$1" "$point" > "$work/fstab"
    mount --fstab "$work/fstab" -a
    grep -F " - fuse.icecore $2 " /proc/self/mountinfo
    mount --fstab "$work/fstab" -a
    [ "$(grep -c " $point " /proc/self/mountinfo)" = 1 ]
    "$icecore" -q umount "$point"
}
ln -s "$repo" "$work/link"
cp -a "$repo" "$work/a b,c\\d"
again "$repo" "$repo"
again "$work/link" "$repo"
again "$repo:latest" "$repo:latest"
again "$work/link:latest/" "$work/link:latest/"
odd="$work/a\\040b,c\\134d"
again "$odd" "$odd"
again "$odd:latest" "$odd:latest"
code=0; mount -t icecore -o frobnicate "$repo" "$point" || code=$?
[ "$code" = 1 ]
code=0; mount -t icecore -o ro "$repo/none" "$point" || code=$?
[ "$code" = 32 ]
"#;

#[test]
fn mount_itself_finds_the_helper_for_both_types_and_for_a_line_of_fstab() {
    let fixture = Fixture::plain();
    let listing = fixture.scratch.join("listing");
    std::fs::write(&listing, format!("{}\n", fixture.id)).expect("it can be written");
    let words = args![icecore(), fixture.repo.path(), &listing];
    let Some(told) = with_mount(WITH_MOUNT, &words) else { return };
    let expected = "is mounted read-only, as snapshots are";
    assert_eq!(told.matches(expected).count(), 1, "only `defaults` asks for rw: {told}");
}

/// Runs a script where mount(8) finds the helpers, and returns what it said on standard
/// error. Its first words are the program and the repository. Nothing if that cannot be
/// done here.
pub(crate) fn with_mount(script: &str, words: &[std::ffi::OsString]) -> Option<String> {
    if !require_fuse() || !require_root("a mount namespace") {
        return None;
    }
    let unshare = ["--mount", "--propagation", "private"];
    if try_tool("unshare", unshare.iter().chain(&["true"])).code != 0 {
        eprintln!("SKIPPED: no mount namespace can be made");
        return None;
    }
    let scratch = Scratch::new();
    let (work, point) = (scratch.mkdir("work"), scratch.mkdir("mnt"));
    let script = format!("{HELPERS}{script}");
    let mut all = args![unshare[0], unshare[1], unshare[2], "bash", "-c", script, "bash"].to_vec();
    all.extend(args![&work, &point]);
    all.extend_from_slice(words);
    let told = run_tool("unshare", all).error();
    wait_until("nothing is left", 10, || !is_mounted(&point));
    Some(told)
}

#[test]
fn the_script_installs_program_and_helpers_and_takes_them_away_again() {
    let scratch = Scratch::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install.sh");
    let install = |arguments: &[&str]| {
        let mut command = Command::new("bash");
        command.env("DESTDIR", scratch.path()).env("ICECORE_BINARY", icecore());
        run(command.arg(&script).args(arguments)).expect(0)
    };
    for (prefix, sbin) in [("/usr/local", "sbin"), ("/opt/ice", "opt/ice/sbin")] {
        install(&[prefix]);
        let program = format!("{prefix}/bin/icecore");
        run(Command::new(scratch.join(&program[1..])).arg("--version")).expect(0);
        let links = ["mount.icecore", "mount.fuse.icecore"].map(|name| format!("{sbin}/{name}"));
        for link in &links {
            let to = std::fs::read_link(scratch.join(link)).expect("the link is there");
            assert_eq!(to, Path::new(&program));
        }
        let completions = [
            "bash-completion/completions/icecore",
            "zsh/site-functions/_icecore",
            "fish/vendor_completions.d/icecore.fish",
        ]
        .map(|path| scratch.join(&format!("{}/share/{path}", &prefix[1..])));
        for script in &completions {
            let text = std::fs::read_to_string(script).expect("the script is there");
            assert!(text.contains("manifest"), "{} knows the commands", script.display());
        }
        run_tool("bash", args!["-n", &completions[0]]);
        install(&["--uninstall", prefix]);
        assert!(!scratch.join(&program[1..]).exists());
        assert!(completions.iter().all(|script| !script.exists()));
        assert!(links.iter().all(|link| scratch.join(link).symlink_metadata().is_err()));
    }
}
