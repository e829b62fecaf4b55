//! Many small snapshots do not leave many small files.

use std::path::Path;
use std::process::Stdio;

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

const SNAPSHOTS: usize = 60;
/// Seven for each octave of sizes is the bound; so few have no more than these.
const FILES_MAX: usize = 45;

fn files_of(repo: &Repo) -> usize {
    let entries = std::fs::read_dir(repo.path().join("db")).expect("it can be listed");
    let is_file = |entry: &std::fs::DirEntry| {
        Path::new(&entry.file_name()).extension().is_some_and(|suffix| suffix == "sst")
    };
    entries.flatten().filter(is_file).count()
}

#[test]
fn files_stay_few_beside_a_mount_that_reads_on_and_every_snapshot_is_whole() {
    if !require_fuse() {
        return;
    }
    let scratch = Scratch::new();
    let (source, copy) = (scratch.join("source"), scratch.join("copy"));
    let repo = Repo::new();
    plain_tree(&source, 1, 20, 3_000);
    let first = repo.create(&source);
    cp_copy(&source, &copy);
    let mount = Mount::new(&repo);
    let mut middle = None;
    for round in 0..SNAPSHOTS {
        file(&source.join("changed"), format!("in round {round}").repeat(100).as_bytes());
        let outcome = repo.ok(args!["create", "--json", &source]);
        assert_eq!(outcome.error(), "", "nothing to remark in round {round}");
        let id = id_of(&outcome.last_json_line());
        if round == SNAPSHOTS / 2 {
            cp_copy(&source, &scratch.join("middle"));
            middle = Some(id);
        }
    }
    let files = files_of(&repo);
    assert!(files <= FILES_MAX, "{files} files after {SNAPSHOTS} snapshots");
    assert_eq!(repo.ids().len(), SNAPSHOTS + 1);
    assert_same(&copy, &mount.source(&first, &source), Rules::ALL);
    let middle = middle.expect("there is one");
    assert_same(&scratch.join("middle"), &mount.source(&middle, &source), Rules::ALL);
    mount.unmount();
    repo.gc();
    assert!(files_of(&repo) <= files + 4, "more files after gc");
}

#[test]
fn a_create_that_is_killed_while_it_joins_files_leaves_every_snapshot() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let repo = Repo::new();
    plain_tree(&source, 1, 5, 3_000);
    let mut rng = crate::support::rng::Rng::printed("moments");
    let mut made = Vec::new();
    for round in 0..40 {
        file(&source.join("changed"), format!("in round {round}").repeat(100).as_bytes());
        let mut command = repo.command(["create", source.to_str().expect("a text")]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("icecore starts");
        std::thread::sleep(std::time::Duration::from_micros(rng.below(60_000)));
        let _ended = child.kill();
        let _reaped = child.wait();
        let ids = repo.ids();
        for id in &made {
            assert!(ids.contains(id), "round {round} lost {id}");
        }
        made = ids;
    }
    for id in &made {
        repo.ok(["ls", "-R", id]);
    }
    repo.gc();
    assert_eq!(repo.ids(), made);
}
