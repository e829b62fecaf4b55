//! icecore: a snapshot filesystem and backup system.
//!
//! A repository holds deduplicated, verified snapshots of directory trees in an
//! embedded RocksDB. `icecore mount` shows every one of them as a read-only
//! directory tree. The layers, each importing downwards only:
//!
//! ```text
//! cli                        the program
//! fuse                       the driver
//! view                       the virtual tree of all snapshots
//! ingest, restore, gc, check,
//! repair, find, statistics,
//! diff, archive              one verb each
//! audit                      the chained log of operations
//! repository                 open, lock, lease, read, write
//! store                      ordered keys in families; RocksDB
//! local                      files of this machine: status, attributes, handles
//! chunking, compression,
//! crypto, dag, patterns,
//! retention                  pure
//! base                       ids, names, limits, codec, time, progress
//! ```
//!
//! The library is usable on its own:
//!
//! ```no_run
//! use std::path::Path;
//! use icecore::repository::Reader;
//!
//! # fn main() -> Result<(), icecore::repository::RepositoryError> {
//! let reader = Reader::open(Path::new("/var/lib/icecore"))?;
//! for (id, manifest) in reader.snapshots()? {
//!     println!("{} {} {}", id.short(), manifest.time.to_rfc3339(), manifest.host);
//! }
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod audit;
pub mod base;
pub mod check;
pub mod chunking;
pub mod cli;
pub mod compression;
pub mod crypto;
pub mod dag;
pub mod diff;
pub mod find;
pub mod fuse;
#[doc(hidden)]
pub mod fuzzing;
pub mod gc;
pub mod ingest;
#[cfg(test)]
mod life;
mod local;
pub mod patterns;
pub mod repair;
pub mod repository;
pub mod restore;
pub mod retention;
pub mod statistics;
pub mod store;
pub mod view;
