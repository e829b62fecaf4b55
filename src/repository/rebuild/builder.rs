//! What goes into a store that is built anew: all that can be read of the old one.
//!
//! Files of bulk loads are taken over by links, others are copied, and of those that
//! the engine cannot open the blocks are read. The index and what is remembered of
//! sources are left behind: the former is made of the objects, the latter by the
//! next `create`.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::base::format::plural;
use crate::base::progress::Monitor;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::locator::sequence_of;
use crate::repository::protection::Protection;
use crate::repository::rebuild::Rebuilt;
use crate::repository::verify::{is_record, scan_readable};
use crate::store::rocks::RocksStore;
use crate::store::rocks::salvage::{
    OldFile, is_table, link_file, sample, sample_blocks, visit_entries,
};
use crate::store::{Batch, Durability, Family, Store, StoreError};

/// Families that are copied record by record.
const SMALL: [Family; 3] = [Family::Snapshots, Family::Meta, Family::Events];
/// Changes in one batch.
const BATCH_CHANGES: usize = 1000;
/// Bytes of a bulk load of copied objects.
const LOAD_BYTES: u64 = 128 << 20;

/// Makes a new store.
pub(super) struct Builder<'a> {
    layout: &'a Layout,
    target: &'a RocksStore,
    rebuilt: &'a mut Rebuilt,
    monitor: &'a dyn Monitor,
    protection: &'a Protection,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        layout: &'a Layout,
        target: &'a RocksStore,
        rebuilt: &'a mut Rebuilt,
        monitor: &'a dyn Monitor,
        protection: &'a Protection,
    ) -> Self {
        Self { layout, target, rebuilt, monitor, protection }
    }

    /// Takes over all that there is.
    pub(super) fn run(&mut self) -> Result<(), RepositoryError> {
        let bytes = list(&self.layout.db())?.iter().map(|file| bytes_of(file)).sum();
        self.monitor.begin("building the store anew", 0, bytes);
        let old = self.with_current()?;
        match RocksStore::open_remains(&old) {
            Ok((remains, files)) => self.by_manifest(&old, &remains, &files),
            // A disk that fails is not one whose manifest is lost.
            Err(error @ StoreError::Failed { .. }) => Err(error.into()),
            Err(error) => {
                self.note(format!("Which files belong to the store is not known ({error})"));
                self.by_files(&old)
            }
        }
    }

    fn note(&mut self, text: String) {
        self.rebuilt.notes.push(text);
    }

    /// Ends the work if it was cancelled.
    fn go_on(&self) -> Result<(), RepositoryError> {
        if self.monitor.cancelled() {
            return Err(RepositoryError::RebuildCancelled { path: self.layout.root().to_owned() });
        }
        Ok(())
    }

    /// A file is done with, of which so many bytes were not counted yet.
    fn done(&self, bytes: u64) {
        self.monitor.advance(1, bytes);
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
            if !self.copy_records(remains, family)? && !self.copy_refused(remains, family)? {
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
                self.go_on()?;
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
        let bytes = bytes_of(&file.path);
        if self.target.adopt(family, &file.path)? || file.is_young {
            self.done(bytes);
            return Ok(());
        }
        let numbers = sequence_of(&file.first).zip(sequence_of(&file.last));
        let Some((first, last)) = numbers else { return Ok(()) };
        if !self.can_open(remains, family, first, last)?
            || self.copy_objects(remains, family, first, last)? == 0
        {
            self.blocks(family, &file.path, first, last)?;
            self.done(bytes);
        }
        Ok(())
    }

    /// Whether the engine itself finds anything in a range, or might if the disk gave it.
    fn can_open(
        &self,
        remains: &RocksStore,
        family: Family,
        first: u64,
        last: u64,
    ) -> Result<bool, RepositoryError> {
        let mut is_found = false;
        let visit = &mut |_, _: &[u8]| {
            is_found = true;
            ControlFlow::Break(())
        };
        remains.set_rescue(false);
        let met = scan_readable(remains, family, first, last, self.monitor, visit);
        remains.set_rescue(true);
        Ok(matches!(met?, Some(StoreError::Unreadable { .. })) || is_found)
    }

    /// Takes over what the blocks of a file hold that the engine cannot open.
    fn blocks(
        &mut self,
        family: Family,
        file: &Path,
        first: u64,
        last: u64,
    ) -> Result<(), RepositoryError> {
        let (monitor, protection) = (self.monitor, self.protection);
        let taken = self.target.load_blocks(family, file, &mut |key, stored| {
            let is_within = sequence_of(key).is_some_and(|at| (first..=last).contains(&at));
            // The rest is passed over quickly.
            is_within && !monitor.cancelled() && protection.object_of(family, stored).is_some()
        })?;
        self.go_on()?;
        let (name, family) = (file.display(), family.name());
        self.note(match taken {
            0 => format!("Nothing of {name} of family `{family}` can be read"),
            taken => format!(
                "{name} of family `{family}` cannot be opened; {} read from its beginning on",
                plural(taken, "object was", "objects were")
            ),
        });
        Ok(())
    }

    /// Takes over all files that there are.
    fn by_files(&mut self, directory: &Path) -> Result<(), RepositoryError> {
        let mut labelled: Vec<_> =
            list(directory)?.into_iter().filter(|path| is_log(path)).collect();
        let mut loads = Vec::new();
        for file in list(directory)?.into_iter().filter(|path| is_table(path)) {
            self.go_on()?;
            match sample(&file, &self.layout.tmp().join("sample"))? {
                Some(values) => loads.push((family_of(&values), file)),
                None => labelled.push(file),
            }
        }
        let is_whole = self.copy_without_manifest(&labelled)?;
        self.rebuilt.lost_snapshots = !is_whole;
        for (family, file) in loads {
            self.go_on()?;
            let bytes = bytes_of(&file);
            if !self.target.adopt(family, &file)? {
                self.note(format!("{} cannot be taken over", file.display()));
            }
            self.done(bytes);
        }
        let snapshots = self.target.last_key(Family::Snapshots)?;
        self.rebuilt.lost_snapshots |= snapshots.is_none();
        Ok(())
    }

    /// Copies what files tell of themselves. Returns whether all could be read.
    fn copy_without_manifest(&mut self, files: &[PathBuf]) -> Result<bool, RepositoryError> {
        let directory = self.scratch("without-manifest")?;
        self.link_all(files, &directory)?;
        let (remains, lost) = RocksStore::open_without_manifest(&directory)?;
        for family in SMALL {
            if !self.copy_records(&remains, family)? {
                self.copy_refused(&remains, family)?;
            }
        }
        for family in [Family::Trees, Family::Data] {
            self.copy_objects(&remains, family, 0, u64::MAX - 1)?;
        }
        drop(remains);
        let mut is_whole = true;
        for file in &lost {
            self.go_on()?;
            let values = sample_blocks(file);
            let family = family_of(&values);
            if values.iter().any(|value| self.protection.object_of(family, value).is_some()) {
                self.blocks(family, file, 0, u64::MAX - 1)?;
            } else {
                is_whole = false;
            }
        }
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

    /// Copies the records of a family that the engine refuses since something else in their
    /// blocks is damaged, as far as their files make sense, and are not there yet. Returns
    /// whether all entries of all files were met.
    fn copy_refused(&self, remains: &RocksStore, family: Family) -> Result<bool, RepositoryError> {
        let files = remains.files_of(family)?;
        let mut newest: HashMap<Vec<u8>, (u64, usize)> = HashMap::new();
        let mut is_whole = true;
        for (index, (file, entries)) in files.iter().enumerate() {
            let mut met = 0;
            visit_entries(file, &mut |entry| {
                met += 1;
                let this = (entry.sequence, index);
                let known = newest.entry(entry.key.to_vec()).or_insert(this);
                *known = this.max(*known);
                ControlFlow::Continue(())
            });
            is_whole &= met == *entries;
        }
        for (index, (file, _)) in files.iter().enumerate() {
            self.go_on()?;
            let mut outcome = Ok(());
            visit_entries(file, &mut |entry| {
                let is_newest = newest.get(entry.key) == Some(&(entry.sequence, index));
                if let Some(value) = entry.value.filter(|_| is_newest) {
                    outcome = self.copy_record(remains, family, entry.key, value);
                }
                if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            outcome?;
        }
        Ok(is_whole)
    }

    /// Copies a record, unless it is there; as the engine gives it, or `stored` if that is
    /// refused for damage.
    fn copy_record(
        &self,
        remains: &RocksStore,
        family: Family,
        key: &[u8],
        stored: &[u8],
    ) -> Result<(), RepositoryError> {
        if self.target.contains(family, key)? {
            return Ok(());
        }
        let value = match remains.get(family, key) {
            Err(StoreError::Damaged { .. }) => stored.to_vec(),
            Ok(Some(value)) => value,
            Ok(None) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut batch = Batch::new();
        batch.put(family, key, value);
        Ok(self.target.write(&batch, Durability::Synced)?)
    }

    /// Copies the objects of a range that can be read, and returns how many.
    fn copy_objects(
        &self,
        remains: &dyn Store,
        family: Family,
        first: u64,
        last: u64,
    ) -> Result<u64, RepositoryError> {
        let mut copied = 0;
        let mut load = None;
        let mut outcome: Result<(), RepositoryError> = Ok(());
        let met =
            scan_readable(remains, family, first, last, self.monitor, &mut |sequence, stored| {
                outcome = (|| {
                    self.go_on()?;
                    let mut current = match load.take() {
                        Some(load) => load,
                        None => self.target.bulk_load(family)?,
                    };
                    current.put(&sequence.to_be_bytes(), stored)?;
                    copied += 1;
                    self.monitor.advance(0, stored.len() as u64);
                    if current.bytes() >= LOAD_BYTES {
                        return Ok(current.finish()?);
                    }
                    load = Some(current);
                    Ok(())
                })();
                if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        outcome.and_then(|()| self.go_on())?;
        // What a sound disk would give must not be given up.
        if let Some(error @ StoreError::Unreadable { .. }) = met {
            return Err(error.into());
        }
        if let Some(load) = load {
            load.finish()?;
        }
        Ok(copied)
    }
}

/// The family of a file that does not say of which it is: only records of trees
/// decode as such.
fn family_of(values: &[Vec<u8>]) -> Family {
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

fn bytes_of(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}
