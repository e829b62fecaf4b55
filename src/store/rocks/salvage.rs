//! Taking what is left of a damaged store into a new one, file by file.
//!
//! The damaged store is only read. Files that a bulk load wrote are taken over
//! by a hard link, whatever their size; the others (a collection rewrote them)
//! are copied by the caller. Of one that the engine cannot open, since its end or its
//! index is lost, the blocks are read one after another.

use std::fs::{self, File};
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rocksdb::{
    ColumnFamilyDescriptor, DB, ErrorKind, IngestExternalFileOptions, IteratorMode, Options,
    SstFileWriter,
};

use crate::store::rocks::blocks::Entry;
use crate::store::rocks::errors::{failed, twice, unreadable};
use crate::store::rocks::{
    RocksStore, blocks, check_small, database_options, descriptors, inspect,
};
use crate::store::{Family, StoreError, VisitEntry};

/// Entries that are looked at to tell what a file holds.
const SAMPLE_ENTRIES: usize = 16;
/// Bytes of a file that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A file of a damaged store, as its manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldFile {
    /// Where it lies, or should.
    pub path: PathBuf,
    /// The name of its family.
    pub family: String,
    /// The smallest key in it.
    pub first: Vec<u8>,
    /// The largest key in it.
    pub last: Vec<u8>,
    /// Whether it lies above the level of bulk loads: in a family that is written
    /// by those alone it holds nothing but marks of deletion, unless it is one.
    pub is_young: bool,
}

impl RocksStore {
    /// Opens what is left of a store for reading, and lists its files by rising
    /// keys.
    ///
    /// # Errors
    /// Fails if the manifest cannot be read.
    pub fn open_remains(path: &Path) -> Result<(Self, Vec<OldFile>), StoreError> {
        check_small(path)?;
        let files = inspect::live_files(path)?;
        let (db, bulk_options) = inspect::open_damaged(path)?;
        let mut files: Vec<_> = files
            .into_iter()
            .map(|file| OldFile {
                path: path.join(file.name.trim_start_matches('/')),
                family: file.column_family_name,
                first: file.start_key.unwrap_or_default(),
                last: file.end_key.unwrap_or_default(),
                is_young: file.level == 0,
            })
            .collect();
        files.sort_by(|a, b| (&a.family, &a.first).cmp(&(&b.family, &b.first)));
        Ok((Self { is_remains: true, ..Self::new(db, None, bulk_options) }, files))
    }

    /// The files of a family, each with how many entries it has, marks of deletion
    /// included.
    ///
    /// # Errors
    /// Fails if the engine cannot tell.
    pub fn files_of(&self, family: Family) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let files = self.db.live_files().map_err(failed("listing files"))?;
        let files = files.into_iter().filter(|file| file.column_family_name == family.name());
        let path = |name: &str| self.db.path().join(name.trim_start_matches('/'));
        Ok(files.map(|file| (path(&file.name), file.num_entries)).collect())
    }

    /// Lets the engine make a store of the files in `directory`, links or copies
    /// that it may do with as it likes, without a manifest. Only files that say
    /// of which family they are count. Returns those of them too that it could not
    /// use.
    ///
    /// # Errors
    /// Fails if nothing can be made of them.
    pub fn open_without_manifest(directory: &Path) -> Result<(Self, Vec<PathBuf>), StoreError> {
        let mut options = database_options();
        options.create_if_missing(true);
        DB::repair(&options, directory).map_err(failed("reading files without a manifest"))?;
        let names = twice(|| DB::list_cf(&options, directory));
        let names = names.map_err(unreadable("opening the store"))?;
        options.create_missing_column_families(true);
        let (known, bulk_options) = descriptors();
        let ours: Vec<_> = known.iter().map(|family| family.name().to_owned()).collect();
        let others = names.into_iter().filter(|name| !ours.contains(name));
        let others = others.map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
        let others: Vec<_> = others.collect();
        let db = DB::open_cf_descriptors(&options, directory, known.into_iter().chain(others))
            .map_err(unreadable("opening the store"))?;
        let lost = fs::read_dir(directory.join("lost")).into_iter().flatten().flatten();
        let mut lost: Vec<_> = lost.map(|entry| entry.path()).filter(|p| is_table(p)).collect();
        lost.sort();
        Ok((Self { is_remains: true, ..Self::new(db, None, bulk_options) }, lost))
    }

    /// Takes over a file that a bulk load wrote, by a link. Returns whether it is
    /// one and can be opened.
    ///
    /// # Errors
    /// Fails if no link can be made, or the disk fails or is full.
    pub fn adopt(&self, family: Family, file: &Path) -> Result<bool, StoreError> {
        let tmp = self.writable()?;
        let name = file.file_name().unwrap_or_default();
        let link = tmp.join(name);
        link_file(file, &link)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let family = self.family(family)?;
        let taken = self.db.ingest_external_file_cf_opts(family, &options, vec![&link]);
        let _ = fs::remove_file(&link);
        is_taken(taken)
    }

    /// Loads what the blocks of a file hold that the engine cannot open, as far as
    /// `accepts` says that it makes sense, and returns how much that was. No key of
    /// the file is in the family.
    ///
    /// # Errors
    /// Fails if this store cannot be written.
    pub fn load_blocks(
        &self,
        family: Family,
        file: &Path,
        accepts: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<u64, StoreError> {
        let name = file.file_name().unwrap_or_default();
        let path = self.writable()?.join(name);
        let mut writer = SstFileWriter::create(&self.bulk_options);
        self.checked("starting a bulk load", writer.open(&path))?;
        let mut count = 0;
        let mut outcome = Ok(());
        visit_blocks(file, &mut |key, value| {
            if !accepts(key, value) {
                return ControlFlow::Continue(());
            }
            outcome = self.checked("bulk loading", writer.put(key, value));
            count += 1;
            if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        outcome?;
        if count > 0 {
            self.checked("finishing a bulk load", writer.finish())?;
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            let handle = self.family(family)?;
            let taken = self.db.ingest_external_file_cf_opts(handle, &options, vec![&path]);
            self.checked("ingesting a bulk load", taken)?;
        }
        let _ = fs::remove_file(&path);
        Ok(count)
    }
}

/// Visits all entries of a file of any family, from its beginning on, as far as they can be
/// read and make sense.
pub fn visit_entries(file: &Path, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) {
    if let Ok(file) = File::open(file) {
        let _ = blocks::visit_entries(BufReader::with_capacity(READ_BYTES, file), visit);
    }
}

/// Visits what the blocks of a file hold, from its beginning on, as far as it can be
/// read and makes sense.
pub fn visit_blocks(file: &Path, visit: &mut VisitEntry<'_>) {
    if let Ok(file) = File::open(file) {
        // What follows a place that cannot be read is lost.
        let _ = blocks::visit(BufReader::with_capacity(READ_BYTES, file), visit);
    }
}

/// Returns some values of a file, as far as its blocks can be read one after
/// another.
#[must_use]
pub fn sample_blocks(file: &Path) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    visit_blocks(file, &mut |_, value| {
        values.push(value.to_vec());
        if values.len() < SAMPLE_ENTRIES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    values
}

/// Returns some values of a file that a bulk load wrote, or nothing if it is
/// none or cannot be opened. `scratch` does not exist, and is gone afterwards.
///
/// # Errors
/// Fails if no scratch store can be made.
pub fn sample(file: &Path, scratch: &Path) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, scratch).map_err(failed("making a scratch store"))?;
    let link = scratch.join("sample-of-it");
    link_file(file, &link)?;
    let mut ingest = IngestExternalFileOptions::default();
    ingest.set_move_files(true);
    let taken = db.ingest_external_file_opts(&ingest, vec![&link]);
    let values = is_taken(taken)?.then(|| {
        let entries = db.iterator(IteratorMode::Start).take(SAMPLE_ENTRIES);
        entries.flatten().map(|(_, value)| value.into_vec()).collect()
    });
    drop(db);
    let _ = fs::remove_dir_all(scratch);
    Ok(values)
}

/// Whether a file could be taken over. A disk that fails or is full says nothing of
/// the file.
fn is_taken(taken: Result<(), rocksdb::Error>) -> Result<bool, StoreError> {
    match taken {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::IOError => {
            Err(failed("taking over a file of the store")(error))
        }
        Err(_) => Ok(false),
    }
}

/// Whether a file is one of the engine's tables.
#[must_use]
pub fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

/// Gives a file of the store one more name.
///
/// # Errors
/// Fails if the file system does.
pub fn link_file(file: &Path, link: &Path) -> Result<(), StoreError> {
    fs::hard_link(file, link).map_err(|error| StoreError::Failed {
        action: "linking a file of the store",
        detail: format!("{}: {error}", file.display()),
    })
}
