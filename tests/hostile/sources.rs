//! A malicious source: content that is saved, chosen by somebody who knows the format.

use std::fs;
use std::path::Path;

use icecore::base::codec::Decoder;
use icecore::repository::{ObjectKind, envelope};

use crate::support::args;
use crate::support::command::{run, run_fed, run_tool};
use crate::support::encrypt::give_password;
use crate::support::generate::{directory, file};
use crate::support::repo::{Repo, count_of, plain_command};
use crate::support::rng::Rng;
use crate::support::rot::stored;
use crate::support::scratch::Scratch;

const TREE_TAG: &[u8] = b"icecore tree 1\0";
const LIST_TAG: &[u8] = b"icecore chunk list 1\0";

/// For every tree and every page of a list that a snapshot of the directory has, a file
/// in `into` whose SHA-256 is its id. Directories of small files have the same
/// encoding in any repository, encrypted ones included.
fn foresee(scratch: &Scratch, source: &Path, into: &Path) -> Vec<usize> {
    let path = scratch.join("twin");
    for words in [&["init"][..], &["create"]] {
        let mut command = plain_command();
        give_password(&mut command, false);
        command.arg("-r").arg(&path).args(words).args((words == ["create"]).then_some(source));
        run(&mut command).expect(0);
    }
    let twin = Repo::existing(&path);
    let mut counts = Vec::new();
    for (kind, tag) in [(ObjectKind::Tree, TREE_TAG), (ObjectKind::ChunkList, LIST_TAG)] {
        let all = stored(&twin, kind, |_| true);
        counts.push(all.len());
        for (id, sealed) in all {
            let plain = envelope::open(&sealed, 64 << 20).expect("it is not encrypted");
            let canonical =
                Decoder::new(&plain).bytes(64 << 20, "a record").expect("it decodes").to_vec();
            let forged = into.join(format!("{}-{id}", kind.name().replace(' ', "-")));
            file(&forged, &[tag, &canonical].concat());
            let digest = run_tool("sha256sum", args![&forged]).text();
            assert!(digest.starts_with(&id), "{digest} is not {id}");
        }
    }
    counts
}

fn is_whole(repo: &Repo, what: &str) {
    let report = repo.run(["check", "--read-data", "--json"]);
    assert_eq!(report.code, 0, "{what}: {} {}", report.text(), report.error());
}

#[test]
fn content_that_has_the_id_of_a_tree_or_of_a_list_takes_the_place_of_neither() {
    let scratch = Scratch::new();
    let [victim, evil] = ["victim", "evil"].map(|name| scratch.mkdir(name));
    for number in 0..4 {
        file(&directory(&victim.join(format!("{number}"))).join("small"), &[number; 9]);
    }
    // So many chunks that they are told in a list.
    file(&victim.join("large"), &Rng::new(3).bytes(12 << 20));
    let counts = foresee(&scratch, &victim, &evil);
    assert!(counts[0] > 5 && counts[1] > 0, "{counts:?} trees and pages of lists foreseen");
    let archive = scratch.join("evil.tar");
    run_tool("tar", args!["-C", &evil, "-cf", &archive, "."]);
    let first = fs::read_dir(&evil).expect("listed").next().expect("one").expect("listed").path();

    let way = |name: &str, repo: &Repo| match name {
        "create" => drop(repo.create(&evil)),
        "import" => drop(repo.ok(args!["import", &archive])),
        "stdin" => {
            let content = fs::read(&first).expect("it can be read");
            run_fed(&mut repo.command(["create", "--stdin"]), &content).expect(0);
            assert!(repo.ok(["cat", "latest:stdin"]).stdout == content);
        }
        _ => unreachable!("no such way"),
    };
    for name in ["create", "import", "stdin"] {
        for evil_is_first in [true, false] {
            let what = format!("{name}, {}", if evil_is_first { "first" } else { "second" });
            let repo = Repo::new();
            if evil_is_first {
                way(name, &repo);
            }
            let id = repo.create(&victim);
            if !evil_is_first {
                way(name, &repo);
            }
            is_whole(&repo, &what);
            let again = repo.create_json(args!["--force", &victim], 0);
            assert_eq!(count_of(&again, "errors"), 0, "{what}: {again}");
            is_whole(&repo, &what);
            // Whichever goes, the other stays.
            let kept = id.clone();
            let gone: Vec<_> = repo.ids().into_iter().filter(|one| *one != kept).collect();
            repo.ok([
                &["delete", "--yes"][..],
                &gone.iter().map(String::as_str).collect::<Vec<_>>(),
            ]
            .concat());
            repo.ok(["gc", "--max-unused", "0"]);
            is_whole(&repo, &what);
            let target = scratch.join("restored");
            repo.ok(args!["restore", &kept, &target]);
            let restored = target.join(victim.strip_prefix("/").expect("it is absolute"));
            run_tool("diff", args!["-r", &victim, &restored]);
            fs::remove_dir_all(&target).expect("it is ours");
        }
    }
}
