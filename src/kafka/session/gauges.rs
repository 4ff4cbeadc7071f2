//! Gauges that every consumer thread shows, each for its own part.

use std::hash::Hash;

use prometheus::{Gauge, IntGauge};

use super::Session;
use super::lag::ConsumerLag;

impl<K: Eq + Hash, S> Session<K, S> {
    /// Sets this thread's part of a gauge that shows the sum over threads.
    pub(crate) fn show_sum(&self, gauge: &IntGauge, value: i64) {
        self.metrics().thread_gauges.sum(&self.thread, gauge, value);
    }

    /// Shows the greatest of all threads' values.
    pub(crate) fn show_largest(&self, gauge: &Gauge, value: f64) {
        self.metrics().thread_gauges.largest(&self.thread, gauge, value);
    }

    /// Shows when this thread last polled.
    pub(crate) fn show_last_poll(&self, now_ms: i64) {
        let gauge = self.metrics().last_poll.with_label_values(&[self.member.group()]);
        self.metrics()
            .thread_gauges
            .smallest(&self.thread, &gauge, now_ms as f64 / 1_000.0);
    }

    /// Shows how far this thread lags in a topic.
    pub(crate) fn show_lag(&self, topic: &str, lag: ConsumerLag) {
        let labels = [self.member.group(), topic];
        self.show_sum(
            &self.metrics().consumer_lag.with_label_values(&labels),
            lag.records,
        );
        let behind = self.metrics().consumer_behind.with_label_values(&labels);
        self.show_largest(&behind, lag.behind_ms as f64 / 1_000.0);
    }

    /// Shows how many offsets this thread has read that are not complete.
    pub(crate) fn show_open_offsets(&self, count: usize) {
        let gauge = self
            .metrics()
            .open_offsets
            .with_label_values(&[self.member.group()]);
        self.show_sum(&gauge, count as i64);
    }

    /// Shows of how many partition numbers this thread owns the partitions.
    pub(super) fn show_partitions(&self, count: usize) {
        let gauge = self
            .metrics()
            .consumer_partitions
            .with_label_values(&[self.member.group()]);
        self.show_sum(&gauge, count as i64);
    }
}
