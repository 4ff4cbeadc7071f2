//! Engines and their registries, for the parts that measure without Kafka.

use std::sync::Arc;

use bellwether::detect::engine::Engine;
use bellwether::detect::engine::config::{EngineConfig, Limits, SourceTopic};
use bellwether::detect::engine::record::RecordFacts;
use bellwether::domain::event::{Event, SourceClock};
use bellwether::domain::goal::{Goal, GoalRule};
use bellwether::domain::id::{GoalId, WebhookId};
use bellwether::domain::registry::{Registry, Site};
use bellwether::domain::site::SiteId;
use bellwether::domain::trigger::{DropSettings, NameFilter, SpikeSettings, Triggers};
use bellwether::domain::webhook::Subscription;

use super::events;
use super::options::Options;
use super::stream::Batch;

const UNWANTED: &str = "no event of the benchmark leads to a notification";

/// Makes an engine for each partition.
pub fn engines(options: &Options) -> anyhow::Result<Vec<Engine>> {
    let registry = Arc::new(registry(options.sites)?);
    let engine = |partition| {
        let config = EngineConfig {
            partition,
            ..engine_config("events")
        };
        Engine::new(config, Arc::clone(&registry))
    };
    Ok((0..options.partitions).map(engine).collect())
}

/// Handles a batch as the detector does: it looks ahead at all events before it handles the first.
pub fn handle_together(engine: &mut Engine, batch: &Batch<'_>, events: &[Event<'_>], now_ms: i64) {
    let mut out = Vec::new();
    let lookaheads: Vec<_> = events.iter().map(|event| engine.look_ahead(event)).collect();
    engine.prefetch(lookaheads.iter());
    for (number, (event, lookahead)) in events.iter().zip(lookaheads).enumerate() {
        engine.handle_ahead(event, lookahead, &facts(batch, number, now_ms), now_ms, &mut out);
    }
    assert!(out.is_empty(), "{UNWANTED}");
}

/// Handles a batch one event at a time.
pub fn handle_singly(engine: &mut Engine, batch: &Batch<'_>, events: &[Event<'_>], now_ms: i64) {
    let mut out = Vec::new();
    for (number, event) in events.iter().enumerate() {
        engine.handle(event, &facts(batch, number, now_ms), now_ms, &mut out);
    }
    assert!(out.is_empty(), "{UNWANTED}");
}

fn facts(batch: &Batch<'_>, number: usize, record_ms: i64) -> RecordFacts {
    RecordFacts {
        source: 0,
        offset: (batch.offset + number) as i64,
        record_ms,
        replaying: false,
    }
}

/// Settings of an engine over one live topic, as the configuration has them by default.
pub fn engine_config(topic: &str) -> EngineConfig {
    EngineConfig {
        partition: 0,
        partition_count: 0,
        sources: vec![SourceTopic {
            topic: topic.to_owned(),
            clock: SourceClock::Live,
            is_routed: false,
        }],
        hash_key: [7; 16],
        out_of_order_ms: 10_000,
        stale_after_ms: 900_000,
        limits: Limits::default(),
    }
}

/// Page goals of every site, none of which an event of the benchmark completes.
const GOALS: [&str; 5] = [
    "/welcome*",
    "/thanks",
    "/order/*/paid",
    "/signup/done",
    "*/download/*.pdf",
];

/// Sites that each have five goals on pages, and a webhook for spikes, drops and goals; no event of
/// the benchmark reaches them.
pub fn registry(sites: u64) -> anyhow::Result<Registry> {
    let mut registry = Registry::default();
    for number in 0..sites {
        let id: SiteId = events::site_id(number).parse()?;
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let webhook = Arc::new(Subscription {
            id: WebhookId::new_v7(1, random),
            triggers: Triggers {
                visitor_spike: Some(
                    SpikeSettings {
                        threshold: 500_000,
                        window_seconds: 300,
                    }
                    .into(),
                ),
                visitor_drop: Some(
                    DropSettings {
                        threshold: 10,
                        window_seconds: 43_200,
                        require_history: true,
                    }
                    .into(),
                ),
                goal_completion: Some(NameFilter::All.into()),
                ..Triggers::default()
            },
            enabled: true,
            disabled: false,
            active_since_ms: 0,
        });
        let goals = GOALS.into_iter().zip(0_u8..).map(|(path, place)| {
            random[9] = place;
            Arc::new(Goal {
                id: GoalId::new_v7(1, random),
                name: path.to_owned(),
                rule: GoalRule::Page {
                    path: path.to_owned(),
                },
                props: Vec::new(),
                active_since_ms: 0,
            })
        });
        let goals: Vec<_> = goals.collect();
        let site = Site {
            id: id.clone(),
            name: None,
            link: None,
            include_paths: true,
            aliases: Vec::new(),
            time_zone: chrono_tz::Tz::UTC,
            goals,
            webhooks: vec![webhook],
            registered_ms: 0,
            unreadable: Vec::new(),
            version: 1,
        };
        registry.sites.insert_mut(id, Arc::new(site));
    }
    Ok(registry)
}
