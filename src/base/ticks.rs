//! Round numbers and dates for the axes of charts.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Unit, Zoned};

use crate::base::time::Timestamp;

/// A place on an axis, and its text.
pub type Tick<T> = (T, String);

/// Round sizes in IEC units from 0 up to the first one that is not below
/// `greatest`, at most `count_max` steps.
#[must_use]
pub fn size_ticks(greatest: u64, count_max: u64) -> Vec<Tick<u64>> {
    const STEPS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 250, 500];
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let count_max = count_max.max(1);
    let greatest = greatest.max(1);
    let mut last = (1_u64 << 60, 6);
    'found: for unit in 0..UNITS.len() {
        for step in STEPS {
            let step = step.checked_shl(10 * unit as u32).filter(|it| it >> (10 * unit) == step);
            let Some(step) = step else { break };
            last = (step, unit);
            if greatest.div_ceil(step) <= count_max {
                break 'found;
            }
        }
    }
    let (step, unit) = last;
    let text = |value: u64| match value {
        0 => "0".to_owned(),
        value if (value >> (10 * unit)) >= 1024 && (value >> (10 * unit)).is_multiple_of(1024) => {
            format!("{} {}", value >> (10 * unit) >> 10, UNITS.get(unit + 1).unwrap_or(&"ZiB"))
        }
        value => format!("{} {}", value >> (10 * unit), UNITS.get(unit).unwrap_or(&"B")),
    };
    let values = (0..=greatest.div_ceil(step)).map(|number| number.saturating_mul(step));
    values.map(|value| (value, text(value))).collect()
}

/// A step from one round date to the next.
#[derive(Clone, Copy)]
enum Step {
    Minutes(i64),
    Hours(i64),
    Days(i64),
    Months(i64),
    Years(i64),
}

const STEPS: [Step; 22] = [
    Step::Minutes(1),
    Step::Minutes(5),
    Step::Minutes(15),
    Step::Minutes(30),
    Step::Hours(1),
    Step::Hours(3),
    Step::Hours(6),
    Step::Hours(12),
    Step::Days(1),
    Step::Days(2),
    Step::Days(7),
    Step::Days(14),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Years(1),
    Step::Years(2),
    Step::Years(5),
    Step::Years(10),
    Step::Years(50),
    Step::Years(1000),
];

/// Round dates and times of the local zone between two times, at most
/// `count_max`.
#[must_use]
pub fn time_ticks(first: Timestamp, last: Timestamp, count_max: usize) -> Vec<Tick<Timestamp>> {
    let zoned = |time: Timestamp| time.to_instant_held().to_zoned(TimeZone::system());
    let (first, last) = (zoned(first), zoned(last));
    for step in STEPS {
        // A rough count, so that no long list of minutes is made for a century.
        let seconds = last.timestamp().as_second() - first.timestamp().as_second();
        if seconds / step.seconds() > count_max as i64 {
            continue;
        }
        let ticks = step.ticks(&first, &last);
        if ticks.len() <= count_max {
            return ticks;
        }
    }
    Vec::new()
}

impl Step {
    /// About how long it is.
    const fn seconds(self) -> i64 {
        match self {
            Self::Minutes(count) => count * 60,
            Self::Hours(count) => count * 3600,
            Self::Days(count) => count * 86_400,
            Self::Months(count) => count * 28 * 86_400,
            Self::Years(count) => count * 365 * 86_400,
        }
    }

    fn ticks(self, first: &Zoned, last: &Zoned) -> Vec<Tick<Timestamp>> {
        let mut ticks = Vec::new();
        let Some(mut at) = self.round_down(first) else { return ticks };
        while at <= *last {
            if at >= *first {
                let mut text = at.strftime(self.pattern(&at)).to_string();
                // Somewhere the year must be said, once is enough.
                if ticks.is_empty() && text != at.year().to_string() {
                    text += &at.strftime(self.year_pattern(&at)).to_string();
                }
                ticks.push((Timestamp::from_instant(at.timestamp()), text));
            }
            let next = match self {
                // By the clock on the wall, which may be set meanwhile.
                Self::Days(_) | Self::Months(_) | Self::Years(_) => at.checked_add(self.span()),
                Self::Minutes(_) | Self::Hours(_) => {
                    at.checked_add(self.span()).map(|next| self.round_down(&next).unwrap_or(next))
                }
            };
            match next {
                Ok(next) if next > at => at = next,
                _ => break,
            }
        }
        ticks
    }

    fn span(self) -> Span {
        match self {
            Self::Minutes(count) => Span::new().minutes(count),
            Self::Hours(count) => Span::new().hours(count),
            Self::Days(count) => Span::new().days(count),
            Self::Months(count) => Span::new().months(count),
            Self::Years(count) => Span::new().years(count),
        }
    }

    /// The last round date or time that is not behind another one.
    fn round_down(self, at: &Zoned) -> Option<Zoned> {
        let civil = at.datetime();
        let date = civil.date();
        let round = |value: i8, count: i64| {
            let value = i64::from(value);
            i8::try_from(value - value.rem_euclid(count)).ok()
        };
        let civil: DateTime = match self {
            Self::Minutes(count) => {
                let time = Time::new(civil.hour(), round(civil.minute(), count)?, 0, 0).ok()?;
                date.to_datetime(time)
            }
            Self::Hours(count) => {
                let time = Time::new(round(civil.hour(), count)?, 0, 0, 0).ok()?;
                date.to_datetime(time)
            }
            Self::Days(1 | 2) => date.to_datetime(Time::midnight()),
            Self::Days(_) => {
                let behind = i64::from(date.weekday().to_monday_zero_offset());
                date.checked_sub(Span::new().days(behind)).ok()?.to_datetime(Time::midnight())
            }
            Self::Months(count) => {
                let month = round(date.month() - 1, count)? + 1;
                jiff::civil::Date::new(date.year(), month, 1).ok()?.to_datetime(Time::midnight())
            }
            Self::Years(count) => {
                let year = i64::from(date.year());
                let year = i16::try_from(year - year.rem_euclid(count)).ok()?;
                jiff::civil::Date::new(year, 1, 1).ok()?.to_datetime(Time::midnight())
            }
        };
        civil.to_zoned(at.time_zone().clone()).ok()
    }

    /// What is added to the first tick.
    fn year_pattern(self, at: &Zoned) -> &'static str {
        match self {
            Self::Minutes(_) | Self::Hours(_) if at.datetime().time() != Time::midnight() => {
                ", %b %-d %Y"
            }
            _ => " %Y",
        }
    }

    /// How a tick is written.
    fn pattern(self, at: &Zoned) -> &'static str {
        let is_midnight = at.datetime().time() == Time::midnight();
        match self {
            Self::Minutes(_) | Self::Hours(_) if !is_midnight => "%H:%M",
            Self::Minutes(_) | Self::Hours(_) | Self::Days(_) => "%b %-d",
            Self::Months(_) if at.month() != 1 => "%b",
            Self::Months(_) | Self::Years(_) => "%Y",
        }
    }
}

/// Rounds a time to the unit in which a person reads a date.
#[must_use]
pub fn date_text(time: Timestamp) -> String {
    let zoned = time.to_instant_held().to_zoned(TimeZone::system());
    zoned.round(Unit::Minute).unwrap_or(zoned).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_rise_in_round_steps() {
        let texts = |greatest| {
            let ticks = size_ticks(greatest, 5);
            ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(texts(0), "0 1 B");
        assert_eq!(texts(1000), "0 200 B 400 B 600 B 800 B 1000 B");
        assert_eq!(texts(3 << 30), "0 1 GiB 2 GiB 3 GiB");
        assert_eq!(texts((9 << 30) + 1), "0 2 GiB 4 GiB 6 GiB 8 GiB 10 GiB");
        assert!(texts(u64::MAX).ends_with("EiB"));
    }

    #[test]
    fn dates_are_round_ones() {
        let at = |seconds| Timestamp::new(seconds, 0).unwrap();
        let texts = |first, last| {
            let ticks = time_ticks(at(first), at(last), 8);
            ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        // 2026-11-01 to 2026-11-30, whatever the zone.
        let days = texts(1_793_491_200, 1_795_996_800);
        assert!((3..=8).contains(&days.len()) && days[0].starts_with("Nov"), "{days:?}");
        assert!(days[0].ends_with(" 2026") && !days[1].ends_with("2026"), "{days:?}");
        let years = texts(1_500_000_000, 1_795_996_800);
        assert!(years.iter().all(|year| year.len() == 4), "{years:?}");
    }

    proptest! {
        #[test]
        fn ticks_rise_and_are_few(first in any::<i32>(), span in 0_i64..1 << 40, greatest: u64) {
            let first = i64::from(first);
            let at = |seconds| Timestamp::new(seconds, 0).unwrap();
            let ticks = time_ticks(at(first), at(first.saturating_add(span)), 8);
            prop_assert!(ticks.len() <= 8);
            prop_assert!(ticks.windows(2).all(|two| two[0].0 < two[1].0));
            prop_assert!(ticks.iter().all(|(time, _)| time.seconds() >= first));
            let sizes = size_ticks(greatest, 5);
            prop_assert!(sizes.len() <= 17 && sizes.last().unwrap().0 >= greatest);
            prop_assert!(sizes.windows(2).all(|two| two[0].0 < two[1].0));
        }
    }
}
