//! What whoever reads the files of an encrypted repository learns: no content, no
//! name, no path, no tag, and no id of a known file.

use std::fs;
use std::path::{Path, PathBuf};

use super::Locked;
use crate::support::args;
use crate::support::command::{run, run_tool};
use crate::support::generate::file;
use crate::support::need::{is_root, require_fuse, require_root};
use crate::support::repo::plain_command;

/// All bytes of a repository, file by file.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut work = vec![root.to_owned()];
    while let Some(directory) = work.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                work.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found
}

fn holding(root: &Path, secret: &[u8]) -> Vec<PathBuf> {
    let is_in = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    files(root).into_iter().filter(|(_, bytes)| is_in(bytes)).map(|(path, _)| path).collect()
}

/// What every command that writes into a repository leaves behind.
fn live(locked: &Locked, password: &[&str]) {
    let run = |words: &[&str]| {
        let mut command = locked.command(words);
        run(command.args(password))
    };
    run(&["create", "source", "--tag", "operation-overlord", "--description", "very secret"])
        .expect(0);
    run(&["tag", "latest", "--add", "codeword-mulberry"]).expect(0);
    file(&locked.place("source/codename-utah"), &[7; 5000]);
    run(&["create", "source"]).expect(0);
    run(&["cat", "latest:source/plans"]).expect(0);
    run(&["cat", "latest:no-such-thing-as-juno"]).expect(1);
    run(&["delete", "latest", "--yes"]).expect(0);
    run(&["undelete", "--all"]).expect(0);
    run(&["check", "--read-data"]).expect(0);
    // A restore in place leaves a record of paths, owners and attributes.
    let plans = locked.place("source/plans");
    run_tool("setfattr", args!["-n", "user.bigot", "-v", "neptune", locked.place("source")]);
    file(&plans, b"changed");
    run(&["restore", "latest:source", "source", "--in-place", "--yes"]).expect(0);
    run(&["restore", "--undo", "-n"]).expect(0);
    run(&["restore", "--undo", "--yes"]).expect(0);
    assert_eq!(fs::read(&plans).unwrap(), b"changed");
    file(&plans, &"attack at dawn ".repeat(1000).into_bytes());
    run(&["restore", "latest:source", "source", "--in-place", "--yes"]).expect(0);
    fs::create_dir_all(locked.place("out")).unwrap();
    run(&["export", "latest", "out", "--name", "codename-utah"]).expect(0);
    run(&["export", "--event-log", "out"]).expect(0);
    for archive in fs::read_dir(locked.place("out")).unwrap() {
        let archive = archive.unwrap().path();
        if archive.extension().is_some_and(|extension| extension == "gz") {
            run(&["import", archive.to_str().unwrap(), "--tag", "operation-overlord"]).expect(0);
        }
    }
    fs::remove_dir_all(locked.place("out")).unwrap();
    if require_fuse() {
        fs::create_dir_all(locked.place("mnt")).unwrap();
        run(&["mount", "mnt"]).expect(0);
        assert!(fs::read(locked.place("mnt/latest/no-such-thing-as-juno")).is_err());
        run_tool("find", [locked.place("mnt/latest/")]);
        run(&["umount", "mnt"]).expect(0);
    }
    run(&["diff", "latest~1", "latest"]);
    run(&["find", "plans"]).expect(0);
    run(&["prune", "--keep-last", "2", "--yes"]).expect(0);
    run(&["gc", "--max-unused", "0"]).expect(0);
    run(&["repair", "--yes"]).expect(0);
    run(&["log", "verify"]).expect(0);
}

const SECRETS: [&str; 10] = [
    "attack at dawn",
    "operation-overlord",
    "codeword-mulberry",
    "codename-utah",
    "very secret",
    "plans",
    "juno",
    "bigot",
    "neptune",
    "first",
];

#[test]
fn no_content_name_path_tag_or_password_is_in_any_file() {
    let locked = Locked::new();
    live(&locked, &["--password-file", "first"]);
    for secret in SECRETS {
        assert_eq!(holding(&locked.repo(), secret.as_bytes()), [] as [PathBuf; 0], "{secret}");
    }
    let sha256 = crate::support::command::run_tool("sha256sum", [locked.place("source/plans")]);
    let sha256 = sha256.text()[..64].to_owned();
    let bytes: Vec<u8> =
        (0..32).map(|n| u8::from_str_radix(&sha256[2 * n..2 * n + 2], 16).unwrap()).collect();
    assert_eq!(holding(&locked.repo(), &bytes), [] as [PathBuf; 0]);
    // What is in the clear would be found: the canary is a plain repository.
    fs::remove_dir_all(locked.repo()).unwrap();
    run(&mut locked.command(&["init"])).expect(0);
    live(&locked, &[]);
    for secret in SECRETS.iter().filter(|secret| **secret != "first") {
        assert_ne!(holding(&locked.repo(), secret.as_bytes()), [] as [PathBuf; 0], "{secret}");
    }
    assert_ne!(holding(&locked.repo(), &bytes), [] as [PathBuf; 0]);
}

#[test]
fn two_repositories_name_the_same_file_differently_and_both_know_its_sha256() {
    let ids = [Locked::new(), Locked::new()].map(|locked| {
        locked.create(&[]);
        let words = ["ls", "--json", "latest:source"];
        let facts = locked.run("first", &words).expect(0).text();
        let digest = crate::support::command::run_tool("sha256sum", [locked.place("source/plans")]);
        assert!(facts.contains(&digest.text()[..64]), "{facts}");
        locked.run("first", &["show", "--json"]).expect(0).json()["root"].clone()
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_mount_in_the_background_shows_no_secret_in_its_arguments_or_environment() {
    if !require_fuse() {
        return;
    }
    let locked = Locked::new();
    locked.create(&[]);
    let point = locked.place("mnt");
    fs::create_dir(&point).unwrap();
    let mut command = locked.command(&["mount"]);
    run(command.arg(&point).env("ICECORE_PASSWORD", "first")).expect(0);
    let shown = fs::read_to_string(point.join("latest/source/plans"));
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let place = point.to_str().unwrap().as_bytes();
        if line.windows(place.len()).any(|window| window == place) && line.starts_with(b"icecore") {
            seen += 1;
            // Nobody but root reads that of a process that holds a key.
            let environment = match require_root("reading the environment of a mount") {
                true => fs::read(entry.path().join("environ")).unwrap(),
                false => Vec::new(),
            };
            assert_eq!(environment.is_empty(), !is_root());
            for secret in [&b"first"[..], b"ICECORE_PASSWORD"] {
                let is_in = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret);
                assert!(!is_in(&line) && !is_in(&environment));
            }
        }
    }
    let mut umount = plain_command();
    run(umount.arg("umount").arg(&point)).expect(0);
    assert_eq!(seen, 1, "the serving process is found");
    assert_eq!(shown.unwrap(), "attack at dawn ".repeat(1000));
}
