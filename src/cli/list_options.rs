//! The arguments of `list`.

use clap::{Args, ValueEnum};

use crate::cli::snapshot_options::FilterOptions;
use crate::cli::template::Template;
use crate::retention::Grouping;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// List those that were deleted and can still be had back
    #[arg(long, conflicts_with_all = ["sort", "group_by", "format"])]
    pub(crate) deleted: bool,
    #[command(flatten)]
    pub(crate) filter: FilterOptions,
    /// The order, least first
    #[arg(long, value_enum, value_name = "FIELD", default_value = "time")]
    pub(crate) sort: Order,
    /// Turn the order round
    #[arg(long)]
    pub(crate) reverse: bool,
    /// A table for each group of snapshots that share these: any of
    /// host,sources,tags. --latest then counts in each group
    #[arg(long, value_name = "FIELDS")]
    pub(crate) group_by: Option<Grouping>,
    /// One line for each snapshot, in which {id}, {short_id}, {time}, {host} and
    /// so on stand for the fields of --json, \t for a tab
    #[arg(long, value_name = "TEMPLATE", conflicts_with_all = ["json", "group_by"])]
    pub(crate) format: Option<Template>,
    /// End lines of --format with NUL instead of a line feed
    #[arg(short = '0', long, requires = "format")]
    pub(crate) null: bool,
}

/// What snapshots are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    Time,
    Size,
    Stored,
    Files,
    Host,
}
