//! The form of a webhook: its fields, and the body of the API that it means.

use serde_json::{Map, Value, json};

use super::form::{Form, number};
use super::model::WebhookView;
use super::words::event_question;
use crate::domain::event::EventType;
use crate::domain::trigger::{DEFAULT_DROP_WINDOW_SECONDS, DEFAULT_WINDOW_SECONDS};

/// Rows for headers that a form shows.
pub(super) const HEADER_ROWS: usize = 3;

/// Field of the boxes by which goals are chosen.
const GOAL_TICKED: &str = "goal";

/// Kinds of options that an event type has in the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Options {
    /// A number of visitors.
    Threshold,
    /// Names, one a line.
    Names {
        /// The key in the API.
        key: &'static str,
    },
    Nothing,
}

/// An event type in the form.
#[derive(Debug)]
pub(super) struct EventField {
    pub(super) word: &'static str,
    pub(super) question: &'static str,
    pub(super) options: Options,
    pub(super) is_ticked: bool,
    pub(super) threshold: String,
    /// Seconds over which visitors are counted.
    pub(super) window: String,
    /// The site's goals, each with true if it is chosen.
    pub(super) goals: Vec<(String, bool)>,
    /// Other names, one a line.
    pub(super) names: String,
}

/// A header of the owner's.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderField {
    pub(super) name: String,
    pub(super) value: String,
}

/// The fields of the form with their values.
#[derive(Debug)]
pub(super) struct WebhookForm {
    pub(super) name: String,
    pub(super) url: String,
    /// The masked URL of a webhook that exists.
    pub(super) url_now: Option<String>,
    pub(super) events: Vec<EventField>,
    /// Secret of the owner's own; `None` lets us make one.
    pub(super) is_own_secret: bool,
    pub(super) format: String,
    /// Names of headers that are set, which a box removes.
    pub(super) headers_now: Vec<String>,
    pub(super) headers: Vec<HeaderField>,
    pub(super) rate_limit: String,
    pub(super) max_concurrency: String,
    pub(super) failure_threshold: String,
    pub(super) retry_schedule: String,
    pub(super) max_age: String,
}

fn options_of(event: EventType) -> Options {
    match event.as_str() {
        "visitor_spike" | "visitor_drop" => Options::Threshold,
        "goal_completion" => Options::Names { key: "goals" },
        "custom_event" => Options::Names { key: "names" },
        _ => Options::Nothing,
    }
}

/// Seconds over which visitors are counted for an event if nothing else is said.
fn default_window(word: &str) -> u32 {
    match word {
        DROP => DEFAULT_DROP_WINDOW_SECONDS,
        _ => DEFAULT_WINDOW_SECONDS,
    }
}

const DROP: &str = EventType::VisitorDrop.as_str();

/// Conditions that "A problem with tracking" watches, at the numbers of the defaults.
pub(super) const TRACKING_HINT: &str = "No event for longer than is plausible; and within 5 minutes 50 errors that your pages \
     report, or 100 records that cannot be read, unless other numbers were set by the API.";

/// Seconds over which visitors may be counted for an event, in words.
pub(super) fn window_words(word: &str) -> &'static str {
    match word {
        DROP => "from 300 to 86400",
        _ => "from 60 to 3600",
    }
}

/// Visitors that an event may have as its threshold, in words.
pub(super) fn threshold_words(word: &str) -> &'static str {
    match word {
        DROP => "from 1 to 4,000",
        _ => "from 1 to 1,000,000,000",
    }
}

/// The event types that a webhook may subscribe to, without values.
pub(super) fn event_fields() -> Vec<EventField> {
    let field = |event: EventType| EventField {
        word: event.as_str(),
        question: event_question(event.as_str()),
        options: options_of(event),
        is_ticked: false,
        threshold: String::new(),
        window: default_window(event.as_str()).to_string(),
        goals: Vec::new(),
        names: String::new(),
    };
    EventType::SUBSCRIBABLE.into_iter().map(field).collect()
}

impl WebhookForm {
    /// An empty form.
    pub(super) fn new() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            url_now: None,
            events: event_fields(),
            is_own_secret: false,
            format: "json".to_owned(),
            headers_now: Vec::new(),
            headers: vec![HeaderField::default(); HEADER_ROWS],
            rate_limit: "50".to_owned(),
            max_concurrency: "8".to_owned(),
            failure_threshold: "3".to_owned(),
            retry_schedule: "default".to_owned(),
            max_age: String::new(),
        }
    }

    /// The form of a webhook that exists. Nothing masked is a value of it.
    pub(super) fn of(webhook: &WebhookView) -> Self {
        let mut events = event_fields();
        for field in &mut events {
            field.is_ticked = webhook.events.iter().any(|event| event == field.word);
            let Some(options) = webhook.triggers.get(field.word) else {
                continue;
            };
            let number = |key: &str| {
                options
                    .get(key)
                    .and_then(Value::as_u64)
                    .map(|number| number.to_string())
            };
            field.threshold = number("threshold").unwrap_or_default();
            field.window = number("window_seconds").unwrap_or_else(|| default_window(field.word).to_string());
            if let Options::Names { key } = field.options {
                let names = options.get(key).and_then(Value::as_array);
                let names = names.into_iter().flatten().filter_map(Value::as_str);
                field.names = names.collect::<Vec<_>>().join("\n");
            }
        }
        let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
        Self {
            name: webhook.name.clone(),
            url: String::new(),
            url_now: Some(webhook.url.clone()),
            events,
            is_own_secret: false,
            format: webhook.format.clone(),
            headers_now: webhook.headers.keys().cloned().collect(),
            headers: vec![HeaderField::default(); HEADER_ROWS],
            rate_limit: number(webhook.rate_limit_per_second),
            max_concurrency: webhook.max_concurrency.to_string(),
            failure_threshold: webhook.failure_threshold.to_string(),
            retry_schedule: webhook.retry_schedule.clone(),
            max_age: number(webhook.max_age_seconds),
        }
    }

    /// Makes boxes of the site's goals; names of others stay lines of text.
    pub(super) fn offer_goals(&mut self, goals: Vec<String>) {
        let wanted = EventType::GoalCompletion.as_str();
        let Some(field) = self.events.iter_mut().find(|field| field.word == wanted) else {
            return;
        };
        let chosen: Vec<&str> = field.names.lines().map(str::trim).collect();
        let others = chosen
            .iter()
            .filter(|name| !goals.iter().any(|goal| goal == *name));
        let others = others.copied().collect::<Vec<_>>().join("\n");
        let boxes = goals.into_iter().map(|goal| {
            let is_ticked = chosen.contains(&goal.as_str());
            (goal, is_ticked)
        });
        field.goals = boxes.collect();
        field.names = others;
    }

    /// The form as it was sent, to be shown again. A secret is not shown again, nor the value of a
    /// header.
    pub(super) fn sent(form: &Form, webhook: Option<&WebhookView>) -> Self {
        let mut events = event_fields();
        for field in &mut events {
            let word = field.word;
            field.is_ticked = form.is_ticked(word);
            field.threshold = form.text(&format!("{word}_threshold")).to_owned();
            field.window = form.text(&format!("{word}_window")).to_owned();
            field.names = names(form, word).join("\n");
        }
        let text = |name: &str| form.text(name).to_owned();
        let header = |row: usize| HeaderField {
            name: text(&format!("header_name_{row}")),
            value: String::new(),
        };
        Self {
            name: form.raw("name").to_owned(),
            url: form.raw("url").to_owned(),
            url_now: webhook.map(|webhook| webhook.url.clone()),
            events,
            is_own_secret: form.text("secret_choice") == "own",
            format: text("format"),
            headers_now: webhook
                .map(|one| one.headers.keys().cloned().collect())
                .unwrap_or_default(),
            headers: (0..HEADER_ROWS).map(header).collect(),
            rate_limit: text("rate_limit"),
            max_concurrency: text("max_concurrency"),
            failure_threshold: text("failure_threshold"),
            retry_schedule: text("retry_schedule"),
            max_age: text("max_age"),
        }
    }
}

/// The body of the API that a form means: of a new webhook, or a patch of `before`.
pub(super) fn body(form: &Form, before: Option<&WebhookView>) -> Value {
    let mut body = Map::new();
    let is_new = before.is_none();
    let mut put = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    match form.given("name") {
        Some(name) => put("name", name.into()),
        None if is_new => {}
        None => put("name", Value::Null),
    }
    match form.given("url") {
        Some(url) => put("url", url.into()),
        None if is_new => put("url", "".into()),
        None => {}
    }
    let (events, triggers) = events(form, before);
    put("events", json!(events));
    put("triggers", Value::Object(triggers));
    if is_new && form.text("secret_choice") == "own" {
        put("secret", form.raw("secret").into());
    }
    if let Some(format) = form.given("format") {
        put("format", format.into());
    }
    let headers = headers(form);
    if !headers.is_empty() {
        put("headers", Value::Object(headers));
    }
    let rate = form.text("rate_limit");
    let rate_before = before.map_or(Some(50), |webhook| webhook.rate_limit_per_second);
    let is_rate_kept = rate == rate_before.map_or_else(String::new, |rate| rate.to_string());
    // The default is the format's, and a rate that is sent is set: what was not touched stays out.
    if form.is_ticked("rate_limit") && !is_rate_kept {
        put("rate_limit_per_second", number_or_null(rate));
    }
    for (field, name) in [
        ("max_concurrency", "max_concurrency"),
        ("failure_threshold", "failure_threshold"),
        ("max_age", "max_age_seconds"),
    ] {
        match form.given(field) {
            Some(text) => put(name, number(text)),
            None if is_new => {}
            None => put(name, Value::Null),
        }
    }
    if let Some(schedule) = form.given("retry_schedule") {
        put("retry_schedule", schedule.into());
    }
    Value::Object(body)
}

/// The events of a form and their options. Events that the form does not know stay as they are.
fn events(form: &Form, before: Option<&WebhookView>) -> (Vec<String>, Map<String, Value>) {
    let mut events = Vec::new();
    let mut triggers = Map::new();
    let known = event_fields();
    for field in &known {
        let word = field.word;
        let was_set = before.is_some_and(|webhook| webhook.triggers.contains_key(word));
        if !form.is_ticked(word) {
            if was_set {
                triggers.insert(word.to_owned(), Value::Null);
            }
            continue;
        }
        events.push(word.to_owned());
        let options = match field.options {
            Options::Threshold => {
                let options = before.and_then(|webhook| webhook.triggers.get(word));
                Value::Object(threshold_options(form, word, options))
            }
            Options::Names { key } => {
                let names = names(form, word);
                match names.is_empty() {
                    true if was_set => json!({key: Value::Null}),
                    true => continue,
                    false => json!({key: names}),
                }
            }
            // The form has no fields for it: everything is watched, at the numbers of the defaults.
            Options::Nothing if word == EventType::ErrorCondition.as_str() && !was_set => {
                json!({"error_events": true, "rejected_events": true, "silence": true})
            }
            Options::Nothing => continue,
        };
        triggers.insert(word.to_owned(), options);
    }
    let others = before.into_iter().flat_map(|webhook| &webhook.events);
    let others = others.filter(|event| !known.iter().any(|field| field.word == *event));
    events.extend(others.cloned());
    (events, triggers)
}

/// The options of a number of visitors. Of a trigger that exists only what was changed is sent: one
/// that follows what is usual has neither, and keeps what it has.
fn threshold_options(form: &Form, word: &str, before: Option<&Value>) -> Map<String, Value> {
    let mut options = Map::new();
    for (field, key, default) in [
        ("threshold", "threshold", Value::Null),
        ("window", "window_seconds", default_window(word).into()),
    ] {
        let text = form.text(&format!("{word}_{field}"));
        let old = before.map(|before| before.get(key).unwrap_or(&default));
        let new = number_or_null(text);
        if old != Some(&new) && (old.is_some() || !new.is_null()) {
            options.insert(key.to_owned(), new);
        }
    }
    options
}

/// The names that are ticked, and those that are written, one a line.
fn names<'a>(form: &'a Form, word: &str) -> Vec<&'a str> {
    let written = form.raw(&format!("{word}_names"));
    let ticked = form
        .all(GOAL_TICKED)
        .filter(|_| word == EventType::GoalCompletion.as_str());
    ticked
        .chain(written.lines().map(str::trim))
        .filter(|name| !name.is_empty())
        .collect()
}

/// New headers, and null for those that are to go.
fn headers(form: &Form) -> Map<String, Value> {
    let removed = form
        .all("header_remove")
        .map(|name| (name.to_owned(), Value::Null));
    // One with a value alone is sent as well: its name is what the API refuses.
    let added = (0..HEADER_ROWS).filter_map(|row| {
        let name = form.text(&format!("header_name_{row}"));
        let value = form.text(&format!("header_value_{row}"));
        (!name.is_empty() || !value.is_empty()).then(|| (name.to_owned(), value.into()))
    });
    removed.chain(added).collect()
}

fn number_or_null(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => number(text),
    }
}
