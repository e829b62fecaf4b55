//! Standard input and the output of commands as files of a snapshot.

use std::ffi::OsString;

use super::place::{Place, summary_of};
use crate::support::args;
use crate::support::command::{Outcome, run, run_fed, run_tool};
use crate::support::generate::file;
use crate::support::repo::count_of;
use crate::support::rng::Rng;

const BIG: usize = 64 << 20;

/// Runs `create --from-command` of a shell's script.
fn from_shell(place: &Place, options: &[OsString], script: &str) -> Outcome {
    let mut command = place.command(&args!["--from-command"]);
    run(command.args(options).args(["--", "sh", "-c", script]))
}

/// The digest of a file in the newest snapshot, and of one on disk.
fn digests(place: &Place, saved: &str, original: &str) -> [String; 2] {
    let (program, repo) = (crate::support::command::icecore(), place.repo.path());
    let script =
        "set -o pipefail; \"$1\" -r \"$2\" cat \"latest:$3\" | sha256sum; sha256sum <\"$4\"";
    let original = place.at(original);
    let printed = run_tool("bash", args!["-c", script, "bash", program, repo, saved, original]);
    let text = printed.text();
    let mut lines = text.lines().map(str::to_owned);
    [(); 2].map(|()| lines.next().expect("two digests"))
}

#[test]
fn standard_input_becomes_a_file() {
    let place = Place::new();
    let content = Rng::new(1).bytes(300_000);
    let summary = place.create_fed(&args!["--stdin"], &content);
    assert_eq!(place.names(), ["stdin"]);
    assert!(place.cat("stdin") == content);
    for (field, expected) in [("files", 1), ("bytes", 300_000), ("bytes_read", 300_000)] {
        assert_eq!(count_of(&summary, field), expected, "{field}: {summary}");
    }
    let again = place.create_fed(&args!["--stdin"], &content);
    assert_eq!(count_of(&again, "added_chunks"), 0, "{again}");
}

#[test]
fn standard_input_may_be_empty() {
    let place = Place::new();
    let summary = place.create_fed(&args!["--stdin"], b"");
    assert_eq!(place.names(), ["stdin"]);
    assert_eq!(place.cat("stdin"), b"");
    assert_eq!(count_of(&summary, "bytes"), 0, "{summary}");
}

#[test]
fn stdin_filename_makes_the_directories_of_its_path() {
    let place = Place::new();
    place.create_fed(&args!["--stdin", "--stdin-filename", "dumps/of today/b.sql"], b"select");
    assert_eq!(place.names(), ["dumps", "dumps/of today", "dumps/of today/b.sql"]);
    assert_eq!(place.cat("dumps/of today/b.sql"), b"select");
    place.create_fed(&args!["--stdin", "--stdin-filename", "c.sql"], b"other");
    assert_eq!(place.names(), ["c.sql"]);
}

#[test]
fn standard_input_goes_with_no_other_source() {
    let place = Place::with(&["a"]);
    for options in [
        args!["--stdin", "a"].to_vec(),
        args!["--stdin", "--from-command", "--", "true"].to_vec(),
        args!["--from-command"].to_vec(),
    ] {
        let outcome = run(&mut place.command(&options)).expect(2);
        assert!(!outcome.error().is_empty(), "{options:?}");
        assert_eq!(place.repo.ids(), [""; 0]);
    }
}

#[test]
fn a_list_of_sources_beside_a_stream_is_refused_and_not_forgotten() {
    let place = Place::with(&["a", "list"]);
    for list in ["--files-from", "--files-from0"] {
        run(&mut place.command(&args!["--stdin", list, "list"])).expect(2);
        let command = args!["--from-command", list, "list", "--", "true"];
        run(&mut place.command(&command)).expect(2);
    }
    assert_eq!(place.repo.ids(), [""; 0]);
}

#[test]
fn the_output_of_a_command_becomes_a_file() {
    let place = Place::new();
    from_shell(&place, &args!["--stdin-filename", "db/a.sql"], "echo one; echo two").expect(0);
    assert_eq!(place.names(), ["db", "db/a.sql"]);
    assert_eq!(place.cat("db/a.sql"), b"one\ntwo\n");
    let summary = summary_of(&from_shell(&place, &args!["--json"], "printf x").expect(0));
    assert_eq!(place.names(), ["stdin"]);
    assert_eq!(count_of(&summary, "bytes"), 1, "{summary}");
}

#[test]
fn the_arguments_of_a_command_are_its_own() {
    let place = Place::new();
    let mut command = place.command(&args!["--from-command", "--"]);
    run(command.args(["printf", "%s|", "--json", "-e", "a b", "--", "*"])).expect(0);
    assert_eq!(place.cat("stdin"), b"--json|-e|a b|--|*|");
}

#[test]
fn a_command_without_output_gives_an_empty_file() {
    let place = Place::new();
    from_shell(&place, &[], "exit 0").expect(0);
    assert_eq!(place.names(), ["stdin"]);
    assert_eq!(place.cat("stdin"), b"");
}

#[test]
fn big_output_is_saved_byte_for_byte() {
    let place = Place::new();
    file(&place.at("big"), &Rng::new(7).bytes(BIG));
    from_shell(&place, &args!["--stdin-filename", "big"], "cat big").expect(0);
    let [saved, original] = digests(&place, "big", "big");
    assert_eq!(saved, original);
    let mut command = place.command(&args!["--stdin", "--json"]);
    let input = std::fs::read(place.at("big")).expect("it can be read");
    let summary = summary_of(&run_fed(&mut command, &input).expect(0));
    assert_eq!(count_of(&summary, "bytes_read"), BIG as u64, "{summary}");
    assert_eq!(count_of(&summary, "added_chunks"), 0, "the same bytes: {summary}");
    let [saved, original] = digests(&place, "stdin", "big");
    assert_eq!(saved, original);
}

#[test]
fn output_in_drops_and_pauses_is_waited_for() {
    let place = Place::new();
    let script = "for i in 1 2 3 4; do printf $i; sleep 0.2; done; sleep 0.5; printf 5";
    from_shell(&place, &[], script).expect(0);
    assert_eq!(place.cat("stdin"), b"12345");
}

/// Fails unless a command makes no snapshot, leaves next to nothing behind, and
/// keeps nothing from working afterwards.
#[track_caller]
fn makes_no_snapshot(place: &Place, command: &[&str], words: &[&str]) {
    let before = place.repo.ids();
    let options = args!["--from-command", "--"].to_vec();
    let outcome = run(place.command(&options).args(command));
    assert!(outcome.stdout.is_empty(), "{command:?} claims {}", outcome.text());
    outcome.ends(1, words);
    assert_eq!(place.repo.ids(), before, "{command:?} made a snapshot");
    place.repo.gc();
    assert!(place.repo.du() < 4 << 20, "{command:?} left {} bytes", place.repo.du());
    assert_eq!(std::fs::read_dir(place.repo.path().join("tmp")).expect("it is there").count(), 0);
    let next = summary_of(&from_shell(place, &args!["--json"], "echo fine").expect(0));
    assert_eq!(place.cat("stdin"), b"fine\n");
    assert_eq!(count_of(&next, "errors"), 0, "{next}");
}

#[test]
fn a_command_that_fails_after_much_output_makes_no_snapshot() {
    let place = Place::new();
    file(&place.at("big"), &Rng::new(8).bytes(BIG));
    makes_no_snapshot(&place, &["sh", "-c", "cat big; exit 7"], &["7"]);
    makes_no_snapshot(&place, &["sh", "-c", "cat big; sleep 0.5; exit 1"], &[]);
}

#[test]
fn a_command_that_fails_at_once_makes_no_snapshot() {
    let place = Place::new();
    makes_no_snapshot(&place, &["false"], &["false"]);
    makes_no_snapshot(&place, &["sh", "-c", "echo complaint >&2; exit 9"], &["9"]);
}

#[test]
fn a_command_that_is_killed_makes_no_snapshot() {
    let place = Place::new();
    for signal in ["KILL", "TERM", "SEGV"] {
        let script = format!("head -c 3000000 /dev/zero; kill -{signal} $$");
        makes_no_snapshot(&place, &["sh", "-c", &script], &["signal"]);
    }
}

#[test]
fn a_command_that_is_not_found_makes_no_snapshot() {
    let place = Place::with(&["not-executable"]);
    makes_no_snapshot(&place, &["no-such-command-anywhere"], &["no-such-command-anywhere"]);
    makes_no_snapshot(&place, &["./not-executable"], &["not-executable"]);
}
