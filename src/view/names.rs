//! Names under which views show snapshots: times, tags and hosts as file names.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::OnceLock;

use crate::base::hash::short;
use crate::base::id::SHORT_HEX;
use crate::base::limits::NAME_BYTES_MAX;
use crate::base::time::Timestamp;
use crate::view::snapshots::{Snapshot, SnapshotList};

/// Bytes that a formatted time may have, so that an id fits behind it.
const TIME_BYTES_MAX: usize = 128;
/// Seconds and nanoseconds of times by whose names a pattern is measured: the epoch, and
/// the ends of Wednesdays in September and December, of which one or the other has the
/// most letters or digits that a part of a time has.
const SAMPLES: [(i64, u32); 3] =
    [(0, 0), (1_790_812_799, 987_654_321), (1_798_675_199, 987_654_321)];
/// Times as Samba looks for them.
const GMT_PATTERN: &str = "@GMT-%Y.%m.%d-%H.%M.%S";

/// A pattern of `strftime` that makes file names of times, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat(String);

impl Default for TimeFormat {
    /// ISO 8601, basic: `20261119T030000Z`.
    fn default() -> Self {
        Self("%Y%m%dT%H%M%SZ".to_owned())
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TimeFormat {
    /// Checks and wraps a pattern.
    ///
    /// # Errors
    /// Says what is wrong with a pattern that makes no file names.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let bytes = |(seconds, nanoseconds)| {
            let time = Timestamp::new(seconds, nanoseconds)?;
            time.to_utc_text(pattern).map(|text| escape(&text).len())
        };
        let all: Option<Vec<_>> = SAMPLES.into_iter().map(bytes).collect();
        match all.and_then(|all| all.into_iter().max()) {
            None => Err("it holds a conversion that strftime does not know".to_owned()),
            _ if pattern.is_empty() => Err("it is empty".to_owned()),
            Some(bytes) if bytes > TIME_BYTES_MAX => {
                Err(format!("it makes names of more than {TIME_BYTES_MAX} bytes"))
            }
            Some(_) => Ok(Self(pattern.to_owned())),
        }
    }

    pub(crate) fn gmt() -> Self {
        Self(GMT_PATTERN.to_owned())
    }

    /// The file name of a time.
    #[must_use]
    pub fn name(&self, time: Timestamp) -> String {
        let named = |format: &Self| escape(&time.to_utc_text(&format.0).unwrap_or_default());
        let name = named(self);
        // A pattern is not measured by all times: those far away have more digits.
        if name.len() <= TIME_BYTES_MAX { name } else { named(&Self::default()) }
    }
}

/// Returns a file name for any text. Only what no file name can be is altered,
/// and `%`, which marks that: `/` is `%2F`, `%` is `%25`, NUL `%00`; `.` and
/// `..` are `%2E` and `%2E%2E`, nothing is `%`. What is too long ends in `%~`
/// and a hash of the whole.
pub(crate) fn escape(text: &str) -> String {
    let mut name = match text {
        "" => return "%".to_owned(),
        "." | ".." => return text.replace('.', "%2E"),
        _ => text.replace('%', "%25").replace('/', "%2F").replace('\0', "%00"),
    };
    if name.len() > NAME_BYTES_MAX {
        let hash = format!("%~{:016x}", short(b"icecore shown name 1\0", &[text.as_bytes()]));
        let mut end = NAME_BYTES_MAX - hash.len();
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name.push_str(&hash);
    }
    name
}

/// Snapshots by unique names that tell their times.
#[derive(Debug)]
pub(crate) struct NameTable {
    /// Each name and the place of its snapshot in the list, by rising name.
    rows: Vec<(Box<str>, usize)>,
}

impl NameTable {
    /// Names snapshots, given oldest first. The first of those that share a
    /// time has the plain name, so that later ones never rename it, and neither
    /// does a repaired copy; the others have `-<short id>` behind it.
    pub(crate) fn new<'a>(
        snapshots: impl Iterator<Item = (usize, &'a Snapshot)>,
        format: &TimeFormat,
    ) -> Self {
        let mut taken = HashSet::new();
        let mut rows = Vec::new();
        let (copies, others): (Vec<_>, Vec<_>) =
            snapshots.partition(|(_, snapshot)| snapshot.is_repaired_copy);
        for (place, snapshot) in others.into_iter().chain(copies) {
            let plain = format.name(snapshot.time);
            let with_short = || with_id(&plain, &snapshot.id.short());
            let with_whole = || with_id(&plain, &snapshot.id.to_string());
            let free = [plain.clone()]
                .into_iter()
                .chain(std::iter::once_with(with_short))
                .chain(std::iter::once_with(with_whole))
                .find(|name| name != "latest" && !taken.contains(name));
            if let Some(name) = free {
                taken.insert(name.clone());
                rows.push((name.into_boxed_str(), place));
            }
        }
        rows.sort_unstable();
        Self { rows }
    }

    /// Leaves only names without an id behind them.
    fn without_ids(mut self, list: &SnapshotList, format: &TimeFormat) -> Self {
        let is_plain = |(name, place): &(Box<str>, usize)| {
            list.at_place(*place).is_some_and(|snapshot| format.name(snapshot.time) == **name)
        };
        self.rows.retain(is_plain);
        self
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The names from the one at `first` on, with their snapshots.
    pub(crate) fn rows<'a>(
        &'a self,
        list: &'a SnapshotList,
        first: usize,
    ) -> impl Iterator<Item = (&'a str, &'a Snapshot)> {
        let rows = self.rows.get(first..).unwrap_or_default();
        rows.iter().filter_map(|(name, place)| Some((&**name, list.at_place(*place)?)))
    }

    /// The snapshot of that name, or of that time with its short id behind it,
    /// which always names the same one.
    pub(crate) fn find<'a>(
        &self,
        list: &'a SnapshotList,
        format: &TimeFormat,
        name: &str,
    ) -> Option<&'a Snapshot> {
        if let Ok(row) = self.rows.binary_search_by(|(row, _)| (**row).cmp(name)) {
            return list.at_place(self.rows.get(row)?.1);
        }
        let (plain, id) = name.rsplit_once('-')?;
        let snapshot = list.by_prefix(id).filter(|_| id.len() == SHORT_HEX)?;
        let is_here = || self.rows.iter().any(|(_, place)| list.is_at(*place, &snapshot.id));
        (format.name(snapshot.time) == plain && is_here()).then_some(snapshot)
    }

    pub(crate) fn newest<'a>(&self, list: &'a SnapshotList) -> Option<&'a Snapshot> {
        list.at_place(self.rows.iter().map(|(_, place)| *place).max()?)
    }
}

pub(crate) fn with_id(time: &str, id: &str) -> String {
    format!("{time}-{id}")
}

/// What snapshots are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// Each of their tags.
    Tag,
    /// The host that took them.
    Host,
}

/// The snapshots that share a tag or a host.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<usize>,
    table: OnceLock<NameTable>,
}

impl Group {
    pub(crate) fn table(&self, list: &SnapshotList, format: &TimeFormat) -> &NameTable {
        let members = self.members.iter();
        let snapshots = members.filter_map(|place| Some((*place, list.at_place(*place)?)));
        self.table.get_or_init(|| NameTable::new(snapshots, format))
    }
}

/// Groups by the names under which they are shown.
pub(crate) type Groups = BTreeMap<Box<str>, Group>;

/// The names of one list of snapshots, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_time: OnceLock<NameTable>,
    gmt: OnceLock<NameTable>,
    by_tag: OnceLock<Groups>,
    by_host: OnceLock<Groups>,
}

impl Names {
    pub(crate) fn by_time(&self, list: &SnapshotList, format: &TimeFormat) -> &NameTable {
        self.by_time.get_or_init(|| NameTable::new(list.oldest_first().enumerate(), format))
    }

    /// What Samba shows: it knows one snapshot of a second, the first.
    pub(crate) fn gmt(&self, list: &SnapshotList, format: &TimeFormat) -> &NameTable {
        let all = || NameTable::new(list.oldest_first().enumerate(), format);
        self.gmt.get_or_init(|| all().without_ids(list, format))
    }

    pub(crate) fn groups(&self, list: &SnapshotList, grouping: Grouping) -> &Groups {
        match grouping {
            Grouping::Tag => self
                .by_tag
                .get_or_init(|| groups(list, |snapshot| snapshot.tags.iter().map(|tag| &**tag))),
            Grouping::Host => self
                .by_host
                .get_or_init(|| groups(list, |snapshot| std::iter::once(&*snapshot.host))),
        }
    }

    /// The snapshots of one group, if there is such a group.
    pub(crate) fn group(
        &self,
        list: &SnapshotList,
        (grouping, name): (Grouping, &str),
        format: &TimeFormat,
    ) -> Option<&NameTable> {
        Some(self.groups(list, grouping).get(name)?.table(list, format))
    }
}

fn groups<'a, L: Iterator<Item = &'a str>>(
    list: &'a SnapshotList,
    labels: impl Fn(&'a Snapshot) -> L,
) -> Groups {
    let mut groups = Groups::new();
    for (place, snapshot) in list.oldest_first().enumerate() {
        for label in labels(snapshot) {
            let group = groups.entry(escape(label).into_boxed_str()).or_default();
            // A tag given twice is one.
            if group.members.last() != Some(&place) {
                group.members.push(place);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::EntryName;

    #[test]
    fn a_time_far_away_has_a_name_that_is_short_enough() {
        // Found by libFuzzer.
        let found = "64W%Vz\0\0\0\0\0\0\0s%64std 640W%sV6%z4\0\0\0\0\0s%64std 64std ";
        let format = TimeFormat::new(found).unwrap();
        for seconds in [-62_135_596_800, -1, 0, 253_402_300_799] {
            let name = format.name(Timestamp::new(seconds, 0).unwrap());
            assert!(name.len() <= TIME_BYTES_MAX, "{} bytes", name.len());
        }
    }

    #[test]
    fn any_text_becomes_a_file_name_and_different_texts_different_ones() {
        let long = "x".repeat(300);
        let longer = format!("{long}y");
        let wide = "\u{e9}".repeat(200);
        let texts = [
            "", "%", ".", "..", "%2E", "...", "a/b", "a%2Fb", "a\0b", "a\nb", "nightly", &long,
            &longer, &wide,
        ];
        let names: HashSet<String> = texts.iter().map(|text| escape(text)).collect();
        assert_eq!(names.len(), texts.len(), "{names:?}");
        assert!(names.iter().all(|name| EntryName::check(name.as_bytes()).is_ok()), "{names:?}");
        assert!(names.contains("nightly") && names.contains("a%2Fb") && names.contains("a%252Fb"));
    }

    #[test]
    fn a_pattern_is_measured_by_the_longest_names_that_it_makes() {
        // At the epoch these have no more than 128 bytes.
        for longer in ["%s", "%-m", "%-d", "%B"] {
            let sample = Timestamp::default().to_utc_text(longer).unwrap();
            let pattern = longer.repeat(TIME_BYTES_MAX / sample.len());
            assert!(TimeFormat::new(&pattern).unwrap_err().contains("128"), "{longer}");
        }
    }

    #[test]
    fn a_pattern_that_makes_no_file_names_is_refused() {
        for (bad, word) in [("", "empty"), ("%!", "conversion"), (&"%Y".repeat(40), "128")] {
            assert!(TimeFormat::new(bad).unwrap_err().contains(word), "{bad:?}");
        }
        let format = TimeFormat::new("%Y/%m").unwrap();
        assert_eq!(format.name(Timestamp::default()), "1970%2F01");
    }
}
