//! A driver for every target on a stable compiler: seeds that are nearly right,
//! changed at random. `ICECORE_FUZZ_SECONDS` says how long each target runs, and
//! `fuzz/regressions` holds what was ever found.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{TARGETS, run};
use crate::audit::{Actor, AuditLog, EventKind, Record, Rotation};
use crate::base::codec::Encoder;
use crate::compression::Compression;
use crate::repository::{Layout, envelope};

/// Inputs that each target gets when nobody asks for more.
const INPUTS: usize = 2000;
const INPUT_BYTES_MAX: usize = 4096;

/// A small source of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// Inputs that a target understands, at least in part.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let record = |canonical: &[u8]| {
        let mut encoder = Encoder::new();
        encoder.bytes(canonical);
        encoder.finish()
    };
    let file = [0, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c'];
    let leaf = [&[1, 1, 0, 0, 0, 0, 1, 1, b'a'][..], &file].concat();
    let list = [&[1, 2, 0x21][..], &[20], &[7; 32]].concat();
    match target {
        "decode_tree" => vec![record(&leaf), record(&[1, 0, 0])],
        "decode_chunk_list" => vec![record(&list), record(&[2, 1, 0])],
        "decode_manifest" => {
            let root = [&[1, 0, 0, 0, 0][..], &[5; 32], &[0; 6]].concat();
            vec![record(&[&[1][..], &[0; 10], &[0; 11], &[0; 4], &root].concat())]
        }
        "decode_config" => vec![super::views::CONFIG.into(), b"format_version = 2".to_vec()],
        "open_envelope" => [Compression::None, Compression::Lz4, Compression::Zstd(3)]
            .map(|compression| envelope::seal(&[7; 3000], compression))
            .to_vec(),
        "decode_note" => vec![vec![1, 1, 1, 1, b'x', 1], vec![1, 0, 2, 4, 0]],
        "decode_lease" => vec![[&[1][..], &[3; 64]].concat(), vec![0; 4096]],
        "decode_scan_page" => vec![[&[1][..], &[4; 32], &[1; 10]].concat()],
        "parse_event" => vec![EVENT.into()],
        "verify_log" => vec![honest_log(u64::MAX), honest_log(2), EVENT.into()],
        "view_model" | "view_operations" | "check_repository" => {
            (1..20).map(|seed| bytes(seed, 800)).chain([vec![0; 64]]).collect()
        }
        "parse_time" => ["yesterday", "2026-11-19T03:00", "90d", "1y6m", "@60", "2h ago"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
        _ => vec![b"name".to_vec(), (0..=255).collect(), vec![0; 64]],
    }
}

const EVENT: &str = "{\"sequence\":1,\"id\":\"00000000000000000000000000000000\",\"time\":\
    \"2026-11-19T03:00:00Z\",\"type\":\"backup.x\",\"actor\":{},\"subject\":{},\"payload\":{},\
    \"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"hash\":\
    \"0000000000000000000000000000000000000000000000000000000000000000\"}\n";

/// Bytes of chance.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..count).map(|_| numbers.next().to_le_bytes()[0]).collect()
}

/// The segments of a log of three events, of so many events each.
fn honest_log(segment_events: u64) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::new(scratch.path());
    fs::create_dir(layout.log()).unwrap();
    fs::write(layout.config(), super::views::CONFIG).unwrap();
    let rotation = Rotation { events: segment_events, ..Rotation::default() };
    let log = AuditLog::new(&layout).with_rotation(rotation);
    let text = || "somebody".to_owned();
    let actor = Actor { user: text(), uid: 7, host: text(), pid: 42, program: text() };
    for kind in [EventKind::RepositoryCreated, EventKind::SnapshotCreated, EventKind::LogPruned] {
        log.append(&actor, &Record::new(kind).path("/etc").count("files", 5)).unwrap();
    }
    let mut names: Vec<_> =
        fs::read_dir(layout.log()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let segments = names.iter().filter(|path| path.extension().is_some());
    let parts: Vec<_> = segments.map(|path| fs::read(path).unwrap()).collect();
    parts.join(&b'#')
}

/// Changes an input at a few random places.
fn change(input: &mut Vec<u8>, numbers: &mut Numbers) {
    const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'/', b'.', 0x1b];
    for _ in 0..1 + numbers.below(6) {
        let at = numbers.below(input.len() + 1);
        let odd = ODD[numbers.below(ODD.len())];
        match numbers.below(6) {
            0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            1 if at < input.len() => input[at] = odd,
            2 => input.insert(at, odd),
            3 if at < input.len() => drop(input.remove(at)),
            4 => input.truncate(at),
            _ => {
                let more: Vec<u8> =
                    (0..numbers.below(40)).map(|_| numbers.next().to_le_bytes()[0]).collect();
                input.splice(at..at, more);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

#[test]
fn no_target_panics_on_changed_seeds() {
    let seconds = option_env_seconds();
    for (number, (name, target)) in TARGETS.into_iter().enumerate() {
        let mut numbers = Numbers(number as u64 ^ seconds.map_or(0, |_| seed_of_the_clock()));
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut kept = seeds(name);
        kept.iter().for_each(|seed| target(seed));
        let mut count = 0;
        while until.map_or(count < INPUTS, |until| Instant::now() < until) {
            count += 1;
            let mut input = kept[numbers.below(kept.len())].clone();
            change(&mut input, &mut numbers);
            let note = Note { name, input: &input };
            target(note.input);
            std::mem::forget(note);
            if numbers.below(8) == 0 && kept.len() < 200 {
                kept.push(input);
            }
        }
        eprintln!("{name}: {count} inputs");
    }
}

/// Tells the input of a target that panicked, so that it can be kept.
struct Note<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        eprintln!("{} panicked on {}", self.name, crate::base::id::hex(self.input));
    }
}

fn option_env_seconds() -> Option<u64> {
    std::env::var("ICECORE_FUZZ_SECONDS").ok()?.parse().ok()
}

fn seed_of_the_clock() -> u64 {
    crate::base::time::Timestamp::now().nanoseconds().into()
}

#[test]
fn what_was_ever_found_is_handled() {
    for (name, target) in TARGETS {
        for entry in fs::read_dir(folder("regressions").join(name)).into_iter().flatten() {
            target(&fs::read(entry.unwrap().path()).unwrap());
        }
    }
    run("no such target", b"");
}

#[test]
fn every_target_has_its_file_for_cargo_fuzz_and_no_file_is_left() {
    let mut files: Vec<String> = fs::read_dir(folder("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut names = TARGETS.map(|(name, _)| name.to_owned()).to_vec();
    files.sort();
    names.sort();
    assert_eq!(files, names);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in names {
        let text = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("run(\"{name}\"")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
