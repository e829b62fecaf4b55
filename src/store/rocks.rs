//! The store on RocksDB. The only module that names `rocksdb`.
//!
//! Purpose: column families for [`Family`], a write-ahead log for batches,
//! `SstFileWriter` and ingestion for bulk loads, a secondary instance for
//! readers.
//!
//! Invariants:
//! - `data` and `trees` are written by bulk loads alone and never compacted on
//!   their own: their keys never overlap, so their files lie in the bottom level
//!   from the start. Only [`Store::reclaim`] rewrites them, and looks whether it
//!   did; only that and [`Store::drop_files`] remove any.
//! - A bulk load's file is fsynced by `SstFileWriter::finish`, and its place in
//!   the store by the manifest that ingestion syncs.
//! - After a failed write, what reached the disk is unknown: the handle refuses
//!   all further writes.
//! - The engine is only given blocks whose checksum is right, and else follows offsets
//!   out of the block. What a block that is damaged elsewhere holds is found without it:
//!   of `data` and `trees` always, of the small families by `repair`;
//!   the layer above checks every object against its id.
//!
//! Imports: nothing of ours but the store's own types.

mod blocks;
mod errors;
mod inspect;
mod rescue;
pub mod salvage;
pub mod untrusted;

/// Reading tables without the engine, for `crate::fuzzing`.
pub(crate) mod decoders {
    pub(crate) use crate::store::rocks::blocks::{KEY_BYTES_MAX, visit as visit_blocks};
}

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily,
    ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType, FlushOptions, InfoLogger,
    IngestExternalFileOptions, IteratorMode, LogLevel, Options, ReadOptions, SstFileWriter,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use rustix::fs::statvfs;

use crate::store::rocks::errors::{failed, twice, unreadable};
use crate::store::rocks::rescue::Rescue;
use crate::store::{
    Batch, BulkLoad, Change, Durability, Extent, Family, Store, StoreError, StoreFault, VisitEntry,
};

/// Bytes of a file that a rewrite produces.
const FILE_BYTES: u64 = 128 << 20;
/// Bytes of blocks of small families and of indexes kept in memory.
const BLOCK_CACHE_BYTES: usize = 32 << 20;
/// Bytes of a family's changes kept in memory before they are written to a file.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Bytes of log after which all families are written to files.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Bytes by which the manifest grows. The engine would take 4 MiB at once, and so
/// could not even be opened to collect garbage on a disk with less to spare.
const MANIFEST_STEP_BYTES: usize = 64 << 10;
/// Bytes of a bulk load after which the system is asked to write them out.
const LOAD_SYNC_BYTES: u64 = 4 << 20;
/// Bytes that a scan reads ahead.
const SCAN_READAHEAD_BYTES: usize = 4 << 20;
/// Bits of a Bloom filter for each key: about one wrong "maybe" in a hundred.
const BLOOM_BITS: f64 = 10.0;
/// How long to ask the engine why a rewrite failed.
const FAILURE_WAIT_MICROSECONDS: u64 = 2_000_000;
/// Bytes of the files that the engine reads whole, at most.
const SMALL_BYTES_MAX: u64 = 4096;
/// Tries to open a reader while the writer replaces its manifest.
const READER_TRIES: u32 = 5;
/// Threads that open files at most, and files that one opens at least.
const OPENING_THREADS_MAX: i32 = 8;
const FILES_PER_THREAD: usize = 256;
/// Pause between two of them.
const READER_RETRY: Duration = Duration::from_millis(20);

/// First and last key of a file.
type KeyRange = (Vec<u8>, Vec<u8>);

/// A store in a directory.
pub struct RocksStore {
    db: DB,
    /// Where bulk loads are written; none for a reader.
    tmp: Option<PathBuf>,
    poisoned: AtomicBool,
    loads: AtomicU64,
    bulk_options: Options,
    faults: Vec<StoreFault>,
    /// Whether it is there to save what can be saved.
    is_remains: bool,
    /// What was read of damaged blocks.
    rescue: Box<Mutex<Rescue>>,
}

impl RocksStore {
    /// Makes a store in a directory that does not exist. `tmp` lies on the same
    /// file system.
    ///
    /// # Errors
    /// Fails if there is a store already or the directory cannot be written.
    pub fn create(path: &Path, tmp: &Path) -> Result<Self, StoreError> {
        let mut options = database_options();
        options.create_if_missing(true);
        options.set_error_if_exists(true);
        Self::open_writer(options, path, tmp)
    }

    /// Opens a store for writing.
    ///
    /// # Errors
    /// Fails if there is none, another process writes to it, or it is damaged.
    pub fn open(path: &Path, tmp: &Path) -> Result<Self, StoreError> {
        check_exists(path)?;
        Self::open_writer(database_options(), path, tmp)
    }

    fn open_writer(mut options: Options, path: &Path, tmp: &Path) -> Result<Self, StoreError> {
        options.create_missing_column_families(true);
        let (descriptors, bulk_options) = descriptors();
        let db = DB::open_cf_descriptors(&options, path, descriptors).map_err(|error| {
            // Not "block", of which messages about damage speak.
            let text = error.to_string();
            if text.contains("lock file") || text.contains("lock hold by") {
                return StoreError::Locked { path: path.display().to_string() };
            }
            failed("opening the store")(error)
        })?;
        Ok(Self::new(db, Some(tmp.to_owned()), bulk_options))
    }

    /// Opens a store for reading beside a writer, without making any file.
    ///
    /// A store that lacks files is opened as it is, and never caught up (nobody
    /// can write to it): a secondary would silently show the last state in which
    /// all files were there. See [`Store::faults`].
    ///
    /// # Errors
    /// Fails if there is no store or it is damaged.
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        check_exists(path)?;
        let faults = inspect::faults(path)?;
        if !faults.is_empty() {
            let (db, bulk_options) = inspect::open_damaged(path)?;
            return Ok(Self { faults, ..Self::new(db, None, bulk_options) });
        }
        let mut options = database_options();
        options.set_max_file_opening_threads(opening_threads(path));
        // The engine has a directory of each reader's own for its log alone, and
        // makes neither if it is given a logger. What fails is told to the caller.
        options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| ()));
        let nowhere = Path::new("");
        let mut tries = 1;
        loop {
            let (descriptors, bulk_options) = descriptors();
            let opened = DB::open_cf_descriptors_as_secondary(&options, path, nowhere, descriptors);
            match opened {
                Ok(db) => return Ok(Self::new(db, None, bulk_options)),
                // A writer that starts or ends replaces its manifest; reading it
                // meanwhile can look like damage.
                Err(_) if tries < READER_TRIES => {
                    tries += 1;
                    sleep(READER_RETRY);
                }
                Err(error) => {
                    let error = unreadable("opening the store")(error);
                    return Self::open_unopenable(path, error);
                }
            }
        }
    }

    /// Opens a store with a file that cannot be opened, for what is in the others.
    fn open_unopenable(path: &Path, error: StoreError) -> Result<Self, StoreError> {
        let StoreError::Damaged { detail, .. } = &error else { return Err(error) };
        let fault = StoreFault {
            file: "db".to_owned(),
            family: "unknown".to_owned(),
            first: Vec::new(),
            last: Vec::new(),
            detail: detail.clone(),
        };
        let Ok((db, bulk_options)) = inspect::open_damaged(path) else { return Err(error) };
        Ok(Self { faults: vec![fault], ..Self::new(db, None, bulk_options) })
    }

    fn new(db: DB, tmp: Option<PathBuf>, bulk_options: Options) -> Self {
        let (poisoned, loads) = (AtomicBool::new(false), AtomicU64::new(0));
        let (faults, is_remains, rescue) = (Vec::new(), false, Box::default());
        Self { db, tmp, poisoned, loads, bulk_options, faults, is_remains, rescue }
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(family.name()).ok_or_else(|| StoreError::Damaged {
            action: "finding a column family",
            detail: family.name().to_owned(),
        })
    }

    /// Values of the bulk-loaded families pass through once: they would only
    /// push other blocks out of the cache.
    fn read_options(&self, family: Family) -> ReadOptions {
        let mut options = ReadOptions::default();
        if is_bulk_loaded(family) {
            options.fill_cache(false);
        }
        options
    }

    /// Where bulk loads go, if this handle may write.
    fn writable(&self) -> Result<&Path, StoreError> {
        let tmp = self.tmp.as_deref().ok_or(StoreError::ReadOnly)?;
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        Ok(tmp)
    }

    /// The files that overlap `first..=last`, by name, with their first and last
    /// keys.
    fn file_ranges(
        &self,
        family: Family,
        first: &[u8],
        last: &[u8],
    ) -> Result<BTreeMap<String, KeyRange>, StoreError> {
        let files = self.db.live_files().map_err(failed("listing files"))?;
        let of_family = files.into_iter().filter(|file| file.column_family_name == family.name());
        let ranges = of_family.map(|file| {
            let range = (file.start_key.unwrap_or_default(), file.end_key.unwrap_or_default());
            (file.name, range)
        });
        Ok(ranges
            .filter(|(_, (start, end))| start.as_slice() <= last && first <= end.as_slice())
            .collect())
    }

    /// Finds out why a rewrite left a file in place.
    fn rewrite_failed(&self, file: &str) -> Result<(), StoreError> {
        let action = "rewriting files";
        let mut patience = WaitForCompactOptions::default();
        patience.set_timeout(FAILURE_WAIT_MICROSECONDS);
        self.checked(action, self.db.wait_for_compact(&patience))?;
        // The engine got over it: once it had removed what it could not finish,
        // there was space again.
        self.poisoned.store(true, Ordering::Release);
        let detail = format!("{} is still in place", file.trim_start_matches('/'));
        let free = statvfs(self.db.path()).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize);
        if free < FILE_BYTES {
            return Err(StoreError::Full { action, detail });
        }
        Err(StoreError::Failed { action, detail })
    }

    fn checked<T>(
        &self,
        action: &'static str,
        outcome: Result<T, rocksdb::Error>,
    ) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            self.poisoned.store(true, Ordering::Release);
            failed(action)(error)
        })
    }
}

impl Store for RocksStore {
    fn read(
        &self,
        family: Family,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StoreError> {
        let (handle, options) = (self.family(family)?, self.read_options(family));
        let read = || self.db.get_pinned_cf_opt(handle, key, &options);
        let value = match twice(read).map_err(unreadable("reading")) {
            Err(StoreError::Damaged { .. })
                if is_bulk_loaded(family) && self.rescue(family, key, visit) =>
            {
                return Ok(true);
            }
            value => value?,
        };
        if let Some(value) = &value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &self,
        family: Family,
        first: &[u8],
        visit: &mut VisitEntry<'_>,
    ) -> Result<(), StoreError> {
        let handle = self.family(family)?;
        let mut next = first.to_vec();
        let scanned = || {
            let mut options = self.read_options(family);
            options.set_readahead_size(SCAN_READAHEAD_BYTES);
            let mut entries = self.db.raw_iterator_cf_opt(handle, options);
            entries.seek(&next);
            while let Some((key, value)) = entries.item() {
                next.clear();
                next.extend_from_slice(key);
                // The first key behind the one that is visited.
                next.push(0);
                if visit(key, value).is_break() {
                    return Ok(());
                }
                entries.next();
            }
            entries.status()
        };
        twice(scanned).map_err(unreadable("scanning"))
    }

    fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError> {
        let handle = self.family(family)?;
        let read = || self.db.iterator_cf(handle, IteratorMode::End).next().transpose();
        match twice(read).map_err(unreadable("reading the last key")) {
            Ok(last) => Ok(last.map(|(key, _)| key.into_vec())),
            // The engine looks at the block before the last one too. What is asked for
            // is a bound, and files tell one.
            Err(StoreError::Damaged { .. }) => {
                let files = self.extents(family)?.into_iter();
                Ok(files.map(|file| file.last).max())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.writable()?;
        let mut changes = WriteBatch::default();
        for change in batch.changes() {
            match change {
                Change::Put(family, key, value) => {
                    changes.put_cf(self.family(*family)?, key, value);
                }
                Change::Delete(family, key) => changes.delete_cf(self.family(*family)?, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.checked("writing", self.db.write_opt(changes, &options))
    }

    fn bulk_load(&self, family: Family) -> Result<Box<dyn BulkLoad + '_>, StoreError> {
        let number = self.loads.fetch_add(1, Ordering::Relaxed);
        let path = self.writable()?.join(format!("{}-{number}.sst", std::process::id()));
        let last = self.last_key(family)?;
        let writer = SstFileWriter::create(&self.bulk_options);
        self.checked("starting a bulk load", writer.open(&path))?;
        Ok(Box::new(RocksLoad { store: self, family, path, writer, last, entries: 0 }))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.writable()?;
        let families: Result<Vec<_>, _> =
            Family::ALL.iter().map(|family| self.family(*family)).collect();
        let families = families?;
        let families: Vec<_> = families.iter().collect();
        self.checked("flushing", self.db.flush_cfs_opt(&families, &FlushOptions::default()))
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        if self.tmp.is_some() || !self.faults.is_empty() {
            return Ok(());
        }
        self.db.try_catch_up_with_primary().map_err(failed("catching up with the writer"))
    }

    fn extents(&self, family: Family) -> Result<Vec<Extent>, StoreError> {
        let files = self.db.live_files().map_err(failed("listing files"))?;
        let of_family = files.into_iter().filter(|file| file.column_family_name == family.name());
        let mut extents: Vec<_> = of_family
            .map(|file| Extent {
                first: file.start_key.unwrap_or_default(),
                last: file.end_key.unwrap_or_default(),
                bytes: file.size as u64,
                is_young: file.level == 0,
            })
            .collect();
        extents.sort_by(|a, b| (&a.first, &a.last).cmp(&(&b.first, &b.last)));
        Ok(extents)
    }

    fn faults(&self) -> &[StoreFault] {
        &self.faults
    }

    fn reclaim(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.writable()?;
        let handle = self.family(family)?;
        // The marks of deletion must be in a file to take part in a rewrite.
        self.checked("flushing", self.db.flush_cf_opt(handle, &FlushOptions::default()))?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        // "Forced" would write everything that has marks of deletion twice.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        // The engine reports no outcome of this; a file still there tells. It stops
        // at files that it made itself, so what lies behind them takes another go.
        let mut left = self.file_ranges(family, first, last)?;
        let (mut first, mut last) = (first.to_vec(), last.to_vec());
        loop {
            self.db.compact_range_cf_opt(handle, Some(&first), Some(&last), &options);
            let now = self.file_ranges(family, &first, &last)?;
            let count = left.len();
            left.retain(|name, _| now.contains_key(name));
            let Some((name, (start, end))) = left.first_key_value() else { return Ok(()) };
            if left.len() == count {
                return self.rewrite_failed(name);
            }
            first = left.values().map(|(start, _)| start).min().unwrap_or(start).clone();
            last = left.values().map(|(_, end)| end).max().unwrap_or(end).clone();
        }
    }

    fn drop_files(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.writable()?;
        let handle = self.family(family)?;
        self.checked("dropping files", self.db.delete_file_in_range_cf(handle, first, last))
    }
}

/// A bulk load under way.
struct RocksLoad<'a> {
    store: &'a RocksStore,
    family: Family,
    path: PathBuf,
    writer: SstFileWriter<'a>,
    last: Option<Vec<u8>>,
    entries: u64,
}

impl BulkLoad for RocksLoad<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(StoreError::KeyOrder { family: self.family.name() });
        }
        self.store.checked("bulk loading", self.writer.put(key, value))?;
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        self.entries += 1;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.writer.file_size()
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.store.writable()?;
        if self.entries == 0 {
            return Ok(());
        }
        self.store.checked("finishing a bulk load", self.writer.finish())?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let family = self.store.family(self.family)?;
        let ingested =
            self.store.db.ingest_external_file_cf_opts(family, &options, vec![&self.path]);
        self.store.checked("ingesting a bulk load", ingested)
    }
}

impl Drop for RocksLoad<'_> {
    fn drop(&mut self) {
        // Moved into the store, or abandoned; the next writer clears what stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a family is written by bulk loads alone.
const fn is_bulk_loaded(family: Family) -> bool {
    matches!(family, Family::Data | Family::Trees)
}

fn check_exists(path: &Path) -> Result<(), StoreError> {
    // A disk that fails is not one without a store.
    let failed = |error: std::io::Error| StoreError::Failed {
        action: "opening the store",
        detail: error.to_string(),
    };
    if path.join("CURRENT").try_exists().map_err(failed)? {
        return check_small(path);
    }
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        let detail = format!("there is no {}", path.join("CURRENT").display());
        return Err(StoreError::Damaged { action: "opening the store", detail });
    }
    Err(StoreError::Missing { path: path.display().to_string() })
}

/// Refuses a store with a file that the engine would read whole, whatever its size.
fn check_small(path: &Path) -> Result<(), StoreError> {
    for name in ["CURRENT", "IDENTITY"] {
        let bytes = fs::metadata(path.join(name)).map_or(0, |metadata| metadata.len());
        if bytes > SMALL_BYTES_MAX {
            let detail = format!("{} has {bytes} bytes", path.join(name).display());
            return Err(StoreError::Damaged { action: "opening the store", detail });
        }
    }
    Ok(())
}

/// How many threads open a reader's files. They are started anew for each family
/// at each catch-up, needed or not (480 threads, 10 ms), so only many files are
/// worth them.
fn opening_threads(path: &Path) -> i32 {
    let files = fs::read_dir(path).map_or(0, Iterator::count);
    i32::try_from(files / FILES_PER_THREAD).unwrap_or(i32::MAX).clamp(1, OPENING_THREADS_MAX)
}

fn database_options() -> Options {
    let mut options = Options::default();
    // Readers must hold every file open: a writer may unlink any of them.
    options.set_max_open_files(-1);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_manifest_preallocation_size(MANIFEST_STEP_BYTES);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    // Reading in the order of the walk is sequential; without this the kernel
    // is told not to read ahead (measured: 301 MB/s instead of 2417).
    options.set_advise_random_on_open(false);
    options
}

/// The options of every family, and those of a bulk load.
fn descriptors() -> (Vec<ColumnFamilyDescriptor>, Options) {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let descriptor =
        |family: Family| ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache));
    let mut descriptors: Vec<_> = Family::ALL.into_iter().map(descriptor).collect();
    // RocksDB has it in any case; nothing is in it.
    descriptors.push(ColumnFamilyDescriptor::new("default", Options::default()));
    let mut bulk = family_options(Family::Data, &cache);
    // The disk works while the load is being made, not only at its end.
    bulk.set_bytes_per_sync(LOAD_SYNC_BYTES);
    (descriptors, bulk)
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_advise_random_on_open(false);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    let mut table = BlockBasedOptions::default();
    table.set_format_version(6);
    table.set_block_cache(cache);
    // Indexes and filters come and go with the cache, so that memory does not
    // grow with the repository.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_top_level_index_and_filter(true);
    match family {
        Family::Data | Family::Trees => {
            options.set_disable_auto_compactions(true);
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        }
        Family::Index => table.set_bloom_filter(BLOOM_BITS, false),
        Family::Snapshots | Family::Meta | Family::Events | Family::Scan => {}
    }
    options.set_block_based_table_factory(&table);
    options
}
