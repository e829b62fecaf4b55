//! Points in time: nanoseconds since the epoch, RFC 3339 texts, and the time
//! expressions that name a snapshot (`2026-11-19`, `yesterday`, `2h`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp as Instant, Zoned};

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// A point in time as a file system keeps it. Any second of a 64-bit clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// The earliest one.
    pub const MIN: Self = Self { seconds: i64::MIN, nanoseconds: 0 };

    /// Returns the time, or nothing if the nanoseconds are no fraction of a
    /// second.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (nanoseconds < NANOS_PER_SECOND).then_some(Self { seconds, nanoseconds })
    }

    /// Returns the current time of the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let now = Instant::now();
        Self::from_instant(now)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds behind the whole second.
    #[must_use]
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// The nanosecond before; the earliest time has none.
    #[must_use]
    pub const fn before(self) -> Option<Self> {
        if let Some(nanoseconds) = self.nanoseconds.checked_sub(1) {
            return Some(Self { nanoseconds, ..self });
        }
        match self.seconds.checked_sub(1) {
            Some(seconds) => Some(Self { seconds, nanoseconds: NANOS_PER_SECOND - 1 }),
            None => None,
        }
    }

    /// Returns the time for the operating system, held to what it can express.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let start = if self.seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        start
            .and_then(|time| time.checked_add(Duration::from_nanos(self.nanoseconds.into())))
            .unwrap_or(UNIX_EPOCH)
    }

    /// Returns RFC 3339 text in the local time zone, to the second.
    #[must_use]
    pub fn to_rfc3339_local(self) -> String {
        match self.to_instant() {
            Some(instant) => {
                let zoned = instant.to_zoned(TimeZone::system());
                zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
            None => format!("@{}", self.seconds),
        }
    }

    /// Returns RFC 3339 text in UTC with all of its nanoseconds.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.to_instant().map_or_else(|| format!("@{}", self.seconds), |i| i.to_string())
    }

    /// Returns a local date and time for a table, to the second.
    #[must_use]
    pub fn to_local_text(self) -> String {
        match self.to_instant() {
            Some(instant) => {
                let zoned = instant.to_zoned(TimeZone::system());
                zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            None => format!("@{}", self.seconds),
        }
    }

    /// Returns the time in UTC as a pattern of `strftime` says, or nothing if
    /// the pattern holds a conversion that is unknown.
    #[must_use]
    pub fn to_utc_text(self, pattern: &str) -> Option<String> {
        match self.to_instant() {
            Some(instant) => strtime::format(pattern, &instant.to_zoned(TimeZone::UTC)).ok(),
            None => Some(format!("@{}", self.seconds)),
        }
    }

    fn to_instant(self) -> Option<Instant> {
        Instant::new(self.seconds, i32::try_from(self.nanoseconds).ok()?).ok()
    }

    /// The time, held to what the calendar knows.
    pub(crate) fn to_instant_held(self) -> Instant {
        let end = if self.seconds < 0 { Instant::MIN } else { Instant::MAX };
        self.to_instant().unwrap_or(end)
    }

    pub(crate) fn from_instant(instant: Instant) -> Self {
        let mut seconds = instant.as_second();
        let mut nanoseconds = instant.subsec_nanosecond();
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += NANOS_PER_SECOND.cast_signed();
        }
        Self { seconds, nanoseconds: nanoseconds.unsigned_abs() }
    }
}

/// Returns the time that an expression means, seen from `now`, in the local
/// time zone: `now`, `today`, `yesterday`, an age (`90s`, `15m`, `2h`, `3d`,
/// `4w`, with or without ` ago`), a date (`2026-11-19`, its last second), a
/// local date and time (`2026-11-19T03:00`, `2026-11-19 03:00:00`), RFC 3339
/// with a zone, or `@seconds` since the epoch. Nothing if it is none of these.
///
/// A date means its end, since a snapshot "of the 19th" was taken during it.
#[must_use]
pub fn parse_expression(text: &str, now: Timestamp) -> Option<Timestamp> {
    parse_range(text, now).map(|(_, last)| last)
}

/// Returns the first and the last moment of what an expression means, as
/// [`parse_expression`] does: a date is a whole day, all else is one moment.
#[must_use]
pub fn parse_range(text: &str, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let zone = TimeZone::system();
    let text = text.trim();
    let today = now.to_instant()?.to_zoned(zone.clone()).date();
    match text {
        "today" => return day(today, zone),
        "yesterday" => return day(today.yesterday().ok()?, zone),
        _ => {}
    }
    // Of a date and time the date's parser would take the date alone.
    let is_date = text.len() == "2026-11-19".len();
    if is_date && let Ok(date) = text.parse::<civil::Date>() {
        return day(date, zone);
    }
    parse_moment(text, now, zone).map(|moment| (moment, moment))
}

fn parse_moment(text: &str, now: Timestamp, zone: TimeZone) -> Option<Timestamp> {
    if text == "now" {
        return Some(now);
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return Timestamp::new(seconds.parse().ok()?, 0);
    }
    if let Some(age) = parse_duration(text.strip_suffix(" ago").unwrap_or(text)) {
        let age = SignedDuration::try_from(age).ok()?;
        return Some(Timestamp::from_instant(now.to_instant()?.checked_sub(age).ok()?));
    }
    if let Ok(instant) = text.parse::<Instant>() {
        return Some(Timestamp::from_instant(instant));
    }
    let local = text.parse::<civil::DateTime>().ok()?;
    from_zoned(&local.to_zoned(zone).ok()?)
}

/// Returns the duration that a number and a unit mean: `500ms`, `90s`, `15m`,
/// `2h`, `3d`, `4w`. Nothing if the text is no such thing.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" | "week" | "weeks" => 604_800_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

fn day(date: civil::Date, zone: TimeZone) -> Option<(Timestamp, Timestamp)> {
    let first = date.to_zoned(zone.clone()).ok()?;
    let next = date.tomorrow().ok()?.to_zoned(zone).ok()?;
    let last = next.checked_sub(SignedDuration::from_nanos(1)).ok()?;
    Some((from_zoned(&first)?, from_zoned(&last)?))
}

fn from_zoned(zoned: &Zoned) -> Option<Timestamp> {
    Some(Timestamp::from_instant(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_instant(text.parse().unwrap())
    }

    #[test]
    fn times_before_the_epoch_keep_their_nanoseconds() {
        let time = at("1969-12-31T23:59:58.25Z");
        assert_eq!((time.seconds(), time.nanoseconds()), (-2, 250_000_000));
        assert_eq!(time.to_rfc3339(), "1969-12-31T23:59:58.25Z");
        assert_eq!(time.to_system_time(), UNIX_EPOCH - Duration::from_millis(1750));
    }

    #[test]
    fn any_second_of_a_64_bit_clock_is_kept_without_a_panic() {
        for seconds in [i64::MIN, -1, 0, 1 << 40, i64::MAX] {
            let time = Timestamp::new(seconds, 999_999_999).unwrap();
            let _ = (time.to_system_time(), time.to_rfc3339(), time.to_local_text());
        }
        assert!(Timestamp::new(0, NANOS_PER_SECOND).is_none());
    }

    #[test]
    fn patterns_are_in_utc_and_unknown_conversions_are_nothing() {
        let time = at("2026-11-19T12:34:56.9Z");
        assert_eq!(time.to_utc_text("%Y%m%dT%H%M%SZ").unwrap(), "20261119T123456Z");
        assert_eq!(time.to_utc_text("%!"), None);
        assert_eq!(Timestamp::new(i64::MAX, 0).unwrap().to_utc_text("%Y").unwrap().len(), 20);
    }

    #[test]
    fn expressions_mean_what_a_person_expects() {
        let now = at("2026-11-19T12:00:00Z");
        let parse = |text| parse_expression(text, now);
        assert_eq!(parse("now"), Some(now));
        assert_eq!(parse("2h"), Some(at("2026-11-19T10:00:00Z")));
        assert_eq!(parse("3d ago"), Some(at("2026-11-16T12:00:00Z")));
        assert_eq!(parse("2026-11-18T03:00:00Z"), Some(at("2026-11-18T03:00:00Z")));
        assert_eq!(parse("@60"), Timestamp::new(60, 0));
        assert!(parse("yesterday").unwrap() < parse("today").unwrap());
        assert!(parse("2026-11-19").unwrap() >= parse("2026-11-19T23:59:59").unwrap());
        for nonsense in ["", "tomorrowish", "2026-13-01", "5x", "deadbeef", "12"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_date_is_a_whole_day_and_all_else_a_moment() {
        let now = at("2026-11-19T12:00:00Z");
        let (first, last) = parse_range("2026-11-18", now).unwrap();
        assert_eq!(last.seconds() - first.seconds(), 86_399);
        assert_eq!(parse_range("2026-11-18T00:00", now).unwrap(), (first, first));
        let yesterday = parse_range("yesterday", now).unwrap();
        assert_eq!(parse_expression("yesterday", now), Some(yesterday.1));
        assert!(yesterday.0 < yesterday.1);
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 min"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("99999999999999999999w"), None);
        assert_eq!(parse_duration("10"), None);
    }
}
