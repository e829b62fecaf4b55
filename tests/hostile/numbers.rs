//! Numbers at the ends of their ranges, and sums that are not true.

use super::forge::{Forge, Item, Labels, List, Tree};
use super::verbs::{Case, survives};

#[test]
fn totals_and_counters_that_lie_overflow_nothing() {
    survives(|forge| {
        let inner = forge.directory(&[Item::inline(b"x", b"y")]);
        let most = [u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, 7];
        let lie = Tree { totals: most, ..inner };
        let pages = [(b"m".to_vec(), lie), (b"z".to_vec(), Tree { totals: most, ..inner })];
        let index = forge.index(1, &pages);
        let root = forge.directory(&[
            Item::directory(b"a", lie),
            Item::directory(b"b", Tree { totals: [0; 6], ..inner }),
            Item::directory(b"c", index),
            Item::inline(b"file", b"x"),
        ]);
        let mut id = String::new();
        for time in 0..3 {
            let counters = Some([u64::MAX; 6]);
            id = forge.snapshot(root, &Labels { time, counters, ..Labels::default() });
        }
        Case::new(id, 4)
    });
}

#[test]
fn times_at_the_ends_of_all_clocks_are_shown_and_pruned() {
    survives(|forge| {
        let items: Vec<Item> = [i64::MIN, -1, 0, 1 << 35, 253_402_300_800, i64::MAX]
            .into_iter()
            .enumerate()
            .map(|(number, seconds)| {
                Item::at(format!("file{number}").as_bytes(), seconds, 999_999_999)
            })
            .chain([Item::inline(b"g", b"x")])
            .collect();
        let root = forge.directory(&items);
        let times = [i64::MIN, i64::MIN + 1, -62_135_596_801, 0, 253_402_300_800, i64::MAX];
        let mut id = String::new();
        for time in times {
            id = forge.snapshot(root, &Labels { time, ..Labels::default() });
        }
        Case { path: "file0", ..Case::new(id, 0) }
    });
}

#[test]
fn a_fraction_of_more_than_a_second_is_damage() {
    survives(|forge| {
        let inner = forge.directory(&[Item::at(b"x", 0, 1_000_000_000)]);
        let items = [Item::directory(b"bad", inner), Item::inline(b"file", b"x")];
        Case::new(forge.of_items(&items), 4)
    });
}

#[test]
fn sizes_beyond_64_bits_are_damage() {
    let chunks = |forge: &mut Forge| {
        let half = (None, (1 << 63) - 1);
        let inner = forge.directory(&[Item::segments(b"x", &[half, half, half])]);
        let list = List { id: [1; 32], bytes: 0, data_bytes: 5 };
        let empty = forge.directory(&[Item::listed(b"x", list)]);
        let most = forge.list_leaf(&[half, half]);
        let over = forge.list_index(1, &[most, most]);
        let items = [
            Item::directory(b"bad", inner),
            Item::directory(b"empty", empty),
            Item::inline(b"file", b"x"),
            Item::listed(b"over", over),
        ];
        Case::new(forge.of_items(&items), 4)
    };
    survives(chunks);
}

#[test]
fn devices_owners_and_links_of_the_largest_numbers_are_shown() {
    let devices = super::forge::encoded(|body| {
        body.number(u64::from(u32::MAX));
        body.number(u64::from(u32::MAX));
    });
    let links = super::forge::encoded(|body| {
        body.number(u64::from(u32::MAX));
        body.raw(&[1; 16]);
        body.raw(&[0, 0]);
    });
    survives(|forge| {
        let one = [1, 0, 1, 0, 0, 0];
        let items = [
            Item::raw(b"block", 5, 0o7777, &devices, one),
            Item::raw(b"char", 6, 0o7777, &devices, one),
            Item::raw(b"fifo", 3, 0o7777, &[], one),
            Item::inline(b"file", b"x"),
            Item::raw(b"links", 0x10, 0o7777, &links, one),
            Item::raw(b"socket", 4, 0o7777, &[], one),
        ];
        Case::new(forge.of_items(&items), 0)
    });
}
