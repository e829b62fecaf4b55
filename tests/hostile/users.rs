//! A mount that other users may enter: the permissions of the original hold for
//! each of them, whoever was there before, and nothing in it gains a privilege.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::support::args;
use crate::support::command::{Outcome, run_tool, try_tool};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mode, xattr};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};

/// Two users who own nothing.
const NOBODY: &str = "65534";
const SOMEBODY: &str = "65533";

/// Runs a tool as another user.
fn as_user(user: &str, words: impl IntoIterator<Item = OsString>) -> Outcome {
    let identity = args!["--reuid", user, "--regid", user, "--clear-groups", "--"];
    try_tool("setpriv", identity.into_iter().chain(words))
}

fn may_run() -> bool {
    require_fuse() && require_root("acting as another user")
}

/// Files and directories that each of the two users may or may not read, and
/// whether they may.
fn guarded_tree(top: &Path) {
    directory(top);
    for (name, bits) in [("open", 0o644), ("closed", 0o600), ("granted", 0o600), ("denied", 0o644)]
    {
        file(&top.join(name), name.as_bytes());
        mode(&top.join(name), bits);
    }
    let inner = top.join("closed-directory");
    directory(&inner);
    file(&inner.join("file"), b"inner");
    mode(&inner, 0o700);
    let entered = top.join("granted-directory");
    directory(&entered);
    file(&entered.join("file"), b"entered");
    mode(&entered, 0o700);
    for (rule, name) in [
        (format!("user:{NOBODY}:r"), "granted"),
        (format!("user:{NOBODY}:---"), "denied"),
        (format!("user:{NOBODY}:rx"), "granted-directory"),
    ] {
        run_tool("setfacl", args!["-m", rule, top.join(name)]);
    }
}

const READABLE: [(&str, bool, bool); 6] = [
    ("open", true, true),
    ("closed", false, false),
    ("granted", true, false),
    ("denied", false, true),
    ("closed-directory/file", false, false),
    ("granted-directory/file", true, false),
];

#[test]
fn modes_and_acls_hold_for_every_user_also_in_a_cache_that_others_have_warmed() {
    if !may_run() {
        return;
    }
    let fixture = Fixture::built(guarded_tree);
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let top = fixture.in_mount(&mount);
    let expect = |user: &str, name: &str, may: bool| {
        let outcome = as_user(user, args!["cat", top.join(name)]);
        if may {
            outcome.expect(0);
        } else {
            outcome.fails(1, &["permission denied"]);
        }
    };
    // Cold; then when root has read everything; then when both have tried.
    for round in 0..3 {
        for (name, nobody, somebody) in READABLE {
            expect(NOBODY, name, nobody);
            expect(SOMEBODY, name, somebody);
        }
        as_user(SOMEBODY, args!["ls", top.join("closed-directory")])
            .fails(2, &["permission denied"]);
        as_user(NOBODY, args!["ls", top.join("granted-directory")]).expect(0);
        if round == 0 {
            run_tool("grep", args!["-r", "-c", "", &top]);
        }
    }
    mount.unmount();
}

#[test]
fn set_user_id_and_capabilities_gain_nothing_in_a_mount() {
    if !may_run() {
        return;
    }
    // CAP_DAC_OVERRIDE, effective, as the kernel keeps it. No more than that: a
    // container may lack others, and then the kernel refuses to run the program.
    let overrides = [[1, 0, 0, 2], [2, 0, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
    let fixture = Fixture::built(|source| {
        directory(source);
        for (name, bits) in [("id", 0o6755), ("cat", 0o755)] {
            let program = format!("/usr/bin/{name}");
            fs::copy(program, source.join(name)).expect("it can be copied");
            mode(&source.join(name), bits);
        }
        xattr(&source.join("cat"), "security.capability", &overrides);
    });
    let secret = fixture.scratch.join("secret");
    fs::write(&secret, "secret").expect("it can be written");
    mode(&secret, 0o600);
    // The test can fail: outside of a mount both programs gain all.
    let gained = as_user(NOBODY, args![fixture.source.join("id")]).expect(0).text();
    assert!(gained.contains("euid=0"), "{gained}");
    as_user(NOBODY, args![fixture.source.join("cat"), &secret]).expect(0);

    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let top = fixture.in_mount(&mount);
    let same = as_user(NOBODY, args![top.join("id")]).expect(0).text();
    assert!(same.contains("uid=65534") && !same.contains("euid"), "{same}");
    as_user(NOBODY, args![top.join("cat"), &secret]).fails(1, &["permission denied"]);
    mount.unmount();
}

#[test]
fn devices_in_a_mount_lead_to_no_device() {
    if !may_run() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        let (null, bits) = (makedev(1, 3), Mode::from_raw_mode(0o666));
        let made = mknodat(CWD, source.join("null"), FileType::CharacterDevice, bits, null);
        made.expect("a device can be made");
    });
    assert!(fs::File::open(fixture.source.join("null")).is_ok());
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let device = fixture.in_mount(&mount).join("null");
    let opened = fs::File::open(&device).map(drop).map_err(|error| error.kind());
    assert_eq!(opened, Err(std::io::ErrorKind::PermissionDenied));
    as_user(NOBODY, args!["cat", &device]).fails(1, &["permission denied"]);
    mount.unmount();
}

/// The names of the attributes that somebody is told of.
fn listed(user: &str, path: &Path) -> Vec<String> {
    let told = as_user(user, args!["getfattr", "--absolute-names", "-m", "-", path]).expect(0);
    let text = told.text();
    let mut names: Vec<_> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    names.sort_unstable();
    names.into_iter().map(str::to_owned).collect()
}

/// Whether somebody is told the value of an attribute.
fn is_told(user: &str, path: &Path, name: &str) -> bool {
    as_user(user, args!["getfattr", "--absolute-names", "-n", name, path]).code == 0
}

#[test]
fn attributes_of_security_and_trusted_are_shown_to_root_alone() {
    if !may_run() {
        return;
    }
    let names = ["security.icecore", "trusted.icecore", "user.icecore-test"];
    let fixture = Fixture::built(|source| {
        directory(source);
        file(&source.join("file"), b"x");
        names.iter().for_each(|name| xattr(&source.join("file"), name, b"value"));
    });
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let path = fixture.in_mount(&mount).join("file");
    for _ in ["cold", "warm"] {
        assert_eq!(listed("0", &path), names);
        assert_eq!(listed(NOBODY, &path), ["user.icecore-test"]);
        for (name, told) in names.into_iter().zip([false, false, true]) {
            assert!(is_told("0", &path, name), "{name}");
            assert_eq!(is_told(NOBODY, &path, name), told, "{name}");
        }
    }
    mount.unmount();
}

#[test]
fn the_id_of_a_tree_confirms_to_nobody_else_what_is_in_files_that_are_closed_to_him() {
    if !may_run() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let inner = source.join("inner");
        directory(&inner);
        file(&inner.join("pin"), b"0000");
        mode(&inner.join("pin"), 0o600);
    });
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let top = fixture.in_mount(&mount);
    for path in [&top, &top.join("inner"), &mount.snapshot(&fixture.id)] {
        for _ in ["cold", "warm"] {
            assert!(is_told("0", path, "user.icecore.tree"), "{path:?}");
            assert!(!is_told(NOBODY, path, "user.icecore.tree"), "{path:?}");
        }
    }
    mount.unmount();
}

/// Opens a file by its handle: as root, and then as another user. Prints the names of
/// the errors.
const BY_HANDLE: &str = r#"
import ctypes, errno, os, sys
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
system = ctypes.CDLL(None, use_errno=True)
path, user = sys.argv[1], int(sys.argv[2])
handle, mount = Handle(128), ctypes.c_int()
places = ctypes.byref(handle), ctypes.byref(mount)
assert system.name_to_handle_at(-100, path.encode(), *places, 0) == 0
top = os.open(os.path.dirname(path), os.O_RDONLY)
def told():
    file = system.open_by_handle_at(top, ctypes.byref(handle), os.O_RDONLY)
    return os.read(file, 99).decode() if file >= 0 else errno.errorcode[ctypes.get_errno()]
print(told())
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
print(told())
"#;

#[test]
fn a_handle_of_a_file_opens_it_for_root_alone() {
    if !may_run() {
        return;
    }
    let fixture = Fixture::built(guarded_tree);
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    for name in ["open", "closed", "closed-directory/file"] {
        let told =
            |top: &Path| run_tool("python3", args!["-c", BY_HANDLE, top.join(name), NOBODY]).text();
        let told_here = told(&fixture.in_mount(&mount));
        assert_eq!(told_here, told(&fixture.source), "{name}");
        assert!(told_here.ends_with("\nEPERM\n") && told_here.len() > 8, "{told_here}");
    }
    mount.unmount();
}

/// What a process has open.
fn open_files(pid: u32) -> Vec<PathBuf> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there");
    links.flatten().filter_map(|link| fs::read_link(link.path()).ok()).collect()
}

#[test]
fn no_request_makes_a_mount_open_anything_outside_of_its_repository() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        file(&source.join("file"), b"x");
        std::os::unix::fs::symlink("/etc/passwd", source.join("away")).expect("a symlink");
    });
    let mount = Mount::foreground(&fixture.repo);
    let before = open_files(mount.pid());
    for view in ["", "at", "by-time", "by-tag", "by-host", "versions", "changes"] {
        for name in ["etc", "passwd", "%2Fetc%2Fpasswd", "..%2F..%2Fetc", "~root", "@/etc", "\\"] {
            let path = mount.point().join(view).join(name);
            let found = fs::symlink_metadata(&path);
            assert!(found.is_err() || view == "versions", "{path:?} is there");
            let _text = fs::read(&path);
        }
    }
    let _target = fs::read_link(fixture.in_mount(&mount).join("away"));
    let repository = fixture.repo.path();
    for path in open_files(mount.pid()) {
        let is_own = path.starts_with(repository) || before.contains(&path);
        let is_no_file = !path.as_os_str().as_bytes().starts_with(b"/") || path.starts_with("/dev");
        assert!(is_own || is_no_file, "the mount opened {path:?}");
    }
    mount.unmount();
}
