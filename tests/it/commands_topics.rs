//! `topics create` and `topics check` as an operator runs them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::commands::said;
use crate::support::app::Deployment;
use crate::support::{eventually, kafka, unique};

const TIMEOUT: Duration = Duration::from_secs(60);

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap()
}

#[tokio::test]
async fn topics_create_makes_missing_topics_and_can_be_repeated() {
    let mut deployment = Deployment::create(&[]).await;
    let prefix = unique("cmd");
    deployment.set("kafka.topic_prefix", &prefix);
    deployment.set("sources", &format!("[{{topic=\"{prefix}.source\"}}]"));
    let (code, out, err) = said(deployment.run(&["topics", "check"]));
    assert_eq!((code, out.as_str()), (1, ""));
    for name in [
        "source",
        "deliveries",
        "retry.1s",
        "dead-letter",
        "rejected",
        "detector-state",
    ] {
        assert!(
            err.contains(&format!("{prefix}.{name}: there is no such topic")),
            "{err}"
        );
    }
    assert!(err.contains("`bellwether topics create`"), "{err}");

    let (code, out, _) = said(deployment.run(&["topics", "create"]));
    assert_eq!((code, out.lines().count()), (0, 8), "{out}");
    assert!(out.lines().all(|line| line.starts_with("created  ")), "{out}");
    let (code, out, _) = said(deployment.run(&["topics", "create"]));
    assert_eq!((code, out.lines().count()), (0, 8), "{out}");
    assert!(out.lines().all(|line| line.starts_with("exists  ")), "{out}");
    let (code, out, _) = said(deployment.run(&["topics", "check"]));
    assert_eq!((code, out.as_str()), (0, "all 8 topics are as they must be\n"));

    deployment.set("kafka.partitions", "8");
    let (code, _, err) = said(deployment.run(&["topics", "check"]));
    assert_eq!(code, 1);
    let wanted = format!("{prefix}.deliveries: it has 4 partitions, kafka.partitions says 8");
    assert!(err.contains(&wanted) && !err.contains("topics create"), "{err}");
}

#[tokio::test]
async fn topics_check_names_topic_setting_and_both_values() {
    let mut deployment = Deployment::create(&[]).await;
    let mut changes: Vec<(String, &str, &str)> = Vec::new();
    for (topic, setting, value) in [
        ("deliveries", "retention.ms", "3600000"),
        ("dead-letter", "retention.ms", "-1"),
        ("rejected", "cleanup.policy", "compact,delete"),
        ("detector-state", "segment.bytes", "1073741824"),
        ("detector-state", "min.cleanable.dirty.ratio", "0.5"),
        ("detector-state", "max.compaction.lag.ms", "86400000"),
        ("retry.1s", "retention.ms", "1209600000"),
        ("rejected", "max.message.bytes", "20000"),
    ] {
        changes.push((deployment.topic(topic), setting, value));
    }
    let mut altered: BTreeMap<&str, AlterConfig<'_>> = Default::default();
    for (topic, setting, value) in &changes {
        let change = altered
            .remove(topic.as_str())
            .unwrap_or_else(|| AlterConfig::new(ResourceSpecifier::Topic(topic)));
        altered.insert(topic, change.set(setting, value));
    }
    let results = admin()
        .alter_configs(altered.values(), &AdminOptions::new())
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");

    let wanted = [
        "deliveries: retention.ms is `3600000`, it must be at least `604800000`",
        "rejected: cleanup.policy is `compact,delete`, it must be `delete`",
        "rejected: max.message.bytes is `20000`, it must be at least `131072`",
        "detector-state: segment.bytes is `1073741824`, it must be at most `33554432`",
        "detector-state: min.cleanable.dirty.ratio is `0.5`, it must be at most `0.1`",
        "detector-state: max.compaction.lag.ms is `86400000`, it must be at most `600000`",
    ];
    // `alter_configs` sets all of a topic's settings: those that it does not name have the broker's
    // defaults.
    let also = ["detector-state: cleanup.policy is `delete`, it must be `compact`"];
    let (code, err) = eventually("the broker tells of the changes", TIMEOUT, || async {
        let (code, _, err) = said(deployment.run(&["topics", "check"]));
        (err.lines().count() >= wanted.len() + also.len()).then_some((code, err))
    })
    .await;
    assert_eq!(code, 1);
    for line in wanted.iter().chain(&also) {
        assert!(err.contains(&deployment.topic(line)), "{err} lacks {line}");
    }
    let lines = err.lines().filter(|line| !line.starts_with('{'));
    assert_eq!(
        lines.count(),
        wanted.len() + also.len(),
        "more generous retention is fine: {err}"
    );
    // A start says the same.
    assert!(
        deployment
            .refused(&[])
            .await
            .contains("segment.bytes is `1073741824`")
    );

    // The one broker holds one copy, and has too few where more are asked for.
    deployment.set("kafka.replication_factor", "3");
    let (_, _, err) = said(deployment.run(&["topics", "check"]));
    let copies = format!(
        "{}: it has 1 copy of a partition, kafka.replication_factor says 3",
        deployment.topic("deliveries")
    );
    let in_sync = format!(
        "{}: min.insync.replicas is `1`, it must be at least `2`",
        deployment.topic("deliveries")
    );
    assert!(err.contains(&copies) && err.contains(&in_sync), "{err}");
    assert!(
        !err.contains(&format!("{}: ", deployment.source)),
        "the producer's topic is the producer's: {err}"
    );
}

#[tokio::test]
async fn a_retired_tier_must_have_as_many_partitions() {
    let deployment = Deployment::create(&[]).await;
    let old = deployment.topic("retry.5m");
    let new = NewTopic::new(&old, 3, TopicReplication::Fixed(1));
    admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
    let wanted = format!("{old}: it has 3 partitions, kafka.partitions says 4");
    eventually("the topic is known and refused", TIMEOUT, || async {
        let (code, _, err) = said(deployment.run(&["topics", "check"]));
        (code == 1 && err.contains(&wanted)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn topics_create_prints_the_partitions_that_topics_have() {
    let mut deployment = Deployment::create(&[]).await;
    // A source that `route` keys may have any number.
    let source = unique("events");
    let new = NewTopic::new(&source, 3, TopicReplication::Fixed(1));
    admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
    deployment.set("sources", &format!("[{{topic=\"{source}\", format=\"umami\"}}]"));
    let out = eventually("the topic is known", TIMEOUT, || async {
        let (code, out, _) = said(deployment.run(&["topics", "create"]));
        (code == 0 && out.contains(&format!("exists  {source}"))).then_some(out)
    })
    .await;
    assert!(
        out.contains(&format!("exists  {source}  (3 partitions)")),
        "{out}"
    );
    assert!(
        out.contains(&format!(
            "created  {}  (4 partitions)",
            deployment.topic("events")
        )),
        "{out}"
    );
    deployment.set("kafka.partitions", "8");
    let (code, out, err) = said(deployment.run(&["topics", "create"]));
    assert_eq!(code, 1, "{out}");
    let real = format!("exists  {}  (4 partitions)", deployment.topic("deliveries"));
    assert!(out.contains(&real) && !out.contains("8 partitions"), "{out}");
    assert!(
        err.contains("kafka.partitions says 8") && !err.contains(&source),
        "{err}"
    );
}
