//! One function for each decoder.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::base::calendar::{Period, Span, Zone};
use crate::base::codec::Decoder;
use crate::base::hash::sha256;
use crate::base::id::{IdScheme, ListId, SnapshotId, TreeId};
use crate::base::name::{EntryName, printable};
use crate::base::time::{Timestamp, parse_duration, parse_range};
use crate::crypto::{Credential, KeyFile, SealingKey, Secret, from_paper, to_paper};
use crate::dag::record::split_stored;
use crate::dag::{ChunkList, ChunkListRef, DirectoryBuilder, Entry, Kind, Manifest, Record, Tree};
use crate::repository::envelope::{self, Envelopes, RecordKind};
use crate::repository::{Config, Layout, Locator, decoders};

/// Bytes that an envelope may open to.
const PLAIN_BYTES_MAX: usize = 1 << 20;

/// A directory of this thread, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let number: String = thread.chars().filter(char::is_ascii_digit).collect();
        let name = format!("icecore-fuzzing-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for inner in ["tmp", "leases", "log", "db", "keys"] {
            let _ = fs::create_dir_all(path.join(inner));
        }
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A directory of this thread for targets that need files: no two of them meet there.
pub(super) fn directory() -> PathBuf {
    thread_local! {
        static DIRECTORY: Scratch = Scratch::new();
    }
    DIRECTORY.with(|scratch| scratch.0.clone())
}

pub(super) fn tree(input: &[u8]) {
    let Ok((canonical, hints)) = split_stored("tree", input) else { return };
    let Ok(tree) = Tree::decode(&IdScheme::Plain, &TreeId::of(canonical), canonical, hints) else {
        return;
    };
    let Tree::Leaf(entries) = &tree else { return };
    assert!(is_canonical(entries, canonical), "encoded differently");
    for entry in entries {
        assert!(EntryName::check(entry.name.as_bytes()).is_ok(), "a name that leads elsewhere");
        let node = &entry.node;
        let _ = (node.size(), node.link_count(), node.meaning(), printable(entry.name.as_bytes()));
        let _ = (node.mtime.to_system_time(), node.mtime.to_rfc3339(), node.mtime.to_local_text());
        if let Kind::File(content) = &node.kind {
            let _ = (content.blocks(), content.data_bytes(), content.known_sha256());
        }
    }
}

/// Whether entries are encoded to these bytes, unless they make several pages.
fn is_canonical(entries: &[Entry], canonical: &[u8]) -> bool {
    let mut pages = Vec::new();
    let mut keep = |record: &Record| {
        pages.push(record.canonical.clone());
        Ok::<_, Infallible>((TreeId::of(&record.canonical), None))
    };
    let mut builder = DirectoryBuilder::new();
    for entry in entries {
        let Ok(_) = builder.push(entry.clone(), &mut keep);
    }
    let Ok(_) = builder.finish(&mut keep);
    pages.len() != 1 || pages.iter().all(|page| page == canonical)
}

pub(super) fn chunk_list(input: &[u8]) {
    let Ok((canonical, hints)) = split_stored("chunk list", input) else { return };
    let id = ListId::of(canonical);
    // Its sums are what the reference has to say; any other is refused.
    for (bytes, data_bytes) in [(1, 1), (u64::MAX, 0), (input.len() as u64, 0)] {
        let reference = ChunkListRef { id, hint: None, bytes, data_bytes };
        let _ = ChunkList::decode(&IdScheme::Plain, &reference, canonical, hints);
    }
    let _ = ChunkList::is_page(canonical, hints);
}

pub(super) fn manifest(input: &[u8]) {
    let Ok((canonical, _)) = split_stored("manifest", input) else { return };
    let id = SnapshotId::of(canonical);
    let Ok(manifest) = Manifest::decode(&IdScheme::Plain, &id, input) else { return };
    assert_eq!(manifest.encode().canonical, canonical, "encoded differently");
    let _ = (manifest.time.to_rfc3339(), manifest.time.to_local_text());
}

pub(super) fn config(input: &[u8]) {
    let layout = Layout::new(directory());
    if fs::write(layout.config(), input).is_ok() {
        let _ = Config::read(&layout).map_err(|error| error.to_string());
    }
}

pub(super) fn entry_name(input: &[u8]) {
    if let Ok(name) = EntryName::new(input) {
        let path = std::path::Path::new("/top").join(name.as_os_str());
        assert_eq!(path.parent(), Some(std::path::Path::new("/top")), "a name leads elsewhere");
        assert_eq!(name.as_bytes(), input);
    }
    let text = printable(input);
    assert!(!text.chars().any(char::is_control), "{text:?} steers a terminal");
}

pub(super) fn envelope(input: &[u8]) {
    if let Ok(plain) = envelope::open(input, PLAIN_BYTES_MAX) {
        assert!(plain.len() <= PLAIN_BYTES_MAX);
    }
}

/// What somebody who has the key may have sealed: a codec, a length and a payload.
pub(super) fn sealed_envelope(input: &[u8]) {
    static KEY: OnceLock<SealingKey> = OnceLock::new();
    let key = KEY.get_or_init(|| SealingKey::new(&Secret::take(&mut [7; 32])));
    let envelopes = Envelopes::Sealed(key.clone());
    let opened = envelopes.open(RecordKind::Chunk, &[3; 32], input, PLAIN_BYTES_MAX);
    assert!(opened.is_err(), "a forgery opens");
    let _ = envelopes.open_any(input, PLAIN_BYTES_MAX);
    if let Ok(plain) = envelope::open_inner(input.to_vec(), PLAIN_BYTES_MAX) {
        assert!(plain.len() <= PLAIN_BYTES_MAX);
    }
}

pub(super) fn key_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(file) = KeyFile::from_text(text) else { return };
    // No password is tried: that costs what the file says, within bounds.
    assert!(file.cost().is_none_or(|cost| cost.validate().is_ok()), "a cost without bounds");
    let again = file.to_text().ok().and_then(|text| KeyFile::from_text(&text).ok());
    assert_eq!(again.as_ref(), Some(&file), "written differently");
    let key = Credential::Key(Secret::take(&mut [7; 32]));
    assert!(file.unwrap(&key).is_err(), "a forgery opens");
}

pub(super) fn paper_key(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(key) = from_paper(text) {
        assert!(from_paper(&to_paper(&key)).is_ok(), "printed differently");
    }
}

pub(super) fn pending(input: &[u8]) {
    let (key, value) = input.split_at(input.len().saturating_sub(8));
    decoders::pending(key, value);
}

pub(super) fn rollback_record(input: &[u8]) {
    crate::cli::decoders::rollback_record(input);
}

pub(super) fn locator(input: &[u8]) {
    if let Ok(locator) = Locator::decode(input) {
        assert_eq!(locator.encode(), input, "encoded differently");
    }
}

pub(super) fn note(input: &[u8]) {
    if let Some(again) = decoders::note(input) {
        assert_eq!(again, input, "encoded differently");
    }
}

pub(super) fn deleted(input: &[u8]) {
    decoders::deleted(&SnapshotId::from_digest(sha256(input)), input);
}

pub(super) fn lease(input: &[u8]) {
    let count = decoders::lease(input);
    assert!(count <= input.len() / 64);
}

pub(super) fn scan_page(input: &[u8]) {
    decoders::scan_page(input);
}

pub(super) fn event(input: &[u8]) {
    let _ = crate::audit::parse_line(input);
    let mut decoder = Decoder::new(input);
    while decoder.number().is_ok() {}
}

pub(super) fn time(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for now in [0, i64::MIN, i64::MAX, 1_700_000_000] {
        let Some(now) = Timestamp::new(now, 0) else { continue };
        if let Some((first, last)) = parse_range(text, now) {
            assert!(first <= last, "a range that ends before it begins");
            let _ = (last.to_rfc3339(), last.to_system_time(), last.to_utc_text(text));
            let _ = Zone::default().period(last, Period::Week);
        }
        if let Some(span) = Span::parse(text) {
            let zone = Zone::default();
            let _ = (zone.before(now, span), zone.after(now, span));
            assert_eq!(Span::parse(&span.to_string()), Some(span), "shown differently");
        }
    }
    let _ = parse_duration(text);
}
