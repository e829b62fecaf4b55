//! The control directory of a mount.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::command::{run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::plain_command;
use crate::support::scratch::Scratch;
use crate::support::{args, wait_until};

fn control(mount: &Mount<'_>, name: &str) -> PathBuf {
    mount.point().join(".icecore").join(name)
}

#[track_caller]
fn stats(mount: &Mount<'_>) -> Value {
    let text = fs::read(control(mount, "stats.json")).expect("there are statistics");
    serde_json::from_slice(&text).expect("they are JSON")
}

/// A field of an item of a list that is named.
#[track_caller]
fn of(stats: &Value, list: &str, name: &str, field: &str) -> u64 {
    let items = stats[list].as_array().unwrap_or_else(|| panic!("no {list} in {stats}"));
    let item = items.iter().find(|item| item["name"] == name);
    item.and_then(|item| item[field].as_u64()).unwrap_or_else(|| panic!("no {name} in {stats}"))
}

fn counts(stats: &Value) -> [u64; 5] {
    let bytes = ["bytes_read", "bytes_decompressed"].map(|field| stats[field].as_u64().unwrap());
    let chunks = ["hits", "misses"].map(|field| of(stats, "caches", "chunks", field));
    [bytes[0], bytes[1], chunks[0], chunks[1], of(stats, "requests", "read", "count")]
}

#[test]
fn it_is_found_and_not_listed_and_no_tool_walks_into_it() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let point = mount.point();
    assert!(!run_tool("ls", args!["-A", point]).text().contains("icecore"));
    assert_eq!(run_tool("find", args![point, "-name", ".icecore*"]).text(), "");
    let none = fixture.scratch.mkdir("none");
    let told = run_tool("rsync", args!["-an", "--out-format=%n", point.join(""), none]).text();
    assert!(told.contains(&fixture.id) && !told.contains(".icecore"), "{told}");
    let inside = run_tool("ls", args!["-A", point.join(".icecore")]).text();
    let names: Vec<_> = inside.lines().collect();
    assert_eq!(names, ["errors", "errors.json", "snapshots", "stats", "stats.json"]);
    let links = |path: &Path| path.metadata().expect("it is there").nlink();
    assert_eq!((links(point), links(&control(&mount, ""))), (2 + 7, 3));
    for name in ["none", "snapshots/none.json", "snapshots/none"] {
        assert!(!control(&mount, name).exists(), "{name}");
    }
    assert!(!control(&mount, &format!("snapshots/{}", fixture.id)).exists());
    let touched = fs::write(control(&mount, "stats"), "x").map_err(|error| error.raw_os_error());
    assert_eq!(touched, Err(Some(rustix::io::Errno::ROFS.raw_os_error())));
    mount.unmount();
}

/// Reads a file in several ways that must agree on where it ends.
const READ: &str = "
import mmap, os, sys
path = sys.argv[1]
with open(path, 'rb') as file:
    size = os.fstat(file.fileno()).st_size
    first = file.read()
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    assert len(first) == size > 0 and mapped[:] == first, (len(first), size)
    os.listdir(os.path.dirname(path))
    assert os.pread(file.fileno(), size + 9, 0) == first, 'an open file changed'
    assert os.pread(file.fileno(), 9, size) == b''
assert os.stat(path).st_ino == os.stat(path).st_ino
assert open(path, 'rb').read() != first, 'nothing happened since'
";

#[test]
fn each_look_tells_new_numbers_and_one_look_never_changes_under_its_reader() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    for name in ["stats", "stats.json"] {
        let path = control(&mount, name);
        let looks = [0, 1].map(|_| run_tool("cat", args![&path]).text());
        assert_ne!(looks[0], looks[1], "{name} stands still");
        if Path::new("/usr/bin/python3").exists() {
            run_tool("python3", args!["-c", READ, &path]);
        }
        let copy = fixture.scratch.join(name);
        run_tool("cp", args![&path, &copy]);
        assert!(copy.metadata().expect("it was copied").len() > 500);
        let tail = run_tool("tail", args!["-n", "1", &path]).text();
        assert_eq!(tail.lines().count(), 1, "{tail}");
    }
    let text = fs::read_to_string(control(&mount, "stats")).expect("it can be read");
    for word in ["serving since", "lookup", "p99", "chunks", "decompressed", "other errors"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert_eq!(fs::read(control(&mount, "errors")).expect("it can be read"), b"");
    mount.unmount();
}

#[test]
fn what_is_read_is_counted_once_and_what_is_read_again_costs_no_miss() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let content = fixture.in_mount(&mount).join("directory-1/file-11");
    let bytes = content.metadata().expect("it is there").len();
    let before = counts(&stats(&mount));
    assert_eq!(fs::read(&content).expect("it can be read").len() as u64, bytes);
    let after = counts(&stats(&mount));
    // The statistics are read by messages too.
    let read = after[0] - before[0];
    assert!(read >= bytes && read < bytes + 10_000, "{before:?} {after:?}");
    assert_eq!(after[1] - before[1], bytes, "{before:?} {after:?}");
    assert!(after[3] - before[3] >= 1 && after[4] > before[4], "{before:?} {after:?}");
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    let walked = stats(&mount);
    assert_eq!(walked["leased_snapshots"], 1);
    for kind in ["lookup", "getattr", "read", "readdirplus"] {
        let [mean, median, p99] =
            ["mean_ns", "p50_ns", "p99_ns"].map(|field| of(&walked, "requests", kind, field));
        assert!(mean > 0 && median > 0 && p99 >= median && p99 < 60_000_000_000, "{walked}");
    }
    mount.unmount();
}

#[test]
fn each_snapshot_is_described_as_show_does_and_new_ones_are_at_once() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    fs::write(fixture.source.join("new"), "new").expect("it can be written");
    let newer = fixture.repo.create(&fixture.source);
    let mut listed: Vec<_> = fs::read_dir(control(&mount, "snapshots"))
        .expect("it can be listed")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
        .collect();
    let mut expected = [&fixture.id, &newer].map(|id| format!("{id}.json"));
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    for id in [&fixture.id, &newer] {
        let shown = fixture.repo.ok(["show", "--json", id]).text();
        let path = control(&mount, &format!("snapshots/{id}.json"));
        assert_eq!(fs::read_to_string(path).expect("it can be read"), shown);
    }
    fixture.repo.ok(["delete", &newer, "--yes"]);
    assert!(!control(&mount, &format!("snapshots/{newer}.json")).exists());
    mount.unmount();
}

#[test]
fn damage_is_told_with_its_path_snapshot_kind_and_id() {
    if !require_fuse() {
        return;
    }
    let (fixture, chunk) = crate::failure::damaged();
    let mount = Mount::foreground(&fixture.repo);
    let name = crate::failure::VICTIM;
    let path = fixture.in_mount(&mount).join(name);
    for _ in 0..2 {
        fs::read(&path).expect_err("it is damaged");
    }
    let text = fs::read(control(&mount, "errors.json")).expect("it can be read");
    let errors: Value = serde_json::from_slice(&text).expect("it is JSON");
    let [error] = errors.as_array().expect("a list").as_slice() else {
        panic!("one file is damaged: {errors}")
    };
    let below = path.strip_prefix(mount.point()).expect("it is in the mount");
    assert_eq!(error["path"], format!("/{}", below.display()));
    assert_eq!(error["snapshot"], fixture.id.as_str());
    assert_eq!((&error["kind"], &error["id"]), (&"chunk".into(), &chunk.into()));
    assert!(error["count"].as_u64() >= Some(2), "{error}");
    let told = fs::read_to_string(control(&mount, "errors")).expect("it can be read");
    assert!(told.lines().count() == 1 && told.contains(name), "{told}");
    assert!(stats(&mount)["failures"]["damage"].as_u64() >= Some(2));
    mount.unmount();
}

#[test]
fn in_a_mount_for_everybody_it_is_for_the_owner_and_root_alone() {
    if !require_fuse() || !require_root("another user") {
        return;
    }
    let fixture = Fixture::plain();
    let mount = Mount::with(&fixture.repo, &["--allow-other"]);
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "cat"];
    for name in ["stats", "errors", "snapshots/x.json"] {
        let mut command: Vec<std::ffi::OsString> = user.map(Into::into).into();
        command.push(control(&mount, name).into());
        let outcome = try_tool("setpriv", command);
        assert!(outcome.code != 0 && outcome.error().contains("Permission denied"), "{name}");
    }
    assert_eq!(control(&mount, "").metadata().expect("it is there").mode() & 0o7777, 0o700);
    mount.unmount();
}

#[test]
fn a_mount_of_one_directory_shows_what_was_saved_under_its_name() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let own = crate::support::generate::directory(&source.join(".icecore")).join("stats");
        crate::support::generate::file(&own, b"saved");
    });
    let scratch = Scratch::new();
    let point = scratch.mkdir("mnt");
    let inner = fixture.source.strip_prefix("/").expect("it is absolute").display();
    let source = format!("{}:latest/{inner}", fixture.repo.path().display());
    let mut command = plain_command();
    crate::support::command::run(command.args(args!["mount", source, &point])).expect(0);
    let read = fs::read(point.join(".icecore/stats"));
    fixture.repo.ok(args!["umount", &point]);
    assert_eq!(read.expect("it can be read"), b"saved");
}

#[test]
fn a_mount_that_is_asked_all_the_time_forgets_what_it_said() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mut mount = Mount::foreground(&fixture.repo);
    for _ in 0..3_000 {
        fs::read(control(&mount, "stats")).expect("it can be read");
    }
    wait_until("the kernel forgets", 10, || stats(&mount)["nodes"].as_u64() < Some(100));
    assert_eq!(mount.end_by(Signal::TERM), 0);
}
