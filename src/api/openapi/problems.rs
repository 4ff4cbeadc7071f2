//! The problems of each call, as responses.

use serde_json::{Map, Value, json};

use super::schema::{about, any_text, partial, word};
use crate::api::call::{Access, BodyRule, Call, Method};
use crate::api::field_errors::FieldCode;
use crate::api::problem_type::ProblemType;

/// The problems that a call may answer with.
pub(super) fn problems_of(call: &Call) -> Vec<ProblemType> {
    use ProblemType::{
        BodyTooLarge, Forbidden, HeadersTooLarge, IdempotencyKeyInFlight, IdempotencyKeyReused, Internal,
        InvalidFields, InvalidIdempotencyKey, MalformedJson, MalformedRequest, NotFound, RateLimited,
        RequestTimeout, TooManyFailedLogins, Unauthenticated, Unavailable, UnsupportedMediaType, UriTooLong,
    };
    let mut all = vec![
        Unauthenticated,
        RateLimited,
        TooManyFailedLogins,
        Internal,
        Unavailable,
        // What the HTTP parser cannot read.
        MalformedRequest,
        UriTooLong,
        HeadersTooLarge,
        // Also a call without parameters refuses those that it is given.
        InvalidFields,
    ];
    if matches!(call.access, Access::Editor | Access::Admin) {
        all.push(Forbidden);
    }
    if call.path.contains('{') {
        all.push(NotFound);
    }
    if call.body != BodyRule::None {
        all.extend([MalformedJson, RequestTimeout, BodyTooLarge, UnsupportedMediaType]);
    }
    if call.method == Method::Post && call.is_idempotent {
        all.extend([
            InvalidIdempotencyKey,
            IdempotencyKeyInFlight,
            IdempotencyKeyReused,
        ]);
    }
    all.extend(call.problems);
    all.sort_unstable();
    all.dedup();
    all
}

/// Adds the responses of `problems` to `responses`, one for each status.
pub(super) fn add_responses(problems: &[ProblemType], responses: &mut Map<String, Value>) {
    for (status, types) in by_status(problems) {
        let reference = json!({"$ref": format!("#/components/responses/{}", response_name(&types))});
        responses.insert(status.to_string(), reference);
    }
}

/// Every response that [`add_responses`] refers to, by its name.
pub(super) fn components<'a>(calls: impl Iterator<Item = &'a [ProblemType]>) -> Map<String, Value> {
    let mut all = Map::new();
    for problems in calls {
        for (_, types) in by_status(problems) {
            all.entry(response_name(&types))
                .or_insert_with(|| response(&types));
        }
    }
    all
}

fn by_status(problems: &[ProblemType]) -> Vec<(u16, Vec<ProblemType>)> {
    let mut statuses: Vec<(u16, Vec<ProblemType>)> = Vec::new();
    for one in problems {
        let status = one.status().as_u16();
        match statuses.iter_mut().find(|(other, _)| *other == status) {
            Some((_, types)) => types.push(*one),
            None => statuses.push((status, vec![*one])),
        }
    }
    statuses
}

fn response_name(types: &[ProblemType]) -> String {
    let words: Vec<&str> = types.iter().map(|one| one.as_str()).collect();
    words.join(".")
}

fn response(types: &[ProblemType]) -> Value {
    let titles: Vec<&str> = types.iter().map(|one| one.title()).collect();
    let examples: Map<String, Value> = types
        .iter()
        .map(|one| (one.as_str().to_owned(), json!({"value": example(*one)})))
        .collect();
    let mut response = json!({
        "description": titles.join(", or: "),
        "content": {"application/problem+json": {"schema": schema(types), "examples": examples}},
    });
    let headers: Map<String, Value> = types
        .iter()
        .flat_map(|one| headers_of(*one))
        .map(|name| {
            (
                (*name).to_owned(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            )
        })
        .collect();
    if !headers.is_empty() {
        response["headers"] = Value::Object(headers);
    }
    response
}

fn headers_of(one: ProblemType) -> &'static [&'static str] {
    match one {
        ProblemType::RateLimited
        | ProblemType::TooManyFailedLogins
        | ProblemType::TooManyTests
        | ProblemType::IdempotencyKeyInFlight => &["Retry-After"],
        ProblemType::Unauthenticated => &["WWW-Authenticate"],
        _ => &[],
    }
}

/// A problem of one of `types`, which have one status.
fn schema(types: &[ProblemType]) -> Value {
    let words: Vec<String> = types.iter().map(|one| one.urn()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let status = types.first().map_or(0, |one| one.status().as_u16());
    let mut fields = vec![
        ("type", about(word(&words), "Programs may rely on it.")),
        ("title", any_text()),
        ("status", json!({"const": status})),
        ("detail", about(any_text(), "A sentence for people.")),
    ];
    if types.contains(&ProblemType::InvalidFields) {
        fields.push((
            "errors",
            json!({"type": "array", "maxItems": 100, "items": {"$ref": "#/components/schemas/FieldError"}}),
        ));
    }
    partial(&["type", "title", "status", "detail"], fields)
}

/// The schema of one bad field.
pub(super) fn field_error() -> Value {
    partial(
        &["pointer", "code", "detail"],
        vec![
            (
                "pointer",
                about(
                    any_text(),
                    "A JSON pointer into the body, or `/` and the name of a parameter.",
                ),
            ),
            ("code", word(FieldCode::WORDS)),
            ("detail", any_text()),
        ],
    )
}

fn example(one: ProblemType) -> Value {
    let mut example = json!({
        "type": one.urn(), "title": one.title(), "status": one.status().as_u16(), "detail": "A sentence that says more.",
    });
    if one == ProblemType::InvalidFields {
        example["detail"] = json!("/url: A URL starts with https://.");
        example["errors"] =
            json!([{"pointer": "/url", "code": "invalid", "detail": "A URL starts with https://."}]);
    }
    example
}
