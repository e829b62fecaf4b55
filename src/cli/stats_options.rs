//! The arguments of `stats`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::snapshot_options::FilterOptions;

#[derive(Debug, Args)]
pub(crate) struct StatsArguments {
    /// Only these snapshots
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    /// Walk all trees, and show for each snapshot what it holds alone: what
    /// `delete` and `gc` would free
    #[arg(short, long)]
    pub(crate) unique: bool,
    /// Walk all trees, and draw how snapshots and what is stored for them grew
    #[arg(short, long, conflicts_with = "unique")]
    pub(crate) growth: bool,
    /// Write that chart to an SVG file; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "unique")]
    pub(crate) svg: Option<PathBuf>,
    /// Replace the SVG file without asking
    #[arg(long, short, requires = "svg")]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) filter: FilterOptions,
}
