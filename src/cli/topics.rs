//! `topics create` and `topics check`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::{complain, print};
use crate::app;
use crate::config::Config;
use crate::kafka::client::ClientEvents;
use crate::kafka::topics::{Topics, plan};
use crate::telemetry::logs;
use crate::telemetry::metrics::{Labels, Metrics};

#[derive(Debug, Subcommand)]
pub(super) enum TopicsCommand {
    /// Make the topics that are missing, sources included; doing it twice is the same as once
    Create,
    /// Say what is missing or looks wrong; exits with 1 if anything does
    Check,
}

pub(super) async fn run(command: TopicsCommand, config: &Config) -> anyhow::Result<ExitCode> {
    logs::start(&config.telemetry, "topics", None);
    let client_events = ClientEvents::new(Arc::new(Metrics::new(&Labels::default())));
    let topics = Topics::new(config, client_events)?;
    let tiers = app::schedules(config)?.tier_names();
    let plan = plan(config, &tiers);
    let problems = match command {
        TopicsCommand::Create => {
            let created = topics.create(&plan, config.kafka.replication_factor).await?;
            for topic in &plan {
                let state = if created.contains(&topic.name) {
                    "created"
                } else {
                    "exists"
                };
                print(&format!(
                    "{state}  {}  ({} partitions)",
                    topic.name, topic.partitions
                ));
            }
            // What was there before may look wrong; what was made now may not be known everywhere yet.
            let problems = topics.check(&plan, &config.kafka.topic("retry.")).await?;
            problems.into_iter().filter(|problem| !problem.missing).collect()
        }
        TopicsCommand::Check => topics.check(&plan, &config.kafka.topic("retry.")).await?,
    };
    if problems.is_empty() {
        if matches!(command, TopicsCommand::Check) {
            print(&format!("all {} topics are as they must be", plan.len()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &problems {
        complain(&problem.to_string());
    }
    if problems.iter().any(|problem| problem.missing) {
        complain("`bellwether topics create` makes what is missing");
    }
    Ok(ExitCode::FAILURE)
}
