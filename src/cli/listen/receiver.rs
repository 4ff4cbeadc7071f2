//! Verification of each request, its answer, and the count of all. Pure but for the lock.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use bytes::Bytes;

use super::options::ListenOptions;
use super::received::{ReceivedRequest, SignatureCheck};
use crate::deliver::{request, signature};
use crate::domain::secret::Secret;

/// Attempts remembered to notice repeats; later ones are not compared.
const MAX_REMEMBERED: usize = 1_000_000;
/// Event types counted by name. Names are the sender's, so the rest is counted together.
const MAX_EVENT_TYPES: usize = 100;

/// The receiver behind the socket.
#[derive(Debug)]
pub(super) struct ListenReceiver {
    pub(super) options: ListenOptions,
    tally: Mutex<RequestTally>,
}

/// Counts over all requests.
#[derive(Debug, Default)]
struct RequestTally {
    requests: u64,
    wrong_signatures: u64,
    unsigned: u64,
    /// Signed rightly, at a time that a receiver should not accept.
    untimely: u64,
    repeated: u64,
    deliveries: HashSet<String>,
    attempts: HashSet<(String, u32)>,
    statuses: BTreeMap<u16, u64>,
    events: BTreeMap<String, u64>,
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl ListenReceiver {
    pub(super) fn new(options: ListenOptions) -> Self {
        Self {
            options,
            tally: Mutex::default(),
        }
    }

    /// Judges one request and decides its answer.
    pub(super) fn receive(&self, incoming: Incoming, now_ms: i64) -> ReceivedRequest {
        let Incoming {
            method,
            path,
            headers,
            body,
        } = incoming;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let owned = |name: &str| header(name).map(str::to_owned);
        let secrets = &self.options.secrets;
        let by_any = |verify: &dyn Fn(&Secret) -> bool| secrets.iter().any(verify);
        // During a rotation's overlap a receiver may hold either secret.
        let plain = [request::SIGNATURE, request::SIGNATURE_NEXT].map(header);
        let (id, timestamp) = (
            header(request::STANDARD_ID).unwrap_or_default(),
            header(request::STANDARD_TIMESTAMP).unwrap_or_default(),
        );
        let is_signed = [request::SIGNATURE, request::SIGNATURE_NEXT]
            .iter()
            .any(|name| headers.contains_key(*name));
        let signature = SignatureCheck::of(is_signed, !secrets.is_empty(), || {
            by_any(&|secret| {
                let mut signatures = plain.iter().flatten();
                signatures.any(|one| signature::verify_plain(secret, &body, one))
            })
        });
        let standard_signature = SignatureCheck::of_standard(&headers, !secrets.is_empty(), now_ms, || {
            let list = header(request::STANDARD_SIGNATURE).unwrap_or_default();
            by_any(&|secret| signature::verify_standard(secret, id, timestamp, &body, list))
        });
        let mut received = ReceivedRequest {
            at_ms: now_ms,
            event: owned(request::EVENT),
            delivery_id: owned(request::DELIVERY),
            notification_id: owned(request::STANDARD_ID),
            attempt: header(request::ATTEMPT).and_then(|text| text.parse().ok()),
            latency_ms: timestamp
                .parse::<i64>()
                .ok()
                .map(|seconds| now_ms.saturating_sub(seconds.saturating_mul(1_000))),
            signature,
            standard_signature,
            repeated: false,
            status: 200,
            method,
            path,
            headers,
            body,
        };
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        received.status = self.status(received.attempt, tally.requests);
        received.repeated = tally.count(&received);
        received
    }

    /// The status for a request for attempt `attempt`, when `before` requests were here before it.
    fn status(&self, attempt: Option<u32>, before: u64) -> u16 {
        let options = &self.options;
        let fails = match (options.fail, options.fail_first) {
            (None, None) => return options.status.unwrap_or(200),
            (each, all) => {
                each.is_some_and(|n| attempt.is_none_or(|attempt| attempt <= n))
                    || all.is_some_and(|n| before < n)
            }
        };
        if fails { options.status.unwrap_or(500) } else { 200 }
    }

    /// The counts, in lines for people.
    pub(super) fn summary(&self) -> String {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = vec![format!(
            "requests {}, deliveries {}, repeated {}, wrong signatures {}, unsigned {}",
            tally.requests,
            tally.deliveries.len(),
            tally.repeated,
            tally.wrong_signatures,
            tally.unsigned
        )];
        if tally.untimely > 0 {
            let _ = write!(lines[0], ", old or early {}", tally.untimely);
        }
        if tally.requests > 0 {
            lines.push(format!("events: {}", list(&tally.events)));
            lines.push(format!("answers: {}", list(&tally.statuses)));
        }
        lines.join("\n")
    }
}

/// `200 2, 500 1`
fn list<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    counts.join(", ")
}

impl RequestTally {
    /// Counts a request. True if this attempt was here before.
    fn count(&mut self, received: &ReceivedRequest) -> bool {
        self.requests += 1;
        *self.statuses.entry(received.status).or_default() += 1;
        let event = received.event.as_deref().unwrap_or("unknown");
        let has_room = self.events.len() < MAX_EVENT_TYPES || self.events.contains_key(event);
        let event = if has_room { event } else { "others" };
        *self.events.entry(event.to_owned()).or_default() += 1;
        let checks = [received.signature, received.standard_signature];
        self.wrong_signatures += u64::from(checks.iter().any(|check| check.is_wrong()));
        let untimely = [SignatureCheck::Old, SignatureCheck::Early];
        self.untimely += u64::from(untimely.contains(&received.standard_signature));
        self.unsigned += u64::from(checks == [SignatureCheck::Missing; 2]);
        let Some(delivery) = &received.delivery_id else {
            return false;
        };
        if self.attempts.len() >= MAX_REMEMBERED {
            return false;
        }
        self.deliveries.insert(delivery.clone());
        let attempt = (delivery.clone(), received.attempt.unwrap_or(0));
        let is_first = self.attempts.insert(attempt);
        self.repeated += u64::from(!is_first);
        !is_first
    }
}
