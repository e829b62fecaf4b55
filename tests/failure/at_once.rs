//! Many writers and readers at once on one repository.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::beside;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;

#[test]
fn writers_collections_checks_and_mounted_readers_at_once_wait_for_each_other_and_lose_nothing() {
    if !require_fuse() {
        return;
    }
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let fixed = scratch.join("fixed");
    plain_tree(&fixed, 1, 30, 20_000);
    let first = repo.create(&fixed);
    let (collected, checked) = (AtomicU64::new(0), AtomicU64::new(0));
    let collect = |stop: &std::sync::atomic::AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            repo.ok(["gc", "--max-unused", "0"]);
            collected.fetch_add(1, Ordering::Relaxed);
        }
    };
    let check = |stop: &std::sync::atomic::AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            repo.ok(["check", "--read-data"]);
            checked.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mount = Mount::new(&repo);
    let made = beside(collect, || {
        beside(check, || {
            std::thread::scope(|scope| {
                let (repo, scratch) = (&repo, &scratch);
                let writers =
                    (0..3_u64).map(|writer| scope.spawn(move || write(repo, scratch, writer)));
                let writers: Vec<_> = writers.collect();
                while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                    assert_same(&fixed, &mount.source(&first, &fixed), Rules::ALL);
                }
                let ended = writers.into_iter().map(|writer| writer.join().expect("it ends well"));
                ended.collect::<Vec<_>>()
            })
        })
    });
    for (id, source) in &made {
        assert_same(source, &mount.source(id, source), Rules::ALL);
    }
    mount.unmount();
    assert_eq!(repo.ids().len(), made.len() + 1);
    repo.ok(["check", "--read-data"]);
    repo.ok(["log", "verify"]);
    let [collected, checked] = [collected, checked].map(AtomicU64::into_inner);
    assert!(collected > 2 && checked > 2, "{collected} collections, {checked} checks");
}

/// Takes snapshots and deletes all but the last. Returns that with its source.
fn write(repo: &Repo, scratch: &Scratch, writer: u64) -> (String, std::path::PathBuf) {
    let source = scratch.join(&format!("source-{writer}"));
    let mut last: Option<String> = None;
    for round in 0..4 {
        plain_tree(&source.join(format!("round-{round}")), writer * 10 + round, 10, 20_000);
        let id = repo.create(&source);
        if let Some(previous) = last.replace(id) {
            repo.ok(["delete", "--yes", &previous]);
        }
    }
    (last.expect("there were rounds"), source)
}
