//! How a `create` ends when its sources vanish or change, and when it is told
//! to stop; what it says on the way.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::place::{Place, rest, summary_of};
use crate::support::command::{Outcome, finish, run};
use crate::support::fixture::plain_tree;
use crate::support::generate::sparse;
use crate::support::mount::Mount;
use crate::support::repo::{count_of, holds_open, id_of, signal};
use crate::support::rng::Rng;
use crate::support::{args, beside, wait_until};

const M: usize = 1 << 20;
const CHANGED: &str = "changed while it was being read; saved as read";

/// The messages of a summary, which must say how many there are.
fn messages(summary: &Value) -> Vec<String> {
    let messages = summary["error_messages"].as_array().expect("an array");
    assert_eq!(count_of(summary, "errors"), messages.len() as u64, "{summary}");
    messages.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_missing_source_is_reported_and_the_others_are_saved() {
    let place = Place::with(&["a", "b/c"]);
    let mut command = place.command(&args!["--json", "a", "not-there", "b"]);
    let summary = summary_of(&run(&mut command).expect(3));
    let said = messages(&summary);
    assert!(said.len() == 1 && said[0].contains("not-there"), "{said:?}");
    assert_eq!(place.names(), ["a", "b", "b/c"]);
    let listed = place.listed(&summary);
    assert_eq!(count_of(&listed, "errors"), 1);
}

#[test]
fn when_all_sources_are_missing_there_is_no_snapshot() {
    let place = Place::with(&["a"]);
    for sources in [&["not-there"][..], &["not-there", "nor/there"]] {
        let outcome = run(place.command(&[]).args(sources)).expect(1);
        for source in sources {
            assert!(outcome.error().contains(source), "{}", outcome.error());
        }
        assert!(outcome.stdout.is_empty(), "{}", outcome.text());
    }
    assert_eq!(place.repo.ids(), [""; 0]);
    place.create(&[]);
    run(&mut place.command(&args!["not-there"])).expect(1);
    assert_eq!(place.repo.ids().len(), 1);
}

#[test]
fn a_source_that_vanished_since_the_last_create_is_reported() {
    let place = Place::with(&["a", "b/c", "b/d"]);
    rest();
    run(&mut place.command(&args!["a", "b"])).expect(0);
    std::fs::rename(place.at("b"), place.scratch.join("aside")).expect("it can be renamed");
    let outcome = run(&mut place.command(&args!["a", "b"])).expect(3);
    assert!(outcome.error().contains('b'), "{}", outcome.error());
    assert_eq!(place.names(), ["a"]);
    std::fs::rename(place.scratch.join("aside"), place.at("b")).expect("it can be renamed");
    run(&mut place.command(&args!["a", "b"])).expect(0);
    assert_eq!(place.names(), ["a", "b", "b/c", "b/d"]);
}

/// Starts a command and waits until it writes to the repository.
fn begun(place: &Place, command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("icecore starts");
    let lock = place.repo.path().join("db/LOCK");
    wait_until("create holds the database", 20, || {
        let ended = child.try_wait().expect("it can be waited for");
        assert!(ended.is_none(), "it ended before it began: {ended:?}");
        holds_open(child.id(), &lock)
    });
    child
}

/// Signals a command, which must then end quickly. Returns what it said.
#[track_caller]
fn stopped(child: Child, by: Signal) -> Outcome {
    signal(&child, by);
    let start = Instant::now();
    let code = if by == Signal::INT { 130 } else { 143 };
    let outcome = finish(child, "the stopped create").expect(code);
    let took = start.elapsed().as_secs_f64();
    assert!(took < 3.0, "it went on for {took} s after {by:?}");
    outcome
}

/// Makes a file without holes.
fn dense(path: &Path, megabytes: usize) {
    let mut rng = Rng::new(megabytes as u64);
    let mut file = std::fs::File::create(path).expect("a file can be made");
    for _ in 0..megabytes / 16 {
        file.write_all(&rng.bytes(16 * M)).expect("it can be written");
    }
}

/// A huge file without holes, one with many, and many small ones.
fn big() -> Place {
    let place = Place::new();
    dense(&place.at("dense"), 800);
    let data = Rng::new(31).bytes(4096);
    let extents: Vec<_> = (0..4_000).map(|index| (index * (1_u64 << 24), &data[..])).collect();
    sparse(&place.at("sparse"), 1 << 36, &extents);
    plain_tree(&place.at("tree"), 32, 300, 10_000);
    place
}

#[test]
fn a_signal_ends_it_quickly_without_a_snapshot_and_the_next_one_works() {
    let place = big();
    for (source, by) in [
        ("dense", Signal::INT),
        ("dense", Signal::TERM),
        ("sparse", Signal::TERM),
        (".", Signal::INT),
        (".", Signal::TERM),
    ] {
        // Fast machines end some of these first.
        let child = begun(&place, place.command(&args!["--limit-rate", "40MiB"]).arg(source));
        std::thread::sleep(Duration::from_millis(200));
        let outcome = stopped(child, by);
        assert!(outcome.stdout.is_empty(), "{source}: {}", outcome.text());
        assert_eq!(place.repo.ids(), [""; 0], "{source}");
    }
    let child = begun(&place, place.command(&[]).arg("dense"));
    std::thread::sleep(Duration::from_millis(100));
    stopped(child, Signal::INT);
    let tmp = std::fs::read_dir(place.repo.path().join("tmp")).expect("it is there");
    assert_eq!(tmp.count(), 0, "tmp/ is left tidy");
    run(&mut place.command(&args!["tree"])).expect(0);
    let name = "tree/directory-3/file-33";
    assert!(place.cat(name) == std::fs::read(place.at(name)).expect("it can be read"));
    assert_eq!(place.repo.ids().len(), 1);
}

#[test]
fn a_signal_ends_the_slowest_reading_of_one_file() {
    let place = Place::new();
    dense(&place.at("dense"), 16);
    let child = begun(&place, place.command(&args!["--limit-rate", "1KiB"]).arg("."));
    std::thread::sleep(Duration::from_millis(500));
    stopped(child, Signal::TERM);
    assert_eq!(place.repo.ids(), [""; 0]);
    let summary = place.create(&[]);
    assert_eq!(count_of(&summary, "bytes"), 16 * M as u64);
}

#[test]
fn a_signal_ends_a_create_that_waits_for_a_command_and_the_command_too() {
    let place = Place::new();
    let script = "echo $$ >pid; echo some output; exec sleep 300";
    for by in [Signal::INT, Signal::TERM] {
        let mut command = place.command(&args!["--from-command", "--", "sh", "-c", script]);
        let child = begun(&place, &mut command);
        let pid = || std::fs::read_to_string(place.at("pid")).unwrap_or_default();
        wait_until("the command runs", 10, || pid().ends_with('\n'));
        stopped(child, by);
        let process = format!("/proc/{}", pid().trim());
        wait_until("the command has ended too", 3, || !Path::new(&process).exists());
        assert_eq!(place.repo.ids(), [""; 0]);
        std::fs::remove_file(place.at("pid")).expect("it is there");
    }
}

#[test]
fn a_signal_ends_a_create_that_waits_for_standard_input() {
    let place = Place::new();
    let mut command = place.command(&args!["--stdin"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("icecore starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(b"a little").expect("it is taken");
    std::thread::sleep(Duration::from_millis(500));
    stopped(child, Signal::INT);
    drop(input);
    assert_eq!(place.repo.ids(), [""; 0]);
}

fn rewrite(path: &Path, size: usize, stop: &AtomicBool) {
    use std::os::unix::fs::FileExt;
    let open = std::fs::OpenOptions::new().write(true).open(path);
    let open = open.expect("it can be written");
    let mut rng = Rng::new(4);
    while !stop.load(Ordering::Relaxed) {
        open.write_all_at(&rng.bytes(8), rng.below(size as u64 - 8)).expect("it can be written");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn append(path: &Path, stop: &AtomicBool) {
    let open = std::fs::OpenOptions::new().append(true).open(path);
    let mut open = open.expect("it can be written");
    let mut rng = Rng::new(5);
    while !stop.load(Ordering::Relaxed) {
        open.write_all(&rng.bytes(100)).expect("it can be written");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Fails unless a file of `size` that `busy` changes all the time is named.
fn changing(size: usize, busy: impl FnOnce(&Path, &AtomicBool) + Send) -> (Place, Value) {
    let place = Place::with(&["steady"]);
    place.file("changing", &Rng::new(3).bytes(size));
    let path = place.at("changing");
    let create = || run(&mut place.command(&args!["--json", "."]));
    let summary = summary_of(&beside(|stop| busy(&path, stop), create).expect(3));
    let said = messages(&summary);
    let expected = format!("changing: {CHANGED}");
    assert!(said.len() == 1 && said[0].ends_with(&expected), "{said:?}");
    assert_eq!(count_of(&place.listed(&summary), "errors"), 1);
    assert_eq!(place.cat("steady"), b"steady");
    assert!(place.cat("changing").len() >= size);
    let shown = place.repo.ok(["show", "latest"]).text();
    assert!(shown.contains(CHANGED), "{shown}");
    rest();
    let settled = place.create(&[]);
    assert_eq!(messages(&settled), [""; 0]);
    assert!(place.cat("changing") == std::fs::read(&path).expect("it can be read"));
    assert!(is_marked(&place, &summary, "changing"), "the mount says so");
    assert!(!is_marked(&place, &summary, "steady") && !is_marked(&place, &settled, "changing"));
    (place, summary)
}

/// Whether the mount says of a file that it changed while it was being read.
fn is_marked(place: &Place, summary: &Value, name: &str) -> bool {
    let mount = Mount::new(&place.repo);
    let path = mount.snapshot(&id_of(summary)).join(name);
    let answer = rustix::fs::lgetxattr(&path, "user.icecore.changed", &mut [0_u8; 64]);
    mount.unmount();
    match answer {
        Ok(_) => true,
        Err(rustix::io::Errno::NODATA) => false,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

#[test]
fn a_file_that_is_rewritten_all_the_time_is_named_with_code_3() {
    changing(48 * M, |path, stop| rewrite(path, 48 * M, stop));
}

#[test]
fn a_file_that_grows_all_the_time_is_named_with_code_3() {
    changing(40 * M, append);
}

#[test]
fn a_changing_file_of_more_than_64_mib_is_read_once() {
    let (_place, summary) = changing(80 * M, |path, stop| rewrite(path, 80 * M, stop));
    let read = count_of(&summary, "bytes_read");
    assert!(read < 100 << 20, "{read} bytes of 80 MiB: {summary}");
}

#[test]
fn a_file_that_changes_once_is_read_again_and_saved_right() {
    let place = Place::with(&["steady"]);
    dense(&place.at("changing"), 16);
    let child = begun(&place, place.command(&args!["--limit-rate", "12MiB", "."]).arg("--json"));
    std::thread::sleep(Duration::from_millis(600));
    let open = std::fs::OpenOptions::new().append(true).open(place.at("changing"));
    open.expect("it opens").write_all(b"the end").expect("it can be written");
    let summary = summary_of(&finish(child, "create").expect(0));
    assert_eq!(messages(&summary), [""; 0]);
    assert!(place.cat("changing").ends_with(b"the end"));
    assert!(place.cat("changing") == std::fs::read(place.at("changing")).expect("it can be read"));
}

#[test]
fn a_long_create_tells_its_progress_once_a_second_in_json() {
    let place = Place::new();
    for index in 0..12 {
        place.file(&format!("file-{index:02}"), &Rng::new(index).bytes(M / 2));
    }
    let outcome = run(place.command(&args!["--json", "--limit-rate", "2MiB"]).arg(".")).expect(0);
    let text = outcome.text();
    let parse = |line| serde_json::from_str::<Value>(line).expect("every line is JSON");
    let lines: Vec<_> = text.lines().map(parse).collect();
    let (summary, status) = lines.split_last().expect("there are lines");
    assert_eq!(summary["type"], "summary");
    assert!((1..=30).contains(&status.len()), "{} lines: {text}", status.len());
    let mut before = (0.0, 0, 0);
    for line in status {
        assert_eq!(line["type"], "status", "{line}");
        let seconds = line["seconds"].as_f64().expect("a number");
        let now = (seconds, count_of(line, "files"), count_of(line, "read_bytes"));
        assert!(now.0 - before.0 > 0.7, "once a second: {text}");
        assert!(now.1 >= before.1 && now.2 >= before.2, "they only grow: {text}");
        assert!(now.2 <= 6 * M as u64, "{line}");
        for field in ["total_files", "total_bytes"] {
            assert!(line[field].is_null() || line[field].is_u64(), "{field} of {line}");
        }
        assert!(line["path"].is_string() && line["bytes"].is_u64(), "{line}");
        assert_eq!(count_of(line, "errors"), 0, "{line}");
        before = now;
    }
    assert!(before.2 > 0, "the last tells of what was read: {text}");
    assert!(summary["seconds"].as_f64().expect("a number") >= before.0, "{text}");
}

#[test]
fn a_short_create_tells_its_summary_only() {
    let place = Place::with(&["a"]);
    let outcome = run(place.command(&args!["--json"]).arg(".")).expect(0);
    let summary = summary_of(&outcome);
    // Unless the machine has much else to do.
    let is_short = summary["seconds"].as_f64().expect("a number") < 1.0;
    assert!(!is_short || outcome.text().lines().count() == 1, "{}", outcome.text());
    for field in ["notes", "error_messages"] {
        assert!(summary[field].is_array(), "{field} of {summary}");
    }
    assert_eq!(summary["short_id"].as_str(), summary["id"].as_str().map(|id| &id[..12]));
    assert!(summary["seconds"].is_f64(), "{summary}");
}

#[test]
fn a_repository_that_is_lost_in_mid_run_fails_in_one_line_and_is_whole_when_it_is_back() {
    let place = Place::with(&["a", "b"]);
    place.create(&[]);
    dense(&place.at("dense"), 32);
    let aside = place.scratch.join("aside");
    let child = begun(&place, &mut place.command(&args!["--limit-rate", "32MiB", "."]));
    wait_until("chunks are being stored", 20, || {
        std::fs::read_dir(place.repo.path().join("tmp")).is_ok_and(|tmp| tmp.count() > 0)
    });
    std::fs::rename(place.repo.path(), &aside).expect("it can be renamed");
    let outcome = finish(child, "the create without a repository").expect(1);
    assert_eq!(outcome.error().lines().count(), 1, "{}", outcome.error());
    run(&mut place.command(&args!["a"])).fails(10, &["no repository"]);
    std::fs::rename(&aside, place.repo.path()).expect("it can be renamed back");
    assert_eq!(place.repo.ids().len(), 1);
    run(&mut place.command(&args!["."])).expect(0);
    assert!(place.cat("dense") == std::fs::read(place.at("dense")).expect("it can be read"));
}
