//! A notification as a message: a headline, facts (what, how much against what, since when), a
//! link.
//!
//! Reads the canonical body's JSON rather than the detector's types, since what is queued may have
//! been written by another version.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A message, its texts still as others wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ChatMessage {
    pub(super) headline: String,
    pub(super) facts: Vec<Fact>,
    pub(super) link: Option<Link>,
    /// RFC 3339; empty if unknown.
    pub(super) timestamp: String,
    pub(super) mood: Mood,
}

/// A label and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) value: String,
}

/// The page that the operator's link template points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) url: String,
    pub(super) text: String,
}

/// Colour of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mood {
    #[default]
    Neutral,
    Good,
    Alert,
}

#[derive(Deserialize)]
struct Canonical {
    event: String,
    site_id: String,
    #[serde(default)]
    site_name: Option<String>,
    #[serde(default)]
    link: Option<String>,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    data: Map<String, Value>,
}

/// Most entries of a list that a message names.
const LISTED: usize = 3;

impl ChatMessage {
    /// The message of a body that cannot be read.
    pub(super) fn unreadable() -> Self {
        Self {
            headline: "A notification from Bellwether".to_owned(),
            ..Self::default()
        }
    }

    /// Reads a canonical body; `None` if it is none.
    pub(super) fn read(canonical: &[u8]) -> Option<Self> {
        let body: Canonical = serde_json::from_slice(canonical).ok()?;
        let site = body
            .site_name
            .filter(|name| !name.is_empty())
            .unwrap_or(body.site_id);
        let data = Data(&body.data);
        let (headline, mood) = headline(&body.event, &site, &data);
        let mut facts = Vec::new();
        if body.event == "test"
            && let Some(sample) = body.data.get("sample").and_then(Value::as_object)
        {
            data.text("message")
                .into_iter()
                .for_each(|text| add(&mut facts, "Message", text.to_owned()));
            let event = sample.get("event").and_then(Value::as_str).unwrap_or_default();
            if let Some(inner) = sample.get("data").and_then(Value::as_object) {
                let inner = Data(inner);
                let (text, _) = self::headline(event, &site, &inner);
                add(&mut facts, "Sample", text);
                describe(event, &inner, &mut facts);
            }
        } else {
            describe(&body.event, &data, &mut facts);
        }
        add(&mut facts, "Time", readable(&body.timestamp));
        let link = body
            .link
            .filter(|url| url.starts_with("https://") || url.starts_with("http://"));
        Some(Self {
            headline,
            facts,
            link: link.map(|url| Link {
                url,
                text: format!("Open {site}"),
            }),
            timestamp: body.timestamp,
            mood,
        })
    }
}

/// The fields of a notification's data.
struct Data<'a>(&'a Map<String, Value>);

impl Data<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Number(number) => Some(number.as_f64().map_or_else(|| number.to_string(), figure)),
            _ => None,
        }
    }

    fn is_true(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|value| value == &Value::Bool(true) || value.is_number())
    }
}

/// Writes a number with at most one digit after the point.
fn figure(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn headline(event: &str, site: &str, data: &Data<'_>) -> (String, Mood) {
    let visitors = || {
        data.number("current_visitors")
            .map_or(String::new(), |count| format!(": {count} visitors"))
    };
    let goes_on = if data.is_true("reminder") { " goes on" } else { "" };
    let times = || {
        data.number("count")
            .map_or(String::new(), |count| format!(" {count} times"))
    };
    let webhook = || data.text("name").unwrap_or("a webhook");
    match event {
        "goal_completion" => {
            let goal = data.text("goal_name").unwrap_or("a goal");
            (
                format!("Goal “{goal}” completed{} on {site}", times()),
                Mood::Good,
            )
        }
        "custom_event" => {
            let name = data.text("name").unwrap_or("An event");
            (format!("“{name}”{} on {site}", times()), Mood::Neutral)
        }
        "visitor_spike" => (
            format!("Visitor spike on {site}{goes_on}{}", visitors()),
            Mood::Alert,
        ),
        "visitor_drop" => (
            format!("Visitor drop on {site}{goes_on}{}", visitors()),
            Mood::Alert,
        ),
        "visitor_spike_resolved" => (format!("The visitor spike on {site} is over"), Mood::Good),
        "visitor_drop_resolved" => (format!("The visitor drop on {site} is over"), Mood::Good),
        "error_condition" => (error_headline(site, data), Mood::Alert),
        "test" => (format!("Test message from Bellwether for {site}"), Mood::Neutral),
        "webhook_failing" => (
            format!("Webhook “{}” of {site} is failing", webhook()),
            Mood::Alert,
        ),
        "webhook_recovered" => (
            format!("Webhook “{}” of {site} works again", webhook()),
            Mood::Good,
        ),
        "webhook_disabled" => (
            format!("Webhook “{}” of {site} was switched off", webhook()),
            Mood::Alert,
        ),
        other => (format!("{} on {site}", other.replace('_', " ")), Mood::Neutral),
    }
}

fn error_headline(site: &str, data: &Data<'_>) -> String {
    let lasts = data.is_true("reminder");
    let still = if lasts { "still " } else { "" };
    match data.text("kind") {
        Some("silence") => match data.text("goal") {
            Some(goal) if lasts => format!("Goal “{goal}” is still silent on {site}"),
            Some(goal) => format!("Goal “{goal}” has gone silent on {site}"),
            None if lasts => format!("Still no events from {site}"),
            None => format!("No events from {site}"),
        },
        Some("rejected_events") => format!("Events of {site} are {still}rejected"),
        Some("error_events") if lasts => format!("Errors on {site} go on"),
        Some("error_events") => format!("Errors on {site}"),
        _ => format!("Something is {still}wrong on {site}"),
    }
}

fn describe(event: &str, data: &Data<'_>, facts: &mut Vec<Fact>) {
    if event == "goal_completion" || event == "custom_event" {
        let visitors = data.number("visitor_count").filter(|count| count != "1");
        add_some(facts, "Visitors", visitors);
    } else if let Some(now) = data.number("current_visitors") {
        add(facts, "Now", format!("{now} visitors{}", within(data)));
    } else if event == "error_condition" {
        let count = data
            .number("count")
            .map(|count| format!("{count}{}", within(data)));
        add_some(facts, "Count", count);
    }
    add_some(facts, "Threshold", data.number("threshold"));
    add_some(facts, "Usual", usual(data));
    add_some(facts, "Peak", data.number("peak"));
    add_some(facts, "Page", data.text("path").map(str::to_owned));
    add_some(facts, "Revenue", revenue(data));
    add_some(facts, "Properties", properties(data));
    add_some(facts, "Top sources", top(data, "top_sources", "source"));
    add_some(facts, "Top pages", top(data, "top_pages", "path"));
    add_some(facts, "Detail", data.text("detail").map(str::to_owned));
    add_some(
        facts,
        "Reason",
        data.text("reason").map(|reason| reason.replace('_', " ")),
    );
    let cause = data.text("suspected_cause").map(|cause| match cause {
        "source_silent" => "the tracking delivers nothing for any site".to_owned(),
        other => other.replace('_', " "),
    });
    add_some(facts, "Likely cause", cause);
    add_some(
        facts,
        "Waiting",
        data.number("waiting").map(|count| format!("{count} deliveries")),
    );
    add_some(facts, "Last event", data.text("last_event_at").map(readable));
    let since = data.text("started_at").or_else(|| data.text("since"));
    let label = match event {
        "webhook_recovered" => "Failing since",
        _ => "Since",
    };
    add_some(facts, label, since.map(readable));
    add_some(facts, "Ended", data.text("ended_at").map(readable));
}

/// The time within which was counted, after a figure.
fn within(data: &Data<'_>) -> String {
    let window = data.0.get("window_seconds").and_then(Value::as_u64);
    window.map_or(String::new(), |seconds| format!(" within {}", duration(seconds)))
}

fn add(facts: &mut Vec<Fact>, label: &'static str, value: String) {
    if !value.is_empty() {
        facts.push(Fact { label, value });
    }
}

fn add_some(facts: &mut Vec<Fact>, label: &'static str, value: Option<String>) {
    add(facts, label, value.unwrap_or_default());
}

/// The figure that is usual for this hour, from the baseline or from an error condition.
fn usual(data: &Data<'_>) -> Option<String> {
    let baseline = data.0.get("baseline").and_then(Value::as_object).map(Data);
    let of_baseline = baseline.and_then(|baseline| {
        ["expected", "median", "usual", "typical"]
            .into_iter()
            .find_map(|name| baseline.number(name))
    });
    of_baseline.or_else(|| data.number("expected"))
}

fn revenue(data: &Data<'_>) -> Option<String> {
    let revenue = Data(data.0.get("revenue")?.as_object()?);
    Some(format!(
        "{} {}",
        revenue.text("amount")?,
        revenue.text("currency")?
    ))
}

fn properties(data: &Data<'_>) -> Option<String> {
    let props = data.0.get("props")?.as_object()?;
    let listed = props
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} = {}", value.as_str()?)));
    Some(listed.collect::<Vec<_>>().join(", "))
}

fn top(data: &Data<'_>, list: &str, name: &str) -> Option<String> {
    let entries = data.0.get(list)?.as_array()?.iter().take(LISTED);
    let listed = entries.filter_map(|entry| {
        let entry = Data(entry.as_object()?);
        Some(format!("{} ({})", entry.text(name)?, entry.number("visitors")?))
    });
    Some(listed.collect::<Vec<_>>().join(", "))
}

/// Writes `2026-02-25T12:00:00Z` as `2026-02-25 12:00:00 UTC`.
fn readable(timestamp: &str) -> String {
    match timestamp.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} UTC"),
        None => timestamp.to_owned(),
    }
}

fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0 => (0, "second"),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
