//! Which topics there must be, how they must look, making and checking them.
//!
//! Equal partition counts are what lets one member own all that belongs together, so a wrong count is refused, never
//! worked around.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::ClientEvents;
use super::settings;
use crate::clock;
use crate::config::Config;

const DAY_MS: i64 = 86_400_000;
const TIMEOUT: Duration = Duration::from_secs(15);

/// How a topic must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// The producer's topic: its settings are not ours, and given only to one that we make.
    pub(crate) is_source: bool,
    pub(crate) settings: Vec<Setting>,
}

/// One setting of a topic: given when it is created, and what a topic that exists is measured by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) bound: Bound,
}

/// Which values of a setting are as good as the one we give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Exactly,
    /// -1 is for ever.
    AtLeast,
    AtMost,
}

impl Setting {
    fn new(name: &'static str, bound: Bound, value: impl fmt::Display) -> Self {
        Self {
            name,
            value: value.to_string(),
            bound,
        }
    }

    /// What is wrong with the value `found`.
    fn judge(&self, found: &str) -> Option<String> {
        let numbers = found.parse::<f64>().ok().zip(self.value.parse::<f64>().ok());
        let (fits, must_be) = match (self.bound, numbers) {
            (Bound::AtLeast, Some((found, wanted))) => (found < 0.0 || found >= wanted, "at least "),
            (Bound::AtMost, Some((found, wanted))) => (found <= wanted, "at most "),
            _ => (found == self.value, ""),
        };
        let (name, wanted) = (self.name, &self.value);
        (!fits).then(|| format!("{name} is `{found}`, it must be {must_be}`{wanted}`"))
    }
}

/// What the cluster has of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    partitions: i32,
    /// Copies of the partition that has fewest.
    copies: i32,
}

/// One thing wrong with the cluster's topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) topic: String,
    pub(crate) missing: bool,
    pub(crate) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.topic, self.text)
    }
}

/// Every topic the configuration asks for. `tiers` are the delays' names, such as `1s`.
pub fn plan(config: &Config, tiers: &[String]) -> Vec<TopicPlan> {
    let partitions = config.kafka.partitions;
    let in_sync = (config.kafka.replication_factor - 1).max(1);
    // More of them is safer still, and no topic can have more than it has copies.
    let in_sync = Setting::new("min.insync.replicas", Bound::AtLeast, in_sync);
    let own = |name: &str, retention_days: i64| TopicPlan {
        name: config.kafka.topic(name),
        partitions,
        is_source: false,
        settings: vec![
            Setting::new("cleanup.policy", Bound::Exactly, "delete"),
            Setting::new("retention.ms", Bound::AtLeast, retention_days * DAY_MS),
            in_sync.clone(),
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
            settings: vec![in_sync.clone()],
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
        settings: vec![
            Setting::new("cleanup.policy", Bound::Exactly, "compact"),
            // A start reads all of it: what keeps it short may only be stricter.
            Setting::new("segment.bytes", Bound::AtMost, 32 << 20),
            Setting::new("min.cleanable.dirty.ratio", Bound::AtMost, 0.1),
            Setting::new("max.compaction.lag.ms", Bound::AtMost, 600_000),
            in_sync,
        ],
    });
    plan
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
    ) -> Result<Vec<Finding>, anyhow::Error> {
        let existing = self.ask().await?;
        let mut findings = Vec::new();
        for topic in plan {
            let Some(found) = existing.get(&topic.name) else {
                findings.push(Finding {
                    topic: topic.name.clone(),
                    missing: true,
                    text: "there is no such topic".into(),
                });
                continue;
            };
            if found.partitions != topic.partitions {
                findings.push(wrong_count(&topic.name, found.partitions, topic.partitions));
            }
            if !topic.is_source && found.copies < self.replication_factor {
                findings.push(too_few_copies(&topic.name, found.copies, self.replication_factor));
            }
        }
        let partitions = plan.first().map_or(0, |topic| topic.partitions);
        for (name, found) in &existing {
            // A tier that is no longer configured is still emptied, by the same owners.
            if name.starts_with(retry_prefix)
                && found.partitions != partitions
                && !plan.iter().any(|topic| topic.name == *name)
            {
                findings.push(wrong_count(name, found.partitions, partitions));
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
            findings.extend(told.map(|text| Finding {
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

fn too_few_copies(topic: &str, found: i32, wanted: i32) -> Finding {
    Finding {
        topic: topic.to_owned(),
        missing: false,
        text: format!(
            "it has {found} copies of a partition, kafka.replication_factor says {wanted}, so it must be at least as many"
        ),
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
        let in_sync = Setting::new("min.insync.replicas", Bound::AtLeast, 2);
        assert!(plan.iter().all(|topic| topic.settings.contains(&in_sync)));
    }

    #[test]
    fn what_is_more_generous_or_stricter_than_given_is_taken_and_nothing_else() {
        for (bound, wanted, good, bad) in [
            (
                Bound::Exactly,
                "delete",
                vec!["delete"],
                vec!["compact", "compact,delete", ""],
            ),
            (
                Bound::AtLeast,
                "604800000",
                vec!["604800000", "-1", "9223372036854775807"],
                vec!["604799999", "0"],
            ),
            (
                Bound::AtMost,
                "0.1",
                vec!["0.1", "0.05", "0"],
                vec!["0.5", "0.11"],
            ),
            (
                Bound::AtMost,
                "33554432",
                vec!["33554432", "1048576"],
                vec!["1073741824"],
            ),
        ] {
            let setting = Setting::new("x", bound, wanted);
            for found in good {
                assert_eq!(setting.judge(found), None, "{found}");
            }
            for found in bad {
                let said = setting.judge(found).expect("wrong");
                assert!(said.contains(&format!("x is `{found}`")), "{said}");
                assert!(said.contains(&format!("`{wanted}`")), "{said}");
            }
        }
    }
}
