//! Snapshots that are deleted while, before and after they are used.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::python;
use crate::support::command::{finish, run_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::generate::mtime;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of};
use crate::support::scratch::Scratch;
use crate::support::wait_until;
use crate::support::{args, beside};

/// Bytes that one snapshot holds alone.
const UNIQUE: u64 = 20 << 20;
/// Seconds within which a deleted snapshot that nobody uses is given up: 60
/// idle ones, looked for every ten.
const GIVEN_UP: u64 = 110;

/// Two snapshots that share nothing, and their sources.
struct Two {
    scratch: Scratch,
    repo: Repo,
    /// The one to delete.
    gone: (PathBuf, String),
    kept: (PathBuf, String),
}

impl Two {
    fn new() -> Self {
        let (scratch, repo) = (Scratch::new(), Repo::new());
        let [gone, kept] = [("gone", 51), ("kept", 52)].map(|(name, seed)| {
            let source = scratch.join(name);
            plain_tree(&source, seed, 200, UNIQUE as usize / 200);
            age(&source);
            let id = repo.create(&source);
            (source, id)
        });
        Self { scratch, repo, gone, kept }
    }

    fn shown(&self, mount: &Mount<'_>) -> PathBuf {
        mount.source(&self.gone.1, &self.gone.0)
    }

    /// Deletes the one snapshot, and collects.
    fn delete(&self) -> u64 {
        self.repo.ok(["delete", &self.gone.1, "--yes"]);
        self.collect()
    }

    /// Bytes that a collection freed.
    fn collect(&self) -> u64 {
        count_of(&self.repo.gc(), "freed_bytes")
    }

    /// Waits until the mount has given the snapshot up and its space returns.
    fn space_returns(&self) {
        let mut freed = 0;
        wait_until("the space returns", GIVEN_UP, || {
            std::thread::sleep(Duration::from_secs(2));
            freed += self.collect();
            freed >= UNIQUE
        });
    }

    fn kept_is_whole(&self, mount: &Mount<'_>) {
        assert_same(&self.kept.0, &mount.source(&self.kept.1, &self.kept.0), Rules::ALL);
    }
}

/// Gives directories times of long ago. A copy is made in the second in which a test
/// made its source, and rsync compares whole seconds when it sets the times of
/// directories again at the end (its `--modify-window` is 0): with or without a mount,
/// it leaves such a copy with the nanoseconds of its own last change.
fn age(top: &Path) {
    for entry in std::fs::read_dir(top).expect("it can be listed").flatten() {
        if entry.path().is_dir() {
            age(&entry.path());
        }
    }
    mtime(top, 1_000_000_000, 123_456_789);
}

fn start(program: &str, arguments: impl IntoIterator<Item = OsString>) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn files_in(path: &Path) -> usize {
    run_tool("find", args![path, "-type", "f", "-printf", "x"]).stdout.len()
}

#[test]
fn a_restore_by_rsync_outlives_delete_and_gc_and_afterwards_the_space_returns() {
    if !require_fuse() {
        return;
    }
    let two = Two::new();
    let mount = Mount::new(&two.repo);
    let copy = two.scratch.mkdir("copy");
    // Slow enough to be in the middle of it for some seconds.
    let arguments = args!["-a", "--bwlimit=4M", two.shown(&mount).join(""), copy.join("")];
    let restore = start("rsync", arguments);
    wait_until("rsync has begun", 20, || files_in(&copy) > 5);
    let changed = |path: &Path| path.symlink_metadata().and_then(|top| top.modified()).ok();
    let (top, shown) = (changed(&two.gone.0), changed(&two.shown(&mount)));
    assert!(top.is_some() && top == shown, "the mount shows another time of the top itself");
    let freed = two.delete();
    let there = files_in(&copy);
    assert!(there < 150, "rsync was done too early: {there} files");
    assert!(freed < UNIQUE / 2, "freed {freed} bytes in use");
    two.collect();
    finish(restore, "rsync").expect(0);
    assert_eq!(files_in(&copy), files_in(&two.gone.0));
    assert_same(&two.gone.0, &copy, Rules { blocks: false, ..Rules::ALL });
    assert!(!mount.snapshot(&two.gone.1).exists() || two.repo.ids().len() == 1);
    two.space_returns();
    two.kept_is_whole(&mount);
    mount.unmount();
}

#[test]
fn deleted_and_listed_but_never_opened_its_space_returns_at_once() {
    if !require_fuse() {
        return;
    }
    let two = Two::new();
    let mount = Mount::new(&two.repo);
    // To look at a snapshot from outside is no use either.
    let names = run_tool("ls", args!["-l", mount.point()]).text();
    assert!(names.contains(&two.gone.1), "{names}");
    let shown = mount.snapshot(&two.gone.1);
    run_tool("stat", args![&shown]);
    run_tool("getfattr", args!["-d", "-m-", &shown]);
    let freed = two.delete();
    assert!(freed >= UNIQUE, "listing the mountpoint held {} bytes back", UNIQUE - freed);
    two.kept_is_whole(&mount);
    mount.unmount();
}

/// Holds open files where no process table shows them: on their way through a
/// socket. Then reads them, past the page cache too.
const HIDDEN: &str = "
import errno, os, socket, sys
left, right = socket.socketpair()
top = sys.argv[1]
paths = sorted(os.path.join(at, name) for at, _, names in os.walk(top) for name in names)
opened = [os.open(path, os.O_RDONLY) for path in paths[:20]]
opened += [os.open(path, os.O_RDONLY | os.O_DIRECT) for path in paths[:20]]
socket.send_fds(left, [b'x'], opened)
for each in opened:
    os.close(each)
print('hidden', flush=True)
sys.stdin.readline()
_, opened, _, _ = socket.recv_fds(right, 1, 100)
for each, path in zip(opened, paths[:20] * 2):
    try:
        answer = os.read(each, 1 << 20)
        print('read', path[len(top):], answer.hex())
    except OSError as error:
        print('failed', path[len(top):], errno.errorcode[error.errno])
for path in paths[:20]:
    try:
        os.stat(path)
        print('found', path[len(top):])
    except OSError as error:
        print('failed', path[len(top):], errno.errorcode[error.errno])
";

#[test]
fn reading_after_the_lease_has_gone_gives_estale_or_enoent_and_never_wrong_bytes() {
    if !require_fuse() || !python("files open where nobody sees them") {
        return;
    }
    let two = Two::new();
    let mount = Mount::new(&two.repo);
    let mut holder = start("python3", args!["-c", HIDDEN, two.shown(&mount)]);
    let mut said = [0; 7];
    let output = holder.stdout.as_mut().expect("it is piped");
    std::io::Read::read_exact(output, &mut said).expect("it says when it is ready");
    assert_eq!(&said, b"hidden\n");
    two.delete();
    two.space_returns();
    // New data takes the place of the old.
    plain_tree(&two.scratch.join("new"), 53, 200, UNIQUE as usize / 200);
    two.repo.create(&two.scratch.join("new"));
    drop(holder.stdin.take());
    let outcome = finish(holder, "the holder of hidden files").expect(0);
    let mut gone = 0;
    for line in outcome.text().lines() {
        let fields: Vec<_> = line.split(' ').collect();
        match fields[0] {
            "read" => {
                let path = two.gone.0.join(fields[1].trim_start_matches('/'));
                let content = std::fs::read(path).expect("the source is there");
                let hex: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(hex == fields[2], "other bytes in {}", fields[1]);
            }
            "failed" => {
                assert!(["ESTALE", "ENOENT"].contains(&fields[2]), "{line}");
                gone += 1;
            }
            _ => panic!("a file of a snapshot that is gone: {line}"),
        }
    }
    assert_eq!(outcome.text().lines().count(), 60);
    assert!(gone >= 40, "only {gone} answers said that it is gone");
    two.kept_is_whole(&mount);
    mount.unmount();
}

#[test]
fn whoever_stays_in_a_snapshot_uses_it_without_reading() {
    if !require_fuse() {
        return;
    }
    let two = Two::new();
    let mount = Mount::new(&two.repo);
    let mut idler = Command::new("sleep");
    let idler = idler.arg("600").current_dir(mount.snapshot(&two.gone.1)).spawn();
    let mut idler = idler.expect("sleep starts");
    std::thread::sleep(Duration::from_secs(4));
    let freed = two.delete();
    let inside = PathBuf::from(format!("/proc/{}/cwd/.", idler.id()));
    let inside = inside.join(two.gone.0.strip_prefix("/").expect("it is absolute"));
    let same = std::panic::catch_unwind(|| assert_same(&two.gone.0, &inside, Rules::ALL));
    idler.kill().expect("it runs");
    idler.wait().expect("it can be waited for");
    same.expect("a working directory keeps what is below it");
    assert!(freed < UNIQUE / 2, "freed {freed} bytes below a working directory");
    two.space_returns();
    mount.unmount();
}

#[test]
fn what_is_bound_elsewhere_is_in_use_while_the_root_is_looked_at_all_the_time() {
    if !require_fuse() || !crate::support::need::require_root("a bind mount") {
        return;
    }
    let two = Two::new();
    let mount = Mount::new(&two.repo);
    let elsewhere = two.scratch.mkdir("elsewhere");
    run_tool("mount", args!["--bind", mount.snapshot(&two.gone.1), &elsewhere]);
    std::thread::sleep(Duration::from_secs(4));
    let mut freed = two.delete();
    let (kept, gone) = (mount.snapshot(&two.kept.1), mount.snapshot(&two.gone.1));
    // Lookups and listings of the root, when the lease is given up too: what
    // the kernel is told then waits for them, and they must not wait for it.
    let busy = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            assert!(kept.exists() && !gone.join("x").exists());
            std::fs::read_dir(mount.point()).expect("it can be listed").for_each(drop);
        }
    };
    beside(busy, || {
        std::thread::sleep(Duration::from_secs(75));
        freed += two.collect();
        let inner = elsewhere.join(two.gone.0.strip_prefix("/").expect("it is absolute"));
        let same = std::panic::catch_unwind(|| assert_same(&two.gone.0, &inner, Rules::ALL));
        run_tool("umount", args!["-l", &elsewhere]);
        same.expect("what is bound elsewhere stays");
        assert!(freed < UNIQUE / 2, "freed {freed} bytes of a bind mount");
        two.space_returns();
    });
    two.kept_is_whole(&mount);
    mount.unmount();
}
