//! The OpenAPI document, made of the table of calls, the validators' limits and the closed sets of
//! words.
//!
//! Schemas are written by hand: bodies are validated field by field so that every mistake is named,
//! and a derive would describe types that no request is read into. Tests hold both together: each
//! validator is probed at every limit of its schema, and each answer of the integration tests is
//! judged by the document.

mod parameters;
mod problems;
mod outgoing;
mod sites;
mod webhooks;
mod triggers;
mod goals;
mod deliveries;
mod tokens;
mod sending;
mod schema;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::call::{BodyRule, Call, Method};
use super::calls::CALLS;
use super::problem_type::ProblemType;

/// Path of the document.
pub(super) const PATH: &str = "/api/openapi.json";
/// Path of the page that is made of it.
pub(super) const PAGE_PATH: &str = "/api/docs";

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// The document: OpenAPI 3.1.
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

fn build() -> Value {
    let problems: Vec<Vec<ProblemType>> = CALLS.iter().map(problems::problems_of).collect();
    let mut schemas: Map<String, Value> = [
        sites::schemas(),
        webhooks::schemas(),
        goals::schemas(),
        deliveries::schemas(),
        tokens::schemas(),
        sending::schemas(),
        vec![("FieldError", problems::field_error())],
    ]
    .into_iter()
    .flatten()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect();
    schemas.extend(outgoing::schemas());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bellwether",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Webhooks for web analytics",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths(&problems),
        "webhooks": outgoing::section(),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "bw_…"}},
            "headers": parameters::headers(),
            "responses": problems::components(problems.iter().map(Vec::as_slice)),
            "schemas": schemas,
        },
    })
}

const DESCRIPTION: &str = "Times are RFC 3339 in UTC. Errors are problem documents (RFC 9457). Lists answer \
    `{\"data\": […], \"next\": …}`. A site outside the token's scope answers 404, as if it did not exist. Fields are only \
    ever added, so take those that you do not know.";

const TAGS: [(&str, &str); 7] = [
    ("Sites", "What events belong to."),
    ("Webhooks", "Endpoints of a site and their secrets."),
    ("Deliveries", "The history of a webhook."),
    ("Goals", "What a site counts as a success."),
    ("Visitors and alerts", "The present and the past of a site."),
    ("Tokens", "Who may call this API, and open the pages."),
    ("Outgoing events", "Requests that webhooks get."),
];

/// The tag of a call.
fn tag(call: &Call) -> &'static str {
    let has = |word: &str| call.path.contains(word);
    if has("/deliveries") || has("/recover") || has("/recoveries") {
        "Deliveries"
    } else if has("/webhooks") {
        "Webhooks"
    } else if has("/goals") {
        "Goals"
    } else if has("/tokens") || has("/portal-links") {
        "Tokens"
    } else if call.path.ends_with("/{site_id}") || call.path.ends_with("/sites") {
        "Sites"
    } else {
        "Visitors and alerts"
    }
}

fn paths(problems: &[Vec<ProblemType>]) -> Value {
    let mut paths = Map::new();
    for (call, problems) in CALLS.iter().zip(problems) {
        let item = paths
            .entry(call.path)
            .or_insert_with(|| json!({"parameters": parameters::of_path(call.path)}));
        item[call.method.as_str().to_ascii_lowercase()] = operation(call, problems);
    }
    let is_html = |path: &str| path == PAGE_PATH;
    for (path, summary) in [
        (PATH, "This document"),
        (PAGE_PATH, "This document as a page for people"),
    ] {
        let media = if is_html(path) {
            "text/html"
        } else {
            "application/json"
        };
        let schema = if is_html(path) { "string" } else { "object" };
        let response = json!({"description": summary, "content": {media: {"schema": {"type": schema}}}});
        let operation_id = if is_html(path) { "getDocs" } else { "getOpenapi" };
        let mut responses = Map::from_iter([("200".to_owned(), response)]);
        // They refuse parameters too.
        problems::add_responses(&[ProblemType::InvalidFields], &mut responses);
        paths.insert(
            path.to_owned(),
            json!({"get": {"operationId": operation_id, "summary": summary, "security": [],
                           "responses": responses}}),
        );
    }
    Value::Object(paths)
}

fn operation(call: &Call, problems: &[ProblemType]) -> Value {
    let mut operation = json!({
        "operationId": operation_id(call),
        "summary": call.summary,
        "description": parameters::rights(call.access),
        "tags": [tag(call)],
        "parameters": parameters::of_request(call),
        "responses": responses(call, problems),
    });
    if call.body != BodyRule::None {
        let media = json!({"schema": schema::reference(call.input)});
        let mut content = Map::new();
        if call.method == Method::Patch {
            content.insert("application/merge-patch+json".to_owned(), media.clone());
        }
        content.insert("application/json".to_owned(), media);
        operation["requestBody"] = json!({"required": call.body == BodyRule::Required, "content": content});
    }
    operation
}

/// The method, and the noun of the path: in the singular if it ends with an id.
fn operation_id(call: &Call) -> String {
    let mut segments = call.path.rsplit('/');
    let last = segments.next().unwrap_or_default();
    let noun = match last.starts_with('{') {
        true => singular(segments.next().unwrap_or_default()),
        false => last.to_owned(),
    };
    let mut id = call.method.as_str().to_ascii_lowercase();
    for word in noun.split('-') {
        let (first, rest) = word.split_at(word.len().min(1));
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}

fn singular(noun: &str) -> String {
    match noun.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => noun.trim_end_matches('s').to_owned(),
    }
}

fn responses(call: &Call, problems: &[ProblemType]) -> Value {
    let mut responses = Map::new();
    let statuses = [Some(call.success), call.may_create.then_some(201)];
    for status in statuses.into_iter().flatten() {
        responses.insert(status.to_string(), success(call, status));
    }
    problems::add_responses(problems, &mut responses);
    Value::Object(responses)
}

fn success(call: &Call, status: u16) -> Value {
    let description = match status {
        201 => "Created",
        202 => "Accepted",
        204 => "Done",
        _ => "OK",
    };
    let mut response =
        json!({"description": description, "headers": parameters::success_headers(call, status)});
    if !call.output.is_empty() {
        response["content"] = json!({"application/json": {"schema": schema::reference(call.output)}});
    }
    response
}

#[cfg(test)]
mod tests;
