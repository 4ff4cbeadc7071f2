//! `topics create` and `topics check`

use std::sync::Arc;

use clap::Subcommand;

use super::output::{complain, print};
use crate::app::{self, ProcessRole, Roles, check_retention};
use crate::cli::exit::ExitCode;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::topics::{TopicPlan, TopicProblem, Topics, plan};
use crate::telemetry::logs;
use crate::telemetry::metrics::{Labels, Metrics};

#[derive(Debug, Subcommand)]
pub(super) enum TopicsCommand {
    /// Make the topics that are missing, sources included; doing it twice is the same as once
    Create,
    /// Say what is missing or looks wrong; exits with 1 if anything does
    Check {
        /// Check only the topics that these roles use, as a start with them does
        #[arg(long, value_enum, value_delimiter = ',')]
        roles: Vec<ProcessRole>,
    },
}

pub(super) async fn run(command: TopicsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    logs::start(&config.telemetry, "topics", None);
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let topics = Topics::new(config, client_events)?;
    let plan = plan(config, &app::schedules(config)?.tier_names());
    match command {
        TopicsCommand::Create => create(&topics, &plan, config).await,
        // Without roles it is somebody who only looks.
        TopicsCommand::Check { roles } if roles.is_empty() => check(&topics, plan, config).await,
        TopicsCommand::Check { roles } => {
            let roles = Roles::new(&roles);
            let plan = roles.topics_of(plan);
            if plan.is_empty() {
                print(&format!("{roles} uses no topics"))?;
                return Ok(ExitCode::SUCCESS);
            }
            check(&topics, plan, config).await
        }
    }
}

async fn create(topics: &Topics, plan: &[TopicPlan], config: &Config) -> anyhow::Result<ExitCode> {
    let created = topics.create(plan, config.kafka.replication_factor).await?;
    let existing = topics.existing().await?;
    for topic in plan {
        let partitions = existing.get(&topic.name).copied().unwrap_or(topic.partitions);
        let state = if created.contains(&topic.name) {
            "created"
        } else {
            "exists"
        };
        let noun = if partitions == 1 {
            "partition"
        } else {
            "partitions"
        };
        print(&format!("{state}  {}  ({partitions} {noun})", topic.name))?;
    }
    // What was there before may look wrong; what was made now may not be known everywhere yet.
    let mut problems = topics.check(plan, &config.kafka.topic("retry.")).await?;
    problems.retain(|problem| !problem.missing);
    Ok(report(&problems))
}

async fn check(topics: &Topics, mut plan: Vec<TopicPlan>, config: &Config) -> anyhow::Result<ExitCode> {
    let problems = topics.check(&plan, &config.kafka.topic("retry.")).await?;
    if problems.is_empty() {
        let count = plan.len();
        plan.retain(|topic| !topic.is_source);
        for (topic, seconds) in topics.retentions(&plan).await? {
            check_retention(config, &topic, seconds)?;
        }
        print(&match count {
            1 => "the topic is as it must be".to_owned(),
            count => format!("all {count} topics are as they must be"),
        })?;
    }
    Ok(report(&problems))
}

fn report(problems: &[TopicProblem]) -> ExitCode {
    for problem in problems {
        complain(&problem.to_string());
    }
    if problems.iter().any(|problem| problem.missing) {
        complain("`bellwether topics create` makes what is missing");
    }
    if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
