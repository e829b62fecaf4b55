//! Deleting by name, by tag, by time; what is refused; damage.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use icecore::base::id::SnapshotId;
use icecore::base::progress::Silent;
use icecore::repository::Writer;
use icecore::store::{Batch, Durability, Family};

use super::{Past, ids_in};
use crate::support::command::finish;
use crate::support::encrypt::{give_password_by_default, key_of};

const TIMES: [&str; 4] = [
    "2026-03-01T23:59:59Z",
    "2026-03-02T00:00:00Z",
    "2026-03-02T23:59:59Z",
    "2026-03-03T00:00:00Z",
];

#[test]
fn a_range_of_time_takes_whole_days_and_both_ends_can_be_open() {
    let (past, ids) = Past::of(&TIMES);
    let chosen = |options: &[&str]| {
        let json = past.repo.ok(["delete", "-n", "--json"].iter().chain(options)).last_json_line();
        let chosen = ids_in(&json, "deleted");
        ids.iter().map(|id| if chosen.contains(id) { 'x' } else { '.' }).collect::<String>()
    };
    assert_eq!(chosen(&["--since", "2026-03-02", "--until", "2026-03-02"]), ".xx.");
    assert_eq!(chosen(&["--older-than", "2026-03-02"]), "x...");
    assert_eq!(chosen(&["--newer-than", "2026-03-02"]), "...x");
    assert_eq!(chosen(&["--until", "2026-03-02T00:00:00Z"]), "xx..");
    assert_eq!(chosen(&["--older-than", "2026-03-02T00:00:00Z"]), "x...");
    assert_eq!(chosen(&["--newer-than", "2026-03-02T23:59:59Z"]), "...x");
    assert_eq!(chosen(&["--older-than", "10h", "--since", "2026-03-03"]), "...x");
    assert_eq!(chosen(&["--newer-than", "1h"]), "....");
    assert_eq!(chosen(&["--older-than", "1h", "--host", "db"]), "....");
    past.repo.run(["delete", "--older-than", "6m", "--yes"]).fails(2, &["months", "6min"]);
    past.repo.run(["delete", "--older-than", "soon", "--yes"]).fails(2, &["soon", "90d"]);
    assert_eq!(past.repo.ids(), ids, "all of that was dry");
    past.repo.ok(["delete", "--until", "2026-03-02", "--yes"]);
    assert_eq!(past.repo.ids(), ids[3..]);
    past.repo.ok(["delete", "--until", "2026-03-02", "--yes"]);
}

#[test]
fn a_tag_or_host_means_all_that_have_it_and_a_name_only_one() {
    let (past, mut ids) = Past::of(&TIMES[..1]);
    ids.push(past.take(TIMES[1], &["--tag", "a", "--tag", "b"]));
    ids.push(past.take(TIMES[2], &["--tag", "a"]));
    ids.push(past.take(TIMES[3], &["--tag", "a", "--host", "db"]));
    let dry = |options: &[&str]| {
        let json = past.repo.ok(["delete", "-n", "--json"].iter().chain(options)).last_json_line();
        ids_in(&json, "deleted").len()
    };
    assert_eq!(dry(&["a"]), 1);
    assert_eq!(dry(&["--tag", "a"]), 3);
    assert_eq!(dry(&["--tag", "a,b"]), 1);
    assert_eq!(dry(&["--tag", "a", "--host", "web"]), 2);
    assert_eq!(dry(&["latest", "latest~1", &ids[3][..12]]), 2, "one named twice is one");
    let both = past.repo.run(["delete", "latest", "--tag", "a", "--yes"]);
    assert_eq!(both.code, 2, "a name with a filter could mean two things");
    past.repo.run(["delete", "latest", "nonsense", "--yes"]).fails(1, &["nonsense"]);
    past.repo.run(["delete", "--tag", "a"]).fails(14, &["3 snapshots", "--yes"]);
    assert_eq!(past.repo.ids().len(), 4, "nothing was deleted so far");
    past.repo.ok(["delete", "--tag", "a", "--yes"]);
    assert_eq!(past.repo.ids(), ids[..1]);
}

#[test]
fn it_shows_what_it_will_delete_and_an_answer_of_no_changes_nothing() {
    let (past, ids) = Past::of(&TIMES[..2]);
    let asked = past.on_a_terminal("delete latest", "n").expect(14).text();
    assert!(asked.contains(&ids[1][..12]) && asked.contains("Delete 1 snapshot?"), "{asked}");
    assert!(!asked.contains(&ids[0][..12]), "{asked}");
    assert_eq!(past.repo.ids(), ids);
    past.on_a_terminal("delete latest", "y").expect(0);
    assert_eq!(past.repo.ids(), ids[..1]);
}

#[test]
fn ctrl_c_ends_a_question_with_130_and_changes_nothing() {
    let (past, ids) = Past::of(&TIMES[..1]);
    let mut command = Command::new("script");
    command.args(["-qec", &past.terminal_line("delete latest"), "/dev/null"]).env("TZ", "UTC");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    give_password_by_default(&mut command);
    let mut child = command.spawn().expect("script starts");
    let mut shown = Vec::new();
    let output = child.stdout.as_mut().expect("it is piped");
    while !shown.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).expect("it can be read"), 1, "it ended unasked");
        shown.extend(byte);
    }
    child.stdin.as_mut().expect("it is piped").write_all(b"\x03").expect("it takes keys");
    let outcome = finish(child, "a question");
    assert_eq!(outcome.code, 130, "{}", outcome.text());
    assert!(outcome.text().contains("nothing was changed"), "{}", outcome.text());
    assert_eq!(past.repo.ids(), ids);
}

#[test]
fn one_pinned_snapshot_among_several_refuses_all_of_them() {
    let (past, ids) = Past::of(&TIMES);
    past.repo.ok(["tag", &ids[1], "--pin"]);
    for options in [&["--older-than", "1h"][..], &[&ids[0][..], &ids[1]], &["--host", "web"]] {
        let outcome = past.repo.run(["delete", "--yes"].iter().chain(options));
        outcome.fails(14, &["pinned", &ids[1][..12], "--even-pinned"]);
    }
    assert_eq!(past.repo.ids(), ids);
    past.repo.ok(["delete", &ids[1], "--yes", "--even-pinned"]);
    assert_eq!(past.repo.ids(), [&ids[0][..], &ids[2], &ids[3]]);
    past.repo.ok(["undelete", "--all"]);
    assert_eq!(past.repo.list_json()[1]["pinned"], true, "the pin came back with it");
}

#[test]
fn a_snapshot_whose_manifest_is_damaged_is_deleted_by_its_id() {
    let (past, ids) = Past::of(&TIMES);
    let id: SnapshotId = ids[1].parse().expect("an id");
    let key = key_of(past.repo.path());
    let writer =
        Writer::open(past.repo.path(), key.as_ref(), "test", Duration::from_secs(10), &Silent);
    let writer = writer.expect("it opens");
    let mut batch = Batch::new();
    batch.put(Family::Snapshots, *id.as_bytes(), b"nonsense".to_vec());
    writer.store().write(&batch, Durability::Synced).expect("it is written");
    writer.close().expect("it is flushed");
    drop(writer);
    past.repo.run(["list"]).fails(4, &[&ids[1]]);
    // Others are pruned meanwhile, and the damage is not hidden.
    past.repo.run(["prune", "--keep-last", "2", "--yes"]).fails(4, &[&ids[1]]);
    past.repo.run(["gc"]).fails(4, &[&ids[1]]);
    past.repo.run(["delete", "--newer-than", "1h", "--yes", "-q"]).fails(4, &[&ids[1]]);
    past.repo.ok(["delete", &ids[1][..12], "--yes"]);
    past.repo.ok(["list"]);
    past.repo.ok(["gc"]);
    assert_eq!(past.repo.ids(), ids[2..]);
}
