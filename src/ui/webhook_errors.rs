//! Objections of the API to a webhook, at the fields of its form and in words for people.

use super::form::Form;
use super::form_errors::{FieldProblem, FormErrors};
use super::webhook_form::{HEADER_ROWS, event_fields, threshold_words, window_words};
use super::words::event_question;

/// Puts the API's objections to the places of the form, in words for people.
pub(super) fn errors(problems: &[FieldProblem], form: &Form, allow_http: bool) -> FormErrors {
    let mut errors = FormErrors::default();
    for problem in problems {
        if problem.pointer == NAMELESS_HEADER {
            for row in nameless_headers(form) {
                let words = format!("Header {} has a value but no name. Enter both", row + 1);
                errors.add(format!("header_name_{row}"), words);
            }
            continue;
        }
        let (field, words) = place(problem, form, allow_http);
        errors.add(field, words);
    }
    ask_again(&mut errors, form);
    errors
}

/// Asks for what a form that is shown again does not hold: secrets.
fn ask_again(errors: &mut FormErrors, form: &Form) {
    if form.text("secret_choice") == "own" && form.given("secret").is_some() {
        let words = "Enter your secret again: it is not shown";
        errors.add("secret".to_owned(), words.to_owned());
    }
    for row in 0..HEADER_ROWS {
        let field = format!("header_value_{row}");
        if form.given(&field).is_some() {
            let words = format!("Enter the value of header {} again: it is not shown", row + 1);
            errors.add(field, words);
        }
    }
}

/// The headers that the form names twice: the API would be sent one of them.
pub(super) fn headers_named_twice(form: &Form) -> FormErrors {
    let mut errors = FormErrors::default();
    let name_of = |row: usize| form.given(&format!("header_name_{row}"));
    for row in 1..HEADER_ROWS {
        let is_again = |earlier: usize| name_of(earlier).is_some_and(|name| name_of(row) == Some(name));
        if (0..row).any(is_again) {
            let words = format!("Header {} has the name of another one", row + 1);
            errors.add(format!("header_name_{row}"), words);
        }
    }
    if !errors.is_empty() {
        ask_again(&mut errors, form);
    }
    errors
}

/// Pointer to a header whose name is empty.
const NAMELESS_HEADER: &str = "/headers/";

/// The rows of headers that have a value alone.
fn nameless_headers(form: &Form) -> impl Iterator<Item = usize> {
    (0..HEADER_ROWS).filter(|row| {
        let has = |part: &str| form.given(&format!("header_{part}_{row}")).is_some();
        has("value") && !has("name")
    })
}

fn place(problem: &FieldProblem, form: &Form, allow_http: bool) -> (String, String) {
    let parts: Vec<&str> = problem.pointer.split('/').skip(1).collect();
    let detail = problem.reason();
    match parts[..] {
        ["url"] => ("url".to_owned(), url_words(problem, form, allow_http)),
        ["events", ..] => {
            let first = event_fields().first().map_or("events", |field| field.word);
            (
                first.to_owned(),
                "Tick at least one thing to be told about".to_owned(),
            )
        }
        ["triggers", event, ref rest @ ..] => trigger_place(problem, event, rest, &detail),
        ["secret"] => ("secret".to_owned(), format!("Your secret: {detail}")),
        ["headers"] => ("header_name_0".to_owned(), format!("Headers: {detail}")),
        ["headers", name] => {
            let row = (0..HEADER_ROWS).find(|row| form.text(&format!("header_name_{row}")) == name);
            let part = match problem.code.as_str() {
                "empty" => "value",
                _ => "name",
            };
            let field = format!("header_{part}_{}", row.unwrap_or(0));
            let words = match problem.code.as_str() {
                "reserved" => format!("Header {name} is set by us: give yours another name"),
                _ => format!("Header {name}: {detail}"),
            };
            (field, words)
        }
        ["rate_limit_per_second"] => (
            "rate_limit".to_owned(),
            "Enter a number from 1 to 10000, or leave it empty for no limit".to_owned(),
        ),
        ["max_concurrency"] => (
            "max_concurrency".to_owned(),
            "Enter a number of requests from 1 to 100".to_owned(),
        ),
        ["failure_threshold"] => (
            "failure_threshold".to_owned(),
            "Enter a number of deliveries from 1 to 100".to_owned(),
        ),
        ["max_age_seconds"] => (
            "max_age".to_owned(),
            "Enter a number of seconds from 1 to 2592000, or leave it empty".to_owned(),
        ),
        [name] => (name.to_owned(), detail),
        _ => ("name".to_owned(), detail),
    }
}

fn trigger_place(problem: &FieldProblem, event: &str, rest: &[&str], detail: &str) -> (String, String) {
    let question = event_question(event);
    match rest.first().copied() {
        None | Some("threshold") if problem.code == "required" => (
            format!("{event}_threshold"),
            format!("You ticked {}: enter a number", short_question(question)),
        ),
        Some("threshold") => (
            format!("{event}_threshold"),
            format!("Enter a whole number of visitors, {}", threshold_words(event)),
        ),
        Some("window_seconds") => (
            format!("{event}_window"),
            format!("Enter a number of seconds {}", window_words(event)),
        ),
        Some("goals" | "names") => (format!("{event}_names"), format!("{question}: {detail}")),
        _ => (event.to_owned(), format!("{question}: {detail}")),
    }
}

/// Start of the API's reason for an address that it refuses.
const NOT_CALLED: &str = "the address in the URL may not be called";

/// `More visitors` of `More visitors than usual`.
fn short_question(question: &str) -> &str {
    question.strip_suffix(" than usual").unwrap_or(question)
}

fn url_words(problem: &FieldProblem, form: &Form, allow_http: bool) -> String {
    let url = form.text("url");
    let is_https = url
        .get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    let is_http = url
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("http://"));
    let is_allowed = is_https || is_http && allow_http;
    if !is_allowed {
        return match allow_http {
            true => "Enter an address that starts with https:// or http://".to_owned(),
            false => "Enter an address that starts with https://".to_owned(),
        };
    }
    // The block of an address and where that is written are not for everybody.
    match problem.detail.starts_with(NOT_CALLED) {
        true => "We may not send to this address: it is not one of the public internet".to_owned(),
        false => format!("Address: {}", problem.reason()),
    }
}
