//! Which topics there must be, how they must look, making and checking them.
//!
//! Equal partition counts are what lets one member own all that belongs together, so a wrong count is refused, never
//! worked around.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::context::Voice;
use super::settings;
use crate::clock;
use crate::config::Config;

const DAY_MS: i64 = 86_400_000;
const PATIENCE: Duration = Duration::from_secs(15);

/// How a topic must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    pub name: String,
    pub partitions: i32,
    /// The producer's topic: its settings are not ours.
    pub is_source: bool,
    pub compacted: bool,
    /// At least this long, in milliseconds.
    pub retention_ms: Option<i64>,
    /// `key=value` given when it is created.
    pub settings: Vec<(&'static str, String)>,
}

/// One thing wrong with the cluster's topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub topic: String,
    pub missing: bool,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.topic, self.text)
    }
}

/// Every topic the configuration asks for. `tiers` are the delays' names, such as `1s`.
pub fn plan(config: &Config, tiers: &[String]) -> Vec<TopicPlan> {
    let partitions = config.kafka.partitions;
    let in_sync = (config.kafka.replication_factor - 1).max(1).to_string();
    let own = |name: &str, retention_days: i64| TopicPlan {
        name: config.kafka.topic(name),
        partitions,
        is_source: false,
        compacted: false,
        retention_ms: Some(retention_days * DAY_MS),
        settings: vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", (retention_days * DAY_MS).to_string()),
            ("min.insync.replicas", in_sync.clone()),
        ],
    };
    let mut plan: Vec<TopicPlan> = config
        .sources
        .0
        .iter()
        .map(|source| TopicPlan {
            name: source.topic.clone(),
            partitions,
            is_source: true,
            compacted: false,
            retention_ms: None,
            settings: vec![("min.insync.replicas", in_sync.clone())],
        })
        .collect();
    plan.push(own("deliveries", 7));
    plan.extend(tiers.iter().map(|tier| own(&format!("retry.{tier}"), 7)));
    plan.push(own("dead-letter", 30));
    plan.push(own("rejected", 7));
    plan.push(TopicPlan {
        name: config.kafka.topic("detector-state"),
        partitions,
        is_source: false,
        compacted: true,
        retention_ms: None,
        settings: vec![
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", (32 << 20).to_string()),
            ("min.cleanable.dirty.ratio", "0.1".to_owned()),
            ("max.compaction.lag.ms", "600000".to_owned()),
            ("min.insync.replicas", in_sync),
        ],
    });
    plan
}

/// Talks to the cluster about topics.
pub struct Topics {
    admin: AdminClient<Voice>,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

impl Topics {
    /// A client for administration.
    pub fn new(config: &Config, voice: Voice) -> Result<Self, KafkaError> {
        let client: ClientConfig = settings::client(&config.kafka);
        Ok(Self {
            admin: client.create_with_context(voice)?,
        })
    }

    /// Names and partition counts of the cluster's topics. Blocks up to 15 s.
    pub fn existing(&self) -> Result<BTreeMap<String, i32>, KafkaError> {
        let metadata = self.admin.inner().fetch_metadata(None, PATIENCE)?;
        Ok(metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none())
            .map(|topic| {
                (
                    topic.name().to_owned(),
                    i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
                )
            })
            .collect())
    }

    /// Makes what is missing and returns the names of what it made. Doing it twice is the same as once.
    pub async fn create(
        &self,
        plan: &[TopicPlan],
        replication_factor: i32,
    ) -> Result<Vec<String>, anyhow::Error> {
        let existing = self.existing()?;
        let missing: Vec<&TopicPlan> = plan
            .iter()
            .filter(|topic| !existing.contains_key(&topic.name))
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|topic| {
                let base = NewTopic::new(
                    &topic.name,
                    topic.partitions,
                    TopicReplication::Fixed(replication_factor),
                );
                topic
                    .settings
                    .iter()
                    .fold(base, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        let mut created = Vec::new();
        let mut refused = Vec::new();
        for result in self.admin.create_topics(&new, &options).await? {
            match result {
                Ok(name) => created.push(name),
                // Another process was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                    refused.push(format!("{name}: the cluster has fewer brokers than kafka.replication_factor = {replication_factor}"));
                }
                Err((name, code)) => refused.push(format!("{name}: {code}")),
            }
        }
        anyhow::ensure!(
            refused.is_empty(),
            "topics were not created:\n  {}",
            refused.join("\n  ")
        );
        self.wait_until_known(plan).await?;
        Ok(created)
    }

    /// A topic that was made is not known to every broker at once; whoever starts next must find it.
    async fn wait_until_known(&self, plan: &[TopicPlan]) -> Result<(), anyhow::Error> {
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            let existing = self.existing()?;
            match plan.iter().find(|topic| !existing.contains_key(&topic.name)) {
                None => return Ok(()),
                Some(topic) => anyhow::ensure!(
                    clock::monotonic() < deadline,
                    "{} was made and is not known to the brokers yet",
                    topic.name
                ),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Everything in which the cluster differs from the plan, and every retry topic of another partition count.
    pub async fn check(&self, plan: &[TopicPlan], retry_prefix: &str) -> Result<Vec<Finding>, anyhow::Error> {
        let existing = self.existing()?;
        let mut findings = Vec::new();
        for topic in plan {
            match existing.get(&topic.name) {
                None => findings.push(Finding {
                    topic: topic.name.clone(),
                    missing: true,
                    text: "there is no such topic".into(),
                }),
                Some(count) if *count != topic.partitions => {
                    findings.push(wrong_count(&topic.name, *count, topic.partitions))
                }
                Some(_) => {}
            }
        }
        let partitions = plan.first().map_or(0, |topic| topic.partitions);
        for (name, count) in &existing {
            // A tier that is no longer configured is still emptied, by the same owners.
            if name.starts_with(retry_prefix)
                && *count != partitions
                && !plan.iter().any(|topic| topic.name == *name)
            {
                findings.push(wrong_count(name, *count, partitions));
            }
        }
        let own: Vec<&TopicPlan> = plan
            .iter()
            .filter(|topic| !topic.is_source && existing.contains_key(&topic.name))
            .collect();
        self.check_settings(&own, &mut findings).await?;
        Ok(findings)
    }

    /// How long topics keep records, in seconds; for ever is 0. Topics whose settings may not be read are left out.
    pub async fn retentions(&self, names: &[String]) -> Result<Vec<(String, f64)>, anyhow::Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> =
            names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answers = self.admin.describe_configs(&resources, &options).await?;
        Ok(names
            .iter()
            .zip(answers)
            .filter_map(|(name, answer)| {
                let text = answer.ok()?.get("retention.ms")?.value.clone()?;
                Some((name.clone(), text.parse::<f64>().ok()?.max(0.0) / 1_000.0))
            })
            .collect())
    }

    async fn check_settings(
        &self,
        topics: &[&TopicPlan],
        findings: &mut Vec<Finding>,
    ) -> Result<(), anyhow::Error> {
        // None of them exists yet, or the broker asked does not know so yet.
        if topics.is_empty() {
            return Ok(());
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(&topic.name))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        for (topic, answer) in topics
            .iter()
            .zip(self.admin.describe_configs(&resources, &options).await?)
        {
            let settings = match answer {
                Ok(settings) => settings,
                Err(
                    RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
                ) => {
                    tracing::warn!(
                        topic = topic.name,
                        "its settings could not be checked: DescribeConfigs is not allowed"
                    );
                    continue;
                }
                Err(code) => anyhow::bail!("the settings of {} could not be read: {code}", topic.name),
            };
            let value = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
            let mut wrong = |text: String| {
                findings.push(Finding {
                    topic: topic.name.clone(),
                    missing: false,
                    text,
                })
            };
            let policy = value("cleanup.policy").unwrap_or_default();
            let wanted = if topic.compacted { "compact" } else { "delete" };
            if policy != wanted {
                wrong(format!("cleanup.policy is `{policy}`, it must be `{wanted}`"));
            }
            if let (Some(least), Some(found)) = (
                topic.retention_ms,
                value("retention.ms").and_then(|text| text.parse::<i64>().ok()),
            ) && (0..least).contains(&found)
            {
                wrong(format!("retention.ms is {found}, it must be at least {least}"));
            }
        }
        Ok(())
    }
}

fn wrong_count(topic: &str, found: i32, wanted: i32) -> Finding {
    let text = format!(
        "it has {found} partitions, kafka.partitions says {wanted}; all topics must have as many, else a site or an endpoint has several owners"
    );
    Finding {
        topic: topic.to_owned(),
        missing: false,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_has_every_topic_of_the_design_with_equal_partitions() {
        let plan = plan(&Config::default(), &["1s".into(), "2s".into(), "4s".into()]);
        let names: Vec<&str> = plan.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "analytics.events",
                "bellwether.deliveries",
                "bellwether.retry.1s",
                "bellwether.retry.2s",
                "bellwether.retry.4s",
                "bellwether.dead-letter",
                "bellwether.rejected",
                "bellwether.detector-state",
            ]
        );
        assert!(plan.iter().all(|topic| topic.partitions == 48));
        assert!(
            plan.iter()
                .all(|topic| topic.settings.contains(&("min.insync.replicas", "2".to_owned())))
        );
    }
}
