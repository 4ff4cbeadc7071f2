//! The stored states of sites as another process finds them: larger than a record, overwritten by a
//! member that was replaced, written by the first build.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bellwether::domain::event::EventType;
use bellwether::domain::id::{NotificationId, WebhookId};
use bellwether::domain::secret::Secret;
use bellwether::domain::target::TargetUrl;
use bellwether::domain::trigger::{SpikeSettings, Triggers};
use bellwether::domain::webhook::WebhookSettings;
use bellwether::record::keyring::Keyring;
use bellwether::record::{sites, webhooks};
use bellwether::{chance, clock};
use rdkafka::message::{Message as _, OwnedMessage};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Connection as _;
use uuid::Uuid;

use crate::record_support::{settings, site};
use crate::support::app::{Deployment, KEY, Process};
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "crowded.example";
/// One less than a site may have: one more is for goals.
const WEBHOOKS: u32 = 999;
/// Largest record of a state, in bytes.
const LIMIT: usize = 900_000;

/// Short, because the group waits so long for a member that was killed.
const SHORT_SESSION: [(&str, &str); 2] = [
    ("kafka.properties.session.timeout.ms", "1500"),
    ("kafka.properties.heartbeat.interval.ms", "300"),
];

async fn visit(deployment: &Deployment, site: &str, visitors: std::ops::Range<u32>) {
    for n in visitors {
        let event = json!({"site_id": site, "type": "pageview", "visitor_id": format!("v{n}"), "path": "/"});
        deployment.publish(event).await;
    }
}

/// Publishes a goal of a site, which has a webhook for it at `goal`, and waits until it has come
/// through: whatever was published before has been decided then.
async fn goal_comes_through(deployment: &Deployment, receiver: &Receiver, site: &str) {
    let before = receiver.received("goal").len();
    deployment
        .publish(json!({"site_id": site, "type": "goal", "name": "after"}))
        .await;
    receiver.wait_for("goal", before + 1).await;
}

/// Spikes in the record of deliveries: all, and distinct ones.
async fn spikes(deployment: &Deployment) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), count(distinct notification_id) from deliveries \
         where event_type = 'visitor_spike' and status = 'delivered'",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap()
}

/// Distinct notifications that came to a path: one whose sender was killed may come twice.
fn notifications(receiver: &Receiver, path: &str) -> usize {
    let received = receiver.received(path);
    let ids: BTreeSet<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
    ids.len()
}

/// A spike at one visitor, with a window of its own.
fn spiking(receiver: &Receiver, number: u32) -> WebhookSettings {
    let spike = SpikeSettings {
        threshold: 1,
        window_seconds: 60 + number,
    };
    WebhookSettings {
        url: TargetUrl::from_trusted(&receiver.url("spike")).unwrap(),
        headers: Vec::new(),
        events: vec![EventType::VisitorSpike],
        triggers: Triggers {
            visitor_spike: Some(spike.into()),
            ..Triggers::default()
        },
        ..settings(&format!("spike {number}"))
    }
}

async fn crowd(deployment: &Deployment, receiver: &Receiver) {
    let keys = Keyring::parse(&[KEY.to_owned()]).unwrap();
    let secret = Secret::from_stored("a-secret-nobody-may-read".to_owned());
    let mut conn = deployment.database.pool.acquire().await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    let (site_id, now) = (site(SITE), clock::now());
    sites::register(&mut tx, &site_id, now).await.unwrap();
    for number in 0..WEBHOOKS {
        let webhook = webhooks::NewWebhook {
            id: WebhookId::new_v7(now.timestamp_millis(), chance::bytes()),
            site_id: &site_id,
            settings: &spiking(receiver, number),
            secret: &secret,
        };
        webhooks::create(&mut tx, &keys, webhook, 1_000, now)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_state_of_several_records_is_taken_over_whole() {
    let mut deployment = Deployment::create(&SHORT_SESSION).await;
    deployment.set("webhooks.max_per_site", "1000");
    let receiver = Receiver::start().await;
    crowd(&deployment, &receiver).await;
    let process = deployment.serve(&[]).await;
    deployment
        .goal_webhook(&process, SITE, &receiver.url("goal"))
        .await;
    deployment.registry_is_read(&process).await;
    visit(&deployment, SITE, 0..1).await;
    receiver.wait_for("spike", WEBHOOKS as usize).await;
    // What was sent and is not known to be would be sent again after the kill, rightly.
    let all = i64::from(WEBHOOKS);
    eventually("all are recorded", TIMEOUT, || async {
        (spikes(&deployment).await.0 == all).then_some(())
    })
    .await;
    process.kill();
    let states = kafka::read_all(&deployment.topic("detector-state"));
    let keys: BTreeSet<&[u8]> = states.iter().filter_map(|state| state.key()).collect();
    assert!(keys.len() > 1, "{keys:?}");
    let sizes = states.iter().map(|state| state.payload().map_or(0, <[u8]>::len));
    assert!(sizes.max() <= Some(LIMIT));

    let process = deployment.serve(&[]).await;
    visit(&deployment, SITE, 1..3).await;
    goal_comes_through(&deployment, &receiver, SITE).await;
    process
        .metric_is(
            "bellwether_episodes{event=\"visitor_spike\"}",
            f64::from(WEBHOOKS),
        )
        .await;
    assert_eq!(spikes(&deployment).await, (all, all));
    assert_eq!(receiver.received("spike").len(), WEBHOOKS as usize);
}

/// The state records of a site, the latest last.
fn states_of(deployment: &Deployment, site: &str) -> Vec<Value> {
    let records = kafka::read_all(&deployment.topic("detector-state"));
    let of_site = records
        .iter()
        .filter(|record| record.key() == Some(site.as_bytes()));
    of_site
        .map(|record| serde_json::from_slice(record.payload().unwrap()).unwrap())
        .collect()
}

fn is_firing(state: &Value) -> bool {
    state["triggers"][0]["episode"].is_object()
}

async fn spike_webhook(
    deployment: &Deployment,
    process: &Process,
    receiver: &Receiver,
    site: &str,
) -> String {
    let spike = json!({"name": "spike", "url": receiver.url(site), "events": ["visitor_spike"],
                       "triggers": {"visitor_spike": {"threshold": 3, "window_seconds": 3_600}}});
    let made = deployment.create_webhook(process, site, spike).await;
    deployment
        .goal_webhook(process, site, &receiver.url("goal"))
        .await;
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_state_that_a_zombie_overwrote_is_written_again() {
    let deployment = Deployment::create(&SHORT_SESSION).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, SITE).await;
    deployment.registry_is_read(&process).await;
    visit(&deployment, SITE, 0..3).await;
    receiver.wait_for(SITE, 1).await;
    let winner = eventually("the state is settled", TIMEOUT, || async {
        let state = states_of(&deployment, SITE).pop()?;
        (is_firing(&state) && state["unconfirmed"] == json!([])).then_some(state)
    })
    .await;
    process.kill();
    // As a member writes that was replaced while it wrote: of fewer records, and before the spike.
    let mut zombies = winner.clone();
    zombies["triggers"] = json!([]);
    zombies["rows"] = json!([]);
    zombies["covered"][&deployment.source] = json!(0);
    let topic = deployment.topic("detector-state");
    kafka::publish(&deployment.producer, &topic, SITE, zombies.to_string()).await;
    assert!(!is_firing(&states_of(&deployment, SITE).pop().unwrap()));

    // Compaction keeps the last record of a key.
    let process = deployment.serve(&[]).await;
    eventually("the winner is the last", TIMEOUT, || async {
        is_firing(&states_of(&deployment, SITE).pop()?).then_some(())
    })
    .await;
    visit(&deployment, SITE, 3..5).await;
    goal_comes_through(&deployment, &receiver, SITE).await;
    process
        .metric_is("bellwether_episodes{event=\"visitor_spike\"}", 1.0)
        .await;
    assert_eq!(notifications(&receiver, SITE), 1);
}

const CALM: &str = "calm.example";
const FIRING: &str = "firing.example";
const UNTOLD: &str = "untold.example";

/// The latest offset of each site's visits.
fn latest_offsets(deployment: &Deployment) -> BTreeMap<String, i64> {
    let records = kafka::read_all(&deployment.source);
    let offset_of = |record: &OwnedMessage| {
        let key = std::str::from_utf8(record.key().unwrap()).unwrap();
        (key.to_owned(), record.offset())
    };
    let mut latest = BTreeMap::new();
    for (site, offset) in records.iter().map(offset_of) {
        let known = latest.entry(site).or_insert(offset);
        *known = offset.max(*known);
    }
    latest
}

/// A state as the first build wrote it: these fields, in this order.
#[derive(Serialize)]
struct FirstState<'a> {
    v: u32,
    site: &'a str,
    clock: i64,
    covered: BTreeMap<&'a str, i64>,
    firing: Vec<FirstTrigger<'a>>,
    unconfirmed: Vec<FirstDecision<'a>>,
}

#[derive(Serialize)]
struct FirstTrigger<'a> {
    event: &'static str,
    threshold: u32,
    window_seconds: u32,
    webhooks: [&'a str; 1],
    calm_since: Option<i64>,
    episode: FirstEpisode,
}

#[derive(Serialize)]
struct FirstEpisode {
    id: Uuid,
    started_at: i64,
    decided_at_ms: i64,
}

#[derive(Serialize)]
struct FirstDecision<'a> {
    episode: Uuid,
    notification: String,
    event: &'static str,
    webhooks: [&'a str; 1],
    created_at_ms: i64,
    body: Value,
}

/// The state of a site by the first build, with a spike of now unless it is calm, which is not
/// known to be published for [`UNTOLD`].
fn of_the_first_build(deployment: &Deployment, site: &str, covered: i64, webhook: &str) -> String {
    let now = chrono::Utc::now();
    let (now_ms, clock) = (now.timestamp_millis(), now.timestamp());
    let uuid = |tail: u64| Uuid::from_u64_pair(now_ms.cast_unsigned() << 16 | 0x7000, tail | 1 << 63);
    let episode = uuid(1);
    let notification = NotificationId::from_uuid(uuid(2)).to_string();
    let (event, webhooks) = ("visitor_spike", [webhook]);
    let body = json!({
        "id": notification, "event": event, "site_id": site,
        "timestamp": now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "data": {"current_visitors": 3, "threshold": 3, "window_seconds": 3_600, "baseline": null,
                 "top_sources": [], "top_pages": []},
    });
    let firing = FirstTrigger {
        event,
        threshold: 3,
        window_seconds: 3_600,
        webhooks,
        calm_since: None,
        episode: FirstEpisode {
            id: episode,
            started_at: clock,
            decided_at_ms: now_ms,
        },
    };
    let untold = FirstDecision {
        episode,
        notification,
        event,
        webhooks,
        created_at_ms: now_ms,
        body,
    };
    let state = FirstState {
        v: 1,
        site,
        clock,
        covered: [(deployment.source.as_str(), covered)].into(),
        firing: (site != CALM).then_some(firing).into_iter().collect(),
        unconfirmed: (site == UNTOLD).then_some(untold).into_iter().collect(),
    };
    serde_json::to_string(&state).unwrap()
}

#[tokio::test]
async fn states_of_the_first_build_are_taken_over() {
    let deployment = Deployment::create(&SHORT_SESSION).await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&["--roles", "api"]).await;
    let topic = deployment.topic("detector-state");
    for (site, visitors) in [(CALM, 1), (FIRING, 3), (UNTOLD, 3)] {
        let webhook = spike_webhook(&deployment, &process, &receiver, site).await;
        visit(&deployment, site, 0..visitors).await;
        let covered = latest_offsets(&deployment)[site];
        let state = of_the_first_build(&deployment, site, covered, &webhook);
        kafka::publish(&deployment.producer, &topic, site, state).await;
    }
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    // Twice: the second process finds what the first has made of it.
    for visitor in [3, 4] {
        let process = deployment.serve(&[]).await;
        receiver.wait_for(UNTOLD, 1).await;
        for site in [FIRING, UNTOLD] {
            visit(&deployment, site, visitor..visitor + 1).await;
            goal_comes_through(&deployment, &receiver, site).await;
        }
        goal_comes_through(&deployment, &receiver, CALM).await;
        process
            .metric_is("bellwether_episodes{event=\"visitor_spike\"}", 2.0)
            .await;
        process.kill();
    }
    let told = [CALM, FIRING, UNTOLD].map(|site| notifications(&receiver, site));
    assert_eq!(told, [0, 0, 1]);
}
