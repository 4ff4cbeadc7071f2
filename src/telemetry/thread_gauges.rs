//! Gauges that several threads of a process set, each for its own part.
//!
//! The labels of a metric are a contract and name no thread, so the parts come together here: the
//! gauge shows their sum, or the largest or smallest of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Metric};
use prometheus::{Gauge, IntGauge};

/// Parts of all threads, by series. Setting a part replaces what its thread set before.
#[derive(Default)]
pub(crate) struct ThreadGauges(Mutex<BTreeMap<SeriesName, Series>>);

/// Name of the metric and the values of its labels.
type SeriesName = (String, Vec<String>);

/// Values by thread.
type Parts = BTreeMap<String, f64>;

struct Series {
    parts: Parts,
    show: Box<dyn Fn(&Parts) + Send>,
}

impl ThreadGauges {
    /// Sets a thread's part of a sum.
    pub(crate) fn sum(&self, thread: &str, gauge: &IntGauge, value: i64) {
        let shown = gauge.clone();
        self.set(thread, gauge, value as f64, move |parts| {
            shown.set(parts.values().sum::<f64>() as i64);
        });
    }

    /// Sets a thread's value of a gauge that shows the largest, or zero when no thread is left.
    pub(crate) fn largest(&self, thread: &str, gauge: &Gauge, value: f64) {
        let shown = gauge.clone();
        self.set(thread, gauge, value, move |parts| {
            shown.set(parts.values().copied().fold(0.0, f64::max));
        });
    }

    /// Sets a thread's value of a gauge that shows the smallest: an alert on a time looks for the
    /// thread that is stuck. The value of the last thread stays when that thread ends.
    pub(crate) fn smallest(&self, thread: &str, gauge: &Gauge, value: f64) {
        let shown = gauge.clone();
        self.set(thread, gauge, value, move |parts| {
            if let Some(smallest) = parts.values().copied().reduce(f64::min) {
                shown.set(smallest);
            }
        });
    }

    /// Removes all parts of a thread that ends.
    pub(crate) fn remove(&self, thread: &str) {
        for series in self.lock().values_mut() {
            if series.parts.remove(thread).is_some() {
                (series.show)(&series.parts);
            }
        }
    }

    fn set(
        &self,
        thread: &str,
        gauge: &(impl Collector + Metric),
        value: f64,
        show: impl Fn(&Parts) + Send + 'static,
    ) {
        let mut all = self.lock();
        let series = all.entry(name_of(gauge)).or_insert_with(|| Series {
            parts: Parts::new(),
            show: Box::new(show),
        });
        series.parts.insert(thread.to_owned(), value);
        (series.show)(&series.parts);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SeriesName, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ThreadGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadGauges").finish_non_exhaustive()
    }
}

fn name_of(gauge: &(impl Collector + Metric)) -> SeriesName {
    let name = gauge.desc().first().map(|desc| desc.fq_name.clone());
    let metric = gauge.metric();
    let labels = metric.get_label().iter().map(|label| label.value().to_owned());
    (name.unwrap_or_default(), labels.collect())
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::Labels;

    #[test]
    fn parts_of_threads_come_together_and_go_with_them() {
        let metrics = Metrics::new(&Labels::default());
        let lag = |topic| metrics.consumer_lag.with_label_values(&["detect", topic]);
        let behind = metrics.consumer_behind.with_label_values(&["detect", "events"]);
        let polled = metrics.last_poll.with_label_values(&["detect"]);
        let gauges = &metrics.thread_gauges;
        for (thread, n) in [("detect-0", 3), ("detect-1", 4), ("detect-0", 5)] {
            gauges.sum(thread, &metrics.sites, n);
            gauges.sum(thread, &lag("events"), 10 * n);
            gauges.sum(thread, &lag("others"), 1);
            gauges.largest(thread, &behind, n as f64);
            gauges.smallest(thread, &polled, n as f64);
        }
        assert_eq!(metrics.sites.get(), 9);
        assert_eq!((lag("events").get(), lag("others").get()), (90, 2));
        assert_eq!((behind.get(), polled.get()), (5.0, 4.0));
        gauges.remove("detect-1");
        assert_eq!((metrics.sites.get(), lag("events").get()), (5, 50));
        assert_eq!((behind.get(), polled.get()), (5.0, 5.0));
        gauges.remove("detect-0");
        assert_eq!((metrics.sites.get(), behind.get(), polled.get()), (0, 0.0, 5.0));
    }
}
