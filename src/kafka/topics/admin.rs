//! Making and checking topics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::plan::TopicPlan;
use crate::clock;
use crate::config::{Config, KafkaConfig};
use crate::kafka::brokers::answering_broker;
use crate::kafka::client::ClientEvents;
use crate::kafka::cluster::{Cluster, TopicLookup, TopicShape};
use crate::kafka::error_words::code_in_words;
use crate::kafka::rights::{AclOperation, MissingRight};
use crate::kafka::settings;

/// Longest time that the brokers may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Time between two looks for topics that were just made.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// One thing wrong with the cluster's topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicProblem {
    pub(crate) topic: String,
    /// True if making the topic mends it.
    pub(crate) missing: bool,
    /// True if only the events of some of a source's partitions are not detected.
    pub(crate) is_partial: bool,
    pub(crate) text: String,
}

impl fmt::Display for TopicProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.topic, self.text)
    }
}

/// Makes and checks topics.
pub struct Topics {
    cluster: Cluster,
    admin: Arc<AdminClient<ClientEvents>>,
    client_events: ClientEvents,
    config: KafkaConfig,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

impl Topics {
    /// Clients that connect when they are first used.
    pub fn new(config: &Config, client_events: ClientEvents) -> Result<Self, KafkaError> {
        Ok(Self {
            cluster: Cluster::new(&config.kafka, &client_events)?,
            admin: Arc::new(settings::client(&config.kafka).create_with_context(client_events.clone())?),
            client_events: client_events.with_principal(&config.kafka),
            config: config.kafka.clone(),
        })
    }

    /// Names and partition counts of the cluster's topics.
    pub(crate) async fn existing(&self) -> anyhow::Result<BTreeMap<String, i32>> {
        let shapes = self.cluster.topics(TIMEOUT).await?;
        Ok(shapes
            .into_iter()
            .map(|(name, shape)| (name, shape.partitions))
            .collect())
    }

    /// Makes what is missing and returns the names of what it made. Doing it twice is the same as
    /// once.
    pub async fn create(&self, plan: &[TopicPlan], replication_factor: i32) -> anyhow::Result<Vec<String>> {
        let existing = self.cluster.topics(TIMEOUT).await?;
        let mut missing = Vec::new();
        for topic in plan.iter().filter(|topic| !existing.contains_key(&topic.name)) {
            if self.cluster.topic(&topic.name, TIMEOUT).await? == TopicLookup::NotAllowed {
                anyhow::bail!("{}", self.missing_right(AclOperation::Describe, &topic.name));
            }
            missing.push(topic);
        }
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|topic| new_topic(topic, replication_factor))
            .collect();
        // Only the controller makes topics.
        self.answering_broker().await.context("making topics")?;
        let options = AdminOptions::new()
            .operation_timeout(Some(TIMEOUT))
            .request_timeout(Some(TIMEOUT));
        let results = self.admin.create_topics(&new, &options).await;
        let created = self.created(results.context("making topics")?, replication_factor)?;
        self.wait_until_known(plan).await?;
        Ok(created)
    }

    fn created(&self, results: Vec<TopicResult>, replication_factor: i32) -> anyhow::Result<Vec<String>> {
        let mut created = Vec::new();
        let mut refused = Vec::new();
        for result in results {
            match result {
                Ok(name) => created.push(name),
                // Another process was faster.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => refused.push(match code {
                    RDKafkaErrorCode::InvalidReplicationFactor => format!(
                        "{name}: the cluster has fewer brokers than kafka.replication_factor = {replication_factor}"
                    ),
                    RDKafkaErrorCode::TopicAuthorizationFailed => {
                        self.missing_right(AclOperation::Create, &name).to_string()
                    }
                    code => format!("{name}: {}", code_in_words(code)),
                }),
            }
        }
        anyhow::ensure!(
            refused.is_empty(),
            "topics were not created:\n  {}",
            refused.join("\n  ")
        );
        Ok(created)
    }

    /// A topic that was made is not known to every broker at once; whoever starts next must find
    /// it.
    async fn wait_until_known(&self, plan: &[TopicPlan]) -> anyhow::Result<()> {
        let deadline = clock::monotonic() + TIMEOUT;
        loop {
            let existing = self.cluster.topics(TIMEOUT).await?;
            match plan.iter().find(|topic| !existing.contains_key(&topic.name)) {
                None => return Ok(()),
                Some(topic) => anyhow::ensure!(
                    clock::monotonic() < deadline,
                    "{} was made and is not known to the brokers yet",
                    topic.name
                ),
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    /// Everything in which the cluster differs from the plan, and every retry topic of another
    /// partition count.
    pub(crate) async fn check(
        &self,
        plan: &[TopicPlan],
        retry_prefix: &str,
    ) -> anyhow::Result<Vec<TopicProblem>> {
        let existing = self.cluster.topics(TIMEOUT).await?;
        let mut problems = Vec::new();
        for topic in plan {
            match existing.get(&topic.name) {
                None => problems.push(self.why_absent(topic).await?),
                Some(found) => self.check_shape(topic, *found, &mut problems),
            }
        }
        let has_tiers = plan.iter().any(|topic| topic.name.starts_with(retry_prefix));
        for (name, found) in &existing {
            // A tier that is no longer configured is still emptied, by the same owners.
            if has_tiers
                && name.starts_with(retry_prefix)
                && found.partitions != self.config.partitions
                && !plan.iter().any(|topic| topic.name == *name)
            {
                problems.push(wrong_count(name, found.partitions, self.config.partitions));
            }
        }
        let own: Vec<&TopicPlan> = plan
            .iter()
            .filter(|topic| !topic.is_source && existing.contains_key(&topic.name))
            .collect();
        self.check_settings(&own, &mut problems).await?;
        Ok(problems)
    }

    /// The reason for which the cluster does not list a topic.
    async fn why_absent(&self, topic: &TopicPlan) -> anyhow::Result<TopicProblem> {
        let is_hidden = self.cluster.topic(&topic.name, TIMEOUT).await? == TopicLookup::NotAllowed;
        Ok(TopicProblem {
            topic: topic.name.clone(),
            missing: !is_hidden,
            is_partial: false,
            text: if is_hidden {
                // Each of the rights that are needed lets it see the topic, too.
                let needed = topic.needed.clone();
                self.client_events
                    .missing_rights(needed, "topic", &topic.name)
                    .to_string()
            } else {
                "there is no such topic".to_owned()
            },
        })
    }

    fn check_shape(&self, topic: &TopicPlan, found: TopicShape, problems: &mut Vec<TopicProblem>) {
        if found.partitions != topic.partitions && !topic.takes_any_count {
            let mut problem = wrong_count(&topic.name, found.partitions, topic.partitions);
            problem.is_partial = topic.is_source && found.partitions > topic.partitions;
            problems.push(problem);
        }
        let wanted = self.config.replication_factor;
        if !topic.is_source && found.copies < wanted {
            problems.push(too_few_copies(&topic.name, found.copies, wanted));
        }
    }

    /// Reads the seconds for which topics keep records; for ever is 0. A topic whose settings may
    /// not be read is left out, with a log line if it is a source: those of the others are checked
    /// too.
    pub(crate) async fn retentions(&self, plan: &[TopicPlan]) -> anyhow::Result<Vec<(String, f64)>> {
        let topics: Vec<&TopicPlan> = plan.iter().collect();
        let mut retentions = Vec::new();
        for (topic, answer) in self.describe(&topics).await? {
            match answer {
                Ok(settings) => {
                    retentions.extend(retention(&settings).map(|seconds| (topic.name.clone(), seconds)))
                }
                Err(right) if topic.is_source => {
                    tracing::warn!(
                        topic = topic.name,
                        "it is not known how long it keeps records: {right}"
                    );
                }
                Err(_) => {}
            }
        }
        Ok(retentions)
    }

    async fn check_settings(
        &self,
        topics: &[&TopicPlan],
        problems: &mut Vec<TopicProblem>,
    ) -> anyhow::Result<()> {
        for (topic, answer) in self.describe(topics).await? {
            let settings = match answer {
                Ok(settings) => settings,
                Err(right) => {
                    tracing::warn!(topic = topic.name, "its settings could not be checked: {right}");
                    continue;
                }
            };
            // What a broker does not name, it does not have (some that are no Apache Kafka).
            let wrong = topic.settings.iter().filter_map(|setting| {
                let found = settings.get(setting.name)?.value.as_deref()?;
                setting.judge(found)
            });
            problems.extend(wrong.map(|text| TopicProblem {
                topic: topic.name.clone(),
                missing: false,
                is_partial: false,
                text,
            }));
        }
        Ok(())
    }

    /// Asks for the settings of topics. An answer that may not be given is empty: rdkafka leaves
    /// the error of a topic out.
    async fn describe<'a>(
        &self,
        topics: &[&'a TopicPlan],
    ) -> anyhow::Result<Vec<(&'a TopicPlan, Result<ConfigResource, MissingRight>)>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let broker = self.answering_broker().await;
        let broker = broker.context("reading the settings of topics")?;
        let names = topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name));
        let resources: Vec<ResourceSpecifier<'_>> = names.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(TIMEOUT))
            .broker_id(broker);
        let answers = self.admin.describe_configs(&resources, &options).await;
        let answers = answers.context("reading the settings of topics")?;
        let judged = topics.iter().zip(answers).map(|(topic, answer)| {
            let given = answer.ok().filter(|settings| !settings.entries.is_empty());
            let settings =
                given.ok_or_else(|| self.missing_right(AclOperation::DescribeConfigs, &topic.name));
            (*topic, settings)
        });
        Ok(judged.collect())
    }

    /// Waits until a broker answers the admin client, and returns its id if that is known.
    async fn answering_broker(&self) -> anyhow::Result<Option<i32>> {
        let admin = Arc::clone(&self.admin);
        let ask = move || answering_broker(admin.inner(), None, TIMEOUT);
        Ok(tokio::task::spawn_blocking(ask).await??)
    }

    fn missing_right(&self, operation: AclOperation, topic: &str) -> MissingRight {
        self.client_events.missing_right(operation, "topic", topic)
    }
}

/// Seconds for which a topic with these settings keeps records; for ever is 0.
fn retention(settings: &ConfigResource) -> Option<f64> {
    let text = settings.get("retention.ms")?.value.as_deref()?;
    Some(text.parse::<f64>().ok()?.max(0.0) / 1_000.0)
}

fn new_topic<'a>(topic: &'a TopicPlan, replication_factor: i32) -> NewTopic<'a> {
    let new = NewTopic::new(
        &topic.name,
        topic.partitions,
        TopicReplication::Fixed(replication_factor),
    );
    topic
        .settings
        .iter()
        .fold(new, |new, setting| new.set(setting.name, &setting.value))
}

fn too_few_copies(topic: &str, found: i32, wanted: i32) -> TopicProblem {
    TopicProblem {
        topic: topic.to_owned(),
        missing: false,
        is_partial: false,
        text: format!(
            "it has {} of a partition, kafka.replication_factor says {wanted}, so it must be at least as many",
            counted(found, "copy", "copies")
        ),
    }
}

fn wrong_count(topic: &str, found: i32, wanted: i32) -> TopicProblem {
    let text = format!(
        "it has {}, kafka.partitions says {wanted}; all topics must have as many, else a site or an endpoint has several owners",
        counted(found, "partition", "partitions")
    );
    TopicProblem {
        topic: topic.to_owned(),
        missing: false,
        is_partial: false,
        text,
    }
}

/// A number with its noun: `1 copy`, `2 copies`.
fn counted(number: i32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
