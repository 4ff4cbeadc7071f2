//! Random bodies and patches.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::trigger::Triggers;

/// Any JSON, with the names of fields and settings more often than by chance.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        proptest::sample::select(FIELDS.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(vec![
            "visitor_spike",
            "goal_completion",
            "visitor_drop",
            "error_condition",
            "threshold",
            "error_events",
            "silence",
            "goal",
            "every",
            "goals",
            "names",
            "X-A"
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,130}".prop_map(Value::from),
        proptest::sample::select(vec![
            "visitor_spike",
            "visitor_drop",
            "error_condition",
            "custom_event",
            "https://a.example/x",
            "json",
            "default"
        ])
        .prop_map(Value::from),
        (0_u32..4_000).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(changes in any_json(), patch in any_json()) {
        let mut strange = body(json!({}));
        for json in [changes, patch] {
            if let Value::Object(map) = json {
                strange = merge::apply_to_webhook(&strange, "", &map);
            }
            let mut errors = FieldErrors::default();
            let object = BodyObject::root(&strange);
            refuse_other_fields(&object, &mut errors);
            let settings = read_settings(&object, &rules(), None, DateTime::UNIX_EPOCH, &mut errors);
            prop_assert!(settings.is_some() || !errors.is_empty());
            for error in errors.list() {
                prop_assert!(error.pointer.is_empty() || error.pointer.starts_with('/'));
                prop_assert!(!error.detail.is_empty());
            }
            if let Some(settings) = settings {
                // Accepted settings can be stored and read back.
                let stored = Value::Object(settings.triggers.to_json());
                prop_assert_eq!(Triggers::from_json(&settings.events, &stored), Some(settings.triggers.clone()));
                let written = to_body(&settings);
                let mut errors = FieldErrors::default();
                prop_assert_eq!(read_settings(&BodyObject::root(&written), &rules(), None, DateTime::UNIX_EPOCH, &mut errors), Some(settings));
            }
        }
    }
}
