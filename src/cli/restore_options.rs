//! The options of `restore`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArguments {
    /// What to restore: the content of a directory, or one file. With --at,
    /// only :PATH
    #[arg(value_name = "SNAPSHOT[:PATH]", required_unless_present_any = ["at", "undo"],
          conflicts_with = "undo")]
    pub(crate) source: Option<OsString>,
    /// The directory that receives it; made if it is missing. With --in-place the
    /// directory below which everything goes to its own place [default: /]
    #[arg(value_name = "TARGET", conflicts_with = "undo")]
    pub(crate) target: Option<OsString>,
    /// Restore everything to its own place
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Take the newest snapshot not younger than that, in the place of SNAPSHOT
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Only tell what would be done to each item
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Read everything back from the disk and compare it
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
    #[command(flatten)]
    pub(crate) existing: ExistingArguments,
    #[command(flatten)]
    pub(crate) metadata: MetadataArguments,
    #[command(flatten)]
    pub(crate) undo: UndoArguments,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArguments {
    /// Restore only what fits, in the language of .gitignore, seen from the root
    /// of the snapshot; may be given several times
    #[arg(long, short, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// Leave out what fits; wins over --include
    #[arg(long, short, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Drop so many names from the beginning of each path
    #[arg(long, value_name = "N", default_value_t = 0,
          conflicts_with_all = ["in_place", "delete"])]
    pub(crate) strip_components: usize,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is there already")]
pub(crate) struct ExistingArguments {
    /// What becomes of items that differ. Without this, they are replaced if
    /// somebody says so when asked, or with --yes
    #[arg(long, value_name = "WHEN")]
    pub(crate) overwrite: Option<OverwriteWhen>,
    /// full: write everything; incremental: only what differs; selective: only
    /// what --include or PATH names
    #[arg(long, value_name = "POLICY", default_value = "incremental")]
    pub(crate) policy: RestorePolicy,
    /// Compare content byte for byte, instead of size and time
    #[arg(long)]
    pub(crate) checksum: bool,
    /// Delete what the snapshot does not have
    #[arg(long)]
    pub(crate) delete: bool,
    /// Delete across mountpoints too
    #[arg(long, requires = "delete")]
    pub(crate) delete_in_mounts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverwriteWhen {
    /// Replace all, whether they differ or not
    Always,
    /// Replace those that differ
    IfChanged,
    /// Replace those that the snapshot has younger ones of
    IfNewer,
    /// Replace none
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RestorePolicy {
    /// Write everything anew
    Full,
    /// Write what differs
    Incremental,
    /// Write what differs of what was named
    Selective,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Metadata and content")]
pub(crate) struct MetadataArguments {
    /// Restore owners [default: only root does]
    #[arg(long, conflicts_with = "no_owner")]
    pub(crate) owner: bool,
    /// Leave everything to who runs this
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// Restore owners by their numbers, not by their names
    #[arg(long)]
    pub(crate) numeric_ids: bool,
    /// Make holes of zeros. What was a hole is one in any case
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Files that are written at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) write_concurrency: Option<u16>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Taking it back")]
pub(crate) struct UndoArguments {
    /// First take a snapshot of what will be replaced or deleted, and write into
    /// FILE what --undo needs. With --in-place that is done in any case, in the
    /// repository
    #[arg(long, value_name = "FILE")]
    pub(crate) rollback_to: Option<PathBuf>,
    /// Do not, with --in-place
    #[arg(long, conflicts_with = "rollback_to")]
    pub(crate) no_rollback: bool,
    /// Take back the restore that wrote FILE [default: the last one in place]
    #[arg(long, value_name = "FILE", num_args = 0..=1,
          conflicts_with_all = ["in_place", "at", "rollback_to", "no_rollback", "delete"])]
    pub(crate) undo: Option<Option<PathBuf>>,
}
