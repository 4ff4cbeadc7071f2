//! What a detector thread shows of itself: gauges, counters, the sites it heard of.

use std::time::{Duration, Instant};

use super::Detector;
use crate::detect::engine::stats::Stats;
use crate::domain::site::SiteId;
use crate::kafka::topic_partition::TopicPartition;

const HEARD_EVERY: Duration = Duration::from_secs(10);

impl Detector {
    /// Says now and then which sites had events, so that a site's owner can be told that it has none.
    pub(crate) fn tell_heard(&mut self, now: Instant) {
        if now.duration_since(self.last_heard) < HEARD_EVERY {
            return;
        }
        self.last_heard = now;
        let heard: Vec<SiteId> = self
            .owned
            .iter_mut()
            .flatten()
            .flat_map(|owned| owned.engine.take_heard())
            .collect();
        if !heard.is_empty() {
            // While Postgres is away it is not taken. The next one says as much.
            drop(self.links.heard.try_send(heard));
        }
    }

    pub(crate) fn show_gauges(&self, now_ms: i64) {
        let metrics = &self.links.metrics;
        let mut stats = Stats::default();
        let (mut open, mut replay) = (0, 0);
        let sources = self.settings.engine.sources.len();
        let mut by_source = vec![(0_i64, 0_i64); sources];
        for owned in self.owned.iter().flatten() {
            stats += owned.engine.stats();
            open += owned.open_batches();
            for (source, slot) in by_source.iter_mut().enumerate() {
                let end = self.member.cached_end(TopicPartition {
                    topic: source,
                    partition: owned.partition,
                });
                let standing = owned.standing(source, end, now_ms);
                slot.0 += standing.lag;
                slot.1 = slot.1.max(standing.behind_ms);
                replay += standing.replaying;
            }
        }
        let share = metrics.shares.of(&self.settings.name);
        share.sum(&metrics.sites, stats.sites as i64);
        share.sum(&metrics.visitors, stats.visitors as i64);
        let episodes = metrics.episodes.with_label_values(&["visitor_spike"]);
        share.sum(&episodes, stats.spike_episodes as i64);
        let open_offsets = metrics.open_offsets.with_label_values(&["detect"]);
        share.sum(&open_offsets, open as i64);
        share.sum(&metrics.replay_remaining, replay);
        for (source, (lag, behind_ms)) in self.settings.engine.sources.iter().zip(by_source) {
            let labels = ["detect", &*source.topic];
            share.sum(&metrics.consumer_lag.with_label_values(&labels), lag);
            let behind = metrics.consumer_behind.with_label_values(&labels);
            share.largest(&behind, behind_ms as f64 / 1_000.0);
        }
    }

    pub(crate) fn show_last_poll(&self, now_ms: i64) {
        let metrics = &self.links.metrics;
        let last_poll = metrics.last_poll.with_label_values(&["detect"]);
        let share = metrics.shares.of(&self.settings.name);
        share.smallest(&last_poll, now_ms as f64 / 1_000.0);
    }

    /// What engines count is theirs until it is told: one that is given back may not come back.
    pub(crate) fn tell_counters(&mut self) {
        for owned in self.owned.iter_mut().flatten() {
            self.counts.counted(owned.engine.take_counters());
        }
    }
}
