//! `icecore prune`: removes the snapshots that no rule of a policy keeps.

use std::collections::BTreeSet;

use clap::Parser;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::id::SnapshotId;
use crate::cli::args::{GcArguments, PruneArguments};
use crate::cli::audit::audited;
use crate::cli::commands::prune_report::{self, Plan};
use crate::cli::commands::{facts, gc};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::profile;

pub(crate) fn run(context: &Context, arguments: PruneArguments) -> Result<Outcome, CommandError> {
    let PruneArguments { options, policy, dry_run, gc, yes } = arguments;
    let (context, options) = match policy {
        None => (context.clone(), options),
        Some(name) => {
            let (place, policy) = profile::read_policy(&context.config, &name)?;
            (context.for_profile(&place)?, options.over(policy))
        }
    };
    let policy = options.policy()?;
    let (grouping, filter) = (options.group_by.unwrap_or_default(), options.filter());
    let plan = |catalog| Plan::new(catalog, &filter, grouping, &policy, context.now);
    // Made before anything is asked or locked: a typo costs nothing.
    let seen = plan(context.reader()?.catalog()?);
    let removed = if dry_run || seen.removed().next().is_none() {
        seen.removed().collect()
    } else {
        confirm(&context, &seen, yes)?;
        audited(&context, "prune", false, |trail| {
            let terminal = context.terminal();
            let writer = context.freeing_writer("prune", &terminal)?;
            // What was shown, as far as it still holds: there may be new pins, or
            // fewer snapshots than there were.
            let current: BTreeSet<SnapshotId> = plan(writer.catalog()?).removed().collect();
            let ids: Vec<_> = seen.removed().filter(|id| current.contains(id)).collect();
            writer.delete_snapshots(&ids)?;
            let kept = seen.rows.len().saturating_sub(ids.len()) as u64;
            let record = Record::new(EventKind::SnapshotPruned).snapshots(ids.iter().copied());
            trail.record(record.count("kept", kept), Outcome::Done.code());
            terminal.finish();
            Ok(ids)
        })?
    };
    prune_report::print(&context, &seen, &policy, &removed, (dry_run, gc))?;
    if gc && dry_run {
        context.note("A dry run collects nothing");
    } else if gc {
        gc::run(&context, &gc_defaults()?)?;
    }
    context.damaged(seen.damaged)
}

/// The options of `gc` alone.
#[derive(Parser)]
struct GcAlone {
    #[command(flatten)]
    options: GcArguments,
}

/// What `icecore gc` does if nothing is said.
fn gc_defaults() -> Result<GcArguments, CommandError> {
    let parsed = GcAlone::try_parse_from(["gc"]);
    parsed.map(|alone| alone.options).map_err(|error| CommandError::Usage(error.to_string()))
}

fn confirm(context: &Context, plan: &Plan, yes: bool) -> Result<(), CommandError> {
    let removed: BTreeSet<_> = plan.removed().collect();
    if !yes && context.is_interactive() {
        let rows = plan.rows.iter().filter(|row| removed.contains(&row.id));
        rows.for_each(|row| context.note(&facts::line(&row.id, &row.manifest)));
    }
    let (less, all) = (format::count(removed.len() as u64), plan.rows.len() as u64);
    let all = format::plural(all, "snapshot", "snapshots");
    context.confirm(&format!("Remove {less} of {all}?"), yes)
}
