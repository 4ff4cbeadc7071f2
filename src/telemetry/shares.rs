//! Gauges of a process that several of its threads have a part in: each tells its own, and what they come to is shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Metric};
use prometheus::{Gauge, IntGauge};

/// The parts that threads told.
#[derive(Default)]
pub(crate) struct Shares(Mutex<BTreeMap<Series, Parts>>);

/// A family's name and the values of its labels.
type Series = (String, Vec<String>);

struct Parts {
    show: Box<dyn Fn(f64) + Send>,
    together: Together,
    of_members: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Copy)]
enum Together {
    Sum,
    Largest,
    Smallest,
}

/// A gauge that can be shared.
pub(crate) trait Shared: Collector + Metric + Clone + Send + 'static {
    fn show(&self, value: f64);
}

impl Shared for Gauge {
    fn show(&self, value: f64) {
        self.set(value);
    }
}

impl Shared for IntGauge {
    fn show(&self, value: f64) {
        self.set(value as i64);
    }
}

/// One thread's parts. What it tells replaces what it told before; meant for once a second.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    shares: &'a Shares,
    name: &'a str,
}

impl Shares {
    /// The parts of the thread of this name.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> Member<'a> {
        Member { shares: self, name }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Series, Parts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shares").finish_non_exhaustive()
    }
}

impl Member<'_> {
    /// Tells its part of a sum.
    pub(crate) fn sum(&self, gauge: &impl Shared, value: i64) {
        self.tell(gauge, Together::Sum, value as f64);
    }

    /// Tells a value of which the largest is shown.
    pub(crate) fn largest(&self, gauge: &impl Shared, value: f64) {
        self.tell(gauge, Together::Largest, value);
    }

    /// Tells a value of which the smallest is shown: of times, as an alert looks for the thread that is stuck.
    pub(crate) fn smallest(&self, gauge: &impl Shared, value: f64) {
        self.tell(gauge, Together::Smallest, value);
    }

    /// The thread ends, and has no part any more.
    pub(crate) fn ends(&self) {
        for parts in self.shares.lock().values_mut() {
            if parts.of_members.remove(self.name).is_some() {
                parts.update();
            }
        }
    }

    fn tell(&self, gauge: &impl Shared, together: Together, value: f64) {
        let name = gauge.desc().first().map(|desc| desc.fq_name.clone());
        let metric = gauge.metric();
        let labels = metric.get_label().iter().map(|label| label.value().to_owned());
        let series = (name.unwrap_or_default(), labels.collect());
        let mut all = self.shares.lock();
        let parts = all.entry(series).or_insert_with(|| {
            let gauge = gauge.clone();
            Parts {
                show: Box::new(move |value| gauge.show(value)),
                together,
                of_members: BTreeMap::new(),
            }
        });
        parts.of_members.insert(self.name.to_owned(), value);
        parts.update();
    }
}

impl Parts {
    fn update(&self) {
        let values = self.of_members.values().copied();
        let value = match self.together {
            Together::Sum => Some(values.sum()),
            Together::Largest => Some(values.fold(0.0, f64::max)),
            // When the last one ends, the time it told stays.
            Together::Smallest => values.reduce(f64::min),
        };
        if let Some(value) = value {
            (self.show)(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::Labels;

    #[test]
    fn what_threads_tell_comes_together_and_goes_with_them() {
        let metrics = Metrics::new(&Labels::default());
        let lag = |topic| metrics.consumer_lag.with_label_values(&["detect", topic]);
        let behind = metrics.consumer_behind.with_label_values(&["detect", "events"]);
        let polled = metrics.last_poll.with_label_values(&["detect"]);
        for (name, n) in [("detect-0", 3), ("detect-1", 4), ("detect-0", 5)] {
            let member = metrics.shares.of(name);
            member.sum(&metrics.sites, n);
            member.sum(&lag("events"), 10 * n);
            member.sum(&lag("others"), 1);
            member.largest(&behind, n as f64);
            member.smallest(&polled, n as f64);
        }
        assert_eq!(metrics.sites.get(), 9);
        assert_eq!((lag("events").get(), lag("others").get()), (90, 2));
        assert_eq!((behind.get(), polled.get()), (5.0, 4.0));
        metrics.shares.of("detect-1").ends();
        assert_eq!((metrics.sites.get(), lag("events").get()), (5, 50));
        assert_eq!((behind.get(), polled.get()), (5.0, 5.0));
        metrics.shares.of("detect-0").ends();
        assert_eq!((metrics.sites.get(), behind.get(), polled.get()), (0, 0.0, 5.0));
    }
}
