//! Where a repository lives, and how its store may stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::progress::Silent;
use crate::chunking::ChunkerConfig;
use crate::repository::{Layout, Reader, RepositoryError, Writer};
use crate::store::fault::{FaultPlan, FaultStore, Target};
use crate::store::power::PowerStore;
use crate::store::rocks::RocksStore;
use crate::store::{Batch, Store};

/// A repository in a directory of its own.
pub(super) struct Home {
    directory: tempfile::TempDir,
    /// Its store, if that is in memory.
    power: Option<Arc<PowerStore>>,
}

impl Home {
    /// Makes a repository over RocksDB.
    pub(super) fn on_disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Writer::init(&directory.path().join("repo"), ChunkerConfig::default()).unwrap();
        Self { directory, power: None }
    }

    /// Makes a repository over a store that can lose power.
    pub(super) fn in_memory() -> Self {
        Self::over(PowerStore::new())
    }

    /// The same where some writes that are to be synced are not.
    pub(super) fn lying_about(is_forgotten: fn(&Batch) -> bool) -> Self {
        Self::over(PowerStore::new().lying_about(is_forgotten))
    }

    fn over(store: PowerStore) -> Self {
        let home = Self::on_disk();
        fs::remove_dir_all(Layout::new(home.root()).db()).unwrap();
        Self { power: Some(Arc::new(store)), ..home }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("repo")
    }

    /// Opens it for writing by a process that fails by plan.
    pub(super) fn dying_writer(&self, plan: &Arc<FaultPlan>) -> Result<Writer, RepositoryError> {
        let writer =
            Writer::open_over(&self.root(), None, "test", Duration::ZERO, &Silent, |layout| {
                let store: Arc<dyn Store> = match &self.power {
                    Some(power) => Arc::new(FaultStore::new(power.clone(), plan.clone())),
                    None => {
                        let rocks = RocksStore::open(&layout.db(), &layout.tmp())?;
                        Arc::new(FaultStore::new(rocks, plan.clone()))
                    }
                };
                Ok(store)
            });
        writer.map(Writer::hurried)
    }

    /// Opens it for writing.
    pub(super) fn writer(&self) -> Writer {
        self.dying_writer(&FaultPlan::count(Target::Writes)).unwrap()
    }

    /// Opens it for reading.
    pub(super) fn reader(&self) -> Reader {
        let Some(power) = &self.power else { return Reader::open(&self.root()).unwrap() };
        Reader::open_over(&self.root(), None, |_| Ok(Arc::new(power.reader()))).unwrap()
    }

    /// A copy, with what a process left that died here and now.
    pub(super) fn fork(&self) -> Self {
        let power = self.power.as_ref().map(|power| Arc::new(power.fork()));
        self.copy(power)
    }

    /// Whether it can lose power.
    pub(super) fn loses_power(&self) -> bool {
        self.power.is_some()
    }

    /// How many writes a loss of power may take.
    pub(super) fn unsynced_writes(&self) -> usize {
        self.power.as_ref().map_or(0, |power| power.unsynced_writes())
    }

    /// A copy, with what a loss of power left; see
    /// [`PowerStore::after_power_loss`].
    pub(super) fn after_power_loss(&self, is_left: impl Fn(usize) -> bool) -> Self {
        let power = self.power.as_ref().expect("only memory loses power");
        self.copy(Some(Arc::new(power.after_power_loss(is_left).unwrap())))
    }

    fn copy(&self, power: Option<Arc<PowerStore>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_directory(&self.root(), &directory.path().join("repo"));
        Self { directory, power }
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
