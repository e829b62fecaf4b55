//! Holes and offsets beyond 32 bits.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, sparse};
use crate::support::need::require_fuse;
use crate::support::rng::Rng;
use crate::support::walk::BLOCK;

const M: u64 = 1 << 20;
const T: u64 = 1 << 40;

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

/// Where data begins and ends in a file, both ends of each extent.
fn edges(file: &OwnedFd) -> Vec<u64> {
    let mut edges = Vec::new();
    let mut at = 0;
    while let Ok(start) = seek(file, SeekFrom::Data(at)) {
        at = seek(file, SeekFrom::Hole(start)).expect("data ends");
        edges.extend([start, at]);
    }
    edges
}

/// Fails unless both files answer the same to both questions around each edge.
fn same_answers(source: &Path, shown: &Path) {
    let (left, right) = (open(source), open(shown));
    let size = std::fs::metadata(source).expect("it is there").len();
    let mut offsets = edges(&left);
    offsets.extend([0, size / 2, size, 1 << 31, 1 << 32, i64::MAX as u64]);
    let steps = [-(BLOCK as i64), -1, 0, 1, BLOCK as i64];
    for offset in offsets {
        for offset in steps.iter().filter_map(|step| offset.checked_add_signed(*step)) {
            for question in [SeekFrom::Data(offset), SeekFrom::Hole(offset)] {
                if offset > i64::MAX as u64 {
                    continue;
                }
                let (expected, answer) = (seek(&left, question), seek(&right, question));
                assert_eq!(answer, expected, "{question:?} in {}", shown.display());
            }
        }
    }
}

#[test]
fn seek_data_and_seek_hole_answer_at_every_edge_as_the_source_does() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let mut rng = Rng::new(4);
        let data = rng.bytes(300_000);
        directory(source);
        file(&source.join("empty"), b"");
        file(&source.join("small"), b"no hole in here");
        file(&source.join("dense"), &data);
        sparse(&source.join("hole"), 5 * M, &[]);
        sparse(&source.join("hole-of-odd-size"), 12_345, &[]);
        sparse(&source.join("at-both-ends"), 2 * M, &[(M, &data)]);
        sparse(&source.join("of-odd-size"), 3 * M + 77, &[(0, &data[..9]), (2 * M + 5, b"x")]);
        sparse(&source.join("last-byte"), 4 * M + 1, &[(4 * M, b"x")]);
        let block = data[..4096].to_vec();
        let many: Vec<_> = (0..3_000).map(|index| (index * 4 * BLOCK, &block[..])).collect();
        sparse(&source.join("many"), 12_000 * BLOCK, &many);
    });
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    for entry in std::fs::read_dir(&fixture.source).expect("it can be listed").flatten() {
        same_answers(&entry.path(), &top.join(entry.file_name()));
    }
    mount.unmount();
}

#[test]
fn a_sparse_file_of_5_tib_reads_right_near_its_end_and_around_every_32_bits() {
    if !require_fuse() {
        return;
    }
    let size = 5 * T + 12_345;
    let places = [
        (0, &b"start"[..]),
        ((1 << 31) - 3, b"across 31 bits"),
        ((1 << 32) - 3, b"across 32 bits"),
        (1 << 40, b"one tebibyte"),
        (5 * T - 5, b"across the fifth"),
        (size - 3, b"end"),
    ];
    let fixture = Fixture::built(|source| {
        sparse(&directory(source).join("5T"), size, &places);
    });
    let mount = fixture.mount();
    let (source, shown) = (fixture.source.join("5T"), fixture.in_mount(&mount).join("5T"));
    let opened = File::open(&shown).expect("it opens");
    let metadata = opened.metadata().expect("it has metadata");
    assert_eq!(metadata.len(), size);
    assert!(metadata.blocks() * 512 < M, "{} blocks", metadata.blocks());
    let original = File::open(&source).expect("it opens");
    for (offset, expected) in places {
        let mut bytes = vec![0; expected.len()];
        opened.read_exact_at(&mut bytes, offset).expect("it can be read");
        assert_eq!(bytes, expected, "at {offset}");
        let around = offset.saturating_sub(70_000);
        let (mut left, mut right) = (vec![0; 200_000], vec![1; 200_000]);
        let lengths = (original.read_at(&mut left, around), opened.read_at(&mut right, around));
        let length = lengths.0.expect("the source can be read");
        assert_eq!(lengths.1.expect("it can be read"), length, "around {offset}");
        assert!(left[..length] == right[..length], "other bytes around {offset}");
    }
    let mut beyond = [0; 10];
    for offset in [size, size + 1, 6 * T, i64::MAX as u64 - 10] {
        assert_eq!(opened.read_at(&mut beyond, offset).expect("no error"), 0, "at {offset}");
    }
    let opened = OwnedFd::from(opened);
    assert_eq!(seek(&opened, SeekFrom::End(0)), Ok(size));
    assert_eq!(seek(&opened, SeekFrom::Data(size)), Err(Errno::NXIO));
    drop(opened);
    same_answers(&source, &shown);
    mount.unmount();
}

#[test]
fn st_blocks_count_data_and_never_a_hole() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let data = Rng::new(8).bytes(1_000_000);
        file(&directory(source).join("dense"), &data);
        file(&source.join("tiny"), b"x");
        file(&source.join("zeros"), &[0; 100_000]);
        sparse(&source.join("hole"), M, &[]);
        sparse(&source.join("sparse"), 100 * M, &[(50 * M, &data)]);
    });
    let mount = fixture.mount();
    let blocks = |name: &str| {
        let metadata = std::fs::metadata(fixture.in_mount(&mount).join(name));
        metadata.expect("it is there").blocks() * 512
    };
    assert_eq!(blocks("dense"), 1_000_000_u64.next_multiple_of(BLOCK));
    assert_eq!(blocks("tiny"), BLOCK);
    assert_eq!(blocks("zeros"), 100_000_u64.next_multiple_of(BLOCK));
    assert_eq!(blocks("hole"), 0);
    assert_eq!(blocks("sparse"), 1_000_000_u64.next_multiple_of(BLOCK));
    mount.unmount();
}
