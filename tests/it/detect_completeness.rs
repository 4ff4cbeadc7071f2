//! What the detector may conclude: restarts with several sources, topics made anew, suspensions,
//! open transactions. Each ends with exactly the notifications of an undisturbed run.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use crate::support::app::{Deployment, Process};
use crate::support::faults::{Dice, Wire};
use crate::support::receiver::Receiver;
use crate::support::{eventually, kafka, within};

const TIMEOUT: Duration = Duration::from_secs(60);
const SITE: &str = "spike.example";
const EPISODES: &str = "bellwether_episodes{event=\"visitor_spike\"}";

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap()
}

pub(crate) async fn create_topic(name: &str, partitions: i32) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    // A topic that was just deleted is in the way for a moment.
    eventually("the topic is made", TIMEOUT, || async {
        let made = admin()
            .create_topics([&topic], &AdminOptions::new())
            .await
            .unwrap();
        made[0].is_ok().then_some(())
    })
    .await;
    // The controller has made it, and the broker hears of it a moment later.
    eventually("the broker knows the topic", TIMEOUT, || async {
        let metadata = admin()
            .inner()
            .fetch_metadata(Some(name), Duration::from_secs(5))
            .ok()?;
        let known = metadata.topics().first()?.partitions();
        let have_leaders = known.iter().all(|one| one.leader() >= 0);
        (known.len() == usize::try_from(partitions).ok()? && have_leaders).then_some(())
    })
    .await;
}

/// A deployment with two live sources, the second called `<source>.more`.
pub(crate) async fn two_sources(settings: &[(&str, &str)]) -> (Deployment, String) {
    let sources = "[{topic=\"{source}\", clock=\"live\"}, {topic=\"{source}.more\", clock=\"live\"}]";
    let mut all = vec![
        ("sources", sources),
        ("kafka.properties.session.timeout.ms", "3000"),
        ("kafka.properties.heartbeat.interval.ms", "500"),
        ("detect.out_of_order", "1s"),
    ];
    all.extend_from_slice(settings);
    let deployment = Deployment::create(&all).await;
    let more = format!("{}.more", deployment.source);
    let has_more = admin()
        .inner()
        .fetch_metadata(Some(&more), Duration::from_secs(10))
        .is_ok_and(|found| !found.topics()[0].partitions().is_empty());
    if !has_more {
        create_topic(&more, 4).await;
    }
    (deployment, more)
}

async fn spike_webhook(
    deployment: &Deployment,
    process: &Process,
    receiver: &Receiver,
    threshold: u32,
    window_seconds: u32,
) {
    deployment
        .create_webhook(
            process,
            SITE,
            json!({"name": "spike", "url": receiver.url("spike"), "events": ["visitor_spike"],
                   "triggers": {"visitor_spike": {"threshold": threshold, "window_seconds": window_seconds}}}),
        )
        .await;
    deployment.registry_is_read(process).await;
}

async fn visit(deployment: &Deployment, topic: &str, names: std::ops::Range<u32>) {
    for n in names {
        let event = json!({"site_id": SITE, "type": "pageview", "visitor_id": format!("v{n}"), "path": "/"});
        deployment.publish_to(topic, event).await;
    }
}

async fn counted(process: &Process, visitors: u32) {
    process
        .metric_is("bellwether_visitors", f64::from(visitors))
        .await;
}

/// Distinct notifications of a type that were delivered, once a goal that was published after
/// everything else has come through.
async fn spikes(deployment: &Deployment, process: &Process, receiver: &Receiver, topics: &[&str]) -> i64 {
    deployment
        .goal_webhook(process, SITE, &receiver.url("goal"))
        .await;
    deployment.registry_is_read(process).await;
    for topic in topics {
        let before = receiver.received("goal").len();
        deployment
            .publish_to(topic, json!({"site_id": SITE, "type": "goal", "name": "after"}))
            .await;
        receiver.wait_for("goal", before + 1).await;
    }
    let (count,): (i64,) = sqlx::query_as(
        "select count(distinct notification_id) from deliveries where event_type = 'visitor_spike'",
    )
    .fetch_one(&deployment.database.pool)
    .await
    .unwrap();
    count
}

/// Kills a process inside an episode, lets events come in some sources, and starts another.
async fn killed_inside_an_episode(while_down: &[bool; 2]) {
    let (deployment, more) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 10, 300).await;
    visit(&deployment, &deployment.source, 0..6).await;
    visit(&deployment, &more, 4..12).await;
    receiver.wait_for("spike", 1).await;
    counted(&process, 12).await;
    process.kill();
    let topics = [deployment.source.clone(), more];
    for (topic, has_events) in topics.iter().zip(while_down) {
        if *has_events {
            visit(&deployment, topic, 8..14).await;
        }
    }
    let process = deployment.serve(&[]).await;
    counted(&process, if while_down.contains(&true) { 14 } else { 12 }).await;
    assert_eq!(process.metric(EPISODES).await, 1.0, "the episode goes on");
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    assert_eq!(spikes(&deployment, &process, &receiver, &topics).await, 1);
}

#[tokio::test]
async fn a_kill_in_an_episode_without_events_notifies_once() {
    killed_inside_an_episode(&[false, false]).await;
}

#[tokio::test]
async fn a_kill_in_an_episode_with_events_in_one_source_notifies_once() {
    killed_inside_an_episode(&[true, false]).await;
}

#[tokio::test]
async fn a_kill_in_an_episode_with_events_in_the_other_notifies_once() {
    killed_inside_an_episode(&[false, true]).await;
}

#[tokio::test]
async fn a_kill_in_an_episode_with_events_in_both_notifies_once() {
    killed_inside_an_episode(&[true, true]).await;
}

#[tokio::test]
async fn offsets_reset_by_an_operator_notify_nothing_twice() {
    let (deployment, more) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 10, 300).await;
    visit(&deployment, &deployment.source, 0..6).await;
    visit(&deployment, &more, 4..12).await;
    receiver.wait_for("spike", 1).await;
    counted(&process, 12).await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    for offset in [0, 3] {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka::brokers())
            .set("group.id", deployment.topic("detect"))
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for topic in [&deployment.source, &more] {
            for partition in 0..4 {
                list.add_partition_offset(topic, partition, Offset::Offset(offset))
                    .unwrap();
            }
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
        let mut process = deployment.serve(&[]).await;
        counted(&process, 12).await;
        assert!(process.log_text().contains("was not written by Bellwether"));
        process.terminate();
        assert!(process.ended(TIMEOUT).await.success());
    }
    let process = deployment.serve(&[]).await;
    let topics = [deployment.source.as_str(), more.as_str()];
    assert_eq!(spikes(&deployment, &process, &receiver, &topics).await, 1);
}

#[tokio::test]
async fn a_source_made_anew_is_read_from_its_beginning() {
    let (deployment, more) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 1_000, 300).await;
    deployment
        .goal_webhook(&process, SITE, &receiver.url("goal"))
        .await;
    deployment.registry_is_read(&process).await;
    visit(&deployment, &deployment.source, 0..30).await;
    visit(&deployment, &more, 0..5).await;
    counted(&process, 30).await;
    admin()
        .delete_topics(&[&deployment.source], &AdminOptions::new())
        .await
        .unwrap();
    create_topic(&deployment.source, 4).await;
    let replayed = format!(
        "bellwether_events_total{{result=\"replayed\",source=\"{}\"}}",
        deployment.source
    );
    for n in 0..5 {
        let goal = json!({"site_id": SITE, "type": "goal", "name": format!("goal {n}"), "visitor_id": format!("w{n}")});
        deployment.publish(goal).await;
    }
    receiver.wait_for("goal", 5).await;
    assert_eq!(process.metric(&replayed).await, 0.0);
    eventually(
        "a warning names topic, partition and both offsets",
        TIMEOUT,
        || async {
            let log = process.log_text();
            let line = log.lines().find(|line| line.contains("offsets went back"))?;
            let named = ["expected", "found", "partition"]
                .iter()
                .all(|word| line.contains(word));
            (named && line.contains(&deployment.source)).then_some(())
        },
    )
    .await;
    // It goes on from there, also after a restart.
    process.kill();
    let process = deployment.serve(&[]).await;
    deployment
        .publish(json!({"site_id": SITE, "type": "goal", "name": "last"}))
        .await;
    receiver.wait_for("goal", 6).await;
    assert_eq!(process.metric("bellwether_partitions_unrestored").await, 0.0);
}

#[tokio::test]
async fn a_suspended_process_arms_and_notifies_nothing_again() {
    let (deployment, more) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 10, 60).await;
    visit(&deployment, &deployment.source, 0..12).await;
    receiver.wait_for("spike", 1).await;
    process.signal("STOP");
    // These answer a request that it has left open, so that it has them in hand when it wakes.
    visit(&deployment, &deployment.source, 0..12).await;
    // The visitors stay: their events are on the topic while nobody reads.
    for _ in 0..14 {
        // Time has to pass: windows end by the clock of the machine.
        tokio::time::sleep(Duration::from_secs(10)).await;
        visit(&deployment, &deployment.source, 0..12).await;
    }
    process.signal("CONT");
    let topics = [deployment.source.as_str(), more.as_str()];
    assert_eq!(spikes(&deployment, &process, &receiver, &topics).await, 1);
    // A look at the second after the partitions came back.
    process.metric_is(EPISODES, 1.0).await;
}

#[tokio::test]
async fn behind_a_silent_broker_nothing_is_armed_again() {
    let wire = Wire::to_kafka().await;
    let (mut deployment, more) = two_sources(&[]).await;
    deployment.set("kafka.brokers", &wire.address());
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 10, 60).await;
    visit(&deployment, &deployment.source, 0..12).await;
    receiver.wait_for("spike", 1).await;
    wire.silence();
    for _ in 0..14 {
        // Time has to pass: windows end by the clock of the machine.
        tokio::time::sleep(Duration::from_secs(10)).await;
        visit(&deployment, &deployment.source, 0..12).await;
    }
    wire.mend();
    let topics = [deployment.source.as_str(), more.as_str()];
    assert_eq!(spikes(&deployment, &process, &receiver, &topics).await, 1);
}

#[tokio::test]
async fn silent_sites_move_beside_ever_open_transactions() {
    let (deployment, _) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    let process = deployment.serve(&[]).await;
    spike_webhook(&deployment, &process, &receiver, 3, 60).await;
    let source = deployment.source.clone();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .set("transactional.id", crate::support::unique("tx"))
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    // Another transaction is open at nearly every instant, on every partition.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let topic = source.clone();
    let writing = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
            producer.begin_transaction().unwrap();
            for partition in 0..4 {
                let record = BaseRecord::<str, str>::to(&topic)
                    .partition(partition)
                    .key("other.example")
                    .payload("{\"site_id\":\"other.example\",\"type\":\"pageview\",\"visitor_id\":\"x\"}");
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            producer.flush(TIMEOUT).unwrap();
            // So long the transaction stays open.
            std::thread::sleep(Duration::from_millis(300));
            producer.commit_transaction(TIMEOUT).unwrap();
        }
    });
    visit(&deployment, &source, 0..3).await;
    receiver.wait_for("spike", 1).await;
    process.metric_is(EPISODES, 1.0).await;
    // A minute of window and a calm minute later the trigger is armed, though its site is silent.
    eventually("the episode ends", Duration::from_secs(180), || async {
        (process.try_metric(EPISODES).await? == 0.0).then_some(())
    })
    .await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    writing.join().unwrap();
    let lag = format!("bellwether_consumer_lag_records{{group=\"detect\",topic=\"{source}\"}}");
    process.metric_is(&lag, 0.0).await;
}

#[tokio::test]
async fn a_source_with_more_partitions_stops_no_other() {
    let (deployment, more) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    let mut process = deployment.serve(&[]).await;
    deployment
        .goal_webhook(&process, SITE, &receiver.url("goal"))
        .await;
    deployment.registry_is_read(&process).await;
    add_partitions(&more, 8).await;
    eventually("partitions that come while it runs are told", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        let text = format!("the partitions 4 to 7 of {more} are not detected");
        let is_told = |told: String| told.contains(&text) && told.contains("same number of partitions");
        (is_told(answer["notices"].to_string()) && is_told(process.log_text())).then_some(())
    })
    .await;
    process.terminate();
    assert!(process.ended(TIMEOUT).await.success());
    let process = deployment.spawn(&[]);
    for topic in [&deployment.source, &more] {
        let before = receiver.received("goal").len();
        deployment
            .producer
            .send(
                rdkafka::producer::FutureRecord::to(topic)
                    .partition(0)
                    .key(SITE)
                    .payload(&json!({"site_id": SITE, "type": "goal", "name": "still"}).to_string()),
                TIMEOUT,
            )
            .await
            .unwrap();
        receiver.wait_for("goal", before + 1).await;
    }
    process.metric_is("bellwether_partitions_unrestored", 4.0).await;
    eventually("readyz names each partition and the remedy", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        let notices = answer["notices"].to_string();
        let is_named = (4..8).all(|n| notices.contains(&format!("partition {n} waits")));
        (is_named && notices.contains("same number of partitions")).then_some(())
    })
    .await;
    // They are tried again after 1 s and 2 s: none of them for the reason of another.
    let of_another = within(Duration::from_secs(4), || async {
        let log = process.log_text();
        let mut lines = log.lines().filter(|line| line.contains("a partition waits"));
        let is_of_another = |line: &&str| {
            (4..8).any(|n| {
                let others = (4..8).filter(|other| *other != n);
                let mut others = others.map(|other| format!("partition {other} of the sources"));
                line.contains(&format!("\"partition\":{n}")) && others.any(|other| line.contains(&other))
            })
        };
        lines.find(is_of_another).map(str::to_owned)
    });
    assert_eq!(of_another.await, None);
}

async fn add_partitions(topic: &str, count: usize) {
    eventually("the partitions are added", TIMEOUT, || async {
        let more = NewPartitions::new(topic, count);
        let answer = admin().create_partitions(&[more], &AdminOptions::new()).await;
        match &answer.unwrap()[..] {
            [Ok(_)] => Some(()),
            // A broker that answered too late has done it.
            [Err((_, RDKafkaErrorCode::InvalidPartitions))] => Some(()),
            _ => None,
        }
    })
    .await;
}

#[tokio::test]
async fn a_newer_state_holds_up_only_its_partition() {
    let (deployment, more) = two_sources(&[]).await;
    let receiver = Receiver::start().await;
    // One on every partition, with a goal for each.
    let sites: Vec<String> = (0..8).map(|n| format!("{n}.example")).collect();
    let newer = kafka::Raw {
        topic: deployment.topic("detector-state"),
        partition: 1,
        key: Some(b"newer.example".to_vec()),
        body: Some(b"{\"v\":99}".to_vec()),
        headers: Vec::new(),
    };
    newer.publish(&deployment.producer).await;
    let process = deployment.serve(&[]).await;
    process.metric_is("bellwether_partitions_unrestored", 1.0).await;
    for site in &sites {
        deployment.goal_webhook(&process, site, &receiver.url(site)).await;
    }
    deployment.registry_is_read(&process).await;
    for (n, site) in sites.iter().enumerate() {
        let goal = json!({"site_id": site, "type": "goal", "name": "one"}).to_string();
        let record = rdkafka::producer::FutureRecord::to(&more)
            .partition((n % 4) as i32)
            .key(site)
            .payload(&goal);
        deployment.producer.send(record, TIMEOUT).await.unwrap();
    }
    for (n, site) in sites.iter().enumerate().filter(|(n, _)| n % 4 != 1) {
        assert_eq!(receiver.wait_for(site, 1).await.len(), 1, "{n}");
    }
    let (_, answer) = process.readyz().await.unwrap();
    let notices = answer["notices"].to_string();
    assert!(
        notices.contains("partition 1 waits") && notices.contains("finish the upgrade"),
        "{notices}"
    );
    assert!(receiver.received(&sites[1]).is_empty());
    // The upgrade is finished, so to say: the state goes, and what waited is read.
    kafka::Raw { body: None, ..newer }
        .publish(&deployment.producer)
        .await;
    receiver.wait_for(&sites[1], 1).await;
    process.metric_is("bellwether_partitions_unrestored", 0.0).await;
    eventually("readyz names it no more", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        (!answer["notices"].to_string().contains("waits")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reject_that_its_topic_never_takes_holds_up_nothing() {
    let (deployment, _) = two_sources(&[]).await;
    let rejected = deployment.topic("rejected");
    let process = deployment.serve(&[]).await;
    kafka::set_max_message_bytes(&rejected, 20_000).await;
    let mut dice = Dice::from_env("NOISE_SEED");
    let noise: String = (0..70_000)
        .map(|_| char::from(33 + dice.below(90) as u8))
        .collect();
    kafka::publish(&deployment.producer, &deployment.source, SITE, noise).await;
    let lag = format!(
        "bellwether_consumer_lag_records{{group=\"detect\",topic=\"{}\"}}",
        deployment.source
    );
    let rejects = format!(
        "bellwether_rejected_records_total{{reason=\"not_json\",source=\"{}\"}}",
        deployment.source
    );
    process.metric_is(&rejects, 1.0).await;
    process.metric_is(&lag, 0.0).await;
    let reject = eventually("the reject is there", TIMEOUT, || async {
        kafka::read_all(&rejected).pop()
    })
    .await;
    assert_eq!(kafka::header(&reject, "bw-truncated"), Some("70000"));
}

#[tokio::test]
async fn a_first_start_lacks_the_records_that_were_removed() {
    let deployment = Deployment::create(&[]).await;
    let api = deployment.serve(&["--roles", "api"]).await;
    // The site of a drop that waits for no history is counted before its first event.
    let hook = json!({"name": "drop", "url": "https://hook.example/", "events": ["visitor_drop"],
                      "triggers": {"visitor_drop": {"threshold": 2, "window_seconds": 300, "require_history": false}}});
    deployment.create_webhook(&api, SITE, hook).await;
    api.kill();
    visit(&deployment, &deployment.source, 0..3).await;
    let partition = kafka::read_all(&deployment.source)[0].partition();
    kafka::delete_before(&deployment.source, partition, 3).await;
    let process = deployment.serve(&[]).await;
    process.metric_is("bellwether_partitions_incomplete", 1.0).await;
}
