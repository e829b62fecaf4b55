//! What people write: options, configuration files, patterns, sizes. None of it makes
//! the program panic, and whatever is said of it is one line that steers no terminal.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use serde_json::{Map, Value};

use crate::base::name::{EntryName, printable};
use crate::base::time::Timestamp;
use crate::cli::decoders as cli;
use crate::find::FilePatterns;
use crate::fuzzing::decoders::directory;
use crate::patterns::PathPatterns;
use crate::repository::{Layout, decoders};
use crate::retention::{Amount, Grouping};
use crate::view::TimeFormat;

/// Bytes of a name that a file system takes, and of an id behind it.
const NAME_BYTES_MAX: usize = 255;
const ID_BYTES: usize = 65;
/// Bytes that are read of what the holder of a lock wrote.
const HOLDER_BYTES_MAX: usize = 512;
/// Times whose names have many bytes.
const TIMES: [i64; 4] = [0, 1_000_000_000, -62_135_596_800, 253_402_300_799];

fn is_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} is more than a line of text");
}

/// The words of a mount helper, each ended by a NUL.
pub(super) fn mount_helper(input: &[u8]) {
    let words = input.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    if let Err(problem) = cli::mount_helper(&words.collect::<Vec<_>>()) {
        is_line(&problem);
    }
}

/// A configuration file, with all its profiles and policies.
pub(super) fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    cli::configuration(text).iter().for_each(|problem| is_line(problem));
}

/// Words of options: sizes, shares, spans, formats, templates.
pub(super) fn options(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let problems = [
        cli::size(text).err(),
        cli::size_range(text).err(),
        cli::compression(text).err(),
        text.parse::<Grouping>().err(),
        text.parse::<Amount>().err(),
        template(text).err(),
    ];
    problems.iter().flatten().for_each(|problem| is_line(problem));
    if let Ok(format) = TimeFormat::new(text) {
        for seconds in TIMES {
            let Some(time) = Timestamp::new(seconds, 0) else { continue };
            let name = format.name(time);
            assert!(name.len() + ID_BYTES <= NAME_BYTES_MAX, "{} bytes of a name", name.len());
            assert!(!name.contains(['/', '\0']), "a name that leads elsewhere");
        }
    }
}

fn template(text: &str) -> Result<(), String> {
    let fields = Map::from_iter([("id".to_owned(), Value::from(7))]);
    let filled = text.parse::<cli::Template>()?.fill(&fields)?;
    assert!(filled.len() <= text.len(), "more than its text and fields");
    Ok(())
}

/// Lines of patterns, the first line a path.
pub(super) fn patterns(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let path = lines.next().unwrap_or_default().as_bytes();
    let lines: Vec<_> = lines.collect();
    let is_path = path.split(|byte| *byte == b'/').all(|it| EntryName::check(it).is_ok());
    for ignore_case in [false, true] {
        if let Ok(patterns) = FilePatterns::new(&lines, ignore_case) {
            let above = path.iter().rposition(|byte| *byte == b'/');
            let fits = is_path && patterns.fit(path, false);
            if let Some(above) = above.filter(|_| fits) {
                // Else the search would not look there.
                let directory = path.split_at(above).0;
                assert!(patterns.reach_below(directory), "{:?} is missed", printable(path));
            }
        }
        match PathPatterns::new(&lines, ignore_case) {
            Ok(patterns) => {
                let fits = patterns.fit(path, true);
                assert!(!fits || !is_path || patterns.fit_from_above(path, true));
            }
            Err(error) => is_line(&error.to_string()),
        }
    }
}

/// What stands in the lock file of a repository that is busy.
pub(super) fn lock_holder(input: &[u8]) {
    let path = Layout::new(directory()).lock();
    if fs::write(&path, input).is_err() {
        return;
    }
    if let Some(told) = decoders::lock_holder(&path) {
        is_line(&told);
        assert!(told.len() <= 4 * HOLDER_BYTES_MAX + 40, "{} bytes", told.len());
    }
}
