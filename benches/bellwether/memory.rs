//! Part `memory`: growth of a process for each visitor that it holds and for each idle site.
//!
//! One engine without Kafka. The process's own memory in RAM is measured, so the allocator's share
//! counts.

use std::sync::Arc;

use anyhow::Context as _;
use bellwether::clock;
use bellwether::detect::engine::Engine;
use bellwether::detect::engine::record::RecordFacts;
use bellwether::domain::event::{Event, EventKind};
use serde_json::{Value, json};

use super::engines::{engine_config, registry};
use super::events;
use super::options::Options;
use super::report::{Figure, across};
use super::{child, machine};

/// The figures of one run.
struct Run {
    /// The visitors are spread over all sites.
    spread: Value,
    /// A hundredth of the sites has all visitors.
    crowded: Value,
    /// As `spread`, with sources and pages.
    named: Value,
}

pub fn run(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let mut runs = Vec::new();
    let few = (options.sites / 100).max(1);
    let crowded = Options {
        sites: few,
        ..options.clone()
    };
    let named = Options {
        topic: "named".to_owned(),
        ..options.clone()
    };
    for _ in 0..options.runs {
        runs.push(Run {
            spread: child::measure("memory", options)?,
            crowded: child::measure("memory", &crowded)?,
            named: child::measure("memory", &named)?,
        });
    }
    let of = |pick: fn(&Run) -> &Value, key: &str| {
        across(&runs, |run| pick(run)[key].as_f64().unwrap_or(f64::NAN))
    };
    let (all, per_site) = (options.sites, options.visitors / options.sites.max(1));
    Ok(vec![
        Figure::new(
            format!("a visitor, {all} sites of {per_site}"),
            "bytes",
            of(|run| &run.spread, "visitor"),
        )
        .at_most(40.0),
        Figure::new(
            format!("a visitor, {few} sites of {}", per_site * 100),
            "bytes",
            of(|run| &run.crowded, "visitor"),
        )
        .at_most(40.0),
        Figure::new(
            "the same, with names of 20 pages and 6 sources a site",
            "bytes",
            of(|run| &run.named, "visitor"),
        ),
        Figure::new("an idle site", "bytes", of(|run| &run.spread, "site")).at_most(20_000.0),
    ])
}

/// Child that measures one of the three.
pub fn measure(options: &Options) -> anyhow::Result<Value> {
    let named = options.topic == "named";
    let begin = machine::own_memory();
    let mut engine = Engine::new(engine_config("events"), Arc::new(registry(options.sites)?));
    let begun_ms = clock::now_ms();
    let mut offset = 0;
    let mut visit = |engine: &mut Engine, number: u64, ms: i64| {
        let (site_id, visitor_id) = (
            events::site_id(number % options.sites),
            events::visitor_id(number),
        );
        let path = events::path(number / options.sites % 20);
        let event = Event {
            visitor_id: Some(visitor_id.into()),
            path: named.then(|| path.into()),
            source: named.then(|| format!("source {}", number / options.sites % 6).into()),
            ..Event::new(site_id, EventKind::Pageview)
        };
        let facts = RecordFacts {
            source: 0,
            offset,
            record_ms: ms,
            replaying: false,
        };
        offset += 1;
        engine.handle(&event, &facts, ms, &mut Vec::new());
    };
    // Each site has one visitor, and then none for an hour.
    for number in 0..options.sites {
        visit(&mut engine, number, begun_ms);
    }
    let later_ms = begun_ms + 3_600_000;
    engine.tick(later_ms, true);
    let idle = machine::own_memory();
    for number in 0..options.visitors {
        let ago = (options.visitors - number) * events::SPAN_MS / options.visitors;
        visit(
            &mut engine,
            number,
            later_ms - i64::try_from(ago).context("a time")?,
        );
    }
    let held = machine::own_memory();
    let stats = engine.stats();
    anyhow::ensure!(
        stats.visitors == options.visitors && stats.sites as u64 == options.sites,
        "{stats:?}"
    );
    Ok(json!({
        "site": idle.saturating_sub(begin) as f64 / options.sites as f64,
        "visitor": held.saturating_sub(idle) as f64 / options.visitors as f64,
    }))
}
