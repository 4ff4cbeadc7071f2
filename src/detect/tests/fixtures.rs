//! Fixtures of the engine's tests: registered sites, events, and an engine with its position in a
//! log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use crate::detect::completeness::CompleteFrom;
use crate::detect::engine::Engine;
use crate::detect::engine::config::{EngineConfig, Limits, SourceTopic};
use crate::detect::engine::record::RecordFacts;
use crate::detect::engine::recovery::Checkpoint;
use crate::detect::notification::Decision;
use crate::detect::site::state_record::StateRecord;
use crate::domain::event::{Event, EventKind, EventResult, SourceClock};
use crate::domain::goal::{Goal, GoalRule};
use crate::domain::id::{GoalId, WebhookId};
use crate::domain::registry::{Registry, Site};
use crate::domain::trigger::{
    DropSettings, EpisodeTrigger, NameFilter, NameTrigger, NoticeOptions, NoticePace, SpikeSettings, Triggers,
};
use crate::domain::webhook::Subscription;

/// Record time of the tests in milliseconds, on a day of 2026.
pub(crate) const RECORD_MS: i64 = 1_772_020_800_000;

pub(crate) fn spike(threshold: u32, window_seconds: u32) -> Triggers {
    Triggers {
        visitor_spike: Some(spike_settings(threshold, window_seconds).into()),
        ..Triggers::default()
    }
}

pub(crate) fn spike_settings(threshold: u32, window_seconds: u32) -> SpikeSettings {
    SpikeSettings {
        threshold,
        window_seconds,
    }
}

/// A drop of a site with a history.
pub(crate) fn drop(threshold: u32, window_seconds: u32) -> Triggers {
    drop_with(threshold, window_seconds, NoticeOptions::default())
}

pub(crate) fn drop_with(threshold: u32, window_seconds: u32, options: NoticeOptions) -> Triggers {
    let condition = DropSettings {
        threshold,
        window_seconds,
        require_history: true,
    };
    Triggers {
        visitor_drop: Some(EpisodeTrigger { condition, options }),
        ..Triggers::default()
    }
}

pub(crate) fn goals(names: NameFilter) -> Triggers {
    Triggers {
        goal_completion: Some(names.into()),
        ..Triggers::default()
    }
}

pub(crate) fn custom(names: NameFilter) -> Triggers {
    Triggers {
        custom_event: Some(names.into()),
        ..Triggers::default()
    }
}

/// Goals and custom events of every name, at this pace.
pub(crate) fn paced(pace: NoticePace) -> Triggers {
    let names = NameTrigger {
        names: NameFilter::All,
        pace,
    };
    Triggers {
        goal_completion: Some(names.clone()),
        custom_event: Some(names),
        ..Triggers::default()
    }
}

pub(crate) fn only(name: &str) -> NameFilter {
    NameFilter::Only(vec![name.to_owned()])
}

pub(crate) fn hook_id(number: u128) -> WebhookId {
    WebhookId::from_uuid(Uuid::from_u128(number))
}

/// A site with webhooks numbered from 1, enabled and active from the beginning.
pub(crate) fn site(id: &str, triggers: impl IntoIterator<Item = Triggers>) -> Site {
    let webhooks = (1..)
        .zip(triggers)
        .map(|(number, triggers)| Arc::new(webhook(number, triggers)))
        .collect();
    Site {
        id: id.parse().expect("a site id"),
        name: None,
        link: None,
        include_paths: true,
        aliases: Vec::new(),
        time_zone: chrono_tz::Tz::UTC,
        goals: Vec::new(),
        webhooks,
        registered_ms: 0,
        unreadable: Vec::new(),
        version: 1,
    }
}

pub(crate) fn webhook(number: u128, triggers: Triggers) -> Subscription {
    Subscription {
        id: hook_id(number),
        triggers,
        enabled: true,
        disabled: false,
        active_since_ms: 0,
    }
}

/// The next version of a site, with a change.
pub(crate) fn changed(site: &Site, change: impl FnOnce(&mut Site)) -> Site {
    let mut site = site.clone();
    site.version += 1;
    change(&mut site);
    site
}

pub(crate) fn goal(number: u128, name: &str, rule: GoalRule) -> Goal {
    Goal {
        id: GoalId::from_uuid(Uuid::from_u128(number)),
        name: name.to_owned(),
        rule,
        props: Vec::new(),
        active_since_ms: 0,
    }
}

pub(crate) fn registry(sites: impl IntoIterator<Item = Site>) -> Arc<Registry> {
    let sites = sites.into_iter().map(|site| (site.id.clone(), Arc::new(site)));
    Arc::new(Registry {
        sites: sites.collect(),
        ..Registry::default()
    })
}

pub(crate) fn event<'a>(site_id: &'a str, kind: EventKind, timestamp_ms: i64) -> Event<'a> {
    Event {
        timestamp_ms: Some(timestamp_ms),
        ..Event::new(site_id, kind)
    }
}

/// A pageview at a second.
pub(crate) fn view<'a>(site_id: &'a str, visitor: &'a str, second: i64) -> Event<'a> {
    Event {
        visitor_id: Some(visitor.into()),
        path: Some("/".into()),
        ..event(site_id, EventKind::Pageview, second * 1_000)
    }
}

pub(crate) fn config(clock: SourceClock) -> EngineConfig {
    EngineConfig {
        partition: 7,
        partition_count: 0,
        sources: vec![SourceTopic {
            topic: "events".to_owned(),
            clock,
            is_routed: false,
        }],
        hash_key: [3; 16],
        out_of_order_ms: 10_000,
        stale_after_ms: 900_000,
        limits: Limits::default(),
    }
}

/// An engine that is fed one record after another.
pub(crate) struct Fed {
    pub(crate) engine: Engine,
    pub(crate) offset: i64,
    /// The wall clock.
    pub(crate) now_ms: i64,
    /// Time of the next record.
    pub(crate) record_ms: i64,
    pub(crate) handled: EventResult,
}

impl Fed {
    pub(crate) fn new(clock: SourceClock, sites: impl IntoIterator<Item = Site>) -> Self {
        Self {
            engine: Engine::new(config(clock), registry(sites)),
            offset: 0,
            now_ms: RECORD_MS,
            record_ms: RECORD_MS,
            handled: EventResult::Counted,
        }
    }

    pub(crate) fn log(sites: impl IntoIterator<Item = Site>) -> Self {
        Self::new(SourceClock::Log, sites)
    }

    /// Feeds an event and returns the decisions, those of episodes included.
    pub(crate) fn feed(&mut self, event: &Event<'_>) -> Vec<Decision> {
        let record = RecordFacts {
            source: 0,
            offset: self.offset,
            record_ms: self.record_ms,
            replaying: false,
        };
        self.offset += 1;
        let mut out = Vec::new();
        self.handled = self.engine.handle(event, &record, self.now_ms, &mut out);
        out.extend(self.decided());
        out
    }

    /// Begins to read a partition whose records have all been seen from a second on.
    pub(crate) fn begin_at(&mut self, second: i64) {
        let complete_from = CompleteFrom::At(second * 1_000);
        self.engine.completeness_mut().begin(0, 0, 0, complete_from);
    }

    /// Moves silent sites, all records having been read, and returns what was decided.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Vec<Decision> {
        self.now_ms = now_ms;
        self.engine.tick(now_ms, true);
        self.decided()
    }

    /// Everything that was decided and not taken.
    fn decided(&mut self) -> Vec<Decision> {
        let mut out = self.engine.take_ready();
        out.extend(self.states().into_iter().flat_map(|state| state.decisions));
        out
    }

    /// Feeds a pageview; returns true if a trigger fired.
    pub(crate) fn fires(&mut self, site_id: &str, visitor: &str, second: i64) -> bool {
        let decided = self.feed(&view(site_id, visitor, second));
        decided.iter().any(|decision| decision.episode.is_some())
    }

    /// Loads the states of an earlier run.
    pub(crate) fn load(&mut self, states: &[StateRecord]) {
        for state in states {
            let loaded = self.engine.load_state(&state.key(), state.bytes.as_deref());
            loaded.expect("readable");
        }
    }

    pub(crate) fn states(&mut self) -> Vec<StateRecord> {
        self.engine.take_dirty_states()
    }

    pub(crate) fn configure(&mut self, sites: impl IntoIterator<Item = Site>) {
        self.engine.set_registry(registry(sites));
    }
}

/// A new engine that goes on from a commit of source 0 and from stored states, and the offsets of
/// the records that are to be read again.
pub(crate) fn resumed(
    config: EngineConfig,
    registry: Arc<Registry>,
    states: &BTreeMap<String, Vec<u8>>,
    commit: &Checkpoint,
) -> (Engine, Range<i64>) {
    let committed = commit.next[0].unwrap_or(0);
    let from = commit.replay_from[0].unwrap_or(committed);
    let mut engine = Engine::new(config, registry);
    for (key, bytes) in states {
        engine.load_state(key, Some(bytes)).expect("readable");
    }
    engine.resume(commit.clock_ms);
    engine.resume_floor(commit.live_floor, i64::MAX);
    let completeness = engine.completeness_mut();
    completeness.begin(0, committed, from, CompleteFrom::Ever);
    (engine, from..committed)
}

/// The body of a decision as JSON.
pub(crate) fn json(decision: &Decision) -> serde_json::Value {
    serde_json::from_slice(&decision.body).expect("a body is JSON")
}
