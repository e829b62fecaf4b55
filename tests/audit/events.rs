//! What each command leaves in the log, and how it is shown.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::{events, proof, read, segment, types};
use crate::support::command::{code_of, finish, wait};
use crate::support::encrypt::encrypts;
use crate::support::fixture::Fixture;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, signal};
use crate::support::{args, wait_until};

#[test]
fn every_command_that_changes_or_reads_out_a_repository_is_in_the_log() {
    let fixture = Fixture::plain();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let file = source.join("directory-0/file-1");
    read(repo, &file).expect(0);
    repo.ok(args!["create", "--dry-run", source]);
    repo.ok(["gc", "--dry-run"]);
    for looking in ["list", "show", "ls", "stats"] {
        repo.ok([looking]);
    }
    let second = repo.create(source);
    repo.ok(["delete", "--yes", &fixture.id]);
    repo.gc();
    repo.run(["delete", "latest"]).fails(14, &["--yes"]);
    repo.run(args!["create", source.join("missing")]).fails(1, &["nothing to save"]);
    repo.run(["create"]).expect(2);
    repo.run(["init"]).fails(1, &["already"]);
    let expected = [
        "repository.created",
        "snapshot.created",
        "snapshot.read",
        "snapshot.created",
        "snapshot.deleted",
        "garbage.collected",
        "operation.failed",
    ];
    assert_eq!(types(repo), expected);
    let found = events(repo);
    assert_eq!(found[1]["subject"]["snapshots"], json!([fixture.id]));
    assert_eq!(found[1]["subject"]["paths"], json!([source]));
    assert_eq!(found[1]["payload"]["files"], 30);
    assert_eq!(found[2]["payload"]["bytes"], 20_000);
    assert_eq!(found[3]["subject"]["snapshots"], json!([second]));
    assert_eq!(found[4]["subject"]["snapshots"], json!([fixture.id]));
    assert_eq!(found[6]["payload"]["operation"], "create");
    assert_eq!(found[6]["payload"]["exit_code"], 1);
    let actor = &found[1]["actor"];
    assert_eq!(actor["uid"], rustix::process::geteuid().as_raw());
    assert!(actor["pid"].as_u64().expect("a number") > 1, "{actor}");
    assert!(actor["program"].as_str().expect("a text").starts_with("icecore "), "{actor}");
    let proof = proof(repo);
    assert_eq!((&proof["events"], &proof["from_creation"]), (&json!(7), &json!(true)));
    assert_eq!(proof["head"], found[6]["hash"]);
}

#[test]
fn what_a_restore_in_place_saves_before_is_in_the_log_with_its_target_and_code() {
    let fixture = Fixture::plain();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let file = source.join("directory-0/file-1");
    std::fs::write(&file, "edited").expect("it can be written");
    repo.ok(args!["restore", &fixture.id, "--in-place", "--yes"]);
    assert_eq!(types(repo)[2..], ["snapshot.created", "snapshot.restored"]);
    let saved = &events(repo)[2];
    let ids = repo.ids();
    let rollback = ids.iter().find(|id| **id != fixture.id).expect("there are two");
    assert_eq!(saved["subject"]["snapshots"], json!([rollback]));
    assert_eq!(saved["subject"]["paths"].as_array().map(Vec::len), Some(1), "{saved}");
    assert_eq!(saved["payload"]["exit_code"], 0, "{saved}");
    assert!(saved["payload"]["duration_ms"].is_u64(), "{saved}");
}

#[test]
fn partial_busy_and_interrupted_runs_are_in_the_log_with_their_codes() {
    let fixture = Fixture::plain();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let missing = source.join("missing");
    repo.run(args!["create", source, &missing]).expect(3);
    let wide = fixture.scratch.join("wide");
    crate::support::fixture::plain_tree(&wide, 9, 200, 50_000);
    if let Some(frozen) = repo.start_create_and_freeze(&wide) {
        repo.run(args!["create", "--wait", "0", source]).expect(11);
        frozen.thaw(Some(Signal::TERM)).expect(143);
    }
    let codes: Vec<_> =
        events(repo).iter().skip(2).map(|event| event["payload"]["exit_code"].clone()).collect();
    assert_eq!(codes, [3, 11, 143]);
    assert_eq!(types(repo)[2..], ["snapshot.created", "operation.failed", "operation.failed"]);
}

#[test]
fn a_mount_is_in_the_log_when_it_serves_and_when_it_has_ended() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    let mount = Mount::new(repo);
    assert_eq!(types(repo).last().map(String::as_str), Some("snapshot.mounted"));
    let point = mount.point().to_owned();
    mount.unmount();
    let found = events(repo);
    assert_eq!(types(repo)[2..], ["snapshot.mounted", "snapshot.unmounted"]);
    assert_eq!(found[2]["subject"]["paths"], json!([point]));
    assert_eq!(found[2]["actor"]["pid"], found[3]["actor"]["pid"]);
    // In use, it could not be mounted at all.
    repo.run(args!["mount", repo.path()]).expect(14);
    let mut single = Mount::foreground_with(repo, |command| {
        command.args(["--only", "latest"]);
    });
    wait_until("it is logged", 10, || types(repo).len() == 5);
    assert_eq!(events(repo)[4]["subject"]["snapshots"], json!([fixture.id]));
    single.signal(Signal::TERM);
    assert_eq!(single.end(), 0);
    assert_eq!(types(repo)[5], "snapshot.unmounted");
    proof(repo);
}

#[test]
fn the_log_is_shown_as_a_table_filtered_limited_and_reversed() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    let second = repo.create(&fixture.source);
    repo.ok(["delete", "--yes", &fixture.id]);
    let shown = |arguments: &[&str]| {
        let outcome = repo.ok([&["log"], arguments].concat());
        let text = outcome.text();
        let number = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        text.lines().skip(1).map(number).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&[]), "1 2 3 4");
    assert_eq!(shown(&["--reverse", "-n", "2"]), "4 3");
    assert_eq!(shown(&["--type", "snapshot.*", "--limit", "2"]), "3 4");
    assert_eq!(shown(&["--type", "backup.snapshot.deleted"]), "4");
    // Deleted ones are found by their digits, others by any name.
    assert_eq!(shown(&["--snapshot", &fixture.id[..9]]), "2 4");
    assert_eq!(shown(&["--snapshot", "latest"]), "3");
    assert_eq!(shown(&["--since", "today", "--until", "now"]), "1 2 3 4");
    assert_eq!(shown(&["--until", "1h"]), "");
    let table = repo.ok(["log"]).text();
    assert!(table.contains(&second[..12]) && !table.contains(&second[..13]), "{table}");
    repo.run(["log", "--since", "soon"]).fails(2, &["is no time"]);
    repo.run(["log", "--snapshot", "nightly"]).fails(1, &["nightly"]);
    repo.run(["log", "--type"]).expect(2);
    let json = repo.ok(["log", "--json"]).text();
    let lines = std::fs::read_to_string(segment(repo, 1)).expect("it is there");
    // Details that are sealed are opened before.
    assert!(json == lines || encrypts(), "programs get the lines as they stand");
    Repo::missing().run(["log"]).fails(10, &["no repository"]);
}

#[test]
fn events_are_followed_as_they_come_until_a_signal() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    let mut command = repo.command(["log", "--json", "--follow", "--type", "snapshot.*"]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("icecore starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("there is a line").expect("it can be read");
    assert!(next().contains(&fixture.id));
    for _ in 0..3 {
        // A new segment for each, so that it has to go from one to the next.
        let last = std::fs::read_dir(repo.path().join("log")).expect("it is there").flatten();
        for entry in last.filter(|entry| entry.file_name().to_string_lossy().ends_with(".json")) {
            let sealed = std::fs::Permissions::from_mode(0o444);
            std::fs::set_permissions(entry.path(), sealed).expect("it can be protected");
        }
        repo.gc();
        let id = repo.create(&fixture.source);
        assert!(next().contains(&id));
    }
    signal(&child, Signal::INT);
    let status = wait(&mut child, std::time::Duration::from_secs(10), "log --follow");
    assert_eq!(code_of(status), 130);
    let said = finish(child, "log --follow").error();
    assert_eq!(said, "");
}

#[test]
fn what_the_configuration_says_of_the_log_is_kept_unless_the_command_line_says_more() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    for number in 1..=3 {
        let sealed = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(segment(repo, number), sealed).expect("it can be protected");
        repo.create(&fixture.source);
    }
    let config = fixture.scratch.join("icecore.toml");
    let prune = |more: &[&str]| {
        let mut arguments = args!["--config", &config, "log", "prune", "--json", "--yes"].to_vec();
        arguments.extend(more.iter().map(Into::into));
        repo.run(arguments)
    };
    prune(&[]).fails(2, &["--keep-days", "[log]"]);
    std::fs::write(&config, "[policies.standard]\nkeep-last = 1\n").expect("it can be written");
    prune(&[]).fails(2, &["[log]"]);
    std::fs::write(&config, "[log]\nkeep-segment = 3\n").expect("it can be written");
    prune(&[]).fails(2, &["keep-segment", "not valid"]);
    std::fs::write(&config, "[log]\nkeep-segments = 3\n").expect("it can be written");
    assert_eq!(prune(&["--keep-segments", "4"]).expect(0).json()["removed_segments"], 0);
    assert_eq!(prune(&[]).expect(0).json()["removed_segments"], 1);
    assert!(!segment(repo, 1).exists() && segment(repo, 2).exists());
    proof(repo);
}

#[test]
fn old_segments_are_removed_on_request_and_the_rest_is_still_proved() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    for number in 1..=3 {
        let sealed = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(segment(repo, number), sealed).expect("it can be protected");
        repo.create(&fixture.source);
    }
    let head = proof(repo)["head"].as_str().expect("a text").to_owned();
    repo.run(["log", "prune", "--yes"]).expect(2);
    repo.run(["log", "prune", "--keep-segments", "2"]).fails(14, &["2 segments", "--yes"]);
    let nothing = repo.ok(["log", "prune", "--keep-days", "1", "--json", "--yes"]).json();
    assert_eq!(nothing["removed_segments"], 0);
    let plan = repo.ok(["log", "prune", "--keep-segments", "2", "--json", "-n"]).json();
    assert_eq!((&plan["removed_segments"], &plan["removed_events"]), (&json!(2), &json!(3)));
    assert!(segment(repo, 1).exists());
    let done = repo.ok(["log", "prune", "--keep-segments", "2", "--json", "--yes"]).json();
    assert_eq!(done["removed_events"], 3);
    assert!(!segment(repo, 2).exists() && segment(repo, 3).exists());
    let after = proof(repo);
    assert_eq!((&after["removed_events"], &after["first_sequence"]), (&json!(3), &json!(4)));
    repo.ok(["log", "verify", "--head", &head]);
    let anchor = repo.path().join("log/anchor.json");
    std::fs::remove_file(anchor).expect("it is there");
    repo.run(["log", "verify", "--quiet"]).fails(4, &["broken at event 1", "event 4"]);
}
