//! Directories that no honest program writes: names that lead out, names that come
//! twice, entries that no file system has.
//!
//! All of them lie in one snapshot, as `bad0`, `bad1` and so on beside a sound `file`, so
//! that whoever walks it meets each; and each has a snapshot of its own, for those who
//! stop at the first. They are few, so every command ends by itself, with a known code.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::support::command::run_tool;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;

use super::forge::{Forge, Item, Labels, encoded};
use super::ground::Ground;
use super::run::{Ends, bounded};
use super::verbs::{Case, survives_before_writing};

/// What the sound file holds.
const SOUND: &str = "sound";
/// Where a name would lead that is taken as it is.
const ESCAPED: &str = "/etc/icecore-escaped";
/// What is done to each directory, and to each snapshot, on its own.
const EACH: [&str; 11] = [
    "ls {id}:{bad}",
    "ls -lR {id}:{bad}",
    "tree {id}:{bad}",
    "manifest {id}:{bad}",
    "dump --archive tar {id}:{bad}",
    "dump --archive zip {id}:{bad}",
    "restore {id}:{bad} {out}",
    "restore {id}:{bad} {root} --yes --overwrite always",
    "ls -R {alone}",
    "export {alone} {out}",
    "restore {alone} {out}",
];

/// Each of these directories is damage for every command and for a mount, by itself and
/// among others, and nothing in it is shown or made.
fn each_is_damage(pages: &[Vec<Item>]) {
    let alone = RefCell::new(Vec::new());
    let build = |forge: &mut Forge| {
        let mut root = Vec::new();
        for (number, items) in pages.iter().enumerate() {
            let page = forge.directory(items);
            root.push(Item::directory(format!("bad{number}").as_bytes(), page));
            let beside = [Item::directory(b"bad", page), Item::inline(b"file", SOUND.as_bytes())];
            let top = forge.directory(&beside);
            let time = 1_500_000_000 + number as i64;
            alone.borrow_mut().push(forge.snapshot(top, &Labels { time, ..Labels::default() }));
        }
        root.push(Item::inline(b"file", SOUND.as_bytes()));
        root.sort_by_key(|item| item.name().to_vec());
        Case { walk: Some(4), ..Case::new(forge.of_items(&root), 4) }
    };
    survives_before_writing(build, |forge, case| {
        is_restored_in_part(forge, &case.id, pages.len());
        leaves_no_archive(forge, &case.id);
        is_named_by_check(forge, pages.len());
        is_no_directory_of_a_mount(forge, &case.id, pages.len());
        for (number, alone) in alone.borrow().iter().enumerate() {
            each_command_says_so(forge, &case.id, &format!("bad{number}"), alone);
        }
    });
}

fn words(line: &str, names: &[(&str, &str)]) -> Vec<OsString> {
    let fill = |word: &str| names.iter().fold(word.to_owned(), |w, (name, by)| w.replace(name, by));
    line.split(' ').map(|word| fill(word).into()).collect()
}

fn each_command_says_so(forge: &Forge, id: &str, bad: &str, alone: &str) {
    for line in EACH {
        let wants_disk = line.contains("{out}") || line.contains("{root}");
        let ground = Ground::new(wants_disk);
        if wants_disk && !ground.has_disk() {
            continue;
        }
        let (out, root) = (ground.out(), ground.root());
        let text = |path: &Path| path.to_str().expect("a text").to_owned();
        let names = [
            ("{id}", id),
            ("{bad}", bad),
            ("{alone}", alone),
            ("{out}", &text(&out)),
            ("{root}", &text(&root)),
        ];
        let words = words(line, &names);
        let measured = bounded(&forge.repo, &words, Ends::ByItself, true, &ground.path());
        assert_eq!(measured.code, 4, "{line} of {bad}: {}", measured.error());
        ground.is_untouched(line);
        let said = String::from_utf8_lossy(&measured.stdout.kept).into_owned();
        assert!(!said.contains("passwd"), "{line} shows what is in {bad}: {said}");
        if line == "restore {alone} {out}" {
            assert_eq!(fs::read_to_string(out.join("file")).expect("it is sound"), SOUND);
        }
        if line.starts_with("export") {
            assert_eq!(fs::read_dir(out).expect("it is there").count(), 0, "{line} of {bad}");
        }
    }
}

/// A restore of all goes on behind each, and makes what is sound.
fn is_restored_in_part(forge: &Forge, id: &str, count: usize) {
    let ground = Ground::new(true);
    if !ground.has_disk() {
        return;
    }
    let out = ground.out();
    let measured = bounded(
        &forge.repo,
        &["restore".into(), id.into(), out.clone().into()],
        Ends::ByItself,
        false,
        &ground.path(),
    );
    assert_eq!(measured.code, 4, "{}", measured.error());
    assert_eq!(fs::read_to_string(out.join("file")).expect("it is sound"), SOUND);
    for number in 0..count {
        let bad = format!("bad{number}");
        assert!(measured.error().contains(&bad), "{bad} is not named: {}", measured.error());
        let inner = fs::read_dir(out.join(&bad)).map_or(0, Iterator::count);
        assert_eq!(inner, 0, "something of {bad} was restored");
    }
    ground.is_untouched("restore");
    assert!(!Path::new(ESCAPED).exists());
}

/// An archive is whole or there is none.
fn leaves_no_archive(forge: &Forge, id: &str) {
    let ground = Ground::new(false);
    let out = ground.path().join("source");
    for extra in [&[][..], &["--format", "tar.zst"]] {
        let mut words: Vec<OsString> = vec!["export".into(), id.into(), out.clone().into()];
        words.extend(extra.iter().map(OsString::from));
        let measured = bounded(&forge.repo, &words, Ends::ByItself, false, &ground.path());
        assert_eq!(measured.code, 4, "{}", measured.error());
    }
    ground.is_untouched("export");
    // What is sound beside them can be had.
    let file = ground.path().join("file.tar");
    let words = ["dump", "--archive", "tar"].map(OsString::from).into_iter();
    let words = words.chain([format!("{id}:file").into(), "--output".into(), file.clone().into()]);
    let words: Vec<_> = words.collect();
    let measured = bounded(&forge.repo, &words, Ends::ByItself, true, &ground.path());
    assert_eq!(measured.code, 0, "{}", measured.error());
    let content = run_tool("tar", ["-xOf".as_ref(), file.as_os_str(), "file".as_ref()]);
    assert_eq!(content.text(), SOUND);
}

fn is_named_by_check(forge: &Forge, count: usize) {
    let report = forge.repo.run(["check"]).expect(4);
    let told = report.text() + &report.error();
    for number in 0..count {
        assert!(told.contains(&format!("bad{number}")), "bad{number} is not named: {told}");
    }
}

/// In a mount each gives EIO as a whole, and what is beside it is served.
fn is_no_directory_of_a_mount(forge: &Forge, id: &str, count: usize) {
    if !require_fuse() {
        return;
    }
    let mount = Mount::foreground(&forge.repo);
    let top = mount.snapshot(id);
    assert_eq!(fs::read_to_string(top.join("file")).expect("it is sound"), SOUND);
    assert_eq!(fs::read_dir(&top).expect("the root is sound").count(), count + 1);
    for number in 0..count {
        let bad = top.join(format!("bad{number}"));
        let listed: Result<Vec<_>, _> = fs::read_dir(&bad).and_then(Iterator::collect);
        let error = listed.expect_err("nothing is listed").raw_os_error();
        assert_eq!(error, Some(rustix::io::Errno::IO.raw_os_error()), "bad{number}");
        for name in ["a", "b", "x", "s", "k", "m"] {
            let met = fs::symlink_metadata(bad.join(name)).expect_err("nothing is found");
            assert_eq!(met.raw_os_error(), error, "bad{number}/{name}");
        }
    }
    mount.unmount();
}

#[test]
fn names_that_no_directory_can_hold_are_damage_and_lead_nowhere() {
    let long = vec![b'x'; 256];
    let names: [&[u8]; 12] = [
        b".",
        b"..",
        b"",
        b"a/b",
        ESCAPED.as_bytes(),
        b"../../etc/passwd",
        b"../../../victim/passwd",
        b"/proc/self/cwd/victim/passwd",
        b"a\0b",
        b"passwd/",
        b"/",
        &long,
    ];
    let pages: Vec<_> = names.iter().map(|name| vec![Item::inline(name, b"passwd")]).collect();
    each_is_damage(&pages);
}

#[test]
fn names_that_come_twice_or_out_of_order_are_damage() {
    let out = || Item::symlink(b"a", b"../../../victim");
    let unsorted = vec![Item::inline(b"b", b"passwd"), Item::inline(b"a", b"passwd")];
    let twice = vec![out(), Item::inline(b"a", b"passwd")];
    let again = vec![Item::inline(b"a", b"passwd"), out()];
    // A symlink that leads out, and behind it a directory of the same name.
    let tree = super::forge::Tree { id: [9; 32], totals: [1, 0, 1, 0, 6, 0] };
    let below = vec![out(), Item::directory(b"a", tree)];
    let behind = vec![out(), Item::inline(b"a/passwd", b"passwd")];
    each_is_damage(&[unsorted, twice, again, below, behind]);
}

#[test]
fn impossible_symlinks_attributes_and_kinds_are_damage() {
    let attributes = |all: &[(&[u8], &[u8])]| {
        let body = encoded(|body| {
            body.number(all.len() as u64);
            for (name, value) in all {
                body.bytes(name);
                body.bytes(value);
            }
            body.raw(&[0, 0]);
        });
        vec![Item::raw(b"x", 0x20, 0o644, &body, [1, 0, 1, 0, 0, 4])]
    };
    let plain = [1, 0, 1, 0, 0, 0];
    let largest = vec![0; 64 << 10];
    let names: Vec<Vec<u8>> = (0..17).map(|n| format!("user.{n:02}").into_bytes()).collect();
    let more_than_a_mebibyte: Vec<(&[u8], &[u8])> =
        names.iter().map(|name| (name.as_slice(), largest.as_slice())).collect();
    // One more than names of 64 KiB.
    let long: Vec<Vec<u8>> = (0..257).map(|n| format!("user.{n:0>250}").into_bytes()).collect();
    let more_than_linux_lists: Vec<(&[u8], &[u8])> =
        long.iter().map(|name| (name.as_slice(), b"".as_slice())).collect();
    each_is_damage(&[
        vec![Item::symlink(b"s", b"")],
        vec![Item::symlink(b"s", b"a\0b")],
        vec![Item::symlink(b"s", &[b'/'; 4096])],
        vec![Item::raw(b"k", 7, 0o644, &[], plain)],
        vec![Item::raw(b"m", 0, 0o10_0000, &[0, 0], plain)],
        attributes(&[]),
        attributes(&[(b"", b"x")]),
        attributes(&[(b"user.a\0b", b"x")]),
        attributes(&[(&[b'n'; 256], b"x")]),
        attributes(&[(b"user.big", &[0; 65_537])]),
        attributes(&[(b"user.b", b"x"), (b"user.a", b"x")]),
        attributes(&more_than_a_mebibyte),
        attributes(&more_than_linux_lists),
    ]);
}
