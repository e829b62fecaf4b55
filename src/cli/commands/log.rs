//! `icecore log`: what was done to the repository, by whom.

use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::audit::{AuditLog, Event, Filter, Query};
use crate::base::format;
use crate::base::id::SHORT_HEX;
use crate::base::name::printable;
use crate::base::time::{Timestamp, parse_range};
use crate::cli::args::{LogAction, LogArguments, LogShownArguments};
use crate::cli::commands::{log_prune, log_verify};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::crypto::SealingKey;
use crate::repository::{Layout, RepositoryError};

/// Pause between two looks for new events.
const POLL: Duration = Duration::from_millis(200);
/// Events shown before those that come, unless a limit is given.
const FOLLOW_EVENTS: usize = 10;
/// Snapshots of one event that the table names.
const SNAPSHOTS_SHOWN: usize = 3;
/// Facts that the table leaves to `--json`.
const UNSHOWN: [&str; 6] = ["duration_ms", "exit_code", "operation", "error", "repository", SEALED];
/// The fact that holds all others where they are sealed.
const SEALED: &str = "sealed";

pub(crate) fn run(context: &Context, arguments: &LogArguments) -> Result<Outcome, CommandError> {
    let layout = Layout::new(&context.repository);
    let log = AuditLog::new(&layout);
    // The log of a repository that lost its configuration is still worth reading.
    if !layout.config().exists() && !log.exists() {
        let path = context.repository.clone();
        return Err(RepositoryError::NotFound { path, has_store: false }.into());
    }
    match &arguments.action {
        Some(LogAction::Verify { head }) => log_verify::run(context, &log, head.as_ref()),
        Some(LogAction::Prune(arguments)) => log_prune::run(context, &log, arguments),
        None => show(context, &log, &arguments.shown),
    }
}

fn show(
    context: &Context,
    log: &AuditLog,
    arguments: &LogShownArguments,
) -> Result<Outcome, CommandError> {
    let default = arguments.follow.then_some(FOLLOW_EVENTS);
    let limit = arguments.limit.and_then(|limit| usize::try_from(limit).ok()).or(default);
    let filter = filter(context, arguments)?;
    let key = log_key(context)?;
    // Before anything is shown, so that nothing falls in between.
    let follower = if arguments.follow { Some(log.follow()?) } else { None };
    let query = Query { filter, limit, is_newest_first: arguments.reverse };
    let mut printer = Printer::new(context.json);
    let (mut seen, mut failed) = (0, None);
    let strange = log.visit(&query, &mut |event| {
        seen = seen.max(event.sequence());
        let unsealed = key.as_ref().and_then(|key| event.unsealed(key));
        match printer.event(unsealed.as_ref().unwrap_or(event)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    printer.output.flush()?;
    if strange > 0 {
        let lines = format::plural(strange, "line is no event", "lines are no events");
        context.note(&format!("{lines}; `icecore log verify` says more"));
    }
    if let Some(mut follower) = follower {
        while context.signals.received().is_none() {
            let events = follower.next_events()?;
            let has_more = !events.is_empty();
            for event in events {
                if event.sequence() > seen && query.filter.fits(&event) {
                    let unsealed = key.as_ref().and_then(|key| event.unsealed(key));
                    printer.event(unsealed.as_ref().unwrap_or(&event))?;
                }
            }
            if !has_more {
                printer.output.flush()?;
                sleep(POLL);
            }
        }
        let ended = CommandError::Failed(String::new());
        return Err(context.signals.instead_of(ended));
    }
    if printer.is_empty && !context.json {
        context.note("The audit log has no such events");
    }
    Ok(Outcome::Done)
}

/// The key to the details of events. Without a password the rest is shown.
fn log_key(context: &Context) -> Result<Option<SealingKey>, CommandError> {
    match context.key() {
        Ok(key) => Ok(key.map(|key| key.keys().log)),
        Err(CommandError::Repository(
            RepositoryError::Locked { .. } | RepositoryError::NoKeys { .. },
        )) => {
            context.note("Without the repository's password the details of events stay sealed");
            Ok(None)
        }
        // The log is worth reading whatever became of the repository.
        Err(CommandError::Repository(
            RepositoryError::NotFound { .. } | RepositoryError::Config { .. },
        )) => Ok(None),
        Err(error) => Err(error),
    }
}

fn filter(context: &Context, arguments: &LogShownArguments) -> Result<Filter, CommandError> {
    let range = |text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        parse_range(text, context.now).map(Some).ok_or_else(|| {
            CommandError::Usage(format!(
                "{text:?} is no time; say 2026-11-19, 2026-11-19T03:00, yesterday or 2h"
            ))
        })
    };
    let mut snapshots = Vec::new();
    for name in &arguments.snapshot {
        // Deleted snapshots have no other name than their digits.
        let is_id = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        snapshots.push(if is_id {
            name.to_ascii_lowercase()
        } else {
            context.reader()?.find_snapshot(name, context.now)?.0.to_string()
        });
    }
    Ok(Filter {
        since: range(&arguments.since)?.map(|(first, _)| first),
        until: range(&arguments.until)?.map(|(_, last)| last),
        kinds: arguments.kinds.clone(),
        snapshots,
    })
}

/// Prints events, as they come.
struct Printer {
    output: Output,
    json: bool,
    columns: Option<usize>,
    is_empty: bool,
}

impl Printer {
    fn new(json: bool) -> Self {
        let output = Output::new();
        let columns = output.columns();
        Self { output, json, columns, is_empty: true }
    }

    fn event(&mut self, event: &Event) -> Result<(), CommandError> {
        if self.json {
            return self.output.line(event.line());
        }
        if std::mem::take(&mut self.is_empty) {
            self.row(["EVENT", "TIME", "TYPE", "USER", "WHAT"])?;
        }
        let kind = event.kind();
        self.row([
            &format::count(event.sequence()),
            &event.time().map_or_else(|| event.time_text().to_owned(), Timestamp::to_local_text),
            kind.strip_prefix("backup.").unwrap_or(kind),
            &event.actor().user,
            &what(event),
        ])
    }

    /// One line of the table. Its widths are fixed, since it may never end.
    fn row(&mut self, cells: [&str; 5]) -> Result<(), CommandError> {
        let [number, time, kind, user, what] = cells.map(shown);
        let line = format!("{number:>6}  {time:<19}  {kind:<20}  {user:<8}  {what}");
        self.output.line(&fitted(line.trim_end(), self.columns))
    }
}

/// Cuts a line to the terminal's width.
fn fitted(line: &str, columns: Option<usize>) -> String {
    match columns {
        Some(columns) if line.chars().count() > columns => {
            let kept = line.chars().take(columns.saturating_sub(3));
            kept.chain("...".chars()).collect()
        }
        _ => line.to_owned(),
    }
}

/// A text that cannot drive a terminal. Paths were escaped when they were
/// logged, and are not escaped again.
fn shown(text: &str) -> String {
    let escaped = printable(text.as_bytes());
    if escaped == text.replace('\\', "\\\\") { text.to_owned() } else { escaped }
}

/// What an event was about, and what came of it.
fn what(event: &Event) -> String {
    let (subject, payload) = (event.subject(), event.payload());
    let mut parts = Vec::new();
    let text = |fact: &str| payload.get(fact).and_then(Value::as_str);
    match (text("operation"), text("error")) {
        (Some(operation), Some(error)) => parts.push(format!("{operation}: {error}")),
        (operation, error) => parts.extend(operation.or(error).map(str::to_owned)),
    }
    if payload.contains_key(SEALED) {
        parts.push("(sealed)".to_owned());
    }
    let short = |id: &String| id.chars().take(SHORT_HEX).collect::<String>();
    // Paths of files that were read begin with the snapshot.
    let is_new = |id: &String| !subject.paths.iter().any(|path| path.starts_with(id));
    let ids = subject.snapshots.iter().take(SNAPSHOTS_SHOWN).map(short);
    parts.extend(ids.filter(is_new));
    if let Some(more) = subject.snapshots.len().checked_sub(SNAPSHOTS_SHOWN + 1) {
        parts.push(format!("and {} more", more + 1));
    }
    parts.extend(subject.paths.iter().cloned());
    for (name, value) in payload.iter().filter(|(name, _)| !UNSHOWN.contains(&name.as_str())) {
        let text = match value {
            Value::Number(number) => match number.as_u64() {
                Some(0) => continue,
                Some(bytes) if name.ends_with("bytes") => format::bytes(bytes).replace(' ', ""),
                Some(count) => format::count(count),
                None => number.to_string(),
            },
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        parts.push(format!("{name}={text}"));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_the_terminal_and_is_whole_elsewhere() {
        assert_eq!(fitted("0123456789", Some(10)), "0123456789");
        assert_eq!(fitted("0123456789", Some(9)), "012345...");
        assert_eq!(fitted("0123456789", None), "0123456789");
    }

    #[test]
    fn what_was_escaped_stays_and_what_was_not_is_escaped_now() {
        assert_eq!(shown("a\\nb"), "a\\nb");
        assert_eq!(shown("a\u{1b}[31m"), "a\\u{1b}[31m");
    }
}
