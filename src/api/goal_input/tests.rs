//! Every field of a goal: good, bad, several bad at once.

use serde_json::json;

use super::*;

fn read(body: &Value) -> Result<GoalSettings, Vec<(String, &'static str)>> {
    let mut errors = FieldErrors::default();
    let settings = read_settings(
        &BodyObject::root(body.as_object().expect("an object")),
        &mut errors,
    );
    settings.ok_or_else(|| {
        errors
            .into_list()
            .into_iter()
            .map(|error| (error.pointer, error.code.as_str()))
            .collect()
    })
}

fn refused(body: Value, wanted: &[(&str, &str)]) {
    let found = read(&body).expect_err(&format!("{body} is refused"));
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(pointer, code)| (pointer.as_str(), *code))
        .collect();
    assert_eq!(found, wanted, "{body}");
}

#[test]
fn each_kind_of_goal_is_read() {
    let event = GoalRule::Event {
        event: "Signup".into(),
    };
    assert_eq!(
        read(&json!({"name": "n", "kind": "event", "event": "Signup"}))
            .expect("valid")
            .rule,
        event
    );
    let page = GoalRule::Page {
        path: "/blog*".into(),
    };
    assert_eq!(
        read(&json!({"name": "n", "kind": "page", "path": "/blog*"}))
            .expect("valid")
            .rule,
        page
    );
    let scroll = GoalRule::Scroll {
        path: "/**".into(),
        scroll_threshold: 75,
    };
    let body = json!({"name": "n", "kind": "scroll", "path": "/**", "scroll_threshold": 75, "event": null});
    assert_eq!(read(&body).expect("valid").rule, scroll);
}

#[test]
fn a_path_that_can_never_match_is_refused() {
    let goal = |path: &str| json!({"name": "n", "kind": "page", "path": path});
    for path in [
        "/a?b=1",
        "/a#top",
        "?",
        " /a",
        "/a ",
        "https://example.com/a",
        "HTTP://x",
    ] {
        refused(goal(path), &[("/path", "invalid")]);
    }
    for path in [
        "/a b",
        "/a\u{a0}",
        "/**",
        "*",
        "/redirect/https://example.com",
        "://",
    ] {
        assert!(read(&goal(path)).is_ok(), "{path}");
    }
}

#[test]
fn each_kind_of_goal_has_its_own_fields() {
    refused(json!({"name": "n", "kind": "event"}), &[("/event", "required")]);
    refused(
        json!({"name": "n", "kind": "page", "event": "x"}),
        &[("/event", "not_applicable"), ("/path", "required")],
    );
    refused(
        json!({"name": "n", "kind": "scroll", "path": "/"}),
        &[("/scroll_threshold", "required")],
    );
    refused(
        json!({"name": "n", "kind": "page", "path": "/", "scroll_threshold": 5}),
        &[("/scroll_threshold", "not_applicable")],
    );
}

#[test]
fn fields_of_a_goal_have_limits() {
    let page = |field: &str, value: Value| {
        let mut body = json!({"name": "n", "kind": "page", "path": "/"});
        body[field] = value;
        body
    };
    for (field, good, bad, code) in [
        ("name", json!("ü".repeat(120)), json!("ü".repeat(121)), "too_long"),
        ("name", json!("n"), json!(""), "empty"),
        ("name", json!("n"), json!("a\0b"), "control_character"),
        (
            "path",
            json!(format!("/{}", "x".repeat(1999))),
            json!("x".repeat(2001)),
            "too_long",
        ),
        ("path", json!("/"), json!(5), "wrong_type"),
        ("kind", json!("page"), json!("funnel"), "unknown"),
        (
            "props",
            json!({"a": "1", "b": "", "c": "3"}),
            json!({"a": "1", "b": "2", "c": "3", "d": "4"}),
            "too_many",
        ),
        ("props", json!({}), json!(["a"]), "wrong_type"),
        ("colour", json!(null), json!(null), "unknown_field"),
    ] {
        if field != "colour" {
            assert!(read(&page(field, good.clone())).is_ok(), "{field} {good}");
        }
        refused(page(field, bad), &[(&format!("/{field}"), code)]);
    }
    for (threshold, ok) in [
        (json!(0), true),
        (json!(100), true),
        (json!(101), false),
        (json!(-1), false),
    ] {
        let body = json!({"name": "n", "kind": "scroll", "path": "/", "scroll_threshold": threshold});
        assert_eq!(read(&body).is_ok(), ok, "{body}");
    }
    for (props, pointer, code) in [
        (json!({"a": 1}), "/props/a", "wrong_type"),
        (json!({"a": null}), "/props/a", "wrong_type"),
        (json!({"a": "x".repeat(2001)}), "/props/a", "too_long"),
        (json!({"": "x"}), "/props/", "empty"),
    ] {
        refused(page("props", props), &[(pointer, code)]);
    }
    let long = "x".repeat(301);
    refused(
        page("props", json!({long.as_str(): "x"})),
        &[(&format!("/props/{long}"), "too_long")],
    );
}

#[test]
fn every_bad_field_is_named_at_once() {
    refused(
        json!({"name": "n", "kind": "page", "path": "/", "props": {"a": 1, "b": "2", "c": "3", "d": "4"}}),
        &[("/props", "too_many"), ("/props/a", "wrong_type")],
    );
    refused(json!({}), &[("/name", "required"), ("/kind", "required")]);
    refused(
        json!({"nam": "x", "id": "goal_1", "name": 5, "kind": "scroll", "path": "", "scroll_threshold": 500, "props": 1}),
        &[
            ("/id", "read_only"),
            ("/nam", "unknown_field"),
            ("/name", "wrong_type"),
            ("/path", "empty"),
            ("/scroll_threshold", "out_of_range"),
            ("/props", "wrong_type"),
        ],
    );
}

#[test]
fn a_path_that_no_event_can_have_is_refused() {
    for path in [
        "/thanks?id=1",
        "/thanks#top",
        "https://example.com/thanks",
        " /thanks",
        "/thanks ",
        "/*a*b*c*d*e*f*g*h*i",
        "/**/**/**/**/*",
    ] {
        refused(
            json!({"name": "n", "kind": "page", "path": path}),
            &[("/path", "invalid")],
        );
    }
    for path in ["/a*b*c*d*e*f*g*h*i", "/**/**/**/**", "/caf%C3%A9", "/a b"] {
        assert!(
            read(&json!({"name": "n", "kind": "page", "path": path})).is_ok(),
            "{path}"
        );
    }
}
