//! Records that are not what they should be.

use icecore::base::id::{ChunkId, TreeId};
use icecore::store::Family;

use super::forge::{Forge, Item, Labels, Object, Tree, encoded, leaf};
use super::verbs::{Case, survives};

/// One snapshot for each of these directories, each beside a sound file.
fn of_pages(forge: &mut Forge, pages: &[Vec<Item>]) -> String {
    let mut last = String::new();
    for (number, items) in pages.iter().enumerate() {
        let inner = forge.directory(items);
        let root =
            forge.directory(&[Item::directory(b"bad", inner), Item::inline(b"file", b"sound")]);
        let time = 1_600_000_000 + number as i64;
        last = forge.snapshot(root, &Labels { time, ..Labels::default() });
    }
    last
}

#[test]
fn names_that_no_directory_can_hold_are_damage_and_lead_nowhere() {
    let long = vec![b'x'; 256];
    let names: [&[u8]; 9] =
        [b".", b"..", b"", b"a/b", b"/etc/passwd", b"../../etc/passwd", b"a\0b", b"/", &long];
    survives(|forge| {
        let pages: Vec<_> = names.iter().map(|name| vec![Item::inline(name, b"x")]).collect();
        Case::new(of_pages(forge, &pages), 4)
    });
}

#[test]
fn names_that_come_twice_or_out_of_order_are_damage() {
    survives(|forge| {
        let twice = vec![Item::symlink(b"a", b"/etc"), Item::inline(b"a", b"x")];
        let unsorted = vec![Item::inline(b"b", b"x"), Item::inline(b"a", b"x")];
        Case::new(of_pages(forge, &[twice, unsorted]), 4)
    });
}

#[test]
fn impossible_symlinks_attributes_and_kinds_are_damage() {
    let attribute = |name: &[u8], value: &[u8], more: &[u8]| {
        encoded(|body| {
            body.number(1);
            body.bytes(name);
            body.bytes(value);
            body.raw(more);
        })
    };
    survives(|forge| {
        let one = [1, 0, 1, 0, 0, 4];
        let with = |body: &[u8]| vec![Item::raw(b"x", 0x20, 0o644, body, one)];
        let pages = [
            vec![Item::symlink(b"s", b"")],
            vec![Item::symlink(b"s", b"a\0b")],
            vec![Item::symlink(b"s", &vec![b'/'; 4096])],
            vec![Item::raw(b"k", 7, 0o644, &[], [1, 0, 1, 0, 0, 0])],
            vec![Item::raw(b"m", 0, 0o10_0000, &[0, 0], [1, 0, 1, 0, 0, 0])],
            with(&attribute(b"", b"x", &[0, 0])),
            with(&attribute(b"user.a\0b", b"x", &[0, 0])),
            with(&attribute(&[b'n'; 256], b"x", &[0, 0])),
            with(&attribute(b"user.big", &vec![0; 65_537], &[0, 0])),
        ];
        Case::new(of_pages(forge, &pages), 4)
    });
}

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
        let posing = Tree { id: *TreeId::of(&page).as_bytes(), ..claimed };
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
        let id = *ChunkId::of(b"what was asked for").as_bytes();
        forge.object(Object::Chunk, id, b"something different");
        let tree = *TreeId::of(&leaf(&[Item::inline(b"a", b"x")])).as_bytes();
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

#[test]
fn hints_that_lead_astray_change_nothing() {
    survives(|forge| {
        let chunk = forge.chunk(b"by the index alone");
        let inner = forge.directory(&[Item::inline(b"x", b"y")]);
        let items =
            [Item::segments(b"file", &[(Some(chunk), 18)]), Item::directory(b"inner", inner)];
        let canonical = leaf(&items);
        let id = *TreeId::of(&canonical).as_bytes();
        // Numbers far away, of other objects, and bytes that are no numbers.
        for (copy, hints) in [(0, vec![0xff; 40]), (1, encoded(|hints| hints.signed(i64::MIN)))] {
            let _number = copy;
            let stored = [encoded(|record| record.bytes(&canonical)), hints].concat();
            forge.object(Object::Tree, id, &stored);
        }
        let root = Tree { id, totals: [2, 1, 2, 1, 19, 0] };
        Case::new(forge.snapshot(root, &Labels::default()), 0)
    });
}

#[test]
fn an_index_that_lies_is_damage() {
    survives(|forge| {
        let chunk = *ChunkId::of(b"nowhere").as_bytes();
        forge.locate(Object::Chunk, chunk, u64::MAX, 7, 7);
        let far = *ChunkId::of(b"far away").as_bytes();
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
        forge.put(Family::Meta, &key(b"note/"), &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        forge.put(Family::Meta, &[b"note/".as_slice(), &[9; 32]].concat(), b"\x01\x00\x07");
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
        forge.put(Family::Snapshots, &[2; 32], &encoded(|record| record.bytes(b"\x01garbage")));
        forge.put(Family::Snapshots, &[3; 32], &[0xff; 64]);
        forge.put(Family::Snapshots, b"short", &[0; 64]);
        Case::new(id, 4)
    });
}
