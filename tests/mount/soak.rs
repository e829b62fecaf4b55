//! Everything at once for a while: `create`, `delete`, `gc` and four readers.
//! `ICECORE_SOAK_SECONDS` says for how long.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{resident_kib, server};
use crate::support::compare::{Rules, assert_same, differences};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;
use crate::support::{args, command::run_tool};

const READERS: u64 = 4;
/// Snapshots that live at a time, beside the first.
const ALIVE: usize = 3;
/// Bytes that the memory of the mount may grow by in the second half.
const GROWTH_KIB: u64 = 24 << 10;

/// A snapshot and what it must show.
#[derive(Clone)]
struct Known {
    id: String,
    copy: PathBuf,
}

struct Soak {
    scratch: Scratch,
    source: PathBuf,
    repo: Repo,
    /// Those that readers may choose from, the first for ever.
    known: Mutex<Vec<Known>>,
    compared: AtomicU64,
}

impl Soak {
    fn new() -> Self {
        let (scratch, repo) = (Scratch::new(), Repo::new());
        let source = scratch.join("source");
        plain_tree(&source, 61, 150, 40_000);
        let (known, compared) = (Mutex::default(), AtomicU64::new(0));
        let soak = Self { scratch, source, repo, known, compared };
        soak.create();
        soak
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the source as the seed says.
    fn change(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        for _ in 0..15 {
            let index = rng.below(150);
            let path = self.source.join(format!("directory-{}/file-{index}", index / 10));
            let size = rng.below(80_000) as usize;
            file(&path, &rng.bytes(size));
        }
        let extra = self.source.join("extra");
        if extra.exists() {
            std::fs::remove_dir_all(&extra).expect("it can be removed");
        }
        plain_tree(&extra, seed, 1 + rng.below(30) as usize, 100_000);
    }

    fn create(&self) {
        let id = self.repo.create(&self.source);
        let copy = self.scratch.join(&id);
        cp_copy(&self.source, &copy);
        self.known().push(Known { id, copy });
    }

    /// Deletes the oldest beside the first, once there are enough.
    fn delete(&self) {
        let old = {
            let mut known = self.known();
            (known.len() > ALIVE + 1).then(|| known.remove(1))
        };
        if let Some(old) = old {
            self.repo.ok(["delete", &old.id, "--yes"]);
            std::fs::remove_dir_all(old.copy).expect("it can be removed");
        }
    }

    /// Writes until told to stop; returns how often.
    fn write(&self, stop: &AtomicBool) -> u64 {
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            self.change(round);
            self.create();
            self.delete();
            self.repo.gc();
        }
        round
    }

    /// Compares one snapshot after the other with what it must show.
    fn read(&self, mount: &Mount<'_>, seed: u64, stop: &AtomicBool) {
        let mut rng = Rng::new(seed);
        while !stop.load(Ordering::Relaxed) {
            let chosen = {
                let known = self.known();
                known[rng.below(known.len() as u64) as usize].clone()
            };
            let shown = mount.source(&chosen.id, &self.source);
            let found = differences(&chosen.copy, &shown, Rules::ALL);
            // One that was deleted meanwhile may be gone, on either side.
            let is_alive = self.known().iter().any(|known| known.id == chosen.id);
            if is_alive {
                assert!(found.is_empty(), "{}:\n{}", chosen.id, found.join("\n"));
                self.compared.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn duration() -> Duration {
    let given = std::env::var("ICECORE_SOAK_SECONDS").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(20))
}

/// What is open below a directory in a process, deleted files too.
fn open_files(process: u32, below: &Path) -> usize {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process is there");
    let open = links.flatten().filter_map(|link| std::fs::read_link(link.path()).ok());
    open.filter(|to| to.starts_with(below)).count()
}

#[test]
fn create_delete_gc_and_four_readers_end_with_every_byte_right_and_memory_flat() {
    if !require_fuse() {
        return;
    }
    let soak = Soak::new();
    // A small cache is soon full, so that what grows behind that is a leak.
    let mount = Mount::with(&soak.repo, &["--cache-size", "16MiB"]);
    let process = server(mount.point());
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let mut sizes = Vec::new();
    let rounds = std::thread::scope(|scope| {
        let writer = scope.spawn(|| soak.write(&stop));
        let readers: Vec<_> = (0..READERS)
            .map(|seed| {
                let (soak, mount, stop) = (&soak, &mount, &stop);
                scope.spawn(move || soak.read(mount, seed, stop))
            })
            .collect();
        let failed = || readers.iter().any(|reader| reader.is_finished());
        while start.elapsed() < duration() && !failed() && !writer.is_finished() {
            std::thread::sleep(Duration::from_millis(250));
            sizes.push(resident_kib(process));
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer sees no error")
    });
    let compared = soak.compared.load(Ordering::Relaxed);
    let open = open_files(process, soak.repo.path());
    let (half, end) = sizes.split_at(sizes.len() / 2);
    let (half, end) = (half.iter().max().expect("sizes"), end.iter().max().expect("sizes"));
    eprintln!("{rounds} rounds, {compared} comparisons; KiB at most: {half}, {end}; {open} open");
    assert!(rounds >= 3 && compared >= 10, "{rounds} rounds, {compared} comparisons");
    assert!(*end <= half + GROWTH_KIB, "memory grows: {sizes:?}");
    assert!(*end < 256 << 10, "{sizes:?}");
    for known in soak.known().iter() {
        assert_same(&known.copy, &mount.source(&known.id, &soak.source), Rules::ALL);
    }
    let listed = run_tool("ls", args![mount.point()]).text();
    let of_snapshots = listed.lines().filter(|name| name.len() == 64).count();
    assert_eq!(of_snapshots, soak.known().len(), "{listed}");
    // Files that were deleted by `gc` and stay open would pin their space.
    assert!(open < 200, "{open} files of the repository are open");
    mount.unmount();
}
