//! A driver for every target on a stable compiler: seeds that are nearly right,
//! changed at random. `ICECORE_FUZZ_SECONDS` says how long each target runs,
//! `ICECORE_FUZZ_TARGET` which one alone,
//! `ICECORE_FUZZ_CORPUS` where its seeds are written for cargo-fuzz, and
//! `fuzz/regressions` holds what was ever found.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::seeds::seeds;
use super::{TARGETS, run};

/// Inputs that each target gets when nobody asks for more.
const INPUTS: usize = 2000;
const INPUT_BYTES_MAX: usize = 4096;

/// Targets of which one input takes milliseconds, and inputs that each gets then.
const SLOW: [(&str, usize); 5] = [
    ("open_store", 40),
    ("open_forged_store", 300),
    ("prove_event_log", 300),
    ("read_sealed_records", 500),
    ("unlock_key_directory", 200),
];

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

/// Bytes of chance.
pub(super) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..count).map(|_| numbers.next().to_le_bytes()[0]).collect()
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
    let only = std::env::var("ICECORE_FUZZ_TARGET").ok();
    let is_known = |only: &String| TARGETS.iter().any(|(name, _)| name == only);
    assert!(only.as_ref().is_none_or(is_known), "{only:?} is no target");
    for (number, (name, target)) in TARGETS.into_iter().enumerate() {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut numbers = Numbers(number as u64 ^ seconds.map_or(0, |_| seed_of_the_clock()));
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut kept = seeds(name);
        kept.iter().for_each(|seed| target(seed));
        let mut count = 0;
        let slow = SLOW.iter().find(|(slow, _)| *slow == name);
        let inputs = slow.map_or(INPUTS, |(_, inputs)| *inputs);
        while until.map_or(count < inputs, |until| Instant::now() < until) {
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
fn every_target_has_seeds_and_takes_them() {
    let corpus = std::env::var_os("ICECORE_FUZZ_CORPUS").map(PathBuf::from);
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        for (number, seed) in seeds.iter().enumerate() {
            target(seed);
            if let Some(corpus) = &corpus {
                fs::create_dir_all(corpus.join(name)).unwrap();
                fs::write(corpus.join(name).join(format!("seed-{number}")), seed).unwrap();
            }
        }
    }
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
