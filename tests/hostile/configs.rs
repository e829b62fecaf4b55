//! Configurations and key files of any content.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::fixture::Fixture;
use crate::support::generate::file;
use crate::support::repo::Repo;

use super::ground::Ground;
use super::run::{Ends, MEMORY_MAX_KIB, Measured, bounded, bounded_tried};
use super::texts::STEERING;

/// Bytes of the one line that says what is wrong.
const LINE_BYTES_MAX: usize = 1500;

/// Commands that read and write.
const COMMANDS: [&str; 6] = ["list", "check", "gc", "create source", "repair -n", "log verify"];

/// Runs every command, and expects each to end with one short line, or well.
fn all(repo: &Repo, what: &str, codes: &[i32]) {
    let ground = Ground::new(false);
    for command in COMMANDS {
        let words: Vec<OsString> = command.split(' ').map(Into::into).collect();
        let outcome = bounded(repo, &words, Ends::ByItself, false, &ground.path());
        is_short(&outcome, &format!("{command} of {what}"));
        // The log needs no configuration, and a repair would make a new one.
        let is_stated = match command.split(' ').next() {
            Some("log") => true,
            Some("repair") => outcome.code == 4 || codes.contains(&outcome.code),
            _ => codes.contains(&outcome.code),
        };
        assert!(is_stated, "{command} of {what}: {} {}", outcome.code, outcome.error());
    }
}

/// A text that steers terminals, as TOML writes it.
fn escaped() -> String {
    STEERING.chars().map(|letter| format!("\\U{:08x}", u32::from(letter))).collect()
}

fn is_short(outcome: &Measured, what: &str) {
    assert!(outcome.time < Duration::from_secs(60), "{what}: {:?}", outcome.time);
    for line in outcome.error().lines() {
        assert!(line.len() <= LINE_BYTES_MAX, "{what}: {} bytes: {line}", line.len());
    }
}

#[test]
fn a_config_of_any_content_is_refused_in_one_short_line() {
    let fixture = Fixture::plain();
    let config = fixture.repo.path().join("config");
    let text = fs::read_to_string(&config).expect("it is there");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let key = escaped();
    let long = "x".repeat(60_000);
    let configs: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("zeros", vec![0; 60_000]),
        ("no text", vec![0xff; 60_000]),
        ("brackets", vec![b'['; 60_000]),
        ("tables", "[a]\n".repeat(15_000).into_bytes()),
        ("dots", format!("{}a = 1", "a.".repeat(30_000)).into_bytes()),
        ("arrays", format!("a = {}", "[".repeat(60_000)).into_bytes()),
        ("inline tables", format!("a = {}", "{a=".repeat(20_000)).into_bytes()),
        ("one long line", format!("{} = 1", long).into_bytes()),
        ("far too large", vec![b'#'; 10 << 20]),
        (
            "a version of many digits",
            with("format_version = 1", &format!("format_version = {}", "9".repeat(50_000))),
        ),
        ("a version of 2^63", with("format_version = 1", "format_version = 9223372036854775807")),
        ("a version below zero", with("format_version = 1", "format_version = -1")),
        ("a version of 1e400", with("format_version = 1", "format_version = 1e400")),
        (
            "a key twice",
            with(
                "format_version = 1",
                &format!("\"{key}\" = 1\n\"{key}\" = 1\nformat_version = 1"),
            ),
        ),
        (
            "an unknown feature",
            with("required_features = []", &format!("required_features = [\"{key}\"]")),
        ),
        (
            "a long feature",
            with("required_features = []", &format!("required_features = [\"{long}\"]")),
        ),
        (
            "many features",
            with(
                "required_features = []",
                &format!("required_features = [{}]", "\"x\",".repeat(10_000)),
            ),
        ),
        ("another chunker", with("fastcdc-v2020", &key)),
        ("a long chunker", with("fastcdc-v2020", &long)),
        ("no id", with("id = \"", &format!("id = \"{key}"))),
        ("a text for a number", with("min_bytes = 16384", &format!("min_bytes = \"{key}\""))),
        ("a long text for a number", with("min_bytes = 16384", &format!("min_bytes = \"{long}\""))),
        ("chunks of 4 GiB", with("max_bytes = 262144", "max_bytes = 4294967295")),
        ("chunks of more", with("max_bytes = 262144", "max_bytes = 4294967296")),
        ("chunks of nothing", with("min_bytes = 16384", "min_bytes = 0")),
        ("chunks of no size", with("avg_bytes = 65536", "avg_bytes = 0")),
    ];
    for (what, bytes) in configs {
        fs::write(&config, bytes).expect("it can be written");
        all(&fixture.repo, what, &[1, 13]);
    }
    fs::write(&config, &text).expect("it can be written");
    all(&fixture.repo, "itself", &[0]);
}

/// An encrypted repository with a snapshot, whatever the environment says.
pub(super) fn encrypted() -> Repo {
    let repo = Repo::missing();
    let cheap = ["init", "--encrypt", "--kdf-memory", "1MiB", "--kdf-passes", "1"];
    let mut init = repo.command(cheap);
    if std::env::var_os("ICECORE_TEST_ENCRYPT").is_some() {
        init = repo.command(["init"]);
    }
    init.env("ICECORE_PASSWORD", crate::support::encrypt::PASSWORD);
    crate::support::command::run(&mut init).expect(0);
    let ground = Ground::new(false);
    file(&ground.source().join("plans"), b"attack at dawn");
    repo.create(&ground.source());
    repo
}

/// The only key file.
fn key_file(repo: &Repo) -> std::path::PathBuf {
    let mut files = fs::read_dir(repo.path().join("keys")).expect("it is there");
    files.next().expect("there is one").expect("it can be listed").path()
}

/// Runs a command whose password fits nothing, or something, within bounds.
fn tried(repo: &Repo, words: &[&str], what: &str) -> Measured {
    let words: Vec<OsString> = words.iter().map(Into::into).collect();
    let outcome = bounded_tried(repo, &words, Path::new("/"));
    assert!(outcome.memory_kib <= MEMORY_MAX_KIB);
    is_short(&outcome, what);
    outcome
}

#[test]
fn key_files_that_ask_for_2_to_the_32_of_anything_are_refused_before_they_are_paid() {
    let repo = encrypted();
    let path = key_file(&repo);
    let text = fs::read_to_string(&path).expect("it is there");
    for (field, number) in [
        ("memory_kib", "4294967295"),
        ("memory_kib", "4294967296"),
        ("memory_kib", "4194305"),
        ("memory_kib", "-1"),
        ("memory_kib", "1e9"),
        ("passes", "4294967295"),
        ("passes", "4294967296"),
        ("passes", "65"),
        ("passes", "0"),
        ("lanes", "4294967295"),
        ("lanes", "18446744073709551616"),
        ("lanes", "0"),
    ] {
        let edited: String = text
            .lines()
            .map(|line| match line.starts_with(field) {
                true => format!("{field} = {number}\n"),
                false => format!("{line}\n"),
            })
            .collect();
        assert_ne!(edited, text);
        fs::write(&path, edited).expect("it can be written");
        let outcome = tried(&repo, &["list"], &format!("{field} of {number}"));
        assert_eq!(outcome.code, 1, "{field} of {number}: {}", outcome.error());
        assert!(outcome.time < Duration::from_secs(10), "{field} of {number}: {:?}", outcome.time);
        // Beside one that is whole it costs nothing, and is shown.
        let whole = path.with_file_name("00000000");
        fs::write(&whole, &text).expect("it can be written");
        for (words, code) in [(&["list"][..], 0), (&["key", "list"], 1)] {
            let outcome = tried(&repo, words, &format!("{field} of {number}"));
            assert_eq!(outcome.code, code, "{words:?}: {}", outcome.error());
            assert!(outcome.time < Duration::from_secs(10), "{:?}", outcome.time);
        }
        fs::remove_file(whole).expect("it is there");
    }
}

#[test]
fn key_files_that_cost_much_together_are_left_out_and_named() {
    let repo = encrypted();
    let path = key_file(&repo);
    let text = fs::read_to_string(&path).expect("it is there");
    let value = |line: &str| match line.split(' ').next() {
        Some("memory_kib") => "memory_kib = 262144\n".to_owned(),
        Some("passes") => "passes = 64\n".to_owned(),
        _ => format!("{line}\n"),
    };
    let costly: String = text.lines().map(value).collect();
    for number in 10..41 {
        fs::write(path.with_file_name(format!("costly{number}")), &costly).expect("a file");
    }
    // The right password of a cheap one costs nothing of theirs.
    let outcome = tried(&repo, &["list"], "costly keys beside a cheap one");
    assert_eq!(outcome.code, 0, "{}", outcome.error());
    assert!(outcome.time < Duration::from_secs(10), "{:?}", outcome.time);
    let outcome = tried(&repo, &["key", "list"], "costly keys");
    let error = outcome.error();
    assert_eq!((outcome.code, error.lines().count()), (1, 31 - 3), "{error}");
    let is_named = |line: &str| line.contains("/keys/costly") && line.contains("64 GiB");
    assert!(error.lines().all(is_named), "{error}");
}

#[test]
fn texts_of_key_files_steer_no_terminal() {
    let repo = encrypted();
    let text = fs::read_to_string(key_file(&repo)).expect("it is there");
    let steering = escaped();
    let value = |field: &str, value: &str| -> String {
        let line = |line: &str| match line.starts_with(field) {
            true => format!("{field} = \"{value}\"\n"),
            false => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    };
    let long = "x".repeat(15_000);
    let keys = repo.path().join("keys");
    for (number, text) in [
        value("label", &steering),
        value("created", &steering),
        value("kind", &steering),
        value("kind", &long),
        value("salt", &steering),
        value("memory_kib", &steering),
        format!("\"{steering}\" = 1\n\"{steering}\" = 2\n{text}"),
        "[".repeat(16_000),
    ]
    .iter()
    .enumerate()
    {
        fs::write(keys.join(format!("{STEERING}{number}").replace('/', "")), text).expect("a file");
    }
    for words in [&["list"][..], &["key", "list"], &["check"], &["key", "remove", "x", "--yes"]] {
        let outcome = tried(&repo, words, &format!("{words:?}"));
        // Only a check looks for key files that open nothing.
        let is_right = if words == ["check"] { outcome.code == 4 } else { outcome.code < 2 };
        assert!(is_right, "{words:?}: {}", outcome.error());
    }
}

#[test]
fn a_plain_repository_whose_config_says_encrypted_takes_no_password_and_shows_nothing() {
    let (plain, other) = (Fixture::plain(), encrypted());
    if plain.repo.path().join("keys").is_dir() {
        return;
    }
    let config = plain.repo.path().join("config");
    let honest = fs::read_to_string(&config).expect("it is there");
    let foreign = fs::read_to_string(other.path().join("config")).expect("it is there");
    let (_, mark) = foreign.split_once("[encryption]").expect("it is encrypted");
    let claims = honest.replace("required_features = []", "required_features = [\"encryption-1\"]");
    assert_ne!(claims, honest);
    // One without the other, both without keys, and both with an attacker's keys.
    fs::write(&config, &claims).expect("it can be written");
    all(&plain.repo, "a feature alone", &[1]);
    fs::write(&config, format!("{honest}\n[encryption]{mark}")).expect("it can be written");
    all(&plain.repo, "a mark alone", &[1]);
    fs::write(&config, format!("{claims}\n[encryption]\nmark = \"x\"\n")).expect("it is there");
    let outcome = tried(&plain.repo, &["list"], "a mark of no form");
    let is_named = outcome.error().contains("the mark of the encryption is not 64 hexadecimal");
    assert!(outcome.code == 1 && is_named, "{} {}", outcome.code, outcome.error());
    fs::write(&config, format!("{claims}\n[encryption]{mark}")).expect("it can be written");
    for words in [&["list"][..], &["cat", &format!("{}:x", plain.id)], &["gc"]] {
        assert_eq!(tried(&plain.repo, words, "no keys").code, 12);
    }
    let keys = plain.repo.path().join("keys");
    fs::create_dir(&keys).expect("there was none");
    fs::copy(key_file(&other), keys.join("00000000")).expect("it can be copied");
    for words in [&["list"][..], &["create", "/dev/null"], &["gc"]] {
        let outcome = tried(&plain.repo, words, "foreign keys");
        assert_eq!(outcome.code, 12, "{words:?}: {}", outcome.error());
    }
    // An attacker who owns the whole store can only show damage.
    fs::write(&config, &foreign).expect("it can be written");
    let outcome = tried(&plain.repo, &["list"], "a foreign config");
    assert_eq!(outcome.code, 4, "{}", outcome.error());
    let shown = String::from_utf8_lossy(&outcome.stdout.kept).contains(&plain.id[..12]);
    assert!(!shown, "what is plain passes as encrypted");
    fs::remove_dir_all(&keys).expect("it is there");
    fs::write(&config, honest).expect("it can be written");
    plain.repo.ok(["check", "--read-data"]);
}
