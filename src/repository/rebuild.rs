//! Opening a repository for repair: a store whose own files are damaged is built
//! anew from what is left of it.
//!
//! ```text
//! db.building            the new store while it is made; begun anew if it is found
//! db.rebuilt             the new store, whole
//! db -> db.damaged-<time>, db.rebuilt -> db        the change
//! ```
//!
//! The old store is only read, then renamed, and never removed. Between the two
//! renames there is no `db`: a `db.rebuilt` that is found then takes its place.
//! If the new one cannot be made whole, since the disk is full say or somebody
//! cancels it, it is removed again.

mod builder;
mod sealing;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::crypto::MasterKey;
use crate::repository::config::{Config, has_keys, sync_directory};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::lock::WriterLock;
use crate::repository::objects::Repository;
use crate::repository::protection::{Protection, begins_sealed};
use crate::repository::rebuild::builder::Builder;
use crate::repository::rebuild::sealing::refuse_foreign;
use crate::repository::reserve;
use crate::repository::writer::{Writer, clear_tmp};
use crate::store::rocks::RocksStore;
use crate::store::{Family, Store, StoreError};

/// What had to be done before a repository could be opened.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// What was found and done, in a line each.
    pub notes: Vec<String>,
    /// Whether records of snapshots may be lost.
    pub lost_snapshots: bool,
    /// Where the damaged store is now, if there is a new one.
    pub aside: Option<PathBuf>,
}

impl Writer {
    /// Opens a repository for repair, building its store anew if its files are
    /// damaged. In a dry run nothing is changed, and there is no writer if the
    /// store would have to be built anew.
    ///
    /// # Errors
    /// Fails if there is no repository, another process keeps it busy, the file
    /// system fails, or it was cancelled. The damaged store is as it was.
    pub fn open_for_repair(
        root: &Path,
        key: Option<&MasterKey>,
        dry_run: bool,
        wait: Duration,
        monitor: &dyn Monitor,
    ) -> Result<(Option<Self>, Rebuilt), RepositoryError> {
        let layout = Layout::new(root);
        let mut rebuilt = Rebuilt::default();
        if !layout.db().is_dir() && !layout.rebuilt().is_dir() {
            Config::read(&layout)?;
        }
        layout.check_places()?;
        let lock = WriterLock::acquire(&layout, "repair", wait, monitor)?;
        let (config, is_new) = config(&layout, key, &mut rebuilt)?;
        let protection = Protection::new(&layout, &config, key)?;
        refuse_foreign(&layout, &protection)?;
        clear_tmp(&layout)?;
        if !dry_run {
            // It adds next to nothing to what is there.
            reserve::release(&layout);
            if is_new {
                put_config(&layout, &config)?;
            }
        }
        if !layout.db().is_dir() && layout.rebuilt().is_dir() {
            rebuilt.notes.push("A repair was cut short when its new store was ready".to_owned());
            if dry_run {
                return Ok((None, rebuilt));
            }
            rename(&layout.rebuilt(), &layout.db())?;
            sync_directory(root)?;
        }
        let reason = match damage(&layout)? {
            // A writer is more particular.
            None => match RocksStore::open(&layout.db(), &layout.tmp()) {
                Ok(store) => {
                    let repository = Repository::open(layout, config, key, Arc::new(store))?;
                    return Ok((Some(Self::new(repository, lock)), rebuilt));
                }
                Err(error @ StoreError::Damaged { .. }) => Some(error.to_string()),
                Err(error) => return Err(error.into()),
            },
            reason => reason,
        };
        if let Some(reason) = reason {
            rebuilt.notes.push(format!("The store must be built anew: {reason}"));
            if dry_run {
                return Ok((None, rebuilt));
            }
            build(&layout, &mut rebuilt, monitor, &protection)?;
        }
        let store = RocksStore::open(&layout.db(), &layout.tmp())?;
        let repository = Repository::open(layout, config, key, Arc::new(store))?;
        Ok((Some(Self::new(repository, lock)), rebuilt))
    }
}

/// Reads the configuration, or makes one if it is lost or makes no sense. Returns it
/// with whether it is a new one, which is not written yet.
fn config(
    layout: &Layout,
    key: Option<&MasterKey>,
    rebuilt: &mut Rebuilt,
) -> Result<(Config, bool), RepositoryError> {
    let why = match Config::read(layout) {
        Err(RepositoryError::NotFound { .. }) => "`config` is lost".to_owned(),
        Err(RepositoryError::Config { detail, .. }) => format!("`config` is not valid ({detail})"),
        outcome => return outcome.map(|config| (config, false)),
    };
    let path = || layout.root().to_owned();
    match key {
        None if has_keys(layout) => return Err(RepositoryError::Locked { path: path() }),
        // Without its keys nothing here can be told from damage.
        None if holds_sealed(layout) => return Err(RepositoryError::NoKeys { path: path() }),
        _ => {}
    }
    let config = Config::generate(ChunkerConfig::default())?;
    let config = match key {
        Some(master) => config.encrypted(master),
        None => config,
    };
    rebuilt.notes.push(format!("{why}; a new one with default values takes its place"));
    Ok((config, true))
}

/// Writes a new configuration; what is in its place is kept.
fn put_config(layout: &Layout, config: &Config) -> Result<(), RepositoryError> {
    let path = layout.config();
    if path.exists() {
        rename(&path, &layout.damaged("config"))?;
    }
    config.write(layout)
}

/// Whether the store of a repository holds encrypted records, as far as it can be
/// read.
fn holds_sealed(layout: &Layout) -> bool {
    RocksStore::open_reader(&layout.db()).is_ok_and(|store| begins_sealed(&store))
}

/// Says why the store cannot be used as it is.
fn damage(layout: &Layout) -> Result<Option<String>, RepositoryError> {
    match look(&layout.db()) {
        Ok(reason) => Ok(reason),
        Err(error @ (StoreError::Damaged { .. } | StoreError::Missing { .. })) => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn look(db: &Path) -> Result<Option<String>, StoreError> {
    let store = RocksStore::open_reader(db)?;
    if let Some(fault) = store.faults().first() {
        return Ok(Some(format!("{} of family `{}`: {}", fault.file, fault.family, fault.detail)));
    }
    for family in [Family::Snapshots, Family::Meta, Family::Index, Family::Scan, Family::Events] {
        store.scan(family, &[], &mut |_, _| ControlFlow::Continue(()))?;
    }
    for family in [Family::Data, Family::Trees] {
        store.last_key(family)?;
    }
    Ok(None)
}

/// Builds the store anew and puts it into the place of the damaged one.
fn build(
    layout: &Layout,
    rebuilt: &mut Rebuilt,
    monitor: &dyn Monitor,
    protection: &Protection,
) -> Result<(), RepositoryError> {
    let building = layout.building();
    for leftover in [&building, &layout.rebuilt()] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(RepositoryError::io("remove", leftover))?;
        }
    }
    if let Err(error) = make(layout, rebuilt, monitor, protection) {
        // What it takes may be what the disk lacks.
        let _ = fs::remove_dir_all(&building);
        let _ = clear_tmp(layout);
        return Err(error);
    }
    clear_tmp(layout)?;
    let (db, aside) = (layout.db(), layout.damaged("db"));
    rename(&building, &layout.rebuilt())?;
    sync_directory(layout.root())?;
    rename(&db, &aside)?;
    rename(&layout.rebuilt(), &db)?;
    sync_directory(layout.root())?;
    rebuilt.notes.push(format!("The damaged store is kept as {}", aside.display()));
    rebuilt.aside = Some(aside);
    Ok(())
}

/// Makes the new store beside the damaged one.
fn make(
    layout: &Layout,
    rebuilt: &mut Rebuilt,
    monitor: &dyn Monitor,
    protection: &Protection,
) -> Result<(), RepositoryError> {
    let target = RocksStore::create(&layout.building(), &layout.tmp())?;
    Builder::new(layout, &target, rebuilt, monitor, protection).run()?;
    Ok(target.flush()?)
}

fn rename(from: &Path, to: &Path) -> Result<(), RepositoryError> {
    fs::rename(from, to).map_err(RepositoryError::io("rename", from))
}

impl Layout {
    fn building(&self) -> PathBuf {
        self.root().join("db.building")
    }

    fn damaged(&self, what: &str) -> PathBuf {
        let time = Timestamp::now().to_rfc3339();
        let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
        self.root().join(format!("{what}.damaged-{time}"))
    }
}
