//! Charts of growth over time, in a terminal and as SVG.
//!
//! Two series: what is backed up, and what is stored for it. Values hold from one
//! snapshot to the next, so lines are steps.

mod svg;
mod text;

use crate::base::time::Timestamp;
use crate::statistics::GrowthPoint;

pub(crate) use svg::svg;
pub(crate) use text::text;

/// Which series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    Logical,
    Stored,
}

impl Series {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Logical => "Files backed up",
            Self::Stored => "Stored for all snapshots",
        }
    }

    pub(crate) const fn of(self, point: &GrowthPoint) -> u64 {
        match self {
            Self::Logical => point.logical_bytes,
            Self::Stored => point.stored_bytes,
        }
    }
}

/// Where a time lies between two, from 0 to 1; in the middle if they are one.
fn fraction(time: Timestamp, first: Timestamp, last: Timestamp) -> f64 {
    let seconds = |time: Timestamp| time.seconds() as f64 + f64::from(time.nanoseconds()) / 1e9;
    let span = seconds(last) - seconds(first);
    if span > 0.0 { (seconds(time) - seconds(first)) / span } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::SnapshotId;

    /// Points at so many days, of so many logical and stored bytes.
    fn points(values: &[(i64, u64, u64)]) -> Vec<GrowthPoint> {
        let point = |(days, logical_bytes, stored_bytes): &(i64, u64, u64)| GrowthPoint {
            id: SnapshotId::from_digest([7; 32]),
            time: Timestamp::new(1_793_491_200 + days * 86_400, 0).unwrap(),
            logical_bytes: *logical_bytes,
            stored_bytes: *stored_bytes,
        };
        values.iter().map(point).collect()
    }

    #[test]
    fn an_svg_is_well_formed_whatever_the_title_and_the_points() {
        for values in [&[][..], &[(0, 0, 0)], &[(0, 5, 1)], &[(0, 1, 9), (0, 2, 10), (40, 3, 11)]] {
            let text = svg("a <b> & \"c\" \u{1}", &points(values));
            assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
            assert!(text.contains("a &lt;b&gt; &amp; &quot;c&quot; \u{fffd}"), "{text}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            let opened = text.matches('<').count();
            let closed = text.matches("</").count() * 2 + text.matches("/>").count();
            assert_eq!(opened, closed, "{text}");
        }
    }

    #[test]
    fn a_chart_of_text_fits_its_width_and_rises() {
        let points =
            points(&[(0, 1 << 30, 1 << 29), (10, 2 << 30, 3 << 29), (20, 4 << 30, 2 << 30)]);
        for (columns, is_unicode) in [(40, false), (80, true), (200, true), (10, true)] {
            let drawn = text(&points, columns, is_unicode);
            let widest = drawn.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns.max(40), "{columns}: {widest}\n{drawn}");
            assert_eq!(is_unicode, !drawn.is_ascii(), "{drawn}");
            assert!(drawn.contains("4 GiB") && drawn.contains("Files backed up"), "{drawn}");
        }
        let ascii = text(&points, 60, false);
        let bars = |line: &str| line.matches('#').count();
        let heights: Vec<_> = ascii.lines().filter(|line| line.contains('|')).map(bars).collect();
        assert!(heights[..8].windows(2).all(|two| two[0] <= two[1]), "{ascii}");
        assert!(heights[7] > heights[0], "{ascii}");
    }
}
