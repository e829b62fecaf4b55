//! What is sent and loaded before it is asked for, and what is forgotten again.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::args;
use crate::support::command::run_tool;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::rng::Rng;
use crate::support::wait_until;

const FILES: usize = 400;

/// What the mount counted, by a path in its statistics.
fn count(mount: &Mount<'_>, pointer: &str) -> u64 {
    let text = fs::read(mount.point().join(".icecore/stats.json")).expect("statistics");
    let stats: Value = serde_json::from_slice(&text).expect("they are JSON");
    if let Some(value) = stats.pointer(pointer).and_then(Value::as_u64) {
        return value;
    }
    let requests = stats["requests"].as_array().expect("requests are counted");
    let request = requests.iter().find(|request| request["name"] == pointer);
    request.and_then(|request| request["count"].as_u64()).expect("it is counted")
}

/// Four hundred small files of random bytes in one directory.
fn many_files() -> Fixture {
    Fixture::built(|source| {
        let (inner, mut rng) = (source.join("inner"), Rng::new(5));
        directory(&inner);
        for index in 0..FILES {
            file(&inner.join(format!("file-{index:03}")), &rng.bytes(300 + index * 7));
        }
    })
}

#[test]
fn files_read_one_after_the_other_need_few_requests_and_hold_what_they_should() {
    if !require_fuse() {
        return;
    }
    let fixture = many_files();
    // In the order of the listing, and in that of the inode numbers.
    for tool in ["tar", "cp"] {
        let mount = fixture.mount();
        let shown = fixture.in_mount(&mount).join("inner");
        let copy = fixture.scratch.mkdir(tool);
        match tool {
            "tar" => {
                let archive = fixture.scratch.join("archive.tar");
                run_tool("tar", args!["--format=pax", "-cf", &archive, "-C", &shown, "."]);
                run_tool("tar", args!["-xpf", &archive, "-C", &copy]);
            }
            _ => drop(run_tool("cp", args!["-a", shown.join("."), &copy])),
        }
        let reads = count(&mount, "read");
        assert!(reads < FILES as u64 / 2, "{tool}: {reads} reads of {FILES} files");
        assert_same(&fixture.source.join("inner"), &copy, Rules::ALL);
        mount.unmount();
    }
}

#[test]
fn files_read_in_any_order_by_many_at_once_hold_what_they_should() {
    if !require_fuse() {
        return;
    }
    let fixture = many_files();
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount).join("inner");
    let source = fixture.source.join("inner");
    run_tool("ls", args!["-l", &shown]);
    std::thread::scope(|scope| {
        for reader in 0..4_usize {
            let (shown, source) = (&shown, &source);
            scope.spawn(move || {
                for step in 0..FILES {
                    // Forwards, backwards, here and there, and every third one.
                    let index = match reader {
                        0 => step,
                        1 => FILES - 1 - step,
                        2 => step * 173 % FILES,
                        _ => step * 3 % FILES,
                    };
                    let name = format!("file-{index:03}");
                    let read = |top: &Path| fs::read(top.join(&name)).expect("it can be read");
                    assert!(read(shown) == read(source), "{name}");
                }
            });
        }
    });
    mount.unmount();
}

#[test]
fn one_file_of_many_brings_no_others_with_it() {
    if !require_fuse() {
        return;
    }
    let fixture = many_files();
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount).join("inner");
    fs::read(shown.join("file-200")).expect("it can be read");
    assert_eq!(count(&mount, "/bytes_decompressed"), 300 + 200 * 7);
    mount.unmount();
}

#[test]
fn a_walk_of_more_files_than_may_be_remembered_ends_with_fewer_and_disturbs_nobody() {
    if !require_fuse() {
        return;
    }
    const DIRECTORIES: usize = 30;
    const EACH: usize = 1000;
    let fixture = Fixture::built(|source| {
        for outer in 0..DIRECTORIES {
            let inner = source.join(format!("directory-{outer}"));
            directory(&inner);
            (0..EACH).for_each(|index| file(&inner.join(format!("{index}")), b"x"));
        }
    });
    let mount = Mount::with(&fixture.repo, &["--cache-size", "1M"]);
    let shown = fixture.in_mount(&mount);
    // Those in use stay: an open file, and a directory somebody works in.
    let opened = fs::File::open(shown.join("directory-0/0")).expect("it opens");
    let mut sleeper = std::process::Command::new("sleep")
        .arg("60")
        .current_dir(shown.join("directory-1"))
        .spawn()
        .expect("sleep starts");
    for _ in 0..2 {
        let found = run_tool("find", args![&shown, "-type", "f"]).text().lines().count();
        assert_eq!(found, DIRECTORIES * EACH);
        wait_until("no more than 20,000 nodes are known", 20, || count(&mount, "/nodes") <= 20_000);
    }
    assert_eq!(std::io::read_to_string(opened).expect("it can be read"), "x");
    let place = fs::read_link(format!("/proc/{}/cwd", sleeper.id())).expect("it has a place");
    assert_eq!(place, shown.join("directory-1"));
    sleeper.kill().expect("it is ended");
    sleeper.wait().expect("it has ended");
    assert_same(&fixture.source, &shown, Rules::ALL);
    mount.unmount();
}
