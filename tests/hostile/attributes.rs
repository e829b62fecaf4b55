//! Attributes as many and as large as may be.

use std::fs;
use std::path::Path;

use crate::support::args;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::scratch::Scratch;

use super::forge::{Item, encoded};
use super::verbs::{Case, survives_before_writing};

/// A file with a MiB of attributes, and one with as many as have names of 64 KiB.
fn items() -> [Item; 2] {
    let large: Vec<_> = (0..15).map(|n| (format!("user.{n:02}"), vec![n; 64 << 10])).collect();
    let name = |n| format!("user.{n:0>250}");
    let many: Vec<_> = (0..256).map(|n| (name(n), vec![b'x'])).collect();
    [(b"large", large), (b"namey", many)].map(|(file, all)| {
        let body = encoded(|body| {
            body.number(all.len() as u64);
            for (name, value) in &all {
                body.bytes(name.as_bytes());
                body.bytes(value);
            }
            body.raw(&[0, 0]);
        });
        Item::raw(file, 0x20, 0o644, &body, [1, 0, 1, 0, 0, 4])
    })
}

/// What is shown of them in a mount: all.
fn are_served(top: &Path) {
    let mut buffer = vec![0; 64 << 10];
    for (file, count, bytes) in [("large", 15, 64 << 10), ("namey", 256, 1)] {
        let path = top.join(file);
        let length = rustix::fs::llistxattr(&path, &mut buffer).expect("they are listed");
        let list = buffer[..length].to_vec();
        let names: Vec<_> = list.split(|byte| *byte == 0).filter(|it| !it.is_empty()).collect();
        assert_eq!(names.len(), count, "{file}");
        for name in names {
            let length = rustix::fs::lgetxattr(&path, name, &mut buffer);
            assert_eq!(length.expect("it is served"), bytes, "{file}");
        }
    }
}

#[test]
fn the_most_attributes_are_served_and_what_a_disk_cannot_take_is_said_in_a_few_lines() {
    let build = |forge: &mut super::forge::Forge| {
        let [large, many] = items();
        Case::new(forge.of_items(&[Item::inline(b"file", b"x"), large, many]), 0)
    };
    survives_before_writing(build, |forge, case| {
        let (repo, scratch) = (&forge.repo, Scratch::new());
        if require_fuse() {
            let mount = Mount::foreground(repo);
            are_served(&mount.snapshot(&case.id));
            mount.unmount();
        }
        // What a file system takes differs: all of it, or as much as it says.
        let target = scratch.join("restored");
        let restored = repo.run(args!["restore", &case.id, &target]);
        assert!([0, 3].contains(&restored.code), "{}", restored.error());
        let lines = restored.error().lines().count();
        assert!(lines < 30, "{lines} lines: {}", restored.error());
        assert_eq!(restored.code == 3, restored.error().contains("set its attribute"));
        assert_eq!(fs::read(target.join("file")).expect("it is there"), b"x");
        // An archive holds all, and is taken back.
        let exported = scratch.mkdir("exported");
        let facts = repo.ok(args!["export", "--json", &case.id, &exported]).last_json_line();
        let archive = facts["archive"].as_str().expect("a path").to_owned();
        let imported = repo.ok(args!["import", "--json", archive]).last_json_line();
        let imported = crate::support::repo::id_of(&imported);
        if require_fuse() {
            let mount = Mount::foreground(repo);
            are_served(&mount.snapshot(&imported));
            mount.unmount();
        }
    });
}
