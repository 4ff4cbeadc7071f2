//! Lines of the demo's screen, each within a width. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::arrival::{Arrival, ArrivalTally, WholeRequest};
use super::sites::{SITES, Thresholds};
use super::stream::TrafficSnapshot;
use crate::cli::request_text::{body_lines, joined};
use crate::cli::text::{paint, printable};
use crate::domain::time::from_ms;

/// Visitor counts of a site that its picture shows.
pub(super) const PICTURE: usize = 40;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Longest description of what happened; on wide screens it is padded to this.
const HAPPENED: usize = 42;
/// Columns from which on an arrival's line has room for words.
const WIDE: usize = 120;

/// The columns there are, and the taste for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Columns of the terminal; `None` where nothing wraps.
    pub(super) width: Option<usize>,
    pub(super) colours: bool,
}

/// Parts of a line: the ANSI code of a colour, or none, and the text.
struct Parts(Vec<(&'static str, String)>);

impl Parts {
    fn push(&mut self, code: &'static str, text: impl Into<String>) {
        self.0.push((code, text.into()));
    }

    /// The line, cut where the screen ends. The last column stays free: some terminals wrap there.
    fn fit(self, style: Style) -> String {
        let mut room = style.width.map_or(usize::MAX, |width| width.saturating_sub(1));
        let mut line = String::new();
        for (code, text) in self.0 {
            let shown: String = text.chars().take(room).collect();
            room -= shown.chars().count();
            line.push_str(&paint(style.colours, code, &shown));
        }
        line
    }
}

/// True if an arrival's line has no room for words.
pub(super) fn is_narrow(style: Style) -> bool {
    style.width.is_some_and(|width| width < WIDE)
}

/// The line of a request: `08:14:03 spike blog.example 104 visitors, threshold 100 (Hacker News)`,
/// then `signature ok  attempt 1    9 ms  200`, or on a narrow screen `ok  #1    9 ms  200`.
pub(super) fn arrival_line(arrival: &Arrival, style: Style) -> String {
    let is_wide = !is_narrow(style);
    let room = match style.width {
        Some(width) if !is_wide => width.saturating_sub(NARROW_REST).clamp(8, HAPPENED),
        _ => HAPPENED,
    };
    let (kind, kind_code) = match arrival.event.as_str() {
        "visitor_spike" => ("spike", "1;33"),
        "visitor_drop" => ("drop", "1;35"),
        "visitor_spike_resolved" | "visitor_drop_resolved" => ("over", "1;34"),
        "goal_completion" => ("goal", "1;32"),
        "custom_event" => ("event", "1;36"),
        other => (other, "1"),
    };
    let mut line = Parts(Vec::new());
    line.push("2", from_ms(arrival.at_ms).format("%H:%M:%S ").to_string());
    line.push(kind_code, format!("{:<5} ", printable(kind)));
    let happened = happened(arrival, room);
    line.push(
        "",
        format!("{:<12} {happened:<room$}  ", printable(&arrival.site_id)),
    );
    let signature = match (arrival.signature_ok, is_wide) {
        (true, true) => "signature ok",
        (true, false) => "ok",
        (false, true) => "signature BAD",
        (false, false) => "BAD",
    };
    line.push(if arrival.signature_ok { "32" } else { "1;31" }, signature);
    let attempt = if is_wide { "attempt " } else { "#" };
    let attempt_code = if arrival.attempt > 1 { "33" } else { "" };
    line.push("", "  ");
    line.push(attempt_code, format!("{attempt}{}", arrival.attempt));
    line.push("", format!(" {:>4} ms  ", arrival.after_ms));
    let on_purpose = if is_wide && arrival.status >= 500 {
        " on purpose"
    } else {
        ""
    };
    let status_code = if arrival.status == 200 { "32" } else { "31" };
    line.push(status_code, format!("{}{on_purpose}", arrival.status));
    line.fit(style)
}

/// Columns of a narrow line besides the description: the rest of its parts, and the free last
/// column.
const NARROW_REST: usize = 9 + 6 + 13 + 2 + 3 + 2 + 2 + 10 + 3 + 1;

/// A description of what happened, in at most `room` characters.
fn happened(arrival: &Arrival, room: usize) -> String {
    let data = &arrival.data;
    let text = |key: &str| data[key].as_str().unwrap_or_default();
    let (whole, short) = match (data["current_visitors"].as_u64(), data["threshold"].as_u64()) {
        (Some(visitors), Some(threshold)) => {
            let short = format!("{visitors} visitors, threshold {threshold}");
            let source = data["top_sources"][0]["source"].as_str();
            let source = source.map_or_else(String::new, |source| format!(" ({source})"));
            (format!("{short}{source}"), short)
        }
        _ => {
            let name = [text("goal_name"), text("name")]
                .into_iter()
                .find(|name| !name.is_empty());
            let name = name.unwrap_or_default().to_owned();
            let whole = match (&data["revenue"], text("path")) {
                (Value::Object(money), _) => {
                    let part = |key: &str| money.get(key).and_then(Value::as_str).unwrap_or_default();
                    format!("{name}, {} {}", part("amount"), part("currency"))
                }
                (_, "") => name.clone(),
                (_, path) => format!("{name} on {path}"),
            };
            (whole, name)
        }
    };
    let fitting = [whole, short].map(|text| printable(&text));
    let fits = |text: &&String| text.chars().count() <= room;
    match fitting.iter().find(fits) {
        Some(text) => text.clone(),
        None => fitting[1].chars().take(room).collect(),
    }
}

/// A request with its headers and its payload.
pub(super) fn whole_request(whole: &WholeRequest, style: Style) -> String {
    let mut lines = vec![format!("  POST {}", printable(&whole.path))];
    for (name, value) in joined(&whole.headers) {
        let line = format!("  {name}: {}", printable(&value));
        let fits = style.width.is_none_or(|width| line.chars().count() < width);
        if fits {
            lines.push(line);
        } else {
            lines.push(format!("  {name}:"));
            lines.push(format!("    {}", printable(&value)));
        }
    }
    lines.push(String::new());
    lines.extend(
        body_lines(&whole.body)
            .into_iter()
            .map(|line| format!("  {line}")),
    );
    let fitted = lines.into_iter().map(|line| Parts(vec![("", line)]).fit(style));
    fitted.collect::<Vec<_>>().join("\n")
}

/// The live part: the sites' visitors, and below them the time and the counts.
pub(super) fn live_lines(
    now: &TrafficSnapshot,
    counts: &[Vec<usize>; SITES.len()],
    thresholds: &Thresholds,
    tally: &ArrivalTally,
    speed: f64,
    style: Style,
) -> Vec<String> {
    let columns = style
        .width
        .map_or(PICTURE, |width| width.saturating_sub(SITE_REST).min(PICTURE));
    let mut lines = vec![Parts(Vec::new()), Parts(Vec::new())];
    lines[1].push(
        "2",
        "  current visitors, of the threshold that makes them a spike:",
    );
    for (place, site) in SITES.iter().enumerate() {
        let (visitors, threshold) = (now.visitors[place], thresholds[place]);
        let is_over = threshold.is_some_and(|threshold| visitors >= threshold as usize);
        let mut line = Parts(Vec::new());
        line.push("", format!("  {:<13}", site.id));
        line.push(if is_over { "1;33" } else { "1" }, format!("{visitors:>4}"));
        let threshold_text = threshold.map_or("-".to_owned(), |threshold| threshold.to_string());
        line.push("2", format!(" of {threshold_text:<5} "));
        line.0.extend(picture(&counts[place], threshold, columns));
        lines.push(line);
    }
    let mut clock = Parts(Vec::new());
    clock.push("2", format!("  {}", from_ms(now.now_ms).format("%a %H:%M")));
    let rate = now.events_per_second;
    clock.push(
        "2",
        format!(", {speed} times faster than life · {rate} events/s · Ctrl-C ends it"),
    );
    lines.push(clock);
    lines.push(Parts(vec![("2", format!("  {tally}"))]));
    lines.into_iter().map(|line| line.fit(style)).collect()
}

/// Columns of a site's line besides its picture.
const SITE_REST: usize = 2 + 13 + 4 + 4 + 5 + 1 + 1;

/// The newest visitor counts as bars; those at the threshold or above stand out.
fn picture(counts: &[usize], threshold: Option<u32>, columns: usize) -> Vec<(&'static str, String)> {
    let counts = &counts[counts.len().saturating_sub(columns)..];
    // Three quarters of the height are the way to the threshold, or to the highest count.
    let highest = counts.iter().copied().max().unwrap_or_default();
    let full = threshold.map_or(highest, |threshold| threshold as usize) * 4 / 3;
    let (full, threshold) = (
        full.max(1),
        threshold.map_or(usize::MAX, |threshold| threshold as usize),
    );
    let mut parts = vec![("", " ".repeat(columns - counts.len()))];
    for count in counts {
        let code = if *count >= threshold { "33" } else { "" };
        let level = (count * LEVELS.len() / full).min(LEVELS.len() - 1);
        match parts.last_mut() {
            Some((last, text)) if *last == code => text.push(LEVELS[level]),
            _ => parts.push((code, LEVELS[level].to_string())),
        }
    }
    parts
}

/// `08:15:00 now    shop.example 62 of 150, …, 118 events/s`
pub(super) fn snapshot_line(now: &TrafficSnapshot, thresholds: &Thresholds) -> String {
    let mut line = from_ms(now.now_ms).format("%H:%M:%S now    ").to_string();
    for (place, site) in SITES.iter().enumerate() {
        let threshold = thresholds[place].map_or("-".to_owned(), |threshold| threshold.to_string());
        let _ = write!(line, "{} {} of {threshold}, ", site.id, now.visitors[place]);
    }
    let _ = write!(line, "{} events/s", now.events_per_second);
    line
}

#[cfg(test)]
mod tests;
