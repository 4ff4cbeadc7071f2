//! Making and checking topics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::plan::TopicPlan;
use crate::clock;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::settings;

const TIMEOUT: Duration = Duration::from_secs(15);

/// What the cluster has of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    partitions: i32,
    /// Copies of the partition that has fewest.
    copies: i32,
}

/// One thing wrong with the cluster's topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicProblem {
    pub(crate) topic: String,
    pub(crate) missing: bool,
    pub(crate) text: String,
}

impl fmt::Display for TopicProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.topic, self.text)
    }
}

/// Talks to the cluster about topics.
pub struct Topics {
    admin: Arc<AdminClient<ClientEvents>>,
    replication_factor: i32,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

impl Topics {
    /// A client for administration.
    pub fn new(config: &Config, client_events: ClientEvents) -> Result<Self, KafkaError> {
        let client: ClientConfig = settings::client(&config.kafka);
        Ok(Self {
            admin: Arc::new(client.create_with_context(client_events)?),
            replication_factor: config.kafka.replication_factor,
        })
    }

    /// Names and partition counts of the cluster's topics. Blocks up to 15 s.
    pub(crate) fn existing(&self) -> Result<BTreeMap<String, i32>, KafkaError> {
        let shapes = shapes(&self.admin)?;
        Ok(shapes
            .into_iter()
            .map(|(name, shape)| (name, shape.partitions))
            .collect())
    }

    /// Asks on a thread of its own: librdkafka blocks, and whoever waits for this may be told to stop meanwhile.
    async fn ask(&self) -> Result<BTreeMap<String, Shape>, anyhow::Error> {
        let admin = Arc::clone(&self.admin);
        Ok(tokio::task::spawn_blocking(move || shapes(&admin)).await??)
    }

    /// Makes what is missing and returns the names of what it made. Doing it twice is the same as once.
    pub async fn create(
        &self,
        plan: &[TopicPlan],
        replication_factor: i32,
    ) -> Result<Vec<String>, anyhow::Error> {
        let existing = self.ask().await?;
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
                    .fold(base, |new, setting| new.set(setting.name, &setting.value))
            })
            .collect();
        let options = AdminOptions::new()
            .operation_timeout(Some(TIMEOUT))
            .request_timeout(Some(TIMEOUT));
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
        let deadline = clock::monotonic() + TIMEOUT;
        loop {
            let existing = self.ask().await?;
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
    pub(crate) async fn check(
        &self,
        plan: &[TopicPlan],
        retry_prefix: &str,
    ) -> Result<Vec<TopicProblem>, anyhow::Error> {
        let existing = self.ask().await?;
        let mut problems = Vec::new();
        for topic in plan {
            let Some(found) = existing.get(&topic.name) else {
                problems.push(TopicProblem {
                    topic: topic.name.clone(),
                    missing: true,
                    text: "there is no such topic".into(),
                });
                continue;
            };
            if found.partitions != topic.partitions {
                problems.push(wrong_count(&topic.name, found.partitions, topic.partitions));
            }
            if !topic.is_source && found.copies < self.replication_factor {
                problems.push(too_few_copies(&topic.name, found.copies, self.replication_factor));
            }
        }
        let partitions = plan.first().map_or(0, |topic| topic.partitions);
        for (name, found) in &existing {
            // A tier that is no longer configured is still emptied, by the same owners.
            if name.starts_with(retry_prefix)
                && found.partitions != partitions
                && !plan.iter().any(|topic| topic.name == *name)
            {
                problems.push(wrong_count(name, found.partitions, partitions));
            }
        }
        let own: Vec<&TopicPlan> = plan
            .iter()
            .filter(|topic| !topic.is_source && existing.contains_key(&topic.name))
            .collect();
        self.check_settings(&own, &mut problems).await?;
        Ok(problems)
    }

    /// How long topics keep records, in seconds; for ever is 0. Topics whose settings may not be read are left out.
    pub(crate) async fn retentions(&self, names: &[String]) -> Result<Vec<(String, f64)>, anyhow::Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> =
            names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
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
        problems: &mut Vec<TopicProblem>,
    ) -> Result<(), anyhow::Error> {
        // None of them exists yet, or the broker asked does not know so yet.
        if topics.is_empty() {
            return Ok(());
        }
        let resources: Vec<ResourceSpecifier<'_>> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(&topic.name))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
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
            // What a broker does not tell of, it does not have (some that are no Apache Kafka).
            let told = topic.settings.iter().filter_map(|setting| {
                let found = settings.get(setting.name)?.value.as_deref()?;
                setting.judge(found)
            });
            problems.extend(told.map(|text| TopicProblem {
                topic: topic.name.clone(),
                missing: false,
                text,
            }));
        }
        Ok(())
    }
}

/// What there is. Blocks up to 15 s.
fn shapes(admin: &AdminClient<ClientEvents>) -> Result<BTreeMap<String, Shape>, KafkaError> {
    let metadata = admin.inner().fetch_metadata(None, TIMEOUT)?;
    let count = |len: usize| i32::try_from(len).unwrap_or(i32::MAX);
    Ok(metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| {
            let copies = topic.partitions().iter().map(|one| count(one.replicas().len()));
            let shape = Shape {
                partitions: count(topic.partitions().len()),
                copies: copies.min().unwrap_or(0),
            };
            (topic.name().to_owned(), shape)
        })
        .collect())
}

fn too_few_copies(topic: &str, found: i32, wanted: i32) -> TopicProblem {
    TopicProblem {
        topic: topic.to_owned(),
        missing: false,
        text: format!(
            "it has {found} copies of a partition, kafka.replication_factor says {wanted}, so it must be at least as many"
        ),
    }
}

fn wrong_count(topic: &str, found: i32, wanted: i32) -> TopicProblem {
    let text = format!(
        "it has {found} partitions, kafka.partitions says {wanted}; all topics must have as many, else a site or an endpoint has several owners"
    );
    TopicProblem {
        topic: topic.to_owned(),
        missing: false,
        text,
    }
}
