use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn record() -> DeliveryRecord {
    DeliveryRecord {
        delivery_id: DeliveryId::from_uuid(Uuid::from_u128(1)),
        notification_id: NotificationId::from_uuid(Uuid::from_u128(2)),
        webhook_id: WebhookId::from_uuid(Uuid::from_u128(3)),
        site_id: "example.com".parse().expect("a site id"),
        event_type: EventType::VisitorSpike,
        created_at_ms: 5,
        origin: Origin::Event,
        resend_of: None,
        attempt: 1,
        step: 0,
        due_at_ms: None,
        first_attempt_at_ms: None,
        reason: None,
        last_status: None,
        body: Bytes::from_static(b"{}"),
    }
}

fn following(attempt: u32, due_at_ms: i64) -> NextAttempt {
    NextAttempt {
        attempt,
        step: attempt - 1,
        due_at_ms,
    }
}

fn decode(headers: &[(&str, String)]) -> Result<DeliveryRecord, Unreadable> {
    DeliveryRecord::decode(
        Some(record().key().as_bytes()),
        headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes()))),
        Some(Bytes::from_static(b"{}")),
    )
}

fn with(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut headers = record().headers();
    headers.push((name, value.to_owned()));
    headers
}

#[test]
fn every_required_header_is_missed_by_name() {
    let headers = record().headers();
    assert_eq!(headers.len(), 9);
    for index in 0..8 {
        let mut fewer = headers.clone();
        let (name, _) = fewer.remove(index);
        assert_eq!(decode(&fewer), Err(Unreadable::MissingHeader(name)));
    }
}

#[test]
fn a_header_that_cannot_be_read_is_named() {
    for (name, value) in [
        (header::VERSION, "0"),
        (header::VERSION, "one"),
        (header::DELIVERY_ID, "evt_00000000000000000000000000"),
        (header::SITE_ID, ""),
        (header::EVENT_TYPE, "Not a word"),
        (header::ORIGIN, "nowhere"),
        (header::ATTEMPT, "0"),
        (header::ATTEMPT, "-1"),
        (header::CREATED_AT_MS, "1.5"),
        (header::DUE_AT_MS, "99999999999999999999"),
        (header::LAST_STATUS, "70000"),
    ] {
        assert_eq!(
            decode(&with(name, value)),
            Err(Unreadable::BadHeader(name)),
            "{value}"
        );
    }
    assert_eq!(
        DeliveryRecord::decode(Some(b"wh_1"), [(header::VERSION, Some(b"1".as_slice()))], None),
        Err(Unreadable::MissingHeader(header::DELIVERY_ID))
    );
}

#[test]
fn a_newer_version_is_recognised_whatever_else_it_has() {
    assert_eq!(
        DeliveryRecord::decode(None, [(header::VERSION, Some(b"2".as_slice()))], None),
        Err(Unreadable::Newer(2))
    );
}

#[test]
fn a_record_without_its_key_or_body_is_unreadable() {
    let headers = record().headers();
    let pairs = || {
        headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())))
    };
    let body = Some(Bytes::from_static(b"{}"));
    assert_eq!(
        DeliveryRecord::decode(None, pairs(), body.clone()),
        Err(Unreadable::BadKey)
    );
    assert_eq!(
        DeliveryRecord::decode(Some(&[0xff]), pairs(), body),
        Err(Unreadable::BadKey)
    );
    assert_eq!(
        DeliveryRecord::decode(Some(record().key().as_bytes()), pairs(), None),
        Err(Unreadable::NoBody)
    );
}

#[test]
fn a_retry_keeps_the_deliverys_facts_and_a_dead_letter_says_why() {
    let retry = record().retry(following(2, 1_000), Some(900), Some(503));
    assert_eq!(
        (retry.attempt, retry.due_at_ms, retry.last_status),
        (2, Some(1_000), Some(503))
    );
    assert_eq!(
        retry
            .retry(following(3, 3_000), Some(2_000), None)
            .first_attempt_at_ms,
        Some(900)
    );
    let dead = retry.dead_letter("exhausted", 2, Some(2_000), Some(500));
    assert_eq!(
        (dead.reason.as_deref(), dead.due_at_ms, dead.attempt),
        (Some("exhausted"), None, 2)
    );
    assert_eq!(
        (dead.first_attempt_at_ms, dead.last_status),
        (Some(900), Some(500))
    );
    assert_eq!(decode(&dead.headers()), Ok(dead));
}

#[test]
fn a_dead_letter_says_when_the_first_attempt_was_if_any() {
    let first = record().dead_letter("gone", 1, Some(900), Some(410));
    assert_eq!((first.attempt, first.first_attempt_at_ms), (1, Some(900)));
    let unsent = record().dead_letter("expired", 0, None, None);
    assert_eq!((unsent.attempt, unsent.first_attempt_at_ms), (0, None));
    assert_eq!(decode(&unsent.headers()), Ok(unsent));
}

#[test]
fn headers_say_where_a_dead_letter_was_read() {
    let from = Coordinates {
        topic: "bellwether.retry.4s".to_owned(),
        partition: 7,
        offset: 42,
    };
    let expected = [
        ("bw-original-topic", "bellwether.retry.4s"),
        ("bw-original-partition", "7"),
        ("bw-original-offset", "42"),
    ];
    let headers = from.headers();
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(headers, expected);
}

prop_compose! {
    fn any_record()(
        ids in any::<(u128, u128, u128)>(), resend_of in any::<Option<u128>>(), site in "[a-zé][a-z.é]{0,39}", event in 0..EventType::ALL.len(),
        times in (0..=LAST_MS, proptest::option::of(0..=LAST_MS), proptest::option::of(0..=LAST_MS)), origin in 0..4_usize, attempt in 1_u32..,
        reason in proptest::option::of("[a-z_]{0,20}"), last_status in any::<Option<u16>>(), body in any::<Vec<u8>>(),
    ) -> DeliveryRecord {
        DeliveryRecord {
            delivery_id: DeliveryId::from_uuid(Uuid::from_u128(ids.0)),
            notification_id: NotificationId::from_uuid(Uuid::from_u128(ids.1)),
            webhook_id: WebhookId::from_uuid(Uuid::from_u128(ids.2)),
            site_id: site.parse().expect("a site id"),
            event_type: EventType::ALL[event],
            created_at_ms: times.0,
            origin: Origin::ALL[origin],
            resend_of: resend_of.map(|id| DeliveryId::from_uuid(Uuid::from_u128(id))),
            attempt,
            step: attempt - 1,
            due_at_ms: times.1,
            first_attempt_at_ms: times.2,
            reason,
            last_status,
            body: body.into(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in any_record()) {
        let headers = record.headers();
        let pairs = headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        let read = DeliveryRecord::decode(Some(record.key().as_bytes()), pairs, Some(record.body.clone()));
        prop_assert_eq!(read, Ok(record));
    }

    #[test]
    fn no_headers_make_it_panic(
        spoiled in proptest::collection::vec((0..12_usize, proptest::option::of(any::<Vec<u8>>())), 0..6),
        key in proptest::option::of(any::<Vec<u8>>()),
    ) {
        let good = record().headers();
        let mut pairs: Vec<(&str, Option<&[u8]>)> = good.iter().map(|(name, value)| (*name, Some(value.as_bytes()))).collect();
        let names = [header::DUE_AT_MS, header::FIRST_ATTEMPT_AT_MS, header::REASON, header::LAST_STATUS];
        for (index, value) in &spoiled {
            let name = good.get(*index).map_or_else(|| names[*index % 4], |(name, _)| *name);
            pairs.push((name, value.as_deref()));
        }
        let _ = DeliveryRecord::decode(key.as_deref(), pairs, Some(Bytes::new()));
    }
}

#[test]
fn an_event_type_of_the_future_is_recognised_as_newer() {
    let error = decode(&with(header::EVENT_TYPE, "visitor_drop_of_the_future")).expect_err("unknown here");
    assert!(error.is_newer(), "{error}");
}

#[test]
fn a_record_from_before_there_were_steps_is_read() {
    for (attempt, step) in [("1", 0), ("3", 2)] {
        let mut headers = with(header::ATTEMPT, attempt);
        headers.retain(|(name, _)| *name != header::STEP);
        assert_eq!(decode(&headers).expect("a record").step, step);
    }
    assert_eq!(decode(&with(header::STEP, "7")).expect("a record").step, 7);
}
