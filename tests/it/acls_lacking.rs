//! Rights that are missing on one topic: commands name them, and a process says them on `/readyz`
//! until they are granted.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::acls::{TIMEOUT, become_principal, deployment, documented, make_topics};
use crate::commands::said;
use crate::support::acls::{Rule, allow};
use crate::support::app::Deployment;
use crate::support::eventually;

/// Long before any timeout of a client.
const SOON: Duration = Duration::from_secs(8);
/// Longest time until the lack of a right is seen.
const LIMIT: Duration = Duration::from_secs(5);

/// Makes the topics with the admin's rights, and puts `rules` in force.
async fn deployment_with(rules: impl FnOnce(&Deployment) -> Vec<Rule>) -> Deployment {
    let mut deployment = deployment().await;
    allow(&rules(&deployment)).await;
    make_topics(&mut deployment).await;
    deployment
}

#[tokio::test]
async fn a_command_without_its_right_on_a_topic_names_it() {
    let mut deployment = deployment_with(documented).await;
    let events = tempfile::NamedTempFile::new().unwrap();
    let goal = json!({"site_id": "a.example", "type": "goal", "name": "Signup"}).to_string();
    std::fs::write(events.path(), goal).unwrap();
    let path = events.path().to_str().unwrap();
    let (source, dead_letter) = (deployment.source.clone(), deployment.topic("dead-letter"));
    let replay = ["replay", path, "--speed", "0"];
    for (user, command, right, topic) in [
        ("bellwether-stranger", replay.as_slice(), "Write", &source),
        (
            "bellwether-stranger",
            &["dead-letter", "list"],
            "Read",
            &dead_letter,
        ),
        ("bellwether-stranger", &["sources", "inspect"], "Read", &source),
        // They may see the topic.
        ("bellwether-inspect", &replay, "Write", &source),
        ("bellwether-replay", &["sources", "inspect"], "Read", &source),
        (
            "bellwether-deliver",
            &["dead-letter", "list"],
            "Read",
            &dead_letter,
        ),
    ] {
        become_principal(&mut deployment, user);
        let begun = Instant::now();
        let (code, out, err) = said(deployment.run(command));
        let took = begun.elapsed();
        let wanted = format!("bellwether: User:{user} lacks the right {right} on the topic {topic}\n");
        assert_eq!((code, out.as_str(), err), (1, "", wanted), "{user} {command:?}");
        assert!(took < SOON, "{took:?}: {user} {command:?}");
    }
}

/// Begins without the right to read `topic`, which the user may see, and is granted it later.
async fn a_missing_read_is_seen(role: &str, topic: &str) {
    let user = format!("bellwether-{role}");
    let name = |deployment: &Deployment| match topic {
        "source" => deployment.source.clone(),
        own => deployment.topic(own),
    };
    let mut granted = Vec::new();
    let mut deployment = deployment_with(|deployment| {
        let mut rules = documented(deployment);
        for rule in &mut rules {
            if rule.allows(&user, "Read") && rule.is_on(&name(deployment)) {
                granted.push(rule.clone());
                *rule = rule.with("Describe");
            }
        }
        rules
    })
    .await;
    assert_eq!(granted.len(), 1, "{topic}");
    become_principal(&mut deployment, &user);
    let mut process = deployment.spawn(&["--roles", role]);
    // The first answer of a process that has asked Kafka anything.
    let reason = |answer: &Value| answer["checks"]["kafka"].as_str().unwrap_or_default().to_owned();
    let begun = eventually("Kafka was asked", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        (reason(&answer) != "starting").then(Instant::now)
    })
    .await;
    let lacks = format!(
        "User:{user} lacks the right Read on the topic {}",
        name(&deployment)
    );
    eventually("it is not ready and says why", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let is_named = status == StatusCode::SERVICE_UNAVAILABLE && reason(&answer).contains(&lacks);
        is_named.then_some(())
    })
    .await;
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    // The log repeats it, and says how often it was left out.
    eventually("the log says it again", TIMEOUT, || async {
        let log = process.log_text();
        let lines = log
            .lines()
            .filter(|line| line.contains(&lacks) && line.contains("\"suppressed\""));
        (lines.count() >= 3).then_some(())
    })
    .await;
    allow(&granted).await;
    process.ready().await;
}

/// A start asks only if the group may be described.
#[tokio::test]
async fn a_member_that_may_only_describe_its_group_says_so() {
    let mut granted = Vec::new();
    let mut deployment = deployment_with(|deployment| {
        let mut rules = documented(deployment);
        for rule in rules
            .iter_mut()
            .filter(|rule| rule.is_on(&deployment.topic("detect")))
        {
            if rule.allows("bellwether-detect", "Read") {
                granted.push(rule.clone());
                *rule = rule.with("Describe");
            }
        }
        rules
    })
    .await;
    let lacks = format!(
        "User:bellwether-detect lacks the right Read on the group {}",
        deployment.topic("detect")
    );
    become_principal(&mut deployment, "bellwether-detect");
    let mut process = deployment.spawn(&["--roles", "detect"]);
    eventually("it says why it has no partitions", TIMEOUT, || async {
        let (_, answer) = process.readyz().await?;
        let reason = answer["checks"]["assignment"].as_str()?;
        reason.contains(&lacks).then_some(())
    })
    .await;
    assert!(process.log_text().contains(&lacks), "{}", process.log_text());
    allow(&granted).await;
    process.ready().await;
}

#[tokio::test]
async fn deliver_without_read_on_its_retries_is_not_ready() {
    a_missing_read_is_seen("deliver", "retry.").await;
}

#[tokio::test]
async fn deliver_without_read_on_a_former_tier_is_not_ready() {
    let mut deployment = deployment().await;
    let mut rules = documented(&deployment);
    let on_retries = rules.iter().position(|rule| {
        rule.allows("bellwether-deliver", "Read") && rule.is_on(&deployment.topic("retry."))
    });
    let read = rules.remove(on_retries.unwrap());
    rules.push(read.with("Describe"));
    rules.push(read.only_on(&deployment.topic("retry.1s")));
    allow(&rules).await;
    deployment.set("webhooks.retry_schedules", "{default=[\"1s\",\"8s\"]}");
    make_topics(&mut deployment).await;
    // It is no longer configured, and emptied all the same.
    deployment.set("webhooks.retry_schedules", "{default=[\"1s\"]}");
    become_principal(&mut deployment, "bellwether-deliver");
    let mut process = deployment.spawn(&["--roles", "deliver"]);
    let lacks = format!(
        "User:bellwether-deliver lacks the right Read on the topic {}",
        deployment.topic("retry.8s")
    );
    eventually("it is not ready and says why", TIMEOUT, || async {
        let (status, answer) = process.readyz().await?;
        let reason = answer["checks"]["kafka"].as_str()?;
        (status == StatusCode::SERVICE_UNAVAILABLE && reason.contains(&lacks)).then_some(())
    })
    .await;
    allow(&[read]).await;
    process.ready().await;
}

#[tokio::test]
async fn deliver_without_read_on_deliveries_is_not_ready() {
    a_missing_read_is_seen("deliver", "deliveries").await;
}

#[tokio::test]
async fn detect_without_read_on_its_states_is_not_ready() {
    a_missing_read_is_seen("detect", "detector-state").await;
}

#[tokio::test]
async fn detect_without_read_on_a_source_is_not_ready() {
    a_missing_read_is_seen("detect", "source").await;
}
