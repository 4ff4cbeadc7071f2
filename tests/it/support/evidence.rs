//! Requests, rows and records of a run, as the receiver, Postgres and Kafka have them, and what
//! they come to: expected / delivered / repeated / forked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use bellwether::domain::id::DeliveryId;
use rdkafka::message::OwnedMessage;
use sqlx::PgPool;
use uuid::Uuid;

use super::app::Deployment;
use super::kafka;
use super::receiver::{Received, Receiver};

/// A delivery and the number of an attempt.
pub(crate) type Attempt = (Uuid, u32);

pub(crate) struct Evidence {
    pub(crate) received: HashMap<Attempt, Vec<Received>>,
    pub(crate) deliveries: Vec<DeliveryRow>,
    /// Recorded attempts, with their flag of a possible repeat.
    pub(crate) attempts: BTreeMap<Attempt, bool>,
    /// The due times of an attempt's records.
    due: HashMap<Attempt, HashSet<String>>,
    pub(crate) dead_letters: HashMap<Uuid, usize>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct DeliveryRow {
    pub(crate) id: Uuid,
    notification_id: Uuid,
    webhook_id: Uuid,
    pub(crate) path: String,
    pub(crate) status: String,
    pub(crate) attempts: i32,
    pub(crate) payload: Vec<u8>,
}

impl Evidence {
    pub(crate) async fn gather(deployment: &Deployment, receiver: &Receiver) -> Self {
        let mut received: HashMap<Attempt, Vec<Received>> = HashMap::new();
        for one in receiver.all() {
            received.entry(attempt_of(&one)).or_default().push(one);
        }
        let pool = &deployment.database.pool;
        let deliveries = sqlx::query_as(
            "select d.id, d.notification_id, d.webhook_id, w.name as path, d.status, d.attempts, d.payload
             from deliveries d join webhooks w on w.id = d.webhook_id",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        let attempts: Vec<(Uuid, i32, bool)> =
            sqlx::query_as("select delivery_id, attempt, possible_repeat from delivery_attempts")
                .fetch_all(pool)
                .await
                .unwrap();
        let mut due: HashMap<Attempt, HashSet<String>> = HashMap::new();
        for tier in ["retry.1s", "retry.2s", "retry.4s"] {
            for record in kafka::read_all_of(&deployment.brokers, &deployment.topic(tier)) {
                let attempt = kafka::header(&record, "bw-attempt").unwrap().parse().unwrap();
                let at = kafka::header(&record, "bw-due-at-ms").unwrap().to_owned();
                due.entry((delivery_of(&record), attempt)).or_default().insert(at);
            }
        }
        let mut dead_letters = HashMap::new();
        for record in kafka::read_all_of(&deployment.brokers, &deployment.topic("dead-letter")) {
            *dead_letters.entry(delivery_of(&record)).or_default() += 1;
        }
        let attempts = attempts.into_iter();
        Self {
            received,
            deliveries,
            attempts: attempts
                .map(|(id, attempt, flagged)| ((id, attempt.cast_unsigned()), flagged))
                .collect(),
            due,
            dead_letters,
        }
    }

    /// The chains of attempts that go on in more than one way.
    pub(crate) fn forks(&self) -> Vec<String> {
        let due = self.due.iter().filter(|(_, times)| times.len() > 1);
        let mut forks: Vec<String> = due
            .map(|(attempt, times)| format!("{attempt:?} has several due times: {times:?}"))
            .collect();
        for (attempt, requests) in &self.received {
            if requests.iter().any(|one| one.body != requests[0].body) {
                forks.push(format!("{attempt:?} was made with several bodies"));
            }
        }
        let mut of_notifications: HashMap<(Uuid, Uuid), Uuid> = HashMap::new();
        for row in &self.deliveries {
            let key = (row.notification_id, row.webhook_id);
            if let Some(other) = of_notifications.insert(key, row.id) {
                forks.push(format!("{key:?} has two deliveries: {other} and {}", row.id));
            }
        }
        forks
    }

    /// Counts the requests that came again.
    pub(crate) fn repeated(&self) -> usize {
        self.received.values().map(|requests| requests.len() - 1).sum()
    }

    /// What the requests and the recorded attempts contradict each other in.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (attempt, requests) in &self.received {
            match self.attempts.get(attempt) {
                None => broken.push(format!("{attempt:?} was made and not recorded")),
                Some(false) if requests.len() > 1 => {
                    let eras: Vec<u32> = requests.iter().map(|one| one.era).collect();
                    broken.push(format!("{attempt:?} was repeated and not flagged: {eras:?}"));
                }
                Some(_) => {}
            }
        }
        let recorded = self.attempts.keys();
        let never_made = recorded.filter(|attempt| !self.received.contains_key(attempt));
        broken.extend(never_made.map(|attempt| format!("{attempt:?} is recorded and was never made")));
        broken
    }

    /// What a run came to in which every delivery is to end well.
    pub(crate) fn tally(&self, expected: usize) -> Tally {
        let of_status = |status| self.deliveries.iter().filter(|row| row.status == status).count();
        let forks = self.forks();
        Tally {
            expected,
            delivered: of_status("delivered"),
            repeated: self.repeated(),
            forked: forks.len(),
            flagged: self.attempts.values().filter(|flagged| **flagged).count(),
            broken: [forks, self.contradictions()].concat(),
        }
    }
}

/// The attempt that a request was.
pub(crate) fn attempt_of(request: &Received) -> Attempt {
    let id: DeliveryId = request.header("x-webhook-delivery").parse().unwrap();
    (id.uuid(), request.attempt())
}

fn delivery_of(record: &OwnedMessage) -> Uuid {
    let id: DeliveryId = kafka::header(record, "bw-delivery-id").unwrap().parse().unwrap();
    id.uuid()
}

/// The attempts that are recorded now.
pub(crate) async fn recorded_attempts(pool: &PgPool) -> Vec<Attempt> {
    let rows: Vec<(Uuid, i32)> = sqlx::query_as("select delivery_id, attempt from delivery_attempts")
        .fetch_all(pool)
        .await
        .unwrap();
    rows.into_iter()
        .map(|(id, attempt)| (id, attempt.cast_unsigned()))
        .collect()
}

/// What a run came to.
pub(crate) struct Tally {
    expected: usize,
    delivered: usize,
    pub(crate) repeated: usize,
    pub(crate) forked: usize,
    pub(crate) flagged: usize,
    /// Every observation that the guarantees do not allow.
    broken: Vec<String>,
}

impl Tally {
    /// Asserts that nothing is lost or forked, and that no repeat is without its flag.
    pub(crate) fn assert_whole(&self) {
        assert_eq!(self.broken, Vec::<String>::new(), "{self}");
        assert_eq!(self.delivered, self.expected, "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            expected,
            delivered,
            repeated,
            forked,
            flagged,
            ..
        } = self;
        write!(
            f,
            "expected {expected} / delivered {delivered} / repeated {repeated} / forked {forked} ({flagged} flagged)"
        )
    }
}
