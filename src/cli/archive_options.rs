//! The options of `dump`, `export` and `import`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::archive::{ArchiveFormat, Packing};
use crate::cli::args::compression;
use crate::compression::Compression;

#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    /// The file or directory
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    pub(crate) source: OsString,
    /// As an archive: tar, tar.gz, tar.zst or zip [default for a directory: what the
    /// name of --output ends with; for a file: its bytes alone]
    #[arg(short, long, value_parser = format, value_name = "FORMAT")]
    pub(crate) archive: Option<ArchiveFormat>,
    /// Write to this file, which appears when it is whole
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace that file without asking
    #[arg(long, short, requires = "output")]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The snapshots, and last the directory that the archives go to
    #[arg(required = true, value_name = "SNAPSHOT... OUT_DIR")]
    pub(crate) operands: Vec<OsString>,
    /// Export the repository's audit log, or the event log in this directory
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = true)]
    pub(crate) event_log: Option<Option<PathBuf>>,
    /// How the archives are packed: tar.gz or tar.zst
    #[arg(long, default_value = "tar.gz", value_parser = packing, value_name = "FORMAT")]
    pub(crate) format: Packing,
    /// Name the archives backup-NAME-TIME in the place of backup-HOST-ID-TIME
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only tell what would be written
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The archive, from `export` or any tar: plain, gzip or zstd; `-` is standard
    /// input
    pub(crate) archive: PathBuf,
    /// Unpack into this directory in the place of making a snapshot; needs no
    /// repository
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) to: Option<PathBuf>,
    /// Move a directory aside that is there already, without asking
    #[arg(long, short, requires = "to")]
    pub(crate) yes: bool,
    /// Only see whether the archive is whole; needs no repository
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// The snapshot's host [default: the original one, else this one]
    #[arg(long, value_name = "NAME", conflicts_with = "to", help_heading = "Snapshot")]
    pub(crate) host: Option<String>,
    /// The snapshot's time [default: the original one, else now]
    #[arg(long, value_name = "TIME", conflicts_with = "to", help_heading = "Snapshot")]
    pub(crate) time: Option<String>,
    /// A tag beside the original ones; may be given several times
    #[arg(long, value_name = "TAG", conflicts_with = "to", help_heading = "Snapshot")]
    pub(crate) tag: Vec<String>,
    /// A description [default: the original one]
    #[arg(long, value_name = "TEXT", conflicts_with = "to", help_heading = "Snapshot")]
    pub(crate) description: Option<String>,
    /// How new chunks are compressed: lz4, zstd, zstd:LEVEL or none
    #[arg(long, default_value = "lz4", value_parser = compression, value_name = "METHOD",
          help_heading = "Snapshot")]
    pub(crate) compression: Compression,
}

fn format(text: &str) -> Result<ArchiveFormat, String> {
    ArchiveFormat::parse(text).ok_or_else(|| {
        let names = ArchiveFormat::NAMES.map(|(name, _)| name);
        format!("one of {} is expected", names.join(", "))
    })
}

fn packing(text: &str) -> Result<Packing, String> {
    match ArchiveFormat::parse(text) {
        Some(ArchiveFormat::Tar(packing)) if packing != Packing::None => Ok(packing),
        _ => Err("tar.gz or tar.zst is expected".to_owned()),
    }
}
