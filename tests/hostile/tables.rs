//! Tables of the store that were made to lead the engine out of its memory.

use std::fs;
use std::path::PathBuf;

use crate::support::args;
use crate::support::command::run;
use crate::support::generate::{directory, file};
use crate::support::repo::{Repo, id_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

/// A repository of some snapshots with what a collection and a deletion leave behind.
fn old() -> (Scratch, Repo) {
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let source = scratch.mkdir("source");
    let mut rng = Rng::new(7);
    for round in 0..4_u64 {
        for number in 0..300 {
            let place = source.join(format!("{round}/{}", number % 7));
            directory(&place);
            file(&place.join(number.to_string()), &rng.bytes(10 + number * 30));
        }
        let summary = repo.ok(args!["create", "--json", &source]).last_json_line();
        if round == 1 {
            repo.ok(["delete", "--yes", &id_of(&summary)]);
            fs::remove_dir_all(source.join("1")).expect("it can be removed");
            repo.gc();
        }
    }
    (scratch, repo)
}

fn tables(repo: &Repo) -> Vec<PathBuf> {
    let entries = fs::read_dir(repo.path().join("db")).expect("there is a store");
    let mut tables: Vec<_> = entries.map(|entry| entry.expect("it is listed").path()).collect();
    tables.retain(|path| path.extension().is_some_and(|extension| extension == "sst"));
    tables.sort();
    tables
}

#[test]
fn a_repository_of_ones_own_is_let_through_by_a_check_that_trusts_nothing() {
    let (_scratch, repo) = old();
    let plain = repo.ok(["check", "--read-data", "--json"]).last_json_line();
    let wary = repo.ok(["check", "--untrusted", "--read-data", "--json"]).last_json_line();
    assert_eq!(plain, wary);
    assert!(tables(&repo).len() > 3);
    // What a command that was killed left there.
    fs::write(repo.path().join("db/999999.sst"), b"half a table").expect("it is written");
    repo.ok(["check", "--untrusted"]);
}

/// Neither is a key asked for, nor is anything opened or written: an attacker may have made
/// it all.
#[test]
fn a_table_that_leads_out_of_its_blocks_is_named_before_the_store_is_opened() {
    let (_scratch, repo) = old();
    for table in tables(&repo) {
        let honest = fs::read(&table).expect("it can be read");
        let mut forged = honest.clone();
        // The first key is said to share what no key came before.
        forged[0] = 0x7f;
        fs::write(&table, &forged).expect("it can be written");
        let name = table.file_name().expect("it has one").to_string_lossy().into_owned();
        let before = listing(&repo);
        let mut command = repo.command(["check", "--untrusted"]);
        command.env_remove("ICECORE_PASSWORD").env_remove("ICECORE_PASSWORD_FILE");
        let outcome = run(&mut command).expect(4);
        let said = outcome.text();
        let line =
            format!("file {name}: it is not what this program writes: in what begins at byte 0");
        assert!(said.starts_with(&line) && said.lines().count() == 1, "{said}");
        assert!(outcome.error().contains("The store was not opened"), "{}", outcome.error());
        let report = run(command.arg("--json")).expect(4).last_json_line();
        assert_eq!(report["damages"][0]["id"], name.as_str(), "{report}");
        assert_eq!(report["clean"], false);
        assert_eq!(listing(&repo), before, "something was written");
        fs::write(&table, &honest).expect("it can be written");
    }
    repo.ok(["check", "--untrusted"]);
}

fn listing(repo: &Repo) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut open = vec![repo.path().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("it is listed") {
            let path = entry.expect("it is listed").path();
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            if metadata.is_dir() {
                open.push(path);
            } else {
                found.push((path, metadata.len()));
            }
        }
    }
    found.sort();
    found
}
