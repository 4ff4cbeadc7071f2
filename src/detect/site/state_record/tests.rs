use bytes::Bytes;
use uuid::Uuid;

use super::trigger::StoredTrigger;
use super::*;
use crate::detect::site::condition::{Condition, CountSettings};
use crate::detect::tests::fixtures::spike_settings;
use crate::domain::id::NotificationId;
use crate::domain::trigger::{DropSettings, ErrorSettings};
use proptest::prelude::*;

#[test]
fn a_newer_version_differs_from_an_unreadable_record() {
    let newer = br#"{"v":3,"site":7,"else":[]}"#;
    assert!(matches!(
        StoredState::from_bytes(newer),
        Err(StateError::Newer { found: 3 })
    ));
    for bytes in [b"".as_slice(), b"{}", b"[]", br#"{"v":1}"#, br#"{"v":-1}"#] {
        assert!(matches!(
            StoredState::from_bytes(bytes),
            Err(StateError::Unreadable(_))
        ));
    }
}

#[test]
fn the_words_for_a_sites_clock_are_those_of_every_version() {
    for (clock, word) in [
        (StoredClock::Live, "\"live\""),
        (StoredClock::Log, "\"log\""),
        (StoredClock::Undecided, "\"untold\""),
    ] {
        assert_eq!(serde_json::to_string(&clock).expect("a word"), word);
    }
}

#[test]
fn a_body_is_kept_byte_for_byte() {
    let body = r#"{"b":"\u00e9 é","a":1.0}"#;
    let decision = Decision {
        id: NotificationId::from_uuid(Uuid::from_u128(7)),
        event: EventType::VisitorSpike,
        site_id: "example.com".parse().expect("valid"),
        body: Bytes::from_static(body.as_bytes()),
        webhooks: vec![WebhookId::from_uuid(Uuid::from_u128(8))],
        created_at_ms: 9,
        record: None,
        episode: Some(Uuid::from_u128(10)),
    };
    let mut stored = StoredState::new(decision.site_id.clone(), 5, BTreeMap::new());
    stored
        .unconfirmed
        .push(StoredDecision::new(Uuid::from_u128(10), &decision).to_raw());
    let read = StoredState::from_bytes(&stored.to_parts()[0]).expect("readable");
    let again = StoredDecision::read(&read.unconfirmed[0]).expect("known");
    let (episode, again) = again.into_decision(read.site.clone());
    assert_eq!((episode, again), (Uuid::from_u128(10), decision));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = StoredState::from_bytes(&bytes);
    }
}

#[test]
fn every_condition_is_read_as_it_was_written() {
    let name = |text: &str| Some(text.to_owned());
    let count = CountSettings {
        name: "404".to_owned(),
        at_least: 3,
        within_seconds: 60,
    };
    let errors = |event| ErrorSettings::ErrorEvents {
        count: 3,
        event,
        window_seconds: 300,
    };
    let conditions = [
        Condition::VisitorSpike(spike_settings(3, 300)),
        Condition::VisitorDrop(DropSettings {
            threshold: 3,
            window_seconds: 300,
            require_history: true,
        }),
        Condition::Errors(errors(None)),
        Condition::Errors(errors(name("404"))),
        Condition::Errors(ErrorSettings::RejectedEvents {
            count: 3,
            window_seconds: 300,
        }),
        Condition::Errors(ErrorSettings::Silence { goal: None }),
        Condition::Errors(ErrorSettings::Silence { goal: name("Signup") }),
        Condition::GoalCompletion(count.clone()),
        Condition::CustomEvent(count),
    ];
    for condition in conditions {
        let mut state = StoredState::new("a".parse().expect("a site id"), 7, BTreeMap::new());
        state.triggers = vec![AnyTrigger::Known(StoredTrigger::armed(condition.clone()))];
        let written = state.to_parts();
        let read = StoredState::from_bytes(&written[0]).expect("readable");
        let triggers: Vec<_> = read
            .triggers
            .iter()
            .map(|one| match one {
                AnyTrigger::Known(known) => Some(&known.condition),
                AnyTrigger::Foreign { .. } => None,
            })
            .collect();
        assert_eq!(
            triggers,
            [Some(&condition)],
            "{}",
            String::from_utf8_lossy(&written[0])
        );
    }
}
