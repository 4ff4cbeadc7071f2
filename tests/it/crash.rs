//! `kill -9` at any instant: nothing is lost, no chain forks, and only what was in flight is sent
//! again.
//!
//! `CRASH_KILLS=50 make test ARGS="--test it crash -- --nocapture"` is the long run; `CRASH_SEED=…`
//! repeats the instants of an earlier run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use rdkafka::message::{Message as _, OwnedMessage};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{Deployment, Process};
use crate::support::eventually;
use crate::support::evidence::{Attempt, Evidence, recorded_attempts};
use crate::support::faults::Dice;
use crate::support::kafka;
use crate::support::receiver::{Answer, Receiver};

const SITES: usize = 4;
const THRESHOLD: usize = 5;
/// Time of the log's first event in seconds: 2026-01-01T00:00:00Z.
const LOG_BEGINS: i64 = 1_767_225_600;

/// Behaviour of an endpoint, and the attempts that its deliveries take.
struct Kind {
    name: &'static str,
    fails: u32,
    delay_ms: u64,
    attempts: i32,
}

/// Every kind of endpoint; a delivery that always fails ends after four attempts.
const KINDS: [Kind; 4] = [
    Kind {
        name: "ok",
        fails: 0,
        delay_ms: 0,
        attempts: 1,
    },
    Kind {
        name: "slow",
        fails: 1,
        delay_ms: 150,
        attempts: 2,
    },
    Kind {
        name: "flaky",
        fails: 2,
        delay_ms: 20,
        attempts: 3,
    },
    Kind {
        name: "dead",
        fails: u32::MAX,
        delay_ms: 0,
        attempts: 4,
    },
];

/// A delivery as the receiver knows it: the endpoint's path and the subject of the notification.
type Wanted = (String, String);

#[derive(Default)]
struct Expected {
    goals: Vec<(usize, String)>,
    spikes: Vec<(usize, String)>,
}

impl Expected {
    fn deliveries(&self) -> BTreeMap<Wanted, &'static Kind> {
        let both = [("goal", &self.goals), ("spike", &self.spikes)];
        both.into_iter()
            .flat_map(|(event, list)| list.iter().map(move |one| (event, one)))
            .flat_map(|(event, (site, what))| {
                KINDS
                    .iter()
                    .map(move |kind| ((path(event, *site, kind), what.clone()), kind))
            })
            .collect()
    }
}

fn path(event: &str, site: usize, kind: &Kind) -> String {
    format!("{event}-{site}-{}", kind.name)
}

fn what_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    let data = &body["data"];
    let what = data["goal_name"].as_str().or(data["started_at"].as_str());
    what.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_and_repeats_only_what_was_in_flight() {
    let kills: u32 = std::env::var("CRASH_KILLS").map_or(12, |text| text.parse().unwrap());
    let mut dice = Dice::from_env("CRASH_SEED");
    let threads = (1 + dice.below(2)).to_string();
    let deployment = Deployment::create(&[
        ("deliver.threads", &threads),
        ("detect.threads", &threads),
        (
            "sources",
            "[{topic=\"{source}\", clock=\"live\"}, {topic=\"{source}.log\", clock=\"log\"}]",
        ),
        // Short, because the group waits so long for each member that was killed.
        ("kafka.properties.session.timeout.ms", "1500"),
        ("kafka.properties.heartbeat.interval.ms", "300"),
    ])
    .await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    set_up(&deployment, &process, &receiver).await;

    let (expected, stop) = (Mutex::new(Expected::default()), AtomicBool::new(false));
    let mut recorded_at_kill: HashMap<Attempt, u32> = HashMap::new();
    let killing = async {
        for kill in 1..=kills {
            // Mostly while it is at work, sometimes while it starts.
            // The random sleep is the test: it picks the instant of the kill.
            if dice.below(5) > 0 {
                at_work(&process).await;
                tokio::time::sleep(Duration::from_millis(dice.below(1_500))).await;
            } else {
                tokio::time::sleep(Duration::from_millis(dice.below(2_500))).await;
            }
            process.kill();
            for attempt in recorded_attempts(&deployment.database.pool).await {
                recorded_at_kill.entry(attempt).or_insert(kill);
            }
            receiver.begin_era();
            process = deployment.spawn(&[]);
        }
        stop.store(true, Ordering::SeqCst);
        process
    };
    let (mut process, ()) = tokio::join!(killing, publish(&deployment, &expected, &stop));

    let expected = expected.into_inner().unwrap();
    let wanted = expected.deliveries();
    let pool = &deployment.database.pool;
    if tokio::time::timeout(Duration::from_secs(180), until_ended(pool, wanted.len()))
        .await
        .is_err()
    {
        let evidence = Evidence::gather(&deployment, &receiver).await;
        let missing = without_row(&evidence, &wanted);
        let places = places(&deployment, &missing);
        panic!("no row: {places:#?}; still open: {}", still_open(pool).await);
    }
    process.terminate();
    assert!(process.ended(Duration::from_secs(60)).await.success());

    let evidence = Evidence::gather(&deployment, &receiver).await;
    let report = Report::make(&evidence, &wanted, &recorded_at_kill);
    println!("{kills} kills, {threads} threads a role: {report}");
    assert_eq!(report.broken, Vec::<String>::new());
}

async fn until_ended(pool: &PgPool, wanted: usize) {
    loop {
        let (ended,): (i64,) =
            sqlx::query_as("select count(*) from deliveries where status in ('delivered', 'failed')")
                .fetch_one(pool)
                .await
                .unwrap();
        if ended >= wanted as i64 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The records that tell of missing deliveries, in the source and in `deliveries`.
fn places(deployment: &Deployment, missing: &[&Wanted]) -> Vec<String> {
    let topics = [deployment.source.clone(), deployment.topic("deliveries")];
    let records: Vec<OwnedMessage> = topics.iter().flat_map(|topic| kafka::read_all(topic)).collect();
    let names: BTreeSet<&String> = missing.iter().map(|(_, what)| what).collect();
    let found = names.into_iter().map(|name| {
        let quoted = format!("\"{name}\"");
        let tells = |record: &&OwnedMessage| {
            record
                .payload()
                .is_some_and(|text| String::from_utf8_lossy(text).contains(&quoted))
        };
        let at = records.iter().filter(tells).map(|record| {
            format!(
                "{} {}@{} at {:?}",
                record.topic(),
                record.partition(),
                record.offset(),
                record.timestamp()
            )
        });
        format!("{name}: {}", at.collect::<Vec<_>>().join(", "))
    });
    found.collect()
}

/// The deliveries that have not ended, and what waits for their endpoints.
async fn still_open(pool: &PgPool) -> String {
    let text = "select jsonb_build_object(
          'parked', (select jsonb_object_agg(reason, n)
                     from (select reason, count(*) n from parked group by 1) p),
          'deliveries', (select jsonb_agg(to_jsonb(d) - 'payload')
                   from (select * from deliveries where status not in ('delivered', 'failed') limit 5) d))::text";
    let (open,): (String,) = sqlx::query_as(text).fetch_one(pool).await.unwrap();
    open
}

async fn set_up(deployment: &Deployment, process: &Process, receiver: &Receiver) {
    for kind in &KINDS {
        for (event, site) in ["goal", "spike"]
            .into_iter()
            .flat_map(|event| (0..SITES).map(move |site| (event, site)))
        {
            let path = path(event, site, kind);
            let (fails, delay) = (kind.fails, Duration::from_millis(kind.delay_ms));
            receiver.answer(&path, move |attempt| {
                Answer::status(if attempt <= fails { 503 } else { 200 }).after(delay)
            });
            let body = if event == "goal" {
                json!({"name": path, "url": receiver.url(&path), "events": ["goal_completion"]})
            } else {
                json!({"name": path, "url": receiver.url(&path), "events": ["visitor_spike"],
                       "triggers": {"visitor_spike": {"threshold": THRESHOLD, "window_seconds": 60}}})
            };
            deployment
                .create_webhook(process, &format!("{event}-{site}.example"), body)
                .await;
        }
    }
    // Those that always fail are to fail for good, and not to wait behind an open circuit.
    sqlx::query("update webhooks set failure_threshold = 1000000, updated_at = now()")
        .execute(&deployment.database.pool)
        .await
        .unwrap();
    deployment.registry_is_read(process).await;
}

/// Publishes goals, and visitors of whom every five are a spike, until `stop` is set.
async fn publish(deployment: &Deployment, expected: &Mutex<Expected>, stop: &AtomicBool) {
    let log = format!("{}.log", deployment.source);
    for n in 0.. {
        let site = n % SITES;
        let goal = format!("goal {n}");
        deployment
            .publish(json!({"site_id": format!("goal-{site}.example"), "type": "goal", "name": goal}))
            .await;
        expected.lock().unwrap().goals.push((site, goal));
        // One burst at a time, each long after the one before: the window is empty and the trigger
        // armed again.
        let (burst, visitor) = (n / THRESHOLD, n % THRESHOLD);
        let at = LOG_BEGINS + burst as i64 * 1_000;
        let site = burst % SITES;
        deployment
            .publish_to(
                &log,
                json!({"site_id": format!("spike-{site}.example"), "type": "pageview", "path": "/",
                       "visitor_id": format!("v{visitor}"), "timestamp": at * 1_000}),
            )
            .await;
        if visitor == THRESHOLD - 1 {
            let started_at = DateTime::from_timestamp(at, 0).unwrap();
            let started_at = started_at.to_rfc3339_opts(SecondsFormat::Secs, true);
            expected.lock().unwrap().spikes.push((site, started_at));
            if stop.load(Ordering::SeqCst) {
                return;
            }
        }
        // A steady rate of events, so that every kill meets some of them.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the process holds partitions of both groups.
async fn at_work(process: &Process) {
    eventually("partitions are assigned", Duration::from_secs(60), || async {
        for group in ["detect", "deliver"] {
            let series = format!("bellwether_consumer_partitions{{group=\"{group}\"}}");
            if process.try_metric(&series).await? < 4.0 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// The wanted deliveries that no row tells of.
fn without_row<'a>(evidence: &Evidence, wanted: &'a BTreeMap<Wanted, &'static Kind>) -> Vec<&'a Wanted> {
    let rows = evidence.deliveries.iter();
    let found: BTreeSet<Wanted> = rows
        .map(|row| (row.path.clone(), what_of(&row.payload)))
        .collect();
    wanted.keys().filter(|one| !found.contains(one)).collect()
}

/// Result of a run.
#[derive(Default)]
struct Report {
    expected: usize,
    delivered: usize,
    failed: usize,
    repeated: usize,
    forked: usize,
    dead_letters_missing: usize,
    dead_letters_again: usize,
    /// Every observation that the guarantees do not allow.
    broken: Vec<String>,
}

impl Report {
    fn make(
        evidence: &Evidence,
        wanted: &BTreeMap<Wanted, &'static Kind>,
        recorded_at_kill: &HashMap<Attempt, u32>,
    ) -> Self {
        let mut report = Self {
            expected: wanted.len(),
            ..Self::default()
        };
        report.look_at_deliveries(evidence, wanted);
        report.look_at_requests(evidence, recorded_at_kill);
        let forks = evidence.forks();
        report.forked = forks.len();
        report.broken.extend(forks);
        report
    }

    fn look_at_deliveries(&mut self, evidence: &Evidence, wanted: &BTreeMap<Wanted, &'static Kind>) {
        let mut missing: BTreeSet<&Wanted> = wanted.keys().collect();
        for row in &evidence.deliveries {
            let key = (row.path.clone(), what_of(&row.payload));
            let letters = evidence.dead_letters.get(&row.id).copied().unwrap_or(0);
            let recorded: Vec<u32> = evidence
                .attempts
                .range((row.id, 0)..=(row.id, u32::MAX))
                .map(|((_, attempt), _)| *attempt)
                .collect();
            let Some(kind) = wanted.get(&key).filter(|_| missing.remove(&key)) else {
                self.broken.push(format!("{} {key:?} was not expected", row.id));
                continue;
            };
            let end = if kind.fails < 4 { "delivered" } else { "failed" };
            if row.status != end
                || row.attempts != kind.attempts
                || recorded != (1..=kind.attempts.cast_unsigned()).collect::<Vec<_>>()
            {
                self.broken.push(format!(
                    "{} {key:?} is {} after {} attempts, recorded are {recorded:?}",
                    row.id, row.status, row.attempts
                ));
            }
            match row.status.as_str() {
                "delivered" => self.delivered += 1,
                "failed" => self.failed += 1,
                _ => {}
            }
            match (row.status.as_str(), letters) {
                ("failed", 0) => {
                    self.dead_letters_missing += 1;
                    self.broken.push(format!("{} {key:?} has no dead letter", row.id));
                }
                ("failed", letters) => self.dead_letters_again += letters - 1,
                (_, 0) => {}
                _ => self.broken.push(format!("{} {key:?} has a dead letter", row.id)),
            }
        }
        for key in missing {
            self.broken.push(format!("{key:?} was lost"));
        }
    }

    fn look_at_requests(&mut self, evidence: &Evidence, recorded_at_kill: &HashMap<Attempt, u32>) {
        for (attempt, requests) in &evidence.received {
            let eras: Vec<u32> = requests.iter().map(|one| one.era).collect();
            // Within one process an attempt is made once; so a repeated attempt ran when a
            // process was killed.
            if !eras.is_sorted_by(|one, next| one < next) {
                self.broken.push(format!(
                    "{attempt:?} was made twice without a kill in between: {eras:?}"
                ));
            }
            if let Some(kill) = recorded_at_kill.get(attempt)
                && eras.iter().any(|era| era >= kill)
            {
                self.broken.push(format!(
                    "{attempt:?} was recorded at kill {kill} and made again: {eras:?}"
                ));
            }
        }
        self.repeated = evidence.repeated();
        self.broken.extend(evidence.contradictions());
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "expected {} / delivered {} (and {} failed as they must) / repeated {} / chains forked {} / dead letters missing {} (published again {})",
            self.expected,
            self.delivered,
            self.failed,
            self.repeated,
            self.forked,
            self.dead_letters_missing,
            self.dead_letters_again
        )
    }
}
