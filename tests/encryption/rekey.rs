//! A new master key: the commands of `docs/encryption.md`, run as they stand there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Locked;
use crate::support::command::{icecore, run};
use crate::support::compare::{Rules, assert_same};
use crate::support::mount::{detach, is_mounted};
use crate::support::need::require_fuse;
use crate::support::tree::{Shape, generate};

/// The script of the document, with places of the test in those that are its reader's.
fn script(locked: &Locked) -> String {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/encryption.md");
    let text = fs::read_to_string(text).unwrap();
    let (_, behind) = text.split_once("## A new master key").unwrap();
    let (_, script) = behind.split_once("```sh\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let place = |name: &str| locked.place(name).display().to_string();
    let mut script = script.to_owned();
    for (theirs, ours) in [
        ("icecore -r /srv/old", format!("{} -r {}", icecore(), place("repo"))),
        ("icecore -r /srv/new", format!("{} -r {}", icecore(), place("new"))),
        ("/etc/old.password", place("first")),
        ("/etc/new.password", place("third")),
        ("/dev/shm/rekey", place("work")),
        ("/srv/old-log", place("log")),
    ] {
        assert_eq!(script.matches(theirs).count(), 1, "{theirs} in {script}");
        script = script.replace(theirs, &ours);
    }
    script
}

/// What a copy must tell of its snapshots as the original does.
fn facts(locked: &Locked, repo: &str, password: &str) -> Vec<Value> {
    let mut command = locked.command(&["list", "--json", "--password-file", password]);
    let listed = run(command.arg("-r").arg(locked.place(repo))).expect(0).json();
    let mut listed = listed.as_array().unwrap().clone();
    for snapshot in &mut listed {
        let facts = snapshot.as_object_mut().unwrap();
        // Named by the key, or of what came with it. Sockets stay behind.
        for field in ["id", "short_id", "root", "parent", "files", "added_bytes", "stored_bytes"] {
            assert!(facts.remove(field).is_some(), "{field}");
        }
    }
    listed
}

#[test]
fn the_documented_commands_copy_trees_times_tags_and_pins_under_a_new_key() {
    if !require_fuse() || run(Command::new("jq").arg("--version")).code != 0 {
        return eprintln!("SKIPPED: there is no FUSE or no jq");
    }
    let locked = Locked::new();
    locked.file("third", b"third\n");
    let tree = locked.place("source/tree");
    generate(&tree, 7, Shape::SMALL);
    let day = |day: u32| format!("2026-03-0{day}T04:05:06.000000007Z");
    let options = ["--host", "db", "--exclude", "*.log", "--description", "two words"];
    let first = locked.create(&[&options[..], &["--time", &day(1), "--tag", "a"]].concat());
    locked.file("source/plans", b"changed");
    locked.create(&["--time", &day(2), "--tag", "a", "--tag", "b c"]);
    let third = locked.create(&["--time", &day(3)]);
    locked.run("first", &["tag", "--pin", "--until", "2099-01-01", &first]).expect(0);
    locked.run("first", &["tag", "--pin", &third]).expect(0);

    let mut shell = Command::new("sh");
    let said = run(shell.args(["-c", &script(&locked)])).expect(0).text();
    assert!(said.ends_with("All 3 snapshots are in the new repository\n"), "{said}");
    assert!(!locked.place("work").exists(), "nothing is left in the clear");
    assert!(fs::read_dir(locked.place("log")).unwrap().count() == 2, "the log was kept");
    let (old, new) = (facts(&locked, "repo", "first"), facts(&locked, "new", "third"));
    assert_eq!(old, new);
    assert_eq!(old.len(), 3);

    let key = |repo: &str, password: &str| {
        let mut export = locked.command(&["key", "export", "-q", "--password-file", password]);
        run(export.arg("-r").arg(locked.place(repo))).expect(0).text()
    };
    assert_ne!(key("repo", "first"), key("new", "third"), "the master key is a new one");
    let points = [("repo", "first"), ("new", "third")].map(|(repo, password)| {
        let point = locked.place(&format!("mnt-{repo}"));
        fs::create_dir(&point).unwrap();
        let mut mount = locked.command(&["mount", "--password-file", password]);
        run(mount.arg("-r").arg(locked.place(repo)).arg(&point)).expect(0);
        point
    });
    let compared = std::panic::catch_unwind(|| {
        for name in ["latest", "at/2026-03-02T12:00:00Z", "at/2026-03-01T12:00:00Z"] {
            let [old, new] = points.each_ref().map(|point| point.join(name).join("source"));
            assert_same(&old, &new, Rules { sockets: false, ..Rules::ALL });
        }
    });
    for point in points.iter().filter(|point| is_mounted(point)) {
        detach(point);
    }
    compared.unwrap();
}

/// A program before `icecore` that fails once, at the second run of one of its commands,
/// and prints nothing then, as on a full disk.
fn failing(locked: &Locked, verb: &str, signal: &str) -> String {
    let text = format!(
        "#!/bin/sh\n\
         case \" $* \" in *\" {verb} \"*)\n\
             echo >>{count}\n\
             if [ $(wc -l <{count}) = 2 ]; then {signal} exit 1; fi;;\n\
         esac\n\
         exec {icecore} \"$@\"\n",
        count = locked.place(&format!("count-{verb}")).display(),
        icecore = icecore(),
    );
    let name = format!("failing-{verb}");
    locked.file(&name, text.as_bytes());
    let path = locked.place(&name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn whatever_fails_or_interrupts_ends_them_with_an_error_and_leaves_nothing_in_the_clear() {
    if run(Command::new("jq").arg("--version")).code != 0 {
        return eprintln!("SKIPPED: there is no jq");
    }
    for (repo, verb, signal) in [
        ("new", "import", ""),
        ("new", "import", "kill -TERM $PPID;"),
        ("old", "export", ""),
        ("old", "show", ""),
        ("old", "list", ""),
        ("new", "check", ""),
    ] {
        let locked = Locked::new();
        locked.file("third", b"third\n");
        for day in 1..=3 {
            locked.create(&["--time", &format!("2026-03-0{day}T04:05:06Z")]);
        }
        if verb == "check" {
            // It runs only once.
            locked.file("count-check", b"\n");
        }
        let program = failing(&locked, verb, signal);
        let place = locked.place(if repo == "old" { "repo" } else { "new" });
        let theirs = format!("{} -r {} ", icecore(), place.display());
        let script = script(&locked);
        assert_eq!(script.matches(&theirs).count(), 1, "{script}");
        let script = script.replace(&theirs, &format!("{program} -r {} ", place.display()));
        let mut shell = Command::new("sh");
        let outcome = run(shell.args(["-c", &script]));
        assert_ne!(outcome.code, 0, "{verb}: {}{}", outcome.text(), outcome.error());
        assert!(!outcome.text().contains("All "), "{verb}: {}", outcome.text());
        assert!(!locked.place("work").exists(), "{verb} left an archive in the clear");
    }
}
