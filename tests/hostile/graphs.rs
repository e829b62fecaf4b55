//! Graphs that are small on disk and vast to walk.

use super::forge::{Forge, Item, Labels, List, Tree};
use super::run::Ends;
use super::verbs::{Case, survives, survives_these};

/// Directories that each hold the next one twice: 2^60 paths of 61 trees.
fn doubled(forge: &mut Forge, bottom: Tree) -> Tree {
    (0..60).fold(bottom, |tree, _| {
        forge.directory(&[
            Item::directory(b"a", tree),
            Item::directory(b"b", tree),
            Item::inline(b"file", b"x"),
        ])
    })
}

#[test]
fn a_tree_of_2_to_the_60_paths_is_checked_and_collected_tree_by_tree() {
    survives(|forge| {
        let bottom = forge.directory(&[Item::inline(b"file", b"x")]);
        let root = doubled(forge, bottom);
        Case::new(forge.snapshot(root, &Labels::default()), 0)
    });
}

#[test]
fn damage_below_2_to_the_60_paths_is_named_in_bounded_time() {
    survives(|forge| {
        let lost = [3; 32];
        let bottom = forge.directory(&[
            Item::directory(b"gone", Tree { id: [4; 32], totals: [0; 6] }),
            Item::segments(b"lost", &[(Some(lost), 5)]),
        ]);
        let root = doubled(forge, bottom);
        Case::new(forge.snapshot(root, &Labels::default()), 4)
    });
}

#[test]
fn changes_between_two_trees_of_2_to_the_60_paths_are_found_pair_by_pair() {
    survives(|forge| {
        // They differ, but nothing was added and nothing removed.
        let [one, other] = [b"x", b"y"].map(|content| {
            let bottom = forge.directory(&[Item::inline(b"file", content)]);
            let root = doubled(forge, bottom);
            forge.snapshot(root, &Labels::default())
        });
        Case { others: vec![other], ..Case::new(one, 0) }
    });
}

#[test]
fn damage_that_only_a_wrong_index_entry_hides_is_found_in_bounded_time() {
    survives(|forge| {
        // Every tree is said to lie at the end of all numbers, so that none can
        // be remembered as seen by where it lies.
        let mut tree = forge.directory(&[Item::inline(b"file", b"x")]);
        for _ in 0..60 {
            tree = forge.directory(&[Item::directory(b"a", tree), Item::directory(b"b", tree)]);
            forge.locate(super::forge::Object::Tree, tree.id, u64::MAX, 1, 1);
        }
        Case::new(forge.snapshot(tree, &Labels::default()), 4)
    });
}

/// A directory that many levels lie below, beside a file.
fn nested(forge: &mut Forge, levels: usize) -> Case {
    let mut tree = forge.directory(&[Item::inline(b"file", b"x")]);
    for _ in 0..levels {
        tree = forge.directory(&[Item::directory(b"d", tree)]);
    }
    let items = [Item::directory(b"deep", tree), Item::inline(b"file", b"x")];
    Case::new(forge.of_items(&items), 4)
}

#[test]
fn directories_nested_two_hundred_thousand_deep_are_damage_and_walked_without_recursion() {
    survives(|forge| nested(forge, 200_000));
}

#[test]
fn directories_nested_a_million_deep_are_entered_to_the_depth_that_a_path_can_have() {
    // Commands that look at every tree once take a minute each for so many.
    let verbs = [
        ("ls -lR {id}", Ends::Interrupted),
        ("tree {id}", Ends::Interrupted),
        ("find d", Ends::Interrupted),
        ("versions deep/d/d/d", Ends::ByItself),
        ("diff --stat {good} {id}", Ends::Interrupted),
        ("manifest {id}", Ends::Interrupted),
        ("dump --archive tar {id}", Ends::Interrupted),
        ("export {id} {out}", Ends::Interrupted),
        ("restore {id} {out}", Ends::Interrupted),
        ("restore {id} --in-place {root} --yes --no-rollback", Ends::Interrupted),
    ];
    survives_these(&verbs, |forge| nested(forge, 1_000_000));
}

#[test]
fn an_index_page_that_names_one_page_two_thousand_times_is_damage() {
    survives(|forge| {
        let items: Vec<_> =
            (0..2000).map(|n| Item::inline(format!("{n:05}").as_bytes(), b"x")).collect();
        let leaf = forge.directory(&items);
        let mut page = leaf;
        for level in 1..=5 {
            let pages: Vec<_> = (0..2000).map(|n| (format!("{n:05}").into_bytes(), page)).collect();
            page = forge.index(level, &pages);
        }
        let items = [Item::inline(b"file", b"x"), Item::directory(b"wide", page)];
        Case::new(forge.of_items(&items), 4)
    });
}

#[test]
fn index_pages_of_wrong_levels_are_damage_and_end() {
    survives(|forge| {
        let leaf = forge.directory(&[Item::inline(b"x", b"y")]);
        let mut page = leaf;
        for _ in 0..10_000 {
            page = forge.index(8, &[(b"a".to_vec(), page), (b"b".to_vec(), page)]);
        }
        let mut list = forge.list_leaf(&[(None, 5)]);
        for _ in 0..10_000 {
            list = forge.list_index(8, &[list]);
        }
        let items = [Item::listed(b"file", list), Item::directory(b"wrong", page)];
        Case::new(forge.of_items(&items), 4)
    });
}

#[test]
fn a_file_of_2_to_the_62_bytes_from_one_chunk_is_presented_and_never_made() {
    survives(|forge| {
        let content = vec![b'z'; 1 << 18];
        let chunk = forge.chunk(&content);
        let segments: Vec<_> = (0..2048).map(|_| (Some(chunk), 1 << 18)).collect();
        let mut list = forge.list_leaf(&segments);
        for level in 1..=3 {
            list = forge.list_index(level, &vec![list; 2048]);
        }
        assert_eq!(list.bytes, 1 << 62);
        let items = [Item::listed(b"file", list)];
        Case::new(forge.of_items(&items), 0)
    });
}

#[test]
fn a_file_of_many_holes_up_to_the_last_offset_is_presented_and_never_made() {
    survives(|forge| {
        let chunk = forge.chunk(b"end");
        let hole = (None, (1 << 62) - 1);
        let list = forge.list_leaf(&[hole, hole, (Some(chunk), 3)]);
        let items = [
            Item::listed(b"file", list),
            Item::segments(b"holes", &[(None, 1 << 62), (Some(chunk), 3)]),
        ];
        Case::new(forge.of_items(&items), 0)
    });
}

#[test]
fn a_file_that_claims_other_sizes_of_a_shared_page_or_chunk_is_damage() {
    survives(|forge| {
        let chunk = forge.chunk(b"0123456789");
        let page = forge.list_leaf(&[(None, (1 << 63) - 1), (None, (1 << 63) - 1)]);
        // What was read for one file must not be believed of another one.
        let lie = List { bytes: 1, ..page };
        let over = forge.list_index(1, &[page, lie]);
        let items = [
            Item::listed(b"a-page", page),
            Item::segments(b"b-chunk", &[(Some(chunk), 10)]),
            Item::listed(b"c-page-again", over),
            Item::segments(b"d-longer", &[(Some(chunk), 20)]),
            Item::segments(b"e-more", &[(Some(chunk), 20), (Some(chunk), 10)]),
            Item::inline(b"file", b"x"),
        ];
        Case::new(forge.of_items(&items), 4)
    });
}
