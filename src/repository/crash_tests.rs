//! A writer that dies, or whose disk fails, at any of its calls of the store:
//! what was committed before stays whole, and the next writer just works.

use std::sync::Arc;

use crate::base::id::{ChunkId, SnapshotId};
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::dag::*;
use crate::repository::testing::{manifest, node};
use crate::repository::*;
use crate::store::Store;
use crate::store::fault::{Fault, FaultPlan, FaultStore, Target};
use crate::store::memory::MemoryStore;

fn repository(store: Arc<dyn Store>) -> Repository {
    let config = Config { id: [1; 32], chunker: ChunkerConfig::default(), encryption: None };
    Repository::new(Layout::new("/nowhere"), config, store)
}

fn content(number: u8) -> Vec<u8> {
    vec![number; 1000 + usize::from(number)]
}

/// Stores files of those numbers and a snapshot of them.
fn snapshot(repository: &Repository, numbers: &[u8]) -> Result<SnapshotId, RepositoryError> {
    let mut session = Session::new(repository, false)?;
    let mut directory = DirectoryBuilder::new();
    for number in numbers {
        let plain = content(*number);
        let (id, bytes) = (ChunkId::of(&plain), u32::try_from(plain.len()).unwrap());
        let envelope = envelope::seal(&plain, Compression::Lz4);
        let segment = session.put_chunk(PreparedChunk::New { id, bytes, envelope })?;
        let body = Body::Segments(Box::new([segment]));
        let file = Content { size: u64::from(bytes), sha256: None, body };
        let name = crate::base::name::EntryName::new(&[b'a' + number]).unwrap();
        let entry = Entry { name, node: node(Kind::File(file)) };
        directory.push(entry, &mut |record| session.put_tree(record))?;
    }
    let root = directory.finish(&mut |record| session.put_tree(record))?;
    session.commit(&manifest(root, i64::try_from(numbers.len()).unwrap()))
}

/// Fails unless every file of a snapshot reads as it was.
fn check(repository: &Repository, id: &SnapshotId, numbers: &[u8]) {
    let manifest = repository.manifest(id).unwrap().expect("the snapshot is there");
    let tree = repository.tree(manifest.tree().unwrap()).unwrap();
    let Tree::Leaf(entries) = tree else { panic!("one page") };
    assert_eq!(entries.len(), numbers.len());
    for (entry, number) in entries.iter().zip(numbers) {
        let Kind::File(file) = &entry.node.kind else { panic!("a file") };
        let Body::Segments(segments) = &file.body else { panic!("one chunk") };
        let Segment::Chunk { id, bytes, hint } = segments[0] else { panic!("data") };
        assert_eq!(repository.chunk(&id, bytes, hint).unwrap(), content(*number));
    }
}

const BEFORE: [u8; 3] = [1, 2, 3];
const AFTER: [u8; 4] = [2, 3, 4, 5];

#[test]
fn a_writer_may_die_at_any_call_and_nothing_committed_is_lost() {
    for (target, fault) in [
        (Target::Writes, Fault::Crash),
        (Target::Writes, Fault::FailOnce),
        (Target::Writes, Fault::FailAfterEffect),
        (Target::Reads, Fault::Crash),
    ] {
        let mut failures = 0;
        for at in 0.. {
            let memory = Arc::new(MemoryStore::new());
            let plain = repository(memory.clone());
            let before = snapshot(&plain, &BEFORE).unwrap();

            let plan = FaultPlan::new(target, fault, at);
            let faulty = repository(Arc::new(FaultStore::new(memory.clone(), plan.clone())));
            let outcome = snapshot(&faulty, &AFTER);
            let struck = plan.calls() > at;
            assert_eq!(outcome.is_err(), struck, "{target:?} {fault:?} at {at}");

            // What a new process finds.
            let plain = repository(memory);
            check(&plain, &before, &BEFORE);
            for (id, _) in plain.snapshots().unwrap() {
                check(&plain, &id, if id == before { &BEFORE } else { &AFTER });
            }
            let after = snapshot(&plain, &AFTER).unwrap();
            check(&plain, &after, &AFTER);
            check(&plain, &before, &BEFORE);
            if !struck {
                break;
            }
            failures += 1;
        }
        // The canary: a plan that never strikes would prove nothing.
        assert!(failures >= 5, "{target:?} {fault:?} struck {failures} times only");
    }
}
