//! What a snapshot says of itself, how it is stored, and what a dry run tells.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::place::{Place, rest, summary_of};
use crate::support::args;
use crate::support::command::{run, run_tool};
use crate::support::encrypt::encrypts;
use crate::support::fixture::plain_tree;
use crate::support::generate::directory;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of, id_of};
use crate::support::rng::Rng;

#[test]
fn tags_description_host_and_time_are_kept_as_given() {
    let place = Place::with(&["a"]);
    let text = "before the upgrade, \"quoted\" \u{e9}";
    let mut options = args!["--tag", "one", "--tag", "two, and a comma", "--description"].to_vec();
    options.extend(args![text, "--host", "elsewhere", "--time", "2026-11-19T03:04:05Z"]);
    let summary = place.create(&options);
    let listed = place.listed(&summary);
    assert_eq!(listed["tags"], json!(["one", "two, and a comma"]));
    assert_eq!(listed["description"], text);
    assert_eq!(listed["host"], "elsewhere");
    assert_eq!(listed["time"], "2026-11-19T03:04:05Z");
    assert_eq!(summary["time"], listed["time"]);
    let shown = place.repo.ok(["show", "latest"]).text();
    for word in ["two, and a comma", "before the upgrade", "elsewhere", "2026-11-19"] {
        assert!(shown.contains(word), "{shown} lacks {word}");
    }
    let shown = place.repo.ok(["show", "latest", "--json"]).json();
    for field in ["tags", "description", "host", "time", "parent"] {
        assert_eq!(shown[field], listed[field], "{field}");
    }
}

/// The lengths of the records go through all from the shortest on, 255 among them, which
/// once read as the mark of an encrypted record does.
#[test]
fn a_description_of_any_length_is_kept_and_the_next_snapshot_is_taken() {
    let place = Place::with(&["a"]);
    for length in 0..130 {
        let text = "x".repeat(length);
        let options = args!["--time", "@1700000000", "--host", "h", "--description", &text];
        let summary = place.create(&options);
        assert_eq!(place.listed(&summary)["description"], text, "{length}");
        place.repo.ok(["delete", "--yes", &id_of(&summary)]);
    }
    let summary = place.create(&[]);
    assert_eq!(place.listed(&summary)["description"], "");
    place.repo.ok(["check"]);
}

#[test]
fn a_time_is_given_in_any_of_the_documented_forms() {
    let place = Place::with(&["a"]);
    for (text, expected) in [
        ("2026-11-19T03:00:00Z", "2026-11-19T03:00:00Z"),
        ("2026-11-19T03:00:00+02:00", "2026-11-19T01:00:00Z"),
        ("2026-11-19 03:00", "2026-11-19T03:00:00Z"),
        ("2026-11-19T03:00", "2026-11-19T03:00:00Z"),
        ("@1700000000", "2023-11-14T22:13:20Z"),
    ] {
        let summary = place.create(&args!["--time", text]);
        assert_eq!(place.listed(&summary)["time"], expected, "{text}");
    }
    let newest = place.create(&[]);
    let earlier = place.create(&args!["--time", "2h"]);
    let times = [&newest, &earlier].map(|one| one["time"].as_str().map(str::to_owned));
    assert!(times[1] < times[0], "{times:?}");
    let latest = place.repo.ok(["show", "latest", "--json"]).json();
    assert_eq!(id_of(&latest), id_of(&newest), "the newest by its time, not by its making");
}

#[test]
fn the_parent_is_the_newest_snapshot_of_the_same_host_and_sources() {
    let place = Place::with(&["a", "dir/b"]);
    let parent = |summary: &Value| summary["parent"].as_str().map(str::to_owned);
    let first = place.create(&[]);
    assert_eq!(parent(&first), None);
    let elsewhere = place.create(&args!["--host", "elsewhere"]);
    assert_eq!(parent(&elsewhere), None, "another host");
    let other = summary_of(&run(place.command(&args!["--json", "dir"]).arg("a")).expect(0));
    assert_eq!(parent(&other), None, "other sources");
    let second = place.create(&[]);
    assert_eq!(parent(&second), Some(id_of(&first)));
    assert_eq!(parent(&place.create(&args!["--host", "elsewhere"])), Some(id_of(&elsewhere)));
    let id = id_of(&elsewhere);
    for name in [&id, &id[..12]] {
        let given = place.create(&args!["--parent", name]);
        assert_eq!(parent(&given), Some(id.clone()), "{name}");
        assert_eq!(place.listed(&given)["parent"], id);
        assert_eq!(count_of(&given, "files"), 2);
    }
    assert_ne!(parent(&place.create(&[])), None);
}

#[test]
fn access_times_are_kept_if_wanted() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["old", "new", "dir/inside"]);
    let stamped = [("old", 1_000_000_000), ("new", 1_600_000_000), ("dir/inside", 7)];
    let atime = |path: &Path| {
        let text = run_tool("stat", args!["-c", "%X", path]).text();
        text.trim().parse::<i64>().expect("a number")
    };
    let stamp = || {
        for (name, seconds) in stamped {
            run_tool("touch", args!["-a", "-d", format!("@{seconds}"), place.at(name)]);
        }
    };
    stamp();
    let with = id_of(&place.create(&args!["--with-atime"]));
    stamp();
    let without = id_of(&place.create(&[]));
    let mount = Mount::new(&place.repo);
    for (name, seconds) in stamped {
        assert_eq!(atime(&mount.snapshot(&with).join(name)), seconds, "{name}");
        assert_ne!(atime(&mount.snapshot(&without).join(name)), seconds, "{name}");
        assert_eq!(place.repo.ok(["cat", &format!("{with}:{name}")]).text(), name);
    }
    mount.unmount();
}

#[test]
fn an_access_time_alone_makes_no_file_changed() {
    let place = Place::with(&["a", "b"]);
    rest();
    let first = place.create(&[]);
    run_tool("touch", args!["-a", "-d", "@1234567", place.at("a")]);
    place.create(&[]);
    rest();
    let second = place.create(&[]);
    assert_eq!(place.listed(&second)["root"], place.listed(&first)["root"]);
}

/// What `stats` says of a repository, and its files of data.
fn stored(repo: &Repo) -> (Value, Vec<String>) {
    let is_data = |line: &String| line.contains(".sst") || line.contains(".blob");
    let data = inventory(repo).into_iter().filter(is_data).collect();
    let mut stats = repo.ok(["stats", "--json"]).json();
    // The database counts its own books too.
    stats["disk_bytes"] = Value::Null;
    (stats, data)
}

/// Names and sizes of what is in a repository, without its log.
fn inventory(repo: &Repo) -> Vec<String> {
    let script = "cd \"$1\" && find . -type f ! -name 'LOG*' -printf '%p %s\\n' | sort";
    let text = run_tool("bash", args!["-c", script, "bash", repo.path()]).text();
    text.lines().map(str::to_owned).collect()
}

/// A dry run and the same for real after it, of a tree that changes between.
fn dry_and_real(check: impl Fn(&Value, &Value)) {
    let place = Place::new();
    plain_tree(&place.at("first"), 1, 30, 20_000);
    let compare = |options: &[OsString]| {
        let before = (place.repo.ids(), stored(&place.repo));
        let dry = place.create(&[options, &args!["--dry-run"]].concat());
        assert_eq!((dry["dry_run"].clone(), dry["id"].clone()), (json!(true), json!(null)));
        assert_eq!(dry["short_id"], json!(null));
        assert_eq!((place.repo.ids(), stored(&place.repo)), before);
        let real = place.create(options);
        assert_eq!(real["dry_run"], false);
        check(&dry, &real);
        real
    };
    let first = compare(&[]);
    assert_eq!(count_of(&first, "files_new"), 30, "{first}");
    rest();
    compare(&[]);
    place.file("first/directory-0/file-3", &Rng::new(2).bytes(50_000));
    plain_tree(&place.at("second"), 3, 20, 300_000);
    std::fs::remove_dir_all(place.at("first/directory-1")).expect("it is there");
    let changed = compare(&args!["-e", "file-4"]);
    assert!(count_of(&changed, "added_bytes") >= 18 * 300_000, "{changed}");
    compare(&args!["--force"]);
}

#[test]
fn a_dry_run_stores_nothing_and_tells_what_a_create_would_do() {
    dry_and_real(|dry, real| {
        let own = ["dry_run", "id", "short_id", "time", "seconds", "added_bytes", "stored_bytes"];
        for (field, value) in dry.as_object().expect("it is an object") {
            if !own.contains(&field.as_str()) {
                assert_eq!(value, &real[field], "{field}: {dry}\nthen {real}");
            }
        }
    });
}

#[test]
fn a_dry_run_tells_to_the_byte_what_a_create_would_add() {
    dry_and_real(|dry, real| {
        for field in ["added_bytes", "stored_bytes"] {
            assert_eq!(dry[field], real[field], "{field}: {dry}\nthen {real}");
        }
    });
}

#[test]
fn a_dry_run_leaves_every_file_of_the_repository_as_it_is() {
    let place = Place::with(&["a", "b"]);
    place.create(&[]);
    place.file("b", &[b'x'; 100_000]);
    let before = inventory(&place.repo);
    place.create(&args!["--dry-run"]);
    assert_eq!(inventory(&place.repo), before);
}

#[test]
fn a_dry_run_says_so_to_people() {
    let place = Place::with(&["a", "b"]);
    for option in ["-n", "--dry-run"] {
        let text = run(place.command(&args![option]).arg(".")).expect(0).text();
        assert_eq!(text.lines().last(), Some("Dry run: no snapshot was made"), "{text}");
        assert!(text.contains("Would add"), "{text}");
    }
    assert_eq!(place.repo.ids(), [""; 0]);
}

#[test]
fn people_read_what_was_done_and_the_id_in_the_last_line() {
    let place = Place::with(&["a", "b", "dir/c"]);
    let text = run(place.command(&[]).arg(".")).expect(0).text();
    let id = place.repo.ids().pop().expect("there is a snapshot");
    assert_eq!(text.lines().last(), Some(format!("Snapshot {id}").as_str()), "{text}");
    assert!(text.contains("Files: 3 new, 0 changed, 0 unmodified"), "{text}");
    for word in ["Directories: ", "Read 3 files, ", "Added ", " chunks and "] {
        assert!(text.contains(word), "{text} lacks {word:?}");
    }
}

#[test]
fn a_stronger_compression_stores_less_and_the_same() {
    let content = Rng::new(11).prose(3_000_000);
    let stored = |level: &[&str]| {
        let place = Place::new();
        place.file("prose", &content);
        place.file("random", &Rng::new(12).bytes(100_000));
        place.file("empty", b"");
        let options: Vec<_> = level.iter().map(Into::into).collect();
        let summary = place.create(&options);
        assert!(place.cat("prose") == content, "{level:?}");
        assert!(place.cat("random") == Rng::new(12).bytes(100_000), "{level:?}");
        place.repo.gc();
        assert!(place.cat("prose") == content, "{level:?} after gc");
        (count_of(&summary, "stored_bytes"), place.listed(&summary)["root"].clone())
    };
    let none = stored(&["--compression", "none"]);
    let lz4 = stored(&["--compression", "lz4"]);
    let zstd = stored(&["--compression", "zstd"]);
    let three = stored(&["--compression", "zstd:3"]);
    let nineteen = stored(&["--compression", "zstd:19"]);
    assert!(none.0 >= 3_100_000, "{none:?}");
    assert!(none.0 > lz4.0 && lz4.0 > zstd.0, "{none:?} {lz4:?} {zstd:?}");
    assert!(zstd.0 > nineteen.0, "{zstd:?} {nineteen:?}");
    // Each key cuts elsewhere.
    let bound = if encrypts() { 40_000 } else { 2_000 };
    let close = |a: u64, b: u64| a.abs_diff(b) < bound;
    assert!(close(zstd.0, three.0), "3 is the level of zstd: {zstd:?} {three:?}");
    assert!(close(stored(&[]).0, lz4.0), "lz4 is what is used unless told otherwise");
}

#[test]
fn compressions_may_be_mixed_in_one_repository() {
    let place = Place::new();
    let mut rng = Rng::new(13);
    let mut expected = Vec::new();
    for level in ["none", "zstd:1", "lz4", "zstd:22", "zstd"] {
        let name = format!("with-{}", level.replace(':', "-"));
        expected.push((name.clone(), rng.prose(200_000)));
        place.file(&name, &expected[expected.len() - 1].1);
        place.create(&args!["--compression", level]);
    }
    for (name, content) in &expected {
        assert!(&place.cat(name) == content, "{name}");
    }
    let again = place.create(&args!["--force", "--compression", "none"]);
    assert_eq!(count_of(&again, "added_chunks"), 0, "stored already: {again}");
}

#[test]
fn the_same_tree_gives_the_same_root_however_many_files_are_read_at_once() {
    let place = Place::new();
    plain_tree(&place.at("tree"), 4, 60, 30_000);
    crate::support::generate::file(&place.at("big"), &Rng::new(6).bytes(9 << 20));
    directory(&place.at("empty"));
    let roots = ["1", "2", "8", "64"].map(|count| {
        let summary = place.create(&args!["--force", "--read-concurrency", count]);
        place.listed(&summary)["root"].clone()
    });
    assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
}

#[test]
fn a_bad_value_is_refused_and_makes_no_snapshot() {
    let place = Place::with(&["a"]);
    let wrong: [(&[&str], &str); 19] = [
        (&["--compression", "zstd:99"], "zstd:99"),
        (&["--compression", "zstd:23"], "zstd:23"),
        (&["--compression", "zstd:0"], "zstd:0"),
        (&["--compression", "zstd:"], "zstd:"),
        (&["--compression", "lz4:3"], "lz4:3"),
        (&["--compression", "gzip"], "gzip"),
        (&["--limit-rate", "x"], "x"),
        (&["--limit-rate", "10Q"], "10Q"),
        (&["--limit-rate", "-1"], "-1"),
        (&["--time", "nonsense"], "nonsense"),
        (&["--time", "2026-13-45"], "2026-13-45"),
        (&["--exclude-file", "missing-list"], "missing-list"),
        (&["--iexclude-file", "missing-list"], "missing-list"),
        (&["--exclude", "a["], "a["),
        (&["--iexclude", "a["], "a["),
        (&["--include", "a["], "a["),
        (&["--exclude-larger-than", "large"], "large"),
        (&["--read-concurrency", "0"], "0"),
        (&["--read-concurrency", "many"], "many"),
    ];
    for (options, word) in wrong {
        let options: Vec<_> = options.iter().map(Into::into).collect();
        let outcome = run(place.command(&options).arg("."));
        assert_eq!(outcome.code, 2, "{options:?}: {}", outcome.error());
        assert!(outcome.error().contains(word), "{options:?}: {}", outcome.error());
        assert!(outcome.stdout.is_empty(), "{options:?} mixes complaints with facts");
    }
    let outcome = run(place.command(&args!["--parent", "no-such-one"]).arg("."));
    assert!([1, 2].contains(&outcome.code), "code {}", outcome.code);
    let code = outcome.code;
    outcome.fails(code, &["no-such-one"]);
    assert_eq!(place.repo.ids(), [""; 0]);
}

#[test]
fn a_bad_pattern_in_a_file_is_said_with_the_name_of_the_file() {
    let place = Place::with(&["a"]);
    crate::support::generate::file(&place.at("patterns"), b"*.o\n\nb[\n");
    let outcome = run(place.command(&args!["--exclude-file", "patterns"]).arg("."));
    outcome.fails(2, &["patterns", "b["]);
    assert_eq!(place.repo.ids(), [""; 0]);
}

#[test]
fn limit_rate_slows_reading_down() {
    let place = Place::new();
    for index in 0..4 {
        place.file(&format!("file-{index}"), &Rng::new(index).bytes(750_000));
    }
    rest();
    let start = Instant::now();
    place.create(&args!["--limit-rate", "1M"]);
    let took = start.elapsed().as_secs_f64();
    assert!(took > 1.5, "3 MB at 1 MB a second took {took} s");
    let start = Instant::now();
    place.create(&args!["--limit-rate", "1M"]);
    let took = start.elapsed().as_secs_f64();
    assert!(took < 1.5, "what is not read is not slowed down, but took {took} s");
    let start = Instant::now();
    let input = Rng::new(9).bytes(1_500_000);
    place.create_fed(&args!["--stdin", "--limit-rate", "500KiB"], &input);
    let took = start.elapsed().as_secs_f64();
    assert!(took > 1.5, "1.5 MB at 0.5 MB a second took {took} s");
}
