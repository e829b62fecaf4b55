//! Processes that append at once, that are killed, that meet a full disk; and
//! what was tampered with.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::Signal;
use serde_json::json;

use super::{events, proof, read, segment, types};
use crate::support::args;
use crate::support::command::finish;
use crate::support::fixture::Fixture;
use crate::support::need::require_root;
use crate::support::repo::{Repo, signal};
use crate::support::rng::Rng;

/// Rounds of kill -9.
const ROUNDS: u64 = 60;

/// Starts to read a file of the newest snapshot.
fn start_read(fixture: &Fixture) -> Child {
    let mut named = std::ffi::OsString::from("latest:");
    named.push(fixture.source.join("directory-0/file-1"));
    let mut command = fixture.repo.command(args!["cat", named]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("icecore starts")
}

#[test]
fn twenty_processes_at_once_make_one_chain_that_lacks_none_of_them() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    let mut children: Vec<_> = (0..17).map(|_| start_read(&fixture)).collect();
    children.extend((0..3).map(|_| repo.start_create(&fixture.source)));
    let pids: Vec<_> = children.iter().map(Child::id).collect();
    for child in children {
        let outcome = finish(child, "one of twenty").expect(0);
        assert!(!outcome.error().contains("audit"), "{}", outcome.error());
    }
    let found = events(repo);
    assert_eq!((found.len(), proof(repo)["events"].as_u64()), (22, Some(22)));
    for pid in pids {
        assert_eq!(found.iter().filter(|event| event["actor"]["pid"] == pid).count(), 1);
    }
    assert_eq!(types(repo).iter().filter(|kind| *kind == "snapshot.created").count(), 4);
}

#[test]
fn kill_9_at_any_moment_of_an_append_breaks_no_chain() {
    let mut rng = Rng::printed("moments");
    let fixture = Fixture::plain();
    let start = std::time::Instant::now();
    finish(start_read(&fixture), "cat").expect(0);
    // Follows the machine's pace, so that about half of them are killed, around
    // the moment at which they append.
    let mut span = start.elapsed().as_nanos() as u64;
    let mut killed = 0;
    for round in 0..ROUNDS {
        let children: Vec<_> = (0..3).map(|_| start_read(&fixture)).collect();
        std::thread::sleep(Duration::from_nanos(span / 2 + rng.below(span)));
        children.iter().for_each(|child| signal(child, Signal::KILL));
        let ends = children.into_iter().map(|child| finish(child, "cat").code);
        let dead = ends.filter(|code| *code == 137).count() as u64;
        killed += dead;
        span = if dead < 2 { span * 3 / 4 } else { span * 5 / 4 };
        if round % 10 == 9 {
            proof(&fixture.repo);
        }
    }
    let ended = 3 * ROUNDS - killed;
    assert!(killed > ROUNDS / 2 && ended > ROUNDS / 4, "{killed} were killed, {ended} ended");
    read(&fixture.repo, &fixture.source.join("directory-0/file-1")).expect(0);
    let proof = proof(&fixture.repo);
    assert_eq!(proof["events"].as_u64(), Some(events(&fixture.repo).len() as u64));
}

#[test]
fn a_line_cut_off_by_a_crash_is_mentioned_and_the_chain_goes_on() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    let path = segment(repo, 1);
    let whole = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, &whole[..whole.len() - 100]).expect("it can be written");
    let before = repo.ok(["log", "verify"]);
    assert!(before.text().contains("cut off while it was written; the next"), "{}", before.text());
    assert_eq!(repo.create(&fixture.source).len(), 64);
    let after = proof(repo);
    assert_eq!((&after["events"], &after["torn"][0]["declared"]), (&json!(2), &json!(true)));
    assert_eq!(after["torn"][0]["line"], 2);
    let shown = repo.ok(["log"]);
    assert!(shown.error().contains("1 line is no event"), "{}", shown.error());
}

struct Full(std::path::PathBuf);

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_costs_events_and_one_warning_each_but_no_command_and_no_chain() {
    if !require_root("mounting a small disk") {
        return;
    }
    let fixture = Fixture::plain();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let point = repo.path().join("log");
    std::fs::remove_dir_all(&point).expect("it is there");
    std::fs::create_dir(&point).expect("it can be made");
    let made = mount("icecore-test", &point, "tmpfs", MountFlags::empty(), c"size=16k");
    made.expect("a tmpfs can be mounted");
    let full = Full(point);
    let file = source.join("directory-0/file-1");
    let expected = std::fs::read(&file).expect("it is there");
    let mut lost = 0;
    for _ in 0..40 {
        let outcome = read(repo, &file).expect(0);
        assert!(outcome.stdout == expected);
        lost += u64::from(!outcome.error().is_empty());
        if !outcome.error().is_empty() {
            outcome.fails(0, &["audit log lacks", "no space"]);
        }
    }
    assert!(lost > 5, "the disk was never full");
    repo.run(args!["create", source]).fails(0, &["audit log lacks", "no space"]);
    let few = proof(repo)["events"].as_u64().expect("a number");
    assert_eq!(few, 40 - lost);
    mount_remount(&full.0, MountFlags::empty(), c"size=1m").expect("it can grow");
    assert_eq!(read(repo, &file).expect(0).error(), "");
    assert_eq!(proof(repo)["events"], few + 1);
}

/// A change of the lines of a segment.
type Tampering = fn(&mut Vec<String>);

#[test]
fn what_was_tampered_with_is_named_by_segment_line_and_event() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    for _ in 0..4 {
        repo.gc();
    }
    let head = proof(repo)["head"].as_str().expect("a text").to_owned();
    let path = segment(repo, 1);
    let whole = std::fs::read_to_string(&path).expect("it is there");
    let cases: [(&str, Tampering, u64, &str); 4] = [
        ("edited", |lines| lines[2] = lines[2].replace("\"uid\":", "\"uid\":1"), 3, "was changed"),
        ("swapped", |lines| lines.swap(3, 4), 4, "event 5 is there"),
        ("removed", |lines| drop(lines.remove(1)), 2, "event 3 is there"),
        ("garbage", |lines| lines[4] = "garbage".to_owned(), 5, "hash"),
    ];
    for (what, tamper, line, detail) in cases {
        let mut lines: Vec<_> = whole.lines().map(str::to_owned).collect();
        tamper(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").expect("it can be written");
        let outcome = repo.run(["log", "verify", "--json"]).expect(4);
        let found = outcome.json();
        let broken = &found["broken"];
        assert_eq!((&found["valid"], &broken["line"]), (&json!(false), &json!(line)), "{what}");
        assert_eq!(broken["sequence"], line, "{what}");
        assert_eq!(broken["segment"], "segment-000001.json", "{what}");
        outcome.fails(4, &["segment-000001.json", &format!("line {line}"), detail]);
    }
    let lines: Vec<_> = whole.lines().collect();
    std::fs::write(&path, lines[..5].join("\n") + "\n").expect("it can be written");
    proof(repo);
    repo.run(["log", "verify", "--quiet", "--head", &head]).fails(4, &[&head, "cut off"]);
    let earlier = serde_json::from_str::<serde_json::Value>(lines[4]).expect("an event");
    let earlier = earlier["hash"].as_str().expect("a text");
    let shown = repo.ok(["log", "verify", "--head", earlier]).text();
    assert!(shown.contains("nothing was cut off"), "{shown}");
    repo.run(["log", "verify", "--head", "12ab"]).expect(2);
}

#[test]
fn a_segment_that_is_missing_is_named() {
    let fixture = Fixture::plain();
    let repo: &Repo = &fixture.repo;
    for number in 1..=2 {
        let sealed = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(segment(repo, number), sealed).expect("it can be protected");
        repo.gc();
    }
    assert_eq!(proof(repo)["segments"], 3);
    std::fs::remove_file(segment(repo, 2)).expect("it is there");
    let words = ["event 3", "segment-000002.json is missing"];
    repo.run(["log", "verify", "--quiet"]).fails(4, &words);
}
