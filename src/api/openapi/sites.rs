//! Schemas of sites, their present and their past.

use serde_json::{Value, json};

use super::schema::{
    Fields, about, answer, any_text, boolean, by_default, count, id, ignored, input, list, nullable, number,
    page, read_only, text, time, word,
};
use crate::api::site_input::{MAX_NAME_CHARS, MAX_TIME_ZONE_CHARS, MOVING, READ_ONLY};
use crate::domain::event::EventType;
use crate::domain::health::CountedState;
use crate::domain::site::{MAX_ALIASES, MAX_SITE_ID_BYTES};
use crate::domain::site_now::TriggerPhase;

/// A site id in a body.
pub(super) fn site_id() -> Value {
    let pattern = r"^[^\x00-\x1f\x7f-\x9f]+$";
    json!({"type": "string", "minLength": 1, "maxLength": MAX_SITE_ID_BYTES, "pattern": pattern,
           "not": {"enum": [".", ".."]}})
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("SiteSettings", settings()),
        ("Site", site()),
        ("Sites", page("Site")),
        ("SiteStatus", status()),
        ("Alert", alert()),
        ("Alerts", page("Alert")),
        ("Activity", activity()),
    ]
}

fn settings() -> Value {
    let mut fields: Fields = vec![
        (
            "name",
            about(nullable(text(MAX_NAME_CHARS)), "Shown in notifications."),
        ),
        ("time_zone", by_default(nullable(time_zone()), "UTC")),
        ("aliases", by_default(nullable(aliases()), json!([]))),
        (
            "include_paths",
            by_default(
                about(
                    nullable(boolean()),
                    "False keeps the paths of pages out of what is sent.",
                ),
                true,
            ),
        ),
    ];
    fields.extend(READ_ONLY.iter().map(|name| {
        let is_moving = MOVING.contains(name);
        (*name, if is_moving { ignored() } else { read_only() })
    }));
    let mut schema = input(&[], fields);
    schema["examples"] =
        json!([{"name": "Example", "time_zone": "Europe/Berlin", "aliases": ["www.example.com"]}]);
    schema
}

fn time_zone() -> Value {
    let schema =
        json!({"type": "string", "minLength": 1, "maxLength": MAX_TIME_ZONE_CHARS, "format": "time-zone"});
    about(schema, "Name of an IANA time zone, such as Europe/Berlin.")
}

fn aliases() -> Value {
    let schema = json!({"type": "array", "items": site_id(), "maxItems": MAX_ALIASES, "uniqueItems": true});
    about(
        schema,
        "Other ids that mean this site; each belongs to one site only.",
    )
}

fn site() -> Value {
    let mut schema = answer(vec![
        ("site_id", site_id()),
        ("name", nullable(text(MAX_NAME_CHARS))),
        ("time_zone", any_text()),
        ("aliases", list(site_id())),
        ("include_paths", boolean()),
        ("first_event_at", nullable(time())),
        ("last_event_at", nullable(time())),
        (
            "webhooks",
            about(
                answer(
                    CountedState::WORDS
                        .iter()
                        .map(|state| (*state, count()))
                        .collect(),
                ),
                "Number of webhooks by state; a new one is `ok`.",
            ),
        ),
        ("open_episodes", about(count(), "Alerts that last.")),
        ("inserted_at", time()),
        ("updated_at", time()),
    ]);
    schema["examples"] = json!([{
        "site_id": "example.com", "name": "Example", "time_zone": "Europe/Berlin", "aliases": ["www.example.com"],
        "include_paths": true, "first_event_at": "2026-02-01T08:00:00.000Z",
        "last_event_at": "2026-02-25T12:00:00.000Z",
        "webhooks": {"ok": 2, "careful": 0, "open": 1, "disabled": 0, "paused": 0}, "open_episodes": 1, "inserted_at": "2026-02-01T07:59:00.000Z",
        "updated_at": "2026-02-01T07:59:00.000Z"
    }]);
    schema
}

fn status() -> Value {
    let trigger = answer(vec![
        ("webhook_id", id("wh")),
        ("event", word(EventType::WORDS)),
        ("state", word(TriggerPhase::WORDS)),
        ("since", nullable(time())),
        ("threshold", nullable(number())),
    ]);
    let mut schema = answer(vec![
        (
            "current_visitors",
            about(
                nullable(count()),
                "Distinct visitors of the last 300 seconds; 0 before the site's first event, null while no detector \
                 has reported on a site that had events.",
            ),
        ),
        (
            "as_of",
            about(
                nullable(time()),
                "The site's own clock; null while no detector has reported.",
            ),
        ),
        (
            "baseline",
            json!({"type": ["object", "null"], "description": "Comparison with what is usual; null while nothing is known to be."}),
        ),
        ("last_event_at", nullable(time())),
        ("triggers", list(trigger)),
        (
            "source_silent_since",
            about(
                nullable(time()),
                "Time of the last event of any site from the site's source, while that delivers nothing though it \
                 should: drops and silences wait. Null otherwise.",
            ),
        ),
    ]);
    schema["examples"] = json!([{
        "current_visitors": 512, "as_of": "2026-02-25T12:00:00.000Z", "baseline": null,
        "last_event_at": "2026-02-25T12:00:00.000Z", "triggers": [], "source_silent_since": null
    }]);
    schema
}

fn alert() -> Value {
    let mut schema = answer(vec![
        ("id", id("alr")),
        ("event", word(EventType::WORDS)),
        ("started_at", time()),
        ("ended_at", about(nullable(time()), "Null while it lasts.")),
        (
            "peak",
            about(nullable(number()), "Most visitors of a spike, fewest of a drop."),
        ),
        ("threshold", about(nullable(number()), "The figure that applied.")),
        ("expected", about(nullable(number()), "Visitors that were usual.")),
        ("score", nullable(number())),
        ("notification_id", nullable(id("evt"))),
        ("webhook_ids", list(id("wh"))),
        ("suppressed", about(boolean(), "True if it notified nobody.")),
    ]);
    schema["examples"] = json!([{
        "id": "alr_01jz0000000000000000000000", "event": "visitor_spike", "started_at": "2026-02-25T12:00:00.000Z",
        "ended_at": null, "peak": 512, "threshold": 500, "expected": 100.4, "score": 1.9,
        "notification_id": "evt_01jz0000000000000000000000", "webhook_ids": ["wh_01jz0000000000000000000000"],
        "suppressed": false
    }]);
    schema
}

fn activity() -> Value {
    let point = answer(vec![
        ("at", time()),
        ("visitors", about(nullable(count()), "Null is no data.")),
    ]);
    let mut schema = answer(vec![
        ("resolution", word(&["minute", "hour"])),
        ("data", list(point)),
    ]);
    schema["examples"] =
        json!([{"resolution": "minute", "data": [{"at": "2026-02-25T12:00:00.000Z", "visitors": 7}]}]);
    schema
}
