//! A chart as SVG: readable on dark and on light, without scripts or fonts.

use std::fmt::Write as _;

use crate::base::format;
use crate::base::ticks::{date_text, size_ticks, time_ticks};
use crate::base::time::Timestamp;
use crate::cli::chart::{Series, fraction};
use crate::statistics::GrowthPoint;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 88.0;
const BOTTOM: f64 = 48.0;
/// About the width of a letter.
const LETTER: f64 = 7.3;

/// Both series with their classes.
const SERIES: [(Series, &str); 2] = [(Series::Stored, "stored"), (Series::Logical, "logical")];

/// The part of the document that is the same for all. Grey text reads on white
/// and on black; where the reader's scheme is known, it is adapted.
const STYLE: &str = "\
  <style>
    text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #76808c; }
    .title { font-size: 18px; font-weight: 600; }
    .value { font-weight: 600; }
    .grid { stroke: #9ca3af; stroke-opacity: .3; }
    .axis { stroke: #9ca3af; stroke-opacity: .8; }
    .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
    .logical { stroke: #3b82f6; }
    .stored { stroke: #f59e0b; }
    .area { stroke: none; fill-opacity: .14; }
    .area.logical, .dot.logical { fill: #3b82f6; }
    .area.stored, .dot.stored { fill: #f59e0b; }
    .dot { stroke: none; }
    @media (prefers-color-scheme: dark) {
      text { fill: #9ca3af; } .title { fill: #e5e7eb; }
    }
  </style>
";

/// Draws both series on one scale.
pub(crate) fn svg(title: &str, points: &[GrowthPoint]) -> String {
    let title = escaped(title);
    let mut drawn = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title about\">\n  \
         <title id=\"title\">{title}</title>\n  <desc id=\"about\">{}</desc>\n{STYLE}",
        about(points)
    );
    let _ = writeln!(drawn, "  <text class=\"title\" x=\"{LEFT}\" y=\"34\">{title}</text>");
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        Plot::new(points, first, last).draw(points, last, &mut drawn);
    } else {
        let (x, y) = (WIDTH / 2.0, HEIGHT / 2.0);
        let _ = writeln!(
            drawn,
            "  <text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">There are no snapshots</text>"
        );
    }
    drawn + "</svg>\n"
}

/// What the chart shows, in words.
fn about(points: &[GrowthPoint]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return "There are no snapshots.".to_owned();
    };
    let said = |point: &GrowthPoint| {
        let (logical, stored) = (point.logical_bytes, point.stored_bytes);
        format!("{} backed up, {} stored", format::bytes(logical), format::bytes(stored))
    };
    format!("{}: {}. {}: {}.", date_text(first.time), said(first), date_text(last.time), said(last))
}

/// How values and times become places.
struct Plot {
    first: GrowthPoint,
    last: GrowthPoint,
    ticks: Vec<(u64, String)>,
    top: u64,
}

impl Plot {
    fn new(points: &[GrowthPoint], first: &GrowthPoint, last: &GrowthPoint) -> Self {
        let greater = |point: &GrowthPoint| point.logical_bytes.max(point.stored_bytes);
        let ticks = size_ticks(points.iter().map(greater).max().unwrap_or(0), 5);
        let top = ticks.last().map_or(1, |(value, _)| *value).max(1);
        Self { first: *first, last: *last, ticks, top }
    }

    fn x(&self, time: Timestamp) -> f64 {
        LEFT + fraction(time, self.first.time, self.last.time) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: u64) -> f64 {
        HEIGHT - BOTTOM - value as f64 / self.top as f64 * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, points: &[GrowthPoint], last: &GrowthPoint, drawn: &mut String) {
        self.axes(drawn);
        let (left, right, base) = (self.x(self.first.time), self.x(self.last.time), self.y(0));
        let lines = SERIES.map(|(series, class)| (self.steps(points, series), series, class));
        // Areas first, so that they lie behind all lines.
        for (line, _, class) in &lines {
            let _ = writeln!(
                drawn,
                "  <path class=\"area {class}\" d=\"{line}V{base:.1}H{left:.1}Z\"/>"
            );
        }
        for (line, series, class) in &lines {
            let _ = writeln!(
                drawn,
                "  <path class=\"line {class}\" d=\"{line}\"/>\n  \
                 <circle class=\"dot {class}\" cx=\"{right:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                self.y(series.of(last))
            );
        }
        let mut x = LEFT;
        for (series, class) in SERIES {
            let (name, value) = (series.name(), format::bytes(series.of(last)));
            let _ = writeln!(
                drawn,
                "  <circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"58\" r=\"5\"/>\n  \
                 <text x=\"{:.1}\" y=\"62.5\">{name} <tspan class=\"value\">{value}</tspan></text>",
                x + 5.0,
                x + 17.0
            );
            x += 17.0 + LETTER * (name.len() + value.len() + 1) as f64 + 18.0;
        }
    }

    /// Grid lines with sizes, and dates below.
    fn axes(&self, drawn: &mut String) {
        let (left, right, base) = (LEFT, WIDTH - RIGHT, self.y(0));
        for (value, text) in &self.ticks {
            let y = self.y(*value);
            let class = if *value == 0 { "axis" } else { "grid" };
            let _ = writeln!(
                drawn,
                "  <line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" \
                 y2=\"{y:.1}\"/>\n  <text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{text}</text>",
                left - 10.0,
                y + 4.5
            );
        }
        let ticks = time_ticks(self.first.time, self.last.time, 9);
        let is_sole = ticks.len() < 2;
        let ends = [&self.first, &self.last].map(|end| (end.time, date_text(end.time)));
        let sole = if self.first.time == self.last.time { 1 } else { 2 };
        let ticks = if is_sole { ends[..sole].to_vec() } else { ticks };
        for (time, text) in ticks {
            let x = self.x(time);
            // A text at an edge stays inside.
            let half = text.len() as f64 * LETTER / 2.0;
            let anchor = match x {
                x if x + half > WIDTH => "end",
                x if x - half < LEFT - 40.0 => "start",
                _ => "middle",
            };
            let _ = writeln!(
                drawn,
                "  <line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base:.1}\" \
                 y2=\"{:.1}\"/>\n  <text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"{anchor}\">{text}</text>",
                base + 6.0,
                base + 24.0
            );
        }
    }

    /// The path of a series: each value holds until the next snapshot.
    fn steps(&self, points: &[GrowthPoint], series: Series) -> String {
        let mut path = String::new();
        let mut before = None;
        for point in points {
            let (x, y) = (self.x(point.time), self.y(series.of(point)));
            let place = (format!("{x:.1}"), format!("{y:.1}"));
            match &before {
                None => drop(write!(path, "M{},{}", place.0, place.1)),
                // What would be drawn on the same spot is left out.
                Some(same) if *same == place => {}
                Some(_) => drop(write!(path, "H{}V{}", place.0, place.1)),
            }
            before = Some(place);
        }
        path
    }
}

/// Text for XML: markup escaped, characters that XML cannot hold replaced.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ if character.is_control() => safe.push('\u{fffd}'),
            _ => safe.push(character),
        }
    }
    safe
}
