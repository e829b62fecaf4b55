//! `icecore log prune`: removes the oldest segments of the audit log.

use serde::Serialize;

use crate::audit::{AuditLog, Pruned};
use crate::base::format;
use crate::base::id::hex;
use crate::cli::args::LogPruneArguments;
use crate::cli::audit::actor;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::log_rules::LogRules;
use crate::cli::output::{Output, path_text};
use crate::cli::profile::read_log_rules;

/// The fields of a removal in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    dry_run: bool,
    removed_segments: u64,
    removed_events: u64,
    removed_bytes: u64,
    kept_segments: u64,
    anchor: Option<String>,
}

pub(super) fn run(
    context: &Context,
    log: &AuditLog,
    arguments: &LogPruneArguments,
) -> Result<Outcome, CommandError> {
    let retention = rules(context, arguments)?.retention();
    let mut pruned = log.prune(retention, context.now, None)?;
    if !arguments.dry_run && pruned.segments > 0 {
        let what = told(&pruned);
        context.confirm(&format!("Remove {what} from the audit log?"), arguments.yes)?;
        pruned = log.prune(retention, context.now, Some(&actor()))?;
    }
    let mut output = Output::new();
    if context.json {
        output.json(&Facts {
            dry_run: arguments.dry_run,
            removed_segments: pruned.segments,
            removed_events: pruned.events,
            removed_bytes: pruned.bytes,
            kept_segments: pruned.kept_segments,
            anchor: pruned.anchor.as_ref().map(|anchor| hex(&anchor.hash)),
        })?;
    } else if !context.quiet {
        let kept = format::plural(pruned.kept_segments, "segment", "segments");
        let verb = if arguments.dry_run { "Would remove" } else { "Removed" };
        output.line(&format!("{verb} {}; {kept} left", told(&pruned)))?;
    }
    output.finish()?;
    Ok(Outcome::Done)
}

/// The rules of the command line, or those of the configuration if it has none.
fn rules(context: &Context, arguments: &LogPruneArguments) -> Result<LogRules, CommandError> {
    if !arguments.rules.is_empty() {
        return Ok(arguments.rules);
    }
    let file = path_text(&context.config);
    let rules = if context.config.exists() {
        read_log_rules(&context.config)?
    } else {
        LogRules::default()
    };
    if rules.is_empty() {
        let problem = format!(
            "What to keep is not said: give --keep-days or --keep-segments, or set one of them \
             in [log] in {file}"
        );
        return Err(CommandError::Usage(problem));
    }
    Ok(rules)
}

fn told(pruned: &Pruned) -> String {
    if pruned.segments == 0 {
        return "nothing".to_owned();
    }
    format!(
        "{} with {} ({})",
        format::plural(pruned.segments, "segment", "segments"),
        format::plural(pruned.events, "event", "events"),
        format::bytes(pruned.bytes)
    )
}
