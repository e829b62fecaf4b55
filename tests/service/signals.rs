//! What signals do to a mount.

use std::io::Read as _;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, stat, utimensat};
use rustix::process::Signal;

use crate::support::command::run_tool;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::mount::{Mount, is_mounted};
use crate::support::need::require_fuse;
use crate::support::{args, wait_until};

#[test]
fn sighup_opens_the_log_again_and_the_mount_goes_on() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let (log, rotated) = (fixture.scratch.join("log"), fixture.scratch.join("log.1"));
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut mount = Mount::foreground_with(&fixture.repo, |command| {
        command.arg("--log-file").arg(&log);
    });
    mount.signal(Signal::HUP);
    wait_until("it says so", 10, || read(&log).contains("Refreshed; 1 snapshot"));
    std::fs::rename(&log, &rotated).expect("it can be renamed");
    let before = read(&rotated);
    mount.signal(Signal::HUP);
    wait_until("the log is there again", 10, || read(&log).contains("Refreshed"));
    assert_eq!(read(&rotated), before, "the old log was written to");
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::QUICK);
    // The signals before count for nothing: this one ends it in peace.
    assert_eq!(mount.end_by(Signal::TERM), 0, "{}", mount.log());
    assert!(!is_mounted(mount.point()));
}

#[test]
fn a_log_that_cannot_be_opened_again_goes_on_where_it_was() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let directory = fixture.scratch.mkdir("logs");
    let (log, elsewhere) = (directory.join("log"), fixture.scratch.join("elsewhere"));
    let mount = Mount::foreground_with(&fixture.repo, |command| {
        command.arg("--log-file").arg(&log);
    });
    std::fs::rename(&directory, &elsewhere).expect("it can be renamed");
    std::fs::write(&directory, "no directory").expect("it can be written");
    mount.signal(Signal::HUP);
    let told = || std::fs::read_to_string(elsewhere.join("log")).unwrap_or_default();
    wait_until("it goes on", 10, || told().contains("Refreshed"));
    assert!(told().contains("Cannot open"), "{}", told());
    mount.unmount();
}

#[test]
fn sighup_shows_what_the_directory_of_the_store_does_not_tell() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = Mount::foreground(&fixture.repo);
    let count = || {
        let entries = std::fs::read_dir(mount.point()).expect("it can be listed");
        entries.flatten().filter(|entry| entry.file_name().len() == 64).count()
    };
    let store = fixture.repo.path().join("db");
    // Old enough to be believed.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(), 1);
    let seen = stat(&store).expect("it is there");
    fixture.repo.create(&fixture.source);
    let time = Timespec { tv_sec: seen.st_mtime, tv_nsec: seen.st_mtime_nsec as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, &store, &times, AtFlags::empty()).expect("its time can be set");
    assert_eq!(count(), 1, "it was looked for without being asked");
    mount.signal(Signal::HUP);
    wait_until("it shows", 10, || count() == 2);
    mount.unmount();
}

#[test]
fn a_mount_in_the_background_survives_hangups_and_ends_on_sigterm() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let pid = run_tool("getfattr", args!["--only-values", "-n", "user.icecore.pid", mount.point()]);
    for by in ["-HUP", "-HUP", "-HUP"] {
        run_tool("kill", args![by, pid.text()]);
        assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::QUICK);
    }
    run_tool("kill", args!["-TERM", pid.text()]);
    wait_until("it ends", 10, || !is_mounted(mount.point()));
}

#[test]
fn sigterm_detaches_a_mount_in_use_and_serves_its_last_user_to_the_end() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        file(&source.join("file"), &[7; 3_000_000]);
    });
    let mut mount = Mount::foreground(&fixture.repo);
    let mut file = std::fs::File::open(fixture.in_mount(&mount).join("file")).expect("it opens");
    mount.signal(Signal::TERM);
    wait_until("it is detached", 10, || !is_mounted(mount.point()));
    let mut content = Vec::new();
    file.read_to_end(&mut content).expect("it can still be read");
    assert!(content == [7; 3_000_000], "other bytes");
    assert!(mount.is_running(), "it ended before its user");
    drop(file);
    assert_eq!(mount.end(), 0, "{}", mount.log());
}
