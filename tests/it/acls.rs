//! `deploy/kafka/acls.md` followed to the letter: each role and command has the rights it needs.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;

use crate::commands::said;
use crate::support::acls::{Rule, allow, rules_of, rules_of_table};
use crate::support::app::{Deployment, Process};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{eventually, kafka, unique};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
const DOCUMENT: &str = include_str!("../../deploy/kafka/acls.md");

/// A deployment whose source is the producer's own topic, and whose other topics nobody has made
/// yet.
pub(crate) async fn deployment() -> Deployment {
    let deployment = deployment_without_topics().await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka::brokers())
        .create()
        .unwrap();
    let source = NewTopic::new(&deployment.source, 4, TopicReplication::Fixed(1));
    admin
        .create_topics([&source], &AdminOptions::new())
        .await
        .unwrap();
    deployment
}

/// A deployment that has no topic yet, not even its source.
async fn deployment_without_topics() -> Deployment {
    let mut deployment = Deployment::create(&[]).await;
    deployment.set_prefix(&unique("acl"));
    deployment.set_source(&unique("events"));
    for (key, value) in [
        ("kafka.brokers", environment("DEV_KAFKA_TLS").as_str()),
        ("kafka.properties.security_protocol", "SASL_SSL"),
        ("kafka.properties.sasl_mechanism", "PLAIN"),
        ("kafka.properties.ssl_ca_location", &environment("DEV_TLS_CA")),
    ] {
        deployment.set(key, value);
    }
    deployment
}

fn environment(name: &str) -> String {
    std::env::var(name).expect("`make test` starts services that listen encrypted, too")
}

/// The document's rules for this deployment's names.
pub(crate) fn documented(deployment: &Deployment) -> Vec<Rule> {
    rules_of(DOCUMENT, |name| match name.strip_prefix("bellwether.") {
        Some(rest) => deployment.topic(rest),
        None => {
            assert_eq!(name, "analytics.events");
            deployment.source.clone()
        }
    })
}

/// Makes the topics, as the admin.
pub(crate) async fn make_topics(deployment: &mut Deployment) {
    become_principal(deployment, "bellwether-admin");
    eventually("the topics are made", TIMEOUT, || async {
        let (code, ..) = said(deployment.run(&["topics", "create"]));
        (code == 0).then_some(())
    })
    .await;
}

/// From now on commands and processes are those of `principal`.
pub(crate) fn become_principal(deployment: &mut Deployment, principal: &str) {
    for key in ["sasl_username", "sasl_password"] {
        deployment.set(&format!("kafka.properties.{key}"), principal);
    }
}

/// Nothing was refused to the process, and the word would be in its log.
fn nothing_was_refused(process: &Process) {
    let log = process.log_text();
    for word in ["uthoriz", "lacks the right", "not allowed"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[test]
fn the_documented_commands_give_the_rights_of_the_table() {
    let mut commands = rules_of(DOCUMENT, str::to_owned);
    let mut table = rules_of_table(DOCUMENT);
    assert!(!table.is_empty());
    for rules in [&mut commands, &mut table] {
        rules.sort();
    }
    assert_eq!(commands, table);
    // Each principal of the commands is in the list of what it runs.
    for rule in &commands {
        let name = rule.principal.trim_start_matches("User:");
        assert_eq!(
            DOCUMENT.matches(&format!("\n| `{name}` | `")).count() - table_rows(name),
            1,
            "{name}"
        );
    }
}

fn table_rows(name: &str) -> usize {
    let after = DOCUMENT.split("| operations | on |").nth(1).unwrap();
    after.matches(&format!("\n| `{name}` | `")).count()
}

#[tokio::test]
async fn each_role_and_command_works_with_its_documented_rights() {
    let mut deployment = deployment_without_topics().await;
    allow(&documented(&deployment)).await;

    become_principal(&mut deployment, "bellwether-admin");
    let (code, out, err) = eventually("the rules are in force", TIMEOUT, || async {
        let (code, out, err) = said(deployment.run(&["topics", "create"]));
        (code == 0).then_some((code, out, err))
    })
    .await;
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 8, ""), "{out}");
    assert!(out.contains(&deployment.source), "{out}");
    let (code, _, err) = said(deployment.run(&["topics", "check"]));
    assert_eq!((code, err.as_str()), (0, ""));

    // The API uses no Kafka.
    become_principal(&mut deployment, "bellwether-stranger");
    let (code, out, err) = said(deployment.run(&["topics", "check", "--roles", "api"]));
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "api uses no topics\n", "")
    );
    let api = deployment.serve(&["--roles", "api"]).await;

    become_principal(&mut deployment, "bellwether-detect");
    let (code, _, err) = said(deployment.run(&["topics", "check", "--roles", "detect"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let detect = deployment.serve(&["--roles", "detect"]).await;
    become_principal(&mut deployment, "bellwether-deliver");
    let (code, _, err) = said(deployment.run(&["topics", "check", "--roles", "deliver"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let deliver = deployment.serve(&["--roles", "deliver"]).await;

    // The first attempt fails, so the delivery passes a retry topic; the other webhook's ends on
    // the dead letters.
    let receiver = Receiver::start().await;
    receiver.answer("hook", |attempt| {
        Answer::status(if attempt < 2 { 500 } else { 200 })
    });
    receiver.answer("gone", |_| Answer::status(410));
    for path in ["hook", "gone"] {
        deployment
            .goal_webhook(&api, "a.example", &receiver.url(path))
            .await;
    }
    // An episode's state is written before its delivery.
    let spike = json!({
        "name": "spike", "url": receiver.url("spike"), "events": ["visitor_spike"],
        "triggers": {"visitor_spike": {"threshold": 2, "window_seconds": 3600}},
    });
    deployment.create_webhook(&api, "a.example", spike).await;
    for process in [&detect, &deliver] {
        deployment.registry_is_read(process).await;
    }

    become_principal(&mut deployment, "bellwether-replay");
    let events = tempfile::NamedTempFile::new().unwrap();
    let goal = json!({"site_id": "a.example", "type": "goal", "name": "Signup"}).to_string();
    let visits = (0..3).map(|visitor| {
        json!({"site_id": "a.example", "type": "pageview", "path": "/", "visitor_id": format!("v{visitor}")})
            .to_string()
    });
    let lines: Vec<String> = std::iter::once(goal).chain(visits).collect();
    std::fs::write(events.path(), lines.join("\n")).unwrap();
    let path = events.path().to_str().unwrap();
    let (code, out, err) = said(deployment.run(&["replay", path, "--speed", "0"]));
    assert_eq!(code, 0, "{out} {err}");
    assert_eq!(receiver.wait_for("hook", 2).await[1].attempt(), 2);
    receiver.wait_for("gone", 1).await;
    receiver.wait_for("spike", 1).await;
    eventually("all have ended", TIMEOUT, || async {
        let ended: Vec<(String,)> = sqlx::query_as("select status from deliveries order by status")
            .fetch_all(&deployment.database.pool)
            .await
            .unwrap();
        let ended: Vec<&str> = ended.iter().map(|(status,)| status.as_str()).collect();
        (ended == ["delivered", "delivered", "failed"]).then_some(())
    })
    .await;
    // Rejects have a topic of their own.
    kafka::publish(&deployment.producer, &deployment.source, "a.example", "no event").await;
    eventually("the reject is there", TIMEOUT, || async {
        (kafka::read_all(&deployment.topic("rejected")).len() == 1).then_some(())
    })
    .await;

    become_principal(&mut deployment, "bellwether-inspect");
    let (_, out, err) = said(deployment.run(&["sources", "inspect"]));
    assert_eq!(err, "", "{out}");
    assert!(
        out.contains("detectors: group") && !out.contains("lacks the right"),
        "{out}"
    );
    become_principal(&mut deployment, "bellwether-dead-letter");
    let (code, out, err) = said(deployment.run(&["dead-letter", "list"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("a.example") && out.contains("410"), "{out}");
    nothing_was_refused(&detect);
    nothing_was_refused(&deliver);
}

#[tokio::test]
async fn route_works_with_its_documented_rights() {
    let mut deployment = deployment_without_topics().await;
    let source = format!(
        "[{{topic=\"{}\", clock=\"live\", keyed=false}}]",
        deployment.source
    );
    deployment.set("sources", &source);
    allow(&documented(&deployment)).await;
    make_topics(&mut deployment).await;
    become_principal(&mut deployment, "bellwether-route");
    let (code, _, err) = said(deployment.run(&["topics", "check", "--roles", "route"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let route = deployment.serve(&["--roles", "route"]).await;
    become_principal(&mut deployment, "bellwether-detect");
    let detect = deployment.serve(&["--roles", "detect"]).await;
    become_principal(&mut deployment, "bellwether-deliver");
    let deliver = deployment.serve(&["--roles", "deliver,api"]).await;

    let receiver = deployment.goal_receiver(&deliver, "a.example").await;
    for process in [&detect, &deliver] {
        deployment.registry_is_read(process).await;
    }
    // Nobody keyed it by its site. A reject is written, too.
    let goal = json!({"site_id": "a.example", "type": "goal", "name": "Signup"}).to_string();
    for value in ["no event", &goal] {
        kafka::publish(&deployment.producer, &deployment.source, "a key", value).await;
    }
    receiver.wait_for("hook", 1).await;
    eventually("the reject is there", TIMEOUT, || async {
        (kafka::read_all(&deployment.topic("rejected")).len() == 1).then_some(())
    })
    .await;
    for process in [&route, &detect, &deliver] {
        nothing_was_refused(process);
    }
}

#[tokio::test]
async fn a_missing_right_is_named_with_its_resource_and_principal() {
    let mut deployment = deployment().await;
    become_principal(&mut deployment, "bellwether-stranger");
    let lacks = |right: &str| format!("User:bellwether-stranger lacks the right {right}");
    let describe = |topic: &str| lacks(&format!("Describe on the topic {topic}"));
    let (code, _, err) = said(deployment.run(&["topics", "check"]));
    assert_eq!(code, 1);
    for topic in [&deployment.source, &deployment.topic("deliveries")] {
        assert!(err.contains(&describe(topic)), "{err}");
    }
    assert!(
        !err.contains("no such topic") && !err.contains("topics create"),
        "{err}"
    );
    let (code, _, err) = said(deployment.run(&["topics", "create"]));
    assert_eq!(code, 1);
    assert!(err.contains(&describe(&deployment.source)), "{err}");
    // A start ends at once, and names the rights that its roles need.
    let started = deployment.refused(&["--roles", "deliver"]).await;
    let (_, _, checked) = said(deployment.run(&["topics", "check", "--roles", "deliver"]));
    for said in [started, checked] {
        for right in [
            format!("right Read on the topic {}", deployment.topic("deliveries")),
            format!(
                "rights Read and Write on the topic {}",
                deployment.topic("retry.1s")
            ),
            format!("right Write on the topic {}", deployment.topic("dead-letter")),
        ] {
            let lacks = format!("User:bellwether-stranger lacks the {right}");
            assert!(said.contains(&lacks), "{said} lacks {right}");
        }
    }
}

#[tokio::test]
async fn a_start_without_the_right_to_its_group_ends_and_names_it() {
    let mut deployment = deployment().await;
    let group = deployment.topic("detect");
    let mut rules = documented(&deployment);
    rules.retain(|rule| !rule.is_on(&group));
    allow(&rules).await;
    make_topics(&mut deployment).await;
    become_principal(&mut deployment, "bellwether-detect");
    let log = deployment.refused(&["--roles", "detect"]).await;
    let right = format!("User:bellwether-detect lacks the right Read on the group {group}");
    assert!(log.lines().last().unwrap().contains(&right), "{log}");
}
