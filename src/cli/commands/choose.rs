//! Choosing snapshots, as several commands do: by names, by what they are of,
//! by time.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::base::calendar::{Span, Zone};
use crate::base::time::{Timestamp, parse_range};
use crate::cli::exit::CommandError;
use crate::repository::SnapshotFilter;

/// The filter that options of the command line mean.
pub(crate) fn filter(hosts: &[String], tags: &[String], paths: &[PathBuf]) -> SnapshotFilter {
    SnapshotFilter {
        hosts: hosts.to_vec(),
        tags: tags.to_vec(),
        sources: paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect(),
        ..SnapshotFilter::default()
    }
}

/// The first and the last moment of what an option says of the past: a day, a
/// moment, or how long ago.
pub(crate) fn past(
    option: &str,
    text: &str,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), CommandError> {
    clear(option, text)?;
    if let Some(span) = Span::parse(text.strip_suffix(" ago").unwrap_or(text)) {
        let moment = Zone::default().before(now, span);
        return Ok((moment, moment));
    }
    parse_range(text, now).ok_or_else(|| not_a_time(option, text))
}

/// The end of what an option says of the future: a day, a moment, or how long
/// from now.
pub(crate) fn future(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, CommandError> {
    clear(option, text)?;
    let end = match Span::parse(text) {
        Some(span) => Zone::default().after(now, span),
        None => parse_range(text, now).map(|(_, last)| last),
    };
    let end = end.ok_or_else(|| not_a_time(option, text))?;
    if end <= now {
        let text = format!("{option} {text:?} is over already; give a time that is to come");
        return Err(CommandError::Usage(text));
    }
    Ok(end)
}

/// Refuses what elsewhere means minutes and in spans means months.
fn clear(option: &str, text: &str) -> Result<(), CommandError> {
    let number = text.strip_suffix(" ago").unwrap_or(text).strip_suffix('m');
    match number.map(str::trim_end) {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(CommandError::Usage(format!(
                "{option} {text:?} could be months or minutes; write {number}months or {number}min"
            )))
        }
        _ => Ok(()),
    }
}

fn not_a_time(option: &str, text: &str) -> CommandError {
    CommandError::Usage(format!(
        "{option} {text:?} is no time; a date such as 2026-11-19, `yesterday`, a span such as \
         90d, or 2026-11-19T03:00 is expected"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_back_or_forth_days_are_whole_and_m_alone_is_refused() {
        let now = Timestamp::new(1_800_000_000, 0).unwrap();
        let seconds = |text| past("-x", text, now).unwrap().0.seconds();
        assert_eq!(now.seconds() - seconds("36h"), 36 * 3600);
        assert_eq!(seconds("90min"), now.seconds() - 90 * 60);
        assert_eq!(seconds("2h ago"), now.seconds() - 7200);
        assert_eq!(future("-x", "36h", now).unwrap().seconds() - now.seconds(), 36 * 3600);
        let (first, last) = past("-x", "2026-11-19", now).unwrap();
        assert_eq!(last.seconds() - first.seconds(), 86_399);
        for wrong in ["6m", "6 m", "6m ago", "soon", "", "m"] {
            assert!(past("-x", wrong, now).is_err(), "{wrong}");
        }
        for wrong in ["6m", "2020-01-01", "soon", "90min"] {
            assert!(future("-x", wrong, now).is_err(), "{wrong}");
        }
    }
}
