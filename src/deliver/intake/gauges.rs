//! What an intake shows of itself, once a second.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::{GAUGES_EVERY, Intake};
use crate::clock;

impl Intake {
    pub(super) fn show_gauges(&mut self) {
        let now = clock::monotonic();
        if now.duration_since(self.last_gauges) < GAUGES_EVERY {
            return;
        }
        self.last_gauges = now;
        self.kept.retain(|_, kept| kept.until > now);
        let now_ms = clock::now_ms();
        self.show_last_poll(now_ms);
        let mut open = 0;
        let mut by_topic: HashMap<usize, (i64, i64)> = HashMap::new();
        for (at, partition) in &self.partitions {
            // A wake-up that was missed costs a second and not the partition.
            partition.ready.store(true, Ordering::Release);
            open += partition.tracker.open_count();
            let end = self.member.cached_end(*at);
            let low_water = partition.tracker.low_water().unwrap_or(partition.position.next);
            let lag = end.map_or(0, |end| (end - low_water).max(0));
            let unread = end.is_some_and(|end| partition.position.next < end);
            // What a tier holds is not behind before it is due; unread records of a tier are due later than those read.
            let behind_ms = if unread && self.settings.tier_of_topic[at.topic].is_none() {
                (now_ms - partition.position.last_record_ms).max(0)
            } else {
                0
            };
            let slot = by_topic.entry(at.topic).or_default();
            slot.0 += lag;
            slot.1 = slot.1.max(behind_ms);
        }
        if let Some(oldest) = self.outbox.front() {
            let topic = self
                .settings
                .topics
                .iter()
                .position(|topic| *topic == oldest.read_from.topic);
            if let Some(topic) = topic {
                let slot = by_topic.entry(topic).or_default();
                slot.1 = slot.1.max(now_ms - oldest.due_at_ms);
            }
        }
        let metrics = &self.links.metrics;
        let share = metrics.shares.of(&self.settings.name);
        let open_offsets = metrics.open_offsets.with_label_values(&["deliver"]);
        share.sum(&open_offsets, open as i64);
        for (index, topic) in self.settings.topics.iter().enumerate() {
            let (lag, behind_ms) = by_topic.get(&index).copied().unwrap_or_default();
            share.sum(&metrics.consumer_lag.with_label_values(&["deliver", topic]), lag);
            let behind = metrics.consumer_behind.with_label_values(&["deliver", topic]);
            share.largest(&behind, behind_ms as f64 / 1_000.0);
        }
        share.sum(&metrics.queued, self.outbox.len() as i64);
        // One queue for all threads: whoever tells of it tells the same.
        let waiting = self.links.work.max_capacity() - self.links.work.capacity();
        let all = metrics.shares.of("deliver");
        all.sum(&metrics.queued, waiting as i64);
    }
}
