//! The picture of the visitors of some hours, as SVG. Colours are the style sheet's.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::escape::escaped;
use super::times::{Zone, count};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Room for three digits of the size that small screens have.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 34.0;

/// The facts of a picture.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// Visitors at a time, in order; `None` is no data.
    pub(super) points: &'a [(DateTime<Utc>, Option<u64>)],
    pub(super) usual: Option<f64>,
    /// The number of visitors at which a spike fires.
    pub(super) fires_at: Option<u64>,
    /// Spans in which an alert was on.
    pub(super) alerts: &'a [(DateTime<Utc>, DateTime<Utc>)],
    pub(super) title: String,
    pub(super) finding: String,
    pub(super) zone: &'a Zone,
}

/// The parts of a picture that change: the script sets them anew without reading HTML.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Drawing {
    /// Lines and areas by their class; empty where there is nothing to draw.
    paths: Paths,
    /// The labels of the axes, in their order.
    texts: Vec<String>,
    #[serde(skip)]
    title: String,
    pub(super) finding: String,
}

/// The data of each path, in the order in which they are drawn.
#[derive(Debug, Clone, Serialize)]
struct Paths {
    /// Spans in which an alert was on.
    a: String,
    /// The usual number.
    u: String,
    /// The threshold.
    t: String,
    /// Visitors.
    v: String,
}

impl Drawing {
    /// The picture.
    pub(super) fn svg(&self) -> String {
        let mut out = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"chart-title chart-desc\">\
             <title id=\"chart-title\">{}</title><desc id=\"chart-desc\" data-live=\"finding\">{}</desc>",
            escaped(&self.title),
            escaped(&self.finding)
        );
        let places = levels().map(|y| (LEFT - 6.0, y + 4.0, "end"));
        let places = places.into_iter().chain(hours());
        for ((x, y, anchor), text) in places.zip(&self.texts) {
            let _ = write!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
                escaped(text)
            );
        }
        for y in levels() {
            let _ = write!(
                out,
                "<line class=\"x\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            );
        }
        let Paths { a, u, t, v } = &self.paths;
        for (class, path) in [("a", a), ("u", u), ("t", t), ("v", v)] {
            let _ = write!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        }
        out.push_str("</svg>");
        out
    }
}

/// The heights of the three lines across the picture, the lowest first.
fn levels() -> [f64; 3] {
    [0.0, 0.5, 1.0].map(|part| y(part, 1.0))
}

/// The places of the four times below the picture.
fn hours() -> [(f64, f64, &'static str); 4] {
    [(0.0, "start"), (1.0, "middle"), (2.0, "middle"), (3.0, "end")]
        .map(|(part, anchor)| (LEFT + (WIDTH - LEFT - RIGHT) * part / 3.0, HEIGHT - 8.0, anchor))
}

impl Chart<'_> {
    /// Draws it. A gap in the data is a gap in the line.
    pub(super) fn draw(self) -> Drawing {
        let top = self.top();
        let mut alerts = String::new();
        for (start, end) in self.alerts {
            let (left, right) = (self.x(*start), self.x(*end));
            let width = (right - left).max(1.0);
            let height = HEIGHT - TOP - BOTTOM;
            let _ = write!(alerts, "M{left:.1} {TOP}h{width:.1}v{height}h-{width:.1}z");
        }
        let level = |value: Option<f64>| match value {
            Some(value) => format!("M{LEFT} {:.1}H{}", y(value, top), WIDTH - RIGHT),
            None => String::new(),
        };
        let threshold = self.fires_at.map(|threshold| threshold as f64);
        let paths = Paths {
            a: alerts,
            u: level(self.usual),
            t: level(threshold.filter(|threshold| *threshold <= top)),
            v: self.path(top),
        };
        let numbers = [0.0, 0.5, 1.0].map(|part| count((top * part) as u64));
        let times = [0, 1, 2, 3].map(|part| self.zone.clock(self.from + (self.to - self.from) * part / 3));
        Drawing {
            paths,
            texts: numbers.into_iter().chain(times).collect(),
            title: self.title,
            finding: self.finding,
        }
    }

    /// The number at the upper edge: round, and above everything but a threshold far away.
    fn top(&self) -> f64 {
        let most = self.points.iter().filter_map(|(_, visitors)| *visitors).max();
        let most = most.unwrap_or(0) as f64;
        let threshold = self.fires_at.map_or(0.0, |threshold| threshold as f64);
        let near = if threshold <= most.max(1.0) * 4.0 {
            threshold
        } else {
            0.0
        };
        round_up(most.max(near).max(self.usual.unwrap_or(0.0)).max(4.0))
    }

    fn path(&self, top: f64) -> String {
        let mut path = String::new();
        let mut is_drawing = false;
        for (at, visitors) in self.points {
            let Some(visitors) = visitors else {
                is_drawing = false;
                continue;
            };
            let command = if is_drawing { 'L' } else { 'M' };
            let (x, y) = (self.x(*at), y(*visitors as f64, top));
            let _ = write!(path, "{command}{x:.1} {y:.1}");
            // A single point between two gaps is a dot.
            if !is_drawing {
                path.push_str("h1");
            }
            is_drawing = true;
        }
        path
    }

    fn x(&self, at: DateTime<Utc>) -> f64 {
        let whole = (self.to - self.from)
            .max(TimeDelta::seconds(1))
            .num_milliseconds() as f64;
        let part = (at - self.from).num_milliseconds() as f64 / whole;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

fn y(value: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - (value / top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
}

/// The next of 1, 2, 4, 6, 8, 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2026-11-22T13:{minute:02}:00Z").parse().expect("a time")
    }

    fn chart(points: &[(DateTime<Utc>, Option<u64>)]) -> String {
        let zone = Zone::new("UTC", at(30));
        let chart = Chart {
            from: at(0),
            to: at(30),
            points,
            usual: Some(80.0),
            fires_at: Some(300),
            alerts: &[(at(10), at(12))],
            title: "<Visitors>".to_owned(),
            finding: "At most 87.".to_owned(),
            zone: &zone,
        };
        chart.draw().svg()
    }

    #[test]
    fn a_gap_in_the_data_is_a_gap_in_the_line() {
        let svg = chart(&[
            (at(0), Some(1)),
            (at(1), Some(2)),
            (at(2), None),
            (at(3), Some(87)),
        ]);
        let (_, path) = svg.split_once("class=\"v\" d=\"").expect("a path");
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 1);
    }

    #[test]
    fn title_and_finding_are_texts() {
        let svg = chart(&[]);
        assert!(svg.contains(
            "&lt;Visitors&gt;</title><desc id=\"chart-desc\" data-live=\"finding\">At most 87.</desc>"
        ));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn the_upper_edge_is_a_round_number() {
        for (value, wanted) in [
            (4.0, 4.0),
            (87.0, 100.0),
            (101.0, 200.0),
            (512.0, 600.0),
            (1.0, 1.0),
        ] {
            assert_eq!(round_up(value), wanted);
        }
    }
}
