//! Records that are not what they should be.

use icecore::store::Family;

use crate::support::args;
use crate::support::scratch::Scratch;

use super::forge::{Forge, Item, NOTE, Object, SNAPSHOT, Tree, encoded, leaf};
use super::verbs::{Case, survives, survives_before_writing};

#[test]
fn an_object_of_one_kind_never_passes_as_another() {
    survives(|forge| {
        // The bytes of a directory that may be entered, stored as a chunk.
        let page = leaf(&[Item::inline(b"secret", b"x")]);
        let chunk = forge.chunk(&page);
        let claimed = Tree { id: chunk, totals: [1, 0, 1, 0, 1, 0] };
        // A chunk whose stored bytes are a whole record of a tree.
        let record = encoded(|record| record.bytes(&page));
        let disguised = forge.chunk(&record);
        let posing = Tree { id: forge.tree_id(&page), ..claimed };
        forge.locate(Object::Tree, posing.id, 1_000_000, 9, 9);
        // A chunk that has the very id of a tree, which no honest program stores.
        let tagged = [b"icecore tree 1\0", page.as_slice()].concat();
        assert_eq!(forge.chunk(&tagged), posing.id);
        // A tree read as a file, and as a chunk list.
        let tree = forge.directory(&[Item::inline(b"inner", b"x")]);
        let list = super::forge::List { id: tree.id, bytes: 10, data_bytes: 10 };
        let root = [
            Item::directory(b"as-directory", claimed),
            Item::segments(b"as-file", &[(Some(tree.id), 10)]),
            Item::listed(b"as-list", list),
            Item::segments(b"file", &[(Some(disguised), record.len() as u64)]),
            Item::directory(b"posing", posing),
        ];
        Case::new(forge.of_items(&root), 4)
    });
}

#[test]
fn bytes_that_do_not_match_their_hash_are_never_shown() {
    survives(|forge| {
        let id = forge.chunk_id(b"what was asked for");
        forge.object(Object::Chunk, id, b"something different");
        let tree = forge.tree_id(&leaf(&[Item::inline(b"a", b"x")]));
        forge.record(Object::Tree, tree, &leaf(&[Item::inline(b"b", b"x")]));
        // A tree that names itself: only a store that lies can have that.
        let cycle = [7; 32];
        let inner = Tree { id: cycle, totals: [1, 1, 0, 1, 0, 0] };
        forge.record(Object::Tree, cycle, &leaf(&[Item::directory(b"again", inner)]));
        let root = [
            Item::directory(b"cycle", inner),
            Item::segments(b"file", &[(Some(id), 18)]),
            Item::directory(b"tree", Tree { id: tree, totals: [1, 0, 1, 0, 1, 0] }),
        ];
        Case::new(forge.of_items(&root), 4)
    });
}

/// Stores a directory of `file`, which is a chunk, and `inner`, with hints behind it.
fn hinted(forge: &mut Forge, number: usize, hints: &[u8]) -> Tree {
    let content = format!("by the index alone, {number:03}");
    let chunk = forge.chunk(content.as_bytes());
    let inner = forge.directory(&[Item::inline(b"x", content.as_bytes())]);
    let bytes = content.len() as u64;
    let items =
        [Item::segments(b"file", &[(Some(chunk), bytes)]), Item::directory(b"inner", inner)];
    let canonical = leaf(&items);
    let id = forge.tree_id(&canonical);
    let stored = [encoded(|record| record.bytes(&canonical)), hints.to_vec()].concat();
    forge.object(Object::Tree, id, &stored);
    Tree { id, totals: [2, 1, 2, 1, 2 * bytes, 0] }
}

#[test]
fn hints_that_lead_astray_change_nothing() {
    let signed =
        |numbers: &[i64]| encoded(|hints| numbers.iter().for_each(|number| hints.signed(*number)));
    // Of a chunk and a tree: bytes that are no numbers, numbers far away, and those of
    // other objects, which are there.
    let hints = [
        vec![0xff; 40],
        signed(&[i64::MIN, i64::MIN]),
        signed(&[i64::MAX, i64::MAX]),
        signed(&[-1, -1]),
        signed(&[1 << 40, 1 << 40]),
        signed(&[1, 1]),
        signed(&[2, 2]),
        signed(&[1]),
    ];
    let count = hints.len();
    let build = move |forge: &mut Forge| {
        let items = hints.iter().enumerate().map(|(number, hints)| {
            Item::directory(format!("h{number}").as_bytes(), hinted(forge, number, hints))
        });
        let items: Vec<_> = [Item::inline(b"file", b"x")].into_iter().chain(items).collect();
        Case::new(forge.of_items(&items), 0)
    };
    survives_before_writing(build, |forge, case| {
        let scratch = Scratch::new();
        let target = scratch.join("restored");
        forge.repo.ok(args!["restore", "--verify", &case.id, &target]);
        for number in 0..count {
            let content = format!("by the index alone, {number:03}");
            for path in [format!("h{number}/file"), format!("h{number}/inner/x")] {
                let read = forge.repo.ok(["cat", &format!("{}:{path}", case.id)]);
                assert_eq!(read.text(), content, "{path}");
                let restored = std::fs::read_to_string(target.join(&path));
                assert_eq!(restored.expect("it is there"), content, "{path}");
            }
        }
    });
}

#[test]
fn an_index_that_lies_is_damage() {
    survives(|forge| {
        let chunk = forge.chunk_id(b"nowhere");
        forge.locate(Object::Chunk, chunk, u64::MAX, 7, 7);
        let far = forge.chunk_id(b"far away");
        forge.locate(Object::Chunk, far, (1 << 36) - 1, 8, 8);
        let tree = forge.directory(&[]);
        forge.locate(Object::Tree, tree.id, u64::MAX - 1, u64::from(u32::MAX), 1);
        forge.put(Family::Index, &[1; 32], b"\xff\xff\xff no locator");
        forge.put(Family::Index, b"no id", &[]);
        let root = [
            Item::directory(b"tree", tree),
            Item::segments(b"file", &[(Some(chunk), 7), (Some(far), 8)]),
        ];
        Case::new(forge.of_items(&root), 4)
    });
}

#[test]
fn counters_and_loads_under_way_at_the_end_of_all_numbers_stop_nobody_from_reading() {
    survives(|forge| {
        for key in ["next/data", "next/trees"] {
            forge.put(Family::Meta, key.as_bytes(), &u64::MAX.to_be_bytes());
        }
        let pending = format!("pending/data/{:020}", 0);
        forge.put(Family::Meta, pending.as_bytes(), &(u64::MAX - 1).to_be_bytes());
        let chunk = forge.chunk(b"content");
        Case::new(forge.of_items(&[Item::segments(b"file", &[(Some(chunk), 7)])]), 0)
    });
}

#[test]
fn records_beside_snapshots_that_are_nonsense_hurt_no_snapshot() {
    survives(|forge| {
        let id = forge.of_items(&[Item::inline(b"file", b"x")]);
        let bytes: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect();
        let key = |prefix: &[u8]| [prefix, &bytes].concat();
        let own = bytes.as_slice().try_into().expect("32 bytes");
        let note = [1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f];
        forge.wrapped(Family::Meta, &key(b"note/"), NOTE, &own, &note);
        let other = [b"note/".as_slice(), &[9; 32]].concat();
        forge.wrapped(Family::Meta, &other, NOTE, &[9; 32], b"\x01\x00\x07");
        forge.put(Family::Meta, &[b"deleted/".as_slice(), &[8; 32]].concat(), b"\xff");
        forge.put(Family::Meta, b"deleted/short", b"");
        forge.put(Family::Meta, &key(b"damaged/snapshots/"), b"\0");
        forge.put(Family::Scan, &[5; 16], &[1; 100]);
        forge.put(Family::Scan, b"", b"");
        forge.put(Family::Events, b"x", b"y");
        Case::new(id, 4)
    });
}

#[test]
fn a_manifest_of_any_bytes_hides_no_other_snapshot() {
    survives(|forge| {
        let id = forge.of_items(&[Item::inline(b"file", b"x")]);
        forge.put(Family::Snapshots, &[1; 32], b"");
        let garbage = encoded(|record| record.bytes(b"\x01garbage"));
        forge.wrapped(Family::Snapshots, &[2; 32], SNAPSHOT, &[2; 32], &garbage);
        forge.put(Family::Snapshots, &[3; 32], &[0xff; 64]);
        forge.put(Family::Snapshots, b"short", &[0; 64]);
        Case::new(id, 4)
    });
}
