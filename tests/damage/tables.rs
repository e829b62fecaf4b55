//! Tables of the store that lost their end: what is before the cut is not lost.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::fixture::{Fixture, SEED, plain_tree};
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;

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
