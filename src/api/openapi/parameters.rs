//! Parameters and headers of the calls.

use serde_json::{Map, Value, json};

use super::schema::{about, id, integer, time, word};
use super::sites::site_id;
use crate::api::call::{Access, Call, Method};
use crate::api::idempotency::MAX_KEY_BYTES;
use crate::api::parameter::{DEFAULT_LIMIT, MAX_LIMIT, Parameter};

/// A sentence about the tokens that a call takes.
pub(super) fn rights(access: Access) -> &'static str {
    match access {
        Access::Scoped => "Any valid token; the answer holds what lies in its scope.",
        Access::Viewer => "A token whose scope holds the site.",
        Access::Editor => "A token whose scope holds the site, with the role `editor`.",
        Access::Admin => "An admin token; changes ask for the role `editor`, too.",
    }
}

/// The parameters in a path.
pub(super) fn of_path(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": path_schema(name)}))
        .collect()
}

fn path_schema(name: &str) -> Value {
    match name {
        "site_id" => about(site_id(), "One segment of the path, percent-encoded."),
        "webhook_id" => id("wh"),
        "goal_id" => id("goal"),
        "delivery_id" => id("dlv"),
        "token_id" => id("tok"),
        "job_id" => id("job"),
        _ => json!({"type": "string"}),
    }
}

/// The parameters in the query and the headers of a request.
pub(super) fn of_request(call: &Call) -> Vec<Value> {
    let mut all: Vec<Value> = call.query.iter().map(|one| in_query(*one)).collect();
    if call.method == Method::Post && call.is_idempotent {
        all.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Makes a repetition of the request take effect once; its answer has no secret.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES, "pattern": "^[!-~]+$"},
        }));
    }
    all
}

fn in_query(parameter: Parameter) -> Value {
    let description = match parameter {
        Parameter::Limit => "Entries on a page.",
        Parameter::After => "The `next` of the page before.",
        Parameter::Part => "A part of the id or the name.",
        Parameter::Since => "The earliest time.",
        Parameter::From => "The beginning; by default 24 hours before the end.",
        Parameter::To => "The end; by default the present. At most 400 days after the beginning.",
        Parameter::AlertEvents | Parameter::Events => "One or more event types.",
        Parameter::Include => {
            "`recent` adds to each webhook its newest deliveries but tests, without payloads."
        }
        Parameter::Statuses => "One or more statuses; `undelivered` is `failed` and `cancelled`.",
    };
    let words = parameter.words();
    // A parameter without a value, as a form sends it for "any", counts as absent.
    let schema = match &words {
        Some(words) => json!({"type": ["array", "string"], "items": word(words), "maxLength": 0}),
        None => json!({"anyOf": [of_one_value(parameter), {"type": "string", "maxLength": 0}]}),
    };
    let mut all = json!({"name": parameter.name(), "in": "query", "required": false, "description": description,
                         "schema": schema});
    if words.is_some() {
        all["style"] = json!("form");
        all["explode"] = json!(false);
    }
    all
}

fn of_one_value(parameter: Parameter) -> Value {
    match parameter {
        Parameter::Limit => {
            let mut limit = integer(1..=MAX_LIMIT);
            limit["default"] = json!(DEFAULT_LIMIT);
            limit
        }
        Parameter::After => json!({"type": "string", "format": "cursor"}),
        Parameter::Since | Parameter::From | Parameter::To => time(),
        _ => json!({"type": "string", "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}),
    }
}

/// The headers of answers, by their names.
pub(super) fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "Location": text("Path of what was made, if it has one."),
        "Idempotent-Replayed": text("`true` if the same request was answered before."),
        "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
        "WWW-Authenticate": text("`Bearer`."),
        "RateLimit": text("Requests that the token has left, and the seconds until all are available."),
        "RateLimit-Policy": text("Requests that the token may make at once, and the seconds until all are available again."),
    })
}

/// The headers of a success.
pub(super) fn success_headers(call: &Call, status: u16) -> Map<String, Value> {
    let mut names = vec!["RateLimit", "RateLimit-Policy"];
    if matches!(status, 201 | 202) {
        names.push("Location");
    }
    if call.method == Method::Post && call.is_idempotent {
        names.push("Idempotent-Replayed");
    }
    names
        .into_iter()
        .map(|name| {
            (
                name.to_owned(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            )
        })
        .collect()
}
