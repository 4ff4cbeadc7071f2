//! The demo's endpoint: verifies every request, fails some on purpose, and hands on what came.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::arrival::{Arrival, WholeRequest};
use crate::clock;
use crate::deliver::{request, signature};
use crate::domain::id::NotificationId;
use crate::domain::secret::Secret;

/// Number of deliveries of which one fails at its first attempt.
const FAILS_ONCE: u64 = 5;
/// Number of deliveries of which one fails at its second attempt too.
const FAILS_TWICE: u64 = 15;
/// Deliveries remembered that are to fail once more; they succeed within seconds.
const MAX_REMEMBERED: usize = 1_000;

/// The state behind the socket.
#[derive(Debug)]
pub(super) struct DemoReceiver {
    /// By the path they are received under.
    secrets: Mutex<HashMap<String, Secret>>,
    failures: Mutex<FailurePlan>,
    arrivals: mpsc::UnboundedSender<Arrival>,
}

/// The plan by which deliveries fail.
#[derive(Debug, Default)]
struct FailurePlan {
    deliveries: u64,
    again: HashSet<String>,
}

impl FailurePlan {
    /// The status for an attempt of a delivery.
    fn answer(&mut self, delivery: &str, attempt: u32) -> u16 {
        if attempt > 1 {
            return if self.again.remove(delivery) { 500 } else { 200 };
        }
        self.deliveries += 1;
        // The second of all, so that a retry is seen soon.
        if self.deliveries % FAILS_ONCE != 2 {
            return 200;
        }
        if self.deliveries % FAILS_TWICE == 7 && self.again.len() < MAX_REMEMBERED {
            self.again.insert(delivery.to_owned());
        }
        503
    }
}

impl DemoReceiver {
    /// A receiver that knows no webhook yet.
    pub(super) fn new(arrivals: mpsc::UnboundedSender<Arrival>) -> Self {
        Self {
            secrets: Mutex::default(),
            failures: Mutex::default(),
            arrivals,
        }
    }

    /// From now on requests to `/{slug}` are verified with this secret.
    pub(super) fn expect(&self, slug: &str, secret: Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(slug.to_owned(), secret);
    }

    /// Its routes.
    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new().route("/{slug}", post(receive)).with_state(self)
    }

    /// Judges a request; `None` where nothing is expected.
    fn judge(&self, slug: &str, headers: &HeaderMap, body: &Bytes, now_ms: i64) -> Option<Arrival> {
        let secret = {
            let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
            secrets.get(slug).cloned()?
        };
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let id = header(request::STANDARD_ID);
        let signature_ok = signature::verify_plain(&secret, body, header(request::SIGNATURE))
            && signature::verify_standard(
                &secret,
                id,
                header(request::STANDARD_TIMESTAMP),
                body,
                header(request::STANDARD_SIGNATURE),
            );
        let attempt = header(request::ATTEMPT).parse().unwrap_or(0);
        // What cannot be trusted is refused, as a real receiver should.
        let status = if signature_ok {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.answer(header(request::DELIVERY), attempt)
        } else {
            401
        };
        let notification: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| notification[key].as_str().unwrap_or_default().to_owned();
        let at = chrono::DateTime::parse_from_rfc3339(&text("timestamp"));
        Some(Arrival {
            event: header(request::EVENT).to_owned(),
            site_id: text("site_id"),
            at_ms: at.map_or(now_ms, |at| at.timestamp_millis()),
            data: notification["data"].clone(),
            signature_ok,
            attempt,
            // A notification's id begins with the time of its event's record.
            after_ms: id
                .parse::<NotificationId>()
                .map_or(0, |id| (now_ms - id.millis()).max(0)),
            status,
            whole: WholeRequest {
                path: format!("/{slug}"),
                headers: headers.clone(),
                body: body.clone(),
            },
        })
    }
}

async fn receive(
    State(receiver): State<Arc<DemoReceiver>>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(arrival) = receiver.judge(&slug, &headers, &body, clock::now_ms()) else {
        return StatusCode::NOT_FOUND;
    };
    let status = StatusCode::from_u16(arrival.status).unwrap_or(StatusCode::OK);
    // The other end is gone only while the demo ends.
    drop(receiver.arrivals.send(arrival));
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::NotificationKind;

    #[test]
    fn some_deliveries_fail_once_or_twice_and_none_for_good() {
        let mut failures = FailurePlan::default();
        let mut attempts_of = Vec::new();
        for number in 1..=30 {
            let delivery = format!("dlv_{number}");
            let attempts = (1..=4)
                .find(|attempt| failures.answer(&delivery, *attempt) == 200)
                .expect("within four attempts");
            attempts_of.push(attempts);
        }
        assert_eq!(&attempts_of[..7], [1, 2, 1, 1, 1, 1, 3]);
        assert_eq!(attempts_of.iter().filter(|count| **count > 1).count(), 6);
    }

    fn headers(secret: &Secret, id: &str, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-webhook-signature", signature::plain(secret, body)),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", "5".to_owned()),
            ("webhook-signature", signature::standard(secret, id, 5, body)),
            ("x-webhook-event", "visitor_spike".to_owned()),
            ("x-webhook-attempt", "1".to_owned()),
        ] {
            headers.insert(name, value.parse().expect("a header's value"));
        }
        headers
    }

    #[test]
    fn a_requests_delay_is_counted_from_the_events_record() {
        let receiver = DemoReceiver::new(mpsc::unbounded_channel().0);
        let secret = Secret::parse("a-secret-of-the-demo").expect("a secret");
        receiver.expect("blog", secret.clone());
        let id = NotificationId::derive(5_000, "s", "visitor_spike", NotificationKind::Start, &[b"k"]);
        let body = Bytes::from_static(
            br#"{"site_id":"s","timestamp":"2026-02-25T12:00:00Z","data":{"current_visitors":7}}"#,
        );
        let headers = headers(&secret, &id.to_string(), &body);
        let arrival = receiver.judge("blog", &headers, &body, 5_012).expect("expected");
        assert!(arrival.signature_ok);
        assert_eq!((arrival.after_ms, arrival.attempt), (12, 1));
        assert_eq!(arrival.data["current_visitors"], 7);
        let forged = receiver
            .judge("blog", &headers, &Bytes::from_static(b"{}"), 5_012)
            .expect("expected");
        assert_eq!((forged.signature_ok, forged.status), (false, 401));
        assert_eq!(receiver.judge("shop", &headers, &body, 5_012), None);
    }
}
