//! Repositories that are sealed under the key of the targets, and key files.

use crate::crypto::{Credential, KdfCost, KeyFile, MasterKey, Secret};
use crate::fuzzing::sealed::{END_OF_FILE, KEY, MASTER, PASSWORD};
use crate::fuzzing::seeds::seeds;
use crate::fuzzing::views;
use crate::repository::{Config, Layout};

pub(super) const DETAILS: [&str; 2] = [
    r#"{"paths":["/etc","a\u001b"],"paths_omitted":3,"payload":{"files":5,"x":[1.5,null,{}]}}"#,
    r#"{"paths":[],"paths_omitted":0,"payload":{"sealed":"00"}}"#,
];

/// Records of all kinds that mean something when they are opened.
pub(super) fn records() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let kinds = [
        (0, "decode_manifest"),
        (1, "decode_note"),
        (2, "decode_scan_page"),
        (3, "decode_manifest"),
        (4, "read_rollback_record"),
    ];
    for (kind, target) in kinds {
        for (number, record) in seeds(target).into_iter().enumerate() {
            let record = record.split_at(record.len().min(255)).0;
            let head = [kind, number.to_le_bytes()[0], record.len().to_le_bytes()[0]];
            all.push([&head[..], record].concat());
        }
    }
    vec![all.concat(), all.iter().rev().flatten().copied().collect()]
}

/// A configuration with key files of its own, of another repository, and costly ones.
pub(super) fn key_directories() -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    let layout = Layout::new(scratch.path());
    std::fs::create_dir(layout.tmp()).unwrap();
    std::fs::write(layout.config(), views::CONFIG).unwrap();
    let master = MasterKey::new(Secret::take(&mut { MASTER }));
    Config::read(&layout).unwrap().encrypted(&master).write(&layout).unwrap();
    let config = std::fs::read(layout.config()).unwrap();
    let key = Credential::Key(Secret::take(&mut { KEY }));
    let password = Credential::Password(PASSWORD.to_vec().into());
    let cost = KdfCost { memory_kib: 1024, passes: 1, lanes: 1 };
    let file = |master: &MasterKey, credential: &Credential| {
        let file = KeyFile::wrap(master, credential, cost, "label", "2026-11-19T03:00:00Z");
        file.unwrap().to_text().unwrap().into_bytes()
    };
    let other = MasterKey::generate().unwrap();
    let own = file(&master, &password);
    let costly = String::from_utf8(own.clone()).unwrap();
    let costly = costly.replace("memory_kib = 1024", "memory_kib = 262144");
    let costly = costly.replace("passes = 1", "passes = 64").into_bytes();
    let costly_ones = std::iter::repeat_n(costly, 6).collect::<Vec<_>>();
    let directory = |files: &[Vec<u8>]| {
        let all: Vec<_> = std::iter::once(&config).chain(files).map(Vec::as_slice).collect();
        all.join(&END_OF_FILE)
    };
    vec![
        directory(&[own.clone(), file(&master, &key)]),
        directory(&[file(&other, &key), file(&master, &key), own]),
        directory(&[file(&other, &password)]),
        directory(&costly_ones),
        [&b"no configuration"[..], &[END_OF_FILE], &file(&master, &key)].concat(),
    ]
}
