//! The protocol of collections as a model: snapshots, deletions, leases, what is
//! remembered of sources, and collections that die at any of their writes, over
//! the store in memory. After each step all that is promised is looked for.
//!
//! The canaries break one rule each and must be noticed.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::base::id::{ChunkId, SnapshotId, TreeId};
use crate::base::name::EntryName;
use crate::base::progress::Silent;
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::dag::*;
use crate::gc::sweep::{ORDER, Step};
use crate::gc::{GcError, GcOptions, MaxUnused, collect_beside};
use crate::repository::testing::{manifest, node};
use crate::repository::{
    Config, Fingerprint, Layout, LiveLeases, PreparedChunk, Repository, RepositoryError,
    ScanDetail, ScanEntry, ScanKey, ScanPage, Session, envelope,
};
use crate::store::fault::{Fault, FaultPlan, FaultStore, Target};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Durability, Family, Store};

/// Runs of files: what a snapshot of the model holds.
type Numbers = BTreeSet<u8>;

const EVERYTHING: GcOptions = GcOptions { max_unused: MaxUnused::Percent(0.0), dry_run: false };

fn content(number: u8) -> Vec<u8> {
    // Incompressible enough for sizes to differ.
    (0..600_u32).map(|place| (place.wrapping_mul(u32::from(number) + 77) >> 3) as u8).collect()
}

fn name(number: u8) -> EntryName {
    EntryName::new(format!("{number:03}").as_bytes()).unwrap()
}

fn scan_key(source: u8) -> ScanKey {
    ScanKey::new(b"model", &[source])
}

/// What has been done, and what must be there for it.
struct Model {
    store: Arc<MemoryStore>,
    snapshots: Vec<(SnapshotId, Numbers)>,
    deleted: Vec<(SnapshotId, Numbers)>,
    leased: Vec<(SnapshotId, TreeId, Numbers)>,
    clock: i64,
}

impl Model {
    fn new() -> Self {
        let (snapshots, deleted, leased) = (Vec::new(), Vec::new(), Vec::new());
        Self { store: Arc::new(MemoryStore::new()), snapshots, deleted, leased, clock: 0 }
    }

    fn over(store: Arc<dyn Store>) -> Repository {
        let config = Config { id: [1; 32], chunker: ChunkerConfig::default(), encryption: None };
        Repository::new(Layout::new("/nowhere"), config, store)
    }

    fn repository(&self) -> Repository {
        Self::over(self.store.clone())
    }

    /// Saves files, and remembers the source that they are from.
    fn create(&mut self, source: u8, numbers: &Numbers) -> SnapshotId {
        let repository = self.repository();
        let mut session = Session::new(&repository, false).unwrap();
        let root = match remembered(&repository, source, numbers) {
            // Taken over unread, as `create` does.
            Some(root) => root,
            None => put_directory(&mut session, source, numbers).unwrap(),
        };
        self.clock += 1;
        let id = session.commit(&manifest(root, self.clock)).unwrap();
        self.snapshots.push((id, numbers.clone()));
        id
    }

    /// Loads files and dies before there is a snapshot.
    fn abandon(&self, numbers: &Numbers) {
        let repository = self.repository();
        let mut session = Session::new(&repository, false).unwrap();
        put_directory(&mut session, 0, numbers).unwrap();
        session.checkpoint().unwrap();
    }

    fn delete(&mut self, index: usize) {
        if self.snapshots.is_empty() {
            return;
        }
        let (id, numbers) = self.snapshots.remove(index % self.snapshots.len());
        let record = self.store.get(Family::Snapshots, id.as_bytes()).unwrap().unwrap();
        let mut batch = Batch::new();
        batch.delete(Family::Snapshots, *id.as_bytes());
        batch.put(Family::Meta, [b"deleted/", id.as_bytes().as_slice()].concat(), record);
        self.store.write(&batch, Durability::Synced).unwrap();
        self.deleted.push((id, numbers));
    }

    /// Brings back what was deleted and not forgotten.
    fn undelete_all(&mut self) {
        for (id, numbers) in std::mem::take(&mut self.deleted) {
            let key = [b"deleted/", id.as_bytes().as_slice()].concat();
            if let Some(record) = self.store.get(Family::Meta, &key).unwrap() {
                let mut batch = Batch::new();
                batch.put(Family::Snapshots, *id.as_bytes(), record);
                batch.delete(Family::Meta, key);
                self.store.write(&batch, Durability::Synced).unwrap();
                self.snapshots.push((id, numbers));
            }
        }
    }

    fn lease(&mut self, index: usize) {
        if self.snapshots.is_empty() {
            return;
        }
        let (id, numbers) = self.snapshots[index % self.snapshots.len()].clone();
        let root = self.repository().manifest(&id).unwrap().unwrap().tree().unwrap().id;
        self.leased.push((id, root, numbers));
    }

    fn leases(&self) -> LiveLeases {
        let roots = self.leased.iter().map(|(id, root, _)| (*id, *root)).collect();
        LiveLeases { roots, holders: self.leased.len() }
    }

    /// Collects, dying at write number `dies_at`. Returns whether it lived.
    fn collect(&mut self, options: GcOptions, order: &[Step], dies_at: u64) -> bool {
        self.collect_beside(&self.leases(), options, order, dies_at)
    }

    fn collect_beside(
        &mut self,
        leases: &LiveLeases,
        options: GcOptions,
        order: &[Step],
        dies_at: u64,
    ) -> bool {
        let plan = FaultPlan::new(Target::Writes, Fault::Crash, dies_at);
        let dying = Self::over(Arc::new(FaultStore::new(self.store.clone(), plan.clone())));
        let outcome = collect_beside(&dying, leases, options, order, &Silent);
        let lived = plan.calls() <= dies_at;
        assert_eq!(outcome.is_ok(), lived, "{outcome:?}");
        lived
    }

    /// Fails unless all that is promised is there.
    fn check(&self) -> Result<(), String> {
        let repository = self.repository();
        for (id, numbers) in &self.snapshots {
            let manifest = repository.manifest(id).map_err(|error| error.to_string())?;
            let root = manifest.ok_or("a snapshot is gone")?.tree().unwrap().id;
            check_tree(&repository, &root, numbers)?;
        }
        for (_, root, numbers) in &self.leased {
            check_tree(&repository, root, numbers)?;
        }
        // What the index names is there.
        let mut dangling = None;
        let visit = &mut |_: &[u8], value: &[u8]| {
            let locator = crate::repository::Locator::decode(value).unwrap();
            let key = crate::repository::sequence_key(locator.sequence);
            if !self.store.contains(locator.kind.family(), &key).unwrap() {
                dangling = Some(locator);
            }
            std::ops::ControlFlow::Continue(())
        };
        self.store.scan(Family::Index, &[], visit).unwrap();
        dangling.map_or(Ok(()), |locator| Err(format!("the index names {locator:?} in vain")))
    }

    /// Fails if a chunk is stored that no snapshot has.
    fn check_lean(&self) -> Result<(), String> {
        let reached: Numbers =
            self.snapshots.iter().flat_map(|(_, numbers)| numbers).copied().collect();
        let mut stored = 0;
        let count = &mut |_: &[u8], _: &[u8]| {
            stored += 1;
            std::ops::ControlFlow::Continue(())
        };
        self.store.scan(Family::Data, &[], count).unwrap();
        let is_lean = stored == reached.len();
        is_lean.then_some(()).ok_or_else(|| format!("{stored} chunks for {}", reached.len()))
    }

    /// Fails if anything is stored that nothing reaches.
    fn check_empty(&self) -> Result<(), String> {
        for family in [Family::Data, Family::Trees, Family::Index] {
            if self.store.last_key(family).unwrap().is_some() {
                return Err(format!("garbage is left in {}", family.name()));
            }
        }
        Ok(())
    }
}

fn put_directory(
    session: &mut Session<'_>,
    source: u8,
    numbers: &Numbers,
) -> Result<TreeRef, RepositoryError> {
    let mut builder = DirectoryBuilder::new();
    for number in numbers {
        let plain = content(*number);
        let (id, bytes) = (ChunkId::of(&plain), u32::try_from(plain.len()).unwrap());
        let envelope = envelope::seal(&plain, Compression::None);
        let segment = session.put_chunk(PreparedChunk::New { id, bytes, envelope })?;
        let body = Body::Segments(Box::new([segment]));
        let file = Content { size: u64::from(bytes), sha256: None, body };
        let entry = Entry { name: name(*number), node: node(Kind::File(file)) };
        builder.push(entry, &mut |record| session.put_tree(record))?;
    }
    let tree = builder.finish(&mut |record| session.put_tree(record))?;
    let entry = |number: &u8| ScanEntry {
        name: name(*number),
        fingerprint: Fingerprint::of(&[*number]),
        atime: None,
        detail: ScanDetail::None,
    };
    let page = ScanPage { tree, is_last: true, entries: numbers.iter().map(entry).collect() };
    session.put_scan_page(scan_key(source), true, &page)?;
    Ok(tree)
}

/// The tree that an earlier `create` made of the same files, if that is known
/// and the tree is there.
fn remembered(repository: &Repository, source: u8, numbers: &Numbers) -> Option<TreeRef> {
    let page = repository.first_scan_page(scan_key(source)).unwrap()?;
    let is_same =
        page.entries.iter().map(|entry| entry.name.clone()).eq(numbers.iter().map(|n| name(*n)));
    let kind = crate::repository::ObjectKind::Tree;
    let found = repository.locate(kind, page.tree.id.as_bytes()).unwrap()?;
    is_same.then_some(TreeRef { hint: Some(found.sequence), ..page.tree })
}

fn check_tree(repository: &Repository, root: &TreeId, numbers: &Numbers) -> Result<(), String> {
    let text = |error: RepositoryError| error.to_string();
    let Tree::Leaf(entries) = repository.tree_by_id(root, None).map_err(text)? else {
        return Err("more than one page".to_owned());
    };
    if entries.len() != numbers.len() {
        return Err("another directory".to_owned());
    }
    for (entry, number) in entries.iter().zip(numbers) {
        let Kind::File(file) = &entry.node.kind else { return Err("no file".to_owned()) };
        let Body::Segments(segments) = &file.body else { return Err("no chunk".to_owned()) };
        let Segment::Chunk { id, bytes, .. } = segments[0] else { return Err("a hole".to_owned()) };
        // By the index alone: a hint may be lost.
        let plain = repository.chunk(&id, bytes, None).map_err(text)?;
        if plain != content(*number) {
            return Err("other bytes".to_owned());
        }
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Action {
    Create { source: u8, numbers: Numbers },
    Abandon(Numbers),
    Delete(usize),
    UndeleteAll,
    Lease(usize),
    EndLeases,
    Collect { max_unused: f64, dies_at: u64 },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let numbers = || proptest::collection::btree_set(0_u8..24, 1..10);
    let action = prop_oneof![
        4 => (0_u8..3, numbers()).prop_map(|(source, numbers)| Action::Create { source, numbers }),
        1 => numbers().prop_map(Action::Abandon),
        3 => any::<usize>().prop_map(Action::Delete),
        1 => Just(Action::UndeleteAll),
        1 => any::<usize>().prop_map(Action::Lease),
        1 => Just(Action::EndLeases),
        4 => (prop_oneof![Just(0.0), Just(30.0), Just(60.0)], 0_u64..16)
            .prop_map(|(max_unused, dies_at)| Action::Collect { max_unused, dies_at }),
    ];
    proptest::collection::vec(action, 1..25)
}

/// Runs actions, looking after each one, and ends with a collection of all.
fn run(actions: &[Action], order: &[Step]) -> Result<(), String> {
    let mut model = Model::new();
    for action in actions {
        match action {
            Action::Create { source, numbers } => {
                model.create(*source, numbers);
            }
            Action::Abandon(numbers) => model.abandon(numbers),
            Action::Delete(index) => model.delete(*index),
            Action::UndeleteAll => model.undelete_all(),
            Action::Lease(index) => model.lease(*index),
            Action::EndLeases => model.leased.clear(),
            Action::Collect { max_unused, dies_at } => {
                let max_unused = MaxUnused::Percent(*max_unused);
                model.collect(GcOptions { max_unused, dry_run: false }, order, *dies_at);
            }
        }
        model.check().map_err(|error| format!("{error} after {action:?}"))?;
    }
    let all: Vec<u8> = (0..3).collect();
    for source in all {
        // Whatever came back or is remembered can still be built upon.
        model.create(source, &[source, source + 3].into());
        model.check()?;
    }
    model.undelete_all();
    model.check()?;
    model.leased.clear();
    model.collect(EVERYTHING, order, u64::MAX);
    model.check()?;
    model.check_lean()?;
    while !model.snapshots.is_empty() {
        model.delete(0);
    }
    model.collect(EVERYTHING, order, u64::MAX);
    model.check_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_happens_in_whatever_order_nothing_reachable_is_lost_and_all_garbage_goes(
        actions in actions()
    ) {
        prop_assert_eq!(run(&actions, &ORDER), Ok(()));
    }
}

/// A life in which each rule of the protocol matters, collected in some order of
/// the steps by a collection that dies at each of its writes in turn. Returns
/// what was noticed first.
fn scripted(order: &[Step], leases: impl Fn(&Model) -> LiveLeases) -> Result<(), String> {
    for dies_at in 0.. {
        let mut model = Model::new();
        let numbers = |range: std::ops::Range<u8>| range.collect::<Numbers>();
        model.create(0, &numbers(0..8));
        model.create(1, &numbers(8..16));
        model.create(2, &numbers(4..12));
        model.abandon(&numbers(16..20));
        model.lease(1);
        // Its chunks are garbage in part, its tree is so whole.
        model.delete(0);
        // Leased.
        model.delete(0);
        let leases = leases(&model);
        let lived = model.collect_beside(&leases, EVERYTHING, order, dies_at);
        model.check()?;
        let mut back = model;
        back.undelete_all();
        back.check().map_err(|error| format!("undeleted: {error}"))?;
        // What is remembered and what the index says is built upon.
        back.create(0, &numbers(0..8));
        back.create(1, &numbers(8..16));
        back.create(2, &numbers(16..20));
        back.check().map_err(|error| format!("created: {error}"))?;
        // A collection that is not cut short leaves nothing behind.
        back.leased.clear();
        back.collect(EVERYTHING, &ORDER, u64::MAX);
        back.check()?;
        back.check_lean()?;
        if lived {
            break;
        }
    }
    Ok(())
}

fn without(step: Step) -> Vec<Step> {
    ORDER.into_iter().filter(|other| *other != step).collect()
}

fn moved_last(step: Step) -> Vec<Step> {
    without(step).into_iter().chain([step]).collect()
}

#[test]
fn a_collection_may_die_at_any_write_of_a_life_in_which_each_rule_matters() {
    assert_eq!(scripted(&ORDER, Model::leases), Ok(()));
}

#[test]
fn canary_without_leases_what_a_reader_uses_is_lost() {
    assert!(scripted(&ORDER, |_| LiveLeases::default()).is_err());
}

#[test]
fn canary_objects_before_index_entries() {
    assert!(scripted(&moved_last(Step::ForgetObjects), Model::leases).is_err());
}

#[test]
fn canary_index_entries_never_removed() {
    assert!(scripted(&without(Step::ForgetObjects), Model::leases).is_err());
}

#[test]
fn canary_no_record_of_what_is_in_doubt() {
    assert!(scripted(&without(Step::RecordDoubt), Model::leases).is_err());
}

#[test]
fn canary_the_record_ends_before_the_objects_are_gone() {
    let mut order = without(Step::EndDoubt);
    order.insert(3, Step::EndDoubt);
    assert!(scripted(&order, Model::leases).is_err());
}

#[test]
fn canary_deleted_snapshots_forgotten_last() {
    assert!(scripted(&moved_last(Step::ForgetDeletedSnapshots), Model::leases).is_err());
}

/// A remembered tree that stays in place as garbage below the share, whose
/// chunks are collected.
fn remembered_garbage(order: &[Step]) -> Result<(), String> {
    let mut model = Model::new();
    let numbers: Numbers = (0..8).collect();
    let id = model.create(0, &numbers);
    model.delete(0);
    let tree = model.store.extents(Family::Trees).unwrap();
    assert_eq!(tree.len(), 1, "{id}");
    // Another tree beside it in its file keeps it from being removed.
    model.create(1, &(100..140).collect());
    let joined = model.store.extents(Family::Trees).unwrap();
    let (first, last) = (&joined[0].first, &joined[1].last);
    model.store.reclaim(Family::Trees, first, last).unwrap();
    let options = GcOptions { max_unused: MaxUnused::Percent(60.0), dry_run: false };
    assert!(model.collect(options, order, u64::MAX));
    model.create(0, &numbers);
    model.check()
}

#[test]
fn what_is_remembered_of_sources_never_leads_to_what_is_gone() {
    assert_eq!(remembered_garbage(&ORDER), Ok(()));
}

#[test]
fn canary_what_is_remembered_of_sources_outlives_a_collection() {
    assert!(remembered_garbage(&without(Step::ForgetSources)).is_err());
}

/// A repository that lost the index entry of a tree, and has garbage.
#[test]
fn nothing_goes_while_a_tree_cannot_be_read_or_its_chunks_are_not_in_the_index() {
    let mut model = Model::new();
    model.create(0, &(0..8).collect());
    model.create(1, &(10..18).collect());
    model.delete(1);
    let before = model.store.extents(Family::Data).unwrap();
    let (id, numbers) = model.snapshots[0].clone();
    let repository = model.repository();
    let root = repository.manifest(&id).unwrap().unwrap().tree().unwrap().id;
    let chunks: Vec<_> = numbers.iter().map(|number| ChunkId::of(&content(*number))).collect();

    let forget = |keys: &[[u8; 32]]| {
        let mut batch = Batch::new();
        let mut kept = Vec::new();
        for key in keys {
            kept.push((*key, model.store.get(Family::Index, key).unwrap().unwrap()));
            batch.delete(Family::Index, *key);
        }
        model.store.write(&batch, Durability::Synced).unwrap();
        kept
    };
    let restore = |kept: Vec<([u8; 32], Vec<u8>)>| {
        let mut batch = Batch::new();
        kept.into_iter().for_each(|(key, value)| batch.put(Family::Index, key, value));
        model.store.write(&batch, Durability::Synced).unwrap();
    };
    let collect = || {
        let leases = LiveLeases::default();
        collect_beside(&repository, &leases, EVERYTHING, &ORDER, &Silent)
    };
    let kept = forget(&[*root.as_bytes()]);
    assert!(matches!(collect(), Err(GcError::Unreadable { .. })));
    assert_eq!(model.store.extents(Family::Data).unwrap(), before);
    restore(kept);

    let kept = forget(&chunks.iter().map(|id| *id.as_bytes()).collect::<Vec<_>>());
    assert_eq!(collect().unwrap().missing_chunks, 8);
    restore(kept);
    // A repair of the index finds them where they were.
    assert_eq!(model.check(), Ok(()));
    assert_eq!(model.store.extents(Family::Data).unwrap(), before[..1], "garbage went");
}
