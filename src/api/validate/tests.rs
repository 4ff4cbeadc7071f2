//! Reading fields: types, limits, pointers.

use serde_json::json;

use super::*;

fn codes(value: &Value, read: impl Fn(&BodyObject<'_>, &mut FieldErrors)) -> Vec<(String, &'static str)> {
    let mut errors = FieldErrors::default();
    read(
        &BodyObject::root(value.as_object().expect("an object")),
        &mut errors,
    );
    errors
        .into_list()
        .into_iter()
        .map(|error| (error.pointer, error.code.as_str()))
        .collect()
}

#[test]
fn only_whole_numbers_in_range_are_integers() {
    for (value, wanted) in [
        (json!(1), None),
        (json!(300.0), None),
        (json!(3600), None),
        (json!(0), Some("out_of_range")),
        (json!(3601), Some("out_of_range")),
        (json!(-1), Some("out_of_range")),
        (json!(1.5), Some("out_of_range")),
        (json!(1e300), Some("out_of_range")),
        (json!(u64::MAX), Some("out_of_range")),
        (json!("300"), Some("wrong_type")),
        (json!(true), Some("wrong_type")),
        (json!([1]), Some("wrong_type")),
        (json!(null), None),
    ] {
        let found = codes(&json!({"n": value}), |object, errors| {
            object.integer("n", 1..=3600, errors);
        });
        assert_eq!(found.first().map(|(_, code)| *code), wanted, "{value}");
    }
}

#[test]
fn texts_are_counted_in_characters_without_controls() {
    for (value, wanted) in [
        (json!("ü".repeat(10)), None),
        (json!("ü".repeat(11)), Some("too_long")),
        (json!(""), Some("empty")),
        (json!(" \t "), Some("empty")),
        (json!("a\0b"), Some("control_character")),
        (json!("a\nb"), Some("control_character")),
        (json!("a\u{85}b"), Some("control_character")),
        (json!(1), Some("wrong_type")),
    ] {
        let found = codes(&json!({"t": value}), |object, errors| {
            object.text("t", 10, errors);
        });
        assert_eq!(found.first().map(|(_, code)| *code), wanted, "{value}");
    }
}

#[test]
fn a_pointer_escapes_tilde_and_slash() {
    let found = codes(&json!({"a/b~c": 1}), |object, errors| {
        object.refuse_unknown(&["name"], errors)
    });
    assert_eq!(found, [("/a~1b~0c".to_owned(), "unknown_field")]);
}

#[test]
fn a_list_of_texts_names_each_bad_entry() {
    let found = codes(&json!({"l": ["a", 1, "a", ""]}), |object, errors| {
        object.texts("l", 5, 10, errors);
    });
    let wanted = [("/l/1", "wrong_type"), ("/l/2", "duplicate"), ("/l/3", "empty")];
    assert_eq!(found, wanted.map(|(pointer, code)| (pointer.to_owned(), code)));
    let found = codes(&json!({"l": ["a", "b", 1]}), |object, errors| {
        object.texts("l", 2, 10, errors);
    });
    let wanted = [("/l", "too_many"), ("/l/2", "wrong_type")];
    assert_eq!(found, wanted.map(|(pointer, code)| (pointer.to_owned(), code)));
}

#[test]
fn a_body_of_mistakes_gets_a_bounded_answer() {
    let body: Map<String, Value> = (0..5_000)
        .map(|n| (format!("{n}{}", "x".repeat(500)), json!(1)))
        .collect();
    let mut errors = FieldErrors::default();
    BodyObject::root(&body).refuse_unknown(&["name"], &mut errors);
    assert_eq!((errors.list().len(), errors.count()), (100, 5_000));
    assert!(
        errors
            .list()
            .iter()
            .all(|error| error.detail.chars().count() < 200)
    );
}

#[test]
fn a_time_lies_in_the_years_that_answers_can_show() {
    for (text, wanted) in [
        ("2026-02-25T12:00:00Z", vec![]),
        ("0000-01-01T00:00:00Z", vec![]),
        ("9999-12-31T23:59:59Z", vec![]),
        ("9999-12-31T23:59:59-00:01", vec![("/t".to_owned(), "invalid")]),
        ("0000-01-01T00:00:00+00:01", vec![("/t".to_owned(), "invalid")]),
        ("+10000-01-01T00:00:00Z", vec![("/t".to_owned(), "invalid")]),
    ] {
        let found = codes(&json!({"t": text}), |object, errors| {
            object.time("t", errors);
        });
        assert_eq!(found, wanted, "{text}");
    }
}
