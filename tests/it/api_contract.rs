//! The OpenAPI document as a judge: every answer that a test reads must be one that it describes.

use std::collections::HashMap;
use std::sync::LazyLock;

use bellwether::api::{self, CALLS, Call};
use jsonschema::Validator;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::api_support::{Answer, Api};

/// Answers that are described, by operation and status.
static JUDGE: LazyLock<Described> = LazyLock::new(described);

type Described = HashMap<(String, u16), DescribedAnswer>;

struct DescribedAnswer {
    /// Media type; empty without a body.
    media: String,
    validator: Option<Validator>,
}

fn described() -> Described {
    let mut document = api::openapi().clone();
    close(&mut document["components"]);
    let mut all = HashMap::new();
    for call in CALLS {
        let operation = &document["paths"][call.path][call.method.as_str().to_ascii_lowercase()];
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let response = match response["$ref"].as_str() {
                Some(path) => document
                    .pointer(path.trim_start_matches('#'))
                    .expect("a response"),
                None => response,
            };
            let content = response["content"]
                .as_object()
                .and_then(|content| content.iter().next());
            let (media, validator) = match content {
                Some((media, body)) => (media.clone(), Some(validator(&document, &body["schema"]))),
                None => (String::new(), None),
            };
            let status = status.parse().expect("a status");
            all.insert((name(&call), status), DescribedAnswer { media, validator });
        }
    }
    all
}

fn name(call: &Call) -> String {
    format!("{} {}", call.method, call.path)
}

fn validator(document: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("a schema")
}

/// Takes fields that are not described for mistakes, which readers of the document must not.
fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.get("properties").is_some_and(Value::is_object) && map.contains_key("required") {
                map.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// The call whose pattern a path has.
fn find_call(method: &str, path: &str) -> Option<Call> {
    let segments: Vec<&str> = path.split('/').collect();
    CALLS.into_iter().find(|call| {
        let pattern: Vec<&str> = call.path.split('/').collect();
        let mut pairs = pattern.iter().zip(&segments);
        call.method.as_str() == method
            && pattern.len() == segments.len()
            && pairs.all(|(wanted, given)| wanted.starts_with('{') && !given.is_empty() || wanted == given)
    })
}

/// Fails if the document does not describe the answer. What is no call of the table has no
/// contract.
#[track_caller]
pub(crate) fn judge(method: &str, path: &str, answer: &Answer) {
    let Some(call) = find_call(method, path) else {
        return;
    };
    let name = name(&call);
    let described = JUDGE.get(&(name.clone(), answer.status));
    let DescribedAnswer { media, validator } =
        described.unwrap_or_else(|| panic!("{name} answers {}, undocumented", answer.status));
    let given = answer
        .headers
        .get("content-type")
        .map_or("", |value| value.to_str().expect("text"));
    assert_eq!(given, media, "{name} {}", answer.status);
    if let Some(validator) = validator {
        let errors: Vec<String> = validator
            .iter_errors(&answer.body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "{name} {}: {errors:#?}\n{:#}",
            answer.status,
            answer.body
        );
    }
}

/// The first example of the body that a call takes; `None` for a call without a body.
pub(crate) fn described_body(call: &Call) -> Option<Value> {
    let document = api::openapi();
    let method = call.method.as_str().to_ascii_lowercase();
    let content = &document["paths"][call.path][method]["requestBody"]["content"];
    let schema = content["application/json"]["schema"]["$ref"].as_str()?;
    let schema = document
        .pointer(schema.trim_start_matches('#'))
        .expect("a schema");
    Some(schema["examples"][0].clone())
}

#[sqlx::test]
async fn the_document_and_its_page_need_no_token(pool: PgPool) {
    let api = Api::start(pool).await;
    let fetch = async |path: &str| api.request("GET", path).send().await.expect("an answer");
    let document = fetch("/api/openapi.json").await;
    assert_eq!(document.status(), 200);
    assert_eq!(document.headers()["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&document.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(&body, api::openapi());
    assert_eq!(body["openapi"], "3.1.0");

    let page = fetch("/api/docs").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = page.text().await.expect("text");
    assert!(html.contains("href=\"/api/docs.css\""), "{html}");
    let style = fetch("/api/docs.css").await;
    assert_eq!(style.status(), 200);
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    for path in ["/api/openapi.json", "/api/docs"] {
        let refused = api.request("POST", path).send().await.expect("an answer");
        assert_eq!(refused.status(), 405, "{path}");
    }
}

#[test]
#[should_panic(expected = "undocumented")]
fn an_answer_that_is_not_documented_fails_a_test() {
    let answer = Answer {
        status: 418,
        headers: Default::default(),
        body: Value::Null,
    };
    judge("GET", "/api/sites", &answer);
}

#[test]
fn every_calls_success_and_problems_are_described() {
    for call in CALLS {
        let described = |status: u16| {
            let found = JUDGE.get(&(name(&call), status));
            found.unwrap_or_else(|| panic!("{} answers {status}, undocumented", name(&call)))
        };
        let success = described(call.success);
        assert_eq!(
            success.validator.is_some(),
            call.success != 204,
            "{}",
            name(&call)
        );
        for status in [401, 422, 429, 500, 503] {
            let problem = described(status);
            assert_eq!(
                problem.media,
                "application/problem+json",
                "{} {status}",
                name(&call)
            );
            assert!(problem.validator.is_some(), "{} {status}", name(&call));
        }
    }
}

#[test]
#[should_panic(expected = "is not of type")]
fn a_writes_answer_of_another_form_fails_a_test() {
    let headers = [("content-type", "application/json")]
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    let answer = Answer {
        status: 200,
        headers: headers.into_iter().collect(),
        body: json!([]),
    };
    judge("PUT", "/api/sites/a", &answer);
}

#[test]
#[should_panic(expected = "Additional properties")]
fn a_field_that_is_not_documented_fails_a_test() {
    let headers = [("content-type", "application/json")]
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    let body = json!({"data": [], "next": null, "extra": 1});
    judge(
        "GET",
        "/api/sites",
        &Answer {
            status: 200,
            headers: headers.into_iter().collect(),
            body,
        },
    );
}
