//! Tables of the store that lost their end, or a part of their index: what is before the
//! cut, or what the part leads to, is not lost.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use icecore::store::rocks::untrusted::forged_files;

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, SEED, plain_tree};
use crate::support::generate::{directory, file};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

/// Bytes of a footer: the table cannot be opened without it.
const FOOTER: usize = 53;
const FILES: usize = 60;

/// The table with the content.
fn largest(repo: &Repo) -> PathBuf {
    let entries = fs::read_dir(repo.path().join("db")).expect("it can be listed").flatten();
    let tables = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some());
    let size = |path: &PathBuf| fs::metadata(path).expect("it is there").len();
    tables
        .filter(|path| path.extension().is_some_and(|kind| kind == "sst"))
        .max_by_key(size)
        .expect("there are tables")
}

fn cut(table: &Path, bytes: usize) {
    let content = fs::read(table).expect("it can be read");
    // The repository may share the file with others by links.
    fs::remove_file(table).expect("it can be removed");
    file(table, &content[..bytes]);
}

fn lose_manifest(repo: &Repo) {
    for entry in fs::read_dir(repo.path().join("db")).expect("it can be listed").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "CURRENT" || name.starts_with("MANIFEST-") {
            fs::remove_file(entry.path()).expect("it can be removed");
        }
    }
}

fn fixture() -> Fixture {
    Fixture::built(|source| plain_tree(source, SEED, FILES, 12_000))
}

/// Files of the snapshot that read back as they were; others must be errors.
fn whole_files(fixture: &Fixture) -> usize {
    let mount = Mount::new(&fixture.repo);
    let shown = fixture.in_mount(&mount);
    let mut whole = 0;
    for number in 0..FILES {
        let name = format!("directory-{}/file-{number}", number / 10);
        let source = fs::read(fixture.source.join(&name)).expect("the source is there");
        match fs::read(shown.join(&name)) {
            Ok(read) => {
                assert!(read == source, "other bytes in {name}");
                whole += 1;
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(5), "{name}: {error}"),
        }
    }
    mount.unmount();
    whole
}

#[test]
fn a_table_without_its_footer_loses_nothing() {
    if !require_fuse() {
        return;
    }
    for without_manifest in [false, true] {
        let fixture = fixture();
        let table = largest(&fixture.repo);
        let size = fs::metadata(&table).expect("it is there").len();
        cut(&table, usize::try_from(size).expect("it is small") - FOOTER);
        if without_manifest {
            lose_manifest(&fixture.repo);
        }
        let outcome = fixture.repo.ok(["repair", "--yes"]);
        let told = format!("{FILES} objects were read from its beginning on");
        assert!(outcome.text().contains(&told), "{}", outcome.text());
        fixture.repo.ok(["check", "--read-data"]);
        assert_eq!(whole_files(&fixture), FILES);
    }
}

#[test]
fn a_table_cut_in_the_middle_keeps_what_is_before_the_cut() {
    if !require_fuse() {
        return;
    }
    for without_manifest in [false, true] {
        let fixture = fixture();
        let table = largest(&fixture.repo);
        let size = fs::metadata(&table).expect("it is there").len();
        cut(&table, usize::try_from(size).expect("it is small") / 3 * 2);
        if without_manifest {
            lose_manifest(&fixture.repo);
        }
        let hurt = fixture.repo.run(["repair", "--yes", "--json"]).expect(4).last_json_line();
        let lost = hurt["hurt"][0]["left_out_count"].as_u64().expect("a count");
        let lost = usize::try_from(lost).expect("it is small");
        assert!((FILES / 4..=FILES / 3 + 2).contains(&lost), "{lost} of {FILES} are lost");
        assert_eq!(whole_files(&fixture), FILES - lost);
        let healed = fixture.repo.create(&fixture.source);
        fixture.repo.ok(["check", "--read-data"]);
        assert_eq!(whole_files(&fixture), FILES, "{healed} did not heal it");
    }
}

/// The parts of the index of a table, each a place and bytes: of what is no data they are
/// read last.
fn parts_of_index(table: &Path) -> Vec<(u64, u64)> {
    let alone = Scratch::new();
    let copy = alone.join("1.sst");
    fs::copy(table, &copy).expect("it can be copied");
    let mut blocks = Vec::new();
    let faults = forged_files(copy.parent().expect("it has one"), &mut |at, bytes| {
        blocks.push((at, bytes));
        ControlFlow::Continue(())
    });
    assert_eq!(faults.expect("it can be read"), []);
    // The directory, the properties, and what leads to the parts.
    let first = blocks[3].0;
    let top = blocks[2].0;
    blocks.retain(|(at, _)| (first..top).contains(at));
    blocks
}

#[test]
fn what_a_damaged_part_of_an_index_leads_to_is_read_without_it() {
    let mut rng = Rng::new(41);
    let fixture = Fixture::built(|source| {
        directory(source);
        for number in 0..1500 {
            file(&source.join(format!("file-{number}")), &rng.bytes(5000));
        }
    });
    let repo = &fixture.repo;
    let table = largest(repo);
    let parts = parts_of_index(&table);
    assert!(parts.len() > 3, "{parts:?}");
    let (at, bytes) = parts[1];
    let mut content = fs::read(&table).expect("it can be read");
    content[usize::try_from(at + bytes / 2).expect("small")] ^= 0x55;
    fs::remove_file(&table).expect("it can be removed");
    file(&table, &content);

    let report = repo.run(["check", "--read-data"]).expect(4).text();
    assert!(report.contains("block_type = Index"), "{report}");
    let restored = |name: &str| {
        let target = fixture.source.with_file_name(name);
        let named = format!("{}:{}", fixture.id, fixture.source.display());
        repo.ok(args!["restore", named, &target]);
        assert_same(&fixture.source, &target, Rules::ALL);
    };
    restored("before");
    let done = repo.ok(["repair", "--yes", "--json"]).last_json_line();
    assert_eq!((&done["replaced_files"], &done["hurt"]), (&1.into(), &serde_json::json!([])));
    repo.ok(["check", "--read-data"]);
    restored("after");
}
