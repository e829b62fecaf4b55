//! Other file systems on top of the mount.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::support::args;
use crate::support::command::{run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::file;
use crate::support::need::{require_fuse, require_root};
use crate::support::scratch::Scratch;
use crate::support::tree::Shape;

/// A file system mounted for a test.
struct Stacked(std::path::PathBuf);

impl Drop for Stacked {
    fn drop(&mut self) {
        let _gone = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Mounts an overlay; nothing if the kernel has none.
fn overlay(scratch: &Scratch, lower: &[&Path]) -> Option<Stacked> {
    let point = scratch.mkdir("merged");
    let lower: Vec<_> = lower.iter().map(|path| path.to_str().expect("a text")).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        scratch.mkdir("upper").display(),
        scratch.mkdir("work").display()
    );
    let options = std::ffi::CString::new(options).expect("no NUL");
    match rustix::mount::mount("overlay", &point, "overlay", MountFlags::empty(), &*options) {
        Ok(()) => Some(Stacked(point)),
        Err(rustix::io::Errno::NODEV) => {
            eprintln!("SKIPPED: the kernel has no overlayfs");
            None
        }
        Err(error) => panic!("overlay of {lower:?}: {error}"),
    }
}

#[test]
fn as_the_lower_layer_of_an_overlay_a_snapshot_can_be_changed_on_top() {
    if !require_fuse() || !require_root("mounting an overlay") {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let Some(merged) = overlay(&fixture.scratch, &[&shown]) else { return };
    let top = &merged.0;
    // Overlays give directories their own link counts, and no holes.
    let plain = ["contents", "names", "modes", "acls", "attributes"];
    for inner in plain {
        let options = ["-aAXn", "--checksum", "--itemize-changes", "--delete"];
        let mut command = args![fixture.source.join(inner).join(""), top.join(inner).join("")];
        let mut all = options.map(Into::into).to_vec();
        all.append(&mut command.as_mut_slice().to_vec());
        assert_eq!(run_tool("rsync", all).text(), "", "{inner}");
    }
    // Copied up with their attributes, then changed.
    let path = top.join("attributes/text");
    let attributes = |path: &Path| {
        let script = "getfattr --dump --match=- --absolute-names \"$1\" | grep -v '^# file'";
        run_tool("bash", args!["-c", script, "bash", path]).text()
    };
    let before = attributes(&path);
    let content = std::fs::read(&path).expect("it can be read");
    let appended = [&content[..], b" and more"].concat();
    file(&path, &appended);
    assert_eq!(attributes(&path), before);
    assert!(before.contains("user.text"), "{before}");
    std::fs::rename(top.join("contents/random-1"), top.join("contents/renamed")).expect("renamed");
    std::fs::remove_dir_all(top.join("names")).expect("it can be removed");
    std::fs::create_dir(top.join("names")).expect("it can be made anew");
    assert_eq!(std::fs::read_dir(top.join("names")).expect("it is empty").count(), 0);
    assert_eq!(std::fs::read(&path).expect("it can be read"), appended);
    drop(merged);
    assert_same(&fixture.source, &shown, Rules::ALL);
    mount.unmount();
}

#[test]
fn two_snapshots_stacked_as_layers_show_the_upper_one_first() {
    if !require_fuse() || !require_root("mounting an overlay") {
        return;
    }
    let fixture = Fixture::plain();
    std::fs::remove_file(fixture.source.join("directory-0/file-1")).expect("it is there");
    file(&fixture.source.join("directory-0/file-2"), b"of the second");
    let second = fixture.repo.create(&fixture.source);
    let mount = fixture.mount();
    let layers = [mount.source(&second, &fixture.source), fixture.in_mount(&mount)];
    let Some(merged) = overlay(&fixture.scratch, &[&layers[0], &layers[1]]) else { return };
    let read = |name: &str| std::fs::read(merged.0.join("directory-0").join(name));
    assert_eq!(read("file-2").expect("it is there"), b"of the second");
    let first = std::fs::read(layers[1].join("directory-0/file-1")).expect("the first has it");
    assert!(read("file-1").expect("it shows through") == first);
    drop(merged);
    mount.unmount();
}

#[test]
fn an_nfs_export_of_the_mount_shows_the_source() {
    if !require_fuse() || !require_root("an NFS export") {
        return;
    }
    let threads = std::fs::read_to_string("/proc/fs/nfsd/threads").unwrap_or_default();
    if threads.trim().parse::<u32>().unwrap_or(0) == 0 {
        return eprintln!("SKIPPED an NFS export: no kernel NFS server runs here");
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let export = format!("127.0.0.1:{}", mount.point().display());
    let options = "ro,fsid=4242,no_root_squash,no_subtree_check";
    run_tool("exportfs", ["-o", options, &export]);
    let point = fixture.scratch.mkdir("nfs");
    let mounted = try_tool("mount", args!["-t", "nfs", "-o", "ro,vers=4", &export, &point]);
    let inner = fixture.in_mount(&mount);
    let inner = inner.strip_prefix(mount.point()).expect("it is in the mount");
    let equal = try_tool("diff", args!["-r", &fixture.source, point.join(inner)]);
    let _gone = rustix::mount::unmount(&point, UnmountFlags::DETACH);
    run_tool("exportfs", ["-u", &export]);
    mounted.expect(0);
    assert_eq!((equal.code, equal.text()), (0, String::new()));
    mount.unmount();
}
