//! Gauges, counters and site activity that a detector thread reports.

use std::time::{Duration, Instant};

use super::Detector;
use crate::detect::engine::stats::Stats;
use crate::domain::event::EventType;
use crate::domain::site::SiteId;
use crate::kafka::session::lag::ConsumerLag;
use crate::kafka::topic_partition::TopicPartition;

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

    pub(super) fn show_gauges(&self, now_ms: i64) {
        let sources = &self.settings.engine.sources;
        let mut stats = Stats::default();
        let (mut open_batches, mut replay_remaining) = (0, 0);
        let mut lags = vec![ConsumerLag::default(); sources.len()];
        for owned in self.owned.iter().flatten() {
            stats += owned.engine.stats();
            open_batches += owned.open_batch_count();
            replay_remaining += owned.replay_remaining();
            for (topic, lag) in lags.iter_mut().enumerate() {
                let end = self.session.member().cached_end(TopicPartition {
                    topic,
                    partition: owned.partition,
                });
                lag.add(owned.lag(topic, end, now_ms));
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
        for (source, lag) in sources.iter().zip(lags) {
            session.show_lag(&source.topic, lag);
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
