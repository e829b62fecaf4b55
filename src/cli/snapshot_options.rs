//! Options that choose snapshots, of the commands that look at many.

use std::path::PathBuf;

use clap::Args;

use crate::base::id::SnapshotId;
use crate::cli::commands::choose;
use crate::cli::context::Context;
use crate::cli::exit::CommandError;
use crate::dag::Manifest;
use crate::repository::{Catalog, SnapshotFilter};

/// What a snapshot must be to be looked at.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterOptions {
    /// Only those of this host; may be given several times
    #[arg(long, value_name = "NAME", help_heading = "Snapshots")]
    pub(crate) host: Vec<String>,
    /// Only those with this tag, or with all of several between commas
    #[arg(long, value_name = "TAG", help_heading = "Snapshots")]
    pub(crate) tag: Vec<String>,
    /// Only those that have this source
    #[arg(long, value_name = "PATH", help_heading = "Snapshots")]
    pub(crate) path: Vec<PathBuf>,
    /// Only those from that time on, a date from its first moment
    #[arg(long, value_name = "TIME", help_heading = "Snapshots")]
    pub(crate) since: Option<String>,
    /// Only those up to that time, a date to its last moment
    #[arg(long, value_name = "TIME", help_heading = "Snapshots")]
    pub(crate) until: Option<String>,
    /// Only the newest of those, at most this many
    #[arg(long, value_name = "N", help_heading = "Snapshots",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latest: Option<u32>,
}

/// The same, and names.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SelectOptions {
    /// Only this snapshot; may be given several times
    #[arg(long, value_name = "SNAPSHOT", help_heading = "Snapshots")]
    pub(crate) snapshot: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: FilterOptions,
}

impl FilterOptions {
    /// The filter that they mean, but for `latest`.
    pub(crate) fn filter(&self, context: &Context) -> Result<SnapshotFilter, CommandError> {
        let past = |option: &str, text: &Option<String>| {
            text.as_ref().map(|text| choose::past(option, text, context.now)).transpose()
        };
        Ok(SnapshotFilter {
            since: past("--since", &self.since)?.map(|(first, _)| first),
            until: past("--until", &self.until)?.map(|(_, last)| last),
            ..choose::filter(&self.host, &self.tag, &self.path)
        })
    }

    /// Whether they leave all.
    pub(crate) fn is_empty(&self) -> bool {
        let lists = self.host.is_empty() && self.tag.is_empty() && self.path.is_empty();
        lists && self.since.is_none() && self.until.is_none() && self.latest.is_none()
    }

    /// Leaves those snapshots that fit, but for `latest`.
    pub(crate) fn retain(
        &self,
        context: &Context,
        snapshots: &mut Vec<(SnapshotId, Manifest)>,
    ) -> Result<(), CommandError> {
        let filter = self.filter(context)?;
        snapshots.retain(|(_, manifest)| filter.fits(manifest));
        Ok(())
    }
}

impl SelectOptions {
    /// Leaves those snapshots that are chosen, oldest first.
    pub(crate) fn choose(
        &self,
        context: &Context,
        catalog: &mut Catalog,
    ) -> Result<(), CommandError> {
        if !self.snapshot.is_empty() {
            let select = |name: &String| catalog.select(name, context.now);
            let chosen: Vec<_> = self.snapshot.iter().map(select).collect::<Result<_, _>>()?;
            catalog.snapshots.retain(|(id, _)| chosen.contains(id));
        }
        self.filter.retain(context, &mut catalog.snapshots)?;
        if let Some(latest) = self.filter.latest {
            keep_latest(&mut catalog.snapshots, latest);
        }
        Ok(())
    }
}

/// Leaves the newest ones of snapshots that are sorted oldest first.
pub(crate) fn keep_latest<T>(snapshots: &mut Vec<T>, latest: u32) {
    let latest = usize::try_from(latest).unwrap_or(usize::MAX);
    snapshots.drain(..snapshots.len().saturating_sub(latest));
}
