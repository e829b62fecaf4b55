//! `import --to`: the same guarantees as those of `restore`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use rustix::fs::FileType;

use super::path_in;
use crate::support::command::{finish, icecore, run_tool};
use crate::support::compare::assert_same;
use crate::support::fixture::plain_tree;
use crate::support::generate::{directory, file, mode, owner, special, xattr};
use crate::support::need::require_root;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::{args, beside};

const NOBODY: u32 = 65534;

/// Packs a directory with GNU tar.
fn tar(source: &Path, archive: &Path) {
    let keep = ["--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"];
    let mut command = args!["-c", "-f", archive, "-C", source].to_vec();
    command.extend(keep.map(Into::into));
    command.push(".".into());
    run_tool("tar", command);
}

/// A directory elsewhere that nothing may be written to.
fn elsewhere(scratch: &Scratch) -> PathBuf {
    let outside = scratch.mkdir("outside");
    file(&outside.join("victim"), b"untouched");
    outside
}

fn is_untouched(outside: &Path) -> bool {
    let names = fs::read_dir(outside).expect("it is there").flatten().count();
    names == 1 && fs::read(outside.join("victim")).ok().as_deref() == Some(b"untouched")
}

fn import(archive: &Path, to: &Path) -> Vec<OsString> {
    args!["import", archive, "--to", to].to_vec()
}

#[test]
fn a_symlink_in_the_directorys_place_is_moved_or_meant_and_what_it_leads_to_is_kept() {
    let scratch = Scratch::new();
    let (source, archive) = (scratch.join("source"), scratch.join("a.tar"));
    plain_tree(&source, 1, 3, 100);
    tar(&source, &archive);
    let repo = Repo::missing();
    let outside = elsewhere(&scratch);
    // One that leads to a directory means that one, which is moved aside.
    let to = scratch.join("to");
    symlink(&outside, &to).expect("a symlink can be made");
    repo.run(import(&archive, &to)).fails(14, &["not empty"]);
    assert!(is_untouched(&outside));
    let mut yes = import(&archive, &to);
    yes.extend(args!["--yes", "--json"]);
    let facts = repo.ok(&yes).last_json_line();
    assert!(is_untouched(&path_in(&facts, "moved_aside")));
    assert!(to.is_symlink());
    run_tool("diff", args!["-r", &source, &outside]);
    // One that leads nowhere is in the way itself.
    let to = scratch.join("dangling");
    let nowhere = scratch.join("nowhere");
    symlink(&nowhere, &to).expect("a symlink can be made");
    repo.run(import(&archive, &to)).fails(14, &["dangling"]);
    let mut yes = import(&archive, &to);
    yes.push("--yes".into());
    repo.ok(&yes);
    assert!(!to.is_symlink() && !nowhere.exists());
    run_tool("diff", args!["-r", &source, &to]);
}

#[test]
fn a_process_that_swaps_what_is_being_unpacked_leads_nothing_outside() {
    let scratch = Scratch::new();
    let (source, archive) = (scratch.join("source"), scratch.join("a.tar"));
    plain_tree(&source, 2, 400, 3_000);
    tar(&source, &archive);
    let outside = elsewhere(&scratch);
    let repo = Repo::missing();
    let mut failed = 0;
    for round in 0..12 {
        let inner = scratch.mkdir(&format!("inner-{round}"));
        let partial = || {
            let names = fs::read_dir(&inner).into_iter().flatten().flatten();
            names.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains(".to."))
        };
        let racing = |stop: &std::sync::atomic::AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                let Some(partial) = partial() else { continue };
                for index in 0..40 {
                    let at = partial.join(format!("directory-{index}"));
                    let aside = partial.join(format!("aside-{index}"));
                    let _ = fs::rename(&at, &aside);
                    let _ = symlink(&outside, &at);
                    let _ = fs::remove_file(&at);
                    let _ = fs::rename(&aside, &at);
                }
            }
        };
        let code = beside(racing, || repo.run(import(&archive, &inner.join("to"))).code);
        assert!([0, 1].contains(&code), "{code}");
        failed += code;
        assert!(is_untouched(&outside), "round {round}");
    }
    eprintln!("{failed} of 12 were raced");
    let to = scratch.join("whole");
    repo.ok(import(&archive, &to));
    run_tool("diff", args!["-r", &source, &to]);
}

#[test]
fn a_default_acl_of_the_directory_above_is_not_inherited() {
    let scratch = Scratch::new();
    let (source, archive) = (scratch.join("source"), scratch.join("a.tar"));
    plain_tree(&source, 3, 12, 100);
    tar(&source, &archive);
    let above = scratch.mkdir("above");
    run_tool("setfacl", args!["-m", "d:u:12345:rwx,d:o::rwx", &above]);
    let to = above.join("to");
    Repo::missing().ok(import(&archive, &to));
    assert_same(&source, &to, super::UNPACKED);
}

#[test]
fn without_root_devices_are_named_and_no_setuid_bit_stands_for_somebody_else() {
    if !require_root("devices, and becoming another user") {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    special(&source.join("device"), FileType::CharacterDevice, (1, 3));
    for (name, bits, of) in [("foreign", 0o6755, 0), ("own", 0o6711, NOBODY)] {
        file(&source.join(name), b"#!/bin/true\n");
        owner(&source.join(name), of, of);
        mode(&source.join(name), bits);
    }
    xattr(&source.join("own"), "user.kept", b"1");
    let (archive, home) = (scratch.join("a.tar"), scratch.mkdir("home"));
    tar(&source, &archive);
    let program = scratch.join("program");
    fs::copy(icecore(), &program).expect("the program can be copied");
    run_tool("chown", args!["65534:65534", &home]);
    let mut command = Command::new(&program);
    command.args(import(&archive, &home.join("to"))).current_dir(&home).env("HOME", &home);
    command.uid(NOBODY).gid(NOBODY).stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome = finish(command.spawn().expect("it starts"), "import by nobody").expect(3);
    let said = outcome.error();
    assert!(said.contains("device: cannot make the device"), "{said}");
    assert!(said.contains("foreign: cannot keep its setuid or setgid bit"), "{said}");
    assert!(!said.contains("own: "), "{said}");
    let status = |name: &str| fs::metadata(home.join("to").join(name)).expect("it is there");
    assert_eq!((status("foreign").mode() & 0o7777, status("foreign").uid()), (0o755, NOBODY));
    assert_eq!(status("own").mode() & 0o7777, 0o6711);
    assert!(!home.join("to/device").exists());
}

#[test]
fn directories_that_their_owner_may_not_write_to_are_filled_all_the_same() {
    let scratch = Scratch::new();
    let (source, archive) = (scratch.join("source"), scratch.join("a.tar"));
    file(&directory(&source.join("closed/in")).join("file"), b"x");
    for name in ["closed/in", "closed", "."] {
        mode(&source.join(name), 0o555);
    }
    tar(&source, &archive);
    let to = scratch.join("to");
    Repo::missing().ok(import(&archive, &to));
    assert_same(&source, &to, super::UNPACKED);
    for top in [&source, &to] {
        run_tool("chmod", args!["-R", "u+w", top]);
    }
}
