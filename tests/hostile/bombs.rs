//! Little that unpacks to much.

use super::forge::{Forge, Item, Labels, Object, Tree, encoded, envelope, leaf};
use super::verbs::{Case, survives};

/// A chunk that an envelope should hold, and what stands there instead.
fn chunk_in(forge: &mut Forge, number: u8, envelope: &[u8]) -> Item {
    let id = forge.chunk_id(&[number]);
    forge.sealed(Object::Chunk, id, 1 << 20, envelope);
    Item::segments(&[b'a' + number], &[(Some(id), 1 << 20)])
}

#[test]
fn payloads_that_unpack_to_more_or_less_than_they_claim_are_damage() {
    survives(|forge| {
        let zeros = vec![0; 8 << 20];
        let lz4 = lz4_flex::block::compress(&zeros);
        let zstd = zstd::bulk::compress(&zeros, 3).expect("it compresses");
        // A frame whose header asks for a window of 2 GiB and tells no size.
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let payloads: [(u8, usize, &[u8]); 12] = [
            (1, u32::MAX as usize, &lz4),
            (1, (8 << 20) + 1, &lz4),
            (1, 1 << 20, &lz4),
            (1, 0, &lz4),
            (2, u32::MAX as usize, &zstd),
            (2, 1 << 20, &zstd),
            (2, 8 << 20, &window),
            (0, 8 << 20, b"short"),
            (0, 0, b"long"),
            (9, 5, b"codec"),
            (1, 5, b""),
            (1, 5, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        ];
        let mut items = vec![Item::inline(b"file", b"x")];
        for (number, (codec, claim, payload)) in payloads.into_iter().enumerate() {
            let number = u8::try_from(number).expect("few");
            items.push(chunk_in(forge, number, &envelope(codec, claim, payload)));
        }
        items.push(chunk_in(forge, 20, b""));
        items.push(chunk_in(forge, 21, b"\0\0\0"));
        items.sort_by_key(|item| item.name().to_vec());
        Case { check_data: 4, ..Case::new(forge.of_items(&items), 0) }
    });
}

#[test]
fn chunks_and_trees_of_the_largest_size_take_no_more_memory_than_a_few() {
    survives(|forge| {
        let mut items = vec![Item::inline(b"file", b"x")];
        for number in 0..60_u8 {
            let content = vec![number; 8 << 20];
            let id = forge.chunk_id(&content);
            let packed = envelope(1, content.len(), &lz4_flex::block::compress(&content));
            forge.sealed(Object::Chunk, id, content.len() as u64, &packed);
            items.push(Item::segments(&[b'g', b'0' + number], &[(Some(id), 8 << 20)]));
        }
        for number in 0..60_u8 {
            items.push(Item::directory(&[b'h', b'0' + number], large_tree(forge, number)));
        }
        Case::new(forge.of_items(&items), 0)
    });
}

/// A directory of nearly eight MiB: seven files with a MiB of attributes each.
fn large_tree(forge: &mut Forge, number: u8) -> Tree {
    let attributes = |body: &mut icecore::base::codec::Encoder| {
        body.number(15);
        for at in 0..15_u8 {
            body.bytes(&[b"user.", &[b'a' + at][..]].concat());
            body.bytes(&vec![number; 64 << 10]);
        }
        body.raw(&[0, 0]);
    };
    let files: Vec<_> = (0..7_u8)
        .map(|n| Item::raw(&[b'0' + n], 0x20, 0o644, &encoded(attributes), [1, 0, 1, 0, 0, 4]))
        .collect();
    let canonical = leaf(&files);
    let id = forge.tree_id(&canonical);
    let stored = encoded(|record| record.bytes(&canonical));
    let packed = envelope(1, stored.len(), &lz4_flex::block::compress(&stored));
    forge.sealed(Object::Tree, id, stored.len() as u64, &packed);
    Tree { id, totals: [7, 0, 7, 0, 0, 4] }
}

#[test]
fn a_tree_above_the_largest_size_is_damage() {
    survives(|forge| {
        let plain = vec![0; 20 << 20];
        let packed = envelope(1, plain.len(), &lz4_flex::block::compress(&plain));
        forge.sealed(Object::Tree, [6; 32], plain.len() as u64, &packed);
        let big = Tree { id: [6; 32], totals: [0; 6] };
        let items = [Item::directory(b"big", big), Item::inline(b"file", b"x")];
        Case::new(forge.of_items(&items), 4)
    });
}

#[test]
fn manifests_of_the_largest_size_are_listed_in_bounded_memory() {
    survives(|forge| {
        let mut id = String::new();
        for number in 0..12 {
            let root = forge.directory(&[Item::inline(b"file", b"x")]);
            let errors = (0..120).map(|at| format!("{number} {at} {}", "e".repeat(65_000)));
            let labels = Labels { time: number, errors: errors.collect(), ..Labels::default() };
            id = forge.snapshot(root, &labels);
        }
        Case::new(id, 0)
    });
}
