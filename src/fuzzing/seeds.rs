//! Inputs that the targets understand, at least in part.

mod sealed;
mod words;

use std::fs;
use std::io::Write as _;

use super::archives::with_checksums;
use super::tests::bytes;
use super::views;
use crate::archive::{ArchiveSource, EventLog, ExportRequest, Packing, export_event_log};
use crate::audit::{Actor, AuditLog, EventKind, Record, Rotation};
use crate::base::codec::Encoder;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::compression::Compression;
use crate::crypto::{Credential, KdfCost, KeyFile, MasterKey, Secret, to_paper};
use crate::repository::{Layout, envelope};
use crate::store::rocks::RocksStore;
use crate::store::rocks::salvage::is_table;
use crate::store::{Family, Store as _};

/// Inputs that a target understands, at least in part.
pub(super) fn seeds(target: &str) -> Vec<Vec<u8>> {
    let record = |canonical: &[u8]| {
        let mut encoder = Encoder::new();
        encoder.bytes(canonical);
        encoder.finish()
    };
    let file = [0, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c'];
    let leaf = [&[1, 1, 0, 0, 0, 0, 1, 1, b'a'][..], &file].concat();
    let list = [&[1, 2, 0x21][..], &[20], &[7; 32]].concat();
    match target {
        "decode_tree" => vec![record(&leaf), record(&[1, 0, 0])],
        "decode_chunk_list" => vec![record(&list), record(&[2, 1, 0])],
        "decode_manifest" => {
            let root = [&[1, 0, 0, 0, 0][..], &[5; 32], &[0; 6]].concat();
            vec![record(&[&[1][..], &[0; 10], &[0; 11], &[0; 4], &root].concat())]
        }
        "decode_config" => vec![views::CONFIG.into(), b"format_version = 2".to_vec()],
        "open_envelope" => [Compression::None, Compression::Lz4, Compression::Zstd(3)]
            .map(|compression| envelope::seal(&[7; 3000], compression))
            .to_vec(),
        "open_sealed_envelope" => {
            let mut inner = seeds("open_envelope");
            for envelope in &mut inner {
                envelope.remove(1);
            }
            inner
        }
        "open_key_file" => [Credential::Password(b"x".to_vec().into()), key()]
            .map(|credential| key_file(&credential).into_bytes())
            .to_vec(),
        "read_paper_key" => vec![to_paper(&MasterKey::generate().unwrap()).as_bytes().to_vec()],
        "decode_pending" => vec![[&b"pending/data/00000000000000000007"[..], &[9; 8]].concat()],
        "read_rollback_record" => vec![ROLLBACK.into()],
        "read_archive" => archives(),
        "decode_note" => vec![vec![1, 1, 1, 1, b'x', 1], vec![1, 0, 2, 4, 0]],
        "decode_lease" => vec![[&[1][..], &[3; 64]].concat(), vec![0; 4096]],
        "decode_scan_page" => vec![[&[1][..], &[4; 32], &[1; 10]].concat()],
        "parse_event" => vec![EVENT.into()],
        "verify_log" => vec![honest_log(u64::MAX), honest_log(2), EVENT.into()],
        "prove_event_log" => foreign_logs(),
        "read_sealed_records" => sealed::records(),
        "unlock_key_directory" => sealed::key_directories(),
        "unseal_event" => sealed::DETAILS.map(|text| text.as_bytes().to_vec()).to_vec(),
        "lock_holder" => vec![b"icecore create (process 7) since 2026-11-19T03:00:00Z".to_vec()],
        "mount_helper" => words::MOUNT_HELPER.map(|line| line.replace(' ', "\0").into()).to_vec(),
        "read_configuration" => vec![words::CONFIGURATION.into()],
        "parse_options" => words::OPTIONS.map(|text| text.as_bytes().to_vec()).to_vec(),
        "parse_patterns" => words::PATTERNS.map(|text| text.as_bytes().to_vec()).to_vec(),
        "open_store" | "open_forged_store" => {
            (1..8).map(|seed| bytes(seed, 40)).chain([Vec::new()]).collect()
        }
        "read_blocks" => vec![table(&[40; 30]), table(&[0, 3000, 5])],
        "mount_requests" | "view_model" | "view_operations" | "check_repository" => {
            (1..20).map(|seed| bytes(seed, 800)).chain([vec![0; 64]]).collect()
        }
        "parse_time" => ["yesterday", "2026-11-19T03:00", "90d", "1y6m", "@60", "2h ago"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
        _ => vec![b"name".to_vec(), (0..=255).collect(), vec![0; 64]],
    }
}

const EVENT: &str = "{\"sequence\":1,\"id\":\"00000000000000000000000000000000\",\"time\":\
    \"2026-11-19T03:00:00Z\",\"type\":\"backup.x\",\"actor\":{},\"subject\":{},\"payload\":{},\
    \"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"hash\":\
    \"0000000000000000000000000000000000000000000000000000000000000000\"}\n";

/// The segments of a log of three events, of so many events each.
fn honest_log(segment_events: u64) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::new(scratch.path());
    write_log(&layout, segment_events);
    let mut names: Vec<_> =
        fs::read_dir(layout.log()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let segments = names.iter().filter(|path| path.extension().is_some());
    let parts: Vec<_> = segments.map(|path| fs::read(path).unwrap()).collect();
    parts.join(&b'#')
}

fn actor() -> Actor {
    let text = || "somebody".to_owned();
    Actor { user: text(), uid: 7, host: text(), pid: 42, program: text() }
}

fn write_log(layout: &Layout, segment_events: u64) {
    fs::create_dir(layout.log()).unwrap();
    fs::write(layout.config(), views::CONFIG).unwrap();
    let rotation = Rotation { events: segment_events, ..Rotation::default() };
    let log = AuditLog::new(layout).with_rotation(rotation);
    for kind in [EventKind::RepositoryCreated, EventKind::SnapshotCreated, EventKind::LogPruned] {
        log.append(&actor(), &Record::new(kind).path("/etc").count("files", 5)).unwrap();
    }
}

/// Logs of other programs, and some of ours: of lines and of documents, with and
/// without a state.
fn foreign_logs() -> Vec<Vec<u8>> {
    let event = |number: u32| {
        let previous = if number == 1 { "0".repeat(64) } else { format!("h{}", number - 1) };
        let hashes = format!("\"previousHash\":\"{previous}\",\"currentHash\":\"h{number}\"");
        format!("{{\"id\":\"e{number}\",\"data\":{{\"x\":[1]}},{hashes}}}\n")
    };
    let lines = |from, to| (from..=to).map(event).collect::<String>();
    let list = |from, to| (from..=to).map(event).collect::<Vec<_>>().join(",");
    let mixed = format!("{}#[{}]#{{\"events\":[{}]}}", lines(1, 3), list(4, 5), list(6, 7));
    let begun = format!("{}####{{\"at\":{{\"lastHash\":\"h8\"}}}}", lines(9, 12));
    let anchor = "{\"segment\":0,\"events_removed\":0,\"hash\":\"00\"}";
    let removed = [&honest_log(2), &b"##"[..], anchor.as_bytes()].concat();
    let whole = honest_log(u64::MAX);
    let cut = whole.split_at(whole.len() - 40).0.to_vec();
    let logs = [mixed.into_bytes(), begun.into_bytes(), removed, torn_log(), whole, cut];
    logs.into_iter().chain([honest_log(2)]).collect()
}

/// A log in which an append was cut off, and the next event says so.
fn torn_log() -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::new(scratch.path());
    write_log(&layout, u64::MAX);
    let segment = layout.log().join("segment-000001.json");
    let mut torn = fs::read(&segment).unwrap();
    torn.extend_from_slice(b"{\"sequence\":4,\"id\":");
    fs::write(&segment, torn).unwrap();
    AuditLog::new(&layout).append(&actor(), &Record::new(EventKind::KeyAdded)).unwrap();
    fs::read(&segment).unwrap()
}

/// A table as the engine writes it, with values of these sizes.
fn table(sizes: &[usize]) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let (path, tmp) = (scratch.path().join("db"), scratch.path().join("tmp"));
    fs::create_dir(&tmp).unwrap();
    let store = RocksStore::create(&path, &tmp).unwrap();
    let mut load = store.bulk_load(Family::Data).unwrap();
    for (number, size) in sizes.iter().enumerate() {
        load.put(&(number as u64).to_be_bytes(), &bytes(7, *size)).unwrap();
    }
    load.finish().unwrap();
    let mut names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let table = names.find(|path| is_table(path)).unwrap();
    fs::read(table).unwrap()
}

const ROLLBACK: &str = r#"{"version":1,"time":"2026-11-19T03:00:00Z","restored":"00",
    "target":"/srv","rollback":null,"replaced":["a","hex:ff"],"undone":null,
    "created":[{"path":"b","kind":"file","bytes":3,"mtime":[1,2]}],
    "directories":[{"path":"","mode":493,"uid":0,"gid":0,"mtime":[1,2],
    "xattrs":[["user.a","b"]]}]}"#;

fn key() -> Credential {
    Credential::Key(Secret::take(&mut [1; 32]))
}

fn key_file(credential: &Credential) -> String {
    let cost = KdfCost { memory_kib: 1024, passes: 1, lanes: 1 };
    let master = MasterKey::generate().unwrap();
    let time = "2026-11-19T03:00:00Z";
    KeyFile::wrap(&master, credential, cost, "label", time).unwrap().to_text().unwrap()
}

/// Foreign archives, packed and not, and one of ours.
fn archives() -> Vec<Vec<u8>> {
    let foreign = foreign_archive();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&foreign).unwrap();
    let zstd = zstd::bulk::compress(&foreign, 1).unwrap();
    vec![
        gzip.finish().unwrap(),
        zstd,
        own_archive(Packing::Zstd),
        own_archive(Packing::Gzip),
        foreign,
    ]
}

/// The name, the kind, the target and the content.
type Member<'a> = (&'a [u8], u8, &'a [u8], &'a [u8]);

/// A tar archive of most of what other programs write.
fn foreign_archive() -> Vec<u8> {
    let pax = |text: &str| format!("{} {text}\n", text.len() + 4);
    let records =
        [pax("path=d/long"), pax("mtime=1.500000"), pax("SCHILY.xattr.user.a=b")].concat();
    let sparse = [pax("GNU.sparse.major=1"), pax("GNU.sparse.minor=0")].concat()
        + &pax("GNU.sparse.realsize=9")
        + &pax("GNU.sparse.name=d/sparse");
    let mut map = b"1\n4\n5\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"holes");
    let members: [Member<'_>; 9] = [
        (b"d/", b'5', b"", b""),
        (b"d/file", b'0', b"", b"content"),
        (b"d/link", b'1', b"d/file", b""),
        (b"d/symlink", b'2', b"file", b""),
        (b"d/pipe", b'6', b"", b""),
        (b"pax", b'x', b"", records.as_bytes()),
        (b"short", b'0', b"", b"of a long name"),
        (b"pax", b'x', b"", sparse.as_bytes()),
        (b"GNUSparseFile/sparse", b'0', b"", &map),
    ];
    let mut archive = Vec::new();
    for (name, kind, target, content) in members {
        let mut header = [0; 512];
        let size = format!("{:011o}", content.len());
        for (at, text) in [
            (0, name),
            (100, b"0000644"),
            (108, b"0000001"),
            (116, b"0000001"),
            (124, size.as_bytes()),
            (136, b"00000000007"),
            (156, &[kind]),
            (157, target),
            (257, b"ustar\x0000"),
        ] {
            header[at..at + text.len()].copy_from_slice(text);
        }
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    with_checksums(&archive)
}

fn own_archive(packing: Packing) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::new(scratch.path());
    write_log(&layout, u64::MAX);
    let source = ArchiveSource { path: "/log".to_owned(), host: "host".to_owned() };
    let request = ExportRequest {
        directory: scratch.path().to_owned(),
        packing,
        name: None,
        time: Timestamp::now(),
        program: "icecore".to_owned(),
        source,
    };
    let mut log = EventLog::open(&layout.log()).unwrap();
    fs::read(export_event_log(&mut log, "log", &request, &Silent).unwrap().archive).unwrap()
}
