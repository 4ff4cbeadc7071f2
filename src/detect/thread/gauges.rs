//! Gauges, counters and site activity that a detector thread reports.

use std::time::{Duration, Instant};

use super::Detector;
use crate::detect::engine::stats::Stats;
use crate::domain::event::EventType;
use crate::domain::site::SiteId;
use crate::kafka::session::lag::ConsumerLag;

/// Time between two log lines about a long replay.
const REPLAY_LINE_INTERVAL: Duration = Duration::from_secs(5);
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(10);

impl Detector {
    /// Reports now and then which sites had events, so that the owner of a site can see that it has
    /// none.
    pub(super) fn report_active_sites(&mut self, now: Instant) {
        if now.duration_since(self.last_activity_report) < ACTIVITY_INTERVAL {
            return;
        }
        self.last_activity_report = now;
        let active: Vec<SiteId> = self
            .owned
            .iter_mut()
            .flatten()
            .flat_map(|owned| owned.engine.take_heard())
            .collect();
        if !active.is_empty() {
            // Fails while Postgres is unavailable; the next report says as much.
            drop(self.links.active_sites.try_send(active));
        }
    }

    /// Logs how much of a long replay is left.
    pub(super) fn report_replay(&mut self, now: Instant) {
        let owned = || self.owned.iter().flatten();
        let remaining: i64 = owned().map(|owned| owned.completeness().replay_remaining()).sum();
        if remaining == 0 {
            self.last_replay_line = now;
        } else if now.duration_since(self.last_replay_line) >= REPLAY_LINE_INTERVAL {
            self.last_replay_line = now;
            tracing::info!(
                group = "detect",
                remaining,
                "records are read again to rebuild windows"
            );
        }
    }

    pub(super) fn show_gauges(&self, now_ms: i64) {
        let sources = &self.settings.engine.sources;
        let mut stats = Stats::default();
        let (mut open_batches, mut replay_remaining) = (0, 0);
        let mut proven_until_ms = now_ms;
        let mut lags = vec![ConsumerLag::default(); sources.len()];
        for owned in self.owned.iter().flatten() {
            stats += owned.engine.stats();
            let proven = owned.proven_until_ms().unwrap_or(now_ms);
            proven_until_ms = proven_until_ms.min(proven);
            open_batches += owned.open_batch_count();
            replay_remaining += owned.completeness().replay_remaining();
            for (topic, lag) in lags.iter_mut().enumerate() {
                lag.add(owned.lag(topic, now_ms));
            }
        }
        let (metrics, session) = (&self.links.metrics, &self.session);
        session.show_sum(&metrics.sites, stats.sites as i64);
        session.show_sum(&metrics.visitors, stats.visitors as i64);
        for event in EventType::WITH_EPISODES {
            let episodes = metrics.episodes.with_label_values(&[event.as_str()]);
            let count = stats.episodes.get(&event).copied().unwrap_or(0);
            session.show_sum(&episodes, count as i64);
        }
        session.show_open_offsets(open_batches);
        session.show_sum(&metrics.replay_remaining, replay_remaining);
        session.show_sum(&metrics.partitions_unrestored, self.unrestored.len() as i64);
        session.show_sum(&metrics.partitions_incomplete, stats.incomplete_partitions as i64);
        session.show_largest(
            &metrics.proven_end_age,
            (now_ms - proven_until_ms) as f64 / 1_000.0,
        );
        for (topic, (source, lag)) in sources.iter().zip(lags).enumerate() {
            session.show_lag(&source.topic, lag);
            let owned = self.owned.iter().flatten();
            let newer = owned.flat_map(|owned| owned.newer_records());
            let held = newer.filter(|(held, _)| *held == topic).count();
            let gauge = metrics.newer_records_held.with_label_values(&[&source.topic]);
            session.show_sum(&gauge, held as i64);
        }
    }

    /// Adds the counters of the engines to the metrics. An engine that is given back may not
    /// return, so this is done before.
    pub(super) fn report_engine_counters(&mut self) {
        for owned in self.owned.iter_mut().flatten() {
            self.counts.add_engine_counters(owned.engine.take_counters());
        }
    }
}
