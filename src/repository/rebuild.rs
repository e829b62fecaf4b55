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
//! The index and what is remembered of sources are left behind: the former is
//! made of the objects, the latter by the next `create`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::repository::config::{Config, sync_directory};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::locator::{ObjectKind, sequence_of};
use crate::repository::lock::WriterLock;
use crate::repository::objects::Repository;
use crate::repository::verify::{object_of, scan_readable};
use crate::repository::writer::{Writer, clear_tmp};
use crate::store::rocks::RocksStore;
use crate::store::rocks::salvage::{OldFile, is_table, link_file, sample};
use crate::store::{Batch, Durability, Family, Store, StoreError};

/// Families that are copied record by record.
const SMALL: [Family; 3] = [Family::Snapshots, Family::Meta, Family::Events];
/// Changes in one batch.
const BATCH_CHANGES: usize = 1000;
/// Bytes of a bulk load of copied objects.
const LOAD_BYTES: u64 = 128 << 20;

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
    /// Fails if there is no repository, another process keeps it busy, or the
    /// file system fails. The damaged store is as it was.
    pub fn open_for_repair(
        root: &Path,
        dry_run: bool,
        wait: Duration,
        monitor: &dyn Monitor,
    ) -> Result<(Option<Self>, Rebuilt), RepositoryError> {
        let layout = Layout::new(root);
        let mut rebuilt = Rebuilt::default();
        if !layout.db().is_dir() && !layout.rebuilt().is_dir() {
            Config::read(&layout)?;
        }
        let lock = WriterLock::acquire(&layout, "repair", wait, monitor)?;
        clear_tmp(&layout)?;
        let config = config(&layout, dry_run, &mut rebuilt)?;
        if !layout.db().is_dir() && layout.rebuilt().is_dir() {
            rebuilt.notes.push("A repair was cut short when its new store was ready".to_owned());
            if !dry_run {
                rename(&layout.rebuilt(), &layout.db())?;
                sync_directory(root)?;
            }
        }
        let reason = match damage(&layout)? {
            // A writer is more particular.
            None => match RocksStore::open(&layout.db(), &layout.tmp()) {
                Ok(store) => {
                    let repository = Repository::new(layout, config, Arc::new(store));
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
            monitor.phase("building the store anew");
            build(&layout, &mut rebuilt)?;
        }
        let store = RocksStore::open(&layout.db(), &layout.tmp())?;
        let repository = Repository::new(layout, config, Arc::new(store));
        Ok((Some(Self::new(repository, lock)), rebuilt))
    }
}

/// Reads the configuration, or makes one if it is lost or makes no sense.
fn config(
    layout: &Layout,
    dry_run: bool,
    rebuilt: &mut Rebuilt,
) -> Result<Config, RepositoryError> {
    match Config::read(layout) {
        Err(error @ (RepositoryError::NotFound { .. } | RepositoryError::Config { .. })) => {
            let config = Config::generate(ChunkerConfig::default())?;
            rebuilt.notes.push(format!("A new `config` with default values is made: {error}"));
            if !dry_run {
                let path = layout.config();
                if path.exists() {
                    rename(&path, &layout.damaged("config"))?;
                }
                config.write(layout)?;
            }
            Ok(config)
        }
        outcome => outcome,
    }
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
fn build(layout: &Layout, rebuilt: &mut Rebuilt) -> Result<(), RepositoryError> {
    let building = layout.building();
    for leftover in [&building, &layout.rebuilt()] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(RepositoryError::io("remove", leftover))?;
        }
    }
    {
        let target = RocksStore::create(&building, &layout.tmp())?;
        let mut builder = Builder { layout, target: &target, rebuilt };
        builder.run()?;
        target.flush()?;
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

fn rename(from: &Path, to: &Path) -> Result<(), RepositoryError> {
    fs::rename(from, to).map_err(RepositoryError::io("rename", from))
}

struct Builder<'a> {
    layout: &'a Layout,
    target: &'a RocksStore,
    rebuilt: &'a mut Rebuilt,
}

impl Builder<'_> {
    fn run(&mut self) -> Result<(), RepositoryError> {
        let old = self.with_current()?;
        match RocksStore::open_remains(&old) {
            Ok((remains, files)) => self.by_manifest(&old, &remains, &files),
            Err(error) => {
                self.note(format!("Which files belong to the store is not known ({error})"));
                self.by_files(&old)
            }
        }
    }

    fn note(&mut self, text: String) {
        self.rebuilt.notes.push(text);
    }

    /// Returns a directory from which the store can be read: the store's own, or
    /// one with links if it lacks nothing but the file `CURRENT`.
    fn with_current(&mut self) -> Result<PathBuf, RepositoryError> {
        let db = self.layout.db();
        let named = fs::read_to_string(db.join("CURRENT")).unwrap_or_default();
        let names_one = !named.trim().is_empty() && db.join(named.trim()).is_file();
        let is_manifest = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"MANIFEST-"))
        };
        let newest = list(&db)?.into_iter().filter(is_manifest).max();
        let Some(name) = newest.as_deref().and_then(Path::file_name).filter(|_| !names_one) else {
            return Ok(db);
        };
        self.note("`CURRENT` is lost; the newest manifest is used".to_owned());
        let view = self.scratch("view")?;
        self.link_all(&list(&db)?, &view)?;
        let current = view.join("CURRENT");
        let text = format!("{}\n", name.to_string_lossy());
        fs::write(&current, text).map_err(RepositoryError::io("write", &current))?;
        Ok(view)
    }

    /// Makes a directory for links.
    fn scratch(&self, name: &str) -> Result<PathBuf, RepositoryError> {
        let path = self.layout.tmp().join(name);
        fs::create_dir(&path).map_err(RepositoryError::io("create", &path))?;
        Ok(path)
    }

    /// Links files; what the engine may write to is copied.
    fn link_all(&self, files: &[PathBuf], to: &Path) -> Result<(), RepositoryError> {
        for file in files {
            let Some(name) = file.file_name() else { continue };
            let copy = to.join(name);
            if is_table(file) {
                link_file(file, &copy)?;
            } else if !matches!(name.to_str(), Some("CURRENT" | "LOCK")) && file.is_file() {
                fs::copy(file, &copy).map_err(RepositoryError::io("copy", file))?;
            }
        }
        Ok(())
    }

    /// Takes over what the manifest names.
    fn by_manifest(
        &mut self,
        directory: &Path,
        remains: &RocksStore,
        files: &[OldFile],
    ) -> Result<(), RepositoryError> {
        let mut lossy = Vec::new();
        for family in SMALL {
            if !self.copy_records(remains, family)? {
                lossy.push(family);
            }
        }
        if !lossy.is_empty() {
            let names: Vec<_> = lossy.iter().map(|family| family.name()).collect();
            self.note(format!("Records of {} are lost", names.join(", ")));
            self.rebuilt.lost_snapshots = lossy.contains(&Family::Snapshots);
            let of_small = |file: &&OldFile| {
                SMALL.iter().any(|family| family.name() == file.family) && file.path.is_file()
            };
            let left: Vec<_> = files.iter().filter(of_small).map(|f| f.path.clone()).collect();
            let logs = list(directory)?.into_iter().filter(|path| is_log(path));
            self.copy_without_manifest(&left.into_iter().chain(logs).collect::<Vec<_>>())?;
        }
        for family in [Family::Trees, Family::Data] {
            for file in files.iter().filter(|file| file.family == family.name()) {
                self.file(remains, family, file)?;
            }
        }
        Ok(())
    }

    /// Takes over a file of objects: whole, or what can be read of it.
    fn file(
        &mut self,
        remains: &RocksStore,
        family: Family,
        file: &OldFile,
    ) -> Result<(), RepositoryError> {
        let name = file.path.display().to_string();
        if !file.path.is_file() {
            self.note(format!("{name} of family `{}` is lost", family.name()));
            return Ok(());
        }
        if self.target.adopt(family, &file.path)? || file.is_young {
            return Ok(());
        }
        let numbers = sequence_of(&file.first).zip(sequence_of(&file.last));
        let Some((first, last)) = numbers else { return Ok(()) };
        let copied = copy_objects(remains, self.target, family, first, last)?;
        if copied == 0 {
            self.note(format!("Nothing of {name} of family `{}` can be read", family.name()));
        }
        Ok(())
    }

    /// Takes over all files that there are.
    fn by_files(&mut self, directory: &Path) -> Result<(), RepositoryError> {
        let mut labelled: Vec<_> =
            list(directory)?.into_iter().filter(|path| is_log(path)).collect();
        let mut loads = Vec::new();
        for file in list(directory)?.into_iter().filter(|path| is_table(path)) {
            match sample(&file, &self.layout.tmp().join("sample"))? {
                Some(values) => loads.push((family_of(&values), file)),
                None => labelled.push(file),
            }
        }
        let is_whole = self.copy_without_manifest(&labelled)?;
        self.rebuilt.lost_snapshots = !is_whole;
        for (family, file) in loads {
            if !self.target.adopt(family, &file)? {
                self.note(format!("{} cannot be taken over", file.display()));
            }
        }
        let snapshots = self.target.last_key(Family::Snapshots)?;
        self.rebuilt.lost_snapshots |= snapshots.is_none();
        Ok(())
    }

    /// Copies what files tell of themselves. Returns whether all could be read.
    fn copy_without_manifest(&mut self, files: &[PathBuf]) -> Result<bool, RepositoryError> {
        let directory = self.scratch("without-manifest")?;
        self.link_all(files, &directory)?;
        let (remains, is_whole) = RocksStore::open_without_manifest(&directory)?;
        for family in SMALL {
            self.copy_records(&remains, family)?;
        }
        for family in [Family::Trees, Family::Data] {
            copy_objects(&remains, self.target, family, 0, u64::MAX - 1)?;
        }
        drop(remains);
        if !is_whole {
            self.note("Some files of the small families cannot be read".to_owned());
        }
        Ok(is_whole)
    }

    /// Copies the records of a family that can be read and are not there yet.
    /// Returns whether all could be.
    fn copy_records(&self, remains: &dyn Store, family: Family) -> Result<bool, RepositoryError> {
        let mut is_whole = true;
        let mut next: Vec<u8> = Vec::new();
        let mut step = 1_u16;
        loop {
            let from = next.clone();
            let mut batch = Batch::new();
            let mut outcome = Ok(());
            let scanned = remains.scan(family, &from, &mut |key, value| {
                next = [key, &[0]].concat();
                outcome = self.target.contains(family, key).and_then(|known| {
                    if !known {
                        batch.put(family, key, value);
                    }
                    if batch.len() >= BATCH_CHANGES {
                        self.target.write(&std::mem::take(&mut batch), Durability::Buffered)?;
                    }
                    Ok(())
                });
                if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            outcome?;
            self.target.write(&batch, Durability::Synced)?;
            match scanned {
                Ok(()) => return Ok(is_whole),
                Err(StoreError::Damaged { .. }) => is_whole = false,
                Err(error) => return Err(error.into()),
            }
            // Go on behind what cannot be read, in longer and longer steps.
            step = if next == from { step.saturating_mul(2) } else { 1 };
            let prefix = [next.first().copied(), next.get(1).copied()];
            let prefix = u16::from_be_bytes(prefix.map(Option::unwrap_or_default));
            let Some(prefix) = prefix.checked_add(step) else { return Ok(is_whole) };
            next = prefix.to_be_bytes().to_vec();
        }
    }
}

/// Copies the objects of a range that can be read, and returns how many.
fn copy_objects(
    remains: &dyn Store,
    target: &dyn Store,
    family: Family,
    first: u64,
    last: u64,
) -> Result<u64, RepositoryError> {
    let mut copied = 0;
    let mut load = None;
    let mut outcome = Ok(());
    scan_readable(remains, family, first, last, &mut |sequence, stored| {
        outcome = (|| {
            let mut current = match load.take() {
                Some(load) => load,
                None => target.bulk_load(family)?,
            };
            current.put(&sequence.to_be_bytes(), stored)?;
            copied += 1;
            if current.bytes() >= LOAD_BYTES {
                return current.finish();
            }
            load = Some(current);
            Ok(())
        })();
        if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    outcome?;
    if let Some(load) = load {
        load.finish()?;
    }
    Ok(copied)
}

/// The family of a file that does not say of which it is: only records of trees
/// decode as such.
fn family_of(values: &[Vec<u8>]) -> Family {
    let is_record = |value: &Vec<u8>| {
        object_of(Family::Trees, value).is_some_and(|(kind, ..)| kind != ObjectKind::Chunk)
    };
    let records = values.iter().filter(|value| is_record(value)).count();
    if records * 2 > values.len() { Family::Trees } else { Family::Data }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, RepositoryError> {
    let entries = fs::read_dir(directory).map_err(RepositoryError::io("list", directory))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(RepositoryError::io("list", directory))?.path());
    }
    paths.sort();
    Ok(paths)
}

impl Layout {
    fn building(&self) -> PathBuf {
        self.root().join("db.building")
    }

    fn rebuilt(&self) -> PathBuf {
        self.root().join("db.rebuilt")
    }

    fn damaged(&self, what: &str) -> PathBuf {
        let time = Timestamp::now().to_rfc3339();
        let time: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
        self.root().join(format!("{what}.damaged-{time}"))
    }
}
