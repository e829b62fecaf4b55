//! The calendar of a time zone: hours, days, weeks, months and years, and spans
//! of them.

use std::fmt;

use jiff::Span as CalendarSpan;
use jiff::tz::TimeZone;

use crate::base::time::Timestamp;

/// A part of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A clock hour. When clocks are set back, the hour that comes twice is two.
    Hour,
    /// A day from midnight to midnight.
    Day,
    /// An ISO 8601 week, which begins on Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// Every period, shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What comes once in it: `hourly`, `daily` and so on.
    #[must_use]
    pub const fn adverb(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }
}

/// Tells one period of a kind from all others of that kind.
pub type PeriodKey = [i64; 4];

/// A time zone with its calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    /// The zone of this machine.
    fn default() -> Self {
        Self(TimeZone::system())
    }
}

impl Zone {
    /// The zone of that name: `local`, `UTC`, or one of the system's database,
    /// such as `Europe/Berlin`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "local" => Some(Self::default()),
            "UTC" | "utc" => Some(Self(TimeZone::UTC)),
            _ => TimeZone::get(name).ok().map(Self),
        }
    }

    /// A date and time for a table, to the second.
    #[must_use]
    pub fn text(&self, time: Timestamp) -> String {
        let zoned = time.to_instant_held().to_zoned(self.0.clone());
        zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The period in which a time lies.
    #[must_use]
    pub fn period(&self, time: Timestamp, period: Period) -> PeriodKey {
        let zoned = time.to_instant_held().to_zoned(self.0.clone());
        let (year, day) = (i64::from(zoned.year()), i64::from(zoned.day_of_year()));
        match period {
            Period::Hour => {
                [year, day, i64::from(zoned.hour()), i64::from(zoned.offset().seconds())]
            }
            Period::Day => [year, day, 0, 0],
            Period::Week => {
                let week = zoned.date().iso_week_date();
                [i64::from(week.year()), i64::from(week.week()), 0, 0]
            }
            Period::Month => [year, i64::from(zoned.month()), 0, 0],
            Period::Year => [year, 0, 0, 0],
        }
    }

    /// The time that lies a span before another one, by the clock on the wall:
    /// a day before 12:00 is 12:00. The earliest time there is, if it would be
    /// before that.
    #[must_use]
    pub fn before(&self, time: Timestamp, span: Span) -> Timestamp {
        let earlier = |span: CalendarSpan| {
            let zoned = time.to_instant_held().to_zoned(self.0.clone());
            zoned.checked_sub(span).ok().map(|zoned| Timestamp::from_instant(zoned.timestamp()))
        };
        span.to_calendar().and_then(earlier).unwrap_or(Timestamp::MIN)
    }

    /// The time that lies a span behind another one. Nothing if that is behind
    /// the end of the calendar.
    #[must_use]
    pub fn after(&self, time: Timestamp, span: Span) -> Option<Timestamp> {
        let zoned = time.to_instant_held().to_zoned(self.0.clone());
        let later = zoned.checked_add(span.to_calendar()?).ok()?;
        Some(Timestamp::from_instant(later.timestamp()))
    }
}

/// A span of the calendar, such as `1y6m` or `90d`. Never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    years: u32,
    months: u32,
    weeks: u32,
    days: u32,
    hours: u32,
}

impl Span {
    /// Returns the span that numbers and units mean: `36h`, `90d`, `12w`, `6m`
    /// (months), `1y`, `1y6m`; units may be written out. Nothing if the text is
    /// no such thing or means no time at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut span = Self { years: 0, months: 0, weeks: 0, days: 0, hours: 0 };
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, behind) = rest.split_at(digits);
            let behind = behind.trim_start();
            let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(letters);
            let field = span.field(unit)?;
            *field = field.checked_add(number.parse().ok()?)?;
            rest = behind.trim_start();
        }
        let is_nothing = [span.years, span.months, span.weeks, span.days, span.hours] == [0; 5];
        (!is_nothing && span.to_calendar().is_some()).then_some(span)
    }

    fn field(&mut self, unit: &str) -> Option<&mut u32> {
        match unit {
            "y" | "year" | "years" => Some(&mut self.years),
            "m" | "mo" | "month" | "months" => Some(&mut self.months),
            "w" | "week" | "weeks" => Some(&mut self.weeks),
            "d" | "day" | "days" => Some(&mut self.days),
            "h" | "hour" | "hours" => Some(&mut self.hours),
            _ => None,
        }
    }

    fn to_calendar(self) -> Option<CalendarSpan> {
        let span = CalendarSpan::new().try_years(self.years).ok()?;
        let span = span.try_months(self.months).ok()?.try_weeks(self.weeks).ok()?;
        span.try_days(self.days).ok()?.try_hours(self.hours).ok()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.weeks, 'w'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_instant(text.parse().unwrap())
    }

    #[test]
    fn spans_are_numbers_with_units_and_m_means_months() {
        for (text, shown) in [
            ("90d", "90d"),
            ("2y5m7d3h", "2y5m7d3h"),
            ("1 year 6 months", "1y6m"),
            ("1d1d", "2d"),
            ("52w", "52w"),
        ] {
            assert_eq!(Span::parse(text).unwrap().to_string(), shown);
        }
        for nonsense in [
            "",
            "d",
            "90",
            "90s",
            "90min",
            "0d",
            "-1d",
            "1.5d",
            "99999999999d",
            "4000000000y",
            "y1",
        ] {
            assert_eq!(Span::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_span_goes_by_the_calendar_and_the_clock_on_the_wall() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let before = |time, span| berlin.before(at(time), Span::parse(span).unwrap());
        // 12:00 summer time is 12:00 winter time a day later.
        assert_eq!(before("2026-10-25T11:00:00Z", "1d"), at("2026-10-24T10:00:00Z"));
        assert_eq!(before("2026-10-25T11:00:00Z", "24h"), at("2026-10-24T11:00:00Z"));
        assert_eq!(before("2026-03-31T10:00:00Z", "1m"), at("2026-02-28T11:00:00Z"));
        assert_eq!(before("2026-03-31T10:00:00Z", "19998y"), Timestamp::MIN);
        let after = berlin.after(at("2026-01-31T00:00:00Z"), Span::parse("1m").unwrap());
        assert_eq!(after, Some(at("2026-02-28T00:00:00Z")));
    }

    #[test]
    fn periods_are_those_of_the_zone() {
        let (utc, berlin) = (Zone::named("UTC").unwrap(), Zone::named("Europe/Berlin").unwrap());
        let same =
            |zone: &Zone, period, a, b| zone.period(at(a), period) == zone.period(at(b), period);
        let (late, later) = ("2026-11-18T22:30:00Z", "2026-11-18T23:30:00Z");
        assert!(same(&utc, Period::Day, late, later) && !same(&berlin, Period::Day, late, later));
        // ISO weeks: New Year's Day of 2027 is a Friday of week 53 of 2026.
        let (sunday, monday) = ("2027-01-03T12:00:00Z", "2027-01-04T12:00:00Z");
        assert!(same(&utc, Period::Week, "2026-12-28T12:00:00Z", sunday));
        assert!(!same(&utc, Period::Week, sunday, monday));
        assert!(!same(&utc, Period::Year, "2026-12-31T12:00:00Z", sunday));
        // 02:30 comes twice on the night in which clocks are set back.
        let (first, second) = ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
        assert!(!same(&berlin, Period::Hour, first, second));
        assert!(same(&berlin, Period::Day, first, second));
        assert!(Zone::named("Europe/Atlantis").is_none());
        for seconds in [i64::MIN, i64::MAX] {
            let _ = berlin.period(Timestamp::new(seconds, 0).unwrap(), Period::Week);
        }
    }
}
