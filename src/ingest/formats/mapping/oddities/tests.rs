use serde_json::json;

use super::super::tests::{PAGE, PLAUSIBLE, POSTHOG, TRACK, read, reader, refused, texts, with};
use super::*;
use crate::config::SourceFormat;
use crate::domain::event::EventKind;
use crate::domain::reject::{NotAnEvent, RejectReason};

fn jitsu(call: Value, more: Value) -> Event<'static> {
    let wrapper = json!({"messageId": "w-1", "origin": {"domain": "data.example"}, "httpPayload": call});
    read(SourceFormat::Segment, &with(&wrapper.to_string(), more))
}

#[test]
fn an_empty_place_of_a_jitsu_call_hides_no_other() {
    let call = json!({"type": "page", "anonymousId": "a"});
    for (name, empty) in [
        ("writeKey", json!("")),
        ("writeKey", json!(null)),
        ("context", json!({"page": {"url": ""}})),
        ("context", json!({"page": {"url": null, "host": null}})),
        ("context", json!({"page": {"url": "about:blank"}})),
        ("messageId", json!("")),
    ] {
        let mut call = call.clone();
        call[name] = empty;
        let event = jitsu(call.clone(), json!({}));
        assert_eq!(event.site_id, "data.example", "{call}");
        assert_eq!(event.event_id.as_deref(), Some("w-1"), "{call}");
    }
    assert_eq!(
        jitsu(call.clone(), json!({"writeKey": ""})).site_id,
        "data.example"
    );
    let typeless = json!({"type": null, "anonymousId": "a"});
    assert_eq!(jitsu(typeless, json!({"type": "page"})).kind, EventKind::Pageview);
}

#[test]
fn names_with_a_dollar_are_properties_but_for_posthogs() {
    let plausible = with(PLAUSIBLE, json!({"meta_key": ["$plan"], "meta_value": ["pro"]}));
    let segment = with(PAGE, json!({"properties": {"$plan": "pro"}}));
    let plan = texts(&[("$plan", "pro")]);
    assert_eq!(read(SourceFormat::Plausible, &plausible).props, plan);
    assert_eq!(read(SourceFormat::Segment, &segment).props, plan);
    let posthog = with(POSTHOG, json!({"properties": {"$plan": "pro"}}));
    assert_eq!(read(SourceFormat::Posthog, &posthog).props, texts(&[]));
}

#[test]
fn plausibles_padding_is_cut_and_other_nuls_are_refused() {
    let padded = json!({"revenue_amount": "1", "revenue_currency": "EU\u{0}"});
    let event = read(SourceFormat::Plausible, &with(PLAUSIBLE, padded));
    assert_eq!(&*event.revenue.expect("a revenue").currency, "EU");
    let reader = reader(SourceFormat::Plausible, None);
    for (changes, field) in [
        (json!({"pathname": "/a\u{0}"}), "path"),
        (json!({"pathname": "/a\u{0}b"}), "path"),
        (json!({"name": "Sign\u{0}"}), "name"),
        (json!({"user_id": "1\u{0}", "session_id": null}), "visitor_id"),
        (
            json!({"revenue_amount": "1", "revenue_currency": "E\u{0}U"}),
            "revenue.currency",
        ),
    ] {
        let wrong = refused(&reader, &with(PLAUSIBLE, changes));
        assert_eq!((wrong.0, wrong.1), (RejectReason::BadField, Some(field)));
    }
}

#[test]
fn unreadable_properties_of_posthog_are_the_sites_reject() {
    let record = with(POSTHOG, json!({"properties": "{"}));
    match reader(SourceFormat::Posthog, None).read(record.as_bytes(), &[]) {
        Err(NotAnEvent::Rejected(reject)) => assert_eq!(reject.site_id.as_deref(), Some("2")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn posthogs_properties_may_begin_with_a_byte_order_mark() {
    let record = with(
        POSTHOG,
        json!({"properties": "\u{feff}{\"$pathname\":\"/x\\ud83d\"}"}),
    );
    let event = read(SourceFormat::Posthog, &record);
    assert_eq!(event.path.as_deref(), Some("/x\u{fffd}"));
}

#[test]
fn posthogs_migration_is_true_in_every_spelling() {
    for (given, historical) in [
        (json!(true), true),
        (json!(1), true),
        (json!("1"), true),
        (json!("true"), true),
        (json!("True"), true),
        (json!(false), false),
        (json!(0), false),
        (json!("0"), false),
        (json!("false"), false),
        (json!(null), false),
        (json!(""), false),
    ] {
        let event = read(
            SourceFormat::Posthog,
            &with(POSTHOG, json!({"historical_migration": given})),
        );
        assert_eq!(event.historical, historical, "{given}");
    }
    let reader = reader(SourceFormat::Posthog, None);
    for given in [json!({}), json!([]), json!(2), json!(1.5), json!("yes")] {
        let wrong = refused(&reader, &with(POSTHOG, json!({"historical_migration": given})));
        assert_eq!(
            (wrong.0, wrong.1),
            (RejectReason::BadField, Some("historical")),
            "{given}"
        );
    }
}

#[test]
fn segments_properties_need_not_be_an_amount() {
    let reader = reader(SourceFormat::Segment, Some("s"));
    for properties in [
        json!({"revenue": [1], "currency": "USD"}),
        json!({"revenue": true, "currency": "USD"}),
        json!({"revenue": 1, "currency": ["USD"]}),
        json!({"revenue": 1, "currency": "x".repeat(33)}),
        json!({"revenue": 1, "currency": "U\nD"}),
        json!({"currency": "USD"}),
    ] {
        let record = with(TRACK, json!({"properties": properties}));
        let event = reader.read(record.as_bytes(), &[]).expect("an event");
        assert_eq!(event.revenue, None, "{properties}");
    }
    let huge = TRACK.replace("25.0", "1e999");
    let event = reader.read(huge.as_bytes(), &[]).expect("an event");
    assert_eq!(event.revenue, None, "no amount is made up");
}
