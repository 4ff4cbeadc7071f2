//! Gauges that an intake thread shows, once a second.

use super::Intake;
use crate::clock;
use crate::kafka::session::lag::ConsumerLag;

impl Intake {
    pub(super) fn show_gauges(&mut self) {
        let now = clock::monotonic();
        if !self.session.due_tick(now) {
            return;
        }
        let now_ms = clock::now_ms();
        self.session.show_last_poll(now_ms);
        self.pass_over_removed(now_ms);
        let mut open_offsets = 0;
        let mut lags = vec![ConsumerLag::default(); self.settings.topics.len()];
        for (at, partition) in &self.partitions {
            // If a wake-up was missed, the partition waits for a second and not for ever.
            partition.set_ready();
            open_offsets += partition.tracker.open_count();
            lags[at.topic].add(partition.position.lag(
                partition.tracker.low_water(),
                self.session.member().cached_end(*at),
                self.settings.tier_of_topic[at.topic].is_some(),
                now_ms,
            ));
        }
        if let Some(oldest) = self.outbox.front() {
            let mut topics = self.settings.topics.iter();
            let topic = oldest.read_from().map(|place| place.topic.as_str());
            if let Some(index) = topics.position(|one| Some(one.as_str()) == topic) {
                lags[index].add(ConsumerLag {
                    records: 0,
                    behind_ms: now_ms - oldest.due_at_ms,
                });
            }
        }
        self.session.show_open_offsets(open_offsets);
        for (topic, lag) in self.settings.topics.iter().zip(lags) {
            self.session.show_lag(topic, lag);
        }
        let metrics = &self.links.metrics;
        self.session.show_sum(&metrics.queued, self.outbox.len() as i64);
        self.show_held_records();
    }

    /// Shows how many records of a newer version are held back, by topic.
    pub(super) fn show_held_records(&self) {
        let metrics = &self.links.metrics;
        for (index, topic) in self.settings.topics.iter().enumerate() {
            let partitions = self.partitions.iter();
            let held = partitions.filter(|(at, partition)| at.topic == index && partition.is_held);
            let gauge = metrics.newer_records_held.with_label_values(&[topic]);
            self.session.show_sum(&gauge, held.count() as i64);
        }
    }
}
