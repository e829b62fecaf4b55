//! Two writers at once.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::args;
use crate::support::command::{finish, run_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{directory, file};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Frozen;

/// A fixture and a `create` of a second tree in it that stands still.
fn frozen() -> (Fixture, Frozen, std::path::PathBuf) {
    let fixture = Fixture::plain();
    for round in 0..5 {
        let large = fixture.scratch.join(&format!("large-{round}"));
        plain_tree(&large, round, 100 << round, 400_000);
        if let Some(child) = fixture.repo.start_create_and_freeze(&large) {
            return (fixture, child, large);
        }
    }
    panic!("create ended five times before it could be stopped");
}

#[test]
fn a_second_writer_waits_and_then_gives_code_11_and_says_who_writes() {
    let (fixture, child, _) = frozen();
    let pid = child.pid();
    // One that would replace something, and saves that first.
    let (root, archive) = (fixture.scratch.mkdir("root"), fixture.scratch.join("a.tar"));
    run_tool("tar", args!["-c", "-f", &archive, "-C", &fixture.source, "."]);
    let replaced = root.join(fixture.source.join("directory-0").strip_prefix("/").expect("it is"));
    file(&directory(&replaced).join("file-0"), b"other");
    for command in [
        args!["restore", &fixture.id, "--in-place", &root, "--yes", "--wait", "0s"].to_vec(),
        args!["import", &archive, "--wait", "0s"].to_vec(),
        args!["create", "--wait", "1s", &fixture.source].to_vec(),
        args!["gc", "--wait", "0s"].to_vec(),
        args!["delete", "latest", "--yes", "--wait", "0s"].to_vec(),
    ] {
        let start = std::time::Instant::now();
        fixture.repo.run(&command).ends(11, &["busy", &pid, "/repo"]);
        let waited = start.elapsed().as_secs_f64();
        let least = if command.contains(&"1s".into()) { 1.0 } else { 0.0 };
        assert!((least..least + 20.0).contains(&waited), "{command:?} waited {waited} s");
    }
    assert_eq!(std::fs::read(replaced.join("file-0")).expect("it is there"), b"other");
    child.thaw(None).expect(0);
    assert_eq!(fixture.repo.ids().len(), 2);
}

#[test]
fn a_second_writer_that_waits_long_enough_does_its_work() {
    let (fixture, child, _) = frozen();
    let second = fixture.repo.start_create(&fixture.source);
    std::thread::sleep(std::time::Duration::from_millis(700));
    child.thaw(None).expect(0);
    finish(second, "the second create").expect(0);
    assert_eq!(fixture.repo.ids().len(), 3);
}

#[test]
fn readers_are_not_held_up_by_a_writer() {
    if !require_fuse() {
        return;
    }
    let (fixture, child, large) = frozen();
    assert_eq!(fixture.repo.ids(), std::slice::from_ref(&fixture.id));
    fixture.repo.ok(["show", "latest"]);
    fixture.repo.ok(["stats"]);
    let mount = Mount::new(&fixture.repo);
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    child.thaw(None).expect(0);
    let newest = fixture.repo.ids().into_iter().find(|id| *id != fixture.id);
    let newest = newest.expect("there are two");
    crate::support::wait_until("the new snapshot shows", 5, || mount.snapshot(&newest).exists());
    assert_same(&large, &mount.source(&newest, &large), Rules::ALL);
    mount.unmount();
}

#[test]
fn writers_are_not_held_up_by_a_reader_that_stands_still() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = Mount::foreground(&fixture.repo);
    let name = "directory-0/file-1";
    // Not a file of this process: every program that it starts would close a copy, ask
    // the mount about that, and wait for it as long as it stands still.
    let script = "exec 3< \"$0\" && kill -STOP $$ && exec cat <&3";
    let mut holder = Command::new("sh");
    holder.arg("-c").arg(script).arg(fixture.in_mount(&mount).join(name)).stdout(Stdio::piped());
    let holder = holder.spawn().expect("sh starts");
    let stat = format!("/proc/{}/stat", holder.id());
    let stands = || std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "));
    crate::support::wait_until("the file is open", 20, stands);
    mount.signal(Signal::STOP);
    let start = Instant::now();
    plain_tree(&fixture.scratch.join("new"), 9, 10, 20_000);
    let newest = fixture.repo.create(&fixture.scratch.join("new"));
    fixture.repo.ok(["delete", "--yes", &fixture.id]);
    let collected = fixture.repo.gc();
    let took = start.elapsed();
    mount.signal(Signal::CONT);
    assert!(took < Duration::from_secs(30), "three writers took {took:?}");
    // Its lease held all the time.
    assert_eq!(collected["leased_snapshots"], 1, "{collected}");
    let id = i32::try_from(holder.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(id, Signal::CONT).expect("it is there");
    let read = holder.wait_with_output().expect("it can be waited for");
    let expected = std::fs::read(fixture.source.join(name)).expect("it is there");
    assert!(read.status.success() && read.stdout == expected, "other bytes than before");
    crate::support::wait_until("the new snapshot shows", 5, || mount.snapshot(&newest).exists());
    mount.unmount();
}
