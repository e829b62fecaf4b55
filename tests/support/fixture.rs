//! A generated tree with a snapshot of it.

use std::path::{Path, PathBuf};

use super::generate::{directory, file};
use super::mount::Mount;
use super::repo::Repo;
use super::rng::Rng;
use super::scratch::Scratch;
use super::tree::{Shape, generate};

/// The seed of the trees, unless a test is about chance.
pub(crate) const SEED: u64 = 20_261_119;

/// A tree, a repository and a snapshot of the tree in it.
pub(crate) struct Fixture {
    /// A place for more.
    pub(crate) scratch: Scratch,
    /// The tree.
    pub(crate) source: PathBuf,
    /// The repository.
    pub(crate) repo: Repo,
    /// The snapshot.
    pub(crate) id: String,
}

impl Fixture {
    /// Generates a tree and takes a snapshot of it.
    pub(crate) fn generated(shape: Shape) -> Self {
        Self::built(|source| generate(source, SEED, shape))
    }

    /// Lets `build` make the tree, and takes a snapshot of it.
    pub(crate) fn built(build: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new();
        let source = scratch.join("source");
        build(&source);
        let repo = Repo::new();
        let id = repo.create(&source);
        Self { scratch, source, repo, id }
    }

    /// Makes a tree of a few plain files.
    pub(crate) fn plain() -> Self {
        Self::built(|source| plain_tree(source, SEED, 30, 20_000))
    }

    /// Mounts in the background.
    pub(crate) fn mount(&self) -> Mount<'_> {
        Mount::new(&self.repo)
    }

    /// Where the tree is in a mount.
    pub(crate) fn in_mount(&self, mount: &Mount<'_>) -> PathBuf {
        mount.source(&self.id, &self.source)
    }
}

/// Makes `count` files of `size` random bytes in directories of ten.
pub(crate) fn plain_tree(top: &Path, seed: u64, count: usize, size: usize) {
    let mut rng = Rng::new(seed);
    directory(top);
    for index in 0..count {
        let inner = top.join(format!("directory-{}", index / 10));
        file(&directory(&inner).join(format!("file-{index}")), &rng.bytes(size));
    }
}
