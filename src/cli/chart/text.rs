//! A chart of block characters.

use crate::base::format;
use crate::base::ticks::{date_text, size_ticks};
use crate::base::time::Timestamp;
use crate::cli::chart::{Series, fraction};
use crate::statistics::GrowthPoint;

/// Lines of each series.
const ROWS: u64 = 8;
/// Columns left of the axis: the longest text of a tick.
const LABEL_COLUMNS: usize = 10;
/// The narrowest chart.
const COLUMNS_MIN: usize = 40;
/// Wider ones are no easier to read.
const COLUMNS_MAX: usize = 120;
/// Eighths of a character, from nothing to all of it.
const EIGHTHS: [char; 9] = [
    ' ', '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}',
    '\u{2588}',
];

/// Draws both series below each other.
pub(crate) fn text(points: &[GrowthPoint], columns: usize, is_unicode: bool) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let columns = columns.clamp(COLUMNS_MIN, COLUMNS_MAX);
    let width = columns - LABEL_COLUMNS - 2;
    let mut drawn = String::new();
    for series in [Series::Logical, Series::Stored] {
        let now = format::bytes(series.of(last));
        drawn += &format!("{}: {now}\n", series.name());
        drawn += &panel(points, series, width, is_unicode);
        drawn.push('\n');
    }
    let (mut first, mut last) = (date_text(first.time), date_text(last.time));
    if first.len() + last.len() >= width {
        // Dates alone, without times of day.
        first.truncate(10);
        last.truncate(10);
    }
    let gap = width.saturating_sub(first.len() + last.len()).max(1);
    drawn + &format!("{}{first}{}{last}\n", " ".repeat(LABEL_COLUMNS + 2), " ".repeat(gap))
}

fn panel(points: &[GrowthPoint], series: Series, width: usize, is_unicode: bool) -> String {
    let values = columns(points, series, width);
    let greatest = values.iter().flatten().copied().max().unwrap_or(0);
    let ticks = size_ticks(greatest, 5);
    let top = ticks.last().map_or(1, |(value, _)| *value).max(1);
    let axis = if is_unicode { '\u{2502}' } else { '|' };
    let mut drawn = String::new();
    // Eighths of a line, so that small steps show.
    let height = |value: u64| (u128::from(value) * u128::from(ROWS * 8) / u128::from(top)) as u64;
    for row in (0..ROWS).rev() {
        let is_here = |value: u64| height(value).min(ROWS * 8 - 1) / 8 == row;
        let label = ticks.iter().skip(1).find(|(value, _)| is_here(value.saturating_sub(1)));
        let label = label.map_or("", |(_, text)| text);
        drawn += &format!("{label:>LABEL_COLUMNS$} {axis}");
        let cell = |value: &Option<u64>| {
            let eighths = value.map_or(0, |value| height(value).max(u64::from(value > 0)));
            let eighths = eighths.saturating_sub(row * 8).min(8);
            match (is_unicode, eighths) {
                (true, eighths) => EIGHTHS.get(eighths as usize).copied().unwrap_or(' '),
                (false, 4..) => '#',
                (false, 1..) if row == 0 => '#',
                (false, _) => ' ',
            }
        };
        drawn.push_str(values.iter().map(cell).collect::<String>().trim_end());
        drawn.push('\n');
    }
    let (corner, line) = if is_unicode { ('\u{2514}', "\u{2500}") } else { ('+', "-") };
    drawn + &format!("{:>LABEL_COLUMNS$} {corner}{}\n", "0", line.repeat(width))
}

/// The value of each column: the last one of its time, or the one before.
fn columns(points: &[GrowthPoint], series: Series, width: usize) -> Vec<Option<u64>> {
    let mut columns: Vec<Option<u64>> = vec![None; width];
    let (first, last) = (points.first(), points.last());
    let time = |point: Option<&GrowthPoint>| point.map_or(Timestamp::MIN, |point| point.time);
    for point in points {
        let place = fraction(point.time, time(first), time(last)) * (width as f64 - 1.0);
        let place = if time(first) == time(last) { 0 } else { place.round() as usize };
        if let Some(column) = columns.get_mut(place) {
            *column = Some(series.of(point));
        }
    }
    let mut before = None;
    for column in &mut columns {
        before = column.or(before);
        *column = before;
    }
    columns
}
