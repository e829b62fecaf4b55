//! The log on a real file system: what is appended, what is proved, what is
//! found to be wrong.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::base::hash::sha256;
use crate::base::id::{SnapshotId, hex};
use crate::base::time::Timestamp;

struct Place {
    root: TempDir,
    log: AuditLog,
}

fn actor() -> Actor {
    let program = "icecore test".to_owned();
    Actor { user: "tester".to_owned(), uid: 7, host: "host".to_owned(), pid: 42, program }
}

impl Place {
    fn new() -> Self {
        Self::rotating(u64::MAX)
    }

    /// A log whose segments hold `events`.
    fn rotating(events: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        fs::write(layout.config(), "").unwrap();
        let rotation = Rotation { events, ..Rotation::default() };
        Self { log: AuditLog::new(&layout).with_rotation(rotation), root }
    }

    fn add(&self, kind: EventKind) -> Event {
        self.log.append(&actor(), &Record::new(kind).path("/some/where")).unwrap().remove(0)
    }

    fn fill(&self, count: usize) -> Vec<Event> {
        let mut events = vec![self.add(EventKind::RepositoryCreated)];
        events.extend((1..count).map(|_| self.add(EventKind::SnapshotCreated)));
        events
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.root.path().join(format!("log/segment-{number:06}.json"))
    }

    fn lines(&self, number: u64) -> Vec<String> {
        let text = fs::read_to_string(self.segment(number)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn write(&self, number: u64, bytes: &[u8]) {
        let _ = fs::set_permissions(self.segment(number), fs::Permissions::from_mode(0o600));
        fs::write(self.segment(number), bytes).unwrap();
    }

    fn write_lines(&self, lines: &[String]) {
        self.write(1, (lines.join("\n") + "\n").as_bytes());
    }

    fn proof(&self) -> Verification {
        self.log.verify(None).unwrap()
    }

    #[track_caller]
    fn is_whole(&self, events: u64) -> Verification {
        let proof = self.proof();
        assert_eq!((proof.broken.as_ref(), proof.events), (None, events));
        proof
    }

    #[track_caller]
    fn breaks_at(&self, line: u64, sequence: u64) -> String {
        let broken = self.proof().broken.expect("the chain is broken");
        let name = "segment-000001.json".to_owned();
        let place = (&broken.segment, broken.line, broken.sequence);
        assert_eq!(place, (&name, line, sequence), "{broken:?}");
        broken.detail
    }

    fn shown(&self, query: &Query) -> Vec<u64> {
        let mut shown = Vec::new();
        let strange = self.log.visit(query, &mut |event| {
            shown.push(event.sequence());
            ControlFlow::Continue(())
        });
        strange.unwrap();
        shown
    }
}

#[test]
fn a_chain_of_events_is_proved_and_its_head_is_the_last_one() {
    let place = Place::new();
    let events = place.fill(5);
    let proof = place.is_whole(5);
    assert_eq!(proof.head, Some((5, events[4].hash())));
    assert_eq!((proof.first, proof.is_from_creation, proof.torn.len()), (Some(1), true, 0));
    for event in &events {
        let found = place.log.verify(Some(&event.hash())).unwrap();
        assert_eq!((found.holds_head, found.broken), (Some(true), None));
    }
}

#[test]
fn the_hash_is_the_one_that_the_description_of_the_format_gives() {
    let place = Place::new();
    let events = place.fill(2);
    let line = place.lines(1).remove(1);
    let (open, end) = line.split_once(",\"hash\":\"").unwrap();
    let hashed = [b"icecore event 1\0", &events[0].hash()[..], open.as_bytes(), b"}"].concat();
    assert_eq!(end, format!("{}\"}}", hex(&sha256(&hashed))));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["previous"], hex(&events[0].hash()));
    assert_eq!((value["sequence"].as_u64(), value["actor"]["uid"].as_u64()), (Some(2), Some(7)));
    assert_eq!(value["type"], "backup.snapshot.created");
    assert_eq!(place.shown(&Query::default()), [1, 2]);
}

#[test]
fn any_changed_byte_is_found_at_its_event() {
    let place = Place::new();
    place.fill(4);
    let whole = fs::read(place.segment(1)).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second + whole[second..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    // The last byte of the line is its newline.
    for at in second..third {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            place.write(1, &bytes);
            place.breaks_at(2, 2);
        }
    }
    place.write(1, &whole);
    place.is_whole(4);
}

#[test]
fn events_that_are_removed_swapped_doubled_or_put_in_are_found() {
    let place = Place::new();
    place.fill(6);
    let whole = place.lines(1);
    let change = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        place.write_lines(&lines);
    };
    change(&|lines| drop(lines.remove(2)));
    assert!(place.breaks_at(3, 3).contains("event 4"), "removed");
    change(&|lines| lines.swap(2, 3));
    assert!(place.breaks_at(3, 3).contains("event 4"), "swapped");
    change(&|lines| lines.insert(3, lines[2].clone()));
    assert!(place.breaks_at(4, 4).contains("event 3"), "doubled");
    change(&|lines| drop(lines.remove(0)));
    assert!(place.breaks_at(1, 1).contains("event 2"), "the first one removed");
    for strange in ["", "{}", "garbage"] {
        change(&|lines| lines.insert(2, strange.to_owned()));
        place.breaks_at(3, 3);
    }
    // A chain of its own, whole in itself, in the place of the rest.
    let other = Place::new();
    other.fill(6);
    change(&|lines| lines[3..].clone_from_slice(&other.lines(1)[3..]));
    assert!(place.breaks_at(4, 4).contains("follows an event with hash"), "replaced");
}

#[test]
fn an_end_that_was_cut_off_is_found_by_the_head_that_was_written_down() {
    let place = Place::new();
    let head = place.fill(5)[4].hash();
    let whole = place.lines(1);
    place.write_lines(&whole[..4]);
    place.is_whole(4);
    let proof = place.log.verify(Some(&head)).unwrap();
    assert_eq!((proof.holds_head, proof.broken), (Some(false), None));
    place.add(EventKind::SnapshotRead);
    assert_eq!(place.log.verify(Some(&head)).unwrap().holds_head, Some(false));
}

#[test]
fn an_append_cut_off_at_any_byte_is_declared_by_the_next_one() {
    let place = Place::new();
    place.fill(3);
    let whole = fs::read(place.segment(1)).unwrap();
    let begin = whole.len() - place.lines(1)[2].len() - 1;
    for end in (begin..whole.len()).step_by(7).chain([whole.len() - 2, whole.len() - 1]) {
        place.write(1, &whole[..end]);
        // Only the newline is missing: the event is there.
        let kept = if end == whole.len() - 1 { 3 } else { 2 };
        let before = place.is_whole(kept);
        assert_eq!(before.torn.len(), usize::from(end != begin && kept == 2));
        let next = place.add(EventKind::GarbageCollected);
        assert_eq!(next.sequence(), kept + 1);
        let after = place.is_whole(kept + 1);
        assert_eq!(after.torn.iter().filter(|torn| torn.is_declared).count(), before.torn.len());
        place.add(EventKind::GarbageCollected);
        place.is_whole(kept + 2);
    }
}

#[test]
fn what_is_torn_again_and_again_and_blocks_that_were_lost_are_declared() {
    let place = Place::new();
    place.fill(2);
    let mut bytes = fs::read(place.segment(1)).unwrap();
    for torn in ["{\"sequ", "{\"sequ (to", "{\"s (torn)\n", "a (torn)\nb", "\0\0\0", "\0\0\"}\n"] {
        bytes.extend_from_slice(torn.as_bytes());
        place.write(1, &bytes);
        assert_eq!(place.proof().broken, None, "{torn:?}");
        place.add(EventKind::SnapshotRead);
        bytes = fs::read(place.segment(1)).unwrap();
    }
    assert_eq!(place.is_whole(8).torn.iter().filter(|torn| torn.is_declared).count(), 6);
}

#[test]
fn torn_bytes_cover_no_tampering() {
    let place = Place::new();
    place.fill(3);
    let whole = fs::read_to_string(place.segment(1)).unwrap();
    place.write(1, format!("{whole}torn").as_bytes());
    place.add(EventKind::SnapshotRead);
    let lines = place.lines(1);
    place.is_whole(4);
    let changed = |at: usize, line: Option<&str>| {
        let mut changed = lines.clone();
        changed.remove(at);
        if let Some(line) = line {
            changed.insert(at, line.to_owned());
        }
        place.write_lines(&changed);
    };
    changed(3, Some("tarn (torn)"));
    place.breaks_at(4, 4);
    changed(3, None);
    assert!(place.breaks_at(4, 4).contains("declares torn bytes"));
    changed(2, Some("torn (torn)"));
    place.breaks_at(3, 3);
    // A whole line that is no event is nothing that an append leaves.
    place.write(1, format!("{whole}garbage\n").as_bytes());
    place.breaks_at(4, 4);
    assert_eq!(place.add(EventKind::SnapshotRead).sequence(), 4);
    place.breaks_at(4, 4);
}

#[test]
fn full_segments_are_sealed_and_the_next_one_goes_on() {
    let place = Place::rotating(3);
    place.fill(8);
    let modes: Vec<_> = (1..=3)
        .map(|number| fs::metadata(place.segment(number)).unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o400, 0o400, 0o600]);
    assert_eq!(place.is_whole(8).segments, 3);
    fs::remove_file(place.segment(2)).unwrap();
    let broken = place.proof().broken.unwrap();
    assert_eq!((broken.segment.as_str(), broken.line), ("segment-000003.json", 1));
    assert_eq!(broken.sequence, 4);
    assert!(broken.detail.contains("segment-000002.json is missing"), "{}", broken.detail);
    // The log itself goes on.
    assert_eq!(place.add(EventKind::SnapshotRead).sequence(), 9);
}

#[test]
fn segments_end_by_size_and_by_age_as_well() {
    let mut place = Place::new();
    for rotation in [
        Rotation { bytes: 1, ..Rotation::default() },
        Rotation { age: Duration::ZERO, ..Rotation::default() },
    ] {
        place.log = place.log.with_rotation(rotation);
        place.fill(3);
    }
    assert_eq!(place.is_whole(6).segments, 6);
}

#[test]
fn a_segment_that_was_begun_and_has_no_event_yet_is_used() {
    let place = Place::rotating(2);
    place.fill(2);
    place.write(2, b"");
    place.is_whole(2);
    place.add(EventKind::SnapshotRead);
    assert_eq!(place.lines(2).len(), 1);
    place.is_whole(3);
}

#[test]
fn what_is_left_behind_a_removal_is_proved_from_the_anchor() {
    let place = Place::rotating(3);
    let events = place.fill(10);
    let keep = Retention { keep_segments: Some(2), keep_age: None };
    let now = Timestamp::now();
    let plan = place.log.prune(keep, now, None).unwrap();
    assert_eq!((plan.segments, plan.events, plan.kept_segments), (2, 6, 2));
    place.is_whole(10);
    let done = place.log.prune(keep, now, Some(&actor())).unwrap();
    assert_eq!(done.anchor.as_ref().unwrap().hash, events[5].hash());
    let proof = place.is_whole(5);
    assert_eq!((proof.first, proof.head.unwrap().0), (Some(7), 11));
    assert_eq!(proof.anchor.unwrap().first_time, events[0].time_text());
    for (event, found) in [(5, Some(true)), (2, Some(false)), (8, Some(true))] {
        let proof = place.log.verify(Some(&events[event].hash())).unwrap();
        assert_eq!(proof.holds_head, found, "event {}", event + 1);
    }
    // Once more, beyond the first anchor; the last segment stays.
    place.log.prune(Retention { keep_segments: Some(0), ..keep }, now, Some(&actor())).unwrap();
    let proof = place.is_whole(3);
    assert_eq!((proof.anchor.unwrap().sequence, proof.segments), (9, 1));
    place.add(EventKind::SnapshotRead);
    place.is_whole(4);
}

#[test]
fn segments_are_kept_by_the_age_of_their_last_event_and_by_no_rule_at_all() {
    let place = Place::rotating(2);
    place.fill(6);
    let later = |days: i64| Timestamp::new(Timestamp::now().seconds() + days * 86_400, 0).unwrap();
    let keep = Retention { keep_age: Some(Duration::from_secs(30 * 86_400)), keep_segments: None };
    let doomed = |keep, now| place.log.prune(keep, now, None).unwrap().segments;
    assert_eq!((doomed(keep, later(29)), doomed(keep, later(31))), (0, 2));
    assert_eq!(doomed(keep, later(-400)), 0, "events of the future are kept");
    assert_eq!(doomed(Retention { keep_segments: Some(2), ..keep }, later(31)), 1);
    assert_eq!(doomed(Retention::default(), later(31)), 0);
}

#[test]
fn a_removal_that_was_cut_off_harms_nothing_and_one_that_was_forged_is_found() {
    let place = Place::rotating(2);
    place.fill(6);
    let saved = fs::read(place.segment(1)).unwrap();
    let keep = Retention { keep_segments: Some(1), keep_age: None };
    place.log.prune(keep, Timestamp::now(), Some(&actor())).unwrap();
    place.is_whole(3);
    // Killed before the segments went.
    place.write(1, &saved);
    place.is_whole(3);
    let path = Anchor::path(&place.log.directory);
    let anchor = fs::read_to_string(&path).unwrap();
    for (forged, what) in [
        (anchor.replace("\"events_removed\":4", "\"events_removed\":5"), "sequence"),
        ("garbage".to_owned(), "garbage"),
        (String::new(), "empty"),
    ] {
        fs::write(&path, forged).unwrap();
        assert!(place.proof().broken.is_some(), "{what}");
        place.add(EventKind::SnapshotRead);
    }
    // Segments that were removed by hand, with an anchor that fits.
    let forged = Anchor::read(&place.log.directory);
    assert!(forged.is_err());
    fs::remove_file(&path).unwrap();
    assert!(place.proof().broken.is_some());
    fs::remove_file(place.segment(1)).unwrap();
    let first = Event::parse(place.lines(3)[0].as_bytes()).unwrap();
    let text = anchor.replace("\"segment\":2", "\"segment\":3");
    let last = Event::parse(place.lines(3)[1].as_bytes()).unwrap();
    let text = text.replace(&hex(&first.previous()), &hex(&last.hash()));
    fs::write(&path, text.replace("\"events_removed\":4", "\"events_removed\":6")).unwrap();
    fs::remove_file(place.segment(3)).unwrap();
    let broken = place.proof().broken.unwrap();
    assert_eq!(broken.segment, "anchor.json", "{broken:?}");
}

#[test]
fn a_broken_chain_is_evidence_and_not_removed() {
    let place = Place::rotating(2);
    place.fill(6);
    let mut bytes = fs::read(place.segment(1)).unwrap();
    bytes[30] ^= 1;
    place.write(1, &bytes);
    let keep = Retention { keep_segments: Some(1), keep_age: None };
    let refused = place.log.prune(keep, Timestamp::now(), Some(&actor()));
    assert!(matches!(refused, Err(AuditError::Damaged { .. })), "{refused:?}");
    assert!(place.segment(1).exists() && !Anchor::path(&place.log.directory).exists());
}

#[test]
fn a_clock_that_jumps_back_breaks_nothing_and_is_mentioned() {
    let place = Place::new();
    let first = place.add(EventKind::RepositoryCreated);
    let mut link = first.link();
    let mut bytes = fs::read(place.segment(1)).unwrap();
    for seconds in [5000, 4000, 6000] {
        let time = Timestamp::new(seconds, 0).unwrap();
        let record = Record::new(EventKind::SnapshotRead);
        let event = Event::make(&record, &actor(), time, link, None).unwrap().remove(0);
        bytes.extend_from_slice(format!("{}\n", event.line()).as_bytes());
        link = event.link();
    }
    place.write(1, &bytes);
    place.add(EventKind::SnapshotRead);
    assert_eq!(place.is_whole(5).clock_steps, [2, 3]);
}

#[test]
fn queries_choose_by_time_type_and_snapshot_in_both_orders() {
    let place = Place::rotating(2);
    let ids: Vec<_> = (0..6_u8).map(|byte| SnapshotId::of(&[byte])).collect();
    for (id, kind) in ids.iter().zip(
        [EventKind::SnapshotCreated, EventKind::SnapshotDeleted, EventKind::OperationFailed]
            .into_iter()
            .cycle(),
    ) {
        place.log.append(&actor(), &Record::new(kind).snapshots([*id])).unwrap();
    }
    let query = |filter: Filter| Query { filter, ..Query::default() };
    let kinds = |kinds: &[&str]| {
        query(Filter {
            kinds: kinds.iter().map(ToString::to_string).collect(),
            ..Filter::default()
        })
    };
    assert_eq!(place.shown(&kinds(&["snapshot.*"])), [1, 2, 4, 5]);
    assert_eq!(place.shown(&kinds(&["backup.*.failed", "*.deleted"])), [2, 3, 5, 6]);
    assert_eq!(place.shown(&kinds(&["snapshot"])), [0_u64; 0]);
    let snapshots = vec![ids[3].short()];
    assert_eq!(place.shown(&query(Filter { snapshots, ..Filter::default() })), [4]);
    let soon = Timestamp::new(Timestamp::now().seconds() + 60, 0);
    let past = Timestamp::new(60, 0);
    for (since, until, count) in
        [(past, soon, 6), (soon, None, 0), (None, past, 0), (None, soon, 6), (past, None, 6)]
    {
        let filter = Filter { since, until, ..Filter::default() };
        assert_eq!(place.shown(&query(filter)).len(), count);
    }
    let mut last = Query { limit: Some(3), ..Query::default() };
    assert_eq!(place.shown(&last), [4, 5, 6]);
    last.is_newest_first = true;
    assert_eq!(place.shown(&last), [6, 5, 4]);
    last.limit = None;
    assert_eq!(place.shown(&last), [6, 5, 4, 3, 2, 1]);
    last.limit = Some(100);
    assert_eq!(place.shown(&last), [6, 5, 4, 3, 2, 1]);
}

#[test]
fn a_follower_sees_each_event_once_beyond_rotations() {
    let place = Place::rotating(2);
    let mut follower = place.log.follow().unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        place.fill(3);
        seen.extend(follower.next_events().unwrap().iter().map(Event::sequence));
    }
    assert_eq!(seen, (1..=9).collect::<Vec<_>>());
    let bytes = fs::read(place.segment(5)).unwrap();
    let other = place.add(EventKind::SnapshotRead);
    let whole = fs::read(place.segment(5)).unwrap();
    // Half of it is nothing yet.
    place.write(5, &whole[..whole.len() - 20]);
    assert!(bytes.len() < whole.len() && follower.next_events().unwrap().is_empty());
    place.write(5, &whole);
    assert_eq!(follower.next_events().unwrap()[0].hash(), other.hash());
}

#[test]
fn threads_that_append_at_once_make_one_chain() {
    let place = Place::rotating(17);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..12).for_each(|_| drop(place.add(EventKind::SnapshotRead))));
        }
    });
    assert_eq!(place.is_whole(96).segments, 6);
}

#[test]
fn large_records_become_several_events_and_long_texts_are_cut() {
    let place = Place::new();
    let ids = (0..2500_u32).map(|number| SnapshotId::of(&number.to_le_bytes()));
    let long = "\u{e9}".repeat(10_000);
    let mut record = Record::new(EventKind::SnapshotPruned).snapshots(ids).text("error", &long);
    for _ in 0..150 {
        record = record.path(&long);
    }
    let events = place.log.append(&actor(), &record).unwrap();
    let sizes: Vec<_> = events.iter().map(|event| event.subject().snapshots.len()).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    let subject = events[0].subject();
    assert_eq!(
        (subject.paths.len(), subject.paths_omitted, subject.paths[0].len()),
        (100, 50, 4096)
    );
    place.is_whole(3);
    assert_eq!(place.add(EventKind::SnapshotRead).sequence(), 4);
}

#[test]
fn nothing_is_made_where_there_is_no_repository() {
    let place = Place::new();
    fs::remove_file(place.root.path().join("config")).unwrap();
    let record = Record::new(EventKind::SnapshotRead);
    let refused = place.log.append(&actor(), &record);
    assert!(matches!(refused, Err(AuditError::NoRepository { .. })));
    assert!(!place.log.exists());
    let proof = place.proof();
    assert_eq!((proof.events, proof.head, proof.broken), (0, None, None));
}

#[test]
fn pipes_directories_and_garbage_in_the_place_of_files_hold_nothing_up() {
    let record = Record::new(EventKind::SnapshotRead);
    for name in ["segment-000001.json", "lock", "anchor.json"] {
        for garbage in [false, true] {
            let place = Place::new();
            fs::create_dir(&place.log.directory).unwrap();
            let path = place.log.directory.join(name);
            if garbage {
                fs::create_dir(&path).unwrap();
            } else {
                let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
            }
            assert!(place.log.append(&actor(), &record).is_err(), "{name}");
            let _ = (
                place.log.verify(None),
                place.log.visit(&Query::default(), &mut |_| ControlFlow::Continue(())),
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_behind_a_chain_are_survived_and_cost_no_event(
        junk in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(0), Just(b'"'), any::<u8>()], 0..300),
        whole in any::<bool>(),
    ) {
        let place = Place::new();
        if whole {
            place.fill(2);
        } else {
            fs::create_dir(&place.log.directory).unwrap();
        }
        let mut bytes = fs::read(place.segment(1)).unwrap_or_default();
        bytes.extend_from_slice(&junk);
        place.write(1, &bytes);
        let kept = if whole { 2 } else { 0 };
        let before = place.proof();
        prop_assert_eq!(before.events, kept);
        place.add(EventKind::SnapshotRead);
        let after = place.proof();
        // Appending neither hides what is broken nor breaks what is not.
        prop_assert_eq!(before.broken.is_none(), after.broken.is_none());
        prop_assert_eq!(place.shown(&Query::default()).len() as u64, kept + 1);
    }
}
