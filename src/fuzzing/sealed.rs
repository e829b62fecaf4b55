//! What somebody who has the key may have sealed, and what somebody who has not may
//! put in the place of the key files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit;
use crate::base::codec::Encoder;
use crate::base::id::{IdScheme, hex};
use crate::chunking::ChunkerConfig;
use crate::crypto::{Credential, MasterKey, SealingKey, Secret};
use crate::dag::record::split_stored;
use crate::fuzzing::decoders::directory;
use crate::fuzzing::source::Source;
use crate::repository::envelope::{Envelopes, RecordKind};
use crate::repository::{
    Config, Keyring, Layout, Reader, RepositoryError, ScanKey, decoders, is_encrypted,
};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Durability, Family, Store};
use crate::view::{View, ViewOptions};

/// Records of one repository.
const RECORDS_MAX: usize = 24;
/// Key files of one repository: one more than are looked at.
const KEY_FILES_MAX: usize = 65;
/// Memory times passes, in KiB, of all passwords that are tried for one input.
const TRIED_KIB_MAX: u64 = 2048;
/// Between what a configuration and key files hold: no text has it.
pub(super) const END_OF_FILE: u8 = 0xff;
/// What the key of the repository of these targets is made of.
pub(super) const MASTER: [u8; 32] = [5; 32];
/// The password, and the key, that key files among the seeds are made with.
pub(super) const PASSWORD: &[u8] = b"x";
pub(super) const KEY: [u8; 32] = [1; 32];

fn master() -> MasterKey {
    MasterKey::new(Secret::take(&mut { MASTER }))
}

/// A directory for repositories of one of these targets.
fn place(name: &str) -> PathBuf {
    let path = directory().join(name);
    for inner in ["tmp", "leases", "db"] {
        let _ = fs::create_dir_all(path.join(inner));
    }
    path
}

fn open(store: Arc<dyn Store>) -> Option<Reader> {
    let layout = Layout::new(place("sealed"));
    if !layout.config().exists() {
        let config = Config { id: [1; 32], chunker: ChunkerConfig::default(), encryption: None };
        config.encrypted(&master()).write(&layout).ok()?;
    }
    Reader::open_over(layout.root(), Some(&master()), move |_| Ok(store)).ok()
}

/// An encrypted repository of records that are sealed as they must be and hold
/// anything: a kind, an id, a length and the content of each.
pub(super) fn records(input: &[u8]) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let Some(reader) = open(store.clone()) else { return };
    let envelopes = Envelopes::Sealed(master().keys().sealing);
    let mut source = Source::new(input);
    let (mut batch, mut directories, mut rollbacks) = (Batch::new(), Vec::new(), Vec::new());
    for _ in 0..RECORDS_MAX {
        if source.is_empty() {
            break;
        }
        let (kind, id, length) = (source.below(5), [source.byte() % 4; 32], source.byte());
        let content = source.take(length.into()).to_vec();
        if kind == 2 {
            let key = reader.scan_key(b"", &id);
            let Some((key, stored)) = decoders::forge_scan_page(&reader, key, content) else {
                return;
            };
            batch.put(Family::Scan, key, stored);
            directories.push(reader.scan_key(b"", &id));
            continue;
        }
        let is_snapshot = kind == 0 || kind == 3;
        let id = if is_snapshot { snapshot_id(reader.ids(), &content, id) } else { id };
        let (kind_of_record, prefix) = match kind {
            0 => (RecordKind::Snapshot, ""),
            1 => (RecordKind::Note, "note/"),
            3 => (RecordKind::Snapshot, "deleted/"),
            _ => (RecordKind::Rollback, ""),
        };
        let bound = if kind == 4 { [0; 32] } else { id };
        let Ok(stored) = envelopes.wrap(kind_of_record, &bound, content) else { return };
        let key = [prefix.as_bytes(), &id].concat();
        match kind {
            0 => batch.put(Family::Snapshots, key, stored),
            3 => batch.put(Family::Meta, key, deleted(&stored)),
            1 => batch.put(Family::Meta, key, stored),
            _ => rollbacks.push(stored),
        }
    }
    if store.write(&batch, Durability::Synced).is_ok() {
        read(reader, &directories, &rollbacks);
    }
}

/// The id that a manifest has, if it is one.
fn snapshot_id(ids: &IdScheme, stored: &[u8], otherwise: [u8; 32]) -> [u8; 32] {
    let canonical = split_stored("manifest", stored).map(|(canonical, _)| canonical);
    canonical.map_or(otherwise, |canonical| *ids.snapshot(canonical).as_bytes())
}

/// The record of a deleted snapshot: a time in the clear before the rest.
fn deleted(stored: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.signed(7);
    encoder.number(0);
    encoder.raw(stored);
    encoder.finish()
}

/// Reads all that a repository holds.
fn read(reader: Reader, directories: &[ScanKey], rollbacks: &[Vec<u8>]) {
    for key in directories {
        let mut page = reader.first_scan_page(*key).ok().flatten();
        while let Some(last) = page.as_ref().and_then(|page| page.last_name()).cloned() {
            page = reader.next_scan_page(*key, &last).ok().flatten();
            let next = page.as_ref().and_then(|page| page.last_name());
            assert!(next.is_none_or(|next| *next > last), "pages that do not rise");
        }
    }
    let _ = reader.drop_scan_pages(&|sequence| sequence % 2 == 0);
    for stored in rollbacks {
        assert!(reader.open_rollback(stored).is_ok(), "what was sealed as a record is one");
    }
    let Ok(catalog) = reader.catalog() else { return };
    for id in catalog.snapshots.iter().map(|(id, _)| *id).chain(catalog.damaged_ids()) {
        let _ = (reader.note(&id), reader.manifest(&id));
        assert!(matches!(reader.exists(&id), Ok(true)), "a snapshot out of nothing");
    }
    for error in &catalog.damaged {
        assert!(error.is_damage(), "{error}");
    }
    let _ = reader.deleted_snapshots().map(|deleted| deleted.snapshots.len());
    if let Ok(view) = View::new(reader, ViewOptions::default()) {
        let _ = view.snapshots().map(|list| list.len());
    }
}

/// A configuration, and key files behind it: whatever they say, trying a password on
/// all of them costs no more than is documented.
pub(super) fn key_directory(input: &[u8]) {
    let layout = Layout::new(place("keys-of-others"));
    let _ = fs::remove_dir_all(layout.keys());
    let mut parts = input.split(|byte| *byte == END_OF_FILE);
    let config = fs::write(layout.config(), parts.next().unwrap_or_default());
    if config.and_then(|()| fs::create_dir(layout.keys())).is_err() {
        return;
    }
    for (number, part) in parts.take(KEY_FILES_MAX).enumerate() {
        if fs::write(layout.keys().join(format!("{number}")), part).is_err() {
            return;
        }
    }
    let _ = is_encrypted(&layout).map_err(|error| error.to_string());
    let Ok(ring) = Keyring::read(&layout) else { return };
    let costs = ring.files.iter().filter_map(|(_, file)| file.cost());
    let work: u64 = costs.map(|cost| cost.work_kib()).sum();
    assert!(work <= decoders::ALL_WORK_KIB_MAX, "a wrong password costs too much");
    let mut credentials = vec![Credential::Key(Secret::take(&mut { KEY }))];
    if work <= TRIED_KIB_MAX {
        credentials.push(Credential::Password(PASSWORD.to_vec().into()));
    }
    for credential in credentials {
        match ring.unlock(&credential) {
            Ok(unlocked) if unlocked.is_proven => {
                assert!(matches!(ring.check(&unlocked.master), Ok(true)), "a key of others");
                let opened = Reader::open_over(layout.root(), Some(&unlocked.master), |_| {
                    Ok(Arc::new(MemoryStore::new()))
                });
                assert!(!matches!(opened, Err(RepositoryError::ForeignKey { .. })));
            }
            Ok(_) => {}
            Err(error) => {
                let text = error.to_string();
                assert!(!text.chars().any(char::is_control), "{text:?} steers a terminal");
            }
        }
    }
}

/// Details of an event that somebody with the key sealed.
pub(super) fn details(input: &[u8]) {
    const ID: &str = "00000000000000000000000000000007";
    const KIND: &str = "backup.snapshot.created";
    let key = SealingKey::new(&Secret::take(&mut { MASTER }));
    let bound = [&b"icecore event details 1\0"[..], ID.as_bytes(), b"\0", KIND.as_bytes()].concat();
    let mut sealed = Vec::new();
    if key.seal(&bound, &mut sealed, |target| target.extend_from_slice(input)).is_err() {
        return;
    }
    let line = |details: &[u8]| {
        let digest = "0".repeat(64);
        let actor = "{\"user\":\"\",\"uid\":0,\"host\":\"\",\"pid\":0,\"program\":\"\"}";
        let payload = format!("{{\"sealed\":\"{}\"}}", hex(details));
        let head = format!("{{\"sequence\":1,\"id\":\"{ID}\",\"time\":\"\",\"type\":\"{KIND}\"");
        let body = format!("\"actor\":{actor},\"subject\":{{}},\"payload\":{payload}");
        format!("{head},{body},\"previous\":\"{digest}\",\"hash\":\"{digest}\"}}")
    };
    if let Some(shown) = audit::unsealed_line(line(&sealed).as_bytes(), &key) {
        assert!(!shown.contains('\n'), "an event of several lines");
        assert!(audit::parse_line(shown.as_bytes()), "an event that is none any more");
    }
    assert!(audit::unsealed_line(line(input).as_bytes(), &key).is_none(), "a forgery opens");
}
