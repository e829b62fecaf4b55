//! An index that leads to something else, met by who deduplicates.

use std::fs;

use crate::support::args;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

use super::forge::{Forge, Object};

/// Bytes that are one chunk, not kept inside of an entry.
const BYTES: usize = 5000;

/// Forges an entry by which a chunk is known already, and lies where other content of
/// the same size does; then saves a file with the content of that chunk.
fn is_never_other_content(lies_alone: bool) {
    let mut forge = Forge::new();
    let [wanted, other] = [1, 2].map(|seed| Rng::new(seed).bytes(BYTES));
    let (id, own) = (forge.chunk_id(&wanted), forge.chunk_id(&other));
    if lies_alone {
        forge.object(Object::Chunk, id, &other);
    } else {
        // What lies there has an entry of its own, which is right.
        let sequence = forge.object(Object::Chunk, own, &other);
        let stored = forge.stored_bytes(BYTES);
        forge.locate(Object::Chunk, id, sequence, BYTES as u64, stored);
    }
    forge.finish();
    let (repo, scratch) = (&forge.repo, Scratch::new());
    let source = scratch.mkdir("source");
    file(&source.join("file"), &wanted);
    let snapshot = repo.create(&source);
    let path = source.join("file").display().to_string();
    let named = format!("{snapshot}:{path}");

    let read = repo.run(["cat", &named]).expect(4);
    assert!(read.stdout.is_empty(), "other content was given out");
    let target = scratch.join("restored");
    repo.run(args!["restore", &named, &target]).expect(4);
    assert!(!target.join("file").exists(), "other content was restored");
    if require_fuse() {
        let mount = Mount::foreground(repo);
        let read = fs::read(mount.source(&snapshot, &source).join("file"));
        let error = read.expect_err("it is damaged").raw_os_error();
        assert_eq!(error, Some(rustix::io::Errno::IO.raw_os_error()));
        mount.unmount();
    }
    let report = repo.run(["check", "--read-data"]).expect(4);
    assert!((report.text() + &report.error()).contains(&path), "the file is named");
    if !lies_alone {
        repo.run(["check"]).expect(4);
    }

    // What is lost is known to be so, and the next snapshot has it again.
    repo.run(["repair", "--yes"]);
    let healed = repo.create(&source);
    for id in [&healed, &snapshot] {
        let read = repo.ok(["cat", &format!("{id}:{path}")]);
        assert_eq!(read.stdout, wanted);
    }
    repo.ok(["check", "--read-data"]);
    repo.ok(["cat", &format!("{}:good", forge.good)]);
}

#[test]
fn content_that_a_forged_index_calls_known_is_found_lost_and_never_other_content() {
    is_never_other_content(true);
    is_never_other_content(false);
}
